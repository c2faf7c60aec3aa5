"""A node as a process, and the verbs beside it: what one acknowledged, the other finds."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cli, Start

STEP_SECONDS_MAX = 40


def control_of(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "control.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_a_record_is_set_and_shown_without_a_running_node(cli: Cli, gestao: Path) -> None:
    cli("set", gestao, "products/7891", "name=Café", "price=12.90")
    cli("set", gestao, "products/7891", "price=13,50")
    record = cli("show", gestao, "products/7891", "--json").json["records"][0]
    assert (record["name"], record["price"]) == ("Café", "13.50")
    assert cli("status", gestao, "--json").json["records"] == {"products": 1}
    assert "Café" in cli("show", gestao, "products").out
    assert not (gestao / "control.json").exists()


def test_counters_move_and_are_counted_and_sets_grow_and_shrink(cli: Cli, loja: Path) -> None:
    cli("set", loja, "stock/p1", "balance+=3")
    assert cli("set", loja, "stock/p1", "balance-=1", "--json").json["balance"] == "2.000"
    assert cli("set", loja, "stock/p1", "balance=12", "--json").json["balance"] == "12.000"
    cli("set", loja, "customers/c1", "name=Ana", "tags+=vip", "tags+=new")
    assert cli("set", loja, "customers/c1", "tags-=new", "--json").json["tags"] == ["vip"]


def test_a_running_node_answers_set_show_and_status(cli: Cli, start: Start, gestao: Path) -> None:
    start(gestao)
    cli("set", gestao, "products/1", "name=Pão", "price=1.00")
    assert cli("show", gestao, "products/1", "--json").json["records"][0]["name"] == "Pão"
    said = cli("status", gestao, "--json").json
    assert (said["device"], said["records"], said["waiting"]) == ("gestao", {"products": 1}, {})


def test_the_control_file_is_its_owners_alone(start: Start, gestao: Path) -> None:
    start(gestao)
    assert (gestao / "control.json").stat().st_mode & 0o777 == 0o600


def test_what_was_answered_survives_kill_9(cli: Cli, start: Start, loja: Path) -> None:
    process, _ = start(loja)
    cli("set", loja, "stock/p1", "balance+=7")
    process.kill()
    process.wait(STEP_SECONDS_MAX)
    assert (loja / "control.json").exists()
    assert cli("show", loja, "stock/p1", "--json").json["records"][0]["balance"] == "7.000"
    cli("verify", loja)
    start(loja)
    assert cli("set", loja, "stock/p1", "balance-=2", "--json").json["balance"] == "5.000"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_node_cleanly(cli: Cli, start: Start, gestao: Path, number: signal.Signals) -> None:
    process, _ = start(gestao)
    cli("set", gestao, "products/1", "name=Pão")
    process.send_signal(number)
    assert process.wait(STEP_SECONDS_MAX) == 0
    assert not (gestao / "control.json").exists()
    assert (gestao / "log.txt").read_text(encoding="utf-8") == ""
    assert cli("show", gestao, "products", "--json").json["records"][0]["id"] == "1"


def test_a_second_process_on_the_same_store_is_refused(cli: Cli, start: Start, gestao: Path) -> None:
    start(gestao)
    said = cli("run", gestao, code=3).err
    assert "store.db" in said
    assert "another process has this store open" in said
    assert cli("status", gestao, "--json").json["device"] == "gestao"


def test_a_node_that_hangs_is_named_with_its_process(cli: Cli, start: Start, tmp_path: Path) -> None:
    gestao = tmp_path / "gestao"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cli("init", gestao, "--role", "gestao", "--port", port)
    process, _ = start(gestao)
    process.send_signal(signal.SIGSTOP)
    said = f"the node runs, as process {process.pid}, but does not answer"
    answer = cli("alerts", gestao, "--json", code=3)
    assert said in answer.err
    assert said in answer.json["error"]
    checks = cli("doctor", gestao, "--json", code=1).json["checks"]
    found = {one["check"]: (one["state"], one["detail"]) for one in checks}
    assert found["node"][0] == "fault"
    assert said in found["node"][1]
    assert "port" not in found
    process.send_signal(signal.SIGCONT)


def test_verify_leaves_a_running_node_alone(cli: Cli, start: Start, gestao: Path) -> None:
    start(gestao)
    assert "stop it, then verify" in cli("verify", gestao, code=3).err


def test_a_port_in_use_is_named_and_the_store_is_closed_again(cli: Cli, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cli("init", tmp_path / "gestao", "--role", "gestao", "--port", port)
        answer = cli("run", tmp_path / "gestao", "--json", code=3)
    assert f"127.0.0.1:{port}: another program listens here" in answer.err
    assert answer.json["exit"] == 3
    assert not (tmp_path / "gestao" / "control.json").exists()
    cli("status", tmp_path / "gestao")


def test_a_stale_control_file_whose_port_another_program_has_counts_as_no_node(
    cli: Cli, gestao: Path
) -> None:
    cli("set", gestao, "products/1", "name=Café")
    heard: list[bytes] = []

    def speak(server: socket.socket) -> None:
        caller, _ = server.accept()
        with caller:
            caller.sendall(b"220 mail.example ESMTP\r\n")
            heard.append(caller.recv(1_000))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=speak, args=(server,))
        thread.start()
        port = server.getsockname()[1]
        (gestao / "control.json").write_text(json.dumps({"port": port, "token": "secret"}), encoding="utf-8")
        assert cli("status", gestao, "--json").json["device"] == "gestao"
        thread.join(STEP_SECONDS_MAX)
    assert heard == [b""], "the token was shown to a stranger"


def test_another_nodes_token_runs_nothing(cli: Cli, start: Start, gestao: Path, loja: Path) -> None:
    cli("set", gestao, "products/1", "name=Café")
    start(loja)
    stolen = {**control_of(loja), "token": "0" * 64}
    (gestao / "control.json").write_text(json.dumps(stolen), encoding="utf-8")
    assert cli("status", gestao, "--json").json["device"] == "gestao"


def test_commands_at_the_same_time_wait_for_each_other(cli: Cli, loja: Path) -> None:
    cli("set", loja, "stock/p1", "balance+=1")
    with ThreadPoolExecutor(5) as together:
        calls = [together.submit(cli, "set", loja, "stock/p1", "balance+=1") for _ in range(5)]
    assert [call.result().code for call in calls] == [0] * 5
    assert cli("show", loja, "stock/p1", "--json").json["records"][0]["balance"] == "6.000"


def test_what_the_head_office_sets_arrives_at_the_store(cli: Cli, start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    above, below = tmp_path / "gestao", tmp_path / "loja1"
    cli("init", above, "--role", "gestao", "--port", port, "--live")
    cli("init", below, "--role", "loja", "--store", "loja1", "--upstream", f"ws://127.0.0.1:{port}", "--live")
    _, ready = start(above)
    assert ready["port"] == port
    start(below)
    cli("set", above, "products/1", "name=Pão")
    deadline = time.monotonic() + STEP_SECONDS_MAX
    records: list[dict[str, Any]] = []
    while not records and time.monotonic() < deadline:
        records = cli("show", below, "products", "--json").json["records"]
    assert [record["name"] for record in records] == ["Pão"]
    said = cli("status", above, "--json").json
    assert said["below"] == ["loja1"]
    assert cli("status", below, "--json").json["connected"]


def test_two_stores_one_key_at_the_head_office_is_shown_whole_and_set_where_it_is_said(
    cli: Cli, gestao: Path
) -> None:
    fields = ("number=1", "customer=c1", "issued_on=2026-11-24", "due_on=2026-12-01", "value=10")
    for store in ("loja1", "loja2"):
        cli("set", gestao, "receivables/r1", *fields, "--store", store)
    docs = [f"receivables/{store}/2026-12" for store in ("loja1", "loja2")]
    shown = cli("show", gestao, "receivables/r1", "--json").json["records"]
    assert [record["_document"] for record in shown] == docs
    refused = cli("set", gestao, "receivables/r1", "interest=1", code=2).err
    assert (
        f"2 documents have a record with this key ({docs[0]}, {docs[1]}); name the store (`--store`"
        in refused
    )
    cli("set", gestao, "receivables/r1", "interest=1", "--store", "loja2")
    for store, interest in (("loja1", "0.00"), ("loja2", "1.00")):
        (record,) = cli("show", gestao, "receivables/r1", "--store", store, "--json").json["records"]
        assert record["interest"] == interest
    assert "name it" in cli("set", gestao, "receivables/r2", *fields, code=2).err
