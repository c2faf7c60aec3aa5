"""The fold: the join of all batches of one document, and the rows that it reads as.

A record that one bulk write created stays packed in the batch that brought it; cells are made only when a second
write touches the record. The fold is a pure function of the set of batches: order and repetition do not matter. It
never touches yrs, storage or time.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from crdtsync import limits
from crdtsync.errors import BatchInvalid
from crdtsync.schema.fields import Kind, movement_name_problem
from crdtsync.state import cells as lattice
from crdtsync.state.ceilings import KEY as CEILINGS
from crdtsync.state.ceilings import Ceiling, check_ceilings, read_ceilings, stamp_under, under
from crdtsync.state.cells import COUNT_MARK, DELETION, ELEMENT_MARK, NAME_MARK, Cell, Record
from crdtsync.state.codec import Batch, Group, decode_batch, pack_canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from crdtsync.schema.shape import Shape

# (document, key, *columns, deleted, conflicts): the order of a read-model row.
ReadRow = tuple[Any, ...]

# The end of a read-model row: not deleted, no conflicts.
_ALIVE = (0, None)
# (replica, batch, group, row) of a record that lives packed in the batch that brought it.
_Packed = tuple[int, Batch, Group, tuple[Any, ...]]

# All batches of a store's stock: a week of sales touches them in no order, and each would be decoded thousands of times.
_DECODED_BATCHES_MAX = 256
_BULK_ROWS_MIN = 8
_DIGEST_BYTES = 16
# A timestamp of msgpack is the one type that its reader makes without asking the codec.
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
_DIGEST_MODULUS = 1 << (8 * _DIGEST_BYTES)


def _check_counter(values: Sequence[Any], *, named: bool = False) -> str | None:
    sizes = {2} if named else {2, 3}
    if set(map(type, values)) == {tuple} and set(map(len, values)) <= sizes:
        amounts, causes = [value[0] for value in values], [value[1] for value in values]
        if (
            set(map(type, amounts)) == {int}
            and max(map(abs, amounts)) <= limits.AMOUNT_MAX
            and set(map(type, causes)) == {str}
            and max(map(len, causes)) <= limits.CAUSE_CHARS_MAX
            and all(_is_mark(value[2]) for value in values if len(value) > 2)
        ):
            return None
    return "a movement is not (integer, cause)" + ("" if named else " with or without the count seen")


def _is_mark(value: Any) -> bool:
    """Whether a value is (clock and replica of a count, total before the first movement that had seen it)."""
    return (
        type(value) is tuple
        and tuple(map(type, value)) == (int, int, int)
        and value[0] > 0
        and 0 < value[1] <= limits.REPLICA_MAX
        and abs(value[2]) <= limits.AMOUNT_MAX
    )


def _check_count(values: Sequence[Any]) -> str | None:
    for value in values:
        if not (
            type(value) is tuple
            and len(value) == 3
            and type(value[0]) is int
            and abs(value[0]) <= limits.AMOUNT_MAX
            and type(value[1]) is dict
            and len(value[1]) <= limits.VECTOR_ENTRIES_MAX
            and all(type(r) is int and type(total) is int for r, total in value[1].items())
            and type(value[2]) is dict
            and len(value[2]) <= limits.NAMES_PER_COUNT_MAX
            and all(type(name) is str and type(amount) is int for name, amount in value[2].items())
        ):
            most = limits.NAMES_PER_COUNT_MAX
            return f"a count is not (integer, totals by replica, at most {most:,} amounts by name)"
    return None


def _check_flag(values: Sequence[Any]) -> str | None:
    if set(map(type, values)) <= {int} and set(values) <= {0, 1}:
        return None
    return "a mark is neither 0 nor 1"


def _is_digestible(value: Any, depth: int = limits.VALUE_DEPTH_MAX) -> bool:
    """Tell whether a value has a canonical form: maps have keys of one kind, nesting ends, and it is no msgpack timestamp."""
    if type(value) is tuple:
        return depth > 0 and all(_is_digestible(item, depth - 1) for item in value)
    if type(value) is dict:
        keys_alike = set(map(type, value)) in (set(), {int}, {str})
        return depth > 0 and keys_alike and all(_is_digestible(item, depth - 1) for item in value.values())
    return type(value) in _PLAIN


def _check_slot(shape: Shape, slot: str, values: Sequence[Any]) -> str | None:
    field = shape.fields.get(slot)
    if field is not None:
        if field.kind is Kind.COUNTER:
            return _check_counter(values)
        if field.kind is Kind.SET:
            return "a set written as a whole"
        return field.check_column(values)
    if slot == DELETION:
        return _check_flag(values)
    field = shape.fields.get(lattice.field_of(slot))
    if field is None:
        # A newer version's field: kept and relayed unchanged, shown after an upgrade.
        return None if all(map(_is_digestible, values)) else "a value that no field can have"
    # Elements and names come first: they may hold and end in any mark.
    if ELEMENT_MARK in slot:
        if field.kind is not Kind.SET:
            return "an element of a field that is no set"
        return _check_flag(values) or field.check_column([slot.partition(ELEMENT_MARK)[2]])
    if NAME_MARK in slot:
        if field.kind is not Kind.COUNTER:
            return "a named movement of a field that is no counter"
        return movement_name_problem(slot.partition(NAME_MARK)[2]) or _check_counter(values, named=True)
    return _check_count(values) if field.kind is Kind.COUNTER else "a count of a field that is no counter"


def _fits(shape: Shape, slots: Sequence[str], row: Sequence[Any]) -> bool:
    """Tell whether one row of registers is valid: most batches of a till hold one. What is not is told by the columns."""
    judges, required = shape.judges, shape.required
    for slot, value in zip(slots, row[1:], strict=True):
        judge = judges.get(slot)
        if judge is None or (slot in required if value is None else not judge(value)):
            return False
    return shape.validate_key(row[0]) is None


def check_batch(shape: Shape, batch: Batch) -> None:
    """Check every key and value of a batch against the schema; see ``check_batches``."""
    check_batches(shape, (batch,))


def check_batches(shape: Shape, batches: Iterable[Batch]) -> None:
    """Check every key and value of batches against the schema, column by column over all rows of the same fields.

    Raises:
        BatchInvalid: one of them cannot be folded by this schema; it names the category and the field.
    """
    tables: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    fields: tuple[str, ...] | None = None
    table: list[tuple[Any, ...]] = []
    for batch in batches:
        for group in batch.groups:
            if group.rows[0][0] == CEILINGS:
                check_ceilings(group)
                continue
            # Most writes have the fields of the one before: comparing them is much less than looking them up.
            if group.fields != fields:
                fields = group.fields
                table = tables.setdefault(fields, [])
            table += group.rows
    for slots, rows in tables.items():
        if len(rows) == 1 and _fits(shape, slots, rows[0]):
            continue
        keys, *columns = zip(*rows, strict=True)
        problem = shape.check_keys(keys)
        if problem:
            raise BatchInvalid(f"{shape.category}: {problem}")
        for slot, values in zip(slots, columns, strict=True):
            problem = _check_slot(shape, slot, values)
            if problem:
                field = lattice.field_of(slot)
                raise BatchInvalid(f"{shape.category}.{field}: {problem}")


class Fold:
    """The folded records of one document."""

    def __init__(self, doc: str, shape: Shape) -> None:
        self.doc = doc
        self.shape = shape
        self._home: dict[str, int] = {}
        self._cells: dict[str, Record] = {}
        self._sources: dict[int, tuple[int, bytes]] = {}
        self._next_source = 0
        self._decoded: OrderedDict[int, tuple[int, Batch]] = OrderedDict()
        # The fields of a batch whose rows are read-model rows already, or None where no batch's are.
        kinds = {field.kind for field in shape.fields.values()}
        packed = len(shape.keys) == 1 and kinds.isdisjoint({Kind.COUNTER, Kind.SET})
        self._row_fields = tuple(shape.fields) if packed else None
        # What is counted is moved again and again: a record that one movement made gets its cells at once.
        self._packs_rows = Kind.COUNTER not in kinds
        # By replica: each one compacts its own log, and only that.
        self.superseded: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._home) + len(self._cells)

    def __contains__(self, key: str) -> bool:
        return key in self._home or key in self._cells

    def shows(self, key: str) -> bool:
        """Tell whether there is such a record and it is not deleted."""
        return key in self and not lattice.deletion_state(self.cells(key))[0]

    def keys(self) -> Iterator[str]:
        """Yield every record key, deleted ones included."""
        return (key for key in self.every_key() if key != CEILINGS)

    def every_key(self) -> Iterator[str]:
        """Yield every key, that of the ceilings included."""
        yield from self._home
        yield from self._cells

    def add(self, replica: int, batch: Batch, data: bytes) -> None:
        """Join a checked batch of ``replica``; ``data`` is its encoded form, kept while records live packed in it."""
        token = self._next_source
        used = False
        home, cells, packs = self._home, self._cells, self._packs_rows
        for group in batch.groups:
            if len(group.rows) >= _BULK_ROWS_MIN and self._add_bulk(group, token):
                used = True
                continue
            for row in group.rows:
                key = row[0]
                if packs and key not in home and key not in cells:
                    home[key] = token
                    used = True
                else:
                    self._join(replica, batch, group, row, token)
        if used:
            self._sources[token] = (replica, data)
            self._next_source += 1

    def _keep(self, token: int, replica: int, batch: Batch) -> None:
        self._decoded[token] = (replica, batch)
        if len(self._decoded) > _DECODED_BATCHES_MAX:
            self._decoded.popitem(last=False)

    def _add_bulk(self, group: Group, token: int) -> bool:
        fresh = dict.fromkeys([row[0] for row in group.rows], token)
        if len(fresh) != len(group.rows) or not self._home.keys().isdisjoint(fresh.keys()):
            return False
        if not self._cells.keys().isdisjoint(fresh.keys()):
            return False
        self._home.update(fresh)
        return True

    def _join(self, replica: int, batch: Batch, group: Group, row: tuple[Any, ...], token: int) -> None:
        """Join one row into the cells of its record."""
        key = row[0]
        record = self._cells.get(key)
        if record is None:
            home = self._home.get(key)
            if home is None:
                record = {}
            elif home == token:
                record = self._unpack_from(replica, batch, key, group)
            else:
                at, source, known, _ = self._packed(key, home)
                again = at == replica and stamp_of(source, known)[0] == (group.seq or batch.seq)
                # A write whose deletions are withheld comes in two parts of one stamp.
                if again and set(group.fields) <= set(known.fields):
                    return
                record = self.cells(key)
            self._home.pop(key, None)
            self._cells[key] = record
        seq, hlc = stamp_of(batch, group)
        for slot, value in zip(group.fields, row[1:], strict=True):
            if lattice.join_cell(record, slot, replica, Cell(seq, hlc, value, group.seen)):
                self.superseded[replica] = self.superseded.get(replica, 0) + 1

    def _unpack_from(self, replica: int, batch: Batch, key: str, upto: Group) -> Record:
        """Cells of a record that this very batch brought in an earlier group (a compaction does)."""
        record: Record = {}
        for group in batch.groups:
            seq, hlc = stamp_of(batch, group)
            for row in group.rows:
                if row[0] == key:
                    for slot, value in zip(group.fields, row[1:], strict=True):
                        lattice.join_cell(record, slot, replica, Cell(seq, hlc, value, group.seen))
            if group is upto:
                break
        return record

    def _packed(self, key: str, token: int) -> _Packed:
        known = self._decoded.get(token)
        if known is None:
            replica, data = self._sources[token]
            batch = decode_batch(data)
            self._keep(token, replica, batch)
        else:
            replica, batch = known
            self._decoded.move_to_end(token)
        group, row = next((group, row) for group in batch.groups for row in group.rows if row[0] == key)
        return replica, batch, group, row

    def cells(self, key: str) -> Record:
        """Return a record's cells (a copy for a packed record; do not change them). Empty if there is none."""
        record = self._cells.get(key)
        if record is not None:
            return record
        token = self._home.get(key)
        if token is None:
            return {}
        replica, batch, group, row = self._packed(key, token)
        seq, hlc = stamp_of(batch, group)
        return {
            slot: {replica: Cell(seq, hlc, value, group.seen)}
            for slot, value in zip(group.fields, row[1:], strict=True)
        }

    def rows(self, keys: Iterable[str]) -> list[ReadRow]:
        """Return the read-model rows of records; for the key of the ceilings, of all records that one bounds."""
        ceilings = self.ceilings()
        if not ceilings:
            return [read_row(self.doc, self.shape, key, self.cells(key)) for key in keys]
        wanted = dict.fromkeys(keys)
        if CEILINGS in wanted:
            del wanted[CEILINGS]
            # One write alone needs no stamp, so a record that lives packed reads the same as before.
            wanted |= dict.fromkeys(
                k for k, r in self._cells.items() if k != CEILINGS and under(ceilings, r) is not r
            )
        return [read_row(self.doc, self.shape, key, under(ceilings, self.cells(key))) for key in wanted]

    def ceilings(self) -> list[Ceiling]:
        """Return what bounds the stamps of writers whose clocks ran ahead; nearly always nothing."""
        return read_ceilings(self.cells(CEILINGS)) if CEILINGS in self else []

    def stamp_that_counts(self, replica: int, seq: int, hlc: int) -> int:
        """Return what a stamp counts as under the ceilings."""
        return stamp_under(self.ceilings(), replica, seq, hlc)

    def rows_of(self, batch: Batch) -> list[ReadRow]:
        """Return the read-model rows of the records that a batch, already joined, touched."""
        rows = self.read_off(batch)
        return self.rows(batch.keys()) if rows is None else rows

    def read_off(self, batch: Batch) -> list[ReadRow] | None:
        """Return the rows of a batch, already joined, if they are in it as they are: nothing is to be looked up or joined."""
        result: list[ReadRow] = []
        head = (self.doc,)
        for group in batch.groups:
            if group.fields != self._row_fields:
                return None
            # A record of the group may have been touched by an earlier write; those in cells are read the long way.
            if self._cells and not self._cells.keys().isdisjoint([row[0] for row in group.rows]):
                return None
            result += [head + row + _ALIVE for row in group.rows]
        return result

    def digest(self) -> bytes:
        """Return the canonical digest of the folded state: equal digests mean equal cells, whatever the history.

        The digest is the sum, modulo 2**128, of the BLAKE2b hashes of each record's canonical form.
        """
        total = sum(_hash(key, lattice.canonical(record)) for key, record in self._cells.items())
        for token, (replica, data) in self._sources.items():
            batch = decode_batch(data)
            for group in batch.groups:
                # A packed record is one row of one group: its canonical form is read off without making cells.
                stamp = (replica, *stamp_of(batch, group), tuple(sorted(group.seen.items())))
                order = sorted((slot, place) for place, slot in enumerate(group.fields, 1))
                for row in group.rows:
                    if self._home.get(row[0]) == token:
                        writes = [(slot, lattice.plain(row[place])) for slot, place in order]
                        total += _hash(row[0], [(*stamp, writes)])
        return (total % _DIGEST_MODULUS).to_bytes(_DIGEST_BYTES, "big")

    def compacted(self, replica: int) -> None:
        """A replica's log holds only what is alive from now on; nor is anything else kept here."""
        self.superseded.pop(replica, None)
        homes = set(self._home.values())
        self._sources = {token: source for token, source in self._sources.items() if token in homes}

    def cells_of(self, replica: int, key: str) -> dict[str, Cell]:
        """Return the cells of a record that ``replica`` wrote, by slot."""
        token = self._home.get(key)
        if token is not None and self._sources[token][0] != replica:
            return {}
        return {slot: cells[replica] for slot, cells in self.cells(key).items() if replica in cells}


def _hash(key: str, canonical: list[Any]) -> int:
    data = pack_canonical([key, canonical])
    return int.from_bytes(blake2b(data, digest_size=_DIGEST_BYTES).digest(), "big")


def stamp_of(batch: Batch, group: Group) -> tuple[int, int]:
    """Return the sequence and the clock of a group's writes: the batch's, or those of the write that a compaction keeps."""
    if group.seq is None or group.hlc is None:
        return batch.seq, batch.hlc
    return group.seq, group.hlc


def _json(values: Sequence[Any]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _read_field(shape: Shape, kind: Kind, record: Record, name: str) -> tuple[Any, list[Any]]:
    """Return (wire value, concurrent values) of a field that is no counter."""
    if kind is Kind.SET:
        return _json(sorted(lattice.elements(record, name))), []
    slot = record.get(name)
    if slot is None:
        return shape.defaults[name], []
    if len(slot) == 1:
        (cell,) = slot.values()
        return cell.value, []
    if kind is Kind.ONCE:
        values = list(
            dict.fromkeys(cell.value for _, cell in sorted(slot.items(), key=lambda e: (e[1].hlc, e[0])))
        )
    else:
        values = list(dict.fromkeys(cell.value for _, cell in lattice.siblings(slot)))
    return values[0], values if len(values) > 1 else []


def read_row(doc: str, shape: Shape, key: str, record: Record) -> ReadRow:
    """Return the read-model row of one record: (doc, key, *columns, deleted, conflicts as JSON or None)."""
    conflicts: dict[str, list[Any]] = {}
    values: list[Any] = list(shape.key_columns(key)) if len(shape.keys) > 1 else []
    for name, field in shape.fields.items():
        kind = field.kind
        if kind is Kind.COUNTER:
            value, rivals = lattice.balance(record, name)
            # Every total fits, their sum need not: a store could not keep it. The fold itself goes on exactly.
            value = max(-limits.AMOUNT_MAX, min(limits.AMOUNT_MAX, value))
            if name + COUNT_MARK in record:
                counted, amount = lattice.unaware(record, name)
                if amount:
                    conflicts[name + COUNT_MARK] = [counted, amount]
        else:
            value, rivals = _read_field(shape, kind, record, name)
        values.append(value)
        if rivals:
            conflicts[name] = rivals
    deleted, contested = lattice.deletion_state(record)
    if contested:
        conflicts[DELETION] = [0, 1]
    text = (
        json.dumps(conflicts, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        if conflicts
        else None
    )
    return (doc, key, *values, int(deleted), text)
