"""Documents: what is received is checked, waits for its transaction, folds the same everywhere, compacts without loss."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync import limits
from crdtsync.errors import BatchInvalid, CompactionLoss, Fork, TransactionTooLarge, UpdateGap, UpdateInvalid
from crdtsync.schema import Counter, Entity, Key, Register, Role, Set
from crdtsync.state import document as document_module
from crdtsync.state import fold as fold_module
from crdtsync.state.cells import DELETION
from crdtsync.state.codec import Batch, batch_hash, decode_batch, encode_batch, keys_in
from crdtsync.state.document import Change, Document, Head, Op, pieces
from crdtsync.state.log import Log
from crdtsync.state.update import Run, Update, append_update, read_update, split_update, write_update
from tests.compacting import compact

if TYPE_CHECKING:
    from collections.abc import Mapping


class Item(Entity, category="items", writers=set(Role)):
    """One of each merge policy."""

    id = Key()
    name = Register(str)
    note = Register(str, optional=True)
    balance = Counter()
    tags = Set(str)


class Plain(Entity, category="plain", writers=set(Role)):
    """Registers alone: a whole row of it is a row of the read model."""

    id = Key()
    name = Register(str)
    note = Register(str, optional=True)


TX = b"t" * 16


def document(replica: int) -> Document:
    return Document("items", Item.__shape__, replica, {})


def anyone(_replica: int) -> bool:
    return True


def always(_batch: Batch) -> bool:
    return True


def deliver(target: Document, update: bytes, cut: Mapping[int, int] | None = None) -> Change:
    change = target.receive(update, anyone)
    for replica in target.waiting():
        target.show(replica, target.showable(replica, always), change)
    if cut:
        target.promise(cut, change)
    return change


def write(source: Document, clock: int, **ops: list[Op]) -> bytes:
    return source.write(ops, hlc=clock, txid=TX).journal[0]


def test_a_record_written_at_one_node_reads_the_same_at_another() -> None:
    a, b = document(1), document(2)
    update = write(
        a, 1, x=[Op("write", "name", "n"), Op("add", "balance", 500, "buy"), Op("write", "tags\x1fq", 1)]
    )
    assert deliver(b, update).rows == [("items", "x", "n", None, 500, '["q"]', 0, None)]
    assert a.fold.digest() == b.fold.digest()


def test_the_same_update_twice_changes_nothing() -> None:
    a, b = document(1), document(2)
    update = write(a, 1, x=[Op("add", "balance", 500)])
    deliver(b, update)
    again = deliver(b, update)
    assert not again.journal
    assert not again.rows


def test_records_that_came_one_to_a_batch_are_read_off_their_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = (Document("plain", Plain.__shape__, replica, {}) for replica in (1, 2))
    count = 300
    for number in range(count):
        ops = [Op("write", "name", f"n{number}"), Op("write", "note", None)]
        target.receive(write(source, number + 1, **{f"p{number}": ops}), anyone)
    monkeypatch.setattr(fold_module, "decode_batch", lambda _data: pytest.fail("a batch is read again"))
    change = Change("plain", "plain")
    target.show(1, target.showable(1, always), change)
    assert change.rows == [("plain", f"p{number}", f"n{number}", None, 0, None) for number in range(count)]


def test_the_last_row_of_a_record_written_again_is_the_one_that_stands() -> None:
    source, target = (Document("plain", Plain.__shape__, replica, {}) for replica in (1, 2))
    whole = [Op("write", "name", "a"), Op("write", "note", None)]
    written = (
        ("edited", whole),
        ("deleted", whole),
        ("whole again", whole),
        ("edited", [Op("write", "note", "new")]),
        ("deleted", [Op("write", "~", 1)]),
        ("whole again", [Op("write", "name", "b"), Op("write", "note", "new")]),
    )
    for clock, (key, ops) in enumerate(written, 1):
        target.receive(write(source, clock, **{key: ops}), anyone)
    change = Change("plain", "plain")
    target.show(1, target.showable(1, always), change)
    stands = {row[1]: row for row in change.rows}
    assert list(stands.values()) == target.fold.rows(stands)
    assert stands["edited"][3] == "new"
    assert stands["whole again"][2] == "b"


def ended(source: Document, seq: int, lost: Mapping[str, int]) -> bytes:
    """The end of a log behind a sequence."""
    head = source.heads[source.replica]
    assert head.seq == seq
    return append_update(source.replica, seq, [encode_batch(Batch(seq + 1, 9, head.hash, TX, lost, "", ()))])


def test_what_the_owner_of_a_log_gave_up_is_shown_nowhere() -> None:
    a, b = document(1), document(2)
    updates = [write(a, clock, **{f"r{clock}": [Op("add", "balance", 1)]}) for clock in (1, 2, 3)]
    for update in updates:
        b.receive(update, anyone)
    change = b.receive(ended(a, 3, {"items": 2}), anyone)
    assert b.counts(1) == 1
    b.show(1, b.showable(1, always), change)
    assert [row[1] for row in change.rows] == ["r1"]
    assert (b.heads[1].seq, b.heads[1].visible, b.waiting()) == (4, 1, set())
    again = Document("items", Item.__shape__, 2, b.heads)
    again.load([*updates, ended(a, 3, {"items": 2})])
    assert (again.fold.digest(), again.counts(1), again.waiting()) == (b.fold.digest(), 1, set())


def test_what_is_shown_is_not_taken_back_by_the_end_of_its_log() -> None:
    """Or a lane could unwrite its sales."""
    a, b = document(1), document(2)
    for clock in (1, 2):
        deliver(b, write(a, clock, x=[Op("add", "balance", 1)]))
    before = b.fold.digest()
    with pytest.raises(Fork):
        b.receive(ended(a, 2, {"items": 1}), anyone)
    assert (b.fold.digest(), b.heads[1].seq) == (before, 2)
    with pytest.raises(UpdateInvalid, match="writes nothing"):
        b.receive(ended(a, 2, {"sales": 1}), anyone)
    deliver(b, ended(a, 2, {}))
    assert (b.heads[1].seq, b.fold.digest()) == (3, before)


def test_an_update_with_a_gap_is_refused_before_anything_changes() -> None:
    a, b = document(1), document(2)
    write(a, 1, x=[Op("add", "balance", 1)])
    second = write(a, 2, x=[Op("add", "balance", 1)])
    with pytest.raises(UpdateGap):
        deliver(b, second)
    assert not b.heads


def test_a_log_that_forks_is_refused() -> None:
    a, clone, b = document(1), document(1), document(2)
    deliver(b, write(a, 1, x=[Op("add", "balance", 1)]))
    write(clone, 5, x=[Op("add", "balance", 9)])
    with pytest.raises(Fork):
        deliver(b, write(clone, 6, x=[Op("add", "balance", 9)]))


def test_a_log_of_a_replica_that_the_sender_does_not_own_is_refused() -> None:
    a, b = document(1), document(2)
    with pytest.raises(UpdateInvalid, match="may not write"):
        b.receive(write(a, 1, x=[Op("add", "balance", 1)]), lambda replica: replica != 1)


def test_a_transaction_over_the_size_limit_is_refused_and_leaves_nothing() -> None:
    a = document(1)
    with pytest.raises(TransactionTooLarge):
        write(a, 1, **{f"k{i}": [Op("write", "name", "n" * 1000)] for i in range(200)})
    assert not a.heads
    assert len(a.fold) == 0


def test_a_value_of_the_wrong_type_is_parked_and_the_next_batch_is_folded() -> None:
    a, b = document(1), document(2)
    bad = _forged(a, 1, "name", 7)
    good = write(a, 2, y=[Op("write", "name", "fine")])
    assert [parked.seq for parked in deliver(b, bad).parked] == [1]
    assert [row[1] for row in deliver(b, good).rows] == ["y"]


def _forged(source: Document, clock: int, field: str, value: object) -> bytes:
    """What a program with another schema would write."""
    shape = source.shape
    honest = write(source, clock, x=[Op("write", "name", "n")])
    element = read_update(honest).runs[source.replica][0].elements[0]
    batch = decode_batch(element)
    group = batch.groups[0]
    forged = Batch(
        batch.seq, batch.hlc, batch.prev, batch.txid, {}, "", (type(group)((field,), (("x", value),)),)
    )
    data = encode_batch(forged)
    source.heads[source.replica] = Head(batch.seq, batch_hash(data), batch.seq, batch.seq)
    assert shape is source.shape
    return append_update(source.replica, batch.seq - 1, [data])


def test_an_unknown_field_is_kept_and_part_of_the_digest() -> None:
    a, b = document(1), document(2)
    update = _forged(a, 1, "from_a_newer_version", "kept")
    change = deliver(b, update)
    assert not change.parked
    assert b.fold.cells("x")["from_a_newer_version"][1].value == "kept"


def _nested(depth: int) -> Any:
    return (_nested(depth - 1),) if depth else "end"


@pytest.mark.parametrize(
    "value",
    [{"a": 1, b"a": 1}, {1: 1, "a": 1}, ({("a",): 1},), _nested(17), _nested(400)],
    ids=lambda _: "value",
)
def test_a_value_of_an_unknown_field_that_has_no_canonical_form_is_parked(value: Any) -> None:
    a, b = document(1), document(2)
    change = deliver(b, _forged(a, 1, "later", value))
    assert [parked.detail for parked in change.parked] == ["items.later: a value that no field can have"]
    assert b.fold.digest() == document(3).fold.digest()


def test_a_part_of_a_transaction_waits_for_the_others() -> None:
    a, b = document(1), document(2)
    change = a.write({"x": [Op("add", "balance", 1)]}, hlc=1, txid=TX, parts={"sales": 4})
    after = write(a, 2, y=[Op("add", "balance", 1)])
    got = b.receive(change.journal[0], anyone)
    b.receive(after, anyone)
    assert b.showable(1, lambda batch: batch.parts.get("sales", 0) <= 3) == 0
    b.show(1, b.showable(1, always), got)
    assert [row[1] for row in got.rows] == ["x", "y"]


def test_a_cut_advances_only_when_all_of_it_is_visible() -> None:
    a, b, c = document(1), document(2), document(3)
    first, second = write(a, 1, x=[Op("write", "name", "a")]), write(b, 2, y=[Op("write", "name", "b")])
    deliver(c, first, {1: 1, 2: 1})
    assert c.heads[1].cut == 0
    deliver(c, second)
    c.advance_cut(Change("items", "items"))
    assert (c.heads[1].cut, c.heads[2].cut) == (1, 1)


def test_a_cut_does_not_wait_for_another_that_came_before_it_or_after() -> None:
    a, b, c = document(1), document(2), document(3)
    first, second = write(a, 1, x=[Op("write", "name", "a")]), write(c, 2, y=[Op("write", "name", "c")])
    change = Change("items", "items")
    b.promise({1: 1}, change)
    b.promise({3: 2}, change)
    b.advance_cut(deliver(b, first))
    assert b.heads[1].cut == 1
    b.advance_cut(deliver(b, second))
    assert b.heads[3].cut == 0
    b.promise({3: 1}, change)
    assert b.heads[3].cut == 1
    for seq in range(3, 3 + 2 * limits.CUTS_PROMISED_MAX):
        b.promise({3: seq}, change)
    assert b.heads[3].cut == 1


def test_a_cut_is_passed_on_with_what_it_is_about_and_not_before_all_of_that_is_there() -> None:
    a, b, c = document(1), document(2), document(3)
    first, second = write(a, 1, x=[Op("write", "name", "a")]), write(c, 2, y=[Op("write", "name", "c")])
    # It waits here for another part of its transaction, and so does the cut.
    change = b.receive(first, anyone)
    b.promise({1: 1, 3: 1}, change)
    assert b.closed() == {}
    b.receive(second, anyone)
    assert (b.heads[1].cut, b.closed()) == (0, {1: 1, 3: 1})
    deliver(c, first, b.closed())
    assert c.heads[1].cut == 1


def test_an_edit_of_what_was_seen_is_not_concurrent() -> None:
    a, b = document(1), document(2)
    deliver(b, write(a, 1, x=[Op("write", "name", "a")]), {1: 1})
    rows = b.write({"x": [Op("write", "name", "b")]}, hlc=2, txid=TX).rows
    assert rows[0][2] == "b"
    assert rows[0][-1] is None


def test_edits_that_have_not_seen_each_other_are_conflicts_at_both_ends() -> None:
    a, b = document(1), document(2)
    first = write(a, 1, x=[Op("write", "name", "a")])
    second = write(b, 2, x=[Op("write", "name", "b")])
    row_b, row_a = deliver(b, first).rows[0], deliver(a, second).rows[0]
    assert row_a == row_b
    assert row_a[-1] == '{"name":["b","a"]}'


@pytest.mark.parametrize("seed", range(30))
def test_compaction_keeps_the_state_for_whoever_has_any_part_of_the_log(seed: int) -> None:
    random = Random(seed)
    a, late, partly = document(1), document(2), document(3)
    updates = []
    for clock in range(1, 60):
        key = random.choice("xyz")
        ops = random.choice(
            [
                [Op("add", "balance", random.randint(-5, 5))],
                [Op("named", f"balance!{random.choice('mn')}", random.randint(-5, 5))],
                [Op("write", "name", random.choice("ab"))],
                [Op("write", f"tags\x1f{random.choice('pq')}", random.randint(0, 1))],
                [Op("count", "balance#", random.randint(0, 9))],
                [Op("write", "~", random.randint(0, 1))],
            ]
        )
        updates.append(write(a, clock, **{key: ops}))
    for update in updates[: random.randint(0, 59)]:
        deliver(partly, update)
    a.log = Log("items", 1, updates)
    encoded, _ = compacted(a, 100, TX)
    assert len(encoded) < sum(map(len, updates))
    for target in (late, partly):
        clocks = {1: target.heads[1].seq} if target.heads else {}
        deliver(target, _diff(encoded, clocks))
        assert target.fold.digest() == a.fold.digest()


def _diff(encoded: bytes, clocks: dict[int, int]) -> bytes:
    return Log("items", 9, [encoded]).diff(clocks)


def test_a_hole_in_a_log_that_no_deletion_explains_is_refused() -> None:
    a, b = document(1), document(2)
    updates = [write(a, clock, x=[Op("write", "name", "a")]) for clock in (1, 2)]
    deliver(b, updates[0])
    a.log = Log("items", 1, updates)
    encoded, _ = compacted(a, 9, TX)
    holed = read_update(_diff(encoded, {1: 1}))
    with pytest.raises(UpdateInvalid, match="not deleted"):
        deliver(b, write_update(holed.runs))


def compacted(source: Document, hlc: int, txid: bytes) -> tuple[bytes, Change]:
    """Compact a log for good; return the document as bytes, and the change."""
    change = compact(source, hlc, txid)
    source.settle(change)
    assert source.log is not None
    return source.log.encode(), change


def _compacted(monkeypatch: pytest.MonkeyPatch, rows_per_batch: int) -> tuple[Document, Document, bytes]:
    """A writer that compacted its three batches into several, a receiver of the three, and the writer's whole log."""
    monkeypatch.setattr("crdtsync.limits.ROWS_PER_BATCH", rows_per_batch)
    a, b = document(1), document(2)
    updates = [write(a, clock, **{f"k{clock}": [Op("write", "name", "a")]}) for clock in range(1, 4)]
    for update in updates:
        deliver(b, update)
    a.log = Log("items", 1, updates)
    encoded, _ = compacted(a, 9, TX)
    return a, b, encoded


def test_a_compaction_of_many_batches_is_loaded_in_a_time_that_grows_with_them_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, _, encoded = _compacted(monkeypatch, rows_per_batch=1)
    cleared: list[int] = []
    again = Document("items", Item.__shape__, 1, a.heads)
    monkeypatch.setattr(again.fold, "compacted", cleared.append)
    again.load([encoded])
    # It looks at every record.
    assert cleared == [1]


def test_half_a_compaction_keeps_what_it_replaces_and_a_newer_one_takes_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b, encoded = _compacted(monkeypatch, rows_per_batch=1)
    first, *_ = split_update(read_update(_diff(encoded, {1: 3})), 1)
    deliver(b, write_update(first.runs, first.deleted))
    assert b.unfinished()
    assert b.heads[1].visible == 3

    again = Document("items", Item.__shape__, 1, a.heads)
    again.load([encoded])
    later = write(again, 10, k4=[Op("write", "name", "b")])
    again.log = Log("items", 1, [encoded, later])
    encoded, change = compacted(again, 11, TX)
    received = deliver(b, _diff(encoded, {1: 4}))
    assert received.recompacted == change.recompacted
    assert b.fold.digest() == again.fold.digest()
    assert not b.unfinished()


@pytest.mark.parametrize("upto", [1, 2, 3])
def test_a_writer_deletes_nothing_of_its_log_that_no_compaction_replaces(upto: int) -> None:
    """Whoever has the elements would show them for ever, and whoever comes later never."""
    a, b = document(1), document(2)
    deliver(b, write(a, 1, x=[Op("write", "name", "a")]))
    following = read_update(write(a, 2, x=[Op("write", "name", "b")]))
    with pytest.raises(UpdateInvalid, match="that no compaction replaces"):
        deliver(b, write_update(following.runs, {1: upto}))
    assert (b.heads[1].seq, b.fold.digest()) != (a.heads[1].seq, a.fold.digest())
    deliver(b, write_update(following.runs))
    assert b.fold.digest() == a.fold.digest()


def _two_batch_compaction(monkeypatch: pytest.MonkeyPatch) -> tuple[Document, Update]:
    """A receiver of three batches, and the compaction in two that replaces them."""
    _, b, encoded = _compacted(monkeypatch, rows_per_batch=2)
    return b, read_update(_diff(encoded, {1: 3}))


def test_what_a_compaction_replaces_is_not_deleted_before_all_of_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    b, whole = _two_batch_compaction(monkeypatch)
    first, *_ = split_update(whole, 1)
    with pytest.raises(UpdateInvalid, match="that no compaction replaces"):
        deliver(b, write_update(first.runs, whole.deleted))
    assert b.heads[1].seq == 3


def test_a_batch_of_a_compaction_that_did_not_begin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that began with less to replace would be checked for that only."""
    b, whole = _two_batch_compaction(monkeypatch)
    first, second = split_update(whole, 1)
    deliver(b, write_update(first.runs))
    batch = decode_batch(second.runs[1][0].elements[0])
    assert batch.compaction == (3, 5)
    second.runs[1][0].elements[0] = encode_batch(batch._replace(compaction=(2, 5)))
    with pytest.raises(UpdateInvalid, match="a compaction that did not begin"):
        deliver(b, write_update(second.runs))


def test_a_compaction_that_drops_a_write_is_refused() -> None:
    a, b = document(1), document(2)
    updates = [write(a, 1, x=[Op("write", "name", "a")]), write(a, 2, y=[Op("write", "name", "b")])]
    for update in updates:
        deliver(b, update)
    a.log = Log("items", 1, updates)
    encoded, _ = compacted(a, 9, TX)
    forged = read_update(encoded)
    batch = decode_batch(forged.runs[1][1].elements[0])
    group = batch.groups[0]
    short = Batch(batch.seq, batch.hlc, batch.prev, batch.txid, {}, "", (group,), batch.compaction)
    forged.runs[1][1].elements[0] = encode_batch(short)
    with pytest.raises(CompactionLoss):
        deliver(b, write_update(forged.runs, forged.deleted))


def test_a_document_loads_to_the_state_it_had() -> None:
    a = document(1)
    updates = [write(a, clock, x=[Op("add", "balance", clock)]) for clock in range(1, 9)]
    again = Document("items", Item.__shape__, 1, a.heads)
    again.load(updates)
    assert again.fold.digest() == a.fold.digest()


def test_pieces_name_each_record_once_and_read_nothing_but_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    source = document(1)
    log = Log("items", 1)
    for clock, key in enumerate(("a", "b", "a", "c"), 1):
        log.apply(write(source, clock, **{key: [Op("write", "name", f"n{clock}")]}))
    for element in log.elements(1):
        assert tuple(keys_in(element)) == decode_batch(element).keys()
    monkeypatch.setattr(document_module, "decode_batch", lambda _data: pytest.fail("a batch is judged again"))
    assert [count for _, count in pieces(log.encode(), 1)] == [1, 1, 0, 1]
    assert [count for _, count in pieces(log.encode(), 1 << 20)] == [3]


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x99" + b"\xc0" * 9, b"text"])
def test_keys_of_what_is_no_batch_are_refused(data: bytes) -> None:
    with pytest.raises(BatchInvalid, match=r"not msgpack|a list of nine|the rows of a batch cannot be read"):
        keys_in(data)


def test_a_batch_of_another_format_is_refused() -> None:
    with pytest.raises(BatchInvalid, match="format"):
        decode_batch(
            encode_batch(Batch(1, 1, bytes(16), TX, {}, "", ())).replace(b"\x99\x01", b"\x99\x02", 1)
        )


def test_a_writer_that_may_not_write_here_is_refused() -> None:
    a, b = document(1), document(2)
    update = write(a, 1, x=[Op("write", "name", "a")])
    with pytest.raises(UpdateInvalid, match=r"^items: the sender may not write the log of replica 1$"):
        b.receive(update, lambda replica: replica != 1)
    assert not b.heads


@pytest.mark.parametrize("place", [1, 3])
def test_a_batch_that_says_another_place_than_it_has_is_refused(place: int) -> None:
    a, b = document(1), document(2)
    deliver(b, write(a, 1, x=[Op("write", "name", "a")]))
    ((run,),) = read_update(write(a, 2, x=[Op("write", "name", "b")])).runs.values()
    forged = encode_batch(decode_batch(run.elements[0])._replace(seq=place))
    with pytest.raises(UpdateInvalid, match=rf"^items: batch {place} of replica 1 at position 1$"):
        deliver(b, append_update(1, 1, [forged]))


@pytest.mark.parametrize("compaction", [None, (1, 4), (3, 4)])
def test_elements_that_are_gone_without_a_compaction_that_replaces_all_of_them_are_refused(
    compaction: tuple[int, int] | None,
) -> None:
    a, b = document(1), document(2)
    for clock in range(1, 4):
        write(a, clock, x=[Op("write", "name", "a")])
    ((run,),) = read_update(write(a, 4, x=[Op("write", "name", "b")])).runs.values()
    forged = encode_batch(decode_batch(run.elements[0])._replace(compaction=compaction))
    gone = 2 if compaction == (3, 4) else 3
    update = write_update({1: [Run(0, gone=gone), Run(gone, [forged])]}, {1: gone})
    with pytest.raises(UpdateInvalid, match=r"^items: (deleted elements that no compaction|batch 4 of)"):
        deliver(b, update)


def test_an_update_that_ends_in_elements_that_are_gone_is_refused() -> None:
    with pytest.raises(UpdateInvalid, match=r"^items: an update that ends in deleted elements$"):
        deliver(document(2), write_update({1: [Run(0, gone=3)]}, {1: 3}))


def test_a_count_includes_what_its_own_transaction_moved_before_it() -> None:
    a, b = document(1), document(2)
    movements = [Op("add", "balance", 500), Op("add", "balance", 200), Op("named", "balance!n", 30, "entry")]
    row = deliver(b, write(a, 1, x=[*movements, Op("write", "name", "n"), Op("count", "balance#", 7)])).rows[
        0
    ]
    assert row[4] == 7
    assert deliver(b, write(a, 2, x=[Op("add", "balance", 5)])).rows[0][4] == 12


def test_a_snapshot_that_lacks_the_end_of_a_log_is_not_returned() -> None:
    a = document(1)
    updates = [write(a, clock, x=[Op("write", "name", f"n{clock}")]) for clock in (1, 2)]
    a.log = Log("items", 1, updates[:1])
    with pytest.raises(UpdateInvalid, match="ends at batch 1 of replica 1, the head says 2"):
        a.snapshot()
    a.log.apply(updates[1])
    again = Document("items", a.shape, 1, a.heads)
    again.load([a.snapshot()])
    assert again.fold.digest() == a.fold.digest()


@pytest.mark.parametrize("broken", ["a value", "a type", "a record less", "a record more", "a stamp"])
def test_a_compaction_that_folds_to_something_else_is_not_returned(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def miswritten(batch: Batch) -> bytes:
        (group,) = batch.groups
        first, *rest = group.rows
        wrong = {
            "a value": group._replace(rows=((first[0], 0), *rest)),
            "a type": group._replace(rows=((first[0], True), *rest)),
            "a record less": group._replace(rows=tuple(rest)),
            "a record more": group._replace(rows=(*group.rows, ("z", 1))),
            "a stamp": group._replace(hlc=(group.hlc or 0) + 1),
        }
        return encode_batch(batch._replace(groups=(wrong[broken],)))

    a = document(1)
    deletions = {key: [Op("write", DELETION, 1)] for key in "xy"}
    a.log = Log("items", 1, [write(a, clock, **deletions) for clock in (1, 2)])
    monkeypatch.setattr("crdtsync.state.document.encode_batch", miswritten)
    before = a.heads[1].seq
    with pytest.raises(CompactionLoss, match="compaction"):
        compact(a, 9, TX)
    assert a.heads[1].seq == before
    assert len(a.log.elements(1)) == 2
