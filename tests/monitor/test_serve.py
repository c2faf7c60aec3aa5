"""The server on a real socket, beside a real node, and the command line around it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from click.testing import CliRunner

from crdtsync import limits
from crdtsync.cli import main
from crdtsync.errors import ConfigError, PortInUse
from crdtsync.monitor.serve import serve
from crdtsync.monitor.tokens import Level, address_of, tokens_of
from crdtsync.node import Node, NodeConfig, load_config
from crdtsync.node.config import write_config
from crdtsync.node.runner import run_node
from crdtsync.schema import Role
from tests.monitor.house import SCHEMA, config_of

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 20.0


def browser_of(address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=address.partition("/enter#")[0], timeout=PATIENCE)


async def test_a_browser_enters_with_the_address_and_is_a_stranger_after_a_restart(tmp_path: Path) -> None:
    async with Node(config_of(tmp_path), schema=SCHEMA) as node, serve(node) as port:
        address = address_of(tmp_path, port)
        async with browser_of(address) as browser:
            token = address.partition("#")[2]
            assert (await browser.post("/api/enter", json={"token": token})).status_code == 200
            assert (await browser.get("/api/me")).json()["role"] == "resolver"
            assert (await browser.get("/api/status")).json()["device"] == "loja1"
            cookies = browser.cookies
    async with Node(config_of(tmp_path), schema=SCHEMA) as node, serve(node, port):
        assert address_of(tmp_path, port) == address
        async with browser_of(address) as browser:
            browser.cookies = cookies
            assert (await browser.get("/api/me")).status_code == 401


async def test_it_listens_to_this_machine_alone(tmp_path: Path) -> None:
    async with Node(config_of(tmp_path), schema=SCHEMA) as node, serve(node) as port:
        with socket.create_connection(("127.0.0.1", port)):
            pass
        # The whole of 127.0.0.0/8 is this machine's on Linux; a listener on all addresses would answer here too.
        with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
            socket.create_connection(("127.0.0.2", port), timeout=2)


async def test_an_answer_does_not_wait_for_the_reader_to_confirm_its_first_half(tmp_path: Path) -> None:
    def ask(port: int) -> float:
        with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
            took = []
            for _ in range(30):
                begun = perf_counter()
                connection.request("GET", "/health/live")
                assert connection.getresponse().read() == b'{"live":true}'
                took.append(perf_counter() - begun)
        return median(took)

    async with Node(config_of(tmp_path), schema=SCHEMA) as node, serve(node) as port:
        # Such a wait takes 40 ms.
        assert await asyncio.to_thread(ask, port) < 0.03


async def test_a_request_that_does_not_come_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MONITOR_ARRIVAL_SECONDS", 0.2)
    whole = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
    async with Node(config_of(tmp_path), schema=SCHEMA) as node, serve(node) as port:
        for said in (b"", b"GET /hea", whole % port + b"GET /hea"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            told = await asyncio.wait_for(reader.read(), PATIENCE)
            assert told.count(b"200 OK") == said.count(b"/live")
            writer.close()
            await writer.wait_closed()


async def test_a_port_in_use_is_named_and_nothing_stays_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with Node(config_of(tmp_path), schema=SCHEMA) as node:
            listeners = list(node.ledger.on_change)
            with pytest.raises(PortInUse, match=f"127.0.0.1:{port}: another program listens here"):
                async with serve(node, port):
                    pass
            assert node.ledger.on_change == listeners
    async with Node(config_of(tmp_path), schema=SCHEMA) as node, serve(node, port):
        pass


async def test_events_come_over_the_socket_and_end_with_the_node(tmp_path: Path) -> None:
    lines: list[str] = []
    first = asyncio.Event()

    async def read(port: int) -> None:
        headers = {"Authorization": f"Bearer {tokens_of(tmp_path).reader}"}
        async with (
            httpx.AsyncClient(timeout=PATIENCE) as client,
            client.stream("GET", f"http://127.0.0.1:{port}/api/events", headers=headers) as answer,
        ):
            assert answer.headers["cache-control"] == "no-store"
            async for line in answer.aiter_lines():
                lines.append(line)
                first.set()

    async with Node(config_of(tmp_path), schema=SCHEMA) as node:
        async with serve(node) as port:
            reading = asyncio.create_task(read(port))
            await asyncio.wait_for(first.wait(), PATIENCE)
            async with node.transaction() as tx:
                tx.create(SCHEMA.entity("products"), id="p1", name="x")
            async with asyncio.timeout(PATIENCE):
                while sum(line == "event: status" for line in lines) < 2:  # noqa: ASYNC110 - it reads by itself
                    await asyncio.sleep(0.01)
            ending = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - ending < 1.5, "the stream held the node up"
        await asyncio.wait_for(reading, PATIENCE)
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert data[-1]["version"] > data[0]["version"]


async def test_a_reader_that_goes_away_is_forgotten(tmp_path: Path) -> None:
    async with Node(config_of(tmp_path), schema=SCHEMA) as node, serve(node) as port:
        token = tokens_of(tmp_path).reader
        request = (
            f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request.encode())
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
            await writer.wait_closed()
        pulses = [one.__self__ for one in node.ledger.on_change if hasattr(one, "__self__")]
        (pulse,) = [one for one in pulses if type(one).__name__ == "Pulse"]
        async with asyncio.timeout(PATIENCE):
            while pulse.streams:  # noqa: ASYNC110 - the server notices by itself
                await asyncio.sleep(0.01)


async def test_services_are_left_before_the_node_closes(tmp_path: Path) -> None:
    seen: list[str] = []

    class Service:
        def __init__(self, node: Node) -> None:
            self.node = node

        async def __aenter__(self) -> None:
            seen.append(f"enter {await self.node.count(self.node.schema.entity('people'))}")

        async def __aexit__(self, *_: object) -> None:
            seen.append(f"leave {await self.node.count(self.node.schema.entity('people'))}")

    def ready(node: Node) -> None:
        seen.append("ready")
        node.ledger.in_use.set()
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)

    await asyncio.wait_for(run_node(config_of(tmp_path), on_ready=ready, services=[Service]), PATIENCE)
    assert seen == ["enter 0", "ready", "leave 0"]


def test_the_port_is_checked_and_written(tmp_path: Path) -> None:
    config = config_of(tmp_path, monitor=7411)
    write_config(config)
    assert load_config(tmp_path).monitor == 7411
    for wrong in (-1, 65_536):
        with pytest.raises(ConfigError, match="monitor = "):
            config_of(tmp_path, monitor=wrong)
    with pytest.raises(ConfigError, match="port where nodes below connect"):
        NodeConfig(tmp_path, "gestao", Role.GESTAO, port=7411, monitor=7411)


def told(*args: object, code: int = 0) -> Any:
    """What a command says that needs no process of its own."""
    done = CliRunner().invoke(main, [*map(str, args), "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout.splitlines()[-1])


def test_the_command_line_runs_it_and_says_where_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "loja1"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        told("init", folder, "--role", "loja", "--store", "loja1", "--monitor", port)
        refused = told("run", folder, code=3)
        assert f"127.0.0.1:{port}: another program listens here" in refused["error"]
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "crdtsync.cli", "run", folder],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline(), process.stdout.readline()]
            assert f"http://127.0.0.1:{port}/" in said[1]
            address = told("monitor", folder)
            assert address == {
                "address": f"http://127.0.0.1:{port}/enter#{tokens_of(folder).resolver}",
                "role": "resolver",
                "running": True,
            }
            reader = told("monitor", folder, "--reader")
            assert reader["address"] == address_of(folder, port, Level.READER)
            token = address["address"].partition("#")[2]
            answer = httpx.get(
                f"http://127.0.0.1:{port}/api/me", headers={"Authorization": f"Bearer {token}"}
            )
            assert answer.json()["device"] == "loja1"
            assert token not in "".join(said)
        finally:
            process.terminate()
        assert process.wait(PATIENCE) == 0
    bare = tmp_path / "gestao"
    told("init", bare, "--role", "gestao")
    assert "monitor is missing" in told("monitor", bare, code=3)["error"]
