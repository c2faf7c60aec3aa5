"""Who may connect to a node whose enrolment is closed: codes, approval, proofs, revocation. Each attack by hand."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from adapters.stock import StockItem
from crdtsync import limits
from crdtsync.errors import BadRequest, ChannelClosed, IdentityError
from crdtsync.identity.keys import DeviceKey
from crdtsync.identity.pairing import CODE_NAME, PairingCode
from crdtsync.node.admission import APPROVED, WAITING
from crdtsync.node.enrolment import approve, devices, recover, revoke
from crdtsync.protocol.greeting import signed_greeting
from crdtsync.protocol.table import Kind
from tests.node.shop import STORE, add_product, balance, receive_units, sell, told, until
from tests.node.stranger import HELLO, Stranger, stranger

if TYPE_CHECKING:
    from pathlib import Path

    from crdtsync.node import Node
    from tests.node.shop import Shop

LOJA = HELLO | {"device": STORE, "role": "loja", "store": STORE}


async def closed(shop: Shop) -> Node:
    """A head office that lets nobody in without a code."""
    return await shop.open("gestao", enrolment="closed")


async def code_of(hub: Node, *, store: str = STORE, device: str | None = None, hours: float = 1) -> str:
    secret, _ = await hub.admission.invite(store=store, device=device, hours=hours)
    return secret


async def admitted(shop: Shop, hub: Node) -> DeviceKey:
    """The key of a device that used a code and was approved."""
    key = DeviceKey.generate()
    other = await stranger(shop, hub.config.device, key)
    await other.greet(LOJA, await code_of(hub))
    await hub.admission.approve(key.fingerprint)
    return key


async def refusal(
    shop: Shop, hello: dict[str, Any], code: str | None = None, key: DeviceKey | None = None
) -> tuple[str, bool]:
    """How a greeting of a stranger at the head office is refused: code, terminal."""
    kind, answer = await (await stranger(shop, "gestao", key)).greet(hello, code)
    assert kind is Kind.REFUSE, kind
    return answer["code"], answer["terminal"]


async def test_a_device_with_no_code_is_refused_and_told_nothing(shop: Shop) -> None:
    hub = await closed(shop)
    assert await refusal(shop, LOJA) == ("unknown_device", True)
    assert await refusal(shop, LOJA | {"account": "other"}) == ("unknown_device", True)
    assert HELLO["replica"] not in hub.ledger.registry
    assert hub.admission.devices() == []


async def test_a_code_is_used_once_and_its_device_waits_for_a_person(shop: Shop) -> None:
    hub = await closed(shop)
    code, key = await code_of(hub), DeviceKey.generate()
    assert await refusal(shop, LOJA, code, key) == ("not_approved", False)
    assert [(row.device, row.status, row.key) for row in hub.admission.devices()] == [
        (STORE, WAITING, key.public)
    ]
    assert [line for line in told(hub) if line.startswith("waiting_device: loja1: ")]
    assert await refusal(shop, LOJA, code) == ("bad_code", True)
    assert await refusal(shop, LOJA, code, key) == ("not_approved", False)
    row = await approve(hub, {"fingerprint": (await devices(hub, {}))["devices"][0]["fingerprint"][:9]})
    assert (row["device"], row["status"]) == (STORE, APPROVED)
    assert (await (await stranger(shop, "gestao", key)).greet(LOJA))[0] is Kind.WELCOME
    assert told(hub) == []


async def test_an_expired_or_guessed_code_is_refused(shop: Shop) -> None:
    hub = await closed(shop)
    expired = await code_of(hub, hours=1e-9)
    assert await refusal(shop, LOJA, expired) == ("bad_code", True)
    assert await refusal(shop, LOJA, "0" * 32) == ("bad_code", True)
    # It goes when the next one is made.
    await code_of(hub)
    # What stands in the registry admits nobody: it is the hash of the secret.
    assert await refusal(shop, LOJA, hub.admission.devices()[0].id) == ("bad_code", True)
    assert [row.key for row in hub.admission.devices()] == [None]


async def test_one_code_admits_one_of_two_devices_that_show_it_at_once(shop: Shop) -> None:
    hub = await closed(shop)
    code = await code_of(hub)
    found = await asyncio.gather(*(refusal(shop, LOJA, code) for _ in range(3)))
    assert sorted(found) == [("bad_code", True), ("bad_code", True), ("not_approved", False)]
    assert len(hub.admission.devices()) == 1


@pytest.mark.parametrize(
    "claim",
    [{"device": "loja7"}, {"store": "loja2"}, {"role": "caixa"}, {"account": "other"}, {"store": None}],
)
async def test_a_claim_that_the_registry_does_not_have_is_refused(shop: Shop, claim: dict[str, Any]) -> None:
    hub = await closed(shop)
    key = await admitted(shop, hub)
    assert await refusal(shop, LOJA | claim, None, key) == ("not_allowed", True)
    assert HELLO["replica"] not in hub.ledger.registry
    code = await code_of(hub, device=STORE)
    assert await refusal(shop, LOJA | claim, code) == ("not_allowed", True)
    assert [row.status for row in hub.admission.devices()] == ["invited", APPROVED]


async def test_a_greeting_said_again_on_another_connection_is_refused(shop: Shop) -> None:
    hub = await closed(shop)
    key = await admitted(shop, hub)
    said: dict[str, Any] = {}

    class Overheard(Stranger):
        async def say(self, kind: Kind, **payload: Any) -> None:
            said.update(payload)
            await super().say(kind, **payload)

    first = Overheard((await stranger(shop, "gestao")).channel, key)
    assert (await first.greet(LOJA))[0] is Kind.WELCOME
    thief = await stranger(shop, "gestao")
    assert (await thief.hear())[0] is Kind.CHALLENGE
    await thief.say(Kind.HELLO, **said)
    kind, answer = await thief.hear()
    assert (kind, answer["code"], answer["terminal"]) == (Kind.REFUSE, "unproven", True)


@pytest.mark.parametrize("enrolment", ["open", "closed"])
async def test_a_key_that_the_device_does_not_hold_is_refused(shop: Shop, enrolment: str) -> None:
    await shop.open("gestao", enrolment=enrolment)
    other, key = await stranger(shop, "gestao"), DeviceKey.generate()
    _, challenge = await other.hear()
    named = LOJA | {"key": key.public}
    forged = DeviceKey.generate().sign(signed_greeting(named, challenge["nonce"], b""))
    await other.say(Kind.HELLO, **named, signature=forged, code=None)
    kind, answer = await other.hear()
    assert (kind, answer["code"]) == (Kind.REFUSE, "unproven")


async def test_a_proof_for_another_channel_is_refused(shop: Shop) -> None:
    """Who stands between two TLS connections shows a certificate of its own, and the signature covers it."""
    hub = await closed(shop)
    key = await admitted(shop, hub)
    other = await stranger(shop, "gestao", key)
    _, challenge = await other.hear()
    named = LOJA | {"key": key.public}
    signature = key.sign(signed_greeting(named, challenge["nonce"], b"another certificate"))
    await other.say(Kind.HELLO, **named, signature=signature, code=None)
    kind, answer = await other.hear()
    assert (kind, answer["code"]) == (Kind.REFUSE, "unproven")


async def test_a_revoked_device_is_cut_at_once_and_stays_out_until_it_is_approved_again(shop: Shop) -> None:
    hub = await closed(shop)
    key = await admitted(shop, hub)
    other = await stranger(shop, "gestao", key)
    assert (await other.greet(LOJA))[0] is Kind.WELCOME
    assert (await revoke(hub, {"device": STORE}))["status"] == "revoked"
    kind, answer = await other.hear()
    assert (kind, answer["code"], answer["terminal"]) == (Kind.REFUSE, "revoked", True)
    with pytest.raises(ChannelClosed):
        await other.hear()
    assert await refusal(shop, LOJA, None, key) == ("revoked", True)
    # A code is for a new key: the old one stays revoked, and the code is not used up.
    assert await refusal(shop, LOJA, await code_of(hub), key) == ("revoked", True)
    await hub.admission.approve(key.fingerprint)
    assert (await (await stranger(shop, "gestao", key)).greet(LOJA))[0] is Kind.WELCOME


async def test_a_revoked_device_that_does_not_listen_is_cut_all_the_same(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = await closed(shop)
    key = await admitted(shop, hub)
    assert (await (await stranger(shop, "gestao", key)).greet(LOJA))[0] is Kind.WELCOME
    (link,) = hub.downstream
    monkeypatch.setattr("crdtsync.limits.CLOSE_SECONDS_MAX", 0.05)

    async def stuck(_message: bytes) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(link.channel, "send", stuck)
    await hub.admission.revoke(key.fingerprint)
    await until(lambda: not hub.downstream, "the link ends")


async def test_revoking_another_key_of_the_same_name_leaves_the_approved_device_connected(shop: Shop) -> None:
    hub = await closed(shop)
    key = await admitted(shop, hub)
    honest = await stranger(shop, "gestao", key)
    assert (await honest.greet(LOJA))[0] is Kind.WELCOME
    impostor = DeviceKey.generate()
    await refusal(shop, LOJA, await code_of(hub), impostor)
    await hub.admission.revoke(impostor.fingerprint)
    assert [link.peer.device for link in hub.downstream if link.peer and link.greeted] == [STORE]
    assert (await refusal(shop, LOJA, None, impostor)) == ("revoked", True)


async def test_what_came_while_enrolment_was_open_is_not_approved_but_needs_a_code(shop: Shop) -> None:
    hub = await shop.open("gestao")
    key = DeviceKey.generate()
    assert (await (await stranger(shop, "gestao", key)).greet(LOJA))[0] is Kind.WELCOME
    with pytest.raises(BadRequest):
        await hub.admission.approve(key.fingerprint)
    hub.admission.closed = True
    assert await refusal(shop, LOJA, None, key) == ("unknown_device", True)
    assert await refusal(shop, LOJA, await code_of(hub), key) == ("not_approved", False)


async def test_revocation_holds_where_enrolment_is_open_too(shop: Shop) -> None:
    hub = await closed(shop)
    key = await admitted(shop, hub)
    await hub.admission.revoke(STORE)
    await shop.close("gestao")
    await shop.open("gestao", enrolment="open")
    assert await refusal(shop, LOJA, None, key) == ("revoked", True)
    assert (await (await stranger(shop, "gestao")).greet(LOJA))[0] is Kind.WELCOME


async def test_a_second_key_of_a_name_is_approved_only_when_the_first_is_revoked(shop: Shop) -> None:
    hub = await closed(shop)
    old, new = await admitted(shop, hub), DeviceKey.generate()
    assert await refusal(shop, LOJA, await code_of(hub), new) == ("not_approved", False)
    with pytest.raises(BadRequest, match=r"loja1 is approved with another key, .*; revoke that one first"):
        await hub.admission.approve(new.fingerprint)
    with pytest.raises(BadRequest, match="means several devices"):
        await hub.admission.revoke(STORE)
    await hub.admission.revoke(old.fingerprint)
    assert (await hub.admission.approve(new.fingerprint)).key == new.public


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"store": None}, "the store is missing"),
        ({"hours": 0}, "hours = 0"),
        ({"hours": 10_000}, "write a number up to 720"),
    ],
)
async def test_a_code_that_cannot_be_made_says_why(shop: Shop, asked: dict[str, Any], problem: str) -> None:
    hub = await closed(shop)
    with pytest.raises(BadRequest, match=problem):
        await hub.admission.invite(**{"store": STORE, "device": None, "hours": 1, **asked})
    with pytest.raises(BadRequest, match="no such device"):
        await hub.admission.approve("0123456789abcdef")


async def paired(shop: Shop, hub: Node, name: str) -> None:
    """Put a pairing code into the folder of a node that is not open yet."""
    secret, row = await hub.admission.invite(
        store=STORE if hub.config.store is None else None, device=name, hours=1
    )
    code = PairingCode(secret, f"memory://{hub.config.device}", "main", row.role, row.store, name)
    (shop.folder / name).mkdir()
    (shop.folder / name / CODE_NAME).write_text(code.to_text(), encoding="utf-8")


async def approve_waiting(hub: Node) -> None:
    await until(lambda: bool(hub.admission.waiting()), "a device used its code")
    (row,) = (row for row in hub.admission.devices() if row.status == WAITING)
    await hub.admission.approve(row.id)


async def test_a_whole_shop_is_paired_sells_and_loses_a_revoked_lane_but_not_what_it_sold(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hub = await closed(shop)
    await add_product(hub)
    await paired(shop, hub, STORE)
    secret = PairingCode.from_text((shop.folder / STORE / CODE_NAME).read_text("utf-8")).secret
    loja = await shop.open(STORE, enrolment="closed")
    await approve_waiting(hub)
    await shop.even()
    await receive_units(loja, 10)
    await paired(shop, loja, "caixa1")
    caixa = await shop.open("caixa1")
    await approve_waiting(loja)
    await shop.even()
    await sell(caixa, "s1")
    await shop.even()
    assert not (shop.folder / STORE / CODE_NAME).exists()

    await loja.admission.revoke("caixa1")
    await until(lambda: caixa.uplink.memory.failed is not None, "the lane hears of it")
    assert caixa.trouble == "revoked: caixa1 was revoked here"
    assert [
        line
        for line in told(caixa)
        if line.startswith("link_failed: memory://loja1: ") and "(revoked: " in line
    ]
    await sell(caixa, "s2")
    caixa.request_check()
    await shop.even({STORE})
    item = await hub.get(StockItem, "p1")
    assert item is not None
    assert str(item.balance) == "9.000"

    private = (shop.folder / STORE / "device.key").read_text("ascii").splitlines()[1]
    assert secret not in caplog.text
    assert private not in caplog.text
    at_rest = [path for path in shop.folder.rglob("*") if path.is_file() and path.name != "device.key"]
    assert [path for path in at_rest if secret.encode() in path.read_bytes()] == []
    assert [path for path in at_rest if private.encode() in path.read_bytes()] == []


async def test_a_restored_store_takes_its_writes_back_from_its_lanes_when_a_person_says_so(
    shop: Shop,
) -> None:
    gestao = await shop.open("gestao")
    await add_product(gestao)
    loja = await shop.open(STORE, enrolment="closed")
    await shop.even()
    await receive_units(loja, 10)
    await shop.even()
    await paired(shop, loja, "caixa1")
    caixa = await shop.open("caixa1")
    await approve_waiting(loja)
    await shop.even()
    await shop.close(STORE)
    shutil.copytree(shop.folder / STORE, shop.folder / "backup")
    await shop.close("gestao")
    loja = await shop.open(STORE, enrolment="closed")
    await receive_units(loja, 5)
    await shop.even({"caixa1"})
    # What only the lane still has: the head office was away, and the store's disk is that of the backup.
    await shop.close(STORE)
    shutil.rmtree(shop.folder / STORE)
    shutil.copytree(shop.folder / "backup", shop.folder / STORE)
    gestao = await shop.open("gestao")
    loja = await shop.open(STORE, enrolment="closed")
    await until(lambda: loja.uplink.heard, "the store has heard its head office")
    caixa.request_check()
    await until(lambda: bool(loja.admission.claimed), "the lane is turned away")
    await until(lambda: "say `crdtsync recover` there" in str(caixa.trouble), "the lane says what to do")
    assert [line for line in told(loja) if line.startswith("claims_own_log: caixa1: ")]
    assert await balance(loja) == 10
    await recover(loja, {})
    assert told(loja) == []
    await shop.even()
    assert [await balance(node) for node in (gestao, loja, caixa)] == [15, 15, 15]


async def test_a_key_file_that_others_can_read_keeps_the_node_from_starting(shop: Shop) -> None:
    (shop.folder / STORE).mkdir()
    path = shop.folder / STORE / "device.key"
    DeviceKey.kept(path)
    path.chmod(0o644)
    with pytest.raises(IdentityError, match="other users can read this key; revoke the device"):
        await shop.open(STORE)


def test_a_key_is_its_users_alone_and_the_same_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    key = DeviceKey.kept(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert DeviceKey.kept(path).public == key.public
    path.write_text("no key", encoding="ascii")
    with pytest.raises(IdentityError, match="this is no device key"):
        DeviceKey.kept(path)


async def test_a_damaged_row_of_the_registry_is_taken_out_and_the_node_starts(shop: Shop) -> None:
    hub = await closed(shop)
    await admitted(shop, hub)
    path = hub.config.store_path
    await shop.close("gestao")
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("UPDATE devices SET store = 'loja9'")
    hub = await shop.open("gestao", enrolment="closed")
    # What cannot be trusted admits nobody: the device is paired again.
    assert hub.admission.devices() == []


async def test_a_store_that_has_not_synchronized_yet_lets_no_lane_in(shop: Shop) -> None:
    await shop.open(STORE)
    kind, answer = await (await stranger(shop, STORE)).greet(HELLO)
    assert (kind, answer["code"], answer["terminal"]) == (Kind.REFUSE, "too_busy", False)


async def test_a_store_invites_its_own_lanes_and_a_lane_nobody(shop: Shop) -> None:
    loja, lane = await shop.open(STORE, enrolment="closed"), await shop.open("caixa1")
    _, row = await loja.admission.invite(store=None, device="caixa1", hours=1)
    assert (row.role, row.store) == ("caixa", STORE)
    with pytest.raises(BadRequest, match="this node admits lanes of store loja1 only"):
        await loja.admission.invite(store="loja2", device=None, hours=1)
    with pytest.raises(BadRequest, match="nothing connects to a caixa"):
        await lane.admission.invite(store=None, device=None, hours=1)


async def test_a_head_office_says_for_which_store_a_code_is(shop: Shop) -> None:
    hub = await closed(shop)
    with pytest.raises(BadRequest, match="the store is missing"):
        await hub.admission.invite(store=None, device=None, hours=1)
    for hours in (0, -1, limits.PAIRING_HOURS_MAX + 1):
        with pytest.raises(BadRequest, match="write a number up to"):
            await code_of(hub, hours=hours)


async def test_an_approved_device_stays_so_and_an_unused_code_is_taken_back(shop: Shop) -> None:
    hub = await closed(shop)
    key = await admitted(shop, hub)
    before = hub.admission.devices()
    await hub.admission.approve(key.fingerprint)
    assert hub.admission.devices() == before
    code = await code_of(hub)
    (unused,) = (row for row in hub.admission.devices() if row.key is None)
    assert (await hub.admission.revoke(unused.id[:8])).id == unused.id
    assert hub.admission.devices() == before
    assert await refusal(shop, LOJA, code) == ("bad_code", True)
