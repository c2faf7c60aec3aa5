"""Vendas: facts with lines and payments; a sale is corrected by another fact, never edited or deleted.

One document per store, lane and month (UTC), so that a Caixa holds only what its own lane sold; Loja and Gestão hold all.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from adapters.access_keys import ACCESS_KEY, PROTOCOL, AccessKey, access_key
from adapters.customers import Customer
from adapters.facts import once
from adapters.products import Product
from adapters.reference import LOCAL_TIME
from adapters.sale_corrections import CorrectionKind, SaleCorrection, correct_sale
from adapters.sale_lines import Payment, PaymentMethod, SaleLine
from adapters.stock import StockItem
from adapters.tax_ids import TAX_ID, tax_id
from adapters.words import reais
from crdtsync import (
    Broken,
    Entity,
    Fine,
    Key,
    Once,
    Ref,
    Register,
    Role,
    Rows,
    Severity,
    by_lane_month,
    check,
    errors,
    invariant,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crdtsync import Case, Records, Verdict

__all__ = ["Payment", "PaymentMethod", "Sale", "SaleLine"]

_GESTAO, _LOJA = {Role.GESTAO}, {Role.LOJA}
_SENT_TWICE_WITHIN = timedelta(seconds=5)
# A day of sales ends at four in the morning of Brasília, when no store sells: no pair is cut by midnight.
_DAY_ENDS = timedelta(hours=7)
_STORE = {Role.LOJA, Role.CAIXA}
_MOMENT = timedelta(milliseconds=1)

CONTINGENCY = "9"
"""The emission type, in the access key, of an NFC-e that was issued while SEFAZ could not be reached."""

CONTINGENCY_WARNING = timedelta(hours=20)
CONTINGENCY_DEADLINE = timedelta(hours=24)
"""An NFC-e in contingency is transmitted within 24 hours; from the 20th on it is an alert."""


def _alike(sale: Sale) -> str:
    """File a sale with those that one lane made of the same lines for the same customer on one day."""
    lines = "|".join(
        f"{line.product}:{line.quantity}:{line.unit_price}:{line.discount or 0}" for line in sale.lines
    )
    digest = blake2b(f"{sale.customer}|{lines}".encode(), digest_size=12).hexdigest()
    day = (sale.sold_at - _DAY_ENDS).date()
    return f"{sale.parts['store']}/{sale.parts['lane']}/{day}/{digest}"


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
        "C03",
        title="Preço mudou com venda aberta",
        owner=Role.LOJA,
        severity=Severity.M,
        effect="A venda fica com o preço praticado.",
        watch=("lines.product",),
    )
    def list_prices_were_in_force(self, records: Records) -> Verdict:
        """A estação vendeu pelo preço anterior, sem saber que ele tinha mudado.

        The product knows only its latest price: a sale older than that is not looked at.
        """
        old: list[tuple[SaleLine, Product, Decimal, Decimal]] = []
        for line in self.lines:
            used = line.list_price
            product = None if used is None else records.get(Product, line.product)
            if product is not None and used is not None and product.had_another_price(used, self.sold_at):
                old.append((line, product, used, product.price or Decimal(0)))
        if not old:
            return True
        said = "; ".join(
            f"{product.name} por {reais(used)}, em vigor {reais(price)}" for _, product, used, price in old
        )
        hidden = sum((line.at_price(price) - line.at_price(used) for line, _, used, price in old), Decimal(0))
        return Broken(
            f"A venda {self.id} usou preço que já não valia: {said}.",
            records=[product for _, product, _, _ in old],
            facts={
                "precos": [[product.id, str(used), str(price)] for _, product, used, price in old],
                "desconto": str(hidden),
            },
        )

    @option("C03", "manter", "Manter o preço praticado")
    async def keep_price(self, _case: Case) -> None:
        """A venda fica como foi feita."""

    @option("C03", "desconto", "Lançar a diferença como desconto", by=_LOJA)
    async def book_difference(self, case: Case) -> None:
        """Uma correção registra como desconto o que falta para o preço em vigor; negativa, é acréscimo."""
        correct_sale(case, self.id, CorrectionKind.DESCONTO, amount=Decimal(case.facts["desconto"]))

    @option("C03", "rever", "Rever o valor da venda", by=_LOJA, asks=("valor",))
    async def review(self, case: Case) -> None:
        """Uma correção leva o total da venda ao valor informado; a diferença se devolve ou se cobra."""
        reviewed = SaleCorrection.parse_field("amount", case.values["valor"])
        correct_sale(case, self.id, CorrectionKind.DIFERENCA, amount=self.total - reviewed)

    @invariant(
        "C05",
        title="Produto excluído ou inativado × vendido ou editado",
        owner=Role.GESTAO,
        effect="A venda vale, de um produto que o cadastro diz que não se vende mais.",
        watch=("lines.product",),
    )
    def products_were_for_sale(self, records: Records) -> Verdict:
        """A estação vendeu um produto que já tinha saído de linha."""
        gone: list[Product] = []
        for key in dict.fromkeys(line.product for line in self.lines):
            product = records.get(Product, key)
            if product is not None and product.was_withdrawn_at(self.sold_at):
                gone.append(product)
        if not gone:
            return True
        names = ", ".join(product.name for product in gone)
        return Broken(
            f"A venda {self.id} tem produto que já tinha saído de linha: {names}.",
            records=gone,
            facts={"produtos": [product.id for product in gone]},
        )

    @option("C05", "reativar", "Reativar o produto", by=_GESTAO)
    async def reactivate(self, case: Case) -> None:
        """O produto volta a ser vendido."""
        for product in await _products(case):
            product.bring_back()

    @option("C05", "inativo", "Manter inativo e aceitar as vendas", by=_GESTAO)
    async def keep_inactive(self, case: Case) -> None:
        """O produto sai de linha a partir de agora; todas as vendas feitas até aqui ficam aceitas."""
        for product in await _products(case):
            product.inactive_since = case.now

    @option("C05", "unir", "Unir a outro produto", by=_GESTAO, asks=("produto",))
    async def unite(self, case: Case) -> None:
        """O outro produto toma o lugar deste; as vendas feitas até aqui ficam aceitas."""
        await case.tx.get(Product, case.values["produto"])
        for product in await _products(case):
            product.merge_into(case.values["produto"], case.now)

    @invariant(
        "C13",
        title="Operação enviada duas vezes",
        owner=Role.LOJA,
        effect="As duas vendas contam: no total, no estoque e no caixa.",
        group=_alike,
        several=True,
    )
    def was_sent_once(self, others: Sequence[Self]) -> Verdict:
        """A mesma estação registrou duas vendas iguais em poucos segundos."""
        sales = sorted(once([self, *others]), key=lambda sale: (sale.sold_at, sale.id))
        again = [
            [first.id, second.id]
            for first, second in pairwise(sales)
            if second.sold_at - first.sold_at <= _SENT_TWICE_WITHIN
        ]
        if not again:
            return True
        said = "; ".join(f"{first} e {second}" for first, second in again)
        return Broken(
            f"Vendas iguais, do mesmo cliente e da mesma estação, com menos de 5 segundos entre elas: {said}.",
            records=[sale for sale in sales if any(sale.id in pair for pair in again)],
            facts={"pares": again},
        )

    @option("C13", "mesma", "É a mesma", by=_LOJA)
    async def is_the_same(self, case: Case) -> None:
        """A segunda venda deixa de contar, e as unidades dela voltam ao estoque."""
        for repeated in dict.fromkeys(second for _, second in case.facts["pares"]):
            sale = await case.tx.get(Sale, repeated)
            correct_sale(case, repeated, CorrectionKind.REPETICAO, amount=sale.total, lines=sale.lines)
            for line in sale.lines:
                item = await case.tx.find(StockItem, line.product)
                if item is not None:
                    item.balance.add(
                        sum(other.quantity for other in sale.lines if other.product == line.product),
                        cause=f"venda {repeated} repetida",
                        once=case.name(f"{repeated}/{line.product}"),
                    )

    @option("C13", "duas", "São duas vendas")
    async def are_two(self, _case: Case) -> None:
        """As duas vendas contam."""

    @invariant(
        "C14",
        title="Número fiscal repetido",
        owner=Role.LOJA,
        severity=Severity.B,
        effect="A SEFAZ rejeita o segundo documento (539), e a venda fica sem documento fiscal.",
        group=("issuer", "model", "series", "number"),
        given=("number",),
        several=True,
        at={Role.GESTAO, Role.LOJA},
    )
    def fiscal_number_is_unique(self, others: Sequence[Self]) -> Verdict:
        """Duas vendas usaram o mesmo número fiscal em documentos diferentes."""
        sales = once([self, *others])
        if len({sale.access_key for sale in sales}) < 2:
            return True
        return Broken(
            f"O número {self.number} da série {self.series}, modelo {self.model}, está em {len(sales)} documentos: "
            f"vendas {', '.join(sale.id for sale in sales)}.",
            facts={"chaves": {sale.id: sale.access_key for sale in sales}},
        )

    @option("C14", "reemitir", "Manter o autorizado e reemitir", by=_LOJA, asks=("autorizada",))
    async def issue_again(self, case: Case) -> None:
        """A venda autorizada fica com o número; as outras são emitidas de novo com outro."""
        _correct_others(case, CorrectionKind.REEMISSAO)

    @option("C14", "inutilizar", "Inutilizar o número", by=_LOJA, asks=("autorizada",))
    async def void_number(self, case: Case) -> None:
        """O documento que não foi autorizado é inutilizado na SEFAZ."""
        _correct_others(case, CorrectionKind.INUTILIZACAO)

    @option("C14", "cancelar", "Cancelar o documento", by=_LOJA, asks=("autorizada",))
    async def cancel_document(self, case: Case) -> None:
        """O documento que não deve ficar é cancelado na SEFAZ."""
        _correct_others(case, CorrectionKind.CANCELAMENTO)

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
        given=("access_key",),
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


async def _products(case: Case) -> list[Product]:
    found = [await case.tx.find(Product, product) for product in case.facts["produtos"]]
    return [product for product in found if product is not None]


def _correct_others(case: Case, kind: CorrectionKind) -> None:
    """Add a correction to every sale of the number but the one that SEFAZ authorized.

    Raises:
        FieldError: the sale that was named has not this number.
    """
    sales: dict[str, str | None] = case.facts["chaves"]
    stays = case.values["autorizada"]
    if stays not in sales:
        raise errors.FieldError(
            "sales", "id", f"{stays!r} does not have this number; name one of {', '.join(sales)}"
        )
    for sale in sales:
        if sale != stays:
            correct_sale(case, sale, kind)
