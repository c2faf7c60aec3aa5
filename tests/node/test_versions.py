"""Nodes with different versions of an adapter: added optional fields travel through, an incompatible category stops alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crdtsync.schema import Entity, Key, Register, Role, Schema
from tests.node.shop import STORE, Shop, told, until

if TYPE_CHECKING:
    import pytest


class Old(Entity, category="items", writers={Role.GESTAO}):
    """The first version."""

    id = Key()
    name = Register(str)


class New(Entity, category="items", writers={Role.GESTAO}):
    """The second version: a colour was added."""

    id = Key()
    name = Register(str)
    colour = Register(str, optional=True)


class Strict(Entity, category="items", writers={Role.GESTAO}):
    """A version that cannot exchange records with the others: it requires a field that they lack."""

    id = Key()
    name = Register(str)
    code = Register(str)


class Counted(Entity, category="items", writers={Role.GESTAO}):
    """A version in which the colour is a number."""

    id = Key()
    name = Register(str)
    colour = Register(int, optional=True)


class Tag(Entity, category="tags", writers={Role.GESTAO}):
    """A category that all versions share."""

    id = Key()
    text = Register(str)


OLD, NEW, STRICT, COUNTED = (Schema([item, Tag]) for item in (Old, New, Strict, Counted))
ADVICE = "install the same version of its adapter on both; the other categories go on"


async def test_an_unknown_optional_field_survives_a_relay_that_does_not_know_it(shop: Shop) -> None:
    gestao = await shop.open("gestao", NEW)
    loja = await shop.open(STORE, OLD)
    caixa = await shop.open("caixa1", NEW)
    async with gestao.transaction() as tx:
        tx.create(New, id="1", name="Caneca", colour="azul")
    await shop.even()
    (relayed,) = await loja.find(Old)
    assert relayed.name == "Caneca"
    assert not hasattr(relayed, "colour")
    (arrived,) = await caixa.find(New)
    assert (arrived.name, arrived.colour) == ("Caneca", "azul")
    async with gestao.transaction() as tx:
        (await tx.get(New, "1")).colour = "verde"
    await shop.even()
    (arrived,) = await caixa.find(New)
    assert arrived.colour == "verde"


async def test_a_relay_that_learns_the_field_later_shows_what_it_relayed(shop: Shop) -> None:
    gestao = await shop.open("gestao", NEW)
    await shop.open(STORE, OLD)
    async with gestao.transaction() as tx:
        tx.create(New, id="1", name="Caneca", colour="azul")
    await shop.even()
    await shop.close(STORE)
    loja = await shop.open(STORE, NEW)
    (shown,) = await loja.find(New)
    assert (shown.name, shown.colour) == ("Caneca", "azul")
    await shop.even()
    assert await loja.ledger.state_digest("items") == await gestao.ledger.state_digest("items")


async def test_an_incompatible_category_stops_alone_and_both_ends_say_so(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    gestao = await shop.open("gestao", NEW)
    async with gestao.transaction() as tx:
        tx.create(New, id="1", name="Caneca")
        tx.create(Tag, id="t", text="novo")
    with caplog.at_level("WARNING", "crdtsync"):
        loja = await shop.open(STORE, STRICT)
        await until(lambda: loja.initial_done, "the initial synchronization ends")
    assert [tag.text for tag in await loja.find(Tag)] == ["novo"]
    assert await loja.count(Strict) == 0
    assert "items" not in loja.ledger.heads
    why = "its keys, partition or required fields differ; install the same version of its adapter on both"
    assert told(loja) == [f"incompatible: items: does not synchronize with gestao: {why}"]
    assert told(gestao) == [f"incompatible: items: does not synchronize with loja1: {why}"]
    said = [record.getMessage() for record in caplog.records]
    waits = loja.agenda.why("items", "upload", {"items"})
    assert (waits.cause, waits.turn) == ("incompatible", "person")
    reason = "(its keys, partition or required fields differ)"
    assert sorted(said) == [
        f"items: {name} has an incompatible version {reason} and it does not synchronize; {ADVICE}"
        for name in ("gestao", "loja1")
    ]
    await shop.close(STORE)
    loja = await shop.open(STORE, NEW)
    await until(lambda: "items" in loja.ledger.heads, "the category goes on with the right adapter")
    async with gestao.transaction() as tx:
        tx.create(Tag, id="u", text="mais")
    await shop.even()
    assert [item.name for item in await loja.find(New)] == ["Caneca"]


async def test_an_optional_field_of_another_type_stops_its_category_before_a_record_travels(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    gestao = await shop.open("gestao", NEW)
    async with gestao.transaction() as tx:
        tx.create(New, id="1", name="Caneca", colour="azul")
        tx.create(Tag, id="t", text="novo")
    with caplog.at_level("WARNING", "crdtsync"):
        loja = await shop.open(STORE, COUNTED)
        await until(lambda: loja.initial_done, "the initial synchronization ends")
    assert [tag.text for tag in await loja.find(Tag)] == ["novo"]
    assert "items" not in loja.ledger.heads
    assert await loja.ledger.storage.read(lambda view: view.parked()) == []
    reason = "(the type of colour differs)"
    assert f"items: gestao has an incompatible version {reason} and it does not synchronize; {ADVICE}" in [
        record.getMessage() for record in caplog.records
    ]
