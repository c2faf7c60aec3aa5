"""Channels over websockets: the only place that imports ``websockets``.

The limits are those that a port open to a network needs: one path, one subprotocol, no browser origin, no foreign host
name, a token if one is set, a cap on connections and on message size, pings, back-pressure. It never looks into a
message, and never uses ``broadcast()``, which has no back-pressure.

What leaves the machine is deflated (RFC 7692): the line to head office is slower than the processor. Within a machine
it would only cost. No message is deflated with the help of another, so an idle connection keeps no memory for it, and
nothing can be learned from how well two messages fit together.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import hmac
import ssl
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.typing import Subprotocol

from crdtsync import limits
from crdtsync.errors import CertificateRefused, ChannelClosed, InsecureTransport, ListenFailed, PortInUse
from crdtsync.said import say
from crdtsync.transport.address import is_encrypted, is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable

    from websockets.asyncio.server import Server
    from websockets.http11 import Request, Response

    from crdtsync.transport.base import OnChannel

PATH = "/sync"
SUBPROTOCOL = Subprotocol("crdtsync.v1")
MESSAGE_BYTES_MAX = limits.FRAME_BYTES_MAX + 4
"""Largest message taken, bytes: a frame and its checksum. It holds after decompression too."""

_DEFLATED: dict[str, Any] = {
    "server_no_context_takeover": True,
    "client_no_context_takeover": True,
    "compress_settings": {"level": 1},
}


class WebSocketChannel:
    """A channel over one websocket."""

    def __init__(self, socket: ClientConnection | ServerConnection, binding: bytes = b"") -> None:
        self._socket = socket
        self._binding = binding
        address = socket.remote_address
        self._peer = f"{address[0]}:{address[1]}" if address else "unknown"
        self._heard = 0
        self._reading = False
        self._keeper = asyncio.get_running_loop().create_task(self._keep_alive())

    async def _keep_alive(self) -> None:
        """Close the connection when nothing is heard of the other end, and it does not answer a ping.

        The library's own keepalive waits for the pong whatever happens. A node that takes in slowly what it gets has the pong
        behind megabytes that it has not read yet, and would hang up on a neighbour that does all it can.
        """
        while True:
            heard = self._heard
            await asyncio.sleep(limits.PING_SECONDS)
            if (
                self._silent_since(heard)
                and not await self.answers(limits.PING_SECONDS)
                and self._silent_since(heard)
            ):
                await self._socket.close(1011, "no answer to a ping")
                return

    def _silent_since(self, heard: int) -> bool:
        return self._reading and self._heard == heard

    @property
    def peer(self) -> str:
        """Address of the other end."""
        return self._peer

    @property
    def binding(self) -> bytes:
        """See Channel.binding: the SHA-256 of the certificate that this connection is encrypted with."""
        return self._binding

    async def answers(self, seconds: float) -> bool:
        """See Channel.answers: a ping of its own."""
        try:
            async with asyncio.timeout(seconds):
                await (await self._socket.ping())
        except (ConnectionClosed, TimeoutError):
            return False
        return True

    async def send(self, message: bytes) -> None:
        """Send a message; waits while the peer is slow."""
        try:
            await self._socket.send(message)
        except ConnectionClosed as error:
            raise self._gone(error) from error

    async def receive(self) -> bytes:
        """Return the next message; a text message closes the connection."""
        self._reading = True
        try:
            message = await self._socket.recv()
        except ConnectionClosed as error:
            raise self._gone(error) from error
        finally:
            self._reading = False
        self._heard += 1
        if isinstance(message, str):
            await self._socket.close(1003, "binary messages only")
            raise ChannelClosed(f"{self._peer}: sent text instead of bytes")
        return message

    async def close(self, reason: str = "") -> None:
        """Close the connection; the reason is cut to what a close frame holds."""
        self._keeper.cancel()
        await self._socket.close(1000, reason.encode()[:123].decode(errors="ignore"))

    def _gone(self, error: ConnectionClosed) -> ChannelClosed:
        self._keeper.cancel()
        return ChannelClosed(f"{self._peer}: the connection is closed ({error})")


class WebSocketServer:
    """A listening port."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._port: int = next(iter(server.sockets)).getsockname()[1]

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    async def close(self) -> None:
        """Stop listening and close every connection."""
        self._server.close()
        await self._server.wait_closed()


class WebSocketTransport:
    """Opens and accepts websockets with the limits of a node's port.

    Args:
        client_tls: trust for ``wss://`` (default: the system's authorities).
        server_tls: this node's certificate. Without it only loopback addresses are listened on.
        server_binding: SHA-256 of that certificate: what the other end sees of it.
        token: what both ends of every connection must know; sent as a bearer token.
        names: host names under which nodes below call this one. IP addresses and ``localhost`` always pass: a page
            that rebinds its own name to this machine is what the check keeps out.
    """

    def __init__(
        self,
        *,
        client_tls: ssl.SSLContext | None = None,
        server_tls: ssl.SSLContext | None = None,
        server_binding: bytes = b"",
        token: str | None = None,
        names: Iterable[str] = (),
    ) -> None:
        self._client_tls = client_tls
        self._server_tls = server_tls
        self._server_binding = server_binding
        self._token = token
        self._names = {name.lower() for name in names} | {"localhost"}
        self._open = 0

    async def connect(self, url: str) -> WebSocketChannel:
        """Open a channel to ``ws://`` (this machine only) or ``wss://``; the path ``/sync`` is added to a bare address.

        Raises:
            InsecureTransport: ``ws://`` to another machine.
            CertificateRefused: the other end's certificate is not trusted.
            ChannelClosed: nobody answers, or the answer is no; the message says which.
        """
        try:
            parts, secure = urlsplit(url), is_encrypted(url)
        except ValueError as error:
            raise ChannelClosed(f"{url}: not an address ({error}); write ws://host:port") from error
        try:
            socket = await connect(
                urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") or PATH, "", "")),
                subprotocols=[SUBPROTOCOL],
                additional_headers={"Authorization": f"Bearer {self._token}"} if self._token else None,
                ssl=(self._client_tls or True) if secure else None,
                compression=None,
                extensions=[ClientPerMessageDeflateFactory(**_DEFLATED)] if secure else None,
                max_size=MESSAGE_BYTES_MAX,
                max_queue=limits.MESSAGES_QUEUED_MAX,
                open_timeout=limits.HELLO_SECONDS_MAX,
                ping_interval=None,
                close_timeout=limits.CLOSE_SECONDS_MAX,
                # A proxy named in the environment is for browsers; a link goes where it is told.
                proxy=None,
            )
        except InvalidStatus as error:
            said = (error.response.body or b"").decode(errors="replace").strip()
            raise ChannelClosed(f"{url}: refused with {error.response.status_code} ({said:.200})") from error
        except ssl.SSLCertVerificationError as error:
            raise CertificateRefused(url, str(error)) from error
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, ConnectionClosed) as error:
            raise ChannelClosed(f"{url}: {str(error) or 'no answer'} ({type(error).__name__})") from error
        seen = socket.transport.get_extra_info("ssl_object")
        certificate = seen.getpeercert(binary_form=True) if seen is not None else None
        return WebSocketChannel(socket, hashlib.sha256(certificate).digest() if certificate else b"")

    async def serve(self, host: str, port: int, on_channel: OnChannel) -> WebSocketServer:
        """Accept channels on a port (0: any free one).

        Raises:
            InsecureTransport: the address is not loopback and there is no ``server_tls``.
            PortInUse: another program listens there.
            ListenFailed: the address is not this machine's, or the port is not allowed.
        """
        if self._server_tls is None and not is_loopback(host):
            raise InsecureTransport(f"ws://{host}:{port}")

        async def handle(socket: ServerConnection) -> None:
            self._open += 1
            try:
                await on_channel(WebSocketChannel(socket, self._server_binding))
            finally:
                self._open -= 1

        try:
            server = await serve(
                handle,
                host,
                port,
                subprotocols=[SUBPROTOCOL],
                # A browser always names an origin: no page may speak here.
                origins=[None],
                process_request=self._admit,
                ssl=self._server_tls,
                compression=None,
                # For whoever asks for it.
                extensions=[ServerPerMessageDeflateFactory(**_DEFLATED)],
                max_size=MESSAGE_BYTES_MAX,
                max_queue=limits.MESSAGES_QUEUED_MAX,
                open_timeout=limits.HELLO_SECONDS_MAX,
                ping_interval=None,
                close_timeout=limits.CLOSE_SECONDS_MAX,
                server_header=None,
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(host, port) from error
            advice = say(
                "cannot listen here ({reason}); choose another host or port in node.toml",
                reason=error.strerror or error,
            )
            raise ListenFailed(host, port, advice) from error
        return WebSocketServer(server)

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a request before it becomes a websocket: None lets it pass."""
        if request.path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, f"the only path here is {PATH}\n")
        if not self._is_known_host(request.headers.get_all("Host")):
            return connection.respond(HTTPStatus.MISDIRECTED_REQUEST, "this node does not have that name\n")
        if self._token is not None:
            given = request.headers.get_all("Authorization")
            expected = f"Bearer {self._token}"
            if len(given) != 1 or not hmac.compare_digest(given[0].encode(), expected.encode()):
                return connection.respond(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong\n")
        if self._open >= limits.CONNECTIONS_MAX:
            return connection.respond(
                HTTPStatus.SERVICE_UNAVAILABLE, "too many connections; come back later\n"
            )
        return None

    def _is_known_host(self, given: list[str]) -> bool:
        if len(given) != 1:
            return False
        try:
            host = urlsplit(f"//{given[0]}").hostname or ""
            if host.lower() in self._names:
                return True
            ip_address(host)
        except ValueError:
            return False
        return True
