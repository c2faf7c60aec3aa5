"""C15: an NFC-e issued in contingency is transmitted within 24 hours; time alone opens it and makes it graver."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from adapters.access_keys import check_digit
from adapters.sales import Payment, PaymentMethod, Sale, SaleLine
from crdtsync import Severity
from crdtsync.errors import FieldError
from tests.adapters.conflicts.kit import CAIXA1, GESTAO, LOJA, everywhere
from tests.node.shop import WHEN

if TYPE_CHECKING:
    from crdtsync.node import Node
    from tests.adapters.conflicts.kit import Store

HOLDERS = (GESTAO, LOJA, CAIXA1)
PROTOCOL = "135260000012345"
ISSUER = "12ABC34501DE35"
HOUR = timedelta(hours=1)


def nfce_key(number: int, emission: str) -> str:
    """Return the access key of an NFC-e; emission "9" is contingency."""
    body = f"352611{ISSUER}65001{number:09d}{emission}12345678"
    return body + check_digit(body)


async def sell(lane: Node, number: int, *, emission: str = "9") -> None:
    line = SaleLine(product="p1", quantity=Decimal(1), unit_price=Decimal("25.90"))
    async with lane.transaction() as tx:
        tx.create(
            Sale,
            id=f"s{number}",
            sold_at=WHEN,
            lines=[line],
            payments=[Payment(method=PaymentMethod.PIX, amount=line.total)],
            issuer=ISSUER,
            model="65",
            series=1,
            number=number,
            access_key=nfce_key(number, emission),
        )


async def hours_pass(store: Store, hours: float) -> None:
    for name, node in store.nodes.items():
        store.clock(name).advance(hours * HOUR)
        await node.ledger.look_again()


async def test_a_note_sold_offline_in_contingency_is_an_alert_after_20_hours_and_blocks_after_24(
    store: Store,
) -> None:
    await store.apart()
    await sell(store.caixa1, 1)
    await hours_pass(store, 19.9)
    await store.together()
    await store.nothing("C15")
    await hours_pass(store, 0.2)
    alert = await store.same("C15", at=HOLDERS)
    assert (alert.severity, alert.owner) == (Severity.A, "loja")
    assert "NFC-e 1 da série 1" in alert.message
    await hours_pass(store, 4)
    late = await store.same("C15", at=HOLDERS)
    assert late.severity == Severity.B
    assert late.id == alert.id
    assert late.episode != alert.episode
    await store.settle(late, "transmitir", at=CAIXA1, values={"protocolo": PROTOCOL})
    assert (await everywhere(store, Sale, "s1", at=HOLDERS)).protocol == PROTOCOL


async def test_a_lane_that_comes_back_too_late_brings_the_pendency_with_its_sale(store: Store) -> None:
    await store.apart(CAIXA1)
    await sell(store.caixa1, 1)
    await hours_pass(store, 25)
    assert set(await store.open_ids("C15")) == {CAIXA1}
    await store.together()
    assert (await store.same("C15", at=HOLDERS)).severity == Severity.B


async def test_what_was_justified_before_the_deadline_is_asked_again_after_it(store: Store) -> None:
    await sell(store.caixa1, 1)
    await store.even()
    await hours_pass(store, 21)
    await store.settle(await store.same("C15", at=HOLDERS), "justificar")
    await hours_pass(store, 4)
    await store.settle(await store.same("C15", at=HOLDERS), "justificar")
    assert (await everywhere(store, Sale, "s1", at=HOLDERS)).protocol is None


async def test_two_people_who_transmit_apart_write_one_protocol(store: Store) -> None:
    await sell(store.caixa1, 1)
    await store.even()
    await hours_pass(store, 21)
    alert = await store.same("C15", at=HOLDERS)
    await store.settle_apart(alert, "transmitir", at=(LOJA, CAIXA1), values={"protocolo": PROTOCOL})
    sale = await everywhere(store, Sale, "s1", at=HOLDERS)
    assert (sale.protocol, sale.conflicts) == (PROTOCOL, {})


async def test_a_protocol_of_another_form_is_refused_and_the_alert_stays(store: Store) -> None:
    await sell(store.caixa1, 1)
    await store.even()
    await hours_pass(store, 21)
    alert = await store.same("C15", at=HOLDERS)
    with pytest.raises(FieldError, match="protocol"):
        await store.loja.resolve(
            alert.id, "transmitir", why="enviado", person="maria", values={"protocolo": "12"}
        )
    assert await store.same("C15", at=HOLDERS) == alert


async def test_a_normal_note_and_an_authorized_one_never_open_it(store: Store) -> None:
    await sell(store.caixa1, 1, emission="1")
    await sell(store.caixa1, 2)
    async with store.caixa1.transaction() as tx:
        (await tx.get(Sale, "s2")).protocol = PROTOCOL
    await store.even()
    await hours_pass(store, 30)
    await store.nothing("C15")
