"""Instalments that are paid, closed, or added to at two places at once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from adapters.customers import Customer
from adapters.receivables import Receivable, ReceivableStatus
from tests.adapters.conflicts import trade
from tests.adapters.conflicts.kit import CAIXA1, GESTAO, LOJA, OFFICE, everywhere

if TYPE_CHECKING:
    from crdtsync.storage import PendencyRow
    from tests.adapters.conflicts.kit import Store

TAKEN_TWICE = Decimal(200)


async def paid(store: Store, key: str) -> Decimal:
    return (await everywhere(store, Receivable, key)).paid


async def credit(store: Store) -> Decimal:
    return (await everywhere(store, Customer, "ana")).credit


async def pay_twice(store: Store) -> PendencyRow:
    """Two instalments of a hundred; both lanes take the first."""
    await trade.customer(store.gestao)
    for key in ("r1", "r2"):
        await trade.owe(store.loja, key)
    await store.even()
    await store.apart()
    await trade.pay(store.caixa1, "r1", "q1")
    await trade.pay(store.caixa2, "r1", "q2", at=trade.NOON + timedelta(minutes=1))
    await store.together()
    return await store.same("C08")


@pytest.mark.parametrize(
    ("option", "values", "second", "credited", "refunded"),
    [
        ("aplicar", {"documento": "r2"}, 100, 0, 0),
        ("credito", {}, 0, 100, 0),
        ("estornar", {}, 0, 0, 100),
        ("mesma", {}, 0, 0, 100),
    ],
)
async def test_each_answer_to_a_receivable_paid_twice_keeps_every_real_accounted_for(
    store: Store, option: str, values: dict[str, str], second: int, credited: int, refunded: int
) -> None:
    found = await pay_twice(store)
    assert "R$ 100,00 a mais" in found.message
    await store.settle(found, option, at=CAIXA1, values=values)
    assert await paid(store, "r1") == 100
    assert await paid(store, "r2") == second
    assert await credit(store) == credited
    assert 100 + second + credited + refunded == TAKEN_TWICE


@pytest.mark.parametrize(("option", "values"), [("credito", {}), ("aplicar", {"documento": "r2"})])
async def test_two_people_who_choose_the_same_move_the_money_once(
    store: Store, option: str, values: dict[str, str]
) -> None:
    await store.settle_apart(await pay_twice(store), option, at=(LOJA, CAIXA1), values=values)
    assert await paid(store, "r1") == 100
    assert await paid(store, "r2") + await credit(store) == 100


async def test_two_lanes_that_each_take_a_part_open_nothing(store: Store) -> None:
    await trade.customer(store.gestao)
    await trade.owe(store.loja, "r1")
    await store.even()
    await store.apart()
    await trade.pay(store.caixa1, "r1", "q1", 40)
    await trade.pay(store.caixa2, "r1", "q2", 60)
    await store.together()
    assert (await everywhere(store, Receivable, "r1")).status is ReceivableStatus.QUITADO
    await store.nothing("C08")


async def pay_while_renegotiating(store: Store) -> PendencyRow:
    """A lane takes forty of the old instalment while the office puts a new one in its place."""
    await trade.customer(store.gestao)
    await trade.owe(store.loja, "old")
    await store.even()
    await store.apart()
    await trade.pay(store.caixa1, "old", "q1", 40)
    await trade.owe(store.loja, "new")
    async with store.loja.transaction() as tx:
        (await tx.get(Receivable, "old")).renegotiate("new")
    await store.together()
    return await store.same("C09")


@pytest.mark.parametrize(
    ("option", "values", "old", "new", "credited"),
    [
        ("desfazer", {}, ("parcial", 40), ("cancelado", 0), 0),
        ("aplicar", {"documento": "new"}, ("renegociado", 0), ("parcial", 40), 0),
        ("credito", {}, ("renegociado", 0), ("aberto", 0), 40),
    ],
)
async def test_each_answer_to_a_payment_of_a_renegotiated_receivable_keeps_it_accounted_for(
    store: Store,
    option: str,
    values: dict[str, str],
    old: tuple[str, int],
    new: tuple[str, int],
    credited: int,
) -> None:
    found = await pay_while_renegotiating(store)
    assert "renegociado no documento new, e recebeu R$ 40,00" in found.message
    await store.settle(found, option, values=values)
    for key, expected in (("old", old), ("new", new)):
        receivable = await everywhere(store, Receivable, key)
        assert (str(receivable.status), int(receivable.paid)) == expected
    assert await credit(store) == credited


async def test_two_people_who_undo_the_same_renegotiation_undo_it_once(store: Store) -> None:
    await store.settle_apart(await pay_while_renegotiating(store), "desfazer", at=OFFICE)
    states = [(await everywhere(store, Receivable, key)).status for key in ("old", "new")]
    assert states == [ReceivableStatus.PARCIAL, ReceivableStatus.CANCELADO]


async def test_a_payment_of_a_receivable_that_was_cancelled_meanwhile_is_found(store: Store) -> None:
    await trade.customer(store.gestao)
    await trade.owe(store.loja, "r1")
    await store.even()
    await store.apart()
    await trade.pay(store.caixa1, "r1", "q1")
    async with store.gestao.transaction() as tx:
        (await tx.get(Receivable, "r1")).cancel()
    await store.together()
    await store.settle(await store.same("C09"), "desfazer")
    assert (await everywhere(store, Receivable, "r1")).status is ReceivableStatus.QUITADO


async def test_what_was_paid_before_the_renegotiation_opens_nothing(store: Store) -> None:
    await trade.customer(store.gestao)
    await trade.owe(store.loja, "old")
    await store.even()
    await trade.pay(store.caixa1, "old", "q1", 40)
    await store.even()
    async with store.loja.transaction() as tx:
        (await tx.get(Receivable, "old")).renegotiate("new")
    await store.even()
    await store.nothing("C09")


async def exceed_the_limit(store: Store) -> PendencyRow:
    """A limit of 150; each lane sells a hundred on credit."""
    await trade.customer(store.gestao, limit=150)
    await store.even()
    await store.apart()
    await trade.owe(store.caixa1, "r1")
    await trade.owe(store.caixa2, "r2")
    await store.together()
    return await store.same("C10", OFFICE)


@pytest.mark.parametrize(("option", "blocked"), [("aprovar", False), ("bloquear", True)])
async def test_each_answer_to_a_credit_limit_exceeded_settles_it(
    store: Store, option: str, *, blocked: bool
) -> None:
    found = await exceed_the_limit(store)
    assert "Ana deve R$ 200,00 nesta loja; o limite é R$ 150,00" in found.message
    await store.settle(found, option, at=GESTAO)
    assert (await everywhere(store, Customer, "ana")).credit_blocked is blocked


async def test_two_people_who_block_the_same_customer_agree(store: Store) -> None:
    await store.settle_apart(await exceed_the_limit(store), "bloquear", at=OFFICE)
    assert (await everywhere(store, Customer, "ana")).credit_blocked


async def test_a_payment_that_was_asked_for_settles_the_limit_when_it_comes(store: Store) -> None:
    found = await exceed_the_limit(store)
    await store.loja.resolve(
        found.id, "entrada", why="só com entrada", person="maria", values={"valor": "50"}
    )
    await store.even()
    assert (await store.same("C10", OFFICE)).episode == found.episode
    await trade.pay(store.caixa1, "r1", "q1", 50)
    await store.even()
    await store.nothing("C10")


async def test_after_an_approval_the_next_sale_on_credit_is_another_episode(store: Store) -> None:
    await store.settle(await exceed_the_limit(store), "aprovar")
    await trade.owe(store.caixa1, "r3")
    await store.even()
    assert "R$ 300,00" in (await store.same("C10", OFFICE)).message


async def test_a_limit_that_is_lowered_or_raised_is_looked_at_again(store: Store) -> None:
    await trade.customer(store.gestao, limit=200)
    await store.even()
    await trade.owe(store.caixa1, "r1")
    await trade.owe(store.caixa1, "r2")
    await store.even()
    await store.nothing("C10")
    for limit, places in ((150, OFFICE), (250, ())):
        async with store.gestao.transaction() as tx:
            (await tx.get(Customer, "ana")).credit_limit = Decimal(limit)
        await store.even()
        assert set(await store.open_ids("C10")) == set(places)
