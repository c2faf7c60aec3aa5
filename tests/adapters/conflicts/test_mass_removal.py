"""C27: one write that deletes a large part of a category waits, where it arrives, until a person decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adapters.customers import Customer
from adapters.product_categories import ProductCategory
from adapters.products import Product
from crdtsync.errors import NotAllowed
from tests.adapters.conflicts.kit import CAIXA1, CAIXA2, EVERYBODY, GESTAO, LOJA

if TYPE_CHECKING:
    from crdtsync.node import Node
    from tests.adapters.conflicts.kit import Store

OTHERS = (GESTAO, CAIXA1, CAIXA2)


async def fill(store: Store, count: int) -> None:
    await store.gestao.load(Customer, ({"id": f"c{number:04}", "name": "Ana"} for number in range(count)))
    await store.even()


async def remove(node: Node, count: int) -> None:
    async with node.transaction() as tx:
        for number in range(count):
            (await tx.get(Customer, f"c{number:04}")).delete()


async def removed_apart(store: Store, count: int = 40, of: int = 100) -> None:
    await fill(store, of)
    await store.apart()
    await remove(store.loja, count)
    await store.together()


async def customers(store: Store) -> dict[str, int]:
    return {name: await node.count(Customer) for name, node in store.nodes.items()}


async def everywhere_equal(store: Store, count: int) -> None:
    """Every node shows this many customers, folds them to the same state, and holds none in conflict."""
    assert await customers(store) == dict.fromkeys(store.nodes, count)
    digests = {await node.ledger.state_digest("customers") for node in store.nodes.values()}
    assert len(digests) == 1
    for node in store.nodes.values():
        assert not any(one.conflicts for one in await node.find(Customer))
        rows, digest = await node.ledger.refold("customers")
        assert {digest} == digests
        assert sum(not row[-2] for row in rows) == count


async def test_a_mass_removal_waits_where_it_arrives_and_is_one_pendency_everywhere(store: Store) -> None:
    await removed_apart(store)
    found = await store.same("C27")
    assert found.severity == "B"
    assert "Uma só operação excluiu 40 registros de Clientes, mais de 5%" in found.message
    assert await customers(store) == {LOJA: 60, **dict.fromkeys(OTHERS, 100)}


@pytest.mark.parametrize(("option", "left"), [("recusar", 100), ("confirmar", 60)])
@pytest.mark.parametrize("at", [GESTAO, LOJA, CAIXA1])
async def test_the_decision_of_one_person_brings_all_nodes_to_the_same_records(
    store: Store, option: str, left: int, at: str
) -> None:
    await removed_apart(store)
    await store.settle(await store.same("C27"), option, at=at)
    await everywhere_equal(store, left)


@pytest.mark.parametrize(("option", "left"), [("recusar", 100), ("confirmar", 60)])
async def test_two_people_who_decide_alike_apart_decide_once(store: Store, option: str, left: int) -> None:
    await removed_apart(store)
    await store.settle_apart(await store.same("C27"), option, at=(GESTAO, LOJA, CAIXA2))
    await everywhere_equal(store, left)


async def test_two_people_who_decide_differently_keep_the_records_and_are_told(store: Store) -> None:
    await removed_apart(store)
    found = await store.same("C27")
    await store.apart()
    await store.gestao.resolve(found.id, "confirmar", why="limpeza", person="maria")
    await store.caixa1.resolve(found.id, "recusar", why="engano", person="jose")
    await store.together()
    await store.nothing("C27")
    assert await customers(store) == dict.fromkeys(EVERYBODY, 100)
    await store.same("P02")


@pytest.mark.parametrize(("count", "of"), [(19, 100), (5, 90), (25, 500)])
async def test_few_records_and_no_more_than_one_in_twenty_are_simply_removed(
    store: Store, count: int, of: int
) -> None:
    await removed_apart(store, count, of)
    await store.nothing("C27")
    await everywhere_equal(store, of - count)


async def test_one_more_than_one_in_twenty_waits(store: Store) -> None:
    await removed_apart(store, 26, 500)
    await store.same("C27")


async def test_removals_one_by_one_are_simply_removed(store: Store) -> None:
    await fill(store, 100)
    await store.apart()
    for number in range(40):
        async with store.loja.transaction() as tx:
            (await tx.get(Customer, f"c{number:04}")).delete()
    await store.together()
    await store.nothing("C27")
    await everywhere_equal(store, 60)


async def test_what_else_the_transaction_wrote_is_shown_at_once(store: Store) -> None:
    await fill(store, 100)
    await store.apart()
    async with store.loja.transaction() as tx:
        tx.create(ProductCategory, id="drinks", name="Bebidas")
        (await tx.get(Customer, "c0099")).name = "Bia"
        for number in range(40):
            customer = await tx.get(Customer, f"c{number:04}")
            customer.phone = "1111111111"
            customer.delete()
    await store.together()
    for name in OTHERS:
        category = await store.nodes[name].get(ProductCategory, "drinks")
        other = await store.nodes[name].get(Customer, "c0099")
        removed = await store.nodes[name].get(Customer, "c0001")
        assert category is not None
        assert other is not None
        assert removed is not None
        assert (other.name, removed.phone) == ("Bia", "1111111111")
    await store.settle(await store.same("C27"), "confirmar")
    await everywhere_equal(store, 60)


async def test_a_node_that_restarts_still_waits_and_learns_of_a_decision_it_missed(store: Store) -> None:
    await removed_apart(store)
    found = await store.same("C27")
    await store.close(CAIXA1)
    await store.open(CAIXA1)
    await store.even()
    assert (await customers(store))[CAIXA1] == 100
    assert await store.same("C27") == found
    await store.close(CAIXA1)
    await store.loja.resolve(found.id, "confirmar", why="limpeza", person="maria")
    await store.open(CAIXA1)
    await store.even()
    await store.nothing("C27")
    await everywhere_equal(store, 60)


@pytest.mark.parametrize(("option", "left"), [("recusar", 100), ("confirmar", 60)])
async def test_a_compaction_by_the_writer_brings_no_removal_in(store: Store, option: str, left: int) -> None:
    await removed_apart(store)
    found = await store.same("C27")
    await store.compact(LOJA, "customers")
    await store.compact(GESTAO, "customers")
    await store.even()
    assert await customers(store) == {LOJA: 60, **dict.fromkeys(OTHERS, 100)}
    await store.close(CAIXA1)
    await store.open(CAIXA1)
    await store.even()
    assert await store.same("C27") == found
    await store.settle(found, option, at=CAIXA2)
    await everywhere_equal(store, left)
    await store.compact(LOJA, "customers")
    await store.even()
    await store.nothing("C27")
    await everywhere_equal(store, left)


@pytest.mark.parametrize(("option", "left"), [("recusar", 100), ("confirmar", 60)])
async def test_a_node_that_comes_for_the_first_time_has_nothing_to_miss_and_ends_like_the_others(
    store: Store, option: str, left: int
) -> None:
    await removed_apart(store)
    await store.open("caixa3")
    await store.even()
    assert (await customers(store))["caixa3"] == 60
    found = await store.same("C27")
    await store.settle(found, option)
    await everywhere_equal(store, left)


async def test_what_the_head_office_removed_can_be_refused_by_the_head_office_alone(store: Store) -> None:
    await store.gestao.load(Product, ({"id": f"p{number}", "name": "Água"} for number in range(50)))
    await store.even()
    async with store.gestao.transaction() as tx:
        for number in range(30):
            (await tx.get(Product, f"p{number}")).delete()
    await store.even()
    found = await store.same("C27")
    with pytest.raises(NotAllowed):
        await store.loja.resolve(found.id, "recusar", why="engano", person="maria")
    assert await store.same("C27") == found
    await store.settle(found, "recusar", at=GESTAO)
    assert {await node.count(Product) for node in store.nodes.values()} == {50}
