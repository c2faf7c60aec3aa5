"""When the screens have something new to show: one number that grows, and who waits for it.

The ledger and the runs say what they did; a link that comes up or a pause tells nobody, so while somebody watches, what
is known of them is compared once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from crdtsync import limits
from crdtsync.node.deciding import open_counts
from crdtsync.schema import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crdtsync.node import Node
    from crdtsync.node.run import Run
    from crdtsync.state.document import Change


class Pulse:
    """See the module. ``closing`` is set when the node is about to close: streams end then."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.version = 0
        self.closing = asyncio.Event()
        self.streams = 0
        self._changed = asyncio.Event()
        self._seen: tuple[Any, ...] = ()
        self._told: dict[str, Any] = {"version": -1}
        self._telling = asyncio.Lock()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hear of changes and runs inside the block."""
        node = self._node
        node.ledger.on_change.append(self._on_change)
        node.on_run.append(self._on_run)
        try:
            yield
        finally:
            node.ledger.on_change.remove(self._on_change)
            node.on_run.remove(self._on_run)
            self.closing.set()
            self.beat()

    def _on_change(self, _changes: list[Change]) -> None:
        self.beat()

    def _on_run(self, _run: Run) -> None:
        self.beat()

    def beat(self) -> None:
        """Something may have changed; it is called inside a commit, so it does next to nothing."""
        self.version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def after(self, version: int, seconds: float) -> bool:
        """Wait until the number is another one; False when it was not for so many seconds."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.version == version and not self.closing.is_set():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, limits.MONITOR_WATCH_SECONDS)):
                    await self._changed.wait()
            self._watch()
        return True

    def _watch(self) -> None:
        node = self._node
        memory, run = node.uplink.memory, node.uplink.run_now
        seen = (
            node.connected,
            node.trouble,
            node.initial_done,
            memory.paused_ms,
            tuple(memory.paused),
            memory.first,
            run is not None,
            node.agenda.button()["reason"],
            node.ledger.pendencies_opened,
            node.ledger.pendencies_closed,
            tuple(link.peer.device for link in node.downstream if link.peer),
            tuple(device for device, one in memory.below.items() if one.paused_ms is not None),
        )
        if seen != self._seen:
            before, self._seen = self._seen, seen
            if before:
                self.beat()

    async def facts(self) -> dict[str, Any]:
        """Return what a stream says of this moment; however many streams there are, it is read once for a number."""
        self._watch()
        async with self._telling:
            if self._told["version"] != self.version:
                self._told = await self._facts()
            return self._told

    async def _facts(self) -> dict[str, Any]:
        version = self.version
        counts = await self._node.ledger.storage.read(lambda view: view.pendency_counts())
        severities, _owners = open_counts(counts)
        running = self._node.agenda.running()
        return {
            "version": version,
            "connected": self._node.connected,
            "running": running and {name: running[name] for name in ("trigger", "phase", "percent")},
            "percent": running and running["percent"],
            "pendencies": severities.total(),
            "pendencies_by_severity": {one.value: severities[one] for one in Severity},
        }
