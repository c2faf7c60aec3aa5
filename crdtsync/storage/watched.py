"""A store that tells when a read or a commit trips over a damaged row. It changes nothing of what the store does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeVar

from crdtsync.errors import StoreCorrupt

if TYPE_CHECKING:
    from collections.abc import Callable

    from crdtsync.storage.base import Commit, Storage, View

T = TypeVar("T")


class WatchedStorage:
    """`Storage` over another one; `tripped` is called with the error before the caller hears of it."""

    def __init__(self, storage: Storage, tripped: Callable[[StoreCorrupt], None]) -> None:
        self._storage = storage
        self._tripped = tripped

    async def open(self) -> None:
        """See Storage.open."""
        await self._storage.open()

    async def close(self) -> None:
        """See Storage.close."""
        await self._storage.close()

    async def commit(self, commit: Commit) -> int:
        """See Storage.commit."""
        try:
            return await self._storage.commit(commit)
        except StoreCorrupt as error:
            self._tripped(error)
            raise

    async def read(self, fn: Callable[[View], T]) -> T:
        """See Storage.read."""
        try:
            return await self._storage.read(fn)
        except StoreCorrupt as error:
            self._tripped(error)
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
