"""Fuzzes the batch codec, the check of values and the fold: `python -m tests.fuzz.batches`, see `engine`.

A batch that is accepted for a category can be written again, folds to one state whatever comes first and however often,
and its rows are such that a store can keep them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crdtsync import limits
from crdtsync.errors import BatchInvalid
from crdtsync.state import ceilings, cells, codec, fold
from crdtsync.state.codec import Batch, Group, decode_batch, encode_batch, keys_in
from crdtsync.state.fold import Fold, check_batch
from tests.fuzz import engine
from tests.schema.shop import Category, Letter, Product, Sale, StockItem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from crdtsync.schema.shape import Shape
    from crdtsync.state.fold import ReadRow

NAME = "batches"
ENTITIES = (Category, Product, StockItem, Sale, Letter)
_WRITER, _OTHER = 7, 9
_DEPTH_MAX = limits.VALUE_DEPTH_MAX + 3
"""Of the rows of a group: the list of them, one of them, a value, and what is in its innermost list."""


def check(data: bytes) -> bool:
    """Tell whether any category takes a batch; an AssertionError, or any error but its own, is a finding."""
    try:
        batch = decode_batch(data)
    except BatchInvalid:
        return False
    assert tuple(dict.fromkeys(keys_in(data))) == batch.keys(), "two readers see different keys"
    taken = [_folds(entity.__shape__, batch, data) for entity in ENTITIES]
    return any(taken)


def _folds(shape: Shape, batch: Batch, data: bytes) -> bool:
    try:
        check_batch(shape, batch)
    except BatchInvalid:
        return False
    for group in batch.groups:
        engine.look_at(group.rows, _DEPTH_MAX)
    written = encode_batch(batch)
    # Written bytes are compared, not batches: not-a-number is not equal to itself.
    assert encode_batch(decode_batch(written)) == written, "what was read is written as something else"
    rival = _rival(batch)
    mine, theirs = (_WRITER, batch, data), (_OTHER, rival, encode_batch(rival))
    first = _folded(shape, (mine, theirs), batch)
    assert first == _folded(shape, (theirs, mine, theirs, mine), batch), "the order of two batches matters"
    for row in first[1]:
        assert all(map(_is_kept, row)), "a row that no store can keep"
    return True


def _rival(batch: Batch) -> Batch:
    """The same writes by another replica that knows nothing of the first."""
    groups = tuple(Group(group.fields, group.rows) for group in batch.groups)
    return Batch(batch.seq, batch.hlc, batch.prev, batch.txid, {}, "", groups)


def _folded(
    shape: Shape, batches: Sequence[tuple[int, Batch, bytes]], asked: Batch
) -> tuple[bytes, list[ReadRow]]:
    """Return the digest and the rows that batches fold to."""
    joined = Fold(shape.category, shape)
    for replica, batch, data in batches:
        joined.add(replica, batch, data)
    return joined.digest(), sorted(joined.rows(asked.keys()), key=lambda row: row[1])


def _is_kept(value: object) -> bool:
    if type(value) is int:
        return abs(value) <= limits.AMOUNT_MAX
    return value is None or type(value) is str


def mutate(data: bytes, dice: Random) -> bytes:
    """Return an input that is near this one."""
    return engine.mutated_msgpack(data, dice)


if __name__ == "__main__":
    engine.fuzz(NAME, check, mutate, [ceilings, cells, codec, fold])
