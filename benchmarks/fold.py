"""Folding: the batches of a catalogue, at the peer that receives them, to rows that can be read.

All of it is the processor's work, so it is measured in its time: other load of the machine does not count.
"""

from __future__ import annotations

from functools import partial
from time import process_time
from typing import TYPE_CHECKING, Any

import msgpack

from benchmarks.catalogue import DOC, PEER, SHAPE, WRITER, Sent
from benchmarks.measure import Figure, Sizes, interleaved
from crdtsync.state.codec import decode_batch
from crdtsync.state.document import Document
from crdtsync.state.fold import Fold, check_batch

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET = 3.0


def _unpack(batches: list[bytes], *, keep: bool, lists: bool) -> float:
    """Unpack into lists, as is the default, or into tuples, as the reader of batches does."""
    kept: list[Any] = []
    begun = process_time()
    for data in batches:
        unpacked = msgpack.unpackb(data, use_list=lists)
        if keep:
            kept.append(unpacked)
    return process_time() - begun


def _fold(batches: list[bytes], *, keep: bool) -> float:
    """Only reading, checking and folding: what a load from disk does, and the rows."""
    kept: list[Any] = []
    begun = process_time()
    fold = Fold(DOC, SHAPE)
    for data in batches:
        batch = decode_batch(data)
        check_batch(SHAPE, batch)
        fold.add(WRITER, batch, data)
        rows = fold.rows_of(batch)
        if keep:
            kept.append(rows)
    return process_time() - begun


def _receive(updates: list[bytes], count: int, *, keep: bool) -> float:
    """All that happens between a data frame and its rows: structure, chain, values, the stored form, the fold."""
    kept: list[Any] = []
    readable = 0
    begun = process_time()
    document = Document(DOC, SHAPE, PEER, {})
    for update in updates:
        change = document.receive(update, lambda _replica: True)
        document.show(WRITER, document.heads[WRITER].seq, change)
        readable += len(change.rows)
        if keep:
            kept.append(change.rows)
    seconds = process_time() - begun
    if readable != count:
        raise AssertionError(f"{readable} of {count} records are readable")
    return seconds


def measure(sizes: Sizes, catalogue: Sent) -> list[Figure]:
    """Return four readings: rows and unpacked objects kept or discarded batch by batch, against lists and tuples."""
    batches, updates, count = catalogue.batches, catalogue.updates, sizes.products
    cases: dict[str, Callable[[], float]] = {}
    for variant, keep in (("kept", True), ("discarded", False)):
        cases[f"lists, {variant}"] = partial(_unpack, batches, keep=keep, lists=True)
        cases[f"tuples, {variant}"] = partial(_unpack, batches, keep=keep, lists=False)
        cases[f"fold alone, {variant}"] = partial(_fold, batches, keep=keep)
        cases[f"received, {variant}"] = partial(_receive, updates, count, keep=keep)
    times = interleaved(cases, sizes.repetitions)
    figures = []
    for variant in ("kept", "discarded"):
        whole, alone = times[f"received, {variant}"], times[f"fold alone, {variant}"]
        for form, options in (("lists", "its defaults"), ("tuples", "use_list=False")):
            bare = times[f"{form}, {variant}"]
            details = {
                "unpackb CPU ms": bare.median * 1e3,
                "received CPU ms": whole.median * 1e3,
                "ratio of the minima": whole.minimum / bare.minimum,
                "fold alone CPU ms": alone.median * 1e3,
                "fold alone ratio": alone.median / bare.median,
                "records per CPU second": count / whole.median,
            }
            name = f"fold {count:,} products to readable rows, objects {variant}, against {form}"
            against = f"msgpack.unpackb of the same batches, {options}, CPU time"
            figures.append(Figure(name, whole.median / bare.median, TARGET, "x", against, details))
    return figures
