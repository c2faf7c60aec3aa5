"""What only this node saw, written down as a fact, so that rules at every node can read it.

A fact has an id that its cause determines, so what happens at every greeting is written once. It never decides anything.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from crdtsync import limits
from crdtsync.errors import RecordExists
from crdtsync.node.transaction import Transaction
from crdtsync.pendencies.records import WRONG_CLOCK, Incident
from crdtsync.schema.partition import ACCOUNT

if TYPE_CHECKING:
    from crdtsync.node.ledger import Ledger
    from crdtsync.schema import Identity


def is_clock_wrong(skew_ms: int) -> bool:
    """Tell whether a clock is too far from the one above it to be passed over."""
    return abs(skew_ms) > limits.CLOCK_OFFSET_MS_MAX


async def note_wrong_clock(ledger: Ledger, below: Identity, skew_ms: int) -> None:
    """Write that a node below has a wrong clock: one fact a device and day of this node.

    Args:
        ledger: of the node that measured it.
        below: the node that was measured.
        skew_ms: how far its clock is ahead, milliseconds.
    """
    if Incident.__category__ not in ledger.schema.shapes:
        return
    moment = datetime.fromtimestamp(ledger.now_ms() / 1000, UTC)
    tx = Transaction(ledger, ledger.identity.device)
    tx.create(
        Incident,
        id=f"{WRONG_CLOCK}-{below.device}-{moment:%Y-%m-%d}",
        place=below.store or ACCOUNT,
        kind=WRONG_CLOCK,
        device=below.device,
        seen_by=ledger.identity.device,
        happened_at=moment,
        facts=json.dumps({"segundos": round(skew_ms / 1000)}),
    )
    try:
        await tx.commit()
    except RecordExists:
        return
