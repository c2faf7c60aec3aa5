"""A node as a process: open, answer the control socket, stop cleanly when told."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from crdtsync import limits
from crdtsync.node.control import ControlServer, Verb
from crdtsync.node.ledger import stop_task
from crdtsync.node.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import FrameType

    from crdtsync.node.config import NodeConfig


Service = Callable[[Node], AbstractAsyncContextManager[object]]
"""What runs beside an open node, as a context; it may raise while it is entered, and then the node does not run."""


async def run_node(
    config: NodeConfig,
    *,
    verbs: Mapping[str, Verb] | None = None,
    on_ready: Callable[[Node], None] | None = None,
    services: Iterable[Service] = (),
) -> None:
    """Run a node until SIGTERM, SIGINT or the control verb ``stop``; what was accepted is durable by then.

    ``services`` are what else this process does with the open node: each is entered when it is open and left before it
    closes. ``on_ready`` is called once the store is open, the port listens, the services are entered and the control
    socket answers.
    """
    stop = asyncio.Event()
    with _stopped_by_signals(stop), seldom_collected():
        async with Node(config) as node, contextlib.AsyncExitStack() as stack:
            for service in services:
                await stack.enter_async_context(service(node))
            control = ControlServer(node, verbs)
            collecting = asyncio.create_task(_collect_in_quiet(node))
            try:
                await control.start()
                # No await in between: the first caller is served after the host has its node.
                if on_ready is not None:
                    on_ready(node)
                await _first_of(stop, control.stopped)
            finally:
                await stop_task(collecting)
                await control.close()


@contextlib.contextmanager
def seldom_collected() -> Iterator[None]:
    """Let Python look for cycles a little at a time. A node holds many records for long and makes few cycles.

    With Python's own thresholds a fifth of a bulk load is spent on it, and a look at everything that is in memory, which
    takes 30 ms and more, falls into the middle of sales.
    """
    before = gc.get_threshold()
    gc.set_threshold(*limits.COLLECTOR_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def _collect_in_quiet(node: Node) -> None:
    """Look at everything when nobody works here: what few cycles there are do not pile up over months."""
    while True:
        await asyncio.sleep(limits.COLLECT_SECONDS)
        if not node.ledger.at_work:
            gc.collect()


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()


@contextlib.contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT set an event instead of ending the process."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may take signals; a host that runs a node elsewhere says stop.
        yield
        return
    loop = asyncio.get_running_loop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop.set)

    # signal.signal and not the loop's own handler: it works on Windows too.
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
