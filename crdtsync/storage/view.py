"""Reads: the `View` of base.py over one sqlite3 connection.

It only reads, on the connection's own thread, and answers nothing after its callback has returned.
"""

# ruff: noqa: S608 - table and column names come from TableSpec, which accepts a-z, 0-9 and _ only; values are bound.

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import msgpack

from crdtsync import limits
from crdtsync.errors import JournalCorrupt, StoreClosed, StoreCorrupt, StoreMismatch
from crdtsync.said import say
from crdtsync.storage.base import (
    ChangeRow,
    DamagedRow,
    DeviceRow,
    DueRow,
    Filing,
    HeadRow,
    ParkedRow,
    PendencyRow,
    ReplicaRow,
    Row,
    RunCategoryRow,
    RunRow,
    Wire,
)
from crdtsync.storage.tables import OWN_TABLES, RecordTable, checksum

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping


_DOC_AT = dict.fromkeys(("journal", "snapshots", "heads", "changes", "parked"), 0)
"""Own tables that are about one document -> the column that says which."""


class Documents:
    """Document ids by number and numbers by id, as in the table `documents`; numbers are 1, 2, 3 and so on."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.numbers: dict[str, int] = {}
        self.by_category: dict[str, list[str]] = {}

    def add(self, doc: str) -> int:
        """Give `doc` the next number."""
        self.names.append(doc)
        self.numbers[doc] = len(self.names)
        self.by_category.setdefault(doc.partition("/")[0], []).append(doc)
        return len(self.names)

    def truncate(self, length: int) -> None:
        """Forget the documents after the first `length`: their transaction was rolled back."""
        while len(self.names) > length:
            doc = self.names.pop()
            del self.numbers[doc]
            self.by_category[doc.partition("/")[0]].pop()

    def name(self, number: int | None) -> str:
        """The id of document `number`, or a placeholder that names the number when the store lost it, or the number."""
        if number is None or not 0 < number <= len(self.names):
            return f"#{number}"
        return self.names[number - 1]


class SqlView:
    """`View` over SQLite."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        documents: Documents,
        tables: Mapping[str, RecordTable],
        any_of: dict[tuple[str, ...], bool],
        path: str,
    ) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._documents = documents
        self._tables = tables
        self._any = any_of
        self._path = path

    def end(self) -> None:
        """The callback has returned: every later read raises StoreClosed."""

        def refuse(*_: object) -> NoReturn:
            raise StoreClosed(self._path)

        self._execute = refuse
        self._any = {}

    def documents(self, category: str | None = None) -> list[str]:
        """See View."""
        # Not a query: opening the store has read and checked them, and every transaction asks.
        if category is None:
            return list(self._documents.names)
        return list(self._documents.by_category.get(category, ()))

    def heads(self) -> list[HeadRow]:
        """See View."""
        name = self._documents.name
        return [HeadRow(name(doc), *rest) for doc, *rest in self._own("SELECT * FROM heads", "heads")]

    def snapshot(self, doc: str) -> tuple[bytes, int] | None:
        """See View."""
        row = self._execute("SELECT * FROM snapshots WHERE doc = ?", (self._number(doc),)).fetchone()
        if row is None:
            return None
        self._check_of_log(row, doc, None)
        return row[1], row[2]

    def journal(self, doc: str) -> list[tuple[int, bytes]]:
        """See View."""
        updates = []
        for row in self._execute("SELECT * FROM journal WHERE doc = ? ORDER BY id", (self._number(doc),)):
            self._check_of_log(row, doc, row[1])
            updates.append((row[1], row[2]))
        if sum(len(update) for _, update in updates) >= limits.LOAD_BYTES_LARGE:
            # What was read stays in memory as a document; SQLite's pages of it are of no more use.
            self._execute("PRAGMA shrink_memory")
        return updates

    def journal_end(self, doc: str) -> int:
        """See View."""
        sql = "SELECT * FROM journal WHERE doc = ? ORDER BY id DESC LIMIT 1"
        row = self._execute(sql, (self._number(doc),)).fetchone()
        if row is None:
            snapshot = self.snapshot(doc)
            return snapshot[1] if snapshot else 0
        newest: int = row[1]
        self._check_of_log(row, doc, newest)
        return newest

    def _check_of_log(self, row: tuple[Any, ...], doc: str, at: int | None) -> None:
        if checksum(row[:-1]) != row[-1]:
            raise JournalCorrupt(self._path, doc, at)

    def change_rows(self, doc: str, replica: int, after: int, limit: int) -> list[ChangeRow]:
        """See View."""
        sql = "SELECT * FROM changes WHERE doc = ? AND replica = ? AND seq > ? ORDER BY seq LIMIT ?"
        rows = self._own(sql, "changes", self._number(doc), replica, after, limit)
        return [ChangeRow(doc, replica, row[2], tuple(msgpack.unpackb(row[4]))) for row in rows]

    def changed_keys(self, doc: str, replica: int, after: int, upto: int) -> set[str]:
        """See View."""
        where = "FROM changes WHERE doc = ? AND replica = ? AND seq > ? AND seq <= ?"
        asked = (self._number(doc), replica, after, upto)
        # Many writes name the same few records: SQLite sorts those out in a sixteenth of the time that reading each row takes.
        packed = self._execute(f"SELECT DISTINCT keys {where}", asked).fetchall()
        with suppress(ValueError, TypeError, msgpack.UnpackException):
            found = {key for (keys,) in packed for key in msgpack.unpackb(keys)}
            if all(type(key) is str for key in found):
                return found
        # Its checksum tells which row it is.
        self._own(f"SELECT * {where}", "changes", *asked)
        raise StoreCorrupt(self._path, say("a row of the by-sequence index cannot be read"))

    def meta(self, key: str) -> bytes | None:
        """See View."""
        rows = self._own("SELECT * FROM meta WHERE key = ?", "meta", key)
        return rows[0][1] if rows else None

    def get(self, category: str, doc: str, key: str) -> Row | None:
        """See View."""
        row = self._execute(self._table(category).get, (self._number(doc), key)).fetchone()
        return None if row is None else (doc, *row[1:])

    def get_many(self, category: str, doc: str, keys: Collection[str]) -> dict[str, Row]:
        """See View."""
        # One statement for any number of keys, so it stays prepared.
        rows = self._execute(self._table(category).get_many, (self._number(doc), json.dumps(list(keys))))
        return {row[1]: (doc, *row[1:]) for row in rows}

    def exists(self, category: str, doc: str, key: str) -> bool:
        """See View."""
        return self._execute(self._table(category).exists, (self._number(doc), key)).fetchone() is not None

    def select(
        self,
        category: str,
        *,
        doc: str | None = None,
        where: Mapping[str, Wire] | None = None,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
        include_deleted: bool = False,
    ) -> list[Row]:
        """See View."""
        table = self._table(category)
        conditions, values = self._conditions(table, doc, where, include_deleted=include_deleted)
        if after is not None:
            conditions.append("(_doc, _key) > (?, ?)")
            values += [self._number(after[0]), after[1]]
        sql = f"SELECT {table.row_columns} FROM {table.name}{_where(conditions)} ORDER BY _doc, _key LIMIT ?"
        name = self._documents.name
        return [
            (name(row[0]), *row[1:]) for row in self._execute(sql, (*values, -1 if limit is None else limit))
        ]

    def count(
        self,
        category: str,
        *,
        doc: str | None = None,
        where: Mapping[str, Wire] | None = None,
        include_deleted: bool = False,
    ) -> int:
        """See View."""
        table = self._table(category)
        conditions, values = self._conditions(table, doc, where, include_deleted=include_deleted)
        sql = f"SELECT count(*) FROM {table.name}{_where(conditions)}"
        return int(self._execute(sql, tuple(values)).fetchone()[0])

    def parked(self) -> list[ParkedRow]:
        """See View."""
        name = self._documents.name
        rows = self._own("SELECT * FROM parked ORDER BY doc, replica, seq", "parked")
        return [ParkedRow(name(doc), *rest) for doc, *rest in rows]

    def pendencies(
        self,
        *,
        rule: str | None = None,
        category: str | None = None,
        owner: str | None = None,
        severity: str | None = None,
        status: str | None = None,
        opened_until_ms: int | None = None,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> list[PendencyRow]:
        """See View."""
        conditions, values = _asked(rule=rule, category=category, owner=owner, status=status)
        if opened_until_ms is not None:
            conditions.append("opened_ms <= ?")
            values.append(opened_until_ms)
        if severity is not None:
            # As in the index that has the order of the list, so that a page reads no more than its rows.
            conditions.append("instr('BAMI', severity) = instr('BAMI', ?)")
            values.append(severity)
        if after is not None:
            # The first half is what the index seeks by; row values would scan it.
            place = "instr('BAMI', severity)"
            conditions.append(f"{place} >= instr('BAMI', ?) AND ({place} > instr('BAMI', ?) OR id > ?)")
            values += [after[0], *after]
        sql = f"SELECT * FROM pendencies{_where(conditions)} ORDER BY instr('BAMI', severity), id LIMIT ?"
        rows = self._own(sql, "pendencies", *values, -1 if limit is None else limit)
        return [PendencyRow(*row) for row in rows]

    def count_pendencies(
        self,
        *,
        rule: str | None = None,
        category: str | None = None,
        owner: str | None = None,
        severity: str | None = None,
        status: str | None = None,
        opened_until_ms: int | None = None,
    ) -> int:
        """See View."""
        conditions, values = _asked(
            rule=rule, category=category, owner=owner, severity=severity, status=status
        )
        if opened_until_ms is not None:
            conditions.append("opened_ms <= ?")
            values.append(opened_until_ms)
        sql = f"SELECT count(*) FROM pendencies{_where(conditions)}"
        return int(self._execute(sql, tuple(values)).fetchone()[0])

    def pendency(self, pendency_id: str) -> PendencyRow | None:
        """See View."""
        rows = self._own("SELECT * FROM pendencies WHERE id = ?", "pendencies", pendency_id)
        return PendencyRow(*rows[0]) if rows else None

    def pendencies_named(self, ids: Iterable[str]) -> dict[str, PendencyRow]:
        """See View."""
        sql = "SELECT * FROM pendencies WHERE id IN (SELECT value FROM json_each(?))"
        found = [PendencyRow(*row) for row in self._own(sql, "pendencies", json.dumps(list(ids)))]
        return {row.id: row for row in found}

    def pendency_counts(self) -> dict[tuple[str, str, str], int]:
        """See View."""
        sql = "SELECT severity, owner, status, count(*) FROM pendencies GROUP BY severity, owner, status"
        return {(severity, owner, status): count for severity, owner, status, count in self._execute(sql)}

    def pendencies_by_document(self) -> dict[str, int]:
        """See View."""
        return dict(
            self._execute("SELECT doc, count(*) FROM pendencies WHERE status = 'open' GROUP BY doc", ())
        )

    def pendencies_showing(self, doc: str, keys: Collection[str]) -> list[PendencyRow]:
        """See View."""
        sql = (
            "SELECT DISTINCT pendency FROM json_each(?) CROSS JOIN pendency_records AS shown ON shown.key = json_each.value "
            "WHERE doc = ? ORDER BY pendency"
        )
        names = [row[0] for row in self._execute(sql, (json.dumps(list(keys)), doc))]
        found = self.pendencies_named(names) if names else {}
        return [found[name] for name in names if name in found]

    def filed(
        self, category: str, rule: str, values: Collection[str], *, limit: int | None = None
    ) -> list[Filing]:
        """See View."""
        sql = (
            # Without statistics SQLite would rather read the whole rule by the primary key.
            "SELECT * FROM filings INDEXED BY filings_by_value WHERE category = ? AND rule = ? "
            "AND value IN (SELECT value FROM json_each(?)) ORDER BY value, doc, key LIMIT ?"
        )
        asked = (category, rule, json.dumps(list(values)), -1 if limit is None else limit)
        return [Filing(*row) for row in self._own(sql, "filings", *asked)]

    def filings(self, category: str, rule: str, doc: str, keys: Collection[str]) -> list[Filing]:
        """See View."""
        sql = (
            "SELECT filings.* FROM json_each(?) CROSS JOIN filings ON filings.key = json_each.value "
            "WHERE category = ? AND rule = ? AND doc = ? ORDER BY filings.key, filings.value"
        )
        return [
            Filing(*row) for row in self._own(sql, "filings", json.dumps(list(keys)), category, rule, doc)
        ]

    def files_any(self, category: str, rule: str) -> bool:
        """See View."""
        known = self._any.get((category, rule))
        if known is None:
            sql = "SELECT 1 FROM filings WHERE category = ? AND rule = ? LIMIT 1"
            known = self._execute(sql, (category, rule)).fetchone() is not None
            self._any[category, rule] = known
        return known

    def breaks_any(self, category: str | None = None, rule: str | None = None) -> bool:
        """See View."""
        known = self._any.get(()) if category is None and rule is None else None
        if known is None:
            conditions, values = _asked(rule=rule, category=category)
            sql = f"SELECT 1 FROM pendencies{_where(conditions)} LIMIT 1"
            known = self._execute(sql, values).fetchone() is not None
            if not conditions:
                self._any[()] = known
        return known

    def due(self, now_ms: int) -> list[DueRow]:
        """See View."""
        rows = self._own("SELECT * FROM due WHERE at_ms <= ? ORDER BY at_ms", "due", now_ms)
        return [DueRow(*row) for row in rows]

    def select_in(
        self, category: str, column: str, values: Collection[Wire], *, limit: int | None = None
    ) -> list[Row]:
        """See View."""
        table = self._table(category)
        self._conditions(table, None, {column: None}, include_deleted=True)
        sql = (
            f'SELECT {table.row_columns} FROM {table.name} WHERE "{column}" IN (SELECT value FROM json_each(?)) '
            "AND _deleted = 0 ORDER BY _doc, _key LIMIT ?"
        )
        name = self._documents.name
        asked = (json.dumps(list(values)), -1 if limit is None else limit)
        return [(name(row[0]), *row[1:]) for row in self._execute(sql, asked)]

    def acked(self, link: str) -> dict[tuple[str, int], int]:
        """See View."""
        rows = self._own("SELECT * FROM acked WHERE link = ?", "acked", link)
        return {(self._documents.name(doc), replica): seq for _, doc, replica, seq in rows}

    def replicas(self) -> list[ReplicaRow]:
        """See View."""
        return [ReplicaRow(*row) for row in self._own("SELECT * FROM replicas ORDER BY replica", "replicas")]

    def devices(self) -> list[DeviceRow]:
        """See View."""
        return [DeviceRow(*row) for row in self._own("SELECT * FROM devices ORDER BY id", "devices")]

    def runs(self, *, since_ms: int = 0, before: int | None = None, limit: int | None = None) -> list[RunRow]:
        """See View."""
        # The oldest that began since then is found first, so that older rows are not read; a clock may have been set back.
        sql = "SELECT coalesce(min(+id), ?) FROM runs WHERE started_ms >= ?"
        oldest = self._execute(sql, (limits.SEQ_MAX, since_ms)).fetchone()[0] if since_ms else 0
        sql = "SELECT * FROM runs WHERE id < ? AND id >= ? AND started_ms >= ? ORDER BY id DESC LIMIT ?"
        newest = limits.SEQ_MAX if before is None else before
        rows = self._own(sql, "runs", newest, oldest, since_ms, -1 if limit is None else limit)
        sql = (
            "SELECT parts.* FROM json_each(?) CROSS JOIN run_categories AS parts ON parts.run = json_each.value "
            "ORDER BY run, category, direction"
        )
        parts: dict[int, list[RunCategoryRow]] = {}
        for run, *part in self._own(sql, "run_categories", json.dumps([row[0] for row in rows])):
            parts.setdefault(run, []).append(RunCategoryRow(*part))
        return [RunRow(*row, tuple(parts.get(row[0], ()))) for row in rows]  # type: ignore[call-arg] # a star hides that there are fourteen

    def moved_by_hour(self, since_ms: int) -> list[tuple[int, int]]:
        """See View."""
        # Whole hours in milliseconds; SQLite divides whole numbers to a whole number.
        sql = (
            "SELECT started_ms / 3600000 * 3600000 AS hour, sum(records_down + records_up) FROM runs "
            "WHERE started_ms >= ? GROUP BY hour ORDER BY hour"
        )
        return [(hour, records) for hour, records in self._execute(sql, (since_ms,))]

    def runs_until(self, until_ms: int) -> list[tuple[int, int, str]]:
        """See View."""
        sql = "SELECT * FROM runs WHERE started_ms < ? ORDER BY id"
        return [(row[0], row[3], row[5]) for row in self._own(sql, "runs", until_ms)]

    def check_rows(self, category: str) -> Iterator[str]:
        """See View."""
        table = self._table(category)
        return iter([f"{row[0]}/{row[1]}" for row in self._damaged(table.everything)])

    def integrity(self) -> list[str]:
        """See View."""
        found: list[str] = []
        try:
            # Not quick_check: only this one compares the indexes with their tables.
            found += [row[0] for row in self._execute("PRAGMA integrity_check") if row[0] != "ok"]
        except sqlite3.DatabaseError as error:
            found.append(f"integrity_check: {error}")
        for name, sql in self._everything().items():
            keys = OWN_TABLES.get(name, 2)
            try:
                found += [f"{name} row {row[:keys]} fails its checksum" for row in self._damaged(sql)]
            except sqlite3.DatabaseError as error:
                found.append(f"{name}: {error}")
        return found

    def damaged(self, tables: Collection[str] | None = None) -> list[DamagedRow]:
        """See View."""
        return [
            DamagedRow(name, row[: OWN_TABLES.get(name, 2)], row, self._doc_of(name, row))
            for name, sql in self._everything().items()
            if tables is None or name in tables
            for row in self._damaged(sql)
        ]

    def _everything(self) -> dict[str, str]:
        """Table -> what reads every row of it, the checksum last."""
        everything = {name: f"SELECT * FROM {name}" for name in OWN_TABLES}
        everything.update({table.name: table.everything for table in self._tables.values()})
        return everything

    def _doc_of(self, table: str, row: tuple[Any, ...]) -> str | None:
        at = _DOC_AT.get(table, 0 if table not in OWN_TABLES else None)
        if at is None:
            return None
        doc = self._documents.name(row[at]) if isinstance(row[at], int) else row[at]
        return doc if doc in self._documents.numbers else None

    def _damaged(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows whose last column is not the checksum of the others, bytes that are no longer UTF-8 included."""
        usual = self._connection.text_factory
        # A flipped byte may not be UTF-8 any more; as bytes it fails the checksum all the same, and the scan goes on.
        self._connection.text_factory = _text_or_bytes
        try:
            return [row for row in self._execute(sql) if checksum(row[:-1]) != row[-1]]
        finally:
            self._connection.text_factory = usual

    def _own(self, sql: str, table: str, *values: Wire) -> list[tuple[Any, ...]]:
        """Rows of one of the store's own tables without their checksum, which is checked first."""
        rows = self._execute(sql, values).fetchall()
        for row in rows:
            if checksum(row[:-1]) != row[-1]:
                raise StoreCorrupt(
                    self._path,
                    say("{table} row {row} fails its checksum", table=table, row=row[: OWN_TABLES[table]]),
                )
        return [row[:-1] for row in rows]

    def _number(self, doc: str) -> int:
        """The document's number; 0, which no row has, for one never seen."""
        return self._documents.numbers.get(doc, 0)

    def _table(self, category: str) -> RecordTable:
        try:
            return self._tables[category]
        except KeyError:
            raise unknown_category(self._path, category, self._tables) from None

    def _conditions(
        self, table: RecordTable, doc: str | None, where: Mapping[str, Wire] | None, *, include_deleted: bool
    ) -> tuple[list[str], list[Wire]]:
        """SQL conditions, and the values they bind."""
        conditions: list[str] = []
        values: list[Wire] = []
        if doc is not None:
            conditions.append("_doc = ?")
            values.append(self._number(doc))
        for column, value in (where or {}).items():
            if column not in table.spec.column_names:
                known = ", ".join(table.spec.column_names)
                raise StoreMismatch(
                    self._path,
                    say(
                        "category {category} has no column {column}; use one of: {known}",
                        category=repr(table.spec.category),
                        column=repr(column),
                        known=known,
                    ),
                )
            # IS would not use the index, which leaves empty ones out.
            conditions.append(f'"{column}" IS NULL' if value is None else f'"{column}" = ?')
            values += [] if value is None else [value]
        if not include_deleted:
            conditions.append("_deleted = 0")
        return conditions, values


def unknown_category(path: str, category: str, known: Iterable[str]) -> StoreMismatch:
    """The error for a category that the store was opened without."""
    return StoreMismatch(
        path,
        say(
            "{path}: no table for category {category}; open the store with its adapter (have: {known})",
            path=path,
            category=repr(category),
            known=list(known),
        ),
    )


def _asked(**columns: str | None) -> tuple[list[str], list[Wire]]:
    """SQL conditions for the columns that must have a value, and the values they bind."""
    asked = {column: value for column, value in columns.items() if value is not None}
    return [f"{column} = ?" for column in asked], list(asked.values())


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _text_or_bytes(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
