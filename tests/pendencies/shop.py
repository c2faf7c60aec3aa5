"""A small schema with every kind of rule, and one node in memory whose clock a test moves."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from crdtsync import (
    Broken,
    Case,
    Counter,
    Entity,
    Fine,
    Key,
    Money,
    Once,
    Records,
    Ref,
    Register,
    Role,
    Rows,
    Schema,
    Severity,
    Struct,
    Verdict,
    by_store,
    concurrent_edits,
    invariant,
    option,
    references,
)
from crdtsync.node import Node, NodeConfig
from crdtsync.pendencies.records import Decision, Incident, Person
from crdtsync.storage.memory import MemoryStorage
from crdtsync.storage.tables import table_specs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ALL = {Role.GESTAO, Role.LOJA, Role.CAIXA}
START = datetime(2026, 11, 24, 10, tzinfo=UTC)


class Shelf(Entity, category="shelves", writers=ALL):
    """What products stand on; `room` is how many products fit."""

    id = Key()
    room = Register(int, optional=True)
    active = Register(bool, default=True)

    @invariant("T07", title="Excluída em uso", owner=Role.LOJA, referred=True)
    def not_in_use(self, records: Records) -> Verdict:
        """A deleted shelf holds nothing."""
        users = records.referrers(self)
        return Broken(records=users, facts={"users": [user.key for user in users]}) if users else True


class Spot(Entity, category="spots", writers=ALL):
    """One place of a shelf: its key has two parts, and the first refers."""

    shelf = Key(Ref(Shelf))
    place = Key(int)

    refs = references("T12", title="Lugar sem prateleira", owner=Role.LOJA)


class Product(Entity, category="products", writers=ALL):
    """What is sold."""

    id = Key()
    code = Register(str, optional=True)
    shelf = Ref(Shelf, optional=True)
    price = Money(optional=True)
    active = Register(bool, default=True)

    refs = references("T03", title="Sem prateleira", owner=Role.LOJA)
    edits = concurrent_edits("T04", title="Editado em dois lugares", owner=Role.LOJA)

    @invariant(
        "T05",
        title="Mesmo código",
        owner=Role.LOJA,
        given=("code",),
        group=lambda product: product.code.strip().lower(),
    )
    def only_one_has_the_code(self, others: Sequence[Self]) -> Verdict:
        """Two products have one code."""
        return not others

    @invariant("T11", title="Prateleira cheia", owner=Role.LOJA, watch=("shelf",), group=("shelf",))
    def fits_on_its_shelf(self, others: Sequence[Self], records: Records) -> Verdict:
        """More products stand on a shelf than it has room for."""
        shelf = records.get(Shelf, self.shelf or "")
        return shelf is None or shelf.room is None or len(others) < shelf.room


class Step(Entity, category="steps", writers=ALL):
    """One step of work; `after` is the one that comes next."""

    id = Key()
    after = Ref("self", optional=True)

    @invariant("T10", title="Em círculo", owner=Role.LOJA)
    def comes_to_an_end(self, records: Records) -> Verdict:
        """Steps do not go in a circle; the smallest of one tells it."""
        path: list[Step] = [self]
        while (name := path[-1].after) is not None and (step := records.get(Step, name)) is not None:
            if step.key == self.key:
                first = min(path, key=lambda one: one.key)
                return Broken(records=path) if first.key == self.key else Fine(look=(first,))
            path.append(step)
        return True


class Line(Struct):
    """One product of a sale."""

    product = Ref(Product)
    price = Money()


class Sale(Entity, category="sales", writers=ALL, partition=by_store):
    """Lines of what was sold."""

    id = Key()
    lines = Once(Rows(Line))
    sent_at = Register(datetime, optional=True)
    sold_at = Once(datetime)

    @invariant("T06", title="Preço", owner=Role.LOJA, severity=Severity.M, watch=("lines.product",))
    def price_is_the_products(self, records: Records) -> Verdict:
        """A line has the price of its product."""
        wrong: dict[str, str] = {}
        for line in self.lines:
            product = records.get(Product, line.product)
            if product is not None and product.price not in {None, line.price}:
                wrong[line.product] = str(line.price)
        return Broken(facts=wrong) if wrong else True

    @invariant("T08", title="Não enviada", owner=Role.LOJA)
    def is_sent_within_a_day(self, now: datetime) -> Verdict:
        """A sale is sent within 24 hours."""
        due = self.sold_at + timedelta(hours=24)
        if self.sent_at is not None:
            return True
        return Fine(until=due) if now < due else Broken(facts={}, severity=Severity.B)


class Stock(Entity, category="stock", writers={Role.LOJA, Role.CAIXA}, partition=by_store):
    """Units of one product."""

    product = Key(Ref(Product))
    balance = Counter()

    @invariant("T01", title="Abaixo de zero", owner=Role.LOJA, effect="O saldo fica negativo.")
    def not_negative(self) -> Verdict:
        """A saldo below zero."""
        return True if self.balance >= 0 else Broken(facts={"balance": str(self.balance)})

    @option("T01", "aceitar", "Aceitar")
    async def accept(self, case: Case) -> None:
        """Nothing is written."""

    @option("T01", "ajuste", "Ajustar", asks=("quantidade",), by={Role.LOJA, Role.CAIXA})
    async def adjust(self, case: Case) -> None:
        """The balance moves."""
        self.balance.add(int(case.values["quantidade"]), cause=case.why)

    @option("T01", "recontar", "Recontar", settles=False)
    async def recount(self, case: Case) -> None:
        """Somebody will count."""


SCHEMA = Schema([Shelf, Spot, Product, Step, Sale, Stock, Person, Decision, Incident])


class Clock:
    """A clock that a test moves, and numbered bytes."""

    def __init__(self) -> None:
        self.now = START
        self._drawn = 0

    def now_ms(self) -> int:
        return int(self.now.timestamp() * 1000)

    def uptime(self) -> float:
        return (self.now - START).total_seconds()

    def today(self) -> date:
        return self.now.date()

    def random_bytes(self, size: int) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(size, "big")


@asynccontextmanager
async def node(clock: Clock | None = None) -> AsyncIterator[Node]:
    config = NodeConfig(Path(), device="loja1", role=Role.LOJA, store="s1")
    store = MemoryStorage(table_specs(SCHEMA))
    async with Node(config, schema=SCHEMA, storage=store, clock=clock or Clock()) as opened:
        async with opened.transaction() as tx:
            for person in ("ana", "bia"):
                tx.create(Person, id=person, name=person.title())
        yield opened
