"""One schedule: random work on a cluster, and everything that goes wrong meanwhile, from one seed.

The work is made from the schema's shapes alone: creations, edits, movements and counts, elements, deletions and
restorations, in transactions over several categories. It never decides what is right; the verdict does.
"""

# ruff: noqa: SLF001 - what a transaction is about to write is read from its recorders, so that the model needs no verbs.

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from crdtsync.errors import CrdtsyncError, SchemaError, StoreClosed, StoreUnavailable
from crdtsync.schema.fields import Kind
from crdtsync.schema.partition import ACCOUNT
from crdtsync.schema.roles import Role
from crdtsync.testing.cluster import ACTOR, REFUSALS, Member, _Pending, look
from crdtsync.testing.model import Written

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from random import Random

    from crdtsync.node.transaction import Transaction
    from crdtsync.schema import Entity
    from crdtsync.schema.shape import Shape
    from crdtsync.testing.cluster import Cluster
    from crdtsync.testing.samples import Samples
    from crdtsync.transport.memory import Faults

_CATEGORIES = 5
_DOWN_STEPS = 4
_PAUSE_SECONDS = 0.5
_REFUSED_SECONDS = 4.0
_FORCED = 0.5
_LANES = 0.6
_NAMES = ("ajuste-1", "ajuste-2")
_NAMED_AMOUNT = Decimal(5)
_VERBS = (1, 2, 4, 8, 12)


class Schedule:
    """See the module. `done` counts acknowledged record operations."""

    def __init__(self, cluster: Cluster, samples: Samples, operations: int) -> None:
        self.cluster = cluster
        self.samples = samples
        self.dice: Random = cluster.dice
        self.operations = operations
        self.done = 0
        self.injected: Counter[str] = Counter()
        self._number = 0
        self._known: dict[str, list[str]] = {}
        self._heals: list[tuple[int, str]] = []
        self._steps = 0
        self._usual: Faults = cluster.network.faults
        self._categories = self._choose()

    def _choose(self) -> list[str]:
        """A few categories; those with counters, sets and facts come first, because more can go wrong with them."""
        shapes = self.cluster.schema.shapes

        def weight(category: str) -> float:
            kinds = {field.kind for field in shapes[category].fields.values()}
            return self.dice.random() + len(kinds & {Kind.COUNTER, Kind.SET, Kind.ONCE}) * 0.5

        usable = [name for name in sorted(shapes) if self.samples.records[name]]
        return sorted(usable, key=weight, reverse=True)[:_CATEGORIES]

    async def run(self) -> None:
        """Do the work and the damage."""
        cluster, dice = self.cluster, self.dice
        for member in cluster.members.values():
            await cluster.start(member)
        for member in cluster.members.values():
            await self._operate(member)
        trouble = self._trouble()
        while self.done < self.operations or trouble:
            self._steps += 1
            await asyncio.sleep(dice.random() * _PAUSE_SECONDS)
            await self._revive()
            if trouble and (dice.random() < 0.3 or self.done >= self.operations):
                await self._break(trouble.pop())
            free = cluster.up()
            if free:
                await self._operate(dice.choice(free))
            self._force_faults()

    def _trouble(self) -> list[str]:
        always = [
            "partition",
            "crash",
            "doom before",
            "doom after",
            "restart",
            "cut",
            "compact",
            "compact",
            "jump",
            "refusal",
        ]
        extra = ["refusal", "partition", "crash", "doom after", "cut", "compact", "compact", "jump", "unload"]
        trouble = [*always, *self.dice.sample(extra, 3)]
        self.dice.shuffle(trouble)
        at = self.dice.randrange(len(trouble))
        # A list is used up from its end: the backup comes before the restore.
        trouble[at:at] = ["restore"]
        trouble.append("backup")
        return trouble

    def _force_faults(self) -> None:
        """Every schedule has a duplicate and a reordering, even when the dice are kind."""
        network, late = self.cluster.network, self.done > self.operations // 2
        missing = [fault for fault in ("repeat", "reorder") if not network.injected[fault]]
        network.faults = replace(self._usual, **dict.fromkeys(missing, _FORCED)) if late else self._usual

    # -- damage ------------------------------------------------------------------------------------------------

    async def _break(self, what: str) -> None:
        up = self.cluster.up()
        if not up:
            return
        member = self.dice.choice(up)
        verbs: dict[str, Callable[[Member], Awaitable[bool]]] = {
            "partition": self._partition,
            "cut": self._cut,
            "crash": self._crash,
            "doom before": self._doom_before,
            "doom after": self._doom_after,
            "restart": self._stop,
            "compact": self._compact,
            "jump": self._jump,
            "unload": self._unload,
            "backup": self._backup,
            "restore": self._restore,
            "refusal": self._refuse,
        }
        if await verbs[what](member) and what not in self.cluster.network.injected:
            # The network counts its own.
            self.injected[what] += 1

    async def _partition(self, member: Member) -> bool:
        self.cluster.network.partition(member.name)
        self._heals.append((self._steps + self.dice.randint(3, 12), member.name))
        return True

    async def _cut(self, member: Member) -> bool:
        self.cluster.network.cut(member.name)
        return True

    async def _crash(self, member: Member) -> bool:
        await self.cluster.kill(member)
        return True

    async def _doom_before(self, member: Member) -> bool:
        self.cluster.doom(member, "before")
        return True

    async def _doom_after(self, member: Member) -> bool:
        self.cluster.doom(member, "after")
        return True

    async def _refuse(self, member: Member) -> bool:
        how = self.dice.choice(REFUSALS)
        member.disk.refuse(how, self.dice.random() * _REFUSED_SECONDS)
        self.injected[f"disk {how}"] += 1
        return True

    async def _stop(self, member: Member) -> bool:
        await self.cluster.stop(member)
        return True

    async def _jump(self, member: Member) -> bool:
        member.clock.skew_ms += self.dice.choice((-1, 1)) * self.dice.randint(1, 3_600_000)
        return True

    async def _unload(self, member: Member) -> bool:
        member.running.ledger.unload()
        return True

    async def _backup(self, member: Member) -> bool:
        lanes = [one for one in self.cluster.up() if one.config.role is Role.CAIXA]
        # Mostly a lane's, since that comes back in more ways.
        self.cluster.back_up(self.dice.choice(lanes) if lanes and self.dice.random() < _LANES else member)
        return True

    async def _restore(self, _: Member) -> bool:
        if len(self.cluster.up()) < len(self.cluster.members):
            # Who holds what only the lost disk had written can be told when everybody can be asked.
            return False
        keepers = [member for member in self.cluster.up() if member.backup is not None]
        if not keepers:
            return False
        # Of a lane nobody below it can have seen what it wrote before it noticed; the model could not follow who had.
        whole = keepers[0].config.role is Role.CAIXA and self.dice.random() < 0.5
        done = await self.cluster.restore(keepers[0], whole=whole)
        self.injected["restored whole"] += done and whole
        return done

    async def _compact(self, member: Member) -> bool:
        ledger = member.running.ledger
        own = [doc for doc in sorted(ledger.heads) if ledger.replica in ledger.heads[doc]]
        if not own:
            return False

        async def compact() -> None:
            for doc in self.dice.sample(own, min(len(own), 2)):
                self.injected["compacted"] += await ledger.compact(doc)
                if self.dice.random() < 0.5:
                    await ledger.squash(doc)

        await self._guarded(member, compact())
        return True

    async def _revive(self) -> None:
        for at, name in [*self._heals]:
            if at <= self._steps:
                self.cluster.network.heal(name)
                self._heals.remove((at, name))
        for member in self.cluster.members.values():
            if member.died:
                member.died = False
                await self.cluster.kill(member)
            elif member.node is None and self.dice.random() < 1 / _DOWN_STEPS:
                await self.cluster.start(member)

    # -- work --------------------------------------------------------------------------------------------------

    async def _operate(self, member: Member) -> None:
        """One transaction of some record operations; a refusal by the schema writes nothing and is not counted."""
        await self._guarded(member, self._transact(member))

    async def _guarded(self, member: Member, work: Coroutine[Any, Any, None]) -> None:
        """Let a member work until it is done or its power goes."""
        member.work = asyncio.ensure_future(work)
        try:
            await asyncio.wait([member.work])
            if not member.work.cancelled():
                error = member.work.exception()
                if error is not None and not isinstance(error, SchemaError | StoreClosed | StoreUnavailable):
                    self.cluster.found(
                        "diverged", f"{member.name} cannot work: {type(error).__name__}: {error}"
                    )
        finally:
            member.work = None

    async def _transact(self, member: Member) -> None:
        ledger = member.running.ledger
        await self.cluster.follow(member)
        tx = member.running.transaction(ACTOR)
        role = member.config.role
        mine = [name for name in self._categories if role in self.cluster.schema.shapes[name].writers]
        if not mine:
            return
        chosen = self.dice.sample(mine, min(len(mine), self.dice.choice((1, 1, 2, 3))))
        for _ in range(self.dice.choice(_VERBS)):
            try:
                await self._verb(tx, member, self.dice.choice(chosen))
            except SchemaError:
                self.injected["refused"] += 1
        ops = {at: list(recorder.ops) for at, (_, recorder) in tx._records.items() if recorder.ops}
        if not ops:
            return
        by_doc: dict[str, dict[str, list[Any]]] = {}
        for (doc, key), writes in ops.items():
            by_doc.setdefault(doc, {})[key] = writes
        # What its entities add to it, and where it goes, is known when it is written.
        written = Written(ledger.replica, 0, {}, by_doc, {}, {})
        member.pending = _Pending(written)
        try:
            await tx.commit()
        except CrdtsyncError as error:
            if not member.died:
                member.pending = None
            self.injected["refused by the disk" if isinstance(error, StoreUnavailable) else "refused"] += 1
            raise
        member.pending = None
        await self.cluster.follow(member)
        if written.replica != ledger.replica:
            # A fork was settled between the look and the write.
            written.replica = ledger.replica
            look(written, ledger)
            written.parts = {doc: seq for doc, (seq, _) in member.wrote.items()}
        self._place(written, member)
        self.cluster.acknowledge(member, written)
        self.done += len(ops)
        for doc, key in ops:
            known = self._known.setdefault(doc.partition("/")[0], [])
            if key not in known:
                known.append(key)

    def _place(self, written: Written, member: Member) -> None:
        """Take the sequences and the clock that a write got; only what its node wrote of itself may have come before it."""
        for doc, (seq, stamp) in member.wrote.items():
            between = seq - written.parts.get(doc, seq)
            if not 0 <= between < max(1, member.own_batches[doc]):
                self.cluster.found("diverged", f"{member.name} wrote {doc} at another sequence, {seq}")
            written.parts[doc], written.stamp = seq, stamp
        if written.parts.keys() != written.ops.keys():
            self.cluster.found("diverged", f"{member.name} wrote {sorted(written.parts)}")

    async def _verb(self, tx: Transaction, member: Member, category: str) -> None:
        entity = self.cluster.schema.entities[category]
        known = self._known.get(category)
        if known and self.dice.random() < 0.75:
            store = self._store(member, entity.__shape__)
            record = await tx.find(entity, self.dice.choice(known), in_store=store)
            if record is not None:
                self._edit(record, member.config.role)
                return
        await self._create(tx, member, entity)

    def _store(self, member: Member, shape: Shape) -> str | None:
        """Whose record a writer means, where a category's records are a store's; the head office has to say it."""
        return self._any_store(member) if "store" in shape.partition.columns else None

    def _any_store(self, member: Member) -> str:
        return member.config.store or self.dice.choice(self.cluster.stores)

    async def _create(self, tx: Transaction, member: Member, entity: type[Entity]) -> None:
        shape = entity.__shape__
        values = dict(self.dice.choice(self.samples.records[shape.category]))
        self._number += 1
        only = shape.keys[0] if len(shape.keys) == 1 else None
        if only is not None and any(field.kind is Kind.ONCE for field in shape.fields.values()):
            # A fact has a name that nobody else gives, where the key leaves the choice.
            name = f"{member.name}-{self._number}"
            if only.ref is None and only.sql_type == "TEXT" and only.type.check([name]) is None:
                values[only.name] = name
        store = self._store(member, shape)
        place = shape.partition.place_field
        if place is not None and values[place] != ACCOUNT:
            values[place] = self._any_store(member)
        key = shape.key_text(values)
        if any(k == key and doc.partition("/")[0] == shape.category for doc, k in tx._records):
            return
        if await tx.find(entity, key, in_store=store) is None:
            tx.create(entity, in_store=store, **values)

    def _edit(self, record: Entity, role: Role) -> None:
        shape, dice = record.__shape__, self.dice
        if dice.random() < 0.12:
            if record.deleted:
                record.restore()
            else:
                record.delete()
            return
        names = [n for n, f in shape.fields.items() if f.kind is not Kind.ONCE and shape.may_write(role, n)]
        for name in dice.sample(names, min(len(names), dice.choice((1, 1, 2)))):
            field = shape.fields[name]
            if field.kind is Kind.COUNTER:
                self._move(record, name)
            elif field.kind is Kind.SET:
                bound = getattr(record, name)
                if len(bound) and dice.random() < 0.4:
                    bound.discard(dice.choice(list(bound)))
                else:
                    bound.add(self.samples.of_type(field.type))
            else:
                value = self.samples.value(field)
                if value is not None or field.optional:
                    setattr(record, name, value)

    def _move(self, record: Entity, name: str) -> None:
        bound: Any = getattr(record, name)
        field: Any = record.__shape__.fields[name]
        amount = Decimal(self.dice.randint(1, 9000)).scaleb(-field.type.scale)
        recorder: Any = record._recorder
        slots = {op.slot.partition("!")[0] for op in recorder.ops}
        roll = self.dice.random()
        # A count and a movement of one record in one transaction would say two things at once.
        if roll < 0.12 and name not in slots:
            bound.count(amount)
        elif name + "#" not in slots:
            # Few names, so that replicas meet on them, with the same amount and with others.
            once = self.dice.choice(_NAMES) if self.dice.random() < 0.2 else None
            amount = _NAMED_AMOUNT if once and self.dice.random() < 0.5 else amount
            (bound.add if roll < 0.5 else bound.subtract)(amount, cause=f"cause-{self._number}", once=once)
