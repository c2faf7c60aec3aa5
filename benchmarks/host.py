"""One node of a benchmark as a process that is asked by lines of JSON. Also the side that starts it and asks.

    python -m benchmarks.host '{"folder": ..., "device": ..., "role": ..., "schema": ...}'

Times are those of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.products import Product
from benchmarks.catalogue import SCHEMA, products
from benchmarks.child import Child, answer_lines, usage
from benchmarks.shop import SALES, SCOPES, STORE, Shelf, record, store_bytes
from benchmarks.workload import OPENING_BALANCE, PRODUCTS, sales
from crdtsync import limits
from crdtsync.node import Node, NodeConfig
from crdtsync.node.runner import seldom_collected
from crdtsync.schema import Role

if TYPE_CHECKING:
    from crdtsync.state.document import Change

SCHEMAS = {**SCOPES, "catalogue": SCHEMA}
_PER_TRANSACTION = 128
_PER_READ = 1_000


class Tally:
    """What is durable and readable at a node, kept as it changes: when each record came, and the sum of the stock."""

    def __init__(self) -> None:
        self.came: dict[str, dict[str, float]] = {}
        self.units = 0
        self._stock: dict[str, int] = {}
        self._reached: asyncio.Future[float] | None = None
        self._wanted: dict[str, int] = {}

    def note(self, changes: list[Change]) -> None:
        """Take note of what a commit changed."""
        now = time.monotonic()
        for change in changes:
            came = self.came.setdefault(change.category, {})
            for row in change.rows:
                came.setdefault(row[1], now)
                if change.category == "stock":
                    self.units += row[2] - self._stock.get(row[1], 0)
                    self._stock[row[1]] = row[2]
        self._look(now)

    def _look(self, now: float) -> None:
        if self._reached is None or self._reached.done():
            return
        held = {name: len(keys) for name, keys in self.came.items()} | {"units": self.units}
        if all(held.get(name, 0) == count for name, count in self._wanted.items()):
            self._reached.set_result(now)

    async def reached(self, wanted: dict[str, int]) -> float:
        """Wait until the node holds so many records of each category, and `units` in stock; return when."""
        self._wanted, self._reached = wanted, asyncio.get_running_loop().create_future()
        self._look(time.monotonic())
        return await self._reached


class Host:
    """The commands of a node; each is a method."""

    def __init__(self, node: Node, schema: str, tally: Tally) -> None:
        self.node = node
        self.tally = tally
        self._entity = SALES.get(schema)

    async def open_stock(self) -> None:
        """Give every product its opening balance."""
        for first in range(0, PRODUCTS, _PER_TRANSACTION):
            async with self.node.transaction() as tx:
                for product in range(first, min(first + _PER_TRANSACTION, PRODUCTS)):
                    tx.create(Shelf, product=product).balance.add(OPENING_BALANCE // 1000)

    async def sell(self, lane: int, count: int, every: float = 0.0) -> dict[str, Any]:
        """Make the sales of a lane, one transaction each; with `every`, one so often (seconds).

        Return the seconds of each, and when each began by key.
        """
        assert self._entity is not None
        took: list[float] = []
        began: dict[str, float] = {}
        start = time.monotonic()
        for number, sale in enumerate(sales(lane, count, PRODUCTS)):
            if every:
                await asyncio.sleep(max(0.0, start + number * every - time.monotonic()))
            begun = began[sale.key] = time.monotonic()
            async with self.node.transaction() as tx:
                await record(tx, self._entity, sale)
            took.append(time.monotonic() - begun)
        return {"took": took, "began": began, "seconds": time.monotonic() - start}

    async def reached(self, **wanted: int) -> float:
        """See Tally.reached."""
        return await self.tally.reached(wanted)

    async def came(self, category: str) -> dict[str, float]:
        """Return when each record was durable here."""
        return self.tally.came.get(category, {})

    async def closed(self) -> None:
        """The shop is closed, as if it had been for long: nobody works at the node, so nothing is held back for people."""
        limits.AT_WORK_SECONDS = 0.0

    async def check(self) -> bool:
        """Connect, or compare heads, now."""
        return self.node.request_check()

    async def usage(self) -> dict[str, float]:
        """See child.usage."""
        return usage()

    async def loaded(self) -> int:
        """Let go of the documents in memory once; return how many there were."""
        count = len(self.node.ledger.loaded())
        self.node.ledger.unload()
        return count

    async def reprice(self, key: str, price: str) -> float:
        """Change the price of a product; return when that began."""
        begun = time.monotonic()
        async with self.node.transaction() as tx:
            (await tx.get(Product, key)).price = Decimal(price)
        return begun

    async def find(self, key: str) -> float:
        """Look a product up by its key; return when it was there."""
        if await self.node.get(Product, key) is None:
            raise AssertionError(f"product {key} is not here")
        return time.monotonic()

    async def read(self, size: int) -> float:
        """Read every product of a catalogue by its key; return when that was done."""
        keys = [key for key, _ in products(size)]
        for first in range(0, size, _PER_READ):
            wanted = keys[first : first + _PER_READ]
            async with self.node.transaction() as tx:
                if len(await tx.find_many(Product, wanted)) != len(wanted):
                    raise AssertionError(f"not every product from {wanted[0]} to {wanted[-1]} is here")
        return time.monotonic()


async def _serve(said: dict[str, Any]) -> None:
    name = said.pop("schema")
    config = NodeConfig(Path(said.pop("folder")), role=Role(said.pop("role")), **said)
    node = Node(config, schema=SCHEMAS[name])
    tally = Tally()
    node.ledger.on_change.append(tally.note)
    begun = time.monotonic()
    async with node:
        opened = time.monotonic()
        port = node.server.port if node.server else 0
        await answer_lines(Host(node, name, tally), {"port": port, "begun": begun, "opened": opened})


class Hosted(Child):
    """A node that runs as a process of its own, as who started it sees it."""

    def __init__(self, folder: Path, device: str, role: Role, schema: str, **more: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        more.setdefault("store", None if role is Role.GESTAO else STORE)
        super().__init__(
            "benchmarks.host", folder=str(folder), device=device, role=role.value, schema=schema, **more
        )

    @property
    def port(self) -> int:
        """Where nodes below connect."""
        return int(self.ready["port"])

    @property
    def begun(self) -> float:
        """When the node began to open, its program being loaded."""
        return float(self.ready["begun"])

    def disk_bytes(self) -> int:
        """Return the size of the node's store with its log."""
        return store_bytes(self.folder)


if __name__ == "__main__":
    with seldom_collected():
        asyncio.run(_serve(json.loads(sys.argv[1])))
