"""What each node of the demo does with the real week: import the catalogue, open the stock, sell.

Every step can be repeated after a crash: what exists already is left alone.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from adapters.cfop import Cfop
from adapters.cities import City
from adapters.cost_centers import CostCenter
from adapters.entity_classifications import EntityClassification
from adapters.product_categories import ProductCategory
from adapters.products import Product
from adapters.profit_centers import ProfitCenter
from adapters.reference import (
    SoldRow,
    read_cfop,
    read_cities,
    read_products,
    read_sales_week,
    read_sales_week_before,
)
from adapters.sales import Payment, PaymentMethod, Sale, SaleLine
from adapters.stock import StockItem
from adapters.till_operations import TillOperation, TillOperationKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from crdtsync import Entity
    from crdtsync.node import Node

CENTERS = ("Loja", "Administração", "Logística", "Marketing")
CLASSIFICATIONS = ("Cliente", "Fornecedor", "Transportadora", "Funcionário")


def opening_stock(data: Path) -> dict[str, Decimal]:
    """Return the opening stock: units sold the week before; 1 where there were none and the product sells this week."""
    units: Counter[str] = Counter()
    for row in read_sales_week_before(data):
        units[row.product] += int(row.quantity * 1000)
    for row in read_sales_week(data):
        if row.product not in units:
            units[row.product] = 1000
    return {product: Decimal(milli).scaleb(-3) for product, milli in sorted(units.items())}


def _prices(data: Path) -> dict[str, Decimal]:
    prices: dict[str, Decimal] = {}
    for rows in (read_sales_week_before(data), read_sales_week(data)):
        for row in rows:
            prices.setdefault(row.product, row.unit_price)
    return prices


def _catalogue(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    categories: dict[tuple[str, ...], dict[str, Any]] = {}
    prices = _prices(data)
    products: list[dict[str, Any]] = []
    for row in read_products(data):
        path: tuple[str, ...] = ()
        parent: str | None = None
        for level in row.levels:
            if not level:
                break
            path = (*path, level)
            if path not in categories:
                categories[path] = {"id": f"c{len(categories) + 1}", "name": level, "parent": parent}
            parent = categories[path]["id"]
        products.append(
            {
                "id": row.id,
                "name": path[-1],
                "category": parent,
                "cfop": "5102",
                "price": prices.get(row.id),
                "brand": row.brand or None,
                "manufacturer": row.manufacturer or None,
                "package_size": row.package_size or None,
            }
        )
    return list(categories.values()), products


async def _load(node: Node, entity: type[Entity], records: Iterable[Mapping[str, Any]]) -> int:
    """Load what is not there yet."""
    key = entity.__shape__.keys[0].name
    known = {getattr(record, key) for record in await node.find(entity)}
    return await node.load(entity, (record for record in records if record[key] not in known), actor="demo")


def _numbered(names: Iterable[str]) -> Iterator[dict[str, Any]]:
    return ({"id": str(number), "name": name} for number, name in enumerate(names, 1))


async def import_catalogue(node: Node, data: Path) -> dict[str, int]:
    """At Gestão: write the reference tables and the catalogue; return records written per category."""
    categories, products = _catalogue(data)
    work: list[tuple[type[Entity], Iterable[Mapping[str, Any]]]] = [
        (ProductCategory, categories),
        (CostCenter, _numbered(CENTERS)),
        (ProfitCenter, _numbered(CENTERS)),
        (Cfop, ({"code": row.code, "name": row.name, "nfce": row.nfce} for row in read_cfop())),
        (City, ({"code": row.code, "name": row.name, "state": row.state} for row in read_cities())),
        (EntityClassification, _numbered(CLASSIFICATIONS)),
        (Product, products),
    ]
    return {entity.__category__: await _load(node, entity, records) for entity, records in work}


async def open_stock(node: Node, data: Path) -> int:
    """At Loja: one opening movement per product; return how many were written."""
    known = {item.product for item in await node.find(StockItem)}
    pending = [(p, units) for p, units in opening_stock(data).items() if p not in known]
    for start in range(0, len(pending), 128):
        async with node.transaction(actor="demo") as tx:
            for product, units in pending[start : start + 128]:
                tx.create(StockItem, product=product).balance.add(units, cause="abertura")
    return len(pending)


def baskets(data: Path, lane: int, lanes: int) -> dict[str, list[SoldRow]]:
    """Return the baskets of one lane (``basket_id % lanes``), in the order of the week."""
    found: dict[str, list[SoldRow]] = {}
    for row in read_sales_week(data):
        if int(row.basket) % lanes == lane:
            found.setdefault(row.basket, []).append(row)
    return found


async def sell(node: Node, data: Path, lane: int, lanes: int) -> dict[str, int]:
    """At a Caixa: sell the lane's baskets, one transaction each; return how many."""
    done = {sale.id for sale in await node.find(Sale)}
    sold = 0
    for basket, rows in baskets(data, lane, lanes).items():
        if basket in done:
            continue
        await _sell_basket(node, basket, rows)
        sold += 1
    return {"sold": sold, "already": len(done)}


async def _sell_basket(node: Node, basket: str, rows: list[SoldRow]) -> None:
    lines = [SaleLine(product=row.product, quantity=row.quantity, unit_price=row.unit_price) for row in rows]
    total = sum((line.total for line in lines), Decimal(0))
    when = rows[0].sold_at
    async with node.transaction(actor="demo") as tx:
        tx.create(
            Sale,
            id=basket,
            sold_at=when,
            lines=lines,
            payments=[Payment(method=PaymentMethod.DINHEIRO, amount=total)],
        )
        tx.create(
            TillOperation,
            id=f"v{basket}",
            kind=TillOperationKind.VENDA,
            happened_at=when,
            shift=when.date().isoformat(),
            amount=total,
            sale=basket,
        )
        items = await tx.find_many(StockItem, (row.product for row in rows))
        for row in rows:
            item = items.get(row.product)
            if item is None:
                item = items[row.product] = tx.create(StockItem, product=row.product)
            item.balance.subtract(row.quantity, cause=f"sale {basket}")
