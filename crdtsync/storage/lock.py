"""The lock that keeps a store to one program: ``<path>.lock`` beside the file."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from crdtsync.errors import StoreLocked, StoreUnavailable
from crdtsync.ownership import hand_over
from crdtsync.said import say


class StoreLock:
    """Held from `acquire` to `release`, by whichever thread; a context too."""

    def __init__(self, path: str) -> None:
        self.path = path
        # Taken and released by whichever thread runs the event loop.
        self._lock = FileLock(f"{path}.lock", thread_local=False)

    @property
    def exists(self) -> bool:
        """Whether the lock's file is there: without it nobody ever opened the store."""
        return Path(self._lock.lock_file).exists()

    def acquire(self) -> None:
        """Take the lock at once.

        Raises:
            StoreLocked: another process, or another lock in this one, has it.
            StoreUnavailable: the folder is missing or cannot be written.
        """
        folder = Path(self.path).absolute().parent
        if not folder.is_dir():
            # The lock would make the folder, and a mistyped path would become a new empty store.
            raise StoreUnavailable(self.path, say("there is no folder {folder}", folder=folder))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StoreLocked(self.path) from None
        except OSError as error:
            raise StoreUnavailable(self.path, error.strerror or str(error)) from error
        hand_over(Path(self._lock.lock_file))

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
