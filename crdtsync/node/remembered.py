"""What a node remembers of its link up and of the nodes below over restarts: one small JSON value in its store."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

REMEMBERED_KEY = "link"


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
    """

    paused_ms: int | None = None
    paused: dict[str, int] = field(default_factory=dict)
    first: str | None = None
    manual_ended: float | None = None
    failed: list[Any] | None = None
    to_receive: dict[str, list[int]] = field(default_factory=dict)
    outbox_since: dict[str, int] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Return the bytes that ``load`` reads."""
        facts = {name: getattr(self, name) for name in _NAMES}
        return json.dumps(facts, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def load(cls, data: bytes | None) -> Remembered:
        """Read what ``dump`` wrote; what a newer version added is left out."""
        found = json.loads(data) if data else {}
        return cls(**{name: value for name, value in found.items() if name in _NAMES})


_NAMES = tuple(entry.name for entry in fields(Remembered))
