"""Who changed what of a record, and where two nodes differ, from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cli, Start

CHANGE_KEYS = {
    "at_ms",
    "device",
    "role",
    "replica",
    "actor",
    "doc",
    "field",
    "kind",
    "name",
    "value",
    "state",
    "sequence",
    "transaction",
    "also",
    "compacted",
}


@pytest.mark.parametrize("running", [False, True])
def test_the_log_tells_who_changed_what(cli: Cli, start: Start, gestao: Path, running: bool) -> None:
    cli("set", gestao, "products/1", "name=Pão", "price=1.00")
    if running:
        start(gestao)
    cli("set", gestao, "products/1", "price=1.20")
    facts = cli("log", gestao, "products/1", "--field", "price", "--json").json
    assert facts.keys() == {"time_zone", "changes", "after"}
    assert all(change.keys() == CHANGE_KEYS for change in facts["changes"])
    assert [(one["value"], one["state"], one["device"], one["actor"]) for one in facts["changes"]] == [
        ("1.20", "current", "gestao", "cli"),
        ("1.00", "replaced", "gestao", "cli"),
    ]
    page = cli("log", gestao, "products/1", "--limit", 1, "--json").json
    assert cli("log", gestao, "products/1", "--after", page["after"], "--json").json["changes"]
    shown = cli("log", gestao, "products/1", "--lang", "pt").out
    assert "substituído" in shown
    assert "gestao · cli" in shown
    for wrong in ("products", "products/2", "prodcts/1"):
        cli("log", gestao, wrong, code=2)


def test_two_nodes_are_compared_stopped_and_running(
    cli: Cli, start: Start, tmp_path: Path, gestao: Path
) -> None:
    path = gestao / "node.toml"
    path.write_text(path.read_text(encoding="utf-8") + "listen = true\n", encoding="utf-8")
    cli("set", gestao, "products/1", "name=Pão")
    _, said = start(gestao)
    loja = tmp_path / "loja1"
    cli("init", loja, "--role", "loja", "--store", "loja1", "--upstream", f"ws://127.0.0.1:{said['port']}")
    process, _ = start(loja)
    wait_for(lambda: bool(cli("status", loja, "--json").json["initial_done"]), "the first synchronization")
    cli("sync", loja, "--wait")
    same = cli("diff", gestao, loja, "--json").json
    assert same == {"both": 1, "equal": 1, "differ": [], "only_first": [], "only_second": []}
    process.terminate()
    process.wait()
    cli("set", loja, "stock/1", "balance+=1")
    cli("set", gestao, "products/1", "name=Pão francês")
    cli("set", gestao, "products/2", "name=Leite")
    told = cli("diff", gestao, loja, "--json", code=1).json
    assert told["differ"] == [
        {"doc": "products", "records": 2, "changed": ["1"], "only_first": ["2"], "only_second": []}
    ]
    assert told["only_second"] == ["stock/loja1"]
    shown = cli("diff", gestao, loja, "--lang", "pt", code=1).out
    assert "products: 2 registros diferentes" in shown
    assert "≠ 1" in shown
    cli("diff", gestao, tmp_path / "nothing", code=3)
