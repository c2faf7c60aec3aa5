"""The nodes below: what is remembered of each over restarts, what waits for it and since when, pausing one of them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync.errors import BadRequest, LinkBroken, NodeMissing
from crdtsync.node.link import SOFTWARE
from crdtsync.node.remembered import Remembered
from crdtsync.node.verbs import BUILT_IN
from tests.synchronization.street import (
    CHECK,
    DAY,
    HOUR,
    MINUTE,
    STORE,
    Product,
    Sale,
    Street,
    note,
    products,
    runs,
    sell,
    told,
    until,
)

if TYPE_CHECKING:
    from crdtsync.node import Node

STEP = 0.1


async def shown(node: Node, **asked: Any) -> dict[str, Any]:
    """The one node below, as it is shown."""
    (row,) = (await BUILT_IN["network"](node, asked))["below"]
    found: dict[str, Any] = row
    return found


async def link_of(node: Node) -> dict[str, Any]:
    link: dict[str, Any] = (await node.queue())["link"]
    return link


@told
async def test_a_node_below_is_known_with_role_store_version_and_clock_over_restarts(street: Street) -> None:
    await street.lane()
    street.clocks["caixa1"].shift = -7.0
    await street.close("caixa1")
    caixa = await street.open("caixa1")
    await until(lambda: caixa.connected)
    before = await shown(street.nodes[STORE])
    assert (before["device"], before["role"], before["store"]) == ("caixa1", "caixa", STORE)
    assert (before["state"], before["connected"], before["software"]) == ("connected", True, SOFTWARE)
    assert -7_100 < before["offset_ms"] <= -7_000
    await street.close("caixa1")
    await asyncio.sleep(STEP)
    gone = await shown(street.nodes[STORE])
    assert (gone["state"], gone["connected"]) == ("apart", False)
    await asyncio.sleep(7 * DAY)
    await street.kill(STORE)
    after = await shown(await street.open(STORE))
    assert (after["state"], after["connected"]) == ("silent", False)
    for name in ("heard_ms", "role", "store", "software", "offset_ms"):
        assert after[name] == gone[name], name


@told
async def test_what_waits_for_a_node_that_is_away_is_counted_with_the_age_of_the_oldest(
    street: Street,
) -> None:
    await street.lane()
    loja = street.nodes[STORE]
    assert (await shown(loja))["waiting"] == 0
    await street.close("caixa1")
    await asyncio.sleep(HOUR)
    written_ms = loja.ledger.clock.now_ms()
    await note(loja, "n1")
    await asyncio.sleep(HOUR)
    async with loja.transaction() as tx:
        product = await tx.find(Product, "a")
        assert product is not None
        product.name = "outro"
    # Sales of another lane are nothing to this one.
    await sell(loja, "s1")
    row = await shown(loja)
    assert (row["waiting"], row["waiting_exact"], row["waiting_since_ms"]) == (2, True, written_ms)
    await asyncio.sleep(DAY)
    await street.close(STORE)
    loja = await street.open(STORE)
    row = await shown(loja)
    assert (row["waiting"], row["waiting_exact"], row["waiting_since_ms"]) == (2, False, written_ms)
    caixa = await street.open("caixa1")
    await until(lambda: caixa.connected)
    await asyncio.sleep(CHECK)
    row = await shown(loja)
    assert (row["waiting"], row["waiting_exact"], row["waiting_since_ms"]) == (0, True, None)


@told
async def test_what_came_from_above_waits_for_the_lanes_too(street: Street) -> None:
    caixa = await street.lane()
    loja = street.nodes[STORE]
    await caixa.pause("products")
    await products(street.nodes["gestao"], "c", "d", "e")
    await loja.sync(wait=True)
    assert await loja.count(Product) == 5
    await asyncio.sleep(CHECK + MINUTE)
    assert (await shown(loja))["waiting"] == 3


@told
async def test_a_paused_node_is_refused_says_so_keeps_what_it_writes_and_goes_on_when_it_is_resumed(
    street: Street,
) -> None:
    caixa = await street.lane()
    loja = street.nodes[STORE]
    ask = BUILT_IN
    answer = await ask["network_pause"](loja, {"device": "caixa1"})
    assert (answer["device"], answer["paused"]) == ("caixa1", True)
    await until(lambda: caixa.agenda.link()["state"] == "paused_above")
    assert "loja1 paused this node" in (await link_of(caixa))["detail"]
    assert (await ask["status"](caixa, {}))["link"]["state"] == "paused_above"
    await sell(caixa, "s1")
    (line,) = (await caixa.queue())["categories"]
    assert (line["category"], line["cause"], line["turn"]) == ("sales", "paused_above", "upstream")
    assert (await caixa.sync())["reason"] == "paused_above"

    # It holds over restarts of both, and a node that is refused is heard of all the same.
    await asyncio.sleep(2 * HOUR)
    await street.kill(STORE)
    await street.kill("caixa1")
    loja, caixa = await street.open(STORE), await street.open("caixa1")
    assert (await link_of(caixa))["state"] == "paused_above"
    await asyncio.sleep(2 * HOUR)
    row = await shown(loja)
    assert (row["state"], row["connected"], row["paused_ms"]) == ("paused", False, answer["paused_ms"])
    assert loja.ledger.clock.now_ms() - row["heard_ms"] < 2 * MINUTE * 1000
    assert await loja.count(Sale) == 0
    assert (await caixa.alerts())["alerts"] == []

    answer = await ask["network_resume"](loja, {"device": "caixa1"})
    assert (answer["paused"], answer["paused_ms"]) == (False, None)
    await until(lambda: caixa.connected, 2 * MINUTE)
    await asyncio.sleep(STEP)
    assert await loja.count(Sale) == 1
    assert (await link_of(caixa))["state"] == "ok"
    assert (await shown(loja))["state"] == "connected"


@told
async def test_a_device_that_came_while_enrolment_is_open_can_be_revoked_and_approved_again(
    street: Street,
) -> None:
    caixa, other = await street.lane(), await street.open("caixa2")
    await until(lambda: other.initial_done, 120)
    loja = street.nodes[STORE]
    answer = await BUILT_IN["revoke"](loja, {"device": "caixa1"})
    assert answer["status"] == "revoked"
    await until(lambda: not caixa.connected)
    assert caixa.trouble is not None
    assert "revoked" in caixa.trouble
    assert (await link_of(caixa))["state"] == "failed"
    rows = (await BUILT_IN["network"](loja, {"state": "revoked"}))["below"]
    assert [row["device"] for row in rows] == ["caixa1"]
    assert other.connected
    await asyncio.sleep(2 * HOUR)
    assert not [alert for alert in (await loja.alerts())["alerts"] if alert["subject"] == "caixa1"]
    await BUILT_IN["approve"](loja, {"fingerprint": answer["fingerprint"]})
    await caixa.resume()
    await until(lambda: caixa.connected, 2 * MINUTE)
    states = {row["device"]: row["state"] for row in (await BUILT_IN["network"](loja, {}))["below"]}
    assert states["caixa1"] == "connected"


@told
async def test_a_pause_of_more_than_a_day_is_an_alert_at_both_ends(street: Street) -> None:
    caixa = await street.lane()
    loja = street.nodes[STORE]
    await BUILT_IN["network_pause"](loja, {"device": "caixa1"})
    await asyncio.sleep(DAY + HOUR)
    for node, subject in ((loja, "caixa1"), (caixa, f"memory://{STORE}")):
        (alert,) = (await node.alerts())["alerts"]
        assert (alert["code"], alert["severity"], alert["subject"]) == ("paused", "M", subject)


@told
async def test_a_node_that_is_silent_for_a_month_is_forgotten_unless_it_is_paused_and_met_anew_when_it_comes_back(
    street: Street,
) -> None:
    await street.lane()
    loja = street.nodes[STORE]
    await until(lambda: street.nodes["caixa1"].connected)
    await street.close("caixa1")
    await asyncio.sleep(30 * DAY - HOUR)
    assert (await shown(loja))["state"] == "silent"
    await asyncio.sleep(3 * HOUR)
    assert (await BUILT_IN["network"](loja, {}))["total"] == 0
    await street.kill(STORE)
    loja = await street.open(STORE)
    assert (await BUILT_IN["network"](loja, {}))["total"] == 0
    caixa = await street.open("caixa1")
    await until(lambda: caixa.connected)
    assert (await shown(loja))["state"] == "connected"
    await BUILT_IN["network_pause"](loja, {"device": "caixa1"})
    await street.close("caixa1")
    await asyncio.sleep(31 * DAY)
    assert (await shown(loja))["paused_ms"] is not None


@told
async def test_a_run_that_is_going_on_is_cut_by_the_pause_and_nothing_is_lost(street: Street) -> None:
    caixa = await street.lane()
    loja = street.nodes[STORE]
    await sell(caixa, *(f"s{n}" for n in range(50)))
    cut = asyncio.get_running_loop().create_future()

    def pause(_run: object) -> None:
        if not cut.done():
            cut.set_result(asyncio.ensure_future(BUILT_IN["network_pause"](loja, {"device": "caixa1"})))

    caixa.on_run.append(pause)
    caixa.request_check()
    await (await cut)
    await until(lambda: caixa.agenda.link()["state"] == "paused_above")
    assert (await runs(caixa))[-1]["result"] == "paused"
    await BUILT_IN["network_resume"](loja, {"device": "caixa1"})
    await until(lambda: caixa.connected, 2 * MINUTE)
    await asyncio.sleep(MINUTE)
    assert await loja.count(Sale) == 50


@told
async def test_the_worst_comes_first_pages_go_on_and_parts_of_a_name_are_found(street: Street) -> None:
    await street.lane()
    loja = street.nodes[STORE]
    for name in ("caixa2", "caixa3", "caixa4"):
        node = await street.open(name)
        await until(lambda node=node: node.initial_done, 120)  # type: ignore[misc]
    await street.close("caixa3")
    await asyncio.sleep(2 * HOUR)
    await street.close("caixa4")
    await BUILT_IN["network_pause"](loja, {"device": "caixa2"})
    await sell(loja, "x")
    await asyncio.sleep(STEP)

    async def names(**asked: Any) -> list[str]:
        return [row["device"] for row in (await BUILT_IN["network"](loja, asked))["below"]]

    assert await names() == ["caixa3", "caixa2", "caixa4", "caixa1"]
    assert await names(descending=True) == ["caixa1", "caixa4", "caixa2", "caixa3"]
    assert await names(sort="name") == ["caixa1", "caixa2", "caixa3", "caixa4"]
    assert (await names(sort="heard"))[0] == "caixa3"
    assert await names(name="XA3") == ["caixa3"]
    assert len(await names(name=STORE)) == 4
    assert await names(state="apart") == ["caixa4"]
    page = await BUILT_IN["network"](loja, {"limit": 3})
    assert (page["total"], page["after"]) == (4, "caixa4")
    assert page["counts"] == {
        "silent": 1,
        "failing": 0,
        "paused": 1,
        "apart": 1,
        "connected": 1,
        "revoked": 0,
    }
    assert await names(after=page["after"]) == ["caixa1"]
    for wrong in ({"sort": "size"}, {"state": "asleep"}, {"limit": 0}, {"after": "caixa9"}):
        with pytest.raises(BadRequest):
            await names(**wrong)
    with pytest.raises(NodeMissing):
        await BUILT_IN["network_pause"](loja, {"device": "caixa9"})


@told
async def test_a_refused_link_stays_to_be_seen_until_a_check_is_whole(street: Street) -> None:
    caixa = await street.lane()
    loja = street.nodes[STORE]
    (link,) = loja.downstream
    # What a damaged frame comes to: the conversation ends with a refusal that passes.
    await link.channel.close()
    loja.network.broke(link, LinkBroken("corrupt", "byte 7", terminal=False))
    row = await shown(loja)
    assert (row["state"], row["trouble"]) == ("failing", "a frame whose checksum is wrong (corrupt: byte 7)")
    await until(lambda: caixa.connected, 2 * MINUTE)
    await asyncio.sleep(MINUTE)
    row = await shown(loja)
    assert (row["state"], row["trouble"]) == ("connected", None)


@told
async def test_what_an_older_version_remembered_of_a_node_below_is_not_lost(street: Street) -> None:
    loja = await street.store()
    heard_ms = loja.ledger.clock.now_ms() - round(7 * DAY) * 1000
    old = {"heard": {"": 1, "caixa1": heard_ms}, "of_a_newer_version": 1}
    loja.uplink.memory = Remembered.load(json.dumps(old).encode())
    row = await shown(loja)
    assert (row["device"], row["role"], row["state"]) == ("caixa1", None, "silent")
    assert (row["waiting"], row["waiting_exact"], row["heard_ms"]) == (None, False, heard_ms)


@told
async def test_the_head_office_knows_the_lanes_of_a_store_by_what_came_from_them(street: Street) -> None:
    caixa = await street.lane()
    gestao = street.nodes["gestao"]
    await sell(caixa, "s1")
    await caixa.sync(wait=True)
    await until(lambda: any(doc.startswith("sales/") for doc in gestao.ledger.heads))
    row = await shown(gestao)
    assert (row["device"], row["role"]) == (STORE, "loja")
    (lane,) = row["lanes"]
    assert lane["device"] == "caixa1"
    came_ms = lane["newest_ms"]
    assert 0 <= gestao.ledger.clock.now_ms() - came_ms <= STEP * 1000
    await asyncio.sleep(HOUR)
    await street.kill("gestao")
    gestao = await street.open("gestao")
    assert (await shown(gestao))["lanes"] == [{"device": "caixa1", "newest_ms": came_ms}]
