"""The other systems of the benchmark suite are found and started; the one that needs no more packages runs."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from benchmarks import workload
from benchmarks.peers import SYSTEMS
from benchmarks.peers.child import all_sales
from benchmarks.peers.idiomatic import Nested, Plain
from benchmarks.peers.stage import CELLS
from benchmarks.workload import PRODUCTS
from tests.process import environment

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 20


def test_every_system_has_cells_and_a_command_for_each(tmp_path: Path) -> None:
    assert len({system.name for system in SYSTEMS}) == len(SYSTEMS)
    for system in SYSTEMS:
        assert system.cells
        assert set(system.cells) <= set(CELLS)
        for cell in system.cells:
            assert str(tmp_path) in system.command(cell, SIZE, tmp_path)
        reason = system.missing()
        assert reason is None or reason


@pytest.mark.parametrize("cell", ["merge", "growth"])
def test_pycrdt_ends_with_the_state_that_the_workload_leads_to(cell: str, tmp_path: Path) -> None:
    (system,) = (system for system in SYSTEMS if system.name == "pycrdt")
    assert system.missing() is None
    run = subprocess.run(
        system.command(cell, SIZE, tmp_path), check=True, capture_output=True, text=True, env=environment()
    )
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["correct"], run.stdout
    assert result["seconds"] > 0
    assert result["sales"] == (5 * SIZE if cell == "merge" else 0)


@pytest.mark.parametrize("layout", [Nested, Plain])
def test_a_lost_sale_is_seen_in_the_digest(layout: type[Nested]) -> None:
    sales = list(all_sales(SIZE))
    store = layout()
    for sale in sales[:-1]:
        store.sell(sale, 1)
    expected = workload.final_state(sales, PRODUCTS).digest()
    assert store.state().digest() != expected
    store.sell(sales[-1], 1)
    assert store.state().digest() == expected
