"""Writes: one store over one sqlite3 connection, synchronous, all SQL that changes anything.

`sqlite.py` runs it in a thread over a file, `memory.py` inline over memory. It never opens a file, starts a thread or
decides when to run; whoever owns the connection calls it from one thread at a time.
"""

# ruff: noqa: S608 - names come from TableSpec, which accepts a-z, 0-9 and _ only, or from here; values are bound.

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

import msgpack

from crdtsync import limits
from crdtsync.errors import StoreBusy, StoreCorrupt, StoreMismatch, StoreTooNew, StoreUnavailable
from crdtsync.said import say
from crdtsync.storage.base import DeviceRow, Filing, PendencyRow
from crdtsync.storage.tables import (
    ADDED_DDL,
    APPLICATION_ID,
    DDL,
    FORMAT,
    OWN_TABLES,
    PARTITION_PARTS_MAX,
    RecordTable,
    TableSpec,
    checksum,
    quoted,
    records_stamped,
    stamp,
)
from crdtsync.storage.view import Documents, SqlView, unknown_category

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from crdtsync.storage.base import ChangeRow, Commit, DamagedRow, PendencyChanges, RunRow, View

T = TypeVar("T")

_pendency = attrgetter(*(field.name for field in fields(PendencyRow)))
_device = attrgetter(*(field.name for field in fields(DeviceRow)))
_filing = attrgetter(*(field.name for field in fields(Filing)))
_subject = attrgetter("category", "rule", "doc", "key")

TABLES_KEY = "storage/tables"
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_REFUSED = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn what the disk did into the errors of base.py. Constraint and SQL errors are bugs and pass unchanged."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        # All names are this program's own: one that is not there was there when it made the file.
        gone = isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such ")
        if code in _DAMAGED or gone or "decode" in str(error):
            raise StoreCorrupt(
                path, say("the file is damaged or is not a store ({error})", error=error)
            ) from error
        if code in _LOCKED:
            raise StoreBusy(path, str(error)) from error
        if code in _REFUSED:
            raise StoreUnavailable(path, str(error)) from error
        raise


class Database:
    """One store: its tables kept up to date with the adapters, commits, reads.

    Args:
        connection: opened with `isolation_level=None`; this object closes it.
        tables: one for each category.
        path: for messages.

    Raises:
        StoreCorrupt, StoreTooNew, StoreMismatch, StoreUnavailable: as `Storage.open`; the connection is closed then.
    """

    def __init__(self, connection: sqlite3.Connection, tables: Sequence[TableSpec], path: str) -> None:
        self.connection = connection
        self.path = path
        self._documents = Documents()
        self._tables = {spec.category: RecordTable(spec) for spec in tables}
        # What every commit asks, while the answer seldom changes: (category, rule) -> whether anything is filed for it,
        # () -> whether there is any pendency.
        self._any: dict[tuple[str, ...], bool] = {}
        self._journal_id = 0
        # A plain attribute: it is read from another thread.
        self.checkpoint_due = False
        self._checkpointed_at = 0
        try:
            with translated(path):
                self._refuse_bad_names(tables)
                new = self._is_new()
                self._set_pragmas()
                self._prepare(new=new)
                self._load()
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""
        self.connection.close()

    def read(self, fn: Callable[[View], T]) -> T:
        """Run `fn` with a view; see Storage.read."""
        view = self._view()
        try:
            with translated(self.path):
                return fn(view)
        except StopIteration as error:
            # It cannot cross a future or a generator: the caller would wait for ever.
            raise RuntimeError("the callback raised StopIteration") from error
        finally:
            view.end()

    def commit(self, commit: Commit) -> int:
        """One commit, one transaction; see Storage.commit."""
        with translated(self.path), self._transaction():
            self._apply(commit)
        return self._journal_id

    def commit_group(self, commits: Sequence[Commit]) -> list[int | BaseException]:
        """Several commits in one transaction and one fsync; each stands or falls alone (a savepoint each).

        Returns:
            For each commit what `commit` would have returned or raised.
        """
        if len(commits) == 1:
            return [_outcome(self.commit, commits[0])]
        outcomes: list[int | BaseException] = []
        try:
            with translated(self.path), self._transaction():
                outcomes.extend(_outcome(self._savepoint, commit) for commit in commits)
        except BaseException as error:  # noqa: BLE001 - every caller of the group gets it
            if not outcomes:
                return [error] * len(commits)
            return [outcome if isinstance(outcome, BaseException) else error for outcome in outcomes]
        return outcomes

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the file; see Storage.checkpoint."""
        self._checkpointed_at = self.connection.total_changes
        self.checkpoint_due = False
        with translated(self.path):
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    # -- opening ------------------------------------------------------------------------------------------------------

    def _refuse_bad_names(self, tables: Sequence[TableSpec]) -> None:
        views: dict[str, str] = {}
        for spec in tables:
            problem = spec.problem()
            for view in (spec.category, *(f"{spec.category}_{column}" for column in spec.rows_views)):
                if view in views:
                    problem = f"categories {views[view]!r} and {spec.category!r} both make the view {view}; rename one"
                views[view] = spec.category
            if problem:
                raise StoreMismatch(self.path, say("{path}: {problem}", path=self.path, problem=problem))

    def _is_new(self) -> bool:
        """Whether the file is empty. Looks only: a file that is not ours must be left as it is."""
        application = self._pragma("application_id")
        found = self._pragma("user_version")
        tables = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application == 0 and found == 0 and tables == 0:
            return True
        if application != APPLICATION_ID:
            raise StoreCorrupt(self.path, say("the file is a SQLite database of another program"))
        if found > FORMAT:
            raise StoreTooNew(self.path, found, FORMAT)
        return False

    def _set_pragmas(self) -> None:
        mode = self.connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode not in {"wal", "memory"}:
            raise StoreUnavailable(
                self.path,
                say("the file system does not allow a write-ahead log, only {mode}", mode=repr(mode)),
            )
        for pragma in (
            # An acknowledged commit survives a power cut.
            "synchronous = FULL",
            f"cache_size = -{limits.STORE_CACHE_KIB}",
            f"wal_autocheckpoint = {limits.STORE_WAL_CHECKPOINT_PAGES}",
            "temp_store = MEMORY",
        ):
            self.connection.execute(f"PRAGMA {pragma}")

    def _prepare(self, *, new: bool) -> None:
        """Create the tables, or bring them up to what the adapters now declare, in one transaction."""
        stored: dict[str, Any] = {}
        if not new:
            row = self.connection.execute("SELECT * FROM meta WHERE key = ?", (TABLES_KEY,)).fetchone()
            if row is None or checksum(row[:-1]) != row[-1]:
                raise StoreCorrupt(
                    self.path, say("meta row {row} is missing or fails its checksum", row=repr(TABLES_KEY))
                )
            stored = json.loads(row[1])
        wanted = {
            name: self._remembering(table.spec, stored.get(name)) for name, table in self._tables.items()
        }
        lacking = (
            self.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'devices'").fetchone() is None
        )
        views: dict[str, str] = {}
        for table in self._tables.values():
            views |= table.views()
        present = dict(self.connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view'"))
        if not lacking and stored == stored | wanted and present == present | views:
            return
        with self._transaction():
            for statement in _statements(ADDED_DDL):
                self.connection.execute(statement)
            if new:
                for statement in _statements(DDL):
                    self.connection.execute(statement)
                self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self.connection.execute(f"PRAGMA user_version = {FORMAT}")
            for name, table in self._tables.items():
                if stored.get(name) != wanted[name]:
                    self._prepare_table(table, stored.get(name))
            self._prepare_views(views, present)
            described = json.dumps(stored | wanted, separators=(",", ":")).encode()
            self._insert("meta", [(TABLES_KEY, described)])

    def _remembering(self, spec: TableSpec, stored: dict[str, Any] | None) -> dict[str, Any]:
        """The description to keep of a category: it goes on naming the types of fields that are no longer declared.

        Raises:
            StoreMismatch: what is stored would be read as something else.
        """
        if stored is None:
            return spec.description
        old = TableSpec.from_description(stored)
        self._refuse_another_address(old, spec)
        for name, known in old.types.items():
            now = spec.types.get(name, known)
            if now != known:
                raise StoreMismatch(
                    self.path,
                    say(
                        "{path}: field {field} of category {category} is stored as {stored}, the adapter now says "
                        "{wanted}; give the field a new name, or start with a new store",
                        path=self.path,
                        field=repr(name),
                        category=repr(spec.category),
                        stored=repr(known),
                        wanted=repr(now),
                    ),
                )
        return spec.description | {"types": {**old.types, **spec.types}}

    def _refuse_another_address(self, old: TableSpec, spec: TableSpec) -> None:
        """A key of other parts or types, or another partition, would not find the records that there are."""
        key = [table.key_columns if table.composite else () for table in (old, spec)]
        types = [table.types.get("key") for table in (old, spec)]
        if key[0] != key[1] or (None not in types and types[0] != types[1]):
            raise StoreMismatch(
                self.path,
                say(
                    "{path}: the key of category {category} is stored as {stored}, the adapter now says {wanted}; give the "
                    "category a new name, or start with a new store",
                    path=self.path,
                    category=repr(spec.category),
                    stored=repr(types[0] or ", ".join(old.key_columns)),
                    wanted=repr(types[1] or ", ".join(spec.key_columns)),
                ),
            )
        if old.partition_columns != spec.partition_columns:
            raise StoreMismatch(
                self.path,
                say(
                    "{path}: category {category} is stored by {stored}, the adapter now says {wanted}; give the category "
                    "a new name, or start with a new store",
                    path=self.path,
                    category=repr(spec.category),
                    stored=repr(", ".join(old.partition_columns) or "account"),
                    wanted=repr(", ".join(spec.partition_columns) or "account"),
                ),
            )

    def _prepare_views(self, views: Mapping[str, str], present: Mapping[str, str]) -> None:
        """Make what is missing or reads another way, also after an upgrade that says the same in other words."""
        for name, statement in views.items():
            if present.get(name) != statement:
                if name in present:
                    self.connection.execute(f"DROP VIEW {quoted(name)}")
                self.connection.execute(statement)

    def _prepare_table(self, table: RecordTable, stored: dict[str, Any] | None) -> None:
        execute = self.connection.execute
        if stored is None:
            execute(table.create())
        else:
            old = TableSpec.from_description(stored)
            stays = old.column_names == table.spec.column_names
            everything = [] if stays else execute(RecordTable(old).everything)
            damaged = {row[:2] for row in everything if checksum(row[:-1]) != row[-1]}
            present = {row[1]: row[2] for row in execute(f"PRAGMA table_info({table.name})")}
            for column, sql_type in table.spec.columns:
                if column not in present:
                    execute(table.add_column(column, sql_type))
                elif present[column] != sql_type:
                    raise StoreMismatch(
                        self.path,
                        say(
                            "{path}: column {column} of category {category} holds {stored}, the adapter "
                            "now says {wanted}; give the field a new name, or start with a new store",
                            path=self.path,
                            column=repr(column),
                            category=repr(table.spec.category),
                            stored=present[column],
                            wanted=sql_type,
                        ),
                    )
            if not stays:
                # The checksum covers other columns now. A row that was damaged must not come out as sound.
                fresh = [
                    (checksum(row[:-1]), row[0], row[1])
                    for row in execute(table.everything)
                    if row[:2] not in damaged
                ]
                self.connection.executemany(table.restamp, fresh)
        for statement in table.indexes():
            execute(statement)

    def _load(self) -> None:
        """What a commit needs to know: document numbers and the greatest journal id."""
        for row in self.connection.execute("SELECT * FROM documents ORDER BY id"):
            if checksum(row[:-1]) != row[-1] or self._documents.add(row[1]) != row[0]:
                raise StoreCorrupt(
                    self.path,
                    say("documents row {number} is damaged or one before it is missing", number=row[0]),
                )
        # Snapshots too: the rows they cover are gone, and an id that came back would be taken for covered.
        newest = (
            "SELECT coalesce(max((SELECT max(id) FROM journal WHERE doc = documents.id)), 0) FROM documents"
        )
        covered = "SELECT coalesce(max(covers), 0) FROM snapshots"
        self._journal_id = max(self.connection.execute(sql).fetchone()[0] for sql in (newest, covered))

    # -- committing ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """BEGIN IMMEDIATE ... COMMIT; on any exception nothing is left, in the file or in this object."""
        documents, journal_id = len(self._documents.names), self._journal_id
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            self.connection.execute("COMMIT")
            written = self.connection.total_changes - self._checkpointed_at
            self.checkpoint_due = written >= limits.STORE_CHECKPOINT_ROWS
        except BaseException:
            self._forget(documents, journal_id)
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def _forget(self, documents: int, journal_id: int) -> None:
        """What was written is rolled back: know no more than before."""
        self._documents.truncate(documents)
        self._journal_id = journal_id
        self._any.clear()

    def _savepoint(self, commit: Commit) -> int:
        if not self.connection.in_transaction:
            # A full disk makes SQLite roll back on its own, savepoints and all: nothing more may be written here.
            raise StoreUnavailable(
                self.path, say("the transaction shared with other commits was rolled back")
            )
        documents, journal_id = len(self._documents.names), self._journal_id
        self.connection.execute("SAVEPOINT one")
        try:
            with translated(self.path):
                self._apply(commit)
                self.connection.execute("RELEASE one")
        except BaseException:
            self._forget(documents, journal_id)
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK TO one")
                self.connection.execute("RELEASE one")
            raise
        return self._journal_id

    def _apply(self, commit: Commit) -> None:
        """Write everything, in the order that Commit documents."""
        self._apply_removals(commit)
        self._apply_logs(commit)
        self._apply_records(commit)
        number = self._number
        execute = self.connection.execute
        if commit.parked:
            self._insert(
                "parked",
                [
                    (number(row.doc), row.replica, row.seq, row.reason, row.detail, row.batch)
                    for row in commit.parked
                ],
            )
        for doc, replica, seq in commit.unparked:
            execute(
                "DELETE FROM parked WHERE doc = ? AND replica = ? AND seq = ?", (number(doc), replica, seq)
            )
        if commit.acked:
            self.connection.executemany(
                "INSERT INTO acked VALUES (?, ?, ?, ?, ?) ON CONFLICT (link, doc, replica) "
                "DO UPDATE SET seq = excluded.seq, crc = excluded.crc WHERE excluded.seq > seq",
                [stamp((link, number(doc), replica, seq)) for link, doc, replica, seq in commit.acked],
            )
        for key, value in commit.meta.items():
            if value is None:
                execute("DELETE FROM meta WHERE key = ?", (key,))
            else:
                self._insert("meta", [(key, value)])
        if commit.replicas:
            self._insert(
                "replicas",
                [(row.replica, row.device, row.role, row.store, row.account) for row in commit.replicas],
            )
        if commit.devices:
            self._insert("devices", list(map(_device, commit.devices)))
        for device in commit.forgotten_devices:
            execute("DELETE FROM devices WHERE id = ?", (device,))
        for run in commit.runs:
            self._apply_run(run)
        for run_id in commit.forgotten_runs:
            execute("DELETE FROM runs WHERE id = ?", (run_id,))
            execute("DELETE FROM run_categories WHERE run = ?", (run_id,))
        if commit.inside is not None:
            self._apply_inside(commit.inside)

    def _apply_removals(self, commit: Commit) -> None:
        for row in commit.discarded:
            self._discard(row)
        for doc in commit.dropped_logs:
            for table in ("heads", "changes", "parked"):
                self.connection.execute(f"DELETE FROM {table} WHERE doc = ?", (self._number(doc),))

    def _discard(self, row: DamagedRow) -> None:
        columns = [facts[1] for facts in self.connection.execute(f"PRAGMA table_info({row.table})")]
        # As bytes: a text may be no UTF-8 any more, and is then not equal to any.
        same = " AND ".join(f'CAST("{name}" AS BLOB) IS CAST(? AS BLOB)' for name in columns[: len(row.key)])
        key = list(row.key)
        if row.table not in OWN_TABLES and isinstance(key[0], str):
            # A record's row has the document's number, and its checksum is of the name.
            key[0] = self._documents.numbers.get(key[0], key[0].removeprefix("#"))
        self.connection.execute(f"DELETE FROM {row.table} WHERE {same}", key)
        self._any.clear()

    def _apply_logs(self, commit: Commit) -> None:
        number = self._number
        execute = self.connection.execute
        if commit.journal:
            first = self._journal_id + 1
            self._journal_id += len(commit.journal)
            self._insert(
                "journal",
                [(number(doc), place, data) for place, (doc, data) in enumerate(commit.journal, first)],
            )
        for doc, (data, covers) in commit.snapshots.items():
            self._insert("snapshots", [(number(doc), data, covers)])
            execute("DELETE FROM journal WHERE doc = ? AND id <= ?", (number(doc), covers))
        if commit.heads:
            self._insert(
                "heads",
                [
                    (number(row.doc), row.replica, row.seq, row.hash, row.visible, row.cut, row.hlc)
                    for row in commit.heads
                ],
            )
        self._apply_changes(commit.changes)
        for doc, replica, upto, rows in commit.recompacted:
            execute(
                "DELETE FROM changes WHERE doc = ? AND replica = ? AND seq <= ?", (number(doc), replica, upto)
            )
            self._apply_changes(rows)

    def _apply_changes(self, rows: Sequence[ChangeRow]) -> None:
        if rows:
            number = self._number
            self._insert(
                "changes",
                [
                    (number(row.doc), row.replica, row.seq, len(row.keys), msgpack.packb(row.keys))
                    for row in rows
                ],
            )

    def _apply_records(self, commit: Commit) -> None:
        for doc in commit.dropped_docs:
            self.connection.execute(self._table(doc.partition("/")[0]).drop_doc, (self._number(doc),))
        for category, rows in commit.records.items():
            table = self._table(category)
            # dict.fromkeys, not a set: documents are numbered in order of first appearance.
            numbers = {doc: self._number(doc) for doc in dict.fromkeys(row[0] for row in rows)}
            self.connection.executemany(table.upsert, records_stamped(rows, numbers))

    def _apply_run(self, run: RunRow) -> None:
        self._insert(
            "runs",
            [
                (
                    run.id,
                    run.link,
                    run.trigger,
                    run.started_ms,
                    run.ended_ms,
                    run.result,
                    run.detail,
                    run.records_down,
                    run.records_up,
                    run.bytes_down,
                    run.bytes_up,
                    run.pendencies_opened,
                    run.pendencies_closed,
                    run.gathered,
                )
            ],
        )
        self.connection.execute("DELETE FROM run_categories WHERE run = ?", (run.id,))
        if run.categories:
            self._insert(
                "run_categories",
                [
                    # SQLite gives a float back; the checksum must be of one.
                    (run.id, part.category, part.direction, part.records, part.bytes, float(part.seconds))
                    for part in run.categories
                ],
            )

    def _apply_inside(self, inside: Callable[[View], Any]) -> None:
        view = self._view()
        try:
            changes = inside(view)
        finally:
            view.end()
        self._apply_pendencies(changes)

    def _apply_pendencies(self, changes: PendencyChanges) -> None:
        gone = {*changes.closed, *(row.id for row in changes.opened)}
        if gone:
            self._delete_pendencies(gone)
            self._any.pop((), None)
        if changes.opened:
            self._insert("pendencies", list(map(_pendency, changes.opened)))
            shown = {(doc, key, row.id) for row in changes.opened for doc, key in json.loads(row.records)}
            self._insert("pendency_records", sorted(shown))
        if changes.unfiled:
            self.connection.executemany(
                "DELETE FROM filings WHERE category = ? AND rule = ? AND doc = ? AND key = ?", changes.unfiled
            )
            for category, rule, *_ in changes.unfiled:
                self._any.pop((category, rule), None)
        if changes.filed:
            self._insert("filings", list(map(_filing, changes.filed)))
            self._any.update(((filing.category, filing.rule), True) for filing in changes.filed)
        if changes.due:
            self.connection.executemany(
                "DELETE FROM due WHERE category = ? AND rule = ? AND doc = ? AND key = ?",
                [_subject(row) for row in changes.due if not row.at_ms],
            )
            later = [(*_subject(row), row.at_ms) for row in changes.due if row.at_ms]
            if later:
                self._insert("due", later)

    def _delete_pendencies(self, ids: Iterable[str]) -> None:
        sql = "SELECT id, records FROM pendencies WHERE id IN (SELECT value FROM json_each(?))"
        known = self.connection.execute(sql, (json.dumps(list(ids)),)).fetchall()
        if known:
            many = self.connection.executemany
            shown = [(doc, key, name) for name, records in known for doc, key in json.loads(records)]
            many("DELETE FROM pendency_records WHERE doc = ? AND key = ? AND pendency = ?", shown)
            many("DELETE FROM pendencies WHERE id = ?", [(name,) for name, _ in known])

    # -- small parts --------------------------------------------------------------------------------------------------

    def _insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Insert or replace whole rows of one of the store's own tables, checksums added."""
        self.connection.executemany(_insertion(table, len(rows[0]) + 1), map(stamp, rows))

    def _number(self, doc: str) -> int:
        """The document's number, given now if it has none."""
        known = self._documents.numbers.get(doc)
        if known is not None:
            return known
        category, *parts = doc.split("/")
        if len(parts) > PARTITION_PARTS_MAX:
            raise StoreMismatch(
                self.path,
                say(
                    "document {doc} has more than {most} parts after its category",
                    doc=repr(doc),
                    most=PARTITION_PARTS_MAX,
                ),
            )
        padded = (*parts, *(None,) * (PARTITION_PARTS_MAX - len(parts)))
        self._insert("documents", [(len(self._documents.names) + 1, doc, category, *padded)])
        return self._documents.add(doc)

    def _table(self, category: str) -> RecordTable:
        try:
            return self._tables[category]
        except KeyError:
            raise unknown_category(self.path, category, self._tables) from None

    def _view(self) -> SqlView:
        return SqlView(self.connection, self._documents, self._tables, self._any, self.path)

    def _pragma(self, name: str) -> int:
        return int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])


@cache
def _insertion(table: str, columns: int) -> str:
    places = ", ".join("?" * columns)
    return f"INSERT OR REPLACE INTO {table} VALUES ({places})"


def _statements(script: str) -> Iterable[str]:
    """The script's statements one by one: executescript would commit the open transaction first."""
    return (statement for statement in script.split(";\n") if statement.strip())


def _outcome(work: Callable[[Commit], int], commit: Commit) -> int | BaseException:
    """What `work` returned or raised, as a value."""
    try:
        return work(commit)
    except StopIteration as error:
        # It cannot cross a future: the caller would wait for ever.
        wrapped = RuntimeError("the commit's callback raised StopIteration")
        wrapped.__cause__ = error
        return wrapped
    except BaseException as error:  # noqa: BLE001 - yrs panics are BaseExceptions; the caller raises it
        return error
