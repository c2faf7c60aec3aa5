"""The session: one end of a link's conversation, as a pure state machine.

Frames and ``now`` in, events and frames out. It numbers and checks frames, walks the table, keeps the order of
categories, and bounds what is in flight. It never touches sockets, clocks, storage or randomness.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crdtsync import limits
from crdtsync.errors import (
    FrameCorrupt,
    FrameInvalid,
    IncompatibleVersion,
    LocalProtocolError,
    OrderViolation,
)
from crdtsync.protocol.course import Course
from crdtsync.protocol.frames import PROTOCOL, Payload, decode_frame, encode_frame
from crdtsync.protocol.pages import Pages, pages
from crdtsync.protocol.table import PAGED, REFUSALS, TABLE, Fault, Kind, Side, State, waits_for
from crdtsync.protocol.window import Window

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PROTOCOL", "Broken", "Event", "Received", "Session"]


_ASIDE = frozenset({Kind.POKE, Kind.ASK, Kind.ANSWER})
"""Frames that say nothing about the run: hearing one is not hearing the word that the peer owes."""


@dataclass(frozen=True, slots=True)
class Received:
    """A legal frame from the peer; the pages of a paged frame arrive as one."""

    kind: Kind
    payload: Payload


@dataclass(frozen=True, slots=True)
class Broken:
    """The conversation is over; connect again unless ``terminal``. ``code`` is a key of ``REFUSALS``, or ``"bye"``."""

    code: str
    message: str
    terminal: bool = False


Event = Received | Broken


@dataclass(frozen=True, slots=True)
class _Problem:
    """Why a frame may not be said now. Who was about to say it raises; who heard it refuses."""

    code: str
    message: str


class Session:
    """One end of a conversation.

    ``download`` and ``upload`` give each category its rank in the order of a transfer, the same at both ends.
    ``now`` is any clock that never goes back, in seconds.
    """

    def __init__(
        self, side: Side, now: float, download: Mapping[str, int], upload: Mapping[str, int]
    ) -> None:
        self.side = side
        self.peer = side.other
        self.state = State.START
        self.bytes_sent = 0
        self.bytes_received = 0
        self.duplicates = 0
        self.traffic: Counter[tuple[Side, State, str]] = Counter()
        """Bytes of frames by (who said it, state of this end before it, category or ``""``)."""
        self._ranks = {Side.UP: download, Side.DOWN: upload}
        self._courses = {speaker: Course(ranks, {}) for speaker, ranks in self._ranks.items()}
        self._windows = {Side.UP: Window(), Side.DOWN: Window()}
        self._pages = Pages()
        self._sent = 0
        self._got = 0
        self._now = now
        self._since: float | None = now
        self._outgoing: list[bytes] = []

    def reorder(self, download: Mapping[str, int], upload: Mapping[str, int]) -> None:
        """Give the categories other ranks for the run that begins; the peer does the same with its own.

        Raises:
            LocalProtocolError: a run is going on.
        """
        if self.state not in {State.START, State.IDLE, State.CHECKING}:
            raise LocalProtocolError(f"the order cannot change in state {self.state}")
        self._ranks = {Side.UP: download, Side.DOWN: upload}

    # -- sending -----------------------------------------------------------------------------------------------

    def send(self, kind: Kind, **payload: Any) -> None:
        """Queue a frame: the fields of its kind in ``FIELDS``, without ``more``; a large paged one takes several.

        Raises:
            OrderViolation: it would break the download-first order; nothing was queued.
            LocalProtocolError: it is not legal in this state, or not what its kind requires; nothing was queued.
        """
        parts = list(pages(payload)) if kind in PAGED else [payload]
        try:
            frames = [encode_frame(number, kind, part) for number, part in enumerate(parts, self._sent + 1)]
        except FrameInvalid as error:
            raise LocalProtocolError(str(error)) from error
        problem = self._problem(self.side, kind, payload)
        if problem is not None:
            error_type = OrderViolation if problem.code == Fault.ORDER_VIOLATION else LocalProtocolError
            raise error_type(problem.message)
        waited = self._is_owed()
        self._sent += len(frames)
        self._outgoing += frames
        size = sum(map(len, frames))
        self.bytes_sent += size
        self._count(self.side, kind, payload, size)
        self._follow(self.side, kind, payload)
        if not waited:
            # The wait begins with this frame. When that is, the next `tick` says: this method is told no time.
            self._since = None

    def send_data(self, **payload: Any) -> int:
        """Queue a data frame (``doc, update, final, cut, records``); return the number that the peer acknowledges.

        Raises:
            OrderViolation: its category may not come now.
            LocalProtocolError: as ``send``; or the window is full, see ``can_send``.
        """
        number = self._windows[self.side].following
        self.send(Kind.DATA, n=number, **payload)
        return number

    def can_send(self) -> bool:
        """Tell whether the window of unacknowledged data has room."""
        return self._windows[self.side].has_room()

    @property
    def in_flight(self) -> int:
        """Number of data frames that the peer has not acknowledged."""
        return len(self._windows[self.side])

    def refuse(self, code: str, message: str, *, terminal: bool | None = None) -> None:
        """Queue a refusal and close the conversation; ``terminal`` is what ``REFUSALS`` says unless it is given."""
        if self.state is State.CLOSED:
            return
        known = REFUSALS.get(code)
        if terminal is None:
            terminal = known is not None and known.terminal
        self.send(Kind.REFUSE, code=code, message=_printable(message), terminal=terminal)

    def bye(self, reason: str) -> None:
        """Queue a farewell and close the conversation: this end goes away and may come back."""
        if self.state is not State.CLOSED:
            self.send(Kind.BYE, reason=_printable(reason))

    def take_outgoing(self) -> list[bytes]:
        """Return the queued frames, to be sent in this order, and empty the queue."""
        frames, self._outgoing = self._outgoing, []
        return frames

    # -- receiving ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take one frame from the peer. Whatever the bytes are, the answer is events, never an exception."""
        if self.state is State.CLOSED:
            return []
        self._now = now
        self.bytes_received += len(data)
        try:
            number, kind, payload = decode_frame(data)
            if number <= self._got:
                self.duplicates += 1
                return []
            if number != self._got + 1:
                return [self._break("gap", f"frame {self._got + 1} is missing, {number} arrived")]
            self._got = number
            if kind not in _ASIDE:
                self._since = now
            return self._hear(kind, payload, len(data))
        except IncompatibleVersion as error:
            return [self._break("incompatible_version", str(error))]
        except FrameCorrupt as error:
            return [self._break("corrupt", str(error))]
        except FrameInvalid as error:
            return [self._break("invalid", str(error))]

    def _hear(self, kind: Kind, page: Payload, size: int) -> list[Event]:
        problem = self._problem(self.peer, kind, page)
        if problem is not None:
            return [self._break(problem.code, problem.message)]
        self._count(self.peer, kind, page, size)
        payload = self._pages.add(page) if kind in PAGED else page
        if payload is None:
            return []
        self._follow(self.peer, kind, payload)
        if kind is Kind.REFUSE:
            return [Broken(payload["code"], payload["message"], payload["terminal"])]
        if kind is Kind.BYE:
            return [Broken("bye", payload["reason"])]
        return [Received(kind, payload)]

    # -- time --------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """Return when ``tick`` is due, or None when the peer owes nothing. It may be in the past: tick at once."""
        if self.state is State.CLOSED or not self._is_owed():
            return None
        return self._now if self._since is None else self._since + self._patience()

    def tick(self, now: float) -> list[Event]:
        """Tell the session the time; a peer that owes a word for too long breaks the conversation."""
        self._now = now
        if self.state is State.CLOSED or not self._is_owed():
            return []
        if self._since is None:
            self._since = now
        if now < self._since + self._patience():  # the very sum that `deadline` gave out
            return []
        return [self._break("timeout", f"nothing heard for {self._patience():g} s in state {self.state}")]

    def _patience(self) -> float:
        # A challenge goes one way; the greeting that answers it comes after a way there and back.
        ways = {State.START: 1, State.CHALLENGED: 2}.get(self.state)
        return limits.ANSWER_SECONDS_MAX if ways is None else ways * limits.HELLO_SECONDS_MAX

    def _is_owed(self) -> bool:
        """Whether the peer is to speak. While this end owes an acknowledgement, the peer may be waiting for it."""
        if self._windows[self.side]:
            return True
        return waits_for(self.state) is self.peer and not self._windows[self.peer]

    # -- the same for both speakers ----------------------------------------------------------------------------

    def _problem(self, speaker: Side, kind: Kind, payload: Payload) -> _Problem | None:
        """Say why ``speaker`` may not say this now; None when it may. Changes nothing."""
        following = TABLE[self.state, (speaker, kind)]
        if isinstance(following, Fault):
            return _Problem(following.value, f"{speaker} may not say {kind} in state {self.state}")
        leaving = kind in {Kind.REFUSE, Kind.BYE}
        if speaker is self.peer and self._pages.open and kind not in PAGED and not leaving:
            return _Problem(Fault.UNEXPECTED.value, f"{speaker} said {kind} between two pages")
        if kind is Kind.ACK and not self._windows[speaker.other].covers(payload["n"]):
            return _Problem(
                "invalid", f"{speaker} acknowledged data number {payload['n']}, which is not in flight"
            )
        if kind is Kind.DATA and not self._windows[speaker].has_room():
            return _Problem("overrun", f"{speaker} sent data with the window full")
        if kind is Kind.DATA and payload["n"] != self._windows[speaker].following:
            return _Problem("invalid", f"{speaker} sent data number {payload['n']} out of turn")
        disorder = self._disorder(speaker, kind, payload)
        return _Problem(Fault.ORDER_VIOLATION.value, disorder) if disorder else None

    def _disorder(self, speaker: Side, kind: Kind, payload: Payload) -> str | None:
        course = self._courses[speaker]
        if kind is Kind.DATA:
            return course.problem(_category(payload["doc"]), payload["doc"])
        if kind is Kind.DONE:
            return course.problem(payload["category"])
        if kind in {Kind.FENCE, Kind.END}:
            return course.unfinished()
        if kind in {Kind.PLAN, Kind.FENCED}:
            unknown = Course(self._ranks[speaker], payload["counts"]).unknown
            return f"{unknown[0]} is not in the agreed order" if unknown else None
        return None

    def _follow(self, speaker: Side, kind: Kind, payload: Payload) -> None:
        """Take the step that ``_problem`` allowed."""
        if kind is Kind.DATA:
            self._courses[speaker].data(_category(payload["doc"]), payload["doc"], final=payload["final"])
            self._windows[speaker].add(len(payload["update"]))
        elif kind is Kind.DONE:
            self._courses[speaker].done(payload["category"])
        elif kind is Kind.ACK:
            self._windows[speaker.other].acknowledge(payload["n"])
        elif kind in {Kind.PLAN, Kind.FENCED}:
            self._courses[speaker] = Course(self._ranks[speaker], payload["counts"])
        following = TABLE[self.state, (speaker, kind)]
        assert isinstance(following, State)
        self.state = following

    def _count(self, speaker: Side, kind: Kind, payload: Payload, size: int) -> None:
        category = ""
        if kind is Kind.DATA:
            category = _category(payload["doc"])
        elif kind is Kind.DONE:
            category = payload["category"]
        self.traffic[speaker, self.state, category] += size

    def _break(self, code: str, message: str) -> Broken:
        self.refuse(code, message)
        return Broken(code, message, REFUSALS[code].terminal)


def _category(doc: str) -> str:
    return doc.partition("/")[0]


def _printable(message: str) -> str:
    return "".join(c if c.isprintable() else " " for c in message)[: limits.MESSAGE_CHARS_MAX]
