"""The conversation of a link as a table: state x (speaker, frame) -> next state, or the error that it is.

Both ends walk the same table with what they send and what they receive. ``docs/protocol.md`` is drawn from it. Nothing
here reads bytes or a clock.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import product


class Side(StrEnum):
    """Who speaks: DOWN is the node that connects, UP the one it connects to."""

    DOWN = "down"
    UP = "up"


class State(StrEnum):
    """Where the conversation is."""

    START = "start"
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

    HELLO = "hello"
    WELCOME = "welcome"
    REFUSE = "refuse"
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
    (_S.START, (_DOWN, _K.HELLO)): _S.GREETING,
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
# An acknowledgement or a poke from above may cross the downstream's check on the wire.
_LEGAL |= {(state, (_UP, _K.POKE)): state for state in _RUNNING}
_LEGAL |= {(state, (side, _K.ACK)): state for state in _RUNNING for side in Side}
_LEGAL |= {(state, (side, _K.REFUSE)): _S.CLOSED for state in State if state is not _S.CLOSED for side in Side}

# An upload before its fence, or a download after it, is the error that the ordering layer exists to refuse.
_BEFORE_FENCE = (_S.IDLE, _S.CHECKING, _S.COMPARING, _S.PLANNING, _S.DOWNLOAD, _S.FENCING)


def _fault(state: State, event: Event) -> Fault:
    if state is State.CLOSED:
        return Fault.CLOSED
    side, kind = event
    if kind in {Kind.DATA, Kind.DONE, Kind.END}:
        upload_early = side is Side.DOWN and state in _BEFORE_FENCE
        download_late = side is Side.UP and state in {State.UPLOAD, State.ENDING, State.FENCING}
        if upload_early or download_late:
            return Fault.ORDER_VIOLATION
    return Fault.UNEXPECTED


TABLE: dict[tuple[State, Event], State | Fault] = {
    (state, event): _LEGAL.get((state, event), _fault(state, event))
    for state, event in product(State, product(Side, Kind))
}


def waits_for(state: State) -> Side | None:
    """Return the side whose word a state waits for; ``None`` when nobody owes one."""
    if state in {State.START, State.COMPARING, State.FENCING, State.UPLOAD}:
        return Side.DOWN
    if state in {State.GREETING, State.CHECKING, State.PLANNING, State.DOWNLOAD, State.ENDING}:
        return Side.UP
    return None
