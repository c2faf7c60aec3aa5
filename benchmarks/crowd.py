"""Many nodes below one hub: a thousand that have nothing to do (B7), and a hundred that hear of one price (B8).

The hub is a process of its own with a file, as it is in use. The nodes below it share another process and have their stores in memory: a
hundred machines are not at hand, and it is the hub that is measured. Run as a script this file is that process.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.demo.relay import Relay
from benchmarks.catalogue import DOC, SCHEMA, fill, products, sent
from benchmarks.child import Child, answer_lines, usage
from benchmarks.host import Hosted
from benchmarks.measure import Figure, Sizes, percentile
from benchmarks.shop import STORE
from crdtsync.node import Node, NodeConfig
from crdtsync.node.runner import seldom_collected
from crdtsync.schema import Role
from crdtsync.storage.memory import MemoryStorage
from crdtsync.storage.tables import table_specs

if TYPE_CHECKING:
    from crdtsync.state.document import Change

# A check with nothing to do looks at no record; each of a thousand nodes downloads these before.
_PRODUCTS = 200
_LANES = 8
_CHECKS = 3
_CHANGES = 10
_IDLE_CPU_SECONDS_MAX = 2.0
_IDLE_BYTES_MAX = 50_000
_CHECK_BYTES_MAX = 1_000
_ALL_SECONDS_MAX = 1.0
_STEP_SECONDS = 0.002
_AT_ONCE = 20
_WAIT_SECONDS = 300


class Crowd:
    """The nodes in this process."""

    def __init__(self, url: str, role: str, *, live: bool) -> None:
        self._url, self._role, self._live = url, Role(role), live
        self._nodes: list[Node] = []
        self._prices: dict[str, dict[int, float]] = {}
        self._ended: list[int] = []

    def _node(self, number: int) -> Node:
        store = f"loja{number}" if self._role is Role.LOJA else "loja1"
        config = NodeConfig(
            Path("nowhere"),
            store if self._role is Role.LOJA else f"caixa{number}",
            self._role,
            store=store,
            upstream=self._url,
            live=self._live,
        )
        node = Node(config, schema=SCHEMA, storage=MemoryStorage(table_specs(SCHEMA)))

        def note(changes: list[Change]) -> None:
            now = time.monotonic()
            for change in changes:
                if change.category == DOC:
                    for row in change.rows:
                        self._prices.setdefault(f"{row[1]} {row[2 + _PRICE]}", {}).setdefault(number, now)

        node.ledger.on_change.append(note)
        return node

    async def more(self, count: int) -> None:
        """Open nodes until there are so many; return when all have had their initial synchronization."""
        for first in range(len(self._nodes), count, _AT_ONCE):
            fresh = [self._node(number) for number in range(first, min(first + _AT_ONCE, count))]
            await asyncio.gather(*(node.open() for node in fresh))
            self._nodes += fresh
            await _until(partial(_all_done, fresh))

    async def check(self) -> float:
        """Let every node compare heads with the hub; return the seconds until the last has."""
        ended = [self._runs(node) for node in self._nodes]
        begun = time.monotonic()
        for node in self._nodes:
            node.request_check()
        await _until(
            lambda: all(self._runs(node) > one for node, one in zip(self._nodes, ended, strict=True))
        )
        return time.monotonic() - begun

    @staticmethod
    def _runs(node: Node) -> int:
        return node.upstream.runs_ended if node.upstream else -1

    async def priced(self, key: str, cents: int) -> list[float]:
        """Wait until every node shows a price; return when each did."""
        name = f"{key} {cents}"
        await _until(lambda: len(self._prices.get(name, ())) == len(self._nodes))
        return list(self._prices[name].values())

    async def usage(self) -> dict[str, float]:
        """See child.usage."""
        return usage()

    async def close(self) -> None:
        """Close all nodes."""
        await asyncio.gather(*(node.close() for node in self._nodes))


_PRICE = [name for name, _ in SCHEMA.shape(DOC).columns].index("price_cents")


def _all_done(nodes: list[Node]) -> bool:
    return all(node.initial_done for node in nodes)


async def _until(condition: Any) -> None:
    async with asyncio.timeout(_WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - a run that moves nothing tells nobody
            await asyncio.sleep(_STEP_SECONDS)


async def _serve(said: dict[str, Any]) -> None:
    crowd = Crowd(**said)
    try:
        await answer_lines(crowd, {})
    finally:
        await crowd.close()


async def _idle(folder: Path, count: int) -> dict[str, float]:
    """Return what the hub spends on nodes that hold what it holds."""
    await _filled(folder)
    async with Hosted(folder, "gestao", Role.GESTAO, "catalogue", listen=True) as hub:
        network = Relay(hub.port)
        await network.start()
        url = f"ws://127.0.0.1:{network.port}"
        async with Child("benchmarks.crowd", url=url, role="loja", live=False) as crowd:
            # The first hundred pay for what the hub loads once.
            some = min(100, count // 2)
            await crowd.ask("more", count=some)
            await hub.ask("loaded")
            first = await hub.ask("usage")
            await crowd.ask("more", count=count)
            await hub.ask("loaded")
            before = await hub.ask("usage")
            carried = network.carried
            lasted = [await crowd.ask("check") for _ in range(_CHECKS)]
            after = await hub.ask("usage")
            details = {
                "hub cpu ms of one round": (after["cpu"] - before["cpu"]) / _CHECKS * 1e3,
                "seconds of one round": sum(lasted) / _CHECKS,
                "bytes a check": (network.carried - carried) / _CHECKS / count,
                "hub memory bytes a node": (before["memory"] - first["memory"]) / (count - some),
                "hub memory MB": before["memory"] / 1e6,
                "documents loaded at the hub": float(await hub.ask("loaded")),
            }
        await network.cut()
    return details


async def _filled(folder: Path) -> None:
    await fill(folder, sent(_PRODUCTS).updates)


async def _fan_out(folder: Path, role: Role, count: int) -> dict[str, float]:
    """Return how long one price change takes from the head office to all stores, or over one store to all its lanes.

    What the hub spends on it is the head office's, or that store's.
    """
    above = folder / "gestao"
    above.mkdir()
    await _filled(above)
    key = next(key for key, _ in products(1))
    async with AsyncExitStack() as stack:
        gestao = await stack.enter_async_context(
            Hosted(above, "gestao", Role.GESTAO, "catalogue", listen=True)
        )
        hub = gestao
        if role is Role.CAIXA:
            between = Hosted(
                folder / STORE, STORE, Role.LOJA, "catalogue", listen=True, live=True, upstream=_url(gestao)
            )
            hub = await stack.enter_async_context(between)
            await hub.ask("reached", products=_PRODUCTS)
        below = Child("benchmarks.crowd", url=_url(hub), role=role.value, live=True)
        crowd = await stack.enter_async_context(below)
        await crowd.ask("more", count=count)
        before = await hub.ask("usage")
        waited: list[list[float]] = []
        for number in range(_CHANGES):
            cents = 1_000_000 + number
            begun = await gestao.ask("reprice", key=key, price=f"{cents / 100:.2f}")
            waited.append([at - begun for at in await crowd.ask("priced", key=key, cents=cents)])
        after = await hub.ask("usage")
    return {
        "p50 ms": percentile([value for one in waited for value in one], 0.5),
        "p99 ms": percentile([value for one in waited for value in one], 0.99),
        "hub cpu ms a change": (after["cpu"] - before["cpu"]) / _CHANGES * 1e3,
        "hub cpu ms a change and node": (after["cpu"] - before["cpu"]) / _CHANGES / count * 1e3,
        "seconds to all": statistics.median(max(one) for one in waited),
    }


def _url(node: Hosted) -> str:
    return f"ws://127.0.0.1:{node.port}"


def measure(sizes: Sizes) -> list[Figure]:
    """Return the figures of idle nodes and of a price that all nodes below a hub hear of."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        idle = asyncio.run(_idle(Path(folder), sizes.idle_nodes))
    name = f"routine check of {sizes.idle_nodes:,} nodes with nothing to do"
    figures += [
        Figure(
            f"{name}: hub CPU",
            idle["hub cpu ms of one round"],
            _IDLE_CPU_SECONDS_MAX * 1e3,
            "ms",
            "one round",
            idle,
        ),
        Figure(
            f"{name}: on the wire",
            idle["bytes a check"],
            _CHECK_BYTES_MAX,
            "bytes",
            "a check, both directions",
        ),
        Figure(f"{name}: documents loaded", idle["documents loaded at the hub"], 0, "documents", "the hub"),
        Figure(
            f"{name}: hub memory",
            idle["hub memory bytes a node"],
            _IDLE_BYTES_MAX,
            "bytes",
            "a node, growth of VmRSS",
        ),
    ]
    places = [(Role.CAIXA, _LANES), *((Role.LOJA, count) for count in sizes.fan_out_nodes)]
    for role, count in places:
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(_fan_out(Path(folder), role, count))
        name = f"one price change to {count:,} {'lanes of a store' if role is Role.CAIXA else 'stores'}"
        figures.append(
            Figure(name, found["seconds to all"], _ALL_SECONDS_MAX, "s", "until the last has it", found)
        )
    return figures


if __name__ == "__main__":
    with seldom_collected():
        asyncio.run(_serve(json.loads(sys.argv[1])))
