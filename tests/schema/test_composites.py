"""Structs, rows and sets: exact, immutable, and patient with what a newer version added."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest

from crdtsync import Counter, Money, Once, Register, Rows, Set, Struct
from crdtsync.errors import AdapterError, FieldError, UnknownField
from crdtsync.schema.composites import RowsType, StructType
from tests.schema.shop import Line

ROWS = RowsType(Line)
LINE = Line(product="P1", quantity=Decimal("0.355"), price=Decimal("12.90"))


class NewerLine(Struct):
    product = Once(str)
    quantity = Register(Decimal, scale=3)
    price = Money()
    note = Once(str, optional=True)
    discount = Money(optional=True)


def test_a_struct_travels_by_position_without_its_empty_end() -> None:
    assert ROWS.to_wire([LINE]) == '[["P1",355,1290]]'
    noted = Line(product="P1", quantity=Decimal(1), price=Decimal(1), note="maçã")
    assert ROWS.to_wire([noted]) == '[["P1",1000,100,"maçã"]]'
    assert ROWS.from_wire(ROWS.to_wire([LINE, noted])) == [LINE, noted]


def test_a_struct_is_a_value() -> None:
    same = Line(product="P1", quantity=Decimal("0.3550"), price=Decimal("12.9"))
    other = Line(product="P2", quantity=Decimal("0.355"), price=Decimal("12.90"))
    assert (same == LINE, hash(LINE) == hash(same), copy.deepcopy(LINE) == LINE) == (True, True, True)
    assert other != LINE
    assert repr(LINE) == "Line(product='P1', quantity=Decimal('0.355'), price=Decimal('12.90'), note=None)"


def test_a_struct_never_changes_and_knows_its_names() -> None:
    line: Any = LINE
    with pytest.raises(FieldError, match=r"Line\.price: is part of a value that never changes"):
        line.price = Decimal(1)
    with pytest.raises(UnknownField, match="did you mean 'price'"):
        line.prcie = Decimal(1)
    with pytest.raises(UnknownField, match="did you mean 'price'"):
        _ = line.prcie
    with pytest.raises(UnknownField, match=r"Line\.prcie.*did you mean 'price'"):
        Line(product="P1", quantity=Decimal(1), prcie=Decimal(1))
    with pytest.raises(FieldError, match=r"Line\.price: is required"):
        Line(product="P1", quantity=Decimal(1))
    with pytest.raises(FieldError, match="is a float"):
        Line(product="P1", quantity=Decimal(1), price=12.9)


def test_what_a_newer_version_added_is_kept() -> None:
    newer = RowsType(NewerLine)
    written = NewerLine(product="P1", quantity=Decimal(1), price=Decimal(1), discount=Decimal("0.10"))
    wire = newer.to_wire([written])
    assert ROWS.check([wire]) is None
    assert ROWS.to_wire(ROWS.from_wire(wire)) == wire
    assert newer.check(['[["P1",1000,100]]']) is None
    assert newer.from_wire('[["P1",1000,100]]')[0].discount is None


def test_versions_that_differ_by_optional_positions_agree() -> None:
    class OldLine(Struct):
        product = Once(str)
        quantity = Register(Decimal, scale=3)
        price = Money()

    class OtherScale(Struct):
        product = Once(str)
        quantity = Register(Decimal, scale=2)
        price = Money()

    assert RowsType(OldLine).essence == RowsType(NewerLine).essence
    assert RowsType(OldLine).signature != RowsType(NewerLine).signature
    assert RowsType(OldLine).essence != RowsType(OtherScale).essence
    assert RowsType(OldLine).essence != StructType(OldLine).essence


@pytest.mark.parametrize(
    "wire",
    [
        "",
        "{}",
        "1",
        "[1]",
        '["P1"]',
        '[["P1",1000]]',
        '[["P1",1000,12.9]]',
        '[["P1",1000,true]]',
        '[["P1",1000,NaN]]',
        "[[1,1000,100]]",
        '[["",1000,100]]',
        '[["P1",1000,100,null,1.5]]',
        '[["P1",1000,100,null,[1]]]',
        '[["P1",1000,' + "9" * 30 + "]]",
        '[["P1",1000,' + "9" * 5000 + "]]",
        "[" * 100_000,
        '[["P1",1000,100' + ",1" * 300 + "]]",
        7,
    ],
)
def test_rows_that_could_not_be_read_are_refused_on_arrival(wire: object) -> None:
    assert ROWS.check(['[["P1",1000,100]]', wire]) is not None


def test_rows_from_a_peer_are_accepted_together() -> None:
    assert ROWS.check(["[]", '[["P1",1000,100]]', '[["P1",1,1,"n"],["P2",-1,0]]']) is None
    assert ROWS.check([]) is None


@pytest.mark.parametrize("value", ["[]", {}, 1, [1], [["P1", 1, 1]]])
def test_rows_are_lists_of_their_struct(value: object) -> None:
    with pytest.raises(ValueError, match="a list of Line is expected"):
        ROWS.to_wire(value)


def test_an_element_of_a_set_is_a_text() -> None:
    for wrong in (int, Decimal, Rows(Line)):
        with pytest.raises(AdapterError, match=r"^Wrong.field: .* cannot be an element of a set"):
            type("Wrong", (Struct,), {"field": Set(wrong)})


def test_a_struct_holds_plain_values_only() -> None:
    for wrong in (Counter(), Set(str), Rows(Line)):
        with pytest.raises(AdapterError, match="cannot be part of a struct"):
            type("Wrong", (Struct,), {"field": wrong})
