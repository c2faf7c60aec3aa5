"""CFOP: the official table of fiscal operation codes; Gestão writes it, everybody reads it."""

from __future__ import annotations

from crdtsync import Entity, Key, Register, Role

CFOP = r"[123567][0-9]{3}"
"""1, 2 and 3 enter from the same state, another state and abroad; 5, 6 and 7 leave likewise."""

NFCE_CODES = frozenset({"5101", "5102", "5103", "5104", "5115", "5405", "5656", "5667", "5933"})
"""What an NFC-e accepts when the table is loaded; afterwards the field `nfce` says so, because the list changes."""


class Cfop(Entity, category="cfop", title="CFOP", writers={Role.GESTAO}, download=4):
    """One fiscal operation code (Código Fiscal de Operações e Prestações)."""

    code = Key(CFOP)
    name = Register(str, max_length=400)
    nfce = Register(bool, default=False)
    active = Register(bool, default=True)

    @property
    def is_entry(self) -> bool:
        """Whether goods come in; else they go out."""
        return self.code[0] in "123"
