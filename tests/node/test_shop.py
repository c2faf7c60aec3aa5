"""A shop's nodes: the last unit sold twice, transactions whole at every node."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from adapters.products import Product
from adapters.sales import Sale
from adapters.stock import StockItem
from adapters.till_operations import TillOperation
from crdtsync import limits
from crdtsync.errors import RecordExists, RecordMissing
from tests.node.shop import STORE, add_product, balance, receive_units, sell, until

if TYPE_CHECKING:
    from crdtsync.node import Node
    from crdtsync.node.following import Following
    from crdtsync.state.document import Change
    from tests.node.shop import Shop

EVERYWHERE = ("gestao", STORE, "caixa1", "caixa2")


async def open_all(shop: Shop, units: int) -> None:
    """Gestão, Loja and two Caixas that hold one product with some units."""
    for name in EVERYWHERE:
        await shop.open(name)
    await add_product(shop.nodes["gestao"])
    await receive_units(shop.nodes[STORE], units)
    await shop.even()


async def sales_of(node: Node) -> set[str]:
    return {sale.id for sale in await node.find(Sale)}


async def test_the_last_unit_sold_offline_by_two_lanes_is_one_pendency_everywhere_until_a_restock(
    shop: Shop,
) -> None:
    await open_all(shop, 1)
    for name in ("caixa1", "caixa2"):
        shop.network.partition(name)
        await sell(shop.nodes[name], f"s-{name}")
        assert await shop.nodes[name].pendencies() == []
        assert await balance(shop.nodes[name]) == 0
    for name in ("caixa1", "caixa2"):
        shop.network.heal(name)
    await shop.even()
    found = {name: await shop.nodes[name].pendencies() for name in EVERYWHERE}
    assert [[row.id for row in rows] for rows in found.values()] == [[f"stock/{STORE}/p1#C01"]] * 4
    assert len({rows[0].evidence for rows in found.values()}) == 1
    assert [await balance(shop.nodes[name]) for name in EVERYWHERE] == [-1] * 4

    await receive_units(shop.nodes[STORE], 10)
    assert await shop.nodes[STORE].pendencies() == []
    await shop.even()
    assert [await shop.nodes[name].pendencies() for name in EVERYWHERE] == [[]] * 4
    assert [await balance(shop.nodes[name]) for name in EVERYWHERE] == [9] * 4


async def test_every_change_at_another_node_shows_whole_transactions(shop: Shop) -> None:
    await open_all(shop, 100)
    seen: dict[str, set[str]] = {"sales": set(), "till_operations": set()}
    halves: list[str] = []
    low = 100_000

    def watch(changes: list[Change]) -> None:
        nonlocal low
        for change in changes:
            for row in change.rows:
                if change.category == "stock":
                    low = min(low, row[2])
                else:
                    seen[change.category].add(row[1].removeprefix("v"))
        if seen["sales"] != seen["till_operations"] or low != 100_000 - 1000 * len(seen["sales"]):
            halves.append(f"{seen}, stock {low}")

    shop.nodes["gestao"].ledger.on_change.append(watch)
    for number in range(30):
        await sell(shop.nodes["caixa1"], f"s{number}")
        shop.nodes["caixa1"].request_check()
        shop.nodes[STORE].request_check()
    await shop.even()
    assert halves == []
    assert len(seen["sales"]) == 30


async def test_half_a_transaction_is_held_back_until_its_other_categories_arrive(shop: Shop) -> None:
    await open_all(shop, 1)
    shop.network.partition("caixa1")
    caixa, loja = shop.nodes["caixa1"], shop.nodes[STORE]
    await sell(caixa, "s1")
    shown: list[list[str]] = []
    loja.ledger.on_change.append(lambda changes: shown.append([c.category for c in changes if c.rows]))
    docs = ("stock/loja1", "sales/loja1/caixa1/2026-11", "till_operations/loja1/caixa1/2026-11")
    for doc in docs:
        assert await balance(loja) == 1
        assert await sales_of(loja) == set()
        assert await loja.get(TillOperation, "vs1") is None
        held = loja.ledger.vectors([doc])[doc]
        diff = await caixa.ledger.pieces(doc, held)
        for update, _ in diff.updates:
            await loja.ledger.receive(doc, update, lambda _replica: True)
    assert shown[:-1] == [[], []]
    assert sorted(shown[-1]) == ["sales", "stock", "till_operations"]
    assert await balance(loja) == 0
    assert await sales_of(loja) == {"s1"}


async def test_a_subscriber_of_one_category_finds_the_transactions_other_records(shop: Shop) -> None:
    await open_all(shop, 10)
    gestao = shop.nodes["gestao"]

    async def follow(changes: Following[Sale]) -> list[str]:
        found: list[str] = []
        async with aclosing(changes):
            async for sale in changes:
                operation = await gestao.get(TillOperation, f"v{sale.id}")
                assert operation is not None
                assert operation.amount == sale.total
                found.append(sale.id)
                if len(found) == 6:
                    return found
        return found

    following = asyncio.create_task(follow(gestao.changes(Sale)))
    for number in range(3):
        await sell(shop.nodes["caixa1"], f"a{number}")
        await sell(shop.nodes["caixa2"], f"b{number}")
    await shop.even()
    assert sorted(await asyncio.wait_for(following, 20)) == ["a0", "a1", "a2", "b0", "b1", "b2"]


async def test_a_transaction_that_fails_in_its_last_category_writes_none(shop: Shop) -> None:
    await open_all(shop, 5)
    caixa = shop.nodes["caixa1"]
    await sell(caixa, "s1")
    before = caixa.ledger.digest(caixa.ledger.heads)
    with pytest.raises(RecordMissing):
        await sell(caixa, "s2", product="nothing")
    with pytest.raises(RecordExists, match="s1: a record with this key exists"):
        await sell(caixa, "s1")
    assert await sales_of(caixa) == {"s1"}
    assert caixa.ledger.digest(caixa.ledger.heads) == before
    assert await balance(caixa) == 4


async def test_documents_that_leave_memory_come_back_as_they_were(shop: Shop) -> None:
    await open_all(shop, 3)
    ledger = shop.nodes[STORE].ledger
    before = {doc: await ledger.state_digest(doc) for doc in ("products", "stock/loja1")}
    assert ledger.loaded()
    ledger.unload()
    assert ledger.loaded() == []
    assert await balance(shop.nodes[STORE]) == 3
    shop.nodes["caixa1"].request_check()
    await sell(shop.nodes["caixa1"], "s1")
    await receive_units(shop.nodes[STORE], 1)
    await shop.even()
    assert await ledger.state_digest("products") == before["products"]
    assert await balance(shop.nodes[STORE]) == 3
    assert await shop.nodes["gestao"].count(StockItem) == 1


async def test_an_idle_check_loads_no_document(shop: Shop) -> None:
    await open_all(shop, 3)
    runs = shop.nodes["caixa1"].upstream.runs_ended if shop.nodes["caixa1"].upstream else 0
    for node in shop.nodes.values():
        node.ledger.unload()
    shop.nodes["caixa1"].request_check()
    link = shop.nodes["caixa1"].upstream
    assert link is not None
    await until(lambda: link.runs_ended > runs, "the check ends")
    assert [node.ledger.loaded() for node in shop.nodes.values()] == [[]] * 4
    assert await shop.nodes["caixa1"].count(Product) == 1


async def test_amounts_that_a_store_cannot_keep_the_sum_of_stop_nobody(shop: Shop) -> None:
    await open_all(shop, 3)
    most = 9_000_000_000_000_000
    for name in (STORE, "caixa1", "caixa2"):
        await receive_units(shop.nodes[name], most)
    await shop.even()
    greatest = Decimal(limits.AMOUNT_MAX).scaleb(-3)
    assert [await balance(shop.nodes[name]) for name in EVERYWHERE] == [greatest] * 4
    for name in ("caixa1", "caixa2"):
        async with shop.nodes[name].transaction() as tx:
            (await tx.get(StockItem, "p1")).balance.subtract(most, cause="erro")
    await shop.even()
    assert [await balance(shop.nodes[name]) for name in EVERYWHERE] == [most + 3] * 4
