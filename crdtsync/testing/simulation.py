"""The simulation: many seeded schedules, each a cluster that works, breaks, heals and is judged.

One seed is one schedule: the same seed over the same schema and version does the same thing again. Nothing outside the
process is touched, and no time passes while nodes wait.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import signal
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from crdtsync import limits
from crdtsync.errors import CrdtsyncError, StoreClosed
from crdtsync.schema import Schema, load_installed
from crdtsync.testing.cluster import Cluster
from crdtsync.testing.loop import Deadlock, OutOfTime, VirtualLoop, run_virtual
from crdtsync.testing.samples import Samples
from crdtsync.testing.schedule import Schedule
from crdtsync.testing.verdict import judge
from crdtsync.transport.memory import Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crdtsync.schema import Entity

OPERATIONS = 200
"""Acknowledged record operations of one schedule, at least."""

_VIRTUAL_SECONDS_MAX = 6 * 3600.0
_LANES = ((1,), (2,), (2,), (3,), (1, 1), (2, 1))
"""How many Caixas each Loja has; one of these in a schedule."""
_FAULTS = Faults(drop=0.004, repeat=0.02, reorder=0.01, delay=0.01)
_LIMITS = {
    "COMPACTION_CELLS_MIN": 3,
    "ROWS_PER_BATCH": 4,
    "CHUNK_BYTES_MAX": 2048,
    "DOCUMENTS_LOADED_MAX": 8,
    "ANSWER_SECONDS_MAX": 6.0,
}

_samples: WeakKeyDictionary[Schema, Samples] = WeakKeyDictionary()


@dataclass(slots=True)
class Failure:
    """A schedule that broke a promise: what was found, what had been injected, and the line that replays it."""

    seed: int
    diverged: int
    lost: int
    duplicated: int
    found: list[str]
    injected: dict[str, int]

    @property
    def replay(self) -> str:
        """The command that does it again."""
        return f"crdtsync simulate --schedules 1 --seed {self.seed}"


@dataclass(slots=True)
class Report:
    """What the schedules found. `diverged`, `lost` and `duplicated` count findings, `seconds` is real time.

    `restored` counts the backups put back while others held more of the node's log than the backup, `noticed` those after which the
    node took a new incarnation.
    """

    schedules: int = 0
    diverged: int = 0
    lost: int = 0
    duplicated: int = 0
    restored: int = 0
    noticed: int = 0
    seconds: float = 0.0
    operations: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def to_plain(self) -> dict[str, Any]:
        """JSON-able values."""
        plain = asdict(self)
        for entry, failure in zip(plain["failures"], self.failures, strict=True):
            entry["replay"] = failure.replay
        return plain | {"injected": dict(sorted(self.injected.items())), "seconds": round(self.seconds, 3)}


@dataclass(slots=True)
class Outcome:
    """One schedule: operations done, what was injected, what was found; `restored` and `noticed` as in the report."""

    operations: int
    injected: Counter[str]
    found: list[tuple[str, str]]
    restored: int
    noticed: int


class _Surprises(logging.Handler):
    """Collects logged exceptions that no part of the package raises on purpose."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, CrdtsyncError):
            self.errors.append(error)


@contextmanager
def _small_world() -> Iterator[list[BaseException]]:
    """Limits low enough for compaction, chunks, reloads and timeouts in 200 operations; warnings are kept quiet.

    Yields the errors that a node logged as none of its own: it went on, yet somebody has a fault to mend.
    """
    usual = {name: getattr(limits, name) for name in _LIMITS}
    logger = logging.getLogger("crdtsync")
    before = logger.level, logger.propagate, logger.handlers
    surprises = _Surprises(logging.ERROR)
    collecting = gc.isenabled()
    for name, value in _LIMITS.items():
        setattr(limits, name, value)
    logger.setLevel(logging.ERROR)
    logger.propagate, logger.handlers = False, [surprises]
    # A schedule ends before its garbage matters; looking for it meanwhile costs a tenth of the time.
    gc.disable()
    try:
        yield surprises.errors
    finally:
        logger.setLevel(before[0])
        _, logger.propagate, logger.handlers = before
        if collecting:
            gc.enable()
        for name, value in usual.items():
            setattr(limits, name, value)


def run_schedule(seed: int, schema: Schema, faults: Faults | None = None) -> Outcome:
    """Run one schedule to its verdict."""
    dice = Random(seed)  # noqa: S311 - a simulation must repeat itself; nothing here is a secret
    samples = _samples.get(schema)
    if samples is None:
        samples = _samples[schema] = Samples(schema, Random(0))  # noqa: S311 - as above
    samples.dice = dice
    loop = VirtualLoop(_VIRTUAL_SECONDS_MAX)
    cluster = Cluster(
        dice, schema, lanes=dice.choice(_LANES), faults=faults or _FAULTS, live=dice.random() < 0.2
    )
    schedule = Schedule(cluster, samples, OPERATIONS)
    noticed = 0

    async def play() -> None:
        nonlocal noticed
        await schedule.run()
        if not await cluster.settle():
            troubles = {m.name: m.running.trouble for m in cluster.members.values() if m.running.trouble}
            cluster.found("diverged", f"the nodes never agree: {troubles}")
        await judge(cluster)
        noticed = cluster.noticed()
        for member in cluster.members.values():
            await cluster.stop(member)

    surprises: list[BaseException] = []
    try:
        with _small_world() as surprises:
            run_virtual(play(), loop)
    except (Deadlock, OutOfTime) as stuck:
        cluster.found("diverged", f"the cluster hangs: {stuck}")
    except Exception as stopped:  # noqa: BLE001 - whatever it is, it is a finding of this seed, and the next seed runs
        cluster.found("diverged", f"{type(stopped).__name__} stopped the schedule: {stopped}")
    for error in surprises:
        cluster.found("diverged", f"a node stumbled over {type(error).__name__}: {error}")
    for error in loop.unhandled:
        # A node that lost its power in the middle of a commit leaves tasks that found the store closed.
        if not isinstance(error, StoreClosed):
            cluster.found("diverged", f"nobody handled {type(error).__name__}: {error}")
    injected = schedule.injected + cluster.network.injected
    found: list[tuple[str, str]] = [(finding.kind, finding.what) for finding in cluster.findings]
    return Outcome(schedule.done, injected, found, len(cluster.restored), noticed)


def _note(report: Report, number: int, outcome: Outcome) -> None:
    """Add one schedule to the report."""
    report.schedules += 1
    report.operations += outcome.operations
    report.injected += outcome.injected
    report.restored += outcome.restored
    report.noticed += outcome.noticed
    if outcome.found:
        kinds = Counter(kind for kind, _ in outcome.found)
        report.diverged += kinds["diverged"]
        report.lost += kinds["lost"]
        report.duplicated += kinds["duplicated"]
        report.failures.append(
            Failure(
                number,
                kinds["diverged"],
                kinds["lost"],
                kinds["duplicated"],
                [f"{kind}: {what}" for kind, what in outcome.found],
                dict(sorted(outcome.injected.items())),
            )
        )


@contextmanager
def _outcomes(
    numbers: range, schema: Schema, faults: Faults | None, jobs: int
) -> Iterator[Iterator[Outcome]]:
    """Run schedules in `jobs` processes; what comes out of the iterator is in the order of the seeds."""
    if jobs == 1:
        yield (run_schedule(number, schema, faults) for number in numbers)
        return
    # Spawned, not forked: the caller may have threads, and a forked child would inherit their locks.
    workers = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), _become_worker, (list(schema.entities.values()), faults)
    )
    try:
        yield workers.map(_work, numbers)
    finally:
        workers.shutdown(cancel_futures=True)


_work_of_this_process: list[Callable[[int], Outcome]] = []


def _become_worker(entities: list[type[Entity]], faults: Faults | None) -> None:
    # Whoever interrupts the run interrupts the parent; it lets the workers finish their schedules.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _work_of_this_process.append(partial(run_schedule, schema=Schema(entities), faults=faults))


def _work(number: int) -> Outcome:
    return _work_of_this_process[0](number)


def simulate(
    schedules: int,
    seed: int = 0,
    schema: Schema | None = None,
    faults: Faults | None = None,
    *,
    until_found: bool = False,
    progress: Callable[[Report], None] | None = None,
    jobs: int = 1,
) -> Report:
    """Run schedules `seed`, `seed + 1`, ... and report.

    Args:
        schedules: how many.
        seed: of the first.
        schema: what to write; the installed adapters when not given.
        faults: probabilities per message and the delay, instead of the usual ones.
        until_found: stop at the first schedule that finds something.
        progress: called after each schedule, in the order of the seeds.
        jobs: processes to share the schedules; the report does not depend on it.

    Raises:
        AdapterError: the installed adapters cannot be loaded.
    """
    schema = schema or load_installed()
    report = Report()
    began = time.perf_counter()
    numbers = range(seed, seed + schedules)
    with _outcomes(numbers, schema, faults, jobs) as outcomes:
        for number, outcome in zip(numbers, outcomes, strict=True):
            _note(report, number, outcome)
            report.seconds = time.perf_counter() - began
            if progress is not None:
                progress(report)
            if report.failures and until_found:
                break
    return report
