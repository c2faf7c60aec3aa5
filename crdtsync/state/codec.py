"""The batch: what one local transaction adds to one document, as bytes.

A batch is a msgpack array ``(format, seq, hlc, previous hash, transaction id, parts, actor, groups, compaction)``.
A group holds rows that share a field set and a ``seen`` vector; each row is ``(key, value, ...)``. Rows of a
compaction carry the stamps of the writes that they preserve. This module reads and writes bytes and checks their
structure; what the values mean is the fold's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

import msgpack

from crdtsync import limits
from crdtsync.errors import BatchInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
HASH_BYTES = 16
GENESIS = bytes(HASH_BYTES)

Row = tuple[Any, ...]


@dataclass(slots=True, frozen=True)
class Group:
    """Rows with one field set and one causal context.

    ``seq`` and ``hlc`` are the stamp of the original write, or ``None`` for the batch's own.
    """

    fields: tuple[str, ...]
    rows: tuple[Row, ...]
    seen: Mapping[int, int] = field(default_factory=dict)
    seq: int | None = None
    hlc: int | None = None


@dataclass(slots=True, frozen=True)
class Batch:
    """One element of a replica's log.

    ``parts`` names the other documents of the same transaction and the sequence there.
    ``compaction`` is ``(upto, end)``: this batch belongs to the group that replaces everything up to ``upto``
    and ends with sequence ``end``.
    """

    seq: int
    hlc: int
    prev: bytes
    txid: bytes
    parts: Mapping[str, int]
    actor: str
    groups: tuple[Group, ...]
    compaction: tuple[int, int] | None = None

    def keys(self) -> tuple[str, ...]:
        """Return the distinct record keys that this batch touches, in order of appearance."""
        return tuple(dict.fromkeys([row[0] for group in self.groups for row in group.rows]))


def batch_hash(data: bytes) -> bytes:
    """Return the 16-byte BLAKE2b hash that the next batch of the same log names as its predecessor."""
    return blake2b(data, digest_size=HASH_BYTES).digest()


def pack_canonical(value: Any) -> bytes:
    """Return the bytes of a canonical form, for digests."""
    packed: bytes = msgpack.packb(value)
    return packed


def encode_batch(batch: Batch) -> bytes:
    """Return the canonical bytes of a batch."""
    groups = [
        [g.seq, g.hlc, g.fields, [*sorted(g.seen.items())] if g.seen else None, g.rows] for g in batch.groups
    ]
    parts = sorted(batch.parts.items()) if batch.parts else None
    packed: bytes = msgpack.packb(
        [FORMAT, batch.seq, batch.hlc, batch.prev, batch.txid, parts, batch.actor, groups, batch.compaction]
    )
    return packed


def _refuse_ext(code: int, _data: bytes) -> Any:
    raise BatchInvalid(f"extension type {code} is not part of the batch format")


def _expect(condition: object, what: str) -> None:
    if not condition:
        raise BatchInvalid(what)


def _pairs(value: Any, key_type: type, what: str) -> dict[Any, int]:
    if value is None:
        return {}
    if type(value) is not tuple or len(value) > limits.VECTOR_ENTRIES_MAX:
        raise BatchInvalid(f"{what} is not a list of pairs")
    result: dict[Any, int] = {}
    for pair in value:
        if not (
            type(pair) is tuple
            and len(pair) == 2
            and type(pair[0]) is key_type
            and type(pair[1]) is int
            and 0 < pair[1] <= limits.SEQ_MAX
        ):
            raise BatchInvalid(f"{what} holds a malformed entry")
        result[pair[0]] = pair[1]
    if len(result) != len(value):
        raise BatchInvalid(f"{what} names an entry twice")
    return result


def _are_keys(values: list[Any]) -> bool:
    try:
        joined = "".join(values)
    except TypeError:
        return False
    longest = len(joined) if len(joined) <= limits.KEY_CHARS_MAX else max(map(len, values))
    return "" not in values and longest <= limits.KEY_CHARS_MAX


def _group(value: Any, batch_seq: int) -> Group:
    _expect(type(value) is tuple and len(value) == 5, "a group is not a list of five")
    seq, hlc, fields, seen, rows = value
    _expect((seq is None) == (hlc is None), "a group has half a stamp")
    if seq is not None:
        _expect(type(seq) is int and 0 < seq < batch_seq, "a group's sequence is out of range")
        _expect(type(hlc) is int and 0 < hlc < 1 << 63, "a group's clock is out of range")
    _expect(
        type(fields) is tuple and len(fields) <= limits.FIELDS_MAX and set(map(type, fields)) <= {str},
        "a group's fields are malformed",
    )
    _expect(len(set(fields)) == len(fields), "a group names a field twice")
    _expect(type(rows) is tuple and rows, "a group has no rows")
    _expect(set(map(type, rows)) == {tuple}, "a row is not a list")
    _expect(
        set(map(len, rows)) == {len(fields) + 1}, "a row has more or fewer values than the group has fields"
    )
    _expect(_are_keys([row[0] for row in rows]), "a record key is malformed")
    return Group(fields, rows, _pairs(seen, int, "seen"), seq, hlc)


def _unpack(data: bytes) -> tuple[Any, ...]:
    try:
        raw = msgpack.unpackb(data, use_list=False, strict_map_key=False, ext_hook=_refuse_ext)
    except BatchInvalid:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise BatchInvalid(f"not msgpack: {error}") from error
    _expect(type(raw) is tuple and len(raw) == 9, "a batch is not a list of nine")
    return cast("tuple[Any, ...]", raw)


def keys_in(data: bytes) -> list[str]:
    """Return the key of every row of a batch that ``decode_batch`` accepted before: nothing else of it is looked at.

    Raises:
        BatchInvalid: it is not such a batch.
    """
    groups = _unpack(data)[7]
    try:
        return [row[0] for _, _, _, _, rows in groups for row in rows]
    except (TypeError, ValueError, IndexError) as error:
        raise BatchInvalid(f"the rows of a batch cannot be read: {error}") from error


def decode_batch(data: bytes) -> Batch:
    """Read a batch.

    Raises:
        BatchInvalid: the bytes are not a batch of a format this version knows; the message says what is wrong.
    """
    if len(data) > limits.BATCH_READ_BYTES_MAX:
        raise BatchInvalid(f"a batch of {len(data)} bytes exceeds the limit of {limits.BATCH_READ_BYTES_MAX}")
    raw = _unpack(data)
    form, seq, hlc, prev, txid, parts, actor, groups, compaction = raw
    if form != FORMAT or type(form) is not int:
        raise BatchInvalid(f"batch format {form!r} is not {FORMAT}")
    _expect(type(seq) is int and 0 < seq <= limits.SEQ_MAX, "the sequence is out of range")
    _expect(type(hlc) is int and 0 < hlc < 1 << 63, "the clock is out of range")
    _expect(type(prev) is bytes and len(prev) == HASH_BYTES, "the previous hash is malformed")
    _expect(type(txid) is bytes and len(txid) == HASH_BYTES, "the transaction id is malformed")
    _expect(type(actor) is str and len(actor) <= limits.ACTOR_CHARS_MAX, "the actor is malformed")
    _expect(type(groups) is tuple, "the groups are not a list")
    if compaction is not None:
        _expect(
            type(compaction) is tuple
            and len(compaction) == 2
            and set(map(type, compaction)) == {int}
            and 0 < compaction[0] < seq <= compaction[1] <= limits.SEQ_MAX,
            "the compaction header is malformed",
        )
    return Batch(
        seq,
        hlc,
        prev,
        txid,
        _pairs(parts, str, "parts"),
        actor,
        tuple(_group(group, seq) for group in groups),
        compaction,
    )
