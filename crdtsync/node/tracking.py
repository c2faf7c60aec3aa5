"""The verbs of the tracking screen: synchronize now, the queue, the history, alerts, pause and resume.

Plain arguments in, plain results out, as ``docs/synchronization.md`` lists them. The control socket, the command line
and the page call the same functions.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from crdtsync.errors import BadRequest
from crdtsync.node.agenda import DIRECTIONS, Entry, Waiting, later_ms
from crdtsync.node.alerts import Alert, Known
from crdtsync.node.alerts import alerts as derive
from crdtsync.node.descriptors import descriptors
from crdtsync.node.ending import from_text
from crdtsync.node.page import page_limit
from crdtsync.said import say, to_form
from crdtsync.schema.roles import Role

if TYPE_CHECKING:
    from crdtsync.node.node import Node
    from crdtsync.node.remembered import Remembered
    from crdtsync.storage.base import RunRow

_DAYS = 4
_DAYS_MAX = 3660
# One is going on; those that a kill cut have no end.
_NEWEST_RUNS = 10


async def sync(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """*Sincronizar agora*; ``wait`` for the end of the run, ``first`` names the category to go first."""
    uplink = node.uplink
    before = uplink.above
    answer = await uplink.press(args.get("first"))
    row = uplink.history.row if answer.accepted else None
    if answer.accepted and args.get("wait"):
        row = await uplink.over()
    seconds = answer.seconds
    return {
        "accepted": answer.accepted,
        "reason": answer.reason.value if answer.reason else None,
        "available_ms": later_ms(uplink.now().wall_ms, seconds),
        "available_seconds": seconds,
        "run": _run(node, row) if row is not None and row.id else None,
        "above": None if uplink.above is before else uplink.above,
    }


async def check(node: Node, _args: dict[str, Any]) -> bool:
    """Compare heads with the upstream now, for a program; tell whether there is a link."""
    return node.request_check()


async def queue(node: Node, _args: dict[str, Any]) -> dict[str, Any]:
    """*Próximas sincronizações*: the link, the button, the next check, the run going on, and what waits by category."""
    agenda, uplink = node.agenda, node.uplink
    entries = await agenda.entries()
    return {
        "now_ms": uplink.now().wall_ms,
        "time_zone": node.config.time_zone,
        "link": agenda.link(),
        "initial_done": uplink.initial_done,
        "button": agenda.button(),
        "next": agenda.next_check(),
        "running": agenda.running(),
        "first": uplink.memory.first,
        "last": await _last(node),
        "above": uplink.above,
        "categories": [_entry(node, entry) for entry in entries],
    }


async def _last(node: Node) -> dict[str, Any] | None:
    """The newest run that ended."""
    rows = await node.ledger.storage.read(lambda view: view.runs(limit=_NEWEST_RUNS))
    ended = next((row for row in rows if row.ended_ms is not None), None)
    if ended is None:
        return None
    return {
        "id": ended.id,
        "trigger": ended.trigger,
        "ended_ms": ended.ended_ms,
        "result": ended.result,
    }


async def queue_records(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """One page of the records that wait: ``category``, ``direction``, ``limit``, ``after``."""
    direction = args.get("direction")
    if direction not in {None, *DIRECTIONS}:
        raise BadRequest(say("direction = {direction}; write download or upload", direction=repr(direction)))
    records, after, total = await node.agenda.records(
        category=args.get("category"), direction=direction, after=args.get("after"), limit=page_limit(args)
    )
    return {"records": [_waiting(record) for record in records], "after": after, "total": total}


async def history(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """*Histórico de sincronizações*: the runs of the last ``days``, newest first; ``limit`` and ``before`` page it.

    With ``hours`` also the records moved in each hour (``[ms of its beginning, records]``) of all these days, on every page.
    """
    days = args.get("days", _DAYS)
    if type(days) is not int or not 0 < days <= _DAYS_MAX:
        raise BadRequest(
            say("days = {days}; write a number from 1 to {most}", days=repr(days), most=_DAYS_MAX)
        )
    zone = ZoneInfo(node.config.time_zone)
    now = datetime.fromtimestamp(node.ledger.clock.now_ms() / 1000, zone)
    first = datetime.combine(now.date() - timedelta(days=days - 1), datetime.min.time(), zone)
    limit, before = page_limit(args, 200), args.get("before")
    since_ms = round(first.timestamp() * 1000)
    rows, hours = await node.ledger.storage.read(
        lambda view: (
            view.runs(since_ms=since_ms, before=before, limit=limit + 1),
            {"hours": view.moved_by_hour(since_ms)} if args.get("hours") else {},
        )
    )
    page = rows[:limit]
    return {
        "time_zone": node.config.time_zone,
        "today": now.date().isoformat(),
        "runs": [_run(node, row) for row in page],
        "before": page[-1].id if len(rows) > limit else None,
        **hours,
    }


async def alerts(node: Node, _args: dict[str, Any]) -> dict[str, Any]:
    """What a person should know of this machine and its links."""
    return {"alerts": [_alert(alert) for alert in alerts_of(node)]}


def alerts_of(node: Node) -> list[Alert]:
    """Return the alerts of this moment."""
    config = node.config
    return derive(
        _known(node),
        node.ledger.clock.now_ms(),
        silent_minutes=config.alert_silent_minutes,
        old_hours=config.alert_old_hours,
    )


def heard_below(node: Node) -> dict[str, int]:
    """Return the devices below, each with when it was last heard of, in ms since 1970."""
    heard = {device: when for device, when in node.uplink.memory.heard.items() if device}
    heard |= {link.peer.device: link.heard_ms for link in node.downstream if link.peer}
    return heard


def _known(node: Node) -> Known:
    gone = node.admission.revoked()
    free = total = None
    try:
        disk = shutil.disk_usage(node.config.folder)
        free, total = disk.free, disk.total
    except OSError:
        # A store in memory has no disk.
        pass
    return Known(
        folder=str(node.config.folder),
        upstream=(node.stopped or node.config).upstream,
        stopped=node.stopped is not None,
        connected=node.connected,
        **of_memory(node.uplink.memory),
        heard_below={device: when for device, when in heard_below(node).items() if device not in gone},
        connected_below=frozenset(link.peer.device for link in node.downstream if link.peer),
        trouble=node.uplink.refused,
        skews={
            "": -node.ledger.hlc.offset_ms,
            **{link.peer.device: link.skew_ms for link in node.downstream if link.peer is not None},
        },
        incompatible={
            (category, link.peer.device): why
            for link in (node.upstream, *node.downstream)
            if link is not None and link.peer is not None
            for category, why in sorted(link.incompatible.items())
        },
        doubled=node.admission.lately(node.admission.doubled),
        claimed=node.admission.lately(node.admission.claimed),
        waiting=node.admission.waiting(),
        disk_free=free,
        disk_total=total,
        quarantined=node.ledger.quarantine.held,
        salvaged={
            doc: sum(len(beyond.batches) for beyond in logs.values())
            for doc, logs in node.ledger.quarantine.salvaged.items()
        },
        broken=node.ledger.quarantine.broken,
        store_refused=node.ledger.storage.refusal,
        descriptors=descriptors(),
    )


def of_memory(memory: Remembered) -> dict[str, Any]:
    """Return those attributes of `Known` that a node remembers over restarts."""
    return {
        "failed": tuple(memory.failed[:3]) if memory.failed else None,
        "heard_above": memory.heard.get(""),
        "outbox_since": memory.outbox_since,
        "paused_ms": memory.paused_ms,
        "paused_above_ms": memory.paused_above_ms,
        "paused_below": {
            device: one.paused_ms for device, one in memory.below.items() if one.paused_ms is not None
        },
        "paused": memory.paused,
    }


async def pause(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Let a ``category`` stand still, or the whole link; local capture goes on.

    Raises:
        BadRequest: there is nothing above a head office; it pauses nodes below.
    """
    if node.config.role is Role.GESTAO:
        raise BadRequest(
            say("there is nothing above this node; name one below it: crdtsync pause DIR --node NAME")
        )
    await node.uplink.pause(args.get("category"))
    return _paused(node)


async def resume(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Undo ``pause``; with no category, also try a failed link again."""
    await node.uplink.resume(args.get("category"))
    return _paused(node)


def _paused(node: Node) -> dict[str, Any]:
    memory = node.uplink.memory
    return {"paused": memory.paused_ms is not None, "categories": sorted(memory.paused)}


async def first(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Let a ``category`` go first, as far as what it refers to allows; None takes it back."""
    category = args.get("category")
    await node.uplink.put_first(category)
    download, upload = (list(node.schema.order(direction, category)) for direction in DIRECTIONS)
    before = upload[: upload.index(category)] if category else []
    return {"category": category, "before": before, "download": download, "upload": upload}


def _entry(node: Node, entry: Entry) -> dict[str, Any]:
    return {
        "category": entry.category,
        "title": node.schema.shape(entry.category).title,
        "direction": entry.direction,
        "records": entry.records,
        "moved": entry.moved,
        "total": entry.total,
        "percent": entry.percent,
        "when_ms": entry.when_ms,
        "cause": entry.why.cause.value,
        "turn": entry.why.turn.value,
        "waits_for": list(entry.why.waits_for),
        "waits_for_titles": [node.schema.shape(name).title for name in entry.why.waits_for],
        "paused": entry.paused,
        "since_ms": entry.since_ms,
        "as_of_ms": entry.as_of_ms,
    }


def _waiting(record: Waiting) -> dict[str, Any]:
    return {
        "category": record.category,
        "direction": record.direction,
        "doc": record.doc,
        "key": record.key,
        "cause": record.why.cause.value,
        "turn": record.why.turn.value,
        "waits_for": list(record.why.waits_for),
        "detail": record.detail,
    }


def _run(node: Node, row: RunRow) -> dict[str, Any]:
    zone = ZoneInfo(node.config.time_zone)
    facts = asdict(row)
    facts.pop("link")
    facts["detail"] = from_text(row.detail)
    facts["said"] = to_form(facts["detail"])
    facts["day"] = datetime.fromtimestamp(row.started_ms / 1000, zone).date().isoformat()
    facts["seconds"] = None if row.ended_ms is None else (row.ended_ms - row.started_ms) / 1000
    shapes = node.schema.shapes
    facts["categories"] = [
        asdict(part) | {"title": shapes[part.category].title if part.category in shapes else part.category}
        for part in row.categories
    ]
    return facts


def _alert(alert: Alert) -> dict[str, Any]:
    return asdict(alert) | {"code": alert.code.value, "said": to_form(alert.detail)}


TRACKING = {
    "sync": sync,
    "check": check,
    "queue": queue,
    "queue_records": queue_records,
    "history": history,
    "alerts": alerts,
    "pause": pause,
    "resume": resume,
    "first": first,
}
