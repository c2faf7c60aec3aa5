"""A node whose clock runs years ahead loses no sale and wins no edit; everybody else's clock stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adapters.customers import Customer
from adapters.sales import Sale
from crdtsync.node.clock import SystemClock
from crdtsync.state.ceilings import FIELD, KEY
from crdtsync.state.document import Op
from crdtsync.state.hlc import stamp_ms
from tests.node.shop import STORE, add_product, balance, is_even, receive_units, sell, told, until

if TYPE_CHECKING:
    from crdtsync.node import Node
    from tests.node.shop import Shop

NINE_YEARS_MS = 9 * 365 * 86_400_000 + 3_600_000
DAY_MS = 86_400_000
EVERYWHERE = ("gestao", STORE, "caixa1", "caixa2")


class WrongClock(SystemClock):
    """The machine's clock, wrong by some milliseconds."""

    def __init__(self, skew_ms: int) -> None:
        super().__init__()
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        return super().now_ms() + self.skew_ms


def is_of_today(node: Node) -> bool:
    """Tell whether the stamps that a node issues are of these days, whatever its machine says."""
    return abs(stamp_ms(node.ledger.hlc.last) - SystemClock().now_ms()) < DAY_MS


async def rename(node: Node, name: str) -> None:
    async with node.transaction() as tx:
        (await tx.get(Customer, "c1")).name = name


async def rename_later(node: Node, name: str) -> None:
    """Edit half a minute later: a greeting measures a clock as exactly as it travels."""
    clock = node.ledger.clock
    assert isinstance(clock, WrongClock)
    clock.skew_ms += 30_000
    await rename(node, name)
    clock.skew_ms -= 30_000


async def name_at(node: Node) -> tuple[str, list[str]]:
    customer = await node.get(Customer, "c1")
    assert customer is not None
    return customer.name, customer.conflicts.get("name", [])


async def catalogue(shop: Shop) -> None:
    """Gestão and Loja with one product, five units of it and one customer."""
    gestao, loja = await shop.open("gestao", clock=WrongClock(0)), await shop.open(STORE)
    await add_product(gestao)
    await receive_units(loja, 5)
    async with gestao.transaction() as tx:
        tx.create(Customer, id="c1", name="Ana")
    await shop.even()


async def open_with_a_wrong_clock_offline(shop: Shop, clock: WrongClock) -> Node:
    """A lane that synchronized once, and starts without the network on a machine whose clock is wrong."""
    await shop.open("caixa1")
    await shop.even()
    await shop.close("caixa1")
    shop.network.partition("caixa1")
    return await shop.open("caixa1", clock=clock)


async def everywhere_even(shop: Shop, docs: tuple[str, ...] = ("customers", "stock/loja1")) -> None:
    # A second round: the first may end with the link that greets again.
    await shop.even()
    await until(lambda: all(n.connected for n in shop.nodes.values() if n.config.upstream), "links stand")
    await shop.even()
    for doc in docs:
        assert len({await node.ledger.state_digest(doc) for node in shop.nodes.values()}) == 1, doc


async def test_a_lane_whose_clock_says_2035_sells_as_any_other_and_its_edit_is_as_old_as_it_is(
    shop: Shop,
) -> None:
    await catalogue(shop)
    lane = await open_with_a_wrong_clock_offline(shop, WrongClock(NINE_YEARS_MS))
    await shop.open("caixa2")
    await sell(lane, "s1")
    await rename(lane, "Ana da nona década")
    assert stamp_ms(lane.ledger.hlc.last) > SystemClock().now_ms() + NINE_YEARS_MS - DAY_MS
    await rename_later(shop.nodes["gestao"], "Ana Maria")
    shop.network.heal("caixa1")
    await everywhere_even(shop)
    said = [await name_at(shop.nodes[name]) for name in EVERYWHERE]
    assert said == [("Ana Maria", ["Ana Maria", "Ana da nona década"])] * 4
    assert [await balance(shop.nodes[name]) for name in EVERYWHERE] == [4] * 4
    for name in ("gestao", STORE, "caixa1"):
        assert [sale.id for sale in await shop.nodes[name].find(Sale)] == ["s1"]
    await rename(lane, "Ana M.")
    await everywhere_even(shop)
    assert [await name_at(node) for node in shop.nodes.values()] == [("Ana M.", [])] * 4
    assert all(is_of_today(node) for node in shop.nodes.values())
    days = "3285 days ahead; stamps are corrected, but set it right"
    assert told(lane) == [f"clock_wrong: this machine: its clock is {days}"]
    assert told(shop.nodes[STORE]) == [f"clock_wrong: caixa1: its clock is {days}"]


async def test_an_edit_after_everybody_elses_wins_although_its_stamp_is_bounded(shop: Shop) -> None:
    await catalogue(shop)
    lane = await open_with_a_wrong_clock_offline(shop, WrongClock(NINE_YEARS_MS))
    await rename(shop.nodes["gestao"], "Ana Maria")
    await rename_later(lane, "Ana Souza")
    shop.network.heal("caixa1")
    await everywhere_even(shop)
    said = [await name_at(node) for node in shop.nodes.values()]
    assert said == [("Ana Souza", ["Ana Souza", "Ana Maria"])] * 3


async def test_a_clock_that_jumps_while_the_link_stands_is_bounded_and_greeted_again(shop: Shop) -> None:
    await catalogue(shop)
    clock = WrongClock(0)
    lane = await shop.open("caixa1", clock=clock)
    await shop.even()
    clock.skew_ms = NINE_YEARS_MS
    await rename(lane, "Ana da nona década")
    lane.request_check()
    await until(lambda: is_of_today(lane), "the lane greets again and corrects its clock")
    await rename(shop.nodes["gestao"], "Ana Maria")
    await everywhere_even(shop)
    assert all(is_of_today(node) for node in shop.nodes.values())
    (stamp,) = [c.hlc for c in (await shop.nodes["gestao"].ledger.document("customers")).fold.ceilings()]
    assert abs(stamp_ms(stamp) - SystemClock().now_ms()) < DAY_MS


async def test_a_whole_store_in_2035_is_bounded_by_the_head_office_and_learns_the_time(shop: Shop) -> None:
    await catalogue(shop)
    await shop.open("caixa1")
    await shop.even()
    for name in ("caixa1", STORE):
        await shop.close(name)
    shop.network.partition("gestao")
    loja = await shop.open(STORE, clock=WrongClock(NINE_YEARS_MS))
    lane = await shop.open("caixa1")
    await until(lambda: lane.connected, "the lane takes the store's time")
    await until(
        lambda: abs(lane.ledger.hlc.offset_ms - NINE_YEARS_MS) < DAY_MS, "it corrects its clock by it"
    )
    await sell(lane, "s1")
    await receive_units(loja, 3)
    await rename(lane, "Ana da nona década")
    await until(lambda: lane.request_check() and is_even(loja, lane), "the store holds what the lane wrote")
    await rename_later(shop.nodes["gestao"], "Ana Maria")
    shop.network.heal("gestao")
    await everywhere_even(shop)
    await sell(lane, "s2")
    await everywhere_even(shop)
    await until(lambda: abs(lane.ledger.hlc.offset_ms) < DAY_MS, "the time from above reaches the lane")
    await sell(lane, "s3")
    await everywhere_even(shop)
    assert all(is_of_today(node) for node in shop.nodes.values())
    assert [await balance(node) for node in shop.nodes.values()] == [5] * 3
    said = [await name_at(node) for node in shop.nodes.values()]
    assert said == [("Ana Maria", ["Ana Maria", "Ana da nona década"])] * 3


async def test_a_corrected_clock_stays_corrected_over_a_restart_without_the_network(shop: Shop) -> None:
    await catalogue(shop)
    await shop.open("caixa1", clock=WrongClock(NINE_YEARS_MS))
    await shop.even()
    await shop.close("caixa1")
    shop.network.partition("caixa1")
    lane = await shop.open("caixa1", clock=WrongClock(NINE_YEARS_MS))
    await rename(lane, "Ana Souza")
    assert is_of_today(lane)


async def test_a_lane_writes_no_ceilings(shop: Shop) -> None:
    await catalogue(shop)
    lane = await shop.open("caixa1")
    await shop.even()
    slot = f"{FIELD}\x1f{shop.nodes['gestao'].ledger.replica:x}:9"
    await lane.ledger.write({"customers": {KEY: [Op("write", slot, (1, 0))]}})
    lane.request_check()
    await until(lambda: "may not write this field" in str(lane.trouble), "the store refuses it")
    assert (await shop.nodes[STORE].ledger.document("customers")).fold.ceilings() == []


@pytest.mark.parametrize("skew_ms", [-NINE_YEARS_MS, 60_000, 5 * 3_600_000])
async def test_a_clock_that_is_behind_or_a_little_ahead_needs_no_ceiling(shop: Shop, skew_ms: int) -> None:
    await catalogue(shop)
    lane = await open_with_a_wrong_clock_offline(shop, WrongClock(skew_ms))
    await rename(lane, "Ana Souza")
    shop.network.heal("caixa1")
    await everywhere_even(shop)
    assert (await shop.nodes["gestao"].ledger.document("customers")).fold.ceilings() == []
    assert [await name_at(node) for node in shop.nodes.values()] == [("Ana Souza", [])] * 3
