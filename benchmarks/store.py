"""Storing: the rows of a catalogue durable, indexed and readable in SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.catalogue import DOC, PEER, SCHEMA, SHAPE, STORE_NAME, WRITER, Sent, fill_references, ledger
from benchmarks.measure import Figure, Sizes, interleaved
from crdtsync import limits
from crdtsync.state.document import Document
from crdtsync.storage import ChangeRow, Commit, HeadRow, SqliteStorage
from crdtsync.storage.tables import table_specs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TARGET = 2.0


def commits(updates: Iterable[bytes]) -> list[Commit]:
    """Return what the ledger commits for each update: journal, head, by-sequence index and rows."""
    document = Document(DOC, SHAPE, PEER, {})
    result: list[Commit] = []
    for update in updates:
        change = document.receive(update, lambda _replica: True)
        head = document.heads[WRITER]
        document.show(WRITER, head.seq, change)
        result.append(
            Commit(
                journal=[(DOC, data) for data in change.journal],
                heads=[HeadRow(DOC, WRITER, head.seq, head.hash, head.visible, head.cut, change.hlc)],
                changes=[ChangeRow(DOC, replica, seq, keys) for replica, seq, keys in change.touched],
                records={DOC: change.rows},
            )
        )
    return result


def open_empty(path: Path) -> sqlite3.Connection:
    """Return a connection with the store's settings."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        f"cache_size = -{limits.STORE_CACHE_KIB}",
        f"wal_autocheckpoint = {limits.STORE_WAL_CHECKPOINT_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def open_bare(path: Path) -> tuple[sqlite3.Connection, str]:
    """Return a connection with the store's settings and a table with its columns and indexes, and the upsert."""
    connection = open_empty(path)
    names = [f'"{name}"' for name, _ in SHAPE.columns]
    columns = ", ".join(f'"{name}" {sql_type}' for name, sql_type in SHAPE.columns)
    connection.execute(
        f"CREATE TABLE bare (_doc TEXT, _key TEXT, {columns}, _deleted INTEGER, _conflicts TEXT, "
        "PRIMARY KEY (_doc, _key)) STRICT, WITHOUT ROWID"
    )
    for name in SHAPE.indexes:
        connection.execute(f'CREATE INDEX bare_by_{name} ON bare ("{name}")')
    updates = ", ".join(f"{name} = excluded.{name}" for name in (*names, "_deleted", "_conflicts"))
    places = ", ".join("?" * (len(names) + 4))
    upsert = f"INSERT INTO bare VALUES ({places}) ON CONFLICT (_doc, _key) DO UPDATE SET {updates}"
    return connection, upsert


def commit_bare(connection: sqlite3.Connection, upsert: str, number: int) -> None:
    """Commit one row of the bare table."""
    row = (DOC, f"p{number}", f"ARROZ {number}", *(None,) * (len(SHAPE.fields) - 1), 0, None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(upsert, row)
    connection.execute("COMMIT")


def bare_seconds(pages: list[list[Any]]) -> float:
    """Return the seconds of a bare upsert of rows, a transaction for each page of them."""
    with tempfile.TemporaryDirectory() as folder:
        connection, upsert = open_bare(Path(folder) / "bare.db")
        with closing(connection):
            begun = perf_counter()
            for rows in pages:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(upsert, rows)
                connection.execute("COMMIT")
            return perf_counter() - begun


async def _stored(prepared: list[Commit], count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteStorage(Path(folder) / STORE_NAME, table_specs(SCHEMA)) as storage:
            begun = perf_counter()
            for commit in prepared:
                await storage.commit(commit)
            readable = await storage.read(lambda view: view.count(DOC))
            seconds = perf_counter() - begun
    if readable != count:
        raise AssertionError(f"{readable} of {count} records are readable")
    return seconds


async def _received(updates: list[bytes]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        target = ledger(Path(folder))
        await target.open()
        await fill_references(target)
        begun = perf_counter()
        for update in updates:
            await target.receive(DOC, update, lambda _replica: True)
        seconds = perf_counter() - begun
        await target.close()
    return seconds


def measure(sizes: Sizes, catalogue: Sent) -> list[Figure]:
    """Return the store alone; the whole way from an update through the node's ledger is in the details."""
    prepared = commits(catalogue.updates)
    pages = [commit.records[DOC] for commit in prepared]
    together = [[row for rows in pages for row in rows]]
    cases: dict[str, Callable[[], float]] = {
        "bare": lambda: bare_seconds(pages),
        "bare, one transaction": lambda: bare_seconds(together),
        "stored": lambda: asyncio.run(_stored(prepared, sizes.products)),
        "received": lambda: asyncio.run(_received(catalogue.updates)),
    }
    times = interleaved(cases, sizes.repetitions)
    details = {f"{name} ms": seconds.median * 1e3 for name, seconds in times.items()}
    details |= {f"{name} ms at least": seconds.minimum * 1e3 for name, seconds in times.items()}
    details["transactions"] = len(prepared)
    bare = times["bare"]
    details["whole way (receive, fold, rules, store) ratio"] = times["received"].median / bare.median
    name = f"{sizes.products:,} products durable, indexed and readable in SQLite"
    against = "bare executemany upsert of the same rows, same indexes and settings"
    stored, single = times["stored"], times["bare, one transaction"]
    minima = {"ratio of the minima": stored.minimum / single.minimum}
    details["ratio of the minima"] = stored.minimum / bare.minimum
    return [
        Figure(name, stored.median / bare.median, TARGET, "x", f"{against}, as many transactions", details),
        Figure(
            f"{name}, in pages",
            stored.median / single.median,
            TARGET,
            "x",
            f"{against}, all in one transaction",
            minima,
        ),
    ]
