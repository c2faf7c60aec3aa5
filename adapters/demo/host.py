"""One node of the demo as a process: a store's program that embeds the framework.

    python -m adapters.demo.host DIR

It adds the demo's verbs (import, stock, sell, still_open, progress) to the node's control socket.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.demo.week import import_catalogue, open_stock, sell
from crdtsync.errors import CrdtsyncError
from crdtsync.node import Node, load_config
from crdtsync.node.runner import Service, run_node

if TYPE_CHECKING:
    from crdtsync.node.run import Moved, Run

Verb = Callable[[Node, dict[str, Any]], Awaitable[Any]]


def _moved(parts: dict[str, Moved]) -> dict[str, list[float]]:
    return {name: [part.records, part.total, part.bytes, part.seconds] for name, part in parts.items()}


class Host:
    """The verbs of a demo node, and what it knows of its runs."""

    def __init__(self) -> None:
        self.node: Node | None = None
        self._run: Run | None = None

    def ready(self, node: Node) -> None:
        """Take the open node."""
        self.node = node
        node.on_run.append(self._note)

    def _note(self, run: Run) -> None:
        self._run = run

    def _opened(self) -> Node:
        if self.node is None:
            raise CrdtsyncError("the node is still opening; ask again")
        return self.node

    async def import_(self, args: dict[str, Any]) -> dict[str, int]:
        """Import the catalogue."""
        return await import_catalogue(self._opened(), Path(args["data"]))

    async def stock(self, args: dict[str, Any]) -> int:
        """Write the opening stock."""
        return await open_stock(self._opened(), Path(args["data"]))

    async def sell(self, args: dict[str, Any]) -> dict[str, int]:
        """Sell the lane's week."""
        return await sell(self._opened(), Path(args["data"]), args["lane"], args["lanes"])

    async def still_open(self, args: dict[str, Any]) -> list[str]:
        """Tell which of these pendencies are open here."""
        found = [await self._opened().pendency(name) for name in args["pendencies"]]
        return [row.id for row in found if row is not None and row.status == "open"]

    async def progress(self, _args: dict[str, Any]) -> dict[str, Any]:
        """Say how far the node is: link, runs, the run going on, heads digests, totals."""
        node = self._opened()
        ledger = node.ledger
        run = self._run
        return {
            "connected": node.connected,
            "initial_done": node.initial_done,
            "runs": node.runs,
            "trouble": node.trouble,
            "down": _moved(run.down) if run else {},
            "up": _moved(run.up) if run else {},
            "digests": {doc: ledger.digest_of(doc).hex() for doc in ledger.heads if ledger.heads[doc]},
            "totals": [
                [category, direction, part.records, part.bytes, part.seconds]
                for (category, direction), part in node.totals.items()
            ],
        }


def main() -> int:
    """Run the node until it is told to stop."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    host = Host()
    verbs = {
        "import": host.import_,
        "stock": host.stock,
        "sell": host.sell,
        "still_open": host.still_open,
        "progress": host.progress,
    }
    try:
        config = load_config(Path(sys.argv[1]))
        services: list[Service] = []
        if config.monitor:
            # Ten processes start at once, and without pages none of them needs it.
            from crdtsync.monitor.serve import service  # noqa: PLC0415

            services.append(service)
        asyncio.run(run_node(config, verbs=verbs, on_ready=host.ready, services=services))
    except CrdtsyncError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
