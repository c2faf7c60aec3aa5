"""What a store remembers of the types of fields: a changed one is refused at opening, never read as another value."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from types import new_class
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync import (
    Counter,
    Entity,
    Key,
    Money,
    Once,
    Quantity,
    Ref,
    Register,
    Role,
    Rows,
    Schema,
    Set,
    Struct,
    by_account,
    by_store,
)
from crdtsync.errors import StoreMismatch
from crdtsync.storage import Commit, table_specs
from crdtsync.storage.database import Database
from crdtsync.storage.tables import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Word(StrEnum):
    """One word."""

    ONE = "one"


class Line(Struct):
    """Two positions."""

    product = Once(str)
    quantity = Quantity()


class LongerLine(Struct):
    """One optional position more."""

    product = Once(str)
    quantity = Quantity()
    note = Once(str, optional=True)


class OtherLine(Struct):
    """Another scale."""

    product = Once(str)
    quantity = Quantity(scale=2)


class OtherNote(Struct):
    """Another type of the optional position."""

    product = Once(str)
    quantity = Quantity()
    note = Once(int, optional=True)


def things(options: dict[str, Any] | None = None, **body: Any) -> Schema:
    """Return the schema of one category, with a key unless the body has one."""
    has_key = any(isinstance(value, Key) for value in body.values())
    fields = body if has_key else {"id": Key(), **body}
    said = {"category": "things", "writers": {Role.LOJA}, **(options or {})}
    return Schema([new_class("Thing", (Entity,), said, lambda namespace: namespace.update(fields))])


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Return the connection of a store in memory that is opened again and again."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        yield made


def opened(connection: sqlite3.Connection, schema: Schema) -> Database:
    """Open the store with these adapters. A refused opening closes what it got, so it gets a file's copy."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    connection.backup(copy)
    database = Database(copy, table_specs(schema), ":memory:")
    copy.backup(connection)
    return database


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (Money, lambda: Money(scale=3), "'register decimal2', the adapter now says 'register decimal3'"),
        (Counter, lambda: Counter(scale=0), "'counter decimal3', .* 'counter decimal0'"),
        (Quantity, Money, "'register decimal3', .* 'register decimal2'"),
        (Money, lambda: Register(int, default=0), "'register decimal2', .* 'register int'"),
        (lambda: Register(int), lambda: Register(bool), "'register int', .* 'register bool'"),
        (lambda: Register(str), lambda: Set(str), "'register text', .* 'set text'"),
        (Counter, Quantity, "'counter decimal3', .* 'register decimal3'"),
        (Quantity, Counter, "'register decimal3', .* 'counter decimal3'"),
        (lambda: Register(str), lambda: Register(date), "'register text', .* 'register date'"),
        (lambda: Register(date), lambda: Register(datetime), "'register date', .* 'register datetime'"),
        (lambda: Register(Word), lambda: Register(str), "'register enum', .* 'register text'"),
        (lambda: Register(str), lambda: Register(int), "'register text', .* 'register int'"),
        (lambda: Register(str), lambda: Once(str), "'register text', .* 'once text'"),
        (lambda: Register(str), lambda: Ref("self"), "'register text', .* 'register ref things'"),
        (lambda: Once(Rows(Line)), lambda: Set(Line), "'once rows', .* 'set struct'"),
    ],
)
def test_a_changed_type_is_refused_with_the_category_the_field_and_both_types(
    connection: sqlite3.Connection, before: Callable[[], Any], after: Callable[[], Any], says: str
) -> None:
    opened(connection, things(value=before())).close()
    with pytest.raises(
        StoreMismatch, match=rf"field 'value' of category 'things' is stored as {says}; give the"
    ):
        opened(connection, things(value=after()))
    # Nothing was changed: the adapter of before goes on.
    opened(connection, things(value=before())).close()


def test_a_value_is_never_read_in_another_scale(connection: sqlite3.Connection) -> None:
    schema = things(price=Money())
    with closing(opened(connection, schema)) as database:
        database.commit(Commit(records={"things": [("things", "a", 1290, 0, None)]}))
        database.connection.backup(connection)
    with pytest.raises(StoreMismatch):
        opened(connection, things(price=Money(scale=3)))
    with closing(
        opened(connection, things(price=Money(), price_3=Money(scale=3, optional=True)))
    ) as database:
        (row,) = database.read(lambda view: view.select("things"))
    assert schema.entities["things"]._load((*row[:3], *row[4:])).price == Decimal("12.90")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (OtherLine, "field 'lines.1' of category 'things' is stored as 'decimal3', .* 'decimal2'"),
        (OtherNote, "field 'lines.2' of category 'things' is stored as 'text', .* 'int'"),
    ],
)
def test_a_position_of_a_struct_keeps_its_type(
    connection: sqlite3.Connection, line: type[Struct], says: str
) -> None:
    for grown in (Line, LongerLine, Line):
        opened(connection, things(lines=Once(Rows(grown)))).close()
    with pytest.raises(StoreMismatch, match=says):
        opened(connection, things(lines=Once(Rows(line))))


def test_a_field_may_come_and_go_and_comes_back_with_its_type(connection: sqlite3.Connection) -> None:
    opened(connection, things(name=Register(str))).close()
    opened(connection, things(name=Register(str), note=Register(str, optional=True))).close()
    for _ in range(2):
        opened(connection, things(name=Register(str))).close()
    with pytest.raises(StoreMismatch, match=r"field 'note' .* 'register text', .* 'register int'"):
        opened(connection, things(name=Register(str), note=Register(int, optional=True)))
    opened(connection, things(name=Register(str), note=Register(str, default="-", max_length=9))).close()


def test_a_category_may_go_and_comes_back_with_its_types(connection: sqlite3.Connection) -> None:
    opened(connection, things(name=Register(str))).close()
    opened(connection, things({"category": "others"}, name=Money())).close()
    with pytest.raises(StoreMismatch, match=r"field 'name' of category 'things'"):
        opened(connection, things(name=Money()))
    opened(connection, things(name=Register(str))).close()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ({"id": Key}, {"id": lambda: Key(int)}, "'text', the adapter now says 'int'"),
        ({"id": Key}, {"id": Key, "line": lambda: Key(int)}, "'text', .* 'id text, line int'"),
        ({"id": Key, "line": lambda: Key(int)}, {"id": Key}, "'id text, line int', .* 'text'"),
        ({"id": Key, "line": Key}, {"id": Key, "part": Key}, "'id text, line text', .* 'id text, part text'"),
        ({"id": Key}, {"id": lambda: Key(Ref("self"))}, "'text', .* 'ref things'"),
    ],
)
def test_another_key_is_refused(
    connection: sqlite3.Connection, before: dict[str, Any], after: dict[str, Any], says: str
) -> None:
    opened(connection, things(**{name: made() for name, made in before.items()})).close()
    with pytest.raises(
        StoreMismatch, match=rf"the key of category 'things' is stored as {says}; give the category"
    ):
        opened(connection, things(**{name: made() for name, made in after.items()}))


def test_a_key_that_stands_alone_may_get_another_name_and_pattern(connection: sqlite3.Connection) -> None:
    opened(connection, things(id=Key("[a-z]+"))).close()
    opened(connection, things(code=Key())).close()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [(by_account, by_store, "'account', .* 'store'"), (by_store, by_account, "'store', .* 'account'")],
)
def test_another_partition_is_refused(
    connection: sqlite3.Connection, before: Any, after: Any, says: str
) -> None:
    opened(connection, things({"partition": before})).close()
    with pytest.raises(
        StoreMismatch, match=f"category 'things' is stored by {says}; give the category a new name"
    ):
        opened(connection, things({"partition": after}))


def test_a_store_that_remembers_no_types_takes_the_present_ones(connection: sqlite3.Connection) -> None:
    opened(connection, things(count=Counter())).close()
    (raw,) = connection.execute("SELECT value FROM meta WHERE key = 'storage/tables'").fetchone()
    earlier = json.loads(raw)
    assert earlier["things"].pop("types") == {"key": "text", "count": "counter decimal3"}
    row = stamp(("storage/tables", json.dumps(earlier).encode()))
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", row)
    with pytest.raises(
        StoreMismatch, match=r"the key of category 'things' is stored as 'id', .* 'id text, line text'"
    ):
        opened(connection, things(id=Key(), line=Key(), count=Counter()))
    opened(connection, things(count=Counter())).close()
    with pytest.raises(StoreMismatch, match="field 'count'"):
        opened(connection, things(count=Counter(scale=0)))


def test_an_opening_that_changes_nothing_writes_nothing(connection: sqlite3.Connection) -> None:
    opened(connection, things(name=Register(str), note=Register(str, optional=True))).close()
    opened(connection, things(name=Register(str))).close()
    with closing(opened(connection, things(name=Register(str)))) as database:
        assert database.connection.total_changes == 0
