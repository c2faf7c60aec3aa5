"""Entities: a category as a class body, and a record of it as an instance.

A record that was read is a snapshot and refuses writes. Inside a transaction a record is bound to a recorder, and what
is assigned to it becomes part of the transaction. Instances are made by the framework only.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol, Self

from crdtsync.errors import AdapterError, CheckFailed, FieldError, ReadOnly
from crdtsync.schema.fields import BoundCounter, BoundSet, Counter, Field, Kind, Set
from crdtsync.schema.partition import Partition, by_account
from crdtsync.schema.roles import Role
from crdtsync.schema.rules import Invariant, Records, References, RuleKind
from crdtsync.schema.shape import Shape


class Recorder(Protocol):
    """Takes what a transaction writes to one record; values are wire values, amounts scaled integers."""

    def write(self, slot: str, value: Any) -> None: ...
    def add(self, field: str, amount: int, cause: str) -> None: ...
    def count(self, field: str, value: int) -> None: ...


def _references_rule(declared: References, refs: tuple[Field[Any], ...]) -> Invariant:
    def all_present(self: Entity, records: Records) -> bool:
        for field in refs:
            key = getattr(self, field.name)
            if key is not None and not records.present(field.ref or "", str(key)):  # type: ignore[attr-defined]
                return False
        return True

    return Invariant(
        declared.code,
        declared.title,
        declared.owner,
        declared.severity,
        RuleKind.RECORD,
        all_present,
        tuple(field.name for field in refs),
        (),
        "A reference points to a record that does not exist, was deleted or is not active.",
        True,
    )


class Entity:
    """Base of all entities.

    Class arguments: ``category`` (slug), ``title``, ``writers`` (roles), ``holders`` (roles, default all),
    ``partition``, ``download`` and ``upload`` (place in the initial run's lists).
    """

    __category__: ClassVar[str] = ""
    __shape__: ClassVar[Shape]

    def __init_subclass__(
        cls,
        *,
        category: str,
        title: str = "",
        writers: Iterable[Role] = (),
        holders: Iterable[Role] = tuple(Role),
        partition: Partition = by_account,
        download: int | None = None,
        upload: int | None = None,
    ) -> None:
        cls.__category__ = category
        declared = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        for field in declared.values():
            field.category = category
            if field.type.ref == "self":
                field.type.ref = category
        keys = tuple(field for field in declared.values() if field.kind is Kind.KEY)
        if not keys:
            raise AdapterError(f"{cls.__name__}: an entity needs at least one Key()")
        fields = {name: field for name, field in declared.items() if field.kind is not Kind.KEY}
        members = list(vars(cls).values())
        invariants = [m.__crdtsync_invariant__ for m in members if hasattr(m, "__crdtsync_invariant__")]
        refs = tuple(field for field in declared.values() if field.ref)
        invariants += [_references_rule(m, refs) for m in members if isinstance(m, References)]
        cls.__shape__ = Shape(
            category,
            title or category,
            keys,
            fields,
            partition,
            frozenset(writers),
            frozenset(holders),
            tuple(m.__crdtsync_check__ for m in members if hasattr(m, "__crdtsync_check__")),
            tuple(invariants),
            download,
            upload,
        )

    doc: str
    key: str
    deleted: bool

    def __init__(self, *_: object, **__: object) -> None:
        name = type(self).__name__
        raise FieldError(name, "", f"records are created in a transaction: tx.create({name}, ...)")

    @classmethod
    def _load(cls, row: tuple[Any, ...]) -> Self:
        """Make a snapshot of a read-model row (doc, key, *columns, deleted, conflicts)."""
        record = cls.__new__(cls)
        put = object.__setattr__
        put(record, "doc", row[0])
        put(record, "key", row[1])
        put(record, "deleted", bool(row[-2]))
        put(record, "_conflicts", row[-1])
        put(record, "_recorder", None)
        shape = cls.__shape__
        skip = 2 + (len(shape.keys) if len(shape.keys) > 1 else 0)
        put(record, "_wires", dict(zip(shape.fields, row[skip:-2], strict=True)))
        return record

    def _bind(self, recorder: Recorder) -> Self:
        object.__setattr__(self, "_recorder", recorder)
        return self

    @property
    def conflicts(self) -> dict[str, list[Any]]:
        """Concurrent values by field (wire values, the winner first); ``~`` for deleted here and edited there."""
        text = self._conflicts  # type: ignore[attr-defined]
        found: dict[str, list[Any]] = json.loads(text) if text else {}
        return found

    def _read(self, field: Field[Any]) -> Any:
        if field.kind is Kind.KEY:
            shape = self.__shape__
            return field.from_wire(shape.key_columns(self.key)[shape.keys.index(field)])
        value = field.from_wire(self._wires[field.name])  # type: ignore[attr-defined]
        if isinstance(field, Counter):
            return BoundCounter.of(value, self, field)
        if isinstance(field, Set):
            return BoundSet(value, self, field)
        return value

    def _writer(self) -> Recorder:
        recorder: Recorder | None = self._recorder  # type: ignore[attr-defined]
        if recorder is None:
            raise ReadOnly(self.__category__, self.key)
        return recorder

    def _assign(self, field: Field[Any], value: Any) -> None:
        recorder = self._writer()
        wire = field.to_wire(value)
        recorder.write(field.name, wire)
        self._wires[field.name] = wire  # type: ignore[attr-defined]

    def _move(self, field: Counter, amount: Any, cause: str) -> None:
        recorder = self._writer()
        wire = field.to_wire(amount)
        assert isinstance(wire, int)
        recorder.add(field.name, wire, cause)
        self._wires[field.name] += wire  # type: ignore[attr-defined]

    def _count(self, field: Counter, value: Any) -> None:
        recorder = self._writer()
        wire = field.to_wire(value)
        assert isinstance(wire, int)
        recorder.count(field.name, wire)
        self._wires[field.name] = wire  # type: ignore[attr-defined]

    def _element(self, field: Set[Any], value: Any, present: int) -> None:
        recorder = self._writer()
        wire = field.to_wire(value)
        recorder.write(f"{field.name}\x1f{wire}", present)
        known = set(json.loads(self._wires[field.name] or "[]"))  # type: ignore[attr-defined]
        known = known | {wire} if present else known - {wire}
        self._wires[field.name] = json.dumps(sorted(known), ensure_ascii=False)  # type: ignore[attr-defined]

    def delete(self) -> None:
        """Delete the record; an edit made elsewhere without having seen this keeps it alive."""
        self._writer().write("~", 1)
        object.__setattr__(self, "deleted", True)

    def restore(self) -> None:
        """Bring a deleted record back."""
        self._writer().write("~", 0)
        object.__setattr__(self, "deleted", False)

    def __setattr__(self, name: str, value: object) -> None:
        if not isinstance(getattr(type(self), name, None), Field):
            raise FieldError(self.__category__, name, "there is no such field" + hint(name, self.__shape__.fields))
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.doc}/{self.key}>"

    def to_plain(self) -> dict[str, Any]:
        """Return the record as JSON-able values: key, then fields; exact decimals as text."""
        plain: dict[str, Any] = {field.name: getattr(self, field.name) for field in self.__shape__.keys}
        for name, field in self.__shape__.fields.items():
            plain[name] = _plain(field.from_wire(self._wires[name]))  # type: ignore[attr-defined]
        return plain

    @classmethod
    def check_record(cls, record: Self) -> None:
        """Run the entity's checks on a record about to be written.

        Raises:
            CheckFailed: a check says no, or a required field is missing.
        """
        shape = cls.__shape__
        for name, field in shape.fields.items():
            if field.required and record._wires[name] is None:  # type: ignore[attr-defined]
                raise CheckFailed(shape.category, record.key, "required", f"{name} is required")
        for rule in shape.checks:
            if not rule.method(record):
                raise CheckFailed(shape.category, record.key, rule.name, rule.message)


def hint(name: str, known: Iterable[str] | Mapping[str, object]) -> str:
    """Return "; did you mean ...?" for the nearest known name, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "_values"):
        return {name: _plain(item) for name, item in value._values.items()}
    if value is None or isinstance(value, int | bool):
        return value
    return str(value)
