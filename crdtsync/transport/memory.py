"""The in-memory twin of the network: seeded drop, delay, repeat, reorder, and partitions.

It uses asyncio primitives only, so a virtual-time loop can drive it. Messages are carried, never read.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crdtsync import limits
from crdtsync.errors import ChannelClosed, PortInUse

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from random import Random

    from crdtsync.transport.base import OnChannel


@dataclass(slots=True)
class Faults:
    """Probabilities per message, and delays in seconds."""

    drop: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    delay: float = 0.001


class MemoryChannel:
    """One end of a connection inside the process."""

    def __init__(self, network: MemoryNetwork, here: str, there: str) -> None:
        self._network = network
        self.here = here
        self.there = there
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(limits.CHANNEL_MESSAGES_MAX)
        self.other: MemoryChannel | None = None
        self.closed = False

    @property
    def peer(self) -> str:
        """Name of the other end."""
        return self.there

    async def send(self, message: bytes) -> None:
        """Send a message through the network's faults."""
        if self.closed:
            raise ChannelClosed(f"{self.there}: the connection is closed")
        await self._network.carry(self, message)

    def deliver(self, message: bytes) -> None:
        """Put a message that arrived where ``receive`` finds it; too many break the connection."""
        if self.closed:
            return
        if self.queue.full():
            self.sever()
        else:
            self.queue.put_nowait(message)

    async def receive(self) -> bytes:
        """Return the next message."""
        if self.closed and self.queue.empty():
            raise ChannelClosed(f"{self.there}: the connection is closed")
        message = await self.queue.get()
        if message is None:
            raise ChannelClosed(f"{self.there}: the connection is closed")
        return message

    def sever(self) -> None:
        """Cut the connection at both ends."""
        for end in (self, self.other):
            if end is not None and not end.closed:
                end.closed = True
                if end.queue.full():
                    end.queue.get_nowait()
                end.queue.put_nowait(None)

    async def close(self) -> None:
        """Close the connection."""
        self.sever()


class MemoryServer:
    """A name that accepts connections."""

    def __init__(self, network: MemoryNetwork, host: str) -> None:
        self._network = network
        self._host = host
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Always 0: names are enough here."""
        return 0

    async def close(self) -> None:
        """Stop accepting and end what was accepted."""
        self._network.servers.pop(self._host, None)
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class MemoryNetwork:
    """Connects names inside one event loop. ``injected`` counts the faults."""

    def __init__(self, random: Random, faults: Faults | None = None) -> None:
        self.random = random
        self.faults = faults or Faults()
        self.injected: Counter[str] = Counter()
        self.servers: dict[str, tuple[MemoryServer, OnChannel]] = {}
        self.cut: set[str] = set()
        self.channels: list[MemoryChannel] = []

    def partition(self, name: str) -> None:
        """Cut a name off: its connections break and none can be opened."""
        self.cut.add(name)
        self.injected["partition"] += 1
        for channel in self.channels:
            if name in {channel.here, channel.there}:
                channel.sever()
        self.channels = [channel for channel in self.channels if not channel.closed]

    def heal(self, name: str) -> None:
        """Let a name connect again."""
        self.cut.discard(name)

    async def carry(self, sender: MemoryChannel, message: bytes) -> None:
        """Carry one message, with the faults that the dice say."""
        chance, faults = self.random.random, self.faults
        if chance() < faults.drop:
            self.injected["drop"] += 1
            return
        loop = asyncio.get_running_loop()
        delay = faults.delay
        if chance() < faults.reorder:
            self.injected["reorder"] += 1
            delay += faults.delay * 3
        other = sender.other
        if other is None:
            return
        loop.call_later(delay, other.deliver, message)
        if chance() < faults.repeat:
            self.injected["repeat"] += 1
            loop.call_later(delay + faults.delay, other.deliver, message)
        await asyncio.sleep(0)

    def endpoint(self, name: str) -> MemoryTransport:
        """Return the transport that a node of this name uses."""
        return MemoryTransport(self, name)


class MemoryTransport:
    """The network as one name sees it; URLs are ``memory://name``."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self._network = network
        self._name = name

    async def connect(self, url: str) -> MemoryChannel:
        """Open a channel to the name in the URL."""
        network = self._network
        target = url.removeprefix("memory://")
        await asyncio.sleep(network.faults.delay)
        if target not in network.servers or {target, self._name} & network.cut:
            raise ChannelClosed(f"{url}: nobody answers")
        here = MemoryChannel(network, self._name, target)
        there = MemoryChannel(network, target, self._name)
        here.other, there.other = there, here
        network.channels += [here, there]
        server, on_channel = network.servers[target]
        task = asyncio.ensure_future(_run(on_channel(there), there))
        server.tasks.add(task)
        task.add_done_callback(server.tasks.discard)
        return here

    async def serve(self, host: str, port: int, on_channel: OnChannel) -> MemoryServer:
        """Accept channels under this transport's name."""
        if self._name in self._network.servers:
            raise PortInUse(host, port)
        server = MemoryServer(self._network, self._name)
        self._network.servers[self._name] = (server, on_channel)
        return server


async def _run(work: Awaitable[None], channel: MemoryChannel) -> None:
    try:
        await work
    finally:
        channel.sever()
