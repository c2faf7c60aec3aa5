"""Where a node takes time and randomness from."""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime, tzinfo
from typing import Protocol


class Clock(Protocol):
    """Where time and randomness come from; the simulator brings its own."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""

    def today(self) -> date:
        """The store's calendar day."""

    def uptime(self) -> float:
        """Seconds since the machine started, or since any other moment that comes again only with a restart of it."""

    def random_bytes(self, size: int) -> bytes:
        """Bytes for a transaction id."""


class SystemClock:
    """The machine's clock and random source; days are those of a time zone."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self._zone = zone

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def today(self) -> date:
        """The calendar day in the store's time zone."""
        return datetime.now(self._zone).date()

    def uptime(self) -> float:
        """Seconds since the machine started; setting the clock does not move it."""
        return time.monotonic()

    def random_bytes(self, size: int) -> bytes:
        """Random bytes."""
        return os.urandom(size)
