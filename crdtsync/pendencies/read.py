"""What a rule reads: the records of the store, within one storage transaction. It never writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from crdtsync.pendencies.records import Decision
from crdtsync.schema import Entity, Schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crdtsync.storage.base import View

E = TypeVar("E", bound=Entity)

_REFERRERS_MAX = 100
"""Referring records of one field that a rule is told: enough to show, and a bound on what one rule reads."""


class StoredRecords:
    """See `crdtsync.schema.rules.Records`, which this implements."""

    def __init__(self, schema: Schema, view: View) -> None:
        self._schema = schema
        self._view = view
        self._documents: dict[str, list[str]] = {}
        self._present: dict[str, dict[str, bool]] = {}

    def documents(self, category: str) -> list[str]:
        """Return the documents of a category."""
        if category not in self._documents:
            self._documents[category] = self._view.documents(category)
        return self._documents[category]

    def get(self, entity: type[E], key: str, *, near: Entity | None = None) -> E | None:
        """Return a record, deleted or not; one of the store of `near` first."""
        store = near.parts.get("store") if near is not None else None
        docs = self.documents(entity.__category__)
        if store is not None:
            docs = sorted(docs, key=lambda doc: f"/{store}" not in doc)
        for doc in docs:
            row = self._view.get(entity.__category__, doc, key)
            if row is not None:
                return entity._load(row)
        return None

    def get_in(self, category: str, key: str) -> Entity | None:
        """Return a record of a category known by name, or None."""
        return self.get(self._schema.entities[category], key)

    def find(self, entity: type[E], **equals: object) -> list[E]:
        """Return the visible records whose fields equal the given values."""
        fields = entity.__shape__.fields
        where = {fields[name].column: fields[name].to_wire(value) for name, value in equals.items()}
        return [entity._load(row) for row in self._view.select(entity.__category__, where=where)]

    def referrers(self, record: Entity) -> list[Entity]:
        """Return visible records of any category that refer to `record`, up to 100 for each field that does."""
        found: list[Entity] = []
        for category, shape in self._schema.shapes.items():
            for field in shape.fields.values():
                if field.ref == record.__category__:
                    where = {field.column: record.key}
                    rows = self._view.select(category, where=where, limit=_REFERRERS_MAX)
                    found += [self._schema.entities[category]._load(row) for row in rows]
        return found

    def acts(self, pendency: str) -> list[Decision]:
        """Return what people did about a pendency, whatever the episode."""
        rows = self._view.select(Decision.__category__, where={"pendency": pendency})
        return [Decision._load(row) for row in rows]

    def present(self, category: str, key: str) -> bool:
        """Tell whether a record exists, is not deleted, and is active if it can be inactive."""
        known = self._present.setdefault(category, {})
        if key not in known:
            self.prefetch(category, {key})
        return known[key]

    def known(self, category: str) -> dict[str, bool]:
        """Return what was looked up so far: key -> what `present` answers."""
        return self._present.setdefault(category, {})

    def prefetch(self, category: str, keys: Iterable[Any]) -> None:
        """Look up many records for `present` at once."""
        known = self._present.setdefault(category, {})
        wanted = [key for key in set(keys) if key not in known]
        if not wanted:
            return
        known.update(dict.fromkeys(wanted, False))
        active = self._schema.shape(category).fields.get("active")
        for doc in self.documents(category):
            for key, row in self._view.get_many(category, doc, wanted).items():
                known[key] = not row[-2] and (active is None or bool(row[active.place]))
