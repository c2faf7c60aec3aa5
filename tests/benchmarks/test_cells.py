"""The cells end in the state that the workload leads to; the sizes are too small to say anything about speed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.cell import run
from benchmarks.cells import Outcome, Result, System, run_cell, run_cells
from benchmarks.merge import merged, state_read, work
from benchmarks.report import cell_table
from benchmarks.workload import expected
from crdtsync.errors import CrdtsyncError

if TYPE_CHECKING:
    from pathlib import Path


# The other cells take the same way with more waiting; `make bench-quick` runs them all.
@pytest.mark.parametrize("cell", ["merge", "offline_day_retail", "catalogue", "growth"])
def test_a_cell_ends_in_the_state_of_the_workload(cell: str, tmp_path: Path) -> None:
    result = run(cell, 12, tmp_path)
    assert result.correct
    assert result.seconds > 0


def test_a_flipped_byte_anywhere_is_refused() -> None:
    frames = work(3).frames
    assert state_read(merged(frames)).digest() == expected("merge", 3).digest()
    for at in range(0, len(frames[0]), 41):
        broken = bytearray(frames[0])
        broken[at] ^= 1
        with pytest.raises(CrdtsyncError):
            merged([bytes(broken), *frames[1:]])


def _system(name: str, program: str) -> System:
    return System(
        name, ("merge",), lambda _cell, _size, _folder: [sys.executable, "-c", program], lambda: None
    )


def test_a_system_that_fails_stalls_or_says_nothing_is_reported_so() -> None:
    crashed = run_cell(_system("crashes", "raise SystemExit('no disk')"), "merge", 1)
    assert crashed == "ended with code 1: no disk"
    assert run_cell(_system("stalls", "import time; time.sleep(60)"), "merge", 1, 0.2) == "not done after 0 s"
    silent = run_cell(_system("silent", "print('done')"), "merge", 1)
    assert isinstance(silent, str)
    assert silent.startswith("said no result")
    missing = System("missing", ("merge",), lambda _cell, _size, _folder: [], lambda: "node is not installed")
    (outcome,) = run_cells([(missing, "merge", 1)], 2, 1.0)
    assert outcome.trouble == "node is not installed"


def test_a_wrong_state_has_no_ratio() -> None:
    good = Result("ours", "1", "merge", 10, 2.0, {"wire_bytes": 2e6}, 10, "a", correct=True)
    bad = Result("other", "1", "merge", 10, 1.0, {}, 9, "b", correct=False)
    text = cell_table([Outcome("ours", "merge", 10, [good]), Outcome("other", "merge", 10, [bad])], "ours")
    assert "| merge | 10 | ours | 1.00x | 2 (2 to 2) |  |  | 2 |  |  | right |" in text
    assert "| merge | 10 | other |  | 1 (1 to 1) |  |  |  |  |  | **wrong** |" in text
