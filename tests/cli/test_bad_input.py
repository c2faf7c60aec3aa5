"""What is wrong is said once and clearly, with an exit code, and nothing is left half done."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cli, Start


def sql(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "store.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_a_wrong_key_in_the_configuration_is_refused_with_a_suggestion(cli: Cli, gestao: Path) -> None:
    path = gestao / "node.toml"
    path.write_text(path.read_text(encoding="utf-8") + 'upstrem = "ws://127.0.0.1:7400"\n', encoding="utf-8")
    for verb in ("run", "status", "verify", "show"):
        said = cli(verb, gestao, code=3).err
        assert str(path) in said
        assert "unknown key 'upstrem'; did you mean 'upstream'?" in said
    assert not (gestao / "store.db").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('port = "7400"', "port = '7400'; write a whole number"),
        ("port = 70000", "is not between 0 and 65535"),
        ('role = "caxia"', "write one of gestao, loja, caixa"),
        ("live = tru", "mend the file"),
    ],
)
def test_a_wrong_value_in_the_configuration_is_named(cli: Cli, tmp_path: Path, line: str, said: str) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    role = "" if line.startswith("role") else 'role = "gestao"\n'
    (folder / "node.toml").write_text(f'device = "node"\n{role}{line}\n', encoding="utf-8")
    assert said in cli("status", folder, code=3).err


def test_a_folder_that_is_no_node_says_how_to_make_one(cli: Cli, tmp_path: Path) -> None:
    assert "crdtsync init" in cli("status", tmp_path / "nothing", code=3).err
    assert "crdtsync init" in cli("doctor", tmp_path / "nothing", code=3).err
    assert not (tmp_path / "nothing").exists()


def test_init_refuses_what_cannot_be_and_leaves_no_file(cli: Cli, tmp_path: Path, gestao: Path) -> None:
    assert "store is missing" in cli("init", tmp_path / "loja1", "--role", "loja", code=2).err
    asked = ("--role", "loja", "--store", "loja1", "--upstream")
    assert "use wss://" in cli("init", tmp_path / "loja1", *asked, "ws://192.0.2.1:99", code=2).err
    assert not (tmp_path / "loja1").exists()
    before = (gestao / "node.toml").read_bytes()
    assert "already is a node" in cli("init", gestao, "--role", "gestao", code=3).err
    assert (gestao / "node.toml").read_bytes() == before


def test_a_store_of_a_newer_version_is_refused_and_left_as_it_is(cli: Cli, gestao: Path) -> None:
    cli("set", gestao, "products/1", "name=Pão")
    sql(gestao, "PRAGMA user_version = 99")
    before = (gestao / "store.db").read_bytes()
    for verb in ("run", "show", "verify"):
        answer = cli(verb, gestao, "--json", code=3)
        assert "format 99" in answer.err
        assert "install the crdtsync that wrote it" in answer.err
        assert answer.json["exit"] == 3
    assert (gestao / "store.db").read_bytes() == before


def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(cli: Cli, gestao: Path) -> None:
    damaged = b"this was a store once" * 500
    (gestao / "store.db").write_bytes(damaged)
    for verb in ("run", "status", "verify"):
        said = cli(verb, gestao, code=3).err
        assert "store.db" in said
        assert "move the file away" in said
    assert (gestao / "store.db").read_bytes() == damaged


def test_a_damaged_head_sets_its_document_apart_and_writes_to_it_are_refused(cli: Cli, gestao: Path) -> None:
    cli("set", gestao, "products/1", "name=Pão")
    sql(gestao, "UPDATE heads SET seq = seq + 1")
    assert "crdtsync repair" in cli("set", gestao, "products/2", "name=Sal", code=3).err
    assert "quarantine" in [alert["code"] for alert in cli("alerts", gestao, "--json", code=1).json["alerts"]]
    cli("set", gestao, "cost_centers/1", "name=Loja")


def test_verify_finds_a_record_that_somebody_altered(cli: Cli, gestao: Path) -> None:
    cli("set", gestao, "products/1", "name=Pão", "price=1.00")
    whole = cli("verify", gestao, "--json").json
    assert (whole["findings"], whole["records"], list(whole["digests"])) == ([], 1, ["products"])
    with closing(sqlite3.connect(gestao / "store.db")) as connection:
        named = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%price_cents%'"
        table = connection.execute(named).fetchone()[0]
    sql(gestao, f'UPDATE "{table}" SET price_cents = 1')
    found = cli("verify", gestao, "--json", code=1).json["findings"]
    assert any("checksum" in finding for finding in found)
    assert "products/1: the record shown is not what the log says" in found


@pytest.mark.parametrize("running", [False, True])
def test_what_cannot_be_written_is_refused_alike_by_a_running_node_and_without_one(
    cli: Cli, start: Start, gestao: Path, running: bool
) -> None:
    refusals = {
        ("prodcts/1", "name=x"): "did you mean 'products'?",
        ("products/1", "nme=x"): "did you mean 'name'?",
        ("products/1", "price=1.00"): "products.name: is required",
        ("products/1", "name=x", "price=-1.00"): "A price is zero or more",
        ("products/1", "name=x", "price=1.005"): "more than 2 decimal places",
        ("products/1", "name=x", "price+=1"): "write price=value",
        ("stock/1", "balance+=1"): "role gestao may not write",
        ("account_settings/a:b:c:d:e", "value=x"): "account_settings",
    }
    if running:
        start(gestao)
    for (record, *assignments), said in refusals.items():
        answer = cli("set", gestao, record, *assignments, "--json", code=2)
        assert said in answer.err
        assert said in answer.json["error"]
    assert cli("status", gestao, "--json").json["records"] == {}
    assert cli("status", gestao, "--json").json["documents"] == 0
    for asked, said in {"prodcts": "did you mean", "products/1": "no such record"}.items():
        assert said in cli("show", gestao, asked, code=2).err


def test_a_record_without_a_key_is_wrong_usage(cli: Cli, gestao: Path) -> None:
    assert "CATEGORY/KEY" in cli("set", gestao, "products", "name=x", code=2).err
    assert not (gestao / "store.db").exists()


def test_an_address_that_is_not_this_machines_is_a_fault(cli: Cli, gestao: Path) -> None:
    path = gestao / "node.toml"
    # TEST-NET-1 (RFC 5737): no machine has it.
    path.write_text(path.read_text(encoding="utf-8") + 'host = "192.0.2.1"\nport = 7400\n', encoding="utf-8")
    assert "crdtsync: " in cli("run", gestao, code=3).err


def test_a_store_cut_in_half_is_refused_and_left_as_it_is(cli: Cli, gestao: Path) -> None:
    cli("set", gestao, "products/1", "name=Pão")
    whole = (gestao / "store.db").read_bytes()
    (gestao / "store.db").write_bytes(whole[: len(whole) // 2])
    for verb in ("run", "show", "verify"):
        assert "move the file away" in cli(verb, gestao, code=3).err
    assert (gestao / "store.db").read_bytes() == whole[: len(whole) // 2]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("init", "loja1", "--role", "loja"), "name it (`--store loja1`"),
        (("init", "x", "--role", "lojo"), "not one of 'gestao', 'loja', 'caixa'"),
        (("set", "gestao", "products/1"), "Missing argument"),
        (("show", "gestao", "--limit", "many"), "not a valid integer"),
        (("shwo", "gestao"), "No such command"),
    ],
)
def test_wrong_usage_is_answered_in_json_where_json_is_asked_for(
    cli: Cli, tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    answer = cli(*args, "--json", code=2)
    assert said in answer.err
    if args[0] != "shwo":  # without a command nobody knows what --json means
        assert (said in answer.json["error"], answer.json["exit"]) == (True, 2)
    assert list(tmp_path.iterdir()) == []


def test_what_a_person_wrote_is_shown_as_it_is_and_not_as_markup(cli: Cli, gestao: Path) -> None:
    cli("recover", gestao)
    assert cli("show", gestao).out == "no records\n"
    cli("set", gestao, "products/1", "name=[red]Pão", "active=false")
    for shown in (
        cli("show", gestao, "products/1").out,
        cli("set", gestao, "products/2", "name=[red]Pão").out,
    ):
        assert "[red]Pão" in shown
        assert "controls_stock" in shown
    assert "[red]Pão" in cli("show", gestao, "products").out
