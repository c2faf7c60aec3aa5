"""A short form of each harness, and that each finds what it looks for."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.faults import power
from tests.faults.kill import kill

if TYPE_CHECKING:
    from pathlib import Path

CYCLES = 5
PREFIXES = 80
recorded = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="the recorder needs Linux and a C compiler"
)


@pytest.mark.timeout(120)
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    outcome = kill(tmp_path, CYCLES, seed=1)
    assert outcome.acknowledged > 0
    assert (outcome.lost, outcome.damaged, outcome.wrong) == (0, 0, [])


@recorded
@pytest.mark.timeout(180)
def test_nothing_acknowledged_is_lost_when_the_power_goes_and_it_would_be_without_synchronization(
    tmp_path: Path,
) -> None:
    ops = power.record(tmp_path, seed=1)
    root = (tmp_path / "node").resolve()
    outcome = power.cut(ops, root, tmp_path, PREFIXES, seed=1)
    assert outcome.prefixes == PREFIXES
    assert outcome.wrong == []
    careless = [op for op in ops if op.kind != "s"]
    assert power.cut(careless, root, tmp_path, PREFIXES // 4, seed=1).lost > 0
