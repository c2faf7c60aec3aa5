"""The nonce that tells a store from an older copy of itself, kept outside the store file.

The store holds one value, the file beside it two: the one that the store has and the one that it is about to take.
Every opening and every clean close takes a new one, the file first. So a crash in between leaves a store that the file
knows, and a store put back from a backup, or copied to another folder, holds a value that the file does not know.
Nothing here opens a store or decides what a restored one does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from crdtsync.errors import StoreUnavailable
from crdtsync.identity.private import write_private
from crdtsync.said import say
from crdtsync.storage.base import Commit

if TYPE_CHECKING:
    from pathlib import Path

    from crdtsync.storage.base import Storage

INCARNATION_NAME = "incarnation"
NONCE_BYTES = 16
NONCE_META = "nonce"
"""Where a store holds its value; a backup does without, so that no node takes it for the store that wrote last."""


class NoncePlace(Protocol):
    """Where the values are kept that a copy of the store does not take along."""

    def read(self) -> frozenset[bytes]:
        """Return the values that the store may hold; empty when nothing legible is kept.

        Raises:
            StoreUnavailable: something is kept, and cannot be read.
        """

    def write(self, current: bytes, following: bytes) -> None:
        """Keep the value that the store holds and the one that it is about to take; durable on return.

        Raises:
            StoreUnavailable: the disk refused; what was kept is as it was.
        """


class NonceFile:
    """A small text file: two lines of hexadecimal digits."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> frozenset[bytes]:
        """See NoncePlace.read."""
        try:
            lines = self.path.read_text(encoding="ascii").split()
            values = [bytes.fromhex(line) for line in lines]
        except (FileNotFoundError, ValueError):
            # A missing or illegible file proves nothing about the store, and a new incarnation is always safe.
            return frozenset()
        except OSError as error:
            # Not so a file of another user: each start would take a new incarnation, and a device may have only so many.
            raise StoreUnavailable(
                str(self.path),
                say("the file is there and cannot be read ({reason})", reason=error.strerror or error),
                say(
                    "run this as the user who runs the node; `crdtsync doctor` names the files that belong to "
                    "another user"
                ),
            ) from error
        whole = len(values) == 2 and all(len(value) == NONCE_BYTES for value in values)
        return frozenset(values) if whole else frozenset()

    def write(self, current: bytes, following: bytes) -> None:
        """See NoncePlace.write. The file is replaced whole, so that a power cut leaves the old one or the new one."""
        try:
            write_private(self.path, f"{current.hex()}\n{following.hex()}\n")
        except OSError as error:
            raise StoreUnavailable(str(self.path), error.strerror or str(error)) from error


class NonceMemory:
    """The in-memory twin."""

    def __init__(self, values: frozenset[bytes] = frozenset()) -> None:
        self.values = values

    def read(self) -> frozenset[bytes]:
        """See NoncePlace.read."""
        return self.values

    def write(self, current: bytes, following: bytes) -> None:
        """See NoncePlace.write."""
        self.values = frozenset((current, following))


async def why_restored(place: NoncePlace, storage: Storage) -> str | None:
    """Say why an existing store is taken for a restored or cloned one; None when it is the one that wrote last.

    Raises:
        StoreUnavailable: it cannot be told.
    """
    stored = await storage.read(lambda view: view.meta(NONCE_META))
    known = place.read()
    if not known:
        return "the file of its incarnation is missing or illegible"
    if stored not in known:
        return "it is older than the file of its incarnation says"
    return None


async def renew(place: NoncePlace, storage: Storage, fresh: bytes) -> None:
    """Let the store take a new value.

    Raises:
        StoreUnavailable: the disk refused; the store is still known as the one that wrote last.
    """
    stored = await storage.read(lambda view: view.meta(NONCE_META))
    place.write(stored or fresh, fresh)
    await storage.commit(Commit(meta={NONCE_META: fresh}))
