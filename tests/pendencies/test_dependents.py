"""A B pendency blocks what depends on it: who waits is told, nobody else is, and all are released when the cause goes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync import (
    Broken,
    Case,
    Entity,
    Key,
    Once,
    Ref,
    Register,
    Role,
    Rows,
    Schema,
    Severity,
    Struct,
    Verdict,
    by_store,
    invariant,
    option,
)
from crdtsync.errors import RecordAmbiguous
from crdtsync.node import Node, NodeConfig
from crdtsync.node.verbs import BUILT_IN
from crdtsync.pendencies.records import Decision, Incident, Person
from crdtsync.storage.memory import MemoryStorage
from crdtsync.storage.tables import table_specs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crdtsync import Records

ALL = {Role.GESTAO, Role.LOJA, Role.CAIXA}


class Invoice(Entity, category="invoices", writers=ALL, partition=by_store):
    """A document whose number may be another's too."""

    id = Key()
    number = Register(str)
    replaces = Ref("self", optional=True)

    @invariant("T20", title="Número repetido", owner=Role.LOJA, severity=Severity.B, group=("number",))
    def has_its_own_number(self, others: list[Invoice]) -> Verdict:
        """Two invoices have one number."""
        return Broken(facts={"number": self.number}) if others else True

    @option("T20", "aceitar", "Aceitar")
    async def accept(self, case: Case) -> None:
        """Nothing is written."""

    @invariant("T21", title="Sem número", owner=Role.LOJA, severity=Severity.A)
    def has_a_number(self) -> Verdict:
        """An invoice has a number."""
        return bool(self.number)


class Letter(Entity, category="letters", writers=ALL, partition=by_store):
    """Something about an invoice."""

    id = Key()
    invoice = Once(Ref(Invoice))


class Mail(Entity, category="mails", writers=ALL, partition=by_store):
    """A letter that was sent; one for each letter."""

    letter = Key(Ref(Letter))


class Part(Struct):
    """One invoice of a bundle."""

    invoice = Ref(Invoice)


class Bundle(Entity, category="bundles", writers=ALL, partition=by_store):
    """Several invoices together."""

    id = Key()
    items = Once(Rows(Part))

    @invariant("T22", title="Pacote", owner=Role.LOJA, watch=("items.invoice",))
    def is_complete(self, records: Records) -> Verdict:
        """Every invoice of the bundle is there."""
        return all(records.get(Invoice, part.invoice, near=self) is not None for part in self.items)


SCHEMA = Schema([Invoice, Letter, Mail, Bundle, Person, Decision, Incident])


@asynccontextmanager
async def office(role: Role = Role.LOJA) -> AsyncIterator[Node]:
    config = NodeConfig(Path(), "office", role, store=None if role is Role.GESTAO else "s1")
    async with Node(config, schema=SCHEMA, storage=MemoryStorage(table_specs(SCHEMA))) as opened:
        async with opened.transaction() as tx:
            tx.create(Person, id="ana", name="Ana")
        yield opened


async def write(shop: Node, store: str | None = None) -> str:
    """Two invoices of one number and a good one, and what refers to them; return the pendency."""
    async with shop.transaction() as tx:
        for key, number in (("i1", "7"), ("i2", "7"), ("good", "8"), ("empty", "")):
            tx.create(Invoice, in_store=store, id=key, number=number)
        tx.create(Invoice, in_store=store, id="later", number="9", replaces="i1")
        for key in ("i1", "good", "empty"):
            tx.create(Letter, in_store=store, id=f"about-{key}", invoice=key)
            tx.create(Mail, in_store=store, letter=f"about-{key}")
        tx.create(Bundle, in_store=store, id="b1", items=[Part(invoice="good"), Part(invoice="i2")])
        tx.create(Bundle, in_store=store, id="b2", items=[Part(invoice="good")])
    return "invoices/7#T20"


async def card_of(shop: Node, pendency: str) -> dict[str, Any]:
    card: dict[str, Any] = await BUILT_IN["pendency"](shop, {"pendency": pendency})
    return card


def keys(card: dict[str, Any]) -> list[str]:
    return sorted(f"{one['category']}/{one['key']}" for one in card["waiting"])


async def test_the_card_of_a_b_pendency_names_what_waits_for_it_and_nothing_else() -> None:
    async with office() as shop:
        card = await card_of(shop, await write(shop))
        assert keys(card) == ["bundles/b1", "invoices/later", "letters/about-i1", "mails/about-i1"]
        assert card["waiting_more"] is False
        # Severity A lets the rest go on.
        assert (await card_of(shop, "invoices/s1/empty#T21"))["waiting"] == []


async def test_a_record_says_which_pendencies_it_waits_for() -> None:
    async with office() as shop:
        pendency = await write(shop)
        waits = [pendency]
        assert await shop.waits_for(Letter, "about-i1") == waits
        assert await shop.waits_for(Mail, "about-i1") == waits
        assert await shop.waits_for(Bundle, "b1") == waits
        assert await shop.waits_for(Invoice, "later") == waits
        for entity, key in ((Letter, "about-good"), (Mail, "about-empty"), (Bundle, "b2"), (Mail, "none")):
            assert await shop.waits_for(entity, key) == []
        # The records of the pendency do not wait for it: they are what it is about.
        assert await shop.waits_for(Invoice, "i1") == []
        shown = await BUILT_IN["show"](shop, {"category": "letters", "key": "about-i1"})
        assert shown[0]["_waits_for"] == waits
        shown = await BUILT_IN["show"](shop, {"category": "letters", "key": "about-good"})
        assert "_waits_for" not in shown[0]


async def test_what_waits_is_released_by_itself_when_the_cause_goes() -> None:
    async with office() as shop:
        await write(shop)
        async with shop.transaction() as tx:
            (await tx.get(Invoice, "i2")).number = "10"
        assert await shop.waits_for(Mail, "about-i1") == await shop.waits_for(Bundle, "b1") == []
        async with shop.transaction() as tx:
            (await tx.get(Invoice, "i2")).number = "7"
        assert await shop.waits_for(Mail, "about-i1") != []


async def test_what_waits_is_released_by_a_decision_and_waits_again_when_it_is_withdrawn() -> None:
    async with office() as shop:
        pendency = await write(shop)
        decision = await shop.resolve(pendency, "aceitar", why="ok", person="ana")
        assert await shop.waits_for(Mail, "about-i1") == []
        assert (await card_of(shop, pendency))["waiting"] == []
        await shop.undo(decision, why="não", person="ana")
        assert await shop.waits_for(Mail, "about-i1") == [pendency]


async def test_a_deleted_record_waits_for_nothing() -> None:
    async with office() as shop:
        pendency = await write(shop)
        async with shop.transaction() as tx:
            (await tx.get(Letter, "about-i1")).delete()
        assert keys(await card_of(shop, pendency)) == ["bundles/b1", "invoices/later"]
        assert await shop.waits_for(Letter, "about-i1") == []


async def test_another_stores_record_of_the_same_key_does_not_wait() -> None:
    async with office(Role.GESTAO) as gestao:
        await write(gestao, "s1")
        async with gestao.transaction() as tx:
            tx.create(Invoice, in_store="s2", id="i1", number="11")
            tx.create(Letter, in_store="s2", id="about-i1", invoice="i1")
        with pytest.raises(RecordAmbiguous):
            await gestao.waits_for(Letter, "about-i1")
        assert await gestao.waits_for(Letter, "about-i1", in_store="s1") == ["invoices/7#T20"]
        assert await gestao.waits_for(Letter, "about-i1", in_store="s2") == []
        waiting = (await card_of(gestao, "invoices/7#T20"))["waiting"]
        assert {one["doc"].split("/")[1] for one in waiting} == {"s1"}


async def test_more_than_a_card_shows_is_said_without_reading_all() -> None:
    async with office() as shop:
        pendency = await write(shop)
        async with shop.transaction() as tx:
            for number in range(300):
                tx.create(Letter, id=f"more{number}", invoice="i1")
        card = await card_of(shop, pendency)
        assert len(card["waiting"]) == 100
        assert card["waiting_more"] is True


async def test_invoices_that_replace_each_other_in_a_circle_end() -> None:
    async with office() as shop:
        pendency = await write(shop)
        async with shop.transaction() as tx:
            (await tx.get(Invoice, "good")).replaces = "later"
            (await tx.get(Invoice, "later")).replaces = "good"
        assert await shop.waits_for(Invoice, "good") == []
        async with shop.transaction() as tx:
            (await tx.get(Invoice, "i1")).replaces = "good"
        assert "invoices/good" not in keys(await card_of(shop, pendency))
