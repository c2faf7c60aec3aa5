"""What runs when a system is named on the command line: a cell, or one of the processes that a cell starts."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cells import SECONDS_MAX, System
from benchmarks.peers.child import Told, say, told
from benchmarks.peers.stage import CELLS, Peer, result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def run_cell(peer: Peer, arguments: list[str]) -> dict[str, Any]:
    """Run the cell that the arguments name, and print its result as the last line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cell", choices=list(CELLS))
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=SECONDS_MAX, help="seconds")
    chosen = parser.parse_args(arguments)
    found = result(peer, chosen.cell, chosen.size, chosen.folder, chosen.limit)
    say(**found)
    return found


@dataclass(frozen=True)
class PythonSystem:
    """A system with Python: how the suite starts it, and what its processes do.

    Attributes:
        name: as its makers write it.
        package: whose version is reported, and which must be installed.
        cells: that it has.
        roles: what one of its processes does, by its role.
    """

    name: str
    package: str
    cells: tuple[str, ...]
    roles: Mapping[str, Callable[[Told], None]]

    def missing(self) -> str | None:
        """Return why it cannot run here, or None."""
        try:
            version(self.package)
        except PackageNotFoundError:
            return f"{self.package} is not installed: pip install crdtsync[peers]"
        return None

    def peer(self) -> Peer:
        """Return the system as the cells see it."""
        return Peer(self.name, lambda: version(self.package), self._process)

    def system(self) -> System:
        """Return the system as the suite sees it."""
        return System(self.name, self.cells, partial(command, self.name), self.missing)

    def main(self, arguments: list[str]) -> None:
        """Be a cell, or one of its processes: a process is told what state ends its cell, a cell is not."""
        if "--expected" in arguments:
            of = told(arguments)
            self.roles[of.role](of)
        else:
            run_cell(self.peer(), arguments)

    def _process(self, of: Told) -> list[str]:
        return [sys.executable, "-m", "benchmarks.peers", self.name, *of.arguments()]


def command(name: str, cell: str, size: int, folder: Path) -> list[str]:
    """Return the command line that runs one cell of one system."""
    module = ("-m", "benchmarks.peers", name, cell)
    return [sys.executable, *module, "--size", str(size), "--folder", str(folder)]
