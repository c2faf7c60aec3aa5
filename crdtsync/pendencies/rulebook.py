"""The rules that a node can judge, and whom a change concerns: made once of a schema and a role, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crdtsync.schema import RuleKind

if TYPE_CHECKING:
    from crdtsync.schema import Invariant, Role, Schema, Shape
    from crdtsync.schema.fields import Field


@dataclass(frozen=True, slots=True)
class Watcher:
    """A rule of a category that looks again when the target of these fields changes."""

    shape: Shape
    rule: Invariant
    paths: tuple[str, ...]


class RuleBook:
    """See the module.

    Attributes:
        schema: whose rules.
        rules: category -> code -> rule; those that need more than a node of the role holds are left out.
        watchers: category -> the rules that look again when one of its records changes.
        referrers: category -> its fields that refer to a category with rules about deleted records, and those rules.
    """

    def __init__(self, schema: Schema, role: Role) -> None:
        self.schema = schema
        self.rules = {
            category: {rule.code: rule for rule in shape.invariants if rule.at is None or role in rule.at}
            for category, shape in schema.shapes.items()
        }
        self.watchers: dict[str, list[Watcher]] = {category: [] for category in schema.shapes}
        self.referrers: dict[str, list[tuple[Field[Any], str, list[Invariant]]]] = {}
        for category, shape in schema.shapes.items():
            for rule in self.rules[category].values():
                by_target: dict[str, list[str]] = {}
                for path in rule.watch:
                    by_target.setdefault(_target(shape, path) or "", []).append(path)
                for target in by_target.keys() & self.watchers.keys():
                    self.watchers[target].append(Watcher(shape, rule, tuple(by_target[target])))
            self.referrers[category] = [
                (field, field.ref, referred)
                for field in shape.fields.values()
                if field.ref and (referred := self._about_deleted(field.ref))
            ]

    def _about_deleted(self, category: str) -> list[Invariant]:
        return [rule for rule in self.rules.get(category, {}).values() if rule.kind is RuleKind.REFERRED]

    def rule(self, category: str, code: str) -> Invariant | None:
        """Return a rule; None when no node of this role judges it."""
        return self.rules.get(category, {}).get(code)


def _target(shape: Shape, path: str) -> str | None:
    """The category that a watched field, or field of a struct, refers to."""
    name, _, inner = path.partition(".")
    field = shape.fields.get(name) or next((key for key in shape.keys if key.name == name), None)
    if field is None:
        return None
    if not inner:
        return field.ref
    struct = getattr(field.type, "struct", None)
    return next((one.ref for one in struct.__fields__ if one.name == inner), None) if struct else None
