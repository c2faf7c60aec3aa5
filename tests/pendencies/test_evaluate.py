"""Pendencies open and close with the state, and an adapter's faulty rule never stops a merge."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Self

import pytest

from crdtsync.node.ledger import Ledger
from crdtsync.pendencies.evaluate import _plain
from crdtsync.pendencies.records import Decision, Person
from crdtsync.schema import (
    Broken,
    Counter,
    Entity,
    Fine,
    Identity,
    Key,
    Money,
    Register,
    Role,
    Schema,
    invariant,
)
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


def _answers() -> dict[str, Any]:
    """What no rule may answer, by what it would have done."""
    return {
        "nothing at all": None,
        "no text": Broken(5),  # type: ignore[arg-type]
        "half a letter": Broken("\ud800"),
        "an unknown severity": Broken("m", severity=5),  # type: ignore[arg-type]
        "no record": Broken("m", records=[None]),  # type: ignore[list-item]
        "facts without names": Broken("m", facts=["a"]),  # type: ignore[arg-type]
        "facts in no order": Broken("m", facts={1: 2, "a": 3}),  # type: ignore[dict-item]
        "facts without a text": Broken("m", facts={"a": object()}),
        "a moment in words": Broken("m", until="2030-01-01"),  # type: ignore[arg-type]
        "nobody to look at": Fine(look=[None]),  # type: ignore[list-item]
    }


@pytest.mark.parametrize("what", _answers())
async def test_an_answer_that_no_rule_may_give_is_a_rule_that_could_not_be_evaluated(what: str) -> None:
    answer = _answers()[what]

    class Thing(Entity, category="things", writers=set(Role)):
        id = Key()
        name = Register(str)

        @invariant("T09", title="Errada", owner=Role.LOJA)
        def odd(self, now: datetime) -> bool:
            """It answers what it likes."""
            del now
            return answer  # type: ignore[no-any-return]

    schema = Schema([Thing])
    ledger = Ledger(
        Identity("l", Role.LOJA, "main", "s"), schema, MemoryStorage(table_specs(schema)), Clock()
    )
    await ledger.open()
    await ledger.write({"things": {"x": [Op("write", "name", "a")]}})
    (row,) = await ledger.storage.read(lambda view: view.pendencies())
    assert "could not be evaluated" in row.message
    assert row.severity == "A"
    await ledger.close()


async def test_a_group_that_is_no_text_leaves_its_record_out(caplog: pytest.LogCaptureFixture) -> None:
    class Thing(Entity, category="things", writers=set(Role)):
        id = Key()
        number = Register(int)

        @invariant("T08", title="Iguais", owner=Role.LOJA, group=lambda thing: thing.number)
        def alone(self, others: Sequence[Self]) -> bool:
            """Its number is its own."""
            return not others

    schema = Schema([Thing])
    ledger = Ledger(
        Identity("l", Role.LOJA, "main", "s"), schema, MemoryStorage(table_specs(schema)), Clock()
    )
    await ledger.open()
    await ledger.write({"things": {key: [Op("write", "number", 7)] for key in "xy"}})
    assert await ledger.storage.read(lambda view: view.pendencies()) == []
    assert "of type int, not a text" in caplog.text
    await ledger.close()


def test_a_set_among_the_facts_is_the_same_evidence_in_every_process() -> None:
    letters = [chr(code) for code in range(97, 120)]
    assert _plain(frozenset(letters)) == _plain(set(letters)) == letters


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
