"""The session: one end of a link's conversation, as a pure state machine.

Frames and ``now`` in, events and frames out. It numbers and checks frames, walks the table, keeps the order of
categories, and bounds what is in flight. It never touches sockets, clocks, storage or randomness.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from crdtsync import limits
from crdtsync.errors import FrameInvalid, LocalProtocolError, OrderViolation
from crdtsync.protocol.frames import Payload, decode_frame, encode_frame
from crdtsync.protocol.table import TABLE, Fault, Kind, Side, State, waits_for

PROTOCOL = 1


@dataclass(frozen=True, slots=True)
class Received:
    """A legal frame from the peer."""

    kind: Kind
    payload: Payload


@dataclass(frozen=True, slots=True)
class Broken:
    """The conversation cannot go on; connect again unless ``terminal``."""

    code: str
    message: str
    terminal: bool = False


Event = Received | Broken


class Session:
    """One end of a conversation.

    ``rank`` gives each category its place in the transfer order: data of a category after a later one was begun is an
    ``OrderViolation`` at both ends.
    """

    def __init__(self, side: Side, now: float, download: dict[str, int], upload: dict[str, int]) -> None:
        self.side = side
        self.peer = Side.UP if side is Side.DOWN else Side.DOWN
        self.state = State.START
        self.bytes_sent = 0
        self.bytes_received = 0
        self.duplicates = 0
        self._rank = {Side.UP: download, Side.DOWN: upload}
        self._reached = {Side.UP: -1, Side.DOWN: -1}
        self._sent = 0
        self._got = 0
        self._unacked: deque[tuple[int, int]] = deque()
        self._unacked_bytes = 0
        self._data_sent = 0
        self._heard = now
        self._outgoing: list[bytes] = []

    # -- sending -----------------------------------------------------------------------------------------------

    def send(self, kind: Kind, **payload: Any) -> None:
        """Queue a frame.

        Raises:
            OrderViolation: it would break the download-first order; nothing was queued.
            LocalProtocolError: it is not legal in this state.
        """
        following = TABLE[self.state, (self.side, kind)]
        if isinstance(following, Fault):
            error = OrderViolation if following is Fault.ORDER_VIOLATION else LocalProtocolError
            raise error(f"{self.side} may not send {kind} in state {self.state} ({following})")
        problem = self._out_of_order(self.side, kind, payload)
        if problem:
            raise OrderViolation(problem)
        frame = encode_frame(self._sent + 1, kind, payload)
        self._sent += 1
        self._outgoing.append(frame)
        self.bytes_sent += len(frame)
        self._enter(self.side, kind, payload, following)

    def send_data(self, **payload: Any) -> int:
        """Queue a data frame; return its number, which the peer acknowledges."""
        number = self._data_sent + 1
        self.send(Kind.DATA, n=number, **payload)
        self._data_sent = number
        size = len(payload["update"])
        self._unacked.append((number, size))
        self._unacked_bytes += size
        return number

    def can_send(self) -> bool:
        """Tell whether the window of unacknowledged data has room."""
        return len(self._unacked) < limits.WINDOW_FRAMES_MAX and self._unacked_bytes < limits.WINDOW_BYTES_MAX

    @property
    def in_flight(self) -> int:
        """Number of data frames that the peer has not acknowledged."""
        return len(self._unacked)

    def take_outgoing(self) -> list[bytes]:
        """Return the queued frames and empty the queue."""
        frames, self._outgoing = self._outgoing, []
        return frames

    # -- receiving ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take one frame from the peer."""
        if self.state is State.CLOSED:
            return []
        self.bytes_received += len(data)
        try:
            number, kind, payload = decode_frame(data)
        except FrameInvalid as error:
            return [self._break("corrupt", str(error))]
        if number <= self._got:
            self.duplicates += 1
            return []
        if number != self._got + 1:
            return [self._break("gap", f"frame {self._got + 1} is missing, {number} arrived")]
        self._got = number
        self._heard = now
        following = TABLE[self.state, (self.peer, kind)]
        if isinstance(following, Fault):
            return [self._break(following.value, f"{self.peer} sent {kind} in state {self.state}")]
        problem = self._out_of_order(self.peer, kind, payload)
        if problem:
            return [self._break(Fault.ORDER_VIOLATION.value, problem)]
        if kind is Kind.ACK:
            self._acknowledged(payload["n"])
        self._enter(self.peer, kind, payload, following)
        if kind is Kind.REFUSE:
            return [Broken(payload["code"], payload["message"], payload["terminal"])]
        return [Received(kind, payload)]

    def tick(self, now: float) -> list[Event]:
        """Tell the session the time; a peer that owes a word for too long breaks the conversation."""
        if self.state is not State.CLOSED and self.deadline() is not None and now >= (self.deadline() or 0):
            return [self._break("timeout", f"nothing heard in state {self.state}")]
        return []

    def deadline(self) -> float | None:
        """Return when ``tick`` would break the conversation, or None when the peer owes nothing."""
        owed = waits_for(self.state) is self.peer or self._unacked
        return self._heard + limits.ANSWER_SECONDS_MAX if owed else None

    def refuse(self, code: str, message: str, *, terminal: bool = False) -> None:
        """Queue a refusal and close the conversation."""
        if self.state is not State.CLOSED:
            self.send(Kind.REFUSE, code=code, message=message[:1000], terminal=terminal)

    # -- inside ------------------------------------------------------------------------------------------------

    def _break(self, code: str, message: str) -> Broken:
        self.refuse(code, message)
        self.state = State.CLOSED
        return Broken(code, message)

    def _out_of_order(self, side: Side, kind: Kind, payload: Payload) -> str | None:
        if kind is Kind.DATA:
            category = payload["doc"].partition("/")[0]
        elif kind is Kind.DONE:
            category = payload["category"]
        else:
            return None
        rank = self._rank[side].get(category)
        if rank is None:
            return f"{category} is not in the agreed order"
        if rank < self._reached[side]:
            return f"{category} comes after a category that depends on it"
        return None

    def _enter(self, side: Side, kind: Kind, payload: Payload, following: State) -> None:
        if kind is Kind.DATA:
            self._reached[side] = self._rank[side][payload["doc"].partition("/")[0]]
        elif kind is Kind.DONE:
            self._reached[side] = self._rank[side][payload["category"]] + 1
        elif kind is Kind.PLAN:
            self._reached = {Side.UP: -1, Side.DOWN: -1}
        self.state = following

    def _acknowledged(self, number: int) -> None:
        while self._unacked and self._unacked[0][0] <= number:
            self._unacked_bytes -= self._unacked.popleft()[1]
