"""Many nodes below one hub, which is killed and comes back: all of them connect again.

    python -m tests.faults.storm --nodes 1000 --seed 1

The hub is a process with a file; the others live in this one, each with a store in memory and a socket of its own. All
synchronize once, the hub is killed with `kill -9` and started again, and it goes on writing meanwhile. Prints one line:
nodes, when half of them, 99 % and all had compared heads again (seconds after the hub answered), the hub's own
transactions in that time (ms), its memory (MB).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import psutil

from crdtsync import Role
from crdtsync.node import Node, NodeConfig
from crdtsync.storage import MemoryStorage
from crdtsync.storage.tables import table_specs
from tests.faults.writer import SCHEMA, Product, Stock, config_of, move
from tests.process import end, started

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

PRODUCTS = 100
MOVED = 100
"""Records of stock that the hub moves, one after the other."""
_WRITE_EVERY = 0.1
_SECONDS_MAX = 300.0
_POLL_SECONDS = 0.01
_OPEN_AT_ONCE = 50


async def hub(folder: Path, port: int, products: int) -> None:
    """Serve nodes below so many products, write ten times a second, and say on SIGTERM how long that took."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    took: list[float] = []
    config = NodeConfig(folder, config_of(folder).device, Role.GESTAO, port=port, listen=True)
    async with Node(config, schema=SCHEMA) as node:
        there, moved = await node.count(Product), await node.count(Stock)
        wanted = range(there, max(products, MOVED))
        await node.load(Product, ({"id": f"p{at}", "name": f"product {at}"} for at in wanted))
        await node.load(Stock, ({"id": f"p{at}"} for at in range(moved, MOVED)))
        assert node.server is not None
        print(node.server.port, flush=True)
        # As many records for ever: what a hub takes more is not what it wrote.
        for key in cycle([f"p{at}" for at in range(MOVED)]):
            if stop.is_set():
                break
            began = time.perf_counter()
            await move(node, key)
            took.append(time.perf_counter() - began)
            await asyncio.sleep(_WRITE_EVERY)
    print(json.dumps(took))


def start_hub(folder: Path, port: int, products: int = PRODUCTS) -> tuple[subprocess.Popen[str], int]:
    """Start a hub in a process of its own; return it and its port."""
    arguments = ["-m", "tests.faults.storm", "--hub", folder, "--port", port, "--products", products]
    process, line = started(arguments, folder / "hub.log")
    return process, int(line)


@dataclass
class Outcome:
    """What came of the storm: seconds after which each node was there again, the hub's transactions and its memory."""

    back: list[float]
    took: list[float]
    rss: int


async def storm(work: Path, nodes: int, seed: int) -> Outcome:
    """Let so many nodes synchronize, kill the hub, and wait until all have synchronized again."""
    folder = work / "hub"
    folder.mkdir()
    process, port = await asyncio.to_thread(start_hub, folder, 0)
    lower = [lower_node(work, at, port, seed) for at in range(nodes)]
    try:
        for at in range(0, nodes, _OPEN_AT_ONCE):
            await asyncio.gather(*(node.open() for node in lower[at : at + _OPEN_AT_ONCE]))
        await until_all(lower, lambda node: node.initial_done)
        end(process)
        await until_all(lower, lambda node: not node.connected)
        runs = {node: _heard(node) for node in lower}
        process, _ = await asyncio.to_thread(start_hub, folder, port)
        back = await until_all(lower, lambda node: node.connected and _heard(node) > runs[node])
        rss = psutil.Process(process.pid).memory_info().rss
        process.terminate()
        said, _ = await asyncio.to_thread(process.communicate)
    finally:
        end(process)
        for node in lower:
            await node.close()
    return Outcome(back, json.loads(said.splitlines()[-1]), rss)


def _heard(node: Node) -> Any:
    return node.uplink.memory.heard.get("", 0)


def lower_node(work: Path, at: int, port: int, seed: int) -> Node:
    """Return a node below a hub, with a store in memory; not open yet."""
    name = f"loja{at}"
    config = NodeConfig(work, name, Role.LOJA, store=name, upstream=f"ws://127.0.0.1:{port}")
    storage = MemoryStorage(table_specs(SCHEMA))
    return Node(config, schema=SCHEMA, storage=storage, dice=Random(f"{seed} {at}"))


async def until_all(nodes: list[Node], condition: Callable[[Node], bool]) -> list[float]:
    """Wait until it holds for each; return after how many seconds each time."""
    began = time.monotonic()
    waiting, found = set(nodes), list[float]()
    async with asyncio.timeout(_SECONDS_MAX):
        while waiting:
            there = {node for node in waiting if condition(node)}
            found += [time.monotonic() - began] * len(there)
            waiting -= there
            await asyncio.sleep(_POLL_SECONDS)
    return found


def main() -> int:
    """Print how the nodes came back."""
    parser = argparse.ArgumentParser(description="many nodes connect again at once")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hub", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--products", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if args.hub:
        asyncio.run(hub(args.hub, args.port, args.products))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(storm(Path(folder), args.nodes, args.seed))
    back, took = (
        statistics.quantiles(sizes, n=100, method="inclusive") for sizes in (outcome.back, outcome.took)
    )
    print(
        f"nodes {len(outcome.back)}, back after {back[49]:.1f} s (half), {back[98]:.1f} s (99 %), "
        f"{max(outcome.back):.1f} s (all), hub's transactions p50 {took[49] * 1e3:.1f} ms, "
        f"p99 {took[98] * 1e3:.1f} ms, hub {outcome.rss / 1e6:.0f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
