"""How people settle a pendency: options, decisions, their withdrawal, and two who disagree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from crdtsync import Role
from crdtsync.errors import FieldError, OptionRefused, PendencyMissing
from crdtsync.node.resolution import hash_pin, is_pin, options_of
from crdtsync.pendencies.records import Act, Decision, Person
from tests.pendencies.shop import Product, Stock, node

if TYPE_CHECKING:
    from crdtsync.node import Node
    from crdtsync.storage import PendencyRow

PENDENCY = "stock/s1/a#T01"


async def oversell(shop: Node, units: int = 1) -> PendencyRow:
    async with shop.transaction() as tx:
        item = await tx.find(Stock, "a")
        if item is None:
            tx.create(Product, id="a")
            item = tx.create(Stock, product="a")
        item.balance.subtract(units)
    found = await shop.pendency(PENDENCY)
    assert found is not None
    return found


async def test_an_accepted_episode_is_decided_and_the_next_one_is_open_again() -> None:
    async with node() as shop:
        await oversell(shop)
        decision = await shop.resolve(PENDENCY, "aceitar", why="chega amanhã", person="ana")
        assert await shop.pendencies() == []
        (decided,) = await shop.pendencies(status="decided")
        assert decided.id == PENDENCY
        (act,) = await shop.resolutions.acts(PENDENCY)
        assert (act.key, act.person, act.why, act.option, act.place) == (
            decision,
            "ana",
            "chega amanhã",
            "aceitar",
            "s1",
        )
        assert (await oversell(shop)).status == "open"


async def test_an_option_and_its_decision_are_one_transaction() -> None:
    async with node() as shop:
        await oversell(shop, 3)
        await shop.resolve(PENDENCY, "ajuste", why="contei", person="ana", values={"quantidade": "3"})
        assert await shop.pendency(PENDENCY) is None
        assert [act.act for act in await shop.resolutions.acts(PENDENCY)] == [Act.DECISAO]
        await oversell(shop)
        with pytest.raises(ValueError, match="invalid literal"):
            await shop.resolve(PENDENCY, "ajuste", why="x", person="ana", values={"quantidade": "três"})
        assert len(await shop.resolutions.acts(PENDENCY)) == 1


async def test_an_option_that_does_not_settle_leaves_it_open() -> None:
    async with node() as shop:
        await oversell(shop)
        await shop.resolve(PENDENCY, "recontar", why="amanhã", person="ana")
        (row,) = await shop.pendencies()
        assert row.status == "open"


async def test_a_withdrawn_decision_opens_it_again_and_can_be_taken_again() -> None:
    async with node() as shop:
        await oversell(shop)
        decision = await shop.resolve(PENDENCY, "aceitar", why="ok", person="ana")
        await shop.undo(decision, why="engano", person="bia")
        assert [row.status for row in await shop.pendencies()] == ["open"]
        clock = shop.ledger.clock
        clock.now = clock.now.replace(minute=1)  # type: ignore[attr-defined]
        await shop.resolve(PENDENCY, "aceitar", why="ok", person="ana")
        assert await shop.pendencies() == []
        with pytest.raises(PendencyMissing):
            await shop.undo("nobody", why="x", person="ana")


async def test_two_people_who_decide_differently_are_shown_until_one_withdraws() -> None:
    async with node() as shop:
        row = await oversell(shop)
        first = await shop.resolve(PENDENCY, "aceitar", why="ok", person="ana")
        await shop.resolve(PENDENCY, "recontar", why="não sei", person="bia")
        (apart,) = await shop.pendencies()
        assert (apart.rule, apart.category) == ("P02", "decisions")
        assert "Ana: aceitar" in apart.message
        assert "Bia: recontar" in apart.message
        assert len(json.loads(apart.records)) == 2
        await shop.undo(first, why="ela tem razão", person="ana")
        assert [found.id for found in await shop.pendencies()] == [row.id]


async def test_an_option_is_refused_with_what_to_do() -> None:
    async with node() as shop:
        await oversell(shop)
        for option, why, told in (
            ("aceita", "x", "did you mean 'aceitar'"),
            ("ajuste", "x", "it asks for quantidade"),
            ("aceitar", " ", "needs its reason"),
        ):
            with pytest.raises(OptionRefused, match=told):
                await shop.resolve(PENDENCY, option, why=why, person="ana")
        with pytest.raises(PendencyMissing, match="closed by itself"):
            await shop.resolve("stock/s1/b#T01", "aceitar", why="x", person="ana")
        with pytest.raises(FieldError):
            await shop.resolve(PENDENCY, "aceitar", why="x", person="")
        row = await shop.pendency(PENDENCY)
        assert row is not None
        assert [one.name for one in options_of(shop.ledger, row)] == ["aceitar", "ajuste", "recontar"]
        assert row.owner == Role.LOJA


async def test_many_are_settled_with_one_reason_and_a_refusal_holds_none_back() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            for number in range(20):
                tx.create(Stock, product=f"p{number}").balance.subtract(1)
        rows = await shop.pendencies(rule="T01")
        gone = rows[3]
        async with shop.transaction() as tx:
            (await tx.get(Stock, gone.key)).balance.add(1)
        decided, refused = await shop.resolutions.resolve_all(rows, "aceitar", why="inventário", person="ana")
        assert (len(decided), list(refused)) == (19, [gone.id])
        assert await shop.pendencies() == []


async def test_seen_and_noted_once_however_often_they_are_said() -> None:
    async with node() as shop:
        await oversell(shop)
        for _ in range(2):
            await shop.resolutions.see(PENDENCY, person="ana")
            await shop.resolutions.note(PENDENCY, "fornecedor avisado", person="ana")
        acts = await shop.resolutions.acts(PENDENCY)
        assert sorted((act.act, act.why) for act in acts) == [
            (Act.NOTA, "fornecedor avisado"),
            (Act.VISTA, None),
        ]
        assert [row.status for row in await shop.pendencies()] == ["open"]
        assert await shop.count(Decision) == 2


async def test_a_pin_is_kept_as_a_hash_only() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            (await tx.get(Person, "ana")).pin_hash = hash_pin("1234")
        ana, bia = await shop.get(Person, "ana"), await shop.get(Person, "bia")
        assert ana is not None
        assert bia is not None
        assert "1234" not in str(ana.pin_hash)
        assert [is_pin(ana, "1234"), is_pin(ana, "4321"), is_pin(bia, "1234")] == [True, False, False]
