"""Pendencies open and close with the state, and an adapter's faulty rule never stops a merge."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Self

from crdtsync.node.ledger import Ledger
from crdtsync.pendencies.records import Decision, Person
from crdtsync.schema import Counter, Entity, Identity, Key, Money, Role, Schema, invariant
from crdtsync.state.document import Op
from crdtsync.storage import MemoryStorage
from crdtsync.storage.tables import table_specs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crdtsync.storage import PendencyRow


class Item(Entity, category="items", writers=set(Role)):
    """One counter and one amount that an incomplete record lacks."""

    id = Key()
    price = Money()
    balance = Counter()

    @invariant("T01", title="Abaixo de zero", owner=Role.LOJA)
    def not_negative(self) -> bool:
        """The balance is zero or more."""
        return self.balance >= 0

    @invariant("T02", title="Caro", owner=Role.LOJA)
    def cheap(self) -> bool:
        """The price is below a hundred."""
        return self.price < 100

    @invariant("T03", title="Mesmo preço", owner=Role.LOJA, group=lambda item: str(round(item.price)))
    def alone(self, others: Sequence[Self]) -> bool:
        """Its price is its own."""
        return not others


class Clock:
    def now_ms(self) -> int:
        return 1

    def today(self) -> date:
        return date(2026, 11, 24)

    def uptime(self) -> float:
        return 1.0

    def random_bytes(self, size: int) -> bytes:
        return b"\x07" * size


async def test_a_pendency_opens_and_closes_with_the_state_and_a_failing_rule_is_shown() -> None:
    schema = Schema([Item])
    ledger = Ledger(
        Identity("l", Role.LOJA, "main", "s"), schema, MemoryStorage(table_specs(schema)), Clock()
    )
    await ledger.open()

    async def found() -> dict[str, PendencyRow]:
        return {row.rule: row for row in await ledger.storage.read(lambda view: view.pendencies())}

    await ledger.write({"items": {"x": [Op("add", "balance", -1000)]}})
    opened = await found()
    assert opened["T01"].id == "items/x#T01"
    assert "could not be evaluated" in opened["T02"].message
    await ledger.write({"items": {"x": [Op("add", "balance", 1000), Op("write", "price", 1290)]}})
    assert await found() == {}
    await ledger.close()


async def test_a_deletion_that_arrives_before_the_decision_itself_holds_nothing_back() -> None:
    schema = Schema([Person, Decision])
    ledger = Ledger(
        Identity("l", Role.LOJA, "main", "s"), schema, MemoryStorage(table_specs(schema)), Clock()
    )
    await ledger.open()

    await ledger.write(
        {
            "decisions/account": {
                "early": [Op("write", "~", 1)],
                "whole": [Op("write", "pendency", "items/x#T01")],
            }
        }
    )

    assert set(ledger.heads) == {"decisions/account"}
    await ledger.close()
