"""The page of the suite, made from the JSON of its runs: `python -m benchmarks.plot build/bench.json build/bench-peers.json`.

It puts the tables between the marks in docs/performance.md and draws docs/bench.svg, bars of how many times as long as ours each system
takes. It measures nothing.
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
BEGIN, END = "<!-- benchmark suite: begin -->", "<!-- benchmark suite: end -->"
PAGE, PICTURE = Path("docs/performance.md"), Path("docs/bench.svg")
_LINE, _LEFT, _WIDE, _RIGHT = 18, 260, 420, 80


def section(runs: list[dict[str, Any]]) -> str:
    """Return the tables of runs: cells, figures, and where each was measured."""
    parts = [
        f"{cell_table(outcomes_of(run['cells']), OURS)}\n{markdown(figures_of(run['figures']), run['environment'])}"
        for run in runs
    ]
    return "\n".join(parts)


def replaced(page: str, text: str) -> str:
    """Return a page with a text between the marks. Raises ValueError when it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


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
    runs = [json.loads(Path(path).read_text(encoding="utf-8")) for path in paths]
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), section(runs)), encoding="utf-8")
    PICTURE.write_text(picture([one for run in runs for one in outcomes_of(run["cells"])]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
