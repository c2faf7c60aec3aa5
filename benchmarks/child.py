"""A process of a benchmark that is asked by lines of JSON and answers each with one: both ends of it. It knows no nodes."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Self

from benchmarks.measure import status_bytes

_LINE_BYTES_MAX = 1 << 28
_ANSWER_SECONDS_MAX = 400
_END_SECONDS_MAX = 60


async def answer_lines(commands: object, ready: object) -> None:
    """In the process: say that it is ready, and call the method that each line names, until the lines end."""
    lines = asyncio.StreamReader(limit=_LINE_BYTES_MAX)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    _say(ready)
    while line := await lines.readline():
        asked = json.loads(line)
        _say(await getattr(commands, asked.pop("do"))(**asked))


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def usage() -> dict[str, float]:
    """Return this process's own processor seconds, memory now and its peak (bytes)."""
    return {
        "cpu": time.process_time(),
        "memory": float(status_bytes("VmRSS")),
        "peak": float(status_bytes("VmHWM")),
    }


class Child:
    """The process, as who started it sees it; `ready` is what it said first. Use as ``async with``."""

    def __init__(self, module: str, **said: Any) -> None:
        self._command = [sys.executable, "-m", module, json.dumps(said)]
        self._process: asyncio.subprocess.Process | None = None
        self.ready: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES_MAX,
        )
        self.ready = await self._answer()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _END_SECONDS_MAX)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def ask(self, do: str, /, **args: Any) -> Any:
        """Let it do something; return its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **args}).encode() + b"\n")
        await self._process.stdin.drain()
        return await self._answer()

    async def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(_ANSWER_SECONDS_MAX):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._command)} ended without an answer")
        return json.loads(line)
