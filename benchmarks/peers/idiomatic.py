"""pycrdt, as its documentation shows it: nested Maps. In process only; its network is `websocket.py`.

`sales` holds a Map for each sale. A shared number that two write at once keeps one of the two, so `stock` holds a Map for each lane with
the sum that this lane has taken of each product, which only it writes. Each sale is one transaction.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pycrdt

from benchmarks import workload
from benchmarks.peers import layout
from benchmarks.peers.child import stock_of
from benchmarks.peers.run import PythonSystem
from benchmarks.workload import LANES


class Nested:
    """Sales as nested Maps, stock as one Map of sums a lane."""

    plain = False

    def __init__(self, *documents: pycrdt.Doc[Any], stock: pycrdt.Doc[Any] | None = None) -> None:
        """Lay a document out, or several: the stock may have one of its own, and so may the sales of each lane."""
        self.doc: pycrdt.Doc[Any] = documents[0] if documents else pycrdt.Doc()
        self.stock_doc = self.doc if stock is None else stock
        self.held: list[pycrdt.Map[Any]] = [
            one.get("sales", type=pycrdt.Map) for one in documents or (self.doc,)
        ]
        self.sales = self.held[0]
        self._taken: dict[int, pycrdt.Map[Any]] = {}

    def _of_lane(self, lane: int) -> pycrdt.Map[Any]:
        found = self._taken.get(lane)
        if found is None:
            found = self._taken[lane] = self.stock_doc.get(f"stock/{lane}", type=pycrdt.Map)
        return found

    def _take(self, product: int, quantity: int, lane: int) -> None:
        taken = self._of_lane(lane)
        key = str(product)
        taken[key] = taken.get(key, 0) + quantity

    def sell(self, sale: workload.Sale, lane: int) -> None:
        """Write a sale and what it takes from the stock."""
        record: dict[str, object] = {
            "product": sale.product,
            "quantity": sale.quantity,
            "total": sale.total,
            "at_ms": sale.at_ms,
        }
        with self.doc.transaction():
            self.sales[sale.key] = record if self.plain else pycrdt.Map(record)
            self._take(sale.product, sale.quantity, lane)

    def take(self, product: int, quantity: int, lane: int) -> None:
        """Take from the stock of a product."""
        with self.stock_doc.transaction():
            self._take(product, quantity, lane)

    def export(self) -> bytes:
        """Return the whole document as one update."""
        return self.doc.get_update()

    def merge(self, updates: list[bytes]) -> None:
        """Apply what other replicas exported."""
        for update in updates:
            self.doc.apply_update(update)

    def state(self) -> workload.FinalState:
        """Read every sale and every stock."""
        sales = sum(1 for held in self.held for sale in (held.to_py() or {}).values() if sale["total"] > 0)
        taken = [
            (int(key), int(value))
            for lane in range(1, LANES + 1)
            for key, value in (self._of_lane(lane).to_py() or {}).items()
        ]
        return workload.FinalState(sales, stock_of(taken))


class Plain(Nested):
    """Sales as plain values of the Map: a sale never changes, and so costs one item instead of five."""

    plain = True


SYSTEM = PythonSystem(
    "pycrdt",
    "pycrdt",
    ("merge", "growth"),
    {
        "merge": partial(layout.merge, Nested),
        "growth": partial(layout.growth, Nested),
        "state": partial(layout.restart, Nested),
    },
)
