"""Salvage: what of a replica's log still holds together when some of what was stored of it is lost.

Pure functions of bytes; nothing here reads a store or a document.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from crdtsync.errors import BatchInvalid, UpdateInvalid
from crdtsync.state.codec import GENESIS, Batch, batch_hash, decode_batch, encode_batch
from crdtsync.state.fork import Branch
from crdtsync.state.update import read_update

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Element = tuple[Batch, bytes]


@dataclass(slots=True)
class Salvage:
    """One log: the part that begins at its beginning and has no hole, and what is intact behind the hole."""

    branch: Branch = field(default_factory=Branch)
    beyond: list[bytes] = field(default_factory=list)


def salvage(updates: Iterable[bytes]) -> tuple[dict[int, Salvage], list[bytes]]:
    """Return what holds together of each replica's log, and the updates that cannot be read."""
    elements: dict[int, dict[int, Element]] = {}
    unread: list[bytes] = []
    for data in updates:
        try:
            runs = read_update(data).runs
        except UpdateInvalid:
            unread.append(data)
            continue
        for replica, parts in runs.items():
            known = elements.setdefault(replica, {})
            for run in parts:
                for element in run.elements:
                    try:
                        batch = decode_batch(element)
                    except BatchInvalid:
                        unread.append(element)
                        continue
                    known[batch.seq] = (batch, element)
    return {replica: _of(known) for replica, known in elements.items()}, unread


def _of(elements: Mapping[int, Element]) -> Salvage:
    """A log may begin at its first batch, or at a whole compaction: that one replaces all before it."""
    begins = [
        0,
        *(b.compaction[0] for b, _ in elements.values() if b.compaction and b.seq == b.compaction[0] + 1),
    ]
    chained = [branch for gone in begins if (branch := _chained(elements, gone)).elements]
    best = max(chained, key=lambda branch: (branch.end, -branch.gone), default=Branch())
    return Salvage(best, [elements[seq][1] for seq in sorted(elements) if seq > best.end])


def _chained(elements: Mapping[int, Element], gone: int) -> Branch:
    """The batches after ``gone`` as far as each names the one before it; nothing when a compaction there is not whole."""
    branch, chain = Branch(gone), GENESIS if not gone else None
    whole = gone
    while branch.end + 1 in elements:
        batch, data = elements[branch.end + 1]
        if chain is not None and batch.prev != chain:
            break
        if chain is None and batch.compaction is not None:
            whole = batch.compaction[1]
        branch.elements.append((batch, data))
        chain = batch_hash(data)
    return branch if branch.end >= whole else Branch(gone)


class Beyond(NamedTuple):
    """What was behind the hole of a log: how long the log had been, and the batches that are intact."""

    upto: int
    batches: list[bytes]


def splice(mine: Branch, theirs: Branch, beyond: Beyond) -> tuple[Branch, int]:
    """Fill the hole of a log with what a peer has of it; return the log, and up to which batch it is whole.

    What is still missing is an empty batch, so that what is behind it keeps its place.
    """
    gone = theirs.gone if theirs.end else mine.gone
    known = {batch.seq: (batch, data) for batch, data in (*theirs.elements, *mine.elements)}
    known |= {batch.seq: (batch, data) for data in beyond.batches for batch in [decode_batch(data)]}
    made = _chained(known, gone)
    whole = made.end
    last = made.elements[-1][0].hlc if made.elements else 1
    for seq in range(whole + 1, max(beyond.upto, *known, 0) + 1):
        empty = Batch(seq, last, GENESIS, GENESIS, {}, "", ())
        batch, data = known.get(seq) or (empty, encode_batch(empty))
        last = batch.hlc
        made.elements.append((batch, data))
    return made, whole
