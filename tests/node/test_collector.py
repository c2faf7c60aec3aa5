"""A node's process looks for cycles a little at a time, and at everything when nobody works there."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from crdtsync import Role, limits
from crdtsync.node import NodeConfig
from crdtsync.node.runner import run_node
from crdtsync.pendencies.records import Person

if TYPE_CHECKING:
    from pathlib import Path

    from crdtsync.node import Node


class Circle:
    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize("working", [False, True])
async def test_cycles_are_looked_for_in_quiet_hours_alone_and_all_is_as_before_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, working: bool
) -> None:
    monkeypatch.setattr(limits, "COLLECT_SECONDS", 0.05)
    before = gc.get_threshold()
    ready: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
    config = NodeConfig(tmp_path, "gestao", Role.GESTAO, listen=False)
    running = asyncio.create_task(run_node(config, on_ready=ready.set_result))
    node = await ready
    assert gc.get_threshold() == limits.COLLECTOR_THRESHOLDS
    circle = Circle()
    known = weakref.ref(circle)
    gc.collect(0)  # it is young no more, so that only a look at everything finds it
    if working:
        async with node.transaction() as tx:
            tx.create(Person, id="ana", name="Ana")
    del circle
    await asyncio.sleep(0.3)
    assert (known() is not None) is working
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert gc.get_threshold() == before
