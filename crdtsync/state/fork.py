"""Forks: one replica's log that went on in two places. Where the branches part, and how one is written again.

A store put back from a backup, or a cloned disk, writes under a replica whose log has gone on elsewhere. One branch
keeps the replica; what only the other one holds is written again under another replica, its heir: registers, facts,
elements, deletions and counts as they were, with the same clock, actor and transactions; a counter's total starts at
zero where the branches part. Everything here is a pure function of the two branches; nothing reads a document, a store
or a clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from crdtsync.schema.fields import Kind
from crdtsync.state.cells import COUNT_MARK
from crdtsync.state.codec import GENESIS, Batch, Group, batch_hash, decode_batch, encode_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    from crdtsync.schema.shape import Shape
    from crdtsync.state.update import Run

Slot = tuple[str, str]
"""A record key and a slot of the record."""

Mark = tuple[int, int, int]
"""The count that a movement had seen, by clock and replica, and its writer's total before the first that had."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a branch under its original sequence and clock.

    ``merged`` tells that a compaction preserved it: it holds what no later write replaced, and ``parts`` are those of
    every transaction that the compaction replaced. ``mark`` is the chain hash, which tells writes of two branches apart; empty
    when it is merged.
    """

    seq: int
    hlc: int
    txid: bytes
    parts: Mapping[str, int]
    actor: str
    groups: tuple[Group, ...]
    mark: bytes
    merged: bool = False

    @property
    def stamp(self) -> bytes:
        """What tells it from others though a compaction may have changed its mark: sequence and clock."""
        return self.seq.to_bytes(8, "big") + self.hlc.to_bytes(8, "big")

    def cells(self) -> Iterator[tuple[Slot, Any]]:
        """Yield ((key, slot), value) of everything written."""
        for group in self.groups:
            for row in group.rows:
                for slot, value in zip(group.fields, row[1:], strict=True):
                    yield (row[0], slot), value


@dataclass
class Branch:
    """One replica's log as one node holds it: ``gone`` elements compacted away, then ``elements``."""

    gone: int = 0
    elements: list[tuple[Batch, bytes]] = field(default_factory=list)

    @classmethod
    def of(cls, runs: Iterable[Run]) -> Branch:
        """Return the branch that the runs of one replica make."""
        branch = cls()
        for run in runs:
            branch.gone += run.gone
            branch.elements += [(decode_batch(element), element) for element in run.elements]
        return branch

    @property
    def end(self) -> int:
        """The newest sequence."""
        return self.gone + len(self.elements)

    @cached_property
    def _hashes(self) -> list[bytes]:
        return [batch_hash(data) for _, data in self.elements]

    def hash_at(self, seq: int) -> bytes | None:
        """Return the chain hash at a sequence; None where a compaction took it away."""
        if seq == 0:
            return GENESIS
        if seq > self.gone:
            return self._hashes[seq - self.gone - 1]
        # The first batch of a compaction names the head of what it replaces.
        return self.elements[0][0].prev if seq == self.gone and self.elements else None

    def is_other(self, seq: int, txid: bytes) -> bool:
        """Whether the branch is known to have something else than a part of this transaction at a sequence."""
        return self.gone < seq <= self.end and self.elements[seq - self.gone - 1][0].txid != txid

    def has(self, seq: int, data: bytes) -> bool:
        """Whether the branch has this element at a sequence."""
        return self.gone < seq <= self.end and self.elements[seq - self.gone - 1][1] == data

    @property
    def is_sealed(self) -> bool:
        """Whether the log has ended for ever."""
        return bool(self.elements) and self.elements[-1][0].is_seal

    @property
    def counts(self) -> int:
        """Up to which sequence the log counts: its end, unless the seal there says otherwise."""
        return self.elements[-1][0].counts if self.is_sealed else self.end

    def compaction_marks(self, after: int) -> list[bytes]:
        """Return the chain hashes of compacting batches after a sequence, which are no writes of their own."""
        pairs = zip(self.elements, self._hashes, strict=True)
        return [mark for (batch, _), mark in pairs if batch.compaction and batch.seq > after]

    @cached_property
    def writes(self) -> list[Write]:
        """Every write that can still be told, by sequence: of what a compaction replaced, what it preserves."""
        kept: dict[tuple[int, int], list[Group]] = {}
        origin: dict[tuple[int, int], Batch] = {}
        result: list[Write] = []
        for (batch, _), mark in zip(self.elements, self._hashes, strict=True):
            if batch.compaction is None:
                parts = {} if batch.is_seal else batch.parts
                facts = (batch.seq, batch.hlc, batch.txid, parts, batch.actor, batch.groups)
                result.append(Write(*facts, mark))
                continue
            for group in batch.groups:
                at = (group.seq or batch.seq, group.hlc or batch.hlc)
                if at[0] <= self.gone:
                    kept.setdefault(at, []).append(Group(group.fields, group.rows, group.seen))
                    origin[at] = batch
        for (seq, hlc), groups in kept.items():
            batch = origin[seq, hlc]
            facts = (seq, hlc, batch.txid, batch.parts, batch.actor, tuple(groups))
            result.append(Write(*facts, b"", merged=True))
        return sorted(result, key=lambda write: (write.seq, write.hlc))

    @cached_property
    def newest(self) -> dict[Slot, tuple[int, int]]:
        """The sequence and clock of the newest write of every slot."""
        return {at: (write.seq, write.hlc) for write in self.writes for at, _ in write.cells()}

    @property
    def index(self) -> list[tuple[int, tuple[str, ...]]]:
        """What the by-sequence index says of the branch: the keys that are newest at each sequence."""
        keys: dict[int, dict[str, None]] = defaultdict(dict)
        for at, (seq, _) in self.newest.items():
            keys[seq][at[0]] = None
        return [(seq, tuple(names)) for seq, names in sorted(keys.items())]

    @cached_property
    def stamps(self) -> list[tuple[int, int]]:
        """The sequence and clock of every write, in order; clocks grow along a log."""
        return [(write.seq, write.hlc) for write in self.writes]

    def upto(self, seq: int) -> Branch | None:
        """Return the branch as it was when it ended at a sequence; None when a compaction took that away."""
        return Branch(self.gone, self.elements[: seq - self.gone]) if self.can_end_at(seq) else None

    def can_end_at(self, seq: int) -> bool:
        """Tell whether the log can be cut after a sequence: not inside what was compacted, nor inside a compaction."""
        if seq < self.gone:
            return False
        return not any(
            batch.compaction and batch.compaction[0] <= seq < batch.compaction[1]
            for batch, _ in self.elements
        )


def common_length(one: Branch, other: Branch, floor: int = 0, known: int | None = None) -> int:
    """Return up to which sequence two branches of a log are the same.

    ``known`` is where ``one`` ended when its node was opened, if nobody can have heard of what it wrote since.

    Where both hold their elements the hash chain says it exactly. Where one is compacted, the writes that it preserves
    speak: without a contradiction the shorter branch is taken for a part of the longer one. With one, the branches are
    the same up to the newest write that both show, or to ``floor`` (what is known to be shared). Writes between that
    and the true fork, all replaced since, may be shared; they are taken for different, so that nothing is lost: a
    movement of a counter among them counts twice.
    """
    before = one.upto(known) if known is not None and known < one.end else None
    if before is not None:
        return common_length(before, other, floor)
    limit = min(one.end, other.end)
    certain, contradicted = 0, limit + 1
    for seq in range(limit, -1, -1):
        here, there = one.hash_at(seq), other.hash_at(seq)
        if here is None or there is None:
            continue
        if here == there:
            certain = seq
            break
        contradicted = seq
    if contradicted == certain + 1:
        return certain
    for left, right in ((one, other), (other, one)):
        for write in left.writes:
            if certain < write.seq <= limit and not (_is_in(write, right) and _fits(write, right)):
                contradicted = min(contradicted, write.seq)
    if contradicted > limit:
        return limit
    stamps = {(write.seq, write.hlc) for write in one.writes}
    shown = [write.seq for write in other.writes if (write.seq, write.hlc) in stamps]
    return max(certain, min(floor, contradicted - 1), *(seq for seq in shown if seq < contradicted), 0)


def _is_in(write: Write, branch: Branch) -> bool:
    """Whether a branch may have held a write: it has it, or a compacted one shows its cells, or what replaced them."""
    if write.seq > branch.gone:
        batch = branch.elements[write.seq - branch.gone - 1][0]
        return batch.compaction is None and batch.hlc == write.hlc
    for at, _ in write.cells():
        known = branch.newest.get(at, (0, 0))
        if known[0] < write.seq or (known[0] == write.seq and known[1] != write.hlc):
            return False
    return True


def _fits(write: Write, branch: Branch) -> bool:
    """Whether a write has its place between the clocks of a branch: one of after a restore is usually too late for it."""
    at = bisect_left(branch.stamps, (write.seq, 0))
    later = next((hlc for seq, hlc in branch.stamps[at:] if seq > write.seq), write.hlc + 1)
    earlier = branch.stamps[at - 1][1] if at else write.hlc - 1
    return earlier < write.hlc < later


def is_total(shape: Shape, slot: str) -> bool:
    """Tell whether a slot holds a running total of a counter."""
    declared = shape.fields.get(slot)
    return declared is not None and declared.kind is Kind.COUNTER


class Total(NamedTuple):
    """A replica's share of a counter where its log parts.

    Attributes:
        amount: the running total, in scaled units.
        mark: (clock, replica) of the newest count that its movements had seen, of those that others made.
        counted: clock of the newest count that it made itself, 0 for none.
    """

    amount: int = 0
    mark: tuple[int, int] | None = None
    counted: int = 0


def totals_at(shape: Shape, fork: int, source: Branch, other: Branch) -> dict[Slot, Total]:
    """Return every counter's running total at the fork.

    When both branches compacted away what they share, the total of a counter that both have moved since is not known;
    the other branch's newest one stands for it, so that nothing counts twice.
    """
    found: dict[Slot, tuple[int, Any]] = {}
    counted: dict[Slot, tuple[int, int]] = {}
    for branch in (source, other):
        for write in branch.writes:
            if write.seq > fork:
                break
            for (key, slot), value in write.cells():
                at = (key, slot.removesuffix(COUNT_MARK))
                newest = counted if slot != at[1] else found
                if is_total(shape, at[1]) and write.seq >= newest.get(at, (0, 0))[0]:
                    newest[at] = (write.seq, write.hlc if newest is counted else value)
    if min(source.gone, other.gone) > fork:
        for write in other.writes:
            for at, value in write.cells():
                if is_total(shape, at[1]) and (at not in found or found[at][0] > fork):
                    found[at] = (write.seq, value)
    return {at: _total(found.get(at), counted.get(at)) for at in {**found, **counted}}


def _total(moved: tuple[int, Any] | None, counted: tuple[int, int] | None) -> Total:
    amount, _, *marks = moved[1] if moved else (0, "")
    return Total(amount, marks[0][:2] if marks else None, counted[1] if counted else 0)


_NOTHING = Total()


@dataclass(slots=True)
class Heir:
    """Who writes a branch again: ``heir`` instead of ``old``, from sequence ``fork`` of the document on."""

    shape: Shape
    old: int
    heir: int
    fork: int
    totals: Mapping[Slot, Total]
    place: Callable[[Write, str], int]
    """Where a write's part in a document is now, by its new sequence; 0 if it is not written again."""
    _newest: dict[Slot, int] = field(default_factory=dict)
    """The newest running total of the source."""
    _missing: dict[Slot, int] = field(default_factory=dict)
    """What of it was moved by writes that are left out."""
    _missing_at: dict[tuple[Slot, int, int], int] = field(default_factory=dict)
    """The same where a count was first seen."""

    def write(self, writes: Iterable[Write], chosen: Container[int]) -> list[tuple[Batch, bytes]]:
        """Return the heir's log, from its first element on, given all writes of the source after the fork.

        Those whose sequence is not ``chosen`` are left out, with what they moved.
        """
        result: list[tuple[Batch, bytes]] = []
        head = GENESIS
        for write in writes:
            self._note_marks(write)
            if write.seq not in chosen:
                self._leave_out(write)
                continue
            places = {doc: self.place(write, doc) for doc in write.parts}
            parts = {doc: place for doc, place in places.items() if place}
            groups = tuple(self._group(group) for group in write.groups)
            batch = Batch(len(result) + 1, write.hlc, head, write.txid, parts, write.actor, groups)
            data = encode_batch(batch)
            head = batch_hash(data)
            # As a reader will find it, tuples for lists.
            result.append((decode_batch(data), data))
        return result

    def _note_marks(self, write: Write) -> None:
        for at, value in write.cells():
            if is_total(self.shape, at[1]) and value[2:]:
                self._missing_at.setdefault((at, *value[2][:2]), self._missing.get(at, 0))

    def _leave_out(self, write: Write) -> None:
        for at, value in write.cells():
            if is_total(self.shape, at[1]):
                before = self._newest.get(at, self.totals.get(at, _NOTHING).amount)
                self._missing[at] = self._missing.get(at, 0) + value[0] - before
                self._newest[at] = value[0]

    def _group(self, group: Group) -> Group:
        rows = tuple(
            (
                row[0],
                *(self._value((row[0], slot), v) for slot, v in zip(group.fields, row[1:], strict=True)),
            )
            for row in group.rows
        )
        seen = {**group.seen, self.old: self.fork} if self.fork else group.seen
        return Group(group.fields, rows, seen)

    def _value(self, at: Slot, value: Any) -> Any:
        key, slot = at
        if is_total(self.shape, slot):
            before = self.totals.get(at, _NOTHING)
            self._newest[at] = value[0]
            total = value[0] - before.amount - self._missing.get(at, 0)
            return (total, value[1], *self._marks(at, before, value[2:]))
        if slot.endswith(COUNT_MARK) and slot.removesuffix(COUNT_MARK) in self.shape.fields:
            base = dict(value[1])
            total = base.pop(self.old, None)
            if total is not None:
                # What the person who counted saw of this replica is now in two logs.
                at = (key, slot.removesuffix(COUNT_MARK))
                shared = self.totals.get(at, _NOTHING).amount
                base |= {self.old: shared, self.heir: total - shared - self._missing.get(at, 0)}
            return (value[0], base, *value[2:])
        return value

    def _marks(self, at: Slot, before: Total, marks: Sequence[Mark]) -> Sequence[Mark]:
        """Return what a movement had seen as the heir says it, whose total starts at the fork."""
        if not marks:
            # Nobody marks a movement with a count of their own, and what was counted before the fork stays the old one's.
            return [(before.counted, self.old, 0)] if before.counted else []
        hlc, counter, total = marks[0]
        missing = self._missing_at[at, hlc, counter]
        return [(hlc, counter, 0 if (hlc, counter) == before.mark else total - before.amount - missing)]


def seal(
    branch: Branch, seq: int, hlc: int, txid: bytes, lost: Mapping[str, int] | None = None
) -> tuple[Batch, bytes]:
    """Return an empty batch that ends a log after ``seq``: who holds more of the log sees that it goes on differently.

    ``lost`` is its document and the first sequence that does not count, if not all of the log does: from there it is shown nowhere.
    """
    head = branch.hash_at(seq)
    assert head is not None
    batch = Batch(seq + 1, hlc, head, txid, dict(lost or {}), "", ())
    return batch, encode_batch(batch)
