"""What a person can ask of an open node, as functions from plain arguments to plain results.

The control socket and the command line call the same functions, so a verb answers alike whether the node runs or not.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from crdtsync.errors import DocumentQuarantined, FieldError, RecordMissing, StoreCorrupt
from crdtsync.node.compare import COMPARE
from crdtsync.node.deciding import DECIDING, open_counts
from crdtsync.node.enrolment import ENROLMENT
from crdtsync.node.lineage import log
from crdtsync.node.network import NETWORK
from crdtsync.node.node import Node
from crdtsync.node.repair import repair
from crdtsync.node.tracking import TRACKING, alerts_of, heard_below
from crdtsync.node.transaction import find_rows
from crdtsync.said import say
from crdtsync.schema import Counter, Entity, Kind, Role, Set, Severity, Shape
from crdtsync.schema.entity import hint
from crdtsync.schema.shape import KEY_SEPARATOR

if TYPE_CHECKING:
    from crdtsync.storage.base import View

_ASSIGNMENT = re.compile(r"(?P<name>\w+)(?P<how>\+=|-=|=)(?P<text>.*)", re.DOTALL)

Verb = Callable[[Node, dict[str, Any]], Awaitable[Any]]


async def status(node: Node, _args: dict[str, Any]) -> dict[str, Any]:
    """What `standing` says, and the records of each category: to count them reads all their tables."""
    categories = list(node.schema.shapes)
    counts = await node.ledger.storage.read(lambda view: {name: view.count(name) for name in categories})
    return {**await standing(node), "records": {name: count for name, count in counts.items() if count}}


async def standing(node: Node) -> dict[str, Any]:
    """Identity, link, records waiting per category, pendencies, alerts: what costs the same however much is stored."""
    ledger = node.ledger
    pendencies = await ledger.storage.read(lambda view: view.pendency_counts())
    severities, owners = open_counts(pendencies)
    return {
        "device": node.config.device,
        "role": node.config.role.value,
        "store": node.config.store,
        "account": node.config.account,
        "replica": f"{ledger.replica:x}",
        "upstream": node.config.upstream,
        "connected": node.connected,
        "trouble": node.trouble,
        "initial_done": node.initial_done,
        "link": node.agenda.link(),
        "below": sorted(link.peer.device for link in node.downstream if link.peer),
        "heard_ms": heard_below(node),
        "alerts": [
            say("{code}: {subject}: {detail}", code=one.code, subject=one.subject, detail=one.detail)
            for one in alerts_of(node)
        ],
        "documents": len(ledger.heads),
        "loaded": len(ledger.loaded()),
        "waiting": {} if node.config.role is Role.GESTAO else await node.waiting(),
        "pendencies": severities.total(),
        "pendencies_by_severity": {one.value: severities[one] for one in Severity if severities[one]},
        "pendencies_by_owner": {one.value: owners[one] for one in Role if owners[one]},
    }


async def digests(node: Node, args: dict[str, Any]) -> dict[str, str]:
    """The canonical digest of every document's folded state; of ``docs`` only, when given. Not of those in quarantine."""
    held = sorted(doc for doc, heads in node.ledger.heads.items() if heads and node.ledger.shape_of(doc))
    held = [doc for doc in held if doc not in node.ledger.quarantine.held]
    if args.get("docs") is not None:
        held = [doc for doc in held if doc in args["docs"]]
    return {doc: (await node.ledger.state_digest(doc)).hex() for doc in held}


async def show(node: Node, args: dict[str, Any]) -> list[dict[str, Any]]:
    """Records of a category as plain values, at most ``limit``; with ``key`` those that have it, in every store.

    ``store`` leaves out those of other stores. With ``key``, ``_waits_for`` names the B pendencies that block the record.
    """
    entity = node.schema.entity(args["category"])
    key, store = args.get("key"), args.get("store")
    if key is None:
        found = await node.find(entity, limit=args.get("limit", 20), in_store=store)
        return [_plain(record) for record in found]
    rows = await node.ledger.storage.read(lambda view: find_rows(view, entity.__shape__, key, store))
    records = [entity._load(row) for row in sorted(rows) if not row[-2]]
    if not records:
        raise RecordMissing(entity.__category__, key)
    shown: list[dict[str, Any]] = []
    for one in records:
        waits = await node.waits_for(entity, key, doc=one.doc)
        shown.append(_plain(one) | ({"_waits_for": waits} if waits else {}))
    return shown


def _plain(record: Entity) -> dict[str, Any]:
    return {"_document": record.doc, **record.to_plain()}


async def set_(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Create or edit one record: ``assignments`` such as ``price=12.90``, ``balance-=1``, ``tags+=new``.

    ``store`` says whose record it is, at a node that has several stores'.
    """
    entity = node.schema.entity(args["category"])
    keys = read_key(entity.__shape__, args["key"])
    key = entity.__shape__.key_text(keys)
    plain, moves = _read_assignments(entity, args["assignments"])
    store = args.get("store")
    async with node.transaction(actor=args.get("actor", "cli")) as tx:
        record = await tx.find(entity, key, in_store=store)
        if record is None:
            record = tx.create(entity, in_store=store, **keys, **plain)
        else:
            if record.deleted:
                record.restore()
            for name, value in plain.items():
                setattr(record, name, value)
        for name, how, text in moves:
            _move(record, name, how, text)
    written = await node.get(entity, record.key, doc=record.doc)
    return _plain(written) if written is not None else {}


def read_key(shape: Shape, key: str) -> dict[str, Any]:
    """Return the key fields' values of a key that a person wrote."""
    parts = key.split(KEY_SEPARATOR) if len(shape.keys) > 1 else [key]
    if len(parts) != len(shape.keys):
        names = KEY_SEPARATOR.join(field.name for field in shape.keys)
        raise FieldError(
            shape.category, "key", say("{key} is not of the form {names}", key=repr(key), names=names)
        )
    return {field.name: field.parse(part) for field, part in zip(shape.keys, parts, strict=True)}


def _read_assignments(
    entity: type[Entity], assignments: list[str]
) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    fields = entity.__shape__.fields
    plain: dict[str, Any] = {}
    moves: list[tuple[str, str, str]] = []
    for assignment in assignments:
        match = _ASSIGNMENT.fullmatch(assignment)
        if match is None:
            raise FieldError(
                entity.__category__, assignment, say("write field=value, field+=value or field-=value")
            )
        name, how, text = match["name"], match["how"], match["text"]
        if name not in fields:
            raise FieldError(
                entity.__category__, name, say("there is no such field{hint}", hint=hint(name, fields))
            )
        if fields[name].kind in {Kind.COUNTER, Kind.SET}:
            moves.append((name, how, text))
        elif how != "=":
            raise FieldError(
                entity.__category__,
                name,
                say("{how} is for counters and sets; write {name}=value", how=how, name=name),
            )
        else:
            plain[name] = fields[name].parse(text) if text else None
    return plain, moves


def _move(record: Entity, name: str, how: str, text: str) -> None:
    field = record.__shape__.fields[name]
    bound = getattr(record, name)
    if isinstance(field, Counter):
        amount = field.parse(text)
        {"+=": bound.add, "-=": bound.subtract, "=": bound.count}[how](amount)
    elif isinstance(field, Set) and how != "=":
        {"+=": bound.add, "-=": bound.discard}[how](field.parse(text))
    else:
        raise FieldError(record.__category__, name, say("is a set: write += or -="))


async def verify(node: Node, watch: Callable[[int, int], None]) -> dict[str, Any]:
    """Check every checksum, fold every document again, compare it with the read model; ``watch`` sees the progress."""
    ledger = node.ledger
    findings = await ledger.storage.read(lambda view: view.integrity())
    held = sorted(doc for doc, heads in ledger.heads.items() if heads and ledger.shape_of(doc))
    found: dict[str, str] = {}
    records = 0
    for done, doc in enumerate(held, 1):
        watch(done, len(held))
        try:
            rows, digest = await ledger.refold(doc)
            findings += await ledger.storage.read(partial(_compare, doc=doc, rows=rows))
        except DocumentQuarantined as error:
            findings.append(f"{doc}: in quarantine: {error.why}")
        except StoreCorrupt as error:
            findings.append(f"{doc}: {error}")
        else:
            found[doc] = digest.hex()
            records += len(rows)
    return {"findings": findings, "digests": found, "records": records}


def _compare(view: View, doc: str, rows: list[tuple[Any, ...]]) -> list[str]:
    stored = {row[1]: row for row in view.select(doc.partition("/")[0], doc=doc, include_deleted=True)}
    wrong = [
        f"{doc}/{row[1]}: the record shown is not what the log says"
        for row in rows
        if stored.get(row[1]) != row
    ]
    extra = stored.keys() - {row[1] for row in rows}
    return wrong + [f"{doc}/{key}: a record is shown that the log does not have" for key in sorted(extra)]


NEED_STORE = frozenset(
    {
        *("status", "digests", "show", "log", "repair"),
        *("queue", "queue_records", "history", "alerts", "network", "devices"),
        *COMPARE,
        *DECIDING.keys() - {"person"},
    }
)
"""Verbs about what is stored: where there is no store they must not make one. The others prepare a node before it runs."""

BUILT_IN: dict[str, Verb] = {
    "status": status,
    "digests": digests,
    "show": show,
    "set": set_,
    "log": log,
    "repair": repair,
    **COMPARE,
    **DECIDING,
    **ENROLMENT,
    **NETWORK,
    **TRACKING,
}
