"""No stored bytes stop a node: what cannot be read is set apart alone, shown, and repaired."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from adapters.products import Product
from crdtsync.errors import DocumentQuarantined
from crdtsync.node.repair import repair
from crdtsync.node.verbs import verify
from crdtsync.storage.base import Commit
from tests.node.shop import STORE, Shop, add_product, sell, told, until
from tests.node.test_recovery import EVERYWHERE, expect, open_all, sales_of

if TYPE_CHECKING:
    from pathlib import Path

    from crdtsync.node import Node

STOCK = f"stock/{STORE}"


def damage(folder: Path, table: str, doc: str, where: str = "1", column: str = "data") -> None:
    """Change one byte of a row of a closed store."""
    with closing(sqlite3.connect(folder / "store.db")) as store, store:
        number = store.execute("SELECT id FROM documents WHERE doc = ?", (doc,)).fetchone()[0]
        name = "_doc" if table.startswith("rec_") else "doc"
        found = store.execute(
            f"SELECT {column} FROM {table} WHERE {name} = ? AND {where}", (number,)
        ).fetchone()
        value = found[-1]
        wrong = value + 1 if isinstance(value, int) else value[:-1] + bytes([value[-1] ^ 1])
        changed = store.execute(
            f"UPDATE {table} SET {column} = ? WHERE {name} = ? AND {where} AND {column} = ?",
            (wrong, number, value),
        )
        assert changed.rowcount == 1


def journal_ids(folder: Path, doc: str) -> list[int]:
    with closing(sqlite3.connect(folder / "store.db")) as store:
        sql = "SELECT journal.id FROM journal JOIN documents ON documents.id = journal.doc WHERE documents.doc = ? ORDER BY 1"
        return [row[0] for row in store.execute(sql, (doc,))]


async def damaged_again(
    shop: Shop, name: str, table: str, doc: str, where: str = "1", column: str = "data"
) -> Node:
    await shop.close(name)
    damage(shop.folder / name, table, doc, where, column)
    return await shop.open(name)


async def all_but(shop: Shop, apart: set[str]) -> None:
    """Synchronize until every node is even with the one above it, but for these documents."""

    def even() -> bool:
        found = True
        for name, above in (("caixa1", STORE), ("caixa2", STORE), (STORE, "gestao")):
            upper, lower = shop.nodes[above], shop.nodes[name]
            lower.request_check()
            docs = set(upper.ledger.scope(lower.ledger.identity)) | set(
                lower.ledger.scope(upper.ledger.identity)
            )
            found &= all(upper.ledger.digest_of(doc) == lower.ledger.digest_of(doc) for doc in docs - apart)
        return found

    await until(even, "even but for what is apart")


async def test_a_document_with_a_damaged_row_is_set_apart_alone_and_repaired_from_above(shop: Shop) -> None:
    await open_all(shop)
    await sell(shop.nodes["caixa1"], "s1")
    await shop.even()
    ids = journal_ids(shop.folder / "caixa1", "products")
    caixa = await damaged_again(shop, "caixa1", "journal", "products", f"id = {ids[0]}")
    with pytest.raises(DocumentQuarantined, match="crdtsync repair DIR products"):
        await caixa.ledger.fold("products")
    assert [line for line in told(caixa) if line.startswith("quarantine: products: journal row")]
    # Everything else works, and synchronizes; also after a restart.
    await sell(caixa, "s2")
    await shop.close("caixa1")
    caixa = await shop.open("caixa1")
    with pytest.raises(DocumentQuarantined):
        await caixa.ledger.fold("products")
    await add_product(shop.nodes["gestao"], "p2")
    await all_but(shop, {"products"})
    assert await sales_of(shop.nodes["gestao"]) == {"s1", "s2"}
    assert (await verify(caixa, lambda *_: None))["findings"]
    report = await repair(caixa, {"category": "products"})
    assert report["quarantined"] == []
    assert sum(report["repaired"][0]["missing"].values()) == 1
    await expect(shop, {"s1", "s2"}, 98)
    assert await caixa.count(Product) == 2
    assert told(caixa) == []
    assert list((shop.folder / "caixa1" / "damaged").glob("*.jsonl"))
    assert (await verify(caixa, lambda *_: None))["findings"] == []


def own_ids(node: Node, doc: str) -> list[int]:
    """The ids of the journal rows that a node wrote itself: the last ones in these stories."""
    ids = journal_ids(node.config.folder, doc)
    return ids[-node.ledger.heads[doc][node.ledger.replica].seq :]


async def test_own_rows_that_the_node_above_has_come_back_and_what_follows_them_keeps_its_place(
    shop: Shop,
) -> None:
    await open_all(shop)
    for n in range(3):
        await sell(shop.nodes["caixa1"], f"s{n}")
    await shop.even()
    shop.network.partition("caixa1")
    caixa = shop.nodes["caixa1"]
    await sell(caixa, "s3")
    old, at = caixa.ledger.replica, own_ids(caixa, STOCK)
    caixa = await damaged_again(shop, "caixa1", "journal", STOCK, f"id = {at[1]}")
    with pytest.raises(DocumentQuarantined):
        await sell(caixa, "refused")
    report = (await repair(caixa, {"category": "stock"}))["repaired"][0]
    assert report["missing"] == {"caixa1": 1}
    assert report["waiting"] == 2
    assert report["incarnation"]
    assert caixa.ledger.replica != old
    await sell(caixa, "s4")
    shop.network.heal("caixa1")
    await expect(shop, {f"s{n}" for n in range(5)}, 95)
    assert caixa.ledger.heads[STOCK][old].seq == 4
    assert caixa.ledger.quarantine.salvaged == {}
    assert told(caixa) == []


@pytest.mark.parametrize("lost", [0, 1, 2])
async def test_own_rows_that_nobody_has_are_lost_and_what_follows_them_is_written_again(
    shop: Shop, lost: int
) -> None:
    await open_all(shop)
    await sell(shop.nodes["caixa1"], "s0")
    await shop.even()
    shop.network.partition("caixa1")
    caixa = shop.nodes["caixa1"]
    for n in range(1, 4):
        await sell(caixa, f"s{n}")
    sales = next(doc for doc in caixa.ledger.heads if doc.startswith("sales/"))
    at = own_ids(caixa, sales)
    caixa = await damaged_again(shop, "caixa1", "journal", sales, f"id = {at[1 + lost]}")
    with pytest.raises(DocumentQuarantined):
        await caixa.ledger.fold(sales)
    report = (await repair(caixa, {"category": "sales"}))["repaired"][0]
    assert (report["missing"], report["waiting"]) == ({"caixa1": 1}, 2 - lost)
    await sell(caixa, "later")
    shop.network.heal("caixa1")
    kept = {"s0", "s1", "s2", "s3", "later"} - {f"s{1 + lost}"}
    # The sale is lost; that its unit left the shelf is not.
    await expect(shop, kept, 95)
    assert caixa.ledger.quarantine.salvaged == {}


async def test_a_running_total_behind_a_hole_brings_the_movements_inside_it(shop: Shop) -> None:
    await open_all(shop)
    shop.network.partition("caixa1")
    caixa = shop.nodes["caixa1"]
    for n in range(3):
        await sell(caixa, f"s{n}")
    at = own_ids(caixa, STOCK)
    caixa = await damaged_again(shop, "caixa1", "journal", STOCK, f"id = {at[1]}")
    with pytest.raises(DocumentQuarantined):
        await caixa.ledger.fold(STOCK)
    await repair(caixa, {"category": "stock"})
    shop.network.heal("caixa1")
    await expect(shop, {"s0", "s1", "s2"}, 97)


async def test_the_head_office_gets_its_own_rows_back_from_below(shop: Shop) -> None:
    await open_all(shop)
    for n in range(2, 5):
        await add_product(shop.nodes["gestao"], f"p{n}")
    await shop.even()
    at = own_ids(shop.nodes["gestao"], "products")
    gestao = await damaged_again(shop, "gestao", "journal", "products", f"id = {at[1]}")
    with pytest.raises(DocumentQuarantined):
        await add_product(gestao, "p9")
    # While it is apart there, nobody takes it for lost, and the rest goes on.
    await sell(shop.nodes["caixa1"], "s1")
    await all_but(shop, {"products"})
    assert await shop.nodes[STORE].count(Product) == 4
    assert shop.nodes[STORE].trouble is None
    await repair(gestao, {"category": "products"})
    await add_product(gestao, "p9")
    await expect(shop, {"s1"}, 99)
    for name in ("gestao", STORE, "caixa1"):
        assert await shop.nodes[name].count(Product) == 5, name


@pytest.mark.parametrize(
    ("table", "column"),
    [("heads", "seq"), ("heads", "hash"), ("heads", "visible"), ("heads", "cut"), ("heads", "crc")],
)
async def test_a_damaged_head_is_found_at_the_start_and_made_again_from_the_journal(
    shop: Shop, table: str, column: str
) -> None:
    await open_all(shop)
    await sell(shop.nodes["caixa1"], "s1")
    await shop.even()
    replica = shop.nodes["caixa1"].ledger.replica
    caixa = await damaged_again(shop, "caixa1", table, STOCK, f"replica = {replica}", column)
    with pytest.raises(DocumentQuarantined):
        await sell(caixa, "refused")
    report = (await repair(caixa, {"category": "stock"}))["repaired"][0]
    assert (report["missing"], report["waiting"], report["incarnation"]) == ({}, 0, True)
    await sell(caixa, "s2")
    await expect(shop, {"s1", "s2"}, 98)


@pytest.mark.parametrize(
    ("table", "where", "column"),
    [
        ("changes", "count = 1 AND seq = (SELECT max(seq) FROM changes)", "keys"),
        ("changes", "seq = (SELECT max(seq) FROM changes)", "seq"),
        ("rec_stock", "1", "balance_milli"),
        ("rec_stock", "1", "_crc"),
    ],
)
async def test_rows_that_follow_from_the_log_are_found_and_made_again(
    shop: Shop, table: str, where: str, column: str
) -> None:
    await open_all(shop)
    await sell(shop.nodes["caixa1"], "s1")
    await sell(shop.nodes["caixa1"], "s2")
    await shop.even()
    caixa = await damaged_again(shop, "caixa1", table, STOCK, where, column)
    assert any(f"{table} row" in line for line in (await verify(caixa, lambda *_: None))["findings"])
    answer = await repair(caixa, {"category": "stock"})
    assert (answer["damaged_rows"], answer["repaired"], answer["quarantined"]) == (1, [], [])
    assert (await verify(caixa, lambda *_: None))["findings"] == []
    await sell(caixa, "s3")
    await expect(shop, {"s1", "s2", "s3"}, 97)


@pytest.mark.parametrize(
    ("name", "doc"), [(STORE, "products"), ("gestao", STOCK), ("caixa1", STOCK), ("gestao", "products")]
)
async def test_a_log_whose_first_row_is_lost_comes_back_whole(shop: Shop, name: str, doc: str) -> None:
    await open_all(shop)
    await sell(shop.nodes["caixa1"], "s1")
    await shop.even()
    first = journal_ids(shop.folder / name, doc)[0]
    node = await damaged_again(shop, name, "journal", doc, f"id = {first}")
    with pytest.raises(DocumentQuarantined):
        await node.ledger.fold(doc)
    await repair(node, {"category": doc.partition("/")[0]})
    await sell(shop.nodes["caixa1"], "s2")
    await expect(shop, {"s1", "s2"}, 98)
    for each in EVERYWHERE:
        assert await shop.nodes[each].count(Product) == 1, each


async def test_a_head_that_names_another_document_is_found_at_the_start(shop: Shop) -> None:
    await open_all(shop)
    await shop.close("gestao")
    with closing(sqlite3.connect(shop.folder / "gestao" / "store.db")) as store, store:
        store.execute(
            "UPDATE heads SET doc = 99 WHERE doc = (SELECT id FROM documents WHERE doc = 'products')"
        )
    gestao = await shop.open("gestao")
    assert "products" in gestao.ledger.quarantine.held
    await repair(gestao, {"category": "products"})
    await add_product(gestao, "p2")
    await expect(shop, set(), 100)
    assert await shop.nodes["caixa1"].count(Product) == 2


async def test_what_nobody_can_bring_is_given_up_when_a_person_says_so(shop: Shop) -> None:
    gestao = await shop.open("gestao")
    for n in range(1, 5):
        await add_product(gestao, f"p{n}")
    ids = journal_ids(gestao.config.folder, "products")
    gestao = await damaged_again(shop, "gestao", "journal", "products", f"id = {ids[1]}")
    with pytest.raises(DocumentQuarantined):
        await gestao.ledger.fold("products")
    assert (await repair(gestao, {"category": "products"}))["repaired"][0]["waiting"] == 2
    assert await gestao.count(Product) == 1
    assert [line.split(": ")[:2] for line in told(gestao)] == [["quarantine", "products"]]
    await repair(gestao, {"category": "products", "give_up": True})
    assert {product.id for product in await gestao.find(Product)} == {"p1", "p3", "p4"}
    assert told(gestao) == []
    await shop.open(STORE)
    await shop.even()
    assert await shop.nodes[STORE].count(Product) == 3
    assert (await verify(gestao, lambda *_: None))["findings"] == []


@pytest.mark.parametrize("damaged", ["salvaged", "quarantine", "takes_back_until"])
async def test_a_damaged_small_value_stops_no_node_and_forgets_nothing_else(shop: Shop, damaged: str) -> None:
    await open_all(shop)
    await shop.even()
    ids = journal_ids(shop.folder / "caixa1", "products")
    caixa = await damaged_again(shop, "caixa1", "journal", "products", f"id = {ids[0]}")
    with pytest.raises(DocumentQuarantined):
        await caixa.ledger.fold("products")
    await caixa.ledger.commit(Commit(meta={"salvaged": b"{}", "takes_back_until": b"1"}))
    await shop.close("caixa1")
    with closing(sqlite3.connect(shop.folder / "caixa1" / "store.db")) as store, store:
        assert store.execute("UPDATE meta SET value = X'00' WHERE key = ?", (damaged,)).rowcount == 1
    caixa = await shop.open("caixa1")
    assert set(caixa.ledger.quarantine.held) == (set() if damaged == "quarantine" else {"products"})
    with pytest.raises(DocumentQuarantined):
        await caixa.ledger.fold("products")
