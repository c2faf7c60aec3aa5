"""A short form of each harness, and that each finds what it looks for."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.faults import power
from tests.faults.amounts import differences
from tests.faults.disk import disk_faults
from tests.faults.kill import kill
from tests.faults.offline import offline
from tests.faults.soak import soak
from tests.faults.stall import GROWN_BYTES_MAX, stall
from tests.faults.storm import storm

if TYPE_CHECKING:
    from pathlib import Path

CYCLES = 5
PREFIXES = 80
RECORDS = 500
NODES = 6
SALES = 100
STALLED_SECONDS = 2.0
SOAKED_SECONDS = 4.0
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
    ops = power.record(tmp_path, seed=1, transactions=60)
    root = (tmp_path / "node").resolve()
    outcome = power.cut(ops, root, tmp_path, PREFIXES, seed=1)
    assert outcome.prefixes == PREFIXES
    assert outcome.wrong == []
    careless = [op for op in ops if op.kind != "s"]
    assert power.cut(careless, root, tmp_path, PREFIXES // 4, seed=1).lost > 0


@recorded
async def test_a_disk_that_refuses_is_told_of_loses_nothing_and_needs_no_restart(tmp_path: Path) -> None:
    outcome = await disk_faults(tmp_path, rounds=1, seed=1)
    assert outcome.acknowledged
    assert set(outcome.seconds) == {"full", "read-only", "failing", "over quota", "locked", "descriptors"}
    assert (outcome.lost, outcome.wrong) == (0, [])


async def test_money_and_quantities_come_through_two_nodes_as_they_are(tmp_path: Path) -> None:
    assert await differences(tmp_path, 1, RECORDS) == []


async def test_all_nodes_come_back_to_a_hub_that_was_killed(tmp_path: Path) -> None:
    outcome = await storm(tmp_path, NODES, seed=1)
    assert len(outcome.back) == NODES
    assert outcome.took


async def test_a_node_that_stops_reading_costs_little_and_holds_nobody_up(tmp_path: Path) -> None:
    outcome = await stall(tmp_path, STALLED_SECONDS, products=5_000)
    assert outcome.late
    assert outcome.more < GROWN_BYTES_MAX


def test_lanes_at_full_speed_lose_no_movement_and_raise_nothing(tmp_path: Path) -> None:
    outcome = soak(tmp_path, SOAKED_SECONDS, lanes=2)
    assert outcome.moved > 0
    assert (outcome.missing, outcome.wrong) == (0, [])


async def test_what_was_sold_in_thirty_days_offline_is_delivered(tmp_path: Path) -> None:
    outcome = await offline(tmp_path, SALES)
    assert outcome.delivered == SALES
    assert not outcome.units_missing
