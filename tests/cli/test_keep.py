"""`backup`, `restore`, `upgrade`, `doctor`, `unit` and the log file, as an operator calls them."""

from __future__ import annotations

import logging
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from crdtsync import limits
from crdtsync.cli.start import rotated
from crdtsync.storage.lock import StoreLock
from tests.cli.conftest import command, environment
from tests.service import as_root, given, of_others

if TYPE_CHECKING:
    from tests.cli.conftest import Cli, Start


def test_a_running_node_is_backed_up_and_restored_when_it_is_stopped(
    gestao: Path, cli: Cli, start: Start
) -> None:
    cli("set", gestao, "products/1", "name=Café")
    process, _ = start(gestao)
    made = cli("backup", gestao, "--json").json["backup"]
    cli("set", gestao, "products/2", "name=Chá")
    refused = cli("restore", gestao, made, code=3)
    assert "another process has this store open" in refused.err
    process.terminate()
    process.wait(30)
    told = cli("restore", gestao, made)
    assert "start the node" in told.out
    keys = [row["id"] for row in cli("show", gestao, "products", "--json").json["records"]]
    assert keys == ["1"]


def test_an_upgrade_leaves_a_backup_and_says_the_way_back(gestao: Path, cli: Cli) -> None:
    cli("set", gestao, "products/1", "name=Café")
    told = cli("upgrade", gestao)
    assert "nothing is wrong" in told.out
    (made,) = (gestao / "backups").iterdir()
    assert str(made) in told.out


def test_an_upgrade_that_finds_damage_puts_the_store_back(gestao: Path, cli: Cli) -> None:
    cli("set", gestao, "products/1", "name=Café")
    with closing(sqlite3.connect(gestao / "store.db")) as store, store:
        store.execute("UPDATE rec_products SET name = 'Chá'")
    told = cli("upgrade", gestao, "--json", code=1).json
    assert told["findings"]
    cli("verify", gestao, code=1)
    aside = Path(told["aside"])
    assert (aside / "store.db").exists()


def test_where_there_is_no_store_a_verb_that_looks_says_so_and_makes_none(gestao: Path, cli: Cli) -> None:
    looks = (
        *(
            "status",
            "show",
            "show products",
            "queue",
            "queue --records",
            "history",
            "alerts",
            "pendencies",
            "devices",
        ),
        *("network", "verify", "log products/1", "repair products", "backup", "upgrade", f"diff {gestao}"),
    )
    for verb, *rest in map(str.split, looks):
        told = cli(verb, gestao, *rest, code=3).err
        assert f"{gestao / 'store.db'}: there is no store yet; `crdtsync run {gestao}` makes it" in told, verb
    assert {path.name for path in gestao.iterdir()} <= {"node.toml", "store.db.lock"}
    cli("set", gestao, "products/1", "name=Café")
    cli("status", gestao)


def test_a_verb_that_looks_waits_for_a_node_that_is_making_its_store(gestao: Path, cli: Cli) -> None:
    with StoreLock(str(gestao / "store.db")):
        assert "another process has this store open" in cli("status", gestao, code=3).err


def test_a_folder_that_was_copied_and_edited_is_refused_by_every_verb(gestao: Path, cli: Cli) -> None:
    cli("set", gestao, "products/1", "name=Café")
    config = gestao / "node.toml"
    config.write_text(config.read_text().replace('"gestao"', '"filial"', 1))
    before = (gestao / "store.db").read_bytes()
    asked = ["status"], ["run"], ["backup"], ["upgrade"], ["verify"], ["set", "products/1", "name=Chá"]
    for verb, *rest in asked:
        assert "device gestao, here filial" in cli(verb, gestao, *rest, code=3).err, verb
    assert (gestao / "store.db").read_bytes() == before
    assert not (gestao / "backups").exists()


@as_root
def test_what_root_asks_of_a_service_leaves_files_that_the_service_can_open(gestao: Path, cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (gestao / "node.toml").open("a") as file:
        file.write(f"monitor = {port}\n")
    given(gestao)
    cli("set", gestao, "products/1", "name=Café")
    assert of_others(gestao) == []
    for verb in ("status", "alerts", "backup", "upgrade", "monitor", "devices"):
        cli(verb, gestao, code=1 if verb == "alerts" else 0)
        assert of_others(gestao) == [], verb
    cli("pendencies", gestao, "--csv", gestao / "list.csv")
    log = ["--log-file", str(gestao / "node.log")]
    with subprocess.Popen(command("run", gestao, *log), stdout=subprocess.PIPE, env=environment()) as node:
        assert node.stdout is not None
        assert node.stdout.readline()
        while_it_runs = of_others(gestao)
        node.terminate()
    assert while_it_runs == of_others(gestao) == []


def test_the_doctor_tells_in_two_languages_and_exits_1_on_a_finding(gestao: Path, cli: Cli) -> None:
    assert "the node does not run" in cli("doctor", gestao, code=1).out
    assert "a estação não está em execução" in cli("doctor", gestao, "--lang", "pt", code=1).out
    checks = cli("doctor", gestao, "--json", code=1).json["checks"]
    assert {row["check"]: row["state"] for row in checks}["config"] == "ok"


def test_the_unit_names_the_folder_and_its_owner(gestao: Path, cli: Cli) -> None:
    told = cli("unit", gestao).out
    assert f'run "{gestao}"' in told
    assert f"User={gestao.owner()}" in told
    assert "User=caixa" in cli("unit", gestao, "--user", "caixa").out


def test_a_full_log_file_is_kept_and_a_new_one_begun_and_only_the_last_stay(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    handler = rotated(path, tmp_path)
    record = logging.makeLogRecord({"msg": "x" * (limits.LOG_BYTES_MAX // 2)})
    for _ in range(4 * limits.LOG_FILES_KEPT):
        handler.emit(record)
    handler.close()
    files = list(tmp_path.iterdir())
    assert len(files) == limits.LOG_FILES_KEPT + 1
    assert all(file.stat().st_size <= limits.LOG_BYTES_MAX for file in files)


def test_what_a_node_logs_goes_to_the_file(gestao: Path, cli: Cli) -> None:
    cli("set", gestao, "products/1", "name=Café")
    (gestao / "incarnation").unlink()
    path = gestao / "node.log"
    with subprocess.Popen(
        command("run", gestao, "--log-file", path), stdout=subprocess.PIPE, env=environment(), text=True
    ) as node:
        assert node.stdout is not None
        assert node.stdout.readline()
        node.terminate()
        assert node.wait(30) == 0
    assert "the store was restored or copied" in path.read_text(encoding="utf-8")
