"""A document that ends the process is set apart at the next start: real processes, a real abort inside yrs' place."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from adapters.stock import StockItem
from crdtsync.node import Node, NodeConfig
from crdtsync.node.config import write_config
from crdtsync.schema import Role
from tests.cli.conftest import called, environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cli, Start

# What Python imports first: the document `stock/loja1` ends the process as soon as its stored bytes are loaded.
POISON = """
import os, signal, sys
from crdtsync.state.document import Document
loading = Document.loading
def poisoned(self, *args):
    if self.doc == "stock/loja1":
        {death}
    return loading(self, *args)
Document.loading = poisoned
"""


@pytest.fixture
def poison(tmp_path: Path) -> dict[str, str]:
    """The environment of processes in which one document is poison."""
    folder = tmp_path / "poison"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(POISON.format(death="os.abort()"))
    known = environment()
    return {**known, "PYTHONPATH": os.pathsep.join([str(folder), known["PYTHONPATH"]])}


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    config = NodeConfig(tmp_path / "loja1", "loja1", Role.LOJA, store="loja1")
    write_config(config)

    async def fill() -> None:
        async with Node(config) as node, node.transaction() as tx:
            tx.create(StockItem, product="p1").balance.add(5, cause="entrada")

    asyncio.run(fill())
    return config.folder


def test_a_document_that_aborts_the_process_is_set_apart_at_the_next_start(
    tmp_path: Path, cli: Cli, filled: Path, poison: dict[str, str]
) -> None:
    died = called(tmp_path, "set", filled, "stock/p1", "balance-=1", environ=poison)
    assert died.returncode == -signal.SIGABRT
    # The document still is poison: it is not touched, everything else works, and the process lives.
    began = time.monotonic()
    done = called(tmp_path, "set", filled, "customers/c2", "name=Bia", "--json", environ=poison)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 10
    refused = called(tmp_path, "set", filled, "stock/p1", "balance-=1", "--lang", "pt", environ=poison)
    assert refused.returncode == 3
    assert "está em quarentena (o programa quebrou enquanto o lia)" in refused.stderr
    assert "crdtsync repair" in refused.stderr
    assert "Traceback" not in refused.stderr
    alerts = cli("alerts", filled, "--json", code=1).json["alerts"]
    assert [(alert["code"], alert["severity"], alert["subject"]) for alert in alerts] == [
        ("quarantine", "B", "stock/loja1"),
        ("stopped", "B", str(filled)),
    ]
    checks = cli("doctor", filled, "--json", code=1).json["checks"]
    assert ("quarantine", "fault") in [(check["check"], check["state"]) for check in checks]
    report = cli("repair", filled, "stock", "--json").json
    assert [one["doc"] for one in report["repaired"]] == ["stock/loja1"]
    assert cli("set", filled, "stock/p1", "balance-=1", "--json").json["balance"] == "4.000"


def test_a_node_that_is_killed_while_it_loads_a_document_does_not_set_it_apart(
    tmp_path: Path, cli: Cli, filled: Path, poison: dict[str, str]
) -> None:
    (tmp_path / "poison" / "sitecustomize.py").write_text(
        POISON.format(death="os.kill(os.getpid(), signal.SIGKILL)")
    )
    died = called(tmp_path, "set", filled, "stock/p1", "balance-=1", environ=poison)
    assert died.returncode == -signal.SIGKILL
    assert (filled / "reading").read_bytes().rstrip(b"\0") == b"stock/loja1\n"
    assert cli("set", filled, "stock/p1", "balance-=1", "--json").json["balance"] == "4.000"


def test_a_running_node_repairs_a_document_when_it_is_asked(cli: Cli, filled: Path, start: Start) -> None:
    with closing(sqlite3.connect(filled / "store.db")) as store, store:
        store.execute("UPDATE journal SET data = x'00'")
    start(filled)
    refused = cli("set", filled, "stock/p1", "balance-=1", code=3)
    assert "stock/loja1: this document is in quarantine" in refused.err
    report = cli("repair", filled, "stock", code=1)
    assert "1 batches of loja1 are missing" in report.out
    kept = [
        json.loads(line) for path in (filled / "damaged").iterdir() for line in path.read_text().splitlines()
    ]
    assert [(one["table"], one["document"]) for one in kept] == [("journal", "stock/loja1")]


def test_a_store_whose_file_is_damaged_is_refused_with_one_clear_message(cli: Cli, filled: Path) -> None:
    path = filled / "store.db"
    path.write_bytes(bytes(4096) + path.read_bytes()[4096:])
    answer = cli("verify", filled, code=3)
    assert answer.err.count("\n") == 1
    assert "move the file away" in answer.err
