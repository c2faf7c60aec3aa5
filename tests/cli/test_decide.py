"""Pendencies from the command line: list, card, settle one or many, take back, say who people are."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import command, environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cli, Start

C01 = "stock/loja1/p1#C01"
BY = ("--person", "maria")
ROW_KEYS = {
    "id",
    "rule",
    "category",
    "category_title",
    "doc",
    "key",
    "keys",
    "owner",
    "severity",
    "title",
    "message",
    "effect",
    "episode",
    "status",
    "direction",
    "run",
    "opened_ms",
    "age_seconds",
}
CARD_KEYS = ROW_KEYS | {
    "now_ms",
    "time_zone",
    "evidence",
    "records",
    "records_total",
    "options",
    "acts",
    "acts_total",
    "synchronization",
    "waiting",
    "waiting_more",
}


@pytest.fixture
def shop(cli: Cli, loja: Path) -> Path:
    """A store with three products below zero, and Maria."""
    for product in ("p1", "p2", "p3"):
        cli("set", loja, f"stock/{product}", "balance-=1")
    cli("person", loja, "maria", "--name", "Maria Souza")
    return loja


def c01(cli: Cli, folder: Path, *args: object) -> list[dict[str, Any]]:
    found = cli("pendencies", folder, "--rule", "C01", *args, "--json").json["pendencies"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("running", [False, True])
def test_a_pendency_is_listed_read_settled_and_taken_back(
    cli: Cli, start: Start, shop: Path, running: bool
) -> None:
    if running:
        start(shop)
    page = cli("pendencies", shop, "--json").json
    assert page.keys() == {"now_ms", "time_zone", "total", "counts", "pendencies", "after"}
    assert all(row.keys() == ROW_KEYS for row in page["pendencies"])
    assert [row["key"] for row in c01(cli, shop)] == ["p1", "p2", "p3"]
    cli("seen", shop, C01, *BY)
    cli("note", shop, C01, "liguei para compras", *BY)
    made = cli("resolve", shop, C01, "aceitar", "--why", "chega amanhã", *BY, "--json").json
    assert made.keys() == {"decision"}
    card = cli("pendency", shop, C01, "--json").json
    assert card.keys() == CARD_KEYS
    assert card["status"] == "decided"
    assert {act["act"] for act in card["acts"]} == {"vista", "nota", "decisao"}
    assert len(c01(cli, shop)) == 2
    assert cli("undo", shop, made["decision"], "--why", "engano", *BY, "--json").json.keys() == {"act"}
    again = cli("undo", shop, made["decision"], "--why", "engano", *BY, code=2)
    assert "taken back already" in again.err
    (note,) = [act["id"] for act in card["acts"] if act["act"] == "nota"]
    assert "no decision but nota" in cli("undo", shop, note, "--why", "engano", *BY, code=2).err
    assert len(c01(cli, shop)) == 3
    said = cli("status", shop, "--json").json
    assert sum(said["pendencies_by_severity"].values()) == said["pendencies"] >= 3


def test_who_sees_only_some_records_is_told_that_there_are_more(cli: Cli, shop: Path) -> None:
    some = cli("show", shop, "stock", "--limit", 2, "--json").json
    assert (len(some["records"]), some["more"]) == (2, True)
    assert "There are more" in cli("show", shop, "stock", "--limit", 2).err
    whole = cli("show", shop, "stock", "--limit", 3, "--json").json
    assert (len(whole["records"]), whole["more"]) == (3, False)
    assert "There are more" not in cli("show", shop, "stock", "--limit", 3).err


def test_the_card_has_its_five_parts_and_who_did_what_in_both_languages(cli: Cli, shop: Path) -> None:
    cli("resolve", shop, C01, "aceitar", "--why", "chega amanhã", *BY)
    shown = cli("pendency", shop, C01, "--lang", "pt").out
    for part in (
        "Estoque abaixo de zero",
        "O que aconteceu",
        "Registros envolvidos",
        "Efeito se nada for feito",
        "Sugestão",
        "Outras opções",
        "Quem fez o quê, quando e por quê",
        "Resolvido por Maria Souza",
        "chega amanhã",
    ):
        assert part in shown
    shown = cli("pendency", shop, C01).out
    for part in (
        "What happened",
        "Records involved",
        "Effect if nothing is done",
        "Suggestion",
        "Other options",
    ):
        assert part in shown
    assert "Resolved by Maria Souza" in shown


def test_all_of_a_rule_are_settled_with_one_option_and_one_reason(cli: Cli, shop: Path) -> None:
    asked = ("resolve", shop, "--rule", "C01", "--category", "stock")
    done = cli(*asked, "aceitar", "--why", "festa", *BY, "--json").json
    assert (done["decided"], len(done["decisions"]), done["refused"]) == (3, 3, {})
    assert c01(cli, shop) == []
    assert "0 pendencies resolved" in cli(*asked, "aceitar", "--why", "festa", *BY).out


@pytest.mark.parametrize("running", [False, True])
def test_why_some_of_many_could_not_be_settled_is_told_in_the_language_of_who_asked(
    cli: Cli, start: Start, shop: Path, running: bool
) -> None:
    if running:
        start(shop)
    asked = ("resolve", shop, "--rule", "C01", "ajuste", "--why", "x", "--with", "quantidade=0.0001", *BY)
    assert "0.0001 tem mais de 3 casas decimais" in cli(*asked, "--lang", "pt", code=1).out
    refused = cli(*asked, "--lang", "pt", "--json", code=1).json["refused"]
    assert all("0.0001 has more than 3 decimal places" in why for why in refused.values())


def test_what_of_many_could_not_be_settled_is_a_finding(cli: Cli, shop: Path) -> None:
    asked = ("resolve", shop, "--rule", "C01", "ajuste", "--why", "x", "--with", "quantidade=um", *BY)
    done = cli(*asked, "--json", code=1).json
    assert (done["decided"], len(done["refused"])) == (0, 3)
    assert "3 could not be resolved" in cli(*asked, code=1).out
    assert len(c01(cli, shop)) == 3
    mended = ("resolve", shop, "--rule", "C01", "ajuste", "--why", "x", "--with", "quantidade=1", *BY)
    assert "3 pendências resolvidas" in cli(*mended, "--lang", "pt").out
    assert cli("show", shop, "stock/p1", "--json").json["records"][0]["balance"] == "0.000"


def test_wrong_usage_says_what_is_right_and_changes_nothing(cli: Cli, shop: Path) -> None:
    wrong: dict[tuple[object, ...], str] = {
        ("resolve", shop, C01, "acietar", "--why", "x", *BY): "did you mean 'aceitar'?",
        ("resolve", shop, C01, "ajuste", "--why", "x", *BY): "it asks for quantidade",
        ("resolve", shop, C01, "aceitar", *BY): "--why",
        ("resolve", shop, C01, "aceitar", "--why", "x"): "--person",
        ("resolve", shop, C01, "aceitar", "--why", "x", "--person", "caio"): "no such person",
        ("resolve", shop, "aceitar", "--why", "x", *BY): "DIR ID OPTION",
        ("resolve", shop, C01, "aceitar", "--category", "stock", "--why", "x", *BY): "go with --rule",
        ("resolve", shop, C01, "aceitar", "--with", "x", "--why", "x", *BY): "NAME=VALUE",
        ("resolve", shop, "nothing#C01", "aceitar", "--why", "x", *BY): "no such pendency",
        ("pendency", shop, "nothing#C01"): "no such pendency",
        ("undo", shop, "nothing", "--why", "x", *BY): "no such decision",
        ("pendencies", shop, "--severity", "X"): "--severity",
        ("pendencies", shop, "--rule", "C99"): "C99: no installed adapter declares this rule; did you mean",
        ("pendencies", shop, "--category", "stok"): "did you mean 'stock'?",
        ("resolve", shop, "--rule", "C99", "aceitar", "--why", "x", *BY): "no installed adapter declares",
        ("queue", shop, "--category", "stock"): "go with --records",
        ("queue", shop, "--records", "--category", "stok"): "did you mean 'stock'?",
        ("pendencies", shop, "--after", "x"): "give back what the page before said",
        ("person", shop, "caio"): "no such person",
    }
    for asked, said in wrong.items():
        assert said in cli(*asked, code=2).err, asked
    assert len(c01(cli, shop)) == 3


def test_the_list_is_filtered_and_paged(cli: Cli, shop: Path) -> None:
    first = cli("pendencies", shop, "--rule", "C01", "--limit", 2, "--json").json
    assert (first["total"], len(first["pendencies"])) == (3, 2)
    assert [row["key"] for row in c01(cli, shop, "--after", first["after"])] == ["p3"]
    assert c01(cli, shop, "--owner", "gestao") == []
    severity = first["pendencies"][0]["severity"]
    assert len(c01(cli, shop, "--category", "stock", "--severity", severity, "--status", "all")) == 3
    shown = cli("pendencies", shop, "--limit", 2, "--rule", "C01").out
    assert "2 of 3 shown" in shown
    assert "repeat with --after" in shown
    for filters, counted in {
        (): "Decide 3   Loja 3",
        ("--status", "all"): "Decide 3   Loja 3",
        ("--status", "decided"): "",
        ("--owner", "gestao"): "",
        ("--rule", "C01"): "",
    }.items():
        head = cli("pendencies", shop, *filters).out.splitlines()[0]
        assert " ".join(head.split()) == " ".join(f"Pendencies {counted}".split()), filters


def test_the_export_has_every_row_and_no_cell_that_a_spreadsheet_would_run(
    cli: Cli, loja: Path, tmp_path: Path
) -> None:
    cli("set", loja, "stock/=1+1", "balance-=1")
    file = tmp_path / "pendencias.csv"
    assert cli("pendencies", loja, "--csv", file, "--lang", "pt", "--json").json["pendencies"] >= 1
    rows = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines(), delimiter=";"))
    missing = tmp_path / "nowhere" / "pendencias.csv"
    refused = cli("pendencies", loja, "--csv", missing, code=3).err
    assert refused.startswith(f"crdtsync: {missing}: No such file or directory; check")
    before = file.read_bytes()
    cli("pendencies", loja, "--csv", file, "--rule", "C99", code=2)
    assert file.read_bytes() == before
    assert rows[0][:4] == ["Gravidade", "Regra", "Pendência", "O que aconteceu"]
    stock = next(row for row in rows if row[1] == "C01")
    assert (stock[5], stock[7]) == ("Estoque", "Loja")
    assert stock[6].startswith("'=1+1")
    out = cli("pendencies", loja, "--csv", "-").out
    assert next(csv.reader(io.StringIO(out)))[:2] == ["Severity", "Rule"]
    cli("pendencies", loja, "--csv", tmp_path / "nowhere" / "x.csv", code=3)


def test_a_person_with_a_pin_decides_only_with_it(cli: Cli, start: Start, shop: Path) -> None:
    assert cli("person", shop, "maria", "--pin", "4321", "--json").json["has_pin"]
    start(shop)
    asked = ("resolve", shop, C01, "aceitar", "--why", "x", *BY)
    assert "has a PIN" in cli(*asked, code=2).err
    assert "PIN is wrong" in cli(*asked, "--pin", "1234", code=2).err
    cli(*asked, "--pin", "4321")
    assert "has a PIN" in cli("person", shop, "maria", "--pin", "1111", code=2).err
    cli("person", shop, "maria", "--pin", "1111", "--old-pin", "4321")
    assert "Maria Souza, with a PIN" in cli("person", shop, "maria").out


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal is made here as POSIX makes one")
def test_a_pin_that_is_not_given_is_asked_for_at_a_terminal_and_not_shown(cli: Cli, shop: Path) -> None:
    import pty  # noqa: PLC0415 - POSIX alone has it

    cli("person", shop, "maria", "--pin", "4321")
    child, terminal = pty.fork()
    if child == 0:
        os.execve(  # noqa: S606 - it is this very program
            sys.executable,
            command("resolve", shop, C01, "aceitar", "--why", "x", "--lang", "en", *BY),
            environment() | {"TERM": "dumb"},
        )
    shown = b""
    while b"PIN of maria" not in shown:
        shown += os.read(terminal, 1_000)
    # The terminal stops showing what is typed before the question appears.
    os.write(terminal, b"4321\n")
    # Linux ends the reading with an error when the other end is closed.
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 1_000):
            shown += piece
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, shown.decode()
    assert b"4321" not in shown
    assert C01 not in [row["id"] for row in c01(cli, shop)]


def test_the_environment_may_say_who_decides(shop: Path) -> None:
    done = subprocess.run(
        command("resolve", shop, C01, "aceitar", "--why", "x", "--json"),
        capture_output=True,
        text=True,
        env={**environment(), "CRDTSYNC_PERSON": "maria"},
        check=True,
    )
    assert "decision" in json.loads(done.stdout.splitlines()[-1])
