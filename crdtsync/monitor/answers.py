"""What was answered to a request that may come again: kept with what it wrote, in the same commit.

A program whose connection broke does not know whether its sale was written. It sends the same request with the same
key, and gets the answer of the first time; nothing is written twice, after a crash neither. The last 1,000 are kept, in
a ring of small values of the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from crdtsync import limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crdtsync.node import Node
    from crdtsync.node.transaction import Transaction
    from crdtsync.storage.base import View

_PREFIX = "monitor.answer."


@dataclass(slots=True)
class _Turn:
    """Who writes with a key now, and how many want to."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0


class Answers:
    """See the module."""

    def __init__(self, node: Node) -> None:
        self._node = node
        # Hash of a key -> the number of its answer; numbers grow, and their rest tells the place in the ring.
        self._numbers: dict[str, int] | None = None
        self._next = 0
        self._turns: dict[str, _Turn] = {}
        self._loading = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[str]:
        """Let one request with a key after the other; give the key's name here."""
        name = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        turn = self._turns.setdefault(name, _Turn())
        turn.wanted += 1
        try:
            async with turn.lock:
                yield name
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[name]

    async def find(self, name: str) -> dict[str, Any] | None:
        """Return what is kept for a key: ``asked``, the digest of the request, and ``answer``."""
        number = (await self._known()).get(name)
        if number is None:
            return None
        raw = await self._node.ledger.storage.read(lambda view: view.meta(_slot(number)))
        kept = _unpacked(raw) if raw else {}
        return kept if kept.get("name") == name else None

    async def keep(self, tx: Transaction, name: str, asked: str, answer: dict[str, Any]) -> int:
        """Keep an answer with what a transaction writes; return its number, for ``kept``."""
        await self._known()
        number, self._next = self._next, self._next + 1
        kept = {"number": number, "name": name, "asked": asked, "answer": answer}
        # An answer repeats itself: its categories and documents are few.
        tx.keep(_slot(number), zlib.compress(json.dumps(kept, separators=(",", ":")).encode()))
        return number

    async def kept(self, name: str, number: int) -> None:
        """The transaction is durable: the answer counts, and the one whose place it took is forgotten."""
        numbers = await self._known()
        gone = number - limits.MONITOR_ANSWERS_KEPT
        for other in [other for other, known in numbers.items() if known == gone]:
            del numbers[other]
        numbers[name] = number

    async def _known(self) -> dict[str, int]:
        async with self._loading:
            if self._numbers is None:
                self._numbers = await self._node.ledger.storage.read(_kept_numbers)
                self._next = max(self._numbers.values(), default=-1) + 1
            return self._numbers


def _unpacked(raw: bytes) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(zlib.decompress(raw))
    return kept


def _slot(number: int) -> str:
    return f"{_PREFIX}{number % limits.MONITOR_ANSWERS_KEPT}"


def _kept_numbers(view: View) -> dict[str, int]:
    """Return what is kept, name -> number. Read beside the loop: the answers may be long."""
    rows = (view.meta(_slot(number)) for number in range(limits.MONITOR_ANSWERS_KEPT))
    found = [_unpacked(row) for row in rows if row is not None]
    return {one["name"]: one["number"] for one in found}
