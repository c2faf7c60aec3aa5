"""A node as an object: opened once, closed once, and what may be asked of it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crdtsync import Counter, Entity, Key, Register, Role, Schema, Set, by_store
from crdtsync.errors import BadRequest, FieldError, StoreLocked, UnknownField
from crdtsync.node import Node, NodeConfig
from crdtsync.storage.memory import MemoryStorage
from crdtsync.storage.tables import table_specs

ALL = set(Role)


class Note(Entity, category="notes", writers=ALL):
    id = Key()


class Item(Entity, category="items", writers=ALL, partition=by_store):
    product = Key(int)
    shelf = Register(str, optional=True)
    balance = Counter()
    tags = Set(str)


class Spot(Entity, category="spots", writers=ALL):
    row = Key(int)
    place = Key(int)
    note = Register(str, default="")


SCHEMA = Schema([Note, Item, Spot])


def node(role: Role = Role.GESTAO) -> Node:
    store = None if role is Role.GESTAO else "loja1"
    config = NodeConfig(Path(), role.value, role, account="main", store=store)
    return Node(config, schema=SCHEMA, storage=MemoryStorage(table_specs(SCHEMA)))


# -- life ----------------------------------------------------------------------------------------------------------


async def test_a_node_is_opened_once() -> None:
    opened = node()
    await opened.open()
    with pytest.raises(BadRequest, match="this node was opened before"):
        await opened.open()
    async with opened.transaction() as tx:
        tx.create(Note, id="n")
    assert await opened.count(Note) == 1
    await opened.close()
    for _ in range(2):
        with pytest.raises(BadRequest, match="this node was closed; make another one"):
            await opened.open()
    with pytest.raises(BadRequest, match="this node was closed"):
        async with opened:
            pass


async def test_a_node_that_could_not_be_opened_is_closed_and_another_one_can_be(tmp_path: Path) -> None:
    config = NodeConfig(tmp_path, "gestao", Role.GESTAO, account="main")
    holds, waits = Node(config, schema=SCHEMA), Node(config, schema=SCHEMA)
    async with holds:
        changes = waits.changes(Note)
        with pytest.raises(StoreLocked):
            await waits.open()
        with pytest.raises(StopAsyncIteration):
            await anext(changes)
    with pytest.raises(BadRequest, match="this node was closed"):
        await waits.open()
    async with Node(config, schema=SCHEMA) as again:
        assert await again.count(Note) == 0


# -- what is asked of it -------------------------------------------------------------------------------------------


async def keys_of(opened: Node, entity: type[Entity], **asked: Any) -> list[str]:
    return [f"{record.doc} {record.key}" for record in await opened.find(entity, **asked)]


async def test_records_are_found_by_keys_and_balances_as_by_other_fields() -> None:
    async with node() as opened:
        async with opened.transaction() as tx:
            for store in ("loja1", "loja2"):
                for product in (1, 2, 3):
                    tx.create(
                        Item, in_store=store, product=product, shelf="a" if product == 1 else None, tags=["q"]
                    )
            for row, place in ((1, 1), (1, 2), (2, 1)):
                tx.create(Spot, row=row, place=place)
        async with opened.transaction() as tx:
            (await tx.get(Item, "1", in_store="loja1")).balance.add(Decimal("2.5"))
            (await tx.get(Item, "3", in_store="loja1")).delete()
        found: list[tuple[type[Entity], dict[str, Any], list[str]]] = [
            (Item, {"product": 1}, ["items/loja1 1", "items/loja2 1"]),
            (Item, {"product": 1, "limit": 1}, ["items/loja1 1"]),
            (Item, {"product": 1, "in_store": "loja2"}, ["items/loja2 1"]),
            (Item, {"product": 1, "doc": "items/loja2"}, ["items/loja2 1"]),
            (Item, {"product": 1, "balance": Decimal("2.5")}, ["items/loja1 1"]),
            (Item, {"product": 1, "shelf": "b"}, []),
            (Item, {"product": 2, "shelf": None}, ["items/loja1 2", "items/loja2 2"]),
            (Item, {"product": 3}, ["items/loja2 3"]),
            (Item, {"product": 4}, []),
            (Item, {"balance": Decimal("2.5")}, ["items/loja1 1"]),
            (Item, {"balance": 0, "in_store": "loja1"}, ["items/loja1 2"]),
            (Spot, {"row": 1}, ["spots 1:1", "spots 1:2"]),
            (Spot, {"place": 1, "row": 2}, ["spots 2:1"]),
        ]
        for entity, asked, keys in found:
            assert await keys_of(opened, entity, **asked) == keys, asked


async def test_what_records_cannot_be_found_by_is_said() -> None:
    async with node() as opened:
        refused: list[tuple[dict[str, Any], type[FieldError], str]] = [
            ({"zzz": 1}, UnknownField, r"items\.zzz: there is no such field"),
            ({"shelv": "a"}, UnknownField, r"items\.shelv: there is no such field; did you mean 'shelf'"),
            ({"prodct": 1}, UnknownField, "did you mean 'product'"),
            ({"tags": "q"}, FieldError, r"items\.tags: is a set, which find does not search"),
            ({"product": "1"}, FieldError, r"items\.product: a whole number is expected"),
            ({"balance": 0.5}, FieldError, r"items\.balance: .* is a float"),
        ]
        for asked, error, says in refused:
            with pytest.raises(error, match=says):
                await opened.find(Item, **asked)
