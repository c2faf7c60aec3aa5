"""Frames: a CRC-32, a number, a kind and a checked payload, as msgpack.

On the wire: four bytes of CRC-32 (big endian) of the rest, then a msgpack array ``[number, kind, payload]``. Every
payload has exactly the keys of its kind, each of its type and within its limit. Nothing here keeps state.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import msgpack

from crdtsync import limits
from crdtsync.errors import FrameInvalid
from crdtsync.protocol.table import Kind

Payload = dict[str, Any]
Check = Callable[[Any], bool]


def _text(size: int) -> Check:
    return lambda v: type(v) is str and len(v) <= size


def _opt(inner: Check) -> Check:
    return lambda v: v is None or inner(v)


def _uint(size: int) -> Check:
    return lambda v: type(v) is int and 0 <= v <= size


def _bytes(size: int) -> Check:
    return lambda v: type(v) is bytes and len(v) <= size


def _exact(size: int) -> Check:
    return lambda v: type(v) is bytes and len(v) == size


def _flag(value: Any) -> bool:
    return type(value) is bool


def _map(key: Check, value: Check, size: int) -> Check:
    return lambda v: type(v) is dict and len(v) <= size and all(key(k) and value(x) for k, x in v.items())


def _list(item: Check, size: int) -> Check:
    return lambda v: type(v) is list and len(v) <= size and all(item(x) for x in v)


def _record(*fields: Check) -> Check:
    return lambda v: type(v) is list and len(v) == len(fields) and all(c(x) for c, x in zip(fields, v, strict=True))


def _replica(value: Any) -> bool:
    return type(value) is int and 0 < value <= limits.REPLICA_MAX


_NAME = _text(64)
_DOC = _text(limits.KEY_CHARS_MAX)
_SEQ = _uint(limits.SEQ_MAX)
_CUT = _map(_replica, _SEQ, limits.VECTOR_ENTRIES_MAX)
_VECTORS = _map(
    _DOC,
    _map(_replica, _record(_SEQ, _exact(16)), limits.VECTOR_ENTRIES_MAX),
    limits.DOCUMENTS_PER_LINK_MAX,
)
_COUNTS = _map(_NAME, _uint(1 << 40), limits.CATEGORIES_MAX)
_IDENTITY: dict[str, Check] = {
    "protocol": _uint(1 << 16),
    "device": _NAME,
    "role": _NAME,
    "account": _NAME,
    "store": _opt(_NAME),
    "replica": _replica,
    "categories": _map(_NAME, _text(32), limits.CATEGORIES_MAX),
    "clock_ms": _uint(1 << 50),
    "software": _NAME,
    "live": _flag,
}
_DATA: dict[str, Check] = {
    "doc": _DOC,
    "update": _bytes(limits.DATA_BYTES_MAX),
    "final": _flag,
    "cut": _CUT,
    "records": _uint(1 << 40),
    "n": _uint(1 << 40),
}

FIELDS: dict[Kind, Mapping[str, Check]] = {
    Kind.HELLO: _IDENTITY,
    Kind.WELCOME: _IDENTITY,
    Kind.REFUSE: {"code": _NAME, "message": _text(1000), "terminal": _flag},
    Kind.CHECK: {"digest": _exact(16)},
    Kind.EVEN: {},
    Kind.DIGESTS: {"docs": _map(_DOC, _exact(8), limits.DOCUMENTS_PER_LINK_MAX)},
    Kind.HEADS: {
        "docs": _VECTORS,
        "vouched": _list(_record(_replica, _NAME, _NAME, _opt(_NAME)), limits.VECTOR_ENTRIES_MAX),
    },
    Kind.PLAN: {"docs": _VECTORS, "counts": _COUNTS},
    Kind.DATA: _DATA,
    Kind.DONE: {"category": _NAME},
    Kind.FENCE: {"docs": _map(_DOC, _CUT, limits.DOCUMENTS_PER_LINK_MAX)},
    Kind.FENCED: {"counts": _COUNTS},
    Kind.END: {},
    Kind.ENDED: {},
    Kind.ACK: {"n": _uint(1 << 40)},
    Kind.POKE: {},
}

_KINDS = {kind.value: kind for kind in Kind}


def encode_frame(number: int, kind: Kind, payload: Payload) -> bytes:
    """Return the bytes of a frame.

    Raises:
        FrameInvalid: the payload is not what its kind requires, or too large.
    """
    check_payload(kind, payload)
    body: bytes = msgpack.packb([number, kind.value, payload])
    if len(body) > limits.FRAME_BYTES_MAX:
        raise FrameInvalid(f"a {kind} frame of {len(body)} bytes exceeds the limit of {limits.FRAME_BYTES_MAX}")
    return zlib.crc32(body).to_bytes(4, "big") + body


def check_payload(kind: Kind, payload: Any) -> None:
    """Check the keys, types and limits of a payload. Raises FrameInvalid naming the first that is wrong."""
    fields = FIELDS[kind]
    if type(payload) is not dict or payload.keys() != fields.keys():
        raise FrameInvalid(f"a {kind} frame has other fields than {', '.join(fields) or 'none'}")
    for name, check in fields.items():
        if not check(payload[name]):
            raise FrameInvalid(f"field {name} of a {kind} frame is malformed or over its limit")


def _pairs(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise FrameInvalid("a map names a key twice")
    return result


def _refuse_ext(code: int, _data: bytes) -> Any:
    raise FrameInvalid(f"extension type {code} is not part of the protocol")


def decode_frame(data: bytes) -> tuple[int, Kind, Payload]:
    """Read a frame: (number, kind, payload).

    Raises:
        FrameInvalid: too large, a wrong checksum, not msgpack, an unknown kind, or a payload that is not allowed.
    """
    if not 4 < len(data) <= limits.FRAME_BYTES_MAX + 4:
        raise FrameInvalid(f"a frame of {len(data)} bytes")
    body = data[4:]
    if zlib.crc32(body) != int.from_bytes(data[:4], "big"):
        raise FrameInvalid("a frame's checksum is wrong")
    try:
        raw = msgpack.unpackb(body, strict_map_key=False, object_pairs_hook=_pairs, ext_hook=_refuse_ext)
    except FrameInvalid:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise FrameInvalid(f"a frame is not msgpack: {error}") from error
    if type(raw) is not list or len(raw) != 3 or type(raw[0]) is not int or type(raw[1]) is not str:
        raise FrameInvalid("a frame is not [number, kind, payload]")
    kind = _KINDS.get(raw[1])
    if kind is None:
        raise FrameInvalid(f"unknown frame kind {raw[1]!r:.40}")
    check_payload(kind, raw[2])
    return raw[0], kind, raw[2]
