"""A store that tells when a read or a commit trips over a damaged row, and whether the disk refuses.

It changes nothing of what the store does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

from crdtsync.errors import StoreCorrupt, StoreUnavailable
from crdtsync.said import said_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from crdtsync.storage.base import Commit, Storage, View

T = TypeVar("T")


class Refusal(NamedTuple):
    """What the disk refuses, and since when, ms since 1970."""

    why: str
    since_ms: int


class WatchedStorage:
    """`Storage` over another one; `tripped` is called with the error before the caller hears of it.

    ``refusal`` says that the disk refused, until a commit succeeds; ``refused`` is set meanwhile.
    """

    def __init__(
        self, storage: Storage, tripped: Callable[[StoreCorrupt], None], now_ms: Callable[[], int]
    ) -> None:
        self._storage = storage
        self._tripped = tripped
        self._now_ms = now_ms
        self.refusal: Refusal | None = None
        self.refused = asyncio.Event()

    def _refuse(self, error: StoreUnavailable) -> None:
        since_ms = self.refusal.since_ms if self.refusal is not None else self._now_ms()
        self.refusal = Refusal(said_of(error), since_ms)
        self.refused.set()

    async def open(self) -> None:
        """See Storage.open."""
        await self._storage.open()

    async def close(self) -> None:
        """See Storage.close."""
        await self._storage.close()

    async def commit(self, commit: Commit) -> int:
        """See Storage.commit."""
        try:
            last = await self._storage.commit(commit)
        except StoreCorrupt as error:
            self._tripped(error)
            raise
        except StoreUnavailable as error:
            self._refuse(error)
            raise
        self.refusal = None
        self.refused.clear()
        return last

    async def read(self, fn: Callable[[View], T]) -> T:
        """See Storage.read."""
        try:
            return await self._storage.read(fn)
        except StoreCorrupt as error:
            self._tripped(error)
            raise
        except StoreUnavailable as error:
            self._refuse(error)
            raise

    @property
    def checkpoint_due(self) -> bool:
        """See Storage.checkpoint_due."""
        return self._storage.checkpoint_due

    async def checkpoint(self) -> None:
        """See Storage.checkpoint."""
        await self._storage.checkpoint()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()
