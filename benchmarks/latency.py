"""A local sale at a Caixa, with and without a big download going on, over real sockets and real SQLite files.

The Loja is a process of its own, as it is in a store: its work does not count against the lane's. Run as a script
(``python -m benchmarks.latency FOLDER``) this file is that process.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from adapters.products import Product
from adapters.stock import StockItem
from benchmarks.catalogue import DOC, Sent, fill_references, products
from benchmarks.measure import Figure, Sizes, percentile
from benchmarks.sale import Sold, sell
from crdtsync import load_installed
from crdtsync.node import Node, NodeConfig
from crdtsync.node.runner import seldom_collected
from crdtsync.schema import Role

if TYPE_CHECKING:
    from crdtsync.node.run import Run

P99_MS_MAX = 10.0
_STORE = "loja1"
_EVERY_SECONDS = 0.01
_QUIET_SALES = 300
_WAIT_SECONDS = 600


def _loja(folder: Path, *, listen: bool) -> Node:
    return Node(NodeConfig(folder, _STORE, Role.LOJA, store=_STORE, listen=listen), schema=load_installed())


async def _serve(folder: Path) -> None:
    """Be the Loja until standard input ends; say the port."""
    async with _loja(folder, listen=True) as node:
        assert node.server is not None
        sys.stdout.write(f"{node.server.port}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


async def _prepare(above: Path, below: Path, catalogue: Sent) -> list[str]:
    """Let the lane hold the first part of the catalogue and its stock, and the Loja all of it; return keys in stock."""
    keys = [key for key, _ in products(200)]
    async with _loja(above, listen=True) as loja:
        assert loja.server is not None
        await fill_references(loja.ledger)
        await loja.ledger.receive(DOC, catalogue.updates[0], lambda _replica: True)
        async with loja.transaction() as tx:
            for key in keys:
                tx.create(StockItem, product=key).balance.add(1_000_000, cause="entrada")
        async with _caixa(below, loja.server.port) as caixa:
            await _until_done(caixa)
        for update in catalogue.updates[1:]:
            await loja.ledger.receive(DOC, update, lambda _replica: True)
    return keys


def _caixa(folder: Path, port: int) -> Node:
    config = NodeConfig(folder, "caixa1", Role.CAIXA, store=_STORE, upstream=f"ws://127.0.0.1:{port}")
    return Node(config, schema=load_installed())


async def _until_done(node: Node) -> None:
    async with asyncio.timeout(_WAIT_SECONDS):
        while not node.initial_done:  # noqa: ASYNC110 - the benchmark looks from outside, as a person does
            await asyncio.sleep(0.01)


async def _samples(catalogue: Sent) -> tuple[list[Sold], list[Sold], float]:
    """Return the seconds of sales during the download and without one, and how long the download took."""
    with tempfile.TemporaryDirectory() as above, tempfile.TemporaryDirectory() as below:
        keys = await _prepare(Path(above), Path(below), catalogue)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.latency", above,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            port = int(await process.stdout.readline())
            return await _measure(_caixa(Path(below), port), keys, sum(1 for _ in catalogue.batches))
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()


async def _measure(caixa: Node, keys: list[str], batches: int) -> tuple[list[Sold], list[Sold], float]:
    ended: list[float] = []
    began: list[float] = []

    def note(run: Run) -> None:
        if run.down.get(DOC):
            began.append(perf_counter())
            if run.ended is not None:
                ended.append(perf_counter())

    # Before it is opened: a short download may be over before anything else can listen.
    caixa.on_run.append(note)
    busy: list[Sold] = []
    quiet: list[Sold] = []
    number = 0
    async with caixa, asyncio.timeout(_WAIT_SECONDS):
        # A catalogue of one piece is there already: then the first check is all there is.
        while not ended and not caixa.uplink.heard:
            over = bool(ended)
            took = await sell(caixa, number, keys[number % len(keys)])
            number += 1
            if began and not over:
                busy.append(took)
            await asyncio.sleep(_EVERY_SECONDS)
        for _ in range(_QUIET_SALES):
            quiet.append(await sell(caixa, number, keys[number % len(keys)]))
            number += 1
            await asyncio.sleep(_EVERY_SECONDS)
        if await caixa.count(Product) < batches:
            raise AssertionError("the catalogue did not arrive")
    return busy, quiet, ended[0] - began[0] if ended else 0.0


def measure(sizes: Sizes, catalogue: Sent) -> list[Figure]:
    """Return the 99th percentile of a sale during a download, as a cashier waits and as the program works."""
    # As in a node's own process.
    with seldom_collected():
        busy, quiet, seconds = asyncio.run(_samples(catalogue))
    details = {"sales during": float(len(busy)), "seconds of the download": seconds}
    for name, sold in (("during", busy), ("without", quiet)):
        for what in ("wall", "work"):
            values = [getattr(sale, what) for sale in sold]
            for part in (0.5, 0.9, 0.99, 1.0):
                details[f"{name}, {what}, p{100 * part:g}, ms"] = percentile(values, part)
    about = f"of a sale during a download of {sizes.products:,} products"
    return [
        Figure(
            f"p99 {about}",
            details["during, wall, p99, ms"],
            P99_MS_MAX,
            "ms",
            "the same without a download is in the details; other programs on the machine count",
            details,
        ),
        Figure(
            f"p99 {about}: work of the process while the cashier waits",
            details["during, work, p99, ms"],
            P99_MS_MAX,
            "ms",
            "processor time of all its threads: what an idle machine with a fast disk would show",
        ),
    ]


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
