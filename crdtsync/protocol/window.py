"""The window: data frames said and not yet acknowledged, in one direction. Both ends keep the same count."""

from __future__ import annotations

from collections import deque

from crdtsync import limits


class Window:
    """Counts frames and bytes in flight. Frames are numbered from 1; an acknowledgement covers all up to its number."""

    def __init__(self) -> None:
        self._flying: deque[int] = deque()
        self._bytes = 0
        self._acked = 0

    def __len__(self) -> int:
        return len(self._flying)

    @property
    def following(self) -> int:
        """Number of the next frame."""
        return self._acked + len(self._flying) + 1

    def has_room(self) -> bool:
        """Tell whether one more frame may fly."""
        return len(self._flying) < limits.WINDOW_FRAMES_MAX and self._bytes < limits.WINDOW_BYTES_MAX

    def covers(self, number: int) -> bool:
        """Tell whether an acknowledgement of this number is news about a frame in flight."""
        return self._acked < number < self.following

    def add(self, size: int) -> None:
        """Note the next frame, of ``size`` update bytes."""
        self._flying.append(size)
        self._bytes += size

    def acknowledge(self, number: int) -> None:
        """Note that every frame up to ``number`` arrived."""
        while self._acked < number:
            self._acked += 1
            self._bytes -= self._flying.popleft()
