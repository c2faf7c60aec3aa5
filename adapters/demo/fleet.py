"""The demo's nodes as operating-system processes, and the relays between them."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from adapters.demo.relay import Relay
from crdtsync.errors import CrdtsyncError, NodeGone
from crdtsync.monitor.tokens import address_of
from crdtsync.node.caller import call
from crdtsync.node.config import NodeConfig, load_config, write_config
from crdtsync.schema import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_POLL_SECONDS = 0.1
_START_SECONDS_MAX = 30.0
_STOP_SECONDS_MAX = 30.0
STORE = "loja1"


class DemoFailed(CrdtsyncError):  # noqa: N818 - says what happened, as the project's errors do
    """A node of the demo did not do what was asked, or not in time."""


def free_port() -> int:
    """Return a port of this machine on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Fleet:
    """One Gestão, one Loja and the Caixas, each a process with its own folder, and its page if ``pages`` says so."""

    def __init__(self, folder: Path, lanes: int, *, pages: bool = False) -> None:
        self.folder = folder
        self.pages = pages
        self.lanes = [f"caixa{number}" for number in range(1, lanes + 1)]
        self.names = ["gestao", STORE, *self.lanes]
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.relays: dict[str, Relay] = {}
        # What Python runs as a node, before the folder; a test puts a host with more verbs here.
        self.host = ["-m", "adapters.demo.host"]

    async def prepare(self) -> None:
        """Write the nodes' configurations and start the relays."""
        ports = {"gestao": free_port(), STORE: free_port()}
        for name, port in ports.items():
            self.relays[name] = Relay(port)
            await self.relays[name].start()
        above = {STORE: "gestao"} | dict.fromkeys(self.lanes, STORE)
        for name in self.names:
            role = Role.GESTAO if name == "gestao" else Role.LOJA if name == STORE else Role.CAIXA
            upstream = f"ws://127.0.0.1:{self.relays[above[name]].port}" if name in above else None
            store = None if role is Role.GESTAO else STORE
            write_config(
                NodeConfig(
                    self.folder / name,
                    name,
                    role,
                    store=store,
                    upstream=upstream,
                    port=ports.get(name, 0),
                    monitor=free_port() if self.pages else 0,
                )
            )

    def page(self, name: str) -> str:
        """Return what a browser opens to see a node's page, its token included."""
        folder = self.folder / name
        return address_of(folder, load_config(folder).monitor)

    async def start(self, name: str) -> None:
        """Start a node and wait until it answers."""
        log = (self.folder / name / "log.txt").open("ab")
        with log:
            self.processes[name] = await asyncio.create_subprocess_exec(
                sys.executable, *self.host, str(self.folder / name), stdout=log, stderr=log
            )
        await self.wait_for(name, lambda _progress: True, _START_SECONDS_MAX)

    async def ask(self, name: str, verb: str, /, **args: Any) -> Any:
        """Ask a running node. Raises DemoFailed when its process is gone."""
        try:
            answer = await call(self.folder / name, verb, **args)
        except NodeGone as error:
            raise DemoFailed(str(error)) from error
        if answer is None:
            raise DemoFailed(f"{name} does not run; see {self.folder / name / 'log.txt'}")
        return answer

    async def wait_for(
        self,
        name: str,
        condition: Callable[[dict[str, Any]], bool],
        seconds: float,
        watch: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Poll a node's progress until a condition holds.

        Raises:
            DemoFailed: it did not within the time, or the process ended.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        last: Any = None
        while loop.time() < deadline:
            process = self.processes.get(name)
            if process is not None and process.returncode is not None:
                raise DemoFailed(
                    f"{name} ended with code {process.returncode}; see {self.folder / name / 'log.txt'}"
                )
            try:
                last = await call(self.folder / name, "progress")
            except CrdtsyncError as error:
                last = {"trouble": str(error)}
            else:
                if last is not None:
                    if watch is not None:
                        watch(last)
                    if condition(last):
                        return dict(last)
            await asyncio.sleep(_POLL_SECONDS)
        shown = json.dumps({key: last[key] for key in last if key != "digests"} if last else None)
        raise DemoFailed(f"{name} was not ready after {seconds:.0f} s; it last said {shown}")

    async def sync_until_even(self, seconds: float) -> int:
        """Ask for synchronizations until all nodes hold equal logs of what they share; return how many rounds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        rounds = 0
        said: dict[str, dict[str, str]] = {}
        while loop.time() < deadline:
            rounds += 1
            for name in self.names[1:]:
                await self.ask(name, "check")
            await asyncio.sleep(_POLL_SECONDS * 3)
            said = {name: (await self.ask(name, "progress"))["digests"] for name in self.names}
            if not uneven(said):
                return rounds
        raise DemoFailed(f"the nodes still differ after {seconds:.0f} s: {', '.join(uneven(said)[:5])}")

    async def cut(self) -> None:
        """Cut the network."""
        for relay in self.relays.values():
            await relay.cut()

    async def restore(self) -> None:
        """Restore the network."""
        for relay in self.relays.values():
            await relay.start()

    def kill(self, name: str) -> None:
        """Kill a node's process at once, as a power cut would."""
        self.processes[name].kill()

    async def stop(self) -> None:
        """Stop every node cleanly, then the network."""
        running = [process for process in self.processes.values() if process.returncode is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                await asyncio.wait_for(process.wait(), _STOP_SECONDS_MAX)
            except TimeoutError:
                process.kill()
                await process.wait()
        await self.cut()


def uneven(digests: dict[str, dict[str, str]]) -> list[str]:
    """Return the documents that two nodes hold with different digests, or that one of those that must hold it lacks."""
    found: dict[str, set[str]] = {}
    for held in digests.values():
        for doc, digest in held.items():
            found.setdefault(doc, set()).add(digest)
    differ = {doc for doc, values in found.items() if len(values) > 1}
    top = [set(digests[name]) for name in ("gestao", STORE)]
    differ |= top[0] ^ top[1]
    shared = {doc for doc in top[1] if doc.count("/") < 2}
    for name, held in digests.items():
        if name.startswith("caixa"):
            differ |= {doc for doc in shared - set(held) if doc.partition("/")[0] not in _NOT_AT_CAIXA}
    return sorted(differ)


_NOT_AT_CAIXA = {"correction_letters", "email_history"}
