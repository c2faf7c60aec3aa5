"""One node of a benchmark as a process: a JSON line in, a JSON line out. Also the side that starts it and asks.

    python -m benchmarks.host '{"folder": ..., "device": ..., "role": ..., "schema": ...}'

Times are those of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from adapters.products import Product
from benchmarks.catalogue import SCHEMA
from benchmarks.measure import status_bytes
from benchmarks.shop import SALES, SCOPES, STORE, Shelf, record, store_bytes
from benchmarks.workload import OPENING_BALANCE, PRODUCTS, sales
from crdtsync.node import Node, NodeConfig
from crdtsync.node.runner import seldom_collected
from crdtsync.schema import Role

if TYPE_CHECKING:
    from crdtsync.state.document import Change

SCHEMAS = {**SCOPES, "catalogue": SCHEMA}
_LINE_BYTES_MAX = 1 << 28
_PER_TRANSACTION = 128
_ANSWER_SECONDS_MAX = 400


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

    async def sell(self, lane: int, count: int, first: int = 0, every: float = 0.0) -> dict[str, Any]:
        """Make sales number `first` to `count` of a lane, one transaction each; with `every`, one so often (seconds).

        Return the seconds of each, and when each began by key.
        """
        assert self._entity is not None
        took: list[float] = []
        began: dict[str, float] = {}
        start = time.monotonic()
        for number, sale in enumerate(sales(lane, count, PRODUCTS)):
            if number < first:
                continue
            if every:
                await asyncio.sleep(max(0.0, start + (number - first) * every - time.monotonic()))
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

    async def check(self) -> bool:
        """Connect, or compare heads, now."""
        return self.node.request_check()

    async def usage(self) -> dict[str, float]:
        """Return the process's own processor seconds, memory now and its peak (bytes)."""
        return {
            "cpu": time.process_time(),
            "memory": float(status_bytes("VmRSS")),
            "peak": float(status_bytes("VmHWM")),
        }

    async def find(self, key: str) -> float:
        """Look a product up by its key; return when it was there."""
        if await self.node.get(Product, key) is None:
            raise AssertionError(f"product {key} is not here")
        return time.monotonic()


async def _serve(said: dict[str, Any]) -> None:
    name = said.pop("schema")
    config = NodeConfig(Path(said.pop("folder")), role=Role(said.pop("role")), **said)
    node = Node(config, schema=SCHEMAS[name])
    tally = Tally()
    node.ledger.on_change.append(tally.note)
    lines = asyncio.StreamReader(limit=_LINE_BYTES_MAX)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    begun = time.monotonic()
    async with node:
        opened = time.monotonic()
        host = Host(node, name, tally)
        port = node.server.port if node.server else 0
        _say({"port": port, "begun": begun, "opened": opened})
        while line := await lines.readline():
            asked = json.loads(line)
            _say(await getattr(host, asked.pop("do"))(**asked))


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


class Hosted:
    """A node that runs as a process of its own, as who started it sees it."""

    def __init__(self, folder: Path, device: str, role: Role, schema: str, **more: Any) -> None:
        self.folder = folder
        more.setdefault("store", None if role is Role.GESTAO else STORE)
        self._said = {"folder": str(folder), "device": device, "role": role.value, "schema": schema, **more}
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0
        self.begun = self.opened = 0.0

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.host", json.dumps(self._said),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_BYTES_MAX,
        )  # fmt: skip
        ready = await self._answer()
        self.port, self.begun, self.opened = ready["port"], ready["begun"], ready["opened"]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 30)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def ask(self, do: str, /, **args: Any) -> Any:
        """Let the node do something; return its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **args}).encode() + b"\n")
        await self._process.stdin.drain()
        return await self._answer()

    async def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(_ANSWER_SECONDS_MAX):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the node in {self.folder} ended")
        return json.loads(line)

    def disk_bytes(self) -> int:
        """Return the size of the node's store with its log."""
        return store_bytes(self.folder)


if __name__ == "__main__":
    with seldom_collected():
        asyncio.run(_serve(json.loads(sys.argv[1])))
