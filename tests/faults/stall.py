"""A node below that stops reading in the middle of its download, and others that must not notice.

    python -m tests.faults.stall --seconds 3600

The hub is a process that writes ten times a second. One node below reads through a relay that stops; the sockets stay
open. Another one keeps up. A second hub does the same without the node that stops: what a hub takes for its own writes is not
the stall's. Prints one line: seconds, the hub's memory before and the most of it since (MB), by how much more it grew than
the other hub at most (MB), how late the other node was (ms), the hub's own transactions (ms).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from adapters.demo.relay import Relay
from tests.faults.storm import lower_node, start_hub, until_all
from tests.faults.writer import Product
from tests.process import end

if TYPE_CHECKING:
    from crdtsync.state.document import Change

PRODUCTS = 30_000
STALLED_AFTER_BYTES = 100_000
GROWN_BYTES_MAX = 20_000_000
"""What a hub may take more for a node that stalls."""
_SAMPLE_SECONDS = 0.5


@dataclass
class Outcome:
    """What the hub and the other node noticed.

    Attributes:
        before, most: bytes of the hub's memory before, and the most of it since.
        more: by how many bytes it grew more than the hub without a node that stops.
        late: seconds until each change was at the other node.
        took: seconds of each of the hub's own writes.
    """

    before: int = 0
    most: int = 0
    more: int = 0
    late: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)


async def stall(work: Path, seconds: float, products: int) -> Outcome:
    """Let one node stop reading for so long."""
    outcome = Outcome()
    folders = [work / name for name in ("hub", "control")]
    for folder in folders:
        folder.mkdir()
    hubs = await asyncio.gather(*(asyncio.to_thread(start_hub, folder, 0, products) for folder in folders))
    (process, port), (control, control_port) = hubs
    relay = Relay(port, STALLED_AFTER_BYTES)
    await relay.start()
    quick, other = lower_node(work, 1, port, 1), lower_node(work, 3, control_port, 1)
    slow = lower_node(work, 2, relay.port, 1)
    try:
        for node in (quick, other):
            await node.open()
        await until_all([quick, other], lambda node: node.initial_done)
        memory, control_memory = psutil.Process(process.pid), psutil.Process(control.pid)
        outcome.before, control_before = memory.memory_info().rss, control_memory.memory_info().rss
        arrived = asyncio.Event()

        def note(changes: list[Change]) -> None:
            if any(change.category == Product.__category__ for change in changes):
                arrived.set()

        quick.ledger.on_change.append(note)
        await slow.open()
        await relay.stalled.wait()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            arrived.clear()
            began = time.monotonic()
            for node in (quick, other):
                node.request_check()
            await arrived.wait()
            outcome.late.append(time.monotonic() - began)
            grown = memory.memory_info().rss - outcome.before
            outcome.most = max(outcome.most, outcome.before + grown)
            outcome.more = max(outcome.more, grown - (control_memory.memory_info().rss - control_before))
            await asyncio.sleep(_SAMPLE_SECONDS)
        process.terminate()
        said, _ = await asyncio.to_thread(process.communicate)
        outcome.took = json.loads(said.splitlines()[-1])
    finally:
        for hub, _ in hubs:
            end(hub)
        for node in (quick, slow, other):
            await node.close()
        await relay.cut()
    return outcome


def main() -> int:
    """Print what the hub and the other node noticed."""
    parser = argparse.ArgumentParser(description="a node below that stops reading")
    parser.add_argument("--seconds", type=float, default=3600)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        got = asyncio.run(stall(Path(folder), args.seconds, PRODUCTS))
    late, took = (
        statistics.quantiles(sizes, n=100, method="inclusive")[98] * 1e3 for sizes in (got.late, got.took)
    )
    print(
        f"stalled {args.seconds:.0f} s, hub {got.before / 1e6:.0f} MB before, {got.most / 1e6:.0f} MB at most, "
        f"grown by {got.more / 1e6:.0f} MB more than one without, "
        f"the other node's changes p99 {late:.0f} ms, the hub's transactions p99 {took:.1f} ms"
    )
    return 0 if got.more <= GROWN_BYTES_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
