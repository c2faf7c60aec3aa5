"""A strict reader and writer of yrs updates (lib0 update format v1), for the one shape that this design writes.

It accepts byte elements appended to root arrays ``log/<replica>`` and deletions of a log's prefix, and refuses
everything else before yrs sees it: yrs itself accepts forged deletes, squatted clocks and deep nesting. The format is
the one of Yjs' ``encodeStateAsUpdate`` (github.com/yjs/yjs, INTERNALS.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crdtsync import limits
from crdtsync.errors import UpdateInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_ITEM_DELETED = 1
_ITEM_ANY = 8
_HAS_ORIGIN = 0x80
_ANY_BUFFER = 116


@dataclass(slots=True)
class Run:
    """Consecutive elements of one log from ``clock`` on: their bytes, or how many are gone by compaction."""

    clock: int
    elements: list[bytes] = field(default_factory=list)
    gone: int = 0

    @property
    def end(self) -> int:
        """The clock after the last element."""
        return self.clock + self.gone + len(self.elements)


@dataclass(slots=True)
class Update:
    """What an update says: the runs of each replica in clock order, and how long a prefix of each log is deleted."""

    runs: dict[int, list[Run]] = field(default_factory=dict)
    deleted: dict[int, int] = field(default_factory=dict)

    def is_empty(self) -> bool:
        """Tell whether the update adds and deletes nothing."""
        return not self.runs and not self.deleted


def root_name(replica: int) -> str:
    """Return the name of the root array that holds a replica's log."""
    return f"log/{replica:x}"


class _Reader:
    __slots__ = ("data", "pos")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def uint(self) -> int:
        data, pos = self.data, self.pos
        result = shift = 0
        while True:
            if pos >= len(data) or shift > 56:
                raise UpdateInvalid("a number is cut off or too long")
            byte = data[pos]
            pos += 1
            if byte < 0x80:
                self.pos = pos
                return result | byte << shift
            result |= (byte & 0x7F) << shift
            shift += 7

    def byte(self) -> int:
        if self.pos >= len(self.data):
            raise UpdateInvalid("the update is cut off")
        self.pos += 1
        return self.data[self.pos - 1]

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.pos:
            raise UpdateInvalid("a length points behind the end")
        self.pos += size
        return self.data[self.pos - size : self.pos]

    def elements(self, count: int) -> list[bytes]:
        """Read so many byte elements. Most of an update is these, so their lengths are read here and not by `uint`."""
        data, pos = self.data, self.pos
        result: list[bytes] = []
        try:
            for _ in range(count):
                kind, size = data[pos], data[pos + 1]
                if kind != _ANY_BUFFER:
                    raise UpdateInvalid("an element is not bytes")
                pos += 2
                if size > 0x7F:
                    self.pos = pos - 1
                    size = self.uint()
                    pos = self.pos
                result.append(data[pos : pos + size])
                pos += size
        except IndexError:
            raise UpdateInvalid("the update is cut off") from None
        if pos > len(data):
            raise UpdateInvalid("a length points behind the end")
        self.pos = pos
        return result


def _read_position(reader: _Reader, info: int, replica: int, clock: int) -> None:
    """Check that an item sits right behind its predecessor in its own replica's log."""
    if info & _HAS_ORIGIN:
        if reader.uint() != replica or reader.uint() != clock - 1:
            raise UpdateInvalid("an element is not appended to its own log")
        return
    if clock != 0 or reader.uint() != 1:
        raise UpdateInvalid("an element is not at the start of a root array")
    if reader.take(reader.uint()) != root_name(replica).encode():
        raise UpdateInvalid("an element is in an array that is not its writer's log")


def _read_item(reader: _Reader, replica: int, clock: int) -> Run:
    info = reader.byte()
    kind = info & 0x1F
    if info & ~(_HAS_ORIGIN | 0x1F) or kind not in {_ITEM_DELETED, _ITEM_ANY}:
        raise UpdateInvalid(f"item kind {info:#x} is not part of a log")
    _read_position(reader, info, replica, clock)
    count = reader.uint()
    if not 0 < count <= limits.SEQ_MAX:
        raise UpdateInvalid("an empty or oversized item")
    if kind == _ITEM_DELETED:
        return Run(clock, gone=count)
    return Run(clock, reader.elements(count))


def _read_number(reader: _Reader) -> int:
    replica = reader.uint()
    if not 0 < replica <= limits.REPLICA_MAX:
        raise UpdateInvalid("a replica number is out of range")
    return replica


def _read_replica(reader: _Reader) -> tuple[int, list[Run]]:
    items = reader.uint()
    replica = _read_number(reader)
    clock = reader.uint()
    runs: list[Run] = []
    for _ in range(items):
        run = _read_item(reader, replica, clock)
        clock = run.end
        last = runs[-1] if runs else None
        if last is not None and run.elements and last.elements:
            last.elements += run.elements
        elif last is not None and run.gone and last.gone:
            last.gone += run.gone
        else:
            runs.append(run)
        if clock > limits.SEQ_MAX:
            raise UpdateInvalid("a clock is out of range")
    if not runs:
        raise UpdateInvalid("a replica without items")
    return replica, runs


def _read_deletions(reader: _Reader) -> dict[int, int]:
    deleted: dict[int, int] = {}
    for _ in range(reader.uint()):
        replica = _read_number(reader)
        upto = 0
        for _ in range(reader.uint()):
            clock, length = reader.uint(), reader.uint()
            if clock != upto or not length or clock + length > limits.SEQ_MAX:
                raise UpdateInvalid("a deletion that is not a log's prefix")
            upto = clock + length
        if not upto or replica in deleted:
            raise UpdateInvalid("a malformed deletion")
        deleted[replica] = upto
    return deleted


def read_update(data: bytes) -> Update:
    """Read an update strictly.

    Raises:
        UpdateInvalid: anything but byte elements appended to their writer's log and deletions of a log's prefix.
    """
    reader = _Reader(data)
    update = Update()
    for _ in range(reader.uint()):
        replica, runs = _read_replica(reader)
        if replica in update.runs:
            raise UpdateInvalid("a replica appears twice")
        update.runs[replica] = runs
    update.deleted = _read_deletions(reader)
    if reader.pos != len(data):
        raise UpdateInvalid("bytes after the end")
    for replica, runs in update.runs.items():
        if any(run.gone for run in runs[1:]):
            raise UpdateInvalid(f"deleted elements of replica {replica:x} behind live ones")
    return update


def _uint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _write_item(out: bytearray, replica: int, clock: int, kind: int, count: int) -> None:
    if clock:
        out.append(kind | _HAS_ORIGIN)
        _uint(out, replica)
        _uint(out, clock - 1)
    else:
        out.append(kind)
        name = root_name(replica).encode()
        _uint(out, 1)
        _uint(out, len(name))
        out += name
    _uint(out, count)


def write_update(runs: Mapping[int, list[Run]], deleted: Mapping[int, int] | None = None) -> bytes:
    """Encode runs and deleted prefixes as an update; a run of elements becomes one item, as yrs itself writes it.

    An item for each element would be the same to yrs, which joins them, but in a time that grows with their square.
    """
    out = bytearray()
    _uint(out, len(runs))
    for replica, replica_runs in runs.items():
        _uint(out, len(replica_runs))
        _uint(out, replica)
        _uint(out, replica_runs[0].clock)
        for run in replica_runs:
            if run.gone:
                _write_item(out, replica, run.clock, _ITEM_DELETED, run.gone)
                continue
            _write_item(out, replica, run.clock, _ITEM_ANY, len(run.elements))
            for element in run.elements:
                out.append(_ANY_BUFFER)
                _uint(out, len(element))
                out += element
    _uint(out, len(deleted or {}))
    for replica, upto in (deleted or {}).items():
        _uint(out, replica)
        out += b"\x01\x00"
        _uint(out, upto)
    return bytes(out)


def append_update(replica: int, clock: int, elements: list[bytes]) -> bytes:
    """Encode elements appended by ``replica`` to its log from ``clock`` on."""
    return write_update({replica: [Run(clock, elements)]})


def split_update(update: Update, size_max: float | Callable[[], float]) -> Iterator[Update]:
    """Cut an update into pieces of at most ``size_max`` bytes of elements that can be applied one after the other.

    A size that is called for may change from one piece to the next.

    The deletion of a prefix travels with the last element of its log, so that a peer who has the prefix keeps it until
    it has what replaces it. A peer who lacks some of the prefix gets the deletion with the place of what it lacks: a
    log with a hole behind live elements could not be passed on. Only deletions of the logs that the update extends are
    kept.
    """
    limit = size_max if callable(size_max) else lambda: size_max
    piece, size = Update(), 0
    for replica, runs in update.runs.items():
        lead: Run | None = None
        for run in runs:
            if run.gone:
                lead = run
                continue
            for clock, element in enumerate(run.elements, run.clock):
                if size and size + len(element) > limit():
                    yield piece
                    piece, size = Update(), 0
                own = piece.runs.setdefault(replica, [lead] if lead else [])
                if lead is not None and replica in update.deleted:
                    piece.deleted[replica] = update.deleted[replica]
                if not own or own[-1].gone:
                    own.append(Run(clock))
                own[-1].elements.append(element)
                size += len(element) + limits.ELEMENT_OVERHEAD_BYTES
                lead = None
        if replica in update.deleted:
            piece.deleted[replica] = update.deleted[replica]
    if not piece.is_empty():
        yield piece
