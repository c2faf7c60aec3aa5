"""An asyncio event loop in virtual time: waiting costs nothing, and the same program runs the same way every time.

When nothing is ready the clock jumps to the next timer; when there is no timer either, nothing can ever happen again
and `Deadlock` is raised. It never waits, opens a socket, starts a thread or reads the machine's clock.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

_TURNS_MAX = 100_000
"""Turns of the loop within one instant: more than any work of a simulation takes."""


class Deadlock(RuntimeError):  # noqa: N818 - named for what happened, as the errors of the package are
    """Everything waits for something that cannot come."""


class OutOfTime(RuntimeError):  # noqa: N818 - as above
    """The program did not end within the virtual time it was given."""


class _Jump:
    """Where the loop would wait for sockets: it moves the clock instead."""

    def __init__(self, seconds_max: float) -> None:
        self.now = 0.0
        self._seconds_max = seconds_max
        self._idle = 0

    def select(self, timeout: float | None) -> list[Any]:
        """Jump over the wait. Raises Deadlock, OutOfTime."""
        self._idle = self._idle + 1 if timeout == 0 else 0
        if self._idle > _TURNS_MAX:
            raise Deadlock(f"at {self.now:.3f} s tasks wake each other and no time passes")
        if timeout is None:
            raise Deadlock(f"at {self.now:.3f} s nothing is ready and no timer is set")
        self.now += max(timeout, 0.0)
        if self.now > self._seconds_max:
            raise OutOfTime(f"still running after {self._seconds_max:.0f} virtual seconds")
        return []

    def grant(self) -> None:
        """Give what is being cancelled the time to end."""
        self._idle, self._seconds_max = 0, math.inf

    def close(self) -> None:
        """Nothing is open."""


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module. `seconds_max` bounds the virtual time; `unhandled` collects what no task took care of."""

    def __init__(self, seconds_max: float = 1e9) -> None:
        super().__init__()
        self._selector = _Jump(seconds_max)
        # The loop fires what is due before now + resolution; with 0 a timer that is due now would never fire.
        self._clock_resolution = 1e-9
        self.unhandled: list[BaseException] = []
        self.set_exception_handler(self._note)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._selector.now

    def grant(self) -> None:
        """Lift the limits: what is cancelled at the end, however it got there, may take its time."""
        self._selector.grant()

    def _process_events(self, _events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """There is no other thread to wake the loop from."""

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.unhandled.append(error if isinstance(error, BaseException) else RuntimeError(context["message"]))


def run_virtual(main: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run to the end and close the loop; what is still running then is cancelled.

    Raises:
        Deadlock, OutOfTime: see there.
    """
    asyncio.set_event_loop(loop)
    task = loop.create_task(main)
    try:
        return loop.run_until_complete(task)
    finally:
        loop.grant()
        left = [other for other in asyncio.all_tasks(loop) if not other.done()]
        for other in left:
            other.cancel()
        try:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
