"""A document: the replica logs of one category and partition, what of them is shown, and what they fold to.

Every change is computed here and returned as a ``Change`` for storage to make durable; the caller commits it and then
calls ``settle``. When the commit fails the document is thrown away and loaded again. Nothing here reads a clock, a
socket or a file.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from crdtsync import limits
from crdtsync.errors import BatchInvalid, CompactionLoss, Fork, TransactionTooLarge, UpdateGap, UpdateInvalid
from crdtsync.state import cells as lattice
from crdtsync.state.codec import GENESIS, Batch, Group, batch_hash, decode_batch, encode_batch, keys_in
from crdtsync.state.fold import Fold, ReadRow, check_batch, check_batches, stamp_of
from crdtsync.state.removals import Removal, mass_removals, split, withheld_batches
from crdtsync.state.update import Run, append_update, read_update, split_update, write_update

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from crdtsync.schema.shape import Shape
    from crdtsync.state.log import Log


@dataclass(slots=True)
class Head:
    """How far one replica's log has come: received, its chain hash, shown to readers, causally closed."""

    seq: int = 0
    hash: bytes = GENESIS
    visible: int = 0
    cut: int = 0


Heads = dict[int, Head]


class Op(NamedTuple):
    """One intended write: ``kind`` is ``write``, ``add``, ``named`` or ``count``; amounts are scaled integers."""

    kind: str
    slot: str
    value: Any
    cause: str = ""


@dataclass(slots=True)
class Parked:
    """A batch that is kept but not folded, and why."""

    replica: int
    seq: int
    detail: str
    data: bytes


@dataclass(slots=True)
class Change:
    """What one step did to one document, for one storage transaction."""

    doc: str
    category: str
    journal: list[bytes] = field(default_factory=list)
    touched: list[tuple[int, int, tuple[str, ...]]] = field(default_factory=list)
    recompacted: list[tuple[int, int, list[tuple[int, tuple[str, ...]]]]] = field(default_factory=list)
    rows: list[ReadRow] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    heads: set[int] = field(default_factory=set)
    hlc: int = 0
    removals: list[Removal] = field(default_factory=list)
    released: list[Removal] = field(default_factory=list)


@dataclass(slots=True)
class _Arrivals:
    """New batches of one log, judged while they are fresh.

    Attributes:
        batches: in the order of their sequences.
        elements: the same, encoded.
        end: hash of the last one.
        problems: sequence of those that cannot be folded, and why.
    """

    end: bytes
    batches: list[Batch] = field(default_factory=list)
    elements: list[bytes] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)


# What becomes visible at once, each batch with its encoded form: a batch, or all batches of one compaction.
_Unit = list[tuple[Batch, bytes]]


def heads_digest(doc: str, heads: Mapping[int, Head]) -> bytes:
    """Return 8 bytes that are equal when two nodes hold the same logs of a document."""
    digest = blake2b(doc.encode(), digest_size=8)
    for replica in sorted(heads):
        head = heads[replica]
        digest.update(b"%d:%d:" % (replica, head.seq) + head.hash)
    return digest.digest()


def pieces(update: bytes, size_max: int) -> Iterator[tuple[bytes, int]]:
    """Cut what a peer lacks of one document into updates, a piece at a step, each with the records it is first to name."""
    named: set[str] = set()
    for piece in split_update(read_update(update), size_max):
        before = len(named)
        for runs in piece.runs.values():
            for run in runs:
                for element in run.elements:
                    named.update(keys_in(element))
        yield write_update(piece.runs, piece.deleted), len(named) - before


class Document:
    """See the module. ``heads`` is shared with the caller, who keeps it when the document leaves memory.

    ``ahead`` is true while the fold shows a change that is not durable yet.
    """

    def __init__(self, doc: str, shape: Shape, replica: int, heads: Heads) -> None:
        self.doc = doc
        self.shape = shape
        self.replica = replica
        self.heads = heads
        self.fold = Fold(doc, shape)
        self.log: Log | None = None
        self.ahead = False
        self._pending: dict[int, deque[_Unit]] = {}
        self._building: dict[int, _Unit] = {}
        self._parked: set[tuple[int, int]] = set()
        self._withheld: dict[int, set[int]] = {}
        self._promised: list[Mapping[int, int]] = []
        # Up to where the logs count of which not all does.
        self._counts: dict[int, int] = {}
        # The transactions of what waits, or was shown and is not durable yet: replica -> sequence -> id.
        self._txids: dict[int, dict[int, bytes]] = {}
        self._shown: list[tuple[int, int]] = []
        # The prefix of each log that a compaction replaced: nothing else of a log is ever deleted.
        self._replaced: dict[int, int] = {}

    def load(
        self,
        updates: Iterable[bytes],
        parked: Iterable[tuple[int, int]] = (),
        withheld: Iterable[tuple[int, int]] = (),
    ) -> None:
        """Fold stored updates: what the heads call visible is folded, the rest waits for its transaction.

        ``withheld`` are the writes (replica, sequence) whose deletions are not to count yet.

        Raises:
            UpdateInvalid, BatchInvalid: the updates are not whole, or not what the heads say.
        """
        for _ in self.loading(updates, parked, withheld):
            pass

    def loading(
        self,
        updates: Iterable[bytes],
        parked: Iterable[tuple[int, int]] = (),
        withheld: Iterable[tuple[int, int]] = (),
    ) -> Iterator[None]:
        """Do what ``load`` does, a batch at a step, for who has something else to do in between."""
        self._parked = set(parked)
        for replica, seq in withheld:
            self._withheld.setdefault(replica, set()).add(seq)
        ends: dict[int, int] = {}
        newest: dict[int, bytes] = {}
        for data in updates:
            update = read_update(data)
            for replica, upto in update.deleted.items():
                self._note_replaced(replica, upto)
            for replica, runs in update.runs.items():
                for run in runs:
                    if run.clock > ends.get(replica, 0):
                        raise UpdateInvalid(
                            f"{self.doc}: batch {run.clock} of replica {replica:x} is missing"
                        )
                    for clock, element in enumerate(run.elements, run.clock):
                        self._load_element(replica, clock, element)
                        yield
                    if run.end > ends.get(replica, 0):
                        ends[replica] = run.end
                        newest.update((replica, element) for element in run.elements[-1:])
        self._check_ends(ends, newest)

    def _check_ends(self, ends: Mapping[int, int], newest: Mapping[int, bytes]) -> None:
        """A journal that lost its last rows has no hole: only the heads tell."""
        for replica, head in self.heads.items():
            end = ends.get(replica, 0)
            if end != head.seq or (end and batch_hash(newest.get(replica, b"")) != head.hash):
                raise UpdateInvalid(
                    f"{self.doc}: the journal ends at batch {end} of replica {replica:x}, the head says {head.seq}"
                )

    def _load_element(self, replica: int, clock: int, data: bytes) -> None:
        batch = decode_batch(data)
        if batch.seq != clock + 1:
            raise UpdateInvalid(f"{self.doc}: batch {batch.seq} of replica {replica:x} at position {clock}")
        head = self.heads.get(replica)
        if head is None or batch.seq > head.seq:
            raise UpdateInvalid(
                f"{self.doc}: the journal holds more of replica {replica:x} than the head says"
            )
        if batch.seq <= head.visible:
            if (replica, batch.seq) not in self._parked:
                self._fold(replica, batch, data)
            if batch.compaction is not None and batch.seq == batch.compaction[1]:
                self._note_replaced(replica, batch.compaction[0])
                if replica == self.replica:
                    # What it replaces may still lie in the journal before it.
                    self.fold.compacted(replica)
        else:
            self._enqueue(replica, batch, data)

    def _note_seal(self, replica: int, batch: Batch) -> None:
        if batch.is_seal and batch.parts:
            self._counts[replica] = batch.counts
            units = self._pending.get(replica)
            while units and units[-1][-1][0].seq > batch.counts:
                units.pop()

    def counts(self, replica: int) -> int:
        """Return up to which sequence a log counts: less than all when its end says so."""
        return self._counts.get(replica, limits.SEQ_MAX)

    def part(self, replica: int, seq: int) -> bytes | None:
        """Return the transaction of what waits at a sequence, or was shown a moment ago; None when that is not known any more.

        Empty where a compaction waits, which has parts of many.
        """
        found = self._txids.get(replica, {}).get(seq)
        return b"" if found is None and seq > self.heads[replica].visible else found

    def _note_replaced(self, replica: int, upto: int) -> None:
        self._replaced[replica] = max(self._replaced.get(replica, 0), upto)

    def _fold(self, replica: int, batch: Batch, data: bytes) -> Batch:
        """Join a batch, without the deletions that are withheld; return what was joined."""
        if replica in self._withheld:
            kept, apart = split(batch, self._withheld[replica])
            if apart.groups:
                batch, data = kept, encode_batch(kept)
        self.fold.add(replica, batch, data)
        return batch

    def release(self, removal: Removal) -> Change:
        """Let the deletions of a mass removal count from now on; what is not shown yet brings them with it."""
        change = Change(self.doc, self.shape.category)
        self.ahead = True
        self._withheld.get(removal.replica, set()).discard(removal.seq)
        for batch, data in withheld_batches(removal):
            if batch.seq <= self.heads[removal.replica].visible:
                self.fold.add(removal.replica, batch, data)
                change.rows += self.fold.rows(batch.keys())
        return change

    # -- local writes ------------------------------------------------------------------------------------------

    def write(
        self,
        ops: Mapping[str, list[Op]],
        *,
        hlc: int,
        txid: bytes,
        parts: Mapping[str, int] | None = None,
        actor: str = "",
    ) -> Change:
        """Append one batch with the given writes per record key.

        Raises:
            TransactionTooLarge: the batch would exceed the limit of one transaction in one document.
        """
        head = self.heads.get(self.replica) or Head()
        seq = head.seq + 1
        groups = self._groups(ops)
        batch = Batch(seq, hlc, head.hash, txid, dict(parts or {}), actor, groups)
        data = encode_batch(batch)
        if len(data) > limits.BATCH_BYTES_MAX:
            raise TransactionTooLarge(self.doc, len(data), limits.BATCH_BYTES_MAX)
        batch = decode_batch(data)
        check_batch(self.shape, batch)
        change = Change(self.doc, self.shape.category, hlc=hlc)
        change.removals = mass_removals(self.doc, self.replica, [batch], head.seq, self.fold, withhold=False)
        self.ahead = True
        self.fold.add(self.replica, batch, data)
        self.heads[self.replica] = Head(seq, batch_hash(data), seq, seq)
        change.journal.append(append_update(self.replica, seq - 1, [data]))
        change.touched.append((self.replica, seq, batch.keys()))
        change.rows = self.fold.rows_of(batch)
        change.heads.add(self.replica)
        return change

    def _groups(self, ops: Mapping[str, list[Op]]) -> tuple[Group, ...]:
        merged: dict[tuple[tuple[str, ...], tuple[tuple[int, int], ...]], list[tuple[Any, ...]]] = {}
        for key, writes in ops.items():
            known = self.fold.cells(key) if key in self.fold else {}
            values: dict[str, Any] = {}
            for op in writes:
                values[op.slot] = op.value if op.kind == "write" else self._value(known, values, op)
            seen = {
                replica: self.heads[replica].cut
                for replica in lattice.replicas_of(known)
                if replica != self.replica and self.heads[replica].cut
            }
            at = (tuple(values), tuple(sorted(seen.items())))
            merged.setdefault(at, []).append((key, *values.values()))
        return tuple(Group(fields, tuple(rows), dict(seen)) for (fields, seen), rows in merged.items())

    def _value(self, known: lattice.Record, values: Mapping[str, Any], op: Op) -> Any:
        if op.kind == "add":
            return self._moved(known, values, op)
        if op.kind == "named":
            return (op.value, op.cause)
        return self._count(known, values, op)

    def _moved(self, known: lattice.Record, values: Mapping[str, Any], op: Op) -> Any:
        """Return the running total after a movement, marked with the count that it has seen if another made that one."""
        before = values.get(op.slot)
        if before is None:
            cell = known.get(op.slot, {}).get(self.replica)
            before = cell.value if cell else (0, "")
        total, _, *marks = before
        counts = known.get(op.slot + lattice.COUNT_MARK)
        if not counts or op.slot + lattice.COUNT_MARK in values:
            return (total + op.value, op.cause)
        counter, count = lattice.siblings(counts)[0]
        if counter == self.replica:
            return (total + op.value, op.cause)
        if not marks or marks[0][:2] != (count.hlc, counter):
            marks = [(count.hlc, counter, total)]
        return (total + op.value, op.cause, marks[0])

    def _count(self, known: lattice.Record, values: Mapping[str, Any], op: Op) -> Any:
        """Return a count with all that it includes: what was visible, and what this batch wrote before it."""
        field = op.slot.removesuffix(lattice.COUNT_MARK)
        base, names = lattice.totals(known, field), lattice.named(known, field)
        prefix = field + lattice.NAME_MARK
        for slot, value in values.items():
            if slot == field:
                base[self.replica] = value[0]
            elif slot.startswith(prefix):
                names[slot[len(prefix) :]] = value[0]
        return (op.value, base, {name: amount for name, amount in names.items() if amount})

    # -- what peers send ---------------------------------------------------------------------------------------

    def receive(
        self,
        data: bytes,
        may_write: Callable[[int], bool],
        forbidden: Callable[[int], frozenset[str]] = lambda _replica: frozenset(),
        withholds: Callable[[int], bool] = lambda _replica: False,
    ) -> Change:
        """Take an update through structure, rights, contiguity, chain and validity; nothing is shown yet.

        ``withholds`` tells whether a mass removal in the log of a replica waits for a person.

        Raises:
            UpdateInvalid, BatchInvalid: not what this design writes.
            UpdateGap: the update starts behind what is held; a handshake is needed.
            Fork: the log does not continue the chain that is held.
            CompactionLoss: a compaction would drop a write.
        """
        update = read_update(data)
        change = Change(self.doc, self.shape.category)
        fresh: dict[int, _Arrivals] = {}
        for replica, runs in update.runs.items():
            if not may_write(replica):
                raise UpdateInvalid(f"{self.doc}: the sender may not write the log of replica {replica:x}")
            fresh[replica] = self._check_runs(replica, runs)
            if any(run.gone and run.end > update.deleted.get(replica, 0) for run in runs):
                raise UpdateInvalid(f"{self.doc}: elements of replica {replica:x} are gone and not deleted")
            if batches := fresh[replica].batches:
                self._check_groups(replica, batches)
                self._check_seals(replica, batches)
                self._check_deletion(replica, runs, batches, update.deleted.get(replica, 0))
                self._check_fields(replica, batches, forbidden(replica))
        for replica, upto in update.deleted.items():
            if replica not in update.runs and upto > self.heads.get(replica, Head()).seq:
                raise UpdateInvalid(f"{self.doc}: a deletion of elements that are not there")
        for replica, arrivals in fresh.items():
            if not arrivals.batches:
                continue
            self._note_replaced(replica, update.deleted.get(replica, 0))
            if withholds(replica):
                self._withhold(replica, arrivals, change)
            self._take(replica, arrivals, change)
        if change.heads:
            change.journal.append(self._trimmed(update.runs, update.deleted, fresh))
        return change

    def _withhold(self, replica: int, arrivals: _Arrivals, change: Change) -> None:
        batches = [batch for batch in arrivals.batches if batch.seq not in arrivals.problems]
        known = self.heads.get(replica, Head()).seq
        for removal in mass_removals(self.doc, replica, batches, known, self.fold, withhold=True):
            self._withheld.setdefault(replica, set()).add(removal.seq)
            change.removals.append(removal)

    def _trimmed(
        self,
        runs: Mapping[int, list[Run]],
        deleted: Mapping[int, int],
        fresh: Mapping[int, _Arrivals],
    ) -> bytes:
        kept: dict[int, list[Run]] = {}
        for replica, arrivals in fresh.items():
            if not arrivals.batches:
                continue
            start = arrivals.batches[0].seq - 1
            gone = [Run(run.clock, gone=run.gone) for run in runs[replica] if run.gone and run.end == start]
            kept[replica] = [*gone, Run(start, arrivals.elements)]
        return write_update(kept, {r: upto for r, upto in deleted.items() if r in kept})

    def _check_runs(self, replica: int, runs: list[Run]) -> _Arrivals:
        """Return the batches that are new, checked against the chain; their values too, while they are in the cache."""
        head = self.heads.get(replica) or Head()
        if runs[0].clock > head.seq:
            raise UpdateGap(self.doc, replica, head.seq, runs[0].clock)
        seq = head.seq
        result = _Arrivals(head.hash)
        hidden = False
        for run in runs:
            if run.gone and run.end > seq:
                seq, hidden = run.end, True
            elements = run.elements[max(0, head.seq - run.clock) :]
            if not elements:
                continue
            batches = [*map(decode_batch, elements)]
            self._check_sequences(replica, seq, batches)
            if hidden and (batches[0].compaction is None or batches[0].compaction[0] != seq):
                raise UpdateInvalid(f"{self.doc}: deleted elements that no compaction replaces")
            hashes = [*map(batch_hash, elements)]
            before = [batches[0].prev if hidden else result.end, *hashes[:-1]]
            for batch, chain in zip(batches, before, strict=True):
                if batch.prev != chain:
                    raise Fork(self.doc, replica, batch.seq - 1)
            seq, hidden, result.end = seq + len(batches), False, hashes[-1]
            result.batches += batches
            result.elements += elements
            result.problems |= self._problems(batches)
        if hidden:
            raise UpdateInvalid(f"{self.doc}: an update that ends in deleted elements")
        return result

    def _check_sequences(self, replica: int, clock: int, batches: list[Batch]) -> None:
        for at, batch in enumerate(batches, clock):
            if batch.seq != at + 1:
                raise UpdateInvalid(f"{self.doc}: batch {batch.seq} of replica {replica:x} at position {at}")

    def _check_groups(self, replica: int, batches: list[Batch]) -> None:
        """A batch of a compaction begins its group, or goes on with the one that began: what a group replaces is one thing."""
        building = self._building.get(replica)
        group = building[-1][0].compaction if building else None
        for batch in batches:
            named = batch.compaction
            if named is not None and batch.seq != named[0] + 1 and named != group:
                raise UpdateInvalid(
                    f"{self.doc}: batch {batch.seq} of replica {replica:x} is of a compaction that did not begin"
                )
            group = named

    def _check_seals(self, replica: int, batches: list[Batch]) -> None:
        """What is shown here is not taken back by what continues the log."""
        shown = self.heads.get(replica, Head()).visible
        for batch in batches:
            if batch.is_seal and batch.parts and batch.parts.keys() != {self.doc}:
                raise UpdateInvalid(f"{self.doc}: batch {batch.seq} of replica {replica:x} writes nothing")
            if batch.is_seal and batch.counts < shown:
                raise Fork(self.doc, replica, batch.counts)

    def _check_deletion(self, replica: int, runs: list[Run], batches: list[Batch], upto: int) -> None:
        """A prefix goes when what replaces it is whole, or at once where some of it never arrived."""
        lacks = any(run.gone and run.end > self.heads.get(replica, Head()).seq for run in runs)
        replaced = [
            batch.compaction[0]
            for batch in batches
            if batch.compaction is not None and (lacks or batch.seq == batch.compaction[1])
        ]
        if upto > max([self._replaced.get(replica, 0), *replaced]):
            raise UpdateInvalid(
                f"{self.doc}: {upto} elements of replica {replica:x} are deleted that no compaction replaces"
            )

    def _problems(self, batches: list[Batch]) -> dict[int, str]:
        """Return what keeps batches from being folded, by their sequence. Nearly always all are well, and judged at once."""
        try:
            check_batches(self.shape, batches)
        except BatchInvalid as problem:
            if len(batches) == 1:
                return {batches[0].seq: str(problem)}
            return {seq: text for batch in batches for seq, text in self._problems([batch]).items()}
        return {}

    def _check_fields(self, replica: int, batches: list[Batch], forbidden: frozenset[str]) -> None:
        if not forbidden:
            return
        for fields in {group.fields for batch in batches for group in batch.groups}:
            named = {lattice.field_of(slot) for slot in fields} & forbidden
            if named:
                field = f"{self.shape.category}.{min(named)}"
                raise UpdateInvalid(f"{field}: the role of replica {replica:x} may not write this field")

    def _take(self, replica: int, arrivals: _Arrivals, change: Change) -> None:
        for batch, data in zip(arrivals.batches, arrivals.elements, strict=True):
            if batch.seq in arrivals.problems:
                change.parked.append(Parked(replica, batch.seq, arrivals.problems[batch.seq], data))
                self._parked.add((replica, batch.seq))
            unit = self._enqueue(replica, batch, data)
            if batch.compaction is None:
                change.touched.append((replica, batch.seq, batch.keys()))
            elif unit is not None:
                self._check_compaction(replica, unit, change)
        head = self.heads.setdefault(replica, Head())
        head.seq, head.hash = arrivals.batches[-1].seq, arrivals.end
        change.heads.add(replica)
        change.hlc = max(change.hlc, *(batch.hlc for batch in arrivals.batches))

    def _enqueue(self, replica: int, batch: Batch, data: bytes) -> _Unit | None:
        """Add a batch to what waits to be shown; return the unit that it completes."""
        self._note_seal(replica, batch)
        if batch.seq > self.counts(replica):
            return None
        unit = self._building.pop(replica, [])
        named = batch.compaction
        if named is not None and batch.seq == named[0] + 1:
            # A newer compaction replaces one that never became whole.
            unit = []
        unit.append((batch, data))
        self._txids.setdefault(replica, {})[batch.seq] = b"" if named is not None else batch.txid
        if named is not None:
            if batch.seq < named[1]:
                self._building[replica] = unit
                return None
            self._note_replaced(replica, named[0])
        pending = self._pending.get(replica)
        if pending is None:
            pending = self._pending[replica] = deque()
        pending.append(unit)
        return unit

    def _check_compaction(self, replica: int, unit: _Unit, change: Change) -> None:
        upto = unit[0][0].compaction[0] if unit[0][0].compaction else 0
        kept: dict[tuple[str, str], int] = {}
        newest: dict[str, int] = {}
        for batch, _ in unit:
            for group in batch.groups:
                seq = group.seq or batch.seq
                change.hlc = max(change.hlc, group.hlc or 0)
                for row in group.rows:
                    newest[row[0]] = max(newest.get(row[0], 0), seq)
                    for slot in group.fields:
                        kept[row[0], slot] = max(kept.get((row[0], slot), 0), seq)
        for key in self.fold.every_key():
            for slot, cell in self.fold.cells_of(replica, key).items():
                if kept.get((key, slot), 0) < cell.seq <= upto:
                    raise CompactionLoss(self.doc, replica, f"{key}.{slot}")
        by_seq: dict[int, list[str]] = {}
        for key, seq in newest.items():
            by_seq.setdefault(seq, []).append(key)
        change.recompacted.append(
            (replica, upto, [(seq, tuple(keys)) for seq, keys in sorted(by_seq.items())])
        )

    # -- what becomes visible ----------------------------------------------------------------------------------

    def waiting(self) -> set[int]:
        """Return the replicas that have received batches not shown yet."""
        return {replica for replica, units in self._pending.items() if units}

    def unfinished(self) -> bool:
        """Tell whether a compaction waits to be shown: what it replaces is still needed."""
        waiting = (unit[0][0] for units in self._pending.values() for unit in units)
        return bool(self._building) or any(batch.compaction is not None for batch in waiting)

    def received(self, replica: int) -> int:
        """Return the newest sequence of a log that is here whole: shown, or waiting for the parts of its transaction."""
        units = self._pending.get(replica)
        return units[-1][-1][0].seq if units else self.heads[replica].visible

    def showable(
        self,
        replica: int,
        satisfied: Callable[[Batch], bool],
        ceiling: int = limits.SEQ_MAX,
    ) -> int:
        """Return the newest sequence that may be shown, given which parts of transactions are there.

        ``ceiling`` is an earlier answer: the result never exceeds it.
        """
        upto = self.heads[replica].visible
        for unit in self._pending.get(replica, ()):
            end = unit[-1][0].seq
            if end > ceiling:
                return upto
            for batch, _ in unit:
                if batch.parts and not satisfied(batch):
                    return upto
            upto = end
        return upto

    def show(self, replica: int, upto: int, change: Change) -> None:
        """Fold what waits of ``replica`` up to sequence ``upto`` and add its rows to ``change``."""
        units = self._pending.get(replica, deque())
        keys: dict[str, None] = {}
        fast: list[ReadRow] = []
        self.ahead = True
        while units and units[0][-1][0].seq <= upto:
            for batch, data in units.popleft():
                self._shown.append((replica, batch.seq))
                if (replica, batch.seq) in self._parked:
                    continue
                shown = self._fold(replica, batch, data)
                rows = self.fold.read_off(shown)
                if rows is not None:
                    fast += rows
                elif len(shown.groups) == 1 and len(shown.groups[0].rows) > 1:
                    fast += self.fold.rows(shown.keys())
                else:
                    keys.update(dict.fromkeys(shown.keys()))
        change.rows += fast
        change.rows += self.fold.rows(keys)
        self.heads[replica].visible = max(self.heads[replica].visible, upto)
        change.heads.add(replica)

    def promise(self, cut: Mapping[int, int], change: Change) -> None:
        """Take note of a peer's causally closed cut; it becomes ours when all of it is visible here.

        Each is closed for itself, so none waits for another: with several peers that go on writing, some part of all of them
        together is always missing.
        """
        if cut not in self._promised:
            self._promised.append(cut)
        self.advance_cut(change)
        while len(self._promised) > limits.CUTS_PROMISED_MAX:
            first, second, *others = self._promised
            self._promised = [_joined(first, second), *others]

    def advance_cut(self, change: Change) -> None:
        """Advance the cut by every promise of which all is visible."""
        waiting: list[Mapping[int, int]] = []
        for cut in self._promised:
            if not all(r in self.heads and self.heads[r].visible >= seq for r, seq in cut.items()):
                waiting.append(cut)
                continue
            for replica, seq in cut.items():
                head = self.heads[replica]
                if head.cut < seq:
                    head.cut = seq
                    change.heads.add(replica)
        self._promised = waiting

    def closed(self) -> dict[int, int]:
        """Return the causally closed cut, with each that a peer promised of which all has been received.

        Who is sent it waits, as this replica does, until it is visible. Nothing would be sent again to say so then.
        """
        closed = {replica: head.cut for replica, head in self.heads.items() if head.cut}
        for cut in self._promised:
            if all(r in self.heads and self.heads[r].seq >= seq for r, seq in cut.items()):
                closed = _joined(closed, cut)
        return closed

    # -- for peers and storage ---------------------------------------------------------------------------------

    def settle(self, change: Change) -> None:
        """A change is durable now: bring the yrs log, if it is loaded, up to it."""
        self.ahead = False
        for replica, seq in self._shown:
            self._txids[replica].pop(seq, None)
        self._shown.clear()
        if self.log is not None:
            for update in change.journal:
                self.log.apply(update)

    def snapshot(self) -> bytes:
        """Return the whole document as one update, which may stand for all that is stored of it. The log must be loaded.

        It is judged as it will be read: without a hole, and each log up to its head.

        Raises:
            UpdateInvalid: it lacks something, or the log is not loaded.
        """
        encoded = self._loaded_log().encode()
        ends: dict[int, int] = {}
        newest: dict[int, bytes] = {}
        for replica, runs in read_update(encoded).runs.items():
            ends[replica] = runs[-1].end
            newest.update((replica, element) for element in runs[-1].elements[-1:])
        self._check_ends(ends, newest)
        return encoded

    def _loaded_log(self) -> Log:
        if self.log is None:
            raise UpdateInvalid(f"{self.doc}: the log is not loaded")
        return self.log

    def compaction_due(self) -> float:
        """Return how many times as many superseded writes the own log holds as make a compaction worth while."""
        superseded = self.fold.superseded.get(self.replica, 0)
        return superseded / max(limits.COMPACTION_CELLS_MIN, 2 * len(self.fold))

    def compact(self, elements: Iterable[bytes], hlc: int, txid: bytes) -> Generator[None, None, Change]:
        """Replace the own log, of these elements, by the join of what is alive in it; what others wrote is not touched.

        It goes step by step, since a large log takes seconds, and the last one is the change. Nothing else may be written to
        the document in between; until the last step it is as it was.

        The state stays what it is: the compacted log is read as it was written, and each own cell must be there.

        Raises:
            CompactionLoss: the compacted log does not hold the same cells.
            UpdateInvalid: it is not one that can be loaded.
        """
        head = self.heads[self.replica]
        parts: dict[str, int] = {}
        for element in elements:
            for doc, seq in decode_batch(element).parts.items():
                parts[doc] = max(parts.get(doc, 0), seq)
            yield
        batches: list[bytes] = []
        packs, newest = yield from self._alive()
        chain, end = head.hash, head.seq + len(packs)
        for seq, pack in enumerate(packs, head.seq + 1):
            batch = Batch(seq, hlc, chain, txid, parts, "", tuple(pack), (head.seq, end))
            batches.append(encode_batch(batch))
            chain = batch_hash(batches[-1])
            yield
        update = write_update({self.replica: [Run(head.seq, batches)]}, {self.replica: head.seq})
        yield from self._check_compacted(head, update)
        rows = [(seq, tuple(keys)) for seq, keys in sorted(newest.items())]
        change = Change(self.doc, self.shape.category, hlc=hlc)
        change.journal.append(update)
        change.recompacted.append((self.replica, head.seq, rows))
        change.heads.add(self.replica)
        self.ahead = True
        self.heads[self.replica] = Head(end, chain, end, end)
        self._note_replaced(self.replica, head.seq)
        self.fold.compacted(self.replica)
        return change

    def _alive(self) -> Generator[None, None, tuple[list[list[Group]], dict[int, list[str]]]]:
        """Return what is alive of the own log, in groups for one batch each, and the keys by the newest write to each."""
        merged: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
        newest: dict[int, list[str]] = {}
        for key in self.fold.every_key():
            yield
            by_seq: dict[int, tuple[list[str], list[Any], lattice.Cell]] = {}
            for slot, cell in self.fold.cells_of(self.replica, key).items():
                slots, row, _ = by_seq.setdefault(cell.seq, ([], [key], cell))
                slots.append(slot)
                row.append(cell.value)
            if by_seq:
                newest.setdefault(max(by_seq), []).append(key)
            for slots, row, cell in by_seq.values():
                at = (cell.seq, cell.hlc, tuple(slots), tuple(sorted(cell.seen.items())))
                merged.setdefault(at, []).append(tuple(row))
        packs: list[list[Group]] = [[]]
        count = 0
        for (seq, stamp, fields, seen), all_rows in merged.items():
            for start in range(0, len(all_rows), limits.ROWS_PER_BATCH):
                rows = tuple(all_rows[start : start + limits.ROWS_PER_BATCH])
                if count + len(rows) > limits.ROWS_PER_BATCH and packs[-1]:
                    packs.append([])
                    count = 0
                packs[-1].append(Group(fields, rows, dict(seen), seq, stamp))
                count += len(rows)
            yield
        return packs, newest

    def _check_compacted(self, head: Head, update: bytes) -> Iterator[None]:
        """Judge a compaction of the own log by the bytes that are to be stored: each own cell is there, once, and no other."""
        written: dict[str, list[tuple[Batch, Group, tuple[Any, ...]]]] = {}
        seq, chain = head.seq, head.hash
        for run in read_update(update).runs[self.replica]:
            for data in run.elements:
                batch = decode_batch(data)
                if batch.seq != seq + 1 or batch.prev != chain:
                    raise UpdateInvalid(f"{self.doc}: a compaction that does not continue its log")
                for group in batch.groups:
                    for row in group.rows:
                        written.setdefault(row[0], []).append((batch, group, row))
                seq, chain = batch.seq, batch_hash(data)
                yield
        for key in self.fold.every_key():
            cells = self.fold.cells_of(self.replica, key)
            for batch, group, row in written.pop(key, ()):
                stamp = stamp_of(batch, group)
                for slot, value in zip(group.fields, row[1:], strict=True):
                    cell = cells.pop(slot, None)
                    # True is 1 for Python, and another value for everybody else.
                    if cell != (*stamp, value, group.seen) or type(cell.value) is not type(value):
                        raise CompactionLoss(self.doc, self.replica, f"{key}.{slot} differs after compaction")
            if cells:
                raise CompactionLoss(self.doc, self.replica, f"{key}.{min(cells)} is gone after compaction")
            yield
        if written:
            raise CompactionLoss(self.doc, self.replica, f"{min(written)} comes with the compaction")


def _joined(first: Mapping[int, int], second: Mapping[int, int]) -> dict[int, int]:
    return {r: max(first.get(r, 0), second.get(r, 0)) for r in first.keys() | second.keys()}
