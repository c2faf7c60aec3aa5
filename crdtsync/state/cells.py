"""Records as join-semilattices: cells, their join, and what they read as.

Per record there is one cell per (slot, replica); a newer sequence of the same replica replaces the older one, and the
join of two records is that, cell by cell (delta-state CRDTs; Almeida, Shoker, Baquero 2018). Causality between
replicas is a ``seen`` vector in each cell (dotted version vectors; Preguica et al. 2012): cell *a* covers cell *b* of
another replica when ``a.seen[b.replica] >= b.seq``.

Slots: a field's name; ``name#`` for an inventory count of a counter; ``name!`` and a name for a movement of a counter
that counts once; the field's name, a unit separator (U+001F) and the element for an element of a set; ``~`` for
deletion. This module never reads bytes, clocks or documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

DELETION = "~"
COUNT_MARK = "#"
NAME_MARK = "!"
ELEMENT_MARK = "\x1f"

_ATOMS = frozenset({str, int, type(None)})
_NOTHING: Mapping[int, int] = {}


class Cell(NamedTuple):
    """One replica's newest write of one slot."""

    seq: int
    hlc: int
    value: Any
    seen: Mapping[int, int] = _NOTHING


Cells = dict[int, Cell]
Record = dict[str, Cells]


def field_of(slot: str) -> str:
    """Return the field that a slot belongs to (``~`` for deletion)."""
    return slot.partition(ELEMENT_MARK)[0].partition(NAME_MARK)[0].removesuffix(COUNT_MARK)


def join_cell(record: Record, slot: str, replica: int, cell: Cell) -> bool:
    """Join one cell into a record; tell whether it took the place of an older one.

    Two cells with equal sequence come from the same write of the same replica, so they are equal.
    """
    cells = record.get(slot)
    if cells is None:
        record[slot] = {replica: cell}
        return False
    known = cells.get(replica)
    if known is not None and known.seq >= cell.seq:
        return False
    cells[replica] = cell
    return known is not None


def join(left: Record, right: Record) -> Record:
    """Return the least upper bound of two records; neither argument is changed."""
    result = {slot: dict(cells) for slot, cells in left.items()}
    for slot, cells in right.items():
        for replica, cell in cells.items():
            join_cell(result, slot, replica, cell)
    return result


def siblings(cells: Cells) -> list[tuple[int, Cell]]:
    """Return the cells that no other replica's cell covers, the winner first.

    The winner has the greatest (hybrid clock, replica). More than one sibling is a concurrent write.
    """
    if len(cells) == 1:
        return list(cells.items())
    alive = [
        (replica, cell)
        for replica, cell in cells.items()
        if not any(
            other != replica and rival.seen.get(replica, 0) >= cell.seq for other, rival in cells.items()
        )
    ]
    # Sequences of one log only grow, so two cells cannot cover each other; an empty result means forged vectors,
    # and the clock then decides alone.
    alive = alive or list(cells.items())
    return sorted(alive, key=lambda entry: (entry[1].hlc, entry[0]), reverse=True)


def first_write(cells: Cells) -> Cell:
    """Return the earliest cell by (hybrid clock, replica): the value of a field that is written once."""
    return min(cells.items(), key=lambda entry: (entry[1].hlc, entry[0]))[1]


def totals(record: Record, field: str) -> dict[int, int]:
    """Return a counter's running total per replica, in scaled units."""
    return {replica: cell.value[0] for replica, cell in record.get(field, {}).items()}


def named(record: Record, field: str) -> dict[str, int]:
    """Return what each named movement of a counter amounts to, in scaled units: its winner, once."""
    prefix = field + NAME_MARK
    return {
        slot[len(prefix) :]: siblings(cells)[0][1].value[0]
        for slot, cells in record.items()
        if slot.startswith(prefix)
    }


def balance(record: Record, field: str) -> tuple[int, list[int]]:
    """Return a counter's balance in scaled units, and the values of its concurrent counts (empty if at most one).

    An inventory count sets the balance; movements that it did not include still move it.
    """
    own = record.get(field)
    if own and len(record) == 1:
        # Most are movements and nothing else.
        return sum([cell.value[0] for cell in own.values()]), []
    moved, names = totals(record, field), named(record, field)
    counts = record.get(field + COUNT_MARK)
    if not counts:
        return sum(moved.values()) + sum(names.values()), []
    rivals = siblings(counts)
    value, base, then = rivals[0][1].value
    current = value + sum(total - base.get(replica, 0) for replica, total in moved.items())
    current += sum(amount - then.get(name, 0) for name, amount in names.items())
    return current, [cell.value[0] for _, cell in rivals] if len(rivals) > 1 else []


def unaware(record: Record, field: str) -> tuple[int, int]:
    """Return (value of the count of a counter that has one, what others moved without having seen it).

    A movement's cell tells it: its mark names the newest count that its replica had seen, by (clock, replica), and the
    replica's total before it moved with that knowledge. A mark that names a later count than the one that is shown
    ends what had not seen this one, too. Named movements are not told apart.
    """
    counter, count = siblings(record[field + COUNT_MARK])[0]
    amount = 0
    for replica, cell in record.get(field, {}).items():
        if replica != counter:
            total, _, *marks = cell.value
            if marks and marks[0][:2] >= (count.hlc, counter):
                total = marks[0][2]
            amount += total - count.value[1].get(replica, 0)
    return count.value[0], amount


def elements(record: Record, field: str) -> Iterator[str]:
    """Yield the elements of a set: those with a sibling that adds them (add-wins, observed remove)."""
    prefix = field + ELEMENT_MARK
    for slot, cells in record.items():
        if slot.startswith(prefix) and any(cell.value for _, cell in siblings(cells)):
            yield slot[len(prefix) :]


def _touches(record: Record) -> Iterator[tuple[int, Cell]]:
    for slot, cells in record.items():
        for replica, cell in cells.items():
            if slot != DELETION or not cell.value:
                yield replica, cell


def deletion_state(record: Record) -> tuple[bool, bool]:
    """Return (deleted, contested) of a record.

    It is deleted when every touch is covered by a deletion. It is contested when it is alive although a deletion
    stands that no touch has seen: one side deleted while the other wrote.
    """
    if DELETION not in record:
        return False, False
    removals = [(r, cell) for r, cell in record[DELETION].items() if cell.value]
    if not removals:
        return False, False

    def covered(replica: int, touch: Cell) -> bool:
        return any(
            cell.seq >= touch.seq if r == replica else cell.seen.get(replica, 0) >= touch.seq
            for r, cell in removals
        )

    touches = list(_touches(record))
    if all(covered(replica, touch) for replica, touch in touches):
        return True, False
    seen_by_touch = all(
        any(
            touch.seq > cell.seq if replica == r else touch.seen.get(r, 0) >= cell.seq
            for replica, touch in touches
        )
        for r, cell in removals
    )
    return False, not seen_by_touch


def replicas_of(record: Record) -> set[int]:
    """Return the replicas that have a cell in the record."""
    return {replica for cells in record.values() for replica in cells}


Stamped = tuple[int, int, int, tuple[tuple[int, int], ...], list[tuple[str, Any]]]


def canonical(record: Record) -> list[Stamped]:
    """Return a record's cells in an order that does not depend on how they arrived.

    Each entry is (replica, sequence, clock, seen, [(slot, value), ...]).
    """
    writes: dict[tuple[int, int], Stamped] = {}
    for slot in sorted(record):
        for replica, cell in record[slot].items():
            write = writes.get((replica, cell.seq))
            if write is None:
                write = (replica, cell.seq, cell.hlc, tuple(sorted(cell.seen.items())), [])
                writes[replica, cell.seq] = write
            write[4].append((slot, plain(cell.value)))
    return [writes[at] for at in sorted(writes)]


def plain(value: Any) -> Any:
    """Return a cell's value in the form that is digested: mappings as sorted pairs."""
    # Most values are texts and numbers; asking for an abstract type of each would cost more than the rest.
    if type(value) in _ATOMS:
        return value
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return sorted(value.items())
    return value
