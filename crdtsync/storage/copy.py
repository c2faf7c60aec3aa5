"""A whole copy of a store file, made beside a node that may go on writing, and what a store file is before it is used.

Everything is read through a connection of its own that cannot write: it sees one moment of the store, holds nobody up,
and never checkpoints (see `sqlite.py` for why only one connection may).
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crdtsync import limits
from crdtsync.errors import StoreCorrupt, StoreTooNew, StoreUnavailable
from crdtsync.ownership import hand_over
from crdtsync.said import say
from crdtsync.storage.database import TABLES_KEY, translated
from crdtsync.storage.tables import APPLICATION_ID, FORMAT, RecordTable, TableSpec, checksum
from crdtsync.storage.view import Documents, SqlView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from crdtsync.storage.base import DamagedRow

_BESIDE = ("-wal", "-shm")


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a store file says of itself; all but the format is of the replica that it writes."""

    format: int
    device: str
    account: str
    store: str | None
    role: str


def facts_of(path: Path) -> StoreFacts:
    """Read who wrote a store file, and nothing else of it.

    Raises:
        StoreUnavailable: the file is missing or cannot be read.
        StoreCorrupt: it is not a store, or what is read of it is damaged.
        StoreTooNew: a newer version wrote it.
    """
    with _reading(path) as connection:
        return _facts(connection, path)


def examine(path: Path) -> StoreFacts:
    """Read who wrote a store file, after SQLite has checked every page of it.

    Raises:
        StoreUnavailable: the file is missing or cannot be read.
        StoreCorrupt: it is damaged, or is not a store.
        StoreTooNew: a newer version wrote it.
    """
    with _reading(path) as connection:
        _format(connection, path)
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise StoreCorrupt(str(path), say("the file is damaged or is not a store ({error})", error=found))
        return _facts(connection, path)


def damaged_rows(path: Path) -> list[DamagedRow]:
    """Look at every row of a store file, with the tables that the file itself describes; return those that are damaged.

    Raises:
        StoreUnavailable, StoreCorrupt, StoreTooNew: see `facts_of`.
    """
    with _reading(path) as connection:
        _format(connection, path)
        row = connection.execute("SELECT * FROM meta WHERE key = ?", (TABLES_KEY,)).fetchone()
        if row is None or checksum(row[:-1]) != row[-1]:
            raise StoreCorrupt(
                str(path), say("meta row {row} is missing or fails its checksum", row=repr(TABLES_KEY))
            )
        described = json.loads(row[1]).items()
        tables = {name: RecordTable(TableSpec.from_description(facts)) for name, facts in described}
        # One that an older version wrote lacks those that came since.
        there = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        return SqlView(connection, Documents(), tables, {}, str(path)).damaged(there)


def _format(connection: sqlite3.Connection, path: Path) -> int:
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application != APPLICATION_ID:
        raise StoreCorrupt(str(path), say("the file is a SQLite database of another program"))
    if version > FORMAT:
        raise StoreTooNew(str(path), version, FORMAT)
    return int(version)


def _facts(connection: sqlite3.Connection, path: Path) -> StoreFacts:
    version = _format(connection, path)
    raw = connection.execute("SELECT value FROM meta WHERE key = 'replica'").fetchone()
    replica = int.from_bytes(raw[0], "big") if raw else 0
    row = connection.execute(
        "SELECT device, account, store, role FROM replicas WHERE replica = ?", (replica,)
    ).fetchone()
    if row is None:
        raise StoreCorrupt(str(path), say("the store does not say which node writes it"))
    return StoreFacts(version, *row)


def copy_store(
    source: Path, target: Path, watch: Callable[[int, int], None], *, without: Sequence[str] = ()
) -> None:
    """Copy one moment of a store into a new file, durable on return; a failure leaves no file.

    Args:
        source: the store, in use or not.
        target: does not exist yet.
        watch: is told pages copied and pages in all.
        without: names of `meta` values that the copy does not get.

    Raises:
        StoreUnavailable: a file cannot be read or written, or ``target`` exists.
        StoreCorrupt: the source is damaged.
    """
    if target.is_dir():
        raise StoreUnavailable(str(target), say("this is a folder"), say("name a file"))
    if target.exists():
        raise StoreUnavailable(
            str(target), say("there is a file already"), say("name another file, or remove this one first")
        )
    part = _part_of(target)
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError as error:
        advice = say("a copy is being made, or was cut off: remove the file when none is")
        raise StoreUnavailable(str(part), say("there is a file already"), advice) from error
    except OSError as error:
        raise StoreUnavailable(str(part), error.strerror or str(error)) from error
    try:
        _copy(source, part, watch, without)
        examine(part)
        part.replace(target)
    except OSError as error:
        raise StoreUnavailable(str(target), error.strerror or str(error)) from error
    finally:
        part.unlink(missing_ok=True)


def _part_of(target: Path) -> Path:
    """Where a copy is until it is whole: what bears the name of a backup is one."""
    return target.with_name(target.name + ".part")


def _copy(source: Path, target: Path, watch: Callable[[int, int], None], without: Sequence[str]) -> None:
    with _reading(source) as connection:
        # One moment, however often the node commits meanwhile.
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with translated(str(target)), closing(sqlite3.connect(target, isolation_level=None)) as copy:
            connection.backup(
                copy,
                pages=limits.STORE_COPY_PAGES,
                progress=lambda _status, left, total: watch(total - left, total),
            )
            # One file that needs nothing beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
            copy.execute("PRAGMA synchronous = FULL")
            copy.executemany("DELETE FROM meta WHERE key = ?", [(name,) for name in without])


def put_in_place(source: Path, path: Path, aside: Path) -> bool:
    """Make a copy of a backup the store; what was there is moved into a folder, whole. The caller holds the store's lock.

    Args:
        source: a file that `copy_store` wrote; it stays.
        path: the store's file.
        aside: a folder that does not exist yet, made only when there is a store already.

    Returns:
        Whether there was one.

    Raises:
        StoreUnavailable, StoreCorrupt: as `copy_store`; the store is where it was.
    """
    fresh = path.with_name(path.name + ".restored")
    # What was cut off before: nobody else is here.
    for left in (fresh, _part_of(fresh)):
        left.unlink(missing_ok=True)
    copy_store(source, fresh, lambda _done, _all: None)
    # Before it is the store: the node, which may not be root, must be able to open it.
    hand_over(fresh)
    moved: list[Path] = []
    try:
        there = [file for file in _files(path) if file.exists()]
        if there:
            aside.mkdir(parents=True)
            hand_over(aside)
        # The store's file first: were this cut off, SQLite would ignore a log without its file, but not a file without
        # its log, which is an older state.
        for file in there:
            file.replace(aside / file.name)
            moved.append(file)
        fresh.replace(path)
    except OSError as error:
        for file in reversed(moved):
            (aside / file.name).replace(file)
        raise StoreUnavailable(str(path), error.strerror or str(error)) from error
    finally:
        fresh.unlink(missing_ok=True)
    return path in moved


def stored_meta(path: Path, key: str) -> bytes | None:
    """Read one `meta` value of a store file, and change nothing.

    Raises:
        StoreUnavailable, StoreCorrupt: as `examine`.
    """
    with _reading(path) as connection:
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def _files(path: Path) -> list[Path]:
    """A store's file, and what SQLite keeps beside it while it is in use or after its program was killed."""
    return [path, *(path.with_name(path.name + end) for end in _BESIDE)]


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    if path.is_dir():
        raise StoreUnavailable(str(path), say("this is a folder"), say("name a file"))
    if not path.is_file():
        raise StoreUnavailable(str(path), say("there is no such file"), say("look at its name"))
    address = f"{path.absolute().as_uri()}?mode=ro"
    with (
        translated(str(path)),
        closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection,
    ):
        yield connection
