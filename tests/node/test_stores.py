"""The head office holds the records of several stores: equal keys are told apart, never mixed up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync.errors import FieldError, RecordAmbiguous
from crdtsync.node.verbs import set_, show
from crdtsync.schema import Entity, Key, Register, Role, Schema, by_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from crdtsync.node import Node
    from crdtsync.storage.base import Commit, View
    from tests.node.shop import Shop


class Shelf(Entity, category="shelves", writers={Role.GESTAO, Role.LOJA}, partition=by_store):
    """One shelf of one store."""

    id = Key()
    label = Register(str)


class Tag(Entity, category="tags", writers={Role.GESTAO}):
    """A category of the whole account."""

    id = Key()
    text = Register(str)


SCHEMA = Schema([Shelf, Tag])


async def two_stores(shop: Shop) -> Node:
    gestao = await shop.open("gestao", SCHEMA)
    for store in ("loja1", "loja2"):
        node = await shop.open(store, SCHEMA, store=store)
        async with node.transaction() as tx:
            tx.create(Shelf, id="a", label=f"{store} a")
    async with shop.nodes["loja1"].transaction() as tx:
        tx.create(Shelf, id="b", label="loja1 b")
    await shop.even()
    return gestao


async def test_a_key_that_two_stores_use_is_read_and_edited_only_with_the_store_named(shop: Shop) -> None:
    gestao = await two_stores(shop)
    said = (
        r"shelves/a: 2 documents have a record with this key \(shelves/loja1, shelves/loja2\); name the store"
    )
    with pytest.raises(RecordAmbiguous, match=said):
        await gestao.get(Shelf, "a")
    with pytest.raises(RecordAmbiguous, match=said):
        async with gestao.transaction() as tx:
            (await tx.get(Shelf, "a")).label = "whose?"
    for store in ("loja1", "loja2"):
        async with gestao.transaction() as tx:
            (await tx.get(Shelf, "a", in_store=store)).label = f"{store} new"
        found = await gestao.get(Shelf, "a", doc=f"shelves/{store}")
        assert found is not None
        assert found.label == f"{store} new"
    only = await gestao.get(Shelf, "b")
    assert only is not None
    assert only.label == "loja1 b"
    assert await gestao.get(Shelf, "b", in_store="loja2") is None


async def test_one_transaction_edits_a_key_in_two_stores(shop: Shop) -> None:
    gestao = await two_stores(shop)
    async with gestao.transaction() as tx:
        for store in ("loja1", "loja2"):
            (await tx.get(Shelf, "a", in_store=store)).label = f"{store} both"
    await shop.even()
    for store in ("loja1", "loja2"):
        found = await shop.nodes[store].get(Shelf, "a")
        assert found is not None
        assert found.label == f"{store} both"


async def test_records_of_one_store_are_found_alone(shop: Shop) -> None:
    gestao = await two_stores(shop)
    assert [s.label for s in await gestao.find(Shelf)] == ["loja1 a", "loja1 b", "loja2 a"]
    assert [s.label for s in await gestao.find(Shelf, in_store="loja2")] == ["loja2 a"]
    assert [s.label for s in await gestao.find(Shelf, in_store="loja1", limit=1)] == ["loja1 a"]
    assert [s.key for s in await gestao.find(Shelf, doc="shelves/loja1", label="loja1 b")] == ["b"]
    with pytest.raises(FieldError, match=r"tags\.store: records belong to the whole account; name no store"):
        await gestao.find(Tag, in_store="loja1")


async def test_show_lists_every_store_and_set_asks_which(shop: Shop) -> None:
    gestao = await two_stores(shop)
    shown = await show(gestao, {"category": "shelves", "key": "a"})
    assert [record["_document"] for record in shown] == ["shelves/loja1", "shelves/loja2"]
    (one,) = await show(gestao, {"category": "shelves", "key": "a", "store": "loja2"})
    assert one["label"] == "loja2 a"
    asked = {"category": "shelves", "key": "a", "assignments": ["label=x"]}
    with pytest.raises(RecordAmbiguous, match="--store"):
        await set_(gestao, asked)
    assert (await set_(gestao, {**asked, "store": "loja2"}))["_document"] == "shelves/loja2"
    written = await set_(gestao, {**asked, "key": "b", "store": "loja2"})
    assert (written["_document"], written["label"]) == ("shelves/loja2", "x")
    labels = {s.doc + "/" + s.key: s.label for s in await gestao.find(Shelf)}
    assert labels == {
        "shelves/loja1/a": "loja1 a",
        "shelves/loja1/b": "loja1 b",
        "shelves/loja2/a": "x",
        "shelves/loja2/b": "x",
    }


async def test_a_record_that_one_store_deleted_hides_no_other(shop: Shop) -> None:
    gestao = await two_stores(shop)
    async with gestao.transaction() as tx:
        (await tx.get(Shelf, "a", in_store="loja1")).delete()
    found = await gestao.get(Shelf, "a")
    assert found is not None
    assert found.doc == "shelves/loja2"
    async with gestao.transaction() as tx:
        (await tx.get(Shelf, "a")).delete()
    assert await gestao.get(Shelf, "a") is None
    with pytest.raises(RecordAmbiguous):
        async with gestao.transaction() as tx:
            await tx.find(Shelf, "a")


async def test_many_records_come_with_one_look_at_the_store_and_are_the_ones_that_the_transaction_edits(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_stores(shop)
    loja = shop.nodes["loja1"]
    loja.ledger.unload()
    looks = 0
    read = loja.ledger.storage.read

    async def counted(look: Callable[[View], Any]) -> Any:
        nonlocal looks
        looks += 1
        return await read(look)

    monkeypatch.setattr(loja.ledger.storage, "read", counted)
    async with loja.transaction() as tx:
        fresh = tx.create(Shelf, id="c", label="new")
        found = await tx.find_many(Shelf, ["a", "b", "c", "nobody", "a"])
        assert looks == 1
        assert {key: record.label for key, record in found.items()} == {
            "a": "loja1 a",
            "b": "loja1 b",
            "c": "new",
        }
        assert found["c"] is fresh
        assert await tx.find(Shelf, "a") is found["a"]
        found["a"].label = "edited"
    edited = await loja.get(Shelf, "a")
    assert edited is not None
    assert edited.label == "edited"


async def test_a_record_of_a_document_in_memory_is_read_with_no_look_at_the_store(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    gestao = await two_stores(shop)

    async def refuse(_look: Callable[[View], Any]) -> Any:
        raise AssertionError("the store was asked")

    stored = await gestao.ledger.storage.read(lambda view: sorted(view.select("shelves")))
    await gestao.ledger.fold("shelves/loja1")
    await gestao.ledger.fold("shelves/loja2")
    async with gestao.transaction() as tx:
        monkeypatch.setattr(gestao.ledger.storage, "read", refuse)
        with pytest.raises(RecordAmbiguous):
            await tx.find(Shelf, "a")
        found = [
            await tx.get(Shelf, key, in_store=store)
            for store, key in (("loja1", "a"), ("loja1", "b"), ("loja2", "a"))
        ]
        assert [tuple(record._row) for record in found] == stored
        assert await tx.find(Shelf, "nobody") is None
    assert set(gestao.ledger.loaded()) >= {"shelves/loja1", "shelves/loja2"}


async def test_what_is_not_durable_yet_is_not_read_from_memory(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_stores(shop)
    loja = shop.nodes["loja1"]
    commit = loja.ledger.storage.commit
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def held_up(what: Commit) -> int:
        if what.journal:
            reached.set()
            await go_on.wait()
        return await commit(what)

    async def edit() -> None:
        async with loja.transaction() as tx:
            (await tx.get(Shelf, "a")).label = "edited"

    monkeypatch.setattr(loja.ledger.storage, "commit", held_up)
    writing = asyncio.create_task(edit())
    await reached.wait()
    try:
        async with loja.transaction() as tx:
            assert (await tx.get(Shelf, "a")).label == "loja1 a"
    finally:
        go_on.set()
        await writing
    async with loja.transaction() as tx:
        assert (await tx.get(Shelf, "a")).label == "edited"
