"""Which rules are broken after a change: the same answer on every node that holds the same records.

It runs inside the storage transaction that changes records and looks only at what the change can have made different:
the changed records, the groups that they are or were in, the records that watch them, and the pendencies that show
them. The result depends on the records and on the moment alone. Nothing here refuses or edits a record.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from crdtsync.errors import StorageError
from crdtsync.pendencies.read import StoredRecords
from crdtsync.pendencies.records import Act
from crdtsync.pendencies.rulebook import structs
from crdtsync.schema import Beside, Broken, Fine, Invariant, RuleKind, Severity
from crdtsync.storage.base import DueRow, Filing, PendencyChanges, PendencyRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crdtsync.pendencies.rulebook import Question, RuleBook
    from crdtsync.schema import Entity, Shape
    from crdtsync.storage.base import Row, View

DECISIONS = "decisions"
_BESIDE = "~"
"""After the code of a rule: what is filed beside its groups."""

log = logging.getLogger("crdtsync")


@dataclass(frozen=True, slots=True)
class Origin:
    """What brought a change: `download`, `upload` or `local`, and the synchronization's id."""

    direction: str = "local"
    run: int | None = None


LOCAL = Origin()


class _Subject(NamedTuple):
    """What a rule is asked about: a record, or a group (`doc` is the category, `key` the value)."""

    category: str
    code: str
    doc: str
    key: str


def evaluate(
    book: RuleBook,
    rows: Mapping[str, list[Row]],
    now_ms: int,
    view: View,
    origin: Origin = LOCAL,
    due: Sequence[DueRow] = (),
) -> PendencyChanges:
    """Return which pendencies open and close because these records changed, or because a moment came.

    Args:
        book: the rules that this node can judge.
        rows: category -> changed rows; `view` shows them already.
        now_ms: milliseconds since 1970 UTC.
        view: the merged state.
        origin: what brought the change.
        due: subjects whose moment has come.
    """
    return _Evaluation(book, now_ms, view, origin).run(rows, due)


class _Evaluation:
    def __init__(self, book: RuleBook, now_ms: int, view: View, origin: Origin) -> None:
        self.book = book
        self.schema = schema = book.schema
        self.now_ms = now_ms
        self.view = view
        self.origin = origin
        self.records = StoredRecords(schema, view)
        self.changes = PendencyChanges()
        self._rows: dict[tuple[str, str, str], Row] = {}
        self._subjects: dict[_Subject, None] = {}
        # (category, rule) -> value -> (doc, key): what this change files, which the view does not show yet.
        self._filed: dict[tuple[str, str], dict[str, dict[tuple[str, str], None]]] = {}
        # (category, rule) -> value -> where its members are.
        self._members: dict[tuple[str, str], dict[str, set[tuple[str, str]]]] = {}
        self._shows_any = view.breaks_any()

    def run(self, rows: Mapping[str, list[Row]], due: Sequence[DueRow]) -> PendencyChanges:
        newest = {
            category: list({(row[0], row[1]): row for row in changed}.values())
            for category, changed in sorted(rows.items())
            if category in self.schema.shapes
        }
        for category, changed in newest.items():
            self._rows |= {(category, row[0], row[1]): row for row in changed}
        for category, changed in newest.items():
            self._own_rules(category, changed)
            self._watchers(category, changed)
            self._referred(category, changed)
            if self._shows_any:
                self._showing(changed)
        for row in due:
            self._subjects[_Subject(row.category, row.rule, row.doc, row.key)] = None
        # Most of what a till writes makes no rule look again.
        verdicts = self._judge_all() if self._subjects else {}
        self._settle(verdicts)
        self._decisions(newest.get(DECISIONS, ()), verdicts)
        return self.changes

    @cached_property
    def now(self) -> datetime:
        """The moment that rules are told."""
        return datetime.fromtimestamp(self.now_ms / 1000, UTC)

    # -- what to look at ---------------------------------------------------------------------------------------

    def _own_rules(self, category: str, changed: list[Row]) -> None:
        if self.book.filed_paths[category]:
            self._file_paths(self.schema.shape(category), changed)
        deleted = [row for row in changed if row[-2]]
        conflicted = [row for row in changed if row[-1]]
        for question in self.book.questions[category]:
            rule = question.rule
            if rule.kind is RuleKind.GROUP:
                self._file_groups(category, question, changed)
                continue
            if rule.kind is RuleKind.REFERRED:
                looked_at = deleted
            elif rule.only_conflicts:
                looked_at = conflicted
            else:
                looked_at = question.concerned(changed)
            if question.targets and looked_at:
                looked_at = self._looked_up(question, looked_at)
            for row in looked_at:
                self._subjects[_Subject(category, rule.code, row[0], row[1])] = None

    def _looked_up(self, question: Question, rows: list[Row]) -> list[Row]:
        """Look up what the references of these rows point to, at once: a bulk load asks for thousands.

        Returns:
            The rows to ask about. For a rule about absence, those of which a target is not there; the rest need no
            asking, and are most of a bulk load. What was broken and is not any more is found by its pendency, which
            shows the record.
        """
        absent: dict[int, None] = {}
        for place, target in question.targets:
            keys = {row[place] for row in rows}
            keys.discard(None)
            if not keys:
                continue
            self.records.prefetch(target, keys)
            present = self.records.known(target)
            absent |= dict.fromkeys(
                i for i, row in enumerate(rows) if row[place] is not None and not present[row[place]]
            )
        return [rows[i] for i in sorted(absent)] if question.rule.absence else rows

    def _file_groups(self, category: str, question: Question, changed: list[Row]) -> None:
        """File the changed records, and look at every group that one of them is or was in, or beside."""
        rule, entity = question.rule, self.schema.entities[category]
        members: dict[tuple[str, str], set[str]] = {}
        beside: dict[tuple[str, str], set[str]] = {}
        for row in question.concerned(changed):
            value = None if row[-2] else _group_of(rule, entity._load(row))
            if isinstance(value, Beside):
                beside[row[0], row[1]] = {value.value}
            elif value is not None:
                members[row[0], row[1]] = {value}
        values = self._refile(category, rule.code, changed, members)
        if "beside" in rule.takes:
            values |= self._refile(category, rule.code + _BESIDE, changed, beside)
        for value in values:
            self._subjects[_Subject(category, rule.code, category, value)] = None

    def _file_paths(self, shape: Shape, changed: list[Row]) -> None:
        """File the changed records under what their rows refer to ("lines.product"), once for all rules that watch it."""
        entity = self.schema.entities[shape.category]
        for path in self.book.filed_paths[shape.category]:
            name, _, inner = path.partition(".")
            fresh: dict[tuple[str, str], set[str]] = {}
            for row in changed:
                if not row[-2] and row[shape.fields[name].place] is not None:
                    found = {str(getattr(one, inner)) for one in structs(getattr(entity._load(row), name))}
                    fresh[row[0], row[1]] = found - {"None"}
            self._refile(shape.category, path, changed, fresh)

    def _refile(
        self, category: str, rule: str, changed: list[Row], fresh: Mapping[tuple[str, str], set[str]]
    ) -> set[str]:
        """Replace the filings of the changed records; return the values that they are or were under."""
        if not fresh and not self.view.files_any(category, rule):
            return set()
        by_doc: dict[str, list[str]] = {}
        for row in changed:
            by_doc.setdefault(row[0], []).append(row[1])
        values: set[str] = set()
        known: dict[tuple[str, str], set[str]] = {}
        for doc, keys in by_doc.items():
            for filing in self.view.filings(category, rule, doc, keys):
                known.setdefault((doc, filing.key), set()).add(filing.value)
        for at in {*known, *fresh}:
            before, after = known.get(at, set()), fresh.get(at, set())
            values |= before | after
            if before != after:
                if before:
                    self.changes.unfiled.append((category, rule, *at))
                self.changes.filed += [Filing(category, rule, *at, value) for value in sorted(after)]
        overlay = self._filed.setdefault((category, rule), {})
        for at, wanted in fresh.items():
            for value in wanted:
                overlay.setdefault(value, {})[at] = None
        return values

    def _under(self, category: str, rule: str, values: Iterable[str]) -> dict[str, set[tuple[str, str]]]:
        """Where the records are that are filed under each of these values, this change included."""
        overlay = self._filed.get((category, rule), {})
        found = {value: set(overlay.get(value, ())) for value in values}
        if self.view.files_any(category, rule):
            # All values in one question: a bulk load has thousands of groups.
            for filing in self.view.filed(category, rule, found):
                if (category, filing.doc, filing.key) not in self._rows:
                    found[filing.value].add((filing.doc, filing.key))
        return found

    def _watchers(self, category: str, changed: list[Row]) -> None:
        """Look again at the records that watch a changed one."""
        watchers, shape = self.book.watchers[category], self.schema.shape(category)
        gone = [row for row in changed if _is_gone(row, shape)] if watchers else []
        for watcher in watchers:
            rule, other = watcher.rule, watcher.shape.category
            rows = changed
            if rule.absence and not (self._shows_any and self.view.breaks_any(other, rule.code)):
                # All of its references hold; only a target that goes can change that.
                rows = gone
            keys = {row[1] for row in rows}
            for path in watcher.paths if keys else ():
                for doc, key in self._watching(watcher.shape, path, keys):
                    subject = self._subject(other, rule, doc, key)
                    if subject is not None:
                        self._subjects[subject] = None

    def _subject(self, category: str, rule: Invariant, doc: str, key: str) -> _Subject | None:
        """Return what to ask a rule because of a record: about the record, or about the group that it is in."""
        if rule.group is None:
            return _Subject(category, rule.code, doc, key)
        row = self._row(category, doc, key)
        entity = self.schema.entities[category]
        value = None if row is None or row[-2] else _group_of(rule, entity._load(row))
        if isinstance(value, Beside):
            value = value.value
        return None if value is None else _Subject(category, rule.code, category, value)

    def _watching(self, shape: Shape, path: str, keys: set[str]) -> Iterable[tuple[str, str]]:
        if "." in path:
            return sorted(set().union(*self._under(shape.category, path, keys).values()))
        fields = {field.name: field for field in (*shape.keys, *shape.fields.values())}
        if fields[path] in shape.keys and len(shape.keys) == 1:
            docs = self.records.documents(shape.category)
            return [
                (doc, key) for doc in docs for key in sorted(self.view.get_many(shape.category, doc, keys))
            ]
        found = self.view.select_in(shape.category, fields[path].column, sorted(keys))
        return [(row[0], row[1]) for row in found]

    def _referred(self, category: str, changed: list[Row]) -> None:
        """Look again at deleted records that a changed record refers to."""
        for field, target, rules in self.book.referrers[category]:
            keys = {row[field.place] for row in changed if row[field.place] is not None and not row[-2]}
            for doc in self.records.documents(target) if keys else ():
                for key, row in sorted(self.view.get_many(target, doc, keys).items()):
                    for rule in rules if row[-2] else ():
                        self._subjects[_Subject(target, rule.code, doc, key)] = None

    def _showing(self, changed: list[Row]) -> None:
        """Look again at the pendencies that show a changed record."""
        by_doc: dict[str, list[str]] = {}
        for row in changed:
            by_doc.setdefault(row[0], []).append(row[1])
        for doc, keys in by_doc.items():
            for open_now in self.view.pendencies_showing(doc, keys):
                rule = self.book.rule(open_now.category, open_now.rule)
                if rule is not None:
                    at = open_now.category if rule.kind is RuleKind.GROUP else open_now.doc
                    self._subjects[_Subject(open_now.category, open_now.rule, at, open_now.key)] = None

    # -- judging -----------------------------------------------------------------------------------------------

    def _judge_all(self) -> dict[_Subject, PendencyRow | None]:
        verdicts: dict[_Subject, PendencyRow | None] = {}
        self._gather()
        waiting = list(self._subjects)
        for subject in waiting:  # it grows: a rule may ask to look at other records as well
            if subject in verdicts:
                continue
            rule = self.book.rule(subject.category, subject.code)
            if rule is not None:
                verdicts[subject] = self._judge(subject, rule, waiting)
        return verdicts

    def _gather(self) -> None:
        """Find the members of the groups to look at."""
        values: dict[tuple[str, str], list[str]] = {}
        for subject in self._subjects:
            rule = self.book.rule(subject.category, subject.code)
            if rule is not None and rule.kind is RuleKind.GROUP:
                values.setdefault((subject.category, subject.code), []).append(subject.key)
        self._members = {at: self._under(*at, wanted) for at, wanted in values.items()}

    def _load_all(self, category: str, places: Iterable[tuple[str, str]]) -> list[Entity]:
        """Return the records at these places, by key and document, with one question for each document."""
        by_doc: dict[str, list[str]] = {}
        rows: dict[tuple[str, str], Row] = {}
        for doc, key in places:
            changed = self._rows.get((category, doc, key))
            if changed is None:
                by_doc.setdefault(doc, []).append(key)
            else:
                rows[doc, key] = changed
        for doc, keys in by_doc.items():
            rows |= {(doc, key): row for key, row in self.view.get_many(category, doc, keys).items()}
        entity = self.schema.entities[category]
        return [entity._load(rows[at]) for at in sorted(rows, key=lambda at: at[::-1])]

    def _judge(self, subject: _Subject, rule: Invariant, waiting: list[_Subject]) -> PendencyRow | None:
        entity = self.schema.entities[subject.category]
        if rule.kind is RuleKind.GROUP:
            members = self._members[subject.category, rule.code].get(subject.key, ())
            alone = rule.several and len(members) < 2
            found = [] if alone else self._load_all(subject.category, members)
        else:
            row = self._row(subject.category, subject.doc, subject.key)
            found = [entity._load(row)] if row else []
        if not found or found[0].deleted is not (rule.kind is RuleKind.REFERRED):
            if "now" in rule.takes:
                # Its moment is not to come again.
                self.changes.due.append(DueRow(*subject, 0))
            return None
        try:
            at_ms, look, broken = self._answer(rule, subject, found)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - an adapter's fault must not stop the merge of everybody's records
            # A rule that raises, on a record that lacks what it reads, or answers what none may: a person sees it.
            text = f"rule {rule.code} could not be evaluated: {type(error).__name__}: {error}"
            text = text.encode(errors="replace").decode()
            at_ms, look = 0, []
            broken = self._row_of(subject, rule, found, Broken(text, facts={"failure": text}))
        if "now" in rule.takes:
            self.changes.due.append(DueRow(*subject, at_ms))
        waiting += look
        return broken

    def _row(self, category: str, doc: str, key: str) -> Row | None:
        changed = self._rows.get((category, doc, key))
        return self.view.get(category, doc, key) if changed is None else changed

    def _answer(
        self, rule: Invariant, subject: _Subject, found: list[Entity]
    ) -> tuple[int, list[_Subject], PendencyRow | None]:
        """Ask a rule; return when to ask again (ms, 0: never), whom else to ask, and what is broken."""
        record, *others = found
        given: dict[str, Any] = {"records": self.records, "now": self.now, "others": others}
        if "beside" in rule.takes:
            places = self._under(subject.category, rule.code + _BESIDE, [subject.key])[subject.key]
            given["beside"] = self._load_all(subject.category, places)
        verdict: object = rule.method(record, **{name: given[name] for name in rule.takes})
        if not isinstance(verdict, bool | Broken | Fine):
            raise TypeError(f"it answers {type(verdict).__name__}, not True, False, Broken or Fine")
        until = None if isinstance(verdict, bool) else verdict.until
        at_ms = 0 if until is None else int(until.timestamp() * 1000)
        look = [*verdict.look] if isinstance(verdict, Fine) else []
        asked = [_Subject(subject.category, rule.code, one.doc, one.key) for one in look]
        if verdict:
            return at_ms, asked, None
        broken = verdict if isinstance(verdict, Broken) else Broken()
        return at_ms, asked, self._row_of(subject, rule, found, broken)

    def _row_of(self, subject: _Subject, rule: Invariant, found: list[Entity], broken: Broken) -> PendencyRow:
        first = found[0]
        members = found if rule.kind is RuleKind.GROUP and not broken.records else found[:1]
        shown = dict.fromkeys((record.doc, record.key) for record in (*members, *broken.records))
        facts = {"values": first.to_plain()} if broken.facts is None else dict(broken.facts)
        evidence = json.dumps(
            facts, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_plain
        )
        message = broken.message or rule.doc.partition("\n")[0]
        if not isinstance(message, str):
            raise TypeError(f"its message is of type {type(message).__name__}, not a text")
        message.encode()
        episode = blake2b(evidence.encode(), digest_size=8).hexdigest()
        return PendencyRow(
            f"{subject.doc}/{subject.key}#{rule.code}",
            rule.code,
            subject.category,
            first.doc,
            subject.key,
            rule.owner,
            Severity(broken.severity or rule.severity),
            rule.title,
            message,
            rule.effect,
            evidence,
            episode,
            "open",
            json.dumps(list(shown), ensure_ascii=False),
            self.origin.direction,
            self.origin.run,
            self.now_ms,
        )

    # -- what changes ------------------------------------------------------------------------------------------

    def _settle(self, verdicts: Mapping[_Subject, PendencyRow | None]) -> None:
        names = {subject: f"{subject.doc}/{subject.key}#{subject.code}" for subject in verdicts}
        known = self.view.pendencies_named(names.values()) if self._shows_any and names else {}
        for subject, row in verdicts.items():
            before = known.get(names[subject])
            if row is not None:
                self._note(row, before)
            elif before is not None:
                self.changes.closed.append(before.id)

    def _note(self, row: PendencyRow, known: PendencyRow | None) -> None:
        """Keep a broken rule as a pendency: as it was first seen, when its episode is the one that is known."""
        if known is not None and known.episode == row.episode:
            row = replace(row, direction=known.direction, run=known.run, opened_ms=known.opened_ms)
        if self._decided_any:
            row = replace(row, status=self._status(row))
        if row != known:
            self.changes.opened.append(row)
            self.changes.fresh += known is None

    @cached_property
    def _decided_any(self) -> bool:
        return DECISIONS in self.schema.shapes and bool(self.view.select(DECISIONS, limit=1))

    def _status(self, row: PendencyRow) -> str:
        """`decided` while a decision about this episode stands whose option settles it."""
        acts = self.records.acts(row.id)
        withdrawn = {act.withdraws for act in acts if act.act is Act.DESFEITA}
        rule = self.book.rule(row.category, row.rule)
        settling = {choice.name for choice in rule.options if choice.settles} if rule else set()
        stands = any(
            act.act is Act.DECISAO
            and act.episode == row.episode
            and act.key not in withdrawn
            and (act.option in settling)
            for act in acts
        )
        return "decided" if stands else "open"

    def _decisions(self, changed: Sequence[Row], verdicts: Mapping[_Subject, PendencyRow | None]) -> None:
        """Look again at the status of the pendencies that changed decisions are about."""
        if not changed:
            return
        judged = {f"{subject.doc}/{subject.key}#{subject.code}" for subject in verdicts}
        entity = self.schema.entities[DECISIONS]
        place = self.schema.shape(DECISIONS).fields["pendency"].place
        # A deletion that arrives before the decision itself names no pendency yet.
        for name in sorted({entity._load(row)._row[place] for row in changed} - judged - {None}):
            known = self.view.pendency(name)
            if known is not None:
                self._note(known, known)


def _plain(value: object) -> object:
    """Return what stands in the evidence for a value that JSON lacks: the same on every node and in every process."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if type(value).__str__ is object.__str__ and type(value).__repr__ is object.__repr__:
        raise TypeError(f"its facts hold {type(value).__name__}, which has no text of its own")
    return str(value)


def _group_of(rule: Invariant, record: Entity) -> str | Beside | None:
    """Return the group that a record is in. One that lacks what the rule reads is in none, and holds nothing back."""
    assert rule.group is not None
    try:
        value: object = rule.group(record)
        group = value.value if isinstance(value, Beside) else value
        if group is not None and not isinstance(group, str):
            raise TypeError(f"it is of type {type(group).__name__}, not a text")  # noqa: TRY301 - told as the others are
    except Exception as error:  # noqa: BLE001 - an adapter's fault must not stop the merge of everybody's records
        log.warning(
            "rule %s leaves %s/%s out: its group could not be told, %s: %s",
            rule.code,
            record.doc,
            record.key,
            type(error).__name__,
            error,
        )
        return None
    return value  # type: ignore[return-value]


def _is_gone(row: Row, shape: Shape) -> bool:
    """Whether a record is deleted or inactive."""
    active = shape.fields.get("active")
    return bool(row[-2]) or (active is not None and row[active.place] == 0)
