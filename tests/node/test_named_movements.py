"""Movements with a name: two people who resolve the same thing the same way move the stock once."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from adapters.stock import StockItem
from tests.node.shop import STORE, add_product, balance, receive_units

if TYPE_CHECKING:
    from crdtsync.node import Node
    from tests.node.shop import Shop

LANES = ("caixa1", "caixa2")
EVERYWHERE = (STORE, *LANES)


async def open_all(shop: Shop, units: int) -> None:
    for name in ("gestao", *EVERYWHERE):
        await shop.open(name)
    await add_product(shop.nodes["gestao"])
    await receive_units(shop.nodes[STORE], units)
    await shop.even()


async def put(node: Node, units: int, name: str) -> Decimal:
    """Move under a name; return the balance as the transaction showed it."""
    async with node.transaction() as tx:
        item = await tx.get(StockItem, "p1")
        item.balance.add(units, cause="C01", once=name)
        return Decimal(str(item.balance))


async def test_two_lanes_that_resolve_the_same_offline_move_the_stock_once(shop: Shop) -> None:
    await open_all(shop, 10)
    for name in LANES:
        shop.network.partition(name)
        assert await put(shop.nodes[name], 3, "C01-abril") == 13
    for name in LANES:
        shop.network.heal(name)
    await shop.even()

    assert [await balance(shop.nodes[name]) for name in EVERYWHERE] == [13] * 3
    item = await shop.nodes[STORE].get(StockItem, "p1")
    assert item is not None
    assert item.conflicts == {}


async def test_a_transaction_shows_the_balance_that_a_name_used_before_will_have(shop: Shop) -> None:
    await open_all(shop, 10)
    loja = shop.nodes[STORE]
    await put(loja, 3, "C01-abril")
    loja.ledger.unload()

    async with loja.transaction() as tx:
        item = await tx.get(StockItem, "p1")
        shown = []
        for units, name in ((5, "C01-abril"), (1, "C01-abril"), (2, "C01-maio"), (0, "C01-abril")):
            item.balance.add(units, once=name)
            shown.append(int(item.balance))
        item.balance.count(100)
        item.balance.subtract(7, once="C01-maio")
        shown.append(int(item.balance))
    assert shown == [15, 11, 13, 12, 91]
    assert await balance(loja) == 91


async def test_a_new_record_can_begin_with_a_named_movement(shop: Shop) -> None:
    await open_all(shop, 1)
    await add_product(shop.nodes["gestao"], "p2")
    await shop.even()
    async with shop.nodes[STORE].transaction() as tx:
        item = tx.create(StockItem, product="p2")
        item.balance.add(4, once="inicial")
        assert item.balance == 4
    assert await balance(shop.nodes[STORE], "p2") == 4
