"""Documentos a receber: what customers owe, and the settlements that pay it; the status is derived, never stored.

One document per store and due month: a Caixa holds what is overdue or due within 30 days. It may add settlements, and
the receivable of a credit sale that it makes; what changes the debt is for Loja and Gestão.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from adapters.customers import Customer, CustomerCredit
from adapters.facts import once
from adapters.profit_centers import ProfitCenter
from adapters.sales import PaymentMethod, Sale
from adapters.words import reais
from crdtsync import (
    Broken,
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
    errors,
    invariant,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crdtsync import Case, Records, Verdict

_OFFICE = {Role.GESTAO, Role.LOJA}


class ReceivableStatus(StrEnum):
    """Where a receivable stands, apart from being overdue."""

    ABERTO = "aberto"
    PARCIAL = "parcial"
    QUITADO = "quitado"
    CANCELADO = "cancelado"
    RENEGOCIADO = "renegociado"


class Settlement(Struct):
    """One payment (quitação), a fact with its own id; a reversal (estorno) is another with a negative amount.

    `amount` in reais; `device` names the node that took it; `reverses` is the id of the settlement that a reversal
    takes back, and `note` says why.
    """

    id = Register(str, max_length=64)
    settled_at = Register(datetime)
    amount = Money()
    method = Register(PaymentMethod)
    device = Register(str, max_length=64)
    reverses = Register(str, optional=True, max_length=64)
    note = Register(str, optional=True, max_length=200)


def _debt(receivable: Receivable) -> str | None:
    """File what is still owed under the store and the customer."""
    return f"{receivable.parts['store']}/{receivable.customer}" if receivable.left > 0 else None


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
    A receivable is closed by cancelling it or by `renegotiated_into`, the receivable that takes its place. Who closes it
    writes down in `paid_when_closed` what was paid as far as they knew: more than that was paid without knowing.
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
    renegotiated_into = Ref("self", optional=True, writers=_OFFICE)
    paid_when_closed = Money(optional=True, writers=_OFFICE)

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
        return sum((settlement.amount for settlement in once(self.settlements)), Decimal(0))

    @property
    def closed(self) -> bool:
        """Whether nobody is to pay it any more."""
        return self.cancelled or self.renegotiated_into is not None

    @property
    def left(self) -> Decimal:
        """What is still to be paid, in reais; zero when closed."""
        return Decimal(0) if self.closed else max(self.due - self.paid, Decimal(0))

    @property
    def status(self) -> ReceivableStatus:
        """Where it stands."""
        if self.cancelled:
            return ReceivableStatus.CANCELADO
        if self.renegotiated_into is not None:
            return ReceivableStatus.RENEGOCIADO
        if self.paid >= self.due:
            return ReceivableStatus.QUITADO
        return ReceivableStatus.PARCIAL if self.paid > 0 else ReceivableStatus.ABERTO

    def is_overdue(self, today: date) -> bool:
        """Whether something is still to be paid after the due date."""
        return self.due_on < today and self.status in (ReceivableStatus.ABERTO, ReceivableStatus.PARCIAL)

    def cancel(self) -> None:
        """Cancel the debt that is left, as it stands here."""
        self.cancelled = True
        self.paid_when_closed = self.paid

    def renegotiate(self, into: str) -> None:
        """Let another receivable take this one's place, as it stands here."""
        self.renegotiated_into = into
        self.paid_when_closed = self.paid

    def reopen(self) -> None:
        """Take the cancelling or renegotiation back."""
        self.cancelled = False
        self.renegotiated_into = None
        self.paid_when_closed = None

    def _paid_too_much_from(self) -> int:
        """How many devices took part in paying more than is due; 0 when no more than that was paid."""
        return len({settlement.device for settlement in self.settlements}) if self.paid > self.due else 0

    def _last_settlement(self) -> Settlement:
        """Return the latest settlement that was not taken back."""
        told = once(self.settlements)
        taken_back = {settlement.reverses for settlement in told}
        stand = [one for one in told if one.amount > 0 and one.id not in taken_back]
        return max(stand or told, key=lambda one: (one.settled_at, one.id))

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

    @invariant(
        "C08",
        title="Documento pago duas vezes",
        owner=Role.LOJA,
        effect="O cliente fica sem o que pagou a mais.",
    )
    def paid_once(self) -> Verdict:
        """Duas estações receberam o mesmo documento sem que uma soubesse da outra."""
        if self._paid_too_much_from() < 2:
            return True
        over = self.paid - self.due
        return Broken(
            f"O documento {self.number} é de {reais(self.due)} e recebeu {reais(self.paid)}: {reais(over)} a mais.",
            facts={
                "a_mais": str(over),
                "quitacoes": sorted({settlement.id for settlement in self.settlements}),
                "segunda": self._last_settlement().id,
            },
        )

    @option("C08", "aplicar", "Aplicar em outra parcela", asks=("documento",))
    async def apply_excess(self, case: Case) -> None:
        """O que foi pago a mais passa a quitar o documento informado."""
        await self._apply(case, Decimal(case.facts["a_mais"]))

    @option("C08", "credito", "Lançar crédito ao cliente")
    async def credit_excess(self, case: Case) -> None:
        """O que foi pago a mais vira crédito do cliente."""
        await self._credit(case, Decimal(case.facts["a_mais"]))

    @option("C08", "estornar", "Estornar e devolver o dinheiro")
    async def refund_excess(self, case: Case) -> None:
        """O que foi pago a mais é estornado; o dinheiro sai por uma sangria do caixa que o devolver."""
        self._take_back(case, Decimal(case.facts["a_mais"]), "devolvido ao cliente")

    @option("C08", "mesma", "É a mesma quitação")
    async def same_settlement(self, case: Case) -> None:
        """A segunda quitação foi lançada duas vezes e não vale; não há dinheiro a devolver."""
        (second,) = [one for one in once(self.settlements) if one.id == case.facts["segunda"]]
        self._take_back(case, second.amount, "lançada duas vezes")

    @invariant(
        "C09",
        title="Quitação em documento cancelado ou renegociado",
        owner=Role.LOJA,
        effect="O pagamento fica em um documento que ninguém mais cobra, e a dívida nova continua inteira.",
    )
    def closed_with_what_was_paid(self) -> Verdict:
        """Uma estação recebeu o documento enquanto outra o cancelava ou renegociava."""
        late = self.paid - (self.paid_when_closed or 0)
        if not self.closed or late <= 0:
            return True
        what = f"renegociado no documento {self.renegotiated_into}" if self.renegotiated_into else "cancelado"
        return Broken(
            f"O documento {self.number} foi {what}, e recebeu {reais(late)} sem que quem o fez soubesse.",
            facts={
                "recebido": str(late),
                "novo": self.renegotiated_into,
                "quitacoes": sorted({settlement.id for settlement in self.settlements}),
            },
        )

    @option("C09", "desfazer", "Desfazer o cancelamento ou a renegociação", by=_OFFICE)
    async def undo_closing(self, case: Case) -> None:
        """O documento volta a valer com o que foi pago, e o que o substituía é cancelado."""
        if self.renegotiated_into is not None:
            new = await case.tx.find(Receivable, self.renegotiated_into)
            if new is not None:
                new.cancel()
        self.reopen()

    @option("C09", "aplicar", "Aplicar no documento novo", asks=("documento",))
    async def apply_late(self, case: Case) -> None:
        """O que foi pago passa a quitar o documento informado."""
        await self._apply(case, Decimal(case.facts["recebido"]))

    @option("C09", "credito", "Lançar crédito ao cliente")
    async def credit_late(self, case: Case) -> None:
        """O que foi pago vira crédito do cliente."""
        await self._credit(case, Decimal(case.facts["recebido"]))

    @invariant(
        "C10",
        title="Limite de crédito estourado offline",
        owner=Role.GESTAO,
        effect="A loja continua a vender a prazo a um cliente que já deve mais do que o limite.",
        watch=("customer",),
        group=_debt,
        at=_OFFICE,
    )
    def debt_is_within_limit(self, others: Sequence[Self], records: Records) -> Verdict:
        """Duas estações venderam a prazo ao mesmo cliente, e cada uma só via a sua venda."""
        customer = records.get(Customer, self.customer)
        if customer is None or customer.credit_blocked:
            return True
        owed = sum((one.left for one in once([self, *others])), Decimal(0))
        limit = customer.credit_limit or Decimal(0)
        if owed <= limit:
            return True
        return Broken(
            f"{customer.name} deve {reais(owed)} nesta loja; o limite é {reais(limit)}.",
            records=[*others, customer],
            facts={"devido": str(owed), "limite": str(limit)},
        )

    @option("C10", "aprovar", "Aprovar o que já foi vendido", by=_OFFICE)
    async def approve(self, _case: Case) -> None:
        """As vendas ficam como estão; uma venda a mais abre a pendência de novo."""

    @option("C10", "entrada", "Exigir uma entrada", by=_OFFICE, asks=("valor",), settles=False)
    async def ask_for_payment(self, _case: Case) -> None:
        """O cliente paga a entrada; a pendência se encerra quando a dívida voltar ao limite."""

    @option("C10", "bloquear", "Bloquear novas vendas a prazo", by=_OFFICE)
    async def block(self, case: Case) -> None:
        """O cliente só compra à vista até que o bloqueio seja retirado."""
        (await case.tx.get(Customer, self.customer)).credit_blocked = True

    def _take_back(self, case: Case, amount: Decimal, why: str) -> Settlement:
        """Add the reversal of an amount of the latest settlement, and return that settlement."""
        last = self._last_settlement()
        self.settlements.add(
            Settlement(
                id=case.name("estorno"),
                settled_at=case.now,
                amount=-amount,
                method=last.method,
                device=last.device,
                reverses=last.id,
                note=why,
            )
        )
        return last

    async def _apply(self, case: Case, amount: Decimal) -> None:
        """Move an amount of the latest settlement to the receivable that a person named.

        Raises:
            FieldError: that is this receivable, or another customer's.
        """
        other = await case.tx.get(Receivable, case.values["documento"])
        if other.id == self.id or other.customer != self.customer:
            raise errors.FieldError(
                "receivables", "id", f"{other.id} is no other receivable of customer {self.customer}"
            )
        last = self._take_back(case, amount, f"aplicado em {other.id}")
        other.settlements.add(
            Settlement(
                id=case.name("aplicado"),
                settled_at=case.now,
                amount=amount,
                method=last.method,
                device=last.device,
                note=f"pago em {self.id}",
            )
        )

    async def _credit(self, case: Case, amount: Decimal) -> None:
        """Turn an amount of the latest settlement into credit of the customer."""
        customer = await case.tx.get(Customer, self.customer)
        self._take_back(case, amount, "crédito do cliente")
        customer.credits.add(
            CustomerCredit(
                id=case.name("credito"),
                given_at=case.now,
                amount=amount,
                origin=f"documento {self.id}",
            )
        )
