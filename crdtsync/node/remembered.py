"""What a node remembers of its link up and of the nodes below over restarts: one small JSON value in its store."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from crdtsync import limits

REMEMBERED_KEY = "link"


@dataclass(slots=True)
class Neighbour:
    """A node below, as it was when it was last heard of; times are ms since 1970.

    Attributes:
        role, store: who it is; None when that was never remembered.
        software: its program and version.
        offset_ms: how far its clock was ahead of this node's corrected one at the last greeting.
        paused_ms: since when it is paused here.
        trouble: what ended its last link, until a check or run with it is whole.
        waiting: records that it lacked when they were last counted; None before that.
        waiting_since_ms: when the oldest of them was written here or came here, to within one run.
    """

    role: str | None = None
    store: str | None = None
    software: str | None = None
    offset_ms: int | None = None
    paused_ms: int | None = None
    trouble: str | None = None
    waiting: int | None = None
    waiting_since_ms: int | None = None


@dataclass(slots=True)
class Remembered:
    """See the module.

    Attributes:
        paused_ms: since when the whole link is paused; None when it is not.
        paused: category -> since when it is paused.
        first: the category to go first.
        manual_ended: uptime (seconds) at which the last manual run ended.
        failed: ``[code, detail, since_ms, settings]`` of a terminal refusal; ``settings`` tells whether they changed.
        to_receive: category -> ``[records, as_of_ms]`` that the node above was found to hold more.
        outbox_since: category -> when its oldest record to send was written, to within one run.
        heard: device below, or ``""`` for the node above -> when it was last heard of.
        paused_above_ms: since when the node above refuses this one because a person paused it there.
        below: device below -> what is known of it.
        lanes: ``store/device`` of a node below one below -> when its newest record came here.
    """

    paused_ms: int | None = None
    paused: dict[str, int] = field(default_factory=dict)
    first: str | None = None
    manual_ended: float | None = None
    failed: list[Any] | None = None
    to_receive: dict[str, list[int]] = field(default_factory=dict)
    outbox_since: dict[str, int] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    paused_above_ms: int | None = None
    below: dict[str, Neighbour] = field(default_factory=dict)
    lanes: dict[str, int] = field(default_factory=dict)

    def forget_gone(self, now_ms: int) -> None:
        """Forget the nodes below that count as gone; one that a person paused would come back as if nobody had."""
        for device, one in list(self.below.items()):
            if one.paused_ms is None and now_ms - self.heard.get(device, now_ms) > limits.GONE_MS:
                del self.below[device], self.heard[device]

    def dump(self) -> bytes:
        """Return the bytes that ``load`` reads."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def load(cls, data: bytes | None) -> Remembered:
        """Read what ``dump`` wrote; what a newer version added is left out."""
        found = _known(cls, json.loads(data) if data else {})
        below = found.pop("below", {})
        memory = cls(**found)
        memory.below = {device: Neighbour(**_known(Neighbour, facts)) for device, facts in below.items()}
        for device in memory.heard:
            if device:
                memory.below.setdefault(device, Neighbour())
        return memory


def _known(kind: type, found: dict[str, Any]) -> dict[str, Any]:
    names = {entry.name for entry in fields(kind)}
    return {name: value for name, value in found.items() if name in names}
