"""What a transaction does beside the caller's own writes: completed by entities, references found and moved."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from crdtsync import Entity, Key, Once, Ref, Register, Role, Schema, check
from crdtsync.errors import CheckFailed, FieldError, TransactionMisused
from crdtsync.node import Node, NodeConfig
from crdtsync.node.transaction import Transaction
from crdtsync.storage.memory import MemoryStorage
from crdtsync.storage.tables import table_specs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from crdtsync import Writes

ALL = set(Role)


class Total(Entity, category="totals", writers=ALL):
    """How many members a club has."""

    club = Key()
    members = Register(int, default=0)

    @check
    def club_has_room(self) -> bool:
        """A club has at most 50 members."""
        return self.members <= 50


class Member(Entity, category="members", writers=ALL):
    """One member; each counts in the total of the club when it is written for the first time."""

    id = Key()
    club = Ref(Total)
    friend = Ref("self", optional=True)
    invited_by = Once(Ref("self"), optional=True)
    counted = Register(bool, default=False)

    async def before_write(self, tx: Writes) -> None:
        """Count the member."""
        if not self.counted:
            self.counted = True
            total = await tx.find(Total, self.club) or tx.create(Total, club=self.club)
            total.members += 1


@asynccontextmanager
async def node() -> AsyncIterator[Node]:
    schema = Schema([Total, Member, Order])
    config = NodeConfig(Path(), "gestao", Role.GESTAO, account="main")
    async with Node(config, schema=schema, storage=MemoryStorage(table_specs(schema))) as opened:
        yield opened


async def test_an_entity_completes_what_is_written_in_the_same_transaction() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            tx.create(Member, id="ana", club="xadrez")
        total, member = await shop.get(Total, "xadrez"), await shop.get(Member, "ana")
        assert total is not None
        assert member is not None
        assert (total.members, member.counted) == (1, True)


async def test_transactions_at_once_complete_one_after_the_other() -> None:
    async with node() as shop:

        async def join(name: str) -> None:
            async with shop.transaction() as tx:
                tx.create(Member, id=name, club="xadrez")

        await asyncio.gather(*(join(f"m{number}") for number in range(20)))
        total = await shop.get(Total, "xadrez")
        assert total is not None
        assert total.members == 20


async def test_a_check_on_what_was_completed_refuses_the_whole_transaction() -> None:
    async with node() as shop:
        await shop.load(Member, ({"id": f"m{number}", "club": "xadrez"} for number in range(50)))
        with pytest.raises(CheckFailed, match="at most 50"):
            await shop.load(Member, [{"id": "late", "club": "xadrez"}])
        assert await shop.get(Member, "late") is None


class Order(Entity, category="orders", writers=ALL):
    """What it does besides is for each test to say."""

    id = Key()
    meddles: ClassVar[Callable[[Writes], Awaitable[None]] | None] = None

    async def before_write(self, tx: Writes) -> None:
        """Do it, once."""
        meddles, Order.meddles = Order.meddles, None
        if meddles is not None:
            await meddles(tx)


async def test_a_transaction_within_the_completion_of_another_is_refused_and_does_not_wait_for_ever() -> None:
    async with node() as shop:

        async def order(name: str) -> None:
            async with shop.transaction() as inner:
                inner.create(Order, id=name)

        async def itself(tx: Writes) -> None:
            assert isinstance(tx, Transaction)
            await tx.commit()

        async def begun_again(tx: Writes) -> None:
            assert isinstance(tx, Transaction)
            async with tx:
                pass

        ways: list[tuple[Callable[[Writes], Awaitable[None]], str]] = [
            (lambda _: order("inner"), "write with the transaction that before_write is given"),
            (
                lambda _: asyncio.create_task(order("inner")),
                "write with the transaction that before_write is given",
            ),
            (itself, "this transaction is being written already"),
            (begun_again, "this transaction has begun already"),
        ]
        for meddles, says in ways:
            Order.meddles = meddles
            with pytest.raises(TransactionMisused, match=says):
                async with asyncio.timeout(10):
                    await order("outer")
            assert await shop.find(Order) == []
        # What was refused holds up nobody.
        await order("outer")
        assert [one.key for one in await shop.find(Order)] == ["outer"]


async def test_what_a_completion_begins_and_does_not_wait_for_is_written_after_it() -> None:
    async with node() as shop:
        later: list[asyncio.Task[None]] = []
        written = asyncio.Event()

        async def order(name: str) -> None:
            async with shop.transaction() as tx:
                tx.create(Order, id=name)

        async def when_written() -> None:
            await written.wait()
            await order("second")

        async def begin(_: Writes) -> None:
            later.append(asyncio.create_task(when_written()))

        Order.meddles = begin
        await order("first")
        written.set()
        await asyncio.wait_for(later[0], 10)
        assert [one.key for one in await shop.find(Order)] == ["first", "second"]


async def test_a_transaction_that_completes_nothing_may_be_written_within_the_completion_of_another() -> None:
    async with node() as shop:

        async def count(_: Writes) -> None:
            async with shop.transaction() as inner:
                inner.create(Total, club="xadrez")

        Order.meddles = count
        async with asyncio.timeout(10), shop.transaction() as tx:
            tx.create(Order, id="o")
        assert await shop.get(Total, "xadrez") is not None


async def test_references_that_can_be_edited_are_moved_and_facts_stay() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            for name in ("ana", "bia"):
                tx.create(Member, id=name, club="xadrez")
            tx.create(Member, id="caio", club="xadrez", friend="ana", invited_by="ana")
            tx.create(Member, id="davi", club="xadrez", invited_by="ana")
        async with shop.transaction() as tx:
            ana, bia = await tx.get(Member, "ana"), await tx.get(Member, "bia")
            assert sorted(one.key for one in await tx.referrers(ana)) == ["caio", "davi"]
            assert [one.key for one in await tx.repoint(ana, bia)] == ["caio"]
            assert [one.key for one in await tx.referrers(bia)] == ["caio"]
        caio = await shop.get(Member, "caio")
        assert caio is not None
        assert (caio.friend, caio.invited_by) == ("bia", "ana")


async def test_a_reference_that_cannot_be_empty_is_not_emptied() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            tx.create(Member, id="ana", club="xadrez")
        with pytest.raises(FieldError, match=r"members\.club"):
            async with shop.transaction() as tx:
                await tx.repoint(await tx.get(Total, "xadrez"), None)
