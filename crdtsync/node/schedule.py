"""When a synchronization starts: pure functions of the time and of what is known of a link.

Intervals are measured with a clock that counts since the machine started, so setting the date moves none of them; only
the hours of the day look at the date. Nothing here waits, reads a clock or keeps a state. The rules in words are in
``docs/synchronization.md``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum

from crdtsync.said import say

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_DAY_MINUTES = 24 * 60
_HAIR_SECONDS = 1e-3


class Trigger(StrEnum):
    """Why a run started."""

    INITIAL = "initial"
    ROUTINE = "routine"
    MANUAL = "manual"
    RECONNECT = "reconnect"
    LIVE = "live"


class Reason(StrEnum):
    """Why a run does not start now."""

    NOTHING = "nothing"
    RUNNING = "running"
    COOLDOWN = "cooldown"
    PAUSED = "paused"
    PAUSED_ABOVE = "paused_above"
    HOURS = "hours"
    FAILED = "failed"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NO_UPSTREAM = "no_upstream"


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of every day, in minutes after midnight; one that ends before it begins goes over midnight."""

    begin: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Read ``"22:00-06:00"``. Raises ValueError."""
        found = _HOURS.fullmatch(text)
        if found is None:
            raise ValueError(say("{text} is not of the form 22:00-06:00", text=repr(text)))
        begin_hour, begin_minute, end_hour, end_minute = map(int, found.groups())
        if (begin_hour, begin_minute) == (end_hour, end_minute):
            raise ValueError(
                say("{text} begins when it ends; remove it to allow the whole day", text=repr(text))
            )
        return cls(begin_hour * 60 + begin_minute, end_hour * 60 + end_minute)

    def seconds_until(self, local: datetime) -> float:
        """Return how long it is until the hours begin; 0 within them."""
        minute = local.hour * 60 + local.minute
        after_begin = (minute - self.begin) % _DAY_MINUTES
        if after_begin < (self.end - self.begin) % _DAY_MINUTES:
            return 0.0
        # The local clock is asked, not added up: a day may have 23 or 25 hours.
        opening = local.replace(hour=self.begin // 60, minute=self.begin % 60, second=0, microsecond=0)
        if opening <= local:
            opening += timedelta(days=1)
        return opening.timestamp() - local.timestamp()


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decided.

    Attributes:
        check_seconds: time between two routine checks.
        cooldown_seconds: time after a completed manual run during which a person cannot start another.
        zone: the store's time zone.
        hours: when runs may start; None: always.
    """

    check_seconds: float
    cooldown_seconds: float
    zone: tzinfo
    hours: Hours | None = None

    def hours_wait(self, now: Now) -> float:
        """Return the seconds until runs may start; 0 when they may now."""
        if self.hours is None:
            return 0.0
        return self.hours.seconds_until(datetime.fromtimestamp(now.wall_ms / 1000, self.zone))


@dataclass(frozen=True, slots=True)
class Now:
    """The time: milliseconds since 1970 UTC, which a person may set, and seconds since the machine started."""

    wall_ms: int
    uptime: float


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of a link.

    Attributes:
        upstream: there is a node above.
        connected: it has said welcome.
        busy: a check or a run is going on.
        running: a run is going on: records move.
        initial_done: a run of this store was complete once.
        paused, failed: nothing starts until a person acts.
        asked: a person's press waits to be served.
        requested: a program asked for a check.
        changed: something changed, and one of the two ends is live.
        checked: uptime of this program's last check, None before the first of this connection.
        manual_ended: uptime at which the last manual run ended, maybe of an earlier start of the machine.
    """

    upstream: bool = True
    connected: bool = True
    busy: bool = False
    running: bool = False
    initial_done: bool = True
    paused: bool = False
    failed: bool = False
    asked: bool = False
    requested: bool = False
    changed: bool = False
    checked: float | None = None
    manual_ended: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Start a check with ``trigger`` now; or wait for ``seconds`` (None: for an event) because of ``reason``."""

    trigger: Trigger | None = None
    seconds: float | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a person's press is not served, and after how many seconds it could be (None: not known)."""

    reason: Reason
    seconds: float | None = None


def elapsed(uptime: float, since: float) -> float:
    """Return at least no more than the seconds that passed since an uptime was noted.

    A smaller uptime than the noted one is that of another start of the machine, which came later: it alone is certain.
    """
    return uptime - since if uptime >= since else uptime


def decide(policy: Policy, now: Now, situation: Situation) -> Decision:
    """Return what to do now."""
    blocked = _blocked(situation)
    if blocked is not None:
        return Decision(reason=blocked)
    if situation.busy:
        return Decision(reason=Reason.RUNNING)
    if not situation.connected:
        return Decision(reason=Reason.UNREACHABLE)
    due = 0.0
    if situation.checked is not None:
        due = policy.check_seconds - elapsed(now.uptime, situation.checked)
        # A timer may fire a hair early; waiting for the rest of it would be waiting for no time at all.
        due = due if due > _HAIR_SECONDS else 0.0
    if not situation.initial_done and (due == 0.0 or situation.asked or situation.requested):
        return Decision(Trigger.INITIAL)
    if situation.asked:
        return Decision(Trigger.MANUAL)
    closed = policy.hours_wait(now)
    if closed:
        return Decision(seconds=closed, reason=Reason.HOURS)
    if situation.checked is None:
        return Decision(Trigger.RECONNECT)
    if situation.changed:
        return Decision(Trigger.LIVE)
    if situation.requested or due == 0.0:
        return Decision(Trigger.ROUTINE)
    return Decision(seconds=due)


def press(policy: Policy, now: Now, situation: Situation) -> Refusal | None:
    """Return why *Sincronizar agora* is refused before heads are compared; None when they are to be compared."""
    blocked = _blocked(situation)
    if blocked is not None:
        return Refusal(blocked)
    if situation.running:
        return Refusal(Reason.RUNNING)
    left = cooldown_left(policy, now, situation)
    closed = policy.hours_wait(now) if situation.initial_done else 0.0
    if closed > left:
        return Refusal(Reason.HOURS, closed)
    return Refusal(Reason.COOLDOWN, left) if left else None


def cooldown_left(policy: Policy, now: Now, situation: Situation) -> float:
    """Return the seconds for which the last manual run still keeps a person from starting another."""
    if situation.manual_ended is None:
        return 0.0
    return max(0.0, policy.cooldown_seconds - elapsed(now.uptime, situation.manual_ended))


def _blocked(situation: Situation) -> Reason | None:
    if not situation.upstream:
        return Reason.NO_UPSTREAM
    if situation.failed:
        return Reason.FAILED
    return Reason.PAUSED if situation.paused else None
