"""Writes the seeds of the corpus, from what real documents and sessions say: `python -m tests.fuzz.seeds`.

Files of the corpus that begin with ``found`` are not touched: they are what a fuzzer found, or was to find, or an earlier form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crdtsync.protocol.frames import encode_frame
from crdtsync.protocol.table import PAGED, Kind
from crdtsync.schema.fields import Kind as FieldKind
from crdtsync.state.ceilings import KEY as CEILINGS
from crdtsync.state.ceilings import Ceiling
from crdtsync.state.document import Document, Op, pieces
from crdtsync.state.log import Log
from crdtsync.state.update import read_update, split_update, write_update
from tests.compacting import compact
from tests.fuzz import batches, frames, updates
from tests.fuzz.engine import CORPUS
from tests.protocol.pair import SAMPLES
from tests.schema.shop import Letter, Product, Sale, StockItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from crdtsync import Entity

TXID = b"t" * 16
Seed = tuple[str, bytes]


class _Node:
    """One replica's document, and the yrs log of all that it wrote or received."""

    def __init__(self, entity: type[Entity], replica: int) -> None:
        shape = entity.__shape__
        self.document = Document(shape.category, shape, replica, {})
        self.document.log = self.log = Log(shape.category, replica)
        self._hlc = 1 << 40

    def write(self, ops: dict[str, list[Op]], parts: dict[str, int] | None = None) -> bytes:
        """Write a batch; return the update that brings it to a peer."""
        self._hlc += 1 << 16
        change = self.document.write(ops, hlc=self._hlc, txid=TXID, parts=parts, actor="maria")
        self.document.settle(change)
        return change.journal[0]

    def take(self, update: bytes) -> None:
        """Receive what a peer wrote, see it all, and know it as a closed cut."""
        change = self.document.receive(update, lambda _replica: True)
        for replica in self.document.waiting():
            self.document.show(replica, self.document.showable(replica, lambda _parts: True), change)
        self.document.promise({replica: head.seq for replica, head in self.document.heads.items()}, change)
        self.document.settle(change)

    def compact(self) -> Log:
        """Return the log as it is after a compaction."""
        self.document.settle(compact(self.document, self._hlc + 1, TXID))
        assert self.document.log is not None
        return Log(self.document.doc, 0, [self.document.log.encode()])


def update_seeds() -> Iterator[Seed]:
    """Updates that peers send and stores keep."""
    first, second = _Node(StockItem, 5), _Node(StockItem, (1 << 53) - 2)
    yield "empty", first.log.encode()
    yield "first-batch", first.write({"p1": [Op("add", "balance", 3_000, "buy")]})
    sold = [first.write({f"p{number}": [Op("add", "balance", -1_000, "sale")]}) for number in range(6)]
    yield "next-batch", sold[-1]
    second.take(first.log.encode())
    yield "after-another", second.write({"p1": [Op("add", "balance", 500), Op("count", "balance#", 7)]})
    yield "two-logs", second.log.encode()
    yield "what-a-peer-lacks", second.log.diff({5: 3})
    for number, (piece, _) in enumerate(pieces(second.log.encode(), 300)):
        yield f"piece-{number}", piece
    compacted = first.compact()
    yield "compacted", compacted.encode()
    yield "compacted-to-who-has-all", compacted.diff({5: 7})
    yield "compacted-to-who-has-some", compacted.diff({5: 2})
    split = list(split_update(read_update(compacted.diff({5: 2})), 1))
    yield "compacted-first-piece", write_update(split[0].runs, split[0].deleted)
    yield "only-a-deletion", write_update({}, {5: 7})


def frame_seeds() -> Iterator[Seed]:
    """The body of a frame of every kind, and of those whose fields may be absent."""
    payloads: dict[str, tuple[Kind, dict[str, Any]]] = {kind.value: (kind, SAMPLES[kind]) for kind in Kind}
    payloads |= {
        "hello-gestao": (Kind.HELLO, SAMPLES[Kind.HELLO] | {"store": None, "code": "a code", "live": True}),
        "check-plain": (Kind.CHECK, SAMPLES[Kind.CHECK] | {"first": None, "rate": None, "held": ()}),
        "heads-page": (Kind.HEADS, {"docs": {"a/b": {1: (1, bytes(16))}}, "vouched": (), "more": True}),
        "heads-none": (Kind.HEADS, {"docs": {}, "vouched": ((1, "d", "loja", None),)}),
        "data-piece": (Kind.DATA, SAMPLES[Kind.DATA] | {"final": False, "cut": {}, "n": 200}),
        "answer-accepted": (Kind.ANSWER, {"accepted": True, "reason": None, "wait_ms": None}),
    }
    for name, (kind, payload) in payloads.items():
        whole = payload | ({"more": False} | payload if kind in PAGED else {})
        yield name, encode_frame(7, kind, whole)[4:]


def _writes(entity: type[Entity], **wires: Any) -> list[Op]:
    """The writes of a whole record: what is not given is empty."""
    fields = entity.__shape__.fields.values()
    kinds = {FieldKind.COUNTER, FieldKind.SET}
    return [
        Op("write", one.name, wires.get(one.name, one.default_wire))
        for one in fields
        if one.kind not in kinds
    ]


def batch_seeds() -> Iterator[Seed]:
    """Batches with each merge policy, alone and in bulk, first and with knowledge of others, compactions and ceilings."""
    product = _Node(Product, 5)
    whole = _writes(Product, name="Leite", price=1_890)
    tags = [Op("write", "tags\x1fcold", 1), Op("write", "tags\x1fnew", 0)]
    yield "product", product.write({"P1": [*whole, *tags]})
    yield (
        "product-price",
        product.write({"P1": [Op("write", "price", 1_990)], "P2": [Op("write", "price", 2)]}),
    )
    yield "products-in-bulk", product.write({f"B{number}": whole for number in range(20)})
    yield "product-deleted", product.write({"P1": [Op("write", "~", 1)]})
    yield "newer-field", product.write({"P2": [Op("write", "later", (1, {"a": 2}, None))]})
    yield from _elements("products-compacted", product.compact().encode())
    lane, store = _Node(StockItem, 7), _Node(StockItem, 6)
    moved = lane.write({"p1": [Op("add", "balance", -1_000, "sale")]}, {"sales/loja1": 2})
    yield "movement-of-a-sale", moved
    store.take(moved)
    counted = store.write({"p1": [Op("count", "balance#", 5_000)]})
    yield "count", counted
    lane.take(counted)
    yield "movement-after-a-count", lane.write({"p1": [Op("add", "balance", -2_000, "sale")]})
    yield "named-movement", lane.write({"p1": [Op("named", "balance!invoice 1", 9_000, "entry")]})
    yield "count-of-names", lane.write({"p1": [Op("count", "balance#", 1)]})
    ceiling = Ceiling(7, 4, 1 << 50, 3_600_000)
    yield "ceiling", store.write({CEILINGS: [Op("write", ceiling.slot, (ceiling.hlc, ceiling.shift_ms))]})
    sale = _Node(Sale, 8)
    lines = '[["p1",2000,990,null],["p2",500,1490,"gift"]]'
    extra = Op("write", 'extras\x1f["p3",1000,100,null]', 1)
    sold = [Op("write", "sold_at", "2026-11-24T10:00:00Z"), Op("write", "lines", lines), extra]
    yield "sale", sale.write({"s1": sold})
    letter = _Node(Letter, 8)
    yield "letter", letter.write({"s1:2": [Op("write", "text", "corrigida")]})


def _elements(name: str, update: bytes) -> Iterator[Seed]:
    for runs in read_update(update).runs.values():
        for run in runs:
            for number, element in enumerate(run.elements):
                yield f"{name}-{number}", element


def _whole(seeds: Iterator[Seed]) -> Iterator[Seed]:
    """Take batches out of the updates that brought them."""
    for name, data in seeds:
        if name.startswith("products-compacted"):
            yield name, data
        else:
            yield from ((name, element) for _, element in _elements(name, data))


SEEDS: dict[str, Callable[[], Iterable[Seed]]] = {
    updates.NAME: update_seeds,
    frames.NAME: frame_seeds,
    batches.NAME: lambda: _whole(batch_seeds()),
}


def main() -> None:
    """Write every seed, and take those away that are none any more."""
    for name, seeds in SEEDS.items():
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("seed-*"):
            old.unlink()
        for seed, data in seeds():
            (folder / f"seed-{seed}").write_bytes(data)


if __name__ == "__main__":
    main()
