"""Thirty days of a store with eight lanes, links that fail at random, and a plain model of what every run must say.

The model knows writes, who has each of them and who must have it; it knows nothing of logs, heads or frames.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync import limits
from crdtsync.node.schedule import Trigger
from tests.synchronization.street import (
    BEGIN,
    CHECK,
    COOLDOWN,
    DAY,
    HOUR,
    STORE,
    Product,
    Sale,
    Street,
    runs,
    told,
    until,
)

if TYPE_CHECKING:
    from crdtsync.node import Node
    from crdtsync.node.history import Result
    from crdtsync.node.link import Link
    from crdtsync.node.run import Run
    from crdtsync.state.document import Change

SEED = int(os.environ.get("CRDTSYNC_MONTH_SEED", "11"))
DAYS = int(os.environ.get("CRDTSYNC_MONTH_DAYS", "30"))
LANES = [f"caixa{number}" for number in range(1, 9)]
BELOW = [STORE, *LANES]
ABOVE = {STORE: "gestao"} | dict.fromkeys(LANES, STORE)
Write = tuple[str, int, int, str]  # document, replica, sequence, key
Counts = dict[str, int]


def counts(writes: set[Write]) -> Counts:
    """Distinct records by category."""
    return dict(Counter(doc.partition("/")[0] for doc, key in {(w[0], w[3]) for w in writes}))


def filled(parts: dict[str, Any]) -> Counts:
    return {name: part.total for name, part in parts.items() if part.total}


@dataclass
class Expected:
    """What the run that is going on must say."""

    trigger: Trigger
    down: Counts
    up: Counts
    crossed: bool
    percent: int = 0


@dataclass
class Month:
    """The model: for each pair of neighbours, the writes that one has and the other is to get."""

    street: Street
    owed: dict[tuple[str, str], set[Write]] = field(default_factory=dict)
    expected: dict[str, Expected] = field(default_factory=dict)
    checked: dict[str, float | None] = field(default_factory=dict)
    asked: dict[str, Trigger] = field(default_factory=dict)
    manual_ended: dict[str, float] = field(default_factory=dict)
    rows: dict[str, list[tuple[str, str, Counts, Counts]]] = field(default_factory=dict)
    checks: Counter[str] = field(default_factory=Counter)
    crossed: int = 0
    uncertain: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)

    def neighbours(self, name: str) -> list[str]:
        around = [lane for lane, above in ABOVE.items() if above == name]
        return [*around, ABOVE[name]] if name in ABOVE else around

    def wants(self, name: str, doc: str) -> bool:
        return not doc.startswith("sales/") or name not in LANES or f"/{name}/" in doc

    def arrive(self, write: Write, name: str, source: str | None) -> None:
        """A node has a write now: its other neighbours are to get it."""
        for other in self.neighbours(name):
            if other != source and self.wants(other, write[0]):
                self.owed[name, other].add(write)

    def hand_over(self, giver: str, taker: str, writes: set[Write]) -> None:
        self.owed[giver, taker] -= writes
        for write in writes:
            self.arrive(write, taker, giver)

    # -- what the nodes do -------------------------------------------------------------------------------------

    def follow(self, name: str, node: Node) -> None:
        """Watch a node from now on."""
        ledger, uplink = node.ledger, node.uplink

        def wrote(changes: list[Change]) -> None:
            for change in changes:
                for replica, seq, keys in change.touched:
                    if replica == ledger.replica:
                        for key in keys:
                            self.arrive((change.doc, replica, seq, key), name, None)

        ledger.on_change.append(wrote)
        if name not in ABOVE:
            return
        check, began, ended, broken = uplink._check, uplink.began, uplink.ended, uplink._broken_off

        def checking(trigger: Trigger) -> None:
            self.check(name, trigger)
            check(trigger)

        async def beginning(link: Link, run: Run) -> None:
            await began(link, run)
            await self.begin(name, node, run)

        async def ending(link: Link, run: Run | None) -> None:
            self.end(name, node, run)
            await ended(link, run)

        async def breaking(result: Result, detail: str) -> None:
            self.break_off(name, node)
            await broken(result, detail)

        uplink._check = checking  # type: ignore[method-assign]
        uplink.began, uplink.ended = beginning, ending  # type: ignore[method-assign]
        uplink._broken_off = breaking  # type: ignore[method-assign]
        uplink.on_run.append(lambda run: self.move(name, run))

    def check(self, name: str, trigger: Trigger) -> None:
        """A check comes with the connection, every fifteen minutes after the last one, or when a person asks."""
        now = asyncio.get_running_loop().time()
        self.settle()
        self.uncertain.discard(name)
        last = self.checked.get(name)
        self.checks[name] += 1
        if trigger is Trigger.RECONNECT:
            assert last is None
        elif trigger is Trigger.ROUTINE:
            assert last is not None
            assert abs(now - last - CHECK) < 0.01
        elif trigger is Trigger.MANUAL:
            assert last is None or now - last < CHECK + 0.01
        self.checked[name] = now
        self.asked[name] = trigger

    async def begin(self, name: str, node: Node, run: Run) -> None:
        above = ABOVE[name]
        self.settle()
        around = self.beside(name)
        for other in around:
            # Two runs of neighbouring links at one moment: what either sees depends on the other's progress.
            self.expected[other].crossed = True
        expected = Expected(
            Trigger.MANUAL if run.pressed else self.asked[name],
            counts(self.owed[above, name]),
            counts(self.owed[name, above]),
            bool(around),
        )
        assert run.trigger is expected.trigger
        if not expected.crossed:
            assert (filled(run.down), filled(run.up)) == (expected.down, expected.up)
            assert {c: n for c, n in (await node.waiting()).items() if n} == expected.up
        self.expected[name] = expected

    def beside(self, name: str) -> list[str]:
        """Links with a run going on that share a node with this one."""
        ends = {name, ABOVE[name]}
        return [other for other in self.expected if other != name and ends & {other, ABOVE[other]}]

    def move(self, name: str, run: Run) -> None:
        """The percentage is what has moved of what is to move, by plain arithmetic, and never goes back."""
        expected = self.expected.get(name)
        if expected is None:
            return
        shown = run.percent()
        assert expected.percent <= shown <= 100
        expected.percent = shown
        if not expected.crossed:
            total = sum(expected.down.values()) + sum(expected.up.values())
            moved = sum(part.records for part in (*run.down.values(), *run.up.values()))
            assert moved <= total
            assert shown == 100 * moved // total
            for plan, parts in ((expected.down, run.down), (expected.up, run.up)):
                for category, part in parts.items():
                    assert part.percent == 100 * part.records // plan[category]

    def end(self, name: str, node: Node, run: Run | None) -> None:
        """A complete run moved all that was owed, and nothing else; equal heads mean that nothing was owed."""
        above, expected = ABOVE[name], self.expected.pop(name, None)
        crossed = expected.crossed if expected else bool(self.beside(name))
        if run is None:
            if not crossed:
                assert not self.owed[above, name]
                assert not self.owed[name, above]
        elif expected is not None:
            if not crossed:
                assert {c: part.records for c, part in run.down.items() if part.records} == expected.down
                assert {c: part.records for c, part in run.up.items() if part.records} == expected.up
                assert run.percent() == 100
            moved = [{c: p.records for c, p in parts.items() if p.records} for parts in (run.down, run.up)]
            self.rows[name].append((expected.trigger.value, "done", moved[0], moved[1]))
            if expected.trigger is Trigger.MANUAL:
                self.manual_ended[name] = asyncio.get_running_loop().time()
        if crossed:
            self.crossed += 1
            self.take_heads(name, node)
        else:
            self.hand_over(above, name, set(self.owed[above, name]))
            self.hand_over(name, above, set(self.owed[name, above]))

    def break_off(self, name: str, node: Node) -> None:
        """A link broke: no more moved than was planned, and the next check comes with the next connection."""
        self.checked[name] = None
        expected = self.expected.pop(name, None)
        run = node.uplink.run_now
        if expected is not None and run is not None:
            moved = [{c: p.records for c, p in parts.items() if p.records} for parts in (run.down, run.up)]
            if not expected.crossed:
                for part, plan in zip(moved, (expected.down, expected.up), strict=True):
                    assert all(count <= plan[category] for category, count in part.items())
            self.rows[name].append((expected.trigger.value, "failed", moved[0], moved[1]))
        self.uncertain.add(name)

    def settle(self) -> None:
        """The upper end of a link that broke may take what it had received after the lower one noticed."""
        for name in self.uncertain:
            self.take_heads(name, self.street.nodes[name])

    def take_heads(self, name: str, node: Node) -> None:
        """After a cut, or a run that another crossed, the stores alone know what had arrived."""
        above = self.street.nodes[ABOVE[name]]
        for giver, taker, other in ((ABOVE[name], name, node), (name, ABOVE[name], above)):
            heads = other.ledger.heads
            got = {
                write
                for write in self.owed[giver, taker]
                if write[1] in heads.get(write[0], {}) and heads[write[0]][write[1]].seq >= write[2]
            }
            self.hand_over(giver, taker, got)

    def quiet(self) -> bool:
        """No run is going on and nothing is being connected: what is written now belongs to no run."""
        return not self.expected and not any(
            node.uplink.link is not None and node.uplink.link.busy for node in self.street.nodes.values()
        )


async def shop_for_a_month(month: Month) -> None:
    """Sales in the lanes, changes in the head office, cables pulled out, presses of the button."""
    street, dice = month.street, month.street.dice
    loop = asyncio.get_running_loop()
    apart: dict[str, float] = {}
    sales = 0
    while loop.time() < DAYS * DAY:
        await asyncio.sleep(dice.uniform(0, 30 * 60))
        for name in [name for name, back in apart.items() if back <= loop.time()]:
            street.network.heal(name, ABOVE[name])
            del apart[name]
        if dice.random() < 0.06:
            name = dice.choice(BELOW)
            if name not in apart:
                street.network.partition(name, ABOVE[name])
                apart[name] = loop.time() + dice.uniform(0, 2 * HOUR)
        await until(month.quiet, HOUR)
        chance = dice.random()
        if chance < 0.8:
            lane = street.nodes[dice.choice(LANES)]
            async with lane.transaction() as tx:
                for _ in range(dice.randint(1, 3)):
                    sales += 1
                    tx.create(Sale, id=f"v{sales}", at=BEGIN, product=f"p{dice.randrange(40)}")
        elif chance < 0.86:
            async with street.nodes["gestao"].transaction() as tx:
                for product in dice.sample(range(40), 3):
                    (await tx.get(Product, f"p{product}")).name = f"nome {sales}"
        else:
            name = dice.choice(BELOW)
            await press(month, name)
            if dice.random() < 0.5:
                await asyncio.sleep(dice.uniform(0, 2 * COOLDOWN))
                await until(month.quiet, HOUR)
                await press(month, name)


async def press(month: Month, name: str) -> None:
    """*Sincronizar agora* is answered as the model says."""
    above = ABOVE[name]
    node = month.street.nodes[name]
    ended = month.manual_ended.get(name)
    left = 0.0 if ended is None else COOLDOWN - (asyncio.get_running_loop().time() - ended)
    month.settle()
    pending = bool(month.owed[above, name] or month.owed[name, above])
    connected = node.connected
    answer = await node.sync()
    month.refused[answer["reason"] or "accepted"] += 1
    if left > 0:
        assert (answer["reason"], round(answer["available_seconds"], 3)) == ("cooldown", round(left, 3))
    elif answer["reason"] != "unreachable":
        assert answer["reason"] == (None if pending else "nothing")
    else:
        assert not connected or month.street.network.injected["cut"]


@told
async def a_month(street: Street) -> None:
    street.dice.seed(SEED)
    month = Month(street)
    for name, above in ABOVE.items():
        month.owed |= {(name, above): set(), (above, name): set()}
        month.rows[name] = []
    gestao = await street.open("gestao")
    month.follow("gestao", gestao)
    async with gestao.transaction() as tx:
        for number in range(40):
            tx.create(Product, id=f"p{number}", name="x")
    for name in BELOW:
        node = await street.open(name)
        month.follow(name, node)
        await until(lambda node=node: node.initial_done, 300)  # type: ignore[misc]
        await asyncio.sleep(street.dice.uniform(5, 60))
    street.network.faults.cut = 0.004
    await shop_for_a_month(month)

    street.network.faults.cut = 0.0
    for name in BELOW:
        street.network.heal(name, ABOVE[name])
    await asyncio.sleep(2 * CHECK)
    await until(month.quiet, HOUR)
    for name in BELOW:
        await compare(month, name)
    assert not any(month.owed.values())
    assert sum(month.checks.values()) > 80 * len(BELOW) * DAYS
    assert month.crossed < 0.1 * sum(month.checks.values())
    assert {"accepted", "nothing", "cooldown"} <= month.refused.keys()
    counted = Counter(row[:2] for rows in month.rows.values() for row in rows)
    assert {result for _, result in counted} == {"done", "failed"}
    assert {trigger for trigger, _ in counted} == {"initial", "routine", "manual", "reconnect"}


async def compare(month: Month, name: str) -> None:
    """The history says exactly what the model saw."""
    found: list[dict[str, Any]] = []
    before = None
    while True:
        page = await month.street.nodes[name].history(days=60, limit=limits.PAGE_ROWS_MAX, before=before)
        found += page["runs"]
        before = page["before"]
        if before is None:
            break

    def of(run: dict[str, Any], direction: str) -> Counts:
        return {
            p["category"]: p["records"]
            for p in run["categories"]
            if p["direction"] == direction and p["records"]
        }

    told_rows = [
        (run["trigger"], run["result"], of(run, "download"), of(run, "upload")) for run in reversed(found)
    ]
    assert told_rows == month.rows[name]
    for run in found:
        assert run["records_down"] == sum(of(run, "download").values())
        assert run["records_up"] == sum(of(run, "upload").values())
    assert len(await runs(month.street.nodes[name], days=4)) <= len(found)


@pytest.mark.timeout(300)
def test_every_run_count_and_percentage_of_a_month_is_what_a_plain_model_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Documents stay in memory: the month is about runs, and loading them anew for each takes most of the time.
    monkeypatch.setattr(limits, "TIDY_SECONDS", 400 * DAY)
    a_month()
