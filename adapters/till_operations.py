"""Operações de caixa: what moved the money of a till; facts, corrected only by other facts.

One document per store, lane and month (UTC), so that a Caixa holds only its own lane's; Loja and Gestão hold all.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from adapters.cost_centers import CostCenter
from adapters.facts import once
from adapters.sales import Sale
from adapters.words import reais
from crdtsync import (
    Beside,
    Broken,
    Entity,
    Key,
    Once,
    Ref,
    Role,
    by_lane_month,
    check,
    errors,
    invariant,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crdtsync import Case, Verdict


class TillOperationKind(StrEnum):
    """What happened at the till."""

    ABERTURA = "abertura"
    VENDA = "venda"
    RECEBIMENTO = "recebimento"
    SUPRIMENTO = "suprimento"
    SANGRIA = "sangria"
    FECHAMENTO = "fechamento"


_BY_HAND = (TillOperationKind.SUPRIMENTO, TillOperationKind.SANGRIA)
_BOUNDS = (TillOperationKind.ABERTURA, TillOperationKind.FECHAMENTO)
_LOJA = {Role.LOJA}


def _shift_of_till(operation: TillOperation) -> str | Beside:
    """File the fechamentos that counted under their till and shift, and every other operation beside them."""
    shift = f"{operation.parts['store']}/{operation.drawer}/{operation.shift}"
    return shift if operation.counted is not None else Beside(shift)


def _bounds_of_till(operation: TillOperation) -> str | None:
    """File openings and closings under their till."""
    return f"{operation.parts['store']}/{operation.drawer}" if operation.kind in _BOUNDS else None


class TillOperation(
    Entity,
    category="till_operations",
    title="Operações de caixa",
    writers={Role.LOJA, Role.CAIXA},
    partition=by_lane_month("happened_at"),
):
    """One operation of a shift (turno). `amount` in reais: what was there, came in or went out, as the kind says.

    `cost_center` is what an expense that a sangria paid is charged to.
    A shift's name is used once in the life of a till. `till` names the till when it is not the lane's own. A fechamento
    says in `counted` how many operations of the shift it summed, the abertura included, itself not; one that says
    nothing is not checked. `corrects` is the fechamento that a second abertura takes back or a second fechamento
    completes; `continues_in` is the shift that goes on with the operations of the one that a fechamento ends.
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
    till = Once(str, optional=True, max_length=64)
    counted = Once(int, optional=True)
    corrects = Once(Ref("self"), optional=True)
    continues_in = Once(str, optional=True, max_length=64)

    @property
    def drawer(self) -> str:
        """The till: the one that the operation names, else the lane's own."""
        return self.till or self.parts["lane"]

    @property
    def money(self) -> Decimal:
        """What the operation adds to the till, in reais; a fechamento only says what is there."""
        if self.kind is TillOperationKind.FECHAMENTO or self.corrects is not None:
            return Decimal(0)
        return -self.amount if self.kind is TillOperationKind.SANGRIA else self.amount

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

    @check
    def only_a_closing_counts(self) -> bool:
        """A fechamento alone says how many operations it summed, and which shift goes on."""
        if self.kind is TillOperationKind.FECHAMENTO:
            return self.counted is None or self.counted >= 0
        return self.counted is None and self.continues_in is None

    @invariant(
        "C11",
        title="Operação chegou com o caixa fechado",
        owner=Role.LOJA,
        effect="O fechamento não bate com as operações do turno.",
        group=_shift_of_till,
        at={Role.GESTAO, Role.LOJA},
    )
    def closing_summed_all(self, others: Sequence[Self], beside: Sequence[Self]) -> Verdict:
        """O turno foi fechado enquanto uma estação sem rede ainda tinha operações dele."""
        operations = once([self, *others, *beside])
        closings = [one for one in standing_closings(operations) if one.counted is not None]
        if not closings:
            return True
        closing = max(closings, key=lambda one: (one.counted or 0, one.id))
        summed = _summed(operations)
        late = len(summed) - (closing.counted or 0)
        if late <= 0:
            return True
        money = sum((one.money for one in summed), Decimal(0))
        return Broken(
            f"O turno {self.shift} do caixa {self.drawer} fechou com {closing.counted} operações e tem {len(summed)}; "
            f"declarou {reais(closing.amount)}, e elas somam {reais(money)}.",
            records=[closing],
            facts={
                "fechamento": closing.id,
                "turno": self.shift,
                "caixa": self.drawer,
                "operacoes": len(summed),
                "declarado": str(closing.amount),
                "soma": str(money),
            },
        )

    @option("C11", "reabrir", "Reabrir o turno", by=_LOJA)
    async def reopen(self, case: Case) -> None:
        """Uma nova abertura toma o lugar do fechamento; o próximo fechamento soma tudo."""
        _add(
            case,
            TillOperationKind.ABERTURA,
            Decimal(case.facts["declarado"]),
            corrects=case.facts["fechamento"],
        )

    @option("C11", "marcar", "Levar ao turno aberto, com marca", by=_LOJA, asks=("turno",))
    async def carry_over(self, case: Case) -> None:
        """O fechamento fica; a diferença entra no turno aberto como suprimento ou sangria que diz de onde veio."""
        declared, money = Decimal(case.facts["declarado"]), Decimal(case.facts["soma"])
        _close(case, declared, f"diferença levada ao turno {case.values['turno']}")
        if money != declared:
            kind = TillOperationKind.SUPRIMENTO if money > declared else TillOperationKind.SANGRIA
            _add(
                case,
                kind,
                abs(money - declared),
                shift=case.values["turno"],
                reason=f"operações do turno {case.facts['turno']} que chegaram depois do fechamento",
            )

    @option("C11", "complementar", "Fechamento complementar", by=_LOJA)
    async def close_again(self, case: Case) -> None:
        """Um segundo fechamento soma todas as operações do turno."""
        _close(case, Decimal(case.facts["soma"]), case.why)

    @invariant(
        "C12",
        title="Mesmo caixa aberto em duas estações",
        owner=Role.LOJA,
        effect="As duas estações vendem no mesmo caixa, e nenhum dos fechamentos bate com a gaveta.",
        group=_bounds_of_till,
        at={Role.GESTAO, Role.LOJA},
    )
    def till_is_open_once(self, others: Sequence[Self]) -> Verdict:
        """Duas estações abriram o mesmo caixa sem que uma soubesse da outra."""
        bounds = once([self, *others])
        closed = {one.shift for one in standing_closings(bounds)}
        opened = sorted(
            (one for one in bounds if one.kind is TillOperationKind.ABERTURA and one.corrects is None),
            key=lambda one: (one.happened_at, one.id),
        )
        shifts = {one.shift: one for one in reversed(opened) if one.shift not in closed}
        stations = {one.parts["lane"] for one in shifts.values()}
        if len(stations) < 2:
            return True
        standing = [one for one in opened if shifts.get(one.shift) is one]
        said = " e ".join(f"{one.parts['lane']} (turno {one.shift})" for one in standing)
        return Broken(
            f"O caixa {self.drawer} está aberto em mais de uma estação: {said}.",
            records=standing,
            facts={
                "caixa": self.drawer,
                "turnos": [one.shift for one in standing],
                "aberturas": [one.id for one in standing],
            },
        )

    @option("C12", "unir", "Unir os turnos", by=_LOJA)
    async def join_shifts(self, case: Case) -> None:
        """Os turnos abertos depois terminam, e as operações deles continuam no primeiro."""
        first, *later = case.facts["turnos"]
        for shift in later:
            _add(case, TillOperationKind.FECHAMENTO, Decimal(0), shift=shift, continues_in=first)

    @option("C12", "separar", "Separar em outro caixa", by=_LOJA, asks=("caixa",))
    async def separate(self, case: Case) -> None:
        """Os turnos abertos depois passam para outro caixa, com o valor da abertura de cada um."""
        for opening in case.facts["aberturas"][1:]:
            begun = await case.tx.get(TillOperation, opening)
            goes_on = f"{begun.shift}-{case.values['caixa']}"
            _add(case, TillOperationKind.FECHAMENTO, Decimal(0), shift=begun.shift, continues_in=goes_on)
            _add(case, TillOperationKind.ABERTURA, begun.amount, shift=goes_on, till=case.values["caixa"])

    @option("C12", "encerrar", "Encerrar um dos turnos", by=_LOJA, asks=("turno", "valor"))
    async def close_one(self, case: Case) -> None:
        """O turno informado é fechado com o valor que está na gaveta."""
        shift, shifts = case.values["turno"], case.facts["turnos"]
        if shift not in shifts:
            raise errors.FieldError(
                "till_operations", "shift", f"{shift!r} is not open twice; name one of {', '.join(shifts)}"
            )
        amount: Decimal = TillOperation.parse_field("amount", case.values["valor"])
        _add(case, TillOperationKind.FECHAMENTO, amount, shift=shift)


def standing_closings(operations: Iterable[TillOperation]) -> list[TillOperation]:
    """Return the fechamentos that no abertura took back and no other fechamento completed."""
    told = once(operations)
    corrected = {one.corrects for one in told}
    return [one for one in told if one.kind is TillOperationKind.FECHAMENTO and one.id not in corrected]


def _summed(operations: Iterable[TillOperation]) -> list[TillOperation]:
    """Return what a fechamento sums: everything but fechamentos and the aberturas that take one back."""
    return [
        one for one in operations if one.kind is not TillOperationKind.FECHAMENTO and one.corrects is None
    ]


def _add(case: Case, kind: TillOperationKind, amount: Decimal, **values: Any) -> None:
    """Add the operation that a person's decision makes, to the till and shift of the case unless others are given."""
    said = {"till": case.facts["caixa"], "reason": case.why, **values}
    said.setdefault("shift", case.facts.get("turno"))
    case.tx.create(
        TillOperation,
        in_store=case.store,
        id=case.name(f"{kind}/{said['shift']}"),
        kind=kind,
        happened_at=case.now,
        amount=amount,
        operator=case.person,
        **said,
    )


def _close(case: Case, amount: Decimal, reason: str) -> None:
    """Add the fechamento that sums all operations of the shift and completes the one of the case."""
    _add(
        case,
        TillOperationKind.FECHAMENTO,
        amount,
        counted=case.facts["operacoes"],
        corrects=case.facts["fechamento"],
        reason=reason,
    )
