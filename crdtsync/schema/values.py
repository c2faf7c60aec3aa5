"""Value types: how a Python value travels and is stored, and the check of what arrives from peers.

A wire value is ``None``, an ``int`` or a ``str`` and equals the SQL value. Decimals travel as scaled integers; a binary
float is refused everywhere, and a decimal that does not fit its scale is refused, never rounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias

Wire: TypeAlias = int | str | None

_INT_MAX = (1 << 63) - 1
_TEXT_CHARS_MAX = 16 * 1024


class ValueType:
    """One type of value. ``signature`` is part of the schema fingerprint; equal signatures are compatible."""

    sql_type = "TEXT"
    suffix = ""
    ref: str | None = None

    @property
    def signature(self) -> str:
        """Name of the wire type."""
        return type(self).__name__.removesuffix("Type").lower()

    def to_wire(self, value: Any) -> int | str:
        """Return the wire value; raises ValueError saying what is wrong."""
        raise TypeError(f"{type(self).__name__} has no wire form")

    def from_wire(self, wire: Any) -> Any:
        """Return the Python value of a wire value that is not None."""
        return wire

    def parse(self, text: str) -> Any:
        """Return the Python value that a person wrote; raises ValueError."""
        return text

    def check(self, values: Sequence[Any]) -> str | None:
        """Check wire values as they arrive, None excluded; return what is wrong or None."""
        for value in set(values):
            try:
                if self.to_wire(self.from_wire(value)) != value:
                    return f"{value!r} is not in canonical form"
            except (ValueError, TypeError, ArithmeticError) as error:
                return f"{value!r}: {error}"
        return None


class TextType(ValueType):
    """Text, optionally of a pattern and a length, optionally checked by a function that returns the normal form."""

    def __init__(
        self,
        pattern: str | None = None,
        max_length: int = _TEXT_CHARS_MAX,
        check: Callable[[str], str] | None = None,
    ) -> None:
        self.pattern = re.compile(pattern) if pattern is not None else None
        self.max_length = max_length
        self.normal = check

    def to_wire(self, value: Any) -> str:
        if type(value) is not str:
            raise ValueError(f"text is expected, not {type(value).__name__}")
        if self.normal is not None:
            value = self.normal(value)
        if len(value) > self.max_length:
            raise ValueError(f"{len(value)} characters, at most {self.max_length} are allowed")
        if self.pattern is not None and not self.pattern.fullmatch(value):
            raise ValueError(f"{value!r} does not have the form {self.pattern.pattern}")
        return str(value)

    def check(self, values: Sequence[Any]) -> str | None:
        if set(map(type, values)) - {str}:
            return "a value is not text"
        if max(map(len, values), default=0) > self.max_length:
            return f"a text is longer than {self.max_length} characters"
        if self.pattern is not None:
            matches = self.pattern.fullmatch
            for value in set(values):
                if not matches(value):
                    return f"{value!r} does not have the form {self.pattern.pattern}"
        return None


class IntType(ValueType):
    """A whole number of 64 bits."""

    sql_type = "INTEGER"

    def to_wire(self, value: Any) -> int:
        if type(value) is not int:
            raise ValueError(f"a whole number is expected, not {type(value).__name__}")
        if abs(value) > _INT_MAX:
            raise ValueError(f"{value} does not fit in 64 bits")
        return value

    def parse(self, text: str) -> int:
        return int(text)

    def check(self, values: Sequence[Any]) -> str | None:
        if set(map(type, values)) - {int}:
            return "a value is not a whole number"
        return None if max(map(abs, values), default=0) <= _INT_MAX else "a number does not fit in 64 bits"


class BoolType(ValueType):
    """True or false."""

    sql_type = "INTEGER"
    _words = {"true": True, "sim": True, "yes": True, "1": True, "false": False, "nao": False, "não": False, "no": False, "0": False}  # noqa: E501, RUF012

    def to_wire(self, value: Any) -> int:
        if type(value) is not bool:
            raise ValueError(f"true or false is expected, not {type(value).__name__}")
        return int(value)

    def from_wire(self, wire: Any) -> bool:
        return bool(wire)

    def parse(self, text: str) -> bool:
        if text.lower() not in self._words:
            raise ValueError("true or false is expected")
        return self._words[text.lower()]

    def check(self, values: Sequence[Any]) -> str | None:
        good = not set(map(type, values)) - {int} and not set(values) - {0, 1}
        return None if good else "a value is neither 0 nor 1"


class DecimalType(ValueType):
    """An exact decimal with a fixed number of places."""

    sql_type = "INTEGER"

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.suffix = {0: "", 2: "_cents", 3: "_milli"}.get(scale, f"_e{scale}")

    @property
    def signature(self) -> str:
        return f"decimal{self.scale}"

    def to_wire(self, value: Any) -> int:
        if type(value) is bool or not isinstance(value, Decimal | int):
            raise ValueError(f"an exact decimal is expected, not {type(value).__name__}")
        number = Decimal(value)
        if not number.is_finite():
            raise ValueError(f"{value} is not a finite number")
        scaled = number.scaleb(self.scale)
        if scaled != scaled.to_integral_value():
            raise ValueError(f"{value} has more than {self.scale} decimal places")
        if abs(scaled) > _INT_MAX:
            raise ValueError(f"{value} is too large")
        return int(scaled)

    def from_wire(self, wire: Any) -> Decimal:
        return Decimal(wire).scaleb(-self.scale)

    def parse(self, text: str) -> Decimal:
        try:
            return Decimal(text)
        except ArithmeticError as error:
            raise ValueError("a decimal such as 12.90 is expected") from error

    check = IntType.check


class DateType(ValueType):
    """A calendar day."""

    def to_wire(self, value: Any) -> str:
        if type(value) is not date:
            raise ValueError(f"a date is expected, not {type(value).__name__}")
        return value.isoformat()

    def from_wire(self, wire: Any) -> date:
        return date.fromisoformat(wire)

    parse = from_wire


class DateTimeType(ValueType):
    """A moment, with its offset; stored in UTC."""

    def to_wire(self, value: Any) -> str:
        if not isinstance(value, datetime):
            raise ValueError(f"a date and time is expected, not {type(value).__name__}")
        if value.tzinfo is None:
            raise ValueError("a date and time needs its offset from UTC")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")

    def from_wire(self, wire: Any) -> datetime:
        return datetime.fromisoformat(wire)

    parse = from_wire


class EnumType(ValueType):
    """One of a fixed list of words."""

    def __init__(self, enum: type[Enum]) -> None:
        self.enum = enum
        if not all(isinstance(member.value, str) for member in enum):
            raise ValueError(f"{enum.__name__}: the members of an enum field have text values")

    @property
    def signature(self) -> str:
        return "enum"

    def to_wire(self, value: Any) -> str:
        return str(self.enum(value).value)

    def from_wire(self, wire: Any) -> Enum:
        return self.enum(wire)

    parse = from_wire


class RefType(TextType):
    """The key of a record of another category; it may dangle."""

    def __init__(self, target: str) -> None:
        super().__init__(max_length=256)
        self.ref = target

    @property
    def signature(self) -> str:
        return f"ref {self.ref}"


def value_type_of(python: type[Any], scale: int = 2) -> ValueType:
    """Return the value type of a Python type.

    Raises:
        TypeError: a type that has no exact wire form; ``float`` among them.
    """
    simple: dict[type[Any], Callable[[], ValueType]] = {
        str: TextType,
        int: IntType,
        bool: BoolType,
        Decimal: lambda: DecimalType(scale),
        date: DateType,
        datetime: DateTimeType,
    }
    if python in simple:
        return simple[python]()
    if isinstance(python, type) and issubclass(python, Enum):
        return EnumType(python)
    hint = "; use Money, Quantity or Decimal, a binary float is never exact" if python is float else ""
    raise TypeError(f"{getattr(python, '__name__', python)} cannot be a field's type{hint}")
