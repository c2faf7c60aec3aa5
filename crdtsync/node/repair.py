"""Repair: a document made again from those rows of its log that check out.

What is missing of another writer's log comes again from the peers, which see that this node has less. Of its own log a
node never goes on over a hole: it takes a new incarnation. What it wrote behind the hole waits until the node above was
asked for what is missing; then the hole is filled, or what is behind it is written again (``recovery.py``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from crdtsync.errors import BatchInvalid
from crdtsync.node.branches import Branches
from crdtsync.node.recovery import Recovery
from crdtsync.state.document import Change, Head, Parked
from crdtsync.state.fold import check_batch
from crdtsync.state.salvage import Beyond, Salvage, salvage
from crdtsync.state.update import Run, write_update
from crdtsync.storage.base import DamagedRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crdtsync.node.ledger import Ledger
    from crdtsync.node.node import Node
    from crdtsync.state.document import Heads
    from crdtsync.storage.base import Commit


@dataclass(slots=True)
class Repaired:
    """What a repair did to one document.

    Attributes:
        doc: the document.
        batches: how many are there now.
        missing: batches that are not there, by the device that wrote them; they come again from a peer that has them.
        waiting: batches that this node wrote behind a hole, and that wait for the node above.
        incarnation: whether this node took a new one.
    """

    doc: str
    batches: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    incarnation: bool = False


async def rebuild(ledger: Ledger, doc: str, commit: Commit) -> tuple[list[Change], Repaired]:
    """Make a document again, in a step of the writer that has its commit alone.

    Raises:
        CrdtsyncError: even so it cannot be loaded; nothing is changed.
    """
    logs, unread = salvage(await ledger.stored(doc))
    before = dict(ledger.working.get(doc, {}))
    report = Repaired(doc, sum(len(one.branch.elements) for one in logs.values()))
    own = {row.replica for row in ledger.registry.values() if row.device == ledger.identity.device}
    dropped = unread + [data for replica, one in logs.items() if replica not in own for data in one.beyond]
    if dropped:
        ledger.quarantine.keep([DamagedRow("journal", (doc,), (doc, data), doc) for data in dropped])
    salvaged: dict[int, Beyond] = {}
    for replica in sorted({*logs, *before}):
        one, head = logs.get(replica, Salvage()), before.get(replica)
        lacking = max(0, head.seq - one.branch.end - len(one.beyond)) if head else 0
        if not lacking and not one.beyond and head is not None:
            continue
        if lacking or one.beyond:
            _note_missing(ledger, replica, lacking + (0 if replica in own else len(one.beyond)), report)
        if replica in own and (lacking or one.beyond):
            salvaged[replica] = Beyond(head.seq if head else 0, one.beyond)
            report.waiting += len(one.beyond)
        # Where the head is lost too, nobody knows how much followed.
        report.incarnation |= replica == ledger.replica
    if report.incarnation:
        ledger.take_replica(ledger.fresh_replica(commit))
    ledger.quarantine.lift(doc, salvaged, commit)
    changes = await _install(ledger, doc, logs, before, commit)
    return list(changes.values()), report


def _note_missing(ledger: Ledger, replica: int, count: int, report: Repaired) -> None:
    row = ledger.registry.get(replica)
    device = row.device if row is not None else f"replica {replica:x}"
    if count:
        report.missing[device] = report.missing.get(device, 0) + count


async def _install(
    ledger: Ledger, doc: str, logs: Mapping[int, Salvage], before: Heads, commit: Commit
) -> dict[str, Change]:
    shape = ledger.schema.shape(doc.partition("/")[0])
    change = Change(doc, shape.category)
    heads = ledger.working.setdefault(doc, {})
    heads.clear()
    runs: dict[int, list[Run]] = {}
    for replica, one in logs.items():
        branch, head = one.branch, before.get(replica, Head())
        chain = branch.hash_at(branch.end)
        if not branch.end or chain is None:
            continue
        heads[replica] = Head(branch.end, chain, min(head.visible, branch.end), min(head.cut, branch.end))
        gone = [Run(0, gone=branch.gone)] if branch.gone else []
        runs[replica] = [*gone, Run(branch.gone, [data for _, data in branch.elements])]
        change.heads.add(replica)
        change.hlc = max(change.hlc, *(batch.hlc for batch, _ in branch.elements))
        change.recompacted.append((replica, branch.end, branch.index))
        for batch, data in branch.elements:
            try:
                check_batch(shape, batch)
            except BatchInvalid as problem:
                change.parked.append(Parked(replica, batch.seq, str(problem), data))
    ledger.hlc.observe(change.hlc)
    commit.dropped_logs.append(doc)
    change.removals = ledger.restart(doc, change.parked)
    deleted = {replica: one.branch.gone for replica, one in logs.items() if one.branch.gone}
    await ledger.install_encoded(doc, write_update(runs, deleted), commit)
    changes = {doc: change}
    for replica in sorted(heads):
        await ledger.show(replica, changes, frozenset())
    _close_cut(logs, heads, before)
    fold = (await ledger.document(doc)).fold
    change.rows = fold.rows(fold.keys())
    commit.dropped_docs.append(doc)
    return changes


def _close_cut(logs: Mapping[int, Salvage], heads: Heads, before: Heads) -> None:
    """Where a head was lost, its cut is what is visible if nothing visible has seen more than that."""
    if all(replica in before for replica in heads) or any(head.visible < head.seq for head in heads.values()):
        return
    seen = (
        entry
        for one in logs.values()
        for batch, _ in one.branch.elements
        for group in batch.groups
        for entry in group.seen.items()
    )
    if all(seq <= heads.get(replica, Head()).visible for replica, seq in seen):
        for head in heads.values():
            head.cut = head.visible


async def repair(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Make the documents of ``category`` that are in quarantine again, and the records of the others.

    With ``give_up`` nobody is waited for any more: what this node wrote behind a hole is written again.
    """
    ledger, category = node.ledger, args["category"]
    quarantine = ledger.quarantine
    ledger.schema.shape(category)
    damaged = await quarantine.mend()
    apart = sorted(doc for doc in quarantine.held if doc.partition("/")[0] == category)
    sound = [doc for doc in ledger.documents_of(category) if doc not in apart]
    await quarantine.remake(sound)
    # Loading them may have shown more damage.
    apart = sorted(doc for doc in quarantine.held if doc.partition("/")[0] == category)
    reports: list[Repaired] = []

    async def make(doc: str, commit: Commit) -> list[Change]:
        changes, report = await rebuild(ledger, doc, commit)
        reports.append(report)
        return changes

    for doc in apart:
        await ledger.submit_alone(partial(make, doc))
        await quarantine.recall()
    if args.get("give_up"):
        branches = Branches(ledger)
        branches.doubt(
            {
                doc: set(logs)
                for doc, logs in quarantine.salvaged.items()
                if doc.partition("/")[0] == category and doc not in quarantine.held
            }
        )
        await Recovery(ledger, branches, {}, above=True, absent=frozenset()).settle()
    return {
        "category": category,
        "damaged_rows": damaged,
        "repaired": [asdict(report) for report in reports],
        "rebuilt": len(sound),
        "quarantined": sorted(quarantine.held),
    }
