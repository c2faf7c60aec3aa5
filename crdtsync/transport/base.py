"""What a transport is: channels that carry whole messages, a way to open one, and a way to accept them.

``crdtsync.testing.channel_contract`` tests an implementation of these. Nothing here opens a socket.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class Channel(Protocol):
    """A connection to one peer; messages arrive whole, or not at all."""

    @property
    def peer(self) -> str:
        """Where the other end is, for logs."""

    @property
    def binding(self) -> bytes:
        """What both ends, and nobody between them, know of the channel; empty where nothing is encrypted."""

    async def answers(self, seconds: float) -> bool:
        """Ask the other end for a sign of life; tell whether it came within the time. Takes no message."""

    async def send(self, message: bytes) -> None:
        """Send a message; waits while the peer is slow. Raises ChannelClosed."""

    async def receive(self) -> bytes:
        """Return the next message; what came before a close is still returned. Raises ChannelClosed.

        It may be cancelled, by a timeout for example, without losing a message.
        """

    async def close(self, reason: str = "") -> None:
        """Close the connection after what was sent; harmless when it is closed."""


OnChannel = Callable[[Channel], Awaitable[None]]


class Server(Protocol):
    """Accepts channels until it is closed."""

    @property
    def port(self) -> int:
        """The port that it listens on."""

    async def close(self) -> None:
        """Stop accepting, close what was accepted, and wait until its ``on_channel`` calls have ended."""


class Transport(Protocol):
    """Opens and accepts channels."""

    async def connect(self, url: str) -> Channel:
        """Open a channel. Raises ChannelClosed when nobody answers or the answer is no, InsecureTransport."""

    async def serve(self, host: str, port: int, on_channel: OnChannel) -> Server:
        """Accept channels; ``on_channel`` runs for each until it returns, which closes the channel.

        Raises ListenFailed (PortInUse when another program listens there), InsecureTransport.
        """
