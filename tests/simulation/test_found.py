"""What the simulation found, each as the shortest story that shows it."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from adapters.account_settings import AccountSetting
from crdtsync.node.quarantine import META_KEY, Held, dump_held
from crdtsync.pendencies.records import Decision, Incident, Person
from crdtsync.protocol.frames import decode_frame
from crdtsync.protocol.session import Broken, Session
from crdtsync.protocol.table import Side
from crdtsync.schema import Entity, Key, Once, Role, Schema, by_due_month, load_installed
from crdtsync.state.document import Op
from crdtsync.state.salvage import Beyond
from crdtsync.storage.base import Commit
from crdtsync.storage.tables import table_specs
from crdtsync.testing.cluster import Cluster, Disk, Doom, Member
from crdtsync.testing.loop import VirtualLoop, run_virtual
from crdtsync.testing.model import Written
from crdtsync.testing.simulation import run_schedule
from crdtsync.testing.verdict import judge
from crdtsync.transport.memory import Faults, MemoryChannel
from tests.simulation.shop import Article, Group, Item, shop

if TYPE_CHECKING:
    from collections.abc import Callable

    from crdtsync.node import Node


async def started(
    seed: int, *, live: bool, lanes: tuple[int, ...] = (1,), schema: Schema | None = None
) -> Cluster:
    """A head office, its stores and lanes that hold all there is, with no fault but those that a story brings."""
    cluster = Cluster(Random(seed), schema or shop(), lanes=lanes, faults=Faults(), live=live)
    for member in cluster.members.values():
        await cluster.start(member)
    await asyncio.sleep(10)
    return cluster


def lose(cluster: Cluster, kind: str) -> tuple[asyncio.Event, Callable[[], None]]:
    """Lose every frame of a kind; return what is set when one was lost, and what lets them through again."""
    carry, lost = cluster.network.carry, asyncio.Event()
    name = bytes([0xA0 + len(kind)]) + kind.encode()

    async def lose_it(sender: MemoryChannel, message: bytes) -> None:
        if name in message[4:20]:
            lost.set()
        else:
            await carry(sender, message)

    def go_on() -> None:
        cluster.network.carry = carry  # type: ignore[method-assign]

    cluster.network.carry = lose_it  # type: ignore[method-assign]
    return lost, go_on


def test_an_answer_that_never_comes_ends_the_link_and_the_next_one_goes_on() -> None:
    async def story() -> None:
        cluster = await started(1, live=False)
        carry = cluster.network.carry
        lost: list[bytes] = []

        async def lose_one_ended(sender: MemoryChannel, message: bytes) -> None:
            if not lost and b"\xa5ended" in message[4:20]:
                lost.append(message)
            else:
                await carry(sender, message)

        cluster.network.carry = lose_one_ended  # type: ignore[method-assign]
        lane = cluster.members["caixa1"].running
        for code in ("a1", "a2"):
            async with lane.transaction() as tx:
                tx.create(Article, code=code, name="x")
            await asyncio.sleep(200)

        assert lost
        assert await cluster.members["gestao"].running.count(Article) == 2

    run_virtual(story(), VirtualLoop(10_000))


def test_pokes_do_not_stand_in_for_the_answer_that_is_owed() -> None:
    async def story() -> None:
        cluster = await started(2, live=True)
        carry = cluster.network.carry
        lost: list[bytes] = []

        async def lose_one_check(sender: MemoryChannel, message: bytes) -> None:
            if not lost and b"\xa5check" in message[4:20]:
                lost.append(message)
            else:
                await carry(sender, message)

        cluster.network.carry = lose_one_check  # type: ignore[method-assign]
        head_office = cluster.members["gestao"].running
        for number in range(10):
            async with head_office.transaction() as tx:
                tx.create(Article, code=f"a{number}", name="x")
            await asyncio.sleep(10)

        assert lost
        assert await cluster.members["caixa1"].running.count(Article) == 10

    run_virtual(story(), VirtualLoop(10_000))


@pytest.mark.parametrize("reader", ["loja1", "caixa1"])
def test_what_was_seen_of_a_transaction_that_came_in_two_runs_is_known_in_the_end(reader: str) -> None:
    writer = {"loja1": "caixa1", "caixa1": "loja1"}[reader]

    async def story() -> None:
        cluster = await started(2, live=True)
        carry = cluster.network.carry
        dead: list[bytes] = []

        async def die_between_the_parts(sender: MemoryChannel, message: bytes) -> None:
            ends = {sender.here, sender.there}
            if ends == {writer, reader} and (dead or b"doc\xabitems/loja1" in message[4:40]):
                dead.append(message)
            else:
                await carry(sender, message)

        cluster.network.carry = die_between_the_parts  # type: ignore[method-assign]
        source, target = cluster.members[writer].running, cluster.members[reader].running
        async with source.transaction() as tx:
            tx.create(Article, code="a1", name="x")
            tx.create(Item, article="a1").balance.add(3)
        await asyncio.sleep(2)
        assert target.ledger.heads["articles"][source.ledger.replica].visible == 0
        # Nobody uses the document meanwhile.
        target.ledger.unload()
        cluster.network.carry = carry  # type: ignore[method-assign]
        await asyncio.sleep(100)
        head = target.ledger.heads["articles"][source.ledger.replica]
        assert head.visible == 1
        async with source.transaction() as tx:
            (await tx.get(Item, "a1")).balance.add(1)
        await asyncio.sleep(100)
        head = target.ledger.heads["articles"][source.ledger.replica]
        assert (head.visible, head.cut) == (1, 1)

    run_virtual(story(), VirtualLoop(10_000))


def test_a_plan_that_asks_for_a_forgotten_cut_names_no_more_of_the_document_than_both_held() -> None:
    """Seeds 90 and 490: what came into the document between the digests and the plan was promised and not sent."""

    async def story() -> None:
        cluster = await started(2, live=False)
        carry = cluster.network.carry
        lane, store = cluster.members["caixa1"].running, cluster.members["loja1"].running
        async with lane.transaction() as tx:
            tx.create(Article, code="a1", name="x")
        await asyncio.sleep(10)
        late: list[bytes] = []

        async def write_between_digests_and_plan(sender: MemoryChannel, message: bytes) -> None:
            if (
                not late
                and (sender.here, sender.there) == ("caixa1", "loja1")
                and b"\xa5heads" in message[4:20]
            ):
                late.append(message)
                async with store.transaction() as tx:
                    tx.create(Article, code="a2", name="y")
            await carry(sender, message)

        cluster.network.carry = write_between_digests_and_plan  # type: ignore[method-assign]
        # As after a transaction whose parts came in two runs.
        for heads in (store.ledger.heads, store.ledger._working):
            heads["articles"][lane.ledger.replica].cut = 0
        store.ledger.unload()
        async with lane.transaction() as tx:
            tx.create(Item, article="a1")
        await asyncio.sleep(100)

        assert late
        assert cluster.findings == []
        assert store.ledger.heads["articles"][lane.ledger.replica].cut == 1
        assert await lane.count(Article) == 2

    run_virtual(story(), VirtualLoop(10_000))


def test_a_node_closes_although_its_connection_ended_in_the_same_instant() -> None:
    async def story() -> None:
        cluster = await started(3, live=False)
        cluster.network.cut("caixa1")

        await cluster.stop(cluster.members["caixa1"])

    run_virtual(story(), VirtualLoop(10_000))


def test_what_was_uploaded_is_not_waiting_any_more() -> None:
    async def story() -> None:
        cluster = await started(3, live=False)
        lane = cluster.members["caixa1"].running
        async with lane.transaction() as tx:
            tx.create(Article, code="a1", name="x")
        assert await lane.waiting() == {"articles": 1}
        await asyncio.sleep(10)

        assert await lane.waiting() == {}
        assert await lane.ledger.compact("articles")

    run_virtual(story(), VirtualLoop(10_000))


def test_a_session_ticked_at_its_deadline_never_asks_for_the_same_instant_again() -> None:
    for sevenths in range(1, 500):
        session = Session(Side.DOWN, sevenths / 7, {}, {})
        due = session.deadline()
        assert due is not None

        assert [type(event) for event in session.tick(due)] == [Broken]


def test_a_fault_that_nobody_foresaw_ends_the_link_once_and_not_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        cluster = await started(4, live=False)
        lane = cluster.members["caixa1"].running
        receive = lane.ledger.receive

        async def stumble(*_facts: Any) -> Any:
            lane.ledger.receive = receive  # type: ignore[method-assign]
            raise TypeError("an adapter's fault")

        lane.ledger.receive = stumble  # type: ignore[method-assign,assignment]
        async with cluster.members["gestao"].running.transaction() as tx:
            tx.create(Article, code="a1", name="x")
        await asyncio.sleep(100)

        assert await lane.count(Article) == 1

    with caplog.at_level(logging.ERROR):
        run_virtual(story(), VirtualLoop(10_000))
    assert "an adapter's fault" in caplog.text


@pytest.mark.parametrize("power", [None, "before", "after"])
def test_the_model_knows_what_a_node_writes_of_itself(power: Doom | None) -> None:
    async def story() -> None:
        cluster = Cluster(Random(5), Schema([Person, Incident]), lanes=(1,), faults=Faults(), live=False)
        lane, store = cluster.members["caixa1"], cluster.members["loja1"]
        for member in cluster.members.values():
            member.clock.skew_ms = 0
            await cluster.start(member)
        await asyncio.sleep(10)
        lane.clock.skew_ms = 3_600_000
        if power:
            cluster.doom(store, power)
        cluster.network.cut("caixa1")
        await asyncio.sleep(10)
        # It meets the lane once more before anybody notices that it died.
        lane.clock.skew_ms += 1
        cluster.network.cut("caixa1")
        await asyncio.sleep(10)
        assert store.died is bool(power)
        assert bool(store.unasked) is bool(power)
        assert await cluster.settle()
        await judge(cluster)

        assert await cluster.members["gestao"].running.count(Incident) > 0
        assert cluster.findings == []

    run_virtual(story(), VirtualLoop(10_000))


def test_the_model_knows_what_an_entity_adds_to_a_transaction() -> None:
    assert run_schedule(1, Schema([AccountSetting])).found == []


def test_the_model_knows_that_a_restored_node_saw_nothing_of_the_other_branch_in_the_sequences_of_its_compaction() -> (
    None
):
    """Seed 2932: put back to sequence 2, it compacted its log in 3 and 4, where the node above had other writes."""
    cluster = Cluster(Random(0), load_installed(), lanes=(1,), faults=Faults(), live=False)
    member = next(iter(cluster.members.values()))
    member.parted = {"stock/loja1": (2, {99})}
    op = Op("count", "balance#", 6)
    seen = {7: 4, 9: 5}
    written = Written(
        7,
        100,
        {"stock/loja1": 5},
        {"stock/loja1": {"p1": [op]}},
        {"stock/loja1": dict(seen)},
        {"stock/loja1": dict(seen)},
    )
    cluster._move(member, [written], 7, {("stock/loja1", 100): (8, 1)})
    assert (written.replica, written.parts) == (8, {"stock/loja1": 1})
    assert written.shown == written.closed == {"stock/loja1": {7: 2, 9: 5}}


def test_a_restored_node_takes_nothing_that_knew_the_other_branch_of_its_log_before_the_branches_are_one() -> (
    None
):
    """Seed 3491: the link broke between the download and the fence, and what was written then was taken for long replaced."""

    async def story() -> None:
        cluster = await started(1, live=False)
        store, member = cluster.members["loja1"].running, cluster.members["caixa1"]

        async def call(node: Node, name: str) -> None:
            async with node.transaction() as tx:
                (await tx.get(Article, "a1")).name = name

        async def name_at(node: Node) -> str:
            (article,) = await node.find(Article)
            return article.name

        async with store.transaction() as tx:
            tx.create(Article, code="a1", name="new")
        await asyncio.sleep(60)
        cluster.back_up(member)
        await call(member.running, "of the lane, lost with its disk")
        await asyncio.sleep(60)
        assert await name_at(store) == "of the lane, lost with its disk"
        await cluster.stop(member)
        await call(store, "of the store, that had seen it")
        await cluster.start(member)

        assert await cluster.restore(member, whole=True)
        downloaded, go_on = lose(cluster, "fence")
        await cluster.start(member)
        await downloaded.wait()
        await asyncio.sleep(1)
        await call(member.running, "of the lane, after its restore")
        assert await name_at(member.running) == "of the lane, after its restore"
        go_on()
        await asyncio.sleep(200)
        for one in cluster.members.values():
            assert await name_at(one.running) == "of the lane, after its restore"

    run_virtual(story(), VirtualLoop(10_000))


async def store_restored(cluster: Cluster, *, lost: int, since: int, stocked: bool = True) -> None:
    """What the store lost the lane holds and the head office never had; the store wrote on, and met the head office since.

    ``lost`` articles, with their stock when ``stocked``, and ``since`` with their stock.
    """
    member, lane = cluster.members["loja1"], cluster.members["caixa1"].running
    before = await lane.count(Article)
    cluster.network.partition("gestao")
    cluster.back_up(member)
    await offer(member.running, "a", lost, stocked=stocked)
    await asyncio.sleep(60)
    assert await lane.count(Article) == before + lost
    cluster.network.partition("caixa1")
    assert await cluster.restore(member, whole=True)
    await cluster.start(member)
    await offer(member.running, "b", since)
    cluster.network.heal("gestao")
    await asyncio.sleep(200)
    assert await cluster.members["gestao"].running.count(Article) == before + since


async def offer(node: Node, prefix: str, count: int, *, stocked: bool = True) -> None:
    """Write that many articles, each in a transaction, and with its stock in two documents."""
    for number in range(count):
        async with node.transaction() as tx:
            tx.create(Article, code=f"{prefix}{number}", name=prefix)
            if stocked:
                tx.create(Item, article=f"{prefix}{number}").balance.add(1)


async def uploaded_but_for_the_end(cluster: Cluster) -> Callable[[], None]:
    """Let the lane connect again and lose the end of its upload; return what lets it through."""
    uploaded, go_on = lose(cluster, "end")
    cluster.network.heal("caixa1")
    await uploaded.wait()
    await asyncio.sleep(1)
    return go_on


async def everywhere(cluster: Cluster, articles: int, items: int) -> None:
    for one in cluster.members.values():
        assert (await one.running.count(Article), await one.running.count(Item)) == (articles, items)


def test_a_restored_store_gets_back_from_a_lane_what_it_lost_though_it_wrote_more_since() -> None:
    """It sent its own branch down first, of two documents, and the lane refused the one or the other for ever."""

    async def story() -> None:
        cluster = await started(1, live=False)
        await store_restored(cluster, lost=2, since=6)
        cluster.network.heal("caixa1")
        await asyncio.sleep(200)
        await everywhere(cluster, 8, 8)

    run_virtual(story(), VirtualLoop(10_000))


def test_a_restored_store_takes_nothing_from_a_lane_that_knew_the_other_branch_before_the_branches_are_one() -> (
    None
):
    """The link breaks before the end of the upload: the store has nothing yet, and the lane believes nothing else."""

    async def story() -> None:
        cluster = await started(1, live=False)
        await store_restored(cluster, lost=2, since=6)
        store, lane = cluster.members["loja1"].running, cluster.members["caixa1"].running
        async with lane.transaction() as tx:
            (await tx.get(Article, "a1")).name = "of the lane, that saw what was lost"
        go_on = await uploaded_but_for_the_end(cluster)
        assert lane.ledger.replica not in store.ledger.heads["articles"]
        assert await lane.waiting() == {"articles": 1}
        go_on()
        await asyncio.sleep(200)
        assert await lane.waiting() == {}
        for one in cluster.members.values():
            article = await one.running.get(Article, "a1")
            assert article is not None
            assert article.name == "of the lane, that saw what was lost"
        await everywhere(cluster, 8, 8)

    run_virtual(story(), VirtualLoop(10_000))


def test_a_lane_is_not_shown_half_a_transaction_of_a_restored_store_whose_branches_are_not_one() -> None:
    """Only the articles went on elsewhere; the stock that the store wrote with others of the same sequences waits too."""

    async def story() -> None:
        cluster = await started(1, live=False)
        await store_restored(cluster, lost=3, since=2, stocked=False)
        lane = cluster.members["caixa1"].running
        go_on = await uploaded_but_for_the_end(cluster)
        assert (await lane.count(Article), await lane.count(Item)) == (3, 0)
        go_on()
        await asyncio.sleep(300)
        await everywhere(cluster, 5, 2)

    run_virtual(story(), VirtualLoop(10_000))


def test_a_lane_that_waits_for_the_copy_of_a_damaged_log_does_not_give_up_while_its_restored_store_sends_nothing() -> (
    None
):
    """The store asks for its own log of the same document first; the hole is filled from the run after that."""

    async def story() -> None:
        cluster = await started(1, live=False)
        lane = cluster.members["caixa1"].running
        async with lane.transaction() as tx:
            tx.create(Article, code="c1", name="of the lane")
        await asyncio.sleep(60)
        await store_restored(cluster, lost=2, since=6)
        lane.ledger.quarantine.salvaged = {"articles": {lane.ledger.replica: Beyond(5, [])}}
        await uploaded_but_for_the_end(cluster)
        assert lane.ledger.quarantine.salvaged == {"articles": {lane.ledger.replica: Beyond(5, [])}}

    run_virtual(story(), VirtualLoop(10_000))


async def stocked(node: Node, code: str, units: int) -> None:
    async with node.transaction() as tx:
        tx.create(Article, code=code, name="x")
        tx.create(Item, article=code).balance.add(units)


async def put_back(cluster: Cluster, member: Member, schema: Schema) -> None:
    """Put a backup back, with its nonce, whatever others hold of what came after it."""
    assert member.backup is not None
    await cluster.kill(member)
    member.disk = Disk.restored(table_specs(schema), member.backup.image)
    member.nonce.values = member.backup.nonce
    cluster.network.forget(member.name)
    await cluster.start(member)


def half_of_the_next(cluster: Cluster, peer: str) -> Callable[[], None]:
    """Let the store's link to a peer die when stock would travel, with the articles there by then; return what ends that."""
    carry = cluster.network.carry
    dead: list[bytes] = []

    async def die(sender: MemoryChannel, message: bytes) -> None:
        between = {sender.here, sender.there} == {"loja1", peer}
        if between and (dead or b"doc\xabitems/loja1" in message[4:40]):
            dead.append(message)
        else:
            await carry(sender, message)

    def heal() -> None:
        assert dead
        cluster.network.carry = carry  # type: ignore[method-assign]

    cluster.network.carry = die  # type: ignore[method-assign]
    return heal


async def balances(cluster: Cluster) -> list[dict[str, int]]:
    """What each node counts of each article."""
    return [
        {item.article: int(item.balance) for item in await member.running.find(Item)}
        for member in cluster.members.values()
    ]


def test_a_restored_store_that_wrote_in_one_of_two_documents_since_does_not_count_the_other_twice() -> None:
    """Of the stock it held nothing any more; what came back got a new name, and the old log no end."""

    async def story() -> None:
        cluster = await started(1, live=False)
        member = cluster.members["loja1"]
        cluster.network.partition("gestao")
        cluster.back_up(member)
        await stocked(member.running, "a1", 10)
        await asyncio.sleep(60)
        cluster.network.partition("caixa1")
        assert await cluster.restore(member, whole=True)
        await cluster.start(member)
        async with member.running.transaction() as tx:
            tx.create(Article, code="b1", name="since")
        cluster.network.heal("gestao")
        await asyncio.sleep(200)
        cluster.network.heal("caixa1")
        await asyncio.sleep(600)
        assert await balances(cluster) == [{"a1": 10}] * 3

    run_virtual(story(), VirtualLoop(10_000))


def test_a_transaction_that_one_lane_has_half_of_and_another_whole_comes_back_whole() -> None:
    """The half came back first; then the whole one, and all that followed it, was taken for torn and dropped everywhere."""

    async def story() -> None:
        cluster = await started(1, live=False, lanes=(2,))
        member, whole = cluster.members["loja1"], cluster.members["caixa1"].running
        await stocked(member.running, "a0", 1)
        await asyncio.sleep(60)
        cluster.network.partition("gestao")
        cluster.back_up(member)
        # The second lane's link goes when the stock would travel; the articles are there by then.
        heal = half_of_the_next(cluster, "caixa2")
        await stocked(member.running, "a1", 10)
        await asyncio.sleep(30)
        for _ in range(10):
            async with member.running.transaction() as tx:
                (await tx.get(Item, "a0")).balance.add(5)
        await asyncio.sleep(60)
        heal()
        lanes = ("caixa1", "caixa2")
        for lane in lanes:
            cluster.network.partition(lane)
        await put_back(cluster, member, shop())
        async with member.running.transaction() as tx:
            (await tx.get(Item, "a0")).balance.add(100)
        async with whole.transaction() as tx:
            tx.create(Article, code="c1", name="of the lane")
        cluster.network.heal("gestao")
        await asyncio.sleep(200)
        for lane in reversed(lanes):
            cluster.network.heal(lane)
            await asyncio.sleep(400)
        assert await balances(cluster) == [{"a0": 151, "a1": 10}] * 4

    run_virtual(story(), VirtualLoop(10_000))


class Due(Entity, category="dues", writers=set(Role), partition=by_due_month("due")):
    """What a lane holds thirty days ahead."""

    id = Key()
    due = Once(date)


def test_on_the_day_that_a_month_comes_into_view_a_lane_whose_clock_is_behind_goes_on() -> None:
    """It refused the document for good: by its own date it was not to hold it yet."""

    async def story() -> None:
        cluster = await started(1, live=False, schema=Schema([Due]))
        store, lane = cluster.members["loja1"], cluster.members["caixa1"]
        today = first = store.running.ledger.clock.today()
        month = (today + timedelta(days=30)).month
        while (first + timedelta(days=30)).month == month:
            first += timedelta(days=1)
        midnight = datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp() * 1000
        for member in cluster.members.values():
            member.clock.skew_ms += int(midnight) - member.clock.now_ms() + 20_000
        lane.clock.skew_ms -= 60_000
        assert lane.clock.today() < store.clock.today()
        async with store.running.transaction() as tx:
            tx.create(Due, id="d1", due=first + timedelta(days=30))
        await asyncio.sleep(300)
        assert lane.running.trouble is None
        assert await lane.running.count(Due) == 1

    run_virtual(story(), VirtualLoop(10_000))


def test_a_store_is_not_told_the_names_of_another_ones_documents_in_quarantine() -> None:
    async def story() -> None:
        cluster = await started(1, live=False, lanes=(1, 1))
        head_office = cluster.members["gestao"].running
        await stocked(cluster.members["loja1"].running, "a1", 10)
        await asyncio.sleep(60)
        await head_office.ledger.quarantine.put("items/loja1", "a damaged row")
        carry = cluster.network.carry
        told: dict[str, tuple[str, ...]] = {}

        async def read_along(sender: MemoryChannel, message: bytes) -> None:
            if b"\xa7digests" in message[4:20] and sender.here == "gestao":
                told[sender.there] = decode_frame(message)[2]["held"]
            await carry(sender, message)

        cluster.network.carry = read_along  # type: ignore[method-assign]
        async with head_office.transaction() as tx:
            tx.create(Article, code="b1", name="x")
        await asyncio.sleep(10)
        assert told == {"loja1": ("items/loja1",), "loja2": ()}

    run_virtual(story(), VirtualLoop(10_000))


def test_who_waits_for_a_run_is_answered_though_the_disk_refused_when_its_link_broke() -> None:
    async def story() -> None:
        cluster = await started(1, live=False)
        store = cluster.members["loja1"]
        lost, go_on = lose(cluster, "fence")
        async with store.running.transaction() as tx:
            tx.create(Article, code="a1", name="x")
        pressed = asyncio.ensure_future(store.running.sync(wait=True))
        await lost.wait()
        await asyncio.sleep(0.5)
        store.disk.refuse("protected", 30)
        cluster.network.cut("loja1")
        await asyncio.sleep(5)
        go_on()
        async with asyncio.timeout(120):
            await pressed
        await asyncio.sleep(120)
        assert await cluster.members["gestao"].running.count(Article) == 1

    run_virtual(story(), VirtualLoop(10_000))


@pytest.mark.parametrize("restarted", [False, True])
def test_what_waits_for_a_document_is_shown_when_that_is_set_apart(restarted: bool) -> None:
    """It stayed hidden until its writer's next batch came, if one came."""

    async def story() -> None:
        cluster = await started(1, live=False)
        member, lane = cluster.members["loja1"], cluster.members["caixa1"].running
        await stocked(member.running, "a0", 1)
        await asyncio.sleep(60)
        heal = half_of_the_next(cluster, "caixa1")
        await stocked(lane, "a1", 10)
        await asyncio.sleep(30)
        assert await member.running.count(Article) == 1
        if restarted:
            held = dump_held({"items/loja1": Held("a damaged row", 0)})
            await member.running.ledger.commit(Commit(meta={META_KEY: held}))
            await cluster.stop(member)
            await cluster.start(member)
        else:
            await member.running.ledger.quarantine.put("items/loja1", "a damaged row")
        heal()
        await asyncio.sleep(200)
        assert await member.running.count(Article) == 2

    run_virtual(story(), VirtualLoop(10_000))


def test_a_mass_removal_of_a_branch_that_another_one_replaces_is_withheld_no_more() -> None:
    """What its writer deleted there since stayed shown; and who wrote the removal again, and owns the rule, was not asked."""

    async def story() -> None:
        schema = Schema([Group, Article, Decision, Person, Incident])
        cluster = await started(1, live=False, schema=schema)
        member = cluster.members["gestao"]

        async def delete(*ids: int) -> None:
            async with member.running.transaction() as tx:
                for number in ids:
                    (await tx.get(Group, f"g{number}")).delete()

        async def groups() -> list[set[int]]:
            return [
                {int(group.id[1:]) for group in await one.running.find(Group)}
                for one in cluster.members.values()
            ]

        async def asked() -> list[set[str]]:
            return [
                {found.id for found in await one.running.pendencies() if found.rule == "C27"}
                for one in cluster.members.values()
            ]

        async with member.running.transaction() as tx:
            for number in range(40):
                tx.create(Group, id=f"g{number}", name="x")
        await asyncio.sleep(60)
        cluster.back_up(member)
        await delete(*range(30))
        await asyncio.sleep(60)
        assert await groups() == [{*range(30, 40)}, {*range(40)}, {*range(40)}]
        before = await asked()
        cluster.network.partition("loja1")
        await put_back(cluster, member, schema)
        await delete(35)
        cluster.network.heal("loja1")
        await asyncio.sleep(300)
        assert await groups() == [{*range(30, 40)} - {35}, {*range(40)} - {35}, {*range(40)} - {35}]
        after = await asked()
        (found,) = after[0]
        assert after == [{found}] * 3
        assert before != after
        await member.running.resolve(found, "confirmar", why="cleared out", person="maria")
        await asyncio.sleep(100)
        assert await groups() == [{*range(30, 40)} - {35}] * 3
        assert await asked() == [set()] * 3

    run_virtual(story(), VirtualLoop(10_000))


async def shown(cluster: Cluster) -> list[tuple[list[str], list[str]]]:
    """The articles and the stock that each node shows."""
    return [
        (
            sorted(article.code for article in await member.running.find(Article)),
            sorted(item.article for item in await member.running.find(Item)),
        )
        for member in cluster.members.values()
    ]


@pytest.mark.parametrize(
    ("restored", "peer"), [("caixa1", "caixa1"), ("loja1", "caixa1"), ("loja1", "gestao")]
)
def test_half_a_transaction_is_not_shown_with_what_a_restored_node_wrote_in_the_place_of_the_other_half(
    restored: str, peer: str
) -> None:
    """A peer had only the article; another movement of the same sequence stood for its stock, and it was shown for good."""

    async def story() -> None:
        cluster = await started(1, live=False)
        member = cluster.members[restored]
        if peer == "caixa1":
            cluster.network.partition("gestao")
        cluster.back_up(member)
        heal = half_of_the_next(cluster, peer)
        await stocked(member.running, "a1", 10)
        await asyncio.sleep(30)
        heal()
        for name in ("gestao", "caixa1"):
            cluster.network.partition(name)
        await put_back(cluster, member, shop())
        async with member.running.transaction() as tx:
            tx.create(Item, article="b1").balance.add(3)
        for name in ("gestao", "caixa1"):
            cluster.network.heal(name)
            await asyncio.sleep(200)
        away = peer == "gestao"
        # Where a lane has it whole, all of it comes back.
        assert await shown(cluster) == [(["a1"] * away, ["a1"] * away + ["b1"])] * 3
        await stocked(member.running, "b2", 1)
        await asyncio.sleep(100)
        assert await balances(cluster) == [{"a1": 10, "b1": 3, "b2": 1} if away else {"b1": 3, "b2": 1}] * 3
        for doc in ("articles", "items/loja1"):
            assert len({one.running.ledger.digest_of(doc) for one in cluster.members.values()}) == 1
        # What was given up is not waited for.
        for one in cluster.members.values():
            assert (await one.running.agenda.records(direction="download"))[2] == 0, one.name

    run_virtual(story(), VirtualLoop(10_000))
