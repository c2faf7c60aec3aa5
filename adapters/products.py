"""Produtos: what a store sells; Gestão writes it, a Loja its price, everybody reads it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Self

from stdnum import ean

from adapters.cfop import Cfop
from adapters.product_categories import ProductCategory
from adapters.words import reais
from crdtsync import (
    Broken,
    Entity,
    Key,
    Money,
    Ref,
    Register,
    Role,
    Severity,
    check,
    concurrent_edits,
    errors,
    invariant,
    option,
    references,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from crdtsync import Case, Verdict

_GESTAO = {Role.GESTAO}

NO_GTIN = "SEM GTIN"
"""What fiscal documents say of a product without a bar code."""


def gtin(text: str) -> str:
    """Return a bar code as it is stored: 8, 12, 13 or 14 digits, or "SEM GTIN".

    Raises:
        ValueError: the length or the check digit is wrong.
    """
    stored = " ".join(text.upper().split())
    if stored != NO_GTIN:
        stored = ean.compact(text)
        if not ean.is_valid(stored):
            raise ValueError(f"{text!r} is not a GTIN of 8, 12, 13 or 14 digits, nor {NO_GTIN!r}")
    return stored


def _gtin_to_compare(product: Product) -> str | None:
    """File a product that is sold under its bar code: one code in 8, 12, 13 or 14 digits is the same code."""
    code = product.gtin
    sold = product.active and not product.deleted
    return code.zfill(14) if sold and code is not None and code != NO_GTIN else None


class Product(Entity, category="products", title="Produtos", writers={Role.GESTAO, Role.LOJA}):
    """One product (SKU). `price` is the list price in reais; a product without one is priced at the checkout.

    Gestão writes it; a Loja writes the price only, because a shelf label cannot wait for the head office. Moments that
    the conflicts need stand beside what they date: `price_since`, when the price came into force, and `inactive_since`,
    when the product left the assortment. `merged_into` is the product that took this one's place.
    """

    id = Key()
    name = Register(str, max_length=120, writers=_GESTAO)
    category = Ref(ProductCategory, optional=True, writers=_GESTAO)
    cfop = Ref(Cfop, optional=True, writers=_GESTAO)
    price = Money(optional=True)
    unit = Register(str, default="UN", pattern=r"[A-Z0-9]{1,6}", writers=_GESTAO)
    brand = Register(str, optional=True, max_length=60, writers=_GESTAO)
    manufacturer = Register(str, optional=True, max_length=60, writers=_GESTAO)
    package_size = Register(str, optional=True, max_length=40, writers=_GESTAO)
    gtin = Register(
        str, optional=True, pattern=r"[0-9]{8}|[0-9]{12,14}|SEM GTIN", check=gtin, writers=_GESTAO
    )
    ncm = Register(str, optional=True, pattern=r"[0-9]{8}", writers=_GESTAO)
    cest = Register(str, optional=True, pattern=r"[0-9]{7}", writers=_GESTAO)
    controls_stock = Register(bool, default=True, writers=_GESTAO)
    active = Register(bool, default=True, writers=_GESTAO)
    price_since = Register(datetime, optional=True)
    inactive_since = Register(datetime, optional=True, writers=_GESTAO)
    merged_into = Ref("self", optional=True, writers=_GESTAO)

    references_hold = references(
        "C22",
        title="Referência inexistente ou desatualizada",
        owner=Role.GESTAO,
        effect="O produto fica fora da sua categoria, ou é vendido com um CFOP que a SEFAZ não aceita.",
    )
    edited_once = concurrent_edits(
        "C25",
        title="Mesmo campo do produto editado nos dois lados",
        owner=Role.GESTAO,
        severity=Severity.M,
        # The price is C04's, being withdrawn C05's, taking another's place C06's.
        but=("price", "price_since", "active", "inactive_since", "merged_into"),
        effect="Vale a última edição; a outra se perde.",
    )

    def reprice(self, price: Decimal | None, since: datetime) -> None:
        """Put a list price in force from a moment; what was sold before keeps its price."""
        self.price = price
        self.price_since = since

    def withdraw(self, since: datetime) -> None:
        """Take the product out of the assortment from a moment; what was sold before stays as it is."""
        self.active = False
        self.inactive_since = since

    def had_another_price(self, used: Decimal, moment: datetime) -> bool:
        """Tell whether a list price was no longer the one in force at a moment; of moments before the latest it cannot."""
        if self.price is None or self.price_since is None or moment < self.price_since:
            return False
        return used != self.price

    def was_withdrawn_at(self, moment: datetime) -> bool:
        """Tell whether the product had left the assortment; one of which nobody wrote when it left never had."""
        left = self.inactive_since is not None and self.inactive_since <= moment
        return left and (self.deleted or not self.active)

    def bring_back(self) -> None:
        """Put the product on sale again, deleted or not."""
        if self.deleted or "~" in self.conflicts:
            self.restore()
        self.active = True
        self.inactive_since = None
        self.merged_into = None

    def merge_into(self, product: str, since: datetime) -> None:
        """Say that another product takes this one's place from a moment; its stock and history stay its own.

        Raises:
            FieldError: a product cannot take its own place.
        """
        if product == self.id:
            raise errors.FieldError(
                "products", "merged_into", f"{product} is this product; name the one that stays"
            )
        self.merged_into = product
        self.withdraw(since)

    @check
    def price_is_not_negative(self) -> bool:
        """A price is zero or more."""
        return self.price is None or self.price >= 0

    @invariant(
        "C04",
        title="Preço editado em dois lugares",
        owner=Role.GESTAO,
        effect="Vale em toda parte o preço gravado por último; o outro se perde.",
        only_conflicts=True,
    )
    def price_was_set_in_one_place(self) -> Verdict:
        """Duas pessoas mudaram o preço sem que uma soubesse da outra."""
        prices: list[Decimal | None] = self.conflicts.get("price", [])
        if not prices:
            return True
        said = " e ".join("sem preço" if price is None else reais(price) for price in prices)
        return Broken(
            f"O preço de {self.name} foi mudado em dois lugares: {said}. Está valendo o primeiro.",
            facts={"precos": ["" if price is None else str(price) for price in prices]},
        )

    @option("C04", "a", "Manter o preço A, que está valendo")
    async def keep_price(self, case: Case) -> None:
        """Confirma o preço que já está valendo."""
        self.reprice(_price(case.facts["precos"][0]), self.price_since or case.now)

    @option("C04", "b", "Trocar pelo preço B")
    async def take_other_price(self, case: Case) -> None:
        """Põe em vigor, a partir de agora, o outro preço."""
        self.reprice(_price(case.facts["precos"][1]), case.now)

    @option("C04", "outro", "Outro valor", asks=("valor",))
    async def set_new_price(self, case: Case) -> None:
        """Põe em vigor, a partir de agora, um preço novo."""
        self.reprice(_price(case.values["valor"]), case.now)

    @invariant(
        "C05",
        title="Produto excluído ou inativado × vendido ou editado",
        owner=Role.GESTAO,
        effect="O produto continua no cadastro, porque alguém o alterou sem saber da exclusão.",
        only_conflicts=True,
    )
    def deletion_saw_the_edits(self) -> Verdict:
        """Um lado excluiu o produto enquanto o outro o alterava."""
        if "~" not in self.conflicts:
            return True
        return Broken(
            f"{self.name} foi excluído enquanto alguém alterava o cadastro dele. A alteração ficou."
        )

    @option("C05", "reativar", "Reativar o produto", by=_GESTAO)
    async def reactivate(self, _case: Case) -> None:
        """O produto volta a ser vendido."""
        self.bring_back()

    @option("C05", "inativo", "Manter inativo e aceitar as vendas", by=_GESTAO)
    async def keep_inactive(self, case: Case) -> None:
        """O produto sai de linha a partir de agora; o que já foi vendido fica."""
        self.restore()
        self.withdraw(case.now)

    @option("C05", "unir", "Unir a outro produto", by=_GESTAO, asks=("produto",))
    async def unite(self, case: Case) -> None:
        """O outro produto toma o lugar deste."""
        await case.tx.get(Product, case.values["produto"])
        self.restore()
        self.merge_into(case.values["produto"], case.now)

    @invariant(
        "C06",
        title="Mesmo GTIN em dois produtos",
        owner=Role.GESTAO,
        effect="O leitor do caixa encontra dois produtos e pode vender o errado.",
        group=_gtin_to_compare,
        given=("gtin",),
        several=True,
    )
    def gtin_names_one_product(self, others: Sequence[Self]) -> Verdict:
        """Dois produtos ativos têm o mesmo código de barras."""
        products = [self, *others]
        names = " e ".join(f"{product.name} ({product.id})" for product in products)
        return Broken(
            f"O código de barras {self.gtin} está em dois cadastros: {names}.",
            facts={"gtin": _gtin_to_compare(self), "produtos": [product.id for product in products]},
        )

    @option("C06", "unificar", "Unificar os cadastros", by=_GESTAO, asks=("fica",))
    async def unify(self, case: Case) -> None:
        """Fica o produto escolhido; os outros saem de linha e apontam para ele."""
        for product in await _sharing_gtin(case, case.values["fica"]):
            product.merge_into(case.values["fica"], case.now)

    @option("C06", "tirar", "Tirar o código de um deles", by=_GESTAO, asks=("fica",))
    async def remove_code(self, case: Case) -> None:
        """O produto escolhido fica com o código; os outros passam a SEM GTIN."""
        for product in await _sharing_gtin(case, case.values["fica"]):
            product.gtin = NO_GTIN

    @option("C06", "manter", "Manter os dois")
    async def keep_both(self, _case: Case) -> None:
        """O operador do caixa escolhe entre os dois."""


def _price(text: str) -> Decimal | None:
    price: Decimal | None = Product.parse_field("price", text)
    return price


async def _sharing_gtin(case: Case, stays: str) -> list[Product]:
    """Return the products of the case except the one that stays.

    Raises:
        FieldError: the one that stays is none of them.
    """
    products: list[str] = case.facts["produtos"]
    if stays not in products:
        raise errors.FieldError(
            "products", "id", f"{stays!r} does not share the bar code; name one of {', '.join(products)}"
        )
    return [await case.tx.get(Product, product) for product in products if product != stays]
