"""Folding: the batches of a catalogue, at the peer that receives them, to rows that can be read."""

from __future__ import annotations

from time import perf_counter
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


def _unpack(batches: list[bytes], *, keep: bool, lists: bool = False) -> float:
    """Unpack as the reader of batches does, into tuples: kept lists cost the garbage collector twice as much."""
    kept: list[Any] = []
    begun = perf_counter()
    for data in batches:
        unpacked = msgpack.unpackb(data, use_list=lists)
        if keep:
            kept.append(unpacked)
    return perf_counter() - begun


def _fold(batches: list[bytes], *, keep: bool) -> float:
    """Only reading, checking and folding: what a load from disk does, and the rows."""
    kept: list[Any] = []
    begun = perf_counter()
    fold = Fold(DOC, SHAPE)
    for data in batches:
        batch = decode_batch(data)
        check_batch(SHAPE, batch)
        fold.add(WRITER, batch, data)
        rows = fold.rows_of(batch)
        if keep:
            kept.append(rows)
    return perf_counter() - begun


def _receive(updates: list[bytes], count: int, *, keep: bool) -> float:
    """All that happens between a data frame and its rows: structure, chain, values, the stored form, the fold."""
    kept: list[Any] = []
    readable = 0
    begun = perf_counter()
    document = Document(DOC, SHAPE, PEER, {})
    for update in updates:
        change = document.receive(update, lambda _replica: True)
        document.show(WRITER, document.heads[WRITER].seq, change)
        readable += len(change.rows)
        if keep:
            kept.append(change.rows)
    seconds = perf_counter() - begun
    if readable != count:
        raise AssertionError(f"{readable} of {count} records are readable")
    return seconds


def measure(sizes: Sizes, catalogue: Sent) -> list[Figure]:
    """Return the two variants: rows and unpacked objects kept, and both discarded batch by batch."""
    batches, updates, count = catalogue.batches, catalogue.updates, sizes.products
    cases: dict[str, Callable[[], float]] = {
        "unpackb, kept": lambda: _unpack(batches, keep=True),
        "unpackb into lists, kept": lambda: _unpack(batches, keep=True, lists=True),
        "unpackb into lists, discarded": lambda: _unpack(batches, keep=False, lists=True),
        "unpackb, discarded": lambda: _unpack(batches, keep=False),
        "fold alone, kept": lambda: _fold(batches, keep=True),
        "fold alone, discarded": lambda: _fold(batches, keep=False),
        "received, kept": lambda: _receive(updates, count, keep=True),
        "received, discarded": lambda: _receive(updates, count, keep=False),
    }
    times = interleaved(cases, sizes.repetitions)
    figures = []
    for variant in ("kept", "discarded"):
        bare = times[f"unpackb, {variant}"]
        whole, alone = times[f"received, {variant}"], times[f"fold alone, {variant}"]
        details = {
            "unpackb ms": bare * 1e3,
            "unpackb into lists ms": times[f"unpackb into lists, {variant}"] * 1e3,
            "ratio to unpackb into lists": whole / times[f"unpackb into lists, {variant}"],
            "received ms": whole * 1e3,
            "fold alone ms": alone * 1e3,
            "fold alone ratio": alone / bare,
            "records per second": count / whole,
        }
        name = f"fold {count:,} products to readable rows, objects {variant}"
        against = "msgpack.unpackb of the same batches, into tuples"
        figures.append(Figure(name, whole / bare, TARGET, "x", against, details))
    return figures
