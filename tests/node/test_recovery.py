"""Restored and cloned nodes: nothing that a living disk holds is lost, and nothing counts twice."""

from __future__ import annotations

import logging
import shutil
from decimal import Decimal
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import pytest

from adapters.products import Product
from adapters.sales import Sale
from adapters.stock import StockItem
from crdtsync.errors import StoreUnavailable, UpdateInvalid
from crdtsync.node import Node, NodeConfig
from crdtsync.node.branches import Branches
from crdtsync.protocol.table import Kind
from crdtsync.schema import Role
from crdtsync.state.update import append_update
from tests.node.shop import STORE, add_product, balance, receive_units, sell, told, until
from tests.node.stranger import HELLO, stranger

if TYPE_CHECKING:
    from pathlib import Path

    from crdtsync.storage import Commit, View
    from tests.node.shop import Shop

EVERYWHERE = ("gestao", STORE, "caixa1", "caixa2")


async def open_all(shop: Shop, units: int = 100) -> None:
    for name in EVERYWHERE:
        await shop.open(name)
    await add_product(shop.nodes["gestao"])
    await receive_units(shop.nodes[STORE], units)
    await shop.even()


async def back_up(shop: Shop, name: str) -> None:
    """Copy the whole folder of a node that is shut down meanwhile."""
    await shop.close(name)
    shutil.copytree(shop.folder / name, shop.folder / f"{name}.backup")
    await shop.open(name)


def put_back(shop: Shop, name: str, *, whole: bool) -> None:
    """Put the backup of a closed node back: the whole folder, or the store file alone."""
    folder, backup = shop.folder / name, shop.folder / f"{name}.backup"
    if whole:
        shutil.rmtree(folder)
        shutil.copytree(backup, folder)
    else:
        for path in folder.glob("store.db*"):
            path.unlink()
        shutil.copy(backup / "store.db", folder / "store.db")


async def restore(shop: Shop, name: str, *, whole: bool) -> Node:
    await shop.close(name)
    put_back(shop, name, whole=whole)
    return await shop.open(name)


async def restore_alone(shop: Shop, name: str, *, whole: bool) -> Node:
    """Restore a node while it reaches nobody."""
    shop.network.partition(name)
    return await restore(shop, name, whole=whole)


async def sales_of(node: Node) -> set[str]:
    return {sale.id for sale in await node.find(Sale)}


def rows_of(doc: str, view: View) -> list[tuple[object, ...]]:
    return view.select(doc.partition("/")[0], doc=doc, include_deleted=True)


async def expect(shop: Shop, sales: set[str], units: int, nodes: tuple[str, ...] = EVERYWHERE) -> None:
    """Everybody agrees after synchronizing, the documents as loaded from disk too."""
    await shop.even()
    for name in nodes:
        node = shop.nodes[name]
        assert await balance(node) == units, name
        for doc in node.ledger.heads:
            rows, digest = await node.ledger.refold(doc)
            read = partial(rows_of, doc)
            shown = await node.ledger.storage.read(read)
            assert sorted(shown) == sorted(rows), (name, doc)
            assert digest == await node.ledger.state_digest(doc), (name, doc)
    for name in ("gestao", STORE):
        assert await sales_of(shop.nodes[name]) == sales, name


async def test_a_store_file_put_back_begins_a_new_incarnation_before_its_first_write(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    await open_all(shop)
    await back_up(shop, "caixa1")
    await sell(shop.nodes["caixa1"], "s1")
    await shop.even()
    old = shop.nodes["caixa1"].ledger.replica
    with caplog.at_level(logging.WARNING, "crdtsync"):
        caixa = await restore_alone(shop, "caixa1", whole=False)
    assert (
        "the store was restored or copied, it is older than the file of its incarnation says" in caplog.text
    )
    assert caixa.ledger.replica != old
    assert await sales_of(caixa) == set()
    await sell(caixa, "s2")
    shop.network.heal("caixa1")
    await expect(shop, {"s1", "s2"}, 98)
    assert await sales_of(caixa) == {"s1", "s2"}


async def test_a_store_file_copied_to_another_folder_begins_a_new_incarnation(shop: Shop) -> None:
    await open_all(shop)
    old = shop.nodes["caixa1"].ledger.replica
    await shop.close("caixa1")
    (shop.folder / "caixa1" / "incarnation").unlink()
    caixa = await shop.open("caixa1")
    assert caixa.ledger.replica != old
    await sell(caixa, "s1")
    await expect(shop, {"s1"}, 99)


async def test_a_restart_or_a_crash_is_not_taken_for_a_restore(tmp_path: Path) -> None:
    config = NodeConfig(tmp_path, "gestao", Role.GESTAO)
    async with Node(config) as node:
        replica = node.ledger.replica
        await add_product(node)
    killed = Node(config)
    await killed.open()
    assert killed.ledger.replica == replica
    killed.ledger.abort()
    await killed.ledger.storage.close()
    async with Node(config) as node:
        assert node.ledger.replica == replica
        assert await node.count(Product) == 1


@pytest.mark.parametrize("whole", [True, False])
async def test_a_restored_lane_that_only_reads_gets_back_what_it_had_sent(shop: Shop, *, whole: bool) -> None:
    await open_all(shop)
    await sell(shop.nodes["caixa1"], "s1")
    await shop.even()
    await back_up(shop, "caixa1")
    await sell(shop.nodes["caixa1"], "s2")
    await shop.even()
    old = shop.nodes["caixa1"].ledger.replica
    caixa = await restore(shop, "caixa1", whole=whole)
    await expect(shop, {"s1", "s2"}, 98)
    assert caixa.ledger.replica != old
    assert await sales_of(caixa) == {"s1", "s2"}
    await sell(caixa, "s3")
    await expect(shop, {"s1", "s2", "s3"}, 97)


async def test_a_backup_that_holds_nothing_of_the_log_yet_is_noticed_too(shop: Shop) -> None:
    await open_all(shop)
    await back_up(shop, "caixa1")
    await sell(shop.nodes["caixa1"], "s1")
    await shop.even()
    old = shop.nodes["caixa1"].ledger.replica
    caixa = await restore(shop, "caixa1", whole=True)
    await expect(shop, {"s1"}, 99)
    assert caixa.ledger.replica != old
    await sell(caixa, "s2")
    await expect(shop, {"s1", "s2"}, 98)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("lost", "again"), [(1, 1), (3, 1), (1, 3)])
async def test_a_restored_lane_that_sold_at_once_keeps_both_branches(
    shop: Shop, lost: int, again: int, *, whole: bool
) -> None:
    await open_all(shop)
    await sell(shop.nodes["caixa1"], "s0")
    await shop.even()
    await back_up(shop, "caixa1")
    for i in range(lost):
        await sell(shop.nodes["caixa1"], f"lost{i}")
    await shop.even()
    caixa = await restore_alone(shop, "caixa1", whole=whole)
    for i in range(again):
        await sell(caixa, f"again{i}")
    shop.network.heal("caixa1")
    sales = {"s0", *(f"lost{i}" for i in range(lost)), *(f"again{i}" for i in range(again))}
    await expect(shop, sales, 100 - len(sales))
    assert await sales_of(caixa) == sales
    await sell(caixa, "later")
    await expect(shop, sales | {"later"}, 99 - len(sales))


async def test_what_waited_unsent_when_the_backup_was_made_counts_once(shop: Shop) -> None:
    await open_all(shop)
    shop.network.partition("caixa1")
    await sell(shop.nodes["caixa1"], "unsent")
    await back_up(shop, "caixa1")
    await sell(shop.nodes["caixa1"], "lost")
    caixa = await restore(shop, "caixa1", whole=True)
    await sell(caixa, "again")
    shop.network.heal("caixa1")
    await expect(shop, {"unsent", "again"}, 98)


@pytest.mark.parametrize("side", ["lost", "restored"])
async def test_a_compaction_on_either_side_of_the_fork_loses_and_doubles_nothing(
    shop: Shop, side: str
) -> None:
    await open_all(shop)
    for i in range(3):
        await sell(shop.nodes["caixa1"], f"s{i}")
    await shop.even()
    await back_up(shop, "caixa1")
    for i in range(3):
        await sell(shop.nodes["caixa1"], f"lost{i}")
    if side == "lost":
        # A node compacts what the one above has; a program of before did so at any time.
        shop.nodes["caixa1"].ledger.copied_by = None
        assert await shop.nodes["caixa1"].ledger.compact(f"stock/{STORE}")
    await shop.even()
    caixa = await restore_alone(shop, "caixa1", whole=True)
    for i in range(3):
        await sell(caixa, f"again{i}")
    if side == "restored":
        caixa.ledger.copied_by = None
        assert await caixa.ledger.compact(f"stock/{STORE}")
    shop.network.heal("caixa1")
    await expect(shop, {f"{name}{i}" for name in ("s", "lost", "again") for i in range(3)}, 91)


async def test_a_count_after_the_restore_keeps_its_value(shop: Shop) -> None:
    """A person counts 50 on the restored lane; the units that the lost disk sold were not on that screen."""
    await open_all(shop)
    await sell(shop.nodes["caixa1"], "s0")
    await shop.even()
    await back_up(shop, "caixa1")
    await sell(shop.nodes["caixa1"], "lost")
    await shop.even()
    caixa = await restore_alone(shop, "caixa1", whole=True)
    await sell(caixa, "again")
    async with caixa.transaction() as tx:
        (await tx.get(StockItem, "p1")).balance.count(Decimal(50))
    await sell(caixa, "after")
    shop.network.heal("caixa1")
    await expect(shop, {"s0", "lost", "again", "after"}, 48)


async def test_a_cloned_disk_takes_a_new_incarnation_when_it_arrives_second(shop: Shop) -> None:
    await open_all(shop)
    await sell(shop.nodes["caixa1"], "s0")
    await shop.even()
    await back_up(shop, "caixa1")
    config = shop.nodes["caixa1"].config
    clone_config = NodeConfig(
        shop.folder / "caixa1.backup", "caixa1", Role.CAIXA, store=STORE, upstream=config.upstream
    )
    shop.network.partition("clone")
    clone = Node(clone_config, transport=shop.network.endpoint("clone"), dice=Random(5))
    await clone.open()
    try:
        assert clone.ledger.replica == shop.nodes["caixa1"].ledger.replica
        await sell(shop.nodes["caixa1"], "first")
        await sell(clone, "second")
        await shop.even()
        await shop.close("caixa1")
        shop.network.heal("clone")
        shop.nodes["clone"] = clone
        await expect(shop, {"s0", "first", "second"}, 97, ("gestao", STORE, "caixa2"))
        original = await shop.open("caixa1")
        await sell(original, "third")
        await shop.close("clone")
        await expect(shop, {"s0", "first", "second", "third"}, 96)
    finally:
        await clone.close()


async def test_a_second_connection_of_a_device_is_refused_while_the_first_answers(shop: Shop) -> None:
    await open_all(shop)
    loja = shop.nodes[STORE]
    first = next(link for link in loja.downstream if link.peer and link.peer.device == "caixa1")
    twin_config = NodeConfig(
        shop.folder / "twin", "caixa1", Role.CAIXA, store=STORE, upstream=f"memory://{STORE}"
    )
    (shop.folder / "twin").mkdir()
    async with Node(twin_config, transport=shop.network.endpoint("twin"), dice=Random(5)) as twin:
        await until(lambda: twin.trouble is not None, "the second connection is refused")
        assert str(twin.trouble).startswith("already_connected: caixa1 is connected to loja1 from elsewhere")
        assert first in loja.downstream
        assert twin.ledger.replica not in loja.ledger.registry
        assert [line for line in told(loja) if line.startswith("already_connected: caixa1: ")]
        await shop.close("caixa1")
        twin.request_check()
        await until(lambda: twin.initial_done, "once the first has left, the second is let in")


async def test_a_dead_connection_of_a_device_gives_way_to_its_new_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_all(shop)
    loja = shop.nodes[STORE]
    first = next(link for link in loja.downstream if link.peer and link.peer.device == "caixa1")

    async def silent(_seconds: float) -> bool:
        return False

    monkeypatch.setattr(first.channel, "answers", silent)
    other = await stranger(shop, STORE)
    assert (await other.greet(HELLO | {"device": "caixa1"}))[0] is Kind.WELCOME
    await until(lambda: first not in loja.downstream, "the dead connection is closed")
    assert not loja.admission.doubled


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("writes", [True, False])
async def test_a_restored_loja_gets_back_what_gestao_and_its_lanes_hold(
    shop: Shop, *, whole: bool, writes: bool
) -> None:
    await open_all(shop)
    await back_up(shop, STORE)
    await receive_units(shop.nodes[STORE], 10)
    for name in ("caixa1", "caixa2"):
        await sell(shop.nodes[name], f"s-{name}")
    await shop.even()
    loja = await restore_alone(shop, STORE, whole=whole)
    if writes:
        await receive_units(loja, 5)
    shop.network.heal(STORE)
    await expect(shop, {"s-caixa1", "s-caixa2"}, 113 if writes else 108)
    await receive_units(loja, 1)
    await expect(shop, {"s-caixa1", "s-caixa2"}, 114 if writes else 109)


@pytest.mark.parametrize("writes", [True, False])
async def test_a_restored_loja_gets_back_from_its_lanes_what_gestao_never_heard(
    shop: Shop, *, writes: bool
) -> None:
    await open_all(shop)
    await back_up(shop, STORE)
    await shop.even()
    await shop.close("gestao")
    await receive_units(shop.nodes[STORE], 10)
    for name in ("caixa1", "caixa2"):
        await sell(shop.nodes[name], f"s-{name}")
    await shop.even()
    loja = await restore_alone(shop, STORE, whole=True)
    if writes:
        await receive_units(loja, 5)
    shop.network.heal(STORE)
    await shop.open("gestao")
    await expect(shop, {"s-caixa1", "s-caixa2"}, 113 if writes else 108)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("writes", [True, False])
async def test_a_restored_gestao_gets_back_what_its_loja_holds(
    shop: Shop, *, whole: bool, writes: bool
) -> None:
    await open_all(shop)
    await back_up(shop, "gestao")
    await add_product(shop.nodes["gestao"], "p2")
    await sell(shop.nodes["caixa1"], "s1")
    await shop.even()
    gestao = await restore_alone(shop, "gestao", whole=whole)
    if writes:
        await add_product(gestao, "p3")
    shop.network.heal("gestao")
    products = {"p1", "p2", "p3"} if writes else {"p1", "p2"}
    await expect(shop, {"s1"}, 99)
    for name in EVERYWHERE:
        assert {product.id for product in await shop.nodes[name].find(Product)} == products, name
    await add_product(gestao, "p4")
    await expect(shop, {"s1"}, 99)
    assert await shop.nodes["caixa2"].count(Product) == len(products) + 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_that_fails_while_the_branches_are_brought_together_leaves_one_state_or_the_other(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    await open_all(shop)
    await back_up(shop, "caixa1")
    await sell(shop.nodes["caixa1"], "lost")
    await shop.even()
    caixa = await restore_alone(shop, "caixa1", whole=True)
    await sell(caixa, "again")
    old = caixa.ledger.replica
    honest = caixa.ledger.storage.commit
    found: list[int] = []

    async def strike(commit: Commit) -> int:
        if found or not commit.snapshots:
            return await honest(commit)
        found.append(caixa.ledger.replica)
        if when == "after":
            await honest(commit)
        raise StoreUnavailable("store.db", "the disk does not answer")

    monkeypatch.setattr(caixa.ledger.storage, "commit", strike)
    shop.network.heal("caixa1")
    caixa.request_check()
    await until(lambda: bool(found), "the branches are about to be brought together")
    await sell(caixa, "next")
    await expect(shop, {"lost", "again", "next"}, 97)
    assert old not in {found[0], caixa.ledger.replica}
    assert (caixa.ledger.replica == found[0]) == (when == "after")


async def test_beside_a_log_in_doubt_only_what_the_peer_may_write_is_kept(shop: Shop) -> None:
    ledger = (await shop.open("gestao")).ledger
    branches = Branches(ledger)
    branches.doubt({"products": {1}})
    with pytest.raises(UpdateInvalid, match="may not write the log of replica 2"):
        branches.split(
            "products", append_update(2, 0, [b"x"]), lambda _replica: frozenset(), lambda _replica: False
        )
    assert branches.rest == {}
