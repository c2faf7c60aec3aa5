"""Operações de caixa: what moved the money of a till; facts, corrected only by other facts.

One document per store, lane and month (UTC), so that a Caixa holds only its own lane's; Loja and Gestão hold all.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from adapters.cost_centers import CostCenter
from adapters.sales import Sale
from crdtsync import Entity, Key, Once, Ref, Role, by_lane_month, check


class TillOperationKind(StrEnum):
    """What happened at the till."""

    ABERTURA = "abertura"
    VENDA = "venda"
    RECEBIMENTO = "recebimento"
    SUPRIMENTO = "suprimento"
    SANGRIA = "sangria"
    FECHAMENTO = "fechamento"


_BY_HAND = (TillOperationKind.SUPRIMENTO, TillOperationKind.SANGRIA)


class TillOperation(
    Entity,
    category="till_operations",
    title="Operações de caixa",
    writers={Role.LOJA, Role.CAIXA},
    partition=by_lane_month("happened_at"),
):
    """One operation of a shift (turno). `amount` in reais: what was there, came in or went out, as the kind says.

    `cost_center` is what an expense that a sangria paid is charged to.
    """

    id = Key()
    kind = Once(TillOperationKind)
    happened_at = Once(datetime)
    shift = Once(str, max_length=64)
    amount = Once(Decimal, scale=2)
    sale = Once(Ref(Sale), optional=True)
    operator = Once(str, optional=True, max_length=120)
    reason = Once(str, optional=True, max_length=500)
    cost_center = Once(Ref(CostCenter), optional=True)

    @check
    def amount_is_sound(self) -> bool:
        """An amount is not negative; a sangria or suprimento moves more than zero."""
        return self.amount > 0 or (self.amount == 0 and self.kind not in _BY_HAND)

    @check
    def sale_is_named(self) -> bool:
        """A venda names its sale, and nothing else does."""
        return (self.sale is not None) == (self.kind is TillOperationKind.VENDA)

    @check
    def sangria_has_a_reason(self) -> bool:
        """A sangria says why money was taken out."""
        return self.kind is not TillOperationKind.SANGRIA or bool(self.reason)
