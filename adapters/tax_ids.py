"""CPF and CNPJ: which text is one, and how it is stored.

It never asks the Receita Federal whether the number exists; only form and check digits are looked at.
"""

from __future__ import annotations

import re

from validate_docbr import CNPJ, CPF

TAX_ID = r"[0-9]{11}|[0-9A-Z]{12}[0-9]{2}"
"""The stored form: a CPF has 11 digits, a CNPJ 14 characters (letters allowed since July 2026)."""

_MASK = re.compile(r"[.\-/\s]")


def tax_id(text: str) -> str:
    """Return a CPF or CNPJ as it is stored: no mask, upper case ("12.abc.345/01de-35" becomes "12ABC34501DE35").

    Raises:
        ValueError: the check digits are wrong, the digits are all the same, or it is neither in form.
    """
    stored = _MASK.sub("", text).upper()
    if re.fullmatch(TAX_ID, stored):
        known = CPF() if len(stored) == 11 else CNPJ()
        if known.validate(stored):
            return stored
    raise ValueError(f"{text!r} is not a valid CPF or CNPJ")
