"""History: a row for each run and each category in it, what leaves none, what a crash leaves, how long rows stay."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync.errors import BadRequest
from crdtsync.locale import told as said_in
from crdtsync.said import from_form
from tests.synchronization.street import (
    BEGIN,
    CHECK,
    COOLDOWN,
    DAY,
    HOUR,
    MINUTE,
    STORE,
    Product,
    Street,
    note,
    products,
    runs,
    sell,
    told,
    until,
    watch,
)

if TYPE_CHECKING:
    from crdtsync.node.run import Run
    from crdtsync.state.document import Change


def parts(run: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(part["category"], part["direction"]): part["records"] for part in run["categories"]}


@told
async def test_a_run_leaves_one_row_and_one_for_each_category_in_it(street: Street) -> None:
    loja = await street.store()
    await sell(loja, "s1", "s2")
    await products(loja, "c")
    await note(street.nodes["gestao"], "n1", "n2", "n3")
    before = loja.ledger.clock.now_ms()
    await asyncio.sleep(CHECK)
    run = (await runs(loja))[-1]
    assert (run["trigger"], run["result"], run["detail"], run["day"]) == ("routine", "done", "", "2026-11-24")
    assert before < run["started_ms"] <= run["ended_ms"] <= loja.ledger.clock.now_ms()
    assert (run["records_down"], run["records_up"]) == (3, 3)
    assert parts(run) == {("notes", "download"): 3, ("products", "upload"): 1, ("sales", "upload"): 2}
    assert [part["title"] for part in run["categories"]] == ["Notas", "Produtos", "Vendas"]
    assert run["bytes_down"] == sum(p["bytes"] for p in run["categories"] if p["direction"] == "download") > 0
    assert run["bytes_up"] == sum(p["bytes"] for p in run["categories"] if p["direction"] == "upload") > 0


@told
async def test_each_trigger_is_named(street: Street) -> None:
    loja = await street.store()
    await sell(loja, "s1")
    await asyncio.sleep(CHECK)
    await sell(loja, "s2")
    await loja.sync(wait=True)
    street.network.cut(STORE)
    await sell(loja, "s3")
    await asyncio.sleep(2 * MINUTE)
    await street.close(STORE)
    loja = await street.open(STORE, live=True)
    await asyncio.sleep(MINUTE)
    await sell(loja, "s4")
    await asyncio.sleep(MINUTE)
    found = [run["trigger"] for run in await runs(loja)]
    assert found == ["initial", "routine", "manual", "reconnect", "live"]


@told
async def test_a_check_that_finds_nothing_and_an_attempt_that_finds_nobody_leave_no_row(
    street: Street,
) -> None:
    loja = await street.store()
    await asyncio.sleep(3 * CHECK)
    street.network.partition(STORE)
    await asyncio.sleep(3 * CHECK)
    assert len(await runs(loja)) == 1


@told
async def test_the_row_is_stored_before_the_first_record_moves(street: Street) -> None:
    gestao = await street.open("gestao")
    await gestao.load(Product, ({"id": f"p{n}", "name": "x" * 400} for n in range(1000)))
    loja = await street.open(STORE)
    seen: list[str] = []

    def look(run: Run) -> None:
        if not seen and run.down and not run.bytes:
            stored = street.disks[STORE]._opened().read(lambda view: view.runs())
            seen.extend(row.result for row in stored)

    watch(loja, look)
    await until(lambda: loja.initial_done)
    assert seen == ["running"]


@told
async def test_a_run_cut_by_a_crash_appears_as_interrupted_with_what_was_stored(street: Street) -> None:
    gestao = await street.open("gestao")
    # More than may be on its way at once, so that the crash comes in the middle.
    await gestao.load(Product, ({"id": f"p{n}", "name": "x" * 400} for n in range(9000)))
    street.network.faults.delay = 1.0
    loja = await street.open(STORE)
    arrived = asyncio.Event()
    rows: list[int] = []

    def count(changes: list[Change]) -> None:
        rows.extend(len(change.rows) for change in changes if change.category == "products")
        if sum(rows) >= 1000:
            arrived.set()

    loja.ledger.on_change.append(count)
    async with asyncio.timeout(10 * MINUTE):
        await arrived.wait()
    assert await loja.count(Product) < 9000
    await street.kill(STORE)
    street.network.faults.delay = 0.001
    loja = await street.open(STORE)
    cut = (await runs(loja))[0]
    assert (cut["trigger"], cut["result"], cut["ended_ms"], cut["seconds"]) == (
        "initial",
        "interrupted",
        None,
        None,
    )
    await until(lambda: loja.initial_done)
    history = await runs(loja)
    assert [run["result"] for run in history] == ["interrupted", "done"]
    assert cut["records_down"] <= 9000 - history[1]["records_down"] < 9000


@told
async def test_a_run_that_a_clean_stop_ends_is_interrupted_with_its_figures_and_its_end(
    street: Street,
) -> None:
    gestao = await street.open("gestao")
    await gestao.load(Product, ({"id": f"p{n}", "name": "x" * 400} for n in range(2000)))
    loja = await street.open(STORE)
    moved: list[int] = []
    watch(loja, lambda run: moved.append(run.down["products"].records) if run.down.get("products") else None)
    await until(lambda: bool(moved) and moved[-1] > 300, 10 * MINUTE)
    await street.close(STORE)
    loja = await street.open(STORE)
    cut = (await runs(loja))[0]
    assert (cut["result"], cut["detail"]) == ("interrupted", "the node was stopped")
    assert cut["ended_ms"] is not None
    assert cut["records_down"] >= 300


@told
async def test_a_run_that_breaks_is_failed_with_its_reason_and_the_next_takes_the_rest(
    street: Street,
) -> None:
    loja = await street.store()
    await street.nodes["gestao"].load(Product, ({"id": f"p{n}", "name": "x" * 400} for n in range(2000)))
    cut: list[Run] = []

    def cut_once(run: Run) -> None:
        if not cut and run.down.get("products") and run.down["products"].records > 300:
            cut.append(run)
            street.network.cut(STORE)

    watch(loja, cut_once)
    await asyncio.sleep(CHECK + 2 * MINUTE)
    failed, rest = (await runs(loja))[-2:]
    assert (failed["result"], failed["trigger"]) == ("failed", "routine")
    assert failed["detail"].startswith("the node above does not answer (unreachable: ")
    assert said_in(from_form(failed["detail"], failed["said"]), "pt").startswith(
        "a estação de cima não responde ("
    )
    assert (rest["result"], rest["trigger"]) == ("done", "reconnect")
    assert failed["records_down"] + rest["records_down"] == 2000


@told
async def test_a_date_set_back_during_a_run_gives_no_run_that_ends_before_it_began(street: Street) -> None:
    gestao = await street.open("gestao")
    await products(gestao, "a")
    street.network.faults.delay = 5.0
    loja = await street.open(STORE)
    await until(lambda: loja.uplink.run_now is not None, 10 * MINUTE)
    street.clocks[STORE].shift = -DAY
    await until(lambda: loja.initial_done, 10 * MINUTE)
    (run,) = await runs(loja)
    assert 0 < run["seconds"] < 10 * MINUTE


@told
async def test_pendencies_that_opened_and_closed_during_a_run_are_counted(street: Street) -> None:
    loja = await street.store()
    gestao = street.nodes["gestao"]

    async def price(product: str, value: int) -> None:
        async with gestao.transaction() as tx:
            (await tx.get(Product, product)).price = Decimal(value)

    await price("a", -1)
    await price("b", -1)
    await asyncio.sleep(CHECK)
    await price("a", 1)
    await asyncio.sleep(CHECK)
    await price("b", -2)
    await asyncio.sleep(CHECK)
    counted = [(run["pendencies_opened"], run["pendencies_closed"]) for run in await runs(loja)]
    # The third run brings other evidence of a pendency that is open: it neither opens nor closes.
    assert counted == [(0, 0), (2, 0), (0, 1), (0, 0)]


@told
async def test_today_and_the_last_three_days_are_at_hand_and_days_are_those_of_the_store(
    street: Street,
) -> None:
    loja = await street.store()
    # Every six hours for a week, at 4, 10, 16 and 22 o'clock in the store.
    for number in range(28):
        await sell(loja, f"s{number}")
        await asyncio.sleep(6 * HOUR)
    answer = await loja.history()
    assert (answer["time_zone"], answer["today"]) == ("America/Sao_Paulo", "2026-12-01")
    by_day = Counter(run["day"] for run in answer["runs"])
    # An evening run is of the same day here, though it is of the next in UTC.
    assert by_day == {"2026-11-28": 4, "2026-11-29": 4, "2026-11-30": 4, "2026-12-01": 1}
    assert [run["day"] for run in await runs(loja, days=1)] == ["2026-12-01"]
    everything = await runs(loja)
    pages: list[Any] = []
    before: int | None = None
    while True:
        page = await loja.history(days=30, limit=10, before=before)
        pages += page["runs"]
        before = page["before"]
        if before is None:
            break
    assert pages[::-1] == everything
    with pytest.raises(BadRequest, match="days = 0"):
        await loja.history(days=0)


@told
async def test_runs_are_kept_ninety_days_and_those_that_were_not_whole_a_year(street: Street) -> None:
    loja = await street.store()
    broken: list[Run] = []

    def break_once(run: Run) -> None:
        if not broken and run.up.get("sales"):
            broken.append(run)
            street.network.cut(STORE)

    watch(loja, break_once)
    await sell(loja, "s1")
    await asyncio.sleep(CHECK + 2 * MINUTE)
    await loja.pause()
    assert [run["result"] for run in await runs(loja)] == ["done", "failed", "done"]
    limit = BEGIN.timestamp() * 1000
    await asyncio.sleep(89 * DAY)
    assert len(await runs(loja)) == 3
    await asyncio.sleep(DAY + HOUR)
    assert [run["result"] for run in await runs(loja)] == ["failed"]
    street.clocks[STORE].shift = 274 * DAY
    await asyncio.sleep(HOUR)
    assert (await runs(loja))[0]["started_ms"] < limit + HOUR * 1000
    street.clocks[STORE].shift = 276 * DAY
    await asyncio.sleep(HOUR)
    assert await runs(loja, days=3000) == []


@told
async def test_the_retention_is_the_operators_choice(street: Street) -> None:
    loja = await street.store(history_days=2, history_failed_days=5)
    await asyncio.sleep(2 * DAY - HOUR)
    assert len(await runs(loja)) == 1
    await asyncio.sleep(3 * HOUR)
    assert await runs(loja) == []


@told
async def test_small_live_runs_share_a_row_and_a_large_one_has_its_own(street: Street) -> None:
    loja = await street.store(live=True)
    await asyncio.sleep(MINUTE)
    for number in range(30):
        await sell(loja, f"s{number}")
        await asyncio.sleep(MINUTE)
    await note(loja, *(f"n{number}" for number in range(150)))
    await asyncio.sleep(MINUTE)
    await sell(loja, "last")
    await asyncio.sleep(MINUTE)
    history = (await runs(loja))[1:]
    assert {run["trigger"] for run in history} == {"live"}
    assert [run["gathered"] for run in history] == [15, 15, 1, 1]
    assert [run["records_up"] for run in history] == [15, 15, 150, 1]
    assert parts(history[0]) == {("sales", "upload"): 15}
    assert history[0]["ended_ms"] - history[0]["started_ms"] == pytest.approx(14 * MINUTE * 1000, abs=2000)


@told
async def test_history_belongs_to_the_link_up_and_the_upper_node_shows_when_it_heard_of_the_lower(
    street: Street,
) -> None:
    caixa = await street.lane()
    await sell(caixa, "s1")
    await asyncio.sleep(CHECK + COOLDOWN)
    assert await runs(street.nodes["gestao"]) == []
    loja = street.nodes[STORE]
    assert all(run["records_up"] == 0 for run in await runs(loja) if run["trigger"] == "initial")
    assert len(await runs(caixa)) == 2
    heard = loja.uplink.memory.heard
    await street.close("caixa1")
    await asyncio.sleep(2 * MINUTE)
    await street.kill(STORE)
    street.network.partition("caixa1")
    loja = await street.open(STORE)
    assert loja.uplink.memory.heard["caixa1"] == heard["caixa1"] > 0


@told
async def test_a_listener_that_raises_stops_neither_the_writer_nor_the_link(street: Street) -> None:
    loja = await street.store()
    told_of: list[str] = []

    def fault(what: object) -> None:
        told_of.append(type(what).__name__)
        raise ZeroDivisionError

    loja.ledger.on_change.insert(0, fault)
    loja.on_run.append(fault)
    await sell(loja, "s1")
    await sell(loja, "s2")
    await until(lambda: not loja.uplink.lacking(), 2 * CHECK)
    assert {"list", "Run"} <= {*told_of}
    assert loja.trouble is None
