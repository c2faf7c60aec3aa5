"""The shape of a category: what an entity class says, as data for the fold, the store and the gate.

It holds no record and changes nothing; `check_shape` refuses a declaration that contradicts itself.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from crdtsync import limits
from crdtsync.errors import AdapterError, FieldError, hint
from crdtsync.said import say
from crdtsync.schema.composites import RowsType, StructType
from crdtsync.schema.fields import DELETION, Field, Kind
from crdtsync.schema.rules import RuleKind
from crdtsync.schema.values import DateTimeType, DateType, EnumType, KeyType, TextType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from crdtsync.schema.partition import Partition
    from crdtsync.schema.roles import Role
    from crdtsync.schema.rules import Check, Invariant
    from crdtsync.schema.values import Wire

KEY_SEPARATOR = ":"
"""Between the parts of a composite key; no part contains it."""

_SLUG = re.compile(r"[a-z][a-z0-9_]*")
_TYPE_BYTES = 4
_POSITION_CHARS = len(".999")
_KEYWORDS = frozenset({"doc", "entity", "in_store", "limit", "self"})
"""What the verbs that take fields by name call their own arguments."""


@dataclass(frozen=True)
class Shape:
    """See the module. `fields` holds the non-key fields in declaration order."""

    category: str
    title: str
    keys: tuple[Field[Any], ...]
    fields: dict[str, Field[Any]]
    partition: Partition
    writers: frozenset[Role]
    holders: frozenset[Role]
    checks: tuple[Check, ...]
    invariants: tuple[Invariant, ...]
    download: int | None = None
    upload: int | None = None

    @cached_property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """(name, SQL type) of the read model's columns: the parts of a composite key, then the fields."""
        keys = self.keys if len(self.keys) > 1 else ()
        return tuple((field.column, field.sql_type) for field in (*keys, *self.fields.values()))

    @cached_property
    def indexes(self) -> tuple[str, ...]:
        """Columns to index: references, and what the author marks."""
        keys = self.keys if len(self.keys) > 1 else ()
        return tuple(
            field.column
            for field in (*keys, *self.fields.values())
            if field.index or (field.kind is Kind.KEY and field.ref)
        )

    @cached_property
    def rows_views(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """Per column that holds several structs (rows, sets of structs): (name, SQL type) of the struct's columns.

        A column that has the name of one that tells the record apart carries its field's name too.
        """
        taken = {*self.partition.columns, *(key.column for key in self.keys), "line"}
        views: dict[str, tuple[tuple[str, str], ...]] = {}
        for field in self.fields.values():
            if isinstance(field.type, RowsType) or (
                field.kind is Kind.SET and isinstance(field.type, StructType)
            ):
                views[field.column] = tuple(
                    (f"{field.name}_{f.column}" if f.column in taken else f.column, f.sql_type)
                    for f in field.type.struct.__fields__
                )
        return views

    @cached_property
    def refs(self) -> tuple[tuple[str, str], ...]:
        """(field name, target category) of the references, those inside structs and to the category itself included."""
        found: list[tuple[str, str]] = []
        for field in (*self.keys, *self.fields.values()):
            if isinstance(field.type, StructType):
                found += [(field.name, f.ref) for f in field.type.struct.__fields__ if f.ref]
            elif field.ref:
                found.append((field.name, field.ref))
        return tuple(found)

    def key_text(self, values: Mapping[str, Any]) -> str:
        """Return the record key of Python key values.

        Raises:
            FieldError: a key is missing or not valid.
        """
        parts: list[str] = []
        for key in self.keys:
            part = str(key.to_wire(values.get(key.name)))
            if len(self.keys) > 1 and KEY_SEPARATOR in part:
                raise FieldError(
                    self.category,
                    key.name,
                    say("part of a composite key cannot contain {separator}", separator=repr(KEY_SEPARATOR)),
                )
            parts.append(part)
        text = KEY_SEPARATOR.join(parts)
        if self._one_text_key is not None:
            return text  # its field has just said that it is one
        problem = self.validate_key(text)
        if problem:
            raise FieldError(self.category, self.keys[0].name, problem)
        return text

    def key_columns(self, key: str) -> tuple[Any, ...]:
        """Return the wire values of a key's parts; raises ValueError when the text has another number of them."""
        parts = key.split(KEY_SEPARATOR) if len(self.keys) > 1 else [key]
        return tuple(
            int(part) if field.sql_type == "INTEGER" else part
            for field, part in zip(self.keys, parts, strict=True)
        )

    def validate_key(self, key: str) -> str | None:
        """Check a key as it arrives; return what is wrong, or None. For many, `check_keys` is faster."""
        one = self._one_text_key
        return None if one is not None and one.accepts(key) else self.check_keys((key,))

    def check_keys(self, keys: Iterable[str]) -> str | None:
        """Check the keys of many records as they arrive, column by column; return what is wrong, or None."""
        keys = tuple(keys)
        if self._one_text_key is not None:
            problem = self._one_text_key.check(keys)
            return say("key: {problem}", problem=problem) if problem else None
        # Lengths first: a key is bounded as a whole, and int() of a long text is slow.
        problem = self._whole_key.check(keys)
        if problem:
            return say("key: {problem}", problem=problem)
        if not keys:
            return None
        try:
            if len(self.keys) == 1:
                columns = [keys]
            else:
                columns = [*zip(*(key.split(KEY_SEPARATOR) for key in keys), strict=True)]
            wires = [
                tuple(map(int, column)) if field.sql_type == "INTEGER" else column
                for field, column in zip(self.keys, columns, strict=True)
            ]
        except ValueError:
            return say(
                "a key does not have the form {form}",
                form=KEY_SEPARATOR.join(field.name for field in self.keys),
            )
        for texts, column in zip(columns, wires, strict=True):
            # 7 and 007 would be two records with one number.
            again = tuple(map(str, column))
            if again != texts:
                key = next(key for key, one, other in zip(keys, texts, again, strict=True) if one != other)
                return say("key {key} is not in canonical form", key=repr(key))
        for field, column in zip(self.keys, wires, strict=True):
            problem = field.type.check(column)
            if problem:
                return say("key {name}: {problem}", name=field.name, problem=problem)
        return None

    @cached_property
    def _one_text_key(self) -> KeyType | None:
        kind = self.keys[0].type
        return kind if len(self.keys) == 1 and isinstance(kind, KeyType) else None

    @cached_property
    def _whole_key(self) -> KeyType:
        return KeyType()

    def may_write(self, role: Role, field: str | None = None) -> bool:
        """Tell whether a node of this role may write the category, one field of it, or its deletion (`~`).

        Who may not write every required field cannot create a record, and so does not delete one either.
        """
        if role not in self.writers:
            return False
        if field == DELETION:
            return all(self.may_write(role, name) for name, one in self.fields.items() if one.required)
        declared = self.fields.get(field) if field else None
        return declared is None or declared.writers is None or role in declared.writers

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the keys and of the fields."""
        return frozenset((*(key.name for key in self.keys), *self.fields))

    @cached_property
    def defaults(self) -> dict[str, Wire]:
        """Field -> wire value of a record that never had it written, in the order of the columns."""
        return {name: field.default_wire for name, field in self.fields.items()}

    @cached_property
    def written(self) -> dict[str, Wire]:
        """The fields that a new record writes at once, with their defaults: all but counters and sets, which are moved."""
        moved = {Kind.COUNTER, Kind.SET}
        return {name: wire for name, wire in self.defaults.items() if self.fields[name].kind not in moved}

    @cached_property
    def judges(self) -> dict[str, Callable[[Any], bool]]:
        """For each field whose slot holds one value of its type: what tells whether a value, not None, is valid."""
        return {name: self.fields[name].type.accepts for name in self.written}

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The fields that a record must bring a value for."""
        return tuple(name for name, field in self.fields.items() if field.required)

    def writable(self, role: Role) -> frozenset[str]:
        """Return the fields that a node of this role may write."""
        known = self._writable.get(role)
        if known is None:
            known = frozenset(name for name in self.fields if self.may_write(role, name))
            self._writable[role] = known
        return known

    @cached_property
    def _writable(self) -> dict[Role, frozenset[str]]:
        return {}

    def describe(self) -> dict[str, Any]:
        """Return what the fingerprint covers: signatures of keys and fields."""
        return {
            "keys": [[field.name, field.type.signature] for field in self.keys],
            "fields": {name: field.signature for name, field in self.fields.items()},
            "required": sorted(name for name, field in self.fields.items() if field.required),
        }

    @cached_property
    def fingerprint(self) -> str:
        """Stable hash of the description."""
        return _hash(self.describe())

    @cached_property
    def essence(self) -> str:
        """Stable hash of what must be equal to exchange records: keys, partition and required fields.

        Two versions of a category that differ by optional fields have the same essence and synchronize, unless
        `optional_types` tells two types of one field.
        """
        keys = [[field.name, field.type.essence] for field in self.keys]
        required = {
            name: self.fields[name].essence for name in sorted(self.fields) if self.fields[name].required
        }
        return _hash([keys, self.partition.columns, required])

    @cached_property
    def optional_types(self) -> dict[str, str]:
        """Stable hash of the type of each field, and of each position of a struct (`lines.3`), that a peer may lack."""
        types: dict[str, str] = {}
        for field in self.fields.values():
            if not field.required:
                types[field.name] = _hash([field.essence, field.optional], _TYPE_BYTES)
            if isinstance(field.type, StructType):
                for at, part in enumerate(field.type.struct.__fields__):
                    if not part.required:
                        types[f"{field.name}.{at}"] = _hash([part.type.essence, part.optional], _TYPE_BYTES)
        return types

    @cached_property
    def types(self) -> dict[str, str]:
        """The key (`key`), each field, and each position of a struct (`lines.3`) -> its type, as a store remembers it."""
        # The name of a key that stands alone is no part of it: it is no column.
        keys = [
            f"{key.name} {key.type.essence}" if len(self.keys) > 1 else key.type.essence for key in self.keys
        ]
        types = {"key": ", ".join(keys)}
        for field in self.fields.values():
            types[field.name] = field.essence
            if isinstance(field.type, StructType):
                # Without its positions, which are told one by one: a newer version may add some.
                types[field.name] = f"{field.kind} {'rows' if isinstance(field.type, RowsType) else 'struct'}"
                parts = enumerate(field.type.struct.__fields__)
                types |= {f"{field.name}.{at}": part.type.essence for at, part in parts}
        return types


def _hash(value: object, size: int = 8) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return blake2b(text.encode(), digest_size=size).hexdigest()


def check_shape(name: str, shape: Shape, reserved: Iterable[str]) -> None:
    """Refuse a declaration that contradicts itself.

    Raises:
        AdapterError: it names the class, the field, and what to do.
    """
    if not _SLUG.fullmatch(shape.category):
        raise AdapterError(f"{name}: the category {shape.category!r} is not lower-case letters, digits and _")
    if not shape.keys:
        raise AdapterError(f"{name}: an entity needs at least one Key()")
    if not shape.writers:
        raise AdapterError(f"{name}: nobody may write it; say writers={{Role....}}")
    if len(shape.fields) > limits.FIELDS_MAX:
        raise AdapterError(f"{name}: {len(shape.fields)} fields; at most {limits.FIELDS_MAX} are allowed")
    _check_names(name, shape, frozenset(reserved))
    _check_rules(name, shape)
    for field in shape.fields.values():
        try:
            _ = field.default_wire
        except FieldError as error:
            raise AdapterError(f"{name}: the default of {error}") from error
        if field.writers is not None and not field.writers <= shape.writers:
            extra = ", ".join(sorted(field.writers - shape.writers))
            raise AdapterError(
                f"{name}.{field.name}: {extra} may not write the entity; add it to the entity's writers"
            )


def _check_names(name: str, shape: Shape, reserved: frozenset[str]) -> None:
    taken = set(shape.partition.columns)
    for field in (*shape.keys, *shape.fields.values()):
        if not _SLUG.fullmatch(field.name) or field.name in reserved | _KEYWORDS:
            raise AdapterError(
                f"{name}.{field.name}: this name is reserved or not lower case; choose another"
            )
        if len(field.name) + _POSITION_CHARS > limits.NAME_CHARS_MAX:
            raise AdapterError(f"{name}.{field.name}: this name is too long; choose a shorter one")
        if field.column in taken:
            raise AdapterError(
                f"{name}.{field.name}: another column is called {field.column}; rename the field"
            )
        taken.add(field.column)
    place = shape.partition.place_field
    if place is not None:
        # A record stays in its document, so what names the document never changes.
        texts = {f.name: f for f in shape.fields.values() if f.kind is Kind.ONCE and f.required}
        if place not in texts or not isinstance(texts[place].type, TextType | EnumType):
            raise AdapterError(
                f"{name}: it is cut by the place in {place!r}, which must be a required Once(str)"
                + hint(str(place), texts)
            )
    when = shape.partition.month_field
    if when is not None:
        dated = {f.name: f for f in shape.fields.values() if f.kind is Kind.ONCE and f.required}
        if when not in dated or not isinstance(dated[when].type, DateType | DateTimeType):
            raise AdapterError(
                f"{name}: it is cut by the month of {when!r}, which must be a required Once(date) or Once(datetime)"
                + hint(str(when), dated)
            )


def _check_rules(name: str, shape: Shape) -> None:
    fields = {field.name: field for field in (*shape.keys, *shape.fields.values())}
    inner = {
        f"{field.name}.{one.name}": one
        for field in shape.fields.values()
        if isinstance(field.type, StructType)
        for one in field.type.struct.__fields__
    }
    watchable: dict[str, Field[Any]] = {**fields, **inner}
    for rule in shape.invariants:
        for watched in rule.watch:
            if watched not in watchable or not watchable[watched].ref:
                raise AdapterError(
                    f"{name}: {rule.code} watches {watched!r}, which is no Ref" + hint(watched, watchable)
                )
        for grouped in getattr(rule.group, "names", ()):
            if grouped not in fields:
                raise AdapterError(
                    f"{name}: {rule.code} groups by {grouped!r}, no field" + hint(grouped, fields)
                )
        for needed in rule.given:
            if needed not in shape.fields:
                raise AdapterError(
                    f"{name}: {rule.code} is about records with {needed!r}, no field"
                    + hint(needed, shape.fields)
                )
        grouped_only = {"others", "beside"} if rule.kind is RuleKind.GROUP else set()
        strange = rule.takes - {"records", "now"} - grouped_only
        if strange or ("others" in rule.takes) != (rule.kind is RuleKind.GROUP):
            raise AdapterError(
                f"{name}: {rule.code} may ask for records and now, and for others and beside when it compares a group; "
                f"it asks for {', '.join(sorted(rule.takes)) or 'nothing'}"
            )
