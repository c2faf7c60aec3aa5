"""C26: a station whose clock is wrong, measured by the node above it when they greet."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from crdtsync.pendencies.records import CLOCK_CORRECTED, WRONG_CLOCK, Incident
from tests.adapters.conflicts.kit import CAIXA1, EVERYBODY, GESTAO, LOJA, everywhere
from tests.node.shop import until

if TYPE_CHECKING:
    from crdtsync.storage import PendencyRow
    from tests.adapters.conflicts.kit import Store


async def greet_again(store: Store, name: str) -> None:
    """Let a node lose its link and say hello again."""
    store.network.partition(name)
    await until(lambda: not store.nodes[name].connected, f"{name} is down")
    store.network.heal(name)
    store.nodes[name].request_check()
    await until(lambda: store.nodes[name].connected, f"{name} is back")
    await store.even()


async def incidents(store: Store) -> int:
    return await store.gestao.count(Incident)


async def clock_set_wrong(store: Store, by: timedelta) -> PendencyRow:
    store.clock(CAIXA1).advance(by)
    await greet_again(store, CAIXA1)
    deadline = 200
    while not await incidents(store) and deadline:
        deadline -= 1
        await store.even()
    # The head office may have had it a moment before the lanes.
    await store.even()
    return await store.same("C26")


@pytest.mark.parametrize(("minutes", "said"), [(9, "9 min adiantado"), (-3, "3 min atrasado")])
async def test_a_station_with_a_wrong_clock_is_one_pendency_at_every_node_of_the_store(
    store: Store, minutes: int, said: str
) -> None:
    found = await clock_set_wrong(store, timedelta(minutes=minutes))
    assert f"estação caixa1 está {said} em relação a loja1" in found.message
    assert found.severity == "M"
    await greet_again(store, CAIXA1)
    await greet_again(store, CAIXA1)
    assert await incidents(store) == 1
    assert await store.same("C26") == found


async def test_the_difference_is_written_down_as_another_fact(store: Store) -> None:
    found = await clock_set_wrong(store, timedelta(minutes=9))
    await store.settle(found, "corrigir")
    (correction,) = await store.gestao.find(Incident, kind=CLOCK_CORRECTED)
    assert correction.details["segundos"] == pytest.approx(-540, abs=2)
    assert correction.details["ocorrencia"].startswith(f"{WRONG_CLOCK}-caixa1-2026-11-24")
    await everywhere(store, Incident, correction.id)


async def test_two_people_who_correct_apart_write_one_correction(store: Store) -> None:
    await store.settle_apart(
        await clock_set_wrong(store, timedelta(minutes=9)), "corrigir", at=(GESTAO, LOJA)
    )
    assert len(await store.gestao.find(Incident, kind=CLOCK_CORRECTED)) == 1


async def test_times_may_stay_as_they_are_until_the_clock_is_wrong_on_another_day(store: Store) -> None:
    await store.settle(await clock_set_wrong(store, timedelta(minutes=9)), "manter")
    await greet_again(store, CAIXA1)
    await store.nothing("C26")
    for name in EVERYBODY:
        store.clock(name).advance(timedelta(days=1))
    await greet_again(store, CAIXA1)
    while await incidents(store) < 2:
        await store.even()
    await store.even()
    await store.same("C26")


async def test_a_clock_within_two_minutes_opens_nothing(store: Store) -> None:
    store.clock(CAIXA1).advance(timedelta(seconds=118))
    store.clock("caixa2").advance(timedelta(seconds=-118))
    for name in (CAIXA1, "caixa2"):
        await greet_again(store, name)
    assert await incidents(store) == 0
    await store.nothing("C26")
