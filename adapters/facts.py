"""Reading facts: two people who take the same decision apart write the same fact, and it counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Fact(Protocol):
    @property
    def id(self) -> str: ...


F = TypeVar("F", bound=_Fact)


def once(facts: Iterable[F]) -> list[F]:
    """Return each fact once by its id; of two tellings of one fact the same at every node, whatever the order."""
    found: dict[str, F] = {}
    for fact in sorted(facts, key=repr):
        found.setdefault(fact.id, fact)
    return list(found.values())
