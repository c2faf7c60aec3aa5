"""Ceilings: a stamp far ahead counts as less, the same for everybody, in whatever order its ceiling arrives."""

from __future__ import annotations

from itertools import permutations

import pytest

from crdtsync.errors import BatchInvalid
from crdtsync.schema import Once, Register
from crdtsync.schema.entity import Entity
from crdtsync.schema.fields import Key
from crdtsync.schema.roles import Role
from crdtsync.state.ceilings import FIELD, KEY, Ceiling, stamp_under, stamps_of
from crdtsync.state.codec import Batch, Group, decode_batch
from crdtsync.state.document import Document, Op
from crdtsync.state.fold import check_batch
from crdtsync.state.hlc import COUNTER_BITS, HybridClock, stamp_ms
from crdtsync.state.log import Log
from crdtsync.state.update import read_update
from tests.compacting import compact
from tests.state.test_document import TX, deliver


class Item(Entity, category="items", writers=set(Role)):
    """One field that the last write wins, one that the first does."""

    id = Key()
    name = Register(str)
    born = Once(str, optional=True)


NOW_MS, DAY_MS = 1_800_000_000_000, 86_400_000
NOW, YEARS = NOW_MS << COUNTER_BITS, (9 * 365 * DAY_MS) << COUNTER_BITS


def document(replica: int) -> Document:
    return Document("items", Item.__shape__, replica, {})


def name(source: Document, stamp: int, text: str) -> bytes:
    ops = {
        "x": [Op("write", "name", text), Op("write", "born", text)],
        f"own{source.replica}": [Op("write", "name", text)],
    }
    return source.write(ops, hlc=stamp, txid=TX).journal[0]


def cap(witness: Document, *ceilings: Ceiling) -> bytes:
    ops = {KEY: [Op("write", c.slot, (c.hlc, c.shift_ms)) for c in ceilings]}
    return witness.write(ops, hlc=NOW, txid=TX).journal[0]


def test_every_order_of_arrival_reads_the_same_and_every_changed_row_is_written() -> None:
    early, late, witness = document(1), document(2), document(3)
    updates = [
        name(early, NOW + YEARS, "2035"),
        name(late, NOW - 5, "honest"),
        cap(witness, Ceiling(1, 1, NOW, (YEARS >> COUNTER_BITS) + 10)),
    ]
    told = set()
    for order in permutations(updates):
        reader, shown = document(4), {}
        for update in order:
            shown.update({row[1]: row for row in deliver(reader, update).rows})
        assert sorted(shown.values()) == sorted(reader.fold.rows(reader.fold.keys()))
        told.add((reader.fold.digest(), tuple(sorted(shown.values()))))
    ((_, rows),) = told
    assert rows[-1] == (
        "items",
        "x",
        "honest",
        "2035",
        0,
        '{"born":["2035","honest"],"name":["honest","2035"]}',
    )


def test_without_a_ceiling_the_greater_stamp_wins() -> None:
    early, late, reader = document(1), document(2), document(4)
    deliver(reader, name(early, NOW + YEARS, "2035"))
    assert deliver(reader, name(late, NOW, "honest")).rows[0][2] == "2035"


def test_the_least_of_several_ceilings_counts_and_each_for_its_part_of_the_log() -> None:
    ceilings = [Ceiling(1, 5, 100, 0), Ceiling(1, 9, 300, 0), Ceiling(1, 9, 200, 0), Ceiling(2, 9, 1, 0)]
    stamps = {(1, 5, 999): 100, (1, 6, 999): 200, (1, 10, 999): 999, (1, 5, 50): 50, (3, 1, 999): 999}
    assert {at: stamp_under(ceilings, *at) for at in stamps} == stamps


def test_a_known_shift_keeps_the_order_of_what_was_written() -> None:
    shift = YEARS >> COUNTER_BITS
    ceiling = [Ceiling(1, 9, NOW, shift)]
    assert [stamp_under(ceilings=ceiling, replica=1, seq=1, hlc=NOW + YEARS - ago) for ago in (9, 5)] == [
        NOW - 9,
        NOW - 5,
    ]
    # Later than the witness saw it cannot have been.
    assert stamp_under(ceiling, 1, 1, NOW + 2 * YEARS) == NOW


def test_a_compaction_of_the_witness_keeps_its_ceilings() -> None:
    early, late, witness = document(1), document(2), document(3)
    updates = [name(early, NOW + YEARS, "2035"), name(late, NOW, "honest")]
    for update in updates:
        deliver(witness, update)
    own = [
        cap(witness, Ceiling(1, 1, NOW - 9, 0)),
        name(witness, NOW + 1, "witness"),
        name(witness, NOW + 2, "witness"),
    ]
    rows, digest = witness.fold.rows(witness.fold.keys()), witness.fold.digest()
    witness.log = Log("items", 3, [*updates, *own])
    witness.settle(compact(witness, NOW + 3, TX))
    encoded = witness.log.encode()
    reader = document(4)
    deliver(reader, Log("items", 9, [encoded]).diff({}))
    assert reader.fold.digest() == digest
    assert sorted(reader.fold.rows(reader.fold.keys())) == sorted(rows)
    assert KEY not in set(reader.fold.keys())


def test_stamps_of_an_update_are_told_apart_by_how_late_they_are() -> None:
    early = document(1)
    assert stamps_of(name(early, NOW, "a"), NOW) == (NOW, {})
    assert stamps_of(name(early, NOW + YEARS, "b"), NOW) == (0, {1: (2, NOW + YEARS)})
    # A compaction is stamped rightly and preserves the wrong stamp.
    fresh = document(1)
    fresh.log = Log("items", 1, [name(fresh, NOW + YEARS, "b")])
    fresh.settle(compact(fresh, NOW, TX))
    encoded = fresh.log.encode()
    reader = document(4)
    change = deliver(reader, encoded)
    assert change.hlc == NOW + YEARS
    assert stamps_of(change.journal[0], NOW) == (NOW, {1: (2, NOW + YEARS)})


SLOT = f"{FIELD}\x1f1:5"


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ((SLOT,), ((KEY, (NOW, 0)), (KEY, (NOW, 0)))),
        ((SLOT,), ((KEY, NOW),)),
        ((SLOT,), ((KEY, (NOW, -1)),)),
        ((SLOT,), ((KEY, (0, 0)),)),
        ((SLOT,), ((KEY, (NOW, 0.0)),)),
        ((SLOT,), ((KEY, (True, 0)),)),
        ((f"{FIELD}\x1f1:05",), ((KEY, (NOW, 0)),)),
        (("name",), ((KEY, "x"),)),
    ],
)
def test_what_is_no_ceiling_is_parked(fields: tuple[str, ...], rows: tuple[tuple[object, ...], ...]) -> None:
    with pytest.raises(BatchInvalid, match="ceiling"):
        check_batch(Item.__shape__, Batch(1, NOW, bytes(16), TX, {}, "", (Group(fields, rows),)))


def test_a_ceiling_is_well_formed_as_the_program_writes_it() -> None:
    (element,) = read_update(cap(document(3), Ceiling((1 << 53) - 1, 1 << 40, NOW, 0))).runs[3][0].elements
    check_batch(Item.__shape__, decode_batch(element))


def test_a_corrected_clock_forgets_the_stamps_of_the_wrong_one() -> None:
    clock = HybridClock()
    wrong_ms = NOW_MS + 9 * 365 * DAY_MS
    clock.tick(wrong_ms)
    clock.correct(NOW_MS - wrong_ms, wrong_ms)
    assert stamp_ms(clock.tick(wrong_ms + 1)) == NOW_MS + 1
    # A little ahead is kept: stamps do not run backwards for a clock that is a minute off.
    clock.observe((NOW_MS + 60_000) << COUNTER_BITS)
    clock.correct(NOW_MS - wrong_ms, wrong_ms)
    assert stamp_ms(clock.tick(wrong_ms + 2)) == NOW_MS + 60_000
