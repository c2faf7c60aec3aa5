"""The in-memory twin of the network: seeded drop, delay, repeat, reorder, cuts and partitions.

It uses asyncio primitives only, so a virtual-time loop can drive it. Messages are carried, never read.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crdtsync import limits
from crdtsync.errors import ChannelClosed, PortInUse

if TYPE_CHECKING:
    from random import Random

    from crdtsync.transport.base import OnChannel


@dataclass(slots=True)
class Faults:
    """Probabilities per message, and the mean delay in seconds. May be changed while messages travel."""

    drop: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    cut: float = 0.0
    delay: float = 0.001


class _Way:
    """One direction of a connection: messages under way, then messages that wait for the reader."""

    def __init__(self) -> None:
        # Due times and a serial: timers due at one instant fire in any order, messages leave in theirs.
        self._travelling: list[tuple[float, int, bytes | None]] = []
        self._serial = 0
        self._latest = 0.0
        self._arrived: deque[bytes] = deque()
        self._changed = asyncio.Event()
        # Who waits for room is not overtaken by who comes when there is some: messages leave in the order of `send`.
        self.turn = asyncio.Lock()
        self.ended = False

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def room(self) -> None:
        """Wait until one more message may be under way or unread."""
        while not self.ended and len(self._travelling) + len(self._arrived) >= limits.CHANNEL_MESSAGES_MAX:
            await self._changed.wait()

    def put(self, message: bytes | None, delay: float, *, overtaken: bool = False) -> None:
        """Let a message travel; ``None`` ends the way after all others. ``overtaken``: later ones may pass it."""
        if self.ended:  # the reader left, and the writer has not heard of it yet
            return
        loop = asyncio.get_running_loop()
        due = max(loop.time() + delay, self._latest)
        if message is None:
            due = max([due, *(other for other, _, _ in self._travelling)])
        if not overtaken:
            self._latest = due
        self._serial += 1
        heapq.heappush(self._travelling, (due, self._serial, message))
        loop.call_at(due, self._arrive)

    def _arrive(self) -> None:
        if self.ended or not self._travelling:
            return
        _, _, message = heapq.heappop(self._travelling)
        if message is None:
            self.end()
        else:
            self._arrived.append(message)
        self._wake()

    async def take(self) -> bytes | None:
        """Return the next message, or None when the way has ended and all was read."""
        while not self._arrived and not self.ended:
            await self._changed.wait()
        if not self._arrived:
            return None
        message = self._arrived.popleft()
        self._wake()
        return message

    def end(self) -> None:
        """End the way at once: what is under way is lost, what arrived can still be read."""
        self.ended = True
        self._travelling.clear()
        self._wake()


class MemoryChannel:
    """One end of a connection inside the process."""

    def __init__(self, network: MemoryNetwork, here: str, there: str, out: _Way, into: _Way) -> None:
        self._network = network
        self._out = out
        self._into = into
        self.here = here
        self.there = there

    @property
    def peer(self) -> str:
        """Name of the other end."""
        return self.there

    @property
    def binding(self) -> bytes:
        """See Channel.binding: nothing is encrypted here."""
        return b""

    async def answers(self, seconds: float) -> bool:  # noqa: ARG002 - the interface's; here it is known at once
        """See Channel.answers: the other end lives until it has left."""
        return not (self._out.ended or self._into.ended)

    @property
    def closed(self) -> bool:
        """Whether this end was closed, or has heard that the other was."""
        return self._into.ended

    async def send(self, message: bytes) -> None:
        """Send a message through the network's faults; waits while too many are under way or unread."""
        async with self._out.turn:
            await self._out.room()
            if self.closed:
                raise self._gone()
            await self._network.carry(self, message)

    async def receive(self) -> bytes:
        """Return the next message."""
        message = await self._into.take()
        if message is None:
            raise self._gone()
        return message

    async def close(self, reason: str = "") -> None:  # noqa: ARG002 - the interface's; nobody reads it here
        """Close the connection: the other end reads what was sent, then hears of it."""
        if not self.closed:
            self._out.put(None, self._network.delay())
        self._into.end()

    def put(self, message: bytes, delay: float, *, overtaken: bool = False) -> None:
        """Let a message travel to the other end."""
        self._out.put(message, delay, overtaken=overtaken)

    def sever(self) -> None:
        """Cut the connection at both ends; what is under way is lost."""
        self._out.end()
        self._into.end()

    def _gone(self) -> ChannelClosed:
        return ChannelClosed(f"{self.there}: the connection is closed")


class MemoryServer:
    """A name that accepts connections."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self._network = network
        self._name = name
        # In the order of their start, so that a seed ends them the same way every time.
        self.tasks: dict[asyncio.Task[None], None] = {}

    @property
    def port(self) -> int:
        """Always 0: names are enough here."""
        return 0

    async def close(self) -> None:
        """Stop accepting and end what was accepted."""
        self._network.servers.pop(self._name, None)
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class MemoryNetwork:
    """Connects names inside one event loop. ``injected`` counts the faults."""

    def __init__(self, random: Random, faults: Faults | None = None) -> None:
        self.random = random
        self.faults = faults or Faults()
        self.injected: Counter[str] = Counter()
        self.servers: dict[str, tuple[MemoryServer, OnChannel]] = {}
        self._apart: set[frozenset[str]] = set()
        # In the order of their opening: which one a fault meets first must not depend on addresses in memory.
        self._channels: dict[MemoryChannel, None] = {}

    # -- faults that a test or a schedule asks for -------------------------------------------------------------

    def partition(self, name: str, other: str | None = None) -> None:
        """Part a name from another, or from all: connections between them break and none can be opened."""
        self.injected["partition"] += 1
        self._apart.add(frozenset({name, other} if other else {name}))
        self._sever(name, other)

    def heal(self, name: str, other: str | None = None) -> None:
        """Take back the partition of the same arguments."""
        self._apart.discard(frozenset({name, other} if other else {name}))

    def cut(self, name: str, other: str | None = None) -> None:
        """Break the connections of a name, with another or with all; they may be opened again at once."""
        self.injected["cut"] += 1
        self._sever(name, other)

    def _sever(self, name: str, other: str | None) -> None:
        for channel in list(self._channels):
            ends = {channel.here, channel.there}
            if name in ends and (other is None or other in ends):
                channel.sever()
        self._channels = {channel: None for channel in self._channels if not channel.closed}

    # -- what the transports use -------------------------------------------------------------------------------

    def endpoint(self, name: str) -> MemoryTransport:
        """Return the transport that a node of this name uses."""
        return MemoryTransport(self, name)

    def delay(self) -> float:
        """Return how long the next message travels: half to one and a half of the mean, seconds."""
        return self.faults.delay * (0.5 + self.random.random())

    def reachable(self, here: str, there: str) -> bool:
        """Tell whether no partition is between two names."""
        return not self._apart & {frozenset({here}), frozenset({there}), frozenset({here, there})}

    async def carry(self, sender: MemoryChannel, message: bytes) -> None:
        """Carry one message, with the faults that the dice say."""
        self._throw(sender, message)
        # As with a socket, other tasks have their turn.
        await asyncio.sleep(0)

    def _throw(self, sender: MemoryChannel, message: bytes) -> None:
        chance, faults, delay = self.random.random, self.faults, self.delay()
        if chance() < faults.cut:
            self.injected["cut"] += 1
            sender.sever()
            return
        if chance() < faults.drop:
            self.injected["drop"] += 1
            return
        overtaken = chance() < faults.reorder
        if overtaken:
            self.injected["reorder"] += 1
            delay += 3 * faults.delay
        sender.put(message, delay, overtaken=overtaken)
        if chance() < faults.repeat:
            self.injected["repeat"] += 1
            sender.put(message, delay + self.delay(), overtaken=True)

    def join(self, here: str, there: str) -> MemoryChannel:
        """Open a connection to a name that listens, and return this end. Raises ChannelClosed."""
        if there not in self.servers or not self.reachable(here, there):
            raise ChannelClosed(f"memory://{there}: nobody answers")
        server, on_channel = self.servers[there]
        up, down = _Way(), _Way()
        mine = MemoryChannel(self, here, there, up, down)
        accepted = MemoryChannel(self, there, here, down, up)
        self._channels = {channel: None for channel in self._channels if not channel.closed}
        self._channels |= {mine: None, accepted: None}
        task = asyncio.get_running_loop().create_task(_serve(on_channel, accepted))
        server.tasks[task] = None
        task.add_done_callback(lambda ended: server.tasks.pop(ended, None))
        return mine


class MemoryTransport:
    """The network as one name sees it; URLs are ``memory://name``."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self._network = network
        self._name = name

    async def connect(self, url: str) -> MemoryChannel:
        """Open a channel to the name in the URL."""
        await asyncio.sleep(self._network.delay())
        return self._network.join(self._name, url.removeprefix("memory://"))

    async def serve(self, host: str, port: int, on_channel: OnChannel) -> MemoryServer:
        """Accept channels under this transport's name."""
        if self._name in self._network.servers:
            raise PortInUse(host, port)
        server = MemoryServer(self._network, self._name)
        self._network.servers[self._name] = (server, on_channel)
        return server


async def _serve(on_channel: OnChannel, channel: MemoryChannel) -> None:
    try:
        await on_channel(channel)
    finally:
        await channel.close()
