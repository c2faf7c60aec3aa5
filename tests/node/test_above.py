"""What a node refuses of the node above it, which it believes otherwise: a store's back office spoken by hand to a lane."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync.node.schedule import Trigger
from crdtsync.protocol.frames import PROTOCOL
from crdtsync.protocol.table import Kind
from crdtsync.schema import load_installed
from crdtsync.state.document import Document, Op
from tests.node.shop import STORE, balance, until
from tests.node.stranger import HELLO, Stranger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crdtsync.node import Node
    from crdtsync.transport.base import Channel
    from tests.node.shop import Shop

REPLICA = 77
STOCK = f"stock/{STORE}"


@asynccontextmanager
async def lane_below(shop: Shop) -> AsyncIterator[tuple[Node, Stranger]]:
    """A lane, and the peer that it takes for its store; it has greeted and asked what is new."""
    channels: asyncio.Queue[Channel] = asyncio.Queue()
    over = asyncio.Event()

    async def on_channel(channel: Channel) -> None:
        await channels.put(channel)
        await over.wait()

    server = await shop.network.endpoint(STORE).serve("", 0, on_channel)
    lane = await shop.open("caixa1")
    peer = Stranger(await asyncio.wait_for(channels.get(), 10))
    await peer.say(Kind.CHALLENGE, protocol=PROTOCOL, nonce=bytes(32))
    assert (await peer.hear())[0] is Kind.HELLO
    clock_ms = lane.ledger.now_ms()
    welcome = HELLO | {"device": STORE, "role": "loja", "replica": REPLICA, "clock_ms": clock_ms}
    await peer.say(Kind.WELCOME, **welcome)
    assert (await peer.hear())[0] is Kind.CHECK
    yield lane, peer
    over.set()
    await server.close()


async def plan(peer: Stranger, *docs: str) -> None:
    """Answer the check: something is new in these documents."""
    await peer.say(Kind.DIGESTS, docs=dict.fromkeys(docs, bytes(8)), held=[], more=False)
    assert (await peer.hear())[0] is Kind.HEADS
    await peer.say(Kind.PLAN, docs={}, counts={}, more=False)


async def send(peer: Stranger, doc: str, update: bytes, n: int = 1) -> tuple[Kind, dict[str, Any]]:
    """Send a document whole; return what is answered."""
    await peer.say(Kind.DATA, doc=doc, update=update, final=True, cut={}, records=1, n=n)
    return await peer.hear()


def written(*amounts: int) -> list[bytes]:
    """The log of the store's stock, an update for each movement."""
    document = Document(STOCK, load_installed().shape("stock"), REPLICA, {})
    return [
        document.write({"p1": [Op("add", "balance", amount)]}, hlc=at, txid=bytes(16)).journal[0]
        for at, amount in enumerate(amounts, 1 << 40)
    ]


async def test_what_the_store_sends_in_order_is_taken(shop: Shop) -> None:
    async with lane_below(shop) as (lane, peer):
        await plan(peer, STOCK)
        for n, update in enumerate(written(5_000, 2_000), 1):
            assert (await send(peer, STOCK, update, n))[0] is Kind.ACK
        await peer.say(Kind.FENCE, docs={STOCK: {REPLICA: 2}}, more=False)
        assert (await peer.hear())[0] is Kind.FENCED
        assert (await peer.hear())[0] is Kind.END
        await peer.say(Kind.ENDED)
        assert await balance(lane) == 7
        await until(lambda: lane.initial_done, "the lane is told that it has all")


async def test_a_check_that_is_wanted_during_a_run_follows_it(shop: Shop) -> None:
    async with lane_below(shop) as (lane, peer):
        assert lane.upstream is not None
        lane.upstream.check(Trigger.ROUTINE)
        await plan(peer)
        await peer.say(Kind.FENCE, docs={}, more=False)
        assert [(await peer.hear())[0] for _ in range(2)] == [Kind.FENCED, Kind.END]
        await peer.say(Kind.ENDED)
        assert (await peer.hear())[0] is Kind.CHECK


@pytest.mark.parametrize("doc", ["stock/loja2", "sales/loja1/caixa2/2026-11"])
async def test_what_is_not_for_the_node_is_refused(shop: Shop, doc: str) -> None:
    async with lane_below(shop) as (lane, peer):
        await plan(peer, STOCK)
        kind, refusal = await send(peer, doc, written(1)[0])
        assert (kind, refusal["code"], refusal["message"]) == (
            Kind.REFUSE,
            "not_allowed",
            f"{doc} is not for this node",
        )
        assert doc not in lane.ledger.heads


@pytest.mark.parametrize("sent", [0, 1])
async def test_a_fence_that_promises_more_than_came_is_refused(shop: Shop, sent: int) -> None:
    async with lane_below(shop) as (lane, peer):
        await plan(peer, STOCK)
        for n, update in enumerate(written(5_000, 2_000)[:sent], 1):
            assert (await send(peer, STOCK, update, n))[0] is Kind.ACK
        await peer.say(Kind.FENCE, docs={STOCK: {REPLICA: 2}}, more=False)
        kind, refusal = await peer.hear()
        assert (kind, refusal["code"], refusal["terminal"]) == (Kind.REFUSE, "gap", False)
        assert refusal["message"] == f"{STOCK} did not arrive whole"
        assert not lane.initial_done


async def test_a_log_that_goes_on_from_another_one_is_refused_and_asked_for_from_its_first_element(
    shop: Shop,
) -> None:
    async with lane_below(shop) as (lane, peer):
        await plan(peer, STOCK)
        assert (await send(peer, STOCK, written(5_000)[0]))[0] is Kind.ACK
        kind, refusal = await send(peer, STOCK, written(1_000, 2_000)[1], 2)
        assert (kind, refusal["code"], refusal["terminal"]) == (Kind.REFUSE, "fork", False)
        assert lane.ledger.doubts == {STOCK: {REPLICA}}
        assert await balance(lane) == 5
