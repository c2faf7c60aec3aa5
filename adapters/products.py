"""Produtos: what a store sells; Gestão writes it, everybody reads it."""

from __future__ import annotations

from stdnum import ean

from adapters.cfop import Cfop
from adapters.product_categories import ProductCategory
from crdtsync import Entity, Key, Money, Ref, Register, Role, check, references

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


class Product(Entity, category="products", title="Produtos", writers={Role.GESTAO}):
    """One product (SKU). `price` is the list price in reais; a product without one is priced at the checkout."""

    id = Key()
    name = Register(str, max_length=120)
    category = Ref(ProductCategory, optional=True)
    cfop = Ref(Cfop, optional=True)
    price = Money(optional=True)
    unit = Register(str, default="UN", pattern=r"[A-Z0-9]{1,6}")
    brand = Register(str, optional=True, max_length=60)
    manufacturer = Register(str, optional=True, max_length=60)
    package_size = Register(str, optional=True, max_length=40)
    gtin = Register(str, optional=True, pattern=r"[0-9]{8}|[0-9]{12,14}|SEM GTIN", check=gtin)
    ncm = Register(str, optional=True, pattern=r"[0-9]{8}")
    cest = Register(str, optional=True, pattern=r"[0-9]{7}")
    controls_stock = Register(bool, default=True)
    active = Register(bool, default=True)

    references_hold = references("C22", title="Referência inexistente ou desatualizada", owner=Role.GESTAO)

    @check
    def price_is_not_negative(self) -> bool:
        """A price is zero or more."""
        return self.price is None or self.price >= 0
