"""What depends on what: the records that wait for a B pendency, and the pendencies that a record waits for.

Nothing is stored for it. Both answers are read from merged state, so what waited is released by itself when the cause goes.
References are followed in columns, in keys, and in the rows that a rule watches (they are filed under what they refer to).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from crdtsync.schema import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crdtsync.pendencies.rulebook import Reference, RuleBook
    from crdtsync.schema import Schema
    from crdtsync.storage.base import PendencyRow, View

_LOOKED_AT_MAX = 1_000
"""Records that one answer looks at; a record that depends on more is told from the nearest."""


class Address(NamedTuple):
    """Where a record is."""

    doc: str
    key: str

    @property
    def category(self) -> str:
        """The category of the document."""
        return self.doc.partition("/")[0]


def dependents(book: RuleBook, view: View, records: Iterable[Address], limit: int) -> list[Address]:
    """Return records that refer to any of these, directly or through others, the nearest first; at most `limit`."""
    seen = dict.fromkeys(records)
    start = len(seen)
    nearest = list(seen)
    while nearest and len(seen) < start + limit:
        found: dict[Address, None] = {}
        for (category, store), keys in _by_category(book.schema, nearest).items():
            for reference in book.referring[category]:
                # Those already told take places too, so they are asked for beyond what is left.
                for at in _referring(view, reference, sorted(keys), start + limit):
                    if at not in seen and _may_meet(_store(book.schema, at), store):
                        found[at] = None
        nearest = list(found)
        seen |= found
    return list(seen)[start : start + limit]


def blockers(book: RuleBook, view: View, record: Address) -> list[PendencyRow]:
    """Return the open B pendencies that show a record which this one refers to, directly or through others, by id."""
    seen = {record: None}
    nearest = [record]
    found: dict[str, PendencyRow] = {}
    while nearest and len(seen) < _LOOKED_AT_MAX:
        targets: dict[Address, None] = {}
        for at in nearest:
            targets |= dict.fromkeys(target for target in _targets(book, view, at) if target not in seen)
        for doc, keys in _by_document(targets).items():
            for row in view.pendencies_showing(doc, keys):
                if row.severity == Severity.B and row.status == "open":
                    found[row.id] = row
        nearest = list(targets)
        seen |= targets
    return [found[name] for name in sorted(found)]


def _referring(view: View, reference: Reference, keys: list[str], limit: int) -> Iterator[Address]:
    """Records whose reference has one of these keys."""
    category = reference.category
    if reference.inside:
        for filing in view.filed(category, reference.path, keys, limit=limit):
            yield Address(filing.doc, filing.key)
    elif reference.column is not None:
        for row in view.select_in(category, reference.column, keys, limit=limit):
            yield Address(row[0], row[1])
    else:
        for doc in view.documents(category):
            yield from (
                Address(doc, key) for key, row in view.get_many(category, doc, keys).items() if not row[-2]
            )


def _targets(book: RuleBook, view: View, at: Address) -> Iterator[Address]:
    """The records that a record refers to, wherever documents of its store may have them."""
    category = at.category
    row = view.get(category, at.doc, at.key) if category in book.references else None
    if row is None or row[-2]:
        return
    record = book.schema.entities[category]._load(row)
    for reference in book.references[category]:
        keys = sorted(reference.keys(record))
        for doc in view.documents(reference.target) if keys else ():
            if _may_meet(_store(book.schema, at), _store(book.schema, Address(doc, ""))):
                yield from (Address(doc, key) for key in keys)


def _may_meet(one: str | None, other: str | None) -> bool:
    """Whether a record of one store can mean one of the other: what is cut by store is of one's own."""
    return one is None or other is None or one == other


def _store(schema: Schema, at: Address) -> str | None:
    columns = schema.shape(at.category).partition.columns
    return at.doc.split("/")[1 + columns.index("store")] if "store" in columns else None


def _by_category(schema: Schema, records: Iterable[Address]) -> dict[tuple[str, str | None], set[str]]:
    """The keys by category and store."""
    found: dict[tuple[str, str | None], set[str]] = {}
    for at in records:
        found.setdefault((at.category, _store(schema, at)), set()).add(at.key)
    return found


def _by_document(records: Iterable[Address]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for at in records:
        found.setdefault(at.doc, []).append(at.key)
    return found
