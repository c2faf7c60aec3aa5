"""Frames: a CRC-32, a number, a kind and a checked payload, as msgpack.

On the wire: four bytes of CRC-32 (big endian) of the rest, then a msgpack array ``[number, kind, payload]``. Every
payload has exactly the keys of its kind, each of its type and within its limit. Nothing here keeps state.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from crdtsync import limits
from crdtsync.errors import FrameCorrupt, FrameInvalid, IncompatibleVersion
from crdtsync.protocol.table import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PROTOCOL = 2
"""Version of the protocol: both ends speak the same, or do not speak."""

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """What a value must be: in words, for the reference, and as a predicate."""

    words: str
    holds: Callable[[Any], bool]


def _name(size: int) -> Check:
    return Check(f"text, 1 to {size}", lambda v: type(v) is str and 0 < len(v) <= size and v.isprintable())


def _opt(inner: Check) -> Check:
    holds = inner.holds
    return Check(f"{inner.words}, or nil", lambda v: v is None or holds(v))


def _uint(size: int, least: int = 0) -> Check:
    return Check(f"integer, {least} to {size}", lambda v: type(v) is int and least <= v <= size)


def _bytes(size: int) -> Check:
    return Check(f"up to {size} bytes", lambda v: type(v) is bytes and len(v) <= size)


def _exact(size: int) -> Check:
    return Check(f"{size} bytes", lambda v: type(v) is bytes and len(v) == size)


def _map(key: Check, value: Check, size: int) -> Check:
    key_holds, value_holds = key.holds, value.holds

    def holds(v: Any) -> bool:
        if type(v) is not dict or len(v) > size:
            return False
        return all(map(key_holds, v)) and all(map(value_holds, v.values()))

    return Check(f"up to {size} of {{{key.words}: {value.words}}}", holds)


def _list(item: Check, size: int) -> Check:
    holds = item.holds
    return Check(
        f"up to {size} of {item.words}",
        lambda v: type(v) in (tuple, list) and len(v) <= size and all(map(holds, v)),
    )


def _record(*fields: tuple[str, Check]) -> Check:
    checks = [check.holds for _, check in fields]
    size = len(checks)

    def holds(v: Any) -> bool:
        if type(v) not in (tuple, list) or len(v) != size:
            return False
        return all(check(x) for check, x in zip(checks, v, strict=True))

    return Check(f"[{', '.join(name for name, _ in fields)}]", holds)


_DOC_PATTERN = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")

_FLAG = Check("true or false", lambda v: type(v) is bool)
_NAME = _name(limits.NAME_CHARS_MAX)
_TEXT = Check(
    f"text, up to {limits.MESSAGE_CHARS_MAX}",
    lambda v: type(v) is str and len(v) <= limits.MESSAGE_CHARS_MAX and v.isprintable(),
)
_DOC = Check(
    "document id",
    lambda v: type(v) is str and len(v) <= limits.KEY_CHARS_MAX and _DOC_PATTERN.fullmatch(v) is not None,
)
_REPLICA = Check("replica", _uint(limits.REPLICA_MAX, 1).holds)
_SEQ = Check("sequence", _uint(limits.SEQ_MAX).holds)
_COUNT = _uint(limits.SEQ_MAX)
_CUT = _map(_REPLICA, _SEQ, limits.VECTOR_ENTRIES_MAX)
_VECTORS = _map(
    _DOC,
    _map(
        _REPLICA, _record(("sequence", _SEQ), ("16-byte chain hash", _exact(16))), limits.VECTOR_ENTRIES_MAX
    ),
    limits.DOCUMENTS_PER_LINK_MAX,
)
# Categories, and single documents: one that is all of its category has its name.
_HELD = _list(_DOC, limits.DOCUMENTS_PER_LINK_MAX)
_COUNTS = _map(_NAME, _COUNT, limits.CATEGORIES_MAX)
_PROTOCOL = _uint(1 << 16)
_IDENTITY: dict[str, Check] = {
    "protocol": _PROTOCOL,
    "device": _NAME,
    "role": _NAME,
    "account": _NAME,
    "store": _opt(_NAME),
    "replica": _REPLICA,
    "categories": _map(
        _NAME,
        _record(
            ("essence", _NAME), ("types of optional fields", _map(_NAME, _NAME, limits.OPTIONAL_FIELDS_MAX))
        ),
        limits.CATEGORIES_MAX,
    ),
    "clock_ms": _uint(1 << 50),
    "software": _NAME,
    "live": _FLAG,
}
_VOUCHED = _record(("replica", _REPLICA), ("device", _NAME), ("role", _NAME), ("store", _opt(_NAME)))

FIELDS: dict[Kind, Mapping[str, Check]] = {
    Kind.CHALLENGE: {"protocol": _PROTOCOL, "nonce": _exact(limits.NONCE_BYTES)},
    Kind.HELLO: {
        **_IDENTITY,
        "key": _exact(limits.KEY_BYTES),
        "signature": _exact(limits.SIGNATURE_BYTES),
        "code": _opt(_NAME),
    },
    Kind.WELCOME: _IDENTITY,
    Kind.REFUSE: {"code": _NAME, "message": _TEXT, "terminal": _FLAG},
    Kind.BYE: {"reason": _TEXT},
    Kind.CHECK: {
        "digest": _exact(16),
        "held": _HELD,
        "first": _opt(_NAME),
        "rate": _opt(_uint(limits.RATE_BYTES_MAX, limits.RATE_BYTES_MIN)),
    },
    Kind.EVEN: {},
    Kind.DIGESTS: {
        "docs": _map(_DOC, _exact(8), limits.DOCUMENTS_PER_LINK_MAX),
        "held": _HELD,
        "more": _FLAG,
    },
    Kind.HEADS: {"docs": _VECTORS, "vouched": _list(_VOUCHED, limits.VECTOR_ENTRIES_MAX), "more": _FLAG},
    Kind.PLAN: {"docs": _VECTORS, "counts": _COUNTS, "more": _FLAG},
    Kind.DATA: {
        "doc": _DOC,
        "update": _bytes(limits.DATA_BYTES_MAX),
        "final": _FLAG,
        "cut": _CUT,
        "records": _COUNT,
        "n": _uint(limits.SEQ_MAX, 1),
    },
    Kind.DONE: {"category": _NAME},
    Kind.FENCE: {"docs": _map(_DOC, _CUT, limits.DOCUMENTS_PER_LINK_MAX), "more": _FLAG},
    Kind.FENCED: {"counts": _COUNTS},
    Kind.END: {},
    Kind.ENDED: {},
    Kind.ACK: {"n": _uint(limits.SEQ_MAX, 1)},
    Kind.POKE: {},
    Kind.ASK: {},
    Kind.ANSWER: {"accepted": _FLAG, "reason": _opt(_NAME), "wait_ms": _opt(_COUNT)},
}

_KINDS = {kind.value: kind for kind in Kind}
_VERSIONED = frozenset({Kind.CHALLENGE, Kind.HELLO, Kind.WELCOME})
_CHECKSUM_BYTES = 4


def encode_frame(number: int, kind: Kind, payload: Payload) -> bytes:
    """Return the bytes of a frame.

    Raises:
        FrameInvalid: the payload is not what its kind requires, or too large.
    """
    check_payload(kind, payload)
    body: bytes = msgpack.packb([number, kind.value, payload])
    if len(body) > limits.FRAME_BYTES_MAX:
        raise FrameInvalid(
            f"a {kind} frame of {len(body)} bytes exceeds the limit of {limits.FRAME_BYTES_MAX}"
        )
    return zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "big") + body


def check_payload(kind: Kind, payload: Any) -> None:
    """Check the keys, types and limits of a payload. Raises FrameInvalid naming the first that is wrong."""
    fields = FIELDS[kind]
    if type(payload) is not dict or payload.keys() != fields.keys():
        raise FrameInvalid(f"a {kind} frame has other fields than {', '.join(fields) or 'none'}")
    for name, check in fields.items():
        if not check.holds(payload[name]):
            raise FrameInvalid(
                f"field {name} of a {kind} frame is malformed or over its limit: {check.words:.200}"
            )


def _refuse_ext(code: int, _data: bytes) -> Any:
    raise FrameInvalid(f"extension type {code} is not part of the protocol")


def _unpack(body: bytes) -> Any:
    maps = 0

    def pairs_to_dict(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        # An empty map takes 1 byte on the wire and 64 in memory: their number is bounded, not only the frame's size.
        nonlocal maps
        maps += 1
        if maps > limits.FRAME_MAPS_MAX:
            raise FrameInvalid(f"a frame holds more than {limits.FRAME_MAPS_MAX} maps")
        result = dict(pairs)
        if len(result) != len(pairs):
            raise FrameInvalid("a map names a key twice")
        return result

    # Replica maps have integer keys, so the keys' types are the payload check's business.
    return msgpack.unpackb(
        body, use_list=False, strict_map_key=False, object_pairs_hook=pairs_to_dict, ext_hook=_refuse_ext
    )


def decode_frame(data: bytes) -> tuple[int, Kind, Payload]:
    """Read a frame: (number, kind, payload). Arrays are read as tuples.

    Raises:
        FrameCorrupt: the checksum is wrong.
        IncompatibleVersion: a greeting of another version of the protocol, whatever else it holds.
        FrameInvalid: too large, not msgpack, an unknown kind, or a payload that is not allowed.
    """
    if not _CHECKSUM_BYTES < len(data) <= limits.FRAME_BYTES_MAX + _CHECKSUM_BYTES:
        raise FrameInvalid(f"a frame of {len(data)} bytes; at most {limits.FRAME_BYTES_MAX} are allowed")
    body = data[_CHECKSUM_BYTES:]
    if zlib.crc32(body) != int.from_bytes(data[:_CHECKSUM_BYTES], "big"):
        raise FrameCorrupt("a frame's checksum is wrong")
    try:
        raw = _unpack(body)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise FrameInvalid(f"a frame is not msgpack: {error}") from error
    if type(raw) is not tuple or len(raw) != 3 or type(raw[0]) is not int or type(raw[1]) is not str:
        raise FrameInvalid("a frame is not [number, kind, payload]")
    number, name, payload = raw
    kind = _KINDS.get(name)
    if kind is None:
        raise FrameInvalid(f"unknown frame kind {name!r:.40}")
    if kind in _VERSIONED and type(payload) is dict:
        theirs = payload.get("protocol")
        if type(theirs) is int and theirs != PROTOCOL:
            raise IncompatibleVersion(PROTOCOL, theirs)
    check_payload(kind, payload)
    return number, kind, payload
