"""TLS over real sockets: a pinned certificate, one that an authority signed, and what is said before either is known."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from adapters.demo.relay import Relay
from crdtsync.errors import CertificateRefused, ChannelClosed, IdentityError
from crdtsync.identity.certificate import make_certificate
from crdtsync.identity.tls import ServerTls, client_tls
from crdtsync.transport.websocket import SUBPROTOCOL, WebSocketTransport
from tests.transport.test_websocket import echo

if TYPE_CHECKING:
    from pathlib import Path

    from crdtsync.transport.base import Channel

HOST = "127.0.0.1"


@pytest.fixture
def own(tmp_path: Path) -> ServerTls:
    """A port's certificate, signed by itself."""
    return made(tmp_path, "tls")


def made(folder: Path, name: str) -> ServerTls:
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    make_certificate(certificate, key, "localhost", datetime.now(UTC))
    return ServerTls.read(certificate, key)


class Port:
    """A port that keeps the channels that were opened to it."""

    def __init__(self, tls: ServerTls) -> None:
        self.transport = WebSocketTransport(server_tls=tls.context, server_binding=tls.digest)
        self.channels: list[Channel] = []

    async def __aenter__(self) -> str:
        self.server = await self.transport.serve(HOST, 0, self._hold)
        return f"wss://localhost:{self.server.port}"

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()

    async def _hold(self, channel: Channel) -> None:
        self.channels.append(channel)
        await echo(channel)


def trusting(pin: str | None = None, ca: Path | None = None) -> WebSocketTransport:
    return WebSocketTransport(client_tls=client_tls(pin, ca))


async def test_the_pinned_certificate_is_trusted_and_both_ends_are_bound_to_it(own: ServerTls) -> None:
    port = Port(own)
    async with port as url:
        channel = await trusting(own.digest.hex()).connect(url)
        await channel.send(b"sealed")
        assert await channel.receive() == b"sealed"
        assert [held.binding for held in port.channels] == [own.digest] == [channel.binding]
        await channel.close()


async def test_what_leaves_the_machine_is_deflated_each_message_by_itself(own: ServerTls) -> None:
    message = b"".join(b"%d: the same words again, " % number for number in range(4_000))
    plain, port = await WebSocketTransport().serve(HOST, 0, echo), Port(own)
    carried: list[int] = []
    async with port as url:
        for scheme, connector, target in (
            ("ws", WebSocketTransport(), plain.port),
            ("wss", trusting(own.digest.hex()), int(url.rpartition(":")[2])),
        ):
            relay = Relay(target)
            await relay.start()
            channel = await connector.connect(f"{scheme}://localhost:{relay.port}")
            before = relay.carried
            for _ in range(2):
                await channel.send(message)
                assert await channel.receive() == message
            carried.append(relay.carried - before)
            await channel.close()
            await relay.cut()
    await plain.close()
    assert 4 * len(message) < carried[0]
    # Were the second deflated with the help of the first, it would be a hundredth.
    assert 0.1 < carried[1] / carried[0] < 0.4


async def test_another_certificate_than_the_pinned_one_ends_it_before_anything_is_said(
    own: ServerTls, tmp_path: Path
) -> None:
    port, expected = Port(made(tmp_path, "impostor")), own.digest.hex()
    async with port as url:
        with pytest.raises(CertificateRefused, match=f"the pin says {expected}.*correct pin or ca"):
            await trusting(expected).connect(url)
    assert port.channels == []


async def test_a_client_that_refuses_the_certificate_has_sent_no_request(own: ServerTls) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ssl.SSLError, ConnectionError):
            heard.set_result(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(listen, HOST, 0, ssl=own.context)
    with pytest.raises(CertificateRefused):
        await trusting("0" * 64).connect(f"wss://localhost:{server.sockets[0].getsockname()[1]}")
    assert not heard.done() or heard.result() == b""
    server.close()
    await server.wait_closed()


async def test_an_authority_is_trusted_for_the_name_that_it_signed(own: ServerTls, tmp_path: Path) -> None:
    port = Port(own)
    async with port as url:
        channel = await trusting(ca=tmp_path / "tls.crt").connect(url)
        await channel.close()
        with pytest.raises(CertificateRefused, match="certificate verify failed"):
            await trusting(ca=tmp_path / "tls.crt").connect(url.replace("localhost", HOST))
        with pytest.raises(CertificateRefused, match="certificate verify failed"):
            await trusting().connect(url)


async def test_nobody_speaks_plainly_to_a_port_with_tls(own: ServerTls) -> None:
    port = Port(own)
    async with port as url:
        with pytest.raises(ChannelClosed):
            await WebSocketTransport().connect(url.replace("wss://", "ws://"))
    assert port.channels == []


def test_nothing_older_than_tls_1_2_is_spoken(own: ServerTls, tmp_path: Path) -> None:
    for context in (own.context, client_tls("0" * 64, None), client_tls(None, tmp_path / "tls.crt")):
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_the_key_of_a_certificate_is_its_users_alone(own: ServerTls, tmp_path: Path) -> None:
    assert own.digest
    assert (tmp_path / "tls.key").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hub.pem"
    for write in (False, True):
        if write:
            path.write_text("no certificate", encoding="ascii")
        with pytest.raises(IdentityError, match=r"hub\.pem: .*; name a PEM file in node\.toml"):
            ServerTls.read(path, None)
        with pytest.raises(IdentityError, match=r"hub\.pem: .*; name a PEM file in node\.toml"):
            client_tls(None, path)


async def test_a_peer_that_answers_no_ping_is_taken_for_dead() -> None:
    accepted: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def hold(channel: Channel) -> None:
        accepted.set_result(channel)
        await over.wait()

    server = await WebSocketTransport().serve(HOST, 0, hold)
    # A socket whose program is gone: the handshake was made, nobody reads any more.
    reader, writer = await asyncio.open_connection(HOST, server.port)
    lines = ["GET /sync HTTP/1.1", f"Host: {HOST}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]
    writer.write("\r\n".join([*lines, f"Sec-WebSocket-Protocol: {SUBPROTOCOL}", "", ""]).encode())
    assert (await reader.readline()).split()[1] == b"101"
    assert not await (await asyncio.wait_for(accepted, 5)).answers(0.05)
    over.set()
    writer.close()
    await server.close()
