"""Files that only their owner can read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from crdtsync.ownership import hand_over

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS = 0o077


def write_private(path: Path, data: str | bytes) -> None:
    """Write a file that only its owner can read; a reader sees all of it or none, also after a power cut."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())
    hand_over(fresh)
    fresh.replace(path)
    _keep_name(path)


def _keep_name(path: Path) -> None:
    """Make a file's new name durable. Windows does that by itself and cannot open a folder."""
    if os.name == "nt":
        return
    folder = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def others_can_read(path: Path) -> bool:
    """Tell whether other users can read a file. Windows keeps permissions elsewhere: there the folder is the user's own."""
    return os.name == "posix" and bool(path.stat().st_mode & _OTHERS)
