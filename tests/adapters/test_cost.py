"""What a write costs does not grow with what the node holds: the store's work for one more record is counted.

SQLite calls back after every so many of its instructions, so the work is counted exactly and no clock is read.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapters.customers import Customer
from adapters.products import Product
from adapters.till_operations import TillOperationKind
from benchmarks.catalogue import products
from crdtsync import Role, load_installed
from crdtsync.node import Node, NodeConfig
from crdtsync.storage import MemoryStorage
from crdtsync.storage.tables import table_specs
from tests.adapters.conflicts import trade

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FEW, MANY = 30, 400
# Trees that are one level deeper cost a little more; reading the whole category would cost ten times as much.
GROWTH_MAX = 1.5
OPENED = datetime(2026, 11, 24, 11, tzinfo=UTC)


GTINS = [values["gtin"] for _, values in products(MANY + 10)]


async def sell(node: Node, number: int) -> None:
    """Sales of one shift, each of another product."""
    when = OPENED + timedelta(seconds=7 * number)
    await trade.sell(node, f"v{number}", trade.line(f"p{number}"), at=when)
    await trade.till(node, f"o{number}", TillOperationKind.VENDA, 9, sale=f"v{number}", at=when)


async def add_product(node: Node, number: int) -> None:
    async with node.transaction() as tx:
        tx.create(Product, id=f"p{number}", name=f"ARROZ {number}", gtin=GTINS[number])


async def add_customer(node: Node, number: int) -> None:
    async with node.transaction() as tx:
        tx.create(Customer, id=f"c{number}", name=f"CLIENTE {number}")


async def work(role: Role, add: Callable[[Node, int], Awaitable[None]], before: int) -> int:
    """SQLite instructions, in thousands, of ten more records after so many."""
    schema = load_installed()
    store = MemoryStorage(table_specs(schema))
    config = NodeConfig(Path(), "n1", role, store=None if role is Role.GESTAO else "s1")
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    async with Node(config, schema=schema, storage=store) as node:
        for number in range(before):
            await add(node, number)
        assert store._connection is not None
        store._connection.set_progress_handler(count, 100)
        for number in range(before, before + 10):
            await add(node, number)
        store._connection.set_progress_handler(None, 0)
    return steps


@pytest.mark.parametrize(
    ("role", "add"),
    [(Role.LOJA, sell), (Role.CAIXA, sell), (Role.GESTAO, add_product), (Role.GESTAO, add_customer)],
)
async def test_one_more_record_costs_the_same_after_many(
    role: Role, add: Callable[[Node, int], Awaitable[None]]
) -> None:
    few, many = await work(role, add, FEW), await work(role, add, MANY)
    assert few > 0
    assert many <= GROWTH_MAX * few
