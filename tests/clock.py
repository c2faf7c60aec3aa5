"""A clock that a test moves, for one node and nobody else."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo

from crdtsync.node.clock import SystemClock


class Clock(SystemClock):
    """The machine's clock, `ahead` seconds further: what a test adds has passed for the node."""

    def __init__(self, zone: tzinfo = UTC, ahead: float = 0.0) -> None:
        super().__init__(zone)
        self.zone = zone
        self.ahead = ahead

    def now_ms(self) -> int:
        """See SystemClock.now_ms."""
        return super().now_ms() + round(self.ahead * 1000)

    def today(self) -> date:
        """See SystemClock.today."""
        return datetime.fromtimestamp(self.now_ms() / 1000, self.zone).date()

    def uptime(self) -> float:
        """See SystemClock.uptime."""
        return super().uptime() + self.ahead
