"""The tables of a store, as SQL text: its own, one per category, and the views that other programs read.

It only writes text; `database.py` runs it. Every table is STRICT and every row ends in the CRC-32 of its other columns
(see `stamp`), so that a bit flipped by the disk is found and never merged.
"""

# ruff: noqa: S608 - names come from TableSpec, which accepts a-z, 0-9 and _ only, or from here; values are bound.

from __future__ import annotations

import json
import re
import zlib
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from crdtsync.schema import Schema
    from crdtsync.storage.base import Row

APPLICATION_ID = 0x43524454
"""What `file` and SQLite show as the store's application: "CRDT"."""

FORMAT = 1
"""The stored format (PRAGMA user_version). A store with a greater one is refused and left as it is."""

PARTITION_PARTS_MAX = 3
"""Parts that a document id may have after its category: the columns p1, p2, p3 of `documents`."""

DDL = """
-- Documents are numbered once; other tables hold the number. p1..p3: the parts after the category.
CREATE TABLE documents (
    id INTEGER PRIMARY KEY, doc TEXT NOT NULL UNIQUE, category TEXT NOT NULL, p1 TEXT, p2 TEXT, p3 TEXT,
    crc INTEGER NOT NULL
) STRICT;

-- yrs updates after the snapshot, replayed by id. An id is never given out twice, not even after its row is gone.
-- By document first: a small commit touches one page of it, and loading a document reads it in order.
CREATE TABLE journal (
    doc INTEGER NOT NULL, id INTEGER NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (doc, id)
) STRICT, WITHOUT ROWID;

-- A document as of journal row `covers`.
CREATE TABLE snapshots (
    doc INTEGER PRIMARY KEY, data BLOB NOT NULL, covers INTEGER NOT NULL, crc INTEGER NOT NULL
) STRICT;

-- Where each replica's log stands: what start-up reads instead of documents.
CREATE TABLE heads (
    doc INTEGER NOT NULL, replica INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL,
    visible INTEGER NOT NULL, cut INTEGER NOT NULL, hlc INTEGER NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (doc, replica)
) STRICT, WITHOUT ROWID;

-- Keys that each batch touched (msgpack array): counts records to send with no document loaded.
CREATE TABLE changes (
    doc INTEGER NOT NULL, replica INTEGER NOT NULL, seq INTEGER NOT NULL, count INTEGER NOT NULL,
    keys BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (doc, replica, seq)
) STRICT, WITHOUT ROWID;

-- Batches that could not be folded, whole, with the reason.
CREATE TABLE parked (
    doc INTEGER NOT NULL, replica INTEGER NOT NULL, seq INTEGER NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, batch BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (doc, replica, seq)
) STRICT;

-- What the peer of each link durably holds: the outbox is what is past it.
CREATE TABLE acked (
    link TEXT NOT NULL, doc INTEGER NOT NULL, replica INTEGER NOT NULL, seq INTEGER NOT NULL,
    crc INTEGER NOT NULL, PRIMARY KEY (link, doc, replica)
) STRICT, WITHOUT ROWID;

-- Small values by name. Names that begin with "storage/" are the store's own.
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Who each replica is.
CREATE TABLE replicas (
    replica INTEGER PRIMARY KEY, device TEXT NOT NULL, role TEXT NOT NULL, store TEXT, account TEXT NOT NULL,
    crc INTEGER NOT NULL
) STRICT;

-- History of synchronizations; times in ms since 1970 UTC, ended_ms NULL while running.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, link TEXT NOT NULL, "trigger" TEXT NOT NULL, started_ms INTEGER NOT NULL,
    ended_ms INTEGER, result TEXT NOT NULL, detail TEXT NOT NULL, records_down INTEGER NOT NULL,
    records_up INTEGER NOT NULL, bytes_down INTEGER NOT NULL, bytes_up INTEGER NOT NULL,
    pendencies_opened INTEGER NOT NULL, pendencies_closed INTEGER NOT NULL, gathered INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE INDEX runs_by_start ON runs (started_ms);
CREATE TABLE run_categories (
    run INTEGER NOT NULL, category TEXT NOT NULL, direction TEXT NOT NULL, records INTEGER NOT NULL,
    bytes INTEGER NOT NULL, seconds REAL NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (run, category, direction)
) STRICT, WITHOUT ROWID;

-- Rules that are broken now; one that is right again has no row. evidence and records are JSON.
CREATE TABLE pendencies (
    id TEXT PRIMARY KEY, rule TEXT NOT NULL, category TEXT NOT NULL, doc TEXT NOT NULL, key TEXT NOT NULL,
    owner TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL, message TEXT NOT NULL, effect TEXT NOT NULL,
    evidence TEXT NOT NULL, episode TEXT NOT NULL, status TEXT NOT NULL, records TEXT NOT NULL,
    direction TEXT NOT NULL, run INTEGER, opened_ms INTEGER NOT NULL, crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pendencies_in_order ON pendencies (instr('BAMI', severity), id);
-- Counting reads nothing else, whatever the filters.
CREATE INDEX pendencies_by_status ON pendencies (severity, owner, status, rule, category);
-- Every commit asks whether a rule is broken anywhere.
CREATE INDEX pendencies_by_rule ON pendencies (rule, category);

-- Which pendencies show a record: they are looked at again when it changes.
CREATE TABLE pendency_records (
    doc TEXT NOT NULL, key TEXT NOT NULL, pendency TEXT NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (doc, key, pendency)
) STRICT, WITHOUT ROWID;

-- Records under the values that group rules compare, and under what their rows refer to.
CREATE TABLE filings (
    category TEXT NOT NULL, rule TEXT NOT NULL, doc TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    crc INTEGER NOT NULL, PRIMARY KEY (category, rule, doc, key, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX filings_by_value ON filings (category, rule, value);

-- When a rule looks again although nothing changes, ms since 1970 UTC.
CREATE TABLE due (
    category TEXT NOT NULL, rule TEXT NOT NULL, doc TEXT NOT NULL, key TEXT NOT NULL, at_ms INTEGER NOT NULL,
    crc INTEGER NOT NULL, PRIMARY KEY (category, rule, doc, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX due_in_order ON due (at_ms);
"""

ADDED_DDL = """
-- Who may connect: devices by the SHA-256 of their key, unused pairing codes by that of their secret.
CREATE TABLE IF NOT EXISTS devices (
    id TEXT PRIMARY KEY, status TEXT NOT NULL, device TEXT, role TEXT NOT NULL, store TEXT NOT NULL, key BLOB,
    expires_ms INTEGER, changed_ms INTEGER NOT NULL, crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
"""Tables that a store of this format may lack: a version before them wrote it. They are made at the next opening."""

OWN_TABLES: Mapping[str, int] = {
    "documents": 1,
    "journal": 2,
    "snapshots": 1,
    "heads": 2,
    "changes": 3,
    "parked": 3,
    "acked": 3,
    "meta": 1,
    "replicas": 1,
    "runs": 1,
    "run_categories": 3,
    "pendencies": 1,
    "pendency_records": 3,
    "filings": 5,
    "due": 4,
    "devices": 1,
}
"""Name of each of the store's own tables -> how many leading columns are its key. The last column is `crc`."""

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")

_TAKEN = frozenset(re.findall(r"CREATE (?:TABLE|INDEX) (?:IF NOT EXISTS )?(\w+)", DDL + ADDED_DDL))
# A view called so would be read in the place of SQLite's function.
_TAKEN |= {"json_each"}
_TAKEN_STARTS = ("rec_", "sqlite_")


def records_stamped(rows: Iterable[Row], numbers: Mapping[str, int]) -> Iterator[tuple[Any, ...]]:
    """Rows of the read model as they are stored: the document's number for its id, and the checksum of the whole Row.

    The one loop that a bulk load spends its time in, hence a packer of its own and one tuple a row.
    """
    pack = msgpack.Packer().pack
    crc32 = zlib.crc32
    for row in rows:
        yield (numbers[row[0]], *row[1:], crc32(pack(row)))


def checksum(row: tuple[Any, ...]) -> int:
    """CRC-32 of the row's values in msgpack, which tells NULL, 1 and "1" apart."""
    return zlib.crc32(msgpack.packb(row))


def stamp(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row with its checksum appended, as it is stored. Values are None, int (no bool), float, str and bytes."""
    return (*row, zlib.crc32(msgpack.packb(row)))


@dataclass(frozen=True)
class TableSpec:
    """What storage needs to know of one category; `table_specs` builds it from the category's Shape.

    Attributes:
        category: also the name of the category's view.
        partition_columns: names of the document id's parts after the category, in order.
        key_columns: the key's names; with more than one (`composite`) they are also the first of `columns`.
        columns: `(name, SQL type)` of the read model, TEXT or INTEGER.
        indexes: columns that get an index.
        rows_views: column holding a JSON array of arrays -> `(name, SQL type)` of each position; each becomes the view
            `<category>_<column>`.
        types: what the values are, by field and `key`: a store remembers them, and refuses others under the same name.
    """

    category: str
    partition_columns: tuple[str, ...]
    key_columns: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    indexes: tuple[str, ...] = ()
    rows_views: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)

    @property
    def composite(self) -> bool:
        """Whether the key has several parts."""
        return len(self.key_columns) > 1

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """The read model's columns, in the order of a Row."""
        return tuple(name for name, _ in self.columns)

    @cached_property
    def description(self) -> dict[str, Any]:
        """Plain facts as JSON gives them back, kept in the store to recognize a changed adapter at an opening."""
        described: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return described

    @classmethod
    def from_description(cls, facts: Mapping[str, Any]) -> TableSpec:
        """The inverse of `description`."""
        return cls(
            category=facts["category"],
            partition_columns=tuple(facts["partition_columns"]),
            key_columns=tuple(facts["key_columns"]),
            columns=_pairs(facts["columns"]),
            indexes=tuple(facts["indexes"]),
            rows_views={column: _pairs(pairs) for column, pairs in facts["rows_views"].items()},
            # A version before them wrote none.
            types=facts.get("types", {}),
        )

    def problem(self) -> str | None:
        """Why no table can be made of this, or None."""
        if self.category in _TAKEN or self.category.startswith(_TAKEN_STARTS):
            return f"category {self.category!r} has the name of one of the store's own tables; rename it"
        key = self.key_columns if not self.composite else ()
        shown = (*self.partition_columns, *key, *self.column_names)
        names = [self.category, *shown]
        for column, positions in self.rows_views.items():
            line = (*self.partition_columns, *self.key_columns, "line", *(name for name, _ in positions))
            names.extend((column, *line))
            view = f"{self.category}_{column}"
            if view in _TAKEN or view.startswith(_TAKEN_STARTS):
                return f"view {view} would have the name of one of the store's own tables; rename {column!r}"
            if len(set(line)) < len(line):
                return (
                    f"view {self.category}_{column} would show a column twice ({', '.join(line)}); rename one"
                )
        bad = [name for name in names if not _NAME.match(name)]
        if bad:
            return f"category {self.category!r}: {bad[0]!r} is no column name; use a-z, 0-9 and _, a letter first"
        if len({name.lower() for name in shown}) < len(shown):
            return f"view {self.category} would show a column twice ({', '.join(shown)}); rename one"
        if self.composite and self.column_names[: len(self.key_columns)] != self.key_columns:
            return f"category {self.category!r}: a composite key's columns must be the first columns"
        if len(self.partition_columns) > PARTITION_PARTS_MAX:
            return f"category {self.category!r}: more than {PARTITION_PARTS_MAX} partition columns"
        unknown = {*self.indexes, *self.rows_views} - {*self.column_names}
        if unknown:
            return f"category {self.category!r}: {unknown.pop()!r} is indexed or viewed but is no column"
        return None


def table_specs(schema: Schema) -> list[TableSpec]:
    """Return the read-model tables of a schema."""
    return [
        TableSpec(
            category=shape.category,
            partition_columns=shape.partition.columns,
            key_columns=tuple(field.column for field in shape.keys),
            columns=shape.columns,
            indexes=shape.indexes,
            rows_views=shape.rows_views,
            types=shape.types,
        )
        for shape in schema.shapes.values()
    ]


class RecordTable:
    """The SQL of one category's table `rec_<category>` and of its views."""

    def __init__(self, spec: TableSpec) -> None:
        self.spec = spec
        self.name = f"rec_{spec.category}"
        stored = ("_doc", "_key", *spec.column_names, "_deleted", "_conflicts")
        self.row_columns = ", ".join(quoted(name) for name in stored)
        places = ", ".join("?" * (len(stored) + 1))
        # OR REPLACE would also blank the columns that a later adapter no longer declares.
        updates = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in (*stored[2:], "_crc"))
        self.upsert = (
            f"INSERT INTO {self.name} ({self.row_columns}, _crc) VALUES ({places}) "
            f"ON CONFLICT (_doc, _key) DO UPDATE SET {updates}"
        )
        number = "(SELECT id FROM documents WHERE doc = ?)"
        self.restamp = f"UPDATE {self.name} SET _crc = ? WHERE _doc = {number} AND _key = ?"
        self.drop_doc = f"DELETE FROM {self.name} WHERE _doc = ?"
        self.get = f"SELECT {self.row_columns} FROM {self.name} WHERE _doc = ? AND _key = ?"
        self.get_many = (
            f"SELECT {self.row_columns} FROM {self.name} "
            "WHERE _doc = ? AND _key IN (SELECT value FROM json_each(?))"
        )
        self.exists = f"SELECT 1 FROM {self.name} WHERE _doc = ? AND _key = ? AND _deleted = 0"
        # The checksum is of the Row, so the document's id is needed, not its number.
        doc = f"coalesce((SELECT doc FROM documents WHERE id = {self.name}._doc), '#' || _doc)"
        self.everything = f"SELECT {doc}, {', '.join(map(quoted, stored[1:]))}, _crc FROM {self.name}"

    def create(self) -> str:
        """CREATE TABLE."""
        columns = "".join(f"    {quoted(name)} {sql_type},\n" for name, sql_type in self.spec.columns)
        return (
            f"CREATE TABLE {self.name} (\n    _doc INTEGER NOT NULL,\n    _key TEXT NOT NULL,\n{columns}"
            "    _deleted INTEGER NOT NULL,\n    _conflicts TEXT,\n    _crc INTEGER NOT NULL,\n"
            "    PRIMARY KEY (_doc, _key)\n) STRICT, WITHOUT ROWID"
        )

    def add_column(self, name: str, sql_type: str) -> str:
        """ALTER TABLE for a field that a newer adapter declares; old rows hold NULL in it."""
        return f"ALTER TABLE {self.name} ADD COLUMN {quoted(name)} {sql_type}"

    def indexes(self) -> list[str]:
        """CREATE INDEX for each column the category marks. Nobody looks for empty ones, and many references are empty."""
        return [
            f"CREATE INDEX IF NOT EXISTS {self.name}_by_{column} ON {self.name} ({quoted(column)}) "
            f"WHERE {quoted(column)} IS NOT NULL"
            for column in self.spec.indexes
        ]

    def views(self) -> dict[str, str]:
        """Name -> CREATE VIEW of what other programs read: the records that are not deleted, in typed columns."""
        spec = self.spec
        partition = [f"d.p{place} AS {quoted(name)}" for place, name in enumerate(spec.partition_columns, 1)]
        if spec.composite:
            key = [f"r.{quoted(name)}" for name in spec.key_columns]
            fields = [f"r.{quoted(name)}" for name in spec.column_names]
        else:
            key = [f"r._key AS {quoted(spec.key_columns[0])}"]
            fields = key + [f"r.{quoted(name)}" for name in spec.column_names]
        # Documents first, and few: SQLite then finds a record by its key in each, where it would look through the whole table.
        source = (
            f"FROM documents AS d CROSS JOIN {self.name} AS r ON r._doc = d.id "
            f"AND d.category = '{spec.category}'"
        )
        made = {spec.category: f"SELECT {', '.join(partition + fields)} {source} WHERE r._deleted = 0"}
        for column, positions in spec.rows_views.items():
            cells = [
                f"json_extract(j.value, '$[{place}]') AS {quoted(name)}"
                for place, (name, _) in enumerate(positions)
            ]
            shown = ", ".join([*partition, *key, "j.key + 1 AS line", *cells])
            made[f"{spec.category}_{column}"] = (
                f"SELECT {shown} {source}, json_each(r.{quoted(column)}) AS j WHERE r._deleted = 0"
            )
        return {name: f"CREATE VIEW {quoted(name)} AS {select}" for name, select in made.items()}


def _pairs(listed: Iterable[Iterable[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, sql_type) for name, sql_type in listed)


def quoted(name: str) -> str:
    """A name that may be one of SQL's own words; `TableSpec.problem` has refused everything that needs escaping."""
    return f'"{name}"'
