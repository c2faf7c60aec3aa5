"""What a transport is: channels that carry whole messages, a way to open one, and a way to accept them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class Channel(Protocol):
    """A connection to one peer; messages arrive whole, or not at all."""

    @property
    def peer(self) -> str:
        """Where the other end is, for logs."""

    async def send(self, message: bytes) -> None:
        """Send a message; waits while the peer is slow. Raises ChannelClosed."""

    async def receive(self) -> bytes:
        """Return the next message. Raises ChannelClosed."""

    async def close(self) -> None:
        """Close the connection; harmless when it is closed."""


OnChannel = Callable[[Channel], Awaitable[None]]


class Server(Protocol):
    """Accepts channels until it is closed."""

    @property
    def port(self) -> int:
        """The port that it listens on."""

    async def close(self) -> None:
        """Stop accepting and close what was accepted."""


class Transport(Protocol):
    """Opens and accepts channels."""

    async def connect(self, url: str) -> Channel:
        """Open a channel. Raises ChannelClosed when nobody answers, InsecureTransport."""

    async def serve(self, host: str, port: int, on_channel: OnChannel) -> Server:
        """Accept channels; ``on_channel`` runs for each until it returns. Raises PortInUse."""
