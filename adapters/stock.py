"""Estoque: units of each product in each store, moved by sales and entries and set by counts.

It never holds a balance that somebody assigned: two lanes that sell at once both move it.
"""

from __future__ import annotations

from adapters.products import Product
from crdtsync import Counter, Entity, Key, Records, Ref, Role, by_store, invariant


class StockItem(
    Entity, category="stock", title="Estoque", writers={Role.LOJA, Role.CAIXA}, partition=by_store, upload=5
):
    """Units of one product in one store. Sales never wait for the network, so it may go below zero."""

    product = Key(Ref(Product))
    balance = Counter(scale=3)  # add(), subtract(), count(); no assignment

    @invariant("C01", title="Estoque abaixo de zero", owner=Role.LOJA, watch=("product",))
    def balance_not_negative(self, records: Records) -> bool:
        """Two lanes may each sell the last unit while offline; both sales stand."""
        if self.balance >= 0:
            return True
        product = records.get(Product, self.product)
        return product is not None and not product.controls_stock
