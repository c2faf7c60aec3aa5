"""Draws the generated parts of docs/protocol.md from the protocol's own table and frame checks.

Run ``python docs/draw_protocol.py`` to write them again after a change of ``crdtsync/protocol``; a test compares. It
touches nothing outside the marked parts of that one file.
"""

# ruff: noqa: INP001 - a script beside the page that it draws, not a package.

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

# As a script, Python looks in docs/ and not in the folder above.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from crdtsync import limits
from crdtsync.protocol.frames import FIELDS, PROTOCOL
from crdtsync.protocol.table import PAGED, REFUSALS, TABLE, Fault, Kind, Side, State, waits_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PAGE = Path(__file__).with_name("protocol.md")

_MARKED = re.compile(r"(<!-- drawn: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_CELLS = {Fault.ORDER_VIOLATION: "**order**", Fault.UNEXPECTED: "·", Fault.CLOSED: "×"}
# Legal in every running state and leading nowhere else, or leading out of every state: arrows would hide the rest.
_UNDRAWN = frozenset({Kind.ACK, Kind.POKE, Kind.ASK, Kind.ANSWER, Kind.REFUSE, Kind.BYE})


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _diagram() -> str:
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, (side, kind)), target in TABLE.items():
        if isinstance(target, State) and kind not in _UNDRAWN:
            arrows.setdefault((state, target), []).append(f"{side} {kind}")
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.START}"]
    lines += [
        f"    {source} --> {target}: {', '.join(events)}" for (source, target), events in arrows.items()
    ]
    return "\n".join([*lines, "```"])


def _cells() -> str:
    rows = []
    for side in Side:
        for kind in Kind:
            cells = (TABLE[state, (side, kind)] for state in State)
            shown = (_CELLS[cell] if isinstance(cell, Fault) else f"{cell}" for cell in cells)
            rows.append([f"{side} `{kind}`", *shown])
    return _table(["event", *State], rows)


def _waits() -> str:
    return _table(
        ["state", "who owes a word"], ([f"{state}", waits_for(state) or "nobody"] for state in State)
    )


def _frames() -> str:
    parts = []
    for kind, fields in FIELDS.items():
        paged = " (paged)" if kind in PAGED else ""
        body = _table(["field", "value"], ([f"`{name}`", check.words] for name, check in fields.items()))
        parts.append(f"### {kind}{paged}\n\n{body if fields else 'No fields.'}")
    return "\n\n".join(parts)


def _refusals() -> str:
    return _table(
        ["code", "try again", "meaning"],
        ([f"`{code}`", "no" if r.terminal else "yes", r.meaning] for code, r in REFUSALS.items()),
    )


def _limits() -> str:
    names = (
        "FRAME_BYTES_MAX",
        "DATA_BYTES_MAX",
        "CHUNK_BYTES_MAX",
        "FRAME_MAPS_MAX",
        "PAGE_ENTRIES_MAX",
        "LINK_ENTRIES_MAX",
        "WINDOW_FRAMES_MAX",
        "WINDOW_BYTES_MAX",
        "HELLO_SECONDS_MAX",
        "ANSWER_SECONDS_MAX",
        "CONNECTIONS_MAX",
    )
    rows = [[f"`{name}`", f"{getattr(limits, name):,}"] for name in names]
    return _table(["limit", "value"], [["protocol version", str(PROTOCOL)], *rows])


_PARTS: dict[str, Callable[[], str]] = {
    "diagram": _diagram,
    "cells": _cells,
    "waits": _waits,
    "frames": _frames,
    "refusals": _refusals,
    "limits": _limits,
}


def redraw(text: str) -> str:
    """Return the page with every drawn part as the code says it is.

    Raises:
        KeyError: the page marks a part that nobody draws.
    """
    return _MARKED.sub(lambda found: f"{found[1]}{_PARTS[found[2]]()}\n{found[4]}", text)


def drawn_parts(text: str) -> list[str]:
    """Return the names of the parts that the page marks, in order."""
    return [found[2] for found in _MARKED.finditer(text)]


if __name__ == "__main__":
    PAGE.write_text(redraw(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
