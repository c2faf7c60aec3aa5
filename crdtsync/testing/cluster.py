"""A cluster inside one virtual-time loop: one Gestao, its Lojas and their lanes, with crashes, cuts and restores.

Nodes, sessions, documents and stores are the real ones; time, chance, network and disks are simulated. The cluster
watches two promises while it runs: no transaction is ever half visible, and no node uploads before it holds what its
upstream's plan named. What is written, and when something breaks, is the schedule's business.
"""

# ruff: noqa: SLF001 - a crash and a disk are simulated from the inside; no public verb should be able to do it.

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from crdtsync import limits
from crdtsync.errors import StorageError, StoreClosed, StoreUnavailable
from crdtsync.node import Node, NodeConfig
from crdtsync.node.incarnation import NonceMemory
from crdtsync.protocol.frames import decode_frame
from crdtsync.schema.roles import Role
from crdtsync.state.fork import Branch
from crdtsync.state.log import Log
from crdtsync.state.update import read_update
from crdtsync.storage.memory import MemoryStorage, _connect
from crdtsync.storage.tables import table_specs
from crdtsync.testing.model import Model, Written
from crdtsync.testing.samples import EPOCH
from crdtsync.transport.memory import Faults, MemoryChannel, MemoryNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from crdtsync.node.ledger import Ledger
    from crdtsync.schema import Schema
    from crdtsync.state.document import Change, Op
    from crdtsync.storage.base import ChangeRow, Commit, View

T = TypeVar("T")

_EPOCH_MS = int(EPOCH.timestamp() * 1000)
_CHECK_SECONDS = 3.0
_SETTLE_ROUNDS = 150
_PAGES_MAX = 2**30

ACTOR = "simulation"
"""Who the schedule's own transactions name as their writer."""

Doom = Literal["before", "after"]
Refusal = Literal["full", "protected", "broken"]
REFUSALS: tuple[Refusal, ...] = ("full", "protected", "broken")
"""What a disk can come to be: full (SQLite's own error where a commit needs a page), write-protected, or not readable either."""

Kinds = Literal["diverged", "lost", "duplicated"]


class SimulatedClock:
    """Virtual time as one node's clock shows it, `skew_ms` wrong; seeded bytes."""

    def __init__(self, dice: Random, skew_ms: int) -> None:
        self._dice = dice
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC, as this node believes."""
        return _EPOCH_MS + int(asyncio.get_running_loop().time() * 1000) + self.skew_ms

    def today(self) -> date:
        """The day that this node believes it is."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC).date()

    def uptime(self) -> float:
        """Virtual seconds."""
        return asyncio.get_running_loop().time()

    def random_bytes(self, size: int) -> bytes:
        """Seeded bytes."""
        return self._dice.randbytes(size)


class Disk(MemoryStorage):
    """A store that can lose its power in the middle of a commit, and be copied and restored."""

    doom: Doom | None = None
    on_crash: Callable[[], None] | None = None
    _refuses: Refusal | None = None
    _until = 0.0

    def refuse(self, how: Refusal, seconds: float) -> None:
        """Refuse for so many virtual seconds."""
        self._refuses, self._until = how, asyncio.get_running_loop().time() + seconds
        self._limit(0 if how == "full" else _PAGES_MAX)

    def mend(self) -> None:
        """Refuse nothing any more."""
        self._refuses = None
        self._limit(_PAGES_MAX)

    def _limit(self, pages: int) -> None:
        # Not less than what it has: SQLite sees to that.
        if self._connection is not None:
            self._connection.execute(f"PRAGMA max_page_count = {max(1, pages)}")

    def _check(self, *refusals: Refusal) -> None:
        if self._refuses is not None and asyncio.get_running_loop().time() >= self._until:
            self.mend()
        if self._refuses in refusals:
            raise StoreUnavailable(":memory:", "the simulated disk refuses")

    async def read(self, fn: Callable[[View], T]) -> T:
        """See Storage.read."""
        self._check("broken")
        return await super().read(fn)

    async def commit(self, commit: Commit) -> int:
        """See Storage.commit; a doomed disk dies just before or just after this one became durable."""
        self._check("protected", "broken")
        if self.doom is None:
            return await super().commit(commit)
        if self.doom == "after":
            await super().commit(commit)
        self.crash()
        if self.on_crash is not None:
            self.on_crash()
        raise StoreClosed(":memory:")

    def reopen(self, tables: Any = None) -> Disk:
        """See MemoryStorage.reopen."""
        plain = super().reopen(tables)
        again = Disk(plain._specs)
        again._connection = plain._connection
        return again

    def copy(self) -> bytes:
        """What a backup of the file holds now."""
        assert self._connection is not None
        return self._connection.serialize()

    @classmethod
    def restored(cls, specs: Any, image: bytes) -> Self:
        """A disk that holds a backup."""
        disk = cls(specs)
        disk._connection = _connect()
        disk._connection.deserialize(image)
        return disk


@dataclass(slots=True)
class Finding:
    """One promise that was not kept: `kind` is diverged, lost or duplicated."""

    kind: Kinds
    what: str


@dataclass(slots=True)
class _Pending:
    """A transaction that was under way when its node died: its store says whether it counts."""

    written: Written


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of a node's store: its bytes, how many transactions the model had, the own heads, the nonce beside it."""

    image: bytes
    kept: int
    heads: dict[str, int]
    nonce: frozenset[bytes]


@dataclass(slots=True)
class Member:
    """One machine of the cluster: a node that runs or not, its disk, its clock."""

    config: NodeConfig
    clock: SimulatedClock
    disk: Disk
    parent: str | None
    node: Node | None = None
    died: bool = False
    own_batches: Counter[str] = field(default_factory=Counter)
    """Batches that the node wrote itself, by document, since its last write was looked ahead."""
    wrote: dict[str, tuple[int, int]] = field(default_factory=dict)
    """What the schedule's last transaction became: document -> sequence, hybrid clock."""
    unasked: list[Written] = field(default_factory=list)
    """What the node writes of itself and has not been told to be durable."""
    work: asyncio.Task[None] | None = None
    pending: _Pending | None = None
    nonce: NonceMemory = field(default_factory=NonceMemory)
    backup: Backup | None = None
    doubtful: int | None = None
    """The replica that a restored store may still write though its log has gone on elsewhere."""
    early: dict[str, int] = field(default_factory=dict)
    """Its heads in the backup."""
    compacting: str | None = None
    parted: dict[str, tuple[int, set[int]]] = field(default_factory=dict)
    """Up to where the logs of a restored store went when it first compacted them, and the clocks of its compactions."""
    afresh: list[Written] = field(default_factory=list)
    """What the restored store wrote under that replica: it must come back under another one."""
    shown: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Device name."""
        return self.config.device

    @property
    def running(self) -> Node:
        """The node. Only when it is up."""
        assert self.node is not None
        return self.node


def look(written: Written, ledger: Ledger) -> None:
    """Note what the writer has seen of each document, and where its write is to go: after the newest of its own."""
    for doc in written.ops:
        heads = ledger.heads.get(doc, {})
        own = heads.get(ledger.replica)
        written.parts[doc] = (own.seq if own else 0) + 1
        written.closed[doc] = {r: head.cut for r, head in heads.items()}
        written.shown[doc] = {r: head.visible for r, head in heads.items()}


def _change_rows(doc: str, replica: int, after: int, view: View) -> list[ChangeRow]:
    return view.change_rows(doc, replica, after, limits.READ_ROWS)


class WatchedNetwork(MemoryNetwork):
    """The in-memory network, read along: whoever uploads must hold what the plan of that run named."""

    def __init__(self, random: Random, faults: Faults, cluster: Cluster) -> None:
        super().__init__(random, faults)
        self._cluster = cluster
        self._plans: dict[tuple[str, str], dict[str, Any] | None] = {}

    async def carry(self, sender: MemoryChannel, message: bytes) -> None:
        """See MemoryNetwork.carry."""
        # A frame's kind stands behind its checksum and number; only the three that matter are decoded.
        head = message[4:20]
        if b"\xa4plan" in head:
            at = (sender.there, sender.here)
            plan = self._plans.get(at) or {}
            self._plans[at] = plan | dict(decode_frame(message)[2]["docs"])
        elif b"\xa6fenced" in head:
            at = (sender.here, sender.there)
            self._cluster.fenced(sender.here, self._plans.get(at))
            self._plans[at] = None
        elif b"\xa4data" in head and self._plans.get((sender.here, sender.there)):
            self._cluster.found("diverged", f"{sender.here} uploads before its fence")
        await super().carry(sender, message)

    def forget(self, name: str) -> None:
        """A node was put back from a backup: what it promised before is gone with its disk."""
        for at in [at for at in self._plans if name in at]:
            del self._plans[at]


class Cluster:
    """See the module. `lanes` says how many each Loja has; `findings` is what must not happen."""

    def __init__(
        self, dice: Random, schema: Schema, *, lanes: Sequence[int], faults: Faults, live: bool
    ) -> None:
        self.dice = dice
        self.schema = schema
        self.network = WatchedNetwork(dice, faults, self)
        self.model = Model()
        self.members: dict[str, Member] = {}
        self.findings: list[Finding] = []
        self.restored: list[tuple[Member, int]] = []
        """The restores of a log that others hold more of, each with the replica whose log must not be continued."""
        self._wholes: dict[tuple[int, str, int], dict[str, int]] = {}
        self._specs = table_specs(schema)
        self._add("gestao", Role.GESTAO, None, live=live)
        self.stores = [f"loja{number}" for number in range(1, len(lanes) + 1)]
        number = itertools.count(1)
        for store, many in zip(self.stores, lanes, strict=True):
            self._add(store, Role.LOJA, "gestao", live=live, store=store)
            for _ in range(many):
                self._add(f"caixa{next(number)}", Role.CAIXA, store, live=live, store=store)

    def _add(
        self, name: str, role: Role, parent: str | None, *, live: bool, store: str | None = None
    ) -> None:
        config = NodeConfig(
            folder=Path(name),
            device=name,
            role=role,
            store=store,
            upstream=f"memory://{parent}" if parent else None,
            listen=role is not Role.CAIXA,
            live=live,
            check_seconds=_CHECK_SECONDS,
        )
        clock = SimulatedClock(self.dice, self.dice.randint(-120_000, 120_000))
        self.members[name] = Member(config, clock, Disk(self._specs), parent)

    def found(self, kind: Kinds, what: str) -> None:
        """Take note of a broken promise."""
        if len(self.findings) < limits.CATEGORIES_MAX:
            self.findings.append(Finding(kind, what))

    def up(self) -> list[Member]:
        """Members that run."""
        return [member for member in self.members.values() if member.node is not None and not member.died]

    def writing(self) -> set[int]:
        """Replicas that members write as; the others ended when a disk was replaced."""
        return {member.running.ledger.replica for member in self.members.values()}

    # -- power -------------------------------------------------------------------------------------------------

    async def start(self, member: Member) -> None:
        """Open a member's store and run its node."""
        member.disk.mend()
        node = Node(
            member.config,
            schema=self.schema,
            storage=member.disk,
            transport=self.network.endpoint(member.name),
            clock=member.clock,
            dice=self.dice,
            nonce=member.nonce,
        )
        member.died = False
        self._read_along(member, node.ledger)
        try:
            await node.open()
        except StoreClosed:
            if not member.died:
                raise
            # The power went while it started; the next start finds what was durable.
            member.died, member.disk = False, member.disk.reopen()
            return
        member.node = node
        member.shown = {
            (doc, replica): head.visible
            for doc, heads in node.ledger.heads.items()
            for replica, head in heads.items()
        }
        await self.follow(member)
        self._resolve(member)
        await self._resolve_unasked(member)
        for replica, doc, seq in self._wholes:
            if member.shown.get((doc, replica), 0) >= seq and replica != member.doubtful:
                self._check_whole(member, replica, doc, seq)
        node.ledger.on_change.append(lambda changes: self._changed(member, changes))

    def _resolve(self, member: Member) -> None:
        """What was under way when the node died happened if its store has it."""
        pending, member.pending = member.pending, None
        if pending is not None:
            written = pending.written
            heads = member.running.ledger.heads
            held = [
                doc
                for doc, seq in written.parts.items()
                if written.replica in heads.get(doc, {}) and heads[doc][written.replica].seq >= seq
            ]
            if held:
                written.stamp = member.running.ledger.hlc.last
                self.acknowledge(member, written)
                if len(held) < len(written.parts):
                    self.found(
                        "lost",
                        f"{member.name} stored part of a transaction: {held} of {sorted(written.parts)}",
                    )

    def _read_along(self, member: Member, ledger: Ledger) -> None:
        """Let the model know what is really written: what was asked for, and what the node writes of itself (incidents, say)."""
        write = ledger.write

        async def watched(ops: Any, actor: str = "", *rest: Any) -> list[Change]:
            if actor == ACTOR and member.pending is not None:
                self._take_asked(member, member.pending.written, ops)
                look(member.pending.written, ledger)
                member.own_batches.clear()
                changes = await write(ops, actor, *rest)
                member.wrote = {c.doc: (c.touched[0][1], c.hlc) for c in changes if c.touched}
                return changes
            written = Written(ledger.replica, 0, {}, {doc: dict(keys) for doc, keys in ops.items()}, {}, {})
            look(written, ledger)
            member.unasked.append(written)
            # Who asked may be gone before it is written; it is written all the same.
            task = asyncio.ensure_future(write(ops, actor, *rest))
            task.add_done_callback(lambda task: self._take_unasked(member, written, task))
            return await asyncio.shield(task)

        compact = ledger.compact

        async def told(doc: str, *, local: bool = True, gives_way: bool = False) -> bool:
            member.compacting = doc
            try:
                return await compact(doc, local=local, gives_way=gives_way)
            finally:
                member.compacting = None

        ledger.write = watched  # type: ignore[method-assign,assignment]
        ledger.compact = told  # type: ignore[method-assign]

    def _take_asked(
        self, member: Member, written: Written, ops: Mapping[str, Mapping[str, list[Op]]]
    ) -> None:
        """Take what is really written: all that was asked for, and what entities added (`Entity.before_write`)."""
        for doc, key in ((doc, key) for doc, keys in written.ops.items() for key in keys):
            asked = written.ops[doc][key]
            if list(ops.get(doc, {}).get(key, ()))[: len(asked)] != asked:
                self.found("lost", f"{member.name} leaves out what was to be written to {doc}/{key}")
        written.ops = {doc: {key: list(writes) for key, writes in keys.items()} for doc, keys in ops.items()}

    def _take_unasked(self, member: Member, written: Written, task: asyncio.Future[list[Change]]) -> None:
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or (isinstance(error, StorageError) and not isinstance(error, StoreUnavailable)):
            # Its store says whether it counts.
            return
        member.unasked.remove(written)
        if error is None:
            for change in (change for change in task.result() if change.touched):
                written.stamp, written.parts[change.doc] = change.hlc, change.touched[0][1]
            self.acknowledge(member, written)

    async def _resolve_unasked(self, member: Member) -> None:
        """Of what a node wrote of itself when it died, what its store has counts."""
        unsure, member.unasked = member.unasked, []
        ledger = member.running.ledger
        taken: set[tuple[str, int]] = set()
        for written in unsure:
            for doc, keys in written.ops.items():
                log = (doc, written.replica, written.parts[doc] - 1)
                found = await ledger.storage.read(partial(_change_rows, *log))
                seqs = [row.seq for row in found if set(row.keys) == set(keys)]
                # Until its death is noticed a node may try again, in vain; what it has is the first attempt.
                if seqs and (doc, seqs[0]) not in taken:
                    taken.add((doc, seqs[0]))
                    written.stamp, written.parts = ledger.hlc.last, {doc: seqs[0]}
                    self.acknowledge(member, written)

    def doom(self, member: Member, when: Doom) -> None:
        """Let the power go at the member's next commit."""
        member.disk.doom = when

        def died() -> None:
            member.died = True
            if member.work is not None:
                member.work.cancel()

        member.disk.on_crash = died

    async def kill(self, member: Member) -> None:
        """The power goes now: nothing more is written, sent or finished."""
        node, member.node = member.running, None
        member.disk.crash()
        node.ledger.abort()
        if node._poked is not None:
            node._poked.cancel()
        # Whatever a node keeps running, now or in a later version, ends with it.
        kept = [*vars(node).values(), *vars(node.ledger).values(), *vars(node.uplink).values()]
        tasks = [task for task in kept if isinstance(task, asyncio.Task)]
        for task in tasks:
            task.cancel()
        if node.server is not None:
            await node.server.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        member.disk = member.disk.reopen()

    async def stop(self, member: Member) -> None:
        """Shut down cleanly."""
        node, member.node = member.running, None
        await node.close()
        if member.died:
            # The power went at the last commit of all.
            member.died = False
            member.disk = member.disk.reopen()

    def back_up(self, member: Member) -> None:
        """Copy a node's store, and what stands beside it."""
        ledger = member.running.ledger
        own = {
            doc: heads[ledger.replica].seq for doc, heads in ledger.heads.items() if ledger.replica in heads
        }
        member.backup = Backup(member.disk.copy(), len(self.model.transactions), own, member.nonce.values)

    async def restore(self, member: Member, *, whole: bool) -> bool:
        """Put a backup on a node's disk; what only that disk held is gone with it. False when it cannot be done now.

        ``whole`` puts the nonce back too, so that the store is not told from the one that wrote last. A lane's stays as it is
        otherwise, which tells only a store that was opened since; where others are below it is gone with the disk.
        """
        if member.backup is None or member.doubtful is not None:
            return False
        replica = member.running.ledger.replica
        await self.kill(member)
        # What the peers have received already they still process; then it is certain who holds what.
        await asyncio.sleep(1.0)
        if len(self.up()) < len(self.members) - 1:
            # Another one died meanwhile, and cannot be asked what it holds.
            return False
        backup = member.backup
        others = [m.running.ledger.heads for m in self.up()]
        gone: list[Written] = []
        for written in self.model.transactions[backup.kept :]:
            if written.replica == replica:
                held = [
                    any(r in h.get(doc, {}) and h[doc][r].seq >= seq for h in others)
                    for r in (replica,)
                    for doc, seq in written.parts.items()
                ]
                if any(held) and not all(held):
                    # Half of it is elsewhere: the disk is not replaced now, the machine only crashed.
                    return False
                if not any(held):
                    gone.append(written)
        for written in gone:
            self.model.transactions.remove(written)
            for doc, seq in written.parts.items():
                self._wholes.pop((replica, doc, seq), None)
        member.backup = None
        member.disk = Disk.restored(self._specs, backup.image)
        if whole:
            member.nonce.values = backup.nonce
        elif member.config.role is not Role.CAIXA:
            member.nonce.values = frozenset()
        self.network.forget(member.name)
        known = [(doc, h[replica].seq) for heads in others for doc, h in heads.items() if replica in h]
        if any(seq > backup.heads.get(doc, 0) for doc, seq in known):
            member.doubtful, member.early, member.parted = replica, backup.heads, {}
            self.restored.append((member, replica))
        return True

    def noticed(self) -> int:
        """Return after how many of the restores the node took a new incarnation. Only when all nodes are up."""
        return sum(member.running.ledger.replica != replica for member, replica in self.restored)

    async def follow(self, member: Member) -> None:
        """Give the writes of a restored store their new replica in the model, once it has one.

        The new log keeps each write's clock, so the model finds them by it, and needs to be told nothing.
        """
        old, ledger = member.doubtful, member.running.ledger
        if old is None or ledger.replica == old:
            return
        found = await self._stamps(member, old)
        for doc in [doc for doc in member.parted if await self._kept(member, old, doc)]:
            del member.parted[doc]
        early = [written for written in self.model.transactions if written.replica == old]
        early = [
            w
            for w in early
            if w.parts and all(seq <= member.early.get(doc, 0) for doc, seq in w.parts.items())
        ]
        moved = [*(w for w in early if all((doc, w.stamp) in found for doc in w.parts)), *member.afresh]
        self.model.transactions[:] = [w for w in self.model.transactions if w not in moved]
        for doc, seq in ((doc, seq) for written in moved for doc, seq in written.parts.items()):
            if self._wholes.get((old, doc, seq)) in [written.parts for written in moved]:
                del self._wholes[old, doc, seq]
        exact = [all((doc, written.stamp) in found for doc in written.parts) for written in moved]
        known = {(doc, written.stamp) for written in moved for doc in written.parts}
        self._move(member, moved, old, found)
        member.doubtful, member.afresh = None, []
        for written, whole in zip(moved, exact, strict=True):
            if whole:
                self.acknowledge(member, written)
            else:
                self.model.transactions.append(written)
        if member.pending is not None and member.pending.written.replica == old:
            # It died while it wrote: what is in the new log and nobody knows of is that write.
            pending, member.pending = member.pending.written, None
            rest = {doc: hlc for doc, hlc in found if (doc, hlc) not in known}
            if set(rest) == set(pending.parts) and len(set(rest.values())) == 1:
                pending.stamp = next(iter(rest.values()))
                self._move(member, [pending], old, found)
                self.acknowledge(member, pending)

    async def _kept(self, member: Member, old: int, doc: str) -> bool:
        """Whether a log is still the one that the restored store compacted, and no other took its place."""
        update = read_update(Log(doc, 0, await member.running.ledger.stored(doc)).encode())
        clocks = {batch.hlc for batch, _ in Branch.of(update.runs.get(old, ())).elements if batch.compaction}
        return not clocks.isdisjoint(member.parted[doc][1])

    async def _stamps(self, member: Member, old: int) -> dict[tuple[str, int], tuple[int, int]]:
        """(document, clock) -> (replica, sequence) of what a member wrote under other replicas than the old one.

        A log that did not go on elsewhere keeps its writes; so those of the old one count where nothing else is found.
        """
        ledger = member.running.ledger
        found: dict[tuple[str, int], tuple[int, int]] = {}
        own = {r for r, row in ledger.registry.items() if row.device == member.name} - {old}
        kept = {(doc, seq): w.stamp for w in member.afresh for doc, seq in w.parts.items()}
        for doc, heads in ledger.heads.items():
            update = read_update(Log(doc, 0, await ledger.stored(doc)).encode())
            for replica in own & heads.keys() & update.runs.keys():
                for write in Branch.of(update.runs[replica]).writes:
                    found.setdefault((doc, write.hlc), (replica, write.seq))
            for write in Branch.of(update.runs.get(old, ())).writes:
                if kept.get((doc, write.seq)) == write.hlc:
                    found.setdefault((doc, write.hlc), (old, write.seq))
        return found

    def _move(
        self, member: Member, moved: list[Written], old: int, found: dict[tuple[str, int], tuple[int, int]]
    ) -> None:
        """Rewrite replicas, sequences and vectors; a write that a compaction replaced is in the next one that is kept."""
        forks: dict[str, int] = {}
        places: dict[str, list[tuple[int, tuple[int, int]]]] = {}
        for written in moved:
            for doc, seq in written.parts.items():
                if found.get((doc, written.stamp), (0, 0))[0] != old:
                    # A compaction after the restore takes sequences too, in which the other branch has writes.
                    parted = member.parted.get(doc, (seq - 1, ()))[0]
                    forks[doc] = min(forks.get(doc, seq - 1), seq - 1, parted)
                if (doc, written.stamp) in found:
                    places.setdefault(doc, []).append((seq, found[doc, written.stamp]))
        for written in moved:
            replicas: set[int] = set()
            for doc, seq in written.parts.items():
                for vector in (written.closed[doc], written.shown[doc]):
                    if old in vector and doc in forks:
                        vector[old] = min(vector[old], forks[doc])
                later = [place for at, place in sorted(places.get(doc, [])) if at >= seq]
                if later:
                    replicas.add(later[0][0])
                    written.replica, written.parts[doc] = later[0]
                else:
                    self.found("lost", f"{member.name} wrote in {doc} after its restore, it is not there")
            if len(replicas) > 1:
                self.found("diverged", f"{member.name}: a transaction over {sorted(written.parts)} was torn")

    # -- promises kept while it runs ---------------------------------------------------------------------------

    def acknowledge(self, member: Member, written: Written) -> None:
        """Take a durable transaction into the model."""
        if written.replica == member.doubtful:
            member.afresh.append(written)
            return
        self.model.transactions.append(written)
        if len(written.parts) > 1:
            for doc, seq in written.parts.items():
                self._wholes[written.replica, doc, seq] = written.parts

    @staticmethod
    def _note_parting(member: Member, own: int, change: Change) -> None:
        if change.doc == member.compacting and own == member.doubtful:
            for replica, upto, _ in change.recompacted:
                if replica == own:
                    member.parted.setdefault(change.doc, (upto, set()))[1].add(change.hlc)

    def _note_ends(self, ledger: Ledger, change: Change) -> None:
        """The end of a log that was given up may stand where a part of a transaction was."""
        for replica, _, rows in change.recompacted:
            end = ledger.heads[change.doc][replica].seq
            if end not in {seq for seq, _ in rows}:
                self._wholes.pop((replica, change.doc, end), None)

    def _changed(self, member: Member, changes: list[Change]) -> None:
        if member.node is None:
            return
        ledger = member.node.ledger
        own: dict[int, dict[str, int]] = {}
        for change in changes:
            self._note_parting(member, ledger.replica, change)
            for replica, seq, _ in change.touched:
                if replica == ledger.replica:
                    own.setdefault(change.hlc, {})[change.doc] = seq
                    member.own_batches[change.doc] += 1
        for parts in own.values():
            if len(parts) > 1 and ledger.replica != member.doubtful:
                self._wholes.update({(ledger.replica, doc, seq): parts for doc, seq in parts.items()})
        fresh: list[tuple[int, str, int]] = []
        for change in changes:
            self._note_ends(ledger, change)
            for replica in sorted(change.heads):
                visible = ledger.heads[change.doc][replica].visible
                before = member.shown.get((change.doc, replica), 0)
                member.shown[change.doc, replica] = visible
                fresh += [(replica, change.doc, seq) for seq in range(before + 1, visible + 1)]
        for at in fresh:
            if at in self._wholes and at[0] != member.doubtful:
                self._check_whole(member, *at)

    def _check_whole(self, member: Member, replica: int, doc: str, seq: int) -> None:
        for other, part in self._wholes[replica, doc, seq].items():
            if member.shown.get((other, replica), 0) < part and member.running.ledger.holds(other):
                self.found("diverged", f"{member.name} shows a half transaction: {doc} without {other}")

    def fenced(self, name: str, plan: dict[str, Any] | None) -> None:
        """A node says that it holds what was planned: it must be so."""
        node = self.members[name].node
        if node is None:
            return
        if plan is None:
            self.found("diverged", f"{name} says fenced without a plan")
            return
        for doc, heads in plan.items():
            for replica, entry in heads.items():
                held = node.ledger.heads.get(doc, {}).get(replica)
                if entry[0] > (held.seq if held else 0):
                    self.found("diverged", f"{name} uploads before it holds {doc} as planned")
                    return

    # -- the end -----------------------------------------------------------------------------------------------

    async def settle(self) -> bool:
        """Heal everything, start everybody, synchronize until nothing moves; False when it never gets quiet."""
        self.network.faults = Faults()
        for member in self.members.values():
            member.disk.doom = None
            member.disk.mend()
            self.network.heal(member.name)
            if member.died:
                await self.kill(member)
            if member.node is None:
                await self.start(member)
        for _ in range(_SETTLE_ROUNDS):
            for member in self.members.values():
                member.running.request_check()
            await asyncio.sleep(1.0)
            if all(self._even(member) for member in self.members.values() if member.parent):
                return True
        return False

    def _even(self, member: Member) -> bool:
        assert member.parent is not None
        below, above = member.running.ledger, self.members[member.parent].running.ledger
        docs = {*below.heads, *above.heads}
        both = [d for d in docs if below.held_by(below.identity, d) and above.held_by(above.identity, d)]
        return below.vectors(both) == above.vectors(both)
