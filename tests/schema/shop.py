"""A small shop for the tests of the schema: entities, and a recorder that keeps what it is told. It stores nothing."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self, TypeVar

from crdtsync import (
    Counter,
    Entity,
    Key,
    Money,
    Once,
    Quantity,
    Records,
    Ref,
    Register,
    Role,
    Rows,
    Set,
    Struct,
    by_lane_month,
    by_store,
    check,
    invariant,
    references,
)

E = TypeVar("E", bound=Entity)


class Status(StrEnum):
    """Whether a product is sold."""

    ON = "on"
    OFF = "off"


class Category(Entity, category="categories", title="Categorias", writers={Role.GESTAO, Role.LOJA}):
    """A tree."""

    id = Key()
    parent = Ref("self", optional=True)


class Product(Entity, category="products", title="Produtos", writers={Role.GESTAO, Role.LOJA}, download=1):
    """Every kind of register."""

    id = Key(r"[0-9A-Z]+")
    name = Register(str, max_length=20)
    price = Money()
    cost = Money(optional=True, writers={Role.GESTAO})
    weight = Quantity(default=Decimal("0.100"))
    rate = Register(Decimal, scale=4, optional=True)
    status = Register(Status, default=Status.ON)
    active = Register(bool, default=True)
    category = Ref(Category, optional=True)
    tags = Set(str)

    group_present = references("C22", title="Referência inexistente", owner=Role.GESTAO)

    @check
    def price_is_positive(self) -> bool:
        """The price is above zero."""
        return self.price > 0

    @check
    def name_is_no_number(self) -> bool:
        """The name is words."""
        if self.name.isdecimal():
            raise ValueError("a product is not called by a number")
        return True

    @invariant("C06", title="Mesmo nome", owner=Role.GESTAO, group=("name",))
    def name_is_unique(self, others: list[Self]) -> bool:
        """Two products have one name."""
        return not others

    @property
    def broken(self) -> str:
        """A property with a mistake in it."""
        return str({}.missing)  # type: ignore[attr-defined]


class StockItem(Entity, category="stock", writers={Role.LOJA, Role.CAIXA}, partition=by_store):
    """Units of a product."""

    product = Key(Ref(Product))
    balance = Counter()

    @invariant("C01", title="Estoque abaixo de zero", owner=Role.LOJA, watch=("product",))
    def balance_not_negative(self, records: Records) -> bool:
        """Two lanes sold the last unit."""
        return self.balance >= 0 or records.get(Product, self.product) is None


class Line(Struct):
    """A line of a sale."""

    product = Ref(Product)
    quantity = Quantity()
    price = Money()
    note = Once(str, optional=True)


class Sale(
    Entity, category="sales", writers={Role.LOJA, Role.CAIXA}, partition=by_lane_month("sold_at"), upload=1
):
    """A fact."""

    id = Key()
    sold_at = Once(datetime)
    lines = Once(Rows(Line))
    extras = Set(Line)


class Letter(Entity, category="letters", writers={Role.LOJA}):
    """A composite key with a number in it."""

    sale = Key(Ref(Sale))
    number = Key(int)
    text = Once(str)


class Notebook:
    """A recorder that keeps what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def write(self, slot: str, value: Any) -> None:
        """Keep a write."""
        self.told.append(("write", slot, value))

    def add(self, field: str, amount: int, cause: str, once: str | None) -> int:
        """Keep a movement; no name was used before."""
        self.told.append(("add", field, amount, cause, *([once] if once else [])))
        return amount

    def count(self, field: str, value: int) -> None:
        """Keep a count."""
        self.told.append(("count", field, value))


def load(
    entity: type[E], key: str, *, doc: str = "", deleted: int = 0, conflicts: str | None = None, **wires: Any
) -> E:
    """Return the snapshot of a record with these wire values; what is not given is as the fold leaves it."""
    shape = entity.__shape__
    parts = shape.key_columns(key) if len(shape.keys) > 1 else ()
    fields = (wires.get(name, field.default_wire) for name, field in shape.fields.items())
    return entity._load((doc or shape.category, key, *parts, *fields, deleted, conflicts))


def edit(entity: type[E], key: str, **wires: Any) -> tuple[E, list[tuple[Any, ...]]]:
    """Return a record inside a transaction, and the list that its writes go to."""
    notebook = Notebook()
    return load(entity, key, **wires)._bind(notebook), notebook.told
