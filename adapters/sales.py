"""Vendas: facts with lines and payments; a sale is corrected by another fact, never edited or deleted.

One document per store, lane and month (UTC), so that a Caixa holds only what its own lane sold; Loja and Gestão hold all.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from adapters.access_keys import ACCESS_KEY, AccessKey, access_key
from adapters.customers import Customer
from adapters.products import Product
from adapters.tax_ids import TAX_ID, tax_id
from crdtsync import (
    Entity,
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
    by_lane_month,
    check,
    invariant,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_CENT = Decimal("0.01")


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
    """One sale. The fiscal fields are absent until a number is used."""

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
