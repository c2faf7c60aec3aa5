"""`python -m benchmarks.cell crdtsync CELL --size N --folder DIR`: one cell of this project, one line of JSON last."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import download, many_updates, merge, store_day
from benchmarks.catalogue import prices
from benchmarks.cells import Result, System
from benchmarks.workload import LANES, PACED_PER_SECOND, FinalState, expected
from crdtsync import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = tuple[float, FinalState, dict[str, float]]
"""Seconds, the state read back, details."""

CELLS: dict[str, Callable[[int, Path], Answer]] = {
    "merge": lambda size, _folder: merge.cell(size),
    "offline_day": partial(store_day.offline_day, scope="everywhere"),
    "offline_day_retail": partial(store_day.offline_day, scope="retail"),
    "live": store_day.live,
    "live_paced": partial(store_day.live, every=LANES / PACED_PER_SECOND),
    "catalogue": download.catalogue,
    "growth": many_updates.growth,
}
NAME = "crdtsync"


def _command(name: str, cell: str, size: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.cell", name, cell, "--size", str(size), "--folder", str(folder)]


# Ours are never cut short: the larger ones take minutes with their preparation.
_SECONDS_MAX = 900.0
OURS = System(NAME, tuple(CELLS), partial(_command, NAME), lambda: None, _SECONDS_MAX)


def run(cell: str, size: int, folder: Path) -> Result:
    """Run a cell in this process."""
    seconds, state, details = CELLS[cell](size, folder)
    must_be = expected(cell, size, prices(size) if cell == "catalogue" else None)
    digest = state.digest()
    return Result(
        NAME, __version__, cell, size, seconds, details, state.sales, digest, digest == must_be.digest()
    )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cell", description=__doc__)
    parser.add_argument("system", choices=[NAME])
    parser.add_argument("cell", choices=list(CELLS))
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    result = run(arguments.cell, arguments.size, arguments.folder)
    print(result.line())
    return 0


if __name__ == "__main__":
    sys.exit(main())
