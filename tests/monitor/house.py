"""A small schema with every kind of field, a real node in a real file, and programs and browsers that ask it."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import httpx

from crdtsync import (
    Case,
    Counter,
    Entity,
    Key,
    Money,
    Once,
    Quantity,
    Ref,
    Register,
    Role,
    Rows,
    Schema,
    Set,
    Severity,
    Struct,
    by_lane_month,
    by_store,
    invariant,
    option,
)
from crdtsync.monitor.app import build
from crdtsync.monitor.pulse import Pulse
from crdtsync.monitor.security import Door
from crdtsync.monitor.tokens import Tokens, tokens_of
from crdtsync.node import Node, NodeConfig
from crdtsync.node.remembered import Neighbour
from crdtsync.pendencies.records import Decision, Incident, Person
from crdtsync.storage.base import Commit, ReplicaRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PORT = 7411
HOST = f"127.0.0.1:{PORT}"
ALL = set(Role)


class Kind(StrEnum):
    FOOD = "food"
    OTHER = "other"


class Product(Entity, category="products", title="Produtos", writers=ALL):
    id = Key()
    name = Register(str, max_length=40)
    price = Money(default=Decimal(0))
    kind = Register(Kind, default=Kind.OTHER)
    until = Register(date, optional=True)
    active = Register(bool, default=True)
    shelf = Register(int, optional=True)
    tags = Set(str)


class Stock(Entity, category="stock", title="Estoque", writers=ALL, partition=by_store):
    id = Key(Ref(Product))
    balance = Counter()

    @invariant("T01", title="Abaixo de zero", owner=Role.LOJA, severity=Severity.M, effect="Falta.")
    def not_negative(self) -> bool:
        """A balance is not below zero."""
        return self.balance >= 0

    @option("T01", "aceitar", "Aceitar")
    async def accept(self, case: Case) -> None:
        """Nada muda."""


class Spot(Entity, category="spots", title="Lugares", writers=ALL):
    product = Key(Ref(Product))
    place = Key(int)
    # A name that a model has for itself.
    copy = Register(str, optional=True)


class Line(Struct):
    product = Ref(Product)
    quantity = Quantity()
    note = Once(str, optional=True)


class Sale(Entity, category="sales", title="Vendas", writers=ALL, partition=by_lane_month("at")):
    id = Key()
    at = Once(datetime)
    lines = Once(Rows(Line))


SCHEMA = Schema([Product, Stock, Spot, Sale, Person, Decision, Incident])


class Clock:
    """A clock that a test moves, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class House:
    """An open node and the application over it."""

    node: Node
    pulse: Pulse
    door: Door
    tokens: Tokens
    clock: Clock
    app: Any
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def client(self, **headers: str) -> httpx.AsyncClient:
        """Somebody who says nothing but these headers."""
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url=f"http://{HOST}", headers=headers
        )
        self.clients.append(client)
        return client

    @property
    def resolver(self) -> httpx.AsyncClient:
        """A program that may do everything."""
        return self.client(Authorization=f"Bearer {self.tokens.resolver}")

    @property
    def reader(self) -> httpx.AsyncClient:
        """A program that only looks."""
        return self.client(Authorization=f"Bearer {self.tokens.reader}")

    async def browser(self, token: str | None = None) -> httpx.AsyncClient:
        """A browser that was opened with a token."""
        client = self.client(Origin=f"http://{HOST}")
        answer = await client.post("/api/enter", json={"token": token or self.tokens.resolver})
        assert answer.status_code == 200, answer.text
        return client

    async def write(self, *operations: dict[str, Any], key: str | None = None) -> httpx.Response:
        """Ask for a transaction with a key of its own."""
        body = {"idempotency_key": key or secrets.token_hex(8), "operations": operations}
        return await self.resolver.post("/api/transactions", json=body)


def config_of(folder: Path, **settings: Any) -> NodeConfig:
    return NodeConfig(folder, "loja1", Role.LOJA, **{"store": "loja1", "monitor": PORT, **settings})


@asynccontextmanager
async def house_in(folder: Path, *, config: NodeConfig | None = None) -> AsyncIterator[House]:
    async with Node(config or config_of(folder), schema=SCHEMA) as node:
        pulse, clock, tokens = Pulse(node), Clock(), tokens_of(folder)
        door = Door(tokens, PORT, clock)
        house = House(node, pulse, door, tokens, clock, build(node, door, pulse, PORT))
        with pulse.listening():
            yield house
        for client in house.clients:
            await client.aclose()


async def add_fleet(node: Node, stores: int) -> None:
    """Let a head office remember stores ``loja000`` and on, each away a minute longer, with two lanes each."""
    memory, now_ms = node.uplink.memory, node.ledger.clock.now_ms()
    lanes: list[ReplicaRow] = []
    for n in range(stores):
        device = f"loja{n:03}"
        memory.heard[device] = now_ms - n * 60_000 + 30_000
        memory.below[device] = Neighbour("loja", device, "crdtsync 0.1.0", n - 250, waiting=n % 7)
        lanes += [
            ReplicaRow(10_000 + 2 * n + lane, f"caixa{lane}", "caixa", device, "main") for lane in (0, 1)
        ]
    memory.lanes["loja007/caixa1"] = now_ms - 1_000
    await node.ledger.commit(Commit(replicas=lanes))


def create(category: str, key: str, **values: Any) -> dict[str, Any]:
    return {"do": "create", "category": category, "key": key, "values": values}


def move(key: str, amount: str, **more: Any) -> dict[str, Any]:
    return {"do": "move", "category": "stock", "key": key, "values": {"balance": amount}, **more}


def problem(answer: httpx.Response, status: int) -> str:
    """The word of a problem, which has the form that every error has."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert {"type", "title", "status", "detail"} <= said.keys()
    assert said["status"] == status
    return str(said["type"]).removeprefix("urn:crdtsync:problem:")
