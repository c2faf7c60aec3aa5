"""The report of a run: where it ran, a Markdown table, JSON. It measures nothing."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.cells import Outcome
    from benchmarks.measure import Figure

_PACKAGES = ("pycrdt", "msgpack", "aiosqlite", "websockets")


def _first(path: str, label: str) -> str:
    """The value behind a label in a file of /proc, or "unknown" where there is no such file."""
    file = Path(path)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(label)), "unknown")


def environment() -> dict[str, Any]:
    """Hardware and versions, and the load of the machine as the run began."""
    return {
        "processor": _first("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory": _first("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in _PACKAGES},
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"


def markdown(figures: list[Figure], where: dict[str, Any]) -> str:
    """Return the table, if there is any figure, the details under it, and where it was measured."""
    lines = ["| figure | measured | target | met | against |", "|---|---|---|---|---|"] if figures else []
    for figure in figures:
        unit = figure.unit if figure.unit == "x" else f" {figure.unit}"
        met = "yes" if figure.met else "**no**"
        value, target = _number(figure.value), _number(figure.target)
        lines.append(f"| {figure.name} | {value}{unit} | {target}{unit} | {met} | {figure.against} |")
    lines.append("")
    for figure in [figure for figure in figures if figure.details]:
        details = "; ".join(f"{name} {_number(value)}" for name, value in figure.details.items())
        lines.append(f"- {figure.name}: {details}.")
    lines += ["", "Measured on: " + "; ".join(f"{name} {value}" for name, value in where.items()) + "."]
    return "\n".join(lines) + "\n"


def cell_table(outcomes: Iterable[Outcome], ours: str) -> str:
    """Return the table of cells: how many times as long as ours each system takes first, then medians and their spread.

    A system that lost or changed data has no ratio.
    """
    done = list(outcomes)
    own = {(one.cell, one.size): one.median() for one in done if one.system == ours and one.correct}
    lines = [
        "| cell | size | system | time, ours = 1 | seconds (least to most) | memory MB | disk MB | wire MB | p50 ms | p99 ms | state |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in done:
        plain = one.plain()
        seconds, least, most = plain["seconds"], plain["seconds_min"], plain["seconds_max"]
        base = own.get((one.cell, one.size))
        ratio = f"{seconds / base:.2f}x" if base and seconds is not None and one.correct else ""
        time = f"{seconds:.3g} ({least:.3g} to {most:.3g})" if seconds is not None else ""
        state = one.trouble or ("right" if one.correct else "**wrong**")
        details = plain["details"]
        sizes = [_megabytes(details.get(f"{name}_bytes")) for name in ("memory", "disk", "wire")]
        waits = [_number(details[name]) if name in details else "" for name in ("p50_ms", "p99_ms")]
        row = [one.cell, f"{one.size:,}", one.system, ratio, time, *sizes, *waits, state.replace("|", "/")]
        lines.append(f"| {' | '.join(' '.join(part.split()) for part in row)} |")
    return "\n".join(lines) + "\n"


def _megabytes(size: float | None) -> str:
    return "" if size is None else f"{size / 1e6:.3g}"
