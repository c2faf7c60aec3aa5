"""A head office, a store and its lanes in virtual time: real nodes, an in-memory network, clocks that can be set.

Every story runs on a loop whose time costs nothing; waiting a day takes no day.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from crdtsync import Entity, Key, Money, Once, Ref, Register, Role, Schema, by_lane_month, invariant
from crdtsync.node import Node, NodeConfig
from crdtsync.storage import MemoryStorage
from crdtsync.storage.tables import table_specs
from crdtsync.testing.loop import VirtualLoop, run_virtual
from crdtsync.transport.memory import MemoryNetwork

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from crdtsync.node.run import Run

MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR
CHECK = 15 * MINUTE
COOLDOWN = 5 * MINUTE
STORE = "loja1"
# A Tuesday, ten in the morning in the store's time zone.
BEGIN = datetime(2026, 11, 24, 13, tzinfo=UTC)
ZONE = ZoneInfo("America/Sao_Paulo")
EVERYBODY = set(Role)
ABOVE = {Role.GESTAO: None, Role.LOJA: "gestao", Role.CAIXA: STORE}


class Group(Entity, category="groups", title="Grupos", writers=EVERYBODY, download=1):
    id = Key()
    name = Register(str)


class Product(Entity, category="products", title="Produtos", writers=EVERYBODY):
    id = Key()
    name = Register(str)
    price = Money(default=Decimal(1))
    group = Ref(Group, optional=True)

    @invariant("S01", title="Preço negativo", owner=Role.LOJA)
    def price_not_negative(self) -> bool:
        """A price is not below zero."""
        return self.price >= 0


class Sale(
    Entity, category="sales", title="Vendas", writers={Role.LOJA, Role.CAIXA}, partition=by_lane_month("at")
):
    id = Key()
    at = Once(datetime)
    product = Ref(Product, optional=True)


class Note(Entity, category="notes", title="Notas", writers=EVERYBODY):
    """Refers to nothing, and nothing refers to it."""

    id = Key()
    text = Register(str)


SCHEMA = Schema([Group, Product, Sale, Note])


class Clock:
    """Virtual time; ``shift`` is how many seconds a person set the date forward, ``booted`` when the machine started."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self.shift = 0.0
        self.booted = -1000.0

    def now_ms(self) -> int:
        seconds = asyncio.get_running_loop().time() + self.shift
        return int(BEGIN.timestamp() * 1000 + seconds * 1000)

    def today(self) -> date:
        return datetime.fromtimestamp(self.now_ms() / 1000, ZONE).date()

    def uptime(self) -> float:
        return asyncio.get_running_loop().time() - self.booted

    def reboot(self) -> None:
        """The machine starts again now."""
        self.booted = asyncio.get_running_loop().time()

    def random_bytes(self, size: int) -> bytes:
        return self._dice.randbytes(size)


class Street:
    """Opens, closes and kills nodes by name."""

    def __init__(self) -> None:
        self.dice = Random(7)
        self.network = MemoryNetwork(self.dice)
        self.nodes: dict[str, Node] = {}
        self.clocks: dict[str, Clock] = {}
        self.disks: dict[str, MemoryStorage] = {}
        self.settings: dict[str, dict[str, Any]] = {}

    async def open(self, name: str, **settings: Any) -> Node:
        """Open a node, with the disk and the settings it had; more settings add to them."""
        role = Role(name.rstrip("0123456789"))
        above = ABOVE[role]
        known = self.settings.setdefault(name, {})
        known |= settings
        config = NodeConfig(
            Path(name),
            name,
            role,
            **{
                "store": None if role is Role.GESTAO else STORE,
                "upstream": above and f"memory://{above}",
                "listen": role is not Role.CAIXA,
            }
            | known,
        )
        node = Node(
            config,
            schema=SCHEMA,
            storage=self.disks.setdefault(name, MemoryStorage(table_specs(SCHEMA))),
            transport=self.network.endpoint(name),
            clock=self.clocks.setdefault(name, Clock(self.dice)),
            dice=self.dice,
        )
        await node.open()
        self.nodes[name] = node
        return node

    async def store(self, **settings: Any) -> Node:
        """Open a head office with two products and a store below it that has them; return the store."""
        gestao = await self.open("gestao")
        await products(gestao, "a", "b")
        loja = await self.open(STORE, **settings)
        await until(lambda: loja.initial_done, 60)
        return loja

    async def lane(self, **settings: Any) -> Node:
        """The same, and a lane; return the lane."""
        await self.store()
        caixa = await self.open("caixa1", **settings)
        await until(lambda: caixa.initial_done, 120)
        return caixa

    async def close(self, name: str) -> None:
        """Close a node cleanly."""
        await self.nodes.pop(name).close()

    async def kill(self, name: str) -> None:
        """The power goes: nothing more is written, sent or finished."""
        node = self.nodes.pop(name)
        self.disks[name].crash()
        node.ledger.abort()
        kept = [*vars(node).values(), *vars(node.ledger).values(), *vars(node.uplink).values()]
        tasks = [task for task in [*kept, node.uplink.history._storing] if isinstance(task, asyncio.Task)]
        for task in tasks:
            task.cancel()
        if node.server is not None:
            await node.server.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.disks[name] = self.disks[name].reopen()

    async def end(self) -> None:
        """Close what is open."""
        for name in reversed(list(self.nodes)):
            await self.close(name)


def told(story: Callable[[Street], Awaitable[None]]) -> Callable[[], None]:
    """Make a test of a story on a street: it runs in virtual time, for at most a virtual year."""

    async def whole() -> None:
        street = Street()
        try:
            await story(street)
        finally:
            await street.end()

    def test() -> None:
        loop = VirtualLoop(400 * DAY)
        run_virtual(whole(), loop)
        assert loop.unhandled == []

    test.__name__ = story.__name__
    test.__module__ = story.__module__
    test.__doc__ = story.__doc__
    return test


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Let virtual time pass until a condition holds; fail when it does not within so many seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, f"not within {seconds:.0f} virtual seconds"
        await asyncio.sleep(0.01)


async def products(node: Node, *ids: str) -> None:
    async with node.transaction() as tx:
        for product in ids:
            tx.create(Product, id=product, name=f"produto {product}")


async def sell(node: Node, *ids: str, product: str = "a") -> None:
    """One transaction for each sale."""
    for sale in ids:
        async with node.transaction() as tx:
            tx.create(Sale, id=sale, at=BEGIN, product=product)


async def note(node: Node, *ids: str) -> None:
    async with node.transaction() as tx:
        for text in ids:
            tx.create(Note, id=text, text="x")


async def runs(node: Node, days: int = 400) -> list[dict[str, Any]]:
    """The node's history, oldest first."""
    found: list[dict[str, Any]] = (await node.history(days=days, limit=1000))["runs"]
    return found[::-1]


async def entry(node: Node, category: str, direction: str = "upload") -> dict[str, Any] | None:
    """One line of the node's queue."""
    lines: list[dict[str, Any]] = (await node.queue())["categories"]
    found = [line for line in lines if (line["category"], line["direction"]) == (category, direction)]
    return found[0] if found else None


def watch(node: Node, seen: Callable[[Run], None]) -> None:
    """Look at a run after every step of it."""
    node.on_run.append(seen)
