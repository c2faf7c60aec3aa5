"""Fuzzes the frame codec: `python -m tests.fuzz.frames`, see `engine`. An input is the body of a frame, behind its right checksum.

What the codec accepts is written again and read as the same, and holds nothing but the types of the protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crdtsync.errors import FrameCorrupt, FrameInvalid
from crdtsync.protocol import frames as module
from crdtsync.protocol.frames import decode_frame, encode_frame
from tests.fuzz import engine
from tests.protocol.pair import sealed

if TYPE_CHECKING:
    from random import Random

NAME = "frames"
_DEPTH_MAX = 4
"""Lists and maps inside each other in the payload of any kind: a head in a vector of a document."""


def check(body: bytes) -> bool:
    """Tell whether the codec accepts a frame; an AssertionError, or any error but its own, is a finding."""
    assert _is_refused(body), "a frame without its checksum is accepted"
    try:
        number, kind, payload = decode_frame(sealed(body))
    except FrameCorrupt as error:
        raise AssertionError("a right checksum is called wrong") from error
    except FrameInvalid:
        return False
    engine.look_at(payload, _DEPTH_MAX)
    again = decode_frame(encode_frame(number, kind, payload))
    assert again == (number, kind, payload), "what was read is written as something else"
    return True


def _is_refused(data: bytes) -> bool:
    try:
        decode_frame(bytes(4) + data)
    except FrameInvalid:
        return True
    # A body whose CRC-32 is 0 is right behind four zeros.
    return sealed(data)[:4] == bytes(4)


def mutate(data: bytes, dice: Random) -> bytes:
    """Return an input that is near this one."""
    return engine.mutated_msgpack(data, dice)


if __name__ == "__main__":
    engine.fuzz(NAME, check, mutate, [module])
