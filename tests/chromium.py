"""The Chromium of this machine, for what is tested, measured and drawn in a real browser."""

from __future__ import annotations

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMIUM_ARGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# `make test` says how to install it, and `.ci/run` does.
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
