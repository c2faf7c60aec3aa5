"""Entities: a category as a class body, and a record of it as an instance.

A record that was read is a snapshot and refuses writes. Inside a transaction a record is bound to a recorder, and what
is assigned to it becomes part of the transaction; when that is over the record is a snapshot again. Instances are made by the framework only; nothing here reads or
writes a store.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from crdtsync import limits
from crdtsync.errors import AdapterError, CheckFailed, FieldError, ReadOnly, UnknownField, hint
from crdtsync.said import said_of, say
from crdtsync.schema.composites import BoundSet, Set, StructType, to_json
from crdtsync.schema.fields import (
    COUNT_MARK,
    DELETION,
    ELEMENT_MARK,
    BoundCounter,
    Counter,
    Field,
    Kind,
    refuse_misdeclared,
)
from crdtsync.schema.partition import Partition, by_account
from crdtsync.schema.roles import Role, roles_of
from crdtsync.schema.rules import ConcurrentEdits, Invariant, Option, References, is_rule, misdeclared
from crdtsync.schema.shape import Shape, check_shape
from crdtsync.schema.standard_rules import concurrent_edits_rule, references_rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crdtsync.schema.rules import Writes

__all__ = ["Entity", "Recorder", "hint"]


class Recorder(Protocol):
    """Takes what a transaction writes to one record; values are wire values, amounts scaled integers."""

    def write(self, slot: str, value: Any) -> None:
        """Take a register's value, 1 or 0 for a set's element, 1 or 0 for the deletion."""

    def add(self, field: str, amount: int, cause: str, once: str | None) -> int:
        """Take a counter's movement, named or not; return by how much it changes the balance."""

    def count(self, field: str, value: int) -> None:
        """Take a counter's inventory count."""


class Entity:
    """Base of all entities.

    Class arguments: `category` (slug), `title`, `writers` (roles), `holders` (roles, default all), `partition`,
    `download` and `upload` (place in the initial run's lists).

    Raises (in the class statement):
        AdapterError: a declaration that contradicts itself; the message names the class and the field.
    """

    __category__: ClassVar[str] = ""
    __shape__: ClassVar[Shape]

    doc: str
    key: str
    deleted: bool

    # The read-model row as it is now; the recorder of the transaction that edits the record.
    _row: list[Any]
    _recorder: Recorder | None
    _conflicts: str | None

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
        for base in cls.__mro__[1:]:
            inherited = [name for name, value in vars(base).items() if isinstance(value, Field)]
            if inherited:
                raise AdapterError(
                    f"{cls.__name__}: the fields of {base.__name__} ({', '.join(inherited)}) are not inherited; declare "
                    "them in the class body"
                )
            rules = [name for name, value in vars(base).items() if is_rule(value)]
            if rules:
                raise AdapterError(
                    f"{cls.__name__}: the rules of {base.__name__} ({', '.join(rules)}) are not inherited; state them in "
                    "the class body"
                )
        _refuse_other_than_partitions(cls, partition)
        refuse_misdeclared(cls)
        _refuse_misdeclared_rules(cls)
        cls.__category__ = category
        declared = [value for value in vars(cls).values() if isinstance(value, Field)]
        _name_fields(category, declared)
        members = list(vars(cls).values())
        invariants = _invariants(cls.__name__, members, declared)
        cls.__shape__ = Shape(
            category,
            title or category,
            tuple(field for field in declared if field.kind is Kind.KEY),
            {field.name: field for field in declared if field.kind is not Kind.KEY},
            partition,
            _roles(cls, "writers", writers),
            _roles(cls, "holders", holders),
            tuple(member.__crdtsync_check__ for member in members if hasattr(member, "__crdtsync_check__")),
            tuple(invariants),
            download,
            upload,
        )
        # Attributes that every instance has stand in the annotations, methods in the class.
        reserved = (name for name in (*Entity.__annotations__, *dir(Entity)) if not name.startswith("_"))
        check_shape(cls.__name__, cls.__shape__, reserved)

    def __init__(self, *_: object, **__: object) -> None:
        name = type(self).__name__
        raise FieldError(
            self.__category__,
            name,
            say("records are created in a transaction: tx.create({name}, ...)", name=name),
        )

    @classmethod
    def _load(cls, row: tuple[Any, ...]) -> Self:
        """Make a snapshot of a read-model row (doc, key, *columns, deleted, conflicts)."""
        record = cls.__new__(cls)
        # A list of the row, read by place: judging a bulk load makes a snapshot of each record.
        seen = vars(record)
        seen["doc"] = row[0]
        seen["key"] = row[1]
        seen["deleted"] = bool(row[-2])
        seen["_conflicts"] = row[-1]
        seen["_recorder"] = None
        seen["_row"] = list(row)
        return record

    def _bind(self, recorder: Recorder | None) -> Self:
        """Let a transaction take the writes; None lets the record be one that was only read."""
        vars(self)["_recorder"] = recorder
        return self

    @property
    def conflicts(self) -> dict[str, list[Any]]:
        """Concurrent values by field, the one that shows first; `~` when deleted here and edited there ([0, 1]).

        A counter's name and `#` hold the value of its inventory count and what others moved without having seen it.
        """
        wires: dict[str, list[Any]] = json.loads(self._conflicts) if self._conflicts else {}
        fields = self.__shape__.fields

        def read(name: str, values: list[Any]) -> list[Any]:
            field = fields.get(name.removesuffix(COUNT_MARK))
            return values if field is None else [field.from_wire(wire) for wire in values]

        return {name: read(name, values) for name, values in wires.items()}

    @property
    def parts(self) -> dict[str, str]:
        """The parts of the record's document: store, lane, month, as the category is cut."""
        return dict(zip(self.__shape__.partition.columns, self.doc.split("/")[1:], strict=True))

    def _read(self, field: Field[Any]) -> Any:
        wire = self._row[field.place]
        if field.kind is Kind.KEY:
            # A key that stands alone is text in the row, whatever its type; the parts of one have their own columns.
            return field.from_wire(int(wire) if field.place == 1 and field.sql_type == "INTEGER" else wire)
        value = field.from_wire(wire)
        if isinstance(field, Counter):
            return BoundCounter.of(value, self, field)
        if isinstance(field, Set):
            return BoundSet(value, self, field)
        return value

    def _writer(self) -> Recorder:
        if self._recorder is None:
            raise ReadOnly(self.__category__, self.key)
        return self._recorder

    def _assign(self, field: Field[Any], value: Any) -> None:
        wire = field.to_wire(value)
        self._writer().write(field.name, wire)
        self._row[field.place] = wire

    def _move(self, field: Counter, units: int, cause: str, once: str | None) -> None:
        balance = (self._row[field.place] or 0) + units
        if abs(balance) > limits.AMOUNT_MAX:
            said = say("{value} is too large", value=field.from_wire(balance))
            raise FieldError(field.category, field.name, said)
        change = self._writer().add(field.name, units, cause, once)
        self._row[field.place] = (self._row[field.place] or 0) + change

    def _count(self, field: Counter, units: int) -> None:
        self._writer().count(field.name, units)
        self._row[field.place] = units

    def _element(self, field: Set[Any], element: str, *, present: bool) -> None:
        self._writer().write(f"{field.name}{ELEMENT_MARK}{element}", int(present))
        known = set(json.loads(self._row[field.place] or "[]")) - {element}
        self._row[field.place] = to_json(sorted(known | {element} if present else known))

    async def before_write(self, tx: Writes) -> None:
        """Complete what a local transaction writes to this record; an entity may override it. Runs before the checks.

        It is called once for each record that was created, edited or deleted, and for those that it writes itself. The
        transactions of such entities are written one after the other, so that what it reads is what there is. It writes
        with `tx` alone: what it would commit itself would wait for this one, and is refused.
        """

    def delete(self) -> None:
        """Delete the record; an edit made elsewhere without having seen this keeps it alive."""
        self._writer().write(DELETION, 1)
        vars(self)["deleted"] = True

    def restore(self) -> None:
        """Bring a deleted record back."""
        self._writer().write(DELETION, 0)
        vars(self)["deleted"] = False

    if not TYPE_CHECKING:  # seen by the type checker, they would make every name legal

        def __setattr__(self, name: str, value: object) -> None:
            if not isinstance(getattr(type(self), name, None), Field):
                raise _unknown(type(self), name)
            object.__setattr__(self, name, value)

        def __getattr__(self, name: str) -> Any:
            if hasattr(
                type(self), name
            ):  # a property of the author's failed: show its own error, not this one
                return object.__getattribute__(self, name)
            raise _unknown(type(self), name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.doc}/{self.key}>"

    def to_plain(self) -> dict[str, Any]:
        """Return the record as JSON-able values: key, then fields; exact decimals and moments as text."""
        shape = self.__shape__
        keys = zip(shape.keys, shape.key_columns(self.key), strict=True)
        plain = {field.name: field.plain(wire) for field, wire in keys}
        return plain | {name: field.plain(self._row[field.place]) for name, field in shape.fields.items()}

    @classmethod
    def parse_field(cls, name: str, text: str) -> Any:
        """Return the Python value of a field that a person wrote ("12.90", "sim", "2026-11-24", JSON for rows).

        Raises:
            UnknownField: there is no such field.
            FieldError: the text is no value of it.
        """
        shape = cls.__shape__
        known = {field.name: field for field in shape.keys} | shape.fields
        if name not in known:
            raise _unknown(cls, name)
        return known[name].parse(text)

    @classmethod
    def check_record(cls, record: Self) -> None:
        """Run the entity's checks on a record about to be written.

        Raises:
            CheckFailed: a check says no, or a required field is missing.
        """
        shape = cls.__shape__
        for name in shape.required:
            if record._row[shape.fields[name].place] is None:
                raise CheckFailed(
                    shape.category, record.key, "required", say("{name} is required", name=name)
                )
        for rule in shape.checks:
            try:
                fine = rule.method(record)
            except ValueError as error:
                raise CheckFailed(shape.category, record.key, rule.name, said_of(error)) from error
            if not fine:
                raise CheckFailed(shape.category, record.key, rule.name, rule.message)


def _refuse_other_than_partitions(cls: type[Entity], given: object) -> None:
    if not isinstance(given, Partition):
        said = getattr(given, "__name__", repr(given))
        raise AdapterError(
            f"{cls.__name__}: {said} is no partition; write by_account, by_store, or one that names its field, such as "
            'by_store_month("sold_at")'
        )


def _roles(cls: type[Entity], option: str, given: Iterable[Role]) -> frozenset[Role]:
    try:
        return roles_of(given)
    except (TypeError, ValueError) as error:
        raise AdapterError(f"{cls.__name__}: {option}: {error}") from error


def _refuse_misdeclared_rules(cls: type[Entity]) -> None:
    own = cls.__module__.startswith("crdtsync.")
    for name, member in vars(cls).items():
        problem = misdeclared(member, own=own)
        if problem:
            raise AdapterError(f"{cls.__name__}.{name}: {problem}")
    if not inspect.iscoroutinefunction(inspect.unwrap(cls.before_write)):
        raise AdapterError(f"{cls.__name__}.before_write: it is awaited; write it with async def")


def _name_fields(category: str, declared: list[Field[Any]]) -> None:
    """Give the fields their category and place, and the references to "self" their target, inside structs too."""
    keys = sum(field.kind is Kind.KEY for field in declared)
    for part, field in enumerate(field for field in declared if field.kind is Kind.KEY):
        field.place = 2 + part if keys > 1 else 1
    others = (field for field in declared if field.kind is not Kind.KEY)
    for place, field in enumerate(others, start=2 + (keys if keys > 1 else 0)):
        field.place = place
    for field in declared:
        field.category = category
        inner = field.type.struct.__fields__ if isinstance(field.type, StructType) else ()
        for one in (field, *inner):
            if one.type.ref == "self":
                one.type.ref = category


def _invariants(name: str, members: list[Any], declared: list[Field[Any]]) -> list[Invariant]:
    """Return the rules of a class body, each with its options in the order of their declaration."""
    refs = tuple(field for field in declared if field.ref and field.kind is not Kind.SET)
    fields = {field.name: field for field in declared if field.kind is not Kind.KEY}
    found: dict[str, Invariant] = {}
    for member in members:
        rule: Invariant | None = getattr(member, "__crdtsync_invariant__", None)
        if isinstance(member, References):
            rule = references_rule(member, refs)
        elif isinstance(member, ConcurrentEdits):
            for looked_at in (*member.fields, *member.but):
                if looked_at not in fields:
                    raise AdapterError(
                        f"{name}: {member.code} is about {looked_at!r}, no field" + hint(looked_at, fields)
                    )
            rule = concurrent_edits_rule(member, fields)
        if rule is not None:
            if rule.code in found:
                raise AdapterError(
                    f"{name}: two invariants have the code {rule.code}; a pendency is known by it"
                )
            found[rule.code] = rule
    options: list[Option] = [m.__crdtsync_option__ for m in members if hasattr(m, "__crdtsync_option__")]
    for choice in options:
        if choice.code not in found:
            raise AdapterError(
                f"{name}: option {choice.name!r} is of {choice.code}, which the class does not state"
                + hint(choice.code, found)
            )
        rule = found[choice.code]
        if any(known.name == choice.name for known in rule.options):
            raise AdapterError(f"{name}: {choice.code} has two options called {choice.name!r}; rename one")
        found[choice.code] = replace(rule, options=(*rule.options, choice))
    return list(found.values())


def _unknown(entity: type[Entity], name: str) -> UnknownField:
    shape = entity.__shape__
    return UnknownField(shape.category, name, hint(name, [*(key.name for key in shape.keys), *shape.fields]))
