"""What a sale is made of: its lines and its payments. Values, never records; they do not change once written."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from adapters.products import Product
from crdtsync import Money, Quantity, Ref, Register, Struct

_CENT = Decimal("0.01")


class PaymentMethod(StrEnum):
    """How a sale or a receivable is paid."""

    DINHEIRO = "dinheiro"
    CHEQUE = "cheque"
    CREDITO = "credito"
    DEBITO = "debito"
    PIX = "pix"
    CREDIARIO = "crediario"
    VALE = "vale"
    OUTROS = "outros"


class SaleLine(Struct):
    """One product of a sale; prices and discount in reais. `list_price` is the price that was in force."""

    product = Ref(Product)
    quantity = Quantity()
    unit_price = Money()
    list_price = Money(optional=True)
    discount = Money(optional=True)

    @property
    def total(self) -> Decimal:
        """Quantity times price, rounded half up to the cent as fiscal documents do, less the discount."""
        return self.at_price(self.unit_price) - (self.discount or 0)

    def at_price(self, price: Decimal) -> Decimal:
        """Return what the quantity costs at a price per unit, rounded half up to the cent."""
        return (self.quantity * price).quantize(_CENT, ROUND_HALF_UP)


class Payment(Struct):
    """One part of what was paid, in reais, less the change given back."""

    method = Register(PaymentMethod)
    amount = Money()
    authorization = Register(str, optional=True, max_length=40)
