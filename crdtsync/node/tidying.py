"""When a node makes its store and its memory smaller: what is worth it, and when it is in nobody's way.

A compaction and a snapshot are one turn of the ledger's writer each, which a person would wait for. So while people
work here there must be twice as much to do, and a compaction that began while nobody did gives way. Where they leave
no gap the node above never has all of a log, and what it has not is not compacted (``Ledger.compact``): then people
wait, from the moment at which the next upload begins, until it has.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from crdtsync import limits
from crdtsync.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from crdtsync.node.ledger import Ledger

log = logging.getLogger("crdtsync")


class Tidying:
    """See the module."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._uploading = asyncio.Event()

    def upload_begins(self) -> None:
        """The link up is about to read what it sends: all that is written before it reads goes with it."""
        self._uploading.set()

    async def tidy(self, *, copied_soon: bool = False) -> None:
        """Compact and squash what is worth it, and drop documents from memory that were not used since the last time.

        ``copied_soon`` says that what is written now is at the node above within moments.
        """
        ledger = self._ledger
        busy = ledger.at_work
        patience = limits.AT_WORK_PATIENCE if busy else 1
        due = {doc: times for doc in ledger.loaded() if (times := ledger.compaction_due(doc)) > patience}
        compact = partial(ledger.compact, gives_way=not busy)
        left = [doc for doc in due if not await self._tidied(doc, compact)]
        if left and copied_soon and busy:
            await self._compact_between(left, max(due.values()))
        compacted = set() if ledger.at_work else {*due} - {*left}
        for doc in ledger.loaded():
            if doc in compacted or ledger.wants_snapshot(doc, patience):
                await self._tidied(doc, ledger.squash)
        await ledger.drop_unused()

    async def _compact_between(self, docs: list[str], due: float) -> None:
        """Compact while people write without a pause: the next time that all is sent up they wait, but not for long.

        The more there is to compact, the longer: where lanes write more than the node above can take in, nothing else
        would ever end it.
        """
        self._uploading.clear()
        try:
            async with asyncio.timeout(limits.COMPACTION_CHANCE_SECONDS_MAX):
                await self._uploading.wait()
        except TimeoutError:
            # The link stands still; the next round of tidying comes soon.
            return
        with self._ledger.people_held():
            try:
                async with asyncio.timeout(limits.COMPACTION_WAIT_SECONDS * due):
                    await self._ledger.until_copied(docs)
            except TimeoutError:
                return
            for doc in docs:
                await self._tidied(doc, partial(self._ledger.compact, local=False))

    async def _tidied(self, doc: str, step: Callable[[str], Awaitable[bool]]) -> bool:
        """Tell whether the step was done, or never can be: what cannot be tidied is not in the way of others."""
        try:
            return await step(doc)
        except StateError:
            log.exception("%s: it cannot be tidied", doc)
            return True
