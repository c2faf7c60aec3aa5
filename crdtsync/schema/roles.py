"""Who takes part: the three programs of the trade, and the identity of one node."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """The program that a node belongs to."""

    GESTAO = "gestao"
    LOJA = "loja"
    CAIXA = "caixa"


@dataclass(frozen=True, slots=True)
class Identity:
    """A node: its device name (unique in the account), role, account and store (`None` at the head office)."""

    device: str
    role: Role
    account: str
    store: str | None = None
