"""The cells: who is started, what is timed, and what must be there at the end. It is the same for every system.

- `merge`: what five lanes sold offline lies there as each lane's system exports it. Timed: one process merges all five and reads
  every sale and every stock back.
- `offline_day`: five lanes, one process each, have sold offline and hold it in memory. Timed: from the word to connect until the hub and all
  lanes hold the identical state and the hub has it on disk. Then the hub is killed, and another process reads what its files hold.
- `offline_day_retail`: the same, but a lane gets no other lane's sales: the sales of each lane lie in a document of their own, the stock in one
  that all share, and the hub holds all of them.
- `catalogue`: a hub serves a catalogue. Timed: from the word to connect until a fresh node has every product on its disk and has read
  it by its key. Then another process reads what that node's files hold.
- `live`: five connected lanes sell at full speed. A lane makes the next sale when its system has acknowledged the one before; when it offers no
  acknowledgement, when it has handed the sale to the connection. Timed: from the word to begin until the hub and all lanes hold all of it and
  the hub has it on disk. p50 and p99 are from just before a sale is written at its lane until another lane reads it.
- `live_paced`: the same at 20 sales a second together. The seconds are then those of the pace; p50 and p99 are what is measured.
- `growth`: one process writes that many updates of the stock of 10,000 products, one transaction each, and stores the document. Timed: the
  updates. Then another process starts from the files and reads every stock.

Making the workload, starting processes and checking are not timed. Memory is resident memory of the process (the hub, the fresh node, the
restarted process), the program included; bytes on the wire are both directions of the TCP connections of the lanes, with all framing.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from adapters.demo.fleet import free_port
from benchmarks import workload
from benchmarks.catalogue import prices
from benchmarks.measure import percentile, status_bytes
from benchmarks.peers.child import Told
from benchmarks.workload import LANES, PACED_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

_NS = 1e9
_PIECE_BYTES = 65_536


class Failed(Exception):  # noqa: N818 - a result, told to whoever asked for the cell
    """A process of the system ended, or did not end the cell in time."""


@dataclass(frozen=True)
class Peer:
    """A system as the cells see it.

    Attributes:
        name: as its makers write it.
        version: of its main package.
        command: the command line of one of its processes.
        prepare: writes the workload to a folder for processes that cannot make it themselves.
    """

    name: str
    version: Callable[[], str]
    command: Callable[[Told], list[str]]
    prepare: Callable[[str, int, Path], None] = field(default=lambda _cell, _size, _folder: None)


class Process:
    """One started process, and what it says."""

    def __init__(self, peer: Peer, told: Told, deadline: float) -> None:
        self._role = told.role
        self._deadline = deadline
        self._rest = b""
        # The kernel ends it when this process is killed.
        command = ["setpriv", "--pdeathsig", "KILL", *peer.command(told)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def hears(self, word: str) -> None:
        """Tell it a word."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()

    def said(self) -> dict[str, Any]:
        """Wait for the next thing that it says."""
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            with selectors.DefaultSelector() as waiting:
                waiting.register(self._process.stdout, selectors.EVENT_READ)
                if not waiting.select(max(0.0, self._deadline - time.monotonic())):
                    raise Failed(f"{self._role} had not finished when the time was over")
            piece = os.read(self._process.stdout.fileno(), _PIECE_BYTES)
            if not piece:
                raise Failed(f"{self._role} ended with exit code {self._process.wait()}")
            self._rest += piece
        line, self._rest = self._rest.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def memory(self) -> dict[str, int]:
        """Return its resident memory now and at its highest, bytes."""
        names = {"memory_bytes": "VmRSS", "memory_peak_bytes": "VmHWM"}
        return {name: status_bytes(label, self._process.pid) for name, label in names.items()}

    def kill(self) -> None:
        """Kill it, as a power cut would end it for its files' sake."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cell showed: seconds, what was read back, and the rest; `lanes` are the digests of what lanes hold."""

    seconds: float
    sales: int
    digests: tuple[str, ...]
    details: dict[str, float]
    lanes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of one cell."""

    peer: Peer
    size: int
    folder: Path
    expected: workload.FinalState
    deadline: float
    scope: str = "everywhere"
    every: float = 0.0

    @property
    def lane_expected(self) -> workload.FinalState:
        """What a lane holds at the end."""
        return replace(self.expected, sales=self.size) if self.scope == "retail" else self.expected

    def start(self, role: str, folder: str = "hub", port: int = 0, lane: int = 0) -> Process:
        """Start a process of the system."""
        place = self.folder / folder
        place.mkdir(exist_ok=True)
        state = self.lane_expected if lane else self.expected
        told = Told(role, self.size, place, port, lane, state.digest(), state.sales, self.scope, self.every)
        return Process(self.peer, told, self.deadline)

    def reread(self, role: str, folder: str = "hub") -> dict[str, Any]:
        """Return what a fresh process reads from the files, with its memory."""
        with self.start(role, folder) as reader:
            return {**reader.said(), **reader.memory()}

    def disk_bytes(self, folder: str = "hub") -> int:
        """Return the size of all files of a folder."""
        return sum(file.stat().st_size for file in (self.folder / folder).rglob("*") if file.is_file())


def merge(cell: Cell) -> Outcome:
    """Merge five lanes' work in one process."""
    with cell.start("merge") as process:
        found = process.said()
        details = {"per_second": 2 * found["sales"] / found["seconds"], **process.memory()}
        details["update_bytes"] = found["update_bytes"]
    return Outcome(found["seconds"], found["sales"], (found["digest"],), details)


def _together(cell: Cell, role: str) -> tuple[float, list[dict[str, Any]], dict[str, Any], dict[str, float]]:
    """Run a hub and five lanes to their common end.

    Returns the seconds, what the lanes said, what the hub's files held after it was killed, and the details.
    """
    port = free_port()
    lanes: list[Process] = []
    with cell.start("hub", port=port) as hub:
        hub.said()
        try:
            lanes += [cell.start(role, f"lane{lane}", port, lane) for lane in range(1, LANES + 1)]
            for lane in lanes:
                lane.said()
            begun = time.monotonic_ns()
            for lane in lanes:
                lane.hears("go")
            durable = hub.said()
            ends = [lane.said() for lane in lanes]
            details: dict[str, float] = dict(hub.memory())
        finally:
            for lane in lanes:
                lane.kill()
    seconds = (max(durable["done_ns"], *(end["done_ns"] for end in ends)) - begun) / _NS
    details["hub_durable_seconds"] = (durable["done_ns"] - begun) / _NS
    details["lanes_seconds"] = (max(end["done_ns"] for end in ends) - begun) / _NS
    details["wire_bytes"] = sum(end["wire_bytes"] for end in ends)
    details["disk_bytes"] = cell.disk_bytes()
    kept = cell.reread("state")
    details["restart_ms"] = kept["restart_ms"]
    return seconds, ends, kept, details


def offline_day(cell: Cell) -> Outcome:
    """Connect five lanes that have sold offline."""
    seconds, ends, kept, details = _together(cell, "lane")
    lanes = tuple(end["digest"] for end in ends)
    return Outcome(seconds, kept["sales"], (kept["digest"],), details, lanes)


def live(cell: Cell) -> Outcome:
    """Let five connected lanes sell."""
    seconds, ends, kept, details = _together(cell, "live")
    details["per_second"] = kept["sales"] / seconds
    logs = [json.loads(Path(end["log"]).read_text(encoding="utf-8")) for end in ends]
    made: dict[str, int] = {key: at for log in logs for key, at in log["made"].items()}
    waits = [(at - made[key]) / _NS for log in logs for key, at in log["seen"].items()]
    details["p50_ms"] = percentile(waits, 0.5)
    details["p99_ms"] = percentile(waits, 0.99)
    lanes = tuple(end["digest"] for end in ends)
    return Outcome(seconds, kept["sales"], (kept["digest"],), details, lanes)


def catalogue(cell: Cell) -> Outcome:
    """Let a fresh node download the catalogue."""
    port = free_port()
    with cell.start("fill") as filler:
        filler.said()
    with cell.start("hub", port=port) as hub:
        hub.said()
        with cell.start("fresh", "fresh", port) as fresh:
            fresh.said()
            begun = time.monotonic_ns()
            fresh.hears("go")
            end = fresh.said()
            details: dict[str, float] = dict(fresh.memory())
        details["hub_memory_bytes"] = hub.memory()["memory_bytes"]
    details["wire_bytes"] = end["wire_bytes"]
    details["disk_bytes"] = cell.disk_bytes("fresh")
    kept = cell.reread("products", "fresh")
    details["restart_ms"] = kept["restart_ms"]
    return Outcome((end["done_ns"] - begun) / _NS, kept["sales"], (end["digest"], kept["digest"]), details)


def growth(cell: Cell) -> Outcome:
    """Write many updates into one document, and start from it."""
    with cell.start("growth") as process:
        found = process.said()
        details: dict[str, float] = {f"writer_{name}": size for name, size in process.memory().items()}
    kept = cell.reread("state")
    details["us_per_update"] = found["seconds"] / cell.size * 1e6
    details["us_per_update_first_tenth"] = found["first_tenth_seconds"] / (cell.size // 10) * 1e6
    details["us_per_update_last_tenth"] = found["last_tenth_seconds"] / (cell.size // 10) * 1e6
    details["document_bytes"] = found["document_bytes"]
    details["disk_bytes"] = cell.disk_bytes()
    for name in ("restart_ms", "memory_bytes", "memory_peak_bytes"):
        details[name] = kept[name]
    return Outcome(found["seconds"], kept["sales"], (kept["digest"],), details)


CELLS: Mapping[str, Callable[[Cell], Outcome]] = {
    "merge": merge,
    "offline_day": offline_day,
    "offline_day_retail": offline_day,
    "catalogue": catalogue,
    "live": live,
    "live_paced": live,
    "growth": growth,
}


def result(peer: Peer, name: str, size: int, folder: Path, limit_seconds: float) -> dict[str, Any]:
    """Run a cell and return its result; a system that fails or loses something has one too."""
    expected = workload.expected(name, size, prices(size) if name == "catalogue" else None)
    folder.mkdir(parents=True, exist_ok=True)
    peer.prepare(name, size, folder)
    cell = Cell(
        peer,
        size,
        folder,
        expected,
        deadline=time.monotonic() + limit_seconds,
        scope="retail" if name == "offline_day_retail" else "everywhere",
        every=LANES / PACED_PER_SECOND if name == "live_paced" else 0.0,
    )
    plain: dict[str, Any] = {"system": peer.name, "version": peer.version(), "cell": name, "size": size}
    try:
        found = CELLS[name](cell)
    except Failed as failure:
        return {
            **plain,
            "seconds": limit_seconds,
            "details": {},
            "sales": 0,
            "digest": "",
            "correct": False,
            "failure": str(failure),
        }
    wrong = [digest for digest in found.digests if digest != expected.digest()]
    wrong += [digest for digest in found.lanes if digest != cell.lane_expected.digest()]
    return {
        **plain,
        "seconds": found.seconds,
        "details": found.details,
        "sales": found.sales,
        "digest": (wrong or found.digests)[0],
        "correct": not wrong,
    }
