"""Schedule: routine and initial checks, *Sincronizar agora* and its cooldown, pauses, hours, a limit, a failed link."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync import limits
from crdtsync.errors import ConfigError, UnknownCategory
from crdtsync.node.alerts import AlertCode
from crdtsync.node.tracking import alerts_of
from crdtsync.protocol.table import Kind
from tests.synchronization.street import (
    CHECK,
    COOLDOWN,
    DAY,
    HOUR,
    MINUTE,
    STORE,
    Note,
    Product,
    Sale,
    Street,
    entry,
    note,
    products,
    runs,
    sell,
    told,
    until,
    watch,
)

if TYPE_CHECKING:
    from crdtsync.node import Node
    from crdtsync.node.run import Run
    from crdtsync.transport.memory import MemoryChannel


def count_frames(street: Street, kind: Kind) -> list[float]:
    """The moments at which frames of a kind are sent from now on."""
    moments: list[float] = []
    carry = street.network.carry
    name = kind.value.encode()
    mark = bytes([0xA0 + len(name)]) + name

    async def counting(sender: MemoryChannel, message: bytes) -> None:
        if mark in message[4:20]:
            moments.append(asyncio.get_running_loop().time())
        await carry(sender, message)

    street.network.carry = counting  # type: ignore[method-assign]
    return moments


async def triggers(node: Node) -> list[str]:
    return [run["trigger"] for run in await runs(node)]


# -- routine ---------------------------------------------------------------------------------------------------


@told
async def test_a_routine_check_comes_every_fifteen_minutes_and_runs_only_if_there_is_something(
    street: Street,
) -> None:
    loja = await street.store()
    checks = count_frames(street, Kind.CHECK)
    street.nodes["gestao"].ledger.unload()
    loja.ledger.unload()
    await asyncio.sleep(4 * CHECK + 60)
    assert [round(b - a) for a, b in pairwise(checks)] == [CHECK] * 3
    assert loja.ledger.loaded() == street.nodes["gestao"].ledger.loaded() == []
    assert await triggers(loja) == ["initial"]

    await sell(loja, "s1")
    await asyncio.sleep(CHECK)
    assert await triggers(loja) == ["initial", "routine"]
    assert await street.nodes["gestao"].count(Sale) == 1


@told
async def test_the_time_between_checks_is_the_operators_choice(street: Street) -> None:
    await street.store(check_seconds=60.0)
    checks = count_frames(street, Kind.CHECK)
    await asyncio.sleep(600)
    assert len(checks) == 10


@pytest.mark.parametrize("days", [1, -1, 400, -400])
def test_a_date_set_forward_or_back_moves_no_routine_check(days: int) -> None:
    @told
    async def story(street: Street) -> None:
        await street.store()
        checks = count_frames(street, Kind.CHECK)
        await asyncio.sleep(CHECK / 2)
        street.clocks[STORE].shift = days * DAY
        await asyncio.sleep(3 * CHECK)
        street.clocks[STORE].shift = 0
        await asyncio.sleep(3 * CHECK)
        assert [round(b - a) for a, b in pairwise(checks)] == [CHECK] * 5

    story()


# -- initial ---------------------------------------------------------------------------------------------------


@told
async def test_the_initial_synchronization_begins_with_the_first_accepted_hello_and_is_never_skipped(
    street: Street,
) -> None:
    gestao = await street.open("gestao")
    await products(gestao, "a")
    street.network.partition(STORE)
    loja = await street.open(STORE, hours="02:00-03:00")
    await asyncio.sleep(HOUR)
    assert (loja.initial_done, await runs(loja)) == (False, [])
    assert not (await loja.queue())["initial_done"]
    street.network.heal(STORE)
    # The hours of this link are at night; the initial synchronization does not wait for them.
    await until(lambda: loja.initial_done, 2 * MINUTE)
    assert await triggers(loja) == ["initial"]
    assert await loja.count(Product) == 1


@told
async def test_an_initial_synchronization_that_is_cut_goes_on_where_it_was_and_is_done_when_it_is(
    street: Street,
) -> None:
    gestao = await street.open("gestao")
    await gestao.load(Product, ({"id": f"p{n}", "name": "x" * 400} for n in range(3000)))
    loja = await street.open(STORE)
    got: list[int] = []

    def cut_in_the_middle(run: Run) -> None:
        moved = run.down.get("products")
        if moved is not None and run.ended is None and moved.records > len(got) * 600:
            got.append(moved.records)
            street.network.cut(STORE)

    def over_or_cut_again(cuts: int) -> bool:
        return loja.initial_done or len(got) > cuts

    watch(loja, cut_in_the_middle)
    while not loja.initial_done:
        await until(partial(over_or_cut_again, len(got)), 10 * MINUTE)
        assert loja.initial_done is (await loja.count(Product) == 3000)
    history = await runs(loja)
    assert len(history) > 2
    assert {run["trigger"] for run in history} == {"initial"}
    assert [run["result"] for run in history] == ["failed"] * (len(history) - 1) + ["done"]
    # Nothing came twice: what was received before a cut was not sent again.
    assert sum(run["records_down"] for run in history) == 3000


@told
async def test_an_initial_synchronization_that_leaves_a_paused_category_out_is_not_done(
    street: Street,
) -> None:
    gestao = await street.open("gestao")
    await products(gestao, "a")
    await note(gestao, "n")
    street.network.partition(STORE)
    loja = await street.open(STORE)
    await loja.pause("notes")
    street.network.heal(STORE)
    await asyncio.sleep(HOUR)
    assert (await loja.count(Product), await loja.count(Note), loja.initial_done) == (1, 0, False)
    await loja.resume("notes")
    await until(lambda: loja.initial_done)
    assert await loja.count(Note) == 1


# -- Sincronizar agora -----------------------------------------------------------------------------------------


@told
async def test_a_press_with_something_pending_starts_a_run_and_its_end_starts_the_cooldown(
    street: Street,
) -> None:
    loja = await street.store()
    await sell(loja, "s1")
    answer = await loja.sync(wait=True)
    assert (answer["accepted"], answer["reason"], answer["run"]["result"]) == (True, None, "done")
    assert (answer["run"]["trigger"], answer["run"]["records_up"]) == ("manual", 1)
    assert await street.nodes["gestao"].count(Sale) == 1

    await sell(loja, "s2")
    await asyncio.sleep(MINUTE)
    refused = await loja.sync()
    assert (refused["accepted"], refused["reason"], refused["run"]) == (False, "cooldown", None)
    assert refused["available_seconds"] == pytest.approx(COOLDOWN - MINUTE, abs=1)
    assert refused["available_ms"] - loja.ledger.clock.now_ms() == pytest.approx(240_000, abs=1000)
    button = (await loja.queue())["button"]
    assert (button["available"], button["reason"]) == (False, "cooldown")
    await asyncio.sleep(COOLDOWN - MINUTE - 1)
    assert (await loja.sync())["reason"] == "cooldown"
    await asyncio.sleep(2)
    assert (await loja.sync())["accepted"]


@told
async def test_a_press_with_nothing_to_do_is_refused_and_starts_no_cooldown(street: Street) -> None:
    loja = await street.store()
    answer = await loja.sync()
    assert (answer["accepted"], answer["reason"], answer["available_seconds"]) == (False, "nothing", None)
    await sell(loja, "s1")
    assert (await loja.sync(wait=True))["accepted"]


@told
async def test_a_press_when_the_connection_fails_is_refused_and_starts_no_cooldown(street: Street) -> None:
    loja = await street.store()
    street.network.partition(STORE)
    await sell(loja, "s1")
    answer = await loja.sync()
    assert (answer["accepted"], answer["reason"]) == (False, "unreachable")
    street.network.heal(STORE)
    assert (await loja.sync(wait=True))["accepted"]


@told
async def test_a_manual_run_that_breaks_starts_no_cooldown(street: Street) -> None:
    loja = await street.store()
    await sell(loja, *(f"s{n}" for n in range(50)))
    broken: list[Run] = []

    def break_once(run: Run) -> None:
        if not broken and run.up.get("sales"):
            broken.append(run)
            street.network.cut(STORE)

    watch(loja, break_once)
    first = await loja.sync(wait=True)
    assert (first["accepted"], first["run"]["result"]) == (True, "failed")
    assert (await loja.sync())["reason"] != "cooldown"


@told
async def test_a_press_while_a_run_is_going_on_is_refused_as_running(street: Street) -> None:
    loja = await street.store()
    await sell(loja, *(f"s{n}" for n in range(50)))
    asked: list[asyncio.Task[Any]] = []

    def press_once(run: Run) -> None:
        if not asked and run.ended is None:
            asked.append(asyncio.ensure_future(loja.sync()))

    watch(loja, press_once)
    await until(lambda: bool(asked), CHECK + 60)
    answer = await asked[0]
    assert (answer["accepted"], answer["reason"], answer["available_ms"]) == (False, "running", None)
    await asyncio.sleep(MINUTE)
    assert await triggers(loja) == ["initial", "routine"]


@told
async def test_several_presses_at_once_become_one(street: Street) -> None:
    loja = await street.store()
    await sell(loja, "s1")
    checks = count_frames(street, Kind.CHECK)
    answers = await asyncio.gather(*(loja.sync(wait=True) for _ in range(5)))
    assert [answer["accepted"] for answer in answers] == [True] * 5
    assert len({answer["run"]["id"] for answer in answers}) == len(checks) == 1
    assert await triggers(loja) == ["initial", "manual"]


@told
async def test_a_press_during_a_routine_check_counts_what_was_written_since_it_began(street: Street) -> None:
    loja = await street.store()
    street.network.faults.delay = 2.0
    loja.request_check()
    await asyncio.sleep(1)
    await sell(loja, "s1")
    answer = await loja.sync(wait=True)
    assert (answer["accepted"], answer["run"]["records_up"]) == (True, 1)


@told
async def test_the_cooldown_survives_restarts_and_no_date_shortens_it(street: Street) -> None:
    loja = await street.store()
    await sell(loja, "s1")
    await loja.sync(wait=True)
    await sell(loja, "s2")
    street.network.partition(STORE)
    answer: dict[str, Any] = {}
    for shift in (0, DAY, -DAY, 400 * DAY):
        street.clocks[STORE].shift = shift
        await street.kill(STORE)
        loja = await street.open(STORE)
        await asyncio.sleep(MINUTE)
        answer = await loja.sync()
        assert answer["reason"] == "cooldown"
    assert answer["available_seconds"] == pytest.approx(COOLDOWN - 4 * MINUTE, abs=2)
    street.clocks[STORE].reboot()
    await street.kill(STORE)
    loja = await street.open(STORE)
    await asyncio.sleep(COOLDOWN - 2)
    assert (await loja.sync())["reason"] == "cooldown"
    await asyncio.sleep(3)
    assert (await loja.sync())["reason"] == "unreachable"


@told
async def test_a_press_at_a_lane_carries_on_to_its_store_which_answers_for_its_own_link(
    street: Street,
) -> None:
    caixa = await street.lane()
    await sell(caixa, "s1")
    answer = await caixa.sync(wait=True)
    assert answer["above"] == {
        "device": STORE,
        "accepted": True,
        "reason": None,
        "available_seconds": None,
    }
    await until(lambda: street.nodes[STORE].uplink.run_now is None)
    assert await street.nodes["gestao"].count(Sale) == 1
    assert (await triggers(street.nodes[STORE]))[-1] == "manual"

    await asyncio.sleep(COOLDOWN)
    await sell(caixa, "s2")
    street.network.partition(STORE, "gestao")
    answer = await caixa.sync(wait=True)
    assert answer["accepted"]
    assert (answer["above"]["accepted"], answer["above"]["reason"]) == (False, "unreachable")
    assert (await caixa.queue())["above"] == answer["above"]
    # Nobody above is asked within the cooldown, so the answer of before is not told as if it were new.
    assert (await caixa.sync())["above"] is None


@told
async def test_a_store_in_its_cooldown_tells_the_lane_when_it_ends_whatever_its_date(street: Street) -> None:
    caixa = await street.lane()
    loja = street.nodes[STORE]
    street.clocks[STORE].shift = 5 * DAY
    await note(loja, "n")
    assert (await loja.sync(wait=True))["accepted"]
    await asyncio.sleep(MINUTE)
    answer = await caixa.sync(wait=True)
    assert answer["above"]["reason"] == "cooldown"
    assert answer["above"]["available_seconds"] == pytest.approx(COOLDOWN - MINUTE, abs=2)


@told
async def test_first_goes_first_as_far_as_references_allow_and_for_one_run(street: Street) -> None:
    loja = await street.store()
    await note(loja, "n")
    await products(loja, "c")
    await sell(loja, "s1", product="c")
    moved: list[str] = []

    def see(run: Run) -> None:
        moved.extend(name for name, part in run.up.items() if part.records and name not in moved)

    watch(loja, see)
    told_order = await loja.first("sales")
    assert told_order["before"] == ["groups", "products"]
    assert told_order["upload"] == ["groups", "products", "sales", "notes"]
    assert [line["category"] for line in (await loja.queue())["categories"]] == ["products", "sales", "notes"]
    await loja.sync(wait=True)
    assert moved == ["products", "sales", "notes"]
    assert (await loja.queue())["first"] is None
    with pytest.raises(UnknownCategory, match="salse"):
        await loja.first("salse")


@told
async def test_starting_from_the_queue_is_the_same_act(street: Street) -> None:
    loja = await street.store()
    await note(loja, "n")
    await sell(loja, "s1")
    answer = await loja.sync(first="sales", wait=True)
    assert (answer["accepted"], answer["run"]["trigger"]) == (True, "manual")
    assert (await loja.sync(first="notes"))["reason"] == "cooldown"


# -- troubles --------------------------------------------------------------------------------------------------


@told
async def test_a_trouble_that_passes_is_crashing_and_is_tried_again(street: Street) -> None:
    loja = await street.store()
    street.network.partition(STORE)
    await asyncio.sleep(10 * MINUTE)
    link = (await loja.queue())["link"]
    assert (link["state"], link["connected"], link["code"]) == ("crashing", False, "unreachable")
    street.network.heal(STORE)
    await until(lambda: loja.connected, limits.RECONNECT_SECONDS_MAX + 1)
    assert (await loja.queue())["link"]["state"] == "ok"
    await asyncio.sleep(1)
    assert loja.trouble is None


@told
async def test_a_terminal_refusal_stops_the_link_and_raises_an_alert_until_a_person_resumes(
    street: Street,
) -> None:
    await street.store()
    tries: list[float] = []
    caixa = await street.open("caixa1", store="loja2")
    connect = street.network.join

    def counting(here: str, there: str) -> MemoryChannel:
        if here == "caixa1":
            tries.append(asyncio.get_running_loop().time())
        return connect(here, there)

    street.network.join = counting  # type: ignore[method-assign]
    await until(lambda: caixa.trouble is not None)
    assert caixa.trouble == "wrong_store: caixa1 belongs to store loja2"
    seen = len(tries)
    await asyncio.sleep(3 * HOUR)
    assert len(tries) == seen
    link = (await caixa.queue())["link"]
    assert (link["state"], link["code"]) == ("failed", "wrong_store")
    assert [(a.code, a.severity) for a in alerts_of(caixa)] == [(AlertCode.LINK_FAILED, "B")]
    assert (await caixa.sync())["reason"] == "failed"
    await note(caixa, "n")  # local capture goes on

    await street.kill("caixa1")
    caixa = await street.open("caixa1")
    await asyncio.sleep(HOUR)
    assert len(tries) == seen
    await caixa.resume()
    await until(lambda: len(tries) > seen)
    await asyncio.sleep(1)
    assert (await caixa.queue())["link"]["state"] == "failed"


@told
async def test_a_failed_link_is_tried_again_when_the_configuration_changes(street: Street) -> None:
    await street.store()
    caixa = await street.open("caixa1", account="other")
    await until(lambda: caixa.trouble is not None)
    await street.close("caixa1")
    caixa = await street.open("caixa1", account="main")
    await until(lambda: caixa.initial_done)
    assert alerts_of(caixa) == []


# -- pause, hours, limit ---------------------------------------------------------------------------------------


@told
async def test_a_paused_link_moves_nothing_while_local_capture_goes_on_and_a_pause_survives_restarts(
    street: Street,
) -> None:
    loja = await street.store()
    assert await loja.pause() == {"paused": True, "categories": []}
    await sell(loja, "s1")
    await asyncio.sleep(HOUR)
    await street.kill(STORE)
    loja = await street.open(STORE)
    await sell(loja, "s2")
    await asyncio.sleep(HOUR)
    assert await street.nodes["gestao"].count(Sale) == 0
    assert (await loja.sync())["reason"] == "paused"
    line = await entry(loja, "sales")
    assert line is not None
    assert (line["records"], line["cause"], line["turn"]) == (2, "paused", "person")
    await loja.resume()
    await asyncio.sleep(MINUTE)
    assert await street.nodes["gestao"].count(Sale) == 2


@told
async def test_a_paused_category_stays_and_so_does_what_refers_to_it_and_the_others_go(
    street: Street,
) -> None:
    loja = await street.store()
    await loja.pause("products")
    await products(loja, "c")
    await sell(loja, "s1", product="c")
    await note(loja, "n")
    await asyncio.sleep(CHECK)
    gestao = street.nodes["gestao"]
    assert [await gestao.count(kind) for kind in (Product, Sale, Note)] == [2, 0, 1]
    paused, waits = await entry(loja, "products"), await entry(loja, "sales")
    assert paused is not None
    assert waits is not None
    assert (paused["cause"], paused["turn"], paused["paused"]) == ("paused", "person", True)
    assert (waits["cause"], waits["turn"], waits["waits_for"]) == ("category", "person", ["products"])
    await products(gestao, "d")
    await asyncio.sleep(CHECK)
    assert await loja.get(Product, "d") is None
    await loja.resume("products")
    await asyncio.sleep(MINUTE)
    assert [await gestao.count(kind) for kind in (Product, Sale, Note)] == [4, 1, 1]
    assert await loja.get(Product, "d") is not None


@told
async def test_a_pause_in_the_middle_of_a_run_ends_it_and_resume_goes_on_where_it_was(street: Street) -> None:
    loja = await street.store()
    gestao = street.nodes["gestao"]
    await gestao.load(Product, ({"id": f"p{n}", "name": "x" * 400} for n in range(2000)))
    pausing: list[asyncio.Task[Any]] = []

    def pause_once(run: Run) -> None:
        moved = run.down.get("products")
        if not pausing and moved is not None and moved.records > 300:
            pausing.append(asyncio.ensure_future(loja.pause()))

    watch(loja, pause_once)
    await asyncio.sleep(CHECK + 60)
    assert pausing
    assert (await runs(loja))[-1]["result"] == "paused"
    line = await entry(loja, "products", "download")
    assert line is not None
    missing = 2002 - await loja.count(Product)
    assert line["records"] == missing > 0
    await loja.resume()
    await asyncio.sleep(MINUTE)
    assert await loja.count(Product) == 2002
    assert (await runs(loja))[-1]["records_down"] == missing


@told
async def test_outside_its_hours_a_scheduled_link_waits_and_a_live_one_does_not(street: Street) -> None:
    # It is ten in the morning.
    loja = await street.store(hours="22:00-06:00")
    caixa = await street.open("caixa1", hours="22:00-06:00", live=True)
    await until(lambda: caixa.initial_done)
    await sell(caixa, "s1")
    await asyncio.sleep(11 * HOUR)
    assert await loja.count(Sale) == 1
    assert await street.nodes["gestao"].count(Sale) == 0
    line = await entry(loja, "sales")
    assert line is not None
    assert (line["cause"], line["turn"]) == ("hours", "node")
    assert line["when_ms"] - loja.ledger.clock.now_ms() == pytest.approx(HOUR * 1000, abs=60_000)
    answer = await loja.sync()
    assert (answer["accepted"], answer["reason"]) == (False, "hours")
    assert answer["available_seconds"] == pytest.approx(HOUR, abs=60)
    await asyncio.sleep(HOUR)
    assert await street.nodes["gestao"].count(Sale) == 1


@told
async def test_a_live_link_that_says_so_keeps_its_hours_too(street: Street) -> None:
    loja = await street.store()
    caixa = await street.open("caixa1", hours="22:00-06:00", live=True, limit_live=True)
    await until(lambda: caixa.initial_done)
    await sell(caixa, "s1")
    await asyncio.sleep(11 * HOUR)
    assert await loja.count(Sale) == 0
    await asyncio.sleep(2 * HOUR)
    assert await loja.count(Sale) == 1


@told
async def test_a_live_change_goes_at_once_and_those_behind_it_go_together(street: Street) -> None:
    loja = await street.store(live=True)
    gestao = street.nodes["gestao"]
    pokes: list[float] = []
    clock = asyncio.get_running_loop()
    poke = loja._poke

    def noted() -> None:
        pokes.append(clock.time())
        poke()

    loja._poke = noted  # type: ignore[method-assign]
    await asyncio.sleep(MINUTE)
    began = clock.time()
    for number in range(10):
        await sell(loja, f"s{number}")
        await asyncio.sleep(limits.LIVE_SECONDS / 20)
    await asyncio.sleep(MINUTE)
    assert await gestao.count(Sale) == 10
    assert pokes == pytest.approx([began, began + limits.LIVE_SECONDS])


@pytest.mark.parametrize("live", [False, True])
def test_a_limit_holds_in_both_directions_and_not_for_a_live_link(live: bool) -> None:
    @told
    async def story(street: Street) -> None:
        loja = await street.store(limit_kb_s=20, live=live)
        gestao = street.nodes["gestao"]
        loop = asyncio.get_running_loop()
        for writer, reader in ((gestao, loja), (loja, gestao)):
            await loja.pause()
            name = writer.config.device
            await writer.load(Product, ({"id": f"{name}{n}", "name": "x" * 500} for n in range(2000)))
            began = loop.time()
            await loja.resume()
            await asyncio.sleep(1)
            want = await writer.count(Product)
            while await reader.count(Product) < want:  # noqa: ASYNC110 - looked at from outside
                await asyncio.sleep(1)
            size = max((await runs(loja))[-1][f"bytes_{'down' if writer is gestao else 'up'}"], 1_000_000)
            seconds = loop.time() - began
            assert (seconds < 10) if live else (seconds >= size / 20_000 - 5)

    story()


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"hours": "8-10"}, "hours = '8-10' is not of the form 22:00-06:00"),
        ({"time_zone": "Brazil/Nowhere"}, "time_zone = 'Brazil/Nowhere' is not known"),
        ({"limit_kb_s": 4}, "limit_kb_s = 4 is less than 16"),
        ({"history_days": 0}, "history_days = 0 is not greater than 0"),
        ({"history_days": 400}, "history_failed_days = 365 is less than history_days = 400"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_with_the_key(setting: dict[str, Any], problem: str) -> None:
    @told
    async def story(street: Street) -> None:
        with pytest.raises(ConfigError, match=problem):
            await street.open("gestao", **setting)

    story()
