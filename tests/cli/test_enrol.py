"""Pairing from the command line, over TLS between processes, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from adapters.demo.fleet import free_port
from crdtsync.identity.keys import DeviceKey
from crdtsync.identity.pairing import CODE_NAME, PairingCode
from crdtsync.node.caller import call
from crdtsync.node.config import NodeConfig, write_config
from crdtsync.schema import Role
from tests.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cli, Start


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A head office that other machines reach."""
    port = free_port()
    everywhere = "0.0.0.0"  # noqa: S104 - other machines reach it
    write_config(
        NodeConfig(
            tmp_path / "gestao",
            "gestao",
            Role.GESTAO,
            host=everywhere,
            port=port,
            address=f"wss://localhost:{port}",
        )
    )
    return tmp_path / "gestao"


def registered(cli: Cli, hub: Path) -> list[dict[str, Any]]:
    found = cli("devices", hub, "--json").json["devices"]
    assert isinstance(found, list)
    return found


def asked(folder: Path, verb: str, **args: Any) -> Any:
    """What a running node answers, with no process for the question."""
    return asyncio.run(call(folder, verb, **args))


def told(folder: Path) -> str:
    """The first alert of a running node, in one line; empty when there is none."""
    lines = asked(folder, "status")["alerts"]
    return str(lines[0]) if lines else ""


def synchronized(folder: Path) -> bool:
    """Ask a running node to connect and compare now; tell whether it ever did."""
    asked(folder, "check")
    return bool(asked(folder, "status")["initial_done"])


def test_a_store_is_installed_with_one_string_approved_and_revoked(
    cli: Cli, start: Start, hub: Path, tmp_path: Path
) -> None:
    made = cli("pair", hub, "--store", "loja1", "--json").json
    assert (made["role"], made["store"], made["status"], made["enrolment"]) == (
        "loja",
        "loja1",
        "invited",
        "closed",
    )
    loja = tmp_path / "loja1"
    printed = cli("init", loja, "--code", made["code"], "--json").json["fingerprint"]
    secret = PairingCode.from_text(made["code"]).secret
    assert secret not in (loja / "node.toml").read_text(encoding="utf-8")
    assert (loja / CODE_NAME).stat().st_mode & 0o777 == 0o600
    start(hub)
    asked(hub, "set", category="products", key="1", assignments=["name=Café"])
    start(loja)
    wait_for(lambda: "not_approved" in told(loja), "the store hears that it waits")
    (row,) = asked(hub, "devices")["devices"]
    assert (row["device"], row["status"], row["fingerprint"]) == ("loja1", "waiting", printed)
    assert asked(loja, "devices")["fingerprint"] == printed
    assert "waiting_device: loja1" in told(hub)
    pressed = cli("sync", loja, "--json", code=1).json
    assert (pressed["reason"], pressed["above"]) == ("refused", None)

    cli("approve", hub, printed[:9])
    # It tries again by itself within a minute; a person need not wait for that.
    wait_for(lambda: synchronized(loja), "the first synchronization")
    assert asked(loja, "show", category="products", key="1")[0]["name"] == "Café"
    assert not (loja / CODE_NAME).exists()

    assert "loja1 may no longer connect" in cli("revoke", hub, "loja1").out
    wait_for(lambda: "link_failed" in told(loja), "the store is cut")
    assert "revoked: loja1 was revoked here" in told(loja)
    assert "'loja1' is revoked already" in cli("revoke", hub, "loja1", code=2).err
    logs = [(folder / "log.txt").read_text(encoding="utf-8") for folder in (hub, loja)]
    stores = b"".join(path.read_bytes() for path in hub.glob("store.db*"))
    assert [log for log in logs if secret in log] == []
    assert secret.encode() not in stores


def test_the_registry_is_kept_by_a_node_that_does_not_run(cli: Cli, hub: Path) -> None:
    made = cli("pair", hub, "--store", "loja1", "--device", "loja1", "--hours", "2")
    assert "It can be used once" in made.err
    code = PairingCode.from_text(made.out)
    assert (code.device, code.upstream.split(":")[0]) == ("loja1", "wss")
    assert len(code.pin or "") == 64
    (row,) = registered(cli, hub)
    assert (row["id"], row["status"]) == (code.id, "invited")
    assert "The code can no longer be used." in cli("revoke", hub, code.id[:8]).out
    assert registered(cli, hub) == []


def test_a_code_is_read_from_standard_input_too(cli: Cli, hub: Path, tmp_path: Path) -> None:
    code = PairingCode.from_text(cli("pair", hub, "--store", "loja1").out)
    told = cli("init", tmp_path / "loja1", "--code", "-", typed=code.to_text())
    assert "its fingerprint, to be compared at the node above: " in told.out
    assert PairingCode.from_text((tmp_path / "loja1" / CODE_NAME).read_text("utf-8")) == code


def test_a_node_that_exists_is_paired_later(cli: Cli, hub: Path, tmp_path: Path) -> None:
    code = cli("pair", hub, "--store", "loja1").out.strip()
    loja = tmp_path / "loja1"
    write_config(NodeConfig(loja, "loja1", Role.LOJA, store="loja1", upstream="wss://elsewhere.example:1"))
    told = cli("join", loja, code, code=2)
    assert (
        "node.toml: upstream = 'wss://elsewhere.example:1', the pairing code is for 'wss://localhost"
        in told.err
    )
    facts = PairingCode.from_text(code)
    config = f'device = "loja1"\nrole = "loja"\nstore = "loja1"\nupstream = "{facts.upstream}"\npin = "{facts.pin}"\n'
    (loja / "node.toml").write_text(config, encoding="utf-8")
    shown = cli("join", loja, code, "--json").json["fingerprint"]
    assert shown.replace("-", "") == DeviceKey.kept(loja / "device.key").fingerprint


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("--code", "crdtsync1.abc"), "this is no pairing code, or not the whole of one; copy it again"),
        ((), "the role is missing; name it"),
    ],
)
def test_a_node_that_cannot_be_made_says_why(
    cli: Cli, tmp_path: Path, args: tuple[str, ...], problem: str
) -> None:
    assert problem in cli("init", tmp_path / "x", *args, code=2).err
    assert not (tmp_path / "x").exists()


def test_a_code_says_what_the_options_would(cli: Cli, hub: Path, tmp_path: Path) -> None:
    code = cli("pair", hub, "--store", "loja1", "--device", "loja1").out.strip()
    told = cli("init", tmp_path / "x", "--code", code, "--role", "loja", code=2).err
    assert "leave those options out" in told
    told = cli("init", tmp_path / "x", "--code", code, "--device", "loja2", code=2).err
    assert "device = 'loja2', the pairing code is for 'loja1'" in told


def test_wrong_usage_is_told(cli: Cli, hub: Path) -> None:
    assert "'LOJA 1' is not a name" in cli("pair", hub, "--store", "LOJA 1", code=2).err
    assert "no such device" in cli("revoke", hub, "loja9", code=2).err


def test_a_node_with_no_port_and_a_lane_make_no_code(cli: Cli, tmp_path: Path, loja: Path) -> None:
    assert "address is missing" in cli("pair", loja, code=3).err
    lane, nothing = tmp_path / "caixa1", "nothing connects to a caixa"
    asked = ("--role", "caixa", "--store", "loja1")
    assert nothing in cli("init", lane, *asked, "--port", 3000, code=2).err
    cli("init", lane, *asked)
    for verb in ("pair", "recover"):
        assert nothing in cli(verb, lane, code=2).err
    assert cli("devices", lane, "--json").json["enrolment"] is None
    assert "enrolment" not in cli("devices", lane).out


def test_a_loopback_node_is_open_and_says_so(cli: Cli, tmp_path: Path) -> None:
    loja = tmp_path / "loja1"
    write_config(NodeConfig(loja, "loja1", Role.LOJA, store="loja1", port=7400))
    made = cli("pair", loja, "--lang", "pt")
    code = PairingCode.from_text(made.out)
    assert (code.upstream, code.role, code.pin) == ("ws://127.0.0.1:7400", "caixa", None)
    assert "enrolment" in made.err
    assert json.loads(cli("devices", loja, "--json").out)["enrolment"] == "open"
