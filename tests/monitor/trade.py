"""A small trade for the page: products, customers, people and a few days of work, as a store has them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from adapters.cfop import Cfop
from adapters.customers import Customer
from adapters.product_categories import ProductCategory
from adapters.products import Product
from adapters.sales import Payment, PaymentMethod, Sale, SaleLine
from adapters.stock import StockItem
from crdtsync.pendencies.records import Person
from tests.monitor.browser import ZONE
from tests.waiting import wait_for

if TYPE_CHECKING:
    from crdtsync.node import Node
    from tests.monitor.browser import Town

# A Tuesday morning.
NOW = datetime(2026, 11, 24, 10, 42, tzinfo=ZONE)
DAYS = 4
QUESTIONS = 4
PER_TRANSACTION = 100
# Records that are long, so that few of them take several pieces.
LONG = "entrada da nota fiscal de compra da mercadoria do mês "
CHECK_MS = 14 * 60_000
RUN_HOURS = (8, 9, 11, 12, 14, 15, 17, 18)
COFFEE = "7891000"
PRODUCTS = {
    COFFEE: ("Café torrado e moído 500 g", "Café Serra Alta", "19.90"),
    "7891001": ("Arroz agulhinha 5 kg", "Bom Grão", "27.49"),
    "7891002": ("Feijão carioca 1 kg", "Bom Grão", "8.79"),
    "7891003": ("Leite integral 1 L", "Vale Verde", "5.29"),
    "7891004": ("Óleo de soja 900 mL", "Lavoura", "7.15"),
    "7891005": ("Açúcar cristal 1 kg", "Doce Cana", "4.59"),
    "7891006": ("Sabão em pó 1,6 kg", "Alvo", "21.90"),
    "7891007": ("Papel higiênico 12 rolos", "Nuvem", "18.99"),
}
PEOPLE = {"maria": "Maria Aparecida Souza", "joao": "João Batista Lima", "carla": "Carla Nunes"}
ANA, ANA_AGAIN = "c-1041", "c-2207"
ANA_CPF = "52998224725"


async def open_catalogue(node: Node) -> None:
    """Write what a head office writes: products with what they refer to, and people."""
    async with node.transaction() as tx:
        tx.create(Cfop, code="5102", name="Venda de mercadoria adquirida")
        tx.create(ProductCategory, id="mercearia", name="Mercearia")
    async with node.transaction() as tx:
        for key, (name, brand, price) in PRODUCTS.items():
            tx.create(
                Product,
                id=key,
                name=name,
                brand=brand,
                price=Decimal(price),
                category="mercearia",
                cfop="5102",
            )
        for key, name in PEOPLE.items():
            tx.create(Person, id=key, name=name, job="Gerente" if key == "maria" else "Caixa")


async def write_products(node: Node, count: int) -> None:
    """Write more products, so that the first synchronization takes a while."""
    for first in range(0, count, PER_TRANSACTION):
        async with node.transaction() as tx:
            for number in range(first, first + PER_TRANSACTION):
                tx.create(
                    Product,
                    id=str(number),
                    name=f"Produto {number}",
                    manufacturer=LONG,
                    package_size=LONG[:40],
                )


async def write_stock(node: Node, count: int) -> None:
    """Write the stock of those products."""
    for first in range(0, count, PER_TRANSACTION):
        async with node.transaction() as tx:
            for number in range(first, first + PER_TRANSACTION):
                tx.create(StockItem, product=str(number)).balance.add(number, cause=LONG)


async def open_stock(node: Node) -> None:
    """Write what stands on the shelves: too little coffee and rice."""
    async with node.transaction() as tx:
        for key in PRODUCTS:
            tx.create(StockItem, product=key).balance.add(40, cause="entrada")


async def sell(node: Node, sale: str, *products: str, units: int = 1) -> None:
    """Write one sale and take its units from the shelves."""
    now = datetime.fromtimestamp(node.ledger.clock.now_ms() / 1000, ZONE)
    async with node.transaction(actor="caixa") as tx:
        lines = [
            SaleLine(product=key, quantity=Decimal(units), unit_price=Decimal(PRODUCTS[key][2]))
            for key in products
        ]
        paid = sum((line.total for line in lines), Decimal(0))
        payment = Payment(method=PaymentMethod.PIX, amount=paid)
        tx.create(Sale, id=sale, sold_at=now, lines=lines, payments=[payment])
        for key in products:
            (await tx.get(StockItem, key)).balance.subtract(units, cause=sale)


async def write_customer(node: Node, key: str, name: str, phone: str) -> None:
    """Write a customer with Ana's CPF."""
    async with node.transaction() as tx:
        tx.create(Customer, id=key, name=name, tax_id=ANA_CPF, phone=phone)


async def _price(node: Node, price: str) -> None:
    async with node.transaction() as tx:
        product = await tx.get(Product, COFFEE)
        product.reprice(Decimal(price), datetime.fromtimestamp(node.ledger.clock.now_ms() / 1000, ZONE))


def go_to(town: Town, when: datetime) -> None:
    """Let the clocks show a moment that is not before what they show."""
    town.clock.ahead += when.timestamp() - town.clock.now_ms() / 1000


def open_store(town: Town) -> None:
    """Let the head office have its catalogue, and the store synchronize and fill its shelves."""
    town.office.do(open_catalogue)
    town.store.start()
    town.store.until_synchronized()
    town.store.do(open_stock)


def work_for_days(town: Town) -> None:
    """Open the store and let it sell and synchronize today and the three days before, until `NOW`."""
    keys = list(PRODUCTS)
    go_to(town, NOW.replace(day=NOW.day - DAYS + 1, hour=7))
    open_store(town)
    sale = 0
    for day in range(NOW.day - DAYS + 1, NOW.day + 1):
        for hour in RUN_HOURS:
            when = NOW.replace(day=day, hour=hour, minute=(hour * 7) % 60)
            if when > NOW:
                break
            go_to(town, when)
            for _ in range(1 + (hour * day) % 6):
                sale += 1
                town.store.do(sell, f"v{sale}", keys[sale % 5], keys[(sale * 3) % 8])
            town.store.ask("sync", wait=True)


def open_questions(town: Town) -> None:
    """Let things happen that a person is asked about: too much sold, a price set twice, one customer twice."""
    town.store.do(sell, "v9001", COFFEE, "7891001", units=45)
    go_to(town, NOW.replace(minute=NOW.minute - 20))
    town.cut()
    town.office.do(_price, "20.50")
    town.office.do(write_customer, ANA, "Ana Paula Ferreira", "11987654321")
    town.clock.ahead += 60
    town.store.do(_price, "19.49")
    town.store.do(write_customer, ANA_AGAIN, "Ana P. Ferreira", "1133221100")
    town.mend()
    town.store.until_synchronized()
    wait_for(lambda: town.store.pendencies() == QUESTIONS, "what is asked is here")
    go_to(town, NOW)
    # A moved clock wakes nobody: the check that is due now is asked for.
    town.store.ask("check")
    wait_for(lambda: _next_check_ms(town) > town.clock.now_ms() + CHECK_MS, "the next check is in 15 minutes")


def _next_check_ms(town: Town) -> int:
    return town.store.ask("queue")["next"]["at_ms"] or 0
