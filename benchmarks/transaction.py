"""A local transaction of one record, from the caller's code to the disk.

What the disk takes to flush is in both sides of the ratio, so it is measured too: where it is next to nothing, the ratio is one
of processor time alone.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from contextlib import AsyncExitStack, closing
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import aiosqlite

from adapters.products import Product
from benchmarks.catalogue import SCHEMA, SHAPE
from benchmarks.measure import Figure, Sizes
from benchmarks.store import commit_bare, open_bare
from crdtsync.node import Node, NodeConfig
from crdtsync.schema import Role

TARGET = 2.5
_PAGES = bytes(2 * 4096)


class _Times(NamedTuple):
    """Seconds of each of the things that are done in turns."""

    created: list[float]
    edited: list[float]
    bare: list[float]
    through: list[float]
    flushed: list[float]


async def _samples(count: int) -> _Times:
    """Return the seconds of creations, edits, bare commits here and through aiosqlite, and flushes of a few pages."""
    times = _Times([], [], [], [], [])
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = stack.enter_context((folder / "flush").open("wb", buffering=0))
        connection, upsert = open_bare(folder / "bare.db")
        stack.enter_context(closing(connection))
        open_bare(folder / "through.db")[0].close()
        through = await stack.enter_async_context(
            aiosqlite.connect(folder / "through.db", isolation_level=None)
        )
        await through.execute("PRAGMA synchronous = FULL")
        node = await stack.enter_async_context(Node(NodeConfig(folder, "gestao", Role.GESTAO), schema=SCHEMA))
        for number in range(count):
            key = f"p{number}"
            begun = perf_counter()
            async with node.transaction() as tx:
                tx.create(Product, id=key, name=f"ARROZ {number}", price=Decimal("9.90"))
            times.created.append(perf_counter() - begun)
            begun = perf_counter()
            async with node.transaction() as tx:
                record = await tx.get(Product, key)
                record.price = Decimal("8.50")
            times.edited.append(perf_counter() - begun)
            row = ("products", key, f"ARROZ {number}", *(None,) * (len(SHAPE.fields) - 1), 0, None)
            begun = perf_counter()
            commit_bare(connection, upsert, number)
            times.bare.append(perf_counter() - begun)
            begun = perf_counter()
            await through.execute("BEGIN IMMEDIATE")
            await through.execute(upsert, row)
            await through.commit()
            times.through.append(perf_counter() - begun)
            file.seek(0)
            file.write(_PAGES)
            begun = perf_counter()
            os.fsync(file.fileno())
            times.flushed.append(perf_counter() - begun)
    return times


def measure(sizes: Sizes) -> list[Figure]:
    """Return the creation of a record, by medians and where the disk was calm; an edit is in the details."""
    times = asyncio.run(_samples(sizes.transactions))
    name, against = "local transaction of one record", "bare SQLite upsert and commit with synchronous=FULL"
    medians = _Times(*([statistics.median(values)] for values in times))
    calm = _Times(*([sorted(values)[len(values) // 10]] for values in times))
    return [
        *_figures(name, f"{against}, medians", medians),
        *_figures(f"{name}, calm disk", f"{against}, 10th percentiles", calm),
    ]


def _figures(name: str, against: str, times: _Times) -> list[Figure]:
    (created,), (edited,), (bare,), (through,), (flushed,) = times
    details = {
        "created us": created * 1e6,
        "edited us": edited * 1e6,
        "bare us": bare * 1e6,
        "bare through aiosqlite us": through * 1e6,
        "edit ratio": edited / bare,
        "one flush of the disk us": flushed * 1e6,
    }
    return [
        Figure(name, created / bare, TARGET, "x", against, details),
        Figure(f"{name}, both through aiosqlite", created / through, TARGET, "x", against),
    ]
