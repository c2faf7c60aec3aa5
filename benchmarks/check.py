"""The routine check of two nodes that hold the same: bytes through the socket between them, documents loaded."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from time import perf_counter

from adapters.demo.relay import Relay
from benchmarks.catalogue import DOC, SCHEMA, Sent, fill
from benchmarks.measure import Figure, Sizes
from crdtsync.node import Node, NodeConfig
from crdtsync.schema import Role

BYTES_MAX = 1_000
_WAIT_SECONDS = 120
_CHECKS = 20


async def _runs(node: Node, count: int) -> None:
    """Wait until the link to the node above has ended `count` runs."""
    async with asyncio.timeout(_WAIT_SECONDS):
        while node.upstream is None or node.upstream.runs_ended < count:  # noqa: ASYNC110 - a run that moves nothing tells nobody
            await asyncio.sleep(0.001)


async def _measure(catalogue: Sent) -> tuple[dict[str, float], int]:
    """Return the details, and how many documents the checks left in memory at the two ends."""
    with tempfile.TemporaryDirectory() as above, tempfile.TemporaryDirectory() as below:
        await fill(Path(above), catalogue.updates)
        async with Node(NodeConfig(Path(above), "gestao", Role.GESTAO, listen=True), schema=SCHEMA) as gestao:
            assert gestao.server is not None
            relay = Relay(gestao.server.port)
            await relay.start()
            url = f"ws://127.0.0.1:{relay.port}"
            config = NodeConfig(Path(below), "loja1", Role.LOJA, store="loja1", upstream=url)
            begun = perf_counter()
            async with Node(config, schema=SCHEMA) as loja:
                await _runs(loja, 1)
                initial, seconds = relay.carried, perf_counter() - begun
                if loja.ledger.digest_of(DOC) != gestao.ledger.digest_of(DOC):
                    raise AssertionError("the two nodes do not hold the same")
                gestao.ledger.unload()
                loja.ledger.unload()
                before, begun = relay.carried, perf_counter()
                for number in range(_CHECKS):
                    loja.request_check()
                    await _runs(loja, number + 2)
                lasted = (perf_counter() - begun) / _CHECKS
                size = (relay.carried - before) / _CHECKS
                loaded = len(gestao.ledger.loaded()) + len(loja.ledger.loaded())
            await relay.cut()
    details = {
        "bytes": size,
        "ms": lasted * 1e3,
        "bytes of the initial synchronization before it": initial,
        "seconds of the initial synchronization": seconds,
    }
    return details, loaded


def measure(sizes: Sizes, catalogue: Sent) -> list[Figure]:
    """Return the bytes of one check and the documents that it loaded."""
    details, loaded = asyncio.run(_measure(catalogue))
    name = f"idle routine check over {sizes.products:,} products"
    return [
        Figure(
            f"{name}: on the wire", details["bytes"], BYTES_MAX, "bytes", "both directions, framing", details
        ),
        Figure(f"{name}: documents loaded", loaded, 0, "documents", "both ends"),
    ]
