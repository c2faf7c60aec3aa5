"""Estoque: units of each product in each store, moved by sales and entries and set by counts.

It never holds a balance that somebody assigned: two lanes that sell at once both move it.
"""

from __future__ import annotations

from decimal import Decimal

from adapters.products import Product
from adapters.words import units
from crdtsync import (
    Broken,
    Case,
    Counter,
    Entity,
    Key,
    Records,
    Ref,
    Role,
    Severity,
    Verdict,
    by_store,
    errors,
    invariant,
    option,
)

_LOJA = {Role.LOJA}
_STORE = {Role.LOJA, Role.CAIXA}


class StockItem(
    Entity, category="stock", title="Estoque", writers={Role.LOJA, Role.CAIXA}, partition=by_store, upload=5
):
    """Units of one product in one store. Sales never wait for the network, so it may go below zero."""

    product = Key(Ref(Product))
    balance = Counter(scale=3)  # add(), subtract(), count(); no assignment

    @invariant(
        "C01",
        title="Estoque abaixo de zero",
        owner=Role.LOJA,
        severity=Severity.M,
        effect="As vendas valem; o saldo continua negativo até uma entrada, um ajuste ou uma contagem.",
        watch=("product",),
    )
    def balance_not_negative(self, records: Records) -> Verdict:
        """Venderam-se mais unidades do que havia; cada estação só via as suas vendas.

        A person decides (A) when the product is in no catalogue: nobody can say whether its stock is controlled.
        """
        if self.balance >= 0:
            return True
        product = records.get(Product, self.product)
        if product is not None and not product.controls_stock:
            return True
        name = product.name if product else f"Produto {self.product}, fora do cadastro,"
        return Broken(
            f"{name} está com saldo {units(self.balance)}: foi vendido mais do que havia.",
            records=[product] if product else [],
            facts={"saldo": str(self.balance)},
            severity=Severity.M if product else Severity.A,
        )

    @option("C01", "aceitar", "Aceitar e avisar compras")
    async def accept(self, _case: Case) -> None:
        """O saldo fica como está, e a falta fica registrada para compras."""

    @option("C01", "ajuste", "Ajuste de inventário com motivo", by=_STORE, asks=("quantidade",))
    async def adjust(self, case: Case) -> None:
        """Soma a quantidade ao saldo, com o motivo informado."""
        self.balance.add(_quantity(case.values["quantidade"]), cause="ajuste", once=case.name())

    @option("C01", "entrada", "Vincular entrada não lançada", by=_STORE, asks=("documento", "quantidade"))
    async def link_entry(self, case: Case) -> None:
        """Soma a quantidade da nota de entrada; a mesma nota entra uma vez só, quem quer que a vincule."""
        document = case.values["documento"].strip()
        self.balance.add(
            _quantity(case.values["quantidade"]), cause=f"entrada {document}", once=f"entrada {document}"
        )

    @option("C01", "devolver", "Devolver a venda", by=_LOJA, asks=("venda",))
    async def take_sale_back(self, case: Case) -> None:
        """Registra a devolução do produto na venda informada, e as unidades voltam ao estoque."""
        # Returns move stock, and stock asks for returns: one of the two imports late.
        from adapters.sale_corrections import CorrectionKind, correct_sale  # noqa: PLC0415
        from adapters.sales import Sale  # noqa: PLC0415

        sale = await case.tx.get(Sale, case.values["venda"])
        lines = [line for line in sale.lines if line.product == self.product]
        if not lines:
            raise errors.FieldError("sales", "lines", f"sale {sale.id} did not sell {self.product}")
        correct_sale(
            case,
            sale.id,
            CorrectionKind.DEVOLUCAO,
            amount=sum((line.total for line in lines), Decimal(0)),
            lines=lines,
        )
        back = sum((line.quantity for line in lines), Decimal(0))
        self.balance.add(back, cause=f"devolução da venda {sale.id}", once=case.name())

    @invariant(
        "C02",
        title="Contagem concorrente com vendas",
        owner=Role.LOJA,
        effect="O saldo é a última contagem, menos as vendas que ela não viu.",
        only_conflicts=True,
    )
    def count_saw_everything(self, records: Records) -> Verdict:
        """Alguém contou o estoque enquanto outra estação vendia ou contava."""
        counts: list[Decimal] = list(dict.fromkeys(self.conflicts.get("balance", [])))
        counted, moved = self.conflicts.get("balance#", [None, Decimal(0)])
        if len(counts) < 2 and counted is None:
            return True
        product = records.get(Product, self.product)
        said = []
        if len(counts) > 1:
            said.append(f"há contagens diferentes, {' e '.join(map(units, counts))}; vale a primeira")
        if counted is not None:
            said.append(f"a contagem deu {units(counted)} sem ver um movimento de {units(moved)}")
        return Broken(
            f"{product.name if product else self.product}: {'; '.join(said)}.",
            records=[product] if product else [],
            facts={
                "contagens": [str(count) for count in counts],
                "contado": None if counted is None else str(counted),
                "movimento": str(moved),
            },
        )

    @option("C02", "contados", "As vendas já estavam na contagem", by=_STORE)
    async def already_counted(self, case: Case) -> None:
        """Desfaz no saldo o movimento que a contagem não viu: quem contou já tinha visto a prateleira sem ele."""
        moved = _quantity(case.facts["movimento"])
        cause = "já estava na contagem"
        if moved < 0:
            self.balance.add(-moved, cause=cause, once=case.name())
        else:
            self.balance.subtract(moved, cause=cause, once=case.name())

    @option("C02", "somar", "Somar depois da contagem")
    async def apply_after(self, _case: Case) -> None:
        """O saldo fica como está: a contagem e, depois dela, o movimento."""

    @option("C02", "recontar", "Contar de novo", by=_STORE, asks=("contagem",))
    async def count_again(self, case: Case) -> None:
        """A contagem nova substitui as anteriores e tudo o que elas não viram."""
        self.balance.count(_quantity(case.values["contagem"]))


def _quantity(text: str) -> Decimal:
    quantity: Decimal = StockItem.parse_field("balance", text)
    return quantity
