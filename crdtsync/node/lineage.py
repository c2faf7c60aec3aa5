"""Who changed what of a record, when, and the concurrent values that lost: read from the batches that the log still holds.

A compaction keeps what is alive and drops what was replaced, so the lineage goes back to the last one of each writer.
It only reads, and off the event loop: a document may be large.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from crdtsync.errors import FieldError, RecordMissing, hint
from crdtsync.node.page import bad_cursor, page_limit
from crdtsync.node.transaction import find_rows
from crdtsync.said import say
from crdtsync.schema import Kind
from crdtsync.state import cells as lattice
from crdtsync.state.ceilings import KEY as CEILINGS
from crdtsync.state.ceilings import read_ceilings, stamp_under
from crdtsync.state.codec import decode_batch
from crdtsync.state.hlc import stamp_ms
from crdtsync.state.update import read_update

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crdtsync.node.node import Node
    from crdtsync.schema import Shape
    from crdtsync.state.codec import Batch, Group


# The reserved key as msgpack writes it: alone, its one byte would be found in most batches.
_CEILINGS_PACKED = b"\xa1" + CEILINGS.encode()


@dataclass(frozen=True, slots=True)
class Write:
    """One write of one slot of a record.

    Attributes:
        stamp: hybrid clock that counts, under the ceilings of the document.
        state: ``current`` (what shows), ``concurrent`` (stands beside it: a conflict), ``lost`` (a concurrent write won),
            ``replaced`` (by one that had seen it), ``counted`` (a movement).
        amount: what a movement moved, None when the movement before it is no longer in the log.
        created: the mark that the record is alive is its first, not one that takes back a deletion.
        compacted: a compaction kept the value; who wrote it is known by replica only.
    """

    doc: str
    slot: str
    replica: int
    seq: int
    stamp: int
    value: Any
    seen: Mapping[int, int]
    actor: str
    transaction: str
    also: tuple[str, ...]
    compacted: bool
    amount: int | None = None
    state: str = "replaced"
    created: bool = False

    @property
    def place(self) -> tuple[int, int, int, str, str]:
        """Where it stands among others: by clock, then by what makes the order total; a creation before its fields."""
        slot = "" if self.slot == lattice.DELETION else self.slot
        return (self.stamp, self.replica, self.seq, self.doc, slot)


class Held(NamedTuple):
    """What a store holds of one document, and up to which batch of each replica it is shown."""

    updates: list[bytes]
    visible: Mapping[int, int]
    parked: frozenset[tuple[int, int]]


async def log(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """One page of the changes of the record ``category``/``key``, newest first, in every store or in ``store``.

    ``field`` leaves out other fields; ``limit`` and ``after`` page.
    """
    shape = node.schema.entity(args["category"]).__shape__
    key, field = args["key"], args.get("field")
    if field is not None and field not in shape.fields:
        raise FieldError(
            shape.category, field, say("there is no such field{hint}", hint=hint(field, shape.fields))
        )
    limit, last = page_limit(args), _cursor(args.get("after"))
    rows = await node.ledger.storage.read(lambda view: find_rows(view, shape, key, args.get("store")))
    if not rows:
        raise RecordMissing(shape.category, key)
    writes: list[Write] = []
    for doc in sorted(row[0] for row in rows):
        held = await _held(node, doc)
        writes += await asyncio.to_thread(trace, shape, doc, key, held)
    wanted = [
        write
        for write in sorted(writes, key=lambda write: write.place, reverse=True)
        if (field is None or lattice.field_of(write.slot) == field) and (last is None or write.place < last)
    ]
    page = wanted[:limit]
    return {
        "time_zone": node.config.time_zone,
        "changes": [_plain(node, shape, write) for write in page],
        "after": json.dumps(page[-1].place) if len(wanted) > limit else None,
    }


async def _held(node: Node, doc: str) -> Held:
    snapshot, journal, parked = await node.ledger.storage.read(
        lambda view: (view.snapshot(doc), view.journal(doc), view.parked())
    )
    updates = ([snapshot[0]] if snapshot else []) + [update for _, update in journal]
    visible = {replica: head.visible for replica, head in node.ledger.heads.get(doc, {}).items()}
    return Held(updates, visible, frozenset((row.replica, row.seq) for row in parked if row.doc == doc))


def trace(shape: Shape, doc: str, key: str, held: Held) -> list[Write]:
    """Return the writes of one record of one document: what its log still holds, each with what became of it."""
    writes: dict[tuple[int, int, str], Write] = {}
    bounds: lattice.Record = {}
    for replica, batch in _batches(key, held):
        for group in batch.groups:
            seq, hlc = group.seq or batch.seq, group.hlc or batch.hlc
            for row in group.rows:
                if row[0] == CEILINGS:
                    for slot, value in zip(group.fields, row[1:], strict=True):
                        lattice.join_cell(bounds, slot, replica, lattice.Cell(seq, hlc, value, group.seen))
                if row[0] != key:
                    continue
                for slot, value in zip(group.fields, row[1:], strict=True):
                    at = (replica, seq, slot)
                    # The batch itself says more than the compaction that kept its value.
                    if at not in writes or writes[at].compacted:
                        writes[at] = _write(doc, slot, replica, batch, group, value)
    ceilings = read_ceilings(bounds)
    found = [
        replace(write, stamp=stamp_under(ceilings, write.replica, write.seq, write.stamp))
        for write in writes.values()
    ]
    by_slot: dict[str, list[Write]] = {}
    for write in sorted(found, key=lambda write: (write.replica, write.seq)):
        by_slot.setdefault(write.slot, []).append(write)
    return [write for slot, same in by_slot.items() for write in _judge(shape, slot, same)]


def _batches(key: str, held: Held) -> Iterator[tuple[int, Batch]]:
    needles = (key.encode(), _CEILINGS_PACKED)
    for update in held.updates:
        for replica, runs in read_update(update).runs.items():
            for element in (element for run in runs for element in run.elements):
                # Most batches do not name the record: their bytes tell, and decoding them would be the cost.
                if any(needle in element for needle in needles):
                    batch = decode_batch(element)
                    if batch.seq <= held.visible.get(replica, 0) and (replica, batch.seq) not in held.parked:
                        yield replica, batch


def _write(doc: str, slot: str, replica: int, batch: Batch, group: Group, value: Any) -> Write:
    return Write(
        doc,
        slot,
        replica,
        group.seq or batch.seq,
        group.hlc or batch.hlc,
        value,
        group.seen,
        batch.actor,
        batch.txid.hex() if batch.compaction is None else "",
        tuple(sorted(set(batch.parts) - {doc})),
        batch.compaction is not None,
    )


def _judge(shape: Shape, slot: str, writes: list[Write]) -> list[Write]:
    """Say what became of the writes of one slot, given by replica and sequence."""
    field = shape.fields.get(slot)
    if field is not None and field.kind is Kind.COUNTER:
        return _moved(writes)
    cells: lattice.Cells = {
        write.replica: lattice.Cell(write.seq, write.stamp, write.value, write.seen) for write in writes
    }
    stand = [(replica, cell.seq) for replica, cell in lattice.siblings(cells)]
    if field is not None and field.kind is Kind.ONCE:
        first = lattice.first_write(cells)
        stand.sort(key=lambda at: cells[at[0]] is not first)
    states: list[Write] = []
    for write in writes:
        at = (write.replica, write.seq)
        if at in stand:
            state = "current" if at == stand[0] or _is_element(slot) else "concurrent"
        else:
            state = "lost" if any(_lost_to(write, other) for other in writes) else "replaced"
        created = slot == lattice.DELETION and not any(
            other.value and other.stamp < write.stamp for other in writes
        )
        states.append(replace(write, state=state, created=created))
    return states


def _is_element(slot: str) -> bool:
    return lattice.ELEMENT_MARK in slot


def _lost_to(write: Write, other: Write) -> bool:
    """Whether neither of two writes had seen the other, and the other has the greater stamp."""
    return (
        other.replica != write.replica
        and (other.stamp, other.replica) > (write.stamp, write.replica)
        and other.seen.get(write.replica, 0) < write.seq
        and write.seen.get(other.replica, 0) < other.seq
    )


def _moved(writes: list[Write]) -> list[Write]:
    """Return the movements of a counter: a cell holds its replica's running total, so a movement is a difference."""
    found: list[Write] = []
    before: Write | None = None
    for write in writes:
        known = before.value[0] if before is not None and before.replica == write.replica else None
        if known is None and not write.compacted:
            known = 0
        amount = None if known is None else write.value[0] - known
        found.append(replace(write, amount=amount, state="counted"))
        before = write
    return found


def _plain(node: Node, shape: Shape, write: Write) -> dict[str, Any]:
    kind, name, value = _said(shape, write)
    who = node.ledger.registry.get(write.replica)
    return {
        "at_ms": stamp_ms(write.stamp),
        "device": who.device if who else None,
        "role": who.role if who else None,
        "replica": f"{write.replica:x}",
        "actor": write.actor,
        "doc": write.doc,
        "field": lattice.field_of(write.slot) if write.slot != lattice.DELETION else None,
        "kind": kind,
        "name": name,
        "value": value,
        "state": write.state,
        "sequence": write.seq,
        "transaction": write.transaction,
        "also": list(write.also),
        "compacted": write.compacted,
    }


def _said(shape: Shape, write: Write) -> tuple[str, str | None, Any]:
    """Return what a write did, the cause, name or element that it says, and its value for JSON."""
    slot, value = write.slot, write.value
    if slot == lattice.DELETION:
        return ("delete" if value else "create" if write.created else "restore"), None, None
    field = shape.fields.get(lattice.field_of(slot))
    if field is None:
        return "write", None, value
    if _is_element(slot):
        return ("add" if value else "remove"), None, slot.partition(lattice.ELEMENT_MARK)[2]
    if field.kind is not Kind.COUNTER:
        return "write", None, field.plain(value)
    if lattice.NAME_MARK in slot:
        return "named", slot.partition(lattice.NAME_MARK)[2], field.plain(value[0])
    if slot.endswith(lattice.COUNT_MARK):
        return "count", None, field.plain(value[0])
    if write.amount is None:
        return "total", value[1] or None, field.plain(value[0])
    return "move", value[1] or None, field.plain(write.amount)


def _cursor(after: object) -> tuple[int, int, int, str, str] | None:
    if after is None:
        return None
    try:
        stamp, replica, seq, doc, slot = json.loads(str(after))
        return int(stamp), int(replica), int(seq), str(doc), str(slot)
    except (ValueError, TypeError) as error:
        raise bad_cursor(after) from error
