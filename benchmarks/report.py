"""The report of a run: where it ran, a Markdown table, JSON. It measures nothing."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    """Return the table, the details under it, and where it was measured."""
    lines = ["| figure | measured | target | met | against |", "|---|---|---|---|---|"]
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
