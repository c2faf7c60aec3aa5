"""Cells: one system, one workload, one size, in a process of its own that prints one line of JSON. The systems are compared by them.

It starts processes and reads their last line; it knows nothing of what a system is made of.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SECONDS_MAX = 60.0
"""How long the processes of another system may take for a cell."""
PREPARED_SECONDS_MAX = 2 * SECONDS_MAX
"""The same with the making of the workload and of what must be read back, which is not theirs."""

_KEPT = 400


@dataclass(frozen=True)
class System:
    """One system.

    Attributes:
        name: as its makers write it.
        cells: the names of the cells that it has.
        command: the command line that runs one cell at one size in one empty folder, and prints its result last.
        missing: a sentence why it cannot run here, or None.
        seconds_max: how long one of its cells may take with its preparation.
    """

    name: str
    cells: tuple[str, ...]
    command: Callable[[str, int, Path], list[str]]
    missing: Callable[[], str | None]
    seconds_max: float = PREPARED_SECONDS_MAX


@dataclass(frozen=True, slots=True)
class Result:
    """What a cell said; with `correct` false the system lost or changed data, or counted it twice."""

    system: str
    version: str
    cell: str
    size: int
    seconds: float
    details: Mapping[str, float]
    sales: int
    digest: str
    correct: bool
    failure: str = ""

    @classmethod
    def parse(cls, line: str) -> Result:
        """Read a line of JSON. Raises ValueError or TypeError when it is none, or has other keys."""
        return cls(**json.loads(line))

    def line(self) -> str:
        """Return the line of JSON."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})


def outcomes_of(plain: Iterable[Mapping[str, Any]]) -> list[Outcome]:
    """Read back what `Outcome.plain` wrote."""
    return [
        Outcome(
            one["system"],
            one["cell"],
            one["size"],
            [Result(**repetition) for repetition in one["repetitions"]],
            one["trouble"],
        )
        for one in plain
    ]


@dataclass
class Outcome:
    """The repetitions of one cell of one system; `trouble` says why there are none, or fewer."""

    system: str
    cell: str
    size: int
    results: list[Result] = field(default_factory=list)
    trouble: str | None = None

    @property
    def correct(self) -> bool:
        """Whether every repetition ended in the state that the workload leads to."""
        return bool(self.results) and all(result.correct for result in self.results)

    def median(self, name: str = "seconds") -> float | None:
        """Return the median of the seconds or of a detail; None when no repetition has it."""
        values = [
            value
            for result in self.results
            if (value := result.seconds if name == "seconds" else result.details.get(name)) is not None
        ]
        return statistics.median(values) if values else None

    def plain(self) -> dict[str, Any]:
        """Return it as JSON takes it: medians, the spread of the seconds, and every repetition."""
        names = dict.fromkeys(name for result in self.results for name in result.details)
        seconds = [result.seconds for result in self.results]
        return {
            "system": self.system,
            "version": self.results[0].version if self.results else "",
            "cell": self.cell,
            "size": self.size,
            "trouble": self.trouble,
            "correct": self.correct,
            "seconds": self.median(),
            "seconds_min": min(seconds, default=None),
            "seconds_max": max(seconds, default=None),
            "details": {name: self.median(name) for name in names},
            "repetitions": [json.loads(result.line()) for result in self.results],
        }


def run_cell(system: System, cell: str, size: int) -> Result | str:
    """Run a cell once in a folder of its own; return what it said, or in a sentence why it said nothing."""
    with tempfile.TemporaryDirectory(prefix="cell-") as folder:
        command = system.command(cell, size, Path(folder))
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=system.seconds_max,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return f"not done after {system.seconds_max:g} s"
        except OSError as error:
            return f"could not be started: {error}"
    if done.returncode:
        return f"ended with code {done.returncode}: {done.stderr.strip()[-_KEPT:]}"
    lines = done.stdout.strip().splitlines()
    try:
        return Result.parse(lines[-1] if lines else "")
    except (ValueError, TypeError) as error:
        return f"said no result: {error}"


def failed_smaller(outcome: Outcome, outcomes: Iterable[Outcome]) -> str | None:
    """Return why a cell is not tried: the same system has failed in it at a smaller size."""
    for other in outcomes:
        same = (other.system, other.cell) == (outcome.system, outcome.cell)
        if same and other.size < outcome.size and other.trouble:
            return f"not tried: at {other.size:,} {other.trouble}"
    return None


def run_cells(
    work: Iterable[tuple[System, str, int, int]],
    told: Callable[[str], None] = lambda _text: None,
) -> list[Outcome]:
    """Run cells (system, cell, size, repetitions) and return what came of each, in the order given.

    They take turns: a slow moment of the machine falls on all of them alike. One that failed is not tried again, nor is the same
    system at a greater size.
    """
    all_work = list(work)
    outcomes = [Outcome(system.name, cell, size) for system, cell, size, _ in all_work]
    missing = {system.name: system.missing() for system in dict.fromkeys(system for system, *_ in all_work)}
    for turn in range(max((times for *_, times in all_work), default=0)):
        for (system, cell, size, times), outcome in zip(all_work, outcomes, strict=True):
            outcome.trouble = outcome.trouble or missing[system.name] or failed_smaller(outcome, outcomes)
            if outcome.trouble or turn >= times:
                continue
            told(f"{cell} {size:,}: {system.name}, {turn + 1} of {times}")
            result = run_cell(system, cell, size)
            if isinstance(result, str) or result.failure:
                outcome.trouble = result if isinstance(result, str) else result.failure
            else:
                outcome.results.append(result)
    return outcomes


def peers() -> tuple[System, ...]:
    """Return the other systems; none when their package is not there."""
    if find_spec("benchmarks.peers") is None:
        return ()
    found: tuple[System, ...] = import_module("benchmarks.peers").SYSTEMS
    return found
