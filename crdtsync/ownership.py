"""Whose the files in a node's folder are: what root makes there is given to the owner of the folder.

Root may look at a node, copy its store and put a backup back. The node itself runs as the owner of its folder, and could
open nothing that root made and kept.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROOT = 0


def hand_over(path: Path, folder: Path | None = None) -> None:
    """Give a file or folder that this process made to the owner of a node's folder, when the process is root.

    Where the file system cannot do that, it stays as it is, and `doctor` names it.

    Args:
        path: what was made.
        folder: the node's; what lies outside it is left alone. By default the folder that `path` lies in.
    """
    if os.name != "posix" or os.geteuid() != _ROOT:
        return
    inside = path.absolute().parent
    if folder is not None and not inside.resolve().is_relative_to(folder.resolve()):
        return
    with contextlib.suppress(OSError):
        owner, made = (folder or inside).stat(), path.lstat()
        # The owner of the folder may have put a link to a file of root's there, which must not become theirs.
        linked = not stat.S_ISDIR(made.st_mode) and made.st_nlink > 1
        if made.st_uid == _ROOT != owner.st_uid and not linked:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def of_another(folder: Path) -> Iterator[Path]:
    """Return what lies in a folder, at any depth, and belongs to another user than the folder itself."""
    if os.name != "posix":
        return
    owner = folder.stat().st_uid
    for path in sorted(folder.rglob("*")):
        # Files of a running node come and go.
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_uid != owner:
                yield path
