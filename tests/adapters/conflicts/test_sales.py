"""Sales that come back twice, arrive twice, or share a fiscal number."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from adapters.customers import Customer
from adapters.sale_corrections import CorrectionKind, SaleCorrection, standing_returns
from adapters.sales import Sale
from adapters.stock import StockItem
from adapters.till_operations import TillOperation, TillOperationKind
from tests.adapters.conflicts import trade
from tests.adapters.conflicts.kit import CAIXA1, CAIXA2, GESTAO, LOJA, OFFICE, everywhere

if TYPE_CHECKING:
    from crdtsync.storage import PendencyRow
    from tests.adapters.conflicts.kit import Store

SOLD_IT = (GESTAO, LOJA, CAIXA1)
FISCAL: dict[str, Any] = {"issuer": "12ABC34501DE35", "model": "65", "series": 1, "number": 42}
KEYS = (
    "35260812ABC34501DE35650010000000421123456783",
    "35260812ABC34501DE35650010000000421876543217",
)


async def stock(store: Store) -> Decimal:
    return (await everywhere(store, StockItem, "p1")).balance


async def facts(store: Store) -> list[tuple[CorrectionKind, str, Decimal]]:
    return [(fact.kind, fact.sale, fact.amount) for fact in await store.gestao.find(SaleCorrection)]


async def return_twice(store: Store) -> PendencyRow:
    """Two units sold; each lane takes two back."""
    await trade.product(store.gestao)
    await trade.customer(store.gestao)
    await trade.receive(store.loja, 10)
    await store.even()
    await trade.sell(store.caixa1, "s1", trade.line(quantity=2))
    await store.even()
    await store.apart()
    await trade.give_back(store.caixa1, "d1", "s1", units=2)
    await trade.give_back(store.caixa2, "d2", "s1", units=2, at=trade.NOON + timedelta(hours=1))
    await store.together()
    return await store.same("C07", OFFICE)


@pytest.mark.parametrize(
    ("option", "values", "left", "credit"),
    [
        ("estornar", {}, 10, 0),
        ("credito", {"cliente": "ana"}, 12, Decimal("51.80")),
        ("fraude", {}, 10, 0),
    ],
)
async def test_each_answer_to_a_sale_returned_twice_settles_it(
    store: Store, option: str, values: dict[str, str], left: int, credit: Decimal
) -> None:
    found = await return_twice(store)
    assert "vendido 2, devolvido 4" in found.message
    await store.settle(found, option, values=values)
    assert [one.id for one in standing_returns(await store.loja.find(SaleCorrection))] == ["d1"]
    assert await stock(store) == left
    assert (await everywhere(store, Customer, "ana")).credit == credit


async def test_a_return_that_arrives_before_its_sale_is_looked_at_when_the_sale_comes(store: Store) -> None:
    await trade.product(store.gestao)
    await store.even()
    await store.apart(CAIXA1)
    await trade.sell(store.caixa1, "s1")
    await trade.give_back(store.caixa2, "d2", "s1", units=2)
    await store.even([GESTAO, LOJA, CAIXA2])
    await store.nothing("C07")
    await store.together()
    await store.same("C07", OFFICE)


async def test_returns_in_parts_of_what_was_sold_open_nothing(store: Store) -> None:
    await trade.product(store.gestao)
    await store.even()
    await trade.sell(store.caixa1, "s1", trade.line(quantity=2))
    await store.even()
    await store.apart()
    await trade.give_back(store.caixa1, "d1", "s1")
    await trade.give_back(store.caixa2, "d2", "s1")
    await store.together()
    await store.nothing("C07")


async def send_twice(store: Store) -> PendencyRow:
    """The lane's program repeats a sale four seconds later, under another number."""
    await trade.product(store.gestao)
    await trade.receive(store.loja, 10)
    await store.even()
    await store.apart()
    await trade.sell(store.caixa1, "s1")
    await trade.sell(store.caixa1, "s2", at=trade.NOON + timedelta(seconds=4))
    await store.together()
    return await store.same("C13", SOLD_IT)


@pytest.mark.parametrize(("option", "left"), [("mesma", 9), ("duas", 8)])
async def test_each_answer_to_a_sale_sent_twice_settles_it(store: Store, option: str, left: int) -> None:
    await store.settle(await send_twice(store), option)
    assert await stock(store) == left
    taken = [amount for kind, _, amount in await facts(store) if kind is CorrectionKind.REPETICAO]
    sold = sum((sale.total for sale in await store.gestao.find(Sale)), Decimal(0))
    assert sold - sum(taken) == trade.PRICE * (10 - left)


async def test_sales_that_differ_in_lane_lines_customer_or_time_open_no_c13(store: Store) -> None:
    await trade.product(store.gestao)
    await trade.customer(store.gestao)
    await store.even()
    await store.apart()
    at = trade.NOON + timedelta(seconds=1)
    await trade.sell(store.caixa1, "s1")
    await trade.sell(store.caixa2, "other lane", at=at)
    await trade.sell(store.caixa1, "other lines", trade.line(quantity=2), at=at)
    await trade.sell(store.caixa1, "other customer", at=at, customer="ana")
    await trade.sell(store.caixa1, "later", at=trade.NOON + timedelta(seconds=6))
    await store.together()
    await store.nothing("C13")


async def share_a_number(store: Store) -> PendencyRow:
    """Two lanes that were given one series."""
    await trade.product(store.gestao)
    await store.even()
    await store.apart()
    await trade.sell(store.caixa1, "s1", access_key=KEYS[0], **FISCAL)
    await trade.sell(store.caixa2, "s2", access_key=KEYS[1], **FISCAL)
    await store.together()
    return await store.same("C14", OFFICE)


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ("reemitir", CorrectionKind.REEMISSAO),
        ("inutilizar", CorrectionKind.INUTILIZACAO),
        ("cancelar", CorrectionKind.CANCELAMENTO),
    ],
)
async def test_each_answer_to_a_repeated_fiscal_number_is_a_fact_about_the_other_sale(
    store: Store, option: str, kind: CorrectionKind
) -> None:
    found = await share_a_number(store)
    assert found.severity == "B"
    await store.settle(found, option, values={"autorizada": "s1"})
    assert await facts(store) == [(kind, "s2", Decimal(0))]


async def test_what_depends_on_a_sale_whose_number_is_repeated_waits_until_that_is_settled(
    store: Store,
) -> None:
    found = await share_a_number(store)
    for sale in ("s1", "s2", "other"):
        await trade.till(store.loja, f"o-{sale}", TillOperationKind.VENDA, 9, sale=sale)
    await store.even()
    for node in (store.gestao, store.loja):
        assert await node.waits_for(TillOperation, "o-s2") == [found.id]
        assert await node.waits_for(TillOperation, "o-other") == []
    await store.settle(found, "reemitir", values={"autorizada": "s1"})
    for node in (store.gestao, store.loja):
        assert await node.waits_for(TillOperation, "o-s2") == []


async def test_the_same_document_in_two_sales_and_other_numbers_open_nothing(store: Store) -> None:
    await trade.product(store.gestao)
    await store.even()
    await store.apart()
    await trade.sell(store.caixa1, "s1", access_key=KEYS[0], **FISCAL)
    await trade.sell(store.caixa2, "s2", access_key=KEYS[0], **FISCAL)
    await trade.sell(store.caixa2, "s3", **(FISCAL | {"series": 2}))
    await store.together()
    await store.nothing("C14")
