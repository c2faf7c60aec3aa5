"""Half a transaction is impossible: a failure is planted at every statement of a commit, alone and in a group."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

import pytest

from crdtsync.storage.base import Commit
from crdtsync.storage.database import Database
from crdtsync.testing.storage_contract import TABLES, everything, full_commit

if TYPE_CHECKING:
    from collections.abc import Callable


class Planted(Exception):  # noqa: N818 - a planted fault, not an error of the program
    """The failure at one statement."""


class Failing(sqlite3.Connection):
    """A connection that raises in place of its n-th statement from now on."""

    left = -1

    def _step(self, sql: str) -> None:
        if self.left == 0 and not sql.startswith("ROLLBACK"):
            self.left = -1
            raise Planted(sql)
        self.left -= 1

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self._step(sql)
        return super().execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self._step(sql)
        return super().executemany(sql, *args)


class Store:
    """A database over a failing connection, with one commit already in it."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, factory=Failing)

    def __enter__(self) -> Self:
        self.database = Database(self.connection, TABLES, ":memory:")
        self.database.commit(Commit(journal=[("stock/loja1", b"zero")], meta={"nonce": b"old"}))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.database.close()

    def state(self) -> dict[str, Any]:
        return self.database.read(everything)

    def fail_at(self, statement: int, write: Callable[[], object]) -> bool:
        """Whether `write` has a statement of that number; if so it failed there."""
        self.connection.left = statement
        try:
            write()
        except Planted:
            return True
        finally:
            self.connection.left = -1
        return False


def whole() -> dict[str, Any]:
    with Store() as store:
        store.database.commit(full_commit())
        return store.state()


def test_a_failure_at_any_statement_leaves_nothing_and_the_commit_can_be_repeated() -> None:
    statement = 0
    while True:
        with Store() as store:
            before = store.state()
            if not store.fail_at(statement, lambda store=store: store.database.commit(full_commit())):  # type: ignore[misc]
                break
            assert store.state() == before, statement
            assert not store.connection.in_transaction
            store.database.commit(full_commit())
            assert store.state() == whole(), statement
            assert store.database.read(lambda view: view.integrity()) == []
        statement += 1
    # BEGIN, COMMIT and at least one statement for each thing that a full commit writes.
    assert statement > 15


@pytest.mark.parametrize("statement", range(60))
def test_a_failure_inside_a_group_takes_its_own_commit_or_all_never_part(statement: int) -> None:
    with Store() as store:
        store.connection.left = statement
        group = [Commit(meta={"a": b"a"}), full_commit(), Commit(meta={"b": b"b"})]
        outcomes = store.database.commit_group(group)
        store.connection.left = -1
        failed = [isinstance(outcome, BaseException) for outcome in outcomes]
        kept = store.database.read(
            lambda view: [view.meta("a") == b"a", bool(view.heads()), view.meta("b") == b"b"]
        )
        assert kept == [not lost for lost in failed]
        if not failed[1]:
            assert store.state() == whole()
        assert not store.connection.in_transaction
        assert store.database.read(lambda view: view.integrity()) == []


def test_a_failure_while_the_tables_are_made_leaves_an_empty_file_or_a_whole_store() -> None:
    count = "SELECT count(*) FROM sqlite_master"
    with Store() as store:
        whole_tables = store.connection.execute(count).fetchone()[0]
    with closing(Database(sqlite3.connect(":memory:", isolation_level=None), TABLES, "fresh")) as database:
        database.commit(full_commit())
        fresh = database.read(everything)
    seen = set()
    statement = 0
    finished = False
    while not finished:
        name = f"file:made{statement}?mode=memory&cache=shared"
        with closing(sqlite3.connect(name, uri=True, isolation_level=None)) as keeper:
            connection = sqlite3.connect(name, uri=True, isolation_level=None, factory=Failing)
            connection.left = statement
            try:
                Database(connection, TABLES, name).close()
                finished = True
            except Planted:
                seen.add(keeper.execute(count).fetchone()[0])
            again = Database(sqlite3.connect(name, uri=True, isolation_level=None), TABLES, name)
            again.commit(full_commit())
            assert again.read(everything) == fresh, statement
            again.close()
        statement += 1
    assert seen == {0, whole_tables}
