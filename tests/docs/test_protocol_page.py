"""docs/protocol.md says what the protocol's table and frame checks say."""

from __future__ import annotations

from crdtsync.protocol.frames import FIELDS
from crdtsync.protocol.table import REFUSALS, TABLE, Kind, State
from docs.draw_protocol import PAGE, drawn_parts, redraw


def test_the_page_is_what_the_code_draws() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert redraw(text) == text, "run python docs/draw_protocol.py"


def test_the_page_marks_every_part_once() -> None:
    parts = drawn_parts(PAGE.read_text(encoding="utf-8"))
    assert parts == ["diagram", "waits", "cells", "frames", "refusals", "limits"]


def test_every_state_frame_and_refusal_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith(("| down `", "| up `"))]
    assert len(rows) * len(State) == len(TABLE)
    assert all(len(row.split("|")) == len(State) + 3 for row in rows)
    assert set(FIELDS) == set(Kind)
    assert all(f"### {kind}" in text for kind in Kind)
    assert all(f"| `{code}` |" in text for code in REFUSALS)


def test_a_page_that_lies_is_found() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "| up `fence` |" in text
    assert redraw(text.replace("| up `fence` |", "| up `gate` |")) == text
