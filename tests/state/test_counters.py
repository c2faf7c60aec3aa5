"""Counters against an oracle that keeps every movement and what its writer could see: random work, delivery, compaction.

The oracle knows no cells and no `seen` vectors; it answers from full causal histories.
"""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdtsync import limits
from crdtsync.errors import BatchInvalid
from crdtsync.schema import Counter, Entity, Key, Role
from crdtsync.state.document import Document, Op
from crdtsync.state.log import Log
from crdtsync.state.update import read_update, write_update
from tests.compacting import compact
from tests.state.test_document import deliver, document, write

if TYPE_CHECKING:
    from collections.abc import Iterable

REPLICAS = (1, 2, 3)
NAMES = ("p", "q")
KEY = "x"


class Event(NamedTuple):
    """One movement or count, and the newest batch of each replica that its writer could see."""

    replica: int
    seq: int
    stamp: int
    kind: str
    name: str
    amount: int
    saw: dict[int, int]

    def visible(self, heads: dict[int, int]) -> bool:
        """Whether who sees these batches sees the event."""
        return self.seq <= heads.get(self.replica, 0)


class Stock(Entity, category="items", writers=set(Role)):
    """One counter."""

    id = Key()
    balance = Counter()


class World:
    """Replicas of one record that hand each other pieces of their logs, and the history of all that they did."""

    def __init__(self) -> None:
        self.documents = {r: Document("items", Stock.__shape__, r, {}) for r in REPLICAS}
        self.updates: dict[int, list[bytes]] = {r: [] for r in REPLICAS}
        self.held: dict[int, list[bytes]] = {r: [] for r in REPLICAS}
        self.clocks = dict.fromkeys(REPLICAS, 0)
        self.history: list[Event] = []

    def heads(self, replica: int) -> dict[int, int]:
        """Return what a replica can see."""
        return {r: head.visible for r, head in self.documents[replica].heads.items()}

    def act(self, replica: int, kind: str, name: str, amount: int) -> None:
        """Move or count."""
        source, slot = self.documents[replica], {"named": f"balance!{name}", "count": "balance#"}.get(kind)
        seq = self.heads(replica).get(replica, 0) + 1
        self.clocks[replica] += 1
        saw = self.heads(replica)
        update = write(source, self.clocks[replica], x=[Op(kind, slot or "balance", amount)])
        self.updates[replica].append(update)
        self.held[replica].append(update)
        self.history.append(Event(replica, seq, self.clocks[replica], kind, name, amount, saw))

    def hand(self, replica: int, origin: int, batches: int) -> None:
        """Give a replica the next batches of a log."""
        known = self.heads(replica).get(origin, 0)
        for update in self.updates[origin][known : known + batches]:
            deliver(self.documents[replica], update)
            self.held[replica].append(update)
        seen = [event.stamp for event in self.view(replica)]
        self.clocks[replica] = max([self.clocks[replica], *seen])

    def even(self, replica: int) -> None:
        """Give a replica all that everybody has, as a complete diff does: its cut is closed."""
        for origin in REPLICAS:
            self.hand(replica, origin, len(self.updates[origin]))
        for head in self.documents[replica].heads.values():
            head.cut = head.visible

    def compact(self, replica: int) -> None:
        """Replace a log by what is alive in it; who lacks any of the old one takes the new one whole."""
        source = self.documents[replica]
        if replica not in source.heads:
            return
        source.log = Log("items", replica, self.held[replica])
        self.clocks[replica] += 1
        source.settle(compact(source, self.clocks[replica], b"t" * 16))
        encoded = source.log.encode()
        self.held[replica] = [encoded]
        said = read_update(encoded)
        whole = write_update({replica: said.runs[replica]}, {replica: said.deleted[replica]})
        # Whoever stands anywhere before the end is handed the whole at the next position.
        self.updates[replica] = [whole] * source.heads[replica].seq

    def view(self, replica: int) -> list[Event]:
        """Return the events that a replica can see."""
        heads = self.heads(replica)
        return [event for event in self.history if event.visible(heads)]


def latest(events: Iterable[Event]) -> Event | None:
    """The clock of a write is greater than that of all it has seen, so the latest one is never outdone by a seen one."""
    return max(events, key=lambda e: (e.stamp, e.replica), default=None)


def amount_of(events: list[Event], name: str) -> int:
    found = latest(e for e in events if e.kind == "named" and e.name == name)
    return found.amount if found else 0


def oracle_balance(view: list[Event]) -> int:
    count = latest(e for e in view if e.kind == "count")
    included = [e for e in view if count and e.visible(count.saw)]
    moved = sum(e.amount for e in view if e.kind == "add" and e not in included)
    moved += sum(amount_of(view, name) - amount_of(included, name) for name in NAMES)
    return moved + (count.amount if count else 0)


def oracle_concurrent(view: list[Event]) -> list[int] | None:
    """The latest count, and what was moved by who had not seen it and was not seen by it."""
    count = latest(e for e in view if e.kind == "count")
    if count is None:
        return None
    moves = (e for e in view if e.kind == "add" and e.replica != count.replica)
    amount = sum(e.amount for e in moves if not e.visible(count.saw) and not count.visible(e.saw))
    return [count.amount, amount] if amount else None


def is_closed(view: list[Event], heads: dict[int, int]) -> bool:
    """Whether everything that a visible event had seen is visible too."""
    return all(heads.get(r, 0) >= seq for e in view for r, seq in e.saw.items())


def row(world: World, replica: int) -> tuple[Any, ...]:
    return world.documents[replica].fold.rows([KEY])[0]


replicas = st.sampled_from(REPLICAS)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), replicas, st.just(""), st.integers(-5, 5)),
        st.tuples(st.just("named"), replicas, st.sampled_from(NAMES), st.integers(-5, 5)),
        st.tuples(st.just("count"), replicas, st.just(""), st.integers(0, 9)),
        st.tuples(st.just("hand"), replicas, replicas, st.integers(1, 3)),
        st.tuples(st.just("even"), replicas),
        st.tuples(st.just("compact"), replicas),
    ),
    max_size=40,
)


@given(steps)
@settings(max_examples=300, deadline=None)
def test_a_counter_reads_as_its_full_causal_history_says(work: list[tuple[Any, ...]]) -> None:
    world = World()
    for what, replica, *rest in work:
        if what in {"add", "named", "count"}:
            world.act(replica, what, *rest)
        elif what == "hand":
            world.hand(replica, *rest)
        else:
            getattr(world, what)(replica)
        check(world, replica)
    for replica in REPLICAS:
        world.even(replica)
        check(world, replica)
    assert len({world.documents[r].fold.digest() for r in REPLICAS}) == 1


def check(world: World, replica: int) -> None:
    view = world.view(replica)
    if view and is_closed(view, world.heads(replica)):
        assert row(world, replica)[2] == oracle_balance(view)
        assert counted(world, replica) == oracle_concurrent(view)


@pytest.mark.parametrize("seed", range(60))
def test_a_long_history_of_a_counter_reads_as_its_causes_say(seed: int) -> None:
    """More counts, each seen by some and moved after, than shrinking examples come to."""
    dice = Random(seed)
    world = World()
    for _ in range(120):
        replica = dice.choice(REPLICAS)
        roll = dice.random()
        if roll < 0.45:
            world.act(replica, "add", "", dice.randint(-5, 5))
        elif roll < 0.6:
            world.act(replica, "count", "", dice.randint(0, 9))
        elif roll < 0.7:
            world.act(replica, "named", dice.choice(NAMES), dice.randint(-5, 5))
        elif roll < 0.85:
            world.hand(replica, dice.choice(REPLICAS), dice.randint(1, 3))
        elif roll < 0.98:
            world.even(replica)
        else:
            world.compact(replica)
        check(world, replica)
    for replica in REPLICAS:
        world.even(replica)
        check(world, replica)
    assert len({world.documents[r].fold.digest() for r in REPLICAS}) == 1


def counted(world: World, replica: int) -> list[int] | None:
    """Return what the read model says of the count."""
    found: list[int] | None = json.loads(row(world, replica)[-1] or "{}").get("balance#")
    return found


def test_a_sale_that_had_not_seen_the_count_stays_told_after_its_lane_saw_the_count_and_sold_again() -> None:
    world = World()
    world.act(1, "count", "", 10)
    world.act(2, "add", "", -3)
    world.even(2)
    world.act(2, "add", "", -1)
    world.act(2, "add", "", -1)
    world.compact(2)
    world.even(1)
    assert [row(world, replica)[2] for replica in (1, 2)] == [5, 5]
    assert [counted(world, replica) for replica in (1, 2)] == [[10, -3], [10, -3]]


def test_a_newer_count_that_saw_the_sale_ends_the_conflict_and_later_sales_open_none() -> None:
    world = World()
    world.act(1, "count", "", 10)
    world.act(2, "add", "", -3)
    world.even(1)
    assert counted(world, 1) == [10, -3]
    world.act(1, "count", "", 7)
    world.even(2)
    world.act(2, "add", "", -1)
    world.even(1)
    assert [counted(world, replica) for replica in (1, 2)] == [None, None]
    world.act(1, "count", "", 6)
    world.even(2)
    world.act(2, "add", "", -1)
    world.even(1)
    assert [counted(world, replica) for replica in (1, 2)] == [None, None]


def test_who_saw_only_the_count_that_lost_moved_concurrently_with_the_one_that_won() -> None:
    world = World()
    world.act(3, "count", "", 10)
    world.act(2, "count", "", 20)
    world.hand(1, 2, 1)
    world.act(1, "add", "", -4)
    for replica in REPLICAS:
        world.even(replica)
        assert row(world, replica)[2] == 6
        assert json.loads(row(world, replica)[-1]) == {"balance": [10, 20], "balance#": [10, -4]}


def test_a_movement_that_two_replicas_write_under_one_name_counts_once() -> None:
    a, b = document(1), document(2)
    first = write(a, 1, x=[Op("add", "balance", 10), Op("named", "balance!fix", -3, "P01")])
    second = write(b, 2, x=[Op("named", "balance!fix", -3, "P01")])
    rows = [deliver(a, second).rows[0], deliver(b, first).rows[0]]
    assert [line[4] for line in rows] == [7, 7]
    assert rows[0][-1] is None


def test_a_later_write_of_a_name_replaces_it_and_zero_takes_it_back() -> None:
    a, b = document(1), document(2)
    deliver(b, write(a, 1, x=[Op("named", "balance!fix", 5)]), {1: 1})
    update = write(b, 2, x=[Op("named", "balance!fix", 2)])
    assert deliver(a, update, {2: 1}).rows[0][4] == 2
    assert a.write({"x": [Op("named", "balance!fix", 0)]}, hlc=3, txid=b"t" * 16).rows[0][4] == 0


def test_a_count_includes_the_named_movements_that_were_visible_and_no_other() -> None:
    a, b = document(1), document(2)
    deliver(b, write(a, 1, x=[Op("named", "balance!seen", 5)]), {1: 1})
    unseen = write(a, 2, x=[Op("named", "balance!unseen", 100)])
    own = [Op("named", "balance!own", 7), Op("count", "balance#", 20)]
    assert b.write({"x": own}, hlc=3, txid=b"t" * 16).rows[0][4] == 20
    assert deliver(b, unseen).rows[0][4] == 120
    assert b.write({"x": [Op("named", "balance!seen", 0)]}, hlc=4, txid=b"t" * 16).rows[0][4] == 115


@pytest.mark.parametrize(
    ("slot", "value", "problem"),
    [
        ("balance!", (1, ""), "the name of a movement has 1 to 128 characters, not 0"),
        ("balance!" + "n" * 129, (1, ""), "the name of a movement has 1 to 128 characters, not 129"),
        ("balance!a\x1fb", (1, ""), "an element of a field that is no set"),
        ("balance!a", (1, "", (1, 1, 0)), "a movement is not"),
        ("balance", (1, "", 2), "a movement is not"),
        ("balance", (1, "", (0, 1, 0)), "a movement is not"),
        ("balance", (1, "", (1, 1 << 53, 0)), "a movement is not"),
        ("balance", (1, "", (1, 1, "0")), "a movement is not"),
        ("name!a", (1, ""), "a named movement of a field that is no counter"),
        ("balance#", (1, {}), "a count is not"),
        ("balance#", (1, {}, {1: 1}), "a count is not"),
        ("balance#", (1, {}, {str(n): 1 for n in range(2001)}), "at most 2,000 amounts by name"),
    ],
)
def test_a_malformed_movement_or_count_is_refused(slot: str, value: Any, problem: str) -> None:
    with pytest.raises(BatchInvalid, match=problem):
        write(document(1), 1, x=[Op("write", slot, value)])


@pytest.mark.parametrize("element", ["a#", "a!", "#", "!b"])
def test_an_element_of_a_set_may_hold_the_marks_of_counters(element: str) -> None:
    a, b = document(1), document(2)
    update = write(a, 1, x=[Op("write", "name", "n"), Op("write", f"tags\x1f{element}", 1)])
    assert deliver(b, update).rows[0][5] == f'["{element}"]'


def test_a_name_may_hold_any_mark_but_the_separator() -> None:
    a = document(1)
    ops = [Op("named", "balance!C01#a!b", 2), Op("count", "balance#", 9), Op("named", "balance!C01#a!b", 3)]
    assert a.write({"x": ops}, hlc=1, txid=b"t" * 16).rows[0][4] == 10


@pytest.mark.parametrize("sign", [1, -1])
def test_a_balance_that_a_store_cannot_keep_is_shown_as_the_greatest_that_it_can(sign: int) -> None:
    most = sign * limits.AMOUNT_MAX
    a, b, reader = document(1), document(2), document(3)

    def moved(source: Document, clock: int, amount: int) -> int:
        shown: int = deliver(reader, write(source, clock, x=[Op("add", "balance", amount)])).rows[0][4]
        return shown

    assert [moved(a, 1, most), moved(b, 1, most)] == [most, most]
    # The totals are exact: the balance is shown as it is when it can be kept again.
    assert [moved(b, 2, -most), moved(b, 3, -7 * sign)] == [most, most - 7 * sign]
