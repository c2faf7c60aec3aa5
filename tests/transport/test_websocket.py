"""A node's port: who and what it refuses, and what it says."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidStatus

from crdtsync import limits
from crdtsync.errors import ChannelClosed, InsecureTransport, ListenFailed, PortInUse
from crdtsync.transport.address import is_loopback
from crdtsync.transport.websocket import MESSAGE_BYTES_MAX, PATH, SUBPROTOCOL, WebSocketTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crdtsync.transport.base import Channel

HOST = "127.0.0.1"
CERTIFICATE = Path(__file__).with_name("localhost.pem")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """Websockets logs each refused handshake; here they are what is tested."""
    logging.getLogger("websockets").setLevel(logging.CRITICAL)


async def echo(channel: Channel) -> None:
    """Send back what comes."""
    with suppress(ChannelClosed):
        while True:
            await channel.send(await channel.receive())


@asynccontextmanager
async def serving(transport: WebSocketTransport) -> AsyncIterator[str]:
    """The address of an echo server."""
    server = await transport.serve(HOST, 0, echo)
    try:
        yield f"ws://{HOST}:{server.port}"
    finally:
        await server.close()


async def status(url: str, **options: Any) -> int:
    """The HTTP status with which a handshake is refused."""
    options = {"subprotocols": [SUBPROTOCOL], "proxy": None, **options}
    with pytest.raises(InvalidStatus) as raised:
        await connect(url, **options)
    return raised.value.response.status_code


@pytest.mark.parametrize("path", ["", "/", "/sync/", "/sync?x=1", "/other"])
async def test_only_one_path_is_answered(path: str) -> None:
    async with serving(WebSocketTransport()) as url:
        assert await status(url + path) == 404


@pytest.mark.parametrize("origin", ["http://127.0.0.1", "https://evil.example", "null"])
async def test_no_page_of_a_browser_is_answered(origin: str) -> None:
    async with serving(WebSocketTransport()) as url:
        assert await status(url + PATH, origin=origin) == 403


@pytest.mark.parametrize("subprotocols", [None, ["crdtsync.v0"]])
async def test_another_subprotocol_is_refused(subprotocols: list[str] | None) -> None:
    async with serving(WebSocketTransport()) as url:
        assert await status(url + PATH, subprotocols=subprotocols) == 400


async def raw_status(port: int, *headers: str) -> int:
    """The HTTP status of a handshake with exactly these headers beside the needed ones."""
    reader, writer = await asyncio.open_connection(HOST, port)
    lines = [
        f"GET {PATH} HTTP/1.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
        *headers,
    ]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1])


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (["Host: evil.example"], 421),
        (["Host: evil.example:7400"], 421),
        (["Host: [::bad"], 421),
        ([], 421),
        (["Host: 127.0.0.1:1", "Host: localhost"], 421),
        (["Host: 127.0.0.1:1"], 101),
        (["Host: [::1]:1"], 101),
        (["Host: LOCALHOST"], 101),
        (["Host: loja1.example:7400"], 101),
    ],
)
async def test_a_foreign_host_name_is_refused(headers: list[str], expected: int) -> None:
    async with serving(WebSocketTransport(names=["Loja1.Example"])) as url:
        assert await raw_status(int(url.rpartition(":")[2]), *headers) == expected


async def test_a_token_must_be_known() -> None:
    async with serving(WebSocketTransport(token="s3cret")) as url:  # noqa: S106 - a test's
        for headers in (None, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
            assert await status(url + PATH, additional_headers=headers) == 401
        with pytest.raises(ChannelClosed, match=r"refused with 401 .*token"):
            await WebSocketTransport(token="wrong").connect(url)  # noqa: S106 - a test's
        channel = await WebSocketTransport(token="s3cret").connect(url)  # noqa: S106 - a test's
        await channel.send(b"known")
        assert await channel.receive() == b"known"
        await channel.close()


async def test_connections_are_capped_and_a_place_that_is_left_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 2)
    async with serving(WebSocketTransport()) as url:
        client = WebSocketTransport()
        first, second = [await client.connect(url) for _ in range(2)]
        with pytest.raises(ChannelClosed, match=r"refused with 503 .*too many"):
            await client.connect(url)
        await first.close()
        third = await client.connect(url)
        await third.send(b"in")
        assert await third.receive() == b"in"
        await second.close()
        await third.close()


async def test_a_text_message_closes_the_connection() -> None:
    async with (
        serving(WebSocketTransport()) as url,
        connect(url + PATH, subprotocols=[SUBPROTOCOL]) as client,
    ):
        await client.send("text")
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.rcvd is not None
        assert raised.value.rcvd.code == 1003


@pytest.mark.parametrize("compress", [False, True])
async def test_a_message_over_the_limit_closes_the_connection(compress: bool) -> None:
    # Zeros: compressed, it is a bomb of a thousandth of the size.
    options: dict[str, Any] = {"compression": "deflate" if compress else None, "subprotocols": [SUBPROTOCOL]}
    async with (
        serving(WebSocketTransport()) as url,
        connect(url + PATH, **options) as client,
    ):
        await client.send(bytes(MESSAGE_BYTES_MAX))
        assert await client.recv() == bytes(MESSAGE_BYTES_MAX)
        await client.send(bytes(MESSAGE_BYTES_MAX + 1))
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.rcvd is not None
        assert raised.value.rcvd.code == 1009


async def test_a_port_in_use_is_named_with_what_to_do() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"{HOST}:{port}: .*choose another port in node.toml") as raised:
            await WebSocketTransport().serve(HOST, port, echo)
    assert (raised.value.host, raised.value.port) == (HOST, port)


async def test_an_address_of_another_machine_is_named_with_what_to_do() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(ListenFailed, match=r"192\.0\.2\.1:7400: cannot listen here .*node\.toml"):
        await WebSocketTransport(server_tls=tls).serve("192.0.2.1", 7400, echo)


@pytest.mark.parametrize(
    "url", ["ws://192.0.2.1:7400", "ws://loja1.example", "http://loja1.example", "loja1"]
)
async def test_an_unencrypted_connection_to_another_machine_is_refused(url: str) -> None:
    with pytest.raises(InsecureTransport, match="use wss://"):
        await WebSocketTransport().connect(url)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104 - that it is refused is the test
async def test_an_unencrypted_port_is_not_opened_to_other_machines(host: str) -> None:
    with pytest.raises(InsecureTransport):
        await WebSocketTransport().serve(host, 0, echo)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "ws://127.0.0.1:1", "ws://[::1", "ws://127.0.0.1:0", "ws://127.0.0.1:99999"]
)
async def test_an_address_where_nobody_answers_is_named(url: str) -> None:
    with pytest.raises(ChannelClosed) as raised:
        await WebSocketTransport().connect(url)
    assert str(raised.value).startswith(url)


async def test_two_machines_speak_over_tls() -> None:
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(CERTIFICATE)
    server = await WebSocketTransport(server_tls=server_tls).serve(HOST, 0, echo)
    url = f"wss://localhost:{server.port}"
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    channel = await WebSocketTransport(client_tls=trusting).connect(url)
    await channel.send(b"sealed")
    assert await channel.receive() == b"sealed"
    await channel.close()
    with pytest.raises(ChannelClosed, match="certificate verify failed"):
        await WebSocketTransport().connect(url)
    await server.close()


async def test_a_peer_that_never_finishes_its_handshake_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HELLO_SECONDS_MAX", 0.05)
    async with serving(WebSocketTransport()) as url:
        reader, writer = await asyncio.open_connection(HOST, int(url.rpartition(":")[2]))
        writer.write(b"GET /sync HTTP/1.1\r\n")
        # An error page may precede it, an end must come.
        assert len(await asyncio.wait_for(reader.read(), 5)) < 1_000
        writer.close()


async def test_a_missing_handshake_answer_is_an_error_of_this_package() -> None:
    async def mute(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"not http\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(mute, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ChannelClosed) as raised:
        await WebSocketTransport().connect(f"ws://{HOST}:{port}")
    assert isinstance(raised.value.__cause__, InvalidHandshake)
    server.close()
    await server.wait_closed()


async def test_a_reader_that_takes_its_time_is_not_taken_for_one_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "PING_SECONDS", 0.1)
    message, count = bytes(256 * 1024), 40
    done = asyncio.Event()

    async def send_all(channel: Channel) -> None:
        for _ in range(count):
            await channel.send(message)

    async def pour(channel: Channel) -> None:
        sending = asyncio.create_task(send_all(channel))
        with suppress(ChannelClosed):
            while True:
                await channel.receive()
        await sending
        done.set()

    server = await WebSocketTransport().serve(HOST, 0, pour)
    channel = await WebSocketTransport().connect(f"ws://{HOST}:{server.port}")
    for _ in range(count):
        assert await channel.receive() == message
        # A node that is busy; much longer altogether than a pong may take.
        await asyncio.sleep(0.03)
        await channel.send(b"taken")
    # Nothing comes for a while: the pings find somebody at either end.
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(channel.receive(), 0.5)
    await channel.close()
    await asyncio.wait_for(done.wait(), 5)
    await server.close()


async def test_a_peer_that_answers_no_ping_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PING_SECONDS", 0.1)
    monkeypatch.setattr(limits, "CLOSE_SECONDS_MAX", 0.1)
    ended = asyncio.Event()

    async def wait(channel: Channel) -> None:
        with pytest.raises(ChannelClosed):
            await channel.receive()
        ended.set()

    server = await WebSocketTransport().serve(HOST, 0, wait)
    key = base64.b64encode(bytes(16)).decode()
    reader, writer = await asyncio.open_connection(HOST, server.port)
    writer.write(
        f"GET {PATH} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
    )
    assert b"101" in await reader.readline()
    await asyncio.wait_for(ended.wait(), 5)
    writer.close()
    await writer.wait_closed()
    await server.close()


async def test_a_long_reason_is_cut_to_what_a_close_frame_holds() -> None:
    async with serving(WebSocketTransport()) as url:
        channel = await WebSocketTransport().connect(url)
        await channel.close("ção" * 100)
        with pytest.raises(ChannelClosed):
            await channel.send(b"late")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("x", False),
    ],
)
def test_loopback_is_this_machine_only(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
