"""The verdict on a quiet cluster: what its nodes hold, compared with each other and with the plain model.

It reads documents, rows and heads, and writes nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from crdtsync.schema.fields import Kind

if TYPE_CHECKING:
    from crdtsync.node.ledger import Ledger
    from crdtsync.schema.shape import Shape
    from crdtsync.testing.cluster import Cluster, Kinds, Member
    from crdtsync.testing.model import Expected

Rows = dict[str, tuple[Any, ...]]


async def judge(cluster: Cluster) -> None:
    """Compare everything; what is wrong becomes findings of the cluster."""
    for member in cluster.members.values():
        await cluster.follow(member)
    holders = {doc: _holders(cluster, doc) for doc in _documents(cluster)}
    seen: dict[tuple[str, str], bytes] = {}
    grown = {name: set(member.running.ledger.loaded()) for name, member in cluster.members.items()}
    for doc, members in holders.items():
        await _agree(cluster, doc, members, seen)
    for member in cluster.members.values():
        member.running.ledger.unload()
        if await member.running.ledger.storage.read(lambda view: view.parked()):
            cluster.found("lost", f"{member.name} parked a batch")
    for doc, members in holders.items():
        for member in members:
            # What was not in memory has been loaded for the first comparison already.
            if doc not in grown[member.name]:
                continue
            if await member.running.ledger.state_digest(doc) != seen[member.name, doc]:
                cluster.found("diverged", f"{doc} at {member.name} is another after it was loaded again")
    for doc in sorted({*cluster.model.documents(), *holders}):
        for member in holders.get(doc, ())[:1]:
            await _compare(cluster, doc, member)


def _documents(cluster: Cluster) -> list[str]:
    return sorted(
        {doc for m in cluster.members.values() for doc, heads in m.running.ledger.heads.items() if heads}
    )


def _holders(cluster: Cluster, doc: str) -> list[Member]:
    return [
        member
        for member in cluster.members.values()
        if member.running.ledger.held_by(member.config.identity, doc)
    ]


async def _rows(ledger: Ledger, shape: Shape, doc: str) -> Rows:
    found = await ledger.storage.read(lambda view: view.select(shape.category, doc=doc, include_deleted=True))
    return {row[1]: row for row in found}


async def _agree(
    cluster: Cluster, doc: str, members: list[Member], seen: dict[tuple[str, str], bytes]
) -> None:
    shape = cluster.schema.shapes[doc.partition("/")[0]]
    first: tuple[Member, bytes, Rows] | None = None
    for member in members:
        ledger = member.running.ledger
        heads = ledger.heads.get(doc, {})
        waiting = (await ledger.document(doc)).waiting()
        late = sorted(
            r
            for r, head in heads.items()
            # The rest of a compaction went down with the disk that made it: what it would replace is still shown, and
            # compared with the model like everything else.
            if head.visible < head.seq and (r in waiting or r in cluster.writing())
        )
        if late:
            cluster.found(
                "lost", f"{member.name} holds batches of {doc} that it never shows ({len(late)} replicas)"
            )
        digest, rows = await ledger.state_digest(doc), await _rows(ledger, shape, doc)
        seen[member.name, doc] = digest
        fold = (await ledger.document(doc)).fold
        if {row[1]: row for row in fold.rows(fold.keys())} != rows:
            cluster.found("diverged", f"{doc} at {member.name}: the rows are not what the document folds to")
        if first is None:
            first = (member, digest, rows)
        elif digest != first[1]:
            cluster.found("diverged", f"{doc}: {member.name} and {first[0].name} fold to different states")
        elif rows != first[2]:
            cluster.found("diverged", f"{doc}: {member.name} and {first[0].name} show different rows")


async def _compare(cluster: Cluster, doc: str, member: Member) -> None:
    """Compare one node's document with the model; all holders agree, or that is a finding already."""
    shape = cluster.schema.shapes[doc.partition("/")[0]]
    ledger = member.running.ledger
    expected = cluster.model.expected(doc, shape)
    rows = await _rows(ledger, shape, doc)
    fold = (await ledger.document(doc)).fold
    for key in sorted(rows.keys() - expected.keys()):
        cluster.found("diverged", f"{doc}/{key} at {member.name}: nobody wrote this record")
    for key, record in expected.items():
        row = rows.get(key)
        if row is None:
            cluster.found("lost", f"{doc}/{key}: an acknowledged record is not at {member.name}")
            continue
        _totals(cluster, f"{doc}/{key}", fold.cells(key), record)
        _fields(cluster, f"{doc}/{key}", shape, row, record)


def _totals(cluster: Cluster, where: str, cells: Any, record: Expected) -> None:
    for name, totals in record.totals.items():
        held = {replica: cell.value[0] for replica, cell in cells.get(name, {}).items()}
        for replica in sorted(totals.keys() | held.keys()):
            want, have = totals.get(replica, 0), held.get(replica, 0)
            if want != have:
                # Movements go both ways, so the difference alone does not tell; a whole multiple does.
                kind: Kinds = "duplicated" if want and have % want == 0 and have // want > 1 else "lost"
                cluster.found(kind, f"{where}.{name}: replica {replica:x} moved {want}, {have} are counted")


def _fields(cluster: Cluster, where: str, shape: Shape, row: tuple[Any, ...], record: Expected) -> None:
    skip = 2 + (len(shape.keys) if len(shape.keys) > 1 else 0)
    for name, value in zip(shape.fields, row[skip:-2], strict=True):
        if value != record.values[name]:
            kind: Kinds = "lost" if shape.fields[name].kind is not Kind.COUNTER else "diverged"
            cluster.found(kind, f"{where}.{name} reads {value!r}, written was {record.values[name]!r}")
    if bool(row[-2]) != record.deleted:
        state = "deleted" if row[-2] else "alive"
        cluster.found("lost", f"{where} reads as {state}, which is not what was written")
    conflicts = json.loads(row[-1]) if row[-1] else {}
    if conflicts != record.conflicts:
        cluster.found(
            "diverged", f"{where} tells the conflicts {conflicts}, these are real: {record.conflicts}"
        )
