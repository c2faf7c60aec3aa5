"""The in-memory twin: the same `Database` over ":memory:", run inline, for the simulator and for tests.

It starts no thread and never waits. Nothing survives the process; what survives a simulated crash is what was
committed before it.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Self, TypeVar

from crdtsync import limits
from crdtsync.errors import StoreClosed
from crdtsync.storage.database import Database
from crdtsync.storage.tables import TableSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crdtsync.storage.base import Commit, PendencyChanges, View

T = TypeVar("T")

_PATH = ":memory:"


class MemoryStorage:
    """`Storage` in memory, that can crash.

    Args:
        tables: one for each category.
    """

    def __init__(self, tables: Sequence[TableSpec]) -> None:
        self._specs = tuple(tables)
        self._connection: sqlite3.Connection | None = None
        self._database: Database | None = None
        self._crashed = False

    async def open(self) -> None:
        """See Storage.open. Opening again after `close` finds what was committed."""
        if self._crashed:
            raise StoreClosed(_PATH)
        if self._database is None:
            if self._connection is None:
                self._connection = _connect()
                self._connection.deserialize(
                    _template(json.dumps([spec.description for spec in self._specs]))
                )
            self._database = Database(self._connection, self._specs, _PATH)

    async def close(self) -> None:
        """See Storage.close."""
        self._database = None

    async def commit(self, commit: Commit) -> int:
        """See Storage.commit."""
        inside = commit.inside
        if inside is None:
            return self._opened().commit(commit)

        def guarded(view: View) -> PendencyChanges:
            changes = inside(view)
            if self._crashed:
                # The power went while the rules ran: the transaction must not be committed after it.
                raise StoreClosed(_PATH)
            return changes

        return self._opened().commit(replace(commit, inside=guarded))

    async def read(self, fn: Callable[[View], T]) -> T:
        """See Storage.read."""
        return self._opened().read(fn)

    @property
    def checkpoint_due(self) -> bool:
        """See Storage.checkpoint_due."""
        return self._database is not None and self._database.checkpoint_due

    async def checkpoint(self) -> None:
        """See Storage.checkpoint. There is no log, so it only begins to count anew."""
        self._opened().checkpoint()

    def crash(self) -> None:
        """The power goes: every later verb raises StoreClosed, and so does a commit whose `inside` called this."""
        self._crashed = True
        self._database = None

    def reopen(self, tables: Sequence[TableSpec] | None = None) -> MemoryStorage:
        """A new storage, not yet opened, over what this one had committed; `tables` when the adapters changed."""
        again = MemoryStorage(self._specs if tables is None else tables)
        again._connection, self._connection = self._connection, None
        if again._connection is not None and again._connection.in_transaction:
            again._connection.rollback()
        self._crashed = True
        self._database = None
        return again

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def _opened(self) -> Database:
        if self._database is None:
            raise StoreClosed(_PATH)
        return self._database


def _connect() -> sqlite3.Connection:
    return sqlite3.connect(_PATH, isolation_level=None, cached_statements=limits.STORE_STATEMENTS_CACHED)


@lru_cache(maxsize=16)
def _template(described: str) -> bytes:
    """An empty store with these tables, as bytes: the simulator opens thousands, and parsing the DDL is most of it."""
    specs = [TableSpec.from_description(facts) for facts in json.loads(described)]
    database = Database(_connect(), specs, _PATH)
    try:
        return database.connection.serialize()
    finally:
        database.close()
