"""The structural reader accepts what this design writes and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map

from crdtsync import limits
from crdtsync.errors import UpdateInvalid
from crdtsync.state.log import Log
from crdtsync.state.update import Run, append_update, read_update, root_name, split_update, write_update

elements = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=20)


@given(st.dictionaries(st.integers(1, 2**53 - 1), elements, min_size=1, max_size=3))
def test_what_yrs_encodes_is_read_back(logs: dict[int, list[bytes]]) -> None:
    log = Log("d", next(iter(logs)))
    for replica, batches in logs.items():
        for clock, batch in enumerate(batches):
            log.apply(append_update(replica, clock, [batch]))
    update = read_update(log.encode())
    assert {r: [e for run in runs for e in run.elements] for r, runs in update.runs.items()} == logs


@given(elements, st.integers(1, 400))
def test_the_pieces_of_an_update_rebuild_the_log(batches: list[bytes], size: int) -> None:
    whole = Log("d", 7, [append_update(7, 0, batches)])
    again = Log("d", 9)
    for piece in split_update(read_update(whole.encode()), size):
        again.apply(write_update(piece.runs, piece.deleted))
    assert again.elements(7) == batches


@given(elements, st.data())
def test_what_overlaps_with_what_is_held_adds_only_the_rest(
    batches: list[bytes], data: st.DataObject
) -> None:
    log = Log("d", 9)
    held = 0
    while held < len(batches):
        first = data.draw(st.integers(0, held))
        end = data.draw(st.integers(held + 1, len(batches)))
        log.apply(append_update(7, first, batches[first:end]))
        held = end
    assert log.elements(7) == batches
    assert log.encode() == append_update(7, 0, batches)


@pytest.mark.parametrize("size", [0, 126, 127, 128, 129, 16_383, 16_384])
def test_an_element_of_any_length_is_read_whole(size: int) -> None:
    batches = [b"a" * size, b"b"]
    assert read_update(append_update(7, 0, batches)).runs == {7: [Run(0, batches)]}


def test_an_update_with_an_item_for_each_element_is_read_as_before() -> None:
    """Journals and peers of earlier versions have them."""
    first, second = append_update(7, 0, [b"a" * 200]), append_update(7, 1, [b"b"])
    apart = b"\x01\x02" + first[2:-1] + second[4:]
    assert read_update(apart).runs == {7: [Run(0, [b"a" * 200, b"b"])]}
    assert Log("d", 9, [apart]).encode() == append_update(7, 0, [b"a" * 200, b"b"])


@pytest.mark.parametrize("cut", range(1, 12))
def test_an_element_that_is_cut_off_is_refused(cut: int) -> None:
    update = append_update(7, 0, [b"a" * 5, b"b" * 300])
    # The last byte is the empty list of deletions; without more than that, the last element itself is too short.
    with pytest.raises(UpdateInvalid, match="cut off" if cut == 1 else "behind the end"):
        read_update(update[:-cut])


def test_the_deletion_of_a_compacted_prefix_travels_last_to_who_has_all_of_it() -> None:
    log = Log("d", 7, [append_update(7, 0, [b"a" * 90, b"b" * 90])])
    log.apply(write_update({7: [Run(2, [b"c" * 90, b"d" * 90, b"e" * 90])]}, {7: 2}))
    pieces = list(split_update(read_update(log.diff({7: 2})), 100))
    assert [piece.deleted for piece in pieces] == [{}, {}, {7: 2}]


@pytest.mark.parametrize("held", [0, 1])
def test_who_lacks_some_of_a_compacted_prefix_hears_at_once_that_all_of_it_is_deleted(held: int) -> None:
    log = Log("d", 7, [append_update(7, 0, [b"a" * 90, b"b" * 90])])
    log.apply(write_update({7: [Run(2, [b"c" * 90, b"d" * 90])]}, {7: 2}))
    pieces = list(split_update(read_update(log.diff({7: held})), 100))
    assert [piece.deleted for piece in pieces] == [{7: 2}, {7: 2}]
    again = Log("d", 9, [append_update(7, 0, [b"a" * 90])] if held else [])
    for piece in pieces:
        again.apply(write_update(piece.runs, piece.deleted))
        # What was received can be stored, and passed on to whoever has any part of it.
        read_update(again.encode())
        read_update(again.diff({7: 1}))
    assert again.elements(7) == [b"c" * 90, b"d" * 90]


def _foreign_update(kind: str) -> bytes:
    doc: Doc[Any] = Doc(client_id=5)
    if kind == "map":
        doc.get("log/5", type=Map)["a"] = b"x"
    elif kind == "other array":
        doc.get("log/6", type=Array).append(b"x")
    elif kind == "text":
        doc.get(root_name(5), type=Array).append("x")
    elif kind == "nested":
        doc.get(root_name(5), type=Array).append(Array([b"x"]))
    elif kind == "insert":
        array = doc.get(root_name(5), type=Array)
        array.append(b"x")
        array.insert(0, b"y")
    elif kind == "hole":
        array = doc.get(root_name(5), type=Array)
        for _ in range(3):
            array.append(b"x")
        del array[1]
    return doc.get_update()


@pytest.mark.parametrize("kind", ["map", "other array", "text", "nested", "insert", "hole"])
def test_anything_but_appended_bytes_and_deleted_prefixes_is_refused(kind: str) -> None:
    with pytest.raises(UpdateInvalid):
        read_update(_foreign_update(kind))


@given(st.binary(max_size=300))
@example(b"\x01\x01\x05\x00\x00\xff\xff\xff\x7f\x00")
@example(b"\x00\x01\x05\x01\x00\xff\xff\xff\xff\xff\xff\xff\x7f")
def test_random_bytes_are_refused_or_read_never_worse(data: bytes) -> None:
    try:
        update = read_update(data)
    except UpdateInvalid:
        return
    assert read_update(write_update(update.runs, update.deleted)).runs == update.runs


def test_a_forged_deletion_of_a_whole_log_is_not_a_prefix_that_exists() -> None:
    update = read_update(write_update({3: [Run(0, [b"x"])]}, {3: 1}))
    assert update.deleted == {3: 1}


def test_a_log_is_as_long_as_yrs_can_count_and_no_longer() -> None:
    gone = limits.SEQ_MAX - 2
    longest = write_update({3: [Run(0, gone=gone), Run(gone, [b"x", b"y"])]}, {3: gone})
    assert read_update(longest).runs[3][-1].end == limits.SEQ_MAX
    assert Log("d", 9, [longest]).elements(3) == [b"x", b"y"]
    whole = read_update(write_update({3: [Run(0, gone=limits.SEQ_MAX)]}, {3: limits.SEQ_MAX}))
    assert (whole.runs, whole.deleted) == ({3: [Run(0, gone=limits.SEQ_MAX)]}, {3: limits.SEQ_MAX})
    # yrs drops what is behind: it would be in the store and not in the log.
    with pytest.raises(UpdateInvalid, match=r"^a clock is out of range$"):
        read_update(write_update({3: [Run(0, gone=gone), Run(gone, [b"x", b"y", b"z"])]}, {3: gone}))


@pytest.mark.parametrize("replica", [0, limits.REPLICA_MAX + 1])
def test_a_deletion_in_the_log_of_no_replica_is_refused(replica: int) -> None:
    with pytest.raises(UpdateInvalid, match="replica number"):
        read_update(write_update({}, {replica: 1}))


ROOT = b"\x01\x05log/5"
X = b"\x01\x74\x01x"
FIRST = b"\x08" + ROOT + X
NEXT = b"\x88\x05\x00" + X
"""Items of replica 5: a first element, and one behind it."""


def logs(*replicas: bytes, deleted: bytes = b"\x00") -> bytes:
    """An update with these logs, each its number of items, its replica, its first clock and its items."""
    return bytes([len(replicas)]) + b"".join(replicas) + deleted


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "^a number is cut off"),
        (b"\x80", "^a number is cut off"),
        (b"\x80" * 9 + b"\x00\x00", "^a number is cut off or too long"),
        (b"\x01\x01\x05\x00\x08" + ROOT, "^a number is cut off or too long"),
        (b"\x01\x01\x05\x00", "^the update is cut off"),
        (b"\x01\x01\x05\x00\x08\x01\x06log/5", "^a length points behind the end"),
        (logs(b"\x01\x05\x00\x48" + ROOT + X), "^item kind 0x48 is not"),
        (logs(b"\x01\x05\x00\x28" + ROOT + X), "^item kind 0x28 is not"),
        (logs(b"\x01\x05\x00\x04" + ROOT + X), "^item kind 0x4 is not"),
        (logs(b"\x01\x05\x00\x00\x01"), "^item kind 0x0 is not"),
        (logs(b"\x02\x05\x00" + FIRST + b"\x88\x06\x00" + X), "^an element is not appended to its own log"),
        (logs(b"\x02\x05\x00" + FIRST + b"\x88\x05\x01" + X), "^an element is not appended to its own log"),
        (logs(b"\x01\x05\x00" + NEXT), "^an element is not appended to its own log"),
        (logs(b"\x02\x05\x00" + FIRST + FIRST), "^an element is not at the start of a root array"),
        (logs(b"\x01\x05\x00\x08\x00" + X), "^an element is not at the start of a root array"),
        (logs(b"\x01\x05\x00\x08\x01\x05log/6" + X), "^an element is in an array that is not its writer's"),
        (logs(b"\x01\x05\x00\x08" + ROOT + b"\x00"), "^an empty or oversized item"),
        (logs(b"\x01\x05\x00\x01" + ROOT + b"\x80\x80\x80\x80\x10"), "^an empty or oversized item"),
        (logs(b"\x01\x05\x00\x08" + ROOT + b"\x01\x77\x01x"), "^an element is not bytes"),
        (logs(b"\x01\x00\x00" + FIRST), "^a replica number is out of range"),
        (logs(b"\x01\x80\x80\x80\x80\x80\x80\x80\x10\x00" + FIRST), "^a replica number is out of range"),
        (logs(b"\x00\x05\x00"), "^a replica without items"),
        (logs(b"\x01\x05\x00" + FIRST, b"\x01\x05\x01" + NEXT), "^a replica appears twice"),
        (logs(b"\x01\x05\x00" + FIRST) + b"\x00", "^bytes after the end"),
        (
            logs(b"\x02\x05\x00" + FIRST + b"\x81\x05\x00\x01"),
            "^deleted elements of replica 5 behind live ones",
        ),
        (logs(deleted=b"\x01\x05\x01\x01\x01"), "^a deletion that is not a log's prefix"),
        (logs(deleted=b"\x01\x05\x01\x00\x00"), "^a deletion that is not a log's prefix"),
        (logs(deleted=b"\x01\x05\x01\x00\x80\x80\x80\x80\x10"), "^a deletion that is not a log's prefix"),
        (logs(deleted=b"\x01\x05\x02\x00\x01\x02\x01"), "^a deletion that is not a log's prefix"),
        (logs(deleted=b"\x01\x05\x00"), "^a malformed deletion"),
        (logs(deleted=b"\x02\x05\x01\x00\x01\x05\x01\x00\x02"), "^a malformed deletion"),
    ],
)
def test_each_rule_of_the_reader_says_what_it_refuses(data: bytes, why: str) -> None:
    with pytest.raises(UpdateInvalid, match=why):
        read_update(data)


def test_what_is_said_in_parts_is_read_as_one() -> None:
    gone = b"\x01" + ROOT + b"\x02" + b"\x81\x05\x01\x03"
    live = b"\x88\x05\x04\x02\x74\x01x\x74\x00" + b"\x88\x05\x06" + X
    data = logs(b"\x04\x05\x00" + gone + live, deleted=b"\x01\x05\x02\x00\x02\x02\x03")
    update = read_update(data)
    assert update.runs == {5: [Run(0, gone=5), Run(5, [b"x", b"", b"x"])]}
    assert update.deleted == {5: 5}
    assert Log("d", 9, [data]).elements(5) == [b"x", b"", b"x"]


def test_a_number_may_be_as_wide_as_that_of_a_replica_and_no_wider() -> None:
    widest = b"\x85" + b"\x80" * 7 + b"\x00"
    assert read_update(logs(deleted=b"\x01" + widest + b"\x01\x00\x01")).deleted == {5: 1}
    with pytest.raises(UpdateInvalid, match="too long"):
        read_update(logs(deleted=b"\x01" + widest[:-1] + b"\x80\x00\x01\x00\x01"))


@pytest.mark.parametrize("said", ["7f", "8001", "ff7f", "808001"])
def test_a_number_is_read_as_long_as_it_is(said: str) -> None:
    number = bytes.fromhex(said)
    value = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(number))
    assert read_update(logs(deleted=b"\x01\x05\x01\x00" + number)).deleted == {5: value}
    assert write_update({}, {5: value}) == logs(deleted=b"\x01\x05\x01\x00" + number)


def test_nothing_is_cut_into_no_pieces() -> None:
    assert list(split_update(read_update(logs()), 100)) == []
    # What is gone is said with what replaces it, so alone it says nothing.
    assert list(split_update(read_update(write_update({5: [Run(0, gone=3)]})), 100)) == []


def test_a_piece_is_as_large_as_was_asked_and_no_larger() -> None:
    update = read_update(append_update(5, 0, [b"x" * 10] * 6))
    cost = 10 + limits.ELEMENT_OVERHEAD_BYTES
    # A piece takes one element however large, and others while their bytes fit beside what it costs already.
    for size_max, counts in ((1, [1] * 6), (cost + 9, [1] * 6), (cost + 10, [2] * 3), (3 * cost, [3, 3])):
        pieces = list(split_update(update, size_max))
        assert [len(piece.runs[5][0].elements) for piece in pieces] == counts
        assert [piece.runs[5][0].clock for piece in pieces] == [sum(counts[:at]) for at in range(len(counts))]


def test_each_piece_is_as_large_as_is_asked_when_its_turn_comes() -> None:
    update = read_update(append_update(5, 0, [b"x" * 10] * 6))
    cost, pieces = 10 + limits.ELEMENT_OVERHEAD_BYTES, list[int]()
    for piece in split_update(update, lambda: cost * (len(pieces) + 1)):
        pieces.append(len(piece.runs[5][0].elements))
    assert pieces == [1, 2, 3]
