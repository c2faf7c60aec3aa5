"""A run that ``kill -9`` cuts: a real process, a real socket, a real file."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from adapters.products import Product
from crdtsync.errors import NodeGone
from crdtsync.node import Node, NodeConfig, load_config
from crdtsync.node.caller import call
from crdtsync.node.config import write_config
from crdtsync.schema import Role

if TYPE_CHECKING:
    from pathlib import Path

# Several of the large pieces of a first download.
PRODUCTS = 30_000
_WAIT_SECONDS_MAX = 40.0


async def a_run_in_the_middle(folder: Path) -> dict[str, Any]:
    """Ask the running node until its run has moved something and not all."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _WAIT_SECONDS_MAX
    while True:
        try:
            queue = await call(folder, "queue")
        except NodeGone:
            queue = None
        moving = queue and queue["running"] and 0 < queue["running"]["percent"] < 100
        if moving:
            return dict(queue["running"])
        assert loop.time() < deadline, f"no run was seen in the middle; the last answer was {queue}"
        await asyncio.sleep(0.02)


async def test_a_run_cut_by_kill_9_appears_as_interrupted_and_the_next_one_takes_the_rest(
    tmp_path: Path,
) -> None:
    above, below = tmp_path / "gestao", tmp_path / "loja1"
    above.mkdir()
    async with Node(NodeConfig(above, "gestao", Role.GESTAO, listen=True)) as gestao:
        await gestao.load(Product, ({"id": f"p{n}", "name": f"produto {n}"} for n in range(PRODUCTS)))
        assert gestao.server is not None
        write_config(
            NodeConfig(
                below,
                "loja1",
                Role.LOJA,
                store="loja1",
                upstream=f"ws://127.0.0.1:{gestao.server.port}",
                # Slow enough to be seen in the middle.
                limit_kb_s=40,
            )
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crdtsync.cli", "run", str(below), stdout=asyncio.subprocess.DEVNULL
        )
        try:
            running = await a_run_in_the_middle(below)
        finally:
            process.kill()
            await process.wait()
        assert running["trigger"] == "initial"

        config = load_config(below)
        async with Node(config) as loja:
            first = (await loja.history())["runs"][-1]
            assert (first["id"], first["trigger"]) == (running["id"], "initial")
            assert (first["result"], first["ended_ms"]) == ("interrupted", None)
            # All that was acknowledged before the kill is here: what is left is what the next run takes.
            held = await loja.count(Product)
            assert 0 < held < PRODUCTS
            async with asyncio.timeout(_WAIT_SECONDS_MAX):
                while not loja.initial_done:  # noqa: ASYNC110 - looked at from outside
                    await asyncio.sleep(0.02)
            runs = (await loja.history())["runs"]
            assert [run["result"] for run in runs] == ["done", "interrupted"]
            assert runs[0]["records_down"] == PRODUCTS - held
            assert await loja.count(Product) == PRODUCTS
