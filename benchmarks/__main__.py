"""`python -m benchmarks`: measure every figure, print the table, write JSON and Markdown when asked."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import api, check, crowd, fold, growth, latency, local, memory, page, store, transaction
from benchmarks.catalogue import Sent, sent
from benchmarks.cell import OURS
from benchmarks.cells import peers, run_cells
from benchmarks.measure import FULL, QUICK, Figure, Sizes
from benchmarks.report import cell_table, environment, markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.cells import Outcome

MEASURES: dict[str, Callable[[Sizes, Sent], list[Figure]]] = {
    "fold": fold.measure,
    "store": store.measure,
    "transaction": lambda sizes, _: transaction.measure(sizes),
    "local": lambda sizes, _: local.measure(sizes),
    "api": lambda sizes, _: api.measure(sizes),
    "memory": memory.measure,
    "growth": lambda sizes, _: growth.measure(sizes),
    "check": check.measure,
    "crowd": lambda sizes, _: crowd.measure(sizes),
    "latency": latency.measure,
    "page": lambda sizes, _: page.measure(sizes),
}


_BEGAN = time.monotonic()


def _tell(text: str) -> None:
    print(f"{time.monotonic() - _BEGAN:.0f} s: measuring {text} ...", file=sys.stderr, flush=True)


def run_suite(sizes: Sizes, *, with_peers: bool) -> list[Outcome]:
    """Run the cells of this project, or those that it and the others have, at the same sizes."""
    if not with_peers:
        own = [(OURS, cell, size, times) for cell, size, times in sizes.cells]
        return run_cells(own, _tell)
    work = [
        (system, cell, size, times)
        for cell, size, times in sizes.peer_cells
        for system in (OURS, *peers())
        if cell in system.cells
    ]
    return run_cells(work, _tell)


def run(sizes: Sizes, names: list[str]) -> list[Figure]:
    """Measure the named figures."""
    catalogue = sent(sizes.products)
    figures: list[Figure] = []
    for name in names:
        _tell(name)
        figures += MEASURES[name](sizes, catalogue)
    return figures


def main() -> int:
    """Run from the command line; 1 when a state of ours is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, under three minutes")
    parser.add_argument(
        "--only", nargs="+", choices=list(MEASURES), default=list(MEASURES), help="these figures"
    )
    parser.add_argument("--cells", action="store_true", help="only the cells, no other figures")
    parser.add_argument(
        "--peers", action="store_true", help="only the cells that other systems have too, beside theirs"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    where = environment()
    only_cells = arguments.cells or arguments.peers
    figures = [] if only_cells else run(sizes, arguments.only)
    outcomes: list[Outcome] = []
    if only_cells or arguments.only == list(MEASURES):
        outcomes = run_suite(sizes, with_peers=arguments.peers)
    text = markdown(figures, where)
    if outcomes:
        text = f"{cell_table(outcomes, OURS.name)}\n{text}"
    print(text, end="")
    for path in filter(None, (arguments.markdown, arguments.json)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if arguments.markdown:
        arguments.markdown.write_text(text, encoding="utf-8")
    if arguments.json:
        plain = {
            "environment": where,
            "figures": [figure.plain() for figure in figures],
            "cells": [outcome.plain() for outcome in outcomes],
        }
        arguments.json.write_text(json.dumps(plain, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    # A target that is missed is no failure of the suite; a wrong state of ours is.
    return 1 if any(one.system == OURS.name and not one.correct for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
