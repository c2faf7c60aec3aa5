"""What a program hears of the records of a category as they change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from crdtsync.schema import Entity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crdtsync.state.document import Change

E = TypeVar("E", bound=Entity)


class Following(AsyncIterator[E], Generic[E]):
    """The records of a category as they change, deleted ones included, from when it is made until it is ended or closed.

    What changed before the end is still given out.
    """

    def __init__(self, entity: type[E]) -> None:
        self._entity = entity
        # None stands for the end, and stays in the queue: whoever waits, or asks again, finds it.
        self._rows: asyncio.Queue[tuple[Any, ...] | None] = asyncio.Queue()
        self._ended = False

    def take(self, changes: Iterable[Change]) -> None:
        """Take what a commit changed."""
        if self._ended:
            return
        for change in changes:
            if change.category == self._entity.__category__:
                for row in change.rows:
                    self._rows.put_nowait(row)

    def end(self) -> None:
        """Say that no more will come."""
        if not self._ended:
            self._ended = True
            self._rows.put_nowait(None)

    async def aclose(self) -> None:
        """Give out no more; who waits is told the end."""
        self._ended = True
        while not self._rows.empty():
            self._rows.get_nowait()
        self._rows.put_nowait(None)

    async def __anext__(self) -> E:
        row = await self._rows.get()
        if row is None:
            self._rows.put_nowait(None)
            raise StopAsyncIteration
        return self._entity._load(row)
