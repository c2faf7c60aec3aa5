"""Builds records of the retail categories for their tests, without a node. It never writes to a store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar, cast

from crdtsync import Entity, Set
from crdtsync.errors import CheckFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crdtsync import Verdict

E = TypeVar("E", bound=Entity)


def record(entity: type[E], **values: object) -> E:
    """Return a snapshot with these Python values; a set is given as a list.

    Raises:
        FieldError: a field does not accept its value.
    """
    shape = entity.__shape__
    unknown = values.keys() - shape.fields.keys() - {key.name for key in shape.keys}
    assert not unknown, f"{entity.__name__} has no field {unknown}"
    key = shape.key_text(values)
    parts = shape.key_columns(key) if len(shape.keys) > 1 else ()
    wires: list[Any] = []
    for name, field in shape.fields.items():
        value = values.get(name)
        if isinstance(field, Set) and isinstance(value, list):
            wires.append(json.dumps(sorted(str(field.to_wire(element)) for element in value)))
        else:
            wires.append(field.default_wire if value is None else field.to_wire(value))
    return entity._load((shape.category, key, *parts, *wires, 0, None))


def deleted_record(entity: type[E], **values: object) -> E:
    """Return a snapshot of a deleted record."""
    one = record(entity, **values)
    object.__setattr__(one, "deleted", True)
    return one


def refusal(entity: type[Entity], **values: object) -> str | None:
    """Name of the check that refuses a record with these values; None when it may be written."""
    try:
        entity.check_record(record(entity, **values))
    except CheckFailed as error:
        return error.rule
    return None


def holds(one: Entity, code: str, *arguments: object) -> bool:
    """Whether the invariant of that code finds the record fine."""
    return bool(verdict(one, code, *arguments))


def verdict(one: Entity, code: str, *arguments: object) -> Verdict:
    """Return what the invariant of that code answers."""
    (rule,) = [rule for rule in one.__shape__.invariants if rule.code == code]
    return rule.method(one, *arguments)


class Merged:
    """Merged state for a rule to read: records by category and key, and who refers to the record asked about."""

    def __init__(self, *records: Entity, referrers: tuple[Entity, ...] = ()) -> None:
        self._records: Mapping[tuple[str, str], Entity] = {(r.__shape__.category, r.key): r for r in records}
        self._referrers = referrers

    def get(self, entity: type[E], key: str, *, near: Entity | None = None) -> E | None:
        del near
        return cast("E | None", self.get_in(entity.__shape__.category, key))

    def get_in(self, category: str, key: str) -> Entity | None:
        return self._records.get((category, key))

    def find(self, entity: type[E], **equals: object) -> list[E]:
        return [
            cast("E", record)
            for (category, _), record in self._records.items()
            if category == entity.__shape__.category
            and not record.deleted
            and all(getattr(record, name) == value for name, value in equals.items())
        ]

    def present(self, category: str, key: str) -> bool:
        record = self.get_in(category, key)
        return record is not None and not record.deleted and getattr(record, "active", True)

    def referrers(self, _: Entity) -> list[Entity]:
        return list(self._referrers)
