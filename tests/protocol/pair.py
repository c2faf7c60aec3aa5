"""Two sessions that talk to each other: what the protocol's tests share. It asserts nothing by itself."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from crdtsync.protocol.frames import PROTOCOL, encode_frame
from crdtsync.protocol.session import Broken, Event, Session
from crdtsync.protocol.table import Kind, Side, State

if TYPE_CHECKING:
    from crdtsync.protocol.frames import Payload

RANKS = {"products": 0, "stock": 1, "sales": 2}
HASH = bytes(range(16))
HELLO: Payload = {
    "protocol": PROTOCOL,
    "device": "caixa3",
    "role": "caixa",
    "account": "main",
    "store": "loja1",
    "replica": 5,
    "categories": {"products": ("0123456789abcdef", {"note": "01234567"})},
    "clock_ms": 1_700_000_000_000,
    "software": "crdtsync 0.1.0",
    "live": False,
}
PROOF: Payload = {"key": bytes(32), "signature": bytes(64), "code": None}
SAMPLES: dict[Kind, Payload] = {
    Kind.CHALLENGE: {"protocol": PROTOCOL, "nonce": bytes(32)},
    Kind.HELLO: HELLO | PROOF,
    Kind.WELCOME: HELLO,
    Kind.REFUSE: {"code": "wrong_account", "message": "another account", "terminal": True},
    Kind.BYE: {"reason": "going home"},
    Kind.CHECK: {"digest": HASH, "held": ("stock",), "first": "sales", "rate": 64_000},
    Kind.EVEN: {},
    Kind.DIGESTS: {
        "docs": {"products": b"8 bytes!", "sales/loja1/caixa3/2017-08": b"8 bytes!"},
        "held": ("sales/loja1",),
    },
    Kind.HEADS: {"docs": {"products": {7: (3, HASH)}}, "vouched": ((7, "caixa3", "caixa", "loja1"),)},
    Kind.PLAN: {"docs": {"products": {9: (4, HASH)}}, "counts": {"products": 2}},
    Kind.DATA: {"doc": "products", "update": b"\x01\x02", "final": True, "cut": {9: 4}, "records": 2, "n": 1},
    Kind.DONE: {"category": "products"},
    Kind.FENCE: {"docs": {"products": {9: 4}}},
    Kind.FENCED: {"counts": {"products": 1}},
    Kind.END: {},
    Kind.ENDED: {},
    Kind.ACK: {"n": 1},
    Kind.POKE: {},
    Kind.ASK: {},
    Kind.ANSWER: {"accepted": False, "reason": "cooldown", "wait_ms": 272_000},
}
"""One legal payload of every kind, as `Session.send` takes it and `Received` gives it back."""

RUN: tuple[tuple[Side, Kind, State], ...] = (
    (Side.UP, Kind.CHALLENGE, State.CHALLENGED),
    (Side.DOWN, Kind.HELLO, State.GREETING),
    (Side.UP, Kind.WELCOME, State.IDLE),
    (Side.DOWN, Kind.CHECK, State.CHECKING),
    (Side.UP, Kind.DIGESTS, State.COMPARING),
    (Side.DOWN, Kind.HEADS, State.PLANNING),
    (Side.UP, Kind.PLAN, State.DOWNLOAD),
    (Side.UP, Kind.DATA, State.DOWNLOAD),
    (Side.DOWN, Kind.ACK, State.DOWNLOAD),
    (Side.UP, Kind.DONE, State.DOWNLOAD),
    (Side.UP, Kind.FENCE, State.FENCING),
    (Side.DOWN, Kind.FENCED, State.UPLOAD),
    (Side.DOWN, Kind.DATA, State.UPLOAD),
    (Side.UP, Kind.ACK, State.UPLOAD),
    (Side.DOWN, Kind.DONE, State.UPLOAD),
    (Side.DOWN, Kind.END, State.ENDING),
    (Side.UP, Kind.ENDED, State.IDLE),
)
"""A whole run, step by step: who says what, and the state after it."""


class Pair:
    """A downstream and an upstream session, and what each of them heard."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.ends = {side: Session(side, now, RANKS, RANKS) for side in Side}
        self.heard: dict[Side, list[Event]] = {side: [] for side in Side}

    @property
    def down(self) -> Session:
        """The end that connects."""
        return self.ends[Side.DOWN]

    @property
    def up(self) -> Session:
        """The end that accepts."""
        return self.ends[Side.UP]

    def say(self, side: Side, kind: Kind, **changes: Any) -> list[Event]:
        """Let one end say the sample of a kind and the other hear it; return what it heard."""
        speaker = self.ends[side]
        payload = {**SAMPLES[kind], **changes}
        if kind is Kind.DATA:
            del payload["n"]
            speaker.send_data(**payload)
        else:
            speaker.send(kind, **payload)
        return self.carry(side)

    def carry(self, side: Side) -> list[Event]:
        """Carry what one end has queued to the other; return what it heard."""
        heard = [
            event
            for frame in self.ends[side].take_outgoing()
            for event in self.ends[side.other].receive(frame, self.now)
        ]
        self.heard[side.other] += heard
        return heard

    def reach(self, state: State) -> Pair:
        """Walk a run until both ends are in a state."""
        if state is State.CLOSED:
            self.say(Side.DOWN, Kind.BYE)
            return self
        for side, kind, after in RUN:
            if self.up.state is state:
                break
            self.say(side, kind)
            assert self.up.state is self.down.state is after
        return self

    def force(self, side: Side, kind: Kind, **changes: Any) -> Event:
        """Put a frame of `side` on the wire that its own session would not send; return what the other end heard."""
        hearer = self.ends[side.other]
        payload = {**SAMPLES[kind], **changes}
        if kind in {Kind.DIGESTS, Kind.HEADS, Kind.PLAN, Kind.FENCE}:
            payload.setdefault("more", False)
        (event,) = hearer.receive(encode_frame(hearer._got + 1, kind, payload), self.now)
        return event


def broken(event: Event) -> str:
    """Return the code of a break; the empty string for a legal frame."""
    return event.code if isinstance(event, Broken) else ""


def sealed(body: bytes) -> bytes:
    """A body behind its right checksum."""
    return zlib.crc32(body).to_bytes(4, "big") + body
