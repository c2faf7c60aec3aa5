"""The other systems of the benchmark suite are found and started; the one that needs no more packages runs."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc

from benchmarks import workload
from benchmarks.peers import SYSTEMS
from benchmarks.peers.child import Told, all_rooms, all_sales, lane_sales, rooms
from benchmarks.peers.idiomatic import Nested, Plain
from benchmarks.peers.stage import CELLS
from benchmarks.workload import LANES, PRODUCTS
from tests.process import environment

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


def test_in_the_retail_scope_each_lane_has_a_document_and_the_stock_another() -> None:
    lane = Told("lane", SIZE, Path(), 0, 2, "", SIZE, "retail", 0.0)
    hub = replace(lane, role="hub", lane=0)
    assert rooms(lane) == (["sales-2"], "stock")
    assert all_rooms(hub) == [*(f"sales-{number}" for number in range(1, LANES + 1)), "stock"]
    assert all_rooms(replace(lane, scope="everywhere")) == ["store"]
    documents: dict[str, Doc[Any]] = {room: Doc() for room in all_rooms(hub)}
    for number in range(1, LANES + 1):
        store = Plain(documents[f"sales-{number}"], stock=documents["stock"])
        for sale in lane_sales(number, SIZE):
            store.sell(sale, number)
    held, stock = rooms(hub)
    everything = Plain(*(documents[room] for room in held), stock=documents[stock])
    expected = workload.final_state(all_sales(SIZE), PRODUCTS)
    assert everything.state().digest() == expected.digest()
    # A lane: its own sales, and the stock of all.
    (own,), _ = rooms(lane)
    state = Plain(documents[own], stock=documents[stock]).state()
    assert state.digest() == replace(expected, sales=SIZE).digest()
