"""A run as it goes: what was planned and what has moved, by category; and who is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crdtsync.node.schedule import Trigger

if TYPE_CHECKING:
    from crdtsync.node.link import Link


@dataclass(slots=True)
class Moved:
    """What a run moved of one category in one direction; ``total`` is what was planned."""

    records: int = 0
    total: int = 0
    bytes: int = 0
    seconds: float = 0.0

    @property
    def left(self) -> int:
        """Records planned and not moved yet."""
        return max(0, self.total - self.records)

    @property
    def percent(self) -> int:
        """Part done, 0 to 100: what was written after the plan does not count."""
        return 100 * min(self.records, self.total) // self.total if self.total else 100


@dataclass(slots=True)
class Run:
    """One synchronization. ``started`` and ``ended`` are seconds of the loop's clock; ``pressed``: a person asked for it."""

    started: float
    trigger: Trigger = Trigger.ROUTINE
    down: dict[str, Moved] = field(default_factory=dict)
    up: dict[str, Moved] = field(default_factory=dict)
    ended: float | None = None
    phase: str = "download"
    pressed: bool = False
    _shown: int = 0

    @property
    def planned(self) -> int:
        """Records planned in both directions."""
        return sum(part.total for part in (*self.down.values(), *self.up.values()))

    @property
    def bytes(self) -> int:
        """Bytes of updates in both directions."""
        return sum(part.bytes for part in (*self.down.values(), *self.up.values()))

    def percent(self) -> int:
        """Part done, 0 to 100. It never goes back, though the upload may grow when its turn comes."""
        parts = [*self.down.values(), *self.up.values()]
        total = sum(part.total for part in parts)
        done = sum(min(part.records, part.total) for part in parts)
        self._shown = max(self._shown, 100 * done // total if total else 0)
        return self._shown


class Observer:
    """What the owner of a link is told. By default nothing happens."""

    def meets(self, link: Link) -> tuple[str, str] | None:
        """The node below is who it says and may connect; answer the code and text of a refusal, or None to let it in."""

    def greeted(self, link: Link) -> None:
        """The two ends know each other; the lower one may check."""

    async def began(self, link: Link, run: Run) -> None:
        """The plan of a run is known; nothing has moved yet."""

    def moved(self, run: Run) -> None:
        """A piece moved."""

    async def ended(self, link: Link, run: Run | None) -> None:
        """A run is whole; None: the heads were equal and nothing had to move."""

    def poked(self) -> None:
        """The node above says that it has something new."""

    def asked(self, link: Link) -> None:
        """The node below asks this one to synchronize with the node above it."""

    def answered(self, answer: dict[str, Any]) -> None:
        """The node above answers what this one asked."""
