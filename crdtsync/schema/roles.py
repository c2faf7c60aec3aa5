"""Who takes part: the three programs of the trade, and the identity of one node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """The program that a node belongs to."""

    GESTAO = "gestao"
    LOJA = "loja"
    CAIXA = "caixa"


def roles_of(given: object) -> frozenset[Role]:
    """Return the roles of a set of roles; raises TypeError for a role alone, a text too, and ValueError."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"roles are said as a set, such as {{Role.GESTAO}}, not {str(given)!r}")
    roles = list(given)
    for role in roles:
        if role not in set(Role):
            raise ValueError(f"{role!r} is no role; the roles are {', '.join(map(repr, map(str, Role)))}")
    return frozenset(map(Role, roles))


@dataclass(frozen=True, slots=True)
class Identity:
    """A node: its device name (unique in the account), role, account and store (`None` at the head office)."""

    device: str
    role: Role
    account: str
    store: str | None = None
