"""Who changed what of a record, when, and what lost."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from adapters.customers import Customer
from adapters.products import Product
from adapters.stock import StockItem
from crdtsync import limits
from crdtsync.errors import BadRequest, FieldError, RecordMissing
from crdtsync.node.verbs import BUILT_IN
from tests.node.shop import add_product, receive_units, sell

if TYPE_CHECKING:
    from crdtsync.node import Node
    from tests.node.shop import Shop


async def log(node: Node, category: str, key: str, **args: Any) -> list[dict[str, Any]]:
    answer = await BUILT_IN["log"](node, {"category": category, "key": key, **args})
    changes = answer["changes"]
    assert isinstance(changes, list)
    return changes


def said(changes: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(one["kind"], one["value"], one["state"], one["device"]) for one in changes]


def states(changes: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(one["value"], one["state"]) for one in changes]


async def test_a_value_that_was_replaced_is_told_beside_the_one_that_shows(shop: Shop) -> None:
    gestao = await shop.open("gestao")
    await add_product(gestao)
    async with gestao.transaction(actor="maria") as tx:
        (await tx.get(Product, "p1")).price = Decimal("27.50")
    changes = await log(gestao, "products", "p1", field="price")
    assert said(changes) == [
        ("write", "27.50", "current", "gestao"),
        ("write", "25.90", "replaced", "gestao"),
    ]
    assert [one["actor"] for one in changes] == ["maria", ""]
    assert changes[0]["at_ms"] >= changes[1]["at_ms"]
    assert {one["field"] for one in await log(gestao, "products", "p1")} >= {"name", "price"}


async def test_a_concurrent_value_that_lost_is_told_while_it_stands_and_after_it_was_settled(
    shop: Shop,
) -> None:
    gestao, loja = await shop.open("gestao"), await shop.open("loja1")
    async with gestao.transaction() as tx:
        tx.create(Customer, id="c1", name="Ana")
    await shop.even()
    await loja.pause()
    for node, name in ((gestao, "Ana Lima"), (loja, "Ana Luz")):
        async with node.transaction() as tx:
            (await tx.get(Customer, "c1")).name = name
    await loja.resume()
    await shop.even()
    shown = await gestao.get(Customer, "c1")
    assert shown is not None
    won = shown.name
    (lost,) = {"Ana Lima", "Ana Luz"} - {won}
    for node in (gestao, loja):
        assert states(await log(node, "customers", "c1", field="name")) == [
            (won, "current"),
            (lost, "concurrent"),
            ("Ana", "replaced"),
        ]
    async with gestao.transaction() as tx:
        (await tx.get(Customer, "c1")).name = "Ana Lima Luz"
    await shop.even()
    for node in (gestao, loja):
        assert states(await log(node, "customers", "c1", field="name")) == [
            ("Ana Lima Luz", "current"),
            (won, "replaced"),
            (lost, "lost"),
            ("Ana", "replaced"),
        ]


async def test_movements_and_counts_of_every_lane_are_told_with_their_cause(shop: Shop) -> None:
    gestao, loja = await shop.open("gestao"), await shop.open("loja1")
    caixa = await shop.open("caixa1")
    await add_product(gestao)
    await shop.even()
    await receive_units(loja, 5)
    await shop.even()
    await sell(caixa, "v1")
    await sell(caixa, "v2")
    async with caixa.transaction() as tx:
        (await tx.get(StockItem, "p1")).balance.count(9)
    await shop.even()
    told = [
        (one["kind"], one["value"], one["name"], one["device"]) for one in await log(gestao, "stock", "p1")
    ]
    assert told == [
        ("count", "9.000", None, "caixa1"),
        ("move", "-1.000", "v2", "caixa1"),
        ("move", "-1.000", "v1", "caixa1"),
        ("move", "5.000", "entrada", "loja1"),
        ("create", None, None, "loja1"),
    ]
    sale = (await log(gestao, "stock", "p1"))[1]
    assert any(doc.startswith("sales/") for doc in sale["also"])


async def test_deletion_and_restoration_are_told(shop: Shop) -> None:
    gestao = await shop.open("gestao")
    await add_product(gestao)
    async with gestao.transaction() as tx:
        (await tx.get(Product, "p1")).delete()
    assert [one["state"] for one in await log(gestao, "products", "p1") if one["kind"] == "delete"] == [
        "current"
    ]
    async with gestao.transaction() as tx:
        found = await tx.find(Product, "p1")
        assert found is not None
        found.restore()
    kinds = [one["kind"] for one in await log(gestao, "products", "p1")]
    assert kinds[:2] == ["restore", "delete"]


async def test_pages_cover_everything_once_and_a_wrong_one_is_refused(shop: Shop) -> None:
    loja = await shop.open("loja1")
    for number in range(7):
        await receive_units(loja, number + 1)
    seen: list[dict[str, Any]] = []
    after = None
    while True:
        answer = await BUILT_IN["log"](loja, {"category": "stock", "key": "p1", "limit": 3, "after": after})
        seen += answer["changes"]
        after = answer["after"]
        if after is None:
            break
    assert [one["value"] for one in seen] == [f"{number}.000" for number in range(7, 0, -1)] + [None]
    for wrong in ({"after": "x"}, {"limit": limits.PAGE_ROWS_MAX + 1}):
        with pytest.raises(BadRequest):
            await log(loja, "stock", "p1", **wrong)
    with pytest.raises(FieldError, match="did you mean 'balance'"):
        await log(loja, "stock", "p1", field="balanc")
    with pytest.raises(RecordMissing):
        await log(loja, "stock", "p2")


async def test_after_a_compaction_what_is_alive_is_told_and_what_was_replaced_is_not(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COMPACTION_CELLS_MIN", 3)
    monkeypatch.setattr(limits, "AT_WORK_SECONDS", 0.0)
    gestao = await shop.open("gestao")
    await add_product(gestao)
    for cents in range(10):
        async with gestao.transaction(actor="maria") as tx:
            (await tx.get(Product, "p1")).price = Decimal(f"30.0{cents}")
    assert len(await log(gestao, "products", "p1", field="price")) == 11
    await gestao.ledger.tidying.tidy()
    changes = await log(gestao, "products", "p1", field="price")
    assert said(changes) == [("write", "30.09", "current", "gestao")]
    assert (changes[0]["compacted"], changes[0]["actor"]) == (True, "")
    async with gestao.transaction(actor="maria") as tx:
        (await tx.get(Product, "p1")).price = Decimal("31.00")
    assert [one["value"] for one in await log(gestao, "products", "p1", field="price")] == ["31.00", "30.09"]
