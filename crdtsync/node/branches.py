"""Branches: what one link received of logs in doubt, kept apart from the store until `recovery` makes them one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crdtsync.errors import UpdateInvalid
from crdtsync.said import say
from crdtsync.state.document import Document
from crdtsync.state.update import read_update, write_update

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crdtsync.node.ledger import Ledger
    from crdtsync.state.document import Parked

Place = tuple[str, int]
"""A document and a replica: one log."""


class Held:
    """A peer's branch of one log, checked as every update is, and kept out of the document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.journal: list[bytes] = []
        self.parked: list[Parked] = []

    def take(self, update: bytes, forbidden: Callable[[int], frozenset[str]]) -> None:
        """Add an update.

        Raises:
            UpdateInvalid, BatchInvalid, UpdateGap, Fork: as ``Document.receive``.
        """
        change = self.document.receive(update, lambda _replica: True, forbidden)
        self.journal += change.journal
        self.parked += change.parked


class Branches:
    """What one link received of logs in doubt. ``doubts`` names them: document -> replicas.

    ``rest`` is what came of the other logs of those documents. Who wrote there had seen sequences of the peer's branch; beside the
    branch here they would be taken for those of other writes, which nobody has seen.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.doubts: dict[str, set[int]] = {}
        self.held: dict[Place, Held] = {}
        self.cuts: dict[str, Mapping[int, int]] = {}
        self.rest: dict[str, list[bytes]] = {}
        self._ends: dict[Place, int] = {}

    def let_go(self) -> None:
        """The link ended: what came is not kept, what was in doubt stays known."""
        self.held.clear()
        self.cuts.clear()
        self.rest.clear()

    def doubt(self, doubts: Mapping[str, set[int]]) -> None:
        """From now on keep these logs apart, from their first element."""
        self.doubts = {doc: set(replicas) for doc, replicas in doubts.items()}
        self._ends.clear()
        self.let_go()

    def split(
        self,
        doc: str,
        data: bytes,
        forbidden: Callable[[int], frozenset[str]],
        may_write: Callable[[int], bool],
    ) -> bytes:
        """Keep what is in doubt of an update; return the rest, of logs that the peer may write.

        Raises:
            UpdateInvalid, BatchInvalid, UpdateGap, Fork: as ``Document.receive``.
        """
        update = read_update(data)
        for replica in sorted(self.doubts[doc] & update.runs.keys()):
            held = self.held.get((doc, replica))
            if held is None:
                shape = self._ledger.schema.shape(doc.partition("/")[0])
                held = self.held[doc, replica] = Held(Document(doc, shape, 0, {}))
            gone = {r: upto for r, upto in update.deleted.items() if r == replica}
            held.take(write_update({replica: update.runs[replica]}, gone), forbidden)
        others = {r: runs for r, runs in update.runs.items() if r not in self.doubts[doc]}
        for replica in others:
            if not may_write(replica):
                raise UpdateInvalid(
                    say(
                        "{doc}: the sender may not write the log of replica {replica}",
                        doc=doc,
                        replica=format(replica, "x"),
                    )
                )
        self._ends |= {(doc, r): runs[-1].end for r, runs in others.items()}
        gone = {r: upto for r, upto in update.deleted.items() if r not in self.doubts[doc]}
        return write_update(others, gone)

    def put_aside(self, doc: str, rest: bytes) -> None:
        """Keep what came of the other logs of a document until its branches are one."""
        self.rest.setdefault(doc, []).append(rest)

    def end(self, doc: str, replica: int) -> int:
        """Return the newest sequence that came of a log."""
        held = self.held.get((doc, replica))
        return held.document.heads[replica].seq if held else self._ends.get((doc, replica), 0)
