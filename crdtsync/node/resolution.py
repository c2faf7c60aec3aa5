"""Settling a pendency: an option's writes and the decision about it, in one transaction. And the other acts of people.

Everything here is an ordinary local transaction, so it works offline and reaches every node like any record.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from crdtsync.errors import OptionRefused, PendencyMissing, hint
from crdtsync.pendencies.records import Act, Decision, Person
from crdtsync.pendencies.removals import REMOVAL_RULE
from crdtsync.pendencies.removals import RULE as REMOVAL
from crdtsync.said import said_of, say
from crdtsync.schema.partition import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crdtsync.node.ledger import Ledger
    from crdtsync.node.transaction import Transaction
    from crdtsync.schema import Entity, Invariant, Option
    from crdtsync.storage.base import PendencyRow

_SCRYPT: dict[str, int] = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 32}
_SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class SettlingCase:
    """See `crdtsync.schema.rules.Case`, which this implements."""

    tx: Transaction
    pendency: PendencyRow
    option: str
    records: Sequence[Entity]
    person: str
    why: str
    now: datetime
    store: str | None
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, Any]:
        """The evidence that the rule gave."""
        found: dict[str, Any] = json.loads(self.pendency.evidence)
        return found

    def name(self, part: str = "") -> str:
        """Return an id that pendency, episode and option determine."""
        return _digest(self.pendency.id, self.pendency.episode, self.option, part)


def _digest(*parts: str) -> str:
    return blake2b("\x1f".join(parts).encode(), digest_size=10).hexdigest()


def _act_id(row: PendencyRow, act: Act, person: str, text: str | None, moment: str = "") -> str:
    return _digest(row.id, row.episode, act, person, text or "", moment)


def rule_of(ledger: Ledger, row: PendencyRow) -> Invariant | None:
    """Return the rule that a pendency broke; None when no installed adapter states it."""
    shape = ledger.schema.shapes.get(row.category)
    if row.rule == REMOVAL_RULE:
        return REMOVAL
    return next((rule for rule in shape.invariants if rule.code == row.rule), None) if shape else None


def options_of(ledger: Ledger, row: PendencyRow) -> list[Option]:
    """Return the options of a pendency that this node's role may choose, the suggestion first."""
    rule = rule_of(ledger, row)
    role = ledger.identity.role
    return [one for one in rule.options if one.by is None or role in one.by] if rule else []


class Resolutions:
    """The acts of people at one node."""

    def __init__(self, ledger: Ledger, begin: Any) -> None:
        self._ledger = ledger
        self._begin = begin

    async def resolve(
        self, pendency: str, option: str, *, why: str, person: str, values: Mapping[str, str] | None = None
    ) -> str:
        """Choose an option of a pendency; return the decision's id. Durable on return.

        Raises:
            PendencyMissing: there is no such pendency now; it may have closed by itself.
            OptionRefused: no such option, not for this node's role, or something that it asks for is missing.
            NotAllowed, CheckFailed, FieldError: the option's writes are not possible here; nothing was written.
        """
        row = await self.get(pendency)
        chosen = self.choose(row, option, values or {}, why)
        tx: Transaction = self._begin(person)
        records = await self._records(tx, row)
        now = self._now()
        case = SettlingCase(tx, row, option, records, person, why, now, self._store(row), values or {})
        await chosen.method(records[0] if records else None, case)
        told = json.dumps(values, ensure_ascii=False, sort_keys=True) if values else None
        decision = self._act(tx, row, Act.DECISAO, person, why=why, option=option, values=told, at=now)
        await tx.commit()
        return decision

    def choose(self, row: PendencyRow, name: str, values: Mapping[str, str], why: str) -> Option:
        """Return an option that may be chosen here with these values. Raises OptionRefused."""
        rule = rule_of(self._ledger, row)
        known = {one.name: one for one in rule.options} if rule else {}
        if name not in known:
            told = tuple(known) or say("it has none")
            raise OptionRefused(
                row.id,
                name,
                say("no such option{hint}; there are: {told}", hint=hint(name, known), told=told),
            )
        chosen, role = known[name], self._ledger.identity.role
        if chosen.by is not None and role not in chosen.by:
            who = sorted(chosen.by)
            raise OptionRefused(
                row.id, name, say("a {role} may not choose it; it is for {who}", role=role, who=who)
            )
        missing = [ask for ask in chosen.asks if not values.get(ask)]
        if missing:
            raise OptionRefused(row.id, name, say("it asks for {names}", names=missing))
        if not why.strip():
            raise OptionRefused(row.id, name, say("a decision needs its reason"))
        return chosen

    async def resolve_all(
        self,
        rows: Iterable[PendencyRow],
        option: str,
        *,
        why: str,
        person: str,
        values: Mapping[str, str] | None = None,
    ) -> tuple[list[str], dict[str, str]]:
        """Choose one option for many; return the decisions, and by pendency why some were not settled.

        Each is a transaction of its own, so one that is refused holds none of the others back.
        """
        decided: list[str] = []
        refused: dict[str, str] = {}
        for row in rows:
            try:
                decided.append(await self.resolve(row.id, option, why=why, person=person, values=values))
            except Exception as error:  # noqa: BLE001 - an option is an adapter's code; its caller reads every reason
                refused[row.id] = said_of(error)
        return decided, refused

    async def see(self, pendency: str, *, person: str) -> str:
        """Say that a person has seen a pendency; saying it again changes nothing. Raises PendencyMissing."""
        return await self._say(pendency, Act.VISTA, person, None)

    async def note(self, pendency: str, text: str, *, person: str) -> str:
        """Add a person's note to a pendency. Raises PendencyMissing, CheckFailed."""
        return await self._say(pendency, Act.NOTA, person, text)

    async def undo(self, decision: str, *, why: str, person: str) -> str:
        """Withdraw a decision by a further fact; what its option wrote stays written.

        Raises:
            PendencyMissing: there is no such decision, or it is taken back already.
        """
        row = await self._ledger.storage.read(
            lambda view: [
                found
                for doc in view.documents(Decision.__category__)
                if (found := view.get(Decision.__category__, doc, decision))
            ]
        )
        if not row:
            raise PendencyMissing(decision, say("there is no such decision at this node"))
        known = Decision._load(row[0])
        if known.act is not Act.DECISAO:
            raise PendencyMissing(decision, say("this is no decision but {act}", act=known.act.value))
        if any(act.withdraws == decision for act in await self.acts(known.pendency)):
            raise PendencyMissing(decision, say("this decision is taken back already"))
        tx: Transaction = self._begin(person)
        made = _digest(decision, Act.DESFEITA, person)
        tx.create(
            Decision,
            id=made,
            place=known.place,
            pendency=known.pendency,
            episode=known.episode,
            act=Act.DESFEITA,
            why=why,
            person=person,
            at=self._now(),
            withdraws=decision,
        )
        await tx.commit()
        return made

    async def acts(self, pendency: str) -> list[Decision]:
        """Return what people did about a pendency, the oldest first."""
        rows = await self._ledger.storage.read(
            lambda view: view.select(Decision.__category__, where={"pendency": pendency})
        )
        return sorted((Decision._load(row) for row in rows), key=lambda act: (act.at, act.key))

    async def get(self, pendency: str) -> PendencyRow:
        """Return a pendency. Raises PendencyMissing."""
        row = await self._ledger.storage.read(lambda view: view.pendency(pendency))
        if row is None:
            raise PendencyMissing(
                pendency, say("there is no such pendency now; it may have closed by itself")
            )
        return row

    async def _records(self, tx: Transaction, row: PendencyRow) -> list[Entity]:
        found: list[Entity] = []
        for doc, key in json.loads(row.records):
            record = await tx.edit(self._ledger.schema.entity(doc.partition("/")[0]), doc, key)
            if record is not None:
                found.append(record)
        return found

    async def _say(self, pendency: str, act: Act, person: str, text: str | None) -> str:
        row = await self.get(pendency)
        made = _act_id(row, act, person, text)
        known = await self._ledger.storage.read(
            lambda view: view.get(Decision.__category__, f"{Decision.__category__}/{self._place(row)}", made)
        )
        if known is None:
            tx: Transaction = self._begin(person)
            self._act(tx, row, act, person, why=text, at=self._now())
            await tx.commit()
        return made

    def _act(
        self,
        tx: Transaction,
        row: PendencyRow,
        act: Act,
        person: str,
        *,
        at: datetime,
        why: str | None = None,
        option: str | None = None,
        values: str | None = None,
    ) -> str:
        # A decision taken again after it was withdrawn is another one: its moment tells them apart.
        moment = at.isoformat() if act is Act.DECISAO else ""
        made = _act_id(row, act, person, option or why, moment)
        tx.create(
            Decision,
            id=made,
            place=self._place(row),
            pendency=row.id,
            episode=row.episode,
            act=act,
            option=option,
            why=why,
            values=values,
            person=person,
            at=at,
        )
        return made

    def _store(self, row: PendencyRow) -> str | None:
        shape = self._ledger.schema.shapes[row.category]
        parts = dict(zip(shape.partition.columns, row.doc.split("/")[1:], strict=True))
        store = parts.get("store") or parts.get("scope")
        return None if store == ACCOUNT else store

    def _place(self, row: PendencyRow) -> str:
        return self._store(row) or ACCOUNT

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._ledger.clock.now_ms() / 1000, UTC)


def hash_pin(pin: str) -> str:
    """Return what `Person.pin_hash` keeps of a PIN (scrypt, RFC 7914)."""
    salt = os.urandom(_SALT_BYTES)
    return f"scrypt${salt.hex()}${hashlib.scrypt(pin.encode(), salt=salt, **_SCRYPT).hex()}"


def is_pin(person: Person, pin: str) -> bool:
    """Tell whether a PIN is the person's; nobody's is a person's without one."""
    if person.pin_hash is None:
        return False
    _, salt, known = person.pin_hash.split("$")
    made = hashlib.scrypt(pin.encode(), salt=bytes.fromhex(salt), **_SCRYPT)
    return hmac.compare_digest(made, bytes.fromhex(known))
