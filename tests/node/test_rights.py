"""What a peer may read and write, by its role and store: hostile peers that speak the protocol by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters.customers import Customer
from adapters.products import Product
from adapters.stock import StockItem
from crdtsync import limits
from crdtsync.identity.keys import DeviceKey
from crdtsync.protocol.table import Kind
from crdtsync.schema import load_installed
from crdtsync.state.document import Document, Op
from tests.node.shop import STORE, add_product, balance, receive_units, sell, told, until
from tests.node.stranger import HELLO, Stranger, stranger

if TYPE_CHECKING:
    from crdtsync.node import Node
    from tests.node.shop import Shop

REPLICA = HELLO["replica"]
OTHER = "loja2"


def forged(doc: str, replica: int = REPLICA, **records: list[Op]) -> bytes:
    """An update with one batch of a replica, as an honest node would encode it."""
    shape = load_installed().shape(doc.partition("/")[0])
    change = Document(doc, shape, replica, {}).write(records, hlc=1 << 40, txid=b"t" * 16)
    return change.journal[0]


async def two_stores(shop: Shop) -> Node:
    gestao = await shop.open("gestao")
    await add_product(gestao)
    for name in (STORE, OTHER):
        loja = await shop.open(name, store=name)
        await receive_units(loja, 10)
    await shop.even()
    await shop.close(STORE)
    return gestao


async def hostile_loja(shop: Shop) -> Stranger:
    other = await stranger(shop, "gestao")
    assert (await other.greet(HELLO | {"device": STORE, "role": "loja", "store": STORE}))[0] is Kind.WELCOME
    return other


async def hostile_lane(shop: Shop) -> Stranger:
    other = await stranger(shop, STORE)
    assert (await other.greet(HELLO))[0] is Kind.WELCOME
    return other


async def one_store(shop: Shop) -> Node:
    await shop.open("gestao")
    await add_product(shop.nodes["gestao"])
    loja = await shop.open(STORE)
    await shop.even()
    await receive_units(loja, 10)
    return loja


async def test_a_store_does_not_get_what_belongs_to_another_though_it_asks(shop: Shop) -> None:
    await two_stores(shop)
    other = await hostile_loja(shop)
    kind, plan = await other.ask_for(f"stock/{OTHER}", f"stock/{STORE}", "products")
    assert kind is Kind.PLAN
    assert set(plan["docs"]) == {"products", f"stock/{STORE}"}
    sent = []
    while kind is not Kind.FENCE:
        kind, payload = await other.hear()
        if kind is Kind.DATA:
            sent.append(payload["doc"])
            await other.say(Kind.ACK, n=payload["n"])
    assert sorted(sent) == ["products", f"stock/{STORE}"]


async def test_a_store_does_not_write_what_belongs_to_another(shop: Shop) -> None:
    gestao = await two_stores(shop)
    before = gestao.ledger.digest(gestao.ledger.heads)
    other = await hostile_loja(shop)
    doc = f"stock/{OTHER}"
    refusal = await other.upload(doc, forged(doc, p1=[Op("add", "balance", 5000, cause="x")]))
    assert (refusal["code"], refusal["terminal"]) == ("not_allowed", True)
    assert refusal["message"] == f"{STORE} may not write {doc}: it belongs to another store or lane"
    assert gestao.ledger.digest(gestao.ledger.heads) == before


@pytest.mark.parametrize("claim", [STORE, OTHER])
async def test_a_store_does_not_speak_for_a_lane_of_another(shop: Shop, claim: str) -> None:
    gestao = await two_stores(shop)
    (theirs,) = (row for row in gestao.ledger.registry.values() if row.device == OTHER)
    other = await hostile_loja(shop)
    # The registry knows whose replica it is, whatever store the peer says.
    kind, refusal = await other.ask_for(vouched=[(theirs.replica, OTHER, "loja", claim)])
    assert (kind, refusal["code"], refusal["terminal"]) == (Kind.REFUSE, "not_allowed", True)
    assert gestao.ledger.registry[theirs.replica] == theirs


async def test_a_role_is_the_registered_one_and_does_not_grow(shop: Shop) -> None:
    loja = await one_store(shop)
    assert (await (await stranger(shop, STORE)).greet(HELLO))[0] is Kind.WELCOME
    grown = (REPLICA, HELLO["device"], "loja", STORE)
    other = await stranger(shop, STORE)
    assert (await other.greet(HELLO | {"device": "caixa8", "replica": 77}))[0] is Kind.WELCOME
    kind, refusal = await other.ask_for(vouched=[grown])
    assert (kind, refusal["code"]) == (Kind.REFUSE, "not_allowed")
    assert loja.ledger.registry[REPLICA].role == "caixa"


async def test_a_lane_neither_reads_nor_writes_the_documents_of_another_lane(shop: Shop) -> None:
    loja = await one_store(shop)
    caixa = await shop.open("caixa1")
    await shop.even()
    await sell(caixa, "s1")
    await shop.even()
    (doc,) = (doc for doc in loja.ledger.heads if doc.startswith("sales/"))
    kind, plan = await (await hostile_lane(shop)).ask_for(doc)
    assert (kind, plan["docs"], plan["counts"]) == (Kind.PLAN, {}, {})
    before = loja.ledger.digest([doc])
    other = await stranger(shop, STORE)
    assert (await other.greet(HELLO | {"device": "caixa8", "replica": 77}))[0] is Kind.WELCOME
    refusal = await other.upload(doc)
    assert (refusal["code"], refusal["terminal"]) == ("not_allowed", True)
    assert loja.ledger.digest([doc]) == before


@pytest.mark.parametrize(
    ("doc", "records"),
    [
        ("products", {"p1": [Op("write", "price", 1)]}),
        ("products", {"p1": [Op("write", "~", 1)]}),
        ("customers", {"c1": [Op("write", "credit_limit", 99_999_00)]}),
    ],
)
async def test_a_lane_writes_no_price_no_deletion_and_no_credit_limit(
    shop: Shop, doc: str, records: dict[str, Any]
) -> None:
    loja = await one_store(shop)
    async with loja.transaction() as tx:
        tx.create(Customer, id="c1", name="Ana")
    before = loja.ledger.digest([doc])
    refusal = await (await hostile_lane(shop)).upload(doc, forged(doc, **records))
    assert refusal["code"] in {"not_allowed", "invalid"}
    assert "may not write" in refusal["message"]
    assert loja.ledger.digest([doc]) == before
    product, customer = await loja.get(Product, "p1"), await loja.get(Customer, "c1")
    assert product is not None
    assert customer is not None
    assert (str(product.price), customer.credit_limit) == ("25.90", None)


@pytest.mark.parametrize("old", [True, False], ids=["a log of before", "a log that never was"])
async def test_a_lane_writes_nothing_in_the_name_of_its_store(shop: Shop, *, old: bool) -> None:
    """A node takes its own lost writes back from below, and so a hostile lane could make some up, prices included."""
    loja, key = await one_store(shop), DeviceKey.generate()
    replica = loja.ledger.replica if old else 99
    if old:
        await loja.ledger.new_incarnation()
    await shop.close(STORE)
    loja = await shop.open(STORE, enrolment="closed")
    await until(lambda: loja.uplink.heard, "the store has heard its head office")
    secret, _ = await loja.admission.invite(store=None, device=None, hours=1)
    await (await stranger(shop, STORE, key)).greet(HELLO, secret)
    await loja.admission.approve(key.fingerprint)
    before = loja.ledger.digest(["products"])
    own = (replica, STORE, "loja", STORE)
    update = forged("products", replica, p1=[Op("write", "price", 1)])
    for claims in (True, False):
        # It says in its heads that it has the log, or does not and sends it all the same.
        other = await stranger(shop, STORE, key)
        assert (await other.greet(HELLO))[0] is Kind.WELCOME
        await other.say(Kind.CHECK, digest=bytes(16), held=[], first=None, rate=None)
        assert (await other.hear())[0] is Kind.DIGESTS
        docs = {"products": {replica: [1, bytes(16)]}} if claims else {}
        await other.say(Kind.HEADS, docs=docs, vouched=[own], more=False)
        kind, answer = await other.hear()
        if old and not claims:
            assert (kind, (await other.hear())[0]) == (Kind.PLAN, Kind.FENCE)
            await other.say(Kind.FENCED, counts={"products": 1})
            await other.say(Kind.DATA, doc="products", update=update, final=True, cut={}, records=1, n=1)
            kind, answer = await other.hear()
            assert "may not write" in answer["message"]
        else:
            assert (answer["code"], answer["terminal"]) == ("not_recovering", False)
        assert kind is Kind.REFUSE
    assert loja.ledger.digest(["products"]) == before
    assert [line for line in told(loja) if line.startswith("claims_own_log: caixa9: ")]


async def test_a_lane_that_names_thousands_of_replicas_as_its_own_does_not_cut_its_store_off(
    shop: Shop,
) -> None:
    """A store names the replicas below it in one frame: with too many it could say nothing to its head office."""
    loja = await one_store(shop)
    other = await hostile_lane(shop)
    own = (HELLO["device"], HELLO["role"], HELLO["store"])
    many = [(at, *own) for at in range(1, limits.REPLICAS_PER_DEVICE_MAX + 1) if at != REPLICA]
    before = dict(loja.ledger.registry)
    kind, refusal = await other.ask_for(vouched=[*many, (limits.REPLICAS_PER_DEVICE_MAX + 1, *own)])
    assert (kind, refusal["code"], refusal["terminal"]) == (Kind.REFUSE, "not_allowed", True)
    assert loja.ledger.registry == before
    await receive_units(loja, 1)
    await shop.even()


async def test_a_store_does_not_fill_the_registry_of_its_head_office(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    gestao = await two_stores(shop)
    other = await hostile_loja(shop)
    monkeypatch.setattr(limits, "VECTOR_ENTRIES_MAX", 10)
    before = dict(gestao.ledger.registry)
    lanes = [(at, f"caixa{at}", "caixa", STORE) for at in range(1, 11)]
    kind, refusal = await other.ask_for(vouched=lanes)
    assert (kind, refusal["code"], refusal["terminal"]) == (Kind.REFUSE, "not_allowed", True)
    assert gestao.ledger.registry == before


async def test_what_a_lane_may_write_is_taken_the_same_way(shop: Shop) -> None:
    """The attacks above fail for their content, not for their form."""
    loja = await one_store(shop)
    other = await hostile_lane(shop)
    assert (await other.ask_for())[0] is Kind.PLAN
    assert (await other.hear())[0] is Kind.FENCE
    await other.say(Kind.FENCED, counts={"stock": 1})
    update = forged(f"stock/{STORE}", p1=[Op("add", "balance", -1000, cause="s1")])
    await other.say(
        Kind.DATA, doc=f"stock/{STORE}", update=update, final=True, cut={REPLICA: 1}, records=1, n=1
    )
    assert (await other.hear())[0] is Kind.ACK
    item = await loja.get(StockItem, "p1")
    assert item is not None
    assert await balance(loja) == 9


async def test_a_lane_does_not_send_what_is_not_for_its_store(shop: Shop) -> None:
    await one_store(shop)
    doc = f"stock/{OTHER}"
    refusal = await (await hostile_lane(shop)).upload(doc, forged(doc, p1=[Op("add", "balance", 1)]))
    assert (refusal["code"], refusal["terminal"]) == ("not_allowed", True)
    assert refusal["message"] == f"{doc} is not for this node"


async def test_a_lane_does_not_write_its_own_past_again(shop: Shop) -> None:
    loja = await one_store(shop)
    doc = f"stock/{STORE}"
    lane = Document(doc, load_installed().shape("stock"), REPLICA, {})
    first = lane.write({"p1": [Op("add", "balance", 1_000)]}, hlc=1 << 40, txid=b"t" * 16).journal[0]
    other = await hostile_lane(shop)
    assert (await other.ask_for())[0] is Kind.PLAN
    assert (await other.hear())[0] is Kind.FENCE
    await other.say(Kind.FENCED, counts={"stock": 1})
    await other.say(Kind.DATA, doc=doc, update=first, final=True, cut={}, records=1, n=1)
    assert (await other.hear())[0] is Kind.ACK
    before = loja.ledger.digest(loja.ledger.heads)
    # The second batch of another log: it does not name the first one that is held.
    elsewhere = Document(doc, load_installed().shape("stock"), REPLICA, {})
    changes = [
        elsewhere.write({"p1": [Op("add", "balance", amount)]}, hlc=1 << 41, txid=b"u" * 16)
        for amount in (5_000, 7_000)
    ]
    again = changes[1].journal[0]
    await other.say(Kind.DATA, doc=doc, update=again, final=True, cut={}, records=1, n=2)
    kind, refusal = await other.hear()
    assert (kind, refusal["code"], refusal["terminal"]) == (Kind.REFUSE, "fork", False)
    assert loja.ledger.digest(loja.ledger.heads) == before
    assert loja.ledger.doubts == {}
    assert await balance(loja) == 11


async def test_a_lane_asks_for_an_order_and_a_rate_and_gets_both(shop: Shop) -> None:
    loja = await one_store(shop)
    other = await hostile_lane(shop)
    doc = f"stock/{STORE}"
    await other.say(Kind.CHECK, digest=bytes(16), held=[], first="stock", rate=limits.RATE_BYTES_MAX)
    assert (await other.hear())[0] is Kind.DIGESTS
    await other.say(Kind.HEADS, docs={doc: {}, "products": {}}, vouched=[], more=False)
    assert (await other.hear())[0] is Kind.PLAN
    sent: list[str] = []
    while (said := await other.hear())[0] is not Kind.FENCE:
        if said[0] is Kind.DATA:
            sent.append(said[1]["doc"])
            await other.say(Kind.ACK, n=said[1]["n"])
    order = loja.ledger.schema.order("download", "stock")
    assert sorted(sent, key=lambda name: order.index(name.partition("/")[0])) == sent
    assert set(sent) == {doc, "products"}


async def test_a_live_lane_is_told_of_a_change_and_another_is_not(shop: Shop) -> None:
    loja = await one_store(shop)
    live, other = await stranger(shop, STORE), await stranger(shop, STORE)
    assert (await live.greet(HELLO | {"live": True}))[0] is Kind.WELCOME
    assert (await other.greet(HELLO | {"device": "caixa8", "replica": 77}))[0] is Kind.WELCOME
    await receive_units(loja, 1)
    assert (await live.hear())[0] is Kind.POKE
    await other.say(Kind.CHECK, digest=bytes(16), held=[], first=None, rate=None)
    assert (await other.hear())[0] is Kind.DIGESTS


async def test_a_lane_that_has_more_of_a_document_is_sent_nothing_of_it(shop: Shop) -> None:
    await one_store(shop)
    other = await hostile_lane(shop)
    await other.say(Kind.CHECK, digest=bytes(16), held=[], first=None, rate=None)
    assert (await other.hear())[0] is Kind.DIGESTS
    await other.say(Kind.HEADS, docs={"customers": {REPLICA: (3, bytes(16))}}, vouched=[], more=False)
    assert await other.hear() == (Kind.PLAN, {"docs": {"customers": {}}, "counts": {}, "more": False})
    assert await other.hear() == (Kind.DONE, {"category": "customers"})
    assert await other.hear() == (Kind.FENCE, {"docs": {"customers": {}}, "more": False})
