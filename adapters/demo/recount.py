"""Recount the demo's week from the CSV files and compare it with every node's SQL views.

What it is: the second opinion. It reads the three CSV files and, read-only, each node's SQLite file, with plain
Python; a fault in the replication code cannot also be in here. What it never does: import anything but the
standard library, write to a store, or ask a node what it believes.

    python -I adapters/demo/recount.py DIR --data DATA --lanes 8 --json

Exit codes: 0 everything agrees, 1 something does not, 2 wrong usage, 3 a file cannot be read.

Assumptions of the demo, not of the data: the data has no lane, so a basket is sold at ``caixa{basket_id % lanes + 1}``;
a product's opening stock is the units sold the week before, or 1 where there were none and it sells this week. What people
entered since, when they settled a stock below zero, is added to it.
Quantities are integers of a thousandth of a unit ("milli") and prices are integer cents throughout.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sqlite3
import sys
import zlib
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

WEEK = "sales_week.csv.gz"
WEEK_BEFORE = "sales_week_before.csv.gz"
PRODUCTS = "products.csv.gz"
STORE = "loja1"
OPENING_UNSOLD_MILLI = 1000

# Views that every node of the demo holds whole. One that Gestão does not have is not compared.
HELD_BY_ALL = (
    "product_categories",
    "cost_centers",
    "profit_centers",
    "cfop",
    "cities",
    "entity_classifications",
    "products",
    "customers",
    "account_settings",
    "stock",
)
# Views of which a Caixa holds its own lane's rows; Gestão and Loja hold all.
HELD_BY_LANE = ("sales", "sales_lines", "till_operations")
REQUIRED = frozenset({"products", "stock", *HELD_BY_LANE})

Lines = Counter[tuple[str, int]]
"""Of one sale: (product, unit price in cents) -> quantity in milli."""


class RecountError(Exception):
    """A file that cannot be read: the message says which, where, what is wrong and what to do.

    Attributes:
        path: the CSV or SQLite file.
        line: line number in a CSV file, counted from 1; None for a SQLite file or a whole file.
    """

    def __init__(self, path: Path, line: int | None, what: str, do: str) -> None:
        where = f"{path}, line {line}" if line is not None else str(path)
        super().__init__(f"{where}: {what}. {do}")
        self.path = path
        self.line = line


@dataclass(frozen=True)
class Expected:
    """What the CSV files say the stores must hold, and what people entered since. Quantities in milli."""

    lines: int
    sales: Mapping[str, Lines]
    opening: Mapping[str, int]
    sold: Mapping[str, int]
    sold_by_lane: Mapping[str, Sequence[int]]
    products: frozenset[str]
    lanes: int
    entered: Mapping[str, int] = field(default_factory=dict)

    def lane_of(self, sale: str) -> str:
        """Name of the Caixa that sold the basket."""
        return f"caixa{int(sale) % self.lanes + 1}"

    def balance(self, product: str) -> int:
        """Units that must be left of the product, in milli; below zero when oversold."""
        return self.opening.get(product, 0) + self.entered.get(product, 0) - self.sold.get(product, 0)


@dataclass(frozen=True)
class Recount:
    """The outcome.

    Attributes:
        lines: lines of the week in the CSV.
        baskets: sales of the week in the CSV.
        units: units sold in the CSV.
        lost: sales of the CSV that a node that must hold them lacks, wholly or in part, or whose stock was not taken.
        duplicated: sales that a node holds twice, holds with more than was sold, or that the CSV does not have,
            and sales whose stock was taken twice.
        converged: every view is the same at every node that holds it, and balances and catalogue are the CSV's.
        below_zero: products whose merged balance at Gestão is below zero.
        seen_by_no_lane_alone: of those, the ones of which no single lane sold more than the opening stock.
        differences: one sentence for each thing that does not agree.
    """

    lines: int
    baskets: int
    units: int | float
    lost: int
    duplicated: int
    converged: bool
    below_zero: int
    seen_by_no_lane_alone: int
    differences: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Nothing lost, nothing twice, every node the same."""
        return self.converged and not self.lost and not self.duplicated


# ---- the CSV files


def read_csv(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, the named columns' values) for each line of a gzipped CSV.

    Raises:
        RecountError: the file is absent, not gzip, not UTF-8, lacks a column, or a line has too few or many values.
    """
    do = "Restore the file from its source, or correct that line"
    line = 1
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            absent = [name for name in columns if name not in header]
            if absent:
                raise RecountError(path, 1, f"the header has no column {', '.join(absent)}", do)
            places = [header.index(name) for name in columns]
            for row in reader:
                line = reader.line_num
                if len(row) != len(header):
                    raise RecountError(
                        path, line, f"{len(row)} values where the header has {len(header)}", do
                    )
                yield line, [row[place] for place in places]
    except FileNotFoundError as error:
        raise RecountError(
            path, None, "no such file", "Name the folder with the three files: --data DIR"
        ) from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise RecountError(path, line, f"unreadable after this line ({error})", do) from error


def read_lines(path: Path) -> Iterator[tuple[str, str, int, int]]:
    """Yield (basket, product, quantity in milli, unit price in cents) for each sold line.

    Raises:
        RecountError: as `read_csv`, or a value is not the number it should be.
    """
    columns = ("basket_id", "product_id", "quantity", "unit_price_cents")
    for line, (basket, product, quantity, price) in read_csv(path, columns):
        milli = _milli(quantity)
        if not (basket.isascii() and basket.isdigit()):
            wrong = f"basket_id {basket!r} is not a whole number"
        elif not product:
            wrong = "product_id is empty"
        elif milli is None:
            wrong = f"quantity {quantity!r} is not a number above zero of at most three decimals"
        elif not (price.isascii() and price.isdigit()):
            wrong = f"unit_price_cents {price!r} is not a whole number of cents"
        else:
            yield basket, product, milli, int(price)
            continue
        raise RecountError(path, line, wrong, "Correct that value, or remove the line")


def _milli(text: str) -> int | None:
    try:
        scaled = Decimal(text).scaleb(3)
        exact = scaled == scaled.to_integral_value()
    except InvalidOperation:
        return None
    return int(scaled) if exact and scaled.is_finite() and scaled > 0 else None


def read_expected(data: Path, lanes: int) -> Expected:
    """Read the three CSV files in `data` and work out what the stores must hold after the week.

    Raises:
        RecountError: a file is absent or malformed.
    """
    before: Counter[str] = Counter()
    for _, product, milli, _ in read_lines(data / WEEK_BEFORE):
        before[product] += milli
    sales: dict[str, Lines] = {}
    sold: Counter[str] = Counter()
    sold_by_lane: dict[str, list[int]] = {}
    count = 0
    for basket, product, milli, price in read_lines(data / WEEK):
        count += 1
        sales.setdefault(basket, Counter())[product, price] += milli
        sold[product] += milli
        sold_by_lane.setdefault(product, [0] * lanes)[int(basket) % lanes] += milli
    opening = dict.fromkeys(sold, OPENING_UNSOLD_MILLI) | before
    products = frozenset(product for _, (product,) in read_csv(data / PRODUCTS, ("product_id",)))
    return Expected(count, sales, opening, sold, sold_by_lane, products, lanes)


# ---- the stores


@dataclass(frozen=True)
class NodeStore:
    """One node's SQLite file, opened read-only."""

    name: str
    path: Path
    connection: sqlite3.Connection

    @property
    def lane(self) -> str | None:
        """The lane that a Caixa holds; None at Gestão and Loja, which hold all."""
        return self.name if self.name.startswith("caixa") else None

    def rows(self, sql: str, *values: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of one query.

        Raises:
            RecountError: the file is not a store of this format, or is damaged or locked.
        """
        try:
            yield from self.connection.execute(sql, values)
        except sqlite3.Error as error:
            do = "Check it with `crdtsync verify`, or run the demo again in an empty folder"
            raise RecountError(self.path, None, f"cannot be queried ({error})", do) from error

    def views(self) -> frozenset[str]:
        """Names of the tables and views that can be read."""
        return frozenset(
            name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        )

    def sales(self) -> tuple[set[str], dict[str, Lines]]:
        """The ids of the sales, and each one's lines added up."""
        lines: dict[str, Lines] = {}
        for sale, product, price, milli in self.rows(
            "SELECT id, product, unit_price_cents, sum(quantity_milli) FROM sales_lines GROUP BY 1, 2, 3"
        ):
            lines.setdefault(sale, Counter())[product, price] = milli
        return {sale for (sale,) in self.rows("SELECT id FROM sales")}, lines

    def balances(self) -> dict[str, int]:
        """Product -> units left in the demo's store, in milli."""
        return dict(self.rows("SELECT product, balance_milli FROM stock WHERE store = ?", STORE))

    def entered(self) -> dict[str, int]:
        """Product -> units that people entered or adjusted when they settled its stock below zero, in milli.

        Two people who link one invoice enter it once.
        """
        found: dict[tuple[str, str], int] = {}
        settled = (
            "SELECT id, pendency, option, \"values\" FROM decisions WHERE act = 'decisao' AND pendency LIKE ?"
        )
        for decision, pendency, option, values in self.rows(settled, f"stock/{STORE}/%#C01"):
            said = json.loads(values or "{}")
            if option in {"entrada", "ajuste"}:
                product = pendency.removeprefix(f"stock/{STORE}/").removesuffix("#C01")
                units = Decimal(said["quantidade"].replace(",", "."))
                found[product, said.get("documento", decision)] = int(units * 1000)
        total: Counter[str] = Counter()
        for (product, _), milli in found.items():
            total[product] += milli
        return dict(total)

    def fingerprint(self, view: str, lane: str | None = None) -> tuple[int, int]:
        """Rows of a view (of one lane, if given) and the sum of their hashes: equal for equal rows in any order.

        The hashes hold within this process.
        """
        # Columns by name: a store that gained a column later has it in another place.
        columns = sorted(row[1] for row in self.rows(f'PRAGMA table_info("{view}")'))
        chosen = ", ".join(f'"{column}"' for column in columns)
        query = f'SELECT {chosen} FROM "{view}"'
        count = total = 0
        for row in self.rows(query) if lane is None else self.rows(f"{query} WHERE lane = ?", lane):
            count += 1
            # Of the text, not of the row: in Python -1 and -2 have the same hash.
            total += hash(repr(row))
        return count, total


def open_store(folder: Path, name: str) -> NodeStore:
    """Open a node's store read-only.

    Raises:
        RecountError: there is no store, or it cannot be opened.
    """
    path = folder / name / "store.db"
    if not path.is_file():
        do = "Name the folder that the demo kept with --dir, and its number of lanes with --lanes"
        raise RecountError(path, None, "no such store", do)
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
    except sqlite3.Error as error:
        raise RecountError(path, None, f"cannot be opened ({error})", "Check that you may read it") from error
    return NodeStore(name, path, connection)


# ---- the comparison


def compare_sales(
    expected: Expected, stores: Sequence[NodeStore]
) -> tuple[dict[str, Lines], dict[str, Lines]]:
    """What is absent of each lost sale, and what is too much of each duplicated one, at the node that is worst off.

    A sale with a line at another price is both: the right line is absent and a wrong one is there.
    """
    lost: dict[str, Lines] = {}
    duplicated: dict[str, Lines] = {}
    for store in stores:
        ids, lines = store.sales()
        for sale in ids | expected.sales.keys():
            sold = expected.sales.get(sale, Counter())
            held = lines.get(sale, Counter()) if sale in ids else Counter()
            must_hold = sale in expected.sales and store.lane in (None, expected.lane_of(sale))
            # Counter subtraction keeps what is above zero.
            if must_hold and (absent := sold - held):
                lost[sale] = lost.get(sale, Counter()) | absent
            # An id that is not in the CSV counts even with no lines.
            if (excess := held - sold) or sale not in expected.sales:
                duplicated[sale] = duplicated.get(sale, Counter()) | excess
    return lost, duplicated


def compare_stock(
    expected: Expected,
    stores: Sequence[NodeStore],
    lost: Mapping[str, Lines],
    duplicated: Mapping[str, Lines],
) -> tuple[int, int, list[str]]:
    """Sales whose stock was not taken, sales whose stock was taken twice, and a sentence for each wrong stock.

    What `lost` and `duplicated` explain is not counted a second time.
    """
    over: Counter[str] = Counter()
    under: Counter[str] = Counter()
    sentences = []
    for store in stores:
        held = store.balances()
        wrong: dict[str, int] = {}
        for product in held.keys() | expected.opening.keys():
            off = held.get(product, 0) - expected.balance(product)
            if off:
                wrong[product] = off
        over |= Counter(wrong)
        under |= Counter({product: -off for product, off in wrong.items()})
        if wrong:
            product = min(wrong)
            sentences.append(
                f"stock at {store.name}: {len(wrong)} balances are not the recount's, "
                f"such as product {product}: {held.get(product, 0)} milli, recount {expected.balance(product)}"
            )
    return (
        _sales_explaining(expected.sales, over - _units(lost.values())),
        _sales_explaining(expected.sales, under - _units(duplicated.values())),
        sentences,
    )


def _units(sales: Iterable[Lines]) -> Counter[str]:
    units: Counter[str] = Counter()
    for lines in sales:
        for (product, _), milli in lines.items():
            units[product] += milli
    return units


def _sales_explaining(sales: Mapping[str, Lines], left: Counter[str]) -> int:
    """How many whole sales make up the units, largest first; each product left over counts as one more."""
    count = 0
    for sale in sorted(sales, key=lambda one: (-len(sales[one]), one)) if left else ():
        taken = _units([sales[sale]])
        if taken <= left:
            left = left - taken
            count += 1
    return count + len(left)


def compare_views(stores: Sequence[NodeStore]) -> list[str]:
    """One sentence for each view that is not the same at Gestão, the first store, and at another node.

    Raises:
        RecountError: Gestão lacks a view that the recount needs, or a store cannot be queried.
    """
    gestao, *others = stores
    sentences = []
    available = gestao.views()
    views = {store.name: store.views() for store in others}
    for view in (*HELD_BY_ALL, *HELD_BY_LANE):
        if view not in available:
            if view in REQUIRED:
                raise RecountError(
                    gestao.path, None, f"has no view {view}", "Run the demo again in an empty folder"
                )
            continue
        whole = gestao.fingerprint(view)
        for store in others:
            lane = store.lane if view in HELD_BY_LANE else None
            here = store.fingerprint(view) if view in views[store.name] else (0, 0)
            there = whole if lane is None else gestao.fingerprint(view, lane)
            if here != there:
                counts = f"{here[0]} rows, {there[0]} at {gestao.name}"
                sentences.append(f"{view} at {store.name} is not the same as at {gestao.name} ({counts})")
    return sentences


def recount(folder: Path, data: Path, lanes: int) -> Recount:
    """Compare the stores under `folder` with the CSV files in `data`.

    Raises:
        RecountError: a CSV file or a store is absent, malformed or unreadable.
    """
    expected = read_expected(data, lanes)
    with ExitStack() as stack:
        stores = []
        for name in ("gestao", STORE, *(f"caixa{lane + 1}" for lane in range(lanes))):
            store = open_store(folder, name)
            stack.enter_context(closing(store.connection))
            stores.append(store)
        if "decisions" in stores[0].views():
            expected = replace(expected, entered=stores[0].entered())
        differences = compare_views(stores)
        lost, duplicated = compare_sales(expected, stores)
        not_taken, taken_twice, wrong_stock = compare_stock(expected, stores, lost, duplicated)
        differences += wrong_stock
        catalogue = {row[0] for row in stores[0].rows("SELECT id FROM products")}
        below_zero = [product for product, milli in stores[0].balances().items() if milli < 0]
    absent = expected.products - catalogue
    if absent:
        differences.append(f"products at gestao: {len(absent)} of the CSV are absent, such as {min(absent)}")
    converged = not differences
    differences += [f"sale {sale} is lost" for sale in sorted(lost)]
    differences += [f"sale {sale} is duplicated" for sale in sorted(duplicated)]
    milli = sum(expected.sold.values())
    alone = [
        product
        for product in below_zero
        if max(expected.sold_by_lane.get(product, [0])) <= expected.opening.get(product, 0)
    ]
    return Recount(
        lines=expected.lines,
        baskets=len(expected.sales),
        units=milli / 1000 if milli % 1000 else milli // 1000,
        lost=len(lost) + not_taken,
        duplicated=len(duplicated) + taken_twice,
        converged=converged,
        below_zero=len(below_zero),
        seen_by_no_lane_alone=len(alone),
        differences=tuple(differences),
    )


# ---- the command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recount as a command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="recount", description="Recount the demo's week with plain Python.")
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="folder with gestao, loja1, caixa1 ... caixaN"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the three .csv.gz files")
    parser.add_argument("--lanes", type=int, default=8, help="number of Caixas (default: 8)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.lanes < 1:
        parser.error(f"--lanes {options.lanes}: there must be at least one")
    try:
        outcome = recount(options.folder, options.data, options.lanes)
    except RecountError as error:
        print(f"recount: {error}", file=sys.stderr)
        return 3
    if options.json:
        print(json.dumps(asdict(outcome), ensure_ascii=False))
    else:
        for name, value in asdict(outcome).items():
            if name != "differences":
                print(f"{name:>22}  {value}")
        for sentence in outcome.differences:
            print(f"  - {sentence}")
    return 0 if outcome.agrees else 1


if __name__ == "__main__":
    sys.exit(main())
