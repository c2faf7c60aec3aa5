"""The rules that a node can judge, and whom a change concerns: made once of a schema and a role, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crdtsync.schema import Kind, RuleKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crdtsync.schema import Entity, Invariant, Role, Schema, Shape
    from crdtsync.schema.fields import Field
    from crdtsync.storage.base import Row


@dataclass(frozen=True, slots=True)
class Watcher:
    """A rule of a category that looks again when the target of these fields changes."""

    shape: Shape
    rule: Invariant
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A rule of a category, and what it depends on in a row of the read model.

    Attributes:
        rule: to ask of a changed record.
        given: places that must hold a value for the rule to concern the record.
        targets: (place, category) of the references that the rule looks up; none when it looks up nothing.
    """

    rule: Invariant
    given: tuple[int, ...]
    targets: tuple[tuple[int, str], ...]

    def concerned(self, rows: list[Row]) -> list[Row]:
        """Return the rows that bring every value that the rule needs."""
        if not self.given:
            return rows
        return [row for row in rows if all(row[place] is not None for place in self.given)]


@dataclass(frozen=True, slots=True)
class Reference:
    """How the records of a category refer to those of another.

    Attributes:
        category, target: which refers to which.
        path: the field, or that of the structs in a field ("lines.product"), which is found by what is filed.
        column: of the read model; None when it is the record's whole key, or inside rows.
    """

    category: str
    path: str
    target: str
    column: str | None

    @property
    def inside(self) -> bool:
        """Whether the reference is inside rows."""
        return "." in self.path

    def keys(self, record: Entity) -> set[str]:
        """Return the keys that a record refers to."""
        name, _, inner = self.path.partition(".")
        value = getattr(record, name)
        found = [getattr(one, inner) for one in structs(value)] if inner else [value]
        return {str(key) for key in found if key is not None}


class RuleBook:
    """See the module.

    Attributes:
        schema: whose rules.
        rules: category -> code -> rule; those that need more than a node of the role holds are left out.
        questions: category -> the same rules, in the same order, as they are asked of its changed records.
        watchers: category -> the rules that look again when one of its records changes.
        referrers: category -> its fields that refer to a category with rules about deleted records, and those rules.
        filed_paths: category -> the references inside rows that its rules watch; records are filed under them.
        references: category -> how its records refer to others.
        referring: category -> how records of any category refer to it.
    """

    def __init__(self, schema: Schema, role: Role) -> None:
        self.schema = schema
        self.rules = {
            category: {rule.code: rule for rule in shape.invariants if rule.at is None or role in rule.at}
            for category, shape in schema.shapes.items()
        }
        self.questions = {
            category: [_question(schema.shape(category), rule) for rule in rules.values()]
            for category, rules in self.rules.items()
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
        self.filed_paths = {
            category: sorted({path for rule in rules.values() for path in rule.watch if "." in path})
            for category, rules in self.rules.items()
        }
        self.references = {
            category: [*_references(shape, self.filed_paths[category])]
            for category, shape in schema.shapes.items()
        }
        self.referring: dict[str, list[Reference]] = {category: [] for category in schema.shapes}
        for references in self.references.values():
            for reference in references:
                self.referring[reference.target].append(reference)

    def _about_deleted(self, category: str) -> list[Invariant]:
        return [rule for rule in self.rules.get(category, {}).values() if rule.kind is RuleKind.REFERRED]

    def rule(self, category: str, code: str) -> Invariant | None:
        """Return a rule; None when no node of this role judges it."""
        return self.rules.get(category, {}).get(code)


def _question(shape: Shape, rule: Invariant) -> Question:
    looks_up = rule.kind is RuleKind.RECORD and "records" in rule.takes
    targets = [
        (field.place, field.ref)
        for field in (*shape.keys, *shape.fields.values())
        if field.ref and field.name in rule.watch and looks_up
    ]
    return Question(rule, tuple(shape.fields[name].place for name in rule.given), tuple(targets))


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


def structs(value: Any) -> Iterable[Any]:
    """Return the structs of a field: those of rows or a set, or the one; none when it is empty."""
    if value is None:
        return ()
    return value if hasattr(value, "__iter__") else (value,)


def _references(shape: Shape, paths: Iterable[str]) -> Iterable[Reference]:
    for field in (*shape.keys, *shape.fields.values()):
        # The elements of a set stand in one column together, so no index finds them.
        if field.ref and field.kind is not Kind.SET:
            whole_key = field in shape.keys and len(shape.keys) == 1
            yield Reference(shape.category, field.name, field.ref, None if whole_key else field.column)
    for path in paths:
        target = _target(shape, path)
        if target is not None:
            yield Reference(shape.category, path, target, None)
