"""The verb that runs the simulated cluster over the installed adapters."""

from __future__ import annotations

import os
import sys

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crdtsync.cli.output import FINDING, Verb, output_options, print_json
from crdtsync.testing.simulation import Failure, Report
from crdtsync.testing.simulation import simulate as run_schedules

_FOUND_MAX = 8


@click.command(cls=Verb)
@click.option(
    "--schedules",
    default=100,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many schedules to run.",
)
@click.option(
    "--seed", default=0, show_default=True, type=int, help="Seed of the first; the next ones count up."
)
@click.option(
    "--jobs",
    default=os.cpu_count() or 1,
    show_default="one a processor",
    type=click.IntRange(min=1),
    help="Processes that share the work; the result is the same with any number.",
)
@output_options
def simulate(schedules: int, seed: int, jobs: int, *, as_json: bool) -> None:
    """Run simulated clusters in which everything goes wrong.

    The installed adapters' categories, the real code, simulated time, network and disks. Each schedule has one Gestão,
    one or two Lojas and one to three Caixas, at least 200 operations, partitions, crashes, restarts, refusing disks, a restored backup, lost, repeated and reordered messages. Exit code 1 when anything diverged, was lost or
    was counted twice.

    Example: crdtsync simulate --schedules 500 --seed 1
    """
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("schedules", total=schedules)
        report = run_schedules(
            schedules,
            seed,
            progress=lambda so_far: bar.update(task, completed=so_far.schedules),
            jobs=min(jobs, schedules),
        )
    if as_json:
        print_json(report.to_plain())
    else:
        _print(report)
    if report.failures:
        sys.exit(FINDING)


def _print(report: Report) -> None:
    for failure in report.failures:
        _print_failure(failure)
    click.echo(f"injected: {_counts(dict(sorted(report.injected.items())))}")
    click.echo(f"restored {report.restored}, noticed {report.noticed}")
    click.echo(
        f"schedules {report.schedules}, diverged {report.diverged}, lost {report.lost}, "
        f"duplicated {report.duplicated}, seconds {report.seconds:.1f}"
    )


def _print_failure(failure: Failure) -> None:
    click.echo(f"seed {failure.seed}: injected {_counts(failure.injected)}")
    for text in failure.found[:_FOUND_MAX]:
        click.echo(f"  {text}")
    if len(failure.found) > _FOUND_MAX:
        click.echo(f"  and {len(failure.found) - _FOUND_MAX} more")
    click.echo(f"  replay: {failure.replay}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
