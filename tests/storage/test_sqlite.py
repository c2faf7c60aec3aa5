"""What only a store in a file has: locks, damage, other readers, threads, power cuts, the shared fsync."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import aiosqlite
import pytest

from crdtsync.errors import (
    JournalCorrupt,
    StoreClosed,
    StoreCorrupt,
    StoreLocked,
    StoreMismatch,
    StoreTooNew,
    StoreUnavailable,
)
from crdtsync.storage import Commit, HeadRow, SqliteStorage, View
from crdtsync.storage.tables import APPLICATION_ID, FORMAT
from crdtsync.testing.storage_contract import DEVICES, PRODUCTS, STOCK, TABLES, full_commit, product

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def contents(path: Path) -> bytes:
    return path.read_bytes()


def overwrite(path: Path, data: bytes | bytearray) -> None:
    path.write_bytes(data)


def pragma(path: Path, statement: str) -> object:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        row = connection.execute(f"PRAGMA {statement}").fetchone()
        return row[0] if row else None


async def test_a_second_opener_is_told_who_to_stop(path: Path) -> None:
    async with SqliteStorage(path, TABLES):
        with pytest.raises(StoreLocked, match=r"store\.db: another process has this store open; stop"):
            await SqliteStorage(path, TABLES).open()
    async with SqliteStorage(path, TABLES):
        pass


async def test_another_process_is_kept_out_too(path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from crdtsync.errors import StoreLocked\n"
        "from crdtsync.storage import SqliteStorage\n"
        "try:\n"
        "    asyncio.run(SqliteStorage(sys.argv[1], []).open())\n"
        "except StoreLocked:\n"
        "    print('locked')\n"
    )
    async with SqliteStorage(path, TABLES):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(path), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await child.communicate()
    assert out == b"locked\n"


async def test_a_store_of_a_newer_format_is_left_as_it_is(path: Path) -> None:
    async with SqliteStorage(path, TABLES):
        pass
    pragma(path, f"user_version = {FORMAT + 1}")
    before = contents(path)
    with pytest.raises(StoreTooNew) as raised:
        await SqliteStorage(path, TABLES).open()
    assert (raised.value.found, raised.value.supported) == (FORMAT + 1, FORMAT)
    assert contents(path) == before
    pragma(path, f"user_version = {FORMAT}")
    async with SqliteStorage(path, TABLES):
        pass


async def test_a_store_from_before_the_device_registry_opens_and_gets_one(path: Path) -> None:
    async with SqliteStorage(path, TABLES) as store:
        await store.commit(Commit(meta={"kept": b"1"}))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE devices")
    async with SqliteStorage(path, TABLES) as store:
        assert await store.read(lambda view: (view.meta("kept"), view.devices(), view.integrity())) == (
            b"1",
            [],
            [],
        )
        await store.commit(Commit(devices=DEVICES))
    async with SqliteStorage(path, TABLES) as store:
        assert await store.read(lambda view: view.devices()) == DEVICES


async def test_a_file_that_is_not_sqlite_is_corrupt_and_left_as_it_is(path: Path) -> None:
    overwrite(path, b"not a database, but long enough to be looked at" * 100)
    before = contents(path)
    with pytest.raises(StoreCorrupt, match=r"store\.db: the file is damaged .* move the file away"):
        await SqliteStorage(path, TABLES).open()
    assert contents(path) == before


async def test_another_programs_database_is_refused_and_left_as_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    before = contents(path)
    with pytest.raises(StoreCorrupt, match="another program"):
        await SqliteStorage(path, TABLES).open()
    assert contents(path) == before


async def test_a_store_with_pages_overwritten_is_corrupt(path: Path) -> None:
    async with SqliteStorage(path, TABLES) as store:
        await store.commit(full_commit())
    damaged = bytearray(contents(path))
    damaged[100:4000] = bytes(3900)
    overwrite(path, damaged)
    with pytest.raises(StoreCorrupt):
        await SqliteStorage(path, TABLES).open()


async def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="check that the folder exists"):
        await SqliteStorage(tmp_path / "absent" / "store.db", TABLES).open()
    with pytest.raises(StoreUnavailable):
        await SqliteStorage(tmp_path, TABLES).open()


async def test_a_full_disk_refuses_the_commit_whole_and_the_next_small_one_works(path: Path) -> None:
    async with SqliteStorage(path, TABLES) as store:
        await store.commit(Commit(journal=[("products", b"kept")]))
        assert store._database is not None
        pages = await store.read(lambda _view: _limit_pages(store, 8))
        big = Commit(
            heads=[HeadRow("stock/loja1", 1, 1, b"h" * 16, 1, 1, 0)], journal=[("products", bytes(200_000))]
        )
        with pytest.raises(StoreUnavailable, match="full"):
            await store.commit(big)
        shared = [Commit(meta={"a": b"a"}), big, Commit(meta={"b": b"b"})]
        outcomes = await asyncio.gather(*map(store.commit, shared), return_exceptions=True)
        assert isinstance(outcomes[1], StoreUnavailable)
        kept = await store.read(lambda view: [view.meta(name) for name in "ab"])
        assert kept == [
            None if isinstance(outcomes[place], BaseException) else data
            for place, data in ((0, b"a"), (2, b"b"))
        ]
        await store.read(lambda _view: _limit_pages(store, pages + 10_000))
        await store.commit(big)
        assert [data for _, data in await store.read(lambda view: view.journal("products"))] == [
            b"kept",
            bytes(200_000),
        ]
        assert await store.read(lambda view: view.integrity()) == []


def _limit_pages(store: SqliteStorage, more: int) -> int:
    """Let the file grow by so many pages and no more; returns its pages."""
    assert store._database is not None
    execute = store._database.connection.execute
    pages: int = execute("PRAGMA page_count").fetchone()[0]
    execute(f"PRAGMA max_page_count = {pages + more}")
    return pages


async def test_another_program_reads_while_the_node_writes(path: Path) -> None:
    async with SqliteStorage(path, TABLES) as store:
        await store.commit(Commit(records={"products": [product("p1", "arroz", 1299)]}))
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
            assert reader.execute("SELECT * FROM products").fetchall() == [("p1", "arroz", 1299)]
            await store.commit(Commit(records={"products": [product("p1", "arroz", 1399)]}))
            assert reader.execute("SELECT price_cents FROM products").fetchall() == [(1399,)]
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("DELETE FROM rec_products")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        assert reader.execute("SELECT count(*) FROM products").fetchone() == (1,)


async def test_the_file_says_what_it_is_and_commits_are_synced(path: Path) -> None:
    async with SqliteStorage(path, TABLES) as store:
        assert store._database is not None
        connection = store._database.connection

        def pragmas(_view: View) -> list[object]:
            names = ("application_id", "user_version", "journal_mode", "synchronous")
            return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

        full = 2
        assert await store.read(pragmas) == [APPLICATION_ID, FORMAT, "wal", full]


async def test_commits_that_arrive_while_one_is_written_share_the_next_transaction(path: Path) -> None:
    statements: list[str] = []
    async with SqliteStorage(path, TABLES) as store:
        assert store._database is not None
        connection = store._database.connection
        await store.read(lambda _view: connection.set_trace_callback(statements.append))
        await asyncio.gather(*(store.commit(Commit(meta={str(n): b"x"})) for n in range(50)))
        await store.read(lambda _view: connection.set_trace_callback(None))
        assert await store.read(lambda view: all(view.meta(str(n)) for n in range(50)))
    # The first waits for nobody, which a single commit would pay for too; the other 49 are one.
    assert statements.count("COMMIT") == 2


async def test_a_verb_is_one_hop_to_the_thread_through_the_one_name_it_needs(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hops = 0
    original = aiosqlite.Connection._execute

    async def counted(connection: aiosqlite.Connection, *args: object) -> object:
        nonlocal hops
        hops += 1
        return await original(connection, *args)  # type: ignore[no-untyped-call]

    async with SqliteStorage(path, TABLES) as store:
        monkeypatch.setattr(aiosqlite.Connection, "_execute", counted)
        await store.commit(full_commit())
        assert hops == 1
        assert await store.read(lambda _view: threading.current_thread()) is not threading.current_thread()
        assert hops == 1 + 1
        monkeypatch.undo()


async def _threads_end(before: set[threading.Thread]) -> bool:
    """Whether every thread started since ends."""
    for thread in set(threading.enumerate()) - before:
        await asyncio.to_thread(thread.join, 5)
    return not any(
        thread.is_alive() and "asyncio" not in thread.name for thread in set(threading.enumerate()) - before
    )


async def test_what_waits_for_a_write_is_written_before_the_store_closes(path: Path) -> None:
    store = SqliteStorage(path, TABLES)
    await store.open()
    writes = [
        asyncio.create_task(store.commit(Commit(records={"products": [product(f"p{n}", "sal", n)]})))
        for n in range(5)
    ]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    async with SqliteStorage(path, TABLES) as again:
        assert await again.read(lambda view: view.count("products")) == 5


async def test_a_write_whose_caller_is_cancelled_is_written_and_so_is_what_waits_for_it(path: Path) -> None:
    async with SqliteStorage(path, TABLES) as store:
        first = asyncio.create_task(store.commit(Commit(records={"products": [product("p1", "sal", 1)]})))
        second = asyncio.create_task(store.commit(Commit(records={"products": [product("p2", "mel", 2)]})))
        await asyncio.sleep(0)
        first.cancel()
        await second
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await store.read(lambda view: view.count("products")) == 2
        await store.commit(Commit(records={"products": [product("p3", "mel", 3)]}))
        assert await store.read(lambda view: view.count("products")) == 3


async def test_a_cancelled_opening_leaves_no_thread_and_no_lock(path: Path) -> None:
    before = set(threading.enumerate())
    for turns in range(4):
        opening = asyncio.ensure_future(SqliteStorage(path, TABLES).open())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        async with SqliteStorage(path, TABLES):
            pass
    assert await _threads_end(before)


async def test_a_failed_opening_leaves_no_thread_and_no_lock(path: Path) -> None:
    before = set(threading.enumerate())
    overwrite(path, b"nonsense" * 1000)
    for _ in range(2):
        with pytest.raises(StoreCorrupt):
            await SqliteStorage(path, TABLES).open()
    assert await _threads_end(before)


async def test_closing_finishes_what_was_begun(path: Path) -> None:
    store = SqliteStorage(path, TABLES)
    await store.open()
    commits = [asyncio.ensure_future(store.commit(Commit(meta={str(n): b"x"}))) for n in range(10)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*commits)
    with pytest.raises(StoreClosed):
        await store.commit(Commit())
    async with SqliteStorage(path, TABLES) as store:
        assert await store.read(lambda view: all(view.meta(str(n)) for n in range(10)))


async def test_a_changed_type_of_column_is_refused_and_nothing_changes(path: Path) -> None:
    async with SqliteStorage(path, TABLES) as store:
        await store.commit(Commit(records={"products": [product("p1", "arroz", 1299)]}))
    other = PRODUCTS.__class__(
        "products", (), ("id",), (("extra", "TEXT"), ("name", "TEXT"), ("price_cents", "TEXT"))
    )
    with pytest.raises(StoreMismatch, match=r"'price_cents' of category 'products' holds INTEGER.*TEXT"):
        await SqliteStorage(path, [other, STOCK]).open()
    async with SqliteStorage(path, TABLES) as store:
        assert await store.read(lambda view: view.select("products")) == [product("p1", "arroz", 1299)]


CHILD = """
import asyncio, sys
from crdtsync.storage import Commit, HeadRow, SqliteStorage
from crdtsync.testing.storage_contract import TABLES, product

async def main():
    async with SqliteStorage(sys.argv[1], TABLES) as store:
        start = await store.read(lambda view: view.count("products"))
        for n in range(start, 1_000_000):
            await store.commit(Commit(
                journal=[("products", str(n).encode())],
                heads=[HeadRow("products", 7, n + 1, b"h" * 16, n + 1, n + 1, n)],
                records={"products": [product(f"p{n}", "x", n)]},
            ))
            print(n, flush=True)

asyncio.run(main())
"""


def test_kill_9_loses_nothing_acknowledged_and_leaves_nothing_half_done(path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    acknowledged = -1
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            wanted = acknowledged + chance.randrange(5, 60)
            while acknowledged < wanted:
                acknowledged = int(child.stdout.readline())
            os.kill(child.pid, signal.SIGKILL)
            rest = child.stdout.read().split("\n")
            # The last line may have been cut in the middle; a whole one ends in a line break.
            acknowledged = max([acknowledged, *map(int, filter(None, rest[:-1]))])

        acknowledged = asyncio.run(rows_whole(path, acknowledged)) - 1


async def rows_whole(path: Path, acknowledged: int) -> int:
    """How many commits are there: all acknowledged ones, at most one more, each with all its parts."""
    async with SqliteStorage(path, TABLES) as store:
        rows = await store.read(lambda view: view.count("products"))
        assert rows in {acknowledged + 1, acknowledged + 2}
        journal = await store.read(lambda view: [int(data) for _, data in view.journal("products")])
        assert journal == list(range(rows))
        (head,) = await store.read(lambda view: view.heads())
        assert head.seq == rows
        assert await store.read(lambda view: view.integrity()) == []
    return rows


async def test_a_damaged_journal_row_names_document_and_row(path: Path) -> None:
    async with SqliteStorage(path, TABLES) as store:
        newest = await store.commit(Commit(journal=[("products", b"one"), ("products", b"two")]))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE journal SET data = ? WHERE id = ?", (b"twO", newest))
    async with SqliteStorage(path, TABLES) as store:
        with pytest.raises(JournalCorrupt) as raised:
            await store.read(lambda view: view.journal("products"))
    assert (raised.value.doc, raised.value.row) == ("products", newest)
    assert raised.value.path == str(path)
