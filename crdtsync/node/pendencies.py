"""Pendencies: invariants evaluated over merged state, inside the storage transaction that changed it.

What is evaluated depends on what changed: the changed records, the records that watch them, and the groups they are
in. The result is a pure function of the records, so every node that holds them opens and closes the same pendencies
under the same ids. Nothing here refuses or edits a record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from crdtsync.schema import Entity, RuleKind, Schema
from crdtsync.storage.base import PendencyChanges, PendencyRow, View

if TYPE_CHECKING:
    from crdtsync.schema.rules import Invariant

E = TypeVar("E", bound=Entity)
Rows = Mapping[str, list[tuple[Any, ...]]]


class StoredRecords:
    """What a rule reads: the records of the store, within one transaction."""

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

    def get(self, entity: type[E], key: str) -> E | None:
        """Return a record, deleted or not."""
        for doc in self.documents(entity.__category__):
            row = self._view.get(entity.__category__, doc, key)
            if row is not None:
                return entity._load(row)
        return None

    def find(self, entity: type[E], **equals: object) -> list[E]:
        """Return the visible records whose fields equal the given values."""
        fields = entity.__shape__.fields
        where = {fields[name].column: fields[name].to_wire(value) for name, value in equals.items()}
        return [entity._load(row) for row in self._view.select(entity.__category__, where=where)]

    def referrers(self, record: Entity) -> list[Entity]:
        """Return visible records of any category that refer to ``record``."""
        found: list[Entity] = []
        for category, shape in self._schema.shapes.items():
            for field in shape.fields.values():
                if field.ref == record.__category__:
                    rows = self._view.select(category, where={field.column: record.key}, limit=100)
                    found += [self._schema.entities[category]._load(row) for row in rows]
        return found

    def present(self, category: str, key: str) -> bool:
        """Tell whether a record exists, is not deleted, and is active if it can be inactive."""
        known = self._present.setdefault(category, {})
        if key not in known:
            self.prefetch(category, {key})
        return known[key]

    def prefetch(self, category: str, keys: Iterable[str]) -> None:
        """Look up many records for ``present`` at once."""
        known = self._present.setdefault(category, {})
        wanted = [key for key in set(keys) if key not in known]
        if not wanted:
            return
        known.update(dict.fromkeys(wanted, False))
        names = list(self._schema.shape(category).fields)
        active = names.index("active") if "active" in names else None
        composite = len(self._schema.shape(category).keys)
        skip = 2 + (composite if composite > 1 else 0)
        for doc in self.documents(category):
            for key, row in self._view.get_many(category, doc, wanted).items():
                known[key] = not row[-2] and (active is None or bool(row[skip + active]))


class _Evaluation:
    def __init__(self, schema: Schema, view: View, now_ms: int) -> None:
        self.schema = schema
        self.view = view
        self.now_ms = now_ms
        self.records = StoredRecords(schema, view)
        self.changes = PendencyChanges()
        self._was: dict[str, PendencyRow | None] = {}

    def category(self, category: str, rows: list[tuple[Any, ...]]) -> None:
        entity = self.schema.entities[category]
        shape = entity.__shape__
        for rule in shape.invariants:
            if rule.kind is RuleKind.RECORD:
                self._prefetch(rule, category, rows)
                for row in rows:
                    self.judge(rule, entity._load(row))
            elif rule.kind is RuleKind.GROUP:
                self._groups(rule, entity, rows)
            else:
                for row in rows:
                    self.judge_referred(rule, entity._load(row))
        self._watchers(category, rows)
        self._referred(category, rows)

    def _prefetch(self, rule: Invariant, category: str, rows: list[tuple[Any, ...]]) -> None:
        shape = self.schema.shape(category)
        names = [column for column, _ in shape.columns]
        for field in (*shape.keys, *shape.fields.values()):
            if field.name in rule.watch and field.ref:
                if field.column in names:
                    at = 2 + names.index(field.column)
                    keys = {row[at] for row in rows if row[at] is not None}
                else:
                    keys = {row[1] for row in rows}
                self.records.prefetch(field.ref, keys)

    def _watchers(self, category: str, rows: list[tuple[Any, ...]]) -> None:
        """Look again at records that watch a changed one."""
        keys = {row[1] for row in rows}
        for other, shape in self.schema.shapes.items():
            for rule in shape.invariants:
                for field in (*shape.keys, *shape.fields.values()):
                    if field.name in rule.watch and field.ref == category:
                        self._watching(rule, other, field.column, field in shape.keys, keys, rows)

    def _watching(
        self,
        rule: Invariant,
        category: str,
        column: str,
        is_key: bool,
        keys: set[str],
        rows: list[tuple[Any, ...]],
    ) -> None:
        entity = self.schema.entities[category]
        waiting = list(self.view.pendencies(rule=rule.code, category=category)) if rule.watch else []
        again = {(row.doc, row.key) for row in waiting}
        gone = [row for row in rows if row[-2] or 0 in row[2:-2]]
        single = is_key and len(entity.__shape__.keys) == 1
        for row in gone:
            if single:
                again |= {(doc, row[1]) for doc in self.records.documents(category)}
            else:
                found = self.view.select(category, where={column: row[1]})
                again |= {(hit[0], hit[1]) for hit in found}
        for doc, key in sorted(again):
            hit = self.view.get(category, doc, key)
            if hit is not None:
                self.judge(rule, entity._load(hit))
        del keys

    def _groups(self, rule: Invariant, entity: type[Entity], rows: list[tuple[Any, ...]]) -> None:
        fields = entity.__shape__.fields
        names = [column for column, _ in entity.__shape__.columns]
        at = [2 + names.index(fields[name].column) for name in rule.group]
        for values in {tuple(row[i] for i in at) for row in rows}:
            if None in values:
                continue
            where = {fields[name].column: value for name, value in zip(rule.group, values, strict=True)}
            members = sorted(
                (entity._load(row) for row in self.view.select(entity.__category__, where=where)),
                key=lambda member: (member.key, member.doc),
            )
            about = f"{entity.__category__}#{rule.code}#{json.dumps(values, ensure_ascii=False)}"
            fine, failure = True, ""
            if len(members) > 1:
                fine, failure = _verdict(rule, members[0], members[1:])
            keys = [member.key for member in members]
            open_now = None if fine else self._row(rule, members[0], about, keys, failure)
            for known in self.view.pendencies_about(about):
                if open_now is None or known != open_now.id:
                    self.changes.closed.append(known)
            if open_now is not None:
                self._open(open_now)

    def _referred(self, category: str, rows: list[tuple[Any, ...]]) -> None:
        """Look again at deleted records that a changed record refers to."""
        shape = self.schema.shape(category)
        names = [column for column, _ in shape.columns]
        for field in shape.fields.values():
            target = self.schema.entities.get(field.ref or "")
            rules = [r for r in target.__shape__.invariants if r.kind is RuleKind.REFERRED] if target else []
            if not rules or target is None:
                continue
            at = 2 + names.index(field.column)
            keys = {row[at] for row in rows if row[at] is not None}
            keys |= {row.key for rule in rules for row in self.view.pendencies(rule=rule.code)}
            self.records.prefetch(target.__category__, keys)
            for key in sorted(keys):
                if self.records.present(target.__category__, key):
                    continue
                record = self.records.get(target, key)
                if record is not None:
                    for rule in rules:
                        self.judge_referred(rule, record)

    def judge_referred(self, rule: Invariant, record: Entity) -> None:
        fine, failure = True, ""
        if record.deleted:
            fine, failure = _verdict(rule, record, self.records)
        self._settle(rule, record, fine, failure)

    def judge(self, rule: Invariant, record: Entity) -> None:
        fine, failure = True, ""
        if not record.deleted:
            fine, failure = _verdict(rule, record, *([self.records] if rule.takes_records else []))
        self._settle(rule, record, fine, failure)

    def _settle(self, rule: Invariant, record: Entity, fine: bool, failure: str) -> None:
        if fine:
            name = f"{record.doc}/{record.key}#{rule.code}"
            if name not in self._was:
                self._was[name] = self.view.pendency(name) if self._any_open(rule) else None
            if self._was[name] is not None:
                self.changes.closed.append(name)
        else:
            self._open(self._row(rule, record, None, [record.key], failure))

    def _any_open(self, rule: Invariant) -> bool:
        at = f"any {rule.code}"
        if at not in self._was:
            found = self.view.pendencies(rule=rule.code, limit=1)
            self._was[at] = found[0] if found else None
        return self._was[at] is not None

    def _open(self, row: PendencyRow) -> None:
        known = self.view.pendency(row.id)
        if known is None or known.evidence != row.evidence:
            self.changes.opened.append(row)

    def _row(
        self, rule: Invariant, record: Entity, about: str | None, keys: list[str], failure: str
    ) -> PendencyRow:
        evidence = json.dumps(
            {"records": keys, "values": record.to_plain()} | ({"failure": failure} if failure else {}),
            ensure_ascii=False,
            sort_keys=True,
            separators=(",", ":"),
        )
        return PendencyRow(
            f"{record.doc}/{record.key}#{rule.code}",
            rule.code,
            record.__category__,
            record.doc,
            record.key,
            about,
            rule.owner,
            rule.severity,
            rule.title,
            failure or rule.doc.partition("\n")[0],
            evidence,
            self.now_ms,
        )


def _verdict(rule: Invariant, *args: Any) -> tuple[bool, str]:
    """Ask a rule: (fine, why it could not say).

    A rule that raises, on a record that lacks what it reads, holds nothing back: the record is shown to a person.
    """
    try:
        return bool(rule.method(*args)), ""
    except Exception as error:  # noqa: BLE001 - an adapter's fault must not stop the merge of everybody's records
        return False, f"rule {rule.code} could not be evaluated: {type(error).__name__}: {error}"


def evaluate(schema: Schema, rows: Rows, now_ms: int, view: View) -> PendencyChanges:
    """Return which pendencies open and close because these records changed; ``rows`` are already in ``view``."""
    evaluation = _Evaluation(schema, view, now_ms)
    for category in sorted(rows):
        newest = {(row[0], row[1]): row for row in rows[category]}
        evaluation.category(category, list(newest.values()))
    opened = {row.id: row for row in evaluation.changes.opened}
    closed = [name for name in dict.fromkeys(evaluation.changes.closed) if name not in opened]
    return PendencyChanges(list(opened.values()), closed)
