"""The tables that ship with the package: cities, CFOP codes, and a real week of sales with its catalogue.

It reads CSV lines into typed rows and refuses a malformed one; it never writes, and never fills in what a line lacks.
Every function takes another folder with the same files. Sources and licences: `data/SOURCES.md`.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from typing import TYPE_CHECKING, NoReturn

from adapters.cfop import CFOP, NFCE_CODES
from adapters.cities import STATES, city_code
from crdtsync import errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

DATA: Traversable = files("adapters") / "data"
"""The folder that ships with the package."""

LOCAL_TIME = timezone(timedelta(hours=-3))
"""The week's timestamps carry no zone; they are read as Brasília's (see SOURCES.md)."""


class ReferenceTableError(errors.CrdtsyncError):
    """A reference table cannot be read, or one of its lines is malformed.

    Attributes:
        path: the file.
        line: the line, counted from 1; None when the whole file is concerned.
    """

    def __init__(self, path: str, line: int | None, what: str, do: str) -> None:
        where = path if line is None else f"{path}, line {line}"
        super().__init__(f"{where}: {what}; {do}")
        self.path = path
        self.line = line


@dataclass(frozen=True, slots=True)
class CityRow:
    """One municipality; `code` is IBGE's, `state` has two letters."""

    code: str
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class CfopRow:
    """One fiscal operation code with its official name; `nfce` tells whether an NFC-e accepts it."""

    code: str
    name: str
    nfce: bool


@dataclass(frozen=True, slots=True)
class ProductRow:
    """One product of the catalogue. The three levels of its category run from the widest; the last two may be ""."""

    id: str
    levels: tuple[str, str, str]
    brand: str
    manufacturer: str
    package_size: str


@dataclass(frozen=True, slots=True)
class SoldRow:
    """One line of a basket: `quantity` has up to three decimals, `unit_price` two (reais)."""

    sold_at: datetime
    basket: str
    household: str
    product: str
    quantity: Decimal
    unit_price: Decimal


def read_cities(folder: Traversable = DATA) -> Iterator[CityRow]:
    """Yield the municipalities of `cities.csv`.

    Raises:
        ReferenceTableError: the file is absent or unreadable, or a line is malformed.
    """
    for line in _lines(folder / "cities.csv", ("ibge_code", "name", "state")):
        code, name, state = line.values
        try:
            city_code(code)
        except ValueError as error:
            line.refuse(str(error))
        if not name:
            line.refuse("the city has no name")
        if STATES.get(code[:2]) != state:
            line.refuse(f"{state!r} is not the state of city {code}")
        yield CityRow(code, name, state)


def read_cfop(folder: Traversable = DATA) -> Iterator[CfopRow]:
    """Yield the codes of `cfop.csv`.

    Raises:
        ReferenceTableError: the file is absent or unreadable, or a line is malformed.
    """
    for line in _lines(folder / "cfop.csv", ("code", "name")):
        code, name = line.values
        if not re.fullmatch(CFOP, code):
            line.refuse(f"{code!r} is not a CFOP: four digits, the first 1, 2, 3, 5, 6 or 7")
        if not name:
            line.refuse("the code has no name")
        yield CfopRow(code, name, code in NFCE_CODES)


def read_products(folder: Traversable = DATA) -> Iterator[ProductRow]:
    """Yield the catalogue of `products.csv.gz`.

    Raises:
        ReferenceTableError: the file is absent or unreadable, or a line is malformed.
    """
    columns = (
        "product_id",
        "department",
        "product_category",
        "product_type",
        "brand",
        "manufacturer_id",
        "package_size",
    )
    for line in _lines(folder / "products.csv.gz", columns):
        product, department, category, kind, brand, manufacturer, size = line.values
        line.whole_number("product_id", product)
        if not department:
            line.refuse(f"product {product} has no department")
        yield ProductRow(product, (department, category, kind), brand, manufacturer, size)


def read_sales_week(folder: Traversable = DATA) -> Iterator[SoldRow]:
    """Yield the lines of `sales_week.csv.gz`, the week that the demo sells.

    Raises:
        ReferenceTableError: the file is absent or unreadable, or a line is malformed.
    """
    return _sold(folder / "sales_week.csv.gz")


def read_sales_week_before(folder: Traversable = DATA) -> Iterator[SoldRow]:
    """Yield the lines of `sales_week_before.csv.gz`, from which the demo takes the opening stock.

    Raises:
        ReferenceTableError: the file is absent or unreadable, or a line is malformed.
    """
    return _sold(folder / "sales_week_before.csv.gz")


def _sold(file: Traversable) -> Iterator[SoldRow]:
    for line in _lines(
        file, ("sold_at", "basket_id", "household_id", "product_id", "quantity", "unit_price_cents")
    ):
        sold_at, basket, household, product, quantity, cents = line.values
        for column, value in (("basket_id", basket), ("product_id", product), ("unit_price_cents", cents)):
            line.whole_number(column, value)
        if household:
            line.whole_number("household_id", household)
        yield SoldRow(
            line.local_time(sold_at),
            basket,
            household,
            product,
            line.quantity(quantity),
            Decimal(int(cents)).scaleb(-2),
        )


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a file: its values, and how to refuse it."""

    path: str
    number: int
    values: tuple[str, ...]

    def refuse(self, what: str) -> NoReturn:
        raise ReferenceTableError(self.path, self.number, what, "correct that value, or remove the line")

    def whole_number(self, column: str, text: str) -> None:
        if not (text.isascii() and text.isdigit()):
            self.refuse(f"{column} {text!r} is not a whole number")

    def local_time(self, text: str) -> datetime:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.refuse(f"sold_at {text!r} is not a date and time such as 2017-08-21T10:00:00")
        return moment if moment.tzinfo else moment.replace(tzinfo=LOCAL_TIME)

    def quantity(self, text: str) -> Decimal:
        try:
            number = Decimal(text)
        except InvalidOperation:
            self.refuse(f"quantity {text!r} is not a number")
        if not number.is_finite() or number <= 0 or number != round(number, 3):
            self.refuse(f"quantity {text!r} is not above zero with at most three decimals")
        return number


def _lines(file: Traversable, columns: tuple[str, ...]) -> Iterator[_Line]:
    """The named columns of each line of a CSV file; a name that ends in .gz is decompressed."""
    path = str(file)
    restore = "restore the file from the package"
    line = 1
    try:
        with file.open("rb") as raw:
            data = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
            with io.TextIOWrapper(data, encoding="utf-8", newline="") as text:
                reader = csv.reader(text, strict=True)
                header = next(reader, [])
                absent = [name for name in columns if name not in header]
                if absent:
                    raise ReferenceTableError(
                        path, 1, f"the header has no column {', '.join(absent)}", restore
                    )
                places = [header.index(name) for name in columns]
                for row in reader:
                    line = reader.line_num
                    if len(row) != len(header):
                        what = f"{len(row)} values where the header has {len(header)}"
                        raise ReferenceTableError(path, line, what, "correct or remove the line")
                    yield _Line(path, line, tuple([row[place] for place in places]))
    except FileNotFoundError as error:
        raise ReferenceTableError(path, None, "no such file", "name a folder that has it") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ReferenceTableError(path, line, f"unreadable after this line ({error})", restore) from error
