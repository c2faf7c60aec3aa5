"""Queue: exact counts, what waits for what and why, percentages, and the waiting records themselves page by page."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync.errors import BadRequest, UnknownCategory
from tests.synchronization.street import (
    BEGIN,
    CHECK,
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
    from crdtsync.node.agenda import Agenda
    from crdtsync.node.run import Run


async def counts(node: Node) -> dict[tuple[str, str], int]:
    lines = (await node.queue())["categories"]
    return {(line["category"], line["direction"]): line["records"] for line in lines}


async def all_records(node: Node, limit: int = 7, **about: Any) -> list[dict[str, Any]]:
    """Every page after the other."""
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = await node.queue_records(limit=limit, after=after, **about)
        found += page["records"]
        assert len(page["records"]) <= limit
        after = page["after"]
        if after is None:
            assert page["total"] == len(found)
            return found


# -- counts ----------------------------------------------------------------------------------------------------


@told
async def test_records_to_send_are_counted_exactly_each_once_and_acknowledged_ones_are_gone(
    street: Street,
) -> None:
    loja = await street.store()
    assert await counts(loja) == {}
    await sell(loja, "s1", "s2", "s3")
    for value in (2, 3, 4):
        async with loja.transaction() as tx:
            (await tx.get(Product, "a")).price = Decimal(value)
    assert await counts(loja) == {("products", "upload"): 1, ("sales", "upload"): 3}
    assert await loja.waiting() == {"products": 1, "sales": 3}
    await asyncio.sleep(CHECK)
    assert await counts(loja) == {}


@told
async def test_what_came_from_above_is_never_counted_as_to_be_sent_not_even_in_the_middle(
    street: Street,
) -> None:
    gestao = await street.open("gestao")
    await gestao.load(Product, ({"id": f"p{n}", "name": "x" * 400} for n in range(1500)))
    loja = await street.open(STORE)
    uploads: list[int] = []
    asked: list[asyncio.Task[Any]] = []

    async def ask() -> None:
        uploads.append(sum(n for (_, direction), n in (await counts(loja)).items() if direction == "upload"))

    watch(loja, lambda _run: asked.append(asyncio.ensure_future(ask())))
    await until(lambda: loja.initial_done)
    await asyncio.gather(*asked)
    assert len(uploads) > 5
    assert set(uploads) == {0}


@told
async def test_a_store_counts_what_its_lanes_wrote_and_a_lane_only_its_own(street: Street) -> None:
    caixa = await street.lane()
    street.network.partition(STORE, "gestao")
    await sell(caixa, "s1", "s2")
    assert await counts(caixa) == {("sales", "upload"): 2}
    await caixa.sync(wait=True)
    assert await counts(caixa) == {}
    assert await counts(street.nodes[STORE]) == {("sales", "upload"): 2}


@told
async def test_after_a_cut_upload_only_what_was_not_acknowledged_waits_over_a_restart_too(
    street: Street,
) -> None:
    loja = await street.store()
    await note(loja, *(f"n{number}" for number in range(100)))
    await sell(loja, "s1")
    carry = street.network.carry

    async def lose_sales(sender: Any, message: bytes) -> None:
        if b"sales/" in message and b"\xa4data" in message[4:20]:
            # What was sent before has arrived and is acknowledged.
            await asyncio.sleep(1)
            street.network.partition(STORE)
            return
        await carry(sender, message)

    street.network.carry = lose_sales  # type: ignore[method-assign]
    await asyncio.sleep(CHECK + MINUTE)
    assert await street.nodes["gestao"].count(Note) == 100
    assert await counts(loja) == {("sales", "upload"): 1}
    await street.kill(STORE)
    loja = await street.open(STORE)
    assert await counts(loja) == {("sales", "upload"): 1}


@told
async def test_records_to_receive_are_what_the_last_check_found_less_what_came_with_its_time(
    street: Street,
) -> None:
    loja = await street.store()
    gestao = street.nodes["gestao"]
    await gestao.load(Product, ({"id": f"p{n}", "name": "x" * 400} for n in range(2000)))
    assert await entry(loja, "products", "download") is None  # nobody asked yet
    cut: list[float] = []

    def cut_once(run: Run) -> None:
        if not cut and run.down.get("products") and run.down["products"].records > 300:
            cut.append(loja.ledger.clock.now_ms())
            street.network.partition(STORE)

    watch(loja, cut_once)
    await asyncio.sleep(CHECK + MINUTE)
    for _ in range(2):
        line = await entry(loja, "products", "download")
        assert line is not None
        assert line["records"] == 2002 - await loja.count(Product)
        assert 0 <= cut[0] - line["as_of_ms"] < MINUTE * 1000
        assert (line["cause"], line["turn"]) == ("link_down", "upstream")
        await street.close(STORE)
        loja = await street.open(STORE)
    street.network.heal(STORE)
    await until(lambda: loja.connected, 2 * MINUTE)
    await asyncio.sleep(MINUTE)
    assert await counts(loja) == {}


# -- when, why, whose turn -------------------------------------------------------------------------------------


@told
async def test_a_category_says_when_it_goes_and_since_when_it_waits(street: Street) -> None:
    loja = await street.store()
    await asyncio.sleep(MINUTE)
    await sell(loja, "s1")
    since = loja.ledger.clock.now_ms()
    await asyncio.sleep(2 * MINUTE)
    await sell(loja, "s2")
    line = await entry(loja, "sales")
    assert line is not None
    assert (line["cause"], line["turn"], line["title"]) == ("schedule", "node", "Vendas")
    assert line["since_ms"] == since
    queue = await loja.queue()
    assert queue["next"] == {"trigger": "routine", "at_ms": line["when_ms"], "reason": None}
    wait = (line["when_ms"] - loja.ledger.clock.now_ms()) / 1000
    assert 0 < wait < CHECK - 3 * MINUTE
    await asyncio.sleep(wait - 1)
    assert await street.nodes["gestao"].count(Sale) == 0
    await asyncio.sleep(2)
    assert await street.nodes["gestao"].count(Sale) == 2


@told
async def test_a_category_waits_for_those_that_it_refers_to_and_says_so(street: Street) -> None:
    loja = await street.store()
    await products(loja, "c")
    await sell(loja, "s1", product="c")
    waits = await entry(loja, "sales")
    goes = await entry(loja, "products")
    assert waits is not None
    assert goes is not None
    assert (waits["cause"], waits["turn"], waits["waits_for"]) == ("category", "node", ["products"])
    assert (goes["cause"], goes["waits_for"]) == ("schedule", [])


@told
async def test_sales_wait_for_products_that_the_node_above_still_has_to_send(street: Street) -> None:
    loja = await street.store()
    await street.nodes["gestao"].load(Product, ({"id": f"p{n}", "name": "x" * 400} for n in range(1500)))
    await sell(loja, "s1")
    seen: list[Any] = []

    def look(run: Run) -> None:
        if run.ended is None and run.down.get("products") and 0 < run.down["products"].percent < 100:
            agenda: Agenda = loja.agenda
            seen.append(agenda.why("sales", "upload", {"products", "sales"}))
            seen.append(agenda.why("products", "download", {"products", "sales"}))

    watch(loja, look)
    await asyncio.sleep(CHECK)
    assert {(why.cause, why.turn, why.waits_for) for why in seen} == {
        ("category", "upstream", ("products",)),
        ("running", "node", ()),
    }


@told
async def test_without_its_link_everything_waits_for_the_node_above(street: Street) -> None:
    loja = await street.store()
    street.network.partition(STORE)
    await sell(loja, "s1")
    await asyncio.sleep(MINUTE)
    line = await entry(loja, "sales")
    assert line is not None
    assert (line["cause"], line["turn"], line["when_ms"]) == ("link_down", "upstream", None)
    queue = await loja.queue()
    assert queue["next"]["reason"] == "unreachable"
    assert queue["link"]["retry_ms"] is not None


@told
async def test_the_queue_of_a_node_that_does_not_run_is_read_from_its_store(street: Street) -> None:
    loja = await street.store()
    await sell(loja, "s1", "s2")
    await street.close(STORE)
    loja = await street.open(STORE, upstream=None, listen=False)
    queue = await loja.queue()
    assert queue["link"]["state"] == "stopped"
    assert [(line["category"], line["records"], line["cause"]) for line in queue["categories"]] == [
        ("sales", 2, "stopped")
    ]
    assert (await loja.queue_records())["total"] == 2
    assert len((await loja.history())["runs"]) == 1


# -- percent ---------------------------------------------------------------------------------------------------


@told
async def test_the_percentage_never_goes_back_and_never_passes_a_hundred(street: Street) -> None:
    loja = await street.store()
    gestao = street.nodes["gestao"]
    await gestao.load(Product, ({"id": f"p{n}", "name": "x" * 400} for n in range(1500)))
    await note(loja, *(f"n{number}" for number in range(300)))
    shown: list[int] = []
    by_category: dict[tuple[str, str], list[int]] = {}
    selling: list[asyncio.Task[None]] = []

    def look(run: Run) -> None:
        if run.ended is None:
            shown.append(run.percent())
            for direction, parts in (("down", run.down), ("up", run.up)):
                for category, part in parts.items():
                    by_category.setdefault((direction, category), []).append(part.percent)
            # Sales go on, so that the upload grows after it was planned.
            selling.append(asyncio.ensure_future(sell(loja, f"s{len(selling)}")))

    watch(loja, look)
    await asyncio.sleep(CHECK)
    await asyncio.gather(*selling)
    assert shown == sorted(shown)
    assert shown[0] == 0
    assert len(set(shown)) > 5
    assert 95 < shown[-1] <= 100
    for percents in by_category.values():
        assert percents == sorted(percents)
        assert percents[-1] == 100
    run = (await runs(loja))[-1]
    assert (run["records_down"], run["records_up"]) >= (1500, 301)


@told
async def test_the_queue_shows_the_run_that_is_going_on_with_its_percentage(street: Street) -> None:
    loja = await street.store()
    await street.nodes["gestao"].load(Product, ({"id": f"p{n}", "name": "x" * 400} for n in range(1500)))
    asked: list[asyncio.Task[dict[str, Any]]] = []

    def ask(run: Run) -> None:
        if run.ended is None and run.down.get("products") and 0 < run.down["products"].percent < 100:
            asked.append(asyncio.ensure_future(loja.queue()))

    watch(loja, ask)
    await asyncio.sleep(CHECK)
    queue = await asked[0]
    (line,) = queue["categories"]
    assert (queue["running"]["trigger"], queue["running"]["phase"]) == ("routine", "download")
    assert queue["running"]["percent"] == line["percent"] == 100 * line["moved"] // 1500
    assert (line["cause"], line["total"], line["records"]) == ("running", 1500, 1500 - line["moved"])
    assert queue["button"]["reason"] == "running"
    assert (await loja.queue())["running"] is None


# -- records ---------------------------------------------------------------------------------------------------


@told
async def test_the_waiting_records_come_page_by_page_each_once_with_its_cause_and_whose_turn_it_is(
    street: Street,
) -> None:
    loja = await street.store()
    await products(loja, *(f"c{number:02}" for number in range(20)))
    await sell(loja, *(f"s{number:02}" for number in range(15)), product="c01")
    async with loja.transaction() as tx:
        (await tx.get(Product, "c05")).price = Decimal(3)
    records = await all_records(loja)
    assert [(r["category"], r["key"]) for r in records] == [
        *(("products", f"c{number:02}") for number in range(20)),
        *(("sales", f"s{number:02}") for number in range(15)),
    ]
    assert {(r["category"], r["cause"], r["turn"]) for r in records} == {
        ("products", "schedule", "node"),
        ("sales", "category", "node"),
    }
    assert {tuple(r["waits_for"]) for r in records if r["category"] == "sales"} == {("products",)}
    assert len(await all_records(loja, category="sales")) == 15
    assert await all_records(loja, direction="download") == []
    for line in (await loja.queue())["categories"]:
        assert line["records"] == len(await all_records(loja, category=line["category"]))


@told
async def test_a_page_is_right_though_records_came_and_went_since_the_one_before(street: Street) -> None:
    loja = await street.store()
    await note(loja, *(f"n{number}0" for number in range(1, 10)))
    page = await loja.queue_records(limit=4)
    assert [record["key"] for record in page["records"]] == ["n10", "n20", "n30", "n40"]
    await note(loja, "n15", "n45")
    following = await loja.queue_records(limit=4, after=page["after"])
    assert [record["key"] for record in following["records"]] == ["n45", "n50", "n60", "n70"]
    await asyncio.sleep(CHECK)
    assert await loja.queue_records(after=following["after"]) == {"records": [], "after": None, "total": 0}


@told
async def test_a_page_of_ten_thousands_is_bounded_in_time(street: Street) -> None:
    loja = await street.store()
    await loja.load(Note, ({"id": f"n{number:05}", "text": "x"} for number in range(50_000)))
    first = await loja.queue_records(limit=100)
    assert first["total"] == 50_000
    took: list[float] = []
    page, after = first, first["after"]
    for _ in range(20):
        began = time.perf_counter()
        page = await loja.queue_records(limit=100, after=after)
        took.append(time.perf_counter() - began)
        after = page["after"]
    assert page["records"][-1]["key"] == "n02099"
    # Generous for a busy machine: it takes less than a millisecond on a quiet one.
    assert sorted(took)[10] < 0.1


@told
async def test_half_a_transaction_and_a_parked_batch_wait_with_their_cause(street: Street) -> None:
    loja = await street.store()
    caixa = await street.open("caixa1")
    await until(lambda: caixa.initial_done, 2 * MINUTE)
    street.network.partition("caixa1")
    async with caixa.transaction() as tx:
        tx.create(Sale, id="s1", at=BEGIN, product="a")
        tx.create(Note, id="n1", text="x")
    held = loja.ledger.vectors(["notes"])["notes"]
    diff = await caixa.ledger.pieces("notes", held)
    for update, _ in diff.updates:
        await loja.ledger.receive("notes", update, lambda _replica: True)
    (record,) = await all_records(loja, direction="download")
    assert (record["category"], record["key"]) == ("notes", "n1")
    assert (record["cause"], record["turn"]) == ("transaction", "upstream")


@told
async def test_what_no_page_gave_out_and_what_does_not_exist_is_refused(street: Street) -> None:
    loja = await street.store()
    with pytest.raises(BadRequest, match="leave it out to begin again"):
        await loja.queue_records(after="7")
    with pytest.raises(BadRequest, match="limit = 0"):
        await loja.queue_records(limit=0)
    with pytest.raises(BadRequest, match="direction = 'up'"):
        await loja.queue_records(direction="up")
    with pytest.raises(UnknownCategory, match="product"):
        await loja.queue_records(category="product")
