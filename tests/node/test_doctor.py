"""What `doctor` says of a node's machine, folder and store."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync.node import Node, NodeConfig
from crdtsync.node.backup import back_up
from crdtsync.node.config import write_config
from crdtsync.node.control import ControlServer
from crdtsync.node.doctor import State, doctor
from crdtsync.schema import Role
from tests.service import as_root, given

if TYPE_CHECKING:
    from pathlib import Path

FULL = 1_000


@pytest.fixture
def config(tmp_path: Path) -> NodeConfig:
    return NodeConfig(tmp_path / "gestao", "gestao", Role.GESTAO)


async def states(config: NodeConfig) -> dict[str, tuple[State, str]]:
    if not config.path.exists():
        write_config(config)
    return {found.check: (found.state, found.detail) for found in await doctor(config.folder)}


async def opened_once(config: NodeConfig) -> None:
    write_config(config)
    async with Node(config):
        pass


async def test_a_node_with_a_backup_that_runs_has_nothing_to_find(config: NodeConfig) -> None:
    write_config(config)
    async with Node(config) as node:
        back_up(config, None, lambda _done, _all: None)
        control = ControlServer(node)
        await control.start()
        found = await states(config)
        await control.close()
    assert {check for check, (state, _) in found.items() if state is not State.OK} <= {"disk", "disk_full"}
    assert found["node"][0] is State.OK


async def test_a_store_that_another_program_has_open_is_not_a_node_to_be_started(config: NodeConfig) -> None:
    write_config(config)
    async with Node(config):
        found = await states(config)
    assert found["node"][0] is State.ATTENTION
    assert "another process has this store open" in found["node"][1]


async def test_a_wrong_configuration_is_the_finding_and_ends_the_look(config: NodeConfig) -> None:
    write_config(config)
    config.path.write_text("device = 1\n")
    found = await states(config)
    assert found["config"][0] is State.FAULT
    assert "device" in found["config"][1]
    assert "store" not in found


@pytest.mark.parametrize(
    ("more", "state", "told"),
    [
        ({"upstream": "ws://192.0.2.1:99"}, State.FAULT, "use wss:// between machines"),
        ({"upstream": "ws://127.0.0.1:99999"}, State.FAULT, "is not of the form wss://host:port"),
        ({"upstream": "wss://h:1", "ca": "no.pem"}, State.FAULT, "no.pem: No such file"),
        ({"port": 1, "certificate": "no.pem"}, State.FAULT, "no.pem: No such file"),
        ({"port": 1, "certificate": "node.toml"}, State.FAULT, "node.toml: it is no certificate in PEM"),
        ({"port": 1, "certificate": "node.toml", "key": "no.key"}, State.FAULT, "no.key: No such file"),
        ({"port": 1, "host": "0.0.0.0"}, State.ATTENTION, "address is missing"),  # noqa: S104 - what it lacks is the test
        ({"port": 1, "host": "192.0.2.1"}, State.OK, "nothing wrong"),
        (
            {"role": Role.CAIXA, "port": 1, "upstream": "wss://h:1"},
            State.FAULT,
            "nothing connects to a caixa",
        ),
        ({"role": Role.CAIXA}, State.FAULT, "upstream is missing"),
    ],
)
async def test_a_configuration_that_cannot_run_or_link_is_named(
    tmp_path: Path, more: dict[str, Any], state: State, told: str
) -> None:
    config = NodeConfig(**{"folder": tmp_path, "device": "n", "role": Role.LOJA, "store": "loja1", **more})
    found = (await states(config))["config"]
    assert found[0] is state
    assert told in found[1]
    assert not (tmp_path / "tls.crt").exists()


async def test_a_damaged_store_is_named(config: NodeConfig) -> None:
    await opened_once(config)
    config.store_path.write_bytes(config.store_path.read_bytes()[:5_000])
    assert (await states(config))["store"][0] is State.FAULT


async def test_a_store_that_another_node_wrote_is_named(config: NodeConfig) -> None:
    await opened_once(config)
    config.path.unlink()
    state, detail = (await states(replace(config, device="filial")))["store"]
    assert state is State.FAULT
    assert "device gestao, here filial" in detail


async def test_a_port_that_another_program_has_is_named(config: NodeConfig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        state, detail = (await states(replace(config, port=port)))["port"]
    assert state is State.FAULT
    assert str(port) in detail


async def test_a_secret_that_others_can_read_is_named(config: NodeConfig) -> None:
    write_config(config)
    secret = config.folder / "monitor.token"
    secret.write_text("0" * 64)
    secret.chmod(0o644)
    state, detail = (await states(config))["folder"]
    assert state is State.FAULT
    assert "monitor.token" in detail


@as_root
async def test_a_file_of_another_user_than_the_folders_is_named(config: NodeConfig) -> None:
    await opened_once(config)
    given(config.folder)
    assert (await states(config))["folder"][0] is State.OK
    (config.folder / "backups").mkdir()
    (config.folder / "backups" / "one.db").touch()
    state, detail = (await states(config))["folder"]
    assert state is State.FAULT
    assert detail.startswith("backups, backups/one.db: these files do not belong to the owner")
    assert f"chown -R {config.folder.owner()}: {config.folder}" in detail


async def test_a_full_disk_is_a_fault(config: NodeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free, total = FULL, FULL * FULL

    monkeypatch.setattr("crdtsync.node.doctor.shutil.disk_usage", lambda _path: Usage)
    assert (await states(config))["disk"][0] is State.FAULT


async def test_a_node_above_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        address = f"ws://127.0.0.1:{port}"
        config = NodeConfig(tmp_path / "loja1", "loja1", Role.LOJA, store="loja1", upstream=address)
        assert (await states(config))["upstream"][0] is State.OK
    state, detail = (await states(config))["upstream"]
    assert state is State.ATTENTION
    assert address in detail


async def test_a_head_office_with_no_backup_is_told_to_make_one(config: NodeConfig) -> None:
    state, detail = (await states(config))["backup"]
    assert state is State.ATTENTION
    assert "crdtsync backup" in detail
