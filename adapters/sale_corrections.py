"""Correções de vendas: facts about an earlier sale, because a sale is never edited.

A return, a difference in price, a sale that was sent twice, what became of a fiscal number. What is wrong with a
correction is said by another one. One document per store, lane and month (UTC), as for sales.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from adapters.customers import Customer, CustomerCredit
from adapters.facts import once
from adapters.sale_lines import SaleLine
from adapters.stock import StockItem
from adapters.words import units
from crdtsync import (
    Broken,
    Entity,
    Key,
    Once,
    Ref,
    Role,
    Rows,
    by_lane_month,
    check,
    invariant,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from adapters.sales import Sale
    from crdtsync import Case, Records, Verdict

_LOJA = {Role.LOJA}


class CorrectionKind(StrEnum):
    """What is said about the sale."""

    DEVOLUCAO = "devolucao"
    """The goods of `lines` came back; `amount` was given back."""
    ESTORNO = "estorno"
    """The correction in `corrects` does not count."""
    CREDITO = "credito"
    """What came back in `corrects` is not of this sale; its amount became credit of a customer."""
    FRAUDE = "fraude"
    """What `corrects` says never came back."""
    DESCONTO = "desconto"
    """The practised prices hide a discount of `amount` on the prices in force; no money moves."""
    DIFERENCA = "diferenca"
    """`amount` goes back to the customer; below zero, it is still to be charged."""
    REPETICAO = "repeticao"
    """The sale was sent twice, and this one does not count."""
    REEMISSAO = "reemissao"
    """The document is to be issued again with another number."""
    INUTILIZACAO = "inutilizacao"
    """The number is declared unused at SEFAZ."""
    CANCELAMENTO = "cancelamento"
    """The document is cancelled at SEFAZ."""


_ABOUT_RETURNS = {
    CorrectionKind.DEVOLUCAO,
    CorrectionKind.ESTORNO,
    CorrectionKind.CREDITO,
    CorrectionKind.FRAUDE,
}


def _sale_with_returns(correction: SaleCorrection) -> str | None:
    """File what is about returns under the store and the sale."""
    about = correction.kind in _ABOUT_RETURNS
    return f"{correction.parts['store']}/{correction.sale}" if about else None


class SaleCorrection(
    Entity,
    category="sale_corrections",
    title="Correções de vendas",
    writers={Role.LOJA, Role.CAIXA},
    partition=by_lane_month("made_at"),
):
    """One correction. `amount` in reais, in favour of the customer; `lines` are the goods that it moves, if any."""

    id = Key()
    kind = Once(CorrectionKind)
    made_at = Once(datetime)
    # By name: a sale's own options write corrections.
    sale = Once(Ref("sales"))
    amount = Once(Decimal, scale=2)
    corrects = Once(Ref("self"), optional=True)
    lines = Once(Rows(SaleLine), optional=True)
    person = Once(str, optional=True, max_length=120)
    reason = Once(str, optional=True, max_length=1000)

    @check
    def says_what_it_corrects(self) -> bool:
        """A return has lines of more than zero units; what takes a return back names it."""
        if self.kind is CorrectionKind.DEVOLUCAO:
            lines = self.lines or []
            return bool(lines) and all(line.quantity > 0 for line in lines) and self.amount >= 0
        return (self.corrects is not None) == (self.kind in _ABOUT_RETURNS)

    @invariant(
        "C07",
        title="Devolução em duplicidade",
        owner=Role.LOJA,
        effect="O estoque e o dinheiro devolvido ficam maiores do que o que foi vendido.",
        watch=("sale",),
        group=_sale_with_returns,
        at={Role.GESTAO, Role.LOJA},
    )
    def returned_no_more_than_sold(self, others: Sequence[Self], records: Records) -> Verdict:
        """Duas estações devolveram a mesma venda sem que uma soubesse da outra."""
        sale: Sale | None = records.get_in("sales", self.sale)  # type: ignore[assignment]
        if sale is None:
            return True
        returns = standing_returns([self, *others])
        came_back, sold = _by_product(returns), _by_product([sale])
        over = {product: back for product, back in sorted(came_back.items()) if back > sold[product]}
        if not over:
            return True
        said = "; ".join(
            f"produto {product}: vendido {units(sold[product])}, devolvido {units(back)}"
            for product, back in over.items()
        )
        second = [one for one in returns if over.keys() & _by_product([one]).keys()][-1]
        return Broken(
            f"Da venda {self.sale} voltou mais do que foi vendido ({said}).",
            records=[*others, sale],
            facts={
                "venda": self.sale,
                "devolucoes": [one.id for one in returns],
                "segunda": second.id,
                "a_mais": {product: str(back - sold[product]) for product, back in over.items()},
            },
        )

    @option("C07", "estornar", "Estornar a segunda devolução", by=_LOJA)
    async def reverse_second(self, case: Case) -> None:
        """A última devolução deixa de valer, e a mercadoria sai de novo do estoque."""
        second = await _last_return(case)
        _correct(case, second, CorrectionKind.ESTORNO, -second.amount)
        await _take_from_stock(case, second)

    @option("C07", "credito", "Lançar a segunda como crédito do cliente", by=_LOJA, asks=("cliente",))
    async def give_credit(self, case: Case) -> None:
        """A mercadoria fica no estoque, fora desta venda, e o valor vira crédito do cliente."""
        second = await _last_return(case)
        customer = await case.tx.get(Customer, case.values["cliente"])
        _correct(case, second, CorrectionKind.CREDITO, Decimal(0))
        customer.credits.add(
            CustomerCredit(
                id=case.name("credito"),
                given_at=case.now,
                amount=second.amount,
                origin=f"devolução {second.id}",
            )
        )

    @option("C07", "fraude", "Registrar como fraude", by=_LOJA)
    async def report_fraud(self, case: Case) -> None:
        """A última devolução não aconteceu: a mercadoria sai do estoque, e o valor fica a apurar."""
        second = await _last_return(case)
        _correct(case, second, CorrectionKind.FRAUDE, -second.amount)
        await _take_from_stock(case, second)


def standing_returns(corrections: Iterable[SaleCorrection]) -> list[SaleCorrection]:
    """Return the returns that no other correction takes back, each once, the earliest first."""
    told = once(corrections)
    taken_back = {one.corrects for one in told if one.kind is not CorrectionKind.DEVOLUCAO}
    stand = [one for one in told if one.kind is CorrectionKind.DEVOLUCAO and one.id not in taken_back]
    return sorted(stand, key=lambda one: (one.made_at, one.id))


def correct_sale(
    case: Case,
    sale: str,
    kind: CorrectionKind,
    *,
    amount: Decimal = Decimal(0),
    lines: list[SaleLine] | None = None,
    corrects: str | None = None,
) -> SaleCorrection:
    """Add the correction that a person's decision makes; its id is the decision's, so the same choice writes it once."""
    return case.tx.create(
        SaleCorrection,
        in_store=case.store,
        id=case.name(f"{kind}/{sale}"),
        kind=kind,
        made_at=case.now,
        sale=sale,
        amount=amount,
        lines=lines,
        corrects=corrects,
        person=case.person,
        reason=case.why,
    )


def _correct(case: Case, second: SaleCorrection, kind: CorrectionKind, amount: Decimal) -> None:
    correct_sale(case, second.sale, kind, amount=amount, corrects=second.id)


async def _last_return(case: Case) -> SaleCorrection:
    return await case.tx.get(SaleCorrection, case.facts["segunda"])


async def _take_from_stock(case: Case, second: SaleCorrection) -> None:
    for product, quantity in _by_product([second]).items():
        item = await case.tx.find(StockItem, product) or case.tx.create(StockItem, product=product)
        item.balance.subtract(quantity, cause=f"devolução {second.id} não vale", once=case.name(product))


def _by_product(facts: Iterable[SaleCorrection | Sale]) -> defaultdict[str, Decimal]:
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for fact in facts:
        for line in fact.lines or ():
            found[line.product] += line.quantity
    return found
