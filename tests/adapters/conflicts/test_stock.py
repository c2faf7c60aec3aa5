"""Stock that two lanes, or a lane and who counts, move without hearing each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters.products import Product
from adapters.sale_corrections import CorrectionKind, SaleCorrection
from adapters.stock import StockItem
from tests.adapters.conflicts import trade
from tests.adapters.conflicts.kit import CAIXA1, EVERYBODY, LOJA, OFFICE, everywhere
from tests.node.shop import balance

if TYPE_CHECKING:
    from decimal import Decimal

    from crdtsync.storage import PendencyRow
    from tests.adapters.conflicts.kit import Store


async def oversell(store: Store, **product: Any) -> None:
    """One unit, sold by both lanes."""
    await trade.product(store.gestao, **product)
    await trade.receive(store.loja, 1)
    await store.even()
    await store.apart()
    await trade.sell(store.caixa1, "s1")
    await trade.sell(store.caixa2, "s2")
    await store.together()


async def stock(store: Store) -> Decimal:
    return (await everywhere(store, StockItem, "p1")).balance


async def test_the_last_unit_sold_by_two_lanes_is_one_pendency_everywhere(store: Store) -> None:
    await oversell(store)
    found = await store.same("C01")
    assert (found.severity, found.owner) == ("M", "loja")
    assert "Arroz p1 está com saldo -1" in found.message
    assert found.effect.startswith("As vendas valem")


@pytest.mark.parametrize(
    ("option", "values", "left"),
    [
        ("aceitar", {}, -1),
        ("ajuste", {"quantidade": "1"}, 0),
        ("entrada", {"documento": "NF 77", "quantidade": "12"}, 11),
        ("devolver", {"venda": "s2"}, 0),
    ],
)
async def test_each_answer_to_an_oversell_settles_it_everywhere(
    store: Store, option: str, values: dict[str, str], left: int
) -> None:
    await oversell(store)
    await store.settle(await store.same("C01"), option, values=values)
    assert await stock(store) == left


async def test_a_returned_sale_is_a_fact_beside_it(store: Store) -> None:
    await oversell(store)
    await store.settle(await store.same("C01"), "devolver", values={"venda": "s2"})
    (returned,) = await store.loja.find(SaleCorrection, sale="s2")
    assert (returned.kind, returned.amount) == (CorrectionKind.DEVOLUCAO, trade.PRICE)
    assert returned.reason == "conferido com a equipe"
    assert (await everywhere(store, SaleCorrection, returned.id, OFFICE)).person == "maria"


@pytest.mark.parametrize(
    ("option", "values"),
    [("ajuste", {"quantidade": "1"}), ("entrada", {"documento": "NF 77", "quantidade": "1"})],
)
async def test_two_people_who_adjust_the_same_oversell_move_the_stock_once(
    store: Store, option: str, values: dict[str, str]
) -> None:
    await oversell(store)
    await store.settle_apart(await store.same("C01"), option, at=(LOJA, CAIXA1), values=values)
    assert await stock(store) == 0


async def test_another_oversell_is_another_episode(store: Store) -> None:
    await oversell(store)
    first = await store.same("C01")
    await store.settle(first, "aceitar")
    await trade.sell(store.caixa1, "s3")
    await store.even()
    second = await store.same("C01")
    assert (second.id, second.episode != first.episode) == (first.id, True)


async def test_a_sale_that_empties_the_shelf_or_of_a_product_without_control_opens_nothing(
    store: Store,
) -> None:
    await trade.receive(store.loja, 2)
    await oversell(store, controls_stock=False)
    await trade.product(store.gestao, "p2")
    await trade.receive(store.loja, 1, "p2")
    await store.even()
    await trade.sell(store.caixa1, "s3", trade.line("p2"))
    await store.even()
    assert await balance(store.gestao, "p2") == 0
    await store.nothing("C01")


async def test_a_product_that_starts_to_control_its_stock_is_looked_at_again(store: Store) -> None:
    await oversell(store, controls_stock=False)
    async with store.gestao.transaction() as tx:
        (await tx.get(Product, "p1")).controls_stock = True
    await store.even()
    await store.same("C01")


async def count_while_selling(store: Store) -> PendencyRow:
    """Ten units; one lane sells two while somebody counts nine."""
    await trade.product(store.gestao)
    await trade.receive(store.loja, 10)
    await store.even()
    await store.apart()
    await trade.sell(store.caixa1, "s1", trade.line(quantity=2))
    await trade.count(store.loja, 9)
    await store.together()
    return await store.same("C02")


@pytest.mark.parametrize(
    ("option", "values", "left"),
    [("contados", {}, 9), ("somar", {}, 7), ("recontar", {"contagem": "8"}, 8)],
)
async def test_each_answer_to_a_count_that_did_not_see_sales_settles_it(
    store: Store, option: str, values: dict[str, str], left: int
) -> None:
    found = await count_while_selling(store)
    assert await stock(store) == 7
    assert "contagem deu 9 sem ver um movimento de -2" in found.message
    await store.settle(found, option, values=values)
    assert await stock(store) == left


async def test_two_people_who_say_that_the_sales_were_counted_take_them_back_once(store: Store) -> None:
    await store.settle_apart(await count_while_selling(store), "contados", at=(LOJA, CAIXA1))
    assert await stock(store) == 9


async def test_two_counts_are_a_pendency_until_somebody_counts_again(store: Store) -> None:
    await trade.product(store.gestao)
    await trade.receive(store.loja, 10)
    await store.even()
    await store.apart()
    await trade.count(store.loja, 9)
    await trade.count(store.caixa1, 8)
    await store.together()
    found = await store.same("C02")
    assert "contagens diferentes" in found.message
    await store.settle(found, "recontar", values={"contagem": "8"})
    assert await stock(store) == 8


async def test_a_count_that_saw_every_sale_and_sales_after_it_open_nothing(store: Store) -> None:
    await trade.product(store.gestao)
    await trade.receive(store.loja, 10)
    await store.even()
    await trade.sell(store.caixa1, "s1", trade.line(quantity=2))
    await store.even()
    await trade.count(store.loja, 8)
    await store.even()
    await trade.sell(store.caixa2, "s2")
    await store.even()
    assert await stock(store) == 7
    await store.nothing("C02")


async def test_two_counts_of_the_same_number_open_nothing(store: Store) -> None:
    await trade.product(store.gestao)
    await trade.receive(store.loja, 10)
    await store.even()
    await store.apart(*EVERYBODY)
    await trade.count(store.loja, 10)
    await trade.count(store.caixa1, 10)
    await store.together()
    await store.nothing("C02")
