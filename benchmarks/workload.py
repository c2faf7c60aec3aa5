"""The work that every system gets, ours and the others': seeded, the same bytes for all, and the final state it must lead to.

A store with lanes. Every sale is one record and takes its quantity from the stock of one product. Quantities and amounts
are whole numbers (thousandths and cents), so that no system is asked for decimals that it does not have.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SEED = 20_261_127
OPENING_BALANCE = 1_000_000
LANES = 5
PRODUCTS = 10_000
PACED_PER_SECOND = 20
"""Sales of all lanes together in the cell `live_paced`."""


@dataclass(frozen=True, slots=True)
class Sale:
    """One sale.

    Attributes:
        key: unique over all lanes.
        product: number of the product, from 0.
        quantity: thousandths of a unit taken from its stock.
        total: cents.
        at_ms: milliseconds since 1970, UTC.
    """

    key: str
    product: int
    quantity: int
    total: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class FinalState:
    """What is checked at the end of every run of every system: how many sales there are, and each product's stock."""

    sales: int
    stock: Mapping[int, int]

    def digest(self) -> str:
        """Return 64 hexadecimal digits that only this state has."""
        text = f"{self.sales};" + ",".join(
            f"{product}:{left}" for product, left in sorted(self.stock.items())
        )
        return hashlib.sha256(text.encode()).hexdigest()


def sales(lane: int, count: int, products: int, seed: int = SEED) -> Iterator[Sale]:
    """Yield the sales of a lane, oldest first."""
    dice = random.Random(f"{seed} {lane}")
    at_ms = 1_764_000_000_000
    for number in range(count):
        at_ms += dice.randrange(5_000, 60_000)
        yield Sale(
            f"c{lane}-{number:07d}",
            dice.randrange(products),
            dice.randrange(1, 10) * 1_000,
            dice.randrange(99, 99_999),
            at_ms,
        )


def final_state(done: Iterable[Sale], products: int) -> FinalState:
    """Return what must be there when these sales were made from the opening balance of every product."""
    stock = dict.fromkeys(range(products), OPENING_BALANCE)
    count = 0
    for sale in done:
        stock[sale.product] -= sale.quantity
        count += 1
    return FinalState(count, stock)


def expected(cell: str, size: int, prices: Mapping[int, int] | None = None) -> FinalState:
    """Return the state at the end of a cell.

    After updates of the stock alone there are no sales; a catalogue is told by the number of its products and the price of each.
    """
    if prices is not None:
        return FinalState(size, prices)
    if cell == "growth":
        return FinalState(0, final_state(sales(1, size, PRODUCTS), PRODUCTS).stock)
    return final_state(
        (sale for lane in range(1, LANES + 1) for sale in sales(lane, size, PRODUCTS)), PRODUCTS
    )
