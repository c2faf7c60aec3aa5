"""A local transaction of one record, from the caller's code to the disk."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from time import perf_counter

from adapters.products import Product
from benchmarks.catalogue import SCHEMA
from benchmarks.measure import Figure, Sizes
from benchmarks.store import open_bare
from crdtsync.node import Node, NodeConfig
from crdtsync.schema import Role

TARGET = 2.5


async def _samples(count: int) -> tuple[list[float], list[float], list[float]]:
    """Return seconds of `count` creations, edits and bare commits, taken in turns."""
    created: list[float] = []
    edited: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        connection, upsert = open_bare(Path(folder) / "bare.db")
        config = NodeConfig(Path(folder), "gestao", Role.GESTAO)
        with closing(connection):
            async with Node(config, schema=SCHEMA) as node:
                for number in range(count):
                    key = f"p{number}"
                    begun = perf_counter()
                    async with node.transaction() as tx:
                        tx.create(Product, id=key, name=f"ARROZ {number}", price=Decimal("9.90"))
                    created.append(perf_counter() - begun)
                    begun = perf_counter()
                    async with node.transaction() as tx:
                        record = await tx.get(Product, key)
                        record.price = Decimal("8.50")
                    edited.append(perf_counter() - begun)
                    row = ("products", key, f"ARROZ {number}", *(None,) * 12, 0, None)
                    begun = perf_counter()
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute(upsert, row)
                    connection.execute("COMMIT")
                    bare.append(perf_counter() - begun)
    return created, edited, bare


def measure(sizes: Sizes) -> list[Figure]:
    """Return the creation of a record; an edit, which reads it first, is in the details."""
    samples = asyncio.run(_samples(sizes.transactions))
    created, edited, bare = (statistics.median(times) for times in samples)
    calm = [sorted(times)[len(times) // 10] for times in samples]
    details = {
        "created us": created * 1e6,
        "edited us": edited * 1e6,
        "bare us": bare * 1e6,
        "edit ratio": edited / bare,
        "10th percentiles created, us": calm[0] * 1e6,
        "10th percentiles bare, us": calm[2] * 1e6,
        "ratio of the 10th percentiles": calm[0] / calm[2],
    }
    against = "bare SQLite upsert and commit with synchronous=FULL"
    return [Figure("local transaction of one record", created / bare, TARGET, "x", against, details)]
