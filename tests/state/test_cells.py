"""The lattice: joins are commutative, associative and idempotent; reads follow the merge policies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crdtsync.state import cells
from crdtsync.state.cells import Cell, Record

REPLICAS = (1, 2, 3)


@st.composite
def histories(draw: st.DrawFn, kind: str) -> list[tuple[str, int, Cell]]:
    """Cells as replicas would write them: per replica the sequence and the clock grow."""
    writes: list[tuple[str, int, Cell]] = []
    seqs = dict.fromkeys(REPLICAS, 0)
    totals = dict.fromkeys(REPLICAS, 0)
    for clock in range(1, draw(st.integers(1, 12)) + 1):
        replica = draw(st.sampled_from(REPLICAS))
        seqs[replica] += 1
        seen = {r: draw(st.integers(0, seqs[r])) for r in REPLICAS if r != replica and seqs[r]}
        seen = {r: seq for r, seq in seen.items() if seq}
        slot = "name"
        value: object = draw(st.integers(0, 3))
        if kind == "counter":
            totals[replica] += draw(st.integers(-5, 5))
            slot, value = "balance", (totals[replica], "")
            if draw(st.booleans()):
                base = {r: draw(st.integers(-3, 3)) for r in REPLICAS}
                slot, value = "balance#", (draw(st.integers(0, 9)), base, {})
        elif kind == "set":
            slot, value = f"tags\x1f{draw(st.sampled_from('ab'))}", draw(st.integers(0, 1))
        elif kind == "deletion" and draw(st.booleans()):
            slot, value = cells.DELETION, draw(st.integers(0, 1))
        writes.append((slot, replica, Cell(seqs[replica], clock, value, seen)))
    return writes


def folded(writes: list[tuple[str, int, Cell]]) -> Record:
    record: Record = {}
    for slot, replica, cell in writes:
        cells.join_cell(record, slot, replica, cell)
    return record


any_kind = st.sampled_from(("register", "counter", "set", "deletion"))


@given(any_kind.flatmap(histories), st.randoms(use_true_random=False))
def test_the_order_and_the_repetition_of_writes_do_not_matter(
    writes: list[tuple[str, int, Cell]], random: object
) -> None:
    shuffled = writes * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert cells.canonical(folded(shuffled)) == cells.canonical(folded(writes))


@given(any_kind.flatmap(lambda kind: st.tuples(histories(kind), st.integers(0, 12), st.integers(0, 12))))
def test_the_join_is_a_least_upper_bound(drawn: tuple[list[tuple[str, int, Cell]], int, int]) -> None:
    writes, first, second = drawn
    a, b, c = folded(writes[:first]), folded(writes[first : first + second]), folded(writes[second:])
    canonical = cells.canonical
    assert canonical(cells.join(a, b)) == canonical(cells.join(b, a))
    assert canonical(cells.join(cells.join(a, b), c)) == canonical(cells.join(a, cells.join(b, c)))
    assert canonical(cells.join(a, a)) == canonical(a)


def test_a_write_that_has_seen_the_other_is_not_concurrent() -> None:
    record = folded([("name", 1, Cell(1, 10, "a")), ("name", 2, Cell(1, 5, "b", {1: 1}))])
    assert [cell.value for _, cell in cells.siblings(record["name"])] == ["b"]


def test_two_writes_that_have_not_seen_each_other_are_siblings_and_the_later_clock_wins() -> None:
    record = folded([("name", 1, Cell(1, 10, "a")), ("name", 2, Cell(1, 11, "b"))])
    assert [cell.value for _, cell in cells.siblings(record["name"])] == ["b", "a"]


def test_the_winner_is_chosen_among_siblings_not_by_the_clock_over_all_cells() -> None:
    """A station whose clock ran ahead wrote first; who has seen it and wrote after wins."""
    record = folded([("name", 1, Cell(1, 9999, "fast clock")), ("name", 2, Cell(1, 5, "after", {1: 1}))])
    assert cells.siblings(record["name"])[0][1].value == "after"


def test_movements_of_every_replica_add_up() -> None:
    record = folded([("balance", 1, Cell(1, 1, (-2, ""))), ("balance", 2, Cell(1, 2, (5, "")))])
    assert cells.balance(record, "balance") == (3, [])


def test_a_count_sets_the_balance_and_later_movements_still_move_it() -> None:
    record = folded(
        [
            ("balance", 1, Cell(2, 9, (-7, ""))),
            ("balance", 2, Cell(1, 2, (5, ""))),
            ("balance#", 2, Cell(2, 5, (10, {1: -4, 2: 5}, {}))),
        ]
    )
    assert cells.balance(record, "balance") == (7, [])


def test_two_concurrent_counts_are_told_apart() -> None:
    record = folded([("balance#", 1, Cell(1, 5, (10, {}, {}))), ("balance#", 2, Cell(1, 6, (12, {}, {})))])
    assert cells.balance(record, "balance") == (12, [12, 10])


def test_an_addition_wins_over_a_removal_that_has_not_seen_it() -> None:
    slot = "tags\x1fa"
    record = folded([(slot, 1, Cell(1, 1, 1)), (slot, 2, Cell(1, 9, 0))])
    assert list(cells.elements(record, "tags")) == ["a"]


def test_a_removal_that_has_seen_every_addition_removes() -> None:
    slot = "tags\x1fa"
    record = folded([(slot, 1, Cell(1, 1, 1)), (slot, 2, Cell(1, 9, 0, {1: 1}))])
    assert list(cells.elements(record, "tags")) == []


def test_a_deletion_that_has_seen_everything_hides_the_record() -> None:
    record = folded([("name", 1, Cell(1, 1, "a")), (cells.DELETION, 2, Cell(1, 2, 1, {1: 1}))])
    assert cells.deletion_state(record) == (True, False)


def test_a_record_edited_while_it_was_deleted_elsewhere_lives_and_is_contested() -> None:
    record = folded([("name", 1, Cell(2, 3, "b")), (cells.DELETION, 2, Cell(1, 2, 1, {1: 1}))])
    assert cells.deletion_state(record) == (False, True)


def test_a_restored_record_is_alive_and_settled() -> None:
    record = folded(
        [
            ("name", 1, Cell(1, 1, "a")),
            (cells.DELETION, 2, Cell(1, 2, 1, {1: 1})),
            (cells.DELETION, 1, Cell(2, 3, 0, {2: 1})),
        ]
    )
    assert cells.deletion_state(record) == (False, False)


def test_a_movement_marked_with_a_count_that_is_not_here_yet_ends_what_had_not_seen_the_older_one() -> None:
    marked = Cell(3, 9, (-7, "", (8, 3, -4)))
    record = folded([("balance#", 2, Cell(1, 5, (10, {1: -1}, {}))), ("balance", 1, marked)])
    assert cells.unaware(record, "balance") == (10, -3)
