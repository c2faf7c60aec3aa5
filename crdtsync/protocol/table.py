"""The conversation of a link as a table: state x (speaker, frame) -> next state, or the error that it is.

Both ends walk the same table with what they send and what they receive, as h11 does. ``docs/protocol.md`` is drawn
from it. Nothing here reads bytes or a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from crdtsync.said import Said, say


class Side(StrEnum):
    """Who speaks: DOWN is the node that connects, UP the one it connects to."""

    DOWN = "down"
    UP = "up"

    @property
    def other(self) -> Side:
        """The other end."""
        return Side.UP if self is Side.DOWN else Side.DOWN


class State(StrEnum):
    """Where the conversation is."""

    START = "start"
    CHALLENGED = "challenged"
    GREETING = "greeting"
    IDLE = "idle"
    CHECKING = "checking"
    COMPARING = "comparing"
    PLANNING = "planning"
    DOWNLOAD = "download"
    FENCING = "fencing"
    UPLOAD = "upload"
    ENDING = "ending"
    CLOSED = "closed"


class Kind(StrEnum):
    """What a frame is."""

    CHALLENGE = "challenge"
    HELLO = "hello"
    WELCOME = "welcome"
    REFUSE = "refuse"
    BYE = "bye"
    CHECK = "check"
    EVEN = "even"
    DIGESTS = "digests"
    HEADS = "heads"
    PLAN = "plan"
    DATA = "data"
    DONE = "done"
    FENCE = "fence"
    FENCED = "fenced"
    END = "end"
    ENDED = "ended"
    ACK = "ack"
    POKE = "poke"
    ASK = "ask"
    ANSWER = "answer"


class Fault(StrEnum):
    """Why a frame is not legal in a state."""

    ORDER_VIOLATION = "order_violation"
    UNEXPECTED = "unexpected_frame"
    CLOSED = "closed"


Event = tuple[Side, Kind]
_DOWN, _UP = Side.DOWN, Side.UP
_S, _K = State, Kind

_RUNNING = (_S.IDLE, _S.CHECKING, _S.COMPARING, _S.PLANNING, _S.DOWNLOAD, _S.FENCING, _S.UPLOAD, _S.ENDING)

_LEGAL: dict[tuple[State, Event], State] = {
    (_S.START, (_UP, _K.CHALLENGE)): _S.CHALLENGED,
    (_S.CHALLENGED, (_DOWN, _K.HELLO)): _S.GREETING,
    (_S.GREETING, (_UP, _K.WELCOME)): _S.IDLE,
    (_S.IDLE, (_DOWN, _K.CHECK)): _S.CHECKING,
    (_S.CHECKING, (_UP, _K.EVEN)): _S.IDLE,
    (_S.CHECKING, (_UP, _K.DIGESTS)): _S.COMPARING,
    (_S.COMPARING, (_DOWN, _K.HEADS)): _S.PLANNING,
    (_S.PLANNING, (_UP, _K.PLAN)): _S.DOWNLOAD,
    (_S.DOWNLOAD, (_UP, _K.DATA)): _S.DOWNLOAD,
    (_S.DOWNLOAD, (_UP, _K.DONE)): _S.DOWNLOAD,
    (_S.DOWNLOAD, (_UP, _K.FENCE)): _S.FENCING,
    (_S.FENCING, (_DOWN, _K.FENCED)): _S.UPLOAD,
    (_S.UPLOAD, (_DOWN, _K.DATA)): _S.UPLOAD,
    (_S.UPLOAD, (_DOWN, _K.DONE)): _S.UPLOAD,
    (_S.UPLOAD, (_DOWN, _K.END)): _S.ENDING,
    (_S.ENDING, (_UP, _K.ENDED)): _S.IDLE,
}
# An acknowledgement or a poke from above may cross the downstream's check on the wire, and so may a request that the
# upstream synchronize with its own upstream, and its answer.
_LEGAL |= {(state, (_UP, kind)): state for state in _RUNNING for kind in (_K.POKE, _K.ANSWER)}
_LEGAL |= {(state, (_DOWN, _K.ASK)): state for state in _RUNNING}
_LEGAL |= {(state, (side, _K.ACK)): state for state in _RUNNING for side in Side}
# Either end may leave at any time: refused for a named reason, or done for now.
_LEGAL |= {
    (state, (side, kind)): _S.CLOSED
    for state in State
    if state is not _S.CLOSED
    for side in Side
    for kind in (_K.REFUSE, _K.BYE)
}

# What the ordering layer exists to refuse: an upload before its fence, a download before its plan or after its fence.
_TRANSFER = (_K.DATA, _K.DONE)
_BEFORE_FENCE = (_S.GREETING, _S.IDLE, _S.CHECKING, _S.COMPARING, _S.PLANNING, _S.DOWNLOAD, _S.FENCING)
_BEFORE_PLAN = (_S.GREETING, _S.IDLE, _S.CHECKING, _S.COMPARING, _S.PLANNING)
_AFTER_FENCE = (_S.FENCING, _S.UPLOAD, _S.ENDING)
_DISORDER: frozenset[tuple[State, Event]] = frozenset(
    {(state, (_DOWN, kind)) for state in _BEFORE_FENCE for kind in (*_TRANSFER, _K.END)}
    | {(state, (_UP, kind)) for state in (*_BEFORE_PLAN, *_AFTER_FENCE) for kind in (*_TRANSFER, _K.FENCE)}
    # Only a fence lets the downstream say that it is fenced.
    | {(state, (_DOWN, _K.FENCED)) for state in _BEFORE_FENCE if state is not _S.FENCING}
)


def _fault(state: State, event: Event) -> Fault:
    if state is State.CLOSED:
        return Fault.CLOSED
    return Fault.ORDER_VIOLATION if (state, event) in _DISORDER else Fault.UNEXPECTED


TABLE: dict[tuple[State, Event], State | Fault] = {
    (state, event): _LEGAL.get((state, event), _fault(state, event))
    for state, event in product(State, product(Side, Kind))
}

PAGED: frozenset[Kind] = frozenset({Kind.DIGESTS, Kind.HEADS, Kind.PLAN, Kind.FENCE})
"""Frames that may take several pages: a page that says ``more`` keeps the state, the last one takes the step."""


def waits_for(state: State) -> Side | None:
    """Return the side whose word a state waits for; ``None`` when nobody owes one."""
    if state in {State.CHALLENGED, State.COMPARING, State.FENCING, State.UPLOAD}:
        return Side.DOWN
    if state in {State.START, State.GREETING, State.CHECKING, State.PLANNING, State.DOWNLOAD, State.ENDING}:
        return Side.UP
    return None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one end leaves. ``terminal``: trying again cannot help until a person changes something."""

    terminal: bool
    meaning: Said


REFUSALS: dict[str, Refusal] = {
    code: Refusal(terminal, meaning)
    for code, terminal, meaning in (
        (
            "incompatible_version",
            True,
            say("the programs speak different versions of the protocol; update the older"),
        ),
        ("wrong_account", True, say("the node belongs to another account; correct its node.toml")),
        ("wrong_role", True, say("a node of this role does not connect to a node of that one")),
        ("wrong_store", True, say("the lane belongs to another store; correct its node.toml")),
        ("revoked", True, say("the device may no longer connect; a person must admit it again")),
        ("unproven", True, say("the greeting is not signed with the key that it names, for this connection")),
        ("unknown_device", True, say("the device was never admitted here; give it a pairing code")),
        ("bad_code", True, say("the pairing code is unknown, used or expired; ask for a new one")),
        ("not_approved", False, say("a person has not approved the device yet")),
        (
            "already_connected",
            False,
            say("the device is connected from elsewhere, and that connection answers"),
        ),
        ("not_allowed", True, say("the device sent what it may not write, or spoke for another device")),
        ("fork", False, say("a log went on in two places; the next handshake brings both branches together")),
        (
            "not_recovering",
            False,
            say("the device holds more of this node's own log than it; a person must say that it lost it"),
        ),
        (
            "restored",
            False,
            say("the node took a new incarnation or another branch of a log; it returns at once"),
        ),
        ("order_violation", False, say("an upload before its fence, or a category before one it depends on")),
        ("unexpected_frame", False, say("a frame that the state does not allow")),
        ("invalid", False, say("a frame or an update whose content is not allowed")),
        ("corrupt", False, say("a frame whose checksum is wrong")),
        ("gap", False, say("a frame or a batch is missing; the next handshake sends what is missing")),
        ("overrun", False, say("more data in flight than the window allows")),
        ("timeout", False, say("the peer owed a word for too long")),
        ("store", False, say("the store of the refusing node is in trouble")),
        (
            "paused",
            False,
            say("a person paused the device at the node above; it goes on when it is resumed there"),
        ),
        ("too_busy", False, say("too many connections; come back later")),
    )
}
"""The known reasons of a refusal. A code from a newer program that is not here is taken at its word."""
