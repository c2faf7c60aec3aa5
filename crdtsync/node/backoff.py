"""How long to wait before a link is tried again: full jitter, and two kinds of trouble.

Trouble that passes (``crashing``) is tried again after a random part of a doubling ceiling, so that many nodes do not
come back at one moment (Brooker, *Exponential Backoff and Jitter*, 2015). Trouble that a person must end (``failed``)
is not tried again. Nothing here waits or connects.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from crdtsync import limits

if TYPE_CHECKING:
    from random import Random

_DOUBLINGS_MAX = 32


class Health(StrEnum):
    """How a link is."""

    OK = "ok"
    CRASHING = "crashing"
    FAILED = "failed"


class Backoff:
    """The health of one link. ``code`` and ``detail`` say what the last trouble was."""

    def __init__(self, dice: Random) -> None:
        self.health = Health.OK
        self.code: str | None = None
        self.detail: str | None = None
        self._dice = dice
        self._attempts = 0

    def connected(self) -> None:
        """The link is up; whether it works is not known yet, so the next wait is not shortened."""
        if self.health is Health.CRASHING:
            self.health, self.code, self.detail = Health.OK, None, None

    def worked(self) -> None:
        """A check or a run was complete: the next trouble begins with a short wait."""
        self._attempts = 0

    def broke(self, code: str, detail: str, *, terminal: bool) -> float | None:
        """Note a trouble; return the seconds until the next attempt, None when there is to be none."""
        self.code, self.detail = code, detail
        if terminal:
            self.health = Health.FAILED
            return None
        self.health = Health.CRASHING
        doubled = limits.RECONNECT_SECONDS_MIN * 2 ** min(self._attempts, _DOUBLINGS_MAX)
        self._attempts += 1
        return self._dice.uniform(0, min(limits.RECONNECT_SECONDS_MAX, doubled))

    def resume(self) -> None:
        """A person acted: try again at once, whatever went wrong."""
        self.health, self.code, self.detail = Health.OK, None, None
        self._attempts = 0
