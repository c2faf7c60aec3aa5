"""What the tests of conflicts share: a store whose people work apart, meet again, and look at one and the same pendency.

`Store` opens the nodes of one account over the in-memory network of `tests/node/shop.py`. `apart` and `together` part
and join them; `same` demands one pendency, equal wherever its inputs are held; `settle` chooses an option and demands
that it is settled there too. No test sleeps: what is waited for is polled.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from tests.node.shop import WHEN, Shop, until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from crdtsync import Entity
    from crdtsync.node import Node
    from crdtsync.storage import PendencyRow

E = TypeVar("E", bound="Entity")

GESTAO, LOJA, CAIXA1, CAIXA2 = "gestao", "loja1", "caixa1", "caixa2"
EVERYBODY = (GESTAO, LOJA, CAIXA1, CAIXA2)
OFFICE = (GESTAO, LOJA)
"""Who holds what all lanes of the store wrote."""


class StoreClock:
    """Starts at the tests' WHEN and goes on with the machine; `advance` moves it, as a wrong clock or a day would."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._ahead = timedelta()

    def advance(self, by: timedelta) -> None:
        """Move the clock; a negative time sets it back."""
        self._ahead += by

    def now(self) -> datetime:
        """The moment, UTC."""
        return WHEN + timedelta(seconds=time.monotonic() - self._began) + self._ahead

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return (self.now() - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)

    def uptime(self) -> float:
        """Seconds since the machine started; setting the clock does not move it."""
        return time.monotonic() - self._began

    def today(self) -> date:
        """The calendar day."""
        return self.now().date()

    def random_bytes(self, size: int) -> bytes:
        """Random bytes."""
        return os.urandom(size)


class Store(Shop):
    """Gestão, one Loja and two lanes; `clocks` holds each node's own clock."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.clocks: dict[str, StoreClock] = {}
        self._away: list[str] = []

    def clock(self, name: str) -> StoreClock:
        """Return the clock of a node."""
        return self.clocks.setdefault(name, StoreClock())

    async def open_all(self, names: Sequence[str] = EVERYBODY) -> None:
        """Open the nodes and wait until all have done their initial synchronization."""
        for name in names:
            await self.open(name)
        await self.even()

    @property
    def gestao(self) -> Node:
        """The head office."""
        return self.nodes[GESTAO]

    @property
    def loja(self) -> Node:
        """The store's back office."""
        return self.nodes[LOJA]

    @property
    def caixa1(self) -> Node:
        """The first lane."""
        return self.nodes[CAIXA1]

    @property
    def caixa2(self) -> Node:
        """The second lane."""
        return self.nodes[CAIXA2]

    async def apart(self, *names: str) -> None:
        """Part these nodes (all, when none is named) from everybody, and wait until their links are down."""
        for name in names or tuple(self.nodes):
            self.network.partition(name)
            self._away.append(name)
        links = [node for name, node in self.nodes.items() if name in self._away and node.config.upstream]
        await until(lambda: not any(node.connected for node in links), "the links are down")

    async def together(self) -> None:
        """End all parting, and wait until every node holds the same."""
        while self._away:
            self.network.heal(self._away.pop())
        await self.even()

    async def compact(self, name: str, doc: str) -> None:
        """Compact a node's own log as soon as it knows that the node above has all of it."""
        ledger = self.nodes[name].ledger
        await ledger.until_copied([doc])
        assert await ledger.compact(doc)

    # -- pendencies --------------------------------------------------------------------------------------------

    async def open_ids(self, rule: str) -> dict[str, list[str]]:
        """Return the ids of the open pendencies of a rule, by node; nodes without any are left out."""
        found = {name: await node.pendencies(rule=rule) for name, node in self.nodes.items()}
        return {name: [row.id for row in rows] for name, rows in found.items() if rows}

    async def same(self, rule: str, at: Sequence[str] = EVERYBODY) -> PendencyRow:
        """Return the one open pendency of a rule, which is the same at these nodes and is at no other."""
        assert set(await self.open_ids(rule)) == set(at)
        rows = [await self.nodes[name].pendencies(rule=rule) for name in at]
        assert [len(found) for found in rows] == [1] * len(at), rows
        first = rows[0][0]
        for found in rows:
            (row,) = found
            assert (row.id, row.episode, row.evidence) == (first.id, first.episode, first.evidence)
            assert (row.title, row.message, row.effect, row.severity, row.owner, row.records) == (
                (first.title, first.message, first.effect, first.severity, first.owner, first.records)
            )
        return first

    async def nothing(self, rule: str) -> None:
        """Demand that no node shows an open pendency of a rule."""
        assert await self.open_ids(rule) == {}

    async def settle(
        self, pendency: PendencyRow, option: str, *, at: str = LOJA, values: dict[str, str] | None = None
    ) -> str:
        """Choose an option at a node, and demand that the pendency is open nowhere any more; return the decision."""
        decision: str = await self.nodes[at].resolve(
            pendency.id, option, why="conferido com a equipe", person="maria", values=values or {}
        )
        await self.even()
        await self.nothing(pendency.rule)
        return decision

    async def settle_apart(
        self, pendency: PendencyRow, option: str, *, at: Sequence[str], values: dict[str, str] | None = None
    ) -> None:
        """Let people at several nodes choose the same option while nobody hears them; demand that it counts once."""
        await self.apart()
        for name in at:
            await self.nodes[name].resolve(
                pendency.id, option, why="conferido com a equipe", person="maria", values=values or {}
            )
        await self.together()
        await self.nothing(pendency.rule)
        await self.nothing("P02")


async def one(node: Node, entity: type[E], key: str) -> E:
    """Return a record that must be there."""
    found = await node.get(entity, key)
    assert found is not None, f"{node.config.device} has no {entity.__category__} {key}"
    return found


async def everywhere(store: Store, entity: type[E], key: str, at: Sequence[str] = EVERYBODY) -> E:
    """Return a record that is the same at these nodes."""
    records = [await one(store.nodes[name], entity, key) for name in at]
    assert all(record.to_plain() == records[0].to_plain() for record in records)
    return records[0]
