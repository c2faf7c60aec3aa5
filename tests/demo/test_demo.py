"""The demo's whole job on a small data folder, as real processes, and what it says when something is wrong."""

from __future__ import annotations

import gzip
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from click.testing import CliRunner, Result

from adapters.demo import _Demo, demo
from adapters.demo.recount import WEEK, recount
from tests.demo.small import BASKETS, LANES, cut_data

if TYPE_CHECKING:
    from pathlib import Path

INTERRUPTED = 130
EVERY_LANE = tuple(f"caixa{number + 1}" for number in range(LANES))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return cut_data(tmp_path / "data")


def run(data: Path, nodes: Path) -> Result:
    arguments = ["--lanes", str(LANES), "--data", str(data), "--dir", str(nodes), "--json"]
    return CliRunner().invoke(demo, arguments, catch_exceptions=False)


def summary(result: Result) -> dict[str, Any]:
    """The last line of standard output."""
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def change_sales(nodes: Path, script: str, *names: str) -> None:
    """Run SQL in nodes' stores, on a copy of their sales that then takes the table's place."""
    for name in names:
        with closing(sqlite3.connect(nodes / name / "store.db")) as store, store:
            store.executescript(
                "CREATE TEMP TABLE sold AS SELECT * FROM rec_sales;"
                f"{script};"
                "DELETE FROM rec_sales; INSERT INTO rec_sales SELECT * FROM sold;"
            )


def baskets_of(nodes: Path, lane: str) -> list[str]:
    with closing(sqlite3.connect(nodes / lane / "store.db")) as store:
        return [basket for (basket,) in store.execute("SELECT id FROM sales ORDER BY id")]


def test_the_week_sold_by_cut_off_lanes_converges_with_nothing_lost_or_duplicated(
    data: Path, tmp_path: Path
) -> None:
    nodes = tmp_path / "nodes"
    result = run(data, nodes)
    found = summary(result)
    assert result.exit_code == 0
    assert (found["converged"], found["lost"], found["duplicated"]) == (True, 0, 0)
    assert (found["baskets"], found["nodes"]) == (BASKETS, 2 + LANES)
    assert found["below_zero"] > 0
    assert found["settled"] == min(3, found["below_zero"])
    assert "settled at all" in result.stderr
    # The nodes that are left behind are as the manager left them, and the recount knows.
    assert recount(nodes, data, LANES).agrees
    assert found["bytes_down"] > found["bytes_up"] > 0
    sold = [basket for lane in EVERY_LANE for basket in baskets_of(nodes, lane)]
    assert sorted(sold) == baskets_of(nodes, "gestao")
    assert len(sold) == BASKETS


def test_a_sale_removed_and_another_doubled_are_lost_1_and_duplicated_1_and_exit_1(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = tmp_path / "nodes"
    recount = _Demo._recount

    async def tampered(self: _Demo) -> dict[str, Any]:
        removed, doubled = baskets_of(nodes, "caixa1")[:2]
        change_sales(nodes, f"DELETE FROM sold WHERE _key = '{removed}'", "gestao", "loja1", "caixa1")
        change_sales(
            nodes,
            f"CREATE TEMP TABLE twin AS SELECT * FROM sold WHERE _key = '{doubled}';"
            "UPDATE twin SET _key = '9' || _key; INSERT INTO sold SELECT * FROM twin",
            "loja1",
        )
        return await recount(self)

    monkeypatch.setattr(_Demo, "_recount", tampered)
    result = run(data, nodes)
    found = summary(result)
    assert (found["converged"], found["lost"], found["duplicated"]) == (False, 1, 1)
    assert result.exit_code == 1
    assert "NOT converged: lost 1, duplicated 1" in result.stderr


def test_a_malformed_line_is_named_with_its_file_and_number_and_exit_3(data: Path, tmp_path: Path) -> None:
    path = data / WEEK
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    lines[6] = lines[6].rpartition(",")[0] + ",1.29"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    result = run(data, tmp_path / "nodes")
    assert result.exit_code == 3
    assert f"{path.name}, line 7: unit_price_cents '1.29' is not a whole number" in result.stderr
    assert "correct that value" in result.stderr
    assert "Traceback" not in result.output


def test_a_data_folder_without_the_files_is_exit_3_and_says_which(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    result = run(empty, tmp_path / "nodes")
    assert result.exit_code == 3
    assert "no such file" in result.stderr


def test_a_folder_that_holds_nodes_already_is_exit_3_and_left_alone(data: Path, tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    (nodes / "gestao").mkdir(parents=True)
    (nodes / "gestao" / "node.toml").write_text('device = "gestao"\nrole = "gestao"\n')
    result = run(data, nodes)
    assert result.exit_code == 3
    assert "already is a node" in result.stderr
    assert sorted(path.name for path in nodes.rglob("*") if path.is_file()) == ["node.toml"]


def test_kept_open_it_prints_the_address_of_every_page_and_ctrl_c_ends_it(data: Path, tmp_path: Path) -> None:
    arguments = ["--lanes", str(LANES), "--data", str(data), "--dir", str(tmp_path / "nodes"), "--keep-open"]
    command = [sys.executable, "-m", "crdtsync.cli", "demo", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as shown:
        assert shown.stdout is not None
        addresses: list[str] = []
        try:
            while len(addresses) < LANES + 2:
                line = shown.stdout.readline()
                assert line, "it ended before every page was named"
                if line.strip().startswith("http://"):
                    addresses.append(line.strip())
            for address in addresses:
                assert "<!doctype html>" in httpx.get(address).text
        finally:
            shown.send_signal(signal.SIGINT)
            code = shown.wait(60)
    assert code == INTERRUPTED
    assert len(set(addresses)) == LANES + 2
