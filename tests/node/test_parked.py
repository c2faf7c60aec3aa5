"""A batch that a node cannot read is kept, relayed and shown as a pendency until it can be read, or is replaced."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING

from crdtsync.schema import Entity, Key, Register, Role, Schema
from tests.node.shop import STORE

if TYPE_CHECKING:
    from crdtsync.node import Node
    from tests.node.shop import Shop


class Colour(StrEnum):
    RED = "red"


class MoreColours(StrEnum):
    RED = "red"
    BLUE = "blue"


class Old(Entity, category="items", writers={Role.GESTAO}):
    """The first version."""

    id = Key()
    colour = Register(Colour)


class New(Entity, category="items", writers={Role.GESTAO}):
    """The second version knows one more word."""

    id = Key()
    colour = Register(MoreColours)


OLD, NEW = Schema([Old]), Schema([New])


async def pendencies(node: Node) -> list[tuple[str, str, str]]:
    return [(row.id, row.title, row.message) for row in await node.pendencies()]


async def test_a_parked_batch_is_the_same_pendency_at_every_node_that_cannot_read_it_until_an_upgrade(
    shop: Shop,
) -> None:
    gestao = await shop.open("gestao", NEW)
    loja = await shop.open(STORE, OLD)
    old, new = await shop.open("caixa1", OLD), await shop.open("caixa2", NEW)
    async with gestao.transaction() as tx:
        tx.create(New, id="1", colour=MoreColours.RED)
    async with gestao.transaction() as tx:
        tx.create(New, id="2", colour=MoreColours.BLUE)
    await shop.even()
    expected = (
        f"items/{gestao.ledger.replica:x}:2#P01",
        "Registro que não pôde ser lido",
        "items.colour: 'blue' is none of red",
    )
    assert await pendencies(loja) == await pendencies(old) == [expected]
    (row,) = await loja.pendencies(rule="P01", category="items")
    assert json.loads(row.evidence)["records"] == ["2"]
    assert await pendencies(gestao) == await pendencies(new) == []
    assert [item.id for item in await loja.find(Old)] == ["1"]
    assert [item.id for item in await new.find(New)] == ["1", "2"]

    await shop.close(STORE)
    loja = await shop.open(STORE, NEW)
    assert await pendencies(loja) == []
    assert [item.id for item in await loja.find(New)] == ["1", "2"]
    await shop.even()
    assert await loja.ledger.state_digest("items") == await gestao.ledger.state_digest("items")


async def test_a_parked_batch_that_its_writer_replaced_is_no_pendency_any_more(shop: Shop) -> None:
    gestao = await shop.open("gestao", NEW)
    loja = await shop.open(STORE, OLD)
    async with gestao.transaction() as tx:
        tx.create(New, id="2", colour=MoreColours.BLUE)
    await shop.even()
    assert len(await loja.pendencies()) == 1
    await gestao.ledger.compact("items")
    await shop.even()
    assert [row.key for row in await loja.pendencies()] == [f"{gestao.ledger.replica:x}:2"]
    async with gestao.transaction() as tx:
        (await tx.get(New, "2")).colour = MoreColours.RED
    await shop.even()
    assert [item.colour for item in await loja.find(Old)] == [Colour.RED]
    await gestao.ledger.compact("items")
    await shop.even()
    assert await pendencies(loja) == []
    await shop.close(STORE)
    loja = await shop.open(STORE, NEW)
    await shop.even()
    assert await pendencies(loja) == []
    assert await loja.ledger.state_digest("items") == await gestao.ledger.state_digest("items")
