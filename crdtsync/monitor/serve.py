"""The server: uvicorn in the node's own loop, on the loopback interface."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from crdtsync import limits
from crdtsync.errors import ListenFailed, PortInUse
from crdtsync.monitor.app import build
from crdtsync.monitor.pulse import Pulse
from crdtsync.monitor.security import Door
from crdtsync.monitor.tokens import HOST, tokens_of
from crdtsync.said import say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    from crdtsync.node import Node

_POLL_SECONDS = 0.005


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: the node is told to stop, and stops this."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the node."""
        yield


class _Protocol(H11Protocol):
    """Uvicorn's, which waits for ever for a request that was begun: here the connection ends. There are not many of them."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected."""
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """A part of a request arrived: its head is expected as a whole, its body is waited for by the guard."""
        super().data_received(data)
        # There is none before the first request, whatever uvicorn's types say.
        answering = cast("RequestResponseCycle | None", self.cycle)
        if answering is not None and not answering.response_complete:
            self._expect_nothing()
        elif self._late is None:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._expect_nothing()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._late = self.loop.call_later(limits.MONITOR_ARRIVAL_SECONDS, self.transport.close)

    def _expect_nothing(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


@contextlib.asynccontextmanager
async def service(node: Node) -> AsyncIterator[None]:
    """Serve the page and the API of a node on the port that its ``node.toml`` names; for ``run_node``."""
    async with serve(node, node.config.monitor):
        yield


@contextlib.asynccontextmanager
async def serve(node: Node, port: int = 0) -> AsyncIterator[int]:
    """Serve the page and the API of an open node on a port (0: any free one) while the block lasts; give the port.

    Raises:
        PortInUse: another program listens there.
        ListenFailed: the port is not allowed.
        ConfigError: the files of the tokens cannot be used.
    """
    tokens = tokens_of(node.config.folder)
    with _listening(port) as listener:
        port = listener.getsockname()[1]
        pulse = Pulse(node)
        config = uvicorn.Config(
            build(node, Door(tokens, port), pulse, port),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limits.MONITOR_CONNECTIONS_MAX,
            timeout_graceful_shutdown=limits.MONITOR_CLOSE_SECONDS,
            h11_max_incomplete_event_size=limits.MONITOR_HEAD_BYTES_MAX,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="monitor")
        try:
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn says it with a flag
                await asyncio.sleep(_POLL_SECONDS)
            with pulse.listening():
                yield port
        finally:
            server.should_exit = True
            await serving


def _listening(port: int) -> socket.socket:
    try:
        listener = socket.create_server((HOST, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(HOST, port) from error
        advice = say(
            "cannot listen here ({error}); choose another port in node.toml", error=error.strerror or error
        )
        raise ListenFailed(HOST, port, advice) from error
    # An answer is sent in two pieces. Without this the second waits, 40 ms, until the other end says that it has the
    # first; asyncio sets it only for sockets that were made with the protocol's number.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
