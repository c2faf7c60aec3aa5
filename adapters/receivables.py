"""Documentos a receber: what customers owe, and the settlements that pay it; the status is derived, never stored.

One document per store and due month: a Caixa holds what is overdue or due within 30 days. It may add settlements, and
the receivable of a credit sale that it makes; what changes the debt is for Loja and Gestão.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from adapters.customers import Customer
from adapters.profit_centers import ProfitCenter
from adapters.sales import PaymentMethod, Sale
from crdtsync import (
    Entity,
    Key,
    Money,
    Once,
    Ref,
    Register,
    Role,
    Set,
    Severity,
    Struct,
    by_due_month,
    check,
    concurrent_edits,
    invariant,
)

_OFFICE = {Role.GESTAO, Role.LOJA}


class ReceivableStatus(StrEnum):
    """Where a receivable stands, apart from being overdue."""

    ABERTO = "aberto"
    PARCIAL = "parcial"
    QUITADO = "quitado"
    CANCELADO = "cancelado"


class Settlement(Struct):
    """One payment (quitação), a fact with its own id; a reversal (estorno) is another with a negative amount.

    `amount` in reais; `device` names the node that took it.
    """

    id = Register(str, max_length=64)
    settled_at = Register(datetime)
    amount = Money()
    method = Register(PaymentMethod)
    device = Register(str, max_length=64)


class Receivable(
    Entity,
    category="receivables",
    title="Documentos a receber",
    writers={Role.GESTAO, Role.LOJA, Role.CAIXA},
    partition=by_due_month("due_on"),
    upload=4,
):
    """One instalment. Amounts in reais; due is `value` + `interest` - `discount`.

    `profit_center` is what the revenue is credited to, where the store's books tell revenues apart.
    """

    id = Key()
    number = Once(str, max_length=40)
    customer = Once(Ref(Customer))
    sale = Once(Ref(Sale), optional=True)
    issued_on = Once(date)
    due_on = Once(date)
    value = Once(Decimal, scale=2)
    interest = Money(default=Decimal(0), writers=_OFFICE)
    discount = Money(default=Decimal(0), writers=_OFFICE)
    cancelled = Register(bool, default=False, writers=_OFFICE)
    profit_center = Once(Ref(ProfitCenter), optional=True)
    settlements = Set(Settlement)

    edited_once = concurrent_edits(
        "C25",
        title="Juros ou desconto editado nos dois lados",
        owner=Role.LOJA,
        severity=Severity.A,
        fields=("interest", "discount"),
        effect="Vale a última edição, e o cliente deve o que ela diz.",
    )

    @property
    def due(self) -> Decimal:
        """What must be paid in all, in reais."""
        return self.value + self.interest - self.discount

    @property
    def paid(self) -> Decimal:
        """What was paid, reversals taken off, in reais."""
        return sum((settlement.amount for settlement in self.settlements), Decimal(0))

    @property
    def status(self) -> ReceivableStatus:
        """Where it stands."""
        if self.cancelled:
            return ReceivableStatus.CANCELADO
        if self.paid >= self.due:
            return ReceivableStatus.QUITADO
        return ReceivableStatus.PARCIAL if self.paid > 0 else ReceivableStatus.ABERTO

    def is_overdue(self, today: date) -> bool:
        """Whether something is still to be paid after the due date."""
        return self.due_on < today and self.status in (ReceivableStatus.ABERTO, ReceivableStatus.PARCIAL)

    def _paid_too_much_from(self) -> int:
        """How many devices took part in paying more than is due; 0 when no more than that was paid."""
        return len({settlement.device for settlement in self.settlements}) if self.paid > self.due else 0

    @check
    def amounts_are_sound(self) -> bool:
        """The value is above zero; interest and discount are not negative, nor is what is left to pay."""
        return self.value > 0 and self.interest >= 0 and self.discount >= 0 and self.due >= 0

    @check
    def due_after_issue(self) -> bool:
        """A receivable is not due before it is issued."""
        return self.due_on >= self.issued_on

    @check
    def one_device_takes_no_more_than_is_due(self) -> bool:
        """The settlements of one device, which it can all see, do not pay more than is due."""
        return self._paid_too_much_from() != 1

    @invariant("C08", title="Documento pago duas vezes", owner=Role.LOJA)
    def paid_once(self) -> bool:
        """Two devices each took the payment while they could not hear each other; both settlements stand."""
        return self._paid_too_much_from() < 2
