"""A small data folder cut from the real week: sixty baskets, what they sell, and a few hundred products more."""

from __future__ import annotations

import csv
import gzip
from itertools import islice
from pathlib import Path

from adapters.demo.recount import PRODUCTS, WEEK, WEEK_BEFORE
from adapters.reference import DATA

SHIPPED = Path(str(DATA))
BASKETS = 60
PRODUCTS_MORE = 300
LANES = 2


def _read(name: str) -> tuple[list[str], list[list[str]]]:
    with gzip.open(SHIPPED / name, "rt", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def _write(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def cut_data(folder: Path, baskets: int = BASKETS) -> Path:
    """Write the three files into a new folder and return it."""
    folder.mkdir()
    header, week = _read(WEEK)
    basket, product = header.index("basket_id"), header.index("product_id")
    chosen = set(islice(dict.fromkeys(row[basket] for row in week), baskets))
    week = [row for row in week if row[basket] in chosen]
    sold = {row[product] for row in week}
    _write(folder / WEEK, header, week)
    header, before = _read(WEEK_BEFORE)
    _write(folder / WEEK_BEFORE, header, [row for row in before if row[header.index("product_id")] in sold])
    header, catalogue = _read(PRODUCTS)
    others = [row for row in catalogue if row[0] not in sold][:PRODUCTS_MORE]
    _write(folder / PRODUCTS, header, [row for row in catalogue if row[0] in sold] + others)
    return folder
