"""Ceilings: what a writer's stamps count as at most, when its clock ran far ahead.

Where two edits do not know of each other, the greater stamp wins; a lane whose clock says 2035 would win for nine years.
So the first node above that takes a batch stamped too far ahead adds a ceiling to its own log of the same document, in
the same commit: "what replica R wrote up to sequence S counts as at most stamp H", and "its clock was D ahead" where
the greeting showed it. The batch itself stays as it is and is shown at once. A ceiling is a cell of a reserved record,
so it merges, compacts and travels as every cell does, and the stamp that counts is a function of the document alone:
nodes that hold the same logs read the same values, whatever their clocks say. Nothing here reads a clock.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from crdtsync.errors import BatchInvalid
from crdtsync.state.cells import ELEMENT_MARK
from crdtsync.state.codec import decode_batch
from crdtsync.state.hlc import COUNTER_BITS
from crdtsync.state.update import read_update

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crdtsync.state.cells import Record
    from crdtsync.state.codec import Group

KEY = "\x1f"
"""The reserved record; no key of an entity may hold this character."""

FIELD = "^"
"""The field that its slots belong to; no field of an entity has this name."""

_SLOT = re.compile(re.escape(FIELD + ELEMENT_MARK) + r"([0-9a-f]{1,14}):([1-9][0-9]{0,12})")


class Ceiling(NamedTuple):
    """What `replica` wrote up to sequence `seq` counts as at most `hlc`; its clock was `shift_ms` ahead (0: unknown)."""

    replica: int
    seq: int
    hlc: int
    shift_ms: int

    @property
    def slot(self) -> str:
        """The slot that holds it."""
        return f"{FIELD}{ELEMENT_MARK}{self.replica:x}:{self.seq}"


def check_ceilings(group: Group) -> None:
    """Check a group of the reserved record. Raises BatchInvalid."""
    if len(group.rows) != 1:
        raise BatchInvalid("ceilings are not alone in their group")
    for slot, value in zip(group.fields, group.rows[0][1:], strict=True):
        well = type(value) is tuple and len(value) == 2 and set(map(type, value)) == {int}
        if _SLOT.fullmatch(slot) is None or not (well and 0 < value[0] < 1 << 63 and 0 <= value[1] < 1 << 47):
            raise BatchInvalid("a ceiling is not (stamp, milliseconds)")


def read_ceilings(record: Record) -> list[Ceiling]:
    """Return the ceilings that the cells of the reserved record hold."""
    found: list[Ceiling] = []
    for slot, cells in record.items():
        match = _SLOT.fullmatch(slot)
        if match is not None:
            at = (int(match[1], 16), int(match[2]))
            found += [Ceiling(*at, *cell.value) for cell in cells.values()]
    return found


def stamp_under(ceilings: Iterable[Ceiling], replica: int, seq: int, hlc: int) -> int:
    """Return what a stamp counts as: the least that any ceiling says."""
    least = hlc
    for ceiling in ceilings:
        if ceiling.replica == replica and seq <= ceiling.seq and hlc > ceiling.hlc:
            least = min(least, ceiling.hlc, max(1, hlc - (ceiling.shift_ms << COUNTER_BITS)))
    return least


def under(ceilings: Iterable[Ceiling], record: Record) -> Record:
    """Return a record with the stamps that count; the argument itself when none is changed."""
    result = record
    for slot, cells in record.items():
        for replica, cell in cells.items():
            stamp = stamp_under(ceilings, replica, cell.seq, cell.hlc)
            if stamp != cell.hlc:
                if result is record:
                    result = {name: dict(known) for name, known in record.items()}
                result[slot][replica] = cell._replace(hlc=stamp)
    return result


def stamps_of(update: bytes, latest: int) -> tuple[int, dict[int, tuple[int, int]]]:
    """Read the stamps of an update, those that a compaction preserves included.

    Returns the greatest that is not after ``latest``, and by replica (newest sequence, greatest stamp) of batches with
    a stamp after it.
    """
    good = 0
    ahead: dict[int, tuple[int, int]] = {}
    for replica, runs in read_update(update).runs.items():
        for batch in (decode_batch(element) for run in runs for element in run.elements):
            for stamp in (batch.hlc, *(group.hlc for group in batch.groups if group.hlc is not None)):
                if stamp <= latest:
                    good = max(good, stamp)
                else:
                    ahead[replica] = (batch.seq, max(stamp, ahead.get(replica, (0, 0))[1]))
    return good, ahead
