"""B3: a fresh node downloads a catalogue from another process and makes it durable, readable by key and by SQL.

Timed from the opening of the fresh, empty node until the last product is committed at it and its program has read each by its key, as the
other systems do. Then it starts again. Beside it: bare `executemany` of the same rows, in as many transactions.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from adapters.demo.relay import Relay
from benchmarks.catalogue import fill, products, sent
from benchmarks.host import Hosted
from benchmarks.shop import STORE
from benchmarks.store import bare_seconds, commits
from benchmarks.workload import FinalState
from crdtsync.node.config import STORE_NAME
from crdtsync.schema import Role

if TYPE_CHECKING:
    from pathlib import Path


async def _download(size: int, folder: Path) -> tuple[float, FinalState, dict[str, float]]:
    catalogue = sent(size)
    above = folder / "gestao"
    above.mkdir()
    await fill(above, catalogue.updates)
    keys = [key for key, _ in products(size)]
    async with Hosted(above, "gestao", Role.GESTAO, "catalogue", listen=True) as hub:
        network = Relay(hub.port)
        await network.start()
        below: dict[str, Any] = {
            "folder": folder / STORE,
            "device": STORE,
            "role": Role.LOJA,
            "schema": "catalogue",
        }
        url = f"ws://127.0.0.1:{network.port}"
        async with Hosted(**below, upstream=url) as fresh:
            await fresh.ask("reached", products=size)
            ended = await fresh.ask("read", size=size)
            usage = await fresh.ask("usage")
            details = {
                "memory_bytes": usage["memory"],
                "memory_peak_bytes": usage["peak"],
                "cpu_seconds": usage["cpu"],
                "wire_bytes": float(network.carried),
                "hub_memory_bytes": (await hub.ask("usage"))["peak"],
            }
            seconds = ended - fresh.begun
        await network.cut()
    details["disk_bytes"] = float(fresh.disk_bytes())
    async with Hosted(**below) as again:
        details["restart_ms"] = (await again.ask("find", key=keys[-1]) - again.begun) * 1e3
    rows = [commit.records["products"] for commit in commits(catalogue.updates)]
    details["limit_executemany_seconds"] = bare_seconds(rows)
    return seconds, _read(folder / STORE / STORE_NAME, keys), details


def _read(store: Path, keys: list[str]) -> FinalState:
    """Read the number of products and the price of each, by the place of the product in the catalogue."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM products").fetchone()
        price = dict(connection.execute("SELECT id, price_cents FROM products"))
    return FinalState(count, {number: price[key] for number, key in enumerate(keys) if key in price})


def catalogue(size: int, folder: Path) -> tuple[float, FinalState, dict[str, float]]:
    """Return seconds, state and details of a download."""
    return asyncio.run(_download(size, folder))
