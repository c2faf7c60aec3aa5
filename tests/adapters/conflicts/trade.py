"""Ordinary work at the nodes of a store: products, stock, sales, instalments, till operations. One transaction each."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from adapters.customers import Customer
from adapters.products import Product
from adapters.receivables import Receivable, Settlement
from adapters.sale_corrections import CorrectionKind, SaleCorrection
from adapters.sales import Payment, PaymentMethod, Sale, SaleLine
from adapters.stock import StockItem
from adapters.till_operations import TillOperation, TillOperationKind
from tests.node.shop import WHEN

if TYPE_CHECKING:
    from crdtsync.node import Node

PRICE = Decimal("25.90")
NOON = WHEN + timedelta(hours=2)


def line(product: str = "p1", quantity: int = 1, **values: Any) -> SaleLine:
    return SaleLine(**{"product": product, "quantity": Decimal(quantity), "unit_price": PRICE, **values})


async def product(gestao: Node, key: str = "p1", **values: Any) -> None:
    async with gestao.transaction() as tx:
        tx.create(Product, **{"id": key, "name": f"Arroz {key}", "price": PRICE, **values})


async def customer(node: Node, key: str = "ana", limit: int | None = 1000) -> None:
    async with node.transaction() as tx:
        tx.create(Customer, id=key, name="Ana")
    async with node.transaction() as tx:
        if limit is not None:
            (await tx.get(Customer, key)).credit_limit = Decimal(limit)


async def receive(loja: Node, units: int, key: str = "p1") -> None:
    async with loja.transaction() as tx:
        item = await tx.find(StockItem, key) or tx.create(StockItem, product=key)
        item.balance.add(units, cause="entrada")


async def count(node: Node, units: int, key: str = "p1") -> None:
    async with node.transaction() as tx:
        (await tx.get(StockItem, key)).balance.count(units)


async def sell(lane: Node, key: str, *lines: SaleLine, at: datetime = NOON, **values: Any) -> None:
    """A sale with the stock that it takes."""
    sold = list(lines) or [line()]
    total = sum((one.total for one in sold), Decimal(0))
    async with lane.transaction() as tx:
        payments = [Payment(method=PaymentMethod.PIX, amount=total)]
        tx.create(Sale, **{"id": key, "sold_at": at, "lines": sold, "payments": payments, **values})
        for one in sold:
            item = await tx.find(StockItem, one.product) or tx.create(StockItem, product=one.product)
            item.balance.subtract(one.quantity, cause=key)


async def give_back(node: Node, key: str, sale: str, *, units: int = 1, at: datetime = NOON) -> None:
    """A return with the stock that it brings."""
    back = line(quantity=units)
    async with node.transaction() as tx:
        tx.create(
            SaleCorrection,
            id=key,
            kind=CorrectionKind.DEVOLUCAO,
            made_at=at,
            sale=sale,
            amount=back.total,
            lines=[back],
        )
        item = await tx.find(StockItem, "p1") or tx.create(StockItem, product="p1")
        item.balance.add(back.quantity, cause=key)


async def owe(node: Node, key: str, value: int = 100, **values: Any) -> None:
    """A receivable of Ana, due within the days that a lane holds."""
    async with node.transaction() as tx:
        tx.create(
            Receivable,
            **{
                "id": key,
                "number": key,
                "customer": "ana",
                "issued_on": WHEN.date(),
                "due_on": date(2026, 12, 1),
                "value": Decimal(value),
                **values,
            },
        )


async def pay(node: Node, key: str, settlement: str, amount: int = 100, *, at: datetime = NOON) -> None:
    async with node.transaction() as tx:
        (await tx.get(Receivable, key)).settlements.add(
            Settlement(
                id=settlement,
                settled_at=at,
                amount=Decimal(amount),
                method=PaymentMethod.DINHEIRO,
                device=node.config.device,
            )
        )


async def till(
    node: Node,
    key: str,
    kind: TillOperationKind,
    amount: int = 0,
    *,
    shift: str = "t1",
    at: datetime = NOON,
    **values: Any,
) -> None:
    async with node.transaction() as tx:
        tx.create(
            TillOperation,
            **{
                "id": key,
                "kind": kind,
                "happened_at": at,
                "shift": shift,
                "amount": Decimal(amount),
                **values,
            },
        )
