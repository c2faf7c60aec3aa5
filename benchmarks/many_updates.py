"""B5: many updates of the stock of 10,000 products, each a transaction of one movement, at a store.

Batch, fold and journal as the ledger makes them, thousands to a commit so that the disk does not dilute the figure; the log is compacted
whenever the node would do it. Then a fresh process (`python -m benchmarks.many_updates FOLDER`) opens the store: `restart` is until every stock
was read, `loaded` until the document is in memory for the next write, and its memory is that of then. Beside it: bare upserts of the same
updates, as many to a commit.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks import bare
from benchmarks.catalogue import STORE_NAME, ledger
from benchmarks.measure import status_bytes
from benchmarks.shop import RETAIL, STOCK_DOC, STORE, state_of, stock_ops, store_bytes
from benchmarks.workload import OPENING_BALANCE, PRODUCTS, FinalState, sales
from crdtsync.node.runner import seldom_collected
from crdtsync.schema import Identity, Role
from crdtsync.state.document import Op

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.workload import Sale
    from crdtsync.node.ledger import Ledger

LOJA = Identity(STORE, Role.LOJA, "main", STORE)
_AT_ONCE = 256


async def _fill(target: Ledger, size: int) -> list[float]:
    """Write the updates, those of a tenth after the other; return the seconds of each tenth."""
    for first in range(0, PRODUCTS, _AT_ONCE):
        block = range(first, min(first + _AT_ONCE, PRODUCTS))
        opening = {str(product): [Op("add", "balance", OPENING_BALANCE, "")] for product in block}
        await target.write({STOCK_DOC: opening})
    tenths = [0.0] * 10
    waiting: list[Any] = []
    begun = perf_counter()
    for number, sale in enumerate(sales(1, size, PRODUCTS), 1):
        waiting.append(target.write({STOCK_DOC: {str(sale.product): stock_ops(sale)}}))
        if len(waiting) == _AT_ONCE or number == size:
            await asyncio.gather(*waiting)
            waiting.clear()
            if (await target.document(STOCK_DOC)).compaction_due() > 1:
                await target.compact(STOCK_DOC)
                await target.squash(STOCK_DOC)
            now = perf_counter()
            tenths[min(9, (number - 1) * 10 // size)] += now - begun
            begun = now
    return tenths


async def _restart(folder: Path) -> dict[str, float]:
    """Open the store, read every stock, and load the document."""
    again = ledger(folder, LOJA, RETAIL)
    begun = perf_counter()
    await again.open()
    opened = perf_counter() - begun
    rows = await again.storage.read(lambda view: view.select("stock"))
    read = perf_counter() - begun
    await again.document(STOCK_DOC)
    loaded = perf_counter() - begun
    assert len(rows) == PRODUCTS
    memory, peak = status_bytes("VmRSS"), status_bytes("VmHWM")
    await again.close()
    return {
        "memory_bytes": float(memory),
        "memory_peak_bytes": float(peak),
        "restart_ms": read * 1e3,
        "open_ms": opened * 1e3,
        "loaded_ms": loaded * 1e3,
    }


async def _growth(size: int, folder: Path) -> tuple[float, FinalState, dict[str, float]]:
    target = ledger(folder, LOJA, RETAIL)
    await target.open()
    tenths = await _fill(target, size)
    memory = status_bytes("VmRSS")
    await target.tidying.tidy()
    stored = await target.stored(STOCK_DOC)
    await target.close()
    disk = store_bytes(folder)
    command = [sys.executable, "-m", "benchmarks.many_updates", str(folder)]
    restarted = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: ASYNC221 - nothing else runs
    seconds = sum(tenths)
    details: dict[str, float] = {
        "us_per_update": seconds / size * 1e6,
        "us_per_update_first_tenth": tenths[0] / (size // 10) * 1e6,
        "us_per_update_last_tenth": tenths[-1] / (size // 10) * 1e6,
        "us_per_update_median_tenth": statistics.median(tenths) / (size // 10) * 1e6,
        "document_bytes": float(sum(map(len, stored))),
        "disk_bytes": float(disk),
        "writer_memory_bytes": float(memory),
        "writer_memory_peak_bytes": float(status_bytes("VmHWM")),
        **json.loads(restarted.stdout),
    }
    return seconds, state_of(folder / STORE_NAME), details


def _groups(size: int) -> Iterator[tuple[list[Sale], list[Sale]]]:
    """Yield what is taken from the stock in each commit."""
    updates = sales(1, size, PRODUCTS)
    while group := list(islice(updates, _AT_ONCE)):
        yield [], group


def growth(size: int, folder: Path) -> tuple[float, FinalState, dict[str, float]]:
    """Return seconds, state and details of that many updates."""
    with seldom_collected():
        seconds, state, details = asyncio.run(_growth(size, folder))
    details["limit_upsert_seconds"] = bare.stored(_groups(size))
    return seconds, state, details


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_restart(Path(sys.argv[1])))))
