"""The in-memory network: what it injects is counted, seeded, and nothing else happens."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import TYPE_CHECKING

import pytest

from crdtsync import limits
from crdtsync.errors import ChannelClosed, PortInUse
from crdtsync.testing.loop import VirtualLoop, run_virtual
from crdtsync.transport.memory import Faults, MemoryChannel, MemoryNetwork

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crdtsync.transport.base import Channel


@asynccontextmanager
async def line(network: MemoryNetwork, *names: str) -> AsyncIterator[tuple[list[MemoryChannel], list[bytes]]]:
    """Channels from names to `up`, and what arrives there."""
    arrived: list[bytes] = []

    async def collect(channel: Channel) -> None:
        with suppress(ChannelClosed):
            while True:
                arrived.append(await channel.receive())

    server = await network.endpoint("up").serve("up", 0, collect)
    channels = [await network.endpoint(name).connect("memory://up") for name in names]
    yield channels, arrived
    for channel in channels:
        await channel.close()
    await server.close()


async def _all_sent(network: MemoryNetwork, count: int) -> tuple[list[bytes], float]:
    """What arrives of numbered messages, and the virtual time that it takes."""
    began = asyncio.get_running_loop().time()
    async with line(network, "down") as ((channel,), arrived):
        for number in range(count):
            await channel.send(b"%04d" % number)
        await channel.close()
        await asyncio.sleep(60)
    return arrived, asyncio.get_running_loop().time() - began


def carried(seed: int, faults: Faults, count: int = 400) -> tuple[list[bytes], MemoryNetwork]:
    """Run `_all_sent` in virtual time."""
    network = MemoryNetwork(Random(seed), faults)
    arrived, _ = run_virtual(_all_sent(network, count), VirtualLoop())
    return arrived, network


SENT = [b"%04d" % number for number in range(400)]


@pytest.mark.parametrize("delay", [0.0, 0.001, 5.0])
def test_without_faults_everything_arrives_in_order(delay: float) -> None:
    arrived, network = carried(1, Faults(delay=delay))
    assert arrived == SENT
    assert not network.injected


def test_dropped_messages_are_missing_and_counted() -> None:
    arrived, network = carried(2, Faults(drop=0.2))
    assert len(arrived) == 400 - network.injected["drop"]
    assert arrived == sorted(set(arrived))
    assert set(network.injected) == {"drop"}


def test_repeated_messages_arrive_twice_and_are_counted() -> None:
    arrived, network = carried(3, Faults(repeat=0.2))
    assert sorted(set(arrived)) == SENT
    assert len(arrived) == 400 + network.injected["repeat"]
    assert set(network.injected) == {"repeat"}


def test_reordered_messages_are_overtaken_and_counted() -> None:
    arrived, network = carried(4, Faults(reorder=0.2))
    assert sorted(arrived) == SENT
    assert arrived != SENT
    assert set(network.injected) == {"reorder"}


def test_a_cut_ends_the_connection_at_both_ends() -> None:
    network = MemoryNetwork(Random(5), Faults(cut=0.05))
    with pytest.raises(ChannelClosed):
        run_virtual(_all_sent(network, 400), VirtualLoop())
    assert network.injected["cut"] == 1


def test_a_seed_does_the_same_again() -> None:
    faults = Faults(drop=0.1, repeat=0.1, reorder=0.1)
    assert carried(6, faults)[0] == carried(6, faults)[0] != carried(7, faults)[0]


async def _parted() -> None:
    network = MemoryNetwork(Random(8))
    async with line(network, "a", "b") as ((a, b), arrived):
        network.partition("a")
        with pytest.raises(ChannelClosed):
            await a.send(b"lost")
        with pytest.raises(ChannelClosed):
            await network.endpoint("a").connect("memory://up")
        await b.send(b"b is not parted")
        network.partition("b", "up")
        with pytest.raises(ChannelClosed):
            await network.endpoint("b").connect("memory://up")
        network.heal("a")
        again = await network.endpoint("a").connect("memory://up")
        await again.send(b"a is back")
        await again.close()
        await asyncio.sleep(1)
        network.heal("b", "up")
        await (await network.endpoint("b").connect("memory://up")).close()
        network.cut("b")
    # What b had sent was still under way when the partition came.
    assert arrived == [b"a is back"]
    assert network.injected == {"partition": 2, "cut": 1}


def test_a_partition_breaks_and_refuses_until_it_heals() -> None:
    run_virtual(_parted(), VirtualLoop())


async def _unread() -> int:
    network = MemoryNetwork(Random(9))
    held = asyncio.Event()

    async def idle(_: Channel) -> None:
        await held.wait()

    server = await network.endpoint("up").serve("up", 0, idle)
    channel = await network.endpoint("down").connect("memory://up")
    sent = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            while True:
                await channel.send(b"unread")
                sent += 1
    await server.close()
    return sent


def test_a_writer_waits_once_the_channel_is_full() -> None:
    assert run_virtual(_unread(), VirtualLoop()) == limits.CHANNEL_MESSAGES_MAX


async def _twice() -> None:
    network = MemoryNetwork(Random(1))
    async with line(network):
        with pytest.raises(PortInUse, match="up:0"):
            await network.endpoint("up").serve("up", 0, lambda channel: channel.close())
    with pytest.raises(ChannelClosed, match="nobody answers"):
        await network.endpoint("down").connect("memory://up")


def test_a_name_listens_once_and_then_not_at_all() -> None:
    run_virtual(_twice(), VirtualLoop())
