"""A store with eight lanes at full speed, for an hour: memory and files must stay, and nothing may be raised unseen.

    python -m tests.faults.soak --seconds 3600 --lanes 8

Gestão, Loja and Caixas are processes with files, joined by live links. Each lane moves and edits the same few records
as fast as its node lets it, so what is alive stays the same and only what compaction leaves behind could grow. Each would
be a machine of its own; here all share one, so the lanes leave the processor to the two above when these want it. In the
end the lanes stop, all nodes must hold the same logs and the exact sum of what the lanes moved, and `verify` must find
nothing. Prints memory and file of each kind of node every two minutes; then, for each kind, both at the middle and at
the end, and their slope over the second half; then one line: movements, missing, unhandled exceptions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import psutil

from crdtsync import Role
from crdtsync.node import Node, NodeConfig
from crdtsync.node.verbs import verify
from tests.faults.storm import until_all
from tests.faults.writer import SCHEMA, Stock, move, write
from tests.process import end, started, traces

if TYPE_CHECKING:
    import subprocess

RECORDS = 200
STORE = "loja1"
_SAMPLE_SECONDS = 1.0
_SHOWN = ("gestao", STORE, "caixa1")
_SHOWN_EVERY = 120
_LANE_NICENESS = 10
_EVEN_SECONDS_MAX = 300.0
_STOP_SECONDS_MAX = 300.0


async def _node(folder: Path, role: Role, upstream: str | None) -> None:
    """Run one node; a lane writes until the first SIGUSR1. Say at each what is held, until SIGTERM."""
    loop, stopping, asked = asyncio.get_running_loop(), False, asyncio.Event()

    def stop() -> None:
        nonlocal stopping
        stopping = True
        asked.set()

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGUSR1, asked.set)
    config = NodeConfig(
        folder,
        folder.name,
        role,
        store=None if role is Role.GESTAO else STORE,
        upstream=upstream,
        listen=role is not Role.CAIXA,
        live=role is not Role.GESTAO,
    )
    moved = 0
    async with Node(config, schema=SCHEMA) as node:
        if role is Role.GESTAO:
            for number in range(RECORDS):
                await write(node, number)
        print(json.dumps({"port": node.server.port if node.server is not None else 0}), flush=True)
        if role is Role.CAIXA:
            os.nice(_LANE_NICENESS)
            await until_all([node], lambda one: one.initial_done)
            moved = await _sell(node, asked)
        await asked.wait()
        while not stopping:
            asked.clear()
            heads = sorted((doc, sorted(logs.items())) for doc, logs in node.ledger.heads.items())
            units = sum([item.balance for item in await node.find(Stock)])
            told = {
                "digest": blake2b(repr(heads).encode()).hexdigest(),
                "units": str(units),
                "moved": moved,
            }
            print(json.dumps(told), flush=True)
            await asked.wait()
        report = await verify(node, lambda _done, _all: None)
        print(json.dumps({"findings": [str(finding) for finding in report["findings"]]}), flush=True)


async def _sell(node: Node, quiet: asyncio.Event) -> int:
    """Move one unit and edit one product a time until told to be quiet; return how many times."""
    dice, moved = Random(node.config.device), 0
    while not quiet.is_set():
        await move(node, f"p{dice.randrange(RECORDS)}")
        moved += 1
    return moved


@dataclass
class Sample:
    """Seconds since the beginning, bytes of memory, bytes of the store's files."""

    at: float
    rss: int
    stored: int


@dataclass
class Outcome:
    """Node -> samples; movements of the lanes, units that the nodes lack or have too many, and what is wrong."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    moved: int = 0
    missing: int = 0
    wrong: list[str] = field(default_factory=list)

    def slope(self, name: str, what: str) -> float:
        """Return the growth of ``rss`` or ``stored`` over the second half, in MB an hour."""
        late = self.samples[name][len(self.samples[name]) // 2 :]
        fit = statistics.linear_regression([one.at for one in late], [getattr(one, what) for one in late])
        return fit.slope * 3600 / 1e6


def soak(work: Path, seconds: float, lanes: int) -> Outcome:
    """Let so many lanes sell for so long."""
    outcome = Outcome()
    processes: dict[str, subprocess.Popen[str]] = {}
    try:
        above: str | None = None
        for name in ("gestao", STORE):
            port = _start(work, name, above, processes)
            above = f"ws://127.0.0.1:{port}"
        for lane in range(1, lanes + 1):
            _start(work, f"caixa{lane}", above, processes)
        _watch(work, seconds, processes, outcome)
        _even(processes, outcome)
        for name, process in processes.items():
            process.terminate()
            said, _ = process.communicate(timeout=_STOP_SECONDS_MAX)
            outcome.wrong += [f"{name}: {found}" for found in json.loads(said.splitlines()[-1])["findings"]]
    finally:
        for process in processes.values():
            end(process)
    for name in processes:
        log = (work / f"{name}.log").read_text(encoding="utf-8")
        outcome.wrong += [f"{name}: {line}" for line in traces(log)]
    return outcome


def _start(work: Path, name: str, above: str | None, processes: dict[str, subprocess.Popen[str]]) -> int:
    role = Role.GESTAO if name == "gestao" else Role.LOJA if name == STORE else Role.CAIXA
    folder = work / name
    folder.mkdir()
    arguments = ["-m", "tests.faults.soak", "--node", folder, "--role", role.value]
    process, line = started([*arguments, *(["--above", above] if above else [])], work / f"{name}.log")
    processes[name] = process
    return int(json.loads(line)["port"])


def _watch(work: Path, seconds: float, processes: dict[str, subprocess.Popen[str]], outcome: Outcome) -> None:
    began = time.monotonic()
    while (at := time.monotonic() - began) < seconds:
        for name, process in processes.items():
            assert process.poll() is None, f"{name} ended by itself"
            stored = sum(file.stat().st_size for file in (work / name).glob("store.db*"))
            sample = Sample(at, psutil.Process(process.pid).memory_info().rss, stored)
            outcome.samples.setdefault(name, []).append(sample)
        if len(outcome.samples[STORE]) % _SHOWN_EVERY == 0:
            last = {name: outcome.samples[name][-1] for name in _SHOWN}
            sizes = (
                f"{name} {one.rss / 1e6:.0f} MB, file {one.stored / 1e6:.0f} MB" for name, one in last.items()
            )
            print(f"{at:.0f} s: {'; '.join(sizes)}", flush=True)
        time.sleep(_SAMPLE_SECONDS)


def _even(processes: dict[str, subprocess.Popen[str]], outcome: Outcome) -> None:
    """Ask until all say the same; a lane stops writing when it is asked first."""
    deadline = time.monotonic() + _EVEN_SECONDS_MAX
    while True:
        said: dict[str, Any] = {}
        for process in processes.values():
            process.send_signal(signal.SIGUSR1)
        for name, process in processes.items():
            assert process.stdout is not None
            said[name] = json.loads(process.stdout.readline())
        if len({one["digest"] for one in said.values()}) == 1:
            break
        if time.monotonic() > deadline:
            outcome.wrong.append(f"the nodes still differ: {said}")
            break
    outcome.moved = sum(one["moved"] for one in said.values())
    # The records begin with their numbers as balances.
    expected = outcome.moved + sum(range(RECORDS))
    outcome.missing = max(abs(expected - round(float(one["units"]))) for one in said.values())


def main() -> int:
    """Print what the hour cost; 1 when anything is missing or wrong."""
    parser = argparse.ArgumentParser(description="a store with eight lanes at full speed")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--node", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--above", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.node:
        asyncio.run(_node(args.node, Role(args.role), args.above))
        return 0
    with tempfile.TemporaryDirectory() as work:
        outcome = soak(Path(work), args.seconds, args.lanes)
    for name in _SHOWN:
        middle, last = outcome.samples[name][len(outcome.samples[name]) // 2], outcome.samples[name][-1]
        print(
            f"{name}: memory {middle.rss / 1e6:.0f} MB at the middle, {last.rss / 1e6:.0f} MB at the end "
            f"({outcome.slope(name, 'rss'):+.1f} MB/h), file {middle.stored / 1e6:.1f} MB and "
            f"{last.stored / 1e6:.1f} MB ({outcome.slope(name, 'stored'):+.1f} MB/h)"
        )
    print(f"movements {outcome.moved}, missing {outcome.missing}, wrong {len(outcome.wrong)}")
    for line in outcome.wrong[:20]:
        print(f"  {line}")
    return 1 if outcome.missing or outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
