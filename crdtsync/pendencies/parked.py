"""A batch that could not be read is a pendency too (P01), until it is read or replaced. Nothing here reads a document."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING

from crdtsync.schema import Role, Severity
from crdtsync.state.codec import decode_batch
from crdtsync.storage.base import PendencyRow

if TYPE_CHECKING:
    from crdtsync.pendencies.evaluate import Origin
    from crdtsync.storage.base import Commit, ParkedRow, PendencyChanges, View

PARKED_RULE = "P01"
"""A batch that is kept and relayed but not shown, because its values are not valid here."""


def review_parked(commit: Commit, now_ms: int, view: View, origin: Origin, changes: PendencyChanges) -> None:
    """Add to ``changes`` what opens and closes because batches are parked, read at last, or replaced."""
    fresh = [_parked_pendency(entry, now_ms, origin) for entry in commit.parked]
    changes.opened += fresh
    changes.fresh += len(fresh)
    changes.closed += [_parked_id(*at) for at in commit.unparked]
    if not commit.recompacted:
        return
    # What a compaction replaces is read from it now; if it holds what could not be read, it is parked itself.
    gone = {(doc, f"{replica:x}"): upto for doc, replica, upto, _ in commit.recompacted}
    for row in view.pendencies(rule=PARKED_RULE):
        replica, _, seq = row.key.partition(":")
        if int(seq) <= gone.get((row.doc, replica), 0):
            changes.closed.append(row.id)


def _parked_id(doc: str, replica: int, seq: int) -> str:
    return f"{doc}/{replica:x}:{seq}#{PARKED_RULE}"


def _parked_pendency(entry: ParkedRow, now_ms: int, origin: Origin) -> PendencyRow:
    keys = decode_batch(entry.batch).keys()
    facts = {"records": keys, "replica": f"{entry.replica:x}", "sequence": entry.seq}
    evidence = json.dumps(facts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return PendencyRow(
        _parked_id(entry.doc, entry.replica, entry.seq),
        PARKED_RULE,
        entry.doc.partition("/")[0],
        entry.doc,
        f"{entry.replica:x}:{entry.seq}",
        Role.GESTAO,
        Severity.A,
        "Registro que não pôde ser lido",
        entry.detail,
        "Estes registros ficam guardados e seguem adiante, mas não aparecem neste nó.",
        evidence,
        blake2b(evidence.encode(), digest_size=8).hexdigest(),
        "open",
        json.dumps([[entry.doc, key] for key in keys], ensure_ascii=False),
        origin.direction,
        origin.run,
        now_ms,
    )
