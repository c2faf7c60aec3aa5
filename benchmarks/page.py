"""The page's first view in Chromium: how long until it is filled, how much is transferred, with a store of years behind it.

The node is a real one over a file that holds 10,000 open pendencies and 100,000 synchronizations; the pendencies are
what the installed rules say of stock below zero. Every load is by a new browser profile, so nothing is cached; its tab is open
on another path of the node, so that starting a process of the browser is not counted.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.catalogue import fill_references, products
from benchmarks.measure import Figure, Sizes
from crdtsync import limits, load_installed
from crdtsync.monitor.serve import serve
from crdtsync.monitor.tokens import address_of
from crdtsync.node import Node, NodeConfig
from crdtsync.schema import Role
from crdtsync.state.document import Op
from crdtsync.storage.base import Commit, RunCategoryRow, RunRow
from tests.chromium import CHROMIUM, CHROMIUM_ARGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.async_api import Browser

MS_MAX = 200.0
BYTES_MAX = 100_000
_LOADS = 10
_ROWS_PER_COMMIT = 5_000
_WAIT_MS = 30_000
# When the sentence of state and the menu stand in the document, and the browser has drawn them.
_WATCH = """
new MutationObserver((_, watcher) => {
  if (!document.querySelector("#state-title") || !document.querySelector("#nav a")) return;
  watcher.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.filled = performance.now(); }));
}).observe(document, { childList: true, subtree: true });
"""


def _runs(count: int, now_ms: int) -> Iterator[RunRow]:
    """One every 15 minutes, the newest now; each moved two categories."""
    parts = tuple(RunCategoryRow(name, "upload", 12, 4_096, 0.2) for name in ("sales", "stock"))
    for number in range(1, count + 1):
        started_ms = now_ms - (count - number) * limits.LIVE_GATHER_MS
        yield RunRow(
            number,
            "upstream",
            "routine",
            started_ms,
            started_ms + 400,
            "done",
            "",
            0,
            24,
            0,
            8_192,
            categories=parts,
        )


async def _fill(node: Node, pendencies: int, runs: int) -> None:
    """Write products, stock below zero, and the history."""
    await fill_references(node.ledger)
    keys = [key for key, _ in products(pendencies)]
    for first in range(0, pendencies, limits.ROWS_PER_BATCH):
        below = {key: [Op("add", "balance", -1_000)] for key in keys[first : first + limits.ROWS_PER_BATCH]}
        await node.ledger.write({"stock/loja1": below})
    rows = list(_runs(runs, node.ledger.clock.now_ms()))
    for first in range(0, runs, _ROWS_PER_COMMIT):
        await node.ledger.commit(Commit(runs=rows[first : first + _ROWS_PER_COMMIT]))


async def _load(browser: Browser, address: str) -> tuple[float, int]:
    """Open the page as somebody who was never here; return milliseconds until it was filled, and bytes."""
    context = await browser.new_context(viewport={"width": 1024, "height": 768})
    page = await context.new_page()
    await page.add_init_script(_WATCH)
    wire = await context.new_cdp_session(page)
    received: list[int] = []
    wire.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    await wire.send("Network.enable")
    await page.goto(address.partition("enter")[0] + "health/live")
    received.clear()
    await page.goto(address)
    filled: Any = await page.wait_for_function("() => window.filled", timeout=_WAIT_MS)
    ms = float(await filled.json_value())
    await context.close()
    return ms, round(sum(received))


async def _measure(pendencies: int, runs: int) -> tuple[list[float], list[int]]:
    from playwright.async_api import async_playwright  # noqa: PLC0415 - only who measures the page needs it

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = NodeConfig(folder, "loja1", Role.LOJA, store="loja1", upstream="ws://127.0.0.1:9")
        async with Node(config, schema=load_installed()) as node:
            await _fill(node, pendencies, runs)
        # Opened again: nothing that was written is still in memory.
        async with (
            Node(config, schema=load_installed()) as node,
            serve(node) as port,
            async_playwright() as driver,
        ):
            open_now = len(await node.pendencies())
            assert open_now == pendencies, f"{open_now} pendencies are open"
            browser = await driver.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_ARGS))
            address = address_of(folder, port)
            await _load(browser, address)
            loads = [await _load(browser, address) for _ in range(_LOADS)]
            await browser.close()
    return [ms for ms, _ in loads], [size for _, size in loads]


def measure(sizes: Sizes) -> list[Figure]:
    """Return the time and the bytes of the first view; nothing, and say so, where there is no Chromium."""
    if CHROMIUM is None:
        print(
            "page: not measured, there is no Chromium; install it: apt-get install chromium", file=sys.stderr
        )
        return []
    ms, sent = asyncio.run(_measure(sizes.pendencies, sizes.runs))
    name = f"first view of the page, {sizes.pendencies:,} pendencies open, {sizes.runs:,} rows of history"
    details = {"shortest, ms": min(ms), "longest, ms": max(ms), "bytes": float(max(sent))}
    return [
        Figure(
            name,
            statistics.median(ms),
            MS_MAX,
            "ms",
            f"from the address to what a person sees, median of {_LOADS}",
            details,
        ),
        Figure(
            f"{name}: transferred",
            max(sent),
            BYTES_MAX,
            "bytes",
            "everything, headers included, nothing cached",
        ),
    ]
