"""The cells end in the state that the workload leads to; the sizes are too small to say anything about speed."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.cell import run
from benchmarks.cells import PREPARED_SECONDS_MAX, Outcome, Result, System, outcomes_of, run_cell, run_cells
from benchmarks.measure import Figure, figures_of
from benchmarks.merge import merged, state_read, work
from benchmarks.plot import MARKS, PAGE, picture, replaced, section
from benchmarks.report import cell_table
from benchmarks.store_day import offline_day
from benchmarks.workload import expected
from crdtsync.errors import CrdtsyncError

if TYPE_CHECKING:
    from pathlib import Path


# The other cells take the same way with more waiting; `make bench-quick` runs them all.
@pytest.mark.parametrize("cell", ["merge", "catalogue", "growth"])
def test_a_cell_ends_in_the_state_of_the_workload(cell: str, tmp_path: Path) -> None:
    result = run(cell, 12, tmp_path)
    assert result.correct
    assert result.seconds > 0


def test_an_offline_day_ends_in_the_state_of_the_workload(tmp_path: Path) -> None:
    seconds, state, details = offline_day(12, tmp_path, "retail", closed=False)
    assert min(seconds, details["limit_echo_seconds"], details["limit_executemany_seconds"]) > 0
    assert state.digest() == expected("offline_day", 12).digest()


def test_a_flipped_byte_anywhere_is_refused() -> None:
    frames = work(3).frames
    assert state_read(merged(frames)).digest() == expected("merge", 3).digest()
    for at in range(0, len(frames[0]), 41):
        broken = bytearray(frames[0])
        broken[at] ^= 1
        with pytest.raises(CrdtsyncError):
            merged([bytes(broken), *frames[1:]])


def _system(name: str, program: str, seconds_max: float = PREPARED_SECONDS_MAX) -> System:
    command = [sys.executable, "-c", program]
    return System(name, ("merge",), lambda _cell, _size, _folder: command, lambda: None, seconds_max)


def test_a_system_that_fails_stalls_or_says_nothing_is_reported_so() -> None:
    crashed = run_cell(_system("crashes", "raise SystemExit('no disk')"), "merge", 1)
    assert crashed == "ended with code 1: no disk"
    stalled = run_cell(_system("stalls", "import time; time.sleep(60)", 0.2), "merge", 1)
    assert stalled == "not done after 0.2 s"
    silent = run_cell(_system("silent", "print('done')"), "merge", 1)
    assert isinstance(silent, str)
    assert silent.startswith("said no result")
    missing = System("missing", ("merge",), lambda _cell, _size, _folder: [], lambda: "node is not installed")
    (outcome,) = run_cells([(missing, "merge", 1, 2)])
    assert outcome.trouble == "node is not installed"


def test_a_system_that_failed_is_not_tried_at_a_greater_size() -> None:
    told: list[str] = []
    system = _system("crashes", "raise SystemExit('no disk')")
    first, second = run_cells([(system, "merge", 1, 2), (system, "merge", 10, 1)], told.append)
    assert first.trouble == "ended with code 1: no disk"
    assert second.trouble == "not tried: at 1 ended with code 1: no disk"
    assert told == ["merge 1: crashes, 1 of 2"]


def test_a_wrong_state_has_no_ratio() -> None:
    good = Result("ours", "1", "merge", 10, 2.0, {"wire_bytes": 2e6}, 10, "a", correct=True)
    bad = Result("other", "1", "merge", 10, 1.0, {}, 9, "b", correct=False)
    text = cell_table([Outcome("ours", "merge", 10, [good]), Outcome("other", "merge", 10, [bad])], "ours")
    assert "| merge | 10 | ours | 1.00x | 2 (2 to 2) |  |  | 2 |  |  | right |" in text
    assert "| merge | 10 | other |  | 1 (1 to 1) |  |  |  |  |  | **wrong** |" in text


def test_the_page_is_made_from_what_a_run_wrote() -> None:
    results = [
        Result("crdtsync", "1", "merge", 10, seconds, {}, 10, "a", correct=True) for seconds in (2.0, 3.0)
    ]
    other = Outcome(
        "other & more",
        "merge",
        10,
        [Result("other & more", "1", "merge", 10, 5.0, {}, 10, "a", correct=True)],
    )
    done = [
        Outcome("crdtsync", "merge", 10, results),
        other,
        Outcome("third", "merge", 10, trouble="not done after 60 s"),
    ]
    figure = Figure("bytes of a check", 77.0, 1000.0, "bytes", "both ways", {"loads": 3})
    told = {"environment": {"cores": 2}, "figures": [figure.plain()], "cells": [one.plain() for one in done]}
    written = json.loads(json.dumps(told))
    assert figures_of(written["figures"]) == [figure]
    assert outcomes_of(written["cells"]) == done
    text = section(written)
    assert "| merge | 10 | other & more | 2.00x | 5 (5 to 5) |" in text
    assert "| not done after 60 s |" in text
    assert "| bytes of a check | 77 bytes | 1,000 bytes | yes | both ways |" in text
    begin, end = (mark.format("bench") for mark in MARKS)
    others = "<!-- bench-peers: begin -->kept<!-- bench-peers: end -->"
    page = f"above\n{begin}\nold\n{end}\n{others}\nbelow"
    assert replaced(page, "bench", text) == f"above\n{begin}\n\n{text}\n{end}\n{others}\nbelow"
    assert "other &amp; more" in picture(done)
    written_page = PAGE.read_text(encoding="utf-8")
    assert all(mark.format(name) in written_page for mark in MARKS for name in ("bench", "bench-peers"))
