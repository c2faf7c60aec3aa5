"""`python -m benchmarks`: measure every figure, print the table, write JSON and Markdown when asked."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import api, check, fold, growth, latency, memory, page, store, transaction
from benchmarks.catalogue import Sent, sent
from benchmarks.measure import FULL, QUICK, Figure, Sizes
from benchmarks.report import environment, markdown

if TYPE_CHECKING:
    from collections.abc import Callable

MEASURES: dict[str, Callable[[Sizes, Sent], list[Figure]]] = {
    "fold": fold.measure,
    "store": store.measure,
    "transaction": lambda sizes, _: transaction.measure(sizes),
    "api": lambda sizes, _: api.measure(sizes),
    "memory": memory.measure,
    "growth": lambda sizes, _: growth.measure(sizes),
    "check": check.measure,
    "latency": latency.measure,
    "page": lambda sizes, _: page.measure(sizes),
}


def run(sizes: Sizes, names: list[str]) -> list[Figure]:
    """Measure the named figures."""
    catalogue = sent(sizes.products)
    figures: list[Figure] = []
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        figures += MEASURES[name](sizes, catalogue)
    return figures


def main() -> int:
    """Run from the command line; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, about half a minute")
    parser.add_argument(
        "--only", nargs="+", choices=list(MEASURES), default=list(MEASURES), help="these figures"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    where = environment()
    figures = run(sizes, arguments.only)
    text = markdown(figures, where)
    print(text, end="")
    if arguments.markdown:
        arguments.markdown.write_text(text, encoding="utf-8")
    if arguments.json:
        plain = {"environment": where, "figures": [figure.plain() for figure in figures]}
        arguments.json.write_text(json.dumps(plain, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
