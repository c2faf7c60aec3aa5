"""Waiting for what another process does: asked again until it is so, never for ever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_SECONDS_MAX = 40


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Ask until it is so, against a deadline."""
    deadline = time.monotonic() + STEP_SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, what
