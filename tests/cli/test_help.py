"""Help that a newcomer can follow, and commands of other packages that may be broken."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from crdtsync.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cli


@pytest.mark.parametrize("name", sorted(main.built_in()))
def test_every_verb_has_an_example_and_json(name: str) -> None:
    command = main.built_in()[name]
    shown = command.get_help(click.Context(command, info_name=name))
    assert f"Example: crdtsync {name}" in shown
    assert "--json" in shown


VERBS_THAT_ASK = (
    "status",
    "show",
    "set",
    "sync",
    "queue",
    "alerts",
    "network",
    "pendencies",
    "resolve",
    "log",
)


def test_who_asks_a_running_node_loads_nothing_of_what_a_node_is_made_of() -> None:
    program = f"""
import sys
from crdtsync.cli import main
for verb in {VERBS_THAT_ASK}:
    assert main.get_command(None, verb).name == verb
print(*sorted({{"pycrdt", "websockets", "cryptography", "aiosqlite", "crdtsync.node.node"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"


def test_help_names_every_verb_and_the_exit_codes(cli: Cli) -> None:
    shown = cli("--help").out
    for verb in ("init", "run", "set", "show", "status", "verify", "adapters", "demo", "simulate", "version"):
        assert f"\n  {verb} " in shown
    assert "Exit codes: 0 all is well, 1 a finding, 2 wrong usage" in shown


def test_version_and_adapters_answer_as_json(cli: Cli) -> None:
    assert cli("version", "--json").json["protocol"] >= 1
    listed = cli("adapters", "--json").json["adapters"]
    names = [row["category"] for row in listed]
    assert names.index("products") < names.index("sales")
    assert {row["from"] for row in listed if row["category"] == "products"} == {"crdtsync"}


def test_a_broken_command_of_another_package_breaks_only_itself(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "path" / "ruin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ruin\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[crdtsync.commands]\nruin = not_there:go\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    assert "ruin" in cli("--help").out
    cli("version")
    said = cli("ruin", "--fast", "x", code=3).err
    assert "ruin" in said
    assert "No module named 'not_there'" in said


def test_the_first_help_keeps_its_examples_apart_and_cuts_no_sentence_short(cli: Cli) -> None:
    said = cli("--help").out.splitlines()
    assert "    crdtsync set gestao products/7891 name=Café price=12.90" in said
    assert not [line for line in said if line.endswith("...") and line.startswith("  ")]


def test_help_is_in_the_language_of_the_person(cli: Cli) -> None:
    assert "  resolve     Resolve uma pendência" in cli("--lang", "pt", "--help").out
    said = cli("--lang", "pt", "pendencies", "--help").out
    assert "Lista as pendências, as mais graves primeiro." in said
    assert "Exemplo: crdtsync pendencies" in said
    assert "Só esta categoria." in said
