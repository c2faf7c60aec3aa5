"""B0: what the parts underneath take alone, measured in the same run: the limit beside each figure of the suite."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import closing
from pathlib import Path
from time import perf_counter

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.store import commit_bare, open_bare

_MESSAGE = bytes(200)


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def _echoes(count: int) -> list[float]:
    times: list[float] = []
    async with serve(_echo, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as connection:
            for _ in range(count):
                begun = perf_counter()
                await connection.send(_MESSAGE)
                await connection.recv()
                times.append(perf_counter() - begun)
    return times


def echoes(count: int) -> list[float]:
    """Return the seconds of websocket round trips of 200 bytes, both ends in this process."""
    return asyncio.run(_echoes(count))


def commits(count: int) -> list[float]:
    """Return the seconds of SQLite commits of one row, synced."""
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        connection, upsert = open_bare(Path(folder) / "bare.db")
        with closing(connection):
            for number in range(count):
                begun = perf_counter()
                commit_bare(connection, upsert, number)
                times.append(perf_counter() - begun)
    return times
