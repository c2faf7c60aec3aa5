"""Clientes: who buys; every node may write one, offline too."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Self

from adapters.cities import City
from adapters.entity_classifications import EntityClassification
from adapters.facts import once
from adapters.tax_ids import TAX_ID
from adapters.tax_ids import tax_id as valid_tax_id
from crdtsync import (
    Broken,
    Case,
    Entity,
    Key,
    Money,
    Ref,
    Register,
    Role,
    Set,
    Severity,
    Struct,
    Verdict,
    check,
    concurrent_edits,
    errors,
    invariant,
    option,
    references,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_FILLED_IN = ("email", "phone", "street", "postal_code", "city", "classification")
"""What a unified customer takes over from the others when it is empty."""


def _document(customer: Customer) -> str | None:
    """The CPF or CNPJ of a customer in use: what C21 compares."""
    return None if customer.deleted or not customer.active else customer.tax_id


class CustomerCredit(Struct):
    """Store credit (crédito do cliente), a fact with its own id: `amount` in reais, below zero when it is used.

    `origin` says what it came from, such as the receivable that was paid twice.
    """

    id = Register(str, max_length=128)
    given_at = Register(datetime)
    amount = Money()
    origin = Register(str, max_length=200)


class Customer(Entity, category="customers", title="Clientes", writers={Role.GESTAO, Role.LOJA, Role.CAIXA}):
    """One customer. `tax_id` is a CPF or CNPJ without mask; `credit_limit` in reais, None for no credit.

    `merged_into` names the customer that took this one's place: sales and receivables are facts and keep the id that
    they were written with, so who adds them up follows it.
    `credit_blocked` tells the lanes to sell to this customer for cash only. `credits` is what the store owes them.
    """

    id = Key()
    name = Register(str, max_length=120)
    tax_id = Register(str, optional=True, pattern=TAX_ID, check=valid_tax_id, index=True)
    email = Register(str, optional=True, max_length=254, pattern=r"[^@\s]+@[^@\s]+")
    phone = Register(str, optional=True, pattern=r"\+?[0-9]{8,15}")
    street = Register(str, optional=True, max_length=200)
    postal_code = Register(str, optional=True, pattern=r"[0-9]{8}")
    city = Ref(City, optional=True)
    classification = Ref(EntityClassification, optional=True)
    credit_limit = Money(optional=True, writers={Role.GESTAO, Role.LOJA})
    tags = Set(str)
    active = Register(bool, default=True)
    merged_into = Ref("self", optional=True)
    credit_blocked = Register(bool, default=False, writers={Role.GESTAO, Role.LOJA})
    credits = Set(CustomerCredit)

    references_hold = references(
        "C22",
        title="Referência inexistente ou desatualizada",
        owner=Role.GESTAO,
        effect="O cliente fica sem a cidade ou a classificação nos documentos e relatórios.",
    )
    edited_once = concurrent_edits(
        "C25",
        title="Mesmo campo do cliente editado nos dois lados",
        owner=Role.LOJA,
        severity=Severity.M,
        effect="Vale a última edição; a outra se perde.",
    )

    @property
    def credit(self) -> Decimal:
        """What the customer may still spend of the credit given, in reais."""
        return sum((credit.amount for credit in once(self.credits)), Decimal(0))

    @check
    def credit_limit_is_not_negative(self) -> bool:
        """A credit limit is zero or more."""
        return self.credit_limit is None or self.credit_limit >= 0

    @invariant(
        "C21",
        title="Cliente com mesmo CPF/CNPJ",
        owner=Role.LOJA,
        severity=Severity.A,
        effect="Compras, crédito e dívidas da mesma pessoa ficam em dois cadastros.",
        given=("tax_id",),
        group=_document,
        several=True,
    )
    def document_is_one_customers(self, others: Sequence[Self]) -> Verdict:
        """Dois aparelhos cadastraram o mesmo CPF ou CNPJ."""
        named = ", ".join(f"{one.name} ({one.key})" for one in (self, *others))
        return Broken(
            f"O documento {self.tax_id} está em {len(others) + 1} cadastros: {named}.",
            records=others,
            facts={"documento": self.tax_id, "clientes": [one.key for one in (self, *others)]},
        )

    @option("C21", "unificar", "Unificar no primeiro", by={Role.GESTAO, Role.LOJA}, settles=False)
    async def unify(self, case: Case) -> None:
        """O primeiro recebe o que lhe falta dos outros, que ficam inativos e apontam para ele."""
        for other in case.records[1:]:
            if not isinstance(other, Customer):
                continue
            for name in _FILLED_IN:
                if getattr(self, name) is None and getattr(other, name) is not None:
                    setattr(self, name, getattr(other, name))
            for tag in other.tags:
                self.tags.add(tag)
            for credit in other.credits:
                self.credits.add(credit)
                other.credits.discard(credit)
            self.credit_blocked = self.credit_blocked or other.credit_blocked
            other.active = False
            other.merged_into = self.key

    @option(
        "C21", "corrigir", "Corrigir o documento de um deles", asks=("cliente", "documento"), settles=False
    )
    async def correct(self, case: Case) -> None:
        """Um dos cadastros tinha o documento de outra pessoa; sem documento, o campo fica vazio."""
        wanted = case.values["cliente"].strip()
        if wanted not in case.facts["clientes"]:
            known = ", ".join(case.facts["clientes"])
            raise errors.FieldError(
                self.__category__, "id", f"{wanted!r} is none of the customers in question: {known}"
            )
        customer = await case.tx.get(Customer, wanted)
        customer.tax_id = case.values["documento"].strip() or None

    @option("C21", "manter", "Manter os dois (filiais)")
    async def keep_both(self, _case: Case) -> None:
        """São cadastros diferentes do mesmo documento."""
