"""What a write costs does not grow with what the node holds: the store's work for one more record is counted.

SQLite calls back after every so many of its instructions, so the work is counted exactly and no clock is read.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapters.customers import Customer
from adapters.products import Product
from adapters.sales import Payment, PaymentMethod, Sale, SaleLine
from adapters.stock import StockItem
from adapters.till_operations import TillOperation, TillOperationKind
from crdtsync import Role, load_installed
from crdtsync.node import Node, NodeConfig
from crdtsync.node.node import table_specs
from crdtsync.storage import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FEW, MANY = 30, 400
# Trees that are one level deeper cost a little more; reading the whole category would cost ten times as much.
GROWTH_MAX = 1.5
OPENED = datetime(2026, 11, 24, 11, tzinfo=UTC)


def gtin(number: int) -> str:
    digits = f"789{number:09d}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return f"{digits}{-total % 10}"


async def sell(node: Node, number: int) -> None:
    """Sales of one shift, each of another product."""
    when = OPENED + timedelta(seconds=7 * number)
    line = SaleLine(product=f"p{number}", quantity=Decimal(1), unit_price=Decimal("9.90"))
    async with node.transaction() as tx:
        payment = Payment(method=PaymentMethod.PIX, amount=line.total)
        tx.create(Sale, id=f"v{number}", sold_at=when, lines=[line], payments=[payment])
        tx.create(
            TillOperation,
            id=f"o{number}",
            kind=TillOperationKind.VENDA,
            happened_at=when,
            shift="t1",
            amount=line.total,
            sale=f"v{number}",
        )
        tx.create(StockItem, product=f"p{number}").balance.subtract(1, cause=f"v{number}")


async def add_product(node: Node, number: int) -> None:
    async with node.transaction() as tx:
        tx.create(Product, id=f"p{number}", name=f"ARROZ {number}", gtin=gtin(number))


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
