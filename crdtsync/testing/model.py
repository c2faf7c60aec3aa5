"""The plain model that the simulated cluster is compared with: every acknowledged write, and what they should read as.

It is written a second time on purpose, from the merge policies and without the program's cells, fold or codec. Each
write remembers what its node had shown and what its node had closed at that moment, so every concurrent write has one
right answer. It never sees bytes, logs or the network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from crdtsync.schema.fields import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crdtsync.schema.shape import Shape
    from crdtsync.state.document import Op

_DELETION = "~"
_ELEMENT = "\x1f"
_NAME = "!"


@dataclass(slots=True)
class Written:
    """One transaction that a node acknowledged.

    Attributes:
        replica: who wrote.
        stamp: its hybrid clock.
        parts: document -> the batch's sequence there.
        ops: document -> key -> writes, in order.
        closed: document -> replica -> newest batch in the causally closed cut when it was written.
        shown: document -> replica -> newest batch visible to the writer.
    """

    replica: int
    stamp: int
    parts: dict[str, int]
    ops: dict[str, dict[str, list[Op]]]
    closed: dict[str, dict[int, int]]
    shown: dict[str, dict[int, int]]


class _Write(NamedTuple):
    replica: int
    seq: int
    stamp: int
    value: Any
    closed: Mapping[int, int]

    def covers(self, other: _Write) -> bool:
        """Whether this write knew of the other."""
        if self.replica == other.replica:
            return self.seq >= other.seq
        return self.closed.get(other.replica, 0) >= other.seq


class _Move(NamedTuple):
    replica: int
    seq: int
    amount: int
    shown: Mapping[int, int]


@dataclass(slots=True)
class _History:
    """Newest write of each (slot, replica), and every movement of each counter.

    Counts keep the newest batch of each replica that their writer saw; `named` holds every write of each named movement.
    """

    writes: dict[str, dict[int, _Write]] = field(default_factory=dict)
    moves: dict[str, list[_Move]] = field(default_factory=dict)
    named: dict[str, dict[str, list[_Write]]] = field(default_factory=dict)
    counts: dict[str, dict[int, tuple[_Write, dict[int, int]]]] = field(default_factory=dict)


@dataclass(slots=True)
class Expected:
    """What a record should read as: wire values by field, deleted, conflicts by field, counter totals by replica."""

    values: dict[str, Any]
    deleted: bool
    conflicts: dict[str, list[Any]]
    totals: dict[str, dict[int, int]]


class Model:
    """See the module."""

    def __init__(self) -> None:
        self.transactions: list[Written] = []

    def expected(self, doc: str, shape: Shape) -> dict[str, Expected]:
        """Return every record of a document."""
        histories: dict[str, _History] = {}
        for written in self.transactions:
            for key, ops in written.ops.get(doc, {}).items():
                _join(histories.setdefault(key, _History()), doc, written, ops)
        return {key: _read(shape, history) for key, history in histories.items()}

    def documents(self) -> list[str]:
        """Return every document that was written."""
        return sorted({doc for written in self.transactions for doc in written.parts})


def _join(history: _History, doc: str, written: Written, ops: Iterable[Op]) -> None:
    seq, closed = written.parts[doc], written.closed[doc]
    for op in ops:
        value = op.value
        if op.kind == "add":
            moves = history.moves.setdefault(op.slot, [])
            moves.append(_Move(written.replica, seq, op.value, written.shown[doc]))
            value = None
        write = _Write(written.replica, seq, written.stamp, value, closed)
        if op.kind == "count":
            name = op.slot.removesuffix("#")
            counts = history.counts.setdefault(name, {})
            base = {**written.shown[doc], written.replica: seq}
            counts[written.replica] = (write, base)
        if op.kind == "named":
            name, _, once = op.slot.partition(_NAME)
            history.named.setdefault(name, {}).setdefault(once, []).append(write)
        history.writes.setdefault(op.slot, {})[written.replica] = write


def _standing(writes: Iterable[_Write]) -> list[_Write]:
    """The writes that no other knew of, the winner first."""
    every = list(writes)
    alive = [w for w in every if not any(other is not w and other.covers(w) for other in every)]
    return sorted(alive, key=lambda w: (w.stamp, w.replica), reverse=True)


def _read(shape: Shape, history: _History) -> Expected:
    values: dict[str, Any] = {}
    conflicts: dict[str, list[Any]] = {}
    totals: dict[str, dict[int, int]] = {}
    for name, declared in shape.fields.items():
        if declared.kind is Kind.COUNTER:
            totals[name] = _totals(history.moves.get(name, ()))
            values[name], rivals, counted = _balance(history, name)
            if counted:
                conflicts[name + "#"] = counted
        elif declared.kind is Kind.SET:
            values[name], rivals = _elements(history, name), []
        elif name not in history.writes:
            values[name], rivals = declared.default_wire, []
        else:
            writes = history.writes[name].values()
            if declared.kind is Kind.ONCE:
                order = sorted(writes, key=lambda w: (w.stamp, w.replica))
            else:
                order = _standing(writes)
            rivals = list(dict.fromkeys(w.value for w in order))
            values[name] = rivals[0]
        if len(rivals) > 1:
            conflicts[name] = rivals
    deleted, contested = _deletion(history)
    if contested:
        conflicts[_DELETION] = [0, 1]
    return Expected(values, deleted, conflicts, totals)


def _totals(moves: Iterable[_Move]) -> dict[int, int]:
    totals: dict[int, int] = {}
    for move in moves:
        totals[move.replica] = totals.get(move.replica, 0) + move.amount
    return totals


def _balance(history: _History, name: str) -> tuple[int, list[Any], list[int]]:
    """The balance, the values of concurrent counts, and the count with what was moved concurrently with it."""
    moves = history.moves.get(name, [])
    named = history.named.get(name, {}).values()
    counts = history.counts.get(name)
    if not counts:
        return sum(move.amount for move in moves) + sum(_amount(writes) for writes in named), [], []
    standing = _standing(write for write, _ in counts.values())
    winner, base = counts[standing[0].replica]
    after = [move for move in moves if move.seq > base.get(move.replica, 0)]
    later = sum(move.amount for move in after)
    later += sum(_amount(writes) - _amount(writes, base) for writes in named)
    unseen = [
        move.amount
        for move in after
        if move.replica != winner.replica and move.shown.get(winner.replica, 0) < winner.seq
    ]
    counted = [winner.value, sum(unseen)] if sum(unseen) else []
    return winner.value + later, [write.value for write in standing], counted


def _amount(writes: Iterable[_Write], upto: Mapping[int, int] | None = None) -> int:
    """What a named movement amounts to for who saw these batches; None is all of them."""
    newest = {w.replica: w for w in writes if upto is None or w.seq <= upto.get(w.replica, 0)}
    standing = _standing(newest.values())
    return standing[0].value if standing else 0


def _elements(history: _History, name: str) -> str:
    prefix = name + _ELEMENT
    found = [
        slot[len(prefix) :]
        for slot, writes in history.writes.items()
        if slot.startswith(prefix) and any(write.value for write in _standing(writes.values()))
    ]
    return json.dumps(sorted(found), ensure_ascii=False, separators=(",", ":"))


def _deletion(history: _History) -> tuple[bool, bool]:
    removals = [w for w in history.writes.get(_DELETION, {}).values() if w.value]
    if not removals:
        return False, False
    touches = [
        w for slot, ws in history.writes.items() for w in ws.values() if slot != _DELETION or not w.value
    ]
    if all(any(removal.covers(touch) for removal in removals) for touch in touches):
        return True, False
    unseen = [
        r
        for r in removals
        if not any(t.seq > r.seq if t.replica == r.replica else t.covers(r) for t in touches)
    ]
    return False, bool(unseen)
