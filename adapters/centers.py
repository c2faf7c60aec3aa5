"""What cost centers and profit centers have in common: the rule about a deleted one that is in use, and its options.

The entries of a center are facts and stay with it, whatever is decided. It declares no category.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from crdtsync import (
    Broken,
    Case,
    Records,
    Role,
    Severity,
    Verdict,
    concurrent_edits,
    errors,
    invariant,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from adapters.cost_centers import CostCenter
    from adapters.profit_centers import ProfitCenter

    Center: TypeAlias = CostCenter | ProfitCenter

EDITED_ONCE = concurrent_edits(
    "C25",
    title="Mesmo campo do centro editado nos dois lados",
    owner=Role.GESTAO,
    severity=Severity.M,
    effect="Vale a última edição; a outra se perde.",
)


def is_open(center: Center, day: date) -> bool:
    """Whether something may be charged or credited to a center on a day."""
    return center.active and not center.deleted and (center.closed_on is None or day < center.closed_on)


def in_use(kind: str) -> Callable[[Any, Records], Verdict]:
    """Return the rule C23 of a kind of center ("custo", "lucro"): Gestão alone holds the entries of all stores."""

    @invariant(
        "C23",
        title=f"Centro de {kind} excluído em uso",
        owner=Role.GESTAO,
        severity=Severity.A,
        effect="Os lançamentos continuam no centro excluído e somem dos relatórios.",
        referred=True,
        at={Role.GESTAO},
    )
    def deleted_while_in_use(self: Center, records: Records) -> Verdict:
        """A Gestão excluiu o centro enquanto uma loja o usava num lançamento."""
        users = records.referrers(self)
        if not users:
            return True
        return Broken(
            f"O centro de {kind} “{self.name}” foi excluído e há lançamentos que o usam.",
            records=users,
            facts={"centro": self.key},
        )

    return deleted_while_in_use


@option("C23", "restaurar", "Restaurar o centro", by={Role.GESTAO}, settles=False)
async def bring_back(self: Center, _case: Case) -> None:
    """O centro volta como era."""
    self.restore()


@option(
    "C23", "transferir", "Transferir para outro centro", by={Role.GESTAO}, asks=("centro",), settles=False
)
async def transfer(self: Center, case: Case) -> None:
    """O centro volta inativo, e o que foi lançado nele passa a contar no outro."""
    other = await case.tx.get(type(self), case.values["centro"].strip())
    if other.key == self.key:
        raise errors.FieldError(
            self.__category__, "transferred_to", f"{other.key} is this center; name another"
        )
    self.restore()
    self.active = False
    self.transferred_to = other.key


@option("C23", "inativar", "Inativar a partir de uma data", by={Role.GESTAO}, asks=("data",), settles=False)
async def close(self: Center, case: Case) -> None:
    """O centro volta para o que já foi lançado e não recebe nada a partir da data (AAAA-MM-DD)."""
    self.restore()
    self.closed_on = self.parse_field("closed_on", case.values["data"])
