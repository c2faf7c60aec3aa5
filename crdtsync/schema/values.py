"""Value types: how a Python value travels and is stored, and the check of what arrives from peers.

A wire value is `None`, an `int` or a `str` and equals the SQL value. Decimals travel as scaled integers; a binary
float is refused everywhere, and a decimal that does not fit its scale is refused, never rounded. Nothing here knows
of fields, records or merge policies.
"""

# ruff: noqa: TRY004 - a refused value is a ValueError by contract, whatever is wrong with it.

from __future__ import annotations

import re
import sys
from collections import deque
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from crdtsync import limits
from crdtsync.said import Said, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Wire: TypeAlias = int | str | None

# A pattern of these alone cannot match a line feed, so a column of texts can be matched at once, one text a line. The
# repeat is possessive: nobody's text makes it backtrack into the texts before. Python before 3.11.5 matched those wrongly.
_ONE_LINE = re.compile(r"(?:[A-Za-z0-9 |{},+*?_\[\]-]|\\d|\\\.)*")
_CAN_MATCH_COLUMNS = sys.version_info >= (3, 11, 5)

_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.(?!0{6})[0-9]{6})?Z"
)
"""How `DateTimeType` writes a moment."""

# Room for every 64-bit integer with its scale: the caller's own decimal context must never round a stored value.
_EXACT = Context(prec=64)


def _named(value: object) -> Said:
    """Say what a refused value is; the float gets its remedy, it is the one that people write."""
    if type(value) is float:
        return say(
            "{value} is a float, which is never exact: write Decimal({text})",
            value=repr(value),
            text=repr(str(value)),
        )
    return say("{value} is a {found}", value=repr(value), found=type(value).__name__)


class ValueType:
    """One type of value. `signature` is part of the schema fingerprint; equal `essence` means exchangeable."""

    sql_type = "TEXT"
    suffix = ""
    ref: str | None = None

    @property
    def signature(self) -> str:
        """Name of the wire type."""
        return type(self).__name__.removesuffix("Type").lower()

    @property
    def essence(self) -> str:
        """The part of the signature that peers must agree on."""
        return self.signature

    def to_wire(self, value: Any) -> int | str:
        """Return the wire value of a value that is not None; raises ValueError saying what is wrong."""
        raise TypeError(f"{type(self).__name__} has no wire form for {value!r}")

    def from_wire(self, wire: Any) -> Any:
        """Return the Python value of a wire value that is not None."""
        return wire

    def plain(self, wire: Any) -> Any:
        """Return the JSON-able form of a wire value that is not None: what the command line shows."""
        return wire

    def parse(self, text: str) -> Any:
        """Return the Python value that a person wrote; raises ValueError."""
        return text

    def accepts(self, value: Any) -> bool:
        """Tell whether one wire value passes `check`, faster than in a column of one."""
        return self.check((value,)) is None

    def check(self, values: Sequence[Any]) -> str | None:
        """Check wire values as they arrive; return what is wrong or None. None is no value of any type."""
        if set(map(type, values)) - {str}:
            return say("a value is not text")
        for value in set(values):
            try:
                if self.to_wire(self.from_wire(value)) != value:
                    return say("{value} is not in canonical form", value=repr(value))
            except (ValueError, TypeError, ArithmeticError) as error:
                return say("{value}: {error}", value=repr(value), error=error)
        return None


class TextType(ValueType):
    """Text, optionally of a pattern and a length (characters).

    `normal` returns the form to store or raises ValueError; it runs on local writes only, so that two versions of an
    adapter never disagree about what was merged.

    Raises:
        TypeError, ValueError: a pattern or a length that is none.
    """

    def __init__(
        self,
        pattern: str | None = None,
        max_length: int = limits.TEXT_CHARS_MAX,
        normal: Callable[[str], str] | None = None,
    ) -> None:
        if type(max_length) is not int or max_length < 1:
            raise ValueError(f"max_length is a number of characters, at least 1, not {max_length!r}")
        if pattern is not None and not isinstance(pattern, str):
            raise TypeError(f"a pattern is a text, not {getattr(pattern, '__name__', repr(pattern))}")
        try:
            self.pattern = re.compile(pattern) if pattern is not None else None
        except re.error as error:
            raise ValueError(f"the pattern {pattern!r} cannot be read ({error})") from error
        self._column = None
        if pattern is not None and _CAN_MATCH_COLUMNS and _ONE_LINE.fullmatch(pattern):
            self._column = re.compile(rf"(?:(?:{pattern})\n)*+")
        self.max_length = max_length
        self.normal = normal

    @property
    def signature(self) -> str:
        """Every text is one wire type: a tighter pattern is not another format."""
        return "text"

    def to_wire(self, value: Any) -> str:
        """Return the text in its normal form."""
        if not isinstance(value, str) or isinstance(value, Enum):
            raise ValueError(say("a text is expected, {given}", given=_named(value)))
        text = str(value) if self.normal is None else self.normal(str(value))
        if "\x00" in text or not (text.isascii() or text.encode(errors="replace").decode() == text):
            # SQLite's functions end a text at NUL, and a lone surrogate has no UTF-8 form.
            raise ValueError(say("{text} has a character that cannot be stored", text=repr(text)))
        if not self.accepts(text):
            raise ValueError(self.check((text,)))
        return text

    def accepts(self, value: Any) -> bool:
        """See ValueType."""
        return (
            isinstance(value, str)
            and len(value) <= self.max_length
            and (self.pattern is None or self.pattern.fullmatch(value) is not None)
        )

    def check(self, values: Sequence[Any]) -> str | None:
        """Check type, length and pattern of texts."""
        try:
            joined = "".join(values)  # the fastest way to learn that all are texts
        except TypeError:
            return say("a value is not text")
        return self._check_texts(values, joined)

    def _check_texts(self, values: Sequence[str], joined: str) -> str | None:
        if len(joined) > self.max_length and max(map(len, values)) > self.max_length:
            return say("a text is longer than {most} characters", most=self.max_length)
        if self.pattern is None:
            return None
        if self._column and "\n" not in joined and self._column.fullmatch("\n".join(values) + "\n"):
            return None
        matches = self.pattern.fullmatch
        for value in values:
            if not matches(value):
                return say(
                    "{value} does not have the form {pattern}",
                    value=repr(value),
                    pattern=self.pattern.pattern,
                )
        return None


class KeyType(TextType):
    """A record key: text that is not empty and has printable characters only."""

    def __init__(self, pattern: str | None = None, normal: Callable[[str], str] | None = None) -> None:
        super().__init__(pattern, limits.KEY_CHARS_MAX, normal)

    def _check_texts(self, values: Sequence[str], joined: str) -> str | None:
        problem = super()._check_texts(values, joined)
        if problem:
            return problem
        if "" in values:
            return say("a key is empty")
        return None if joined.isprintable() else say("a key has a character that is not printable")

    def accepts(self, value: Any) -> bool:
        """See ValueType."""
        return isinstance(value, str) and value != "" and value.isprintable() and super().accepts(value)


class RefType(KeyType):
    """The key of a record of another category; it may dangle."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.ref = target

    @property
    def signature(self) -> str:
        """References to different categories are different types."""
        return f"ref {self.ref}"


class IntType(ValueType):
    """A whole number of 64 bits."""

    sql_type = "INTEGER"

    def to_wire(self, value: Any) -> int:
        """Return the number itself."""
        if type(value) is not int:
            raise ValueError(say("a whole number is expected, {given}", given=_named(value)))
        if abs(value) > limits.AMOUNT_MAX:
            raise ValueError(say("{value} does not fit in 64 bits", value=value))
        return value

    def parse(self, text: str) -> int:
        """Return the number of its decimal digits."""
        try:
            return int(text)
        except ValueError as error:
            raise ValueError(
                say("a whole number such as 12 is expected, not {text}", text=repr(text))
            ) from error

    def accepts(self, value: Any) -> bool:
        """See ValueType."""
        return type(value) is int and abs(value) <= limits.AMOUNT_MAX

    def check(self, values: Sequence[Any]) -> str | None:
        """Check that all are integers of 64 bits."""
        if set(map(type, values)) - {int}:
            return say("a value is not a whole number")
        return (
            None
            if max(map(abs, values), default=0) <= limits.AMOUNT_MAX
            else say("a number does not fit in 64 bits")
        )


_TRUE = frozenset({"true", "sim", "yes", "1"})
_FALSE = frozenset({"false", "não", "nao", "no", "0"})


class BoolType(ValueType):
    """True or false; 1 or 0 on the wire."""

    sql_type = "INTEGER"

    def to_wire(self, value: Any) -> int:
        """Return 1 or 0."""
        if type(value) is not bool:
            raise ValueError(say("true or false is expected, {given}", given=_named(value)))
        return int(value)

    def from_wire(self, wire: Any) -> bool:
        """Return True or False."""
        return bool(wire)

    def plain(self, wire: Any) -> bool:
        """Return True or False."""
        return bool(wire)

    def parse(self, text: str) -> bool:
        """Accept English and Portuguese words."""
        word = text.strip().lower()
        if word not in _TRUE | _FALSE:
            raise ValueError(say("true or false (sim or não) is expected, not {text}", text=repr(text)))
        return word in _TRUE

    def accepts(self, value: Any) -> bool:
        """See ValueType."""
        return type(value) is int and value in {0, 1}

    def check(self, values: Sequence[Any]) -> str | None:
        """Check that all are 0 or 1."""
        good = not set(map(type, values)) - {int} and not set(values) - {0, 1}
        return None if good else say("a value is neither 0 nor 1")


class DecimalType(ValueType):
    """An exact decimal with a fixed number of places, an integer of the smallest unit on the wire.

    Raises:
        ValueError: a number of places that there cannot be.
    """

    sql_type = "INTEGER"

    def __init__(self, scale: int) -> None:
        if type(scale) is not int or not 0 <= scale <= limits.DECIMAL_PLACES_MAX:
            raise ValueError(
                f"scale is a number of decimal places, 0 to {limits.DECIMAL_PLACES_MAX}, not {scale!r}"
            )
        self.scale = scale
        self.suffix = {0: "", 2: "_cents", 3: "_milli"}.get(scale, f"_e{scale}")

    @property
    def signature(self) -> str:
        """Different scales are different types."""
        return f"decimal{self.scale}"

    def to_wire(self, value: Any) -> int:
        """Return the number of units; a value that would need rounding is refused."""
        if type(value) is bool or not isinstance(value, Decimal | int):
            raise ValueError(say("an exact decimal is expected, {given}", given=_named(value)))
        number = Decimal(value)
        if not number.is_finite():
            raise ValueError(say("{value} is not a finite number", value=value))
        sign, digits, exponent = number.as_tuple()
        assert isinstance(exponent, int)
        shift = exponent + self.scale
        # Before any power of ten is computed: 1E+999999999 must cost nothing.
        if number and number.adjusted() + self.scale > len(str(limits.AMOUNT_MAX)):
            raise ValueError(say("{value} is too large", value=value))
        units = int("".join(map(str, digits))) if number else 0
        if shift < 0 and units:
            units, rest = divmod(units, 10**-shift) if -shift <= len(digits) else (0, 1)
            if rest:
                raise ValueError(
                    say(
                        "{value} has more than {scale} decimal places; round it where the rule is known",
                        value=value,
                        scale=self.scale,
                    )
                )
        elif units:
            units *= 10**shift
        if units > limits.AMOUNT_MAX:
            raise ValueError(say("{value} is too large", value=value))
        return -units if sign else units

    def from_wire(self, wire: Any) -> Decimal:
        """Return the exact decimal."""
        return Decimal(wire).scaleb(-self.scale, _EXACT)

    def plain(self, wire: Any) -> str:
        """Return the decimal as text, which JSON readers cannot turn into a float."""
        return format(self.from_wire(wire), "f")

    def parse(self, text: str) -> Decimal:
        """Accept 12.90 and the Brazilian 12,90."""
        try:
            return Decimal(text.strip() if "." in text else text.strip().replace(",", ".", 1))
        except ArithmeticError as error:
            raise ValueError(
                say("a decimal such as 12.90 is expected, not {text}", text=repr(text))
            ) from error

    accepts = IntType.accepts
    check = IntType.check


class DateType(ValueType):
    """A calendar day, `2026-11-24` on the wire."""

    def to_wire(self, value: Any) -> str:
        """Return the ISO form."""
        if type(value) is not date:
            raise ValueError(say("a date is expected, {given}", given=_named(value)))
        return value.isoformat()

    def from_wire(self, wire: Any) -> date:
        """Return the day."""
        return date.fromisoformat(wire)

    def parse(self, text: str) -> date:
        """Accept the ISO form."""
        try:
            return date.fromisoformat(text.strip())
        except ValueError as error:
            raise ValueError(
                say("a date such as 2026-11-24 is expected, not {text}", text=repr(text))
            ) from error


class DateTimeType(ValueType):
    """A moment, UTC with a final Z on the wire; microseconds only when there are any."""

    def to_wire(self, value: Any) -> str:
        """Return the moment in UTC; one with no offset is refused, because nobody can tell when it was."""
        if not isinstance(value, datetime):
            raise ValueError(say("a date and time is expected, {given}", given=_named(value)))
        if value.utcoffset() is None:
            raise ValueError(say("{moment} needs its offset from UTC", moment=value.isoformat()))
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")

    def from_wire(self, wire: Any) -> datetime:
        """Return the moment, aware, in UTC."""
        return datetime.fromisoformat(wire)

    def check(self, values: Sequence[Any]) -> str | None:
        """See ValueType. What has the form is canonical if it is a moment at all: it need not be written again to be compared."""
        try:
            if all(map(_MOMENT.fullmatch, values)):
                deque(map(datetime.fromisoformat, values), maxlen=0)
                return None
        except (ValueError, TypeError):
            pass  # told below, with the value
        return super().check(values)

    def parse(self, text: str) -> datetime:
        """Accept the ISO form; whether it has an offset is checked where it is stored."""
        try:
            return datetime.fromisoformat(text.strip())
        except ValueError as error:
            raise ValueError(
                say(
                    "a date and time such as 2026-11-24T08:30:00-03:00 is expected, not {text}",
                    text=repr(text),
                )
            ) from error


class EnumType(ValueType):
    """One of a fixed list of words."""

    def __init__(self, enum: type[Enum]) -> None:
        self.enum = enum
        self._words = frozenset(str(member.value) for member in enum)
        if not all(isinstance(member.value, str) for member in enum):
            raise TypeError(f"{enum.__name__}: the members of an enum field have text values")

    @property
    def signature(self) -> str:
        """The words are not part of it: a new word parks the records that use it, not the category."""
        return "enum"

    def to_wire(self, value: Any) -> str:
        """Return the member's word."""
        if not isinstance(value, self.enum):
            raise ValueError(
                say("a {kind} is expected, {given}", kind=self.enum.__name__, given=_named(value))
            )
        return str(value.value)

    def from_wire(self, wire: Any) -> Enum:
        """Return the member."""
        return self.enum(wire)

    def parse(self, text: str) -> Enum:
        """Accept the member's word."""
        problem = self.check([text.strip()])
        if problem:
            raise ValueError(problem)
        return self.enum(text.strip())

    def accepts(self, value: Any) -> bool:
        """See ValueType."""
        return type(value) is str and value in self._words

    def check(self, values: Sequence[Any]) -> str | None:
        """Every value must be one of the words."""
        if set(map(type, values)) - {str}:
            return say("a value is not text")
        words = [str(member.value) for member in self.enum]
        unknown = set(values).difference(words)
        return say("{word} is none of {words}", word=repr(min(unknown)), words=words) if unknown else None


def value_type_of(python: Any, scale: int = 2) -> ValueType:
    """Return the value type of a Python type.

    Raises:
        TypeError: a type that has no exact wire form; `float` among them.
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
    advice = "; use Money, Quantity or Decimal, a binary float is never exact" if python is float else ""
    raise TypeError(f"{getattr(python, '__name__', python)} cannot be a field's type{advice}")
