"""Fields: what stands to the right of ``=`` in an entity, each with a written merge policy.

``Register`` last writer by hybrid clock, concurrent writes kept apart; ``Once`` written once; ``Counter`` sums the
movements of every replica; ``Set`` add wins; ``Key`` names the record; ``Ref`` is a register that holds another record's
key; ``Money`` and ``Quantity`` are registers of exact decimals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, Protocol, Self, TypeVar, overload

from crdtsync.errors import FieldError
from crdtsync.schema.values import DecimalType, IntType, RefType, TextType, ValueType, Wire, value_type_of

if TYPE_CHECKING:
    from crdtsync.schema.roles import Role

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
S = TypeVar("S", bound="Struct")


class Kind(StrEnum):
    """The merge policy of a field."""

    KEY = "key"
    REGISTER = "register"
    ONCE = "once"
    COUNTER = "counter"
    SET = "set"


class Holder(Protocol):
    """What a field can be read from: an entity or a struct."""

    def _read(self, field: Field[Any]) -> Any: ...
    def _assign(self, field: Field[Any], value: Any) -> None: ...


class Field(Generic[T_co]):
    """Base of all fields; ``T_co`` is the Python type that reading it gives."""

    kind = Kind.REGISTER

    def __init__(
        self,
        type_: ValueType,
        *,
        optional: bool = False,
        default: Any = None,
        writers: Iterable[Role] | None = None,
        index: bool = False,
    ) -> None:
        self.type = type_
        self.name = ""
        self.category = ""
        self.required = not optional and default is None
        self.default = default
        self.writers = frozenset(writers) if writers is not None else None
        self.index = index

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name
        self.category = getattr(owner, "__category__", None) or owner.__name__

    @overload
    def __get__(self, obj: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, obj: Holder, owner: type[Any]) -> T_co: ...
    def __get__(self, obj: Holder | None, owner: type[Any]) -> Any:
        return self if obj is None else obj._read(self)

    @property
    def column(self) -> str:
        """Name of the SQL column; scaled integers carry their unit."""
        return self.name + self.type.suffix

    @property
    def sql_type(self) -> str:
        """SQL type of the column."""
        return self.type.sql_type

    @property
    def ref(self) -> str | None:
        """Category that the field refers to."""
        return self.type.ref

    @property
    def default_wire(self) -> Wire:
        """Wire value of a record that never had the field written."""
        return None if self.default is None else self.type.to_wire(self.default)

    @property
    def signature(self) -> str:
        """Kind and wire type: peers whose signatures differ cannot share the field."""
        return f"{self.kind} {self.type.signature}"

    def to_wire(self, value: Any) -> Wire:
        """Return the wire value of a Python value.

        Raises:
            FieldError: the value is not one of this field; a float never is.
        """
        if value is None:
            if self.required:
                raise FieldError(self.category, self.name, "is required")
            return None
        try:
            return self.type.to_wire(value)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise FieldError(self.category, self.name, str(error)) from error

    def from_wire(self, wire: Any) -> Any:
        """Return the Python value of a wire value."""
        return None if wire is None else self.type.from_wire(wire)

    def parse(self, text: str) -> Any:
        """Return the Python value that a person wrote.

        Raises:
            FieldError: the text is no value of this field.
        """
        try:
            return self.type.parse(text)
        except (ValueError, TypeError) as error:
            raise FieldError(self.category, self.name, str(error)) from error

    def check_column(self, values: Sequence[Any]) -> str | None:
        """Check wire values from a peer; return what is wrong, or None."""
        if None in values:
            if self.required:
                return "a required value is missing"
            values = [value for value in values if value is not None]
        return self.type.check(values)


class _Writable(Field[T]):
    def __set__(self, obj: Holder, value: T) -> None:
        obj._assign(self, value)


def _options(type_: Any, pattern: str | None, max_length: int | None, check: Callable[[str], str] | None) -> ValueType:
    if type_ is str and (pattern or max_length or check):
        return TextType(pattern, max_length or 16 * 1024, check)
    return value_type_of(type_)


class Register(_Writable[T]):
    """A value that can be written again; the last writer by hybrid clock wins, concurrent writes are told apart."""

    @overload
    def __init__(
        self: Register[T | None], type_: type[T], *, optional: Literal[True], pattern: str | None = ...,
        max_length: int | None = ..., check: Callable[[str], str] | None = ..., writers: Iterable[Role] | None = ...,
        index: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Register[T], type_: type[T], *, default: T = ..., pattern: str | None = ..., max_length: int | None = ...,
        check: Callable[[str], str] | None = ..., writers: Iterable[Role] | None = ..., index: bool = ...,
    ) -> None: ...
    def __init__(
        self, type_: Any, *, optional: bool = False, default: Any = None, pattern: str | None = None,
        max_length: int | None = None, check: Callable[[str], str] | None = None,
        writers: Iterable[Role] | None = None, index: bool = False,
    ) -> None:
        type_ = _options(type_, pattern, max_length, check)
        super().__init__(type_, optional=optional, default=default, writers=writers, index=index)


class _Scaled(_Writable[T]):
    scale_default = 2

    @overload
    def __init__(
        self: _Scaled[Decimal | None], *, scale: int | None = ..., optional: Literal[True],
        writers: Iterable[Role] | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: _Scaled[Decimal], *, scale: int | None = ..., default: Decimal | None = ...,
        writers: Iterable[Role] | None = ...,
    ) -> None: ...
    def __init__(
        self, *, scale: int | None = None, optional: bool = False, default: Decimal | None = None,
        writers: Iterable[Role] | None = None,
    ) -> None:
        places = self.scale_default if scale is None else scale
        super().__init__(DecimalType(places), optional=optional, default=default, writers=writers)


class Money(_Scaled[T]):
    """A register of an exact amount of money, two decimal places."""


class Quantity(_Scaled[T]):
    """A register of an exact quantity, three decimal places."""

    scale_default = 3


class Ref(_Writable[T]):
    """The key of a record of another category (``"self"``: of this one); declares the dependency, may dangle."""

    @overload
    def __init__(
        self: Ref[str | None], target: Any, *, optional: Literal[True], indexed: bool = ...,
        writers: Iterable[Role] | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Ref[str], target: Any, *, indexed: bool = ..., writers: Iterable[Role] | None = ...
    ) -> None: ...
    def __init__(
        self, target: Any, *, optional: bool = False, indexed: bool = True, writers: Iterable[Role] | None = None
    ) -> None:
        name = target if isinstance(target, str) else target.__category__
        super().__init__(RefType(name), optional=optional, writers=writers, index=indexed)


class Once(Field[T]):
    """A value that never changes after creation: facts are corrected by new facts. The first write stands."""

    kind = Kind.ONCE

    @overload
    def __init__(self: Once[T | None], type_: type[T], *, optional: Literal[True], scale: int = ..., pattern: str | None = ..., max_length: int | None = ..., check: Callable[[str], str] | None = ..., index: bool = ...) -> None: ...  # noqa: E501
    @overload
    def __init__(self: Once[T], type_: type[T], *, scale: int = ..., pattern: str | None = ..., max_length: int | None = ..., check: Callable[[str], str] | None = ..., index: bool = ...) -> None: ...  # noqa: E501
    @overload
    def __init__(self: Once[T | None], type_: Field[T], *, optional: Literal[True], index: bool = ...) -> None: ...
    @overload
    def __init__(self: Once[T], type_: Field[T], *, index: bool = ...) -> None: ...
    def __init__(
        self, type_: Any, *, optional: bool = False, scale: int = 2, pattern: str | None = None,
        max_length: int | None = None, check: Callable[[str], str] | None = None, index: bool = False,
    ) -> None:
        if isinstance(type_, Field):
            value, optional = type_.type, optional or not type_.required
        else:
            value = value_type_of(type_, scale) if type_ is Decimal else _options(type_, pattern, max_length, check)
        super().__init__(value, optional=optional, index=index)

    def __set__(self, obj: Holder, value: Never) -> None:
        raise FieldError(self.category, self.name, "is written once, when the record is created")


class Key(Field[T]):
    """What names a record inside its category; several keys make a composite key."""

    kind = Kind.KEY

    @overload
    def __init__(self: Key[str], type_: str | None = ..., *, check: Callable[[str], str] | None = ...) -> None: ...
    @overload
    def __init__(self: Key[T], type_: Field[T]) -> None: ...
    @overload
    def __init__(self: Key[int], type_: type[int]) -> None: ...
    def __init__(self, type_: Any = None, *, check: Callable[[str], str] | None = None) -> None:
        if isinstance(type_, Field):
            value = type_.type
        elif type_ is int:
            value = IntType()
        else:
            value = TextType(type_ or r"[^\x00-\x1f]+", 128, check)
        super().__init__(value)

    def __set__(self, obj: Holder, value: Never) -> None:
        raise FieldError(self.category, self.name, "is part of the key and never changes")


class BoundCounter(Decimal):
    """A counter as read from a record: its balance, and in a transaction the three ways to move it."""

    _holder: Any
    _field: Counter

    @classmethod
    def of(cls, balance: Decimal, holder: Any, field: Counter) -> Self:
        """Return the balance bound to its record."""
        bound = cls(balance)
        bound._holder, bound._field = holder, field
        return bound

    def add(self, amount: Decimal | int, *, cause: str = "") -> None:  # type: ignore[override]
        """Add units; ``cause`` names what moved them."""
        self._holder._move(self._field, amount, cause)

    def subtract(self, amount: Decimal | int, *, cause: str = "") -> None:  # type: ignore[override]
        """Take units away; the balance may go below zero."""
        self._holder._move(self._field, -amount, cause)

    def count(self, value: Decimal | int) -> None:
        """Set the balance by an inventory count; later and concurrent movements still move it."""
        self._holder._count(self._field, value)


class Counter(Field[BoundCounter]):
    """Units that every replica may add and take away; no assignment."""

    kind = Kind.COUNTER

    def __init__(self, *, scale: int = 3, writers: Iterable[Role] | None = None) -> None:
        super().__init__(DecimalType(scale), optional=True, default=Decimal(0), writers=writers)

    def __set__(self, obj: Holder, value: Never) -> None:
        raise FieldError(self.category, self.name, "is a counter: use add(), subtract() or count()")


class BoundSet(Generic[T]):
    """A set as read from a record; in a transaction it can be changed."""

    def __init__(self, values: Iterable[T], holder: Any, field: Set[T]) -> None:
        self._values = list(values)
        self._holder = holder
        self._field = field

    def __iter__(self) -> Iterator[T]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, value: object) -> bool:
        return value in self._values

    def add(self, value: T) -> None:
        """Add an element; it wins over a concurrent removal."""
        self._holder._element(self._field, value, 1)

    def discard(self, value: T) -> None:
        """Remove an element as far as it has been seen here."""
        self._holder._element(self._field, value, 0)


class Set(Field[BoundSet[T]]):
    """A set of texts or structs; concurrent additions all stay."""

    kind = Kind.SET

    def __init__(self, type_: type[T], *, writers: Iterable[Role] | None = None) -> None:
        element = StructType(type_) if issubclass(type_, Struct) else value_type_of(type_)
        super().__init__(element, optional=True, writers=writers)

    def __set__(self, obj: Holder, value: Never) -> None:
        raise FieldError(self.category, self.name, "is a set: use add() and discard()")

    @property
    def sql_type(self) -> str:
        return "TEXT"

    @property
    def column(self) -> str:
        return self.name

    @property
    def default_wire(self) -> Wire:
        return "[]"

    def from_wire(self, wire: Any) -> list[T]:
        return [self.type.from_wire(element) for element in json.loads(wire or "[]")]


class Struct:
    """An immutable composite value: fields by position; new optional fields go to the end."""

    __fields__: tuple[Field[Any], ...] = ()
    __category__: str | None = None

    def __init_subclass__(cls) -> None:
        cls.__fields__ = tuple(value for value in vars(cls).values() if isinstance(value, Field))

    def __init__(self, **values: Any) -> None:
        names = {field.name for field in self.__fields__}
        for name in values:
            if name not in names:
                raise FieldError(type(self).__name__, name, f"there is no such field; there are {', '.join(sorted(names))}")
        for field in self.__fields__:
            field.to_wire(values.get(field.name, field.default))
        self._values = {field.name: values.get(field.name, field.default) for field in self.__fields__}

    def _read(self, field: Field[Any]) -> Any:
        return self._values[field.name]

    def _assign(self, field: Field[Any], value: Any) -> None:
        raise FieldError(type(self).__name__, field.name, "is part of a value that never changes")

    def _wire(self) -> list[Wire]:
        return [field.to_wire(self._values[field.name]) for field in self.__fields__]

    @classmethod
    def _from_wire(cls, wire: Sequence[Any]) -> Self:
        value = cls.__new__(cls)
        padded = [*wire, *([None] * len(cls.__fields__))]
        value._values = {
            field.name: field.from_wire(item) for field, item in zip(cls.__fields__, padded, strict=False)
        }
        return value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._wire() == other._wire()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(tuple(self._wire()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._values.items())})"


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class StructType(ValueType):
    """One struct as JSON text."""

    def __init__(self, struct: Any) -> None:
        self.struct: type[Struct] = struct

    @property
    def signature(self) -> str:
        return "struct(" + ",".join(f"{f.name} {f.type.signature}" for f in self.struct.__fields__) + ")"

    def to_wire(self, value: Any) -> str:
        if not isinstance(value, self.struct):
            raise ValueError(f"a {self.struct.__name__} is expected, not {type(value).__name__}")
        return _dump(value._wire())

    def from_wire(self, wire: Any) -> Struct:
        return self.struct._from_wire(json.loads(wire))

    def parse(self, text: str) -> Struct:
        return self.from_wire(text)

    def check(self, values: Sequence[Any]) -> str | None:
        if set(map(type, values)) - {str}:
            return "a value is not text"
        for value in values:
            try:
                rows = json.loads(value)
            except ValueError:
                return "a value is not JSON"
            problem = self._check_wire(rows)
            if problem:
                return problem
        return None

    def _check_wire(self, row: Any) -> str | None:
        if type(row) is not list or len(row) > 256:
            return "a struct is not a list"
        fields = self.struct.__fields__
        for field, item in zip(fields, [*row, *([None] * (len(fields) - len(row)))], strict=False):
            problem = field.check_column([item])
            if problem:
                return f"{field.name}: {problem}"
        return None


class RowsType(StructType):
    """A list of structs as JSON text."""

    @property
    def signature(self) -> str:
        return "rows " + super().signature

    def to_wire(self, value: Any) -> str:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError(f"a list of {self.struct.__name__} is expected, not {type(value).__name__}")
        rows = list(value)
        for row in rows:
            if not isinstance(row, self.struct):
                raise ValueError(f"a list of {self.struct.__name__} is expected, not of {type(row).__name__}")
        return _dump([row._wire() for row in rows])

    def from_wire(self, wire: Any) -> Any:
        return [self.struct._from_wire(row) for row in json.loads(wire)]

    def _check_wire(self, row: Any) -> str | None:
        if type(row) is not list:
            return "the rows are not a list"
        for item in row:
            problem = super()._check_wire(item)
            if problem:
                return problem
        return None


class Rows(_Writable[list[S]]):
    """A list of structs, written as a whole; inside ``Once`` it never changes."""

    def __init__(self, struct: type[S], *, optional: bool = False) -> None:
        super().__init__(RowsType(struct), optional=optional)
