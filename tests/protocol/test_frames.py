"""Frames: what is written is read, and nothing else is."""

from __future__ import annotations

import math
import random
import tracemalloc
from copy import deepcopy
from typing import Any

import msgpack
import pytest

from crdtsync import limits
from crdtsync.errors import FrameCorrupt, FrameInvalid, IncompatibleVersion
from crdtsync.protocol.frames import FIELDS, PROTOCOL, decode_frame, encode_frame
from crdtsync.protocol.session import Broken, Received
from crdtsync.protocol.table import PAGED, Kind, Side, State
from tests.protocol.pair import HASH, SAMPLES, Pair, sealed

WIRE = {kind: {**p, "more": False} if kind in PAGED else p for kind, p in SAMPLES.items()}
DATA = SAMPLES[Kind.DATA]


def raw(*parts: Any) -> bytes:
    """An array as a frame, whatever it holds."""
    return sealed(msgpack.packb(parts))


@pytest.mark.parametrize("kind", Kind)
def test_a_frame_of_every_kind_is_read_as_it_was_written(kind: Kind) -> None:
    assert decode_frame(encode_frame(7, kind, WIRE[kind])) == (7, kind, WIRE[kind])


@pytest.mark.parametrize("kind", Kind)
def test_a_payload_has_exactly_the_keys_of_its_kind(kind: Kind) -> None:
    for wrong in [
        {**WIRE[kind], "extra": 1},
        *({k: v for k, v in WIRE[kind].items() if k != name} for name in FIELDS[kind]),
    ]:
        with pytest.raises(FrameInvalid):
            decode_frame(raw(1, kind.value, wrong))
        with pytest.raises(FrameInvalid):
            encode_frame(1, kind, wrong)


@pytest.mark.parametrize("kind", [kind for kind in Kind if FIELDS[kind]])
def test_every_field_refuses_every_foreign_type(kind: Kind) -> None:
    foreign: list[Any] = [1.5, math.nan, [[]], {1.5: {}}, -1, "\x00", b"\xff" * 300_000, "x" * 2_000]
    for name in FIELDS[kind]:
        refused = 0
        for value in foreign:
            try:
                decode_frame(raw(1, kind.value, {**WIRE[kind], name: value}))
            except FrameInvalid:
                refused += 1
        assert refused == len(foreign), name


@pytest.mark.parametrize(
    "changes",
    [
        {"doc": "products/../x y"},
        {"doc": ""},
        {"doc": "products/"},
        {"doc": "p" * (limits.KEY_CHARS_MAX + 1)},
        {"update": bytes(limits.DATA_BYTES_MAX + 1)},
        {"cut": {0: 1}},
        {"cut": {limits.REPLICA_MAX + 1: 1}},
        {"cut": {1: limits.SEQ_MAX + 1}},
        {"cut": {"1": 1}},
        {"cut": {True: 1}},
        {"n": 0},
        {"final": 1},
    ],
)
def test_a_value_past_its_limit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FrameInvalid, match=next(iter(changes))):
        decode_frame(raw(1, "data", {**DATA, **changes}))


def test_the_largest_data_frame_fits() -> None:
    cut = {limits.REPLICA_MAX - i: limits.SEQ_MAX for i in range(limits.VECTOR_ENTRIES_MAX)}
    largest = {**DATA, "doc": "d" * limits.KEY_CHARS_MAX, "update": bytes(limits.DATA_BYTES_MAX), "cut": cut}
    assert decode_frame(encode_frame(1, Kind.DATA, largest))[2] == largest


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x93\x01\xa4data",
        msgpack.packb([1, "data"]),
        msgpack.packb([1, "nothing", {}]),
        msgpack.packb([1.0, "even", {}]),
        msgpack.packb([1, "even", {}]) + b"\x00",
        msgpack.packb([1, "check", {"digest": msgpack.ExtType(5, b"x")}]),
        msgpack.packb([1, "check", {"digest": msgpack.Timestamp(1)}]),
        b"\x93\x01\xa5check\x82\xa6digest\xc4\x10" + HASH + b"\xa6digest\xc4\x10" + HASH,
        b"\x93\x01\xa3bye\x81\xa6reason\xa2\xff\xfe",
        b"\x93\x01\xa5fence\x82\xa4docs\x81\x90\x80\xa4more\xc2",
        b"\x93\x01\xa5fence\x82\xa4docs\x81\x80\x80\xa4more\xc2",
        b"\x91" * 100_000,
        b"\x81\x01" * 100_000,
    ],
    ids=range(15),
)
def test_what_is_no_frame_is_refused(body: bytes) -> None:
    with pytest.raises(FrameInvalid):
        decode_frame(sealed(body))


@pytest.mark.parametrize("deep", range(1, 20))
def test_a_value_deeper_than_its_kind_allows_is_refused(deep: int) -> None:
    value: Any = 1
    for _ in range(deep):
        value = {1: value}
    with pytest.raises(FrameInvalid):
        decode_frame(raw(1, "data", {**DATA, "cut": {1: value}}))


def test_every_flipped_bit_of_a_frame_is_noticed() -> None:
    frame = encode_frame(1, Kind.DATA, DATA)
    for bit in range(len(frame) * 8):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameCorrupt):
            decode_frame(bytes(flipped))


def test_a_greeting_of_another_version_names_both_whatever_else_it_says() -> None:
    with pytest.raises(IncompatibleVersion, match=rf"version {PROTOCOL} .* version 9") as raised:
        decode_frame(raw(1, "hello", {"protocol": 9, "something": ["new"]}))
    assert (raised.value.ours, raised.value.theirs) == (PROTOCOL, 9)


def test_a_frame_built_to_fill_memory_costs_a_bounded_amount() -> None:
    bombs = [
        b"\x93\x01\xa4data" + part * (limits.FRAME_BYTES_MAX // len(part) - 20)
        for part in (b"\x80", b"\x90", b"\x91\x90")
    ]
    bombs += [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"]
    filler = limits.FRAME_BYTES_MAX - 64
    bombs += [b"\xdd" + filler.to_bytes(4, "big") + part * filler for part in (b"\x80", b"\x90", b"\x01")]
    tracemalloc.start()
    try:
        for bomb in bombs:
            with pytest.raises(FrameInvalid):
                decode_frame(sealed(bomb))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20


def mutated(frame: bytes, dice: random.Random) -> bytes:
    """A frame with a few bytes changed, cut, repeated or put in; most often with a right checksum again."""
    body = bytearray(frame[4:])
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(body) + 1)
        match dice.randrange(4):
            case 0:
                body[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del body[at : at + dice.randint(1, 8)]
            case 2:
                body[at:at] = body[at : at + dice.randint(1, 16)]
            case _:
                body[at:at] = dice.choice(
                    [b"\xcf" + b"\xff" * 8, b"\xcb\x7f\xf8" + bytes(6), b"\xd6\xff" + bytes(4), b"\xc0"]
                )
    return sealed(bytes(body)) if dice.random() < 0.9 else frame[:4] + bytes(body)


def test_twenty_thousand_mutated_frames_only_ever_make_events() -> None:
    dice = random.Random(20_000)
    at = {state: Pair().reach(state) for state in State if state is not State.CLOSED}
    seen = {"received": 0, "broken": 0, "nothing": 0}
    for _ in range(20_000):
        pair = at[dice.choice(list(at))]
        side, kind = dice.choice(list(Side)), dice.choice(list(Kind))
        hearer = deepcopy(pair.ends[side])
        frame = mutated(encode_frame(hearer._got + 1, kind, WIRE[kind]), dice)
        events = hearer.receive(frame, 0.0)
        assert len(events) <= 1
        if not events:
            seen["nothing"] += 1
        elif isinstance(events[0], Received):
            seen["received"] += 1
        else:
            assert isinstance(events[0], Broken)
            assert hearer.state is State.CLOSED
            seen["broken"] += 1
    # The mutations reach both sides of every check: some frames are still legal, most are not.
    assert seen["received"] > 10
    assert seen["broken"] > 10_000


def test_the_sample_greeting_is_small() -> None:
    assert len(encode_frame(1, Kind.HELLO, SAMPLES[Kind.HELLO])) < 1_024
