"""How many file descriptors this process has open and may have: each file and each connection takes one."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from crdtsync import limits

_OPEN = "/dev/fd"


def descriptors() -> tuple[int, int] | None:
    """Return how many are open and how many may be; None when the system does not say."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - Windows does not have it

    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        # Looking takes one itself.
        return sum(1 for _ in Path(_OPEN).iterdir()) - 1, most
    except OSError as error:
        return (most, most) if error.errno in {errno.EMFILE, errno.ENFILE} else None


def raise_limit() -> None:
    """Let this process have more where the system allows it: the usual 1,024 are fewer than a hub's connections take."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - Windows does not have it

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = limits.DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, limits.DESCRIPTORS_MAX)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
