"""The control socket of a running node: one JSON line in, one out, on the loopback interface, with a token.

``control.json`` in the node's folder, readable by its owner only, says the port, the token and the process. The node greets, the
caller sends one request, the node answers and hangs up. A file without a node behind it (after a crash) counts as no
node (`caller.py`). It never runs a verb for a caller who has not shown the token.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from crdtsync import limits
from crdtsync.errors import ControlError, CrdtsyncError
from crdtsync.identity.private import write_private
from crdtsync.node.caller import CONTROL_NAME, GREETING, HOST, line_of
from crdtsync.node.verbs import BUILT_IN
from crdtsync.said import said_of, say, to_form

if TYPE_CHECKING:
    from crdtsync.node.node import Node

_TOKEN_BYTES = 32

Verb = Callable[[dict[str, Any]], Awaitable[Any]]
log = logging.getLogger("crdtsync")


def _refusal(text: str, **more: bool) -> dict[str, Any]:
    """An error as an answer: in English, and with what the caller needs to say it in another language."""
    answer: dict[str, Any] = {"error": str(text), **more}
    form = to_form(text)
    return answer if form is None else answer | {"said": form}


class ControlServer:
    """Answers verbs about one open node; ``verbs`` adds the host program's own, which return JSON-able values.

    ``stopped`` is set when a caller said stop, after that caller has the answer.
    """

    def __init__(self, node: Node, verbs: Mapping[str, Verb] | None = None) -> None:
        self.node = node
        self.stopped = asyncio.Event()
        self._path = node.config.folder / CONTROL_NAME
        self._token = secrets.token_hex(_TOKEN_BYTES)
        self._verbs: dict[str, Verb] = {name: partial(verb, node) for name, verb in BUILT_IN.items()}
        self._verbs |= verbs or {}
        self._verbs["stop"] = self._stop
        self._server: asyncio.Server | None = None
        self._waiting: set[asyncio.Task[Any]] = set()
        self._working: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Listen on a free port and write ``control.json``.

        Raises:
            ControlError: the file cannot be written.
        """
        self._server = await asyncio.start_server(self._serve, HOST, 0, limit=limits.CONTROL_LINE_BYTES_MAX)
        port = self._server.sockets[0].getsockname()[1]
        try:
            write_private(self._path, json.dumps({"port": port, "token": self._token, "pid": os.getpid()}))
        except OSError as error:
            self._server.close()
            raise ControlError(
                say(
                    "{path}: {reason}; check the folder's permissions", path=self._path, reason=error.strerror
                )
            ) from error

    async def close(self) -> None:
        """Stop listening, remove ``control.json``, finish and answer what was begun."""
        self._path.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, *self._working, return_exceptions=True)

    async def _stop(self, _args: dict[str, Any]) -> bool:
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            line = await self._request(task, reader, writer)
            if line is not None:
                self._working.add(task)
                verb, answer = await self._answer(line)
                writer.write(line_of(answer))
                await writer.drain()
                if verb == "stop":
                    self.stopped.set()
        except (OSError, TimeoutError, ValueError) as error:
            # The caller went away, dawdled, or sent more than a line may hold.
            log.info("control: a caller went away (%s: %s)", type(error).__name__, error)
        finally:
            self._working.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _request(
        self, task: asyncio.Task[Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        """Greet and read the request; None when there are too many callers or the node is closing."""
        if len(self._waiting) + len(self._working) >= limits.CONTROL_CALLERS_MAX:
            return None
        self._waiting.add(task)
        try:
            async with asyncio.timeout(limits.CONTROL_SECONDS_MAX):
                writer.write(GREETING)
                await writer.drain()
                return await reader.readline()
        except asyncio.CancelledError:
            # close() asks callers who have not said anything yet to go; the connection ends quietly.
            return None
        finally:
            self._waiting.discard(task)

    async def _answer(self, line: bytes) -> tuple[str, dict[str, Any]]:
        """Run what a request asks for; return the verb that ran (or nothing) and the answer."""
        try:
            request = json.loads(line)
            token, name, args = request["token"], request["verb"], request["args"]
        except (ValueError, KeyError, TypeError):
            return "", _refusal("a request is {token, verb, args}")
        if not secrets.compare_digest(str(token).encode(), self._token.encode()):
            return "", _refusal("the token is wrong", stranger=True)
        verb = self._verbs.get(name) if isinstance(name, str) and isinstance(args, dict) else None
        if verb is None:
            known = sorted(self._verbs)
            return "", _refusal(say("unknown verb {name}; there are {known}", name=repr(name), known=known))
        try:
            result = await verb(args)
            answer = {"result": {} if result is None else result}
            if len(line_of(answer)) > limits.CONTROL_LINE_BYTES_MAX:
                long = say("the answer to {name} is too long; ask for less at a time", name=name)
                answer = _refusal(long, usage=True)
        except CrdtsyncError as error:
            answer = _refusal(said_of(error), usage=error.usage)
        except Exception as error:
            # A host program's verb may raise anything: its caller is told, the node goes on.
            log.exception("control: %s failed", name)
            answer = _refusal(
                say(
                    "{name} failed ({kind}: {error}); see the node's log",
                    name=name,
                    kind=type(error).__name__,
                    error=error,
                )
            )
        return name, answer
