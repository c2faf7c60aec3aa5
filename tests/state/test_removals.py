"""Which deletions are a mass removal, and how they are kept apart from the rest of their batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crdtsync import limits
from crdtsync.schema import Entity, Key, Register, Role
from crdtsync.state.codec import GENESIS, Batch, Group, encode_batch
from crdtsync.state.fold import Fold
from crdtsync.state.removals import mass_removals, split

REPLICA, OTHER = 7, 9


class Item(Entity, category="items", writers=set(Role)):
    """One register."""

    id = Key()
    name = Register(str)


def batch(seq: int, *groups: Group, compaction: tuple[int, int] | None = None) -> Batch:
    return Batch(seq, seq << 16, GENESIS, bytes(16), {}, "", groups, compaction)


def filled(count: int) -> Fold:
    fold = Fold("items", Item.__shape__)
    created = batch(1, Group(("name",), tuple((f"i{number}", "a") for number in range(count))))
    fold.add(OTHER, created, encode_batch(created))
    return fold


def deletion(count: int, seq: int = 1, stamp: int | None = None) -> Batch:
    rows = tuple((f"i{number}", 1) for number in range(count))
    group = Group(("~",), rows, {OTHER: 1}, stamp, None if stamp is None else stamp << 16)
    return batch(seq, group, compaction=None if stamp is None else (seq - 1, seq))


def found(fold: Fold, *batches: Batch, after: int = 0) -> list[tuple[int, int]]:
    removals = mass_removals("items", REPLICA, batches, after, fold, withhold=True)
    return [(removal.seq, len(removal.keys)) for removal in removals]


def test_the_limit_is_on_records_and_on_their_share() -> None:
    few = limits.REMOVAL_RECORDS_MIN
    assert found(filled(100), deletion(few - 1)) == []
    assert found(filled(100), deletion(few)) == [(1, few)]
    assert found(filled(few * limits.REMOVAL_SHARE), deletion(few)) == []
    assert found(filled(few * limits.REMOVAL_SHARE - 1), deletion(few)) == [(1, few)]


def test_records_that_are_not_shown_do_not_count() -> None:
    assert found(filled(0), deletion(100)) == []
    fold = filled(100)
    gone = deletion(60)
    fold.add(REPLICA, gone, encode_batch(gone))
    assert found(fold, deletion(60, seq=2)) == []
    assert found(fold, deletion(62, seq=2)) == []


def test_deleted_records_do_not_hide_the_share_of_the_visible_ones() -> None:
    fold = filled(1000)
    gone = batch(1, Group(("~",), tuple((f"i{number}", 1) for number in range(100, 1000)), {OTHER: 1}))
    fold.add(REPLICA, gone, encode_batch(gone))
    assert found(fold, deletion(30, seq=2)) == [(2, 30)]


def test_a_write_that_was_taken_before_is_not_judged_again_when_a_compaction_brings_it() -> None:
    assert found(filled(100), deletion(50, seq=5, stamp=3), after=4) == []
    assert found(filled(100), deletion(50, seq=5, stamp=3), after=2) == [(3, 50)]


def test_a_write_in_several_batches_of_a_compaction_is_one_removal() -> None:
    halves = [
        batch(seq, Group(("~",), rows, {}, 3, 3 << 16), compaction=(4, 6))
        for seq, rows in (
            (5, tuple((f"i{number}", 1) for number in range(12))),
            (6, tuple((f"i{number}", 1) for number in range(12, 24))),
        )
    ]
    (removal,) = mass_removals("items", REPLICA, halves, 0, filled(100), withhold=True)
    assert (removal.seq, len(removal.keys), len(removal.withheld)) == (3, 24, 2)


ROWS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["x", "y"]), st.integers(0, 1)),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row[0],
)


@given(ROWS, st.booleans())
def test_the_two_parts_fold_to_what_the_whole_folds_to(rows: list[tuple[str, str, int]], mine: bool) -> None:
    whole = batch(2, Group(("name", "~"), tuple(rows)))
    kept, apart = split(whole, {2} if mine else {1})
    assert (
        not any("~" in group.fields and any(row[-1] for row in group.rows) for group in kept.groups)
        or not mine
    )
    folds = []
    for parts in ([whole], [kept, apart], [apart, kept]):
        fold = Fold("items", Item.__shape__)
        for part in parts:
            if part.groups:
                fold.add(REPLICA, part, encode_batch(part))
        folds.append(sorted(fold.rows(fold.keys())))
    assert folds[0] == folds[1] == folds[2]
