"""Every limit, with its unit in its name; nothing here decides what happens when one is reached."""

from __future__ import annotations

STORE_CACHE_KIB = 16 * 1024
"""SQLite's page cache of one store, KiB: the leaves that a bulk load of a 100,000-record category keeps coming back to."""

STORE_WAL_CHECKPOINT_PAGES = 4_000
"""WAL pages (4 KiB each) after which a commit checkpoints: fewer fsyncs of the main file during bulk loads."""

STORE_STATEMENTS_CACHED = 512
"""Prepared statements kept by a store's connection: every statement of every category stays prepared."""
