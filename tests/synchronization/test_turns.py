"""Local writes go first: remote work comes in small slices and gives way, but not for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from crdtsync import limits
from tests.synchronization.street import STORE, Note, Product, Street, note, told

if TYPE_CHECKING:
    from crdtsync.node import Node


async def pieces(street: Street, count: int) -> tuple[Node, list[bytes]]:
    """A lane that lacks a catalogue, and the pieces in which its store would send it to one that knows a part of it."""
    await street.open("gestao")
    loja = await street.open(STORE)
    await loja.load(Product, ({"id": f"p{n}", "name": "x" * 100} for n in range(count)))
    street.network.partition("caixa1")
    caixa = await street.open("caixa1")
    diff = await loja.ledger.pieces("products", {1: (1, b"")})
    return caixa, [update for update, _ in diff.updates]


def receive(caixa: Node, updates: list[bytes], done: list[str]) -> list[asyncio.Task[None]]:
    async def one(number: int, update: bytes) -> None:
        await caixa.ledger.receive("products", update, lambda _replica: True)
        done.append(f"remote {number}")

    return [asyncio.ensure_future(one(number, update)) for number, update in enumerate(updates)]


@told
async def test_a_piece_for_a_lane_that_knows_a_part_is_small(street: Street) -> None:
    _, updates = await pieces(street, 2000)
    assert len(updates) > 1
    assert all(len(update) < 2 * limits.CHUNK_BYTES_MAX for update in updates)


@told
async def test_a_local_write_goes_before_all_remote_work_that_waits(street: Street) -> None:
    caixa, updates = await pieces(street, 1000)
    done: list[str] = []
    tasks = receive(caixa, updates, done)
    await asyncio.sleep(0)
    await note(caixa, "n")
    done.append("local")
    await asyncio.gather(*tasks)
    assert done.index("local") <= 1
    assert await caixa.count(Product) == 1000


@told
async def test_a_large_document_is_loaded_beside_the_writer_and_a_sale_does_not_wait_for_it(
    street: Street,
) -> None:
    caixa, updates = await pieces(street, 3000)
    for update in updates[:-1]:
        await caixa.ledger.receive("products", update, lambda _replica: True)
    digest = await caixa.ledger.state_digest("products")
    caixa.ledger.unload()
    # Virtual time does not pass while a document is loaded: every batch is a stretch of its own.
    usual, limits.SLICE_SECONDS = limits.SLICE_SECONDS, -1.0
    try:
        done: list[str] = []
        (task,) = receive(caixa, updates[-1:], done)
        await asyncio.sleep(0)
        await note(caixa, "n")
        assert (done, "products" in caixa.ledger.loaded()) == ([], False)
        await task
        caixa.ledger.unload()
        receiving = receive(caixa, updates[-1:], done)
        await asyncio.sleep(0)
        # A write to the document itself loads it in its turn, and is not lost.
        async with caixa.transaction() as tx:
            tx.create(Product, id="own", name="x")
        await asyncio.gather(*receiving)
    finally:
        limits.SLICE_SECONDS = usual
    assert await caixa.count(Product) == 3001
    kept = await caixa.ledger.state_digest("products")
    assert kept != digest
    caixa.ledger.unload()
    assert await caixa.ledger.state_digest("products") == kept


@told
async def test_a_document_is_cut_up_for_a_peer_beside_the_writer_as_it_was_when_that_began(
    street: Street,
) -> None:
    await street.open("gestao")
    loja = await street.open(STORE)
    await loja.load(Product, ({"id": f"p{n}", "name": "x" * 100} for n in range(3000)))
    before = await loja.ledger.pieces("products", {1: (1, b"")})
    assert len(before.updates) > 3
    # Virtual time does not pass while a document is cut up: every piece is a stretch of its own.
    usual, limits.SLICE_SECONDS = limits.SLICE_SECONDS, -1.0
    try:
        cutting = asyncio.ensure_future(loja.ledger.pieces("products", {1: (1, b"")}))
        for _ in range(6):  # the writer has handed the document over, and the cutting has begun
            await asyncio.sleep(0)
        async with loja.transaction() as tx:
            tx.create(Product, id="own", name="y")
        assert not cutting.done()
        assert await cutting == before
    finally:
        limits.SLICE_SECONDS = usual
    after = await loja.ledger.pieces("products", {1: (1, b"")})
    assert sum(records for _, records in after.updates) == sum(records for _, records in before.updates) + 1
    assert after.vector != before.vector


@told
async def test_no_remote_work_is_begun_while_a_local_transaction_is_being_made(street: Street) -> None:
    caixa, updates = await pieces(street, 500)
    done: list[str] = []
    async with caixa.transaction() as tx:
        tasks = receive(caixa, updates, done)
        await asyncio.sleep(limits.LOCAL_TURN_SECONDS_MAX / 2)
        tx.create(Note, id="n", text="x")
        assert done == []
    done.append("local")
    await asyncio.gather(*tasks)
    assert done[0] == "local"


@told
async def test_a_transaction_that_stays_open_does_not_hold_remote_work_up(street: Street) -> None:
    caixa, updates = await pieces(street, 500)
    done: list[str] = []
    async with caixa.transaction() as tx:
        tasks = receive(caixa, updates, done)
        await asyncio.sleep(2 * limits.LOCAL_TURN_SECONDS_MAX)
        assert len(done) == len(updates)
        tx.create(Note, id="n", text="x")
    await asyncio.gather(*tasks)


@told
async def test_many_short_transactions_do_not_keep_remote_work_out_for_ever(street: Street) -> None:
    caixa, updates = await pieces(street, 500)
    done: list[str] = []
    tasks = receive(caixa, updates, done)
    loop = asyncio.get_running_loop()
    began, number = loop.time(), 0

    async def cashier(name: str) -> None:
        nonlocal number
        while not all(task.done() for task in tasks):
            async with caixa.transaction() as tx:
                number += 1
                tx.create(Note, id=f"{name}{number}", text="x")
                await asyncio.sleep(0.02)

    await asyncio.gather(*(cashier(name) for name in "abc"))
    await asyncio.gather(*tasks)
    assert loop.time() - began <= (len(updates) + 1) * (limits.REMOTE_WAIT_SECONDS_MAX + 0.02)
