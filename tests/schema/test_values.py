"""Value types: what is stored is exact and canonical, and what is not is refused. No field or record appears here."""

from __future__ import annotations

import decimal
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crdtsync import limits
from crdtsync.schema.values import (
    BoolType,
    DateTimeType,
    DateType,
    DecimalType,
    EnumType,
    IntType,
    KeyType,
    RefType,
    TextType,
    ValueType,
    value_type_of,
)


class Status(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


CENTS = DecimalType(2)


@given(st.integers(-limits.AMOUNT_MAX, limits.AMOUNT_MAX), st.integers(0, 6), st.integers(1, 9))
def test_every_scaled_integer_survives_the_round_trip_whatever_the_callers_precision(
    units: int, scale: int, precision: int
) -> None:
    kind = DecimalType(scale)
    with decimal.localcontext() as context:
        context.prec = precision
        value = kind.from_wire(units)
        assert kind.to_wire(value) == units
    assert value * 10**scale == units or abs(units) > 10**27
    assert kind.parse(kind.plain(units)) == value


@pytest.mark.parametrize(
    "value",
    ["0.001", "1.000000000000000000000000000000000000000001", "1E-999999", "-0.005", "0.0000000000000001"],
)
def test_a_decimal_that_does_not_fit_its_scale_is_refused_and_never_rounded(value: str) -> None:
    with pytest.raises(ValueError, match="decimal places"):
        CENTS.to_wire(Decimal(value))


@pytest.mark.parametrize("value", ["1E+999999", "92233720368547758.08", "-92233720368547758.08"])
def test_a_decimal_beyond_64_bits_is_refused_at_once(value: str) -> None:
    with pytest.raises(ValueError, match="too large"):
        CENTS.to_wire(Decimal(value))


@pytest.mark.parametrize("value", ["0", "-0", "0.00", "0E-9", "0E+99", "12.90", "12.9000", "1E+3", "-7"])
def test_equal_decimals_have_one_wire_value(value: str) -> None:
    assert CENTS.to_wire(Decimal(value)) == int(Decimal(value) * 100)


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_no_finite_number_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        CENTS.to_wire(Decimal(value))


def test_a_float_is_refused_with_its_remedy() -> None:
    with pytest.raises(ValueError, match=r"12\.9 is a float, which is never exact: write Decimal\('12\.9'\)"):
        CENTS.to_wire(12.9)
    with pytest.raises(TypeError, match="float cannot be a field's type; use Money, Quantity or Decimal"):
        value_type_of(float)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (CENTS, True),
        (CENTS, "1"),
        (IntType(), True),
        (IntType(), 1.0),
        (IntType(), limits.AMOUNT_MAX + 1),
        (BoolType(), 1),
        (TextType(), b"a"),
        (TextType(), Status.OPEN),
        (TextType(), "a\x00b"),
        (TextType(), "\ud800"),
        (TextType(max_length=2), "abc"),
        (TextType("[0-9]+"), "12a"),
        (TextType("[0-9]+"), "12\n"),
        (KeyType(), ""),
        (KeyType(), "a\x1fb"),
        (KeyType(), "a" * (limits.KEY_CHARS_MAX + 1)),
        (RefType("products"), ""),
        (DateType(), datetime(2026, 11, 24, tzinfo=UTC)),
        (DateType(), "2026-11-24"),
        (DateTimeType(), datetime(2026, 11, 24)),  # noqa: DTZ001 - the refusal is what is tested
        (DateTimeType(), date(2026, 11, 24)),
        (EnumType(Status), "open"),
    ],
)
def test_a_value_of_another_type_or_form_is_refused(kind: ValueType, value: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        kind.to_wire(value)


def test_a_moment_is_stored_in_utc_with_microseconds_only_when_there_are_any() -> None:
    brasilia = timezone(timedelta(hours=-3))
    assert DateTimeType().to_wire(datetime(2026, 11, 24, 7, tzinfo=brasilia)) == "2026-11-24T10:00:00Z"
    assert DateTimeType().to_wire(datetime(2026, 11, 24, 10, 0, 0, 5, UTC)) == "2026-11-24T10:00:00.000005Z"
    assert DateTimeType().from_wire("2026-11-24T10:00:00Z") == datetime(2026, 11, 24, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (CENTS, [-1, 0, limits.AMOUNT_MAX], [1.0, "1", True, limits.AMOUNT_MAX + 1]),
        (IntType(), [1], [True, "1", 2**64]),
        (BoolType(), [0, 1], [2, True, "1"]),
        (TextType("[a-z]*", 3), ["", "abc"], [1, "abcd", "A", "a\n"]),
        (KeyType(), ["a", "ç:1"], ["", "a\n", 7, "a" * 257]),
        (DateType(), ["2026-11-24"], ["2026-11-31", "20261124", "24/11/2026", 1]),
        (
            DateTimeType(),
            ["2026-11-24T10:00:00Z"],
            ["2026-11-24T10:00:00", "2026-11-24T10:00:00+00:00", "2026-11-24 10:00:00Z", 5],
        ),
        (EnumType(Status), ["open"], ["lost", 1]),
    ],
)
def test_a_column_from_a_peer_passes_only_when_every_value_is_canonical(
    kind: ValueType, good: list[object], bad: list[object]
) -> None:
    assert kind.check(good) is None
    assert kind.check([]) is None
    for value in bad:
        assert kind.check([*good, value]) is not None, value


_PATTERNS = [
    "[0-9]{8}|[0-9]{12,14}|SEM GTIN",
    r"[1-5]\d{3}",
    "[A-Z0-9]{1,2}",
    "[a-z]*",
    "a|ab",
    "[^a]*",
    r"\s*",
    ".*",
    "(?s:.)*",
]


@given(
    st.sampled_from(_PATTERNS), st.data(), st.lists(st.text("aAbz19 \n", max_size=3), min_size=1, max_size=5)
)
def test_a_column_of_texts_is_judged_as_its_texts_are_judged_one_by_one(
    pattern: str, data: st.DataObject, others: list[str]
) -> None:
    kind = TextType(pattern, max_length=9)
    good = data.draw(st.lists(st.from_regex(pattern, fullmatch=True), max_size=4))
    column = data.draw(st.permutations([*good, *others]))
    alone = [kind.check([text]) for text in column]
    assert (kind.check(column) is None) == (set(alone) == {None})


def test_a_text_that_looks_like_two_is_refused() -> None:
    assert TextType("[0-9]{2}").check(["12\n34", "56"]) is not None
    assert TextType("[0-9]{2}").check(["12", "34\n56"]) is not None


@given(
    st.one_of(
        st.datetimes(timezones=st.just(UTC)).map(DateTimeType().to_wire),
        st.from_regex(
            r"20[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[05]{1,7})?(Z|\+00:00)?"
        ),
    )
)
@example("2026-11-24T24:00:00Z")
@example("2026-11-24T10:00:00.000000Z")
@example("2026-11-24T10:00:00.000001Z")
@example("0000-11-24T10:00:00Z")
@example("2026-11-24T10:00:00Z\n")
@example("2026-11-24T1٠:00:00Z")
def test_a_moment_has_one_form(text: str) -> None:
    """The check of a column does not write it again; the general one does, and they agree."""
    kind = DateTimeType()
    assert (kind.check([text]) is None) == (ValueType.check(kind, [text]) is None)


_KINDS = [
    CENTS,
    IntType(),
    BoolType(),
    TextType(),
    TextType("[a-z]*", 3),
    KeyType(),
    KeyType("[0-9A-Z]+"),
    RefType("x"),
    DateType(),
    DateTimeType(),
    EnumType(Status),
]


@given(
    st.sampled_from(_KINDS),
    st.one_of(
        st.text(max_size=300),
        st.sampled_from(["", "abc", "a\n", "open", "2026-11-24", "2026-11-24T10:00:00Z", Status.OPEN]),
        st.integers(),
        st.integers(-1, 2),
        st.integers(limits.AMOUNT_MAX - 1, limits.AMOUNT_MAX + 1),
        st.booleans(),
        st.floats(),
        st.none(),
        st.binary(max_size=3),
        st.tuples(st.integers()),
        st.lists(st.text(max_size=2), max_size=2),
    ),
)
@example(TextType(), Status.OPEN)
@example(KeyType(), Status.OPEN)
@example(EnumType(Status), Status.OPEN)
def test_one_value_and_a_column_of_it_are_judged_alike(kind: ValueType, value: object) -> None:
    assert kind.accepts(value) == (kind.check([value]) is None)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (CENTS, "12.90", Decimal("12.90")),
        (CENTS, " 12,90 ", Decimal("12.90")),
        (BoolType(), "Sim", True),
        (BoolType(), "não", False),
        (IntType(), "7", 7),
        (DateType(), "2026-11-24", date(2026, 11, 24)),
        (EnumType(Status), "closed", Status.CLOSED),
    ],
)
def test_what_a_person_writes_is_read(kind: ValueType, text: str, value: object) -> None:
    assert kind.parse(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        (CENTS, "1.234,50", "a decimal such as 12.90"),
        (CENTS, "doze", "a decimal such as 12.90"),
        (BoolType(), "talvez", "sim or não"),
        (EnumType(Status), "lost", "'lost' is none of open, closed"),
    ],
)
def test_what_cannot_be_read_is_said(kind: ValueType, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        kind.parse(text)


def test_an_enum_of_numbers_cannot_be_a_field() -> None:
    class Level(Enum):
        LOW = 1

    with pytest.raises(TypeError, match="text values"):
        value_type_of(Level)
