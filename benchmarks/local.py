"""B6: a whole sale at a lane, over four categories and durable: alone, and ten writers at once.

A sale on credit is one transaction: the sale, the till operation, the receivable and the stock. Beside each a bare commit of one row. What a
sale takes during a synchronization is `latency`.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from contextlib import closing
from pathlib import Path
from time import perf_counter

from adapters.sales import Sale
from adapters.stock import StockItem
from benchmarks.measure import Figure, Sizes, percentile
from benchmarks.sale import sell
from benchmarks.store import commit_bare, open_bare
from crdtsync import load_installed
from crdtsync.node import Node, NodeConfig
from crdtsync.node.runner import seldom_collected
from crdtsync.schema import Role

TARGET = 2.0
WRITERS = 10
SHARED_TARGET = 5.0
_KEYS = 200


async def _sell(node: Node, number: int) -> float:
    """Make a sale on credit; return the seconds that it took."""
    return (await sell(node, number, str(number % _KEYS), credit=True)).wall


async def _samples(count: int) -> tuple[list[float], list[float], float, float]:
    """Return seconds of sales and of bare commits in turns, and sales a second of one writer and of ten."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = NodeConfig(folder, "caixa1", Role.CAIXA, store="loja1")
        connection, upsert = open_bare(folder / "bare.db")
        with closing(connection):
            async with Node(config, schema=load_installed()) as node:
                async with node.transaction() as tx:
                    for key in range(_KEYS):
                        tx.create(StockItem, product=str(key)).balance.add(1_000_000, cause="entrada")
                sold: list[float] = []
                bare: list[float] = []
                for number in range(count):
                    sold.append(await _sell(node, number))
                    begun = perf_counter()
                    commit_bare(connection, upsert, number)
                    bare.append(perf_counter() - begun)
                one = await _rate(node, count, 1, count)
                ten = await _rate(node, count, WRITERS, 2 * count)
                found = await node.count(Sale)
    made = count + count + count // WRITERS * WRITERS
    if found != made:
        raise AssertionError(f"{found} of {made} sales are there")
    return sold, bare, one, ten


async def _rate(node: Node, count: int, writers: int, first: int) -> float:
    """Return sales a second of so many writers that each make the next when theirs is durable."""
    each = count // writers

    async def write(begin: int) -> None:
        for number in range(begin, begin + each):
            await _sell(node, number)

    begun = perf_counter()
    await asyncio.gather(*(write(first + writer * each) for writer in range(writers)))
    return writers * each / (perf_counter() - begun)


def measure(sizes: Sizes) -> list[Figure]:
    """Return a sale against a bare commit, and one writer's rate against that of ten."""
    with seldom_collected():
        sold, bare, one, ten = asyncio.run(_samples(sizes.transactions))
    details = {
        "sales a second, one writer": one,
        f"sales a second, {WRITERS} writers": ten,
        **{f"sale p{100 * part:g} ms": percentile(sold, part) for part in (0.5, 0.99)},
        **{f"bare p{100 * part:g} ms": percentile(bare, part) for part in (0.5, 0.99)},
    }
    ratio = statistics.median(sold) / statistics.median(bare)
    against = "bare SQLite commit of one row with synchronous=FULL, medians"
    name = "a sale over four categories, durable"
    return [
        Figure(name, ratio, TARGET, "x", against, details),
        # The figure is at most its target: what a sale of one writer takes is so many times what it takes ten.
        Figure(
            f"{name}: {WRITERS} writers share commits",
            SHARED_TARGET * one / ten,
            1.0,
            "x",
            f"{SHARED_TARGET:g} times one writer's rate, as a part of that of {WRITERS}",
        ),
    ]
