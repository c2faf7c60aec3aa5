"""Clientes: who buys; every node may write one, offline too."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from adapters.cities import City
from adapters.entity_classifications import EntityClassification
from adapters.facts import once
from adapters.tax_ids import TAX_ID, tax_id
from crdtsync import Entity, Key, Money, Ref, Register, Role, Set, Struct, check, references


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

    `credit_blocked` tells the lanes to sell to this customer for cash only. `credits` is what the store owes them.
    """

    id = Key()
    name = Register(str, max_length=120)
    tax_id = Register(str, optional=True, pattern=TAX_ID, check=tax_id, index=True)
    email = Register(str, optional=True, max_length=254, pattern=r"[^@\s]+@[^@\s]+")
    phone = Register(str, optional=True, pattern=r"\+?[0-9]{8,15}")
    street = Register(str, optional=True, max_length=200)
    postal_code = Register(str, optional=True, pattern=r"[0-9]{8}")
    city = Ref(City, optional=True)
    classification = Ref(EntityClassification, optional=True)
    credit_limit = Money(optional=True, writers={Role.GESTAO, Role.LOJA})
    tags = Set(str)
    active = Register(bool, default=True)
    credit_blocked = Register(bool, default=False, writers={Role.GESTAO, Role.LOJA})
    credits = Set(CustomerCredit)

    references_hold = references("C22", title="Referência inexistente ou desatualizada", owner=Role.GESTAO)

    @property
    def credit(self) -> Decimal:
        """What the customer may still spend of the credit given, in reais."""
        return sum((credit.amount for credit in once(self.credits)), Decimal(0))

    @check
    def credit_limit_is_not_negative(self) -> bool:
        """A credit limit is zero or more."""
        return self.credit_limit is None or self.credit_limit >= 0
