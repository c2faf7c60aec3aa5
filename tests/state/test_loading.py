"""Documents from what is stored: journals that are not whole are told, and what is parked or withheld stays so."""

from __future__ import annotations

import pytest

from crdtsync import limits
from crdtsync.errors import UpdateInvalid
from crdtsync.state.document import Change, Document, Op
from crdtsync.state.update import append_update, read_update
from tests.state.test_document import Item, always, anyone, deliver, document, write

MANY = limits.REMOVAL_RECORDS_MIN


def journal(source: Document, count: int = 3) -> list[bytes]:
    """The journal of a document that wrote a record in each of its batches."""
    return [write(source, at, **{f"k{at}": [Op("write", "name", f"n{at}")]}) for at in range(1, count + 1)]


def loaded(source: Document, rows: list[bytes], **apart: list[tuple[int, int]]) -> Document:
    """A new document under the heads of another one, loaded from journal rows."""
    again = Document(source.doc, source.shape, source.replica, source.heads)
    again.load(rows, **apart)
    return again


def element(row: bytes) -> bytes:
    """The batch of a journal row with one."""
    ((run,),) = read_update(row).runs.values()
    return run.elements[0]


def test_rows_that_say_the_same_again_change_nothing() -> None:
    source = document(1)
    rows = journal(source)
    again = loaded(source, [rows[0], append_update(1, 0, [element(row) for row in rows]), *rows])
    assert again.fold.digest() == source.fold.digest()


@pytest.mark.parametrize("lost", [0, 1])
def test_a_journal_with_a_hole_is_told(lost: int) -> None:
    source = document(1)
    rows = journal(source)
    del rows[lost]
    with pytest.raises(UpdateInvalid, match=rf"^items: batch {lost + 1} of replica 1 is missing"):
        loaded(source, rows)


def test_a_journal_that_lost_its_end_is_told() -> None:
    source = document(1)
    rows = journal(source)
    with pytest.raises(UpdateInvalid, match=r"^items: the journal ends at batch 2 of replica 1, .* says 3"):
        loaded(source, rows[:-1])


def test_a_journal_that_ends_otherwise_than_the_head_says_is_told() -> None:
    source, other = document(1), document(1)
    rows = journal(source)
    write(other, 9, x=[Op("write", "name", "x")])
    with pytest.raises(UpdateInvalid, match="the journal ends at batch 3"):
        loaded(source, [*rows[:2], append_update(1, 2, [element(_third(other))])])


def _third(source: Document) -> bytes:
    """A journal row whose batch is the third of its log."""
    return [write(source, at, x=[Op("write", "name", "x")]) for at in (10, 11)][-1]


def test_a_batch_at_a_place_that_is_not_its_own_is_told() -> None:
    source = document(1)
    rows = journal(source)
    with pytest.raises(UpdateInvalid, match=r"^items: batch 3 of replica 1 at position 1"):
        loaded(source, [rows[0], append_update(1, 1, [element(rows[2])])])


def test_a_journal_that_holds_more_than_the_head_says_is_told() -> None:
    source, shorter = document(1), document(1)
    rows = journal(source)
    journal(shorter, 2)
    for heads in ({}, shorter.heads):
        with pytest.raises(UpdateInvalid, match="the journal holds more of replica 1 than the head says"):
            Document("items", Item.__shape__, 1, heads).load(rows)


def test_what_is_parked_is_loaded_and_not_folded() -> None:
    source = document(1)
    again = loaded(source, journal(source), parked=[(1, 2)])
    assert sorted(again.fold.keys()) == ["k1", "k3"]


def removal(names: str) -> tuple[Document, list[bytes]]:
    """A writer of many records that then wrote one again and deleted all of them."""
    source = document(1)
    keys = [f"{names}{at}" for at in range(MANY)]
    created = write(source, 1, **{key: [Op("write", "name", "n")] for key in keys})
    edited = write(source, 2, **{keys[0]: [Op("write", "name", "new")]})
    return source, [created, edited, write(source, 3, **{key: [Op("write", "~", 1)] for key in keys})]


def deleted(target: Document) -> int:
    """How many of its records a document shows as deleted."""
    return sum(not target.fold.shows(key) for key in target.fold.keys())  # noqa: SIM118 - a fold is no mapping


def receive(target: Document, row: bytes) -> Change:
    """Receive as a node does whose person decides about mass removals."""
    return target.receive(row, anyone, withholds=lambda _replica: True)


def show(target: Document, change: Change) -> None:
    """Show all that was received."""
    target.show(1, target.showable(1, always), change)


def test_the_deletions_of_a_mass_removal_wait_and_count_when_they_are_released() -> None:
    source, rows = removal("k")
    target = document(2)
    for row in rows[:-1]:
        show(target, receive(target, row))
    change = receive(target, rows[-1])
    show(target, change)
    assert [(one.seq, len(one.keys)) for one in change.removals] == [(3, MANY)]
    assert deleted(target) == 0
    again = Document("items", Item.__shape__, 2, target.heads)
    again.load(rows, withheld=[(1, 3)])
    assert again.fold.digest() == target.fold.digest() != source.fold.digest()
    for held in (target, again):
        released = held.release(change.removals[0])
        assert len(released.rows) == MANY
        assert held.ahead
        assert deleted(held) == MANY
        assert held.fold.digest() == source.fold.digest()


def test_a_mass_removal_that_is_released_before_it_is_shown_brings_its_deletions_with_it() -> None:
    source, rows = removal("k")
    target = document(2)
    for row in rows[:-1]:
        deliver(target, row)
    change = receive(target, rows[-1])
    assert target.release(change.removals[0]).rows == []
    assert deleted(target) == 0
    show(target, change)
    assert deleted(target) == MANY
    assert target.fold.digest() == source.fold.digest()


def test_what_is_no_mass_removal_is_not_kept_apart() -> None:
    source, target = document(1), document(2)
    for row in (*journal(source), write(source, 9, k1=[Op("write", "~", 1)])):
        change = receive(target, row)
        show(target, change)
        assert not change.removals
    assert target.fold.digest() == source.fold.digest()
