"""C23: a cost or profit center that Gestão deleted while a store charged something to it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from adapters.cost_centers import CostCenter
from adapters.profit_centers import ProfitCenter
from adapters.receivables import Receivable
from adapters.till_operations import TillOperation, TillOperationKind
from crdtsync.errors import FieldError, PendencyMissing, RecordMissing
from tests.adapters.conflicts.kit import EVERYBODY, GESTAO, everywhere
from tests.node.shop import WHEN

if TYPE_CHECKING:
    from crdtsync.node import Node
    from crdtsync.storage import PendencyRow
    from tests.adapters.conflicts.kit import Store


async def pay_expense(lane: Node, operation: str, center: str) -> None:
    async with lane.transaction() as tx:
        tx.create(
            TillOperation,
            id=operation,
            kind=TillOperationKind.SANGRIA,
            happened_at=WHEN,
            shift="t1",
            amount=Decimal(80),
            reason="conserto da balança",
            cost_center=center,
        )


async def expense_of_a_deleted_center(store: Store) -> PendencyRow:
    async with store.gestao.transaction() as tx:
        tx.create(CostCenter, id="manut", name="Manutenção")
        tx.create(CostCenter, id="geral", name="Geral")
    await store.even()
    await store.apart()
    async with store.gestao.transaction() as tx:
        (await tx.get(CostCenter, "manut")).delete()
    await pay_expense(store.caixa1, "s1", "manut")
    await pay_expense(store.caixa2, "s2", "manut")
    await store.together()
    # Only the head office holds the entries of all stores, and only it writes centers.
    return await store.same("C23", at=(GESTAO,))


async def test_a_cost_center_deleted_while_a_lane_charged_to_it_comes_back(store: Store) -> None:
    found = await expense_of_a_deleted_center(store)
    assert "“Manutenção” foi excluído e há lançamentos que o usam" in found.message
    assert found.records.count("till_operations/") == 2
    await store.settle(found, "restaurar", at=GESTAO)
    center = await everywhere(store, CostCenter, "manut")
    assert center.is_open(date(2026, 11, 24))


async def test_what_was_charged_to_it_counts_for_another_center_and_no_fact_is_edited(store: Store) -> None:
    await store.settle(
        await expense_of_a_deleted_center(store), "transferir", at=GESTAO, values={"centro": "geral"}
    )
    center = await everywhere(store, CostCenter, "manut")
    assert (center.active, center.transferred_to) == (False, "geral")
    assert not center.is_open(date(2026, 11, 24))
    operations = await store.gestao.find(TillOperation, cost_center="manut")
    assert sum(operation.amount for operation in operations) == 160


async def test_a_center_is_closed_from_a_date_on(store: Store) -> None:
    await store.settle(
        await expense_of_a_deleted_center(store), "inativar", at=GESTAO, values={"data": "2026-12-01"}
    )
    center = await everywhere(store, CostCenter, "manut")
    assert center.is_open(date(2026, 11, 30))
    assert not center.is_open(date(2026, 12, 1))


async def test_a_transfer_needs_another_center_that_is_there_and_the_date_a_date(store: Store) -> None:
    found = await expense_of_a_deleted_center(store)
    for option, values, error in (
        ("transferir", {"centro": "nenhum"}, RecordMissing),
        ("inativar", {"data": "amanhã"}, FieldError),
    ):
        with pytest.raises(error):
            await store.gestao.resolve(found.id, option, why="conferido", person="maria", values=values)
    with pytest.raises(PendencyMissing):
        await store.loja.resolve(found.id, "restaurar", why="conferido", person="maria")
    assert await store.same("C23", at=(GESTAO,)) == found


async def test_a_profit_center_deleted_while_a_store_credited_to_it_comes_back(store: Store) -> None:
    async with store.gestao.transaction() as tx:
        tx.create(ProfitCenter, id="atacado", name="Atacado")
    await store.even()
    await store.apart()
    async with store.gestao.transaction() as tx:
        (await tx.get(ProfitCenter, "atacado")).delete()
    async with store.loja.transaction() as tx:
        tx.create(
            Receivable,
            id="r1",
            number="1/1",
            customer="c1",
            issued_on=date(2026, 11, 24),
            due_on=date(2026, 12, 24),
            value=Decimal(500),
            profit_center="atacado",
        )
    await store.together()
    found = await store.same("C23", at=(GESTAO,))
    assert found.title == "Centro de lucro excluído em uso"
    await store.settle(found, "restaurar", at=GESTAO)
    await everywhere(store, ProfitCenter, "atacado", at=EVERYBODY)


async def test_a_center_that_was_deleted_after_its_last_entry_was_moved_opens_nothing(store: Store) -> None:
    async with store.gestao.transaction() as tx:
        tx.create(CostCenter, id="manut", name="Manutenção")
        tx.create(CostCenter, id="geral", name="Geral")
    await store.even()
    await store.apart()
    async with store.gestao.transaction() as tx:
        (await tx.get(CostCenter, "manut")).delete()
    await pay_expense(store.caixa1, "s1", "geral")
    await store.together()
    await store.nothing("C23")
