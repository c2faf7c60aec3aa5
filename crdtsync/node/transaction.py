"""Local transactions: records are created and edited in memory, checked, and written all or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

from crdtsync.errors import FieldError, NotAllowed, RecordExists, RecordMissing
from crdtsync.schema import Entity, Kind
from crdtsync.schema.entity import hint
from crdtsync.state.document import Op

if TYPE_CHECKING:
    from collections.abc import Callable

    from crdtsync.node.ledger import Ledger
    from crdtsync.storage.base import View

E = TypeVar("E", bound=Entity)


class _Recorder:
    """Collects the writes of one record."""

    def __init__(self, allowed: Callable[[str], None]) -> None:
        self.ops: list[Op] = []
        self._allowed = allowed

    def write(self, slot: str, value: Any) -> None:
        """Take a register, element or deletion write."""
        self._allowed(slot.partition("\x1f")[0])
        self.ops.append(Op("write", slot, value))

    def add(self, field: str, amount: int, cause: str) -> None:
        """Take a counter movement."""
        self._allowed(field)
        self.ops.append(Op("add", field, amount, cause))

    def count(self, field: str, value: int) -> None:
        """Take an inventory count."""
        self._allowed(field)
        self.ops.append(Op("count", field + "#", value))


class Transaction:
    """Use as ``async with node.transaction() as tx``: leaving the block writes everything, an exception nothing."""

    def __init__(self, ledger: Ledger, actor: str = "") -> None:
        self._ledger = ledger
        self._actor = actor
        self._records: dict[tuple[str, str], tuple[Entity, _Recorder]] = {}
        self._created: set[tuple[str, str]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.commit()

    def create(self, entity: type[E], *, in_store: str | None = None, **values: Any) -> E:
        """Return a new record with these field values; ``in_store`` names the store when this node has none.

        Raises:
            FieldError: an unknown field, or a value that its field does not accept.
            NotAllowed: this node's role may not write the category.
            RecordExists: (on leaving the transaction) the key is taken.
        """
        shape = entity.__shape__
        role = self._ledger.identity.role
        if not shape.may_write(role):
            raise NotAllowed(shape.category, None, role)
        known = {*shape.fields, *(field.name for field in shape.keys)}
        for name in values:
            if name not in known:
                raise FieldError(shape.category, name, "there is no such field" + hint(name, known))
        key = shape.key_text(values)
        wires = {
            name: field.default_wire if values.get(name) is None else field.to_wire(values[name])
            for name, field in shape.fields.items()
            if field.kind not in {Kind.COUNTER, Kind.SET}
        }
        for name, wire in wires.items():
            if wire is None and shape.fields[name].required:
                raise FieldError(shape.category, name, "is required")
        parts = shape.partition.parts(shape.category, wires, self._ledger.identity, in_store)
        doc = "/".join((shape.category, *parts))
        row = (
            doc,
            key,
            *self._key_columns(entity, key),
            *(
                # Not wires.get(): the default of a field that has a value is not worth computing.
                wires[name] if name in wires else field.default_wire  # noqa: SIM401
                for name, field in shape.fields.items()
            ),
        )
        record = self._enlist(entity._load((*row, 0, None)))
        recorder = self._records[doc, key][1]
        for name, wire in wires.items():
            # A field that this role may not write keeps its default; naming it is refused by the recorder.
            if shape.may_write(role, name):
                recorder.ops.append(Op("write", name, wire))
            elif name in values:
                recorder.write(name, wire)
        if not wires:
            recorder.write("~", 0)
        self._created.add((doc, key))
        return record

    @staticmethod
    def _key_columns(entity: type[Entity], key: str) -> tuple[Any, ...]:
        shape = entity.__shape__
        return shape.key_columns(key) if len(shape.keys) > 1 else ()

    def _enlist(self, record: E) -> E:
        shape = record.__shape__
        role = self._ledger.identity.role

        def allowed(field: str) -> None:
            if not shape.may_write(role, field):
                raise NotAllowed(shape.category, None if role not in shape.writers else field, role)

        known = self._records.get((record.doc, record.key))
        if known is not None:
            if (record.doc, record.key) in self._created:
                raise RecordExists(record.doc, record.key)
            return known[0]  # type: ignore[return-value]
        recorder = _Recorder(allowed)
        self._records[record.doc, record.key] = (record, recorder)
        record._bind(recorder)
        return record

    async def find(self, entity: type[E], key: str) -> E | None:
        """Return a record for editing, or None when there is none."""
        for doc, known in self._records:
            if known == key and doc.partition("/")[0] == entity.__category__:
                return self._records[doc, known][0]  # type: ignore[return-value]
        row = await self._ledger.storage.read(lambda view: find_row(view, entity.__category__, key))
        return None if row is None else self._enlist(entity._load(row))

    async def get(self, entity: type[E], key: str) -> E:
        """Return a record for editing. Raises RecordMissing."""
        record = await self.find(entity, key)
        if record is None or record.deleted:
            raise RecordMissing(entity.__category__, key)
        return record

    async def commit(self) -> None:
        """Check everything and write it durably, or raise and write nothing.

        Raises:
            CheckFailed, RecordExists, TransactionTooLarge, StorageError: nothing was written.
        """
        ops: dict[str, dict[str, list[Op]]] = {}
        for (doc, key), (record, recorder) in self._records.items():
            if recorder.ops:
                if not record.deleted:
                    type(record).check_record(record)
                ops.setdefault(doc, {})[key] = recorder.ops
        if ops:
            await self._ledger.write(ops, self._actor, self._created)


def find_row(view: View, category: str, key: str) -> tuple[Any, ...] | None:
    """Return a record's row from whichever document of the category holds it."""
    for doc in view.documents(category):
        row = view.get(category, doc, key)
        if row is not None:
            return row
    return None
