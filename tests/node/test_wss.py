"""Whole nodes over TLS and real sockets: pairing with one string, a certificate that changed, an address without TLS."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from adapters.products import Product
from crdtsync.identity.pairing import PairingCode
from crdtsync.node import Node, NodeConfig
from crdtsync.node.enrolment import pair
from crdtsync.node.port import CERTIFICATE_KEY_NAME, CERTIFICATE_NAME, pin_of
from crdtsync.schema import Role
from tests.node.shop import STORE, add_product, told, until

if TYPE_CHECKING:
    from pathlib import Path

EVERYWHERE = "0.0.0.0"  # noqa: S104 - other machines reach it


@pytest.fixture
def gestao(tmp_path: Path) -> NodeConfig:
    (tmp_path / "gestao").mkdir()
    return NodeConfig(tmp_path / "gestao", "gestao", Role.GESTAO, host=EVERYWHERE, listen=True)


def address_of(hub: Node) -> str:
    assert hub.server is not None
    return f"wss://localhost:{hub.server.port}"


def loja_of(folder: Path, upstream: str, pin: str | None = None) -> NodeConfig:
    (folder / STORE).mkdir()
    return NodeConfig(folder / STORE, STORE, Role.LOJA, store=STORE, upstream=upstream, pin=pin)


async def test_a_store_reaches_its_head_office_over_tls_with_what_the_code_says(
    tmp_path: Path, gestao: NodeConfig
) -> None:
    async with Node(gestao) as hub:
        await add_product(hub)
        hub.config = replace(gestao, address=address_of(hub))
        made = await pair(hub, {"store": STORE})
        code = PairingCode.from_text(made["code"])
        config = loja_of(tmp_path, code.upstream, code.pin)
        loja = Node(config)
        loja.credentials.keep(code, config)
        async with loja:
            await until(lambda: bool(hub.admission.waiting()), "the code is used")
            await hub.admission.approve(loja.credentials.key.fingerprint)
            loja.request_check()
            await until(lambda: loja.initial_done, "the first synchronization")
            assert await loja.count(Product) == 1
            (link,) = hub.downstream
            assert loja.upstream is not None
            assert link.channel.binding == loja.upstream.channel.binding == bytes.fromhex(str(code.pin))


async def test_a_head_office_with_another_certificate_is_not_spoken_to(
    tmp_path: Path, gestao: NodeConfig
) -> None:
    async with Node(gestao) as hub:
        port = address_of(hub)
        pin = pin_of(gestao)
    for name in (CERTIFICATE_NAME, CERTIFICATE_KEY_NAME):
        (gestao.folder / name).unlink()
    gestao = replace(gestao, port=int(port.rpartition(":")[2]), listen=False)
    async with Node(gestao) as hub, Node(loja_of(tmp_path, port, pin)) as loja:
        await until(lambda: loja.trouble is not None, "the certificate is refused")
        (alert,) = told(loja)
        assert alert.startswith(
            f"link_trouble: {port}: the certificate of the node above is not the one that is expected "
            f"(certificate: {port}: the node above is not proven (its certificate is "
        )
        assert "correct pin or ca in node.toml" in alert
        assert not hub.downstream


async def test_an_address_of_another_machine_without_tls_fails_until_a_person_acts(tmp_path: Path) -> None:
    async with Node(loja_of(tmp_path, "ws://192.0.2.1:7400")) as loja:
        await until(lambda: loja.uplink.memory.failed is not None, "it is refused")
        (alert,) = told(loja)
        assert alert.startswith(
            "link_failed: ws://192.0.2.1:7400: between machines a link must be wss (insecure: "
        )
        assert "use wss:// between machines" in alert
