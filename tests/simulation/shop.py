"""A small shop for the simulation: every kind of field and partition, and transactions that cross them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from crdtsync import (
    Counter,
    Entity,
    Key,
    Money,
    Once,
    Records,
    Ref,
    Register,
    Role,
    Rows,
    Schema,
    Set,
    Struct,
    by_lane_month,
    by_store,
    invariant,
)

EVERYBODY = {Role.GESTAO, Role.LOJA, Role.CAIXA}


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Group(Entity, category="groups", writers={Role.GESTAO, Role.LOJA}, download=1):
    id = Key()
    name = Register(str)
    parent = Ref("self", optional=True)


class Article(Entity, category="articles", writers=EVERYBODY):
    code = Key(r"[a-c]\d")
    name = Register(str)
    colour = Register(Colour, default=Colour.RED)
    price = Money(default=Decimal(0))
    group = Ref(Group, optional=True)
    tags = Set(str)


class Item(Entity, category="items", writers={Role.LOJA, Role.CAIXA}, partition=by_store):
    article = Key(Ref(Article))
    balance = Counter(scale=3)

    @invariant("T01", title="Estoque abaixo de zero", owner=Role.LOJA, watch=("article",))
    def balance_not_negative(self, records: Records) -> bool:
        """Every lane may sell the last one."""
        return self.balance >= 0 or records.get(Article, self.article) is None


class Line(Struct):
    article = Ref(Article)
    cents = Money()


class Ticket(Entity, category="tickets", writers={Role.LOJA, Role.CAIXA}, partition=by_lane_month("sold_at")):
    id = Key()
    sold_at = Once(datetime)
    lines = Once(Rows(Line))


def shop() -> Schema:
    """The schema."""
    return Schema([Group, Article, Item, Ticket])
