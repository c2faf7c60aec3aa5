"""Branches of one log: how far they are the same, and the other branch written again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdtsync.schema import Counter, Entity, Key, Register, Role, Schema, Set
from crdtsync.state import cells as lattice
from crdtsync.state.document import Document, Op
from crdtsync.state.fork import Branch, Heir, common_length, seal, totals_at
from crdtsync.state.log import Log
from crdtsync.state.update import append_update, read_update
from tests.compacting import compact

OLD, HEIR, OTHER = 1, 2, 3


class Thing(Entity, category="things", writers=set(Role)):
    id = Key()
    name = Register(str, optional=True)
    balance = Counter()
    tags = Set(str)


SHAPE = Schema([Thing]).shape("things")
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from(["name", "add", "count", "tag", "~"]), st.integers(1, 9)
    ),
    max_size=8,
)
Actions = list[tuple[str, str, int]]


class Writer:
    """One store that writes as a replica; a copy of it goes on by itself."""

    def __init__(self, replica: int = OLD) -> None:
        self.document = Document("things", SHAPE, replica, {})
        self.document.log = Log("things", replica)
        self.clock = 100

    def write(self, action: tuple[str, str, int]) -> bytes:
        key, what, amount = action
        ops = {
            "name": Op("write", "name", f"n{amount}"),
            "add": Op("add", "balance", amount, "cause"),
            "count": Op("count", "balance#", amount),
            "tag": Op("write", f"tags\x1ft{amount}", 1),
            "~": Op("write", "~", amount % 2),
        }
        self.clock += 10
        change = self.document.write({key: [ops[what]]}, hlc=self.clock, txid=bytes(16))
        self.document.settle(change)
        return change.journal[0]

    def do(self, actions: Actions) -> Writer:
        for action in actions:
            self.write(action)
        return self

    def copy(self, later: int) -> Writer:
        twin = Writer()
        assert self.document.log is not None
        if self.document.heads:
            change = twin.document.receive(self.document.log.encode(), lambda _r: True)
            for replica, head in self.document.heads.items():
                twin.document.show(replica, head.seq, change)
            twin.document.settle(change)
        twin.clock = self.clock + later
        return twin

    def compact(self) -> Writer:
        self.document.settle(compact(self.document, self.clock + 1, bytes(16)))
        return self

    def branch(self) -> Branch:
        assert self.document.log is not None
        return Branch.of(read_update(self.document.log.encode()).runs.get(OLD, ()))


def fold(*updates: bytes) -> Any:
    """Fold any logs together."""
    whole = Document("things", SHAPE, 9, {})
    for update in updates:
        whole.receive(update, lambda _r: True)
    change = whole.receive(b"\x00\x00", lambda _r: True)
    for replica, head in list(whole.heads.items()):
        whole.show(replica, head.seq, change)
    return whole.fold


def again(stands: Writer, given_up: Writer, fork: int) -> bytes:
    """The heir's log of what only the branch that is given up holds."""
    source = given_up.branch()
    totals = totals_at(SHAPE, fork, source, stands.branch())
    heir = Heir(SHAPE, OLD, HEIR, fork, totals, lambda _write, _doc: 0)
    log = Log("things", HEIR)
    behind = [write for write in source.writes if write.seq > fork]
    for at, (_, data) in enumerate(heir.write(behind, {write.seq for write in behind})):
        log.apply(append_update(HEIR, at, [data]))
    return log.encode()


@given(ACTIONS, ACTIONS, ACTIONS)
def test_branches_are_the_same_up_to_where_they_part(shared: Actions, one: Actions, other: Actions) -> None:
    left = Writer().do(shared)
    right = left.copy(3)
    left.do(one)
    right.do(other)
    expected = len(shared) + (min(len(one), len(other)) if not one or not other else 0)
    assert common_length(left.branch(), right.branch()) == expected
    assert common_length(right.branch(), left.branch()) == expected


@given(shared=ACTIONS, more=ACTIONS, newer=st.booleans())
def test_a_compaction_of_a_longer_log_is_no_fork(shared: Actions, more: Actions, *, newer: bool) -> None:
    left = Writer().do([("a", "name", 1), *shared])
    right = left.copy(0)
    (right if newer else left).do(more).compact()
    assert common_length(left.branch(), right.branch()) == len(shared) + 1


@given(ACTIONS, ACTIONS, ACTIONS)
def test_a_counter_written_again_adds_the_movements_since_the_fork_and_no_others(
    shared: Actions, one: Actions, other: Actions
) -> None:
    only = [[a for a in actions if a[1] == "add"] for actions in (shared, one, other)]
    left = Writer().do(only[0])
    right = left.copy(3)
    left.do(only[1])
    right.do(only[2])
    fork = common_length(left.branch(), right.branch())
    assert left.document.log is not None
    both = fold(left.document.log.encode(), again(left, right, fork))
    for key in "abc":
        moved = sum(amount for k, _, amount in (*only[0], *only[1], *only[2]) if k == key)
        if fork == min(left.branch().end, right.branch().end) and fork == right.branch().end:
            moved = sum(amount for k, _, amount in (*only[0], *only[1]) if k == key)
        assert lattice.balance(both.cells(key), "balance")[0] == moved


@given(shared=ACTIONS, behind=ACTIONS, data=st.data())
def test_what_is_left_out_takes_its_own_movements_with_it_and_no_others(
    shared: Actions, behind: Actions, data: st.DataObject
) -> None:
    only = [[a for a in actions if a[1] == "add"] for actions in (shared, behind)]
    source = Writer().do(only[0])
    stands = source.copy(3)
    source.do(only[1])
    chosen = data.draw(st.sets(st.sampled_from(range(len(only[1])))) if only[1] else st.just(set()))
    fork = len(only[0])
    totals = totals_at(SHAPE, fork, source.branch(), stands.branch())
    heir = Heir(SHAPE, OLD, HEIR, fork, totals, lambda _write, _doc: 0)
    log = Log("things", HEIR)
    written = heir.write(source.branch().writes[fork:], {fork + 1 + at for at in chosen})
    for at, (_, element) in enumerate(written):
        log.apply(append_update(HEIR, at, [element]))
    assert stands.document.log is not None
    both = fold(stands.document.log.encode(), log.encode())
    kept = [*only[0], *(only[1][at] for at in chosen)]
    for key in "abc":
        moved = sum(amount for k, _, amount in kept if k == key)
        assert lattice.balance(both.cells(key), "balance")[0] == moved


def test_a_movement_behind_one_that_is_left_out_still_says_which_count_it_had_seen() -> None:
    """Another one counted 9; the first movement after that is lost, the second is not."""
    source = Writer().do([("a", "add", 5)])
    stands = source.copy(3)
    counter = Document("things", SHAPE, OTHER, {})
    assert source.document.log is not None
    counter.show(OLD, 1, counter.receive(source.document.log.encode(), lambda _r: True))
    counter.heads[OLD].cut = 1
    count = counter.write({"a": [Op("count", "balance#", 9)]}, hlc=500, txid=bytes(16)).journal[0]
    for document in (source.document, stands.document):
        change = document.receive(count, lambda _r: True)
        document.show(OTHER, 1, change)
        document.heads[OTHER].cut = 1
        document.settle(change)
    source.clock = 600
    source.do([("a", "add", 2), ("a", "add", 3)])
    totals = totals_at(SHAPE, 1, source.branch(), stands.branch())
    heir = Heir(SHAPE, OLD, HEIR, 1, totals, lambda _write, _doc: 0)
    ((_, element),) = heir.write(source.branch().writes[1:], {3})
    assert stands.document.log is not None
    both = fold(stands.document.log.encode(), append_update(HEIR, 0, [element]))
    assert lattice.balance(both.cells("a"), "balance")[0] == 12


@pytest.mark.parametrize("compacted", ["neither", "given up", "stands"])
def test_a_compaction_on_one_side_leaves_the_totals_at_the_fork_known(compacted: str) -> None:
    left = Writer().do([("a", "add", 5), ("b", "name", 1)])
    right = left.copy(3)
    left.do([("a", "add", 2), ("a", "add", 2)])
    right.do([("a", "add", 1), ("a", "add", 1), ("b", "name", 2)])
    if compacted == "given up":
        right.compact()
    if compacted == "stands":
        left.compact()
    fork = common_length(left.branch(), right.branch(), floor=2)
    assert fork == 2
    assert left.document.log is not None
    both = fold(left.document.log.encode(), again(left, right, fork))
    assert lattice.balance(both.cells("a"), "balance")[0] == 11
    assert lattice.siblings(both.cells("b")["name"])[0][1].value == "n2"


def test_a_write_where_the_other_branch_compacted_is_not_taken_for_shared() -> None:
    left = Writer().do([("a", "add", 5), ("b", "name", 1)])
    right = left.copy(3)
    left.compact()
    right.do([("c", "add", 7), ("a", "name", 2)]).compact()
    assert left.branch().end == 3
    fork = common_length(left.branch(), right.branch())
    assert fork == 2
    assert left.document.log is not None
    both = fold(left.document.log.encode(), again(left, right, fork))
    assert lattice.balance(both.cells("c"), "balance")[0] == 7
    assert lattice.balance(both.cells("a"), "balance")[0] == 5


def parted(later: int) -> tuple[Branch, Branch]:
    """A restored branch with one write of its own, where the lost one wrote the same slot three times and compacted."""
    lost = Writer().do([("a", "name", 1)])
    restored = lost.copy(later)
    lost.do([("b", "name", 2), ("b", "name", 3), ("b", "name", 4)]).compact()
    return restored.do([("b", "name", 9)]).branch(), lost.branch()


def test_a_write_that_is_too_late_for_its_place_is_not_taken_for_one_that_was_replaced() -> None:
    restored, lost = parted(later=1000)
    assert common_length(restored, lost) == common_length(lost, restored) == 1


def test_a_write_that_nobody_can_have_heard_of_is_not_taken_for_one_that_was_replaced() -> None:
    restored, lost = parted(later=0)
    # By its clock it may be the second write of the branch that was lost: only its own node knows better.
    assert common_length(restored, lost) == 2
    assert common_length(restored, lost, known=1) == 1


def test_what_was_there_at_the_opening_is_compared_as_ever() -> None:
    left = Writer().do([("a", "name", 1), ("a", "add", 2)])
    right = left.copy(0)
    left.do([("a", "add", 3)]).compact()
    right.do([("a", "add", 5)])
    assert common_length(right.branch(), left.branch(), known=2) == 2


def test_a_count_written_again_still_says_what_it_saw() -> None:
    left = Writer().do([("a", "add", 5)])
    right = left.copy(3)
    left.do([("a", "add", 2)])
    right.do([("a", "add", 1), ("a", "count", 9), ("a", "add", 3)])
    assert left.document.log is not None
    both = fold(left.document.log.encode(), again(left, right, 1))
    # 9 were counted; 3 came after it, and 2 on the branch that the count had not seen.
    assert lattice.balance(both.cells("a"), "balance")[0] == 14


def test_what_an_heir_moves_has_seen_the_counts_that_the_old_one_made_before_the_fork() -> None:
    left = Writer().do([("a", "count", 9), ("a", "add", 1)])
    right = left.copy(3)
    left.do([("a", "add", 2)])
    right.do([("a", "add", 3)])
    assert left.document.log is not None
    both = fold(left.document.log.encode(), again(left, right, 2))
    assert lattice.balance(both.cells("a"), "balance")[0] == 15
    assert lattice.unaware(both.cells("a"), "balance") == (9, 0)


def test_what_an_heir_moves_has_seen_what_the_old_one_had_seen_before_the_fork() -> None:
    counter, left = Writer(OTHER), Writer()
    counted = counter.write(("a", "count", 9))
    left.clock = 200
    change = left.document.receive(counted, lambda _r: True)
    left.document.show(OTHER, 1, change)
    left.document.settle(change)
    left.do([("a", "add", 1)])
    right = left.copy(3)
    left.do([("a", "add", 2)])
    right.do([("a", "add", 3)])
    assert left.document.log is not None
    both = fold(counted, left.document.log.encode(), again(left, right, 1))
    assert lattice.balance(both.cells("a"), "balance")[0] == 15
    assert lattice.unaware(both.cells("a"), "balance") == (9, 0)


def test_what_was_written_before_the_fork_is_covered_and_what_came_after_is_concurrent() -> None:
    left = Writer().do([("a", "name", 1)])
    right = left.copy(3)
    right.do([("a", "name", 2)])
    assert left.document.log is not None
    alone = fold(left.document.log.encode(), again(left, right, 1))
    assert [cell.value for _, cell in lattice.siblings(alone.cells("a")["name"])] == ["n2"]
    left.do([("a", "name", 3)])
    both = fold(left.document.log.encode(), again(left, right, 1))
    assert sorted(cell.value for _, cell in lattice.siblings(both.cells("a")["name"])) == ["n2", "n3"]


def test_a_seal_makes_a_cut_log_another_one() -> None:
    left = Writer().do([("a", "name", 1), ("a", "name", 2), ("a", "name", 3)])
    branch = left.branch()
    cut = Branch(0, [*branch.elements[:1], seal(branch, 1, 999, bytes(16))])
    assert (cut.end, common_length(cut, branch)) == (2, 1)


def test_a_log_cannot_be_cut_inside_what_was_compacted() -> None:
    branch = Writer().do([("a", "name", 1), ("b", "name", 2)]).compact().do([("a", "add", 1)]).branch()
    assert [branch.can_end_at(seq) for seq in range(branch.end + 1)] == [False, False, False, True, True]


def test_when_both_branches_compacted_the_fork_away_nothing_counts_twice() -> None:
    left = Writer().do([("a", "add", 5), ("b", "add", 4), ("c", "name", 1)])
    right = left.copy(3)
    left.do([("a", "add", 2), ("a", "add", 2)]).compact()
    right.do([("a", "add", 1), ("b", "add", 6), ("c", "name", 2)]).compact()
    assert left.document.log is not None
    both = fold(left.document.log.encode(), again(left, right, 3))
    # What both moved since is not known: the total that stands is taken for the one at the fork.
    assert lattice.balance(both.cells("a"), "balance")[0] == 6
    assert lattice.balance(both.cells("b"), "balance")[0] == 10
    assert lattice.siblings(both.cells("c")["name"])[0][1].value == "n2"


def test_a_write_is_told_once_where_a_compaction_and_what_it_replaces_are_both_there() -> None:
    writer = Writer().do([("a", "name", 1), ("b", "add", 2)])
    before = writer.branch()
    after = writer.compact().branch()
    whole = Branch(0, [*before.elements, *after.elements])
    assert (whole.end, after.gone) == (3, 2)
    assert whole.writes == before.writes


def test_a_count_of_one_who_had_moved_nothing_is_written_again_as_it_was() -> None:
    left = Writer().do([("b", "name", 1)])
    right = left.copy(3)
    left.do([("b", "name", 2)])
    right.do([("a", "count", 9)])
    assert left.document.log is not None
    both = fold(left.document.log.encode(), again(left, right, 1))
    assert lattice.balance(both.cells("a"), "balance") == (9, [])
    ((cell,),) = (both.cells("a")["balance#"].values(),)
    assert cell.value == (9, {}, {})
