"""A demo node with one more verb, ``compact``, that compacts every log of its own however small it is.

    python compacting_host.py DIR

The product compacts by need only; sixty baskets never need it, and a crash must be survived all the same.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from adapters.demo.host import Host
from crdtsync.errors import CrdtsyncError
from crdtsync.node import load_config
from crdtsync.node.runner import run_node

PATIENCE_SECONDS = 20.0


class CompactingHost(Host):
    async def compact(self, _args: dict[str, Any]) -> list[str]:
        """Compact every document that this node has written to; return their names, once the node above has some."""
        node = self._opened()
        ledger = node.ledger
        own = [doc for doc, heads in sorted(ledger.heads.items()) if ledger.replica in heads]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (done := [doc for doc in own if await ledger.compact(doc)]):
                node.request_check()
                await asyncio.sleep(0.2)
        return done


def main() -> int:
    host = CompactingHost()
    verbs = {
        "import": host.import_,
        "stock": host.stock,
        "sell": host.sell,
        "progress": host.progress,
        "compact": host.compact,
    }
    try:
        asyncio.run(run_node(load_config(Path(sys.argv[1])), verbs=verbs, on_ready=host.ready))
    except CrdtsyncError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
