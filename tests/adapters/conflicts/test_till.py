"""Shifts that are closed without all their operations, and tills that are open twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adapters.till_operations import TillOperation, TillOperationKind
from tests.adapters.conflicts import trade
from tests.adapters.conflicts.kit import CAIXA1, OFFICE, everywhere

if TYPE_CHECKING:
    from crdtsync.storage import PendencyRow
    from tests.adapters.conflicts.kit import Store

ABERTURA, FECHAMENTO = TillOperationKind.ABERTURA, TillOperationKind.FECHAMENTO
RECEBIMENTO, SUPRIMENTO = TillOperationKind.RECEBIMENTO, TillOperationKind.SUPRIMENTO


async def close_without_the_last(store: Store) -> PendencyRow:
    """The office closes the first lane's shift with two operations; the lane, without network, had a third."""
    await trade.till(store.caixa1, "a1", ABERTURA, 100)
    await trade.till(store.caixa1, "r1", RECEBIMENTO, 50)
    await store.even()
    await store.apart()
    await trade.till(store.caixa1, "r2", RECEBIMENTO, 30)
    await trade.till(store.loja, "f1", FECHAMENTO, 150, till=CAIXA1, counted=2)
    await store.together()
    return await store.same("C11", OFFICE)


async def added(store: Store) -> list[tuple[str, str, int]]:
    """Kind, shift and amount of the operations that a decision wrote."""
    operations = await store.gestao.find(TillOperation, operator="maria")
    assert all([await everywhere(store, TillOperation, one.id, OFFICE) for one in operations])
    return sorted((str(one.kind), one.shift, int(one.amount)) for one in operations)


@pytest.mark.parametrize(
    ("option", "values", "written"),
    [
        ("reabrir", {}, [("abertura", "t1", 150)]),
        ("marcar", {"turno": "t2"}, [("fechamento", "t1", 150), ("suprimento", "t2", 30)]),
        ("complementar", {}, [("fechamento", "t1", 180)]),
    ],
)
async def test_each_answer_to_an_operation_after_the_closing_settles_it(
    store: Store, option: str, values: dict[str, str], written: list[tuple[str, str, int]]
) -> None:
    found = await close_without_the_last(store)
    assert "fechou com 2 operações e tem 3; declarou R$ 150,00, e elas somam R$ 180,00" in found.message
    await store.settle(found, option, values=values)
    assert await added(store) == written
    assert (await everywhere(store, TillOperation, "f1", OFFICE)).amount == 150


async def test_a_reopened_shift_is_closed_with_all_its_operations(store: Store) -> None:
    await store.settle(await close_without_the_last(store), "reabrir")
    await trade.till(store.caixa1, "r3", RECEBIMENTO, 20)
    await store.even()
    await store.nothing("C11")
    await trade.till(store.caixa1, "f2", FECHAMENTO, 180, counted=3)
    await store.even()
    assert "fechou com 3 operações e tem 4" in (await store.same("C11", (*OFFICE,))).message


async def test_closings_that_summed_all_or_say_nothing_open_nothing(store: Store) -> None:
    for shift, counted in (("t1", 2), ("t2", None)):
        await trade.till(store.caixa1, f"a-{shift}", ABERTURA, 100, shift=shift)
        await trade.till(store.caixa1, f"s-{shift}", SUPRIMENTO, 50, shift=shift)
        await trade.till(store.caixa1, f"f-{shift}", FECHAMENTO, 150, shift=shift, counted=counted)
    await trade.till(store.caixa2, "other lane", ABERTURA, 100)
    await trade.till(store.caixa1, "next shift", ABERTURA, 100, shift="t3")
    await store.even()
    await store.nothing("C11")


async def open_one_till_twice(store: Store) -> PendencyRow:
    """Both lanes open the till of the counter."""
    await store.apart()
    await trade.till(store.caixa1, "a1", ABERTURA, 100, shift="t1", till="balcao")
    await trade.till(store.caixa2, "a2", ABERTURA, 80, shift="t2", till="balcao")
    await store.together()
    return await store.same("C12", OFFICE)


@pytest.mark.parametrize(
    ("option", "values", "written"),
    [
        ("unir", {}, [("fechamento", "t2", 0)]),
        ("separar", {"caixa": "quiosque"}, [("abertura", "t2-quiosque", 80), ("fechamento", "t2", 0)]),
        ("encerrar", {"turno": "t1", "valor": "100"}, [("fechamento", "t1", 100)]),
    ],
)
async def test_each_answer_to_a_till_open_twice_settles_it(
    store: Store, option: str, values: dict[str, str], written: list[tuple[str, str, int]]
) -> None:
    found = await open_one_till_twice(store)
    assert "caixa1 (turno t1) e caixa2 (turno t2)" in found.message
    await store.settle(found, option, values=values)
    assert await added(store) == written
    await store.nothing("C11")


async def test_a_till_that_another_station_opens_under_the_lanes_name_is_found(store: Store) -> None:
    await store.apart()
    await trade.till(store.caixa1, "a1", ABERTURA, 100, shift="t1")
    await trade.till(store.loja, "a2", ABERTURA, 80, shift="t2", till=CAIXA1)
    await store.together()
    await store.same("C12", OFFICE)


async def test_two_tills_and_a_till_that_changes_stations_open_nothing(store: Store) -> None:
    await store.apart()
    await trade.till(store.caixa1, "a1", ABERTURA, 100, shift="t1", till="balcao")
    await trade.till(store.caixa1, "f1", FECHAMENTO, 100, shift="t1", till="balcao")
    await trade.till(store.caixa2, "a2", ABERTURA, 100, shift="t2", till="balcao")
    await trade.till(store.caixa1, "a3", ABERTURA, 100, shift="t3", till="quiosque")
    await store.together()
    await store.nothing("C12")
