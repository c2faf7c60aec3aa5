"""A lane that sells for thirty days without its Loja, and then synchronizes once.

    python -m tests.faults.offline --sales 100000

Gestão, Loja and lane synchronize once; then only the lane works, with a clock that passes thirty days. The Loja that it
comes back to is a process of its own. Prints one line: sales delivered, seconds, the Loja's memory before and at its peak
(MB), and how much the lane's disk holds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from adapters.products import Product
from adapters.sales import Payment, PaymentMethod, Sale, SaleLine
from adapters.stock import StockItem
from crdtsync import Role
from crdtsync.node import Node, NodeConfig
from crdtsync.node.caller import call
from crdtsync.node.config import write_config
from tests.clock import Clock
from tests.process import end, started

if TYPE_CHECKING:
    import subprocess

DAYS = 30
PRODUCTS = 1_000
TILLS = 8
STORE = "loja1"
_SECONDS_MAX = 3_600.0
_POLL_SECONDS = 0.05


@dataclass
class Outcome:
    """What came of it: how many sales the Loja has, seconds of writing and of delivering, bytes."""

    delivered: int
    units_missing: Decimal
    wrote_seconds: float
    delivered_seconds: float
    rss: int
    rss_peak: int
    disk: int


async def _prepare(work: Path, clock: Clock) -> None:
    """Let the three nodes synchronize once, and close them."""
    above = NodeConfig(work / "gestao", "gestao", Role.GESTAO, listen=True)
    above.folder.mkdir()
    async with Node(above, clock=clock) as gestao:
        products = ({"id": f"p{at}", "name": f"Produto {at}", "price": Decimal(2)} for at in range(PRODUCTS))
        await gestao.load(Product, products)
        assert gestao.server is not None
        address = f"ws://127.0.0.1:{gestao.server.port}"
        config = NodeConfig(work / STORE, STORE, Role.LOJA, store=STORE, upstream=address, listen=True)
        config.folder.mkdir()
        async with Node(config, clock=clock) as loja:
            await _until(lambda: loja.initial_done)
            for at in range(PRODUCTS):
                async with loja.transaction() as tx:
                    tx.create(StockItem, product=f"p{at}")
            assert loja.server is not None
            async with _lane(work, f"ws://127.0.0.1:{loja.server.port}", clock) as lane:
                await _until(lambda: lane.initial_done)


def _lane(work: Path, address: str | None, clock: Clock) -> Node:
    folder = work / "caixa1"
    folder.mkdir(exist_ok=True)
    config = NodeConfig(folder, "caixa1", Role.CAIXA, store=STORE, upstream=address)
    return Node(config, clock=clock)


async def _until(condition: Any) -> None:
    async with asyncio.timeout(_SECONDS_MAX):
        while not condition():  # noqa: ASYNC110 - several things are waited for, few of them tell
            await asyncio.sleep(_POLL_SECONDS)


async def _sell(lane: Node, clock: Clock, sales: int) -> None:
    """Sell one unit a sale, over thirty days, at several tills of one program."""
    begin, numbers = clock.ahead, iter(range(sales))

    async def till() -> None:
        for number in numbers:
            clock.ahead = begin * (1 - number / sales)
            product = f"p{number % PRODUCTS}"
            line = SaleLine(product=product, quantity=Decimal(1), unit_price=Decimal(2))
            async with lane.transaction() as tx:
                payment = Payment(method=PaymentMethod.PIX, amount=line.total)
                when = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
                tx.create(Sale, id=f"v{number}", sold_at=when, lines=[line], payments=[payment])
                (await tx.get(StockItem, product)).balance.subtract(1, cause=f"v{number}")

    await asyncio.gather(*(till() for _ in range(TILLS)))


async def offline(work: Path, sales: int) -> Outcome:
    """Sell so much without a network, then deliver it."""
    clock = Clock(ahead=-timedelta(days=DAYS).total_seconds())
    await _prepare(work, clock)
    began = time.monotonic()
    async with _lane(work, None, clock) as lane:
        await _sell(lane, clock, sales)
    wrote = time.monotonic() - began
    clock.ahead = 0.0
    disk = sum(path.stat().st_size for path in (work / "caixa1").iterdir())
    # The Loja of before has no node above here: what comes up from the lane is what is looked at.
    write_config(NodeConfig(work / STORE, STORE, Role.LOJA, store=STORE, listen=True))
    process, port = await asyncio.to_thread(_start, work / STORE)
    try:
        hub = psutil.Process(process.pid)
        rss = hub.memory_info().rss
        began = time.monotonic()
        async with _lane(work, f"ws://127.0.0.1:{port}", clock) as lane:
            await _until(lambda: lane.runs > 0)
        took = time.monotonic() - began
        peak = _peak(hub)
        facts = await call(work / STORE, "status")
        left = await call(work / STORE, "show", category="stock", key=None, limit=10_000, store=None)
    finally:
        end(process)
    missing = sales + sum((Decimal(str(row["balance"])) for row in left), Decimal())
    return Outcome(facts["records"].get("sales", 0), missing, wrote, took, rss, peak, disk)


def _start(folder: Path) -> tuple[subprocess.Popen[str], int]:
    process, line = started(["-m", "crdtsync.cli", "run", folder, "--json"], folder / "log.txt")
    return process, json.loads(line)["port"]


def _peak(process: psutil.Process) -> int:
    """The most memory that a process ever had, bytes; Linux tells it."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def main() -> int:
    """Print what came of it; 1 when anything is missing."""
    parser = argparse.ArgumentParser(description="thirty days offline, then one synchronization")
    parser.add_argument("--sales", type=int, default=100_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        got = asyncio.run(offline(Path(folder), args.sales))
    print(
        f"sales {got.delivered} of {args.sales}, units missing {got.units_missing}, written in {got.wrote_seconds:.0f} s, "
        f"delivered in {got.delivered_seconds:.0f} s, Loja {got.rss / 1e6:.0f} MB before, "
        f"{got.rss_peak / 1e6:.0f} MB at its peak, lane's disk {got.disk / 1e6:.0f} MB"
    )
    return 0 if got.delivered == args.sales and not got.units_missing else 1


if __name__ == "__main__":
    sys.exit(main())
