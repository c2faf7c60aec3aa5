"""Rules that an entity states: checks refuse a local edit; invariants watch merged state and never refuse.

Three kinds of invariant: RECORD looks at one record (and again when the target of a watched reference changes), GROUP
at all records with equal values in some fields, REFERRED at a deleted record that others may still refer to.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from crdtsync.schema.entity import Entity
    from crdtsync.schema.fields import Field
    from crdtsync.schema.roles import Role

F = TypeVar("F", bound=Callable[..., Any])
E = TypeVar("E", bound="Entity")


class Severity(StrEnum):
    """B blocks what depends on it, A a person decides, M merged with a default, I information."""

    B = "B"
    A = "A"
    M = "M"
    I = "I"  # noqa: E741 - the trade's letter


class RuleKind(StrEnum):
    """When an invariant is looked at."""

    RECORD = "record"
    GROUP = "group"
    REFERRED = "referred"


class Records(Protocol):
    """What a rule may read beside its own record: merged state, deleted records included."""

    def get(self, entity: type[E], key: str) -> E | None:
        """Return a record, or None when there is none."""
        ...

    def find(self, entity: type[E], **equals: object) -> list[E]:
        """Return the visible records whose fields equal the given values."""
        ...

    def referrers(self, record: Entity) -> list[Entity]:
        """Return visible records that refer to `record`."""
        ...

    def present(self, category: str, key: str) -> bool:
        """Tell whether a record exists, is not deleted, and is active if it can be inactive."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """A rule that may refuse a local edit."""

    name: str
    message: str
    method: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule over merged state; a broken one is a pendency."""

    code: str
    title: str
    owner: Role
    severity: Severity
    kind: RuleKind
    method: Callable[..., bool]
    watch: tuple[str, ...]
    group: tuple[str, ...]
    doc: str
    takes_records: bool


def _summary(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or function.__name__.replace("_", " ")).partition("\n")[0]


def check(function: F) -> F:
    """Mark a method as a check: it returns True when the record may be written as it is."""
    function.__crdtsync_check__ = Check(function.__name__, _summary(function), function)  # type: ignore[attr-defined]
    return function


def invariant(
    code: str,
    *,
    title: str,
    owner: Role,
    severity: Severity = Severity.A,
    watch: tuple[str, ...] = (),
    group: tuple[str, ...] = (),
    referred: bool = False,
) -> Callable[[F], F]:
    """Mark a method as an invariant: it returns True when all is well.

    Signatures: `(self)` or `(self, records)`; with `group`: `(self, others)`, where `self` has the smallest
    key. `watch` names reference fields whose target matters; `referred` rules see deleted records only.
    """
    kind = RuleKind.GROUP if group else RuleKind.REFERRED if referred else RuleKind.RECORD

    def mark(function: F) -> F:
        takes = len(inspect.signature(function).parameters) > 1
        rule = Invariant(
            code, title, owner, severity, kind, function, watch, group, inspect.getdoc(function) or "", takes
        )
        function.__crdtsync_invariant__ = rule  # type: ignore[attr-defined]
        return function

    return mark


@dataclass(frozen=True, slots=True)
class References:
    """Declares the invariant that every reference of the entity points to a record that is there and active."""

    code: str
    title: str
    owner: Role
    severity: Severity = Severity.A


def references(code: str, *, title: str, owner: Role, severity: Severity = Severity.A) -> References:
    """Return the declaration of a dangling-reference invariant over all references of the class."""
    return References(code, title, owner, severity)


def references_rule(declared: References, refs: tuple[Field[Any], ...]) -> Invariant:
    """Return the invariant that every one of `refs`, unless empty, points to a record that is there and active."""

    def all_present(self: Entity, records: Records) -> bool:
        keys = [(field.ref, getattr(self, field.name)) for field in refs]
        return all(key is None or records.present(target or "", str(key)) for target, key in keys)

    return Invariant(
        declared.code,
        declared.title,
        declared.owner,
        declared.severity,
        RuleKind.RECORD,
        all_present,
        tuple(field.name for field in refs),
        (),
        "A reference points to a record that does not exist, was deleted or is not active.",
        takes_records=True,
    )
