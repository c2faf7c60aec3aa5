"""The kit itself: nodes that are apart do not hear each other, and are even again when together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.stock import StockItem
from tests.adapters.conflicts.kit import EVERYBODY, everywhere
from tests.node.shop import add_product, balance, receive_units

if TYPE_CHECKING:
    from tests.adapters.conflicts.kit import Store


async def test_what_is_written_apart_is_seen_together(store: Store) -> None:
    await add_product(store.gestao)
    await receive_units(store.loja, 1)
    await store.even()
    await store.apart()
    for lane in (store.caixa1, store.caixa2):
        async with lane.transaction() as tx:
            (await tx.get(StockItem, "p1")).balance.subtract(1)
    assert await balance(store.loja) == 1
    await store.nothing("C01")
    await store.together()
    assert (await everywhere(store, StockItem, "p1")).balance == -1
    assert set(await store.open_ids("C01")) == set(EVERYBODY)
