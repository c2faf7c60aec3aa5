"""The page of the suite, made from the JSON of its runs: `python -m benchmarks.plot build/bench.json build/bench-peers.json`.

It puts the tables of each run between the marks of its name in docs/performance.md. From a run with other systems it draws docs/bench.svg,
bars of how many times as long as ours each takes. It measures nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from benchmarks.cells import outcomes_of
from benchmarks.measure import figures_of
from benchmarks.report import cell_table, markdown

if TYPE_CHECKING:
    from benchmarks.cells import Outcome

OURS = "crdtsync"
MARKS = ("<!-- {}: begin -->", "<!-- {}: end -->")
PAGE, PICTURE = Path("docs/performance.md"), Path("docs/bench.svg")
_LINE, _LEFT, _WIDE, _RIGHT = 18, 260, 420, 80


def section(run: dict[str, Any]) -> str:
    """Return the tables of a run: cells, figures, and where it was measured."""
    cells = cell_table(outcomes_of(run["cells"]), OURS)
    return f"{cells}\n{markdown(figures_of(run['figures']), run['environment'])}"


def replaced(page: str, name: str, text: str) -> str:
    """Return a page with a text between the marks of a name. Raises ValueError when it has none."""
    first, last = (mark.format(name) for mark in MARKS)
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the page has no {first} and {last}")
    return f"{before}{first}\n\n{text}\n{last}{after}"


def picture(outcomes: list[Outcome]) -> str:
    """Return an SVG of bars, of those that ended in the right state; ours is 1 and dark."""
    own = {(one.cell, one.size): one.median() for one in outcomes if one.system == OURS and one.correct}
    bars: list[tuple[str, float, bool]] = []
    for one in outcomes:
        base, seconds = own.get((one.cell, one.size)), one.median()
        if base and seconds and one.correct:
            bars.append((f"{one.cell} {one.size:,} · {one.system}", seconds / base, one.system == OURS))
    longest = max((ratio for _, ratio, _ in bars), default=1.0)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDE + _RIGHT}" height="{_LINE * (len(bars) + 2)}">',
        "<style>text { font: 12px sans-serif }</style>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="{_LINE - 4}">Time, ours = 1 (shorter is better)</text>',
    ]
    for place, (name, ratio, ours) in enumerate(bars, 1):
        y = place * _LINE + 4
        wide = max(1.0, ratio / longest * _WIDE)
        lines += [
            f'<text x="{_LEFT - 6}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{wide:.1f}" height="{_LINE - 4}" fill="{"#1f4e79" if ours else "#9db8d2"}"/>',
            f'<text x="{_LEFT + wide + 4:.1f}" y="{y + 12}">{ratio:.2f}x</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def main(paths: list[str]) -> int:
    """Write the page and the picture."""
    for path in map(Path, paths):
        run = json.loads(path.read_text(encoding="utf-8"))
        page = replaced(PAGE.read_text(encoding="utf-8"), path.stem, section(run))
        PAGE.write_text(page, encoding="utf-8")
        outcomes = outcomes_of(run["cells"])
        if {one.system for one in outcomes} != {OURS}:
            PICTURE.write_text(picture(outcomes), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
