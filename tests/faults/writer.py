"""The process that the harnesses kill: it writes to one node as fast as it can, and notes what was acknowledged.

    python -m tests.faults.writer DIR SEED

Each transaction writes to two categories and changes a record of an earlier one. When the node has said that it is
written, its number goes to ``DIR/acknowledged`` with one `write`, which a killed process does not take back, and to whoever
started it, who kills it after so many.
"""

from __future__ import annotations

import asyncio
import os
import sys
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from crdtsync import Counter, Entity, Key, Money, Register, Role, Schema
from crdtsync.node import Node, NodeConfig
from crdtsync.node.verbs import verify
from crdtsync.pendencies.records import Decision, Incident, Person

if TYPE_CHECKING:
    from crdtsync.storage import View

ACKNOWLEDGED = "acknowledged"
WRITERS = 3
COMPACT_EVERY = 40
LINE = 9
"""Bytes of one number in the file: eight digits and the end of the line."""


class Product(Entity, category="products", title="Produtos", writers=set(Role)):
    id = Key()
    name = Register(str, max_length=40)
    price = Money(default=Decimal(0))
    shelf = Register(int, optional=True)


class Stock(Entity, category="stock", title="Estoque", writers=set(Role)):
    id = Key()
    balance = Counter()


# A schema of its own, and the node without its page: a process that is killed a thousand times must start fast.
SCHEMA = Schema([Product, Stock, Person, Decision, Incident])


def config_of(folder: Path) -> NodeConfig:
    """Return the configuration of the node that is killed."""
    return NodeConfig(folder, "gestao", Role.GESTAO)


def acknowledged(folder: Path) -> list[int]:
    """Return the numbers that were acknowledged; a torn line at the end is none."""
    path = folder / ACKNOWLEDGED
    data = path.read_bytes() if path.exists() else b""
    return [int(data[at : at + LINE]) for at in range(0, len(data) - LINE + 1, LINE)]


async def write(node: Node, number: int) -> None:
    """Write the transaction of a number."""
    async with node.transaction() as tx:
        tx.create(Product, id=f"p{number}", name=f"product {number}", price=Decimal(number))
        tx.create(Stock, id=f"p{number}").balance.count(number)
        # It may be on its way, or one that a kill took.
        earlier = await tx.find(Product, f"p{number - WRITERS}")
        if earlier is not None:
            earlier.shelf = number


async def move(node: Node, key: str) -> None:
    """Move a unit of a stock that is there, and edit its product: what is alive stays as much as it is."""
    async with node.transaction() as tx:
        stock = await tx.get(Stock, key)
        (await tx.get(Product, key)).shelf = int(stock.balance) + 1
        stock.balance.add(1)


async def _write_for_ever(folder: Path, seed: int) -> None:
    dice = Random(seed)
    log = os.open(folder / ACKNOWLEDGED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    async with Node(config_of(folder), schema=SCHEMA) as node:
        taken = await node.ledger.storage.read(_next)

        async def one() -> None:
            nonlocal taken
            while True:
                number, taken = taken, taken + 1
                await write(node, number)
                line = b"%08d\n" % number
                os.write(log, line)
                os.write(sys.stdout.fileno(), line)
                if number % COMPACT_EVERY == 0:
                    doc = dice.choice(sorted(node.ledger.heads))
                    await node.ledger.compact(doc)
                    await node.ledger.squash(doc)
                    await node.ledger.storage.checkpoint()

        print("ready", flush=True)
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(one())


def _next(view: View) -> int:
    keys = [int(row[1][1:]) for row in view.select("products", include_deleted=True)]
    return max(keys, default=-1) + 1


async def judge(folder: Path, acked: list[int]) -> list[str]:
    """Open what a kill or a power cut left, and say what is wrong with it."""
    async with Node(config_of(folder), schema=SCHEMA) as node:
        products, stocks = await node.ledger.storage.read(
            lambda view: (
                {row[1] for row in view.select("products")},
                {row[1] for row in view.select("stock")},
            )
        )
        report = await verify(node, lambda _done, _all: None)
    wrong = [str(finding) for finding in report["findings"]]
    wrong += [f"transaction {n} was acknowledged and is lost" for n in acked if f"p{n}" not in products]
    wrong += [f"half of the transaction of {key} is there" for key in sorted(products ^ stocks)]
    return wrong


if __name__ == "__main__":
    asyncio.run(_write_for_ever(Path(sys.argv[1]), int(sys.argv[2])))
