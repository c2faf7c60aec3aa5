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
from crdtsync.protocol import frames
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


@pytest.mark.parametrize(
    ("check", "words", "fits", "not_fits"),
    [
        (frames._name(3), "text, 1 to 3", ["a", "é á"], ["", "abcd", "a\n", b"a", None, ("a",)]),
        (frames._uint(5, 2), "integer, 2 to 5", [2, 5], [1, 6, -2, True, 2.0, "2", None]),
        (frames._uint(1), "integer, 0 to 1", [0, 1], [-1, 2, False]),
        (frames._bytes(2), "up to 2 bytes", [b"", b"ab"], [b"abc", "ab", (1,)]),
        (frames._exact(2), "2 bytes", [b"ab"], [b"", b"a", b"abc", "ab", (1, 2)]),
        (frames._opt(frames._uint(1)), "integer, 0 to 1, or nil", [None, 0], [False, 2, ""]),
        (
            frames._list(frames._uint(1), 2),
            "up to 2 of integer, 0 to 1",
            [(), (0, 1), [1]],
            [(0, 0, 0), (2,), (0, 2), {0: 0}, b"\x00", None],
        ),
        (
            frames._map(frames._name(1), frames._uint(1), 2),
            "up to 2 of {text, 1 to 1: integer, 0 to 1}",
            [{}, {"a": 0, "b": 1}],
            [{"a": 0, "b": 0, "c": 0}, {"ab": 0}, {"a": 2}, {"a": 0, "b": 2}, {"a": 0, 1: 0}, ("a",), None],
        ),
        (
            frames._record(("one", frames._uint(1)), ("two", frames._name(1))),
            "[one, two]",
            [(0, "a"), [1, "b"]],
            [(), (0,), (0, "a", 0), ("a", 0), (0, "ab"), (2, "a"), {0: "a"}, "0a", None],
        ),
        (frames._FLAG, "true or false", [True, False], [0, 1, None, "true"]),
    ],
    ids=range(10),
)
def test_each_check_takes_what_it_says_and_nothing_past_its_edges(
    check: frames.Check, words: str, fits: list[Any], not_fits: list[Any]
) -> None:
    assert check.words == words
    assert [value for value in fits if check.holds(value) is not True] == []
    assert [value for value in not_fits if check.holds(value)] == []


@pytest.mark.parametrize("doc", ["a", "a/b", "a/b/c", "A-z_0.9/x", "d" * limits.KEY_CHARS_MAX])
def test_a_document_id_may_be(doc: str) -> None:
    assert frames._DOC.holds(doc)


@pytest.mark.parametrize("doc", ["", "/", "a/", "/a", "a//b", "a b", "é", "a\n", b"a", None])
def test_a_document_id_may_not_be(doc: object) -> None:
    assert not frames._DOC.holds(doc)


def test_a_frame_may_be_as_large_as_the_limit_and_no_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = encode_frame(1, Kind.DATA, DATA)
    monkeypatch.setattr(limits, "FRAME_BYTES_MAX", len(frame) - 4)
    assert decode_frame(encode_frame(1, Kind.DATA, DATA)) == (1, Kind.DATA, DATA)
    monkeypatch.setattr(limits, "FRAME_BYTES_MAX", len(frame) - 5)
    with pytest.raises(FrameInvalid, match=rf"^a data frame of {len(frame) - 4} bytes exceeds the limit"):
        encode_frame(1, Kind.DATA, DATA)
    with pytest.raises(FrameInvalid, match=rf"^a frame of {len(frame)} bytes; at most {len(frame) - 5} are"):
        decode_frame(frame)


def test_a_frame_may_hold_as_many_maps_as_the_limit_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = {"docs": {"a": {1: (1, HASH)}, "b": {}}, "vouched": (), "more": False}
    frame = encode_frame(1, Kind.HEADS, vectors)
    monkeypatch.setattr(limits, "FRAME_MAPS_MAX", 4)
    assert decode_frame(frame)[2] == vectors
    monkeypatch.setattr(limits, "FRAME_MAPS_MAX", 3)
    with pytest.raises(FrameInvalid, match=r"^a frame holds more than 3 maps$"):
        decode_frame(frame)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (msgpack.packb([1, "nothing", {}]), r"^unknown frame kind 'nothing'$"),
        (msgpack.packb([1, "x" * 100, {}]), r"^unknown frame kind 'x{39}$"),
        (msgpack.packb([1, "even"]), r"^a frame is not \[number, kind, payload\]$"),
        (msgpack.packb([1, "even", {}, 1]), r"^a frame is not \[number, kind, payload\]$"),
        (msgpack.packb([True, "even", {}]), r"^a frame is not \[number, kind, payload\]$"),
        (msgpack.packb([1, b"even", {}]), r"^a frame is not \[number, kind, payload\]$"),
        (msgpack.packb({1: 2, 3: 4, 5: 6}), r"^a frame is not \[number, kind, payload\]$"),
        (b"\xc1", r"^a frame is not msgpack: "),
        (
            msgpack.packb([1, "even", msgpack.ExtType(5, b"x")]),
            r"^extension type 5 is not part of the protocol$",
        ),
        (b"\x93\x01\xa4even\x82\x01\x01\x01\x01", r"^a map names a key twice$"),
        (msgpack.packb([1, "even", {"a": 1}]), r"^a even frame has other fields than none$"),
        (msgpack.packb([1, "done", {}]), r"^a done frame has other fields than category$"),
        (msgpack.packb([1, "done", [1]]), r"^a done frame has other fields than category$"),
        (
            msgpack.packb([1, "ack", {"n": 0}]),
            r"^field n of a ack frame is malformed or over its limit: integer",
        ),
    ],
    ids=range(14),
)
def test_what_is_wrong_with_a_frame_is_told_in_words(body: bytes, says: str) -> None:
    with pytest.raises(FrameInvalid, match=says):
        decode_frame(sealed(body))


@pytest.mark.parametrize("size", range(5))
def test_what_is_shorter_than_a_checksum_and_a_byte_is_no_frame(size: int) -> None:
    with pytest.raises(FrameInvalid, match=rf"^a frame of {size} bytes; "):
        decode_frame(bytes(size))


@pytest.mark.parametrize("kind", ["challenge", "hello", "welcome"])
def test_only_a_number_is_a_version(kind: str) -> None:
    for wrong in ({"protocol": "9"}, {"protocol": True}, {}, [9]):
        with pytest.raises(FrameInvalid, match=rf"^a {kind} frame has other fields"):
            decode_frame(raw(1, kind, wrong))
    with pytest.raises(IncompatibleVersion):
        decode_frame(raw(1, kind, {"protocol": 0}))
    with pytest.raises(FrameInvalid, match=r"^a bye frame has other fields"):
        decode_frame(raw(1, "bye", {"protocol": 9}))
