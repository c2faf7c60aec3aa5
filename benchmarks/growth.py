"""Cost of one operation in a document that has seen many, beside one that has seen few."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks.catalogue import SCHEMA, WRITER, ledger, written
from benchmarks.measure import Figure, Sizes
from crdtsync.schema import Identity, Role
from crdtsync.state.codec import Group, batch_hash
from crdtsync.state.document import Op
from crdtsync.state.fold import Fold
from crdtsync.state.update import append_update
from crdtsync.storage import ChangeRow, Commit, HeadRow, ReplicaRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crdtsync.node.ledger import Ledger
    from crdtsync.state.codec import Batch
    from crdtsync.state.document import Document

TARGET = 1.25
DOC = "stock/loja1"
LOJA = Identity("loja1", Role.LOJA, "main", "loja1")
_KEYS = 2_000
_PER_COMMIT = 5_000


def sale(number: int) -> dict[str, list[Op]]:
    """One unit less of one product: an operation as a sale writes it."""
    return {f"p{number % _KEYS}": [Op("add", "balance", -1_000, f"sales/loja1/{number}")]}


def sales(operations: int) -> Iterator[tuple[int, Group]]:
    """Yield what so many sales write; a counter's cell holds its running total."""
    totals = Counter[str]()
    for number in range(operations):
        ((key, (op,)),) = sale(number).items()
        totals[key] += op.value
        yield number + 1, Group((op.slot,), ((key, (totals[key], op.cause)),))


async def _build(folder: Path, operations: int) -> None:
    """Make a store whose document has seen `operations` transactions of one operation each."""
    target = ledger(folder, LOJA)
    newest: dict[str, tuple[Batch, bytes]] = {}
    async with target.storage as storage:
        row = ReplicaRow(WRITER, LOJA.device, LOJA.role.value, LOJA.store, LOJA.account)
        await storage.commit(Commit(meta={"replica": WRITER.to_bytes(7, "big")}, replicas=[row]))
        commit = Commit()
        for batch, data in written(sales(operations)):
            (key,) = batch.keys()
            newest[key] = batch, data
            commit.journal.append((DOC, append_update(WRITER, batch.seq - 1, [data])))
            commit.changes.append(ChangeRow(DOC, WRITER, batch.seq, (key,)))
            if batch.seq % _PER_COMMIT == 0 or batch.seq == operations:
                end = batch_hash(data)
                commit.heads.append(HeadRow(DOC, WRITER, batch.seq, end, batch.seq, batch.seq, batch.hlc))
                await storage.commit(commit)
                commit = Commit()
        fold = Fold(DOC, SCHEMA.shape("stock"))
        for batch, data in newest.values():
            fold.add(WRITER, batch, data)
        await storage.commit(Commit(records={"stock": fold.rows(fold.keys())}))


def _turn(number: int) -> tuple[int, int]:
    """Who goes first: whoever is second finds warmer caches and a busier disk."""
    return (0, 1) if number % 2 else (1, 0)


async def _durable(target: Ledger, number: int) -> float:
    begun = perf_counter()
    await target.write({DOC: sale(number)})
    return perf_counter() - begun


def _in_memory(document: Document, number: int) -> float:
    begun = perf_counter()
    change = document.write(sale(number), hlc=(1 << 56) + number, txid=number.to_bytes(16, "big"))
    document.settle(change)
    return perf_counter() - begun


async def _samples(sizes: Sizes) -> tuple[list[list[float]], list[list[float]], list[float]]:
    """Return seconds per operation, durable and in memory, of the small and the large document; seconds to load."""
    durable: list[list[float]] = [[], []]
    memory: list[list[float]] = [[], []]
    loading: list[float] = []
    with tempfile.TemporaryDirectory() as small, tempfile.TemporaryDirectory() as large:
        targets = []
        for folder, operations in zip((small, large), sizes.operations, strict=True):
            await _build(Path(folder), operations)
            target = ledger(Path(folder), LOJA)
            await target.open()
            begun = perf_counter()
            await target.document(DOC)
            loading.append(perf_counter() - begun)
            # The log too is loaded, as in a node that serves a peer.
            await target.pieces(DOC, target.vectors([DOC])[DOC])
            targets.append(target)
        for number in range(sizes.samples):
            for place in _turn(number):
                durable[place].append(await _durable(targets[place], number))
        documents = [await target.document(DOC) for target in targets]
        for number in range(sizes.samples * 5):
            for place in _turn(number):
                memory[place].append(_in_memory(documents[place], number))
        for target in targets:
            await target.close()
    return durable, memory, loading


def measure(sizes: Sizes) -> list[Figure]:
    """Return the cost in memory (fold, batch, log), which no disk dilutes; the durable one is in the details."""
    durable, memory, loading = asyncio.run(_samples(sizes))
    small, large = (statistics.median(times) for times in memory)
    small_durable, large_durable = (statistics.median(times) for times in durable)
    few, many = sizes.operations
    details = {
        f"in memory at {few:,} us": small * 1e6,
        f"in memory at {many:,} us": large * 1e6,
        f"durable at {few:,} us": small_durable * 1e6,
        f"durable at {many:,} us": large_durable * 1e6,
        "durable ratio": large_durable / small_durable,
        f"loading {few:,} ms": loading[0] * 1e3,
        f"loading {many:,} ms": loading[1] * 1e3,
        "loading ratio per operation": loading[1] / many / (loading[0] / few),
    }
    name = f"cost per operation at {many:,} operations in a document"
    return [Figure(name, large / small, TARGET, "x", f"the same at {few:,} operations", details)]
