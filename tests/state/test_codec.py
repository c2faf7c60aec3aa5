"""Batches: each rule of the format by itself, at its edge and one past it."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgpack
import pytest

from crdtsync import limits
from crdtsync.errors import BatchInvalid
from crdtsync.state.codec import (
    FORMAT,
    GENESIS,
    Batch,
    Group,
    batch_hash,
    decode_batch,
    encode_batch,
    keys_in,
)

PLACES = ("format", "seq", "hlc", "prev", "txid", "parts", "actor", "groups", "compaction")
GROUP = (None, None, ("name",), None, (("k", "v"),))
GROUP_PLACES = ("seq", "hlc", "fields", "seen", "rows")
TXID = b"t" * 16


def raw(**changes: Any) -> bytes:
    """A batch with some of its nine places changed."""
    places = dict(
        zip(PLACES, (FORMAT, 5, 1 << 40, GENESIS, TXID, None, "maria", (GROUP,), None), strict=True)
    )
    packed: bytes = msgpack.packb(list((places | changes).values()))
    return packed


def with_group(**changes: Any) -> bytes:
    """A batch with one group, some of whose five places are changed."""
    return raw(groups=[list((dict(zip(GROUP_PLACES, GROUP, strict=True)) | changes).values())])


def refused(data: bytes, why: str) -> None:
    with pytest.raises(BatchInvalid, match=why):
        decode_batch(data)


def test_a_batch_is_read_as_it_was_written() -> None:
    groups = (
        Group(
            ("name", "note"), (("k", "v", 1), ("l", None, (2, "x"))), {7: 3, 9: limits.SEQ_MAX}, 4, 1 << 50
        ),
        Group((), (("m",),)),
    )
    parts = {"sales/loja1": 2, "stock/loja1": limits.SEQ_MAX}
    batch = Batch(6, (1 << 63) - 1, b"p" * 16, TXID, parts, "maria", groups, (5, limits.SEQ_MAX))
    assert decode_batch(encode_batch(batch)) == batch
    assert batch.keys() == ("k", "l", "m")
    assert keys_in(encode_batch(batch)) == ("k", "l", "m")


def test_a_batch_has_one_encoding() -> None:
    ordered, other = ({1: 2, 3: 4}, {"a": 1, "b": 2}), ({3: 4, 1: 2}, {"b": 2, "a": 1})
    first, second = (
        encode_batch(Batch(5, 1, GENESIS, TXID, parts, "", (Group((), (("k",),), seen),)))
        for seen, parts in (ordered, other)
    )
    assert first == second
    group = [None, None, [], [[1, 2], [3, 4]], [["k"]]]
    assert first == msgpack.packb([1, 5, 1, GENESIS, TXID, [["a", 1], ["b", 2]], "", [group], None])
    bare = Batch(1, 1, GENESIS, TXID, {}, "", (Group((), (("k",),)),))
    assert encode_batch(bare) == msgpack.packb(
        [1, 1, 1, GENESIS, TXID, None, "", [[None, None, [], None, [["k"]]]], None]
    )


def test_a_chain_is_of_what_a_batch_says() -> None:
    assert batch_hash(b"a batch") == blake2b(b"a batch", digest_size=16).digest() != batch_hash(b"another")
    assert len(batch_hash(b"")) == len(GENESIS)


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 1},
        {"seq": limits.SEQ_MAX},
        {"hlc": 1},
        {"hlc": (1 << 63) - 1},
        {"actor": ""},
        {"actor": "m" * limits.ACTOR_CHARS_MAX},
        {"parts": [["a", 1]]},
        {"groups": []},
        {"compaction": [4, 5]},
        {"compaction": [1, limits.SEQ_MAX]},
    ],
)
def test_the_edges_of_a_batch_are_inside(changes: dict[str, Any]) -> None:
    decode_batch(raw(**changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": 2}, "^batch format 2 is not 1"),
        ({"format": True}, "^batch format True is not 1"),
        ({"format": 1.0}, "^batch format 1.0 is not 1"),
        ({"seq": 0}, "^the sequence is out of range"),
        ({"seq": limits.SEQ_MAX + 1}, "^the sequence is out of range"),
        ({"seq": True}, "^the sequence is out of range"),
        ({"hlc": 0}, "^the clock is out of range"),
        ({"hlc": 1 << 63}, "^the clock is out of range"),
        ({"hlc": 1.5}, "^the clock is out of range"),
        ({"prev": b"p" * 15}, "^the previous hash is malformed"),
        ({"prev": "p" * 16}, "^the previous hash is malformed"),
        ({"txid": b"t" * 17}, "^the transaction id is malformed"),
        ({"txid": None}, "^the transaction id is malformed"),
        ({"actor": "m" * (limits.ACTOR_CHARS_MAX + 1)}, "^the actor is malformed"),
        ({"actor": b"maria"}, "^the actor is malformed"),
        ({"groups": None}, "^the groups are not a list"),
        ({"groups": {}}, "^the groups are not a list"),
        ({"parts": {}}, "^parts is not a list of pairs"),
        ({"parts": [["a", 1]] * (limits.VECTOR_ENTRIES_MAX + 1)}, "^parts is not a list of pairs"),
        ({"parts": ["a"]}, "^parts holds a malformed entry"),
        ({"parts": [["a", 1, 1]]}, "^parts holds a malformed entry"),
        ({"parts": [[1, 1]]}, "^parts holds a malformed entry"),
        ({"parts": [["a", 0]]}, "^parts holds a malformed entry"),
        ({"parts": [["a", limits.SEQ_MAX + 1]]}, "^parts holds a malformed entry"),
        ({"parts": [["a", True]]}, "^parts holds a malformed entry"),
        ({"parts": [["a", 1], ["a", 2]]}, "^parts names an entry twice"),
        ({"compaction": 4}, "^the compaction header is malformed"),
        ({"compaction": [4]}, "^the compaction header is malformed"),
        ({"compaction": [4, 5.0]}, "^the compaction header is malformed"),
        ({"compaction": [0, 5]}, "^the compaction header is malformed"),
        ({"compaction": [5, 5]}, "^the compaction header is malformed"),
        ({"compaction": [4, 4]}, "^the compaction header is malformed"),
        ({"compaction": [4, limits.SEQ_MAX + 1]}, "^the compaction header is malformed"),
    ],
)
def test_a_place_that_is_not_as_the_format_says_refuses_the_batch(changes: dict[str, Any], why: str) -> None:
    refused(raw(**changes), why)


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 1, "hlc": 1},
        {"seq": 4, "hlc": (1 << 63) - 1},
        {"fields": [], "rows": [["k"]]},
        {"fields": [f"f{at}" for at in range(limits.FIELDS_MAX)], "rows": [["k", *range(limits.FIELDS_MAX)]]},
        {"rows": [["k" * limits.KEY_CHARS_MAX, 1], ["l" * limits.KEY_CHARS_MAX, 2]]},
        {"seen": [[7, 1]]},
        {"seen": [[at, 1] for at in range(limits.VECTOR_ENTRIES_MAX)]},
    ],
)
def test_the_edges_of_a_group_are_inside(changes: dict[str, Any]) -> None:
    decode_batch(with_group(**changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"seq": 1}, "^a group has half a stamp"),
        ({"hlc": 1}, "^a group has half a stamp"),
        ({"seq": 0, "hlc": 1}, "^a group's sequence is out of range"),
        ({"seq": 5, "hlc": 1}, "^a group's sequence is out of range"),
        ({"seq": True, "hlc": 1}, "^a group's sequence is out of range"),
        ({"seq": 1, "hlc": 0}, "^a group's clock is out of range"),
        ({"seq": 1, "hlc": 1 << 63}, "^a group's clock is out of range"),
        ({"seq": 1, "hlc": "1"}, "^a group's clock is out of range"),
        ({"fields": "name"}, "^a group's fields are malformed"),
        ({"fields": [1]}, "^a group's fields are malformed"),
        ({"fields": [f"f{at}" for at in range(limits.FIELDS_MAX + 1)]}, "^a group's fields are malformed"),
        ({"fields": ["name", "name"]}, "^a group names a field twice"),
        ({"rows": []}, "^a group has no rows"),
        ({"rows": {"k": 1}}, "^a group has no rows"),
        ({"rows": [["k", "v"], "k"]}, "^a row is not a list"),
        ({"rows": [["k"]]}, "^a row has more or fewer values"),
        ({"rows": [["k", "v"], ["k", "v", "w"]]}, "^a row has more or fewer values"),
        ({"rows": [["k", "v"], [1, "v"]]}, "^a record key is malformed"),
        ({"rows": [["k", "v"], ["", "v"]]}, "^a record key is malformed"),
        ({"rows": [["k", "v"], ["k" * (limits.KEY_CHARS_MAX + 1), "v"]]}, "^a record key is malformed"),
        ({"seen": [["7", 1]]}, "^seen holds a malformed entry"),
        ({"seen": [[True, 1]]}, "^seen holds a malformed entry"),
        ({"seen": [[7, 1], [7, 1]]}, "^seen names an entry twice"),
        ({"seen": [[at, 1] for at in range(limits.VECTOR_ENTRIES_MAX + 1)]}, "^seen is not a list of pairs"),
    ],
)
def test_a_group_that_is_not_as_the_format_says_refuses_the_batch(changes: dict[str, Any], why: str) -> None:
    refused(with_group(**changes), why)


@pytest.mark.parametrize("group", [None, [], [*GROUP, None], {"seq": 1}])
def test_a_group_has_five_places(group: object) -> None:
    refused(raw(groups=[group]), "^a group is not a list of five")


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x99", raw() + b"\x00", b"\x91" * 5_000, b"\xa1\xff"])
def test_what_is_no_msgpack_is_no_batch(value: bytes) -> None:
    refused(value, "^not msgpack: ")


@pytest.mark.parametrize("value", [1, [1], dict.fromkeys(range(9)), [None] * 10])
def test_a_batch_has_nine_places(value: object) -> None:
    refused(msgpack.packb(value), "^a batch is not a list of nine")


def test_a_type_of_its_own_is_no_part_of_a_batch() -> None:
    refused(with_group(rows=[["k", msgpack.ExtType(5, b"1234")]]), "^extension type 5 is not")


def test_a_batch_past_the_size_that_is_read_is_not_looked_at() -> None:
    fits = with_group(
        rows=[["k", bytes(limits.BATCH_READ_BYTES_MAX - len(with_group(rows=[["k", b""]])) - 3)]]
    )
    assert len(fits) == limits.BATCH_READ_BYTES_MAX
    decode_batch(fits)
    refused(fits + b"\x00", "exceeds the limit of")


@pytest.mark.parametrize(
    ("rows", "keys"),
    [
        ([["k"]], ("k",)),
        ([["k", "l"]], ("k", "l")),
        ([["k"], ["l"]], ("k", "l")),
        ([["k"], ["l", "m"]], ("k", "l", "m")),
        ([["k", "l"], ["l", "k"]], ("k", "l")),
        ([], ()),
    ],
)
def test_each_record_of_a_batch_is_named_once(rows: list[list[str]], keys: tuple[str, ...]) -> None:
    groups = tuple(Group((), tuple((key,) for key in own)) for own in rows)
    batch = Batch(6, 1, GENESIS, TXID, {}, "maria", groups, None)
    assert batch.keys() == keys
    assert tuple(dict.fromkeys(keys_in(encode_batch(batch)))) == keys


def test_the_keys_of_a_batch_too_long_to_be_remembered_are_found() -> None:
    keys = tuple(f"key {number}" for number in range(limits.KEYS_REMEMBERED_BYTES_MAX))
    data = with_group(rows=[[key, 1] for key in keys])
    assert keys_in(data) == keys
    with pytest.raises(BatchInvalid, match="rows of a batch cannot be read"):
        keys_in(msgpack.packb(list(range(limits.KEYS_REMEMBERED_BYTES_MAX))))
