"""Products and prices that two places change, or that are sold while they change."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from adapters.products import Product
from adapters.sale_corrections import CorrectionKind, SaleCorrection
from tests.adapters.conflicts import trade
from tests.adapters.conflicts.kit import CAIXA1, GESTAO, LOJA, OFFICE, everywhere
from tests.node.shop import WHEN

if TYPE_CHECKING:
    from adapters.sales import SaleLine
    from crdtsync.node import Node
    from crdtsync.storage import PendencyRow
    from tests.adapters.conflicts.kit import Store

SOLD_IT = (GESTAO, LOJA, CAIXA1)
"""Who holds what the first lane sold."""
TEN, TWELVE = Decimal(10), Decimal(12)


async def reprice(node: Node, price: Decimal, hours: float = 0) -> None:
    async with node.transaction() as tx:
        (await tx.get(Product, "p1")).reprice(price, WHEN + timedelta(hours=hours))


def listed(price: Decimal, **values: Decimal) -> SaleLine:
    said: dict[str, Any] = {"unit_price": price, "list_price": price, **values}
    return trade.line(quantity=2, **said)


async def sell_at_the_old_price(store: Store) -> PendencyRow:
    """The lane does not hear that rice is twelve since eleven o'clock, and sells two at noon for ten each."""
    await trade.product(store.gestao, price=TEN)
    await store.even()
    await store.apart()
    await reprice(store.gestao, TWELVE, hours=1)
    await trade.sell(store.caixa1, "s1", listed(TEN))
    await store.together()
    return await store.same("C03", SOLD_IT)


async def test_a_sale_at_a_price_that_had_changed_shows_both_prices(store: Store) -> None:
    found = await sell_at_the_old_price(store)
    assert found.severity == "M"
    assert "Arroz p1 por R$ 10,00, em vigor R$ 12,00" in found.message


@pytest.mark.parametrize(
    ("option", "values", "kind", "amount"),
    [
        ("manter", {}, None, None),
        ("desconto", {}, CorrectionKind.DESCONTO, 4),
        ("rever", {"valor": "22"}, CorrectionKind.DIFERENCA, -2),
    ],
)
async def test_each_answer_to_an_old_price_settles_it_and_leaves_the_sale_alone(
    store: Store, option: str, values: dict[str, str], kind: CorrectionKind | None, amount: int | None
) -> None:
    await store.settle(await sell_at_the_old_price(store), option, values=values)
    facts = await store.gestao.find(SaleCorrection)
    assert [(fact.kind, int(fact.amount)) for fact in facts] == ([] if kind is None else [(kind, amount)])


async def test_prices_of_before_the_change_and_promotions_open_nothing(store: Store) -> None:
    await trade.product(store.gestao, price=TEN)
    await store.even()
    await store.apart()
    await reprice(store.gestao, TWELVE, hours=3)
    await trade.sell(store.caixa1, "before", listed(TEN))
    await trade.sell(
        store.caixa2, "promotion", listed(TWELVE, unit_price=Decimal(9)), at=WHEN + timedelta(hours=4)
    )
    await trade.sell(
        store.caixa2, "unlisted", trade.line(unit_price=Decimal(7)), at=WHEN + timedelta(hours=5)
    )
    await store.together()
    await store.nothing("C03")


async def price_in_two_places(store: Store) -> PendencyRow:
    await trade.product(store.gestao)
    await store.even()
    await store.apart()
    await reprice(store.gestao, TEN)
    await reprice(store.loja, TWELVE)
    await store.together()
    return await store.same("C04")


@pytest.mark.parametrize(
    ("option", "values", "place"), [("a", {}, 0), ("b", {}, 1), ("outro", {"valor": "11.50"}, None)]
)
@pytest.mark.parametrize("at", OFFICE)
async def test_each_answer_to_two_prices_puts_one_in_force_everywhere(
    store: Store, option: str, values: dict[str, str], place: int | None, at: str
) -> None:
    found = await price_in_two_places(store)
    shown = (await everywhere(store, Product, "p1")).conflicts["price"]
    assert sorted(shown) == [TEN, TWELVE]
    await store.settle(found, option, at=at, values=values)
    product = await everywhere(store, Product, "p1")
    assert product.price == (Decimal("11.50") if place is None else shown[place])


async def test_two_people_who_keep_the_same_price_agree(store: Store) -> None:
    found = await price_in_two_places(store)
    await store.settle_apart(found, "b", at=OFFICE)
    assert not (await everywhere(store, Product, "p1")).conflicts.get("price")


async def test_the_same_price_at_two_places_or_one_after_the_other_opens_nothing(store: Store) -> None:
    await trade.product(store.gestao)
    await store.even()
    await reprice(store.loja, TEN)
    await store.even()
    await reprice(store.gestao, TWELVE)
    await store.even()
    await store.apart()
    for node in (store.gestao, store.loja):
        await reprice(node, TEN)
    await store.together()
    await store.nothing("C04")


async def delete_while_repricing(store: Store) -> PendencyRow:
    await trade.product(store.gestao)
    await trade.product(store.gestao, "p2")
    await store.even()
    await store.apart()
    async with store.gestao.transaction() as tx:
        (await tx.get(Product, "p1")).delete()
    await reprice(store.loja, TEN)
    await store.together()
    return await store.same("C05")


@pytest.mark.parametrize(
    ("option", "values", "active", "into"),
    [
        ("reativar", {}, True, None),
        ("inativo", {}, False, None),
        ("unir", {"produto": "p2"}, False, "p2"),
    ],
)
async def test_each_answer_to_a_product_deleted_while_it_was_edited_settles_it(
    store: Store, option: str, values: dict[str, str], *, active: bool, into: str | None
) -> None:
    await store.settle(await delete_while_repricing(store), option, at=GESTAO, values=values)
    product = await everywhere(store, Product, "p1")
    assert (product.active, product.merged_into, product.conflicts) == (active, into, {})


async def sell_what_was_withdrawn(store: Store, *, delete: bool = False) -> PendencyRow:
    """Gestão takes the product out at eleven, a lane that does not hear of it sells it at noon."""
    await trade.product(store.gestao)
    await trade.product(store.gestao, "p2")
    await store.even()
    await store.apart()
    async with store.gestao.transaction() as tx:
        gone = await tx.get(Product, "p1")
        gone.withdraw(WHEN + timedelta(hours=1))
        if delete:
            gone.delete()
    await trade.sell(store.caixa1, "s1")
    await store.together()
    return await store.same("C05", SOLD_IT)


@pytest.mark.parametrize("delete", [False, True], ids=["inactive", "deleted"])
@pytest.mark.parametrize(
    ("option", "values", "active"),
    [("reativar", {}, True), ("inativo", {}, False), ("unir", {"produto": "p2"}, False)],
)
async def test_each_answer_to_a_sale_of_a_withdrawn_product_settles_it(
    store: Store, option: str, values: dict[str, str], *, active: bool, delete: bool
) -> None:
    store.clock(GESTAO).advance(timedelta(hours=3))
    found = await sell_what_was_withdrawn(store, delete=delete)
    await store.settle(found, option, at=GESTAO, values=values)
    async with store.gestao.transaction() as tx:
        product = await tx.find(Product, "p1")
        assert product is not None
        assert product.active is active
        assert product.merged_into == values.get("produto")


async def test_a_product_sold_before_it_left_and_one_that_nobody_sold_open_nothing(store: Store) -> None:
    await trade.product(store.gestao)
    await trade.product(store.gestao, "p2")
    await store.even()
    await store.apart()
    async with store.gestao.transaction() as tx:
        (await tx.get(Product, "p1")).withdraw(trade.NOON + timedelta(seconds=1))
        (await tx.get(Product, "p2")).withdraw(WHEN)
    await trade.sell(store.caixa1, "s1")
    await store.together()
    await store.nothing("C05")


async def same_gtin(store: Store) -> PendencyRow:
    """The second code is the first in fourteen digits."""
    await trade.product(store.gestao, "p1", gtin="7891000315507")
    await trade.product(store.gestao, "p2", gtin="07891000315507")
    await store.even()
    return await store.same("C06")


@pytest.mark.parametrize(
    ("option", "values", "left"),
    [
        ("unificar", {"fica": "p1"}, (False, "07891000315507", "p1")),
        ("tirar", {"fica": "p1"}, (True, "SEM GTIN", None)),
        ("manter", {}, (True, "07891000315507", None)),
    ],
)
async def test_each_answer_to_one_bar_code_in_two_products_settles_it(
    store: Store, option: str, values: dict[str, str], left: tuple[bool, str, str | None]
) -> None:
    await store.settle(await same_gtin(store), option, at=GESTAO, values=values)
    other = await everywhere(store, Product, "p2")
    assert (other.active, other.gtin, other.merged_into) == left
    assert (await everywhere(store, Product, "p1")).active


async def test_other_codes_no_code_and_inactive_products_open_no_c06(store: Store) -> None:
    await trade.product(store.gestao, "p1", gtin="7891000315507")
    await trade.product(store.gestao, "p2", gtin="07891000315507", active=False)
    await trade.product(store.gestao, "p3", gtin="78910119")
    for key in ("p4", "p5"):
        await trade.product(store.gestao, key, gtin="SEM GTIN")
    await trade.product(store.gestao, "p6")
    await store.even()
    await store.nothing("C06")
