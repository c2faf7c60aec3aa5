"""Synchronization from the command line, with real processes: start it, what waits, what happened, pause and resume."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync.node.caller import call
from tests.waiting import STEP_SECONDS_MAX, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cli, Start

QUEUE_KEYS = {
    "now_ms",
    "time_zone",
    "link",
    "initial_done",
    "button",
    "next",
    "running",
    "first",
    "last",
    "above",
    "categories",
}
ENTRY_KEYS = {
    "category",
    "title",
    "direction",
    "records",
    "moved",
    "total",
    "percent",
    "when_ms",
    "cause",
    "turn",
    "waits_for",
    "waits_for_titles",
    "paused",
    "since_ms",
    "as_of_ms",
}


def say(folder: Path, verb: str, **args: Any) -> Any:
    return asyncio.run(call(folder, verb, **args))


@dataclass(frozen=True)
class Pair:
    """Head office and a store, as processes, whose first synchronization is complete."""

    gestao: Path
    loja: Path
    above: str


@pytest.fixture
def pair(tmp_path: Path, cli: Cli, start: Start, gestao: Path) -> Pair:
    path = gestao / "node.toml"
    path.write_text(path.read_text(encoding="utf-8") + "listen = true\n", encoding="utf-8")
    cli("set", gestao, "products/1", "name=Pão")
    _, said = start(gestao)
    loja = tmp_path / "loja1"
    above = f"ws://127.0.0.1:{said['port']}"
    cli("init", loja, "--role", "loja", "--store", "loja1", "--upstream", above)
    start(loja)
    wait_for(lambda: say(loja, "status")["initial_done"], "the first synchronization")
    return Pair(gestao, loja, above)


def test_a_press_synchronizes_and_the_next_is_refused_until_the_cooldown_is_over(
    cli: Cli, pair: Pair
) -> None:
    cli("set", pair.loja, "stock/1", "balance+=5")
    done = cli("sync", pair.loja, "--wait", "--json").json
    assert done.keys() == {"accepted", "reason", "available_ms", "available_seconds", "run", "above"}
    assert (done["accepted"], done["run"]["result"], done["run"]["records_up"]) == (True, "done", 1)
    again = cli("sync", pair.loja, "--json", code=1).json
    assert (again["accepted"], again["reason"]) == (False, "cooldown")
    assert 0 < again["available_seconds"] <= 300
    assert re.search(r"Available again in (5:00|4:\d\d)\.", cli("sync", pair.loja, code=1).out)
    said = cli("sync", pair.loja, "--lang", "pt", code=1).out
    assert re.search(r"Disponível novamente em (5:00|4:\d\d)\.", said)
    assert cli("show", pair.gestao, "stock/1", "--json").json["records"][0]["balance"] == "5.000"


def test_with_nothing_to_do_a_press_is_well_and_starts_no_cooldown(cli: Cli, pair: Pair) -> None:
    for _ in range(2):
        assert cli("sync", pair.loja, "--json").json["reason"] == "nothing"
    assert "Everything is synchronized" in cli("sync", pair.loja).out


def test_a_press_without_a_node_or_without_an_answer_is_a_fault(
    cli: Cli, pair: Pair, loja_alone: Path
) -> None:
    answer = cli("sync", loja_alone, "--json", code=3)
    assert "no node runs here; start it with: crdtsync run" in answer.err
    assert answer.json["exit"] == 3
    assert cli("sync", pair.gestao, "--json", code=1).json["reason"] == "no_upstream"


@pytest.fixture
def loja_alone(tmp_path: Path, cli: Cli) -> Path:
    cli("init", tmp_path / "loja9", "--role", "loja", "--store", "loja9")
    return tmp_path / "loja9"


def test_the_queue_says_what_waits_and_for_what(cli: Cli, pair: Pair) -> None:
    cli("set", pair.loja, "stock/1", "balance+=5")
    cli("set", pair.loja, "customers/c1", "name=Ana")
    facts = cli("queue", pair.loja, "--json").json
    assert facts.keys() == QUEUE_KEYS
    entries = {entry["category"]: entry for entry in facts["categories"]}
    assert entries["stock"].keys() == ENTRY_KEYS
    assert {name: entry["records"] for name, entry in entries.items()} == {"stock": 1, "customers": 1}
    shown = cli("queue", pair.loja, "--lang", "pt").out
    for word in (
        "Próximas sincronizações",
        "Envio de registros",
        "Aguardando envio, às",
        "Sincronizar agora",
    ):
        assert word in shown
    cli("pause", pair.loja, "--category", "products")
    shown = cli("queue", pair.loja, "--lang", "pt").out
    assert "aguarda produtos" in shown
    page = cli("queue", pair.loja, "--records", "--limit", 1, "--json").json
    assert (len(page["records"]), page["total"]) == (1, 2)
    rest = cli("queue", pair.loja, "--records", "--after", page["after"], "--json").json
    assert {one["key"] for one in page["records"] + rest["records"]} == {"1", "c1"}
    assert "2 records wait" in cli("queue", pair.loja, "--records").out


def test_the_queue_and_history_of_a_stopped_node_are_read_from_its_store(cli: Cli, loja: Path) -> None:
    cli("set", loja, "stock/1", "balance+=5")
    facts = cli("queue", loja, "--json").json
    assert (facts["categories"][0]["category"], facts["categories"][0]["records"]) == ("stock", 1)
    assert cli("history", loja, "--json").json["runs"] == []
    assert "no synchronization in this time" in cli("history", loja).out


def test_the_history_has_a_row_for_each_run_and_pages(cli: Cli, pair: Pair) -> None:
    cli("set", pair.loja, "stock/1", "balance+=5")
    cli("sync", pair.loja, "--wait")
    facts = cli("history", pair.loja, "--json").json
    assert facts.keys() == {"time_zone", "today", "runs", "before"}
    assert [run["trigger"] for run in facts["runs"]] == ["manual", "initial"]
    assert [part["category"] for part in facts["runs"][0]["categories"]] == ["stock"]
    page = cli("history", pair.loja, "--limit", 1, "--json").json
    rest = cli("history", pair.loja, "--before", page["before"], "--json").json
    assert [run["trigger"] for run in rest["runs"]] == ["initial"]
    shown = cli("history", pair.loja, "--lang", "pt", "--detail").out
    for word in (
        "Histórico de sincronizações",
        "Hoje",
        "Sincronizar agora",
        "Sincronização inicial",
        "Estoque",
    ):
        assert word in shown
    cli("history", pair.loja, "--days", 0, code=2)


def test_pause_and_resume_hold_for_the_link_and_for_a_category(cli: Cli, pair: Pair) -> None:
    assert cli("pause", pair.loja, "--category", "stock", "--json").json == {
        "paused": False,
        "categories": ["stock"],
    }
    assert cli("pause", pair.loja, "--json").json["paused"]
    assert cli("sync", pair.loja, "--json", code=1).json["reason"] == "paused"
    assert "Pausado: nada é enviado" in cli("pause", pair.loja, "--lang", "pt").out
    assert "no (paused)" in cli("status", pair.loja).out
    assert "name one below it" in cli("pause", pair.gestao, code=2).err
    assert cli("resume", pair.loja, "--json").json == {"paused": False, "categories": ["stock"]}
    assert "Nothing is paused" in cli("resume", pair.loja, "--category", "stock").out
    cli("pause", pair.loja, "--category", "stok", code=2)


def test_the_network_is_listed_and_a_node_below_is_paused_and_resumed(cli: Cli, pair: Pair) -> None:
    (row,) = cli("network", pair.gestao, "--json").json["below"]
    assert (row["device"], row["role"], row["state"], row["waiting"]) == ("loja1", "loja", "connected", 0)
    shown = cli("network", pair.gestao, "--lang", "pt").out
    for word in ("Último contato", "conectado", "1 estação abaixo"):
        assert word in shown
    assert "loja1 is paused" in cli("pause", pair.gestao, "--node", "loja1").out
    wait_for(lambda: say(pair.loja, "queue")["link"]["state"] == "paused_above", "the refusal")
    assert "pausado pela estação de cima" in cli("queue", pair.loja, "--lang", "pt").out
    assert cli("sync", pair.loja, "--json", code=1).json["reason"] == "paused_above"
    assert cli("network", pair.gestao, "--json").json["counts"]["paused"] == 1
    assert cli("resume", pair.gestao, "--node", "loja1", "--json").json["paused"] is False
    wait_for(lambda: say(pair.loja, "queue")["link"]["connected"], "the link")
    assert "nenhuma estação" in cli("pause", pair.gestao, "--node", "loja9", "--lang", "pt", code=2).err
    cli("pause", pair.gestao, "--node", "loja1", "--category", "stock", code=2)
    assert "no node below has 'zzz' in its name" in cli("network", pair.gestao, "--name", "zzz").out
    assert cli("network", pair.loja).out == "no node below\n"


def test_a_category_goes_first_after_what_it_refers_to(cli: Cli, loja: Path) -> None:
    facts = cli("first", loja, "stock", "--json").json
    assert facts.keys() == {"category", "before", "download", "upload"}
    assert "products" in facts["before"]
    assert "stock goes first, after what it refers to" in cli("first", loja, "stock").out
    assert cli("queue", loja, "--json").json["first"] == "stock"
    assert "No category goes first" in cli("first", loja).out
    cli("first", loja, "stok", code=2)


def test_an_alert_and_a_trouble_are_told_in_the_language_of_who_asks(
    cli: Cli, start: Start, tmp_path: Path
) -> None:
    lane = tmp_path / "caixa9"
    cli("init", lane, "--role", "caixa", "--store", "loja1", "--upstream", "ws://127.0.0.1:1")
    start(lane)
    (alert,) = cli("alerts", lane, "--json", code=1).json["alerts"]
    assert (alert["code"], alert["detail"]) == ("silent_above", "it was never heard of")
    assert "nunca deu notícia" in cli("alerts", lane, "--lang", "pt", code=1).out
    assert "it was never heard of" in cli("alerts", lane, "--lang", "en", code=1).out
    wait_for(lambda: say(lane, "status")["trouble"], "the refusal")
    portuguese, english = cli("status", lane, "--lang", "pt").out, cli("status", lane, "--lang", "en").out
    assert "Conectado                        não" in portuguese
    assert "a estação de cima não responde (unreachable: " in portuguese
    assert "Sem notícia da estação de cima · ws://127.0.0.1:1: ela nunca deu notícia" in portuguese
    assert "the node above does not answer (unreachable: " in english
    assert "The node above was not heard of · ws://127.0.0.1:1: it was never heard of" in english


def test_alerts_are_a_finding(cli: Cli, start: Start, tmp_path: Path, pair: Pair) -> None:
    assert cli("alerts", pair.loja, "--json").json == {"alerts": []}
    assert "Nada pede atenção" in cli("alerts", pair.loja, "--lang", "pt").out
    stranger = tmp_path / "loja7"
    asked = ("--role", "loja", "--store", "loja7", "--account", "other", "--upstream", pair.above)
    cli("init", stranger, *asked)
    process, _ = start(stranger)
    wait_for(lambda: bool(say(stranger, "alerts")["alerts"]), "the refusal")
    (alert,) = cli("alerts", stranger, "--json", code=1).json["alerts"]
    assert alert.keys() == {"code", "severity", "subject", "since_ms", "detail", "said"}
    assert (alert["code"], alert["severity"]) == ("link_failed", "B")
    assert "A ligação com a estação de cima falhou" in cli("alerts", stranger, "--lang", "pt", code=1).out
    assert "refused by the node above" in cli("queue", stranger).out
    assert cli("sync", stranger, "--json", code=1).json["reason"] == "failed"
    say(stranger, "stop")
    # Its end and not its silence: a node that is about to end may take a question and not answer it.
    assert process.wait(STEP_SECONDS_MAX) == 0
    found = cli("alerts", stranger, "--json", code=1).json["alerts"]
    assert [(one["code"], one["severity"]) for one in found] == [("link_failed", "B"), ("stopped", "B")]
    assert found[0] == alert
    shown = cli("doctor", stranger, code=1).out
    assert "The link with the node above failed: " in shown
    assert "the node does not run" in shown


def test_a_node_that_does_not_run_needs_attention(cli: Cli, loja: Path) -> None:
    assert "there is no store yet" in cli("alerts", loja, code=3).err
    cli("set", loja, "stock/p1", "balance+=1")
    (alert,) = cli("alerts", loja, "--json", code=1).json["alerts"]
    assert (alert["code"], alert["severity"], alert["subject"]) == ("stopped", "B", str(loja))
    assert "The node does not run" in cli("alerts", loja, code=1).out
    assert "The node does not run" in cli("status", loja).out
