"""What a node refuses, and what it says: strangers, other versions, uploads out of order, a half-read answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters.products import Product
from crdtsync.errors import ChannelClosed, ConfigError, NotAllowed, UpdateInvalid
from crdtsync.node import NodeConfig, load_config
from crdtsync.node.link import Link
from crdtsync.node.verbs import status
from crdtsync.protocol.frames import PROTOCOL
from crdtsync.protocol.table import Kind
from crdtsync.schema import Role
from crdtsync.state.document import Op
from tests.node.shop import STORE, add_product, balance, receive_units, told, until
from tests.node.stranger import HELLO, stranger

if TYPE_CHECKING:
    from pathlib import Path

    from crdtsync.state.document import Change
    from tests.node.shop import Shop

DATA = {"doc": "stock/loja1", "update": b"\x00\x00", "final": True, "cut": {}, "records": 0, "n": 1}


async def open_store(shop: Shop) -> None:
    await shop.open("gestao")
    await add_product(shop.nodes["gestao"])
    await shop.open(STORE)
    await shop.even()


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"account": "other"}, "wrong_account", "caixa9 belongs to another account"),
        ({"role": "gestao", "store": None}, "wrong_role", "a gestao does not synchronize with a loja"),
        ({"role": "loja", "device": "loja9"}, "wrong_role", "a loja does not synchronize with a loja"),
        ({"role": "manager"}, "wrong_role", "unknown role 'manager'"),
        ({"store": "loja2"}, "wrong_store", "caixa9 belongs to store loja2"),
        (
            {"device": STORE},
            "not_allowed",
            "two nodes call themselves loja1; give one of them another name in its node.toml",
        ),
    ],
)
async def test_a_greeting_of_somebody_else_is_refused_and_says_why(
    shop: Shop, change: dict[str, Any], code: str, message: str
) -> None:
    await open_store(shop)
    other = await stranger(shop, STORE)
    kind, refusal = await other.greet(HELLO | change)
    assert (kind, refusal["code"], refusal["message"]) == (Kind.REFUSE, code, message)
    assert refusal["terminal"]
    with pytest.raises(ChannelClosed):
        await other.hear()
    assert HELLO["replica"] not in shop.nodes[STORE].ledger.registry


async def test_a_greeting_in_another_version_of_the_protocol_is_refused_with_both_versions(
    shop: Shop,
) -> None:
    await open_store(shop)
    other = await stranger(shop, STORE)
    kind, refusal = await other.greet(HELLO | {"protocol": PROTOCOL + 1})
    assert (kind, refusal["code"], refusal["terminal"]) == (Kind.REFUSE, "incompatible_version", True)
    assert f"version {PROTOCOL} of the protocol" in refusal["message"]
    assert f"version {PROTOCOL + 1};" in refusal["message"]


@pytest.mark.parametrize(
    ("setting", "trouble"),
    [
        ({"account": "other"}, "wrong_account: caixa1 belongs to another account"),
        ({"upstream": "gestao"}, "wrong_role: a caixa does not synchronize with a gestao"),
        ({"store": "loja2"}, "wrong_store: caixa1 belongs to store loja2"),
    ],
)
async def test_the_refused_node_says_what_is_wrong_with_it(
    shop: Shop, setting: dict[str, Any], trouble: str
) -> None:
    await open_store(shop)
    caixa = await shop.open("caixa1", **setting)
    await until(lambda: caixa.trouble is not None, "the node hears the refusal")
    assert caixa.trouble == trouble
    assert not caixa.initial_done
    assert await caixa.count(Product) == 0
    assert [line for line in told(caixa) if trouble in line]


async def test_a_node_of_another_protocol_version_is_told_both_versions_and_works_on_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_store(shop)
    honest = Link._identity

    def newer(self: Link) -> dict[str, Any]:
        said = honest(self)
        return said | {"protocol": PROTOCOL + 1} if self.ledger.identity.device == "caixa1" else said

    monkeypatch.setattr(Link, "_identity", newer)
    caixa = await shop.open("caixa1")
    await until(lambda: caixa.trouble is not None, "the node hears the refusal")
    (alert,) = told(caixa)
    assert f"incompatible_version: this node speaks version {PROTOCOL} of the protocol" in alert
    assert f"the other end speaks version {PROTOCOL + 1}; install the same crdtsync on both" in alert
    await receive_units(caixa, 1)
    assert await balance(caixa) == 1
    assert told(shop.nodes[STORE]) == []


async def test_a_refused_upload_stays_an_alert_until_a_run_ends_well(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_store(shop)
    caixa, loja = await shop.open("caixa1"), shop.nodes[STORE]
    await shop.even()
    assert told(caixa) == []
    honest, refused = loja.ledger.receive, []

    async def refuse(doc: str, *_: object) -> list[Change]:
        refused.append(doc)
        raise UpdateInvalid(f"{doc}: a test refuses it")

    monkeypatch.setattr(loja.ledger, "receive", refuse)
    await receive_units(caixa, 1)
    meaning = "a frame or an update whose content is not allowed"
    said = f"link_trouble: memory://loja1: {meaning} (invalid: stock/loja1: a test refuses it)"
    for times in range(1, 4):
        caixa.request_check()
        await until(lambda times=times: len(refused) >= times, "the upload is tried again")  # type: ignore[misc]
        await until(lambda: caixa.trouble is not None, "the refusal is heard")
        assert (await status(caixa, {}))["alerts"] == [said]
    assert (await status(caixa, {}))["waiting"]["stock"] == 1
    monkeypatch.setattr(loja.ledger, "receive", honest)
    await shop.even()
    await until(lambda: told(caixa) == [], "the alert goes")
    assert await balance(loja) == 1


@pytest.mark.parametrize("place", ["idle", "checking", "planning"])
async def test_an_upload_before_its_fence_is_refused_as_an_order_violation(shop: Shop, place: str) -> None:
    await open_store(shop)
    loja = shop.nodes[STORE]
    before = loja.ledger.digest(loja.ledger.heads)
    other = await stranger(shop, STORE)
    assert (await other.greet(HELLO))[0] is Kind.WELCOME
    if place != "idle":
        await other.say(Kind.CHECK, digest=bytes(16), held=[], first=None, rate=None)
        assert (await other.hear())[0] is Kind.DIGESTS
    if place == "planning":
        await other.say(Kind.HEADS, docs={"products": {}}, vouched=[], more=False)
        assert (await other.hear())[0] is Kind.PLAN
    await other.say(Kind.DATA, **DATA)
    kind, payload = await other.hear()
    while kind in {Kind.DATA, Kind.DONE}:
        kind, payload = await other.hear()
    assert (kind, payload["code"], payload["terminal"]) == (Kind.REFUSE, "order_violation", False)
    assert "down may not say data" in payload["message"]
    assert loja.ledger.digest(loja.ledger.heads) == before


async def test_a_lane_may_not_write_what_only_gestao_writes(shop: Shop) -> None:
    await open_store(shop)
    with pytest.raises(NotAllowed, match=r"products\.name: a node of role loja may not write it"):
        async with shop.nodes[STORE].transaction() as tx:
            tx.create(Product, id="p2", name="Feijão")
    assert await shop.nodes[STORE].count(Product) == 1


async def test_who_may_not_create_a_record_does_not_delete_one_here_or_above(shop: Shop) -> None:
    await open_store(shop)
    loja = shop.nodes[STORE]
    with pytest.raises(NotAllowed, match="products"):
        async with loja.transaction() as tx:
            (await tx.get(Product, "p1")).delete()
    await loja.ledger.write({"products": {"p1": [Op("write", "~", 1)]}})
    loja.request_check()
    await until(lambda: "may not write this field" in str(loja.trouble), "gestao refuses it")
    assert await shop.nodes["gestao"].count(Product) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('device = "a"\nrole = "loja"\nstoer = "b"', "unknown key 'stoer'; did you mean 'store'?"),
        ('device = "a"\nrole = "lojo"', "role = 'lojo'; write one of gestao, loja, caixa"),
        ('role = "gestao"', "device is missing"),
        ('device = "a"', "role is missing"),
        ('device = "A B"\nrole = "gestao"', "device = 'A B' is not a name"),
        ('device = "a"\nrole = "caixa"', "store is missing; a caixa belongs to a store"),
        ('device = "a"\nrole = "gestao"\nupstream = "ws://b"', "nothing is above a gestao"),
        ('device = "a"\nrole = "gestao"\nport = "80"', "port = '80'; write a whole number"),
        ('device = "a"\nrole = "gestao"\nport = true', "port = true; write a whole number"),
        ('device = "a"\nrole = "gestao"\nport = 70000', "port = 70000 is not between 0 and 65535"),
        ('device = "a"\nrole = "gestao"\ncheck_seconds = 0', "check_seconds = 0 is not greater than 0"),
        (
            'device = "a"\nrole = "gestao"\nenrollment = "open"',
            "unknown key 'enrollment'; did you mean 'enrolment'?",
        ),
        ('device = "a"\nrole = "gestao"\nenrolment = "ope"', "enrolment = 'ope'; write closed or open"),
        (
            'device = "a"\nrole = "gestao"\nhost = "0.0.0.0"\nenrolment = "open"',
            "enrolment = open is for a port of this machine alone, and host = '0.0.0.0' lets others in",
        ),
        ('device = "a"\nrole = "gestao"\nkey = "k.pem"', "key is set without certificate"),
        ('device = "a"\nrole = "gestao"\npin = "AB:CD"', "pin = 'AB:CD' is not the SHA-256 of a certificate"),
        (
            f'device = "a"\nrole = "loja"\nstore = "b"\nupstream = "wss://h"\npin = "{"a" * 64}"\nca = "c.pem"',
            "pin and ca are set; remove one",
        ),
        (
            'device = "a"\nrole = "loja"\nstore = "b"\nupstream = "ws://h"\nca = "c.pem"',
            "ca is set, but upstream = 'ws://h' is not wss://",
        ),
        (
            'device = "a"\nrole = "gestao"\naddress = "gestao.example"',
            "address = 'gestao.example' is not of the form wss://host:port",
        ),
        ('device = "a"\nrole = "gestao"\ncheck_seconds = "a"', "check_seconds = 'a'; write a number"),
        ('device = "a"\nrole = "gestao"\nlive = "yes"', "live = 'yes'; write true or false"),
        ('device = 7\nrole = "gestao"', "device = 7; write a text between quotes"),
        ('device = "a"\nrole = "gestao"\n\ndevice = "b"\n', "line 4: device is there twice; remove one"),
        (
            'device = "a"\nrole = gestao',
            "line 2: role = gestao is not of the form KEY = VALUE; mend the file",
        ),
        ('device = "a', 'line 1: device = "a is not of the form KEY = VALUE; mend the file'),
        ('device = "a"\n\nrole = """gestao\n\n', 'line 3: role = """gestao is not of the form KEY = VALUE'),
        ("[device", "line 1: [device is not of the form KEY = VALUE; mend the file"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_with_the_file_and_the_key(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "node.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert problem in str(caught.value)


def test_a_configuration_in_another_encoding_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_bytes('device = "ação"'.encode("latin-1"))
    with pytest.raises(ConfigError, match="is no text in UTF-8"):
        load_config(tmp_path)


def test_a_folder_without_a_configuration_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file; make the node with `crdtsync init"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("settings", "admits", "encrypted"),
    [
        ({}, "open", False),
        ({"host": "localhost"}, "open", False),
        ({"enrolment": "closed"}, "closed", False),
        ({"host": "0.0.0.0"}, "closed", True),  # noqa: S104 - what it comes to is the test
        ({"host": "192.0.2.1"}, "closed", True),
        ({"certificate": "c.pem"}, "open", True),
    ],
)
def test_who_is_admitted_by_default_and_whether_it_is_encrypted(
    tmp_path: Path, settings: dict[str, Any], admits: str, *, encrypted: bool
) -> None:
    config = NodeConfig(tmp_path, "gestao", Role.GESTAO, **settings)
    assert (config.admits, config.encrypted) == (admits, encrypted)


def test_a_configuration_with_every_key_is_read(tmp_path: Path) -> None:
    text = (
        'device = "caixa1"\nrole = "caixa"\naccount = "main"\nstore = "loja1"\nupstream = "ws://127.0.0.1:1"\n'
        'host = "127.0.0.1"\nport = 0\nlisten = false\nlive = true\ncheck_seconds = 30\n'
    )
    (tmp_path / "node.toml").write_text(text, encoding="utf-8")
    config = load_config(tmp_path)
    assert (config.role, config.live, config.check_seconds) == (Role.CAIXA, True, 30)


async def test_an_end_that_said_goodbye_is_not_asked_to_compare_heads(shop: Shop) -> None:
    await open_store(shop)
    (link,) = shop.nodes["gestao"].downstream
    link.session.bye("moving")
    before = dict(link._tasks)
    link.poke()
    assert link._tasks == before
