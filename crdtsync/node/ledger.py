"""The ledger: every document of one node, and the single writer that changes them.

All writes, local or from peers, pass through one queue. The writer takes what is waiting (local transactions first),
computes each change in memory, makes all of them durable in one storage transaction, and only then answers. When a
commit fails, the documents it touched leave memory and are loaded again from the store. ``heads`` is what is durable,
and all that anybody is told; the writer works on heads of its own, ahead of them until the commit. The ledger knows
nothing of links, frames or schedules.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from crdtsync import limits
from crdtsync.errors import (
    BatchInvalid,
    CrdtsyncError,
    DocumentQuarantined,
    RecordExists,
    StateError,
    StorageError,
    StoreClosed,
    StoreCorrupt,
    StoreForeign,
)
from crdtsync.node.beside import Nowhere
from crdtsync.node.incarnation import NONCE_BYTES, renew, why_restored
from crdtsync.node.jobs import Job, Jobs
from crdtsync.node.memory import give_back
from crdtsync.node.quarantine import DocumentQuarantine
from crdtsync.node.slices import Slices
from crdtsync.node.tidying import Tidying
from crdtsync.pendencies import removals as removal_rows
from crdtsync.pendencies.evaluate import LOCAL, Origin, evaluate
from crdtsync.pendencies.parked import review_parked
from crdtsync.pendencies.records import Decision
from crdtsync.pendencies.removals import decided, removal_id, without
from crdtsync.pendencies.rulebook import RuleBook
from crdtsync.schema.roles import Role
from crdtsync.state.ceilings import KEY as CEILINGS
from crdtsync.state.ceilings import Ceiling, stamps_of
from crdtsync.state.codec import decode_batch
from crdtsync.state.document import Change, Document, Head, Heads, Op, Parked, heads_digest, pieces
from crdtsync.state.fold import Fold, check_batch
from crdtsync.state.hlc import HybridClock
from crdtsync.state.log import Log
from crdtsync.state.removals import mass_removals
from crdtsync.storage.base import (
    ChangeRow,
    Commit,
    DueRow,
    HeadRow,
    ParkedRow,
    PendencyChanges,
    ReplicaRow,
    Storage,
    View,
)
from crdtsync.storage.watched import WatchedStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
    from datetime import date

    from crdtsync.node.beside import Beside
    from crdtsync.node.clock import Clock
    from crdtsync.node.incarnation import NoncePlace
    from crdtsync.schema import Schema, Shape
    from crdtsync.schema.roles import Identity
    from crdtsync.state.codec import Batch
    from crdtsync.state.removals import Removal

Vectors = dict[str, dict[int, tuple[int, bytes]]]
T = TypeVar("T")

log = logging.getLogger("crdtsync")


@dataclass(slots=True)
class Diff:
    """What a peer lacks of one document: (update, records) pieces, the heads that they lead to, the sender's cut."""

    updates: list[tuple[bytes, int]] = field(default_factory=list)
    vector: dict[int, int] = field(default_factory=dict)
    cut: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Stored:
    """How a document lies in the store: bytes of its snapshot, rows and bytes of the journal after it.

    ``replaced`` tells that a compaction came since the snapshot: some of both is of no use any more.
    """

    snapshot: int = 0
    rows: int = 0
    size: int = 0
    replaced: bool = False

    def wants_snapshot(self, patience: int) -> bool:
        """Tell whether there is ``patience`` times as much journal as makes a new snapshot worth while."""
        if self.rows > patience * limits.JOURNAL_ROWS_MAX:
            return True
        return self.replaced and self.size > patience * max(limits.JOURNAL_BYTES_MIN, self.snapshot)


class Ledger:
    """See the module. ``on_change`` is called after each durable change, in order; one that raises is logged.

    ``in_use`` is set while documents are in memory, which ``drop_unused`` may drop. The pendencies that opened and closed are
    counted since the node was opened. ``copied_by`` names the link whose peer has a copy of what this node writes; None
    when there is no node above.

    ``nonce`` is where the value is kept that tells this store from an older copy of itself; None keeps none. ``path`` is
    where the store is, for messages.
    """

    def __init__(
        self,
        identity: Identity,
        schema: Schema,
        storage: Storage,
        clock: Clock,
        nonce: NoncePlace | None = None,
        beside: Beside | Nowhere | None = None,
        path: str = ":memory:",
    ) -> None:
        self.path = path
        self.identity = identity
        self.schema = schema
        self.quarantine = DocumentQuarantine(self, beside or Nowhere())
        self.tidying = Tidying(self)
        self.clock = clock
        self.storage = WatchedStorage(storage, self.quarantine.tripped, clock.now_ms)
        self.nonce = nonce
        self.rule_book = RuleBook(schema, identity.role)
        self.hlc = HybridClock()
        self.replica = 0
        self.heads: dict[str, Heads] = {}
        self._working: dict[str, Heads] = {}
        self.registry: dict[int, ReplicaRow] = {}
        self.on_change: list[Callable[[list[Change]], None]] = []
        self.pendencies_opened = 0
        self.pendencies_closed = 0
        self.copied_by: str | None = None
        self._acknowledged = asyncio.Event()
        self.doubts: dict[str, set[int]] = {}
        """Logs that are to be compared with the upstream's from their first element: document -> replicas."""
        self.examined: set[bytes] = set()
        """Heads of branches that were compared with the log here: looking again would find nothing new."""
        self.opened_at: dict[tuple[str, int], int] | None = None
        """Heads when the store was opened, until something is sent to the node above: (document, replica) -> sequence."""
        self._by_category: tuple[int, dict[str, list[str]]] = (0, {})
        # Keys that a peer lacked when they were last counted: document -> (from where to where in each log, how many).
        self._counted: dict[str, tuple[dict[int, tuple[int, int, bytes]], int]] = {}
        self._documents: dict[str, Document] = {}
        self._stored: dict[str, _Stored] = {}
        self._used: set[str] = set()
        self.in_use = asyncio.Event()
        self._parked: dict[str, set[tuple[int, int]]] = {}
        # Mass removals that nobody decided about, by document, and whether those that come now wait for a person: a
        # node that is still receiving everything for the first time has shown nothing that could be missed.
        self._removals: dict[str, list[Removal]] = {}
        self.withholds = True
        self._waiting: dict[int, set[str]] = {}
        self._jobs = Jobs()
        self._warming = asyncio.Lock()
        self._slices = Slices(lambda: asyncio.get_running_loop().time(), self._jobs.stretch)
        self._writer: asyncio.Task[None] | None = None
        # Set once this store is known as the one that wrote last, or has a new incarnation.
        self._trusted = False
        # What is in memory is not what is durable: the store that refused a commit could not be read again either.
        self._stale: StorageError | None = None
        # Held by a transaction while its entities complete it (`Entity.before_write`).
        self.completing = asyncio.Lock()

    # -- life --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the store, read the heads, choose or find the own replica, start the writer.

        Raises:
            StoreForeign: another node wrote the store; nothing was written.
            StorageError: see `Storage.open`.
        """
        await self.storage.open()
        try:
            # Before anything is written.
            registry, raw = await self._own_registry()
        except StoreCorrupt:
            # Whose the store is can be told when the damaged rows are out of it.
            await self.quarantine.open()
            registry, raw = await self._own_registry()
        else:
            await self.quarantine.open()
        rows, parked, removals = await self.storage.read(_stored_state)
        self._take_stored(rows, parked, removals)
        self.opened_at = {(row.doc, row.replica): row.seq for row in rows}
        self.registry = {row.replica: row for row in registry}
        self._writer = asyncio.create_task(self._write_loop(), name="ledger writer")
        clock, offset = await self.storage.read(lambda view: (view.meta("hlc"), view.meta("clock_offset")))
        self.hlc.observe(max([int.from_bytes(clock or b"", "big"), *(row.hlc for row in rows)]))
        self.hlc.offset_ms = int.from_bytes(offset or b"", "big", signed=True)
        if raw is None:
            await self.new_incarnation()
        else:
            self.replica = int.from_bytes(raw, "big")
            if self.replica not in self.registry:
                await self.commit(Commit(replicas=[self._own_row(self.replica)]))
            await self._mistrust_copies()
        self._trusted = True
        await self._renew_nonce()
        await self._follow_schema(parked)
        if self.quarantine.held:
            self.show_waiting()

    async def _own_registry(self) -> tuple[list[ReplicaRow], bytes | None]:
        """Read the registry, and which replica is the own one: None when it is to be chosen.

        Raises:
            StoreForeign: a node of another name, account, store or role writes this store: a folder was copied, or node.toml
                is wrong.
        """
        registry, raw, used = await self.storage.read(
            lambda view: (view.replicas(), view.meta("replica"), bool(view.documents()))
        )
        own = int.from_bytes(raw or b"", "big")
        other = next((row for row in registry if row.replica == own and row != self._own_row(own)), None)
        if other is None:
            return registry, raw
        if used:
            me = self.identity
            wrote = (other.device, other.account, other.store, other.role)
            raise StoreForeign(self.path, wrote, (me.device, me.account, me.store, me.role.value))
        # Nothing is in it: the first start was with a node.toml that has been corrected since.
        return registry, None

    async def _mistrust_copies(self) -> None:
        """Take a new incarnation, before the first write, when the store is not the one that wrote last."""
        why = await why_restored(self.nonce, self.storage) if self.nonce is not None else None
        if why is not None:
            former = self.replica
            await self.new_incarnation()
            name = self.identity.device
            log.warning(
                "%s: the store was restored or copied, %s; replica %x begins, %x is never written again",
                name,
                why,
                self.replica,
                former,
            )

    async def _renew_nonce(self) -> None:
        if self.nonce is not None:
            await renew(self.nonce, self.storage, self.clock.random_bytes(NONCE_BYTES))

    async def _follow_schema(self, parked: list[ParkedRow]) -> None:
        """Fold parked batches that are valid now; after an upgrade of the adapters, write every row again."""
        current = self.schema.fingerprint.encode()
        upgraded = await self.storage.read(lambda view: view.meta("schema")) != current
        docs: dict[str, list[tuple[int, int]]] = {doc: [] for doc in sorted(self.heads)} if upgraded else {}
        for entry in parked:
            # Not only after an upgrade: the fingerprint does not say which words an enum has.
            shape = self.shape_of(entry.doc)
            if shape is None:
                continue
            try:
                check_batch(shape, decode_batch(entry.batch))
            except BatchInvalid:
                continue
            docs.setdefault(entry.doc, []).append((entry.replica, entry.seq))
        for doc, readable in docs.items():
            if self.shape_of(doc) is not None and doc not in self.quarantine.held:
                # One that turns out to be unreadable is set apart; its repair writes its rows again.
                with contextlib.suppress(DocumentQuarantined):
                    await self._submit(partial(self._rebuild, doc, readable))
        if upgraded:
            await self.storage.commit(Commit(meta={"schema": current}))

    async def _rebuild(self, doc: str, readable: list[tuple[int, int]], commit: Commit) -> list[Change]:
        self._parked.get(doc, set()).difference_update(readable)
        commit.unparked += [(doc, replica, seq) for replica, seq in readable]
        document = await self.document(doc)
        commit.dropped_docs.append(doc)
        return [Change(doc, document.shape.category, rows=document.fold.rows(document.fold.keys()))]

    async def new_incarnation(self) -> None:
        """Take a fresh replica number; the old log is never written again."""
        commit = Commit()
        row = self.fresh_replica(commit)
        await self.storage.commit(commit)
        self.take_replica(row)

    def fresh_replica(self, commit: Commit) -> ReplicaRow:
        """Return a fresh replica of this node, which a commit makes its current one."""
        replica = 0
        while not 0 < replica <= limits.REPLICA_MAX or replica in self.registry:
            replica = int.from_bytes(self.clock.random_bytes(7), "big") >> 3
        row = self._own_row(replica)
        commit.meta["replica"] = replica.to_bytes(7, "big")
        commit.replicas.append(row)
        return row

    def _own_row(self, replica: int) -> ReplicaRow:
        me = self.identity
        return ReplicaRow(replica, me.device, me.role.value, me.store, me.account)

    def take_replica(self, row: ReplicaRow) -> None:
        """Write as this replica from now on. No document stays in memory: each knows who writes."""
        self.replica = row.replica
        self.registry[row.replica] = row
        self._documents.clear()

    async def close(self) -> None:
        """Finish what is queued, then close the store."""
        await self.quarantine.close()
        self._jobs.close()
        if self._writer is not None:
            await self._writer
        if self._trusted:
            with contextlib.suppress(StorageError):
                # A store that cannot take a new value is still known by the one that it has.
                await self._renew_nonce()
        self.quarantine.end()
        await self.storage.close()

    @property
    def is_open(self) -> bool:
        """Whether the writer takes work."""
        return self._writer is not None and not self._writer.done() and not self._jobs.closed

    def abort(self) -> None:
        """Stop at once, as a crash would: nothing more is written."""
        if self._writer is not None:
            self._writer.cancel()

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC by the corrected clock."""
        return self.clock.now_ms() + self.hlc.offset_ms

    async def follow_clock(self, theirs_ms: int) -> None:
        """Correct this node's clock by that of the node above; a large difference is kept for the next start."""
        now, before = self.clock.now_ms(), self.hlc.offset_ms
        self.hlc.correct(theirs_ms - now, now)
        if abs(self.hlc.offset_ms - before) > limits.CLOCK_OFFSET_MS_MAX:
            offset = self.hlc.offset_ms.to_bytes(8, "big", signed=True)
            await self.storage.commit(
                Commit(meta={"clock_offset": offset, "hlc": self.hlc.last.to_bytes(8, "big")})
            )

    # -- what this node holds ----------------------------------------------------------------------------------

    def shape_of(self, doc: str) -> Shape | None:
        """Return the shape of a document's category, or None when this node does not know the category."""
        return self.schema.shapes.get(doc.partition("/")[0])

    def held_by(self, identity: Identity, doc: str) -> bool:
        """Tell whether a node is to hold a document today."""
        return self._held_on(self.clock.today(), identity, doc)

    def may_hold(self, identity: Identity, doc: str) -> bool:
        """Tell whether a node may read and write a document at all: a right, which no calendar changes."""
        return self._held_on(None, identity, doc)

    def _held_on(self, day: date | None, identity: Identity, doc: str) -> bool:
        shape = self.shape_of(doc)
        if shape is None or identity.role not in shape.holders:
            return False
        parts = tuple(doc.split("/")[1:])
        return shape.partition.holds(parts, identity, day)

    def holds(self, doc: str) -> bool:
        """Tell whether this node is to hold a document today, or holds it already."""
        return doc in self.heads or self.held_by(self.identity, doc)

    def scope(self, peer: Identity) -> list[str]:
        """Return the documents here that ``peer`` and this node both are to hold, in order."""
        today = self.clock.today()
        apart = self.quarantine.held
        return sorted(doc for doc in self.heads if doc not in apart and self._held_on(today, peer, doc))

    def digest_of(self, doc: str) -> bytes:
        """Return 8 bytes over a document's heads; no document is loaded."""
        # A log with a hole is to be compared with the copy above, even if that one ends where the hole begins.
        holed = doc in self.quarantine.salvaged
        return heads_digest(f"{doc}?" if holed else doc, self.heads.get(doc, {}))

    def digest(self, docs: Iterable[str]) -> bytes:
        """Return 16 bytes over the heads of documents; no document is loaded."""
        total = blake2b(digest_size=16)
        for doc in sorted(docs):
            if self.heads.get(doc):
                total.update(self.digest_of(doc))
        return total.digest()

    def vectors(self, docs: Iterable[str]) -> Vectors:
        """Return the received heads of documents."""
        return {
            doc: {
                replica: (head.seq, head.hash)
                for replica, head in self.heads.get(doc, {}).items()
                if head.seq
            }
            for doc in docs
        }

    def cut_of(self, doc: str) -> dict[int, int]:
        """Return the causally closed cut of a document."""
        return {replica: head.cut for replica, head in self.heads.get(doc, {}).items() if head.cut}

    def lagging(self, docs: Iterable[str]) -> list[str]:
        """Return the documents that show more of others than their closed cut says.

        It is so when a peer's cut came with a part of a transaction, and was forgotten before the rest came.
        """
        own = self.replica
        return [
            doc
            for doc in docs
            if any(head.cut < head.visible for r, head in self.heads.get(doc, {}).items() if r != own)
        ]

    async def missing(
        self, vectors: Vectors, docs: Iterable[str], replicas: Collection[int] | None = None
    ) -> dict[str, int]:
        """Return the exact number of records per category that a peer with these heads lacks; no document is loaded.

        Only the logs of ``replicas`` count, if given.
        """
        counts: dict[str, int] = {}
        for doc in docs:
            category = doc.partition("/")[0]
            after = self.behind(doc, vectors.get(doc, {}), replicas)
            if after:
                counts[category] = counts.get(category, 0) + await self._count_changed(doc, after)
        return counts

    async def _count_changed(self, doc: str, after: Mapping[int, int]) -> int:
        """Count the keys that batches after these touched. It is asked again and again while nothing moves: reading is for news."""
        heads = self.heads[doc]
        between = {
            replica: (known, heads[replica].seq, heads[replica].hash) for replica, known in after.items()
        }
        counted = self._counted.get(doc)
        if counted is None or counted[0] != between:
            counted = (between, len(await self.changed_keys(doc, after)))
            self._counted[doc] = counted
        return counted[1]

    def behind(
        self, doc: str, theirs: Mapping[int, tuple[int, bytes]], replicas: Collection[int] | None = None
    ) -> dict[int, int]:
        """Return replica -> the last batch that a peer with these heads has, for the logs it lacks something of."""
        found: dict[int, int] = {}
        for replica, head in self.heads.get(doc, {}).items():
            known = theirs.get(replica, (0, b""))[0]
            if known < head.seq and (replicas is None or replica in replicas):
                found[replica] = known
        return found

    async def changed_keys(self, doc: str, after: Mapping[int, int]) -> dict[str, None]:
        """Return the keys that batches after these touched, each once; read a little at a time, so that writes go on."""
        found: dict[str, None] = {}
        ends = {replica: self.heads[doc][replica].seq for replica in after}
        for replica, known in after.items():
            for seq in range(known, ends[replica], limits.COUNTED_ROWS):
                upto = seq + limits.COUNTED_ROWS
                keys = await self.storage.read(partial(_changed_keys, doc, replica, seq, upto))
                found.update(dict.fromkeys(keys))
        return found

    # -- documents ---------------------------------------------------------------------------------------------

    async def document(self, doc: str) -> Document:
        """Return a document, folded; load it when it is not in memory."""
        self._used.add(doc)
        self.in_use.set()
        document = self._documents.get(doc)
        if document is None:
            async with self.quarantine.guarded(doc):
                document = self._empty(doc)
                stored = await self.stored(doc)
                with self.quarantine.reading(doc):
                    document.load(stored, self._parked.get(doc, ()), self._withheld(doc))
            large = sum(map(len, stored)) >= limits.LOAD_BYTES_LARGE
            del stored
            if large:
                give_back()
            self._documents[doc] = document
        return document

    def forget(self, doc: str) -> None:
        """Let a document leave memory."""
        self._documents.pop(doc, None)

    async def log_of(self, doc: str) -> Log:
        """Return a document's log as it is stored; it is not kept."""
        async with self.quarantine.guarded(doc):
            stored = await self.stored(doc)
            with self.quarantine.reading(doc):
                return Log(doc, self.replica, stored)

    def _empty(self, doc: str) -> Document:
        """Return a document on the writer's heads, with nothing loaded yet."""
        shape = self.schema.shape(doc.partition("/")[0])
        return Document(doc, shape, self.replica, self._working.setdefault(doc, {}))

    async def _with_log(self, doc: str) -> tuple[Document, Log]:
        """Return a document and its log, which stays in memory with it from now on."""
        document = await self.document(doc)
        if document.log is None:
            document.log = await self.log_of(doc)
        return document, document.log

    def _withheld(self, doc: str) -> list[tuple[int, int]]:
        """The writes of a document whose deletions wait for a person."""
        removals = self._removals.get(doc, ())
        return [(removal.replica, removal.seq) for removal in removals if removal.withheld]

    async def _warm(self, doc: str) -> None:
        """Load a document beside the writer, a little at a time: a local write to another one does not wait for it."""
        async with self._warming:
            heads = self._working.get(doc)
            apart = doc in self._documents or doc in self.quarantine.held
            if heads is None or apart or self.shape_of(doc) is None:
                return
            at = _positions(heads)
            document = self._empty(doc)
            try:
                stored = await self.stored(doc)
                steps = document.loading(stored, self._parked.get(doc, ()), self._withheld(doc))
                async for _ in self._jobs.beside(steps):
                    pass
            except (StateError, StoreCorrupt):
                # A write came between the heads and the journal, or they are damaged: the writer loads it, in its turn.
                return
            same = (
                self._working.get(doc) is heads
                and document.replica == self.replica
                and at == _positions(heads)
            )
            if same and doc not in self._documents:
                self._documents[doc] = document
                self._used.add(doc)
                self.in_use.set()

    def documents_of(self, category: str) -> list[str]:
        """Return the documents here of a category."""
        if self._by_category[0] != len(self.heads):
            # No document leaves without a reload: their number tells whether there are new ones.
            found: dict[str, list[str]] = {}
            for doc in self.heads:
                found.setdefault(doc.partition("/")[0], []).append(doc)
            self._by_category = (len(self.heads), found)
        return self._by_category[1].get(category, [])

    def durable_fold(self, doc: str) -> Fold | None:
        """Return a document's fold, only to be read, if it is in memory and says what the store says."""
        document = self._documents.get(doc)
        if document is None or document.ahead:
            return None
        self._used.add(doc)
        return document.fold

    async def fold(self, doc: str) -> Fold:
        """Return a document's fold, only to be read; load the document when it is not in memory."""
        self.quarantine.refuse(doc)
        found = [self._documents[doc]] if doc in self._documents else []

        async def prepare(_commit: Commit) -> list[Change]:
            found.append(await self.document(doc))
            return []

        if not found:
            await self._submit(prepare)
        return found[0].fold

    async def stored(self, doc: str) -> list[bytes]:
        """Return what the store holds of a document, in the order in which it is applied."""
        snapshot, journal = await self.storage.read(lambda view: (view.snapshot(doc), view.journal(doc)))
        updates = [update for _, update in journal]
        known = self._stored.get(doc, _Stored())
        self._stored[doc] = _Stored(
            len(snapshot[0]) if snapshot else 0, len(updates), sum(map(len, updates)), known.replaced
        )
        return ([snapshot[0]] if snapshot else []) + updates

    async def pieces(self, doc: str, theirs: Mapping[int, tuple[int, bytes]]) -> Diff:
        """Return what a peer with these heads lacks of a document, in updates below the chunk limit."""
        result = Diff()
        clocks = {replica: seq for replica, (seq, _) in theirs.items()}
        whole: list[bytes] = []
        await self._warm(doc)

        async def cut(_commit: Commit) -> list[Change]:
            document, logs = await self._with_log(doc)
            async with self.quarantine.guarded(doc):
                with self.quarantine.reading(doc):
                    whole.append(logs.diff(clocks))
            result.vector = {replica: head.seq for replica, head in document.heads.items() if head.seq}
            result.cut = document.closed()
            return []

        await self._submit(cut, local=False)
        size = limits.CHUNK_BYTES_MAX if clocks else limits.CHUNK_FIRST_BYTES_MAX
        async for piece in self._jobs.beside(pieces(whole.pop(), size)):
            result.updates.append(piece)
        return result

    async def is_on_chain(self, doc: str, replica: int, seq: int, chain: bytes) -> bool | None:
        """Tell whether a head that a peer names is on the chain of the log here; None where it was compacted away."""
        found: list[bool | None] = []

        async def look(_commit: Commit) -> list[Change]:
            head = self.heads.get(doc, {}).get(replica, Head())
            if seq >= head.seq:
                found.append(seq == head.seq and chain == head.hash)
                return []
            _, logs = await self._with_log(doc)
            after = logs.element(replica, head.seq - seq)
            found.append(None if after is None else decode_batch(after).prev == chain)
            return []

        await self._submit(look, local=False)
        return found[0]

    @property
    def working(self) -> dict[str, Heads]:
        """The heads that the writer works on; for the writer's own steps alone."""
        return self._working

    async def install(self, doc: str, update: bytes, commit: Commit) -> None:
        """Let a document be this update from the commit on; its heads are to be set before."""
        await self.install_encoded(doc, Log(doc, self.replica, [update]).encode(), commit)

    async def install_encoded(self, doc: str, encoded: bytes, commit: Commit) -> None:
        """As ``install``, of an update that is written to the store as it is."""
        covers = await self.storage.read(lambda view: view.journal_end(doc))
        commit.snapshots[doc] = (encoded, covers)
        document = self._empty(doc)
        document.load([encoded], self._parked.get(doc, ()), self._withheld(doc))
        document.ahead = True
        self._documents[doc] = document
        self._stored[doc] = _Stored(len(encoded))
        for docs in self._waiting.values():
            docs.discard(doc)
        for replica in document.waiting():
            self._waiting.setdefault(replica, set()).add(doc)

    def restart(self, doc: str, parked: Iterable[Parked]) -> list[Removal]:
        """Let these batches be the parked ones of a document whose heads were set anew; return its undecided removals."""
        self._parked[doc] = {(entry.replica, entry.seq) for entry in parked}
        heads = self._working[doc]
        held = self._removals.pop(doc, [])
        kept = [one for one in held if one.replica in heads and one.seq <= heads[one.replica].seq]
        if kept:
            self._removals[doc] = kept
        return list(kept)

    def repark(self, doc: str, replica: int, upto: int, fresh: Iterable[Parked], commit: Commit) -> None:
        """Let these batches be the parked ones of a log after ``upto``."""
        kept = self._parked.setdefault(doc, set())
        added = [entry for entry in fresh if entry.seq > upto]
        gone = {(r, s) for r, s in kept if r == replica and s > upto} - {(replica, p.seq) for p in added}
        kept -= gone
        kept |= {(replica, entry.seq) for entry in added}
        commit.unparked += [(doc, r, s) for r, s in sorted(gone)]
        commit.parked += [_parked_row(doc, entry) for entry in added]

    def remove_anew(
        self, doc: str, replica: int, upto: int, batches: Iterable[Batch], fold: Fold, change: Change
    ) -> list[Removal]:
        """Let these batches be those of a log after ``upto``; return the undecided mass removals that are in it no more.

        Those among the new ones wait for a person. ``fold`` is what was shown until now.
        """
        held = self._removals.get(doc, [])
        gone = [one for one in held if one.replica == replica and one.seq > upto]
        if gone:
            self._removals[doc] = without(held, gone)
            change.released += gone
        if self._may_be_mass(replica):
            apart = self._parked.get(doc, ())
            sound = [batch for batch in batches if (replica, batch.seq) not in apart]
            self.note_removals(mass_removals(doc, replica, sound, upto, fold, withhold=True), change)
        return gone

    def note_removals(self, found: Collection[Removal], change: Change) -> None:
        """Let these mass removals, of a log that a change brings, wait for a person."""
        if found and Decision.__category__ in self.schema.shapes:
            self._removals.setdefault(change.doc, []).extend(found)
            change.removals += found

    async def state_digest(self, doc: str) -> bytes:
        """Return the canonical digest of a document's folded state."""
        found: list[bytes] = []

        async def prepare(_commit: Commit) -> list[Change]:
            found.append((await self.document(doc)).fold.digest())
            return []

        await self._submit(prepare, local=False)
        return found[0]

    async def over(self, logs: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return which of these logs (document, replica) their owners gave up, and the last sequence that counts."""
        found: dict[tuple[str, int], int] = {}

        async def look(_commit: Commit) -> list[Change]:
            for doc, replica in logs:
                counts = (await self.document(doc)).counts(replica)
                if counts < limits.SEQ_MAX:
                    found[doc, replica] = counts
            return []

        await self._submit(look, local=False)
        return found

    async def refold(self, doc: str) -> tuple[list[tuple[Any, ...]], bytes]:
        """Load a document afresh from the store; return its rows and its state digest."""
        result: list[tuple[list[tuple[Any, ...]], bytes]] = []

        async def prepare(_commit: Commit) -> list[Change]:
            self._documents.pop(doc, None)
            fold = (await self.document(doc)).fold
            result.append((fold.rows(fold.keys()), fold.digest()))
            self._documents.pop(doc, None)
            return []

        await self._submit(prepare, local=False)
        return result[0]

    def loaded(self) -> list[str]:
        """Return the documents in memory."""
        return sorted(self._documents)

    def unload(self) -> None:
        """Drop every document from memory; the next use loads it again."""
        self._documents.clear()

    # -- writes ------------------------------------------------------------------------------------------------

    async def write(
        self,
        ops: Mapping[str, Mapping[str, list[Op]]],
        actor: str = "",
        created: Collection[tuple[str, str]] = (),
        released: Collection[tuple[str, int, int]] = (),
        kept: Mapping[str, bytes] | None = None,
    ) -> list[Change]:
        """Write one transaction: per document and record key, what to write. All of it is durable on return, or none.

        ``created`` are the (document, key) of ``ops`` that no record may have yet. ``released`` are the mass removals
        (document, replica, sequence) that somebody decided about: they count before anything is written. ``kept`` are
        small values by name that this node keeps with it.

        Raises:
            RecordExists: a record has one of them; it may be of a transaction that is being written.
        """

        async def prepare(commit: Commit) -> list[Change]:
            documents = [await self.document(doc) for doc in sorted(ops)]
            for document in documents:
                for doc, key in created:
                    if doc == document.doc and key in document.fold:
                        raise RecordExists(doc, key)
            wanted = [one for doc, *at in released for one in self._removals_at(doc, *at)]
            first = [await self._release(removal) for removal in wanted]
            stamp = self.hlc.tick(self.clock.now_ms())
            txid = self.clock.random_bytes(16)
            seqs = {d.doc: d.heads.get(self.replica, Head()).seq + 1 for d in documents}
            changes = [
                document.write(
                    {key: list(writes) for key, writes in ops[document.doc].items()},
                    hlc=stamp,
                    txid=txid,
                    parts={doc: seq for doc, seq in seqs.items() if doc != document.doc},
                    actor=actor,
                )
                for document in documents
            ]
            self._note_removals(changes)
            written = first + changes + await self.release_decided(changes)
            # Last: what is refused above shares its commit with others and must leave nothing in it.
            commit.meta |= kept or {}
            return written

        for doc in ops:
            self.quarantine.refuse(doc)
        return await self._submit(prepare)

    def _removals_at(self, doc: str, replica: int, seq: int) -> list[Removal]:
        held = self._removals.get(doc, [])
        return [removal for removal in held if (removal.replica, removal.seq) == (replica, seq)]

    def _note_removals(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if Decision.__category__ not in self.schema.shapes:
                change.removals.clear()  # nobody could decide
            elif change.removals:
                self._removals.setdefault(change.doc, []).extend(change.removals)

    async def _release(self, removal: Removal) -> Change:
        """Let a mass removal count: somebody decided about it."""
        document = await self.document(removal.doc)
        change = document.release(removal)
        change.released.append(removal)
        self._removals[removal.doc] = without(self._removals[removal.doc], [removal])
        return change

    async def release_decided(self, changes: list[Change]) -> list[Change]:
        """Let the removals count that these changes bring a decision about, or that were decided about before."""
        undecided = [removal for removals in self._removals.values() for removal in removals]
        if not undecided:
            return []
        rows = [row for change in changes if change.category == Decision.__category__ for row in change.rows]
        ready = dict.fromkeys(decided(rows, undecided))
        fresh = [removal for change in changes for removal in change.removals]
        if fresh:
            category, names = Decision.__category__, {removal_id(removal) for removal in fresh}
            known = await self.storage.read(lambda view: view.select_in(category, "pendency", names))
            ready |= dict.fromkeys(decided(known, fresh))
        return [await self._release(removal) for removal in ready]

    def _may_be_mass(self, replica: int) -> bool:
        """Tell whether a mass removal in this log waits for a person: one that was written here does not."""
        known = self.registry.get(replica)
        elsewhere = known is None or known.device != self.identity.device
        return self.withholds and elsewhere and Decision.__category__ in self.schema.shapes

    async def receive(
        self,
        doc: str,
        update: bytes,
        may_write: Callable[[int], bool],
        cut: Mapping[int, int] | None = None,
        forbidden: Callable[[int], frozenset[str]] = lambda _replica: frozenset(),
        absent: frozenset[str] = frozenset(),
        origin: Origin = LOCAL,
        skew_ms: int | None = None,
    ) -> list[Change]:
        """Take a peer's update; durable on return. ``origin`` is shown with the pendencies that it opens.

        While people work here it is taken in pieces; what was taken of an update that is refused later stays.

        ``cut`` is the peer's closed cut when its diff is complete. ``absent`` are the categories that the peer cannot
        send here: no transaction waits for its parts in them. ``skew_ms`` says that the update comes from below, and
        how far ahead the clocks there are known to be, in milliseconds: stamps far ahead get a ceiling.
        """
        self.quarantine.refuse(doc)
        began = 0.0
        now = asyncio.get_running_loop().time

        async def take(piece: bytes, closed: Mapping[int, int] | None, _commit: Commit) -> list[Change]:
            nonlocal began
            began = now()
            document = await self.document(doc)
            change = document.receive(piece, may_write, forbidden, self._may_be_mass)
            self._note_removals([change])
            for entry in change.parked:
                self._parked.setdefault(doc, set()).add((entry.replica, entry.seq))
            changes = {doc: change}
            for replica in document.waiting():
                self._waiting.setdefault(replica, set()).add(doc)
            for replica in list(change.heads):
                await self.show(replica, changes, absent)
            if closed:
                document.promise(closed, change)
            bounds = self._bound_stamps(document, change, skew_ms)
            return [*changes.values(), *bounds, *await self.release_decided(list(changes.values()))]

        await self._warm(doc)
        taken: list[Change] = []
        pieces = self._slices.cut(update)
        piece: bytes | None = next(pieces)
        while piece is not None:
            following = next(pieces, None)
            closed = cut if following is None else None
            taken += await self._submit(partial(take, piece, closed), origin, local=False)
            self._slices.took(len(piece), now() - began)
            piece = following
        return taken

    def _bound_stamps(self, document: Document, change: Change, skew_ms: int | None) -> list[Change]:
        """Observe the stamps of an update; those far ahead are not, and get a ceiling when they come from below."""
        latest = self.hlc.latest(self.clock.now_ms())
        if change.hlc <= latest:
            self.hlc.observe(change.hlc)
            return []
        good, ahead = stamps_of(change.journal[0], latest)
        self.hlc.observe(good)
        role = self.identity.role
        if skew_ms is None or not (role is Role.GESTAO or document.shape.may_write(role)):
            return []
        now = self.hlc.tick(self.clock.now_ms())
        ceilings = [
            Ceiling(replica, seq, now, skew_ms)
            for replica, (seq, stamp) in ahead.items()
            if document.fold.stamp_that_counts(replica, seq, stamp) > latest
        ]
        if not ceilings:
            return []
        ops = [Op("write", c.slot, (c.hlc, c.shift_ms)) for c in ceilings]
        return [document.write({CEILINGS: ops}, hlc=now, txid=self.clock.random_bytes(16))]

    def waiting(self) -> set[int]:
        """Return the replicas of whose logs something waits for parts, as far as is known."""
        return {replica for replica, docs in self._waiting.items() if docs}

    async def show(self, replica: int, changes: dict[str, Change], absent: frozenset[str]) -> None:
        """Show what all parts of have arrived: the greatest prefix of each log whose transactions are whole."""
        shown = sorted(self._waiting.get(replica, set()) - self.quarantine.held.keys())
        documents = {doc: await self.document(doc) for doc in shown}
        told: dict[tuple[str, int], bytes] = {}
        while isinstance(upto := self._reach(documents, told, replica, absent), set):
            for doc in sorted({doc for doc, _ in upto}):
                seqs = sorted(seq for other, seq in upto if other == doc)
                told |= {
                    (doc, seq): txid
                    for seq, txid in zip(seqs, await self._parts(doc, replica, seqs), strict=True)
                }
        for doc, document in documents.items():
            if upto[doc] > self._working[doc][replica].visible:
                change = changes.setdefault(doc, Change(doc, document.shape.category))
                document.show(replica, upto[doc], change)
                document.advance_cut(change)
            if replica not in document.waiting():
                self._waiting[replica].discard(doc)

    def show_waiting(self) -> None:
        """Show, in the writer's next steps, what waits for a document that is set apart now: nothing may come to stir it."""
        if not self.is_open:
            return

        async def look(replica: int, _commit: Commit) -> list[Change]:
            changes: dict[str, Change] = {}
            await self.show(replica, changes, frozenset())
            return list(changes.values())

        for replica in sorted(replica for replica, docs in self._waiting.items() if docs):
            done: asyncio.Future[list[Change]] = asyncio.get_running_loop().create_future()
            # Nobody waits for it; what fails is tried again with the next arrival.
            done.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            self._jobs.put(Job(partial(look, replica), done, local=False))

    async def _parts(self, doc: str, replica: int, seqs: Iterable[int]) -> list[bytes]:
        """Return the transactions of what was shown at these sequences; empty where a compaction replaced it."""
        document = self._documents.get(doc)
        # Not to be kept: where branches become one the store has another log than the document, behind what was shown.
        logs = (document and document.log) or await self.log_of(doc)
        end = self.heads.get(doc, {}).get(replica, Head()).seq
        elements = [logs.element(replica, end - seq + 1) if seq <= end else None for seq in seqs]
        batches = [None if element is None else decode_batch(element) for element in elements]
        return [b"" if batch is None or batch.compaction is not None else batch.txid for batch in batches]

    def _reach(
        self,
        documents: Mapping[str, Document],
        told: Mapping[tuple[str, int], bytes],
        replica: int,
        absent: frozenset[str],
    ) -> dict[str, int] | set[tuple[str, int]]:
        """Return the newest sequence of a log, by document, up to which all parts of its transactions are there.

        After a restore the place of a part that was lost may have another write, or the end of the log. What is at places that
        were shown before is ``told``; when more is needed, these (document, sequence) are returned instead.
        """
        unknown: set[tuple[str, int]] = set()
        # Of what is there already: so no more is looked at than is shown, however much waits.
        upto = {doc: document.received(replica) for doc, document in documents.items()}
        apart = self.quarantine.held

        @cache
        def is_awaited(doc: str) -> bool:
            # For a document that is set apart nobody else is to wait.
            return doc.partition("/")[0] not in absent and doc not in apart and self.holds(doc)

        def satisfied(batch: Batch) -> bool:
            for doc, seq in batch.parts.items():
                if not is_awaited(doc):
                    continue
                head = self._working.get(doc, {}).get(replica)
                if upto.get(doc, head.visible if head else 0) < seq:
                    return False
                if batch.compaction is None:
                    loaded = documents.get(doc) or self._documents.get(doc)
                    txid = loaded.part(replica, seq) if loaded is not None else None
                    if txid is None and (doc, seq) not in told:
                        unknown.add((doc, seq))
                    elif (txid or told.get((doc, seq))) not in {None, b"", batch.txid}:
                        return False
            return True

        stable = False
        while not stable:
            stable = True
            for doc, document in documents.items():
                reach = document.showable(replica, satisfied, upto[doc])
                if reach != upto[doc]:
                    upto[doc] = reach
                    stable = False
        return unknown or upto

    async def compact(self, doc: str, *, local: bool = True, gives_way: bool = False) -> bool:
        """Compact the own log of a document; tell whether it was done. What it replaces is stored until a snapshot is made.

        One that the node above does not hold whole is left for later: if this disk were lost while the compaction is on
        its way, what arrived of it could never be shown, and what it replaces would be nowhere. So is one that
        ``gives_way`` when a local transaction comes.
        """

        async def prepare(_commit: Commit) -> list[Change]:
            document = await self.document(doc)
            if not await self._copied(doc, document.heads.get(self.replica)):
                return []
            async with self._borrowed_log(document) as logs:
                with self.quarantine.reading(doc):
                    elements = logs.elements(self.replica)
            stamp = self.hlc.tick(self.clock.now_ms())
            steps = document.compact(elements, stamp, self.clock.random_bytes(16))
            change = await self._jobs.in_turn(steps, gives_way=gives_way)
            return [] if change is None else [change]

        return bool(await self._submit(prepare, local=local, alone=True))

    async def squash(self, doc: str) -> bool:
        """Store a document as one snapshot instead of many journal rows; tell whether it was done.

        A document that holds a compaction waiting for its other parts is left for later: what it replaces must stay.
        """
        size = 0

        async def prepare(commit: Commit) -> list[Change]:
            nonlocal size
            document = await self.document(doc)
            if document.unfinished():
                return []
            covers = await self.storage.read(lambda view: view.journal_end(doc))
            async with self._borrowed_log(document):
                with self.quarantine.reading(doc):
                    encoded = document.snapshot()
            size = len(encoded)
            if size >= limits.LOAD_BYTES_LARGE:
                give_back()
            commit.snapshots[doc] = (encoded, covers)
            return [Change(doc, document.shape.category)]

        done = bool(await self._submit(prepare, alone=True))
        if done:
            # Now that it is durable: a refused one would leave the superseded rows behind, unseen.
            self._stored[doc] = _Stored(size)
        return done

    @contextlib.asynccontextmanager
    async def _borrowed_log(self, document: Document) -> AsyncIterator[Log]:
        """Load the log of a document where it is not in memory, and let it go again."""
        kept = document.log is not None
        _, logs = await self._with_log(document.doc)
        try:
            yield logs
        finally:
            if not kept:
                document.log = None

    async def _copied(self, doc: str, own: Head | None) -> bool:
        """Tell whether the own log of a document has anything, and the node above, where there is one, has it all."""
        if own is None or not own.seq:
            return False
        link = self.copied_by
        if link is None:
            return True
        acked = await self.storage.read(lambda view: view.acked(link))
        return acked.get((doc, self.replica), 0) >= own.seq

    async def until_copied(self, docs: Collection[str]) -> None:
        """Wait until the node above has the whole own log of each of these documents."""
        self._acknowledged.clear()
        while not all([await self._copied(doc, self.heads[doc].get(self.replica)) for doc in docs]):
            await self._acknowledged.wait()
            self._acknowledged.clear()

    def people_held(self) -> contextlib.AbstractContextManager[None]:
        """Let local transactions wait, while remote work goes on."""
        return self._jobs.held()

    def compaction_due(self, doc: str) -> float:
        """Return how many times as much as makes a compaction worth while there is in a document in memory."""
        return self._documents[doc].compaction_due()

    def wants_snapshot(self, doc: str, patience: int) -> bool:
        """Tell whether there is ``patience`` times as much journal as makes a new snapshot of it worth while."""
        return doc in self._documents and self._stored[doc].wants_snapshot(patience)

    async def drop_unused(self) -> None:
        """Drop the documents from memory that were not used since the last time."""

        async def drop(_commit: Commit) -> list[Change]:
            for doc in [name for name in self._documents if name not in self._used]:
                del self._documents[doc]
            self._used.clear()
            if not self._documents:
                self.in_use.clear()
            return []

        await self._submit(drop, local=False)

    async def look_again(self) -> None:
        """Look again at the rules whose moment has come."""
        now_ms = self.clock.now_ms()
        due = await self.storage.read(lambda view: view.due(now_ms))

        async def nothing(_commit: Commit) -> list[Change]:
            return []

        if due:
            await self._submit(nothing, due=due)

    async def try_store(self) -> bool:
        """Write a small value, to find out whether a disk that refused takes writes again; tell whether it does."""
        try:
            await self.storage.commit(Commit(meta={"tried": self.clock.now_ms().to_bytes(8, "big")}))
        except StorageError:
            return False
        return True

    async def commit(self, commit: Commit) -> None:
        """Write rows that no document is concerned with: acknowledgements, registry, history, small values."""
        await self.storage.commit(commit)
        for row in commit.replicas:
            self.registry[row.replica] = row
        if commit.acked:
            self._acknowledged.set()

    # -- the writer --------------------------------------------------------------------------------------------

    async def submit_alone(self, prepare: Callable[[Commit], Awaitable[list[Change]]]) -> list[Change]:
        """Let the writer do a step that reads the store: it shares its commit with no other, before or after it."""
        return await self._submit(prepare, alone=True)

    async def _submit(
        self,
        prepare: Callable[[Commit], Awaitable[list[Change]]],
        origin: Origin = LOCAL,
        due: list[DueRow] | None = None,
        *,
        local: bool = True,
        alone: bool = False,
    ) -> list[Change]:
        if not self.is_open:
            raise StoreClosed("the node")
        done: asyncio.Future[list[Change]] = asyncio.get_running_loop().create_future()
        self._jobs.put(Job(prepare, done, origin, due or [], local, alone))
        return await done

    async def _write_loop(self) -> None:
        local = False
        while True:
            await self._jobs.give_way()
            if self._may_checkpoint(after_local=local):
                await self._checkpoint()
            if self._jobs:
                local = self._jobs.local_next()
                await self._write_group(local=local)
            elif self._jobs.closed:
                return
            else:
                await self._jobs.stirred()

    def _may_checkpoint(self, *, after_local: bool) -> bool:
        if not self.storage.checkpoint_due or self._jobs.somebody_waits:
            return False
        # Right after a person's transaction the next one is farthest away.
        return after_local or not self.at_work

    async def _checkpoint(self) -> None:
        """Let the store do now what a commit would have to do later, with a person waiting."""
        try:
            await self.storage.checkpoint()
        except StorageError as error:
            # Nothing is lost, and a commit that the disk refuses says so to whom it concerns.
            log.warning("%s: the store could not be checkpointed: %s", self.identity.device, error)

    @property
    def at_work(self) -> bool:
        """Whether people work at this node now."""
        return self._slices.at_work

    def begin_turn(self, whose: object) -> None:
        """A local transaction begins; it goes first if it does not take long."""
        self._jobs.begin_turn(whose)
        self._slices.note_local()

    def end_turn(self, whose: object) -> None:
        """It is over."""
        self._jobs.end_turn(whose)

    async def _write_group(self, *, local: bool) -> None:
        """Prepare what is waiting, local transactions or remote work, and make it durable in one storage transaction."""
        commit = Commit()
        group: list[Job] = []
        refused: list[tuple[Job, Exception]] = []
        failed = False
        while (job := self._jobs.take(local=local, first=not group)) is not None:
            try:
                job.changes = await self._prepare(job, commit)
            except RecordExists as error:
                # Raised before anything was touched: the group goes on without this one. Its caller hears it when the
                # record that stands in the way, maybe of this group, is durable.
                refused.append((job, error))
                continue
            except Exception as error:  # noqa: BLE001 - it goes to the job's caller
                refused.append((job, error))
                failed = True
                break
            for change in job.changes:
                self._gather(change, commit)
            group.append(job)
            if not local or job.alone:
                break
        await self._finish(commit, group)
        if failed and self._stale is None:
            # What the failed step touched in memory cannot be told apart from the rest: go back to what is durable.
            await self._go_back()
        for job, reason in refused:
            if not job.done.done():
                job.done.set_exception(reason)

    async def _prepare(self, job: Job, commit: Commit) -> list[Change]:
        if self._stale is not None:
            await self._go_back()
        if self._stale is not None:
            raise self._stale
        return await job.prepare(commit)

    def _gather(self, change: Change, commit: Commit) -> None:
        doc = change.doc
        commit.journal += [(doc, update) for update in change.journal]
        if doc not in commit.snapshots:
            stored = self._stored.setdefault(doc, _Stored())
            stored.rows += len(change.journal)
            stored.size += sum(map(len, change.journal))
            stored.replaced = stored.replaced or bool(change.recompacted)
        for replica in sorted(change.heads):
            head = self._working[doc][replica]
            row = HeadRow(doc, replica, head.seq, head.hash, head.visible, head.cut, self.hlc.last)
            commit.heads.append(row)
        commit.changes += [ChangeRow(doc, replica, seq, keys) for replica, seq, keys in change.touched]
        for replica, upto, rows in change.recompacted:
            kept = [ChangeRow(doc, replica, seq, keys) for seq, keys in rows]
            commit.recompacted.append((doc, replica, upto, kept))
        if change.rows:
            commit.records.setdefault(change.category, []).extend(change.rows)
        if change.removals or change.released:
            commit.meta[removal_rows.META_KEY] = removal_rows.dump(self._removals)
        commit.parked += [_parked_row(doc, entry) for entry in change.parked]

    async def _finish(self, commit: Commit, group: list[Job]) -> None:
        if not group:
            return
        changes = [change for job in group for change in job.changes]
        due = [row for job in group for row in job.due]
        found: list[PendencyChanges] = []
        if changes or due:
            removals = any(change.removals or change.released for change in changes)
            if commit.records or due or commit.parked or commit.unparked or commit.recompacted or removals:
                commit.inside = self._rules_of(commit, group[0].origin, due, found, changes)
            try:
                await self.storage.commit(commit)
            except Exception as error:  # noqa: BLE001 - it goes to every job's caller
                await self._go_back()
                for job in group:
                    if not job.done.done():
                        job.done.set_exception(error)
                return
            self.pendencies_opened += sum(one.fresh for one in found)
            self.pendencies_closed += sum(len(one.closed) for one in found)
            for doc in commit.dropped_logs:
                self.heads.get(doc, {}).clear()
            _install(self.heads, commit.heads)
            self._settle(changes)
        for job in group:
            if not job.done.done():
                job.done.set_result(job.changes)
        if changes:
            tell(self.on_change, changes)

    def _rules_of(
        self,
        commit: Commit,
        origin: Origin,
        due: list[DueRow],
        found: list[PendencyChanges],
        steps: list[Change],
    ) -> Callable[[View], PendencyChanges]:
        """Return what looks at the rules inside a commit; it notes in ``found`` what it changed."""
        now_ms = self.clock.now_ms()
        fresh = [one for step in steps for one in step.removals]
        released = [one for step in steps for one in step.released]

        def look(view: View) -> PendencyChanges:
            # The store may run a commit again, so what an attempt found replaces what the last one did.
            changes = evaluate(self.rule_book, commit.records, now_ms, view, origin, due)
            review_parked(commit, now_ms, view, origin, changes)
            removal_rows.review_removals(fresh, released, self.schema, now_ms, origin, changes)
            found[:] = [changes]
            return changes

        return look

    def _settle(self, changes: list[Change]) -> None:
        for change in changes:
            document = self._documents.get(change.doc)
            if document is None:
                continue
            try:
                with self.quarantine.reading(change.doc) if document.log else contextlib.nullcontext():
                    document.settle(change)
            except CrdtsyncError:
                # The change is durable; only the copy in memory broke, and the next use loads it again.
                self._documents.pop(change.doc)
        while len(self._documents) > limits.DOCUMENTS_LOADED_MAX:
            self._documents.pop(next(iter(self._documents)))

    async def _go_back(self) -> None:
        """Go back to what is durable, or at the next write when the store that refused a commit cannot be read either."""
        try:
            await self.reload()
        except StorageError as error:
            log.warning("%s: the store cannot be read: %s", self.identity.device, error)
            self._stale = error
        else:
            self._stale = None

    async def reload(self) -> None:
        """Go back to what is durable: heads and parked batches from the store, no document in memory."""
        self._documents.clear()
        await self.quarantine.recall()
        state, registry, raw = await self.storage.read(
            lambda view: (_stored_state(view), view.replicas(), view.meta("replica"))
        )
        self.registry = {row.replica: row for row in registry}
        self.replica = int.from_bytes(raw or b"", "big")
        self._take_stored(*state)

    def _take_stored(
        self, rows: list[HeadRow], parked: list[ParkedRow], removals: dict[str, list[Removal]]
    ) -> None:
        self._removals = removals
        self._by_category = (0, {})
        self._counted.clear()
        for known in (self.heads, self._working):
            known.clear()
            _install(known, rows)
        self._waiting.clear()
        self._parked.clear()
        for row in rows:
            if row.visible < row.seq:
                self._waiting.setdefault(row.replica, set()).add(row.doc)
        for entry in parked:
            self._parked.setdefault(entry.doc, set()).add((entry.replica, entry.seq))


def _stored_state(view: View) -> tuple[list[HeadRow], list[ParkedRow], dict[str, list[Removal]]]:
    return view.heads(), view.parked(), removal_rows.load(view.meta(removal_rows.META_KEY))


def _install(heads: dict[str, Heads], rows: Iterable[HeadRow]) -> None:
    for row in rows:
        heads.setdefault(row.doc, {})[row.replica] = Head(row.seq, row.hash, row.visible, row.cut)


def tell(listeners: Iterable[Callable[[T], None]], what: T) -> None:
    """Call each of them; one that raises is logged and keeps neither the others nor the caller from going on."""
    for listener in [*listeners]:
        try:
            listener(what)
        except Exception:
            log.exception("a listener failed")


async def stop_task(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait until it has ended."""
    if task is not None:
        task.cancel()
        # Awaiting the task itself, its cancellation could not be told from the caller's own, which must not be lost.
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


def _positions(heads: Heads) -> list[tuple[int, int, int]]:
    return [(replica, head.seq, head.visible) for replica, head in sorted(heads.items())]


def _changed_keys(doc: str, replica: int, after: int, upto: int, view: View) -> set[str]:
    return view.changed_keys(doc, replica, after, upto)


def change_rows(doc: str, replica: int, after: int, view: View) -> list[ChangeRow]:
    """Return the next rows of a log's by-sequence index, a read's worth of them."""
    return view.change_rows(doc, replica, after, limits.READ_ROWS)


def _parked_row(doc: str, entry: Parked) -> ParkedRow:
    return ParkedRow(doc, entry.replica, entry.seq, "invalid", entry.detail, entry.data)
