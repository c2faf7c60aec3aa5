"""The queue (*Próximas sincronizações*): what waits, how much of it, for what, and whose turn it is.

Counts come from heads, acknowledgements and the by-sequence index; no document is loaded and nothing is estimated. The
causes in words are in ``docs/synchronization.md``. Nothing here starts a run.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from crdtsync import limits
from crdtsync.errors import BadRequest
from crdtsync.node import schedule
from crdtsync.node.backoff import Health
from crdtsync.node.ending import in_words
from crdtsync.node.schedule import Reason, Trigger
from crdtsync.said import say, to_form
from crdtsync.schema import Role

if TYPE_CHECKING:
    from crdtsync.node.run import Moved
    from crdtsync.node.uplink import Uplink
    from crdtsync.storage.base import ChangeRow, View

Direction = Literal["download", "upload"]
DIRECTIONS: tuple[Direction, ...] = ("download", "upload")


class Cause(StrEnum):
    """Why a record or a category waits."""

    RUNNING = "running"
    SCHEDULE = "schedule"
    HOURS = "hours"
    LINK_DOWN = "link_down"
    CATEGORY = "category"
    PAUSED = "paused"
    PAUSED_ABOVE = "paused_above"
    FAILED = "failed"
    INCOMPATIBLE = "incompatible"
    TRANSACTION = "transaction"
    PARKED = "parked"
    QUARANTINE = "quarantine"
    STOPPED = "stopped"


class Turn(StrEnum):
    """Who is to act."""

    NODE = "node"
    UPSTREAM = "upstream"
    PERSON = "person"


_TURNS = {
    Cause.RUNNING: Turn.NODE,
    Cause.SCHEDULE: Turn.NODE,
    Cause.HOURS: Turn.NODE,
    Cause.LINK_DOWN: Turn.UPSTREAM,
    Cause.PAUSED: Turn.PERSON,
    Cause.PAUSED_ABOVE: Turn.UPSTREAM,
    Cause.FAILED: Turn.PERSON,
    Cause.INCOMPATIBLE: Turn.PERSON,
    Cause.TRANSACTION: Turn.UPSTREAM,
    Cause.PARKED: Turn.PERSON,
    Cause.QUARANTINE: Turn.PERSON,
    Cause.STOPPED: Turn.PERSON,
}


@dataclass(frozen=True, slots=True)
class Why:
    """What something waits for."""

    cause: Cause
    turn: Turn
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One category in one direction; see ``docs/synchronization.md`` for the fields."""

    category: str
    direction: Direction
    records: int
    why: Why
    when_ms: int | None
    moved: int | None = None
    total: int | None = None
    percent: int | None = None
    paused: bool = False
    since_ms: int | None = None
    as_of_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """One record that waits."""

    category: str
    direction: Direction
    doc: str
    key: str
    why: Why
    detail: str | None = None


class _Place(NamedTuple):
    """Where a waiting record stands: what arrived comes before what is to be sent."""

    phase: int
    rank: int
    doc: str
    key: str

    def __str__(self) -> str:
        return f"{self.phase} {self.doc} {self.key}"


class Agenda:
    """See the module."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink
        self._ledger = uplink.ledger
        self._schema = uplink.ledger.schema
        # The last list that was paged over, and the heads and acknowledgements that it was made of.
        self._listed: tuple[Any, list[_Place]] | None = None

    # -- the link as a whole -----------------------------------------------------------------------------------

    def link(self) -> dict[str, Any]:
        """Return how the link is."""
        uplink = self._uplink
        retry_ms = None
        if uplink.retry_at is not None:
            now = uplink.now()
            retry_ms = now.wall_ms + round(max(0.0, uplink.retry_at - now.uptime) * 1000)
        heard_ms = uplink.memory.heard.get("")
        if uplink.link is not None and uplink.link.greeted:
            heard_ms = uplink.link.heard_ms
        code, words = uplink.backoff.code, uplink.backoff.detail
        detail = None if code is None else in_words(code, words or "")
        return {
            "state": self._state(),
            "connected": uplink.connected,
            "code": code,
            "detail": detail,
            "said": None if detail is None else to_form(detail),
            "heard_ms": heard_ms,
            "retry_ms": retry_ms,
        }

    def _state(self) -> str:
        uplink = self._uplink
        if uplink.backoff.health is Health.FAILED:
            return Health.FAILED.value
        if uplink.memory.paused_ms is not None:
            return "paused"
        if uplink.config.upstream is None:
            return "none" if self._ledger.identity.role is Role.GESTAO else "stopped"
        if uplink.memory.paused_above_ms is not None:
            return "paused_above"
        return uplink.backoff.health.value

    def button(self) -> dict[str, Any]:
        """Return whether *Sincronizar agora* is available, and when it will be."""
        uplink = self._uplink
        now = uplink.now()
        refusal = schedule.press(uplink.policy, now, uplink.situation())
        if refusal is None:
            return {"available": True, "reason": None, "available_ms": None, "available_seconds": None}
        return {
            "available": False,
            "reason": refusal.reason.value,
            "available_ms": later_ms(now.wall_ms, refusal.seconds),
            "available_seconds": refusal.seconds,
        }

    def next_check(self) -> dict[str, Any]:
        """Return the trigger and the moment of the next check; the moment is None when something else decides it."""
        uplink = self._uplink
        decision = uplink.decision()
        trigger: Trigger | None = decision.trigger
        seconds = 0.0 if decision.trigger else decision.seconds
        if trigger is None and decision.reason is None:
            trigger = Trigger.ROUTINE
        return {
            "trigger": trigger.value if trigger else None,
            "at_ms": later_ms(uplink.now().wall_ms, seconds),
            "reason": decision.reason.value if decision.reason else None,
        }

    def running(self) -> dict[str, Any] | None:
        """Return the run that is going on."""
        run, row = self._uplink.run_now, self._uplink.history.row
        if run is None:
            return None
        return {
            "id": row.id if row is not None and row.id else None,
            "trigger": run.trigger.value,
            "started_ms": row.started_ms if row is not None else None,
            "phase": run.phase,
            "percent": run.percent(),
        }

    # -- by category -------------------------------------------------------------------------------------------

    async def entries(self) -> list[Entry]:
        """Return what waits, by category and direction, in the order in which it would go."""
        memory = self._uplink.memory
        to_send = await self._uplink.waiting()
        to_receive = {name: (count, as_of) for name, (count, as_of) in memory.to_receive.items()}
        pending = {name for name, count in to_send.items() if count} | to_receive.keys()
        when_ms = self.next_check()["at_ms"]
        found: list[Entry] = []
        for direction in DIRECTIONS:
            parts = self._parts(direction)
            for category in self._schema.order(direction, memory.first):
                part = parts.get(category)
                if direction == "upload":
                    records, as_of = to_send.get(category, 0), None
                else:
                    records, as_of = to_receive.get(category, (0, None))
                    if part is not None:
                        records = part.left
                paused = category in memory.paused
                if not records and part is None and not (paused and direction == self._own(category)):
                    continue
                why = self.why(category, direction, pending)
                found.append(
                    Entry(
                        category,
                        direction,
                        records,
                        why,
                        when_ms if why.cause in {Cause.SCHEDULE, Cause.HOURS, Cause.CATEGORY} else None,
                        part.records if part else None,
                        part.total if part else None,
                        part.percent if part else None,
                        paused,
                        memory.outbox_since.get(category) if direction == "upload" and records else None,
                        as_of,
                    )
                )
        return found

    def coming(self) -> list[str]:
        """Return the categories that are known to be still on their way here, in order; no store is read."""
        running = self._parts("download")
        known = {name for name, (count, _) in self._uplink.memory.to_receive.items() if count}
        found = (known - running.keys()) | {name for name, part in running.items() if part.left}
        return [name for name in self._schema.order("download", self._uplink.memory.first) if name in found]

    def _parts(self, direction: Direction) -> dict[str, Moved]:
        run = self._uplink.run_now
        if run is None:
            return {}
        return run.down if direction == "download" else run.up

    def _own(self, category: str) -> Direction:
        """The direction in which a paused category with nothing to move is shown."""
        writes = self._schema.shape(category).may_write(self._ledger.identity.role)
        return "upload" if writes else "download"

    def why(self, category: str, direction: Direction, pending: set[str]) -> Why:
        """Return what a category waits for; ``pending`` are the categories with something to move."""
        uplink = self._uplink
        if uplink.backoff.health is Health.FAILED:
            return _why(Cause.FAILED)
        if uplink.memory.paused_ms is not None or category in uplink.memory.paused:
            return _why(Cause.PAUSED)
        paused = [name for name in self._referred(category) if name in uplink.memory.paused]
        if paused:
            return Why(Cause.CATEGORY, Turn.PERSON, tuple(paused))
        if uplink.config.upstream is None:
            return _why(Cause.STOPPED)
        if uplink.memory.paused_above_ms is not None:
            return _why(Cause.PAUSED_ABOVE)
        if not uplink.connected:
            return _why(Cause.LINK_DOWN)
        if uplink.link is not None and category in uplink.link.incompatible:
            return _why(Cause.INCOMPATIBLE)
        before = [name for name in self._referred(category) if name in self._unfinished(direction, pending)]
        if before:
            comes = any(name in uplink.memory.to_receive for name in before)
            return Why(Cause.CATEGORY, Turn.UPSTREAM if comes else Turn.NODE, tuple(before))
        if category in self._parts(direction):
            return _why(Cause.RUNNING)
        decision = uplink.decision()
        return _why(Cause.HOURS if decision.reason is Reason.HOURS else Cause.SCHEDULE)

    def _referred(self, category: str) -> list[str]:
        """The categories that one refers to, directly or not, in the order in which they go."""
        found: set[str] = set()
        names = [category]
        while names:
            fresh = set(self._schema.dependencies(names.pop())) - found
            found |= fresh
            names += fresh
        return [name for name in self._schema.order("download") if name in found]

    def _unfinished(self, direction: Direction, pending: set[str]) -> set[str]:
        """Categories that have something to move before this direction's turn, or in it."""
        run = self._uplink.run_now
        if run is None:
            return pending
        unfinished = {name for name, part in run.down.items() if part.left}
        if direction == "upload":
            unfinished |= {name for name, part in run.up.items() if part.left}
        return unfinished

    # -- by record ---------------------------------------------------------------------------------------------

    async def records(
        self,
        *,
        category: str | None = None,
        direction: Direction | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[list[Waiting], str | None, int]:
        """Return a page of the waiting records, what to give as ``after`` for the next page, and how many there are.

        A page is right even when records came or went since the one before it.

        Raises:
            UnknownCategory: there is no such category.
            BadRequest: ``after`` is not what a page before gave out.
        """
        if category is not None:
            self._schema.shape(category)
        limit = max(1, min(limit, limits.PAGE_ROWS_MAX))
        to_send = await self._to_send() if direction != "download" else []
        arrived = await self._arrived() if direction != "upload" else []
        pending = self._uplink.lacking() | self._uplink.memory.to_receive.keys()
        places = [*(place for place, _, _ in arrived), *to_send]
        if category is not None:
            places = [place for place in places if place.doc.partition("/")[0] == category]
        begin = bisect_right(places, self._place(after)) if after is not None else 0
        page = places[begin : begin + limit]
        told = {place: (why, detail) for place, why, detail in arrived} if arrived else {}
        whys: dict[str, Why] = {}
        found: list[Waiting] = []
        for place in page:
            name = place.doc.partition("/")[0]
            if place in told:
                why, detail = told[place]
                found.append(Waiting(name, "download", place.doc, place.key, why, detail))
            else:
                if name not in whys:
                    whys[name] = self.why(name, "upload", pending)
                apart = self._ledger.quarantine.held.get(place.doc)
                why = whys[name] if apart is None else _why(Cause.QUARANTINE)
                found.append(Waiting(name, "upload", place.doc, place.key, why, apart and apart.why))
        following = str(page[-1]) if begin + len(page) < len(places) else None
        return found, following, len(places)

    def _rank(self, category: str) -> int:
        ranks = self._schema.order("upload", self._uplink.memory.first)
        return ranks.index(category) if category in ranks else len(ranks)

    def _place(self, after: str) -> _Place:
        phase, _, rest = after.partition(" ")
        doc, separator, key = rest.partition(" ")
        if phase not in {"0", "1"} or not separator:
            raise BadRequest(
                say(
                    "after = {after} is not what a page of the queue gave out; leave it out to begin again",
                    after=repr(after),
                )
            )
        return _Place(int(phase), self._rank(doc.partition("/")[0]), doc, key)

    async def _to_send(self) -> list[_Place]:
        """Every record to send, in the order in which they go; listed once for all its pages."""
        known, senders = self._uplink.known(), self._uplink.senders()
        behind: list[tuple[int, str, dict[int, int]]] = []
        for doc in self._ledger.heads:
            after = self._ledger.behind(doc, known.get(doc, {}), senders)
            if after:
                behind.append((self._rank(doc.partition("/")[0]), doc, after))
        behind.sort(key=lambda item: item[:2])
        made_of = [
            (
                rank,
                doc,
                sorted(after.items()),
                [self._ledger.heads[doc][replica].seq for replica in sorted(after)],
            )
            for rank, doc, after in behind
        ]
        if self._listed is None or self._listed[0] != made_of:
            found: list[_Place] = []
            for rank, doc, after in behind:
                found += [
                    _Place(1, rank, doc, key) for key in sorted(await self._ledger.changed_keys(doc, after))
                ]
            self._listed = (made_of, found)
        return self._listed[1]

    async def _arrived(self) -> list[tuple[_Place, Why, str | None]]:
        """Records that arrived and are not shown: parked, or waiting for the rest of their transaction."""
        hidden = {
            (doc, replica): head.visible
            for doc, heads in self._ledger.heads.items()
            if doc not in self._ledger.quarantine.held
            for replica, head in heads.items()
            if head.visible < head.seq
        }
        # What the owner of a log gave up does not wait.
        over = await self._ledger.over(hidden) if hidden else {}

        def read(view: View) -> list[tuple[_Place, Why, str | None]]:
            found: dict[_Place, tuple[Why, str | None]] = {}
            rows: list[tuple[ChangeRow, Why, str | None]] = [
                (row, _why(Cause.TRANSACTION), None)
                for (doc, replica), visible in hidden.items()
                for row in view.change_rows(doc, replica, visible, limits.SEQ_MAX)
                if row.seq <= over.get((doc, replica), row.seq)
            ]
            for bad in view.parked():
                change = view.change_rows(bad.doc, bad.replica, bad.seq - 1, 1)
                rows += [(row, _why(Cause.PARKED), bad.detail) for row in change if row.seq == bad.seq]
            for row, why, detail in rows:
                rank = self._rank(row.doc.partition("/")[0])
                found |= {_Place(0, rank, row.doc, key): (why, detail) for key in row.keys}
            return [(place, *found[place]) for place in sorted(found)]

        return await self._ledger.storage.read(read)


def later_ms(now_ms: int, seconds: float | None) -> int | None:
    """Return the moment so many seconds from now; None for None."""
    return None if seconds is None else now_ms + round(seconds * 1000)


def _why(cause: Cause) -> Why:
    return Why(cause, _TURNS[cause])
