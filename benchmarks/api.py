"""A write of one record through the local API, from the program that asks to the disk and back.

Requests follow each other on one connection. Beside each the same record is written by `node.transaction` in the node's own
process, and a path is asked that does nothing: what is left is the API's own.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import closing
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from adapters.products import Product
from benchmarks.measure import Figure, Sizes, percentile
from crdtsync.monitor.serve import serve
from crdtsync.monitor.tokens import HOST, tokens_of
from crdtsync.node import Node, NodeConfig
from crdtsync.node.runner import seldom_collected
from crdtsync.schema import Role, load_installed

P99_MS_MAX = 10


class _Times(NamedTuple):
    """Seconds of each of the things that are done in turns."""

    asked: list[float]
    direct: list[float]
    idle: list[float]


async def _samples(count: int) -> tuple[float, _Times]:
    """Return the seconds of the first request, and those of the others."""
    times = _Times([], [], [])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = NodeConfig(folder, "gestao", Role.GESTAO)
        async with Node(config, schema=load_installed()) as node, serve(node) as port:
            program = _Program(port, tokens_of(folder).resolver)
            with closing(program.connection):
                first = await asyncio.to_thread(program.write, "first")
                for number in range(count):
                    times.asked.append(await asyncio.to_thread(program.write, f"a{number}"))
                    times.idle.append(await asyncio.to_thread(program.ask, "GET", "/health/live"))
                    begun = perf_counter()
                    async with node.transaction() as tx:
                        tx.create(Product, id=f"d{number}", name="ARROZ", price=Decimal("9.90"))
                    times.direct.append(perf_counter() - begun)
    return first, times


class _Program:
    """Somebody who asks, in a thread of its own."""

    def __init__(self, port: int, token: str) -> None:
        self.connection = HTTPConnection(HOST, port)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def write(self, key: str) -> float:
        """Write one record; return the seconds that it took."""
        values = {"name": "ARROZ", "price": "9.90"}
        operation = {"do": "create", "category": "products", "key": key, "values": values}
        body = {"idempotency_key": key, "operations": [operation]}
        return self.ask("POST", "/api/transactions", json.dumps(body).encode())

    def ask(self, method: str, path: str, body: bytes | None = None) -> float:
        """Ask for a path; return the seconds that it took."""
        begun = perf_counter()
        self.connection.request(method, path, body, self._headers)
        answer = self.connection.getresponse()
        answer.read()
        took = perf_counter() - begun
        assert answer.status == 200, path
        return took


def measure(sizes: Sizes) -> list[Figure]:
    """Return the 99th percentile of a write through the API."""
    # As in a node's own process.
    with seldom_collected():
        first, times = asyncio.run(_samples(sizes.samples))
    details = {"first, ms": first * 1e3}
    for name, values in (
        ("through the API", times.asked),
        ("node.transaction", times.direct),
        ("a path that does nothing", times.idle),
    ):
        for part in (0.5, 0.9, 0.99, 1.0):
            details[f"{name}, p{100 * part:g}, ms"] = percentile(values, part)
    return [
        Figure(
            "p99 of a write of one record through the local API",
            details["through the API, p99, ms"],
            P99_MS_MAX,
            "ms",
            "the same with node.transaction is in the details; other programs on the machine count",
            details,
        )
    ]
