"""The page's first view in Chromium: how long until it is filled, how much is transferred, with a store of years behind it.

The node is a real one over a file that holds 10,000 open pendencies and 100,000 synchronizations; the pendencies are
what the installed rules say of stock below zero. The node runs in a process of its own, the browser without a debugger: one
that is attached, as tests attach it, doubles the time. Every load is by a new browser with a new profile, so nothing is
cached; its tab shows another page before, so that starting the browser is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

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
from tests.process import end, started

if TYPE_CHECKING:
    from collections.abc import Iterator

MS_MAX = 200.0
BYTES_MAX = 100_000
_ROWS_PER_COMMIT = 5_000
_WAIT_SECONDS = 60
# When the sentence of state and the menu stand in the document, and the browser has drawn them.
_WATCH = """
new MutationObserver((_, watcher) => {
  if (!document.querySelector("#state-title") || !document.querySelector("#nav a")) return;
  watcher.disconnect();
  requestAnimationFrame(() => setTimeout(() => {
    const ms = performance.now();
    const loaded = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    const bytes = loaded.reduce((sum, entry) => sum + entry.transferSize, 0);
    fetch(`LISTENER?ms=${ms}&bytes=${bytes}`, { mode: "no-cors" });
  }));
}).observe(document, { childList: true, subtree: true });
"""
_MANIFEST = json.dumps(
    {
        "manifest_version": 3,
        "name": "first view",
        "version": "1",
        "content_scripts": [
            {"matches": ["http://127.0.0.1/*"], "js": ["watch.js"], "run_at": "document_start"}
        ],
    }
)
# A browser that has just been started is busy with itself for a while.
_BEFORE = """<!doctype html><title>before</title><p>before
<script>setTimeout(() => { location = "ADDRESS"; }, 2000)</script>"""


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


class _Watched:
    """A Chromium as a person has it: nothing is attached to it, for a debugger costs as much as the page.

    An extension of the browser reads when the page was filled and tells it to a listener of this process.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._address = address
        self._told: asyncio.Future[tuple[float, int]] | None = None
        self._server: asyncio.Server | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        extension = self._folder / "extension"
        extension.mkdir()
        (extension / "manifest.json").write_text(_MANIFEST, encoding="utf-8")
        watch = _WATCH.replace("LISTENER", f"http://127.0.0.1:{self._port}/filled")
        (extension / "watch.js").write_text(watch, encoding="utf-8")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def load(self) -> tuple[float, int]:
        """Open the page as somebody who was never here; return milliseconds until it was filled, and bytes."""
        self._told = asyncio.get_running_loop().create_future()
        extension = self._folder / "extension"
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browser = await asyncio.create_subprocess_exec(
                str(CHROMIUM),
                *CHROMIUM_ARGS,
                "--window-size=1024,768",
                f"--user-data-dir={profile}",
                f"--load-extension={extension}",
                f"--disable-extensions-except={extension}",
                "--disable-features=DisableLoadExtensionCommandLineSwitch",
                f"http://127.0.0.1:{self._port}/",
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                return await asyncio.wait_for(self._told, _WAIT_SECONDS)
            finally:
                browser.kill()
                await browser.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the page that leads on to the node's when the browser has settled, and hear of the node's."""
        request = await reader.readline()
        if not request:
            # A browser opens connections that it may need.
            writer.close()
            return
        query = parse_qs(urlsplit(request.split()[1].decode()).query)
        if "ms" in query and self._told is not None and not self._told.done():
            self._told.set_result((float(query["ms"][0]), int(query["bytes"][0])))
        body = _BEFORE.replace("ADDRESS", self._address).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()


@contextlib.contextmanager
def _node(folder: Path) -> Iterator[str]:
    """Run the store's node in a process of its own, as `crdtsync run` does; give the address of its page."""
    process, address = started(["-m", "benchmarks.page", folder], folder / "node.log")
    try:
        yield address.strip()
    finally:
        end(process)


async def _serve(folder: Path) -> None:
    async with Node(_config(folder), schema=load_installed()) as node, serve(node) as port:
        print(address_of(folder, port), flush=True)
        await asyncio.Event().wait()


def _config(folder: Path) -> NodeConfig:
    return NodeConfig(folder, "loja1", Role.LOJA, store="loja1", upstream="ws://127.0.0.1:9")


async def _prepare(folder: Path, pendencies: int, runs: int) -> None:
    async with Node(_config(folder), schema=load_installed()) as node:
        await _fill(node, pendencies, runs)
        open_now = len(await node.pendencies())
        assert open_now == pendencies, f"{open_now} pendencies are open"


async def _measure(pendencies: int, runs: int, loads: int) -> tuple[list[float], list[int]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await _prepare(folder, pendencies, runs)
        # Opened again: nothing that was written is still in memory.
        with _node(folder) as address:
            async with _Watched(folder, address) as chromium:
                await chromium.load()
                opened = [await chromium.load() for _ in range(loads)]
    return [ms for ms, _ in opened], [size for _, size in opened]


def measure(sizes: Sizes) -> list[Figure]:
    """Return the time and the bytes of the first view; nothing, and say so, where there is no Chromium."""
    if CHROMIUM is None:
        print(
            "page: not measured, there is no Chromium; install it: apt-get install chromium", file=sys.stderr
        )
        return []
    ms, sent = asyncio.run(_measure(sizes.pendencies, sizes.runs, sizes.page_loads))
    name = f"first view of the page, {sizes.pendencies:,} pendencies open, {sizes.runs:,} rows of history"
    details = {"shortest, ms": min(ms), "longest, ms": max(ms), "bytes": float(max(sent))}
    return [
        Figure(
            name,
            statistics.median(ms),
            MS_MAX,
            "ms",
            f"from the address to what a person sees, median of {sizes.page_loads}",
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


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
