"""The store of a real node: one SQLite file, one connection, one thread, through aiosqlite.

The only module that imports aiosqlite. It runs `Database` in the connection's thread, one hop a verb, and never holds
SQL of its own. Commits that arrive while another is being written share the next transaction and its fsync (group
commit). Exactly one connection: SQLite before 3.51.3 can lose committed pages when a second one checkpoints.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import aiosqlite

from crdtsync import limits
from crdtsync.errors import StoreClosed
from crdtsync.ownership import hand_over
from crdtsync.storage.database import Database, translated
from crdtsync.storage.lock import StoreLock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from crdtsync.storage.base import Commit, View
    from crdtsync.storage.tables import TableSpec

T = TypeVar("T")


class SqliteStorage:
    """`Storage` in one file; `<path>.lock` beside it keeps every other opener out.

    Args:
        path: the store's file, created when absent; its folder must exist.
        tables: one for each category.
    """

    def __init__(self, path: str | os.PathLike[str], tables: Sequence[TableSpec]) -> None:
        self.path = os.fspath(path)
        self._specs = tuple(tables)
        self._lock = StoreLock(self.path)
        self._connection: aiosqlite.Connection | None = None
        self._database: Database | None = None
        self._failure: BaseException | None = None
        self._waiting: list[tuple[Commit, asyncio.Future[int]]] = []
        self._writer: asyncio.Task[None] | None = None
        # Clear while somebody writes, or is about to.
        self._idle = asyncio.Event()
        self._idle.set()

    async def open(self) -> None:
        """See Storage.open."""
        if self._connection is not None:
            return
        try:
            await _finish(self._open())
        except asyncio.CancelledError:
            # The opening went on to its end; its thread must not outlive a caller who will never close it.
            await self.close()
            raise

    async def close(self) -> None:
        """See Storage.close."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await _finish(self._close(connection))

    async def commit(self, commit: Commit) -> int:
        """See Storage.commit."""
        if self._connection is None:
            raise StoreClosed(self.path)
        if self._idle.is_set():
            return await self._write_alone(self._connection, commit)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((commit, done))
        # A caller that is cancelled cancels only this future: it stops waiting, and the write goes on.
        return await done

    async def _write_alone(self, connection: aiosqlite.Connection, commit: Commit) -> int:
        """Write a commit that found nobody writing; those that come meanwhile make the next group.

        A caller that is cancelled stops waiting. The thread goes on to its end, and takes what comes after in order.
        """
        assert self._database is not None
        self._idle.clear()
        try:
            (outcome,) = await _in_thread(connection, partial(self._database.commit_group, [commit]))
        finally:
            if self._waiting:
                self._writer = asyncio.create_task(self._write_waiting(connection))
            else:
                self._idle.set()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def read(self, fn: Callable[[View], T]) -> T:
        """See Storage.read. `fn` runs in the store's thread."""
        if self._connection is None or self._database is None:
            raise StoreClosed(self.path)
        # In a list, emptied here: the thread holds on to what its last call returned, and that may be a whole journal.
        answer: list[T] = []
        database = self._database
        await asyncio.shield(_in_thread(self._connection, lambda: answer.append(database.read(fn))))
        return answer.pop()

    @property
    def checkpoint_due(self) -> bool:
        """See Storage.checkpoint_due."""
        return self._database is not None and self._database.checkpoint_due

    async def checkpoint(self) -> None:
        """See Storage.checkpoint."""
        if self._connection is None or self._database is None:
            raise StoreClosed(self.path)
        await asyncio.shield(_in_thread(self._connection, self._database.checkpoint))

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def _open(self) -> None:
        self._lock.acquire()
        try:
            connection = await aiosqlite.Connection(self._connect, iter_chunk_size=1)
            if self._failure is None:
                self._connection = connection
                return
            await connection.close()
        except BaseException:
            self._lock.release()
            raise
        self._lock.release()
        raise self._failure

    def _connect(self) -> sqlite3.Connection:
        """Open the file and bring it up to date: runs in aiosqlite's thread, so that opening is one hop too.

        A failure is kept, not raised: aiosqlite would end its thread without waiting for it, and the thread's last
        word may come after the event loop has closed.
        """
        self._failure = None
        try:
            with translated(self.path):
                connection = sqlite3.connect(
                    self.path,
                    timeout=limits.STORE_LOCK_SECONDS_MAX,
                    isolation_level=None,
                    cached_statements=limits.STORE_STATEMENTS_CACHED,
                )
            # What SQLite makes beside the file gets the owner of the file.
            hand_over(Path(self.path))
            self._database = Database(connection, self._specs, self.path)
        except BaseException as error:  # noqa: BLE001 - raised by _open
            self._failure = error
            return sqlite3.connect(":memory:")
        return connection

    async def _close(self, connection: aiosqlite.Connection) -> None:
        await self._idle.wait()
        try:
            await connection.close()
        finally:
            self._database = None
            self._lock.release()

    async def _write_waiting(self, connection: aiosqlite.Connection) -> None:
        """Write what waits, a group at a time, until nothing does."""
        assert self._database is not None  # _close waits for this task first
        try:
            while self._waiting:
                group = self._waiting[: limits.STORE_GROUP_COMMITS]
                del self._waiting[: limits.STORE_GROUP_COMMITS]
                try:
                    outcomes = await _in_thread(
                        connection, partial(self._database.commit_group, [commit for commit, _ in group])
                    )
                except BaseException as error:
                    _settle([done for _, done in group], [error] * len(group))
                    raise
                _settle([done for _, done in group], outcomes)
        finally:
            self._idle.set()


async def _in_thread(connection: aiosqlite.Connection, work: Callable[[], T]) -> T:
    """Run a whole function in the connection's thread: one hop.

    aiosqlite's own verbs hop once a statement, and it has no public name for this; the one place that uses the
    private one, and `tests/storage/test_sqlite.py` notices when it goes.
    """
    result: T = await connection._execute(work)  # type: ignore[no-untyped-call]  # noqa: SLF001
    return result


def _settle(waiting: Sequence[asyncio.Future[int]], outcomes: Sequence[int | BaseException]) -> None:
    for done, outcome in zip(waiting, outcomes, strict=True):
        if done.done():
            continue
        if isinstance(outcome, BaseException):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)


async def _finish(work: Coroutine[None, None, T]) -> T:
    """Run `work` to its end even if the caller is cancelled, and only then let the cancellation through."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Looked at, so that a failed opening is not reported as never retrieved.
        task.exception()
        raise cancelled
    return task.result()
