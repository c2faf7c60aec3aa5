"""Measuring: interleaved repetitions, medians, and the figure that comes out. It knows nothing of what is measured."""

from __future__ import annotations

import gc
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


KIB = 1024


def status_bytes(label: str, process: int | str = "self") -> int:
    """Return a size of a process as the kernel knows it, such as `VmRSS` or the peak `VmHWM`, bytes; of this one by default."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith(label))


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes:
        products: records of the catalogue.
        repetitions: of each timed case.
        transactions: one-record transactions, each beside a bare commit.
        operations: of the small and of the large document.
        samples: operations timed in each of the two.
        pendencies, runs: open pendencies and rows of history behind the page.
        page_loads: how often the page is opened.
        idle_nodes: nodes below one hub that have nothing to do.
        fan_out_nodes: numbers of nodes that hear of one change.
        cells: the cells of this project, with the size and the repetitions of each.
        peer_cells: those in which it is compared with the others, which get the same sizes and repetitions.
    """

    products: int = 100_000
    repetitions: int = 7
    transactions: int = 400
    operations: tuple[int, int] = (10_000, 500_000)
    samples: int = 1_000
    pendencies: int = 10_000
    runs: int = 100_000
    page_loads: int = 7
    idle_nodes: int = 1_000
    fan_out_nodes: tuple[int, ...] = (8, 100)
    cells: tuple[tuple[str, int, int], ...] = (
        ("merge", 20_000, 2),
        ("offline_day_retail", 10_000, 2),
        ("offline_day", 10_000, 1),
        ("catalogue", 50_000, 2),
        ("catalogue", 500_000, 1),
        ("live", 1_000, 2),
        ("live_paced", 50, 1),
        ("growth", 10_000, 2),
        ("growth", 100_000, 1),
        ("growth", 1_000_000, 1),
    )
    peer_cells: tuple[tuple[str, int, int], ...] = (
        ("merge", 2_000, 2),
        ("offline_day_retail", 1_000, 2),
        ("offline_day", 1_000, 2),
        ("catalogue", 10_000, 2),
        ("live", 500, 2),
        ("live_paced", 50, 2),
        ("growth", 20_000, 2),
        ("growth", 100_000, 1),
        ("growth", 1_000_000, 1),
    )


FULL = Sizes()
QUICK = Sizes(
    products=5_000,
    repetitions=3,
    transactions=50,
    operations=(1_000, 10_000),
    samples=100,
    pendencies=500,
    runs=5_000,
    page_loads=3,
    idle_nodes=30,
    fan_out_nodes=(8, 20),
    cells=(
        ("merge", 1_000, 1),
        ("offline_day_retail", 200, 1),
        ("offline_day", 200, 1),
        ("catalogue", 5_000, 1),
        ("live", 50, 1),
        ("live_paced", 20, 1),
        ("growth", 2_000, 1),
        ("growth", 10_000, 1),
    ),
    peer_cells=(
        ("merge", 200, 1),
        ("offline_day_retail", 100, 1),
        ("offline_day", 100, 1),
        ("catalogue", 1_000, 1),
        ("live", 50, 1),
        ("live_paced", 20, 1),
        ("growth", 1_000, 1),
    ),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: `value` in `unit`, at most `target`. `against` states the bare limit, `details` the rest."""

    name: str
    value: float
    target: float
    unit: str
    against: str
    details: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.target

    def plain(self) -> dict[str, Any]:
        """The figure as JSON takes it."""
        return {**asdict(self), "met": self.met}


def figures_of(plain: Iterable[Mapping[str, Any]]) -> list[Figure]:
    """Read back what `Figure.plain` wrote."""
    return [Figure(**{name: value for name, value in one.items() if name != "met"}) for one in plain]


@dataclass(frozen=True, slots=True)
class Seconds:
    """What the repetitions of one case took: the median to quote, the minimum that other load disturbed least."""

    median: float
    minimum: float


def interleaved(cases: Mapping[str, Callable[[], float]], repetitions: int) -> dict[str, Seconds]:
    """Run every case `repetitions` times and return the median and the minimum of what each returned (seconds).

    The cases take turns, and each repetition begins with another one, so that a slow moment of the machine falls on
    all of them alike.
    """
    names = list(cases)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repetitions):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            found[name].append(cases[name]())
    return {name: Seconds(statistics.median(values), min(values)) for name, values in found.items()}


def percentile(values: list[float], part: float) -> float:
    """Return a percentile of seconds, in milliseconds; 0 of nothing."""
    if not values:
        return 0.0
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] * 1e3
