"""A node as an object: opened once, closed once, and what may be asked of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from crdtsync import Entity, Key, Role, Schema
from crdtsync.errors import BadRequest, StoreLocked
from crdtsync.node import Node, NodeConfig
from crdtsync.storage.memory import MemoryStorage
from crdtsync.storage.tables import table_specs

ALL = set(Role)


class Note(Entity, category="notes", writers=ALL):
    id = Key()


SCHEMA = Schema([Note])


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
