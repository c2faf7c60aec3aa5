"""A sale as a lane makes it, whole and in one transaction: for every figure that times one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import perf_counter, process_time
from typing import TYPE_CHECKING, NamedTuple

from adapters.receivables import Receivable
from adapters.sales import Payment, PaymentMethod, Sale, SaleLine
from adapters.stock import StockItem
from adapters.till_operations import TillOperation, TillOperationKind

if TYPE_CHECKING:
    from crdtsync.node import Node

_WHEN = datetime(2026, 11, 24, 13, tzinfo=UTC)


class Sold(NamedTuple):
    """What a sale took: seconds that the cashier waited, and seconds of work of this process meanwhile."""

    wall: float
    work: float


async def sell(node: Node, number: int, product: str, *, credit: bool = False) -> Sold:
    """Sell one unit: sale, till operation, stock; on credit a receivable too. By its records, a minute after the one before."""
    when = _WHEN + timedelta(minutes=number)
    line = SaleLine(product=product, quantity=Decimal(1), unit_price=Decimal("9.90"))
    method = PaymentMethod.CREDIARIO if credit else PaymentMethod.PIX
    customer = "c1" if credit else None
    begun, worked = perf_counter(), process_time()
    async with node.transaction() as tx:
        payment = Payment(method=method, amount=line.total)
        tx.create(Sale, id=f"v{number}", sold_at=when, lines=[line], payments=[payment], customer=customer)
        tx.create(
            TillOperation,
            id=f"o{number}",
            kind=TillOperationKind.VENDA,
            happened_at=when,
            shift="t1",
            amount=line.total,
            sale=f"v{number}",
        )
        if credit:
            tx.create(
                Receivable,
                id=f"r{number}",
                number=f"{number}/1",
                customer=customer,
                sale=f"v{number}",
                issued_on=when.date(),
                due_on=when.date(),
                value=line.total,
            )
        (await tx.get(StockItem, product)).balance.subtract(1, cause=f"v{number}")
    return Sold(perf_counter() - begun, process_time() - worked)
