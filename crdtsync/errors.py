"""Every error crdtsync raises, in one tree; it never decides what to do about one.

    CrdtsyncError
    └── StorageError            what the store could not do
        ├── StoreClosed         a verb on a store that is not open
        ├── StoreLocked         somebody else has the store open
        ├── StoreTooNew         a newer version wrote the store
        ├── StoreMismatch       the tables and what is asked of them differ
        ├── StoreUnavailable    the disk refused
        └── StoreCorrupt        the file is damaged or is not a store
            └── JournalCorrupt  one row of the journal or one snapshot is damaged

Each carries its facts as attributes, and its message says what happened, where, and what to do. A pendency is never
an exception.
"""

# ruff: noqa: N818 - the names say what happened (StoreLocked, OrderViolation); a suffix would repeat the tree's root.

from __future__ import annotations


class CrdtsyncError(Exception):
    """The root of the tree: `except CrdtsyncError` catches everything crdtsync raises on purpose."""


class StorageError(CrdtsyncError):
    """What the store could not do. `path` is the store's file (":memory:" for the in-memory twin)."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


class StoreClosed(StorageError):
    """A verb on a store that was never opened, is closed, or crashed; or a view used after its callback."""

    def __init__(self, path: str) -> None:
        super().__init__(
            path, f"{path}: the store is not open; open it before the first verb and use none after close"
        )


class StoreLocked(StorageError):
    """Another process, or another storage object in this one, has the store open."""

    def __init__(self, path: str) -> None:
        super().__init__(
            path,
            f"{path}: another process has this store open; stop that process, or use the running node's verbs",
        )


class StoreTooNew(StorageError):
    """The store was written by a newer format than this version reads."""

    def __init__(self, path: str, found: int, supported: int) -> None:
        super().__init__(
            path,
            f"{path}: the store has format {found}, this version reads up to {supported}; install the crdtsync that "
            "wrote it or a newer one (nothing was changed)",
        )
        self.found = found
        self.supported = supported


class StoreMismatch(StorageError):
    """The tables and what is asked of them differ: an unknown name, a name taken, a column that changed its type."""


class StoreUnavailable(StorageError):
    """The disk refused: full, read-only, missing or failing. Nothing was written."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(
            path,
            f"{path}: the disk refused ({detail}); check that the folder exists, is writable and has free space",
        )
        self.detail = detail


class StoreCorrupt(StorageError):
    """The file is damaged or is not a crdtsync store."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(
            path,
            f"{path}: {detail}; move the file away and let the node synchronize again from its upstream, or restore a "
            "backup",
        )
        self.detail = detail


class JournalCorrupt(StoreCorrupt):
    """One journal row (its id in `row`), or the snapshot (`row` None), of one document fails its checksum."""

    def __init__(self, path: str, doc: str, row: int | None) -> None:
        what = "the snapshot" if row is None else f"journal row {row}"
        super().__init__(path, f"{what} of document {doc} fails its checksum")
        self.doc = doc
        self.row = row
