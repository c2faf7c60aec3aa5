"""The course of one transfer: which category may come now. Both ends follow the same one and so agree.

Categories travel in the order of their ranks. One that was announced with records is finished (``done``) before a later
one begins; one that was passed does not come back; the pieces of a document are not mixed with another's. Nothing here
reads frames or keeps what they carry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Course:
    """The order of one direction of one run.

    ``ranks`` gives each category its place. ``announced`` are the records counted by the plan, or by ``fenced``.
    """

    def __init__(self, ranks: Mapping[str, int], announced: Mapping[str, int]) -> None:
        self._ranks = ranks
        self._pending = {name for name, count in announced.items() if count}
        self._reached = -1
        self._open: str | None = None
        self.unknown = sorted(self._pending - ranks.keys())

    def problem(self, category: str, doc: str | None = None) -> str | None:
        """Say why data of ``doc``, or the end of ``category`` when it is None, is out of order; None when it is not."""
        rank = self._ranks.get(category)
        if rank is None:
            return f"{category} is not in the agreed order"
        if self._open is not None and doc != self._open:
            return f"{doc or 'the end of ' + category} comes before the last piece of {self._open}"
        if rank < self._reached:
            return f"{category} comes after a category that depends on it"
        before = self._first_pending(rank)
        return f"{category} comes before {before}, which it waits for, is done" if before else None

    def unfinished(self) -> str | None:
        """Say why the transfer cannot end yet; None when it can."""
        if self._open is not None:
            return f"the transfer ends before the last piece of {self._open}"
        before = self._first_pending(len(self._ranks))
        return f"the transfer ends before {before} is done" if before else None

    def data(self, category: str, doc: str, *, final: bool) -> None:
        """Note a piece of a document."""
        self._reached = self._ranks[category]
        self._open = None if final else doc

    def done(self, category: str) -> None:
        """Note the end of a category."""
        self._reached = self._ranks[category] + 1
        self._pending.discard(category)

    def _first_pending(self, rank: int) -> str | None:
        earlier = [name for name in self._pending if self._ranks.get(name, rank) < rank]
        return min(earlier, key=lambda name: self._ranks[name], default=None)
