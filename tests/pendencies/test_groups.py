"""Groups that are not read whole: members alone that nobody looks at, and records that stand beside a group."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import pytest

from crdtsync import Beside, Broken, Entity, Key, Register, Role, Schema, Verdict, by_store, invariant
from crdtsync.errors import AdapterError
from crdtsync.node import Node, NodeConfig
from crdtsync.storage import MemoryStorage
from crdtsync.storage.tables import table_specs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ALL = {Role.GESTAO, Role.LOJA, Role.CAIXA}


def _day_of(entry: Entry) -> str | Beside:
    return entry.day if entry.closes is not None else Beside(entry.day)


class Entry(Entity, category="entries", writers=ALL, partition=by_store):
    """An operation of a day, or (`closes`) what says how many there were."""

    id = Key()
    day = Register(str)
    closes = Register(int, optional=True)
    asked: ClassVar[list[tuple[str, list[str], list[str]]]] = []

    @invariant("T30", title="Fechamento", owner=Role.LOJA, group=_day_of)
    def sums_all(self, others: Sequence[Self], beside: Sequence[Self]) -> Verdict:
        """A closing says how many operations there are."""
        type(self).asked.append((self.key, [one.key for one in others], [one.key for one in beside]))
        return True if len(beside) == self.closes else Broken(facts={"have": len(beside)})

    @invariant("T31", title="Dois fechamentos", owner=Role.LOJA, group=("day", "closes"), several=True)
    def is_the_only_one(self, others: Sequence[Self]) -> Verdict:
        """A day is closed once with a number."""
        assert others
        return False


SCHEMA = Schema([Entry])


@asynccontextmanager
async def shop() -> AsyncIterator[Node]:
    config = NodeConfig(Path(), "l1", Role.LOJA, store="s1")
    Entry.asked.clear()
    async with Node(config, schema=SCHEMA, storage=MemoryStorage(table_specs(SCHEMA))) as opened:
        yield opened


async def add(node: Node, key: str, closes: int | None = None, day: str = "mon") -> None:
    async with node.transaction() as tx:
        tx.create(Entry, id=key, day=day, closes=closes)


async def found(node: Node) -> list[str]:
    return [row.id for row in await node.pendencies()]


async def test_a_group_with_no_members_is_not_judged_and_what_came_before_its_first_one_counts() -> None:
    async with shop() as node:
        for key in ("a", "b"):
            await add(node, key)
        assert Entry.asked == []
        await add(node, "end", closes=2)
        assert Entry.asked == [("end", [], ["a", "b"])]
        assert await found(node) == []


async def test_a_record_beside_a_group_has_it_judged_again_when_it_comes_changes_and_goes() -> None:
    async with shop() as node:
        await add(node, "end", closes=1)
        assert await found(node) == ["entries/mon#T30"]
        await add(node, "a")
        assert await found(node) == []
        await add(node, "b")
        assert await found(node) == ["entries/mon#T30"]
        async with node.transaction() as tx:
            (await tx.get(Entry, "b")).day = "tue"
        assert await found(node) == []
        async with node.transaction() as tx:
            (await tx.get(Entry, "a")).delete()
        assert await found(node) == ["entries/mon#T30"]


async def test_a_record_that_becomes_a_member_is_beside_no_more() -> None:
    async with shop() as node:
        await add(node, "end", closes=1)
        await add(node, "a")
        async with node.transaction() as tx:
            (await tx.get(Entry, "a")).closes = 7
        assert Entry.asked[-1] == ("a", ["end"], [])


async def test_one_that_is_alone_is_not_looked_at_by_a_rule_about_several_and_closes_what_was_open() -> None:
    async with shop() as node:
        await add(node, "x", closes=0)
        await add(node, "y", closes=0)
        assert await found(node) == ["entries/mon|0#T31"]
        async with node.transaction() as tx:
            (await tx.get(Entry, "y")).delete()
        assert await found(node) == []


def test_only_a_rule_about_a_group_may_ask_for_what_stands_beside_it() -> None:
    with pytest.raises(AdapterError, match="beside"):

        class Wrong(Entity, category="wrong", writers=ALL):
            id = Key()

            @invariant("T32", title="x", owner=Role.LOJA)
            def rule(self, beside: Sequence[Self]) -> bool:
                return not beside
