"""Processes that tests and harnesses start, with the code under test on their path."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment and import path: what is started runs the code under test from any folder."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **more}


def started(
    arguments: Sequence[object], log: Path, environ: Mapping[str, str] | None = None
) -> tuple[subprocess.Popen[str], str]:
    """Start Python and wait for its first line; return the process and the line.

    Args:
        arguments: what follows `python`.
        log: what it says to standard error is added there: a pipe that nobody reads would stop it.
        environ: its environment; `environment()` by default.
    """
    with log.open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=dict(environ or environment()),
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        end(process)
        raise AssertionError(f"{arguments} ended before it was ready: {log.read_text(encoding='utf-8')}")
    return process, line


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process that may have ended already, and let go of its pipe."""
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def traces(log: str) -> list[str]:
    """Return the last line of each trace in a log: what was raised."""
    parts = log.split("Traceback (most recent call last):\n")[1:]
    last = [re.search(r"^\S.*", part, re.MULTILINE) for part in parts]
    return [line[0] for line in last if line is not None]
