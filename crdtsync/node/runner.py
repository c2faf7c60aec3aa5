"""A node as a process: open, answer the control socket, stop cleanly when told."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from crdtsync.node.control import ControlServer, Verb
from crdtsync.node.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crdtsync.node.config import NodeConfig


async def run_node(
    config: NodeConfig,
    *,
    verbs: Mapping[str, Verb] | None = None,
    on_ready: Callable[[Node], None] | None = None,
) -> None:
    """Run a node until SIGTERM, SIGINT or the control verb ``stop``; what was accepted is durable by then."""
    async with Node(config) as node:
        control = ControlServer(node, verbs)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows: the control verb and Ctrl-C remain
                loop.add_signal_handler(number, control.stopped.set)
        if on_ready is not None:
            on_ready(node)
        await control.start()
        try:
            await control.stopped.wait()
        finally:
            await control.close()
