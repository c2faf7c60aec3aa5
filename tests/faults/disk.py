"""A disk that fills up, turns read-only or fails, a store that another program locks, no file descriptor left.

    python -m tests.faults.disk --rounds 10 --seed 1

A Loja in a process of its own writes ten times a second below a Gestão in this one, which writes too. Each fault begins
and ends while it runs; it is never started again. While a fault of the disk lasts, transactions must be refused with a
reason, and an alert and `can_sell` must say so; with no descriptor left sales must go on. When it is over both must be as
before by themselves, and in the end both nodes hold all that was acknowledged. The disk is one in front of the real one
(`refuser.c`, Linux and a C compiler); locks and limits are the real ones. Prints a line for each fault: transactions
refused, seconds until the node was well again; then one line: acknowledged, lost, wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import mmap
import resource
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import psutil

from crdtsync import Role
from crdtsync.errors import StoreUnavailable
from crdtsync.monitor.screens import sells
from crdtsync.node import Node, NodeConfig
from crdtsync.node.alerts import AlertCode
from crdtsync.node.tracking import alerts_of
from crdtsync.node.verbs import verify
from crdtsync.storage import MemoryStorage
from crdtsync.storage.tables import table_specs
from tests.faults.storm import until_all
from tests.faults.writer import SCHEMA, Product, write
from tests.process import end, environment, started, traces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STORE = "loja1"
LOWER = 1_000_000
"""The Loja's transactions are numbered from here on, the Gestão's from 0."""
REFUSED = 3
"""Transactions that are refused before a fault ends."""
ACCEPTED = 5
"""Transactions that are acknowledged between two faults."""
ROOM_BYTES_MAX = 100_000
_CONTROL = struct.Struct("=qq")
_WRITE_EVERY = 0.05
_SECONDS_MAX = 90.0


def config_of(folder: Path, port: int) -> NodeConfig:
    """Return the configuration of the Loja."""
    return NodeConfig(folder, STORE, Role.LOJA, store=STORE, upstream=f"ws://127.0.0.1:{port}", listen=True)


async def victim(folder: Path, port: int) -> None:
    """Write, and say after each transaction, as a line of JSON, what came of it and what a person would be told."""
    async with Node(config_of(folder, port), schema=SCHEMA) as node:
        assert node.server is not None
        print(json.dumps({"port": node.server.port}), flush=True)
        number = LOWER
        while True:
            refused = None
            try:
                await write(node, number)
            except StoreUnavailable as error:
                refused = str(error)
            said = sells(node)
            codes = [alert.code.value for alert in alerts_of(node)]
            row = {"number": number, "refused": refused, "alerts": codes, "connected": node.connected, **said}
            print(json.dumps(row), flush=True)
            number += 1
            await asyncio.sleep(_WRITE_EVERY)


class Disk:
    """The disk in front of the real one, and the library that makes it."""

    def __init__(self, work: Path, folder: Path) -> None:
        library, control = work / "refuser.so", work / "control"
        source = Path(__file__).parent / "refuser.c"
        subprocess.run(  # the compiler of this machine
            [shutil.which("cc") or "cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True
        )
        control.write_bytes(bytes(_CONTROL.size))
        with control.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _CONTROL.size)
        self.environ = environment(
            LD_PRELOAD=str(library), REFUSE_CONTROL=str(control), REFUSE_ROOT=str(folder)
        )

    @contextmanager
    def refusing(self, reason: int, room: int = 0) -> Iterator[None]:
        """Refuse what goes beyond so many bytes, with this errno."""
        self._shared[:] = _CONTROL.pack(room, reason)
        try:
            yield
        finally:
            self._shared[:] = bytes(_CONTROL.size)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold SQLite's write lock on a store, as a tool does that looks into it."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def limited(pid: int, which: int, most: int) -> Iterator[None]:
    """Lower a limit of a running process."""
    before = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, which, before)


@dataclass
class Outcome:
    """Fault -> seconds until the node was well again after each, and transactions refused meanwhile; what is wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    acknowledged: list[int] = field(default_factory=list)
    lost: int = 0
    wrong: list[str] = field(default_factory=list)


class Watcher:
    """Reads what the Loja says."""

    def __init__(self, process: subprocess.Popen[str], outcome: Outcome) -> None:
        self._process = process
        self._outcome = outcome

    def until(self, condition: Callable[[dict[str, Any]], bool], what: str) -> int:
        """Read on until a line is so; return how many transactions were refused on the way."""
        assert self._process.stdout is not None
        deadline, refused = time.monotonic() + _SECONDS_MAX, 0
        while True:
            line = self._process.stdout.readline()
            assert line, f"the node ended while it was to be {what}"
            row = json.loads(line)
            if row["refused"] is None:
                self._outcome.acknowledged.append(row["number"])
            else:
                refused += 1
                if row["can_sell"] or row["why"] != "store_refused" or "store_refused" not in row["alerts"]:
                    self._outcome.wrong.append(f"a refused sale that nobody is told of: {row}")
            if condition(row):
                return refused
            assert time.monotonic() < deadline, f"not {what}: {row}"


def _well(row: dict[str, Any]) -> bool:
    told = {AlertCode.STORE_REFUSED, AlertCode.DESCRIPTORS} & set(row["alerts"])
    return bool(row["refused"] is None and row["can_sell"] and row["connected"] and not told)


def _faults(disk: Disk, process: subprocess.Popen[str], store: Path, dice: Random) -> dict[str, Any]:
    return {
        "full": lambda: disk.refusing(errno.ENOSPC, dice.randrange(ROOM_BYTES_MAX)),
        "read-only": lambda: disk.refusing(errno.EROFS),
        "failing": lambda: disk.refusing(errno.EIO, dice.randrange(ROOM_BYTES_MAX)),
        # Below what the write-ahead log reaches between two checkpoints, or nothing would grow and nothing be refused.
        "over quota": lambda: limited(process.pid, resource.RLIMIT_FSIZE, dice.randint(4096, ROOM_BYTES_MAX)),
        "locked": lambda: locked(store),
    }


async def disk_faults(work: Path, rounds: int, seed: int) -> Outcome:
    """Let every fault come and go so many times."""
    dice, outcome = Random(seed), Outcome()
    folder = work / "loja"
    folder.mkdir()
    disk = Disk(work, folder)
    above = NodeConfig(work, "gestao", Role.GESTAO, listen=True)
    async with Node(above, schema=SCHEMA, storage=MemoryStorage(table_specs(SCHEMA))) as gestao:
        assert gestao.server is not None
        arguments = ["-m", "tests.faults.disk", "--victim", folder, "--port", gestao.server.port]
        process, line = await asyncio.to_thread(started, arguments, folder / "victim.log", disk.environ)
        writes = asyncio.create_task(_write_above(gestao))
        try:
            port = json.loads(line)["port"]
            await asyncio.to_thread(_come_and_go, disk, process, port, folder, dice, rounds, outcome)
        finally:
            writes.cancel()
            await asyncio.wait([writes])
            await asyncio.to_thread(end, process)
        await _judge(folder, gestao, outcome)
    # asyncio's own loop says so of each call that it cannot accept, and tries again after a second.
    known = "OSError: [Errno 24] Too many open files"
    found = traces((folder / "victim.log").read_text(encoding="utf-8"))
    outcome.wrong += [line for line in found if line != known]
    return outcome


async def _write_above(gestao: Node) -> None:
    number = 0
    while True:
        await write(gestao, number)
        number += 1
        await asyncio.sleep(_WRITE_EVERY)


def _come_and_go(
    disk: Disk,
    process: subprocess.Popen[str],
    port: int,
    folder: Path,
    dice: Random,
    rounds: int,
    outcome: Outcome,
) -> None:
    watcher = Watcher(process, outcome)
    watcher.until(_well, "well at the beginning")
    faults = _faults(disk, process, config_of(folder, 0).store_path, dice)
    for _ in range(rounds):
        for name, fault in faults.items():
            with fault():
                refused = sum(
                    watcher.until(lambda row: row["refused"] is not None, f"refused: {name}")
                    for _ in range(REFUSED)
                )
            _recover(name, watcher, outcome, refused)
        with ExitStack() as stack:
            stack.enter_context(limited(process.pid, resource.RLIMIT_NOFILE, _descriptors(process)))
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            refused = watcher.until(
                lambda row: "descriptors" in row["alerts"] and row["can_sell"], "out of descriptors"
            )
        _recover("descriptors", watcher, outcome, refused)


def _recover(name: str, watcher: Watcher, outcome: Outcome, refused: int) -> None:
    began = time.monotonic()
    refused += watcher.until(_well, f"well after: {name}")
    outcome.seconds.setdefault(name, []).append(time.monotonic() - began)
    outcome.refused[name] = outcome.refused.get(name, 0) + refused
    for _ in range(ACCEPTED):
        watcher.until(_well, f"well for a while after: {name}")


def _descriptors(process: subprocess.Popen[str]) -> int:
    """Return the limit with which nothing more can be opened."""
    return int(psutil.Process(process.pid).num_fds())


async def _judge(folder: Path, gestao: Node, outcome: Outcome) -> None:
    """Start the Loja again, let both be even, and look for what was acknowledged."""
    assert gestao.server is not None
    async with Node(config_of(folder, gestao.server.port), schema=SCHEMA) as loja:
        here = {product.id for product in await loja.find(Product)}
        outcome.lost = sum(f"p{number}" not in here for number in outcome.acknowledged)
        report = await verify(loja, lambda _done, _all: None)
        outcome.wrong += [str(finding) for finding in report["findings"]]
        await until_all([loja], lambda node: node.uplink.heard and node.ledger.heads == gestao.ledger.heads)


def main() -> int:
    """Print what came of the faults; 1 when anything was lost or wrong."""
    parser = argparse.ArgumentParser(description="a disk that refuses, a locked store, no descriptor left")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--victim", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.victim:
        asyncio.run(victim(args.victim, args.port))
        return 0
    with tempfile.TemporaryDirectory() as work:
        outcome = asyncio.run(disk_faults(Path(work), args.rounds, args.seed))
    for name, seconds in outcome.seconds.items():
        print(f"{name}: refused {outcome.refused[name]}, well again after {max(seconds):.1f} s at most")
    print(
        f"acknowledged {len(outcome.acknowledged)}, lost {outcome.lost}, wrong {len(outcome.wrong)}; "
        "started again never"
    )
    for line in outcome.wrong[:20]:
        print(f"  {line}")
    return 1 if outcome.lost or outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
