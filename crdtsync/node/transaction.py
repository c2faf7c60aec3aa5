"""Local transactions: records are created and edited in memory, checked, and written all or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from crdtsync import limits
from crdtsync.errors import (
    FieldError,
    NotAllowed,
    RecordAmbiguous,
    RecordExists,
    RecordMissing,
    TransactionMisused,
)
from crdtsync.said import said_of, say
from crdtsync.schema import Entity, Kind
from crdtsync.schema.composites import to_json
from crdtsync.schema.entity import hint
from crdtsync.schema.fields import ELEMENT_MARK
from crdtsync.schema.values import TextType
from crdtsync.state import cells
from crdtsync.state.document import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from crdtsync.node.ledger import Ledger
    from crdtsync.schema import Shape
    from crdtsync.schema.fields import Field
    from crdtsync.storage.base import View

E = TypeVar("E", bound=Entity)

_ACTOR = TextType(max_length=limits.ACTOR_CHARS_MAX)
_completed: ContextVar[Transaction | None] = ContextVar("completed", default=None)
"""The transaction whose entities complete it in this task, or in one that waits for this."""


class _Recorder:
    """Collects the writes of one record; ``cells_now`` are its cells: a named movement replaces what they say."""

    def __init__(self, allowed: Callable[[str], None], cells_now: Callable[[], cells.Record]) -> None:
        self.ops: list[Op] = []
        self._allowed = allowed
        self._cells_now = cells_now

    def write(self, slot: str, value: Any) -> None:
        """Take a register, element or deletion write."""
        self._allowed(slot.partition("\x1f")[0])
        self.ops.append(Op("write", slot, value))

    def add(self, field: str, amount: int, cause: str, once: str | None) -> int:
        """Take a counter movement, named or not; return by how much it changes the balance."""
        self._allowed(field)
        if once is None:
            self.ops.append(Op("add", field, amount, cause))
            return amount
        slot = f"{field}{cells.NAME_MARK}{once}"
        own = [op.value for op in self.ops if op.slot == slot]
        before: int = own[-1] if own else cells.named(self._cells_now(), field).get(once, 0)
        self.ops.append(Op("named", slot, amount, cause))
        return amount - before

    def count(self, field: str, value: int) -> None:
        """Take an inventory count."""
        self._allowed(field)
        self.ops.append(Op("count", field + "#", value))


class Transaction:
    """Use as ``async with node.transaction() as tx``: leaving the block writes everything, an exception nothing.

    It is over when its block is left, or with ``commit``, whether that wrote or refused: to try again, begin another. From
    then on its records refuse writes as any that were only read, and it raises TransactionMisused whatever is asked of it.

    It reads what is durable at that moment, and what it wrote itself; nothing is locked. What another transaction of this
    node wrote to the same record meanwhile is overwritten field by field, and told nowhere: the last to be written wins.
    Counters and sets merge. What is cancelled while it is written may be written all the same: who tries again names the
    movements (``once=``).
    """

    def __init__(self, ledger: Ledger, actor: str = "") -> None:
        """``actor`` names who writes. Raises FieldError when it is no text, or longer than `limits.ACTOR_CHARS_MAX`."""
        try:
            self._actor = _ACTOR.to_wire(actor)
        except ValueError as error:
            raise FieldError("transaction", "actor", said_of(error)) from error
        self._ledger = ledger
        self._records: dict[tuple[str, str], tuple[Entity, _Recorder]] = {}
        self._created: set[tuple[str, str]] = set()
        self._released: list[tuple[str, int, int]] = []
        self._kept: dict[str, bytes] = {}
        self._entered = False
        self._committing = False
        self._over = False

    async def __aenter__(self) -> Self:
        self._check_not_over()
        if self._entered or self._committing:
            raise TransactionMisused(say("this transaction has begun already; begin another"))
        self._entered = True
        self._ledger.begin_turn(self)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and not self._over:
                await self.commit()
        finally:
            self._end()
            self._ledger.end_turn(self)

    def _check_not_over(self) -> None:
        if self._over:
            raise TransactionMisused(say("this transaction is over; begin another"))

    def _end(self) -> None:
        """Take no more: what came after would be lost, or written twice."""
        if not self._over:
            self._over = True
            for record, _ in self._records.values():
                record._bind(None)

    def create(self, entity: type[E], *, in_store: str | None = None, **values: Any) -> E:
        """Return a new record with these field values; ``in_store`` names the store when this node has none.

        A set takes its elements. A counter takes no value: it begins at zero and is moved. None is as if not given.

        Raises:
            FieldError: an unknown field, or a value that its field does not accept; a counter accepts none.
            NotAllowed: this node's role may not write the category.
            RecordExists: (on leaving the transaction) the key is taken.
        """
        self._check_not_over()
        shape = entity.__shape__
        role = self._ledger.identity.role
        if not shape.may_write(role):
            raise NotAllowed(shape.category, None, role)
        if not values.keys() <= shape.names:
            name = next(name for name in values if name not in shape.names)
            said = say("there is no such field{hint}", hint=hint(name, shape.names))
            raise FieldError(shape.category, name, said)
        writable = shape.writable(role)
        for name in values:
            if name not in writable and name in shape.fields:
                raise NotAllowed(shape.category, name, role)
        key = shape.key_text(values)
        wires = dict(shape.written)
        sets: dict[str, list[str]] = {}
        for name, value in values.items():
            if value is None:
                continue
            if name in wires:
                wires[name] = shape.fields[name].to_wire(value)
            elif name in shape.fields:
                sets[name] = _elements(shape.fields[name], value)
        for name in shape.required:
            if wires[name] is None:
                raise FieldError(shape.category, name, say("is required"))
        parts = shape.partition.parts(shape.category, wires, self._ledger.identity, in_store)
        doc = "/".join((shape.category, *parts))
        columns = self._key_columns(entity, key)
        shown = {name: to_json(elements) for name, elements in sets.items()}
        row = (doc, key, *columns, *(shape.defaults | wires | shown).values(), 0, None)
        record = self._enlist(entity._load(row), dict)
        recorder = self._records[doc, key][1]
        if not wires:
            recorder.write("~", 0)
        # A field that this role may not write keeps its default.
        recorder.ops += [Op("write", name, wire) for name, wire in wires.items() if name in writable]
        recorder.ops += [
            Op("write", f"{name}{ELEMENT_MARK}{element}", 1)
            for name, elements in sets.items()
            for element in elements
        ]
        self._created.add((doc, key))
        return record

    @staticmethod
    def _key_columns(entity: type[Entity], key: str) -> tuple[Any, ...]:
        shape = entity.__shape__
        return shape.key_columns(key) if len(shape.keys) > 1 else ()

    def _enlist(self, record: E, cells_now: Callable[[], cells.Record]) -> E:
        shape = record.__shape__
        role = self._ledger.identity.role

        def allowed(field: str) -> None:
            if not shape.may_write(role, field):
                raise NotAllowed(shape.category, None if role not in shape.writers else field, role)

        known = self._records.get((record.doc, record.key))
        if known is not None:
            if (record.doc, record.key) in self._created:
                raise RecordExists(record.doc, record.key, deleted=known[0].deleted)
            return known[0]  # type: ignore[return-value]
        recorder = _Recorder(allowed, cells_now)
        self._records[record.doc, record.key] = (record, recorder)
        record._bind(recorder)
        return record

    async def find(
        self, entity: type[E], key: str, *, in_store: str | None = None, doc: str | None = None
    ) -> E | None:
        """Return a record for editing, or None when there never was one; ``in_store`` or ``doc`` tells equal keys apart.

        A deleted one is returned too, where no other document has a record with the key that is not: ``record.deleted``
        tells, and ``record.restore()`` brings it back. ``get`` refuses it.

        Raises:
            RecordAmbiguous: several documents have the key and neither tells which.
        """
        return (await self.find_many(entity, [key], in_store=in_store, doc=doc)).get(key)

    async def find_many(
        self, entity: type[E], keys: Iterable[str], *, in_store: str | None = None, doc: str | None = None
    ) -> dict[str, E]:
        """Return the records that exist among ``keys`` for editing, by key: one look at the store for all of them.

        Deleted ones are among them, as with ``find``.

        Raises:
            RecordAmbiguous: several documents have a key and neither ``in_store`` nor ``doc`` tells which.
        """
        self._check_not_over()
        shape = entity.__shape__
        found: dict[str, E] = {}
        wanted = dict.fromkeys(keys)
        for (at, known), (record, _) in self._records.items():
            if (
                known in wanted
                and at.partition("/")[0] == shape.category
                and _is_meant(shape, at, in_store, doc)
            ):
                found.setdefault(known, record)  # type: ignore[arg-type]
        absent = [key for key in wanted if key not in found]
        if absent:
            rows = self._rows_at_hand(shape, absent, in_store, doc)
            if rows is None:
                rows = await self._ledger.storage.read(
                    lambda view: rows_by_key(view, shape, absent, in_store, doc)
                )
            for key in absent:
                row = only_row(shape, key, rows[key])
                if row is not None:
                    found[key] = self._enlist(entity._load(row), await self._cells_of(shape, row))
        return found

    def _rows_at_hand(
        self, shape: Shape, keys: list[str], in_store: str | None, doc: str | None
    ) -> dict[str, list[tuple[Any, ...]]] | None:
        """Return what the store would answer, without the way to its thread; None when memory does not know it."""
        found: list[dict[str, tuple[Any, ...]]] = []
        for held in meant(shape, self._ledger.documents_of(shape.category), in_store, doc):
            fold = self._ledger.durable_fold(held)
            if fold is None:
                return None
            found.append({row[1]: row for row in fold.rows([key for key in keys if key in fold])})
        return _by_key(keys, found)

    async def _cells_of(self, shape: Shape, row: tuple[Any, ...]) -> Callable[[], cells.Record]:
        """Return what reads a record's cells as they are: a counter's balance within a transaction depends on them."""
        if all(field.kind is not Kind.COUNTER for field in shape.fields.values()):
            return dict
        fold = await self._ledger.fold(row[0])
        return partial(fold.cells, row[1])

    async def edit(self, entity: type[E], doc: str, key: str) -> E | None:
        """Return the record of one document for editing, a deleted one too, or None when there never was one."""
        return await self.find(entity, key, doc=doc)

    async def get(
        self, entity: type[E], key: str, *, in_store: str | None = None, doc: str | None = None
    ) -> E:
        """Return a record for editing. Raises RecordMissing, also of one that was deleted, RecordAmbiguous."""
        record = await self.find(entity, key, in_store=in_store, doc=doc)
        if record is None or record.deleted:
            raise RecordMissing(entity.__category__, key)
        return record

    async def referrers(self, record: Entity) -> list[Entity]:
        """Return all visible records that have a field with the key of `record`, for editing.

        References inside rows are part of a fact, which nobody edits, and are not looked at.
        """
        self._check_not_over()
        category, key, schema = record.__category__, record.key, self._ledger.schema
        pointing = {
            name: [field for field in shape.fields.values() if field.ref == category]
            for name, shape in schema.shapes.items()
        }

        def read(view: View) -> list[tuple[str, tuple[Any, ...]]]:
            return [
                (name, row)
                for name, fields in pointing.items()
                for field in fields
                for row in view.select(name, where={field.column: key})
            ]

        for name, row in await self._ledger.storage.read(read):
            await self.find(schema.entities[name], row[1], doc=row[0])
        return [
            one
            for one, _ in self._records.values()
            if not one.deleted
            and any(getattr(one, field.name) == key for field in pointing[one.__category__])
        ]

    async def repoint(self, record: Entity, to: Entity | None) -> list[Entity]:
        """Make every reference to `record` that can be edited refer to `to`, or to nothing; return who was changed.

        Raises:
            FieldError: a reference cannot be empty.
            NotAllowed: this node's role may not write one of the categories.
        """
        changed: list[Entity] = []
        for one in await self.referrers(record):
            fields = [f for f in one.__shape__.fields.values() if f.ref == record.__category__]
            editable = [
                f.name for f in fields if f.kind is Kind.REGISTER and getattr(one, f.name) == record.key
            ]
            for name in editable:
                setattr(one, name, to and to.key)
            changed += [one] if editable else []
        return changed

    def release(self, doc: str, replica: int, seq: int) -> None:
        """Let a mass removal count, before what this transaction writes: somebody decided about it."""
        self._check_not_over()
        self._released.append((doc, replica, seq))

    def keep(self, name: str, value: bytes) -> None:
        """Keep a small value of this node's own with what this transaction writes: both are there, or neither."""
        self._check_not_over()
        self._kept[name] = value

    def _hooked(self) -> list[tuple[tuple[str, str], Entity]]:
        """Return the written records whose entities complete what is written."""
        return [
            (at, record)
            for at, (record, recorder) in self._records.items()
            if recorder.ops and type(record).before_write is not Entity.before_write
        ]

    async def commit(self) -> None:
        """Check everything and write it durably, or raise and write nothing; the transaction is over either way.

        Leaving a block does it. A block that has done it itself writes nothing more when it is left.

        Raises:
            CheckFailed, RecordExists, TransactionTooLarge, StorageError: nothing was written.
            TransactionMisused: it is over, or being written; or it would wait for the one that it is begun in, for ever.
        """
        self._check_not_over()
        if self._committing:
            raise TransactionMisused(say("this transaction is being written already; commit it once"))
        self._committing = True
        try:
            await self._complete_and_write()
        finally:
            self._end()

    async def _complete_and_write(self) -> None:
        if not self._hooked():
            await self._write()
            return
        outer = _completed.get()
        if outer is not None and outer._ledger is self._ledger and not outer._over:
            raise TransactionMisused(
                say(
                    "before_write has begun another transaction of records that complete what is written: the two would "
                    "wait for each other for ever; write with the transaction that before_write is given"
                )
            )
        # One at a time: what an entity adds it reads from the store first, and another would write in between.
        async with self._ledger.completing:
            await self._complete()
            await self._write()

    async def _complete(self) -> None:
        within = _completed.set(self)
        try:
            done: set[tuple[str, str]] = set()
            while fresh := [(at, record) for at, record in self._hooked() if at not in done]:
                for at, record in fresh:
                    done.add(at)
                    await record.before_write(self)
        finally:
            _completed.reset(within)

    async def _write(self) -> None:
        ops: dict[str, dict[str, list[Op]]] = {}
        for (doc, key), (record, recorder) in self._records.items():
            if recorder.ops:
                if not record.deleted:
                    type(record).check_record(record)
                ops.setdefault(doc, {})[key] = recorder.ops
        self._end()
        if ops:
            try:
                await self._ledger.write(ops, self._actor, self._created, self._released, self._kept)
            except RecordExists as error:
                raise await self._why_taken(error) from error

    async def _why_taken(self, error: RecordExists) -> RecordExists:
        """Say of a key that is taken whether its record was deleted: nobody who looks for it sees one."""
        category = error.doc.partition("/")[0]
        row = await self._ledger.storage.read(lambda view: view.get(category, error.doc, error.key))
        return RecordExists(error.doc, error.key, deleted=row is not None and bool(row[-2]))


def _elements(field: Field[Any], value: Any) -> list[str]:
    """Return the wire values of a new record's set, in their order. Raises FieldError; of a counter always."""
    if field.kind is Kind.COUNTER:
        raise FieldError(
            field.category,
            field.name,
            say("is a counter: create the record without it, then use add() or count()"),
        )
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise FieldError(field.category, field.name, say("is a set; write a list, [] for none"))
    return sorted({str(field.to_wire(element)) for element in value})


def documents_meant(
    view: View, shape: Shape, in_store: str | None = None, doc: str | None = None
) -> list[str]:
    """Return the documents of a category in the store that are meant; see ``meant``."""
    return meant(shape, view.documents(shape.category), in_store, doc)


def meant(
    shape: Shape, documents: Iterable[str], in_store: str | None = None, doc: str | None = None
) -> list[str]:
    """Return all of a category's documents, or those of a store, or the one that is named.

    Raises:
        FieldError: a store is named and the category is not cut by store.
    """
    if in_store is not None and "store" not in shape.partition.columns:
        raise FieldError(shape.category, "store", say("records belong to the whole account; name no store"))
    return [held for held in documents if _is_meant(shape, held, in_store, doc)]


def _is_meant(shape: Shape, held: str, in_store: str | None, doc: str | None) -> bool:
    if in_store is not None and "store" in shape.partition.columns:
        at = 1 + shape.partition.columns.index("store")
        if held.split("/")[at] != in_store:
            return False
    return doc is None or held == doc


def rows_by_key(
    view: View, shape: Shape, keys: Collection[str], in_store: str | None = None, doc: str | None = None
) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of each key, one for each document that has it; deleted ones when there are no others."""
    documents = documents_meant(view, shape, in_store, doc)
    return _by_key(keys, [view.get_many(shape.category, held, keys) for held in documents])


def _by_key(
    keys: Iterable[str], documents: Iterable[Mapping[str, tuple[Any, ...]]]
) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {key: [] for key in keys}
    for rows in documents:
        for key, row in rows.items():
            found[key].append(row)
    return {key: [row for row in rows if not row[-2]] or rows for key, rows in found.items()}


def find_rows(
    view: View, shape: Shape, key: str, in_store: str | None = None, doc: str | None = None
) -> list[tuple[Any, ...]]:
    """Return the rows of one key; see ``rows_by_key``."""
    return rows_by_key(view, shape, [key], in_store, doc)[key]


def only_row(shape: Shape, key: str, rows: list[tuple[Any, ...]]) -> tuple[Any, ...] | None:
    """Return the one row of a key, or None. Raises RecordAmbiguous when several documents have it."""
    if len(rows) > 1:
        raise RecordAmbiguous(shape.category, key, [row[0] for row in rows])
    return rows[0] if rows else None
