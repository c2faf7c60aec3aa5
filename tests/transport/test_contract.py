"""Both built-in transports go through the same door as a third party's."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from crdtsync.testing.channel_contract import ChannelContract
from crdtsync.transport.memory import MemoryNetwork
from crdtsync.transport.websocket import WebSocketTransport

if TYPE_CHECKING:
    from crdtsync.transport.base import Server, Transport


class TestMemoryTransport(ChannelContract):
    @pytest.fixture(autouse=True)
    def _network(self) -> None:
        self.network = MemoryNetwork(Random(1))

    def listener(self) -> Transport:
        return self.network.endpoint("up")

    def connector(self) -> Transport:
        return self.network.endpoint("down")

    def url(self, _: Server) -> str:
        return "memory://up"


class TestWebSocketTransport(ChannelContract):
    def listener(self) -> Transport:
        return WebSocketTransport()

    def connector(self) -> Transport:
        return WebSocketTransport()

    def url(self, server: Server) -> str:
        return f"ws://127.0.0.1:{server.port}"


class TestCompressedWebSocketTransport(TestWebSocketTransport):
    def listener(self) -> Transport:
        return WebSocketTransport(compress=True)

    def connector(self) -> Transport:
        return WebSocketTransport(compress=True)
