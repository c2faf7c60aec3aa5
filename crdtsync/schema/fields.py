"""Fields: what stands to the right of `=` in an entity, each with a written merge policy.

`Register` last writer by hybrid clock, concurrent writes kept apart; `Once` written once; `Counter` sums the
movements of every replica; `Key` names the record; `Ref` is a register that holds another record's key; `Money` and
`Quantity` are registers of exact decimals. `Set` (additions win), `Rows` and `Struct` are in `composites`. A field
never stores a value: it reads from and assigns to the record it is asked about.
"""

# ruff: noqa: SLF001 - a field and its record are one mechanism; public names would crowd the author's own fields.

from __future__ import annotations

import inspect
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, Protocol, Self, TypeVar, get_origin, overload

from crdtsync import limits
from crdtsync.errors import AdapterError, FieldError
from crdtsync.said import said_of, say
from crdtsync.schema.roles import roles_of
from crdtsync.schema.values import (
    DecimalType,
    IntType,
    KeyType,
    RefType,
    TextType,
    ValueType,
    Wire,
    value_type_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from crdtsync.schema.entity import Entity
    from crdtsync.schema.roles import Role

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

COUNT_MARK = "#"
"""Ends the slot of a counter's inventory count."""

NAME_MARK = "!"
"""Stands between the counter and the name in the slot of a movement that counts once."""

ELEMENT_MARK = "\x1f"
"""Stands between the field and the element in the slot of a set's element."""

DELETION = "~"
"""The slot of a record's deletion."""


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
    """Base of all fields; `T_co` is the Python type that reading it gives.

    A field is `required` when a record must bring a value: it is not optional and has no default. `writers` narrows
    the roles of the entity for this field; None means all of them. `make` returns the value type; what it raises becomes
    the field's `problem`: what is wrong with the declaration, for the class statement to refuse, which knows both names.
    """

    kind = Kind.REGISTER

    def __init__(
        self,
        make: Callable[[], ValueType],
        *,
        optional: bool = False,
        default: Any = None,
        writers: Iterable[Role] | None = None,
        index: bool = False,
    ) -> None:
        self.problem = ""
        self.type: ValueType = TextType()
        self.writers: frozenset[Role] | None = None
        try:
            self.type = make()
            self.writers = None if writers is None else roles_of(writers)
        except (TypeError, ValueError) as error:
            self.problem = str(error)
        self.home: type[Any] | None = None
        self.name = ""
        self.category = ""
        self.place = 0  # in a read-model row; that of a key that stands alone is the record's key
        self.optional = optional
        self.required = not optional and default is None
        self.default = default
        self.index = index

    def __set_name__(self, owner: type[Any], name: str) -> None:
        if self.home is not None:
            return  # `refuse_misdeclared` tells it: an error from here would come wrapped in another
        self.home = owner
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
        return None if self.default is None else self.to_wire(self.default)

    @property
    def signature(self) -> str:
        """Kind and wire type, for the schema fingerprint."""
        return f"{self.kind} {self.type.signature}"

    @property
    def essence(self) -> str:
        """Kind and what peers must agree on of the wire type: where it differs the field cannot be shared."""
        return f"{self.kind} {self.type.essence}"

    def to_wire(self, value: Any) -> Wire:
        """Return the wire value of a Python value.

        Raises:
            FieldError: the value is not one of this field; a float never is.
        """
        if value is None:
            if not self.optional:
                raise FieldError(
                    self.category, self.name, say("is required") if self.required else say("cannot be empty")
                )
            return None
        try:
            return self.type.to_wire(value)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise FieldError(self.category, self.name, said_of(error)) from error

    def from_wire(self, wire: Any) -> Any:
        """Return the Python value of a wire value; None is the default."""
        return self.default if wire is None else self.type.from_wire(wire)

    def plain(self, wire: Any) -> Any:
        """Return the JSON-able form of a wire value."""
        return None if wire is None else self.type.plain(wire)

    def parse(self, text: str) -> Any:
        """Return the Python value that a person wrote; an empty text empties an optional field.

        Raises:
            FieldError: the text is no value of this field.
        """
        if not text and self.optional:
            return None
        try:
            value = self.type.parse(text)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise FieldError(self.category, self.name, said_of(error)) from error
        self.to_wire(value)
        return value

    def check_column(self, values: Sequence[Any]) -> str | None:
        """Check wire values from a peer; return what is wrong, or None."""
        problem = self.type.check(values)
        if problem is None or None not in values:
            return problem
        if self.required:
            return say("a required value is missing")
        return self.type.check([value for value in values if value is not None])


class Assignable(Field[T]):
    """A field that can be written again."""

    def __set__(self, obj: Holder, value: T) -> None:
        obj._assign(self, value)


def refuse_misdeclared(owner: type[Any]) -> None:
    """Refuse what a class body says of its fields and cannot be.

    Raises:
        AdapterError: it names the class, the field, and what is wrong.
    """
    for name, value in vars(owner).items():
        kind = get_origin(value) or value
        if isinstance(kind, type) and issubclass(kind, Field):
            said = kind.__name__
            raise AdapterError(f"{owner.__name__}.{name}: {said} alone declares nothing; write {said}(...)")
        if not isinstance(value, Field):
            continue
        if (value.home, value.name) != (owner, name):
            first = f"{value.home.__name__}.{value.name}" if value.home else value.name
            raise AdapterError(
                f"{owner.__name__}.{name}: this field is {first} already; declare one of its own for each name"
            )
        if value.problem:
            raise AdapterError(f"{owner.__name__}.{name}: {value.problem}")


def type_within(word: str, field: Field[Any], options: Iterable[Any]) -> ValueType:
    """Return the value type of a field that stands in another one, `word`, which got these `options` besides.

    Raises:
        TypeError: a field that has a merge policy of its own, or options that belong to the inner field.
    """
    if field.problem:
        raise TypeError(field.problem)
    if field.kind not in {Kind.REGISTER, Kind.ONCE}:
        raise TypeError(f"a {type(field).__name__} cannot stand in {word}(...)")
    if any(option is not None for option in options):
        inner = type(field).__name__
        raise TypeError(f"{word}({inner}(...)) takes the options of the value inside {inner}(...)")
    return field.type


def _text_or_other(
    python: Any, scale: int, pattern: str | None, max_length: int | None, check: Callable[[str], str] | None
) -> ValueType:
    if inspect.iscoroutinefunction(check):
        raise TypeError("the check of a text answers at once; write it with def, not async def")
    if python is str:
        return TextType(pattern, limits.TEXT_CHARS_MAX if max_length is None else max_length, check)
    if pattern is not None or max_length is not None or check is not None:
        raise TypeError("pattern, max_length and check are for text fields; use a @check for other types")
    return value_type_of(python, scale)


class Register(Assignable[T]):
    """A value that can be written again; the last writer by hybrid clock wins, concurrent writes are told apart.

    Args:
        type_: str, int, bool, Decimal (with `scale`), date, datetime or an Enum of texts.
        optional: the value may be None.
        default: what a record that never had the field written shows.
        pattern: regular expression that the whole text matches.
        max_length: of a text, characters.
        check: takes a text, returns the form to store or raises ValueError; runs on local writes.
        scale: decimal places of a Decimal.
        writers: the roles that may write it, when fewer than the entity's.
        index: other programs, or rules, look records up by it.

    Raises (in the class statement):
        AdapterError: a type that has no exact wire form, `float` among them; options of another type.
    """

    @overload
    def __init__(
        self: Register[T | None],
        type_: type[T],
        *,
        optional: Literal[True],
        pattern: str | None = ...,
        max_length: int | None = ...,
        check: Callable[[str], str] | None = ...,
        scale: int = ...,
        writers: Iterable[Role] | None = ...,
        index: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Register[T],
        type_: type[T],
        *,
        default: T = ...,
        pattern: str | None = ...,
        max_length: int | None = ...,
        check: Callable[[str], str] | None = ...,
        scale: int = ...,
        writers: Iterable[Role] | None = ...,
        index: bool = ...,
    ) -> None: ...
    def __init__(  # noqa: PLR0913 - every option is a keyword of the declaration
        self,
        type_: Any,
        *,
        optional: bool = False,
        default: Any = None,
        pattern: str | None = None,
        max_length: int | None = None,
        check: Callable[[str], str] | None = None,
        scale: int = 2,
        writers: Iterable[Role] | None = None,
        index: bool = False,
    ) -> None:
        super().__init__(
            lambda: _text_or_other(type_, scale, pattern, max_length, check),
            optional=optional,
            default=default,
            writers=writers,
            index=index,
        )


class Money(Assignable[T]):
    """A register of an exact amount of money.

    Args:
        scale: decimal places.
        optional: the value may be None.
        default: what a record that never had the field written shows.
        writers: the roles that may write it, when fewer than the entity's.
    """

    @overload
    def __init__(
        self: Money[Decimal | None],
        *,
        scale: int = ...,
        optional: Literal[True],
        writers: Iterable[Role] | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Money[Decimal],
        *,
        scale: int = ...,
        default: Decimal | None = ...,
        writers: Iterable[Role] | None = ...,
    ) -> None: ...
    def __init__(
        self,
        *,
        scale: int = 2,
        optional: bool = False,
        default: Decimal | None = None,
        writers: Iterable[Role] | None = None,
    ) -> None:
        super().__init__(lambda: DecimalType(scale), optional=optional, default=default, writers=writers)


class Quantity(Assignable[T]):
    """A register of an exact quantity.

    Args:
        scale: decimal places.
        optional: the value may be None.
        default: what a record that never had the field written shows.
        writers: the roles that may write it, when fewer than the entity's.
    """

    @overload
    def __init__(
        self: Quantity[Decimal | None],
        *,
        scale: int = ...,
        optional: Literal[True],
        writers: Iterable[Role] | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Quantity[Decimal],
        *,
        scale: int = ...,
        default: Decimal | None = ...,
        writers: Iterable[Role] | None = ...,
    ) -> None: ...
    def __init__(
        self,
        *,
        scale: int = 3,
        optional: bool = False,
        default: Decimal | None = None,
        writers: Iterable[Role] | None = None,
    ) -> None:
        super().__init__(lambda: DecimalType(scale), optional=optional, default=default, writers=writers)


class Ref(Assignable[T]):
    """The key of a record of another category; declares the dependency, may dangle.

    Args:
        target: the entity; its category's name when the class is not at hand; "self" for the parent in a tree.
        optional: the value may be None.
        indexed: records are looked up by what they refer to.
        writers: the roles that may write it, when fewer than the entity's.
    """

    @overload
    def __init__(
        self: Ref[str | None],
        target: type[Entity] | str,
        *,
        optional: Literal[True],
        indexed: bool = ...,
        writers: Iterable[Role] | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Ref[str],
        target: type[Entity] | str,
        *,
        indexed: bool = ...,
        writers: Iterable[Role] | None = ...,
    ) -> None: ...
    def __init__(
        self,
        target: type[Entity] | str,
        *,
        optional: bool = False,
        indexed: bool = True,
        writers: Iterable[Role] | None = None,
    ) -> None:
        def make() -> RefType:
            name = target if isinstance(target, str) else getattr(target, "__category__", "")
            if not name:
                said = getattr(target, "__name__", repr(target))
                raise TypeError(f"Ref(...) takes an entity, the name of its category, or 'self', not {said}")
            return RefType(name)

        super().__init__(make, optional=optional, writers=writers, index=indexed)


class Once(Field[T]):
    """A value that never changes after creation: facts are corrected by new facts. The first write stands.

    Takes a type and its options as `Register` does, or another field: `Once(Ref(Customer))`, `Once(Rows(Line))`. What that
    field says of its writers, its default and whether it is optional holds.
    """

    kind = Kind.ONCE

    @overload
    def __init__(
        self: Once[T | None],
        type_: type[T],
        *,
        optional: Literal[True],
        scale: int = ...,
        pattern: str | None = ...,
        max_length: int | None = ...,
        check: Callable[[str], str] | None = ...,
        index: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Once[T],
        type_: type[T],
        *,
        scale: int = ...,
        pattern: str | None = ...,
        max_length: int | None = ...,
        check: Callable[[str], str] | None = ...,
        index: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Once[T | None], type_: Field[T], *, optional: Literal[True], index: bool = ...
    ) -> None: ...
    @overload
    def __init__(self: Once[T], type_: Field[T], *, index: bool = ...) -> None: ...
    def __init__(
        self,
        type_: Any,
        *,
        optional: bool = False,
        scale: int | None = None,
        pattern: str | None = None,
        max_length: int | None = None,
        check: Callable[[str], str] | None = None,
        index: bool = False,
    ) -> None:
        inner = type_ if isinstance(type_, Field) else None

        def make() -> ValueType:
            if inner is not None:
                return type_within("Once", inner, (scale, pattern, max_length, check))
            return _text_or_other(type_, 2 if scale is None else scale, pattern, max_length, check)

        super().__init__(
            make,
            optional=optional or (inner is not None and inner.optional),
            default=None if inner is None else inner.default,
            writers=None if inner is None else inner.writers,
            index=index or (inner is not None and inner.index),
        )

    def __set__(self, obj: Holder, value: Never) -> None:
        raise FieldError(
            self.category,
            self.name,
            say("is written once, when the record is created; add a new fact instead"),
        )


class Key(Field[T]):
    """What names a record inside its category; several keys make a composite key.

    Takes a regular expression that the whole key matches, `int`, or `Ref(...)`.
    """

    kind = Kind.KEY

    @overload
    def __init__(
        self: Key[str], type_: str | None = ..., *, check: Callable[[str], str] | None = ...
    ) -> None: ...
    @overload
    def __init__(self: Key[T], type_: Field[T]) -> None: ...
    @overload
    def __init__(self: Key[int], type_: type[int]) -> None: ...
    def __init__(self, type_: Any = None, *, check: Callable[[str], str] | None = None) -> None:
        def make() -> ValueType:
            if isinstance(type_, Field):
                value_type = type_within("Key", type_, (check,))
                if type_.optional or type_.default is not None or type_.writers is not None:
                    raise TypeError("a key is never empty, and who creates the record writes it")
                return value_type
            if inspect.iscoroutinefunction(check):
                raise TypeError("the check of a key answers at once; write it with def, not async def")
            if type_ is int:
                return IntType()
            if type_ is not None and not isinstance(type_, str):
                said = getattr(type_, "__name__", repr(type_))
                raise TypeError(
                    f"a key is of a pattern, of int, or of a field such as Ref(...), not of {said}"
                )
            return KeyType(type_, check)

        super().__init__(make)

    def __set__(self, obj: Holder, value: Never) -> None:
        raise FieldError(
            self.category, self.name, say("is part of the key and never changes; create another record")
        )


_CAUSE = TextType(max_length=limits.CAUSE_CHARS_MAX)


def movement_name_problem(name: object) -> str | None:
    """Return what is wrong with the name of a counter movement, or None."""
    if not isinstance(name, str):
        return say("the name of a movement is a text, not {value}", value=repr(name))
    if not 0 < len(name) <= limits.MOVEMENT_NAME_CHARS_MAX:
        return say(
            "the name of a movement has 1 to {most} characters, not {length}",
            most=limits.MOVEMENT_NAME_CHARS_MAX,
            length=len(name),
        )
    if not (name.isascii() or name.encode(errors="replace").decode() == name):
        return say("the name of a movement has a character that cannot be stored")
    return say("the name of a movement holds a unit separator (U+001F)") if ELEMENT_MARK in name else None


class BoundCounter(Decimal):
    """A counter as read from a record: its balance, and in a transaction the three ways to move it."""

    # Any: a field kept as an attribute of a class would be read as a descriptor by the type checker.
    _holder: Any
    _field: Any

    @classmethod
    def of(cls, balance: Decimal, holder: Any, field: Any) -> Self:
        """Return the balance bound to its record."""
        bound = cls(balance)
        bound._holder, bound._field = holder, field
        return bound

    def add(self, amount: Decimal | int, *, cause: str = "", once: str | None = None) -> None:
        """Add units.

        Args:
            amount: not negative; with `once`, 0 takes the movement of that name back.
            cause: the document that moved them (a sale, a delivery), at most `limits.CAUSE_CHARS_MAX` characters.
            once: a name. Movements of one name count once, however many replicas write it: a later one replaces an
                earlier one, and of two that had not seen each other the one with the later clock counts.

        Raises:
            FieldError: an amount that is negative or not of this field, a name that is empty, or a name or cause that is
                too long or no text.
        """
        self._move(self._units(amount), cause, once)

    def subtract(self, amount: Decimal | int, *, cause: str = "", once: str | None = None) -> None:
        """Take units away, as `add` adds them; the balance may go below zero: sales never wait for the network."""
        self._move(-self._units(amount), cause, once)

    def count(self, value: Decimal | int) -> None:
        """Set the balance by an inventory count; later and concurrent movements still move it."""
        self._holder._count(self._field, self._field.to_wire(value))

    def _move(self, units: int, cause: str, once: str | None) -> None:
        problem = None if once is None else movement_name_problem(once)
        if cause != "" and not problem:
            try:
                cause = _CAUSE.to_wire(cause)
            except ValueError as error:
                problem = say("the cause of a movement: {problem}", problem=said_of(error))
        if problem:
            raise FieldError(self._field.category, self._field.name, problem)
        self._holder._move(self._field, units, cause, once)

    def _units(self, amount: Decimal | int) -> int:
        units: int = self._field.to_wire(amount)
        if units < 0:
            raise FieldError(
                self._field.category,
                self._field.name,
                say("{amount} is negative; use the opposite movement", amount=amount),
            )
        return units


class Counter(Field[BoundCounter]):
    """Units that every replica may add and take away; no assignment."""

    kind = Kind.COUNTER

    def __init__(self, *, scale: int = 3, writers: Iterable[Role] | None = None) -> None:
        super().__init__(lambda: DecimalType(scale), default=Decimal(0), writers=writers)

    def __set__(self, obj: Holder, value: Never) -> None:
        raise FieldError(self.category, self.name, say("is a counter: use add(), subtract() or count()"))
