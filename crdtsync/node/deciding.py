"""The verbs of the pendencies screen: the list, the card of one, and what people do about them.

Plain arguments in, plain results out, as ``docs/pendencies.md`` lists them. The control socket, the command line and
the page call the same functions. Every answer is bounded: lists come in pages.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from crdtsync.errors import BadRequest, OptionRefused, hint
from crdtsync.node.page import bad_cursor, page_limit
from crdtsync.node.resolution import hash_pin, is_pin, options_of, rule_of
from crdtsync.node.transaction import find_rows
from crdtsync.pendencies.dependents import Address, dependents
from crdtsync.pendencies.parked import PARKED_RULE
from crdtsync.pendencies.records import Act, Decision, Person
from crdtsync.pendencies.removals import REMOVAL_RULE
from crdtsync.said import say, to_form
from crdtsync.schema import Kind, Role, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crdtsync.node.node import Node
    from crdtsync.schema import Entity, Schema, Shape
    from crdtsync.storage.base import PendencyRow, RunRow, View

_SHOWN_MAX = 100
_PIN_CHARS_MIN = 4
_PIN_CHARS_MAX = 64
_FILTERS = ("rule", "category", "owner", "severity", "status")
_ORDER = [severity.value for severity in Severity]
_ANY = "all"
_HOUR_MS = 3_600_000
_HOURS_MAX = 10 * 366 * 24


async def pendencies(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """One page of pendencies, the gravest first, with how many there are by severity, owner and status.

    Filters: ``rule``, ``category``, ``owner``, ``severity``, ``status`` (open, decided, all), ``older_hours`` (opened at
    least so long ago); ``limit`` and ``after`` page.
    """
    filters, limit, after = _filters(args) | _age(node, args), page_limit(args), args.get("after")

    def read(view: View) -> dict[str, Any]:
        _refuse_unknown(node, view, filters)
        counts = view.pendency_counts()
        rows, cursor = page_of(view, filters, after, limit)
        return {
            "now_ms": node.ledger.clock.now_ms(),
            "time_zone": node.config.time_zone,
            "total": view.count_pendencies(**filters),
            "counts": [
                {"severity": severity, "owner": owner, "status": status, "count": count}
                for (severity, owner, status), count in sorted(counts.items(), key=_by_gravity)
            ],
            "pendencies": [_row(node, row) for row in rows],
            "after": cursor,
        }

    return await node.ledger.storage.read(read)


def open_counts(counts: Mapping[tuple[str, str, str], int]) -> tuple[Counter[str], Counter[str]]:
    """Return how many pendencies are open by severity, and by owner; ``counts`` are by severity, owner and status."""
    severities, owners = Counter[str](), Counter[str]()
    for (severity, owner, status), number in counts.items():
        if status == "open":
            severities[severity] += number
            owners[owner] += number
    return severities, owners


def page_of(
    view: View, filters: dict[str, Any], after: str | None, limit: int
) -> tuple[list[PendencyRow], str | None]:
    """Return a page and the cursor of the next; a cursor says severity and id, so its pendency may be gone by then."""
    severity, _, last = (after or "").partition(" ")
    if after and (severity not in _ORDER or not last):
        raise bad_cursor(after)
    rows = view.pendencies(**filters, after=(severity, last) if after else None, limit=limit + 1)
    page = rows[:limit]
    return page, f"{page[-1].severity} {page[-1].id}" if len(rows) > limit else None


async def pendency(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """The card of one pendency: what happened, the records, the effect, the options, and who did what, when and why."""
    row = await node.resolutions.get(_text(args, "pendency"))
    acts = await node.resolutions.acts(row.id)
    shown = acts[-_SHOWN_MAX:]
    addresses: list[tuple[str, str]] = json.loads(row.records)

    def read(view: View) -> dict[str, Any]:
        names = {act.person: _name(view, act.person) for act in shown}
        held = _held(node, view, row, [Address(*at) for at in addresses])
        return {
            "now_ms": node.ledger.clock.now_ms(),
            "time_zone": node.config.time_zone,
            **_row(node, row),
            "evidence": json.loads(row.evidence),
            "records": [
                found
                for doc, key in addresses[:_SHOWN_MAX]
                if (found := _record(node.schema, view, doc, key))
            ],
            "records_total": len(addresses),
            "waiting": [_address(node.schema, at) for at in held[:_SHOWN_MAX]],
            "waiting_more": len(held) > _SHOWN_MAX,
            "options": _options(node, row),
            "acts": [_act(node, row, act, acts, names) for act in shown],
            "acts_total": len(acts),
            "synchronization": _run(view, row.run),
        }

    return await node.ledger.storage.read(read)


async def resolve(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Choose an ``option`` of a ``pendency``: ``why``, ``person`` and its ``pin``, ``values`` for what the option asks."""
    person = await verified(node, args)
    name, option = _text(args, "pendency"), _text(args, "option")
    try:
        decision = await node.resolutions.resolve(
            name, option, why=_text(args, "why"), person=person, values=_values(args)
        )
    except (ValueError, ArithmeticError) as error:
        # An option is an adapter's code: it reads what a person wrote, which may be no number.
        raise OptionRefused(
            name, option, say("{kind}: {error}; see what it asks for", kind=type(error).__name__, error=error)
        ) from error
    return {"decision": decision}


async def resolve_all(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Choose one option, for one reason, for a page of the open pendencies of a ``rule``.

    Filters: ``category``, ``owner``, ``severity``. Give ``after`` back until it is null.
    """
    rule, option = _text(args, "rule"), _text(args, "option")
    person = await verified(node, args)
    filters = {**_filters(args), "rule": rule, "status": "open"}
    limit, after = page_limit(args), args.get("after")

    def read(view: View) -> tuple[int, tuple[list[PendencyRow], str | None]]:
        _refuse_unknown(node, view, filters)
        return view.count_pendencies(**filters), page_of(view, filters, after, limit)

    total, (rows, cursor) = await node.ledger.storage.read(read)
    why, values = _text(args, "why"), _values(args)
    if after is None and rows:
        # What is wrong with the request is wrong for all: it is said once, before anything is written.
        node.resolutions.choose(rows[0], option, values, why)
    decided, refused = await node.resolutions.resolve_all(rows, option, why=why, person=person, values=values)
    said = {name: form for name, text in refused.items() if (form := to_form(text))}
    return {"total": total, "decisions": decided, "refused": refused, "said": said, "after": cursor}


async def undo(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Withdraw a ``decision`` by a further fact, with its ``why``; what its option wrote stays written."""
    person = await verified(node, args)
    made = await node.resolutions.undo(_text(args, "decision"), why=_text(args, "why"), person=person)
    return {"act": made}


async def seen(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Say that a ``person`` has seen a ``pendency``."""
    person = await verified(node, args)
    return {"act": await node.resolutions.see(_text(args, "pendency"), person=person)}


async def note(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Add a ``text`` to a ``pendency``."""
    person = await verified(node, args)
    made = await node.resolutions.note(_text(args, "pendency"), _text(args, "text"), person=person)
    return {"act": made}


async def person(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Who a ``person`` is; with ``name`` or ``new_pin`` they are added or changed.

    To change a PIN takes the present ``pin``, except at Gestão, which helps who forgot it.
    """
    key = _text(args, "person")
    name, new_pin = args.get("name"), args.get("new_pin")
    if name is not None or new_pin is not None:
        known = await node.get(Person, key)
        if (
            known is not None
            and known.pin_hash
            and new_pin is not None
            and node.config.role is not Role.GESTAO
        ):
            await _check_pin(known, args.get("pin"), "--old-pin")
        hashed = None if new_pin is None else await asyncio.to_thread(hash_pin, _new_pin(new_pin))
        async with node.transaction(actor=key) as tx:
            found = await tx.find(Person, key)
            if found is None:
                found = tx.create(Person, id=key, name=name or key)
            elif name is not None:
                found.name = name
            if hashed is not None:
                found.pin_hash = hashed
    known = await node.get(Person, key)
    if known is None:
        raise _unknown(key)
    return {
        "id": key,
        "name": known.name,
        "job": known.job,
        "active": known.active,
        "has_pin": bool(known.pin_hash),
    }


async def verified(node: Node, args: dict[str, Any]) -> str:
    """Return the id of the person of a request, whose PIN was right if they have one.

    Raises:
        BadRequest: nobody is named, or nobody of that name, or the PIN is missing or wrong.
    """
    key = args.get("person")
    if not isinstance(key, str) or not key:
        raise BadRequest(say("nobody is named; say who decides: --person ID, or CRDTSYNC_PERSON"))
    known = await node.get(Person, key)
    if known is None or not known.active:
        raise _unknown(key)
    if known.pin_hash:
        await _check_pin(known, args.get("pin"))
    return key


def _unknown(key: str) -> BadRequest:
    return BadRequest(
        say(
            "people/{key}: there is no such person here; add them: crdtsync person DIR {key} --name NAME",
            key=key,
        )
    )


async def _check_pin(known: Person, pin: object, option: str = "--pin") -> None:
    if not isinstance(pin, str) or not pin:
        raise BadRequest(
            say("people/{key}: this person has a PIN; say it: {option}", key=known.key, option=option)
        )
    # Off the loop: a hash that is slow on purpose must not hold up a sale.
    if not await asyncio.to_thread(is_pin, known, pin):
        raise BadRequest(say("people/{key}: the PIN is wrong", key=known.key))


def _new_pin(pin: object) -> str:
    if not isinstance(pin, str) or not _PIN_CHARS_MIN <= len(pin) <= _PIN_CHARS_MAX:
        raise BadRequest(
            say("a PIN has {least} to {most} characters", least=_PIN_CHARS_MIN, most=_PIN_CHARS_MAX)
        )
    return pin


def _by_gravity(entry: tuple[tuple[str, str, str], int]) -> tuple[int, str, str]:
    severity, owner, status = entry[0]
    return _ORDER.index(severity), owner, status


def _filters(args: dict[str, Any]) -> dict[str, Any]:
    found = {name: args.get(name) for name in _FILTERS}
    wrong = next(
        (name for name, value in found.items() if value is not None and not isinstance(value, str)), None
    )
    if wrong:
        raise BadRequest(say("{name} = {value}; write a text", name=wrong, value=repr(found[wrong])))
    known = {"severity": _ORDER, "owner": [role.value for role in Role], "status": ["open", "decided", _ANY]}
    found["status"] = found["status"] or "open"
    for name, words in known.items():
        if found[name] is not None and found[name] not in words:
            raise BadRequest(
                say("{name} = {value}; write one of {words}", name=name, value=repr(found[name]), words=words)
            )
    if found["status"] == _ANY:
        found["status"] = None
    return found


def _refuse_unknown(node: Node, view: View, filters: dict[str, Any]) -> None:
    """Refuse a rule or category that is nowhere; one of an adapter that is gone may still have pendencies here.

    Raises:
        BadRequest, UnknownCategory: it names the nearest one.
    """
    rule, category = filters["rule"], filters["category"]
    shapes = node.schema.shapes
    if category is not None and category not in shapes and not view.count_pendencies(category=category):
        node.schema.shape(category)
    rules = {one.code for shape in shapes.values() for one in shape.invariants} | {PARKED_RULE, REMOVAL_RULE}
    if rule is not None and rule not in rules and not view.count_pendencies(rule=rule):
        raise BadRequest(
            say("{rule}: no installed adapter declares this rule{hint}", rule=rule, hint=hint(rule, rules))
        )


def _age(node: Node, args: dict[str, Any]) -> dict[str, int]:
    hours = args.get("older_hours")
    if hours is None:
        return {}
    if type(hours) is not int or not 0 <= hours <= _HOURS_MAX:
        raise BadRequest(
            say("older_hours = {hours}; write a number from 0 to {most}", hours=repr(hours), most=_HOURS_MAX)
        )
    return {"opened_until_ms": node.ledger.clock.now_ms() - hours * _HOUR_MS}


def _text(args: dict[str, Any], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadRequest(say("{name} is missing; write a text", name=name))
    return value


def _values(args: dict[str, Any]) -> dict[str, str]:
    values = args.get("values") or {}
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise BadRequest(say("values are not texts by name"))
    return values


def _row(node: Node, row: PendencyRow) -> dict[str, Any]:
    shape = node.schema.shapes.get(row.category)
    facts = asdict(row)
    facts.pop("evidence")
    records = json.loads(facts.pop("records"))
    return {
        **facts,
        "category_title": shape.title if shape else row.category,
        "keys": [key for _, key in records[:_SHOWN_MAX]],
        "age_seconds": max(0, node.ledger.clock.now_ms() - row.opened_ms) / 1000,
    }


def _held(node: Node, view: View, row: PendencyRow, records: list[Address]) -> list[Address]:
    """The records that wait for a pendency, one more than are shown: those that depend on what an open B shows."""
    if row.severity != Severity.B or row.status != "open":
        return []
    return dependents(node.ledger.rule_book, view, records, _SHOWN_MAX + 1)


def _address(schema: Schema, at: Address) -> dict[str, Any]:
    return {
        "doc": at.doc,
        "category": at.category,
        "category_title": schema.shape(at.category).title,
        "key": at.key,
    }


def _record(schema: Schema, view: View, doc: str, key: str) -> dict[str, Any] | None:
    category = doc.partition("/")[0]
    entity = schema.entities.get(category)
    row = view.get(category, doc, key) if entity else None
    if entity is None or row is None:
        return None
    record: Entity = entity._load(row)
    return {
        "doc": doc,
        "category": category,
        "category_title": entity.__shape__.title,
        "key": key,
        "deleted": record.deleted,
        "values": record.to_plain(),
        "conflicts": plain_conflicts(entity.__shape__, row),
    }


def plain_conflicts(shape: Shape, row: tuple[Any, ...]) -> dict[str, list[Any]]:
    """Return the concurrent values of a row by field, as plain values, the one that shows first."""
    found: dict[str, list[Any]] = json.loads(row[-1]) if row[-1] else {}
    fields = shape.fields
    return {
        name: [fields[name].plain(wire) for wire in wires]
        if name in fields and fields[name].kind is not Kind.SET
        else wires
        for name, wires in found.items()
    }


def _options(node: Node, row: PendencyRow) -> list[dict[str, Any]]:
    rule = rule_of(node.ledger, row)
    allowed = {option.name for option in options_of(node.ledger, row)}
    return [
        {
            "name": option.name,
            "title": option.title,
            "text": option.doc,
            "asks": list(option.asks),
            "suggested": place == 0,
            "allowed": option.name in allowed,
            "by": sorted(option.by) if option.by is not None else None,
            "settles": option.settles,
        }
        for place, option in enumerate(rule.options if rule else ())
    ]


def _act(
    node: Node, row: PendencyRow, act: Decision, acts: list[Decision], names: dict[str, str]
) -> dict[str, Any]:
    rule = rule_of(node.ledger, row)
    titles = {option.name: option.title for option in rule.options} if rule else {}
    return {
        "id": act.key,
        "act": act.act.value,
        "option": act.option,
        "option_title": titles.get(act.option or ""),
        "why": act.why,
        "values": json.loads(act.values) if act.values else {},
        "person": act.person,
        "person_name": names[act.person],
        "at_ms": round(act.at.timestamp() * 1000),
        "withdraws": act.withdraws,
        "withdrawn": any(one.act is Act.DESFEITA and one.withdraws == act.key for one in acts),
        "this_episode": act.episode == row.episode,
    }


def _name(view: View, key: str) -> str:
    rows = find_rows(view, Person.__shape__, key)
    return Person._load(rows[0]).name if rows else key


def _run(view: View, number: int | None) -> dict[str, Any] | None:
    found: list[RunRow] = [] if number is None else view.runs(before=number + 1, limit=1)
    if not found or found[0].id != number:
        return None
    run = found[0]
    return {"id": run.id, "trigger": run.trigger, "started_ms": run.started_ms, "result": run.result}


DECIDING = {
    "pendencies": pendencies,
    "pendency": pendency,
    "resolve": resolve,
    "resolve_all": resolve_all,
    "undo": undo,
    "seen": seen,
    "note": note,
    "person": person,
}
