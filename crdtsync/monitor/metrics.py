"""Figures for Prometheus, in its text form.

Labels are the words of this program, the installed categories and the names of the first nodes below, no more.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import PlainTextResponse

from crdtsync import limits
from crdtsync.monitor.here import NodeHere
from crdtsync.node import Node
from crdtsync.node.network import Row
from crdtsync.node.standing import Standing
from crdtsync.node.tracking import alerts_of
from crdtsync.schema import Severity

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATES = ("open", "decided")
_STORE_SUFFIXES = ("", "-wal", "-shm")
router = APIRouter()
Samples = Iterable[tuple[Mapping[str, str], float]]


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(node: NodeHere) -> PlainTextResponse:
    """Figures of this node for Prometheus."""
    return PlainTextResponse("".join(await _families(node)), media_type=MEDIA_TYPE)


async def _families(node: Node) -> list[str]:
    counts = await node.ledger.storage.read(lambda view: view.pendency_counts())
    entries = await node.agenda.entries()
    now_ms, since = node.ledger.clock.now_ms(), node.uplink.memory.outbox_since.values()
    oldest = max(0, now_ms - min(since)) / 1000 if since else 0.0
    by_state = {
        (severity, state): sum(n for (one, _, at), n in counts.items() if (one, at) == (severity, state))
        for severity in Severity
        for state in _STATES
    }
    told = alerts_of(node)
    below = await node.network.rows()
    states = Counter(row["state"] for row in below)
    return [
        _gauge(
            "oldest_unacknowledged_seconds", "Age of the oldest record that the node above lacks.", oldest
        ),
        _family(
            "records_waiting",
            "gauge",
            "Records to send or to receive.",
            [({"category": one.category, "direction": one.direction}, one.records) for one in entries],
        ),
        _family(
            "pendencies",
            "gauge",
            "Pendencies.",
            [({"severity": severity.value, "status": state}, n) for (severity, state), n in by_state.items()],
        ),
        _family(
            "alerts",
            "gauge",
            "Alerts of this machine and its links.",
            [({"severity": one.value}, sum(alert.severity == one for alert in told)) for one in Severity],
        ),
        _moved(node, "records", "Records that runs moved since the node started."),
        _moved(node, "bytes", "Bytes of updates that runs moved since the node started."),
        _family("runs_total", "counter", "Complete runs since the node started.", [({}, node.runs)]),
        _gauge("connected", "Whether the node above answers.", int(node.connected)),
        _gauge("nodes_below", "Nodes below that are connected.", len(node.downstream)),
        _family(
            "nodes_below_by_state",
            "gauge",
            "Nodes below, as they stand.",
            [({"state": one.value}, states[one.value]) for one in Standing],
        ),
        _of_nodes("silent_seconds", "Time since a node below was heard of.", _silences(below, now_ms)),
        _of_nodes(
            "records_waiting", "Records that a node below lacks, as counted last.", _each(below, "waiting")
        ),
        _of_nodes("pendencies", "Open pendencies of a node below.", _each(below, "pendencies")),
        _gauge("documents", "Documents held.", len(node.ledger.heads)),
        _gauge("documents_loaded", "Documents in memory.", len(node.ledger.loaded())),
        _gauge("store_bytes", "Size of the store's files.", _store_bytes(node)),
    ]


def _of_nodes(what: str, about: str, figures: Mapping[str, float]) -> str:
    measured = sorted(figures)[: limits.MONITOR_NODES_MEASURED_MAX]
    samples = [({"device": device}, figures[device]) for device in measured]
    return _family(f"node_below_{what}", "gauge", about, samples)


def _silences(below: list[Row], now_ms: int) -> dict[str, float]:
    return {one: max(0, now_ms - heard_ms) / 1000 for one, heard_ms in _each(below, "heard_ms").items()}


def _each(below: list[Row], name: str) -> dict[str, int]:
    """What is known of each node, by device."""
    return {row["device"]: row[name] for row in below if row[name] is not None}


def _moved(node: Node, what: str, about: str) -> str:
    totals: dict[str, int] = {"down": 0, "up": 0}
    for (_, direction), part in node.totals.items():
        totals[direction] += getattr(part, what)
    samples = [({"direction": direction}, total) for direction, total in totals.items()]
    return _family(f"moved_{what}_total", "counter", about, samples)


def _store_bytes(node: Node) -> int:
    total = 0
    for suffix in _STORE_SUFFIXES:
        path = node.config.store_path
        try:
            total += path.with_name(path.name + suffix).stat().st_size
        except OSError:
            # A store in memory has no file, and a log that was folded in is gone.
            continue
    return total


def _gauge(name: str, about: str, value: float) -> str:
    return _family(name, "gauge", about, [({}, value)])


def _family(name: str, kind: str, about: str, samples: Samples) -> str:
    lines = [f"# HELP crdtsync_{name} {about}\n", f"# TYPE crdtsync_{name} {kind}\n"]
    lines += [f"crdtsync_{name}{_labels(labels)} {_number(value)}\n" for labels, value in samples]
    return "".join(lines)


def _labels(labels: Mapping[str, str]) -> str:
    told = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{told}}}" if told else ""


def _escaped(value: str) -> str:
    # Of all values only a device's name, which its node chose, may hold these; none holds a line break.
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
