"""The control socket inside one process: who is answered, what is finished, what a caller learns."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync.errors import ControlError, FieldError, NodeGone
from crdtsync.node import Node, NodeConfig
from crdtsync.node.caller import CONTROL_NAME, call
from crdtsync.node.control import ControlServer
from crdtsync.said import retell, said_of, say
from crdtsync.schema import Role, Schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with Node(NodeConfig(tmp_path, "gestao", Role.GESTAO), schema=Schema([])) as node:
        yield node


async def test_a_host_programs_verb_is_answered(node: Node, tmp_path: Path) -> None:
    async def double(args: dict[str, Any]) -> int:
        return int(args["n"]) * 2

    server = ControlServer(node, {"double": double})
    await server.start()
    assert await call(tmp_path, "double", n=21) == 42
    await server.close()
    assert await call(tmp_path, "double", n=21) is None


async def test_a_verb_that_fails_is_told_and_the_node_goes_on(
    node: Node, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_args: dict[str, Any]) -> None:
        raise ZeroDivisionError("by nothing")

    server = ControlServer(node, {"broken": broken})
    await server.start()
    with pytest.raises(ControlError, match=r"broken failed .ZeroDivisionError: by nothing") as caught:
        await call(tmp_path, "broken")
    assert not caught.value.usage
    assert "ZeroDivisionError" in caplog.text
    with pytest.raises(ControlError, match="unknown verb 'brokn'; there are alerts, approve, broken, check"):
        await call(tmp_path, "brokn")
    assert (await call(tmp_path, "status"))["device"] == "gestao"
    await server.close()


async def test_an_error_comes_with_what_its_text_was_made_of(node: Node, tmp_path: Path) -> None:
    async def broken(_args: dict[str, Any]) -> None:
        raise FieldError("products", "price", say("{value} is too large", value="7"))

    server = ControlServer(node, {"broken": broken})
    await server.start()
    with pytest.raises(ControlError) as caught:
        await call(tmp_path, "broken")
    await server.close()
    assert str(caught.value) == f"{tmp_path}: products.price: 7 is too large"
    told = retell(said_of(caught.value), lambda text: text.replace("is too large", "é grande demais"))
    assert told == f"{tmp_path}: products.price: 7 é grande demais"


@pytest.mark.parametrize(
    "more", [{}, {"said": None}, {"said": {"say": "all is well", "with": {}}}, {"said": 7}]
)
async def test_the_error_of_a_node_that_does_not_say_what_it_is_made_of_is_told_as_it_is(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps({"crdtsync": "control", "version": 1}).encode() + b"\n")
        await reader.readline()
        writer.write(json.dumps({"error": "the disk is full", "usage": False, **more}).encode() + b"\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(old, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (tmp_path / CONTROL_NAME).write_text(json.dumps({"port": port, "token": "x"}), encoding="utf-8")
    with pytest.raises(ControlError) as caught:
        await call(tmp_path, "set")
    server.close()
    await server.wait_closed()
    told = retell(said_of(caught.value), lambda text: text.replace("full", "cheio").replace("well", "bem"))
    assert told == f"{tmp_path}: the disk is full"


async def test_closing_finishes_what_was_begun_and_sends_idle_callers_away(
    node: Node, tmp_path: Path
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_args: dict[str, Any]) -> str:
        begun.set()
        await go_on.wait()
        return "done"

    server = ControlServer(node, {"slow": slow})
    await server.start()
    port = json.loads((tmp_path / CONTROL_NAME).read_text(encoding="utf-8"))["port"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert b"crdtsync" in await reader.readline()
    asked = asyncio.create_task(call(tmp_path, "slow"))
    await begun.wait()
    closing = asyncio.create_task(server.close())
    assert await reader.read() == b""
    writer.close()
    # Round trips to the store's thread: time enough for a close that does not wait.
    for _ in range(20):
        await node.pendencies()
    assert not closing.done()
    go_on.set()
    assert await asked == "done"
    await closing


async def test_who_says_stop_is_answered_first(node: Node, tmp_path: Path) -> None:
    server = ControlServer(node)
    await server.start()
    assert not server.stopped.is_set()
    assert await call(tmp_path, "stop")
    await asyncio.wait_for(server.stopped.wait(), 10)
    await server.close()


@pytest.mark.parametrize("token", ["", "0" * 64, "é", None, 7])
async def test_without_the_token_nothing_is_run(node: Node, tmp_path: Path, token: object) -> None:
    server = ControlServer(node)
    await server.start()
    port = json.loads((tmp_path / CONTROL_NAME).read_text(encoding="utf-8"))["port"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(json.dumps({"token": token, "verb": "stop", "args": {}}).encode() + b"\n")
    assert "error" in json.loads(await reader.readline())
    writer.close()
    await server.close()
    assert not server.stopped.is_set()


@pytest.mark.parametrize("line", [b"\n", b"nonsense\n", b"[]\n", b"{}\n", b"\xff\xfe\n", b""])
async def test_what_is_no_request_harms_nothing(node: Node, tmp_path: Path, line: bytes) -> None:
    server = ControlServer(node)
    await server.start()
    port = json.loads((tmp_path / CONTROL_NAME).read_text(encoding="utf-8"))["port"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(line)
    writer.write_eof()
    assert "error" in json.loads(await reader.readline())
    writer.close()
    assert (await call(tmp_path, "status"))["device"] == "gestao"
    await server.close()


async def test_a_node_that_dies_before_it_answers_is_an_error_and_not_absent(tmp_path: Path) -> None:
    """None would make the caller do it a second time."""
    greeting = json.dumps({"crdtsync": "control", "version": 1}).encode() + b"\n"

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.readline()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(die, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (tmp_path / CONTROL_NAME).write_text(json.dumps({"port": port, "token": "x"}), encoding="utf-8")
    with pytest.raises(NodeGone, match="went away before it answered set"):
        await call(tmp_path, "set")
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"port": "x", "token": "y"}'])
async def test_a_control_file_that_says_nothing_counts_as_no_node(tmp_path: Path, text: str) -> None:
    (tmp_path / CONTROL_NAME).write_text(text, encoding="utf-8")
    assert await call(tmp_path, "status") is None
