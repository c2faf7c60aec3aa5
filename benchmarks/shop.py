"""The categories of the shared workload, as an adapter writes them, in two scopes; and the state that a store shows.

In a shop a lane holds the sales of its own; `EVERYWHERE` is the same with every sale at every lane. The stock is the store's in both.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from benchmarks.workload import OPENING_BALANCE, FinalState
from crdtsync import Counter, Entity, Key, Once, Role, Schema, by_lane_month, by_store, invariant
from crdtsync.state.document import Op

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.workload import Sale
    from crdtsync.node.transaction import Transaction

STORE = "loja1"
_WRITERS = {Role.LOJA, Role.CAIXA}


class Sold(Entity, category="sales", writers=_WRITERS, partition=by_lane_month("sold_at")):
    """One sale, held by its lane and by the store."""

    id = Key()
    product = Once(int)
    quantity = Once(int)
    total = Once(int)
    sold_at = Once(datetime)


class SoldEverywhere(Entity, category="sales", writers=_WRITERS, partition=by_store):
    """One sale, held by every lane."""

    id = Key()
    product = Once(int)
    quantity = Once(int)
    total = Once(int)
    sold_at = Once(datetime)


class Shelf(Entity, category="stock", writers=_WRITERS, partition=by_store):
    """Units of one product, with the rule that looks at every movement."""

    product = Key(int)
    balance = Counter()

    @invariant("C01", title="Estoque abaixo de zero", owner=Role.LOJA)
    def balance_not_negative(self) -> bool:
        """Two lanes may each sell the last unit while offline."""
        return self.balance >= 0


RETAIL = Schema([Sold, Shelf])
EVERYWHERE = Schema([SoldEverywhere, Shelf])
SCOPES = {"retail": RETAIL, "everywhere": EVERYWHERE}
SALES: dict[str, type[Sold | SoldEverywhere]] = {"retail": Sold, "everywhere": SoldEverywhere}
STOCK_DOC = f"stock/{STORE}"


def sold_at(sale: Sale) -> datetime:
    """Return when it was made."""
    return datetime.fromtimestamp(sale.at_ms / 1000, UTC)


def sale_ops(sale: Sale) -> list[Op]:
    """Return what a transaction writes into the document of the sale."""
    values = {
        "product": sale.product,
        "quantity": sale.quantity,
        "total": sale.total,
        "sold_at": Sold.__shape__.fields["sold_at"].to_wire(sold_at(sale)),
    }
    return [Op("write", name, values[name]) for name in Sold.__shape__.written]


def stock_ops(sale: Sale) -> list[Op]:
    """Return what it writes into the document of the stock."""
    return [Op("add", "balance", -sale.quantity, sale.key)]


async def record(tx: Transaction, entity: type[Sold | SoldEverywhere], sale: Sale) -> None:
    """Write a sale and take its quantity from the shelf."""
    tx.create(
        entity,
        id=sale.key,
        product=sale.product,
        quantity=sale.quantity,
        total=sale.total,
        sold_at=sold_at(sale),
    )
    shelf = await tx.get(Shelf, str(sale.product))
    shelf.balance.subtract(Decimal(sale.quantity).scaleb(-3), cause=sale.key)


def state_of(store: Path) -> FinalState:
    """Read the state of a node's store with plain SQL."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM sales").fetchone()
        stock = {
            int(product): left
            for product, left in connection.execute("SELECT product, balance_milli FROM stock")
        }
    return FinalState(count, stock)


def opened(moved: dict[int, int]) -> dict[int, int]:
    """Return balances of products from movements alone: the opening balance is added."""
    return {product: OPENING_BALANCE + units for product, units in moved.items()}


def store_bytes(folder: Path) -> int:
    """Return the size of a node's store with its write-ahead log."""
    return sum(file.stat().st_size for file in folder.glob("store.db*"))
