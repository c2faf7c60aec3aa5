"""Nodes inside one process: an in-memory network, real sessions, ledgers and SQLite files.

What a test waits for is polled against a deadline; no test sleeps for a guessed time.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Self

from adapters.products import Product
from adapters.sales import Payment, PaymentMethod, Sale, SaleLine
from adapters.stock import StockItem
from adapters.till_operations import TillOperation, TillOperationKind
from crdtsync.node import Node, NodeConfig
from crdtsync.node.tracking import alerts_of
from crdtsync.schema import Role
from crdtsync.transport.memory import MemoryNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from crdtsync.node.clock import Clock
    from crdtsync.schema import Schema

_POLL_SECONDS = 0.01
_WAIT_SECONDS_MAX = 20.0
WHEN = datetime(2026, 11, 24, 10, tzinfo=UTC)
STORE = "loja1"
ABOVE = {Role.GESTAO: None, Role.LOJA: "gestao", Role.CAIXA: STORE}


async def until(condition: Callable[[], bool], what: str) -> None:
    """Poll until a condition holds; fail when it does not within the time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _WAIT_SECONDS_MAX
    while not condition():
        assert loop.time() < deadline, f"not within {_WAIT_SECONDS_MAX:.0f} s: {what}"
        await asyncio.sleep(_POLL_SECONDS)


def is_even(upper: Node, lower: Node) -> bool:
    """Tell whether two neighbours hold the same logs of what they both are to hold."""
    above, below = upper.ledger, lower.ledger
    return above.digest(above.scope(below.identity)) == below.digest(below.scope(above.identity))


class Shop:
    """Opens nodes by name and closes all of them at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = MemoryNetwork(Random(1))
        self.nodes: dict[str, Node] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for name in reversed(list(self.nodes)):
            await self.close(name)

    def clock(self, _name: str) -> Clock | None:
        """Return the clock of a node; the machine's when None."""
        return None

    async def open(
        self,
        name: str,
        schema: Schema | None = None,
        *,
        role: Role | None = None,
        account: str = "main",
        store: str = STORE,
        upstream: str | None = None,
        clock: Clock | None = None,
        enrolment: str | None = None,
    ) -> Node:
        """Open a node; its role follows from its name, its upstream from its role."""
        role = role or Role(name.rstrip("0123456789"))
        above = upstream or ABOVE[role]
        (self.folder / name).mkdir(exist_ok=True)
        config = NodeConfig(
            self.folder / name,
            name,
            role,
            account=account,
            store=None if role is Role.GESTAO else store,
            upstream=above and f"memory://{above}",
            listen=role is not Role.CAIXA,
            enrolment=enrolment,
        )
        node = Node(
            config,
            schema=schema,
            transport=self.network.endpoint(name),
            clock=clock or self.clock(name),
            dice=Random(name),
        )
        await node.open()
        self.nodes[name] = node
        return node

    async def close(self, name: str) -> None:
        """Close a node."""
        await self.nodes.pop(name).close()

    async def even(self, among: Collection[str] | None = None) -> None:
        """Ask for checks until every node, or each of these, is even with the one above it, where that one is open."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _WAIT_SECONDS_MAX
        while True:
            pairs = [
                (self.nodes[node.config.upstream.removeprefix("memory://")], node)
                for name, node in self.nodes.items()
                if node.config.upstream
                and node.config.upstream.removeprefix("memory://") in self.nodes
                and (among is None or name in among)
            ]
            if all(lower.initial_done and is_even(upper, lower) for upper, lower in pairs):
                return
            troubles = {node.config.device: node.trouble for node in self.nodes.values() if node.trouble}
            assert loop.time() < deadline, f"not even within {_WAIT_SECONDS_MAX:.0f} s; {troubles}"
            for _, lower in pairs:
                lower.request_check()
            await asyncio.sleep(_POLL_SECONDS)


async def add_product(gestao: Node, product: str = "p1") -> None:
    async with gestao.transaction() as tx:
        tx.create(Product, id=product, name="Arroz 5 kg", price=Decimal("25.90"))


async def receive_units(loja: Node, units: int, product: str = "p1") -> None:
    async with loja.transaction() as tx:
        item = await tx.find(StockItem, product) or tx.create(StockItem, product=product)
        item.balance.add(units, cause="entrada")


async def sell(caixa: Node, sale: str, product: str = "p1") -> None:
    """One unit: a sale, its till operation and the stock in one transaction."""
    line = SaleLine(product=product, quantity=Decimal(1), unit_price=Decimal("25.90"))
    async with caixa.transaction() as tx:
        payment = Payment(method=PaymentMethod.PIX, amount=line.total)
        tx.create(Sale, id=sale, sold_at=WHEN, lines=[line], payments=[payment])
        tx.create(
            TillOperation,
            id=f"v{sale}",
            kind=TillOperationKind.VENDA,
            happened_at=WHEN,
            shift="t1",
            amount=line.total,
            sale=sale,
        )
        (await tx.get(StockItem, product)).balance.subtract(1, cause=sale)


async def balance(node: Node, product: str = "p1") -> Decimal:
    item = await node.get(StockItem, product)
    assert item is not None
    return Decimal(str(item.balance))


def told(node: Node) -> list[str]:
    """The alerts of a node, as one line each."""
    return [f"{alert.code}: {alert.subject}: {alert.detail}" for alert in alerts_of(node)]
