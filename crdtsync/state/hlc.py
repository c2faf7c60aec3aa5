"""Hybrid logical clock (Kulkarni et al., 2014): stamps that follow real time and never run backwards.

A stamp is one integer: milliseconds since the epoch shifted left by 16 bits, plus a 16-bit counter that orders
events within one millisecond. The clock never reads the time itself: ``now_ms`` is an argument.
"""

from __future__ import annotations

from crdtsync import limits

COUNTER_BITS = 16
_COUNTER_MASK = (1 << COUNTER_BITS) - 1


def stamp_ms(stamp: int) -> int:
    """Return the milliseconds since the epoch that a stamp carries."""
    return stamp >> COUNTER_BITS


class HybridClock:
    """Issues stamps greater than every stamp issued or observed before.

    ``offset_ms`` is the measured distance from the upstream's clock; it is added to every reading. Only `correct` may
    take the clock back: sequences order one replica's writes and `seen` vectors those that know of each other, so a
    stamp decides between concurrent writes alone, and there a wrong one does more harm than a smaller one.
    """

    __slots__ = ("_last", "offset_ms")

    def __init__(self, last: int = 0, offset_ms: int = 0) -> None:
        self._last = last
        self.offset_ms = offset_ms

    @property
    def last(self) -> int:
        """The greatest stamp issued or observed."""
        return self._last

    def tick(self, now_ms: int) -> int:
        """Return a new stamp for an event at ``now_ms``."""
        self._last = max((now_ms + self.offset_ms) << COUNTER_BITS, self._last + 1)
        return self._last

    def latest(self, now_ms: int) -> int:
        """Return the greatest stamp that is not too far ahead; a greater one must not be observed."""
        return (now_ms + self.offset_ms + limits.CLOCK_DRIFT_MS_MAX) << COUNTER_BITS

    def correct(self, offset_ms: int, now_ms: int) -> None:
        """Take the offset that a greeting measured, and forget stamps that a clock far ahead issued."""
        self.offset_ms = offset_ms
        if self._last > self.latest(now_ms):
            self._last = (now_ms + offset_ms) << COUNTER_BITS

    def observe(self, stamp: int) -> None:
        """Take note of a stamp seen in a received batch; later ticks are greater."""
        self._last = max(self._last, stamp)
