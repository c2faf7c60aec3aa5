"""B1: the offline work of five lanes becomes one readable state, in one process.

Each sale is one transaction over two documents, so one batch in each of two logs; nothing is compacted before. What is timed begins with
the bytes of the data frames and takes the way of all network input: checksum, frame, structure, chain, every value, transactions whole,
fold. It ends with the state that the rows of all documents show, as it does for the other systems. Beside it: the same batches through yrs alone, and through msgpack alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import msgpack
from pycrdt import Array, Doc

from benchmarks.measure import status_bytes
from benchmarks.shop import RETAIL, STOCK_DOC, STORE, opened, sale_ops, sold_at, stock_ops
from benchmarks.workload import LANES, PRODUCTS, FinalState, sales
from crdtsync import limits
from crdtsync.node.runner import seldom_collected
from crdtsync.protocol.frames import decode_frame, encode_frame
from crdtsync.protocol.table import Kind
from crdtsync.state.document import Change, Document
from crdtsync.state.update import append_update, read_update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from crdtsync.state.codec import Batch

HUB = 0xBEEF


def _lane(number: int, count: int) -> Iterator[tuple[str, int, list[bytes]]]:
    """Yield document, replica and batches of what a lane wrote without a network."""
    replica = 0x5EED + number
    documents: dict[str, Document] = {}
    logs: dict[str, list[bytes]] = {}

    def open_(doc: str) -> Document:
        logs.setdefault(doc, [])
        return documents.setdefault(doc, Document(doc, RETAIL.shape(doc.partition("/")[0]), replica, {}))

    stock = open_(STOCK_DOC)
    for place, sale in enumerate(sales(number, count, PRODUCTS), 1):
        sold = open_(f"sales/{STORE}/caixa{number}/{sold_at(sale):%Y-%m}")
        seqs = {one.doc: _seq(one, replica) + 1 for one in (sold, stock)}
        for document, ops in (
            (sold, {sale.key: sale_ops(sale)}),
            (stock, {str(sale.product): stock_ops(sale)}),
        ):
            change = document.write(
                ops,
                hlc=(sale.at_ms << 16) + place,
                txid=sale.key.encode().ljust(16, b"."),
                parts={doc: seq for doc, seq in seqs.items() if doc != document.doc},
            )
            logs[document.doc] += read_update(change.journal[0]).runs[replica][0].elements
    for doc, batches in logs.items():
        yield doc, replica, batches


def _seq(document: Document, replica: int) -> int:
    head = document.heads.get(replica)
    return head.seq if head else 0


@dataclass
class Work:
    """What the lanes bring: data frames as they arrive at a hub, and the same batches by log."""

    frames: list[bytes] = field(default_factory=list)
    logs: list[tuple[str, int, list[bytes]]] = field(default_factory=list)


def work(count: int) -> Work:
    """Return the work of all lanes, `count` sales each."""
    made = Work()
    for number in range(1, LANES + 1):
        for doc, replica, batches in _lane(number, count):
            made.logs.append((doc, replica, batches))
            for first, size in _chunks(batches):
                payload = {
                    "doc": doc,
                    "update": append_update(replica, first, batches[first : first + size]),
                    "final": first + size == len(batches),
                    "cut": {},
                    "records": size,
                    "n": len(made.frames) + 1,
                }
                made.frames.append(encode_frame(len(made.frames) + 1, Kind.DATA, payload))
    return made


def _chunks(batches: list[bytes]) -> Iterator[tuple[int, int]]:
    first = size = 0
    for place, batch in enumerate(batches):
        if size and size + len(batch) > limits.CHUNK_FIRST_BYTES_MAX:
            yield first, place - first
            first, size = place, 0
        size += len(batch)
    yield first, len(batches) - first


def merged(frames: list[bytes]) -> dict[str, dict[str, tuple[Any, ...]]]:
    """Take the frames in and return the rows of each category by document and key.

    Raises:
        CrdtsyncError: a byte is not what a lane wrote.
    """
    documents: dict[str, Document] = {}
    for frame in frames:
        _, _, payload = decode_frame(frame)
        doc = payload["doc"]
        document = documents.get(doc)
        if document is None:
            documents[doc] = document = Document(doc, RETAIL.shape(doc.partition("/")[0]), HUB, {})
        document.receive(payload["update"], lambda _replica: True)
    found: dict[str, dict[str, tuple[Any, ...]]] = {}
    for doc, document in documents.items():
        rows = found.setdefault(document.shape.category, {})
        for replica in sorted(document.waiting()):
            change = Change(doc, document.shape.category)
            upto = document.showable(replica, _arrived(documents, replica))
            document.show(replica, upto, change)
            rows.update((row[1], row) for row in change.rows)
    return found


def _arrived(documents: Mapping[str, Document], replica: int) -> Callable[[Batch], bool]:
    """Return what tells whether all parts of a transaction of a replica have arrived."""
    seqs = {doc: _seq(document, replica) for doc, document in documents.items()}
    return lambda batch: all(seqs.get(doc, 0) >= seq for doc, seq in batch.parts.items())


def state_read(rows: Mapping[str, Mapping[str, tuple[Any, ...]]]) -> FinalState:
    """Return the state that rows show."""
    moved = dict.fromkeys(range(PRODUCTS), 0)
    for key, row in rows["stock"].items():
        moved[int(key)] = row[2]
    return FinalState(len(rows["sales"]), opened(moved))


def _yrs(frames: list[bytes]) -> float:
    """Seconds in which yrs alone merges the updates of the same frames and gives their elements."""
    payloads = [decode_frame(frame)[2] for frame in frames]
    begun = perf_counter()
    docs: dict[str, Doc[Array[bytes]]] = {}
    for payload in payloads:
        docs.setdefault(payload["doc"], Doc(client_id=HUB)).apply_update(payload["update"])
    for doc in docs.values():
        for root in doc.keys():  # noqa: SIM118 - a document of yrs is no mapping
            array: Array[bytes] = doc.get(root, type=Array)
            list(array)
    return perf_counter() - begun


def _unpacked(logs: list[tuple[str, int, list[bytes]]]) -> float:
    """Seconds in which msgpack alone reads the same batches."""
    begun = perf_counter()
    kept = [msgpack.unpackb(batch, strict_map_key=False) for _, _, batches in logs for batch in batches]
    seconds = perf_counter() - begun
    assert kept
    return seconds


def cell(size: int) -> tuple[float, FinalState, dict[str, float]]:
    """Return the seconds of one merge, the state read back, and details with the limits beside it."""
    made = work(size)
    before = status_bytes("VmRSS")
    with seldom_collected():
        begun, worked = perf_counter(), process_time()
        state = state_read(merged(made.frames))
        seconds, cpu = perf_counter() - begun, process_time() - worked
    details = {
        "cpu_seconds": cpu,
        "per_second": 2 * LANES * size / seconds,
        "wire_bytes": float(sum(map(len, made.frames))),
        "memory_bytes": float(status_bytes("VmRSS")),
        "memory_peak_bytes": float(status_bytes("VmHWM")),
        "memory_added_bytes": float(status_bytes("VmRSS") - before),
        "limit_yrs_seconds": _yrs(made.frames),
        "limit_msgpack_seconds": _unpacked(made.logs),
    }
    return seconds, state, details
