"""Vendas: facts with lines and payments; a sale is corrected by another fact, never edited or deleted.

One document per store, lane and month (UTC), so that a Caixa holds only what its own lane sold; Loja and Gestão hold all.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from adapters.access_keys import ACCESS_KEY, PROTOCOL, AccessKey, access_key
from adapters.customers import Customer
from adapters.products import Product
from adapters.reference import LOCAL_TIME
from adapters.tax_ids import TAX_ID, tax_id
from crdtsync import (
    Broken,
    Case,
    Entity,
    Fine,
    Key,
    Money,
    Once,
    Quantity,
    Ref,
    Register,
    Role,
    Rows,
    Severity,
    Struct,
    Verdict,
    by_lane_month,
    check,
    invariant,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_CENT = Decimal("0.01")
_STORE = {Role.LOJA, Role.CAIXA}
_MOMENT = timedelta(milliseconds=1)

CONTINGENCY = "9"
"""The emission type, in the access key, of an NFC-e that was issued while SEFAZ could not be reached."""

CONTINGENCY_WARNING = timedelta(hours=20)
CONTINGENCY_DEADLINE = timedelta(hours=24)
"""An NFC-e in contingency is transmitted within 24 hours; from the 20th on it is an alert."""


class PaymentMethod(StrEnum):
    """How a sale or a receivable is paid."""

    DINHEIRO = "dinheiro"
    CHEQUE = "cheque"
    CREDITO = "credito"
    DEBITO = "debito"
    PIX = "pix"
    CREDIARIO = "crediario"
    VALE = "vale"
    OUTROS = "outros"


class SaleLine(Struct):
    """One product of a sale; prices and discount in reais. `list_price` is the price that was in force."""

    product = Ref(Product)
    quantity = Quantity()
    unit_price = Money()
    list_price = Money(optional=True)
    discount = Money(optional=True)

    @property
    def total(self) -> Decimal:
        """Quantity times price, rounded half up to the cent as fiscal documents do, less the discount."""
        gross = (self.quantity * self.unit_price).quantize(_CENT, ROUND_HALF_UP)
        return gross - (self.discount or 0)


class Payment(Struct):
    """One part of what was paid, in reais, less the change given back."""

    method = Register(PaymentMethod)
    amount = Money()
    authorization = Register(str, optional=True, max_length=40)


class Sale(
    Entity,
    category="sales",
    title="Vendas",
    writers={Role.LOJA, Role.CAIXA},
    partition=by_lane_month("sold_at"),
):
    """One sale. The fiscal fields are absent until a number is used.

    `protocol` is SEFAZ's authorization. It comes after the sale, hours after it in contingency, so it is no part of the
    fact but a register.
    """

    id = Key()
    sold_at = Once(datetime)
    customer = Once(Ref(Customer), optional=True)
    lines = Once(Rows(SaleLine))
    payments = Once(Rows(Payment))
    issuer = Once(str, optional=True, pattern=TAX_ID, check=tax_id)
    model = Once(str, optional=True, pattern="55|65")
    series = Once(int, optional=True)
    number = Once(int, optional=True)
    access_key = Once(str, optional=True, pattern=ACCESS_KEY, check=access_key)
    protocol = Register(str, optional=True, pattern=PROTOCOL)

    @property
    def total(self) -> Decimal:
        """What the customer owes for the lines, in reais."""
        return sum((line.total for line in self.lines), Decimal(0))

    @check
    def has_lines(self) -> bool:
        """A sale has at least one line."""
        return len(self.lines) > 0

    @check
    def lines_are_sound(self) -> bool:
        """A line sells more than zero units, and neither its price nor its total is negative."""
        return all(line.quantity > 0 and line.unit_price >= 0 and line.total >= 0 for line in self.lines)

    @check
    def payments_make_the_total(self) -> bool:
        """The payments, none of them negative, add up to the total of the lines."""
        amounts = [payment.amount for payment in self.payments]
        return min(amounts, default=Decimal(0)) >= 0 and sum(amounts) == self.total

    @check
    def fiscal_number_is_whole(self) -> bool:
        """Issuer, model, series (0 to 999) and number (1 to 999,999,999) are given together."""
        if self.series is None or self.number is None:
            return {self.issuer, self.model, self.series, self.number} == {None}
        given = self.issuer is not None and self.model is not None
        return given and 0 <= self.series <= 999 and 1 <= self.number <= 999_999_999

    @check
    def access_key_says_the_same(self) -> bool:
        """An access key repeats the sale's issuer, model, series and number."""
        if self.access_key is None:
            return True
        key = AccessKey.parse(self.access_key)
        fiscal = (self.issuer, self.model, self.series, self.number)
        return fiscal == (key.issuer, key.model, key.series, key.number)

    @invariant(
        "C14",
        title="Número fiscal repetido",
        owner=Role.LOJA,
        severity=Severity.B,
        group=("issuer", "model", "series", "number"),
    )
    def fiscal_number_is_unique(self, others: Sequence[Self]) -> bool:
        """Two sales used the same fiscal number for different documents; SEFAZ rejects the second (539)."""
        return self.number is None or all(other.access_key == self.access_key for other in others)

    @property
    def in_contingency(self) -> bool:
        """Whether it is an NFC-e that was issued in contingency: its access key says so."""
        key = self.access_key
        return key is not None and self.model == "65" and AccessKey.parse(key).emission == CONTINGENCY

    @invariant(
        "C15",
        title="NFC-e em contingência vencendo",
        owner=Role.LOJA,
        severity=Severity.A,
        effect="Depois de 24 horas a nota está fora do prazo: a venda fica sem documento válido e a loja, sujeita a multa.",
    )
    def contingency_is_transmitted(self, now: datetime) -> Verdict:
        """Uma NFC-e emitida em contingência ainda não foi autorizada pela SEFAZ."""
        if self.protocol is not None or not self.in_contingency:
            return True
        warn, deadline = self.sold_at + CONTINGENCY_WARNING, self.sold_at + CONTINGENCY_DEADLINE
        if now <= warn:
            # A moment later than the limit itself: at the limit it is still fine.
            return Fine(until=warn + _MOMENT)
        late = now >= deadline
        told = f"A NFC-e {self.number} da série {self.series}, emitida em contingência, não foi autorizada"
        end = f"{deadline.astimezone(LOCAL_TIME):%d/%m/%Y às %H:%M} (horário de Brasília)"
        return Broken(
            f"{told} e o prazo terminou em {end}." if late else f"{told} e o prazo termina em {end}.",
            facts={"chave": self.access_key, "prazo": "vencido" if late else "vencendo"},
            severity=Severity.B if late else Severity.A,
            until=None if late else deadline,
        )

    @option(
        "C15", "transmitir", "Transmitir e anotar o protocolo", by=_STORE, asks=("protocolo",), settles=False
    )
    async def transmit(self, case: Case) -> None:
        """Anota o protocolo com que a SEFAZ autorizou a nota."""
        self.protocol = case.values["protocolo"].strip()

    @option("C15", "justificar", "Justificar a não transmissão", by=_STORE)
    async def justify(self, case: Case) -> None:
        """Guarda o motivo; quem justificou antes do prazo é perguntado de novo quando ele vence."""
