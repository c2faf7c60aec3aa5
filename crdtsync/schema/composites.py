"""Composite values: `Struct` (fields by position), `Rows` (a list of structs) and `Set` (additions win).

Structs travel as JSON arrays by position, so that SQL reads them with `json_extract`. Positions that a newer schema
added are kept as they came. Nothing here merges: the elements of a set are merged one by one in the fold.
"""

# ruff: noqa: SLF001, TRY004 - as in fields, a value and its field are one mechanism; a refused value is a ValueError.

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Never, Self, TypeVar, overload

from crdtsync import limits
from crdtsync.errors import AdapterError, FieldError, UnknownField, hint
from crdtsync.said import say
from crdtsync.schema.fields import Assignable, Field, Holder, Kind, refuse_misdeclared, type_within
from crdtsync.schema.values import ValueType, Wire, value_type_of

if TYPE_CHECKING:
    from crdtsync.schema.roles import Role

T = TypeVar("T")
S = TypeVar("S", bound="Struct")

_SIMPLE = frozenset({int, str, type(None)})


def to_json(value: Any) -> str:
    """Return the one JSON text that stored values use: no spaces, accents as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Struct:
    """An immutable composite value. Its fields are `Once`, `Register`, `Money`, `Quantity` or `Ref`, by position.

    Later versions may add optional fields at the end, and nothing else.
    """

    __fields__: ClassVar[tuple[Field[Any], ...]] = ()

    # Wire values by position, at least one for each field; more when a newer schema wrote them.
    _wires: tuple[Wire, ...]

    def __init_subclass__(cls) -> None:
        refuse_misdeclared(cls)
        cls.__fields__ = tuple(value for value in vars(cls).values() if isinstance(value, Field))
        for field in cls.__fields__:
            if field.kind not in {Kind.REGISTER, Kind.ONCE} or isinstance(field.type, StructType):
                raise AdapterError(
                    f"{cls.__name__}.{field.name}: a {type(field).__name__} cannot be part of a struct"
                )
            try:
                _ = field.default_wire
            except FieldError as error:
                raise AdapterError(f"the default of {error}") from error

    def __init__(self, **values: Any) -> None:
        """Take every field by name; raises FieldError for an unknown name, a missing or a wrong value."""
        names = [field.name for field in self.__fields__]
        for name in values:
            if name not in names:
                raise UnknownField(type(self).__name__, name, hint(name, names))
        wires = tuple(field.to_wire(values.get(field.name, field.default)) for field in self.__fields__)
        vars(self)["_wires"] = wires

    @classmethod
    def _of(cls, row: Sequence[Wire]) -> Self:
        value = cls.__new__(cls)
        vars(value)["_wires"] = (*row, *(None,) * (len(cls.__fields__) - len(row)))
        return value

    @classmethod
    def _parse(cls, said: Any) -> Self:
        """Return the value of a JSON object that a person wrote: names, and values as `show` prints them."""
        if not isinstance(said, dict):
            raise ValueError(say("an object with the fields of {kind} is expected", kind=cls.__name__))
        fields = {field.name: field for field in cls.__fields__}
        return cls(
            **{
                name: fields[name].parse(value) if name in fields and isinstance(value, str) else value
                for name, value in said.items()
            }
        )

    @classmethod
    def _plain(cls, row: Sequence[Wire]) -> dict[str, Any]:
        return {
            field.name: field.plain(wire)
            for field, wire in zip_longest(cls.__fields__, row[: len(cls.__fields__)])
        }

    def _row(self) -> list[Wire]:
        """Wire values without the empty end, so that an added optional field changes no older value."""
        row = list(self._wires)
        while row and row[-1] is None:
            row.pop()
        return row

    def _read(self, field: Field[Any]) -> Any:
        return field.from_wire(self._wires[self.__fields__.index(field)])

    def _assign(self, field: Field[Any], value: Any) -> None:
        raise FieldError(
            type(self).__name__,
            field.name,
            say("is part of a value that never changes; make another with {value}", value=repr(value)),
        )

    if not TYPE_CHECKING:  # seen by the type checker, they would make every name legal

        def __setattr__(self, name: str, value: object) -> None:
            if not isinstance(getattr(type(self), name, None), Field):
                raise UnknownField(type(self).__name__, name, hint(name, [f.name for f in self.__fields__]))
            object.__setattr__(self, name, value)

        def __getattr__(self, name: str) -> Any:
            if hasattr(
                type(self), name
            ):  # a property of the author's failed: show its own error, not this one
                return object.__getattribute__(self, name)
            raise UnknownField(type(self).__name__, name, hint(name, [f.name for f in self.__fields__]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Struct) and type(other) is type(self) and self._row() == other._row()

    def __hash__(self) -> int:
        return hash(tuple(self._row()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{field.name}={self._read(field)!r}" for field in self.__fields__)
        return f"{type(self).__name__}({shown})"


def _read_json(struct: type[Struct], text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise ValueError(
            say("{kind} is written in JSON ({error})", kind=struct.__name__, error=error)
        ) from error


class StructType(ValueType):
    """One struct as JSON text."""

    def __init__(self, struct: type[Struct]) -> None:
        self.struct = struct

    @property
    def signature(self) -> str:
        """Names and types of all positions."""
        return "struct(" + ",".join(f"{f.name} {f.type.signature}" for f in self.struct.__fields__) + ")"

    @property
    def essence(self) -> str:
        """Types of the positions that must be there: optional ones may be added by either side."""
        required = [f"{at} {f.type.essence}" for at, f in enumerate(self.struct.__fields__) if f.required]
        return "struct(" + ",".join(required) + ")"

    def to_wire(self, value: Any) -> str:
        """Return the JSON array of one struct."""
        if type(value) is not self.struct:
            raise ValueError(
                say(
                    "a {kind} is expected, {value} is a {found}",
                    kind=self.struct.__name__,
                    value=repr(value),
                    found=type(value).__name__,
                )
            )
        return to_json(value._row())

    def from_wire(self, wire: Any) -> Any:
        """Return the struct."""
        return self.struct._of(json.loads(wire))

    def plain(self, wire: Any) -> Any:
        """Return an object by field name."""
        return self.struct._plain(json.loads(wire))

    def parse(self, text: str) -> Any:
        """Accept a JSON object by field name; decimals are read exactly."""
        return self.struct._parse(_read_json(self.struct, text))

    def check(self, values: Sequence[Any]) -> str | None:
        """Check texts as they arrive: JSON, positions, and each position's column."""
        if set(map(type, values)) - {str}:
            return say("a value is not text")
        rows: list[Any] = []
        for value in values:
            try:
                rows += self._rows(json.loads(value))
            except (ValueError, RecursionError) as error:
                return say(
                    "{value} is not what {kind} is stored as ({error})",
                    value=repr(value[:40]),
                    kind=self.struct.__name__,
                    error=error,
                )
        return self._check_rows(rows)

    def _rows(self, decoded: Any) -> list[Any]:
        return [decoded]

    def _check_rows(self, rows: list[Any]) -> str | None:
        if set(map(type, rows)) - {list} or max(map(len, rows), default=0) > limits.STRUCT_POSITIONS_MAX:
            return say(
                "a {kind} is not a list of at most {most} values",
                kind=self.struct.__name__,
                most=limits.STRUCT_POSITIONS_MAX,
            )
        # By column, as a whole batch's records are: a week of sale lines passes here.
        columns = list(zip_longest(*rows)) if rows else []
        columns += [(None,) * len(rows)] * (len(self.struct.__fields__) - len(columns)) if rows else []
        for field, column in zip(self.struct.__fields__, columns, strict=False):
            problem = field.check_column(column)
            if problem:
                return say("{name}: {problem}", name=field.name, problem=problem)
        for column in columns[len(self.struct.__fields__) :]:
            if set(map(type, column)) - _SIMPLE:
                return say("a position of a newer version is neither a whole number nor a text")
        return None


class RowsType(StructType):
    """A list of structs as JSON text."""

    @property
    def signature(self) -> str:
        """Names and types of all positions."""
        return "rows " + super().signature

    @property
    def essence(self) -> str:
        """Types of the positions that must be there."""
        return "rows " + super().essence

    def to_wire(self, value: Any) -> str:
        """Return the JSON array of arrays."""
        if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
            raise ValueError(
                say(
                    "a list of {kind} is expected, {value} is a {found}",
                    kind=self.struct.__name__,
                    value=repr(value),
                    found=type(value).__name__,
                )
            )
        rows = list(value)
        for row in rows:
            if type(row) is not self.struct:
                raise ValueError(
                    say(
                        "a list of {kind} is expected, {value} is a {found}",
                        kind=self.struct.__name__,
                        value=repr(row),
                        found=type(row).__name__,
                    )
                )
        return to_json([row._row() for row in rows])

    def from_wire(self, wire: Any) -> Any:
        """Return the list of structs."""
        return [self.struct._of(row) for row in json.loads(wire)]

    def plain(self, wire: Any) -> Any:
        """Return a list of objects by field name."""
        return [self.struct._plain(row) for row in json.loads(wire)]

    def parse(self, text: str) -> Any:
        """Accept a JSON list of objects by field name; decimals are read exactly."""
        said = _read_json(self.struct, text)
        if not isinstance(said, list):
            raise ValueError(say("a list of {kind} is expected", kind=self.struct.__name__))
        return [self.struct._parse(item) for item in said]

    def _rows(self, decoded: Any) -> list[Any]:
        if type(decoded) is not list:
            raise ValueError(say("no list"))
        return decoded


def _a_struct(given: Any) -> type[Struct]:
    if not (isinstance(given, type) and issubclass(given, Struct)):
        raise TypeError(f"Rows(...) takes a Struct, not {getattr(given, '__name__', repr(given))}")
    return given


class Rows(Assignable[list[S]]):
    """A list of structs, written as a whole; inside `Once` it never changes."""

    def __init__(self, struct: type[S], *, optional: bool = False) -> None:
        super().__init__(lambda: RowsType(_a_struct(struct)), optional=optional)


class BoundSet(Collection[T], Generic[T]):
    """A set as read from a record; in a transaction it can be changed."""

    def __init__(self, values: Iterable[T], holder: Any, field: Any) -> None:
        self._values = list(values)
        self._holder = holder
        self._field: Any = field

    def __iter__(self) -> Iterator[T]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, value: object) -> bool:
        return value in self._values

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self._values))}}}"

    def add(self, value: T) -> None:
        """Add an element; it wins over a concurrent removal."""
        self._holder._element(self._field, self._field.to_wire(value), present=True)

    def discard(self, value: T) -> None:
        """Remove an element as far as it has been seen here."""
        self._holder._element(self._field, self._field.to_wire(value), present=False)


def _element_type(type_: Any) -> ValueType:
    if isinstance(type_, Field):
        element = type_within("Set", type_, ())
        if type_.optional or type_.default is not None or type_.writers is not None:
            raise TypeError("an element is never empty; say writers= of the Set")
    elif isinstance(type_, type) and issubclass(type_, Struct):
        element = StructType(type_)
    else:
        element = value_type_of(type_)
    if element.sql_type != "TEXT" or isinstance(element, RowsType):
        raise TypeError(f"{type_!r} cannot be an element of a set: elements are texts; use a Struct")
    return element


class Set(Field[BoundSet[T]]):
    """A set of texts, dates, enum words, references or structs; concurrent additions all stay.

    The read model holds the sorted elements as a JSON array of texts.
    """

    kind = Kind.SET

    @overload
    def __init__(self: Set[T], type_: type[T], *, writers: Iterable[Role] | None = ...) -> None: ...
    @overload
    def __init__(self: Set[T], type_: Field[T], *, writers: Iterable[Role] | None = ...) -> None: ...
    def __init__(self, type_: Any, *, writers: Iterable[Role] | None = None) -> None:
        super().__init__(lambda: _element_type(type_), writers=writers)
        self.required = False

    def __set__(self, obj: Holder, value: Never) -> None:
        raise FieldError(self.category, self.name, say("is a set: use add() and discard()"))

    @property
    def default_wire(self) -> Wire:
        """The empty set."""
        return "[]"

    def from_wire(self, wire: Any) -> list[T]:
        """Return the elements."""
        return [self.type.from_wire(element) for element in json.loads(wire or "[]")]

    def plain(self, wire: Any) -> Any:
        """Return the elements' JSON-able forms."""
        return [self.type.plain(element) for element in json.loads(wire or "[]")]

    def parse(self, text: str) -> Any:
        """Accept one element; the caller adds or removes it."""
        return super().parse(text)
