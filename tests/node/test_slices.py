"""While people work at a node, what a peer sends is taken a little at a time; else in one piece."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdtsync import limits
from crdtsync.errors import UpdateInvalid
from crdtsync.node.slices import Slices
from crdtsync.state.update import append_update, read_update

REPLICA = 0xBEEF


def elements(update: bytes) -> list[bytes]:
    return [element for run in read_update(update).runs[REPLICA] for element in run.elements]


def stretch() -> float:
    return limits.REMOTE_SLICE_SECONDS


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.binary(min_size=1, max_size=9_000), min_size=1, max_size=30))
def test_pieces_in_order_are_the_whole_update(batches: list[bytes]) -> None:
    slices = Slices(Clock(), stretch)
    slices.note_local()
    slices.took(limits.CHUNK_BYTES_MAX, 10 * limits.REMOTE_SLICE_SECONDS)
    pieces = [*slices.cut(append_update(REPLICA, 4, batches))]
    assert [element for piece in pieces for element in elements(piece)] == batches
    clock = 4
    for piece in pieces:
        run = read_update(piece).runs[REPLICA][0]
        assert run.clock == clock
        clock = run.end


def test_nothing_is_cut_while_nobody_works_here() -> None:
    clock = Clock()
    slices = Slices(clock, stretch)
    update = append_update(REPLICA, 0, [b"x" * 1_000] * 60)
    assert [*slices.cut(update)] == [update]
    slices.note_local()
    assert len([*slices.cut(update)]) > 1
    clock.now += limits.AT_WORK_SECONDS
    assert [*slices.cut(update)] == [update]


def test_a_stretch_becomes_as_long_as_it_may_last_on_this_machine() -> None:
    slices = Slices(Clock(), stretch)
    slices.note_local()
    update = append_update(REPLICA, 0, [b"x" * 500] * 600)
    seconds_a_byte = limits.REMOTE_SLICE_SECONDS / 5_000
    for _ in range(20):
        for piece in slices.cut(update):
            slices.took(len(piece), len(piece) * seconds_a_byte)
    sizes = [len(piece) for piece in slices.cut(update)]
    assert 3_000 < max(sizes) < 8_000
    for _ in range(20):
        for piece in slices.cut(update):
            slices.took(len(piece), len(piece) * seconds_a_byte / 100)
    assert max(len(piece) for piece in slices.cut(update)) > 20_000


def test_what_is_learned_of_a_piece_counts_for_the_next_one_of_the_same_update() -> None:
    slices = Slices(Clock(), stretch)
    slices.note_local()
    for _ in range(20):
        slices.took(limits.CHUNK_BYTES_MAX, 5.0)
    sizes = []
    for piece in slices.cut(append_update(REPLICA, 0, [b"x" * 500] * 500)):
        sizes.append(len(piece))
        slices.took(len(piece), limits.REMOTE_SLICE_SECONDS / 10)
    assert len(sizes) < 20
    assert sizes[:3] == sorted(sizes[:3])


def test_one_batch_at_least_is_taken_however_slow_the_machine() -> None:
    slices = Slices(Clock(), stretch)
    slices.note_local()
    for _ in range(20):
        slices.took(limits.CHUNK_BYTES_MAX, 5.0)
    pieces = slices.cut(append_update(REPLICA, 0, [b"x" * 20_000] * 3))
    assert [len(elements(piece)) for piece in pieces] == [1, 1, 1]


def test_what_is_no_update_is_refused_before_anything_is_taken() -> None:
    slices = Slices(Clock(), stretch)
    slices.note_local()
    with pytest.raises(UpdateInvalid):
        next(slices.cut(b"\xff" * (limits.CHUNK_BYTES_MAX + 1)))
