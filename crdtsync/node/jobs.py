"""What waits for the ledger's single writer, and what goes first.

Local transactions go before remote work. While one is being made, remote work waits too, for the transaction would
wait for all of it when it is done; but none waits for longer than `limits.REMOTE_WAIT_SECONDS_MAX`. Where people write
without a pause it would have its turn no more often than that, and a link would never catch up: each time that its
patience runs out it has half as much, down to `limits.REMOTE_WAIT_SECONDS_MIN`, and twice as much when it finds a gap.
Then it also takes twice as long at a stretch as it waited: where several nodes write so, most of the work is the others'.
When that lasts for `limits.REMOTE_BEHIND_SECONDS` it is not enough, what waits grows, and a stretch is as long as a
person may be made to wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from crdtsync import limits
from crdtsync.pendencies.evaluate import LOCAL, Origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator

    from crdtsync.state.document import Change
    from crdtsync.storage.base import Commit, DueRow

_HAIR_SECONDS = 1e-4
T = TypeVar("T")


@dataclass(slots=True)
class Job:
    """One step of the writer.

    Attributes:
        prepare: computes the changes in memory and adds to the commit what is not in them.
        done: gets the changes when they are durable, or why they are not.
        origin: who wrote.
        due: rules to look at again in its commit.
        local: whether somebody at this node waits for it.
        alone: it shares its commit with no other.
        changes: what `prepare` returned.
    """

    prepare: Callable[[Commit], Awaitable[list[Change]]]
    done: asyncio.Future[list[Change]]
    origin: Origin = LOCAL
    due: list[DueRow] = field(default_factory=list)
    local: bool = True
    alone: bool = False
    changes: list[Change] = field(default_factory=list)


class Jobs:
    """See the module. One task takes the jobs out; `closed` says that no more will come."""

    def __init__(self) -> None:
        self.closed = False
        self._local: deque[Job] = deque()
        self._remote: deque[Job] = deque()
        self._turns: dict[object, float] = {}
        self._passed_over: float | None = None
        self._patience = limits.REMOTE_WAIT_SECONDS_MAX
        # How long the remote work that went last had waited, when it was for want of a gap.
        self._waited = 0.0
        self._gapless_since: float | None = None
        self._held = False
        self._stirred = asyncio.Event()

    def __bool__(self) -> bool:
        """Whether anything waits that may be taken."""
        return self._local_ready or bool(self._remote)

    @property
    def _local_ready(self) -> bool:
        return bool(self._local) and (self.closed or not self._held)

    @property
    def somebody_waits(self) -> bool:
        """Whether a local transaction waits or is being made."""
        return bool(self._local or self._turns)

    @property
    def _turns_until(self) -> float:
        """Until when the local transactions that are being made go first."""
        return max(self._turns.values(), default=0.0)

    async def beside(self, steps: Iterator[T]) -> AsyncIterator[T]:
        """Take steps beside the writer, a little at a time: nobody waits for all of them."""
        began = _now()
        for step in steps:
            yield step
            if _now() - began > limits.SLICE_SECONDS:
                await self._stand_aside()
                began = _now()

    async def in_turn(self, steps: Generator[None, None, T], *, gives_way: bool) -> T | None:
        """Take the steps of one job in the writer's turn, and let the rest of the program run between them.

        Returns:
            What the steps return; None when they gave way to a local transaction, as if they had not begun.
        """
        began = _now()
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            if _now() - began > limits.SLICE_SECONDS:
                await asyncio.sleep(0)
                # Not for a transaction that stays open.
                if gives_way and (self._local or _now() < self._turns_until):
                    steps.close()
                    return None
                began = _now()

    async def _stand_aside(self) -> None:
        """Let others run; while a local transaction is being made or written, wait for it, but not for long."""
        until = _now() + limits.LOCAL_TURN_SECONDS_MAX
        await asyncio.sleep(0)
        while self.somebody_waits and _now() < until:  # noqa: ASYNC110 - a turn that has become too long ends with no event
            await asyncio.sleep(limits.SLICE_SECONDS)

    def put(self, job: Job) -> None:
        """Let a job wait."""
        (self._local if job.local else self._remote).append(job)
        self._stirred.set()

    def close(self) -> None:
        """Nothing more is put in."""
        self.closed = True
        self._stirred.set()

    def begin_turn(self, whose: object) -> None:
        """A local transaction begins; it goes first if it does not take long."""
        self._turns[whose] = _now() + limits.LOCAL_TURN_SECONDS_MAX

    def end_turn(self, whose: object) -> None:
        """It is over."""
        del self._turns[whose]
        if not self._turns:
            self._stirred.set()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let local transactions wait, while remote work goes on."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._stirred.set()

    async def stirred(self) -> None:
        """Wait until a job comes, or the end."""
        self._stirred.clear()
        await self._stirred.wait()

    async def give_way(self) -> None:
        """Let remote work wait while a local transaction is being made.

        A transaction that stays open does not hold it up for long, and neither do many short ones.
        """
        while self._remote and not self._local_ready and not self.closed and not self._overdue():
            until = min(self._turns_until, self._due())
            if until - _now() < _HAIR_SECONDS:
                return
            # Not wait_for: in Python 3.11 it forgets a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until - _now()):
                    await self.stirred()

    def local_next(self) -> bool:
        """Tell whether a local transaction is to begin the next group."""
        return self._local_ready and not self._overdue()

    def take(self, *, local: bool, first: bool) -> Job | None:
        """Return the next job of a group, or None when the group is whole.

        Args:
            local: the group is one of local transactions, as many as wait; else it has one job.
            first: nothing is in the group yet.
        """
        if self._local_ready and (local or not self._remote):
            return None if self._local[0].alone and not first else self._local.popleft()
        if not self._remote or not first:
            return None
        gapless = self._overdue()
        if not gapless:
            self._gapless_since = None
        elif self._gapless_since is None:
            self._gapless_since = _now()
        at_its_least = self._patience <= limits.REMOTE_WAIT_SECONDS_MIN
        self._waited = _now() - self._waits_since() if gapless and at_its_least else 0.0
        patience = self._patience / 2 if gapless else self._patience * 2
        self._patience = min(limits.REMOTE_WAIT_SECONDS_MAX, max(limits.REMOTE_WAIT_SECONDS_MIN, patience))
        self._passed_over = None
        return self._remote.popleft()

    def stretch(self) -> float:
        """Return how long a stretch of remote work should take while people work, seconds."""
        since = self._gapless_since
        if since is not None and _now() - since > limits.REMOTE_BEHIND_SECONDS:
            return limits.LOCAL_TURN_SECONDS_MAX
        return min(limits.LOCAL_TURN_SECONDS_MAX, max(limits.REMOTE_SLICE_SECONDS, 2 * self._waited))

    def _due(self) -> float:
        """When the remote work that waits now goes before anything else."""
        return self._waits_since() + self._patience

    def _waits_since(self) -> float:
        """When the remote work that waits now was first passed over."""
        if self._passed_over is None:
            self._passed_over = _now()
        return self._passed_over

    def _overdue(self) -> bool:
        return bool(self._remote) and self._due() - _now() < _HAIR_SECONDS


def _now() -> float:
    return asyncio.get_running_loop().time()
