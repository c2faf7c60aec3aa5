"""The batch: what one local transaction adds to one document, as bytes.

A batch is a msgpack array ``(format, seq, hlc, previous hash, transaction id, parts, actor, groups, compaction)``.
A group holds rows that share a field set and a ``seen`` vector; each row is ``(key, value, ...)``. Rows of a
compaction carry the stamps of the writes that they preserve. This module reads and writes bytes and checks their
structure; what the values mean is the fold's business.
"""

from __future__ import annotations

from functools import lru_cache, partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from crdtsync import limits
from crdtsync.errors import BatchInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
HASH_BYTES = 16
GENESIS = bytes(HASH_BYTES)

Row = tuple[Any, ...]

_NOTHING: Mapping[Any, int] = {}
_STAMP_MAX = (1 << 63) - 1


class Group(NamedTuple):
    """Rows with one field set and one causal context.

    ``seq`` and ``hlc`` are the stamp of the original write, or ``None`` for the batch's own.
    """

    fields: tuple[str, ...]
    rows: tuple[Row, ...]
    seen: Mapping[int, int] = _NOTHING
    seq: int | None = None
    hlc: int | None = None


class Batch(NamedTuple):
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

    @property
    def is_seal(self) -> bool:
        """Whether it does nothing but end a log whose continuation was given up: it is no part of any transaction.

        Its ``parts`` name the log itself, if not all of that counts, and the first sequence that does not.
        """
        return not self.groups and self.compaction is None

    @property
    def counts(self) -> int:
        """Up to which sequence a log counts that ends with this seal."""
        return min(self.parts.values(), default=self.seq + 1) - 1

    def keys(self) -> tuple[str, ...]:
        """Return the distinct record keys that this batch touches, in order of appearance."""
        if len(self.groups) == 1 and len(self.groups[0].rows) == 1:
            return (self.groups[0].rows[0][0],)
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


def _pairs(value: Any, key_type: type, what: str) -> Mapping[Any, int]:
    if value is None:
        return _NOTHING
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


def _are_texts(values: tuple[Any, ...]) -> bool:
    try:
        "".join(values)
    except TypeError:
        return False
    return True


def _check_stamp(seq: Any, hlc: Any, batch_seq: int) -> None:
    if seq is None or hlc is None:
        raise BatchInvalid("a group has half a stamp")
    if type(seq) is not int or not 0 < seq < batch_seq:
        raise BatchInvalid("a group's sequence is out of range")
    if type(hlc) is not int or not 0 < hlc <= _STAMP_MAX:
        raise BatchInvalid("a group's clock is out of range")


def _group(value: Any, batch_seq: int) -> Group:
    if type(value) is not tuple or len(value) != 5:
        raise BatchInvalid("a group is not a list of five")
    seq, hlc, fields, seen, rows = value
    if seq is not None or hlc is not None:
        _check_stamp(seq, hlc, batch_seq)
    if type(fields) is not tuple or len(fields) > limits.FIELDS_MAX or not _are_texts(fields):
        raise BatchInvalid("a group's fields are malformed")
    if len({*fields}) != len(fields):
        raise BatchInvalid("a group names a field twice")
    if type(rows) is not tuple or not rows:
        raise BatchInvalid("a group has no rows")
    size, longest = len(fields) + 1, limits.KEY_CHARS_MAX
    for row in rows:
        if type(row) is not tuple:
            raise BatchInvalid("a row is not a list")
        if len(row) != size:
            raise BatchInvalid("a row has more or fewer values than the group has fields")
        key = row[0]
        if type(key) is not str or not 0 < len(key) <= longest:
            raise BatchInvalid("a record key is malformed")
    return Group(fields, rows, _pairs(seen, int, "seen"), seq, hlc)


_read = partial(msgpack.unpackb, use_list=False, strict_map_key=False, ext_hook=_refuse_ext)


def _unpack(data: bytes) -> Any:
    try:
        return _read(data)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise BatchInvalid(f"not msgpack: {error}") from error


def keys_in(data: bytes) -> tuple[str, ...]:
    """Return the key of every row of a batch that ``decode_batch`` accepted before: nothing else of it is looked at.

    What one transaction wrote is mostly small, and goes to every node below at about the same time.

    Raises:
        BatchInvalid: it is not such a batch.
    """
    return _keys_remembered(data) if len(data) <= limits.KEYS_REMEMBERED_BYTES_MAX else _keys_in(data)


def _keys_in(data: bytes) -> tuple[str, ...]:
    try:
        return tuple([row[0] for _, _, _, _, rows in _unpack(data)[7] for row in rows])
    except (TypeError, ValueError, LookupError) as error:
        raise BatchInvalid(f"the rows of a batch cannot be read: {error}") from error


_keys_remembered = lru_cache(limits.KEYS_REMEMBERED_MAX)(_keys_in)


def decode_batch(data: bytes) -> Batch:
    """Read a batch.

    Raises:
        BatchInvalid: the bytes are not a batch of a format this version knows; the message says what is wrong.
    """
    # Each check stands here as it is, since a call to a function that makes it would take longer than all of them.
    if len(data) > limits.BATCH_READ_BYTES_MAX:
        raise BatchInvalid(f"a batch of {len(data)} bytes exceeds the limit of {limits.BATCH_READ_BYTES_MAX}")
    raw = _unpack(data)
    if type(raw) is not tuple or len(raw) != 9:
        raise BatchInvalid("a batch is not a list of nine")
    form, seq, hlc, prev, txid, parts, actor, groups, compaction = raw
    if type(form) is not int or form != FORMAT:
        raise BatchInvalid(f"batch format {form!r} is not {FORMAT}")
    if type(seq) is not int or not 0 < seq <= limits.SEQ_MAX:
        raise BatchInvalid("the sequence is out of range")
    if type(hlc) is not int or not 0 < hlc <= _STAMP_MAX:
        raise BatchInvalid("the clock is out of range")
    if type(prev) is not bytes or len(prev) != HASH_BYTES:
        raise BatchInvalid("the previous hash is malformed")
    if type(txid) is not bytes or len(txid) != HASH_BYTES:
        raise BatchInvalid("the transaction id is malformed")
    if type(actor) is not str or len(actor) > limits.ACTOR_CHARS_MAX:
        raise BatchInvalid("the actor is malformed")
    if type(groups) is not tuple:
        raise BatchInvalid("the groups are not a list")
    if compaction is not None and not _is_compaction(compaction, seq):
        raise BatchInvalid("the compaction header is malformed")
    own = tuple([_group(group, seq) for group in groups])
    return Batch(seq, hlc, prev, txid, _pairs(parts, str, "parts"), actor, own, compaction)


def _is_compaction(value: Any, seq: int) -> bool:
    return (
        type(value) is tuple
        and len(value) == 2
        and set(map(type, value)) == {int}
        and 0 < value[0] < seq <= value[1] <= limits.SEQ_MAX
    )
