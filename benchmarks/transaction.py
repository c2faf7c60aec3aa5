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
from benchmarks.catalogue import SCHEMA, SHAPE
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
                    row = ("products", key, f"ARROZ {number}", *(None,) * (len(SHAPE.fields) - 1), 0, None)
                    begun = perf_counter()
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute(upsert, row)
                    connection.execute("COMMIT")
                    bare.append(perf_counter() - begun)
    return created, edited, bare


def measure(sizes: Sizes) -> list[Figure]:
    """Return the creation of a record, by medians and where the disk was calm; an edit is in the details."""
    samples = [sorted(times) for times in asyncio.run(_samples(sizes.transactions))]
    created, edited, bare = (statistics.median(times) for times in samples)
    calm = [times[len(times) // 10] for times in samples]
    details = {
        "created us": created * 1e6,
        "edited us": edited * 1e6,
        "bare us": bare * 1e6,
        "edit ratio": edited / bare,
    }
    calm_details = {
        "created us": calm[0] * 1e6,
        "edited us": calm[1] * 1e6,
        "bare us": calm[2] * 1e6,
        "edit ratio": calm[1] / calm[2],
        "ratio of the minima": samples[0][0] / samples[2][0],
    }
    name = "local transaction of one record"
    against = "bare SQLite upsert and commit with synchronous=FULL"
    return [
        Figure(name, created / bare, TARGET, "x", f"{against}, medians", details),
        Figure(
            f"{name}, calm disk",
            calm[0] / calm[2],
            TARGET,
            "x",
            f"{against}, 10th percentiles",
            calm_details,
        ),
    ]
