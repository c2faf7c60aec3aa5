"""The control socket of a running node: one JSON line in, one out, on the loopback interface, with a token.

``control.json`` in the node's folder, readable by its owner only, says the port and the token. A file without a node
behind it (after a crash) counts as no node.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from crdtsync import limits
from crdtsync.errors import ControlError, CrdtsyncError
from crdtsync.node.verbs import BUILT_IN

if TYPE_CHECKING:
    from pathlib import Path

    from crdtsync.node.node import Node

CONTROL_NAME = "control.json"

Verb = Callable[[dict[str, Any]], Awaitable[Any]]


class ControlServer:
    """Answers verbs about one open node; ``verbs`` adds the host program's own."""

    def __init__(self, node: Node, verbs: Mapping[str, Verb] | None = None) -> None:
        self.node = node
        self.stopped = asyncio.Event()
        self._path = node.config.folder / CONTROL_NAME
        self._token = secrets.token_hex(16)
        self._verbs: dict[str, Verb] = {}
        for name, verb in BUILT_IN.items():
            self._verbs[name] = lambda args, verb=verb: verb(node, args)  # type: ignore[misc]
        self._verbs |= verbs or {}
        self._verbs["stop"] = self._stop
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port and write ``control.json``."""
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, limit=limits.CONTROL_LINE_BYTES_MAX
        )
        port = self._server.sockets[0].getsockname()[1]
        self._path.unlink(missing_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"port": port, "token": self._token}, file)

    async def close(self) -> None:
        """Stop listening and remove ``control.json``."""
        self._path.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stop(self, _args: dict[str, Any]) -> bool:
        self.stopped.set()
        return True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            line = await reader.readline()
            writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            return  # the caller went away, or sent more than a line may hold
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            token, name, args = request["token"], request["verb"], request["args"]
        except (ValueError, KeyError, TypeError):
            return {"error": "a request is {token, verb, args}"}
        if not secrets.compare_digest(str(token), self._token):
            return {"error": "the token is wrong"}
        verb = self._verbs.get(name)
        if verb is None:
            return {"error": f"unknown verb {name!r}; there are {', '.join(sorted(self._verbs))}"}
        try:
            return {"result": await verb(args)}
        except CrdtsyncError as error:
            return {"error": str(error)}


async def call(folder: Path, verb: str, **args: Any) -> Any:
    """Ask the node that runs in a folder; return its answer, or None when no node runs there.

    Raises:
        ControlError: the node answered with an error.
    """
    try:
        where = json.loads((folder / CONTROL_NAME).read_text(encoding="utf-8"))
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", where["port"], limit=limits.CONTROL_LINE_BYTES_MAX
        )
    except (OSError, ValueError, KeyError):
        return None
    try:
        writer.write(json.dumps({"token": where["token"], "verb": verb, "args": args}).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
    except OSError:
        return None
    finally:
        writer.close()
    if not line:
        return None
    answer = json.loads(line)
    if "error" in answer:
        raise ControlError(f"{folder}: {answer['error']}")
    return answer["result"]
