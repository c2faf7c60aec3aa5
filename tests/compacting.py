"""A compaction of a document alone, all of its steps at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crdtsync.state.document import Change, Document


def compact(document: Document, hlc: int, txid: bytes) -> Change:
    """Compact the own log, which must be loaded; the change is yet to be settled."""
    assert document.log is not None
    steps = document.compact(document.log.elements(document.replica), hlc, txid)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            change: Change = end.value
            return change
