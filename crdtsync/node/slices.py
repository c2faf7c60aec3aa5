"""How much of a peer's update is taken at a stretch: while people work at the node, no more than a moment's worth.

The size follows from how long the stretches before it took, so it fits the machine, its disk and the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crdtsync import limits
from crdtsync.state.update import read_update, split_update, write_update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHANGE_MAX = 2.0
"""A size is at most doubled or halved at a time: one slow write of the disk is no measure."""


class Slices:
    """See the module. ``now`` is a monotonic clock, seconds; ``stretch`` says how long one may take, seconds."""

    def __init__(self, now: Callable[[], float], stretch: Callable[[], float]) -> None:
        self._now = now
        self._stretch = stretch
        self._size = float(limits.CHUNK_BYTES_MAX)
        self._worked_at: float | None = None

    def note_local(self) -> None:
        """A person's transaction begins."""
        self._worked_at = self._now()

    @property
    def at_work(self) -> bool:
        """Whether people work here now."""
        return self._worked_at is not None and self._now() - self._worked_at < limits.AT_WORK_SECONDS

    def cut(self, update: bytes) -> Iterator[bytes]:
        """Yield the update in the pieces that are to be taken one after the other, each as large as is right by then.

        Raises:
            UpdateInvalid: not what this design writes; before the first piece.
        """
        if not self.at_work or len(update) <= self._size:
            yield update
            return
        empty = True
        for piece in split_update(read_update(update), lambda: self._size):
            empty = False
            yield write_update(piece.runs, piece.deleted)
        if empty:
            yield update

    def took(self, size: int, seconds: float) -> None:
        """Learn from a stretch of ``size`` bytes."""
        if not self.at_work or seconds <= 0 or size < self._size / _CHANGE_MAX:
            return
        change = min(_CHANGE_MAX, max(1 / _CHANGE_MAX, self._stretch() / seconds))
        wanted = self._size * change
        self._size = min(limits.CHUNK_BYTES_MAX, max(limits.REMOTE_SLICE_BYTES_MIN, wanted))
