"""A node's folder that belongs to another user than root, who runs the tests: what a service has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

USER = GROUP = 65_534

as_root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root can give a file to another user"
)


def given(folder: Path) -> Path:
    """Give a folder with all that is in it to the service's user, as `chown -R` does."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, GROUP)
    return folder


def of_others(folder: Path) -> list[str]:
    """What in a folder does not belong to the service's user."""
    paths = [folder, *folder.rglob("*")]
    return [
        str(path.relative_to(folder))
        for path in paths
        if (path.lstat().st_uid, path.lstat().st_gid) != (USER, GROUP)
    ]
