"""Alerts: what a person should know of this machine and its links, as a pure function of what is known and the time.

They are local and not replicated; what every node must see is a pendency. Nothing here reads a clock or a disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from crdtsync import limits
from crdtsync.node.ending import in_words
from crdtsync.said import say

if TYPE_CHECKING:
    from collections.abc import Mapping

_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000
_ORDER = "BAMI"


class AlertCode(StrEnum):
    """What an alert is about."""

    STOPPED = "stopped"
    LINK_FAILED = "link_failed"
    DISK_FULL = "disk_full"
    OLD_RECORDS = "old_records"
    SILENT_ABOVE = "silent_above"
    SILENT_DEVICE = "silent_device"
    PAUSED = "paused"
    LINK_TROUBLE = "link_trouble"
    CLOCK_WRONG = "clock_wrong"
    INCOMPATIBLE = "incompatible"
    ALREADY_CONNECTED = "already_connected"
    CLAIMS_OWN_LOG = "claims_own_log"
    WAITING_DEVICE = "waiting_device"
    QUARANTINE = "quarantine"
    STORE_REFUSED = "store_refused"
    DESCRIPTORS = "descriptors"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. ``severity`` is B, A, M or I as a pendency's; ``since_ms`` None when that is not known."""

    code: AlertCode
    severity: str
    subject: str
    since_ms: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Known:
    """What alerts are derived from; times are ms since 1970.

    Attributes:
        folder: where the store is.
        upstream: address of the node above, or None.
        stopped: the node does not run, and its store was opened only to look at it.
        connected: it answers now.
        failed: ``(code, detail, since)`` of a link that stopped trying.
        heard_above: when it was last heard of; None: never.
        heard_below: device -> when it was last heard of.
        connected_below: devices connected now.
        outbox_since: category -> when its oldest record to send was written.
        paused_ms: since when the link is paused.
        paused_above_ms: since when the node above pauses this one.
        paused_below: device -> since when it is paused here.
        paused: category -> since when it is paused.
        trouble: what ended the link up last, until a run ends well.
        skews: device -> how far ahead its clock is, ms; "" is this machine's.
        incompatible: (category, device) -> why they do not exchange it.
        doubled: device below -> when a second connection of it was refused last.
        claimed: device below -> when it claimed more of this node's own log than this node has.
        waiting: device below -> since when it waits for a person to approve it.
        disk_free, disk_total: bytes; None when the system does not say.
        quarantined: document -> why it is set apart, since when.
        salvaged: document -> how many batches wait for the node above since its repair.
        broken: what is wrong with the store's file as a whole.
        store_refused: why the disk refuses writes now, since when; None when it takes them.
        descriptors: open file descriptors of this process and how many it may have; None when the system does not say.
    """

    folder: str
    upstream: str | None = None
    stopped: bool = False
    connected: bool = False
    failed: tuple[str, str, int] | None = None
    heard_above: int | None = None
    heard_below: Mapping[str, int] = field(default_factory=dict)
    connected_below: frozenset[str] = frozenset()
    outbox_since: Mapping[str, int] = field(default_factory=dict)
    paused_ms: int | None = None
    paused_above_ms: int | None = None
    paused_below: Mapping[str, int] = field(default_factory=dict)
    paused: Mapping[str, int] = field(default_factory=dict)
    trouble: str | None = None
    skews: Mapping[str, int] = field(default_factory=dict)
    incompatible: Mapping[tuple[str, str], str] = field(default_factory=dict)
    doubled: Mapping[str, int] = field(default_factory=dict)
    claimed: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    disk_free: int | None = None
    disk_total: int | None = None
    quarantined: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    salvaged: Mapping[str, int] = field(default_factory=dict)
    broken: str | None = None
    store_refused: tuple[str, int] | None = None
    descriptors: tuple[int, int] | None = None


def alerts(known: Known, now_ms: int, *, silent_minutes: float, old_hours: float) -> list[Alert]:
    """Return the alerts of a moment, most severe first."""
    found = [
        *_link(known, now_ms, silent_minutes),
        *_below(known, now_ms, silent_minutes),
        *_differences(known),
        *_strangers(known),
        *_damage(known),
    ]
    if known.stopped:
        told = say("nothing is sent or received until it is started")
        found.append(Alert(AlertCode.STOPPED, "B", known.folder, None, told))
    if known.disk_free is not None and known.disk_total:
        detail, low = disk_state(known.disk_free, known.disk_total)
        if low:
            found.append(Alert(AlertCode.DISK_FULL, "B", known.folder, None, detail))
    if known.store_refused is not None:
        why, since = known.store_refused
        found.append(Alert(AlertCode.STORE_REFUSED, "B", known.folder, since, why))
    if known.descriptors is not None:
        used, most = known.descriptors
        if 100 * used >= limits.DESCRIPTORS_PERCENT_MAX * most:
            detail = say(
                "{used} of {most} file descriptors are in use; more connections are refused; selling goes on",
                used=used,
                most=most,
            )
            found.append(Alert(AlertCode.DESCRIPTORS, "A", known.folder, None, detail))
    for category, since in sorted(known.outbox_since.items()):
        age = now_ms - since
        if age > old_hours * _HOUR_MS:
            detail = say("a record to send is {hours} hours old", hours=age // _HOUR_MS)
            found.append(Alert(AlertCode.OLD_RECORDS, "A", category, since, detail))
    for category, since in sorted(known.paused.items()):
        if now_ms - since > limits.ALERT_PAUSED_MS:
            found.append(Alert(AlertCode.PAUSED, "M", category, since, say("it does not synchronize")))
    return sorted(found, key=lambda alert: (_ORDER.index(alert.severity), alert.code, alert.subject))


def disk_state(free: int, total: int) -> tuple[str, bool]:
    """Say how many bytes of a disk are free, and whether that is too little."""
    percent = 100 * free // total
    low = free < limits.DISK_FREE_BYTES_MIN or percent < limits.DISK_FREE_PERCENT_MIN
    return say("{free} MB free, {percent} % of the disk", free=free // 1_000_000, percent=percent), low


def _link(known: Known, now_ms: int, silent_minutes: float) -> list[Alert]:
    if known.upstream is None:
        return []
    if known.failed is None and known.trouble is not None:
        return [Alert(AlertCode.LINK_TROUBLE, "A", known.upstream, None, known.trouble)]
    if known.failed is not None:
        code, detail, since = known.failed
        return [Alert(AlertCode.LINK_FAILED, "B", known.upstream, since, in_words(code, detail))]
    if known.paused_ms is not None:
        if now_ms - known.paused_ms > limits.ALERT_PAUSED_MS:
            return [
                Alert(AlertCode.PAUSED, "M", known.upstream, known.paused_ms, say("nothing synchronizes"))
            ]
        return []
    if known.paused_above_ms is not None and now_ms - known.paused_above_ms > limits.ALERT_PAUSED_MS:
        detail = say("the node above paused this one; it must be resumed there")
        return [Alert(AlertCode.PAUSED, "M", known.upstream, known.paused_above_ms, detail)]
    heard = known.heard_above
    # Who does not run hears nobody: that says nothing of the others, here and below.
    if (
        known.stopped
        or known.connected
        or (heard is not None and now_ms - heard <= silent_minutes * _MINUTE_MS)
    ):
        return []
    detail = say("it was never heard of") if heard is None else _silence(now_ms - heard)
    return [Alert(AlertCode.SILENT_ABOVE, "A", known.upstream, heard, detail)]


def _differences(known: Known) -> list[Alert]:
    """What differs between this node and its neighbours: clocks, and versions of categories."""
    found = []
    for device, skew_ms in known.skews.items():
        if abs(skew_ms) > limits.CLOCK_OFFSET_MS_MAX:
            way = say("ahead") if skew_ms > 0 else say("behind")
            detail = say(
                "its clock is {span} {way}; stamps are corrected, but set it right",
                span=_span(abs(skew_ms)),
                way=way,
            )
            found.append(Alert(AlertCode.CLOCK_WRONG, "M", device or "this machine", None, detail))
    for (category, device), why in known.incompatible.items():
        detail = say(
            "does not synchronize with {device}: {why}; install the same version of its adapter on both",
            device=device,
            why=why,
        )
        found.append(Alert(AlertCode.INCOMPATIBLE, "A", category, None, detail))
    return found


def _damage(known: Known) -> list[Alert]:
    """What of the store cannot be read."""
    found = []
    for doc, (why, since) in known.quarantined.items():
        detail = say(
            "{why}; nothing can be written to it and it does not synchronize; repair it with: crdtsync repair "
            "{folder} {category}",
            why=why,
            folder=known.folder,
            category=doc.partition("/")[0],
        )
        found.append(Alert(AlertCode.QUARANTINE, "B", doc, since, detail))
    for doc, batches in known.salvaged.items():
        detail = say(
            "it was repaired; {n} writes of this node wait until another node was asked for what is missing",
            n=batches,
        )
        found.append(Alert(AlertCode.QUARANTINE, "M", doc, None, detail))
    if known.broken is not None:
        found.append(Alert(AlertCode.QUARANTINE, "B", known.folder, None, known.broken))
    return found


def _below(known: Known, now_ms: int, silent_minutes: float) -> list[Alert]:
    paused = [
        Alert(AlertCode.PAUSED, "M", device, since, say("this node paused it"))
        for device, since in known.paused_below.items()
        if now_ms - since > limits.ALERT_PAUSED_MS
    ]
    return paused + [
        Alert(AlertCode.SILENT_DEVICE, "A", device, heard, _silence(now_ms - heard))
        for device, heard in known.heard_below.items()
        if device not in known.connected_below
        and not known.stopped
        and silent_minutes * _MINUTE_MS < now_ms - heard <= limits.GONE_MS
    ]


def _strangers(known: Known) -> list[Alert]:
    """Who would connect and may not yet."""
    twice = say("two nodes have its key and name; find the copy, and give it a key and a name of its own")
    found = [
        Alert(AlertCode.ALREADY_CONNECTED, "A", device, since, twice)
        for device, since in sorted(known.doubled.items())
    ]
    more = say(
        "it holds more of this node's own log than this node; if this store was put back from a backup, "
        "`crdtsync recover`, else `crdtsync revoke` the device"
    )
    found += [
        Alert(AlertCode.CLAIMS_OWN_LOG, "A", device, since, more)
        for device, since in sorted(known.claimed.items())
    ]
    asks = say("it used a pairing code; compare fingerprints, then `crdtsync approve` or `crdtsync revoke`")
    return found + [
        Alert(AlertCode.WAITING_DEVICE, "M", device, since, asks)
        for device, since in sorted(known.waiting.items())
    ]


def _silence(age_ms: int) -> str:
    return say("not heard of for {minutes} minutes", minutes=age_ms // _MINUTE_MS)


def _span(ms: int) -> str:
    minutes = ms // 60_000
    if minutes < 120:
        return say("{n} minutes", n=minutes)
    if minutes < 48 * 60:
        return say("{n} hours", n=minutes // 60)
    return say("{n} days", n=minutes // (24 * 60))
