"""A node is put back from a backup while its neighbours hold only parts of what it had sent.

    python -m tests.faults.halves --schedules 200 --seed 1 --restore loja1

A head office, one or two stores and their lanes write transactions over documents of the account, of a store and of the
upper nodes. One is backed up and goes on while frames of its data get lost, so that others have a document with a transaction
and not the next. Then its disk is replaced by the backup, with the incarnation file, so that it does not know; it writes on,
links break and come back, categories are paused. At the end every node must hold and count the same; what a neighbour had whole is
there, on every node that may hold it; nothing counts twice, and no transaction is half shown, but one of which a
node that may not hold the rest had all that it may. Exit code 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import itertools
import logging
import sys
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from crdtsync import Counter, Entity, Key, Role, Schema, by_store
from crdtsync.errors import CrdtsyncError
from crdtsync.testing.cluster import Cluster, Disk, Member
from crdtsync.testing.loop import VirtualLoop, run_virtual
from crdtsync.transport.memory import Faults, MemoryChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from crdtsync.state.document import Heads
    from crdtsync.storage import View

    Carry = Callable[[MemoryChannel, bytes], Coroutine[Any, Any, None]]

EVERYBODY = {Role.GESTAO, Role.LOJA, Role.CAIXA}
LANES = ((1,), (2,), (1, 1))
ALL = "all"
VIRTUAL_SECONDS = 100_000
REFUSALS = ("full", "protected", "broken")


class Article(Entity, category="articles", writers=EVERYBODY):
    id = Key()
    written = Counter(scale=0)


class Item(Entity, category="items", writers=EVERYBODY, partition=by_store):
    id = Key()
    written = Counter(scale=0)


class Office(Entity, category="offices", writers={Role.GESTAO, Role.LOJA}):
    id = Key()
    written = Counter(scale=0)


@dataclass
class Made:
    """One transaction: a record of its own and a movement of the common one in each document, at these sequences."""

    id: str
    writer: str
    replica: int
    parts: dict[str, int]


@dataclass
class Outcome:
    """What one schedule showed."""

    halves: bool = False
    forked: bool = False
    wrong: list[str] = field(default_factory=list)


class Schedule:
    """See the module. ``who`` is the node that is put back."""

    def __init__(self, seed: int, who: str, *, refuse: bool) -> None:
        self.dice = Random(seed)
        lanes = self.dice.choice(LANES)
        schema = Schema([Article, Item, Office])
        self.cluster = Cluster(Random(seed), schema, lanes=lanes, faults=Faults(), live=False)
        self.members = list(self.cluster.members.values())
        self.restored = self.cluster.members[who]
        self.refuse = refuse
        self.made: dict[str, Made] = {}
        self.outcome = Outcome()
        self._names = (f"t{number}" for number in itertools.count(1))

    async def run(self) -> Outcome:
        """Run it to its end."""
        cluster, dice = self.cluster, self.dice
        for member in self.members:
            member.clock.skew_ms = 0
            await cluster.start(member)
        async with cluster.members["gestao"].running.transaction() as tx:
            tx.create(Article, id=ALL)
            tx.create(Office, id=ALL)
            for store in cluster.stores:
                tx.create(Item, id=ALL, in_store=store)
        await asyncio.sleep(30)
        await self._churn(dice.choice((0, 2, 5, 15)))
        early = set(self.made)
        carry = self._lose_data()
        image, nonce = self.restored.disk.copy(), self.restored.nonce.values
        await self._churn(60)
        cluster.network.carry = carry  # type: ignore[assignment, method-assign]
        await self._mend()
        cluster.network.partition(self.restored.name)
        await asyncio.sleep(8)
        lost, excused = self._lost(early)
        gone = [self.made.pop(name) for name in lost]
        replica = self.restored.running.ledger.replica
        await self._put_back(image, nonce)
        await self._go_on()
        if not await cluster.settle():
            self._wrong("it does not come to rest")
        await asyncio.sleep(60)
        self.outcome.forked = self.restored.running.ledger.replica != replica
        await self._judge([made for made in gone if made.id not in excused])
        for member in self.members:
            await cluster.stop(member)
        return self.outcome

    # -- what happens ------------------------------------------------------------------------------------------

    async def _write(self, member: Member) -> None:
        if member.node is None:
            return
        name, dice = next(self._names), self.dice
        kinds: list[type[Entity]] = [Article, Item]
        if member.config.role is not Role.CAIXA:
            kinds.append(Office)
        store = member.config.store or dice.choice(self.cluster.stores)
        used = dice.sample(kinds, dice.randint(1, len(kinds)))
        docs: list[str] = []
        with contextlib.suppress(CrdtsyncError):
            async with member.running.transaction() as tx:
                for kind in used:
                    place = {"in_store": store} if kind is Item else {}
                    tx.create(kind, id=name, **place).written.add(1)  # type: ignore[attr-defined]
                    (await tx.get(kind, ALL, **place)).written.add(1)  # type: ignore[attr-defined]
                    docs.append(f"items/{store}" if kind is Item else kind.__shape__.category)
            ledger = member.running.ledger
            parts = {doc: ledger.heads[doc][ledger.replica].seq for doc in docs}
            self.made[name] = Made(name, member.name, ledger.replica, parts)

    async def _churn(self, steps: int) -> None:
        network, dice = self.cluster.network, self.dice
        for _ in range(steps):
            await asyncio.sleep(dice.random() * 3)
            member, what = dice.choice(self.members), dice.random()
            if what < 0.08:
                network.partition(member.name)
            elif what < 0.2:
                network.heal(member.name)
            elif what < 0.25:
                network.cut(member.name)
            elif what < 0.28:
                member.running.ledger.unload()
            elif what < 0.31 and member.parent is not None:
                with contextlib.suppress(CrdtsyncError):
                    await member.running.uplink.pause(dice.choice(("articles", "items")))
            elif what < 0.37:
                await self._resume(member)
            elif what < 0.42 and self.refuse:
                member.disk.refuse(dice.choice(REFUSALS), dice.random() * 4)  # type: ignore[arg-type]
            else:
                await self._write(member)

    @staticmethod
    async def _resume(member: Member) -> None:
        for category in ("articles", "items"):
            with contextlib.suppress(CrdtsyncError):
                await member.running.uplink.resume(category)

    async def _mend(self) -> None:
        for member in self.members:
            member.disk.mend()
            await self._resume(member)

    def _lose_data(self) -> Carry:
        """From now on a link of the node loses its data after a few frames: the first documents arrive, others do not."""
        network, dice = self.cluster.network, self.dice
        carry = network.carry
        passed: collections.Counter[frozenset[str]] = collections.Counter()
        allowed: dict[frozenset[str], int] = {}

        async def lossy(sender: MemoryChannel, message: bytes) -> None:
            ends = frozenset((sender.here, sender.there))
            if self.restored.name in ends and b"\xa4data" in message[4:20]:
                passed[ends] += 1
                if passed[ends] > allowed.setdefault(ends, dice.randint(1, 7)):
                    return
            await carry(sender, message)

        network.carry = lossy  # type: ignore[method-assign]
        return carry

    def _lost(self, early: set[str]) -> tuple[set[str], set[str]]:
        """What only the lost disk had whole; and of that, what a node that may not hold all of it had as far as it may."""
        others = [member for member in self.members if member is not self.restored]
        gone: set[str] = set()
        excused: set[str] = set()
        for name, made in self.made.items():
            if name in early or made.writer != self.restored.name:
                continue
            whole = False
            for member in others:
                ledger = member.running.ledger
                heads = ledger.heads
                mine = [doc for doc in made.parts if ledger.held_by(ledger.identity, doc)]
                here = [doc for doc in mine if _seq(heads, doc, made.replica) >= made.parts[doc]]
                self.outcome.halves |= 0 < len(here) < len(mine)
                if mine and len(here) == len(mine):
                    whole |= len(mine) == len(made.parts)
                    excused.add(name)
            if not whole:
                gone.add(name)
        return gone, excused

    async def _put_back(self, image: bytes, nonce: frozenset[bytes]) -> None:
        member, cluster = self.restored, self.cluster
        if self.dice.random() < 0.3:
            cluster.network.heal(member.name)
        await cluster.kill(member)
        member.disk = Disk.restored(member.disk._specs, image)
        member.nonce.values = nonce
        cluster.network.forget(member.name)
        await cluster.start(member)
        await self._resume(member)

    async def _go_on(self) -> None:
        network, dice = self.cluster.network, self.dice
        for _ in range(dice.randint(1, 4)):
            await self._write(self.restored)
        network.heal("gestao")
        network.heal("loja1")
        network.partition("caixa1")
        await asyncio.sleep(60)
        network.heal("caixa1")
        for member in self.members:
            if dice.random() < 0.4:
                network.partition(member.name)
        for _ in range(dice.randint(0, 6)):
            await self._write(self.restored)
        await self._churn(30)
        await self._mend()

    # -- what must be ------------------------------------------------------------------------------------------

    def _wrong(self, what: str) -> None:
        self.outcome.wrong.append(what)

    async def _judge(self, gone: list[Made]) -> None:
        digests: dict[str, bytes] = {}
        for member in self.members:
            name, ledger = member.name, member.running.ledger
            for doc in sorted(ledger.heads):
                if not ledger.held_by(ledger.identity, doc):
                    continue
                digest = await ledger.state_digest(doc)
                if digests.setdefault(doc, digest) != digest:
                    self._wrong(f"{name}: {doc} differs")
                if (await ledger.refold(doc))[1] != digest:
                    self._wrong(f"{name}: {doc} is another one when it is loaded again")
            for made in self.made.values():
                if lacking := await self._there(member, made, there=False):
                    self._wrong(f"{name}: {made.id} of {made.writer} is lost in {lacking}")
            for kind in (Article, Item, Office):
                await self._count(member, kind)
        for member in self.members:
            for made in gone:
                present = await self._there(member, made, there=True)
                if present and await self._there(member, made, there=False):
                    self._wrong(f"{member.name}: of {made.id} only {present} is shown")

    async def _there(self, member: Member, made: Made, *, there: bool) -> list[str]:
        """Documents that the member holds in which a transaction's record is, or is not."""
        ledger = member.running.ledger

        def read(view: View) -> list[str]:
            return [
                doc
                for doc in made.parts
                if ledger.held_by(ledger.identity, doc)
                and view.exists(doc.partition("/")[0], doc, made.id) is there
            ]

        return await ledger.storage.read(read)

    async def _count(self, member: Member, kind: type[Entity]) -> None:
        category = kind.__shape__.category
        for doc in member.running.ledger.documents_of(category):
            records = await member.running.find(kind, doc=doc)
            counted = {record.id: record.written for record in records}  # type: ignore[attr-defined]
            total = counted.pop(ALL, 0)
            if total != len(counted) or any(number != 1 for number in counted.values()):
                self._wrong(f"{member.name}: {doc} counts {total} for {len(counted)} transactions")


def _seq(heads: Mapping[str, Heads], doc: str, replica: int) -> int:
    head = heads.get(doc, {}).get(replica)
    return head.seq if head is not None else 0


def run(seed: int, who: str, *, refuse: bool = False) -> Outcome:
    """Run one schedule in virtual time."""
    found: list[Outcome] = []

    async def story() -> None:
        found.append(await Schedule(seed, who, refuse=refuse).run())

    run_virtual(story(), VirtualLoop(VIRTUAL_SECONDS))
    return found[0]


def _main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--schedules", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--restore", choices=("gestao", "loja1", "caixa1"), default="loja1")
    parser.add_argument("--refuse", action="store_true", help="disks refuse now and then, too")
    chosen = parser.parse_args()
    logging.getLogger("crdtsync").setLevel(logging.CRITICAL)
    halves = forked = wrong = 0
    for seed in range(chosen.seed, chosen.seed + chosen.schedules):
        outcome = run(seed, chosen.restore, refuse=chosen.refuse)
        halves += outcome.halves
        forked += outcome.forked
        wrong += bool(outcome.wrong)
        for what in outcome.wrong:
            print(f"seed {seed}: {what}", flush=True)
    print(f"schedules {chosen.schedules}, with halves {halves}, forked {forked}, wrong {wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(_main())
