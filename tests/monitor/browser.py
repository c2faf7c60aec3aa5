"""A browser and real nodes for the tests of the page: processes that `crdtsync run` starts, Chromium as Debian has it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crdtsync.monitor.tokens import Level, address_of
from crdtsync.node import control, load_config

if TYPE_CHECKING:
    from pathlib import Path

CALL_SECONDS_MAX = 40
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMIUM_ARGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def _command(*args: object) -> list[str]:
    return [sys.executable, "-m", "crdtsync.cli", *map(str, args)]


def _environment() -> dict[str, str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "PYTHONPATH": paths, "LC_ALL": "C.UTF-8"}


def call(*args: object) -> None:
    """Call `crdtsync` on a stopped node."""
    done = subprocess.run(
        _command(*args),
        capture_output=True,
        text=True,
        timeout=CALL_SECONDS_MAX,
        env=_environment(),
        check=False,
    )
    assert done.returncode == 0, f"{args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Station:
    """One node in a process of its own, with its page."""

    folder: Path
    above: Station | None = None
    process: subprocess.Popen[str] | None = field(default=None, init=False)

    def start(self) -> None:
        """Run the node, and return when it answers."""
        with (self.folder / "log.txt").open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*_command("run", self.folder), "--json"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=_environment(),
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), (self.folder / "log.txt").read_text(encoding="utf-8")

    def stop(self) -> None:
        """Let the node end as a person ends it."""
        if self.process is not None:
            self.process.terminate()
            self.process.communicate(timeout=CALL_SECONDS_MAX)
            self.process = None

    def ask(self, verb: str, **args: Any) -> Any:
        """Ask the running node; in a thread, because the browser's driver has a loop in this one."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(control.call(self.folder, verb, **args))).result()

    def set(self, record: str, *assignments: str) -> None:
        """Create or edit one record."""
        if self.process is None:
            call("set", self.folder, record, *assignments)
        else:
            category, _, key = record.partition("/")
            self.ask("set", category=category, key=key, assignments=list(assignments))

    def pendencies(self) -> int:
        """Return how many pendencies are open."""
        total: int = self.ask("pendencies")["total"]
        return total

    def address(self, level: Level = Level.RESOLVER) -> str:
        """Return what a person opens, with the token."""
        return address_of(self.folder, load_config(self.folder).monitor, level)


def prepare(folder: Path, products: dict[str, str], person: str) -> None:
    """Make a head office with products, and a store below it that has not synchronized yet."""
    port = free_port()
    above = f"ws://127.0.0.1:{port}"
    call("init", folder / "gestao", "--role", "gestao", "--monitor", free_port(), "--port", port)
    call(
        "init",
        folder / "loja1",
        "--role",
        "loja",
        "--store",
        "loja1",
        "--monitor",
        free_port(),
        "--upstream",
        above,
    )
    for key, name in products.items():
        call("set", folder / "gestao", f"products/{key}", f"name={name}")
    call("person", folder / "gestao", "maria", "--name", person)


def copied(prepared: Path, folder: Path) -> tuple[Station, Station]:
    """Return a copy of both nodes, with ports of their own."""
    shutil.copytree(prepared, folder, dirs_exist_ok=True)
    office = Station(folder / "gestao")
    stations = office, Station(folder / "loja1", office)
    configs = [load_config(station.folder) for station in stations]
    ports = {config.monitor: free_port() for config in configs} | {configs[0].port: free_port()}
    for config in configs:
        text = config.path.read_text(encoding="utf-8")
        for old, new in ports.items():
            text = re.sub(rf"\b{old}\b", str(new), text)
        config.path.write_text(text, encoding="utf-8")
    return stations
