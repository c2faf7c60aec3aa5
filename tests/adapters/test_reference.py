"""The tables that ship with the package load whole, and a malformed line says where it is."""

from __future__ import annotations

import gzip
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from adapters import reference
from adapters.reference import ReferenceTableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SOLD = "sold_at,basket_id,household_id,product_id,quantity,unit_price_cents"


def test_every_municipality_is_there_with_its_state() -> None:
    cities = list(reference.read_cities())
    assert len({city.code for city in cities}) == len(cities) == 5571
    assert reference.CityRow("3550308", "São Paulo", "SP") in cities


def test_every_cfop_is_there_and_nine_are_for_nfce() -> None:
    codes = list(reference.read_cfop())
    assert len({row.code for row in codes}) == len(codes) == 619
    assert sum(row.nfce for row in codes) == 9


def test_the_week_sells_products_of_the_catalogue() -> None:
    products = {row.id: row for row in reference.read_products()}
    week = list(reference.read_sales_week())
    assert len(products) == 92331
    assert products["25671"].levels == ("GROCERY", "FRZN ICE", "ICE - CRUSHED/CUBED")
    assert len(week) == 26290
    assert len({row.basket for row in week}) == 2654
    assert {row.product for row in week} <= products.keys()


def test_a_sold_line_has_exact_amounts_and_an_offset() -> None:
    first = next(reference.read_sales_week())
    assert (first.product, first.quantity, first.unit_price) == ("834103", Decimal(1), Decimal("1.29"))
    assert first.sold_at.isoformat() == "2017-08-21T00:57:04-03:00"


def test_the_week_before_gives_the_opening_stock() -> None:
    assert next(reference.read_sales_week_before()).product == "823176"


@pytest.mark.parametrize(
    ("read", "header", "line", "what"),
    [
        (reference.read_cities, "ibge_code,name,state", "3550309,São Paulo,SP", "wrong check digit"),
        (reference.read_cities, "ibge_code,name,state", "3550308,,SP", "the city has no name"),
        (reference.read_cities, "ibge_code,name,state", "3550308,São Paulo,RJ", "'RJ' is not the state"),
        (
            reference.read_cities,
            "ibge_code,name,state",
            "3550308,São Paulo",
            "2 values where the header has 3",
        ),
        (reference.read_cities, "ibge_code,name", "3550308,São Paulo", "the header has no column state"),
        (reference.read_cfop, "code,name", "4101,Compra", "'4101' is not a CFOP"),
        (reference.read_cfop, "code,name", "1101,", "the code has no name"),
    ],
)
def test_a_malformed_line_of_a_table_names_file_line_and_remedy(
    tmp_path: Path, read: Callable[[Path], Iterator[object]], header: str, line: str, what: str
) -> None:
    name = f"{read.__name__.removeprefix('read_')}.csv"
    (tmp_path / name).write_text(f"{header}\n{line}\n", encoding="utf-8")
    with pytest.raises(ReferenceTableError, match=what) as caught:
        list(read(tmp_path))
    assert caught.value.line == (1 if "header has no" in what else 2)
    assert str(caught.value).startswith(f"{tmp_path / name}, line ")
    assert "correct" in str(caught.value) or "restore" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("yesterday,1,2,3,1,129", "sold_at 'yesterday' is not a date and time"),
        ("2017-08-21T00:57:04,x,2,3,1,129", "basket_id 'x' is not a whole number"),
        ("2017-08-21T00:57:04,1,x,3,1,129", "household_id 'x' is not a whole number"),
        ("2017-08-21T00:57:04,1,,3,many,129", "quantity 'many' is not a number"),
        ("2017-08-21T00:57:04,1,,3,0,129", "quantity '0' is not above zero"),
        (
            "2017-08-21T00:57:04,1,,3,0.0001,129",
            "quantity '0.0001' is not above zero with at most three decimals",
        ),
        ("2017-08-21T00:57:04,1,,3,1,1.29", "unit_price_cents '1.29' is not a whole number"),
    ],
)
def test_a_malformed_sold_line_is_refused(tmp_path: Path, line: str, what: str) -> None:
    with gzip.open(tmp_path / "sales_week.csv.gz", "wt", encoding="utf-8") as file:
        file.write(f"{SOLD}\n{line}\n")
    with pytest.raises(ReferenceTableError, match=what):
        list(reference.read_sales_week(tmp_path))


def test_an_absent_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ReferenceTableError, match=r"products\.csv\.gz: no such file; name a folder that has it"
    ):
        list(reference.read_products(tmp_path))


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(f"{SOLD}\n".encode() + b"2017-08-21T00:57:04,1,2,3,1,129\n" * 1000)
    (tmp_path / "sales_week.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReferenceTableError, match="unreadable after this line"):
        list(reference.read_sales_week(tmp_path))
