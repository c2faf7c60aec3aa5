"""B0: what the parts underneath take alone, measured in the same run: the limit beside each figure of the suite."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.store import commit_bare, open_bare, open_empty

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.workload import Sale

_MESSAGE = bytes(200)
_PIECE = bytes(32_768)
_TABLES = """
CREATE TABLE sales (id TEXT PRIMARY KEY, product INTEGER, quantity INTEGER, total INTEGER, at_ms INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE stock (product TEXT PRIMARY KEY, balance INTEGER) STRICT, WITHOUT ROWID;
"""
_SOLD = "INSERT INTO sales VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET total = excluded.total"
_TAKEN = (
    "INSERT INTO stock VALUES (?, ?) ON CONFLICT (product) DO UPDATE SET balance = balance + excluded.balance"
)


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


async def _carried(count: int) -> float:
    async with serve(_echo, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", compression=None) as connection:

            async def send() -> None:
                for _ in range(count):
                    await connection.send(_PIECE)

            begun = perf_counter()
            sending = asyncio.create_task(send())
            for _ in range(count):
                await connection.recv()
            await sending
            return perf_counter() - begun


def carried(size: int) -> float:
    """Return the seconds in which a websocket carries so many bytes, half of them there and, as an echo, half back."""
    return asyncio.run(_carried(max(1, round(size / 2 / len(_PIECE)))))


def stored(commits: Iterable[tuple[Sequence[Sale], Sequence[Sale]]]) -> float:
    """Return the seconds of SQLite commits, synced, each of the rows of some sales and of what some take from the stock."""
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder, closing(open_empty(Path(folder) / "bare.db")) as connection:
        connection.executescript(_TABLES)
        for sold, taken in commits:
            rows = [(sale.key, sale.product, sale.quantity, sale.total, sale.at_ms) for sale in sold]
            moves = [(str(sale.product), -sale.quantity) for sale in taken]
            begun = perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_SOLD, rows)
            connection.executemany(_TAKEN, moves)
            connection.execute("COMMIT")
            seconds += perf_counter() - begun
    return seconds
