"""Loro. Sales are plain values of a Map: they never change. Stock is one of its Counters for each product, which merge by adding.

Each sale is one commit. Merging uses `import_batch`, which its documentation recommends for many updates at once. Its network is
`loro_network.py`.
"""

from __future__ import annotations

from typing import Any

from benchmarks import workload
from benchmarks.workload import PRODUCTS


class Counters:
    """Sales as plain values, stock as Counters."""

    def __init__(self, *documents: Any, stock: Any = None) -> None:
        """Lay a document out, or several: the stock may have one of its own, and so may the sales of each lane."""
        # Optional: whoever only asks which systems there are needs none of them.
        import loro  # noqa: PLC0415

        self._loro: Any = loro
        self._doc: Any = documents[0] if documents else loro.LoroDoc()
        self._stock_doc: Any = self._doc if stock is None else stock
        self.held: list[Any] = [one.get_map("sales") for one in documents or (self._doc,)]
        self._sales: Any = self.held[0]
        self._stock: dict[int, Any] = {}

    def _of(self, product: int) -> Any:
        found = self._stock.get(product)
        if found is None:
            found = self._stock[product] = self._stock_doc.get_counter(f"stock.{product}")
        return found

    def sell(self, sale: workload.Sale, lane: int) -> None:
        """Write a sale and what it takes from the stock."""
        record = {
            "product": sale.product,
            "quantity": sale.quantity,
            "total": sale.total,
            "at_ms": sale.at_ms,
        }
        self._sales.insert(sale.key, record)
        self.take(sale.product, sale.quantity, lane)
        if self._doc is not self._stock_doc:
            self._doc.commit()

    def take(self, product: int, quantity: int, lane: int) -> None:  # noqa: ARG002 - other layouts need the lane
        """Take from the stock of a product."""
        self._of(product).decrement(quantity)
        self._stock_doc.commit()

    def export(self) -> bytes:
        """Return the whole document as a snapshot."""
        return bytes(self._doc.export(self._loro.ExportMode.Snapshot()))

    def merge(self, updates: list[bytes]) -> None:
        """Import what other replicas exported."""
        self._doc.import_batch(updates)

    def state(self) -> workload.FinalState:
        """Read every sale and every stock."""
        everything: dict[str, Any] = self._stock_doc.get_deep_value()
        sales = sum(1 for held in self.held for sale in held.get_deep_value().values() if sale["total"] > 0)
        stock = {
            product: workload.OPENING_BALANCE + int(everything.get(f"stock.{product}", 0))
            for product in range(PRODUCTS)
        }
        return workload.FinalState(sales, stock)
