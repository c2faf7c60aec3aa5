"""What a program hears of changed records: from when it asks until the node closes, and nothing is kept for nobody."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from crdtsync import Entity, Key, Register, Role, Schema
from crdtsync.node import Node, NodeConfig
from crdtsync.storage.memory import MemoryStorage
from crdtsync.storage.tables import table_specs


class Note(Entity, category="notes", writers=set(Role)):
    id = Key()
    text = Register(str, default="")


class Other(Entity, category="others", writers=set(Role)):
    id = Key()


SCHEMA = Schema([Note, Other])


def node() -> Node:
    config = NodeConfig(Path(), "gestao", Role.GESTAO, account="main")
    return Node(config, schema=SCHEMA, storage=MemoryStorage(table_specs(SCHEMA)))


async def write(opened: Node, *keys: str) -> None:
    for key in keys:
        async with opened.transaction() as tx:
            tx.create(Note, id=key)
            tx.create(Other, id=key)


async def all_of(changes: Any) -> list[str]:
    """Every key until the end."""
    async with asyncio.timeout(10):
        return [record.key async for record in changes]


async def test_what_is_written_between_the_call_and_the_first_look_is_heard_of() -> None:
    async with node() as opened:
        await write(opened, "before")
        changes = opened.changes(Note)
        await write(opened, "a", "b")
        assert [(await anext(changes)).key, (await anext(changes)).key] == ["a", "b"]
        async with opened.transaction() as tx:
            (await tx.get(Note, "a")).delete()
        assert (await anext(changes)).deleted


async def test_it_ends_when_the_node_closes_after_what_was_written_until_then() -> None:
    opened = node()
    early = opened.changes(Note)
    await opened.open()
    changes = opened.changes(Note)
    await write(opened, "a", "b")
    waits = asyncio.create_task(all_of(opened.changes(Other)))
    await asyncio.sleep(0)
    await opened.close()
    assert await all_of(changes) == ["a", "b"]
    assert await all_of(early) == ["a", "b"]
    assert await waits == []
    # The end stays the end, also for who asks later.
    assert await all_of(changes) == []
    assert await all_of(opened.changes(Note)) == []


async def test_a_loop_that_waits_is_ended_by_the_close() -> None:
    opened = node()
    await opened.open()
    heard = asyncio.create_task(all_of(opened.changes(Note)))
    await write(opened, "a")
    await opened.close()
    assert await heard == ["a"]


async def test_one_that_is_closed_gives_out_no_more_and_one_that_is_forgotten_is_kept_by_nobody() -> None:
    async with node() as opened:
        async with aclosing(opened.changes(Note)) as changes:
            await write(opened, "a")
            waits = asyncio.create_task(all_of(opened.changes(Other)))
        await write(opened, "b")
        with pytest.raises(StopAsyncIteration):
            await anext(changes)
        del changes
        waits.cancel()
        await asyncio.wait([waits])
        del waits
        gc.collect()
        assert not opened._followings


async def test_who_waits_while_another_closes_it_is_told_the_end() -> None:
    async with node() as opened:
        changes = opened.changes(Note)
        waits = [asyncio.create_task(all_of(changes)) for _ in range(2)]
        await asyncio.sleep(0)
        await changes.aclose()
        assert [await one for one in waits] == [[], []]
