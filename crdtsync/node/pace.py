"""A bandwidth limit as a token bucket: how long to wait before so many bytes may go. It does not wait itself."""

from __future__ import annotations


class Pace:
    """At most ``bytes_per_second`` on the average; a second's worth may go at once."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._free_at = 0.0

    def wait(self, now: float, size: int) -> float:
        """Take note of ``size`` bytes; return the seconds to wait before they are sent. ``now`` never goes back."""
        start = max(self._free_at, now - 1.0)
        self._free_at = start + size / self._rate
        return max(0.0, self._free_at - now)
