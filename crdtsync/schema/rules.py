"""Rules that an entity states: checks refuse a local edit; invariants watch merged state and never refuse.

Three kinds of invariant: RECORD looks at one record (and again when the target of a watched reference changes), GROUP
at all records that are filed under one value, REFERRED at a deleted record that others may still refer to. An option is
an ordinary transaction by which a person settles what an invariant found.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from crdtsync.schema.roles import roles_of

if TYPE_CHECKING:
    from datetime import datetime

    from crdtsync.schema.entity import Entity
    from crdtsync.schema.roles import Role

_CODE = re.compile(r"[A-Za-z0-9]+")
_OWN_CODE = re.compile(r"P[0-9]+")

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

    def get(self, entity: type[E], key: str, *, near: Entity | None = None) -> E | None:
        """Return a record, or None when there is none; `near` prefers the store of that record."""
        ...

    def get_in(self, category: str, key: str) -> Entity | None:
        """Return a record of a category known by name, or None when there is none."""
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
class Broken:
    """What an invariant found; it counts as False.

    Attributes:
        message: what happened, one or two sentences for a person, in Portuguese; the rule's docstring when empty.
        records: the other records involved; the pendency is looked at again when any of them changes.
        facts: the evidence, JSON-able values. A decision holds for these facts only: other facts are another episode.
            The record's own values when not given.
        severity: instead of the rule's.
        until: look again at this moment, although nothing changes.
    """

    message: str = ""
    records: Sequence[Entity] = ()
    facts: Mapping[str, Any] | None = None
    severity: Severity | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Fine:
    """Nothing is wrong with this record now; it counts as True.

    Attributes:
        until: look again at this moment, although nothing changes.
        look: records of the same category to look at as well: the rule found something that is theirs to tell.
    """

    until: datetime | None = None
    look: Sequence[Entity] = ()


@dataclass(frozen=True, slots=True)
class Beside:
    """What a group function returns for a record that is no member of a group but counts for it.

    The group is judged again because of it, if it has members, and the rule gets it in `beside`. So a rule about the
    few (the closings of a shift) does not read the many (its operations) each time that one of them comes.
    """

    value: str


Verdict: TypeAlias = bool | Broken | Fine
"""What an invariant answers. A bare False is a `Broken` with nothing to add."""


class Writes(Protocol):
    """What an option may do: the verbs of a transaction."""

    def create(self, entity: type[E], *, in_store: str | None = None, **values: Any) -> E:
        """Return a new record with these field values."""
        ...

    async def find(self, entity: type[E], key: str) -> E | None:
        """Return a record for editing, or None when there is none."""
        ...

    async def get(self, entity: type[E], key: str) -> E:
        """Return a record for editing. Raises RecordMissing."""
        ...

    async def referrers(self, record: Entity) -> list[Entity]:
        """Return all visible records that have a field with the key of `record`, for editing."""
        ...

    async def repoint(self, record: Entity, to: Entity | None) -> list[Entity]:
        """Make every reference to `record` that can be edited refer to `to`, or to nothing; return who was changed."""
        ...


class Case(Protocol):
    """A pendency that a person is settling, as an option sees it.

    Attributes:
        tx: the transaction that the option writes in; the decision itself is part of it.
        records: the records of the pendency, for editing; the first is the option's `self`.
        facts: the evidence that the rule gave.
        values: what the person wrote for the option's `asks`, by name.
        person, why: who decides, and the reason.
        now: the moment of the decision, UTC.
        store: the store that the pendency belongs to, None when it belongs to the account.
    """

    @property
    def tx(self) -> Writes: ...  # noqa: D102
    @property
    def records(self) -> Sequence[Entity]: ...  # noqa: D102
    @property
    def facts(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def values(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def person(self) -> str: ...  # noqa: D102
    @property
    def why(self) -> str: ...  # noqa: D102
    @property
    def now(self) -> datetime: ...  # noqa: D102
    @property
    def store(self) -> str | None: ...  # noqa: D102

    def name(self, part: str = "") -> str:
        """Return an id that pendency, episode and option determine: who else chooses the same writes the same fact."""
        ...


@dataclass(frozen=True, slots=True)
class Option:
    """One way to settle what an invariant found. The first declared is the suggestion."""

    code: str
    name: str
    title: str
    doc: str
    method: Callable[[Any, Case], Awaitable[None]]
    by: frozenset[Role] | None
    asks: tuple[str, ...]
    settles: bool


@dataclass(frozen=True, slots=True)
class Check:
    """A rule that may refuse a local edit."""

    name: str
    message: str
    method: Callable[[Any], bool]


GroupValue: TypeAlias = Callable[[Any], str | Beside | None]


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule over merged state; a broken one is a pendency.

    Attributes:
        takes: what `method` asks for besides the record: `others`, `beside`, `records`, `now`.
        effect: what happens if nobody does anything, in Portuguese.
        at: the roles that hold everything the rule reads, None for all that hold the category.
        absence: it only asks whether the watched targets are there, so their other changes do not matter.
        only_conflicts: it is about concurrent values, so records without any are fine.
        given: fields without a value make a record fine, so it is not looked at.
        several: a record that is alone in its group is fine, so it is not looked at.
    """

    code: str
    title: str
    owner: Role
    severity: Severity
    kind: RuleKind
    method: Callable[..., Verdict]
    watch: tuple[str, ...]
    group: GroupValue | None
    doc: str
    takes: frozenset[str]
    effect: str = ""
    at: frozenset[Role] | None = None
    absence: bool = False
    only_conflicts: bool = False
    given: tuple[str, ...] = ()
    several: bool = False
    options: tuple[Option, ...] = field(default=())


def _summary(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or function.__name__.replace("_", " ")).partition("\n")[0]


def misdeclared(member: object, *, own: bool) -> str | None:
    """Return what is wrong with a member of a class body as a rule or an option, or None; `own`: a class of the framework."""
    said: Check | None = getattr(member, "__crdtsync_check__", None)
    rule: Invariant | None = getattr(member, "__crdtsync_invariant__", None)
    choice: Option | None = getattr(member, "__crdtsync_option__", None)
    if isinstance(member, References):
        return _no_code(member.code, own=own)
    if isinstance(member, ConcurrentEdits):
        return _no_code(member.code, own=own) or _not_names(fields=member.fields, but=member.but)
    return (
        (_no_check(said) if said else None)
        or (_no_code(rule.code, own=own) or _no_invariant(rule) if rule else None)
        or (_no_option(choice) if choice else None)
    )


def _no_check(said: Check) -> str | None:
    if _answers_later(said.method):
        return "a check answers at once; write it with def, not async def, and without yield"
    return None if _takes(said.method, 1) else "a check takes the record alone: (self)"


def _no_invariant(rule: Invariant) -> str | None:
    group: Any = rule.group
    if _answers_later(rule.method) or _answers_later(group):
        return f"{rule.code} answers at once; write it with def, not async def, and without yield"
    if not _takes(rule.method, 1, rule.takes):
        return f"{rule.code} takes the record first: (self, ...)"
    if group is not None and rule.kind is RuleKind.REFERRED:
        return f"{rule.code} compares a group or sees deleted records, not both: group or referred"
    if group is not None and rule.kind is RuleKind.RECORD:
        return f"{rule.code} compares a group by no field; name one"
    if rule.several and group is None:
        return f"{rule.code} is about several records of a group; say group=..."
    names = getattr(group, "names", ()) if callable(group) else group or ()
    return _not_names(watch=rule.watch, given=rule.given, group=names) or _not_roles("at", rule.at)


def _no_option(choice: Option) -> str | None:
    if not inspect.iscoroutinefunction(inspect.unwrap(choice.method)):
        return f"an option of {choice.code} is awaited; write it with async def"
    if not _takes(choice.method, 2):
        return f"an option of {choice.code} takes the record and the case: (self, case)"
    return _not_names(asks=choice.asks) or _not_roles("by", choice.by)


def _answers_later(function: object) -> bool:
    """Tell whether what a function returns is true whatever it would come to: a coroutine, or a generator."""
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
    )


def _no_code(code: object, *, own: bool) -> str | None:
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return f"the code of a rule is letters and digits, such as C01, not {code!r}"
    if not own and _OWN_CODE.fullmatch(code):
        return f"{code} is a code of the framework's own, as all of P and digits; choose another"
    return None


def _takes(function: Callable[..., Any], places: int, names: Iterable[str] = ()) -> bool:
    """Tell whether a function can be called with so many arguments by place, and with these by name."""
    try:
        inspect.signature(function).bind(*(None,) * places, **dict.fromkeys(names))
    except TypeError:
        return False
    return True


def _not_names(**options: object) -> str | None:
    """Return what is wrong with options that are several names each: a text alone would be read as its letters."""
    for option, names in options.items():
        if isinstance(names, str):
            return f"{option} is several names; write {option}=({names!r},)"
        if not (isinstance(names, tuple | list) and all(isinstance(name, str) for name in names)):
            return f"{option} is a tuple of names, not {names!r}"
    return None


def _not_roles(option: str, given: object) -> str | None:
    try:
        _ = given is None or roles_of(given)
    except (TypeError, ValueError) as error:
        return f"{option}: {error}"
    return None


def _roles(given: Any) -> Any:
    """Return a set of roles as it is kept, and what is none as it came: the class statement refuses it."""
    return frozenset(given) if isinstance(given, Iterable) and not isinstance(given, str) else given


def is_rule(member: object) -> bool:
    """Tell whether a member of a class body states a rule or an option."""
    marks = ("__crdtsync_check__", "__crdtsync_invariant__", "__crdtsync_option__")
    return isinstance(member, References | ConcurrentEdits) or any(hasattr(member, mark) for mark in marks)


def check(function: F) -> F:
    """Mark a method as a check: it returns True when the record may be written as it is."""
    function.__crdtsync_check__ = Check(function.__name__, _summary(function), function)  # type: ignore[attr-defined]
    return function


def invariant(  # noqa: PLR0913 - each names one thing that an author may say; all but the code by keyword
    code: str,
    *,
    title: str,
    owner: Role,
    severity: Severity = Severity.A,
    effect: str = "",
    watch: tuple[str, ...] = (),
    group: tuple[str, ...] | GroupValue | None = None,
    referred: bool = False,
    at: set[Role] | None = None,
    only_conflicts: bool = False,
    given: tuple[str, ...] = (),
    several: bool = False,
) -> Callable[[F], F]:
    """Mark a method as an invariant: it returns True when all is well, else False or `Broken(...)`.

    The method takes `self` and, by name, any of: `records` (what it may read), `now` (a datetime, UTC), and for a group
    `others` and `beside`.

    Args:
        code: what it is known by, such as C01: letters and digits. P and digits are the framework's own.
        title: one line, in Portuguese.
        owner: the role that should settle it.
        severity: see Severity.
        effect: what happens if nobody does anything, in Portuguese.
        watch: fields, or fields of structs ("lines.product"), whose target matters: the rule looks again when the
            target changes.
        group: compare records: the names of fields that are equal, or a function of a record that returns what to file
            it under (None: nowhere; or `Beside`). `self` has the smallest key, `others` are the rest; a record alone is
            judged too.
        referred: see deleted records only, and again when a record that refers to them changes.
        at: the roles that hold everything that the rule reads; all that hold the category by default.
        only_conflicts: the rule is about `self.conflicts`; records without any are not looked at, which is fast.
        given: the rule is about records that have a value in these fields; others are not looked at.
        several: the rule is about groups of two records or more; a record alone is not looked at, which is fast.
    """
    # Both are refused in the class statement, which sees the function that groups beside this kind.
    kind = RuleKind.REFERRED if referred else RuleKind.GROUP if group else RuleKind.RECORD
    by = group_by(tuple(group)) if isinstance(group, tuple | list) else group

    def mark(function: F) -> F:
        takes = frozenset(list(inspect.signature(function).parameters)[1:])
        rule = Invariant(
            code,
            title,
            owner,
            severity,
            kind,
            function,
            watch,
            by,
            inspect.getdoc(function) or "",
            takes,
            effect,
            _roles(at),
            only_conflicts=only_conflicts,
            given=given,
            several=several,
        )
        function.__crdtsync_invariant__ = rule  # type: ignore[attr-defined]
        return function

    return mark


def group_by(names: tuple[str, ...]) -> GroupValue:
    """Return the function that files a record under the values of fields; nowhere when one is empty."""

    def value(record: Entity) -> str | None:
        values = [getattr(record, name) for name in names]
        return None if None in values else "|".join(map(str, values))

    value.names = names  # type: ignore[attr-defined]
    return value


def option(
    code: str,
    name: str,
    title: str,
    *,
    by: set[Role] | None = None,
    asks: tuple[str, ...] = (),
    settles: bool = True,
) -> Callable[[F], F]:
    """Mark an async method `(self, case)` as an option of the invariant `code`: an ordinary transaction.

    Facts are never edited: an option of a fact adds another one, with an id from `case.name()`. An option that writes
    nothing has only a docstring.

    Args:
        code: the invariant's.
        name: what a person types, lower case.
        title: what a person reads, in Portuguese.
        by: roles that may choose it, all that may write decisions by default.
        asks: names of what the person must say besides the reason (`case.values`).
        settles: the pendency is settled for this episode; False leaves it open until the state is right.
    """

    def mark(function: F) -> F:
        found = Option(
            code,
            name,
            title,
            _summary(function),
            function,
            _roles(by),
            asks,
            settles,
        )
        function.__crdtsync_option__ = found  # type: ignore[attr-defined]
        return function

    return mark


@dataclass(frozen=True, slots=True)
class References:
    """Declares the invariant that every reference of the entity points to a record that is there and active."""

    code: str
    title: str
    owner: Role
    severity: Severity = Severity.A
    effect: str = ""


def references(
    code: str, *, title: str, owner: Role, severity: Severity = Severity.A, effect: str = ""
) -> References:
    """Return the declaration of a dangling-reference invariant over all references of the class."""
    return References(code, title, owner, severity, effect)


@dataclass(frozen=True, slots=True)
class ConcurrentEdits:
    """Declares the invariant that no register of the entity was written at two places at once."""

    code: str
    title: str
    owner: Role
    severity: Severity
    fields: tuple[str, ...]
    but: tuple[str, ...]
    effect: str = ""


def concurrent_edits(
    code: str,
    *,
    title: str,
    owner: Role,
    severity: Severity = Severity.A,
    fields: tuple[str, ...] = (),
    but: tuple[str, ...] = (),
    effect: str = "",
) -> ConcurrentEdits:
    """Return the declaration: `fields` are looked at (all registers by default), `but` are left to another rule.

    Its options are made with it: `a` keeps what shows, `b` takes the other value, `outro` asks for `valor`.
    """
    return ConcurrentEdits(code, title, owner, severity, fields, but, effect)
