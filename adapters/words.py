"""Amounts and quantities as a person in Brazil reads them; for messages only, never for a stored value."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

_SWAP = str.maketrans(",.", ".,")


def reais(amount: Decimal) -> str:
    """Return an amount of money: `R$ 1.234,50`."""
    return f"R$ {amount:,.2f}".translate(_SWAP)


def units(quantity: Decimal) -> str:
    """Return a quantity without needless zeros: `1.234`, `0,355`."""
    return f"{quantity.normalize():,f}".translate(_SWAP)
