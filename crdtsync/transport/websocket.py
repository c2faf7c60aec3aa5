"""Channels over websockets: the only place that imports ``websockets``.

The limits are those that a port open to a network needs: one path, one subprotocol, no browser origin, a cap on
connections and on message size, pings, back-pressure. It never looks into a message.
"""

from __future__ import annotations

import errno
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server as WebsocketsServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from crdtsync import limits
from crdtsync.errors import ChannelClosed, InsecureTransport, PortInUse

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

    from crdtsync.transport.base import OnChannel

PATH = "/sync"
SUBPROTOCOL = Subprotocol("crdtsync.v1")


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class WebSocketChannel:
    """A channel over one websocket."""

    def __init__(self, socket: ClientConnection | ServerConnection) -> None:
        self._socket = socket

    @property
    def peer(self) -> str:
        """Address of the other end."""
        address = self._socket.remote_address
        return f"{address[0]}:{address[1]}" if address else "unknown"

    async def send(self, message: bytes) -> None:
        """Send a message; waits while the peer is slow."""
        try:
            await self._socket.send(message)
        except ConnectionClosed as error:
            raise ChannelClosed(f"{self.peer}: {error}") from error

    async def receive(self) -> bytes:
        """Return the next message; a text message closes the connection."""
        try:
            message = await self._socket.recv()
        except ConnectionClosed as error:
            raise ChannelClosed(f"{self.peer}: {error}") from error
        if isinstance(message, str):
            await self._socket.close(1003, "binary messages only")
            raise ChannelClosed(f"{self.peer}: sent text instead of bytes")
        return message

    async def close(self) -> None:
        """Close the connection."""
        await self._socket.close()


class WebSocketServer:
    """A listening port."""

    def __init__(self, server: WebsocketsServer, port: int) -> None:
        self._server = server
        self._port = port

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    async def close(self) -> None:
        """Stop listening and close every connection."""
        self._server.close()
        await self._server.wait_closed()


class WebSocketTransport:
    """Opens and accepts websockets with the limits of a node's port."""

    def __init__(self) -> None:
        self._open = 0

    async def connect(self, url: str) -> WebSocketChannel:
        """Open a channel to ``ws://`` (this machine only) or ``wss://``."""
        parts = urlsplit(url)
        if parts.scheme != "wss" and not is_loopback(parts.hostname or ""):
            raise InsecureTransport(url)
        try:
            socket = await connect(
                url.rstrip("/") + ("" if parts.path.rstrip("/") == PATH else PATH),
                subprotocols=[SUBPROTOCOL],
                compression=None,
                max_size=limits.FRAME_BYTES_MAX + 4,
                open_timeout=limits.HELLO_SECONDS_MAX,
                ping_interval=limits.PING_SECONDS,
                close_timeout=limits.CLOSE_SECONDS_MAX,
                proxy=None,
            )
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, ConnectionClosed) as error:
            raise ChannelClosed(f"{url}: {str(error) or type(error).__name__}") from error
        return WebSocketChannel(socket)

    async def serve(self, host: str, port: int, on_channel: OnChannel) -> WebSocketServer:
        """Accept channels on a port (0: any free one)."""

        async def handle(socket: ServerConnection) -> None:
            self._open += 1
            try:
                await on_channel(WebSocketChannel(socket))
            finally:
                self._open -= 1

        try:
            server = await serve(
                handle,
                host,
                port,
                subprotocols=[SUBPROTOCOL],
                origins=[None],
                process_request=self._admit,
                compression=None,
                max_size=limits.FRAME_BYTES_MAX + 4,
                open_timeout=limits.HELLO_SECONDS_MAX,
                ping_interval=limits.PING_SECONDS,
                close_timeout=limits.CLOSE_SECONDS_MAX,
                server_header=None,
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(host, port) from error
            raise
        return WebSocketServer(server, next(iter(server.sockets)).getsockname()[1])

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, "no such path\n")
        if self._open >= limits.CONNECTIONS_MAX:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections\n")
        return None
