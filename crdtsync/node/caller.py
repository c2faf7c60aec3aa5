"""Asking the node that runs in a folder, over its control socket (`control.py`).

It knows nothing of nodes: a program that only asks need not load what one is made of.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from crdtsync import limits
from crdtsync.errors import ControlError, NodeGone, NodeSilent
from crdtsync.said import from_form, say

if TYPE_CHECKING:
    from pathlib import Path

CONTROL_NAME = "control.json"
HOST = "127.0.0.1"


def line_of(value: object) -> bytes:
    """Return a value as one line of JSON."""
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


GREETING = line_of({"crdtsync": "control", "version": 1})


async def call(folder: Path, verb: str, /, **args: Any) -> Any:
    """Ask the node that runs in a folder; return its answer, or None when no node runs there and nothing was done.

    Raises:
        ControlError: the node answered with an error.
        NodeGone: it went away before it answered, and may have done what was asked.
    """
    found = _read(folder / CONTROL_NAME)
    if found is None:
        return None
    try:
        reader, writer = await _connected(found.port)
    except OSError:
        return None
    try:
        try:
            greeting = await asyncio.wait_for(reader.readline(), limits.CONTROL_SECONDS_MAX)
        except (OSError, TimeoutError, ValueError):
            greeting = b""
        if greeting != GREETING:
            # The node is closing, or the port of one that was killed belongs to another program. Nothing was sent.
            return None
        line = b""
        with contextlib.suppress(OSError):
            writer.write(line_of({"token": found.token, "verb": verb, "args": args}))
            await writer.drain()
            line = await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return _result(folder, verb, line)


async def silent(folder: Path) -> NodeSilent | None:
    """Tell whether a node takes connections, for who got no answer from `call` and found the store locked.

    Not for others: after a crash the port may be another program's. Returns what to raise then; None when nobody listens.
    """
    found = _read(folder / CONTROL_NAME)
    if found is None:
        return None
    try:
        _, writer = await _connected(found.port)
    except TimeoutError:
        # So many callers wait already that the system takes no more.
        pass
    except OSError:
        return None
    else:
        writer.close()
    return NodeSilent(str(folder), found.pid)


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises OSError; TimeoutError is one."""
    async with asyncio.timeout(limits.CONTROL_SECONDS_MAX):
        return await asyncio.open_connection(HOST, port, limit=limits.CONTROL_LINE_BYTES_MAX + 1)


def _result(folder: Path, verb: str, line: bytes) -> Any:
    if not line.endswith(b"\n"):
        # Not None: the caller would do it a second time.
        raise NodeGone(str(folder), verb)
    answer = json.loads(line)
    if answer.get("stranger"):
        # Another node has the port of one that was killed; it did nothing.
        return None
    if "error" in answer:
        raise ControlError(
            say(
                "{folder}: {problem}",
                folder=folder,
                problem=from_form(str(answer["error"]), answer.get("said")),
            ),
            usage=answer.get("usage", False),
        )
    return answer["result"]


class _Control(NamedTuple):
    """What ``control.json`` says; a node of an older version does not name its process."""

    port: int
    token: str
    pid: int | None


def _read(path: Path) -> _Control | None:
    """None when there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _Control(int(found["port"]), str(found["token"]), found.get("pid"))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    except OSError as error:
        raise ControlError(
            say("{path}: {reason}; run this as the user who runs the node", path=path, reason=error.strerror)
        ) from error
