"""C21, C22 and C25 of customers: one person in two records, a reference that is gone, a field edited on two sides."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from adapters.cities import City
from adapters.customers import Customer
from adapters.entity_classifications import EntityClassification
from crdtsync.errors import FieldError
from tests.adapters.conflicts.kit import CAIXA2, EVERYBODY, GESTAO, LOJA, everywhere

if TYPE_CHECKING:
    from crdtsync.node import Node
    from crdtsync.storage import PendencyRow
    from tests.adapters.conflicts.kit import Store

CPF, OTHER_CPF = "52998224725", "11144477735"


async def register(node: Node, key: str, name: str, **values: Any) -> None:
    async with node.transaction() as tx:
        tx.create(Customer, id=key, name=name, **values)


async def edit(node: Node, key: str, **values: object) -> None:
    async with node.transaction() as tx:
        customer = await tx.get(Customer, key)
        for name, value in values.items():
            setattr(customer, name, value)


async def refused(store: Store, row: PendencyRow, option: str, values: dict[str, str], error: str) -> None:
    with pytest.raises(FieldError, match=error):
        await store.loja.resolve(row.id, option, why="conferido", person="maria", values=values)


# -- C21 --------------------------------------------------------------------------------------------------------


async def twice(store: Store) -> PendencyRow:
    """Two lanes register the same person."""
    await store.apart()
    await register(store.caixa1, "c1", "Ana Souza", tax_id="529.982.247-25")
    await register(store.caixa2, "c2", "Ana S.", tax_id=CPF, phone="+5511999990000")
    async with store.caixa2.transaction() as tx:
        (await tx.get(Customer, "c2")).tags.add("fiado")
    await store.together()
    return await store.same("C21")


async def test_a_person_registered_at_two_lanes_is_unified(store: Store) -> None:
    found = await twice(store)
    assert "Ana Souza (c1), Ana S. (c2)" in found.message
    await store.settle(found, "unificar", at=LOJA)
    first = await everywhere(store, Customer, "c1")
    assert (first.phone, list(first.tags)) == ("+5511999990000", ["fiado"])
    second = await everywhere(store, Customer, "c2")
    assert (second.active, second.merged_into) == (False, "c1")


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("corrigir", {"cliente": "c2", "documento": OTHER_CPF}),
        ("corrigir", {"cliente": "c2", "documento": " "}),
        ("manter", {}),
    ],
)
async def test_a_document_may_be_corrected_or_be_of_two_branches(
    store: Store, option: str, values: dict[str, str]
) -> None:
    await store.settle(await twice(store), option, values=values)
    assert (await everywhere(store, Customer, "c1")).tax_id == CPF
    wanted = CPF if option == "manter" else values["documento"].strip() or None
    assert (await everywhere(store, Customer, "c2")).tax_id == wanted


@pytest.mark.parametrize(
    ("option", "values"),
    [("unificar", {}), ("corrigir", {"cliente": "c2", "documento": OTHER_CPF}), ("manter", {})],
)
async def test_two_people_who_settle_it_apart_settle_it_once(
    store: Store, option: str, values: dict[str, str]
) -> None:
    await store.settle_apart(await twice(store), option, at=(GESTAO, LOJA), values=values)
    await store.nothing("C25")
    assert (await everywhere(store, Customer, "c1")).tax_id == CPF


async def test_a_correction_names_one_of_the_customers_and_a_valid_document(store: Store) -> None:
    found = await twice(store)
    await refused(store, found, "corrigir", {"cliente": "c9", "documento": OTHER_CPF}, "c1, c2")
    await refused(store, found, "corrigir", {"cliente": "c2", "documento": "123"}, "not a valid CPF")
    assert await store.same("C21") == found


async def test_no_document_another_document_and_an_inactive_customer_open_nothing(store: Store) -> None:
    await register(store.gestao, "old", "Ana", tax_id=CPF, active=False)
    await store.even()
    await store.apart()
    await register(store.caixa1, "c1", "Ana", tax_id=CPF)
    await register(store.caixa2, "c2", "Bia", tax_id=OTHER_CPF)
    await register(store.caixa1, "c3", "Caio")
    await register(store.caixa2, "c4", "Davi")
    await store.together()
    await store.nothing("C21")


# -- C22 --------------------------------------------------------------------------------------------------------


async def dangling(store: Store) -> PendencyRow:
    """Gestão makes a classification inactive while a lane registers a customer with it."""
    async with store.gestao.transaction() as tx:
        tx.create(EntityClassification, id="vip", name="VIP")
        tx.create(EntityClassification, id="comum", name="Comum")
    await store.even()
    await store.apart()
    async with store.gestao.transaction() as tx:
        (await tx.get(EntityClassification, "vip")).active = False
    await register(store.caixa1, "c1", "Ana", classification="vip")
    await store.together()
    return await store.same("C22")


async def test_a_reference_to_something_inactive_is_replaced(store: Store) -> None:
    found = await dangling(store)
    assert found.title == "Referência inexistente ou desatualizada"
    await store.settle(found, "substituir", values={"valor": "comum"})
    assert (await everywhere(store, Customer, "c1")).classification == "comum"


async def test_what_is_referred_to_may_become_active_again(store: Store) -> None:
    await store.settle(await dangling(store), "reativar", at=GESTAO)
    assert (await everywhere(store, EntityClassification, "vip")).active


async def test_waiting_for_the_table_leaves_it_open_until_the_record_comes(store: Store) -> None:
    await store.apart()
    await register(store.caixa1, "c1", "Ana", city="2201903")
    await store.together()
    found = await store.same("C22")
    await store.loja.resolve(found.id, "baixar", why="a tabela é antiga", person="maria")
    await store.even()
    assert (await store.same("C22")).episode == found.episode
    async with store.gestao.transaction() as tx:
        tx.create(City, code="2201903", name="Bom Jesus", state="PI")
    await store.even()
    await store.nothing("C22")


async def test_two_references_that_are_gone_are_replaced_each_by_its_own(store: Store) -> None:
    async with store.gestao.transaction() as tx:
        tx.create(EntityClassification, id="comum", name="Comum")
        tx.create(City, code="2201903", name="Bom Jesus", state="PI")
    await store.even()
    await store.apart()
    await register(store.caixa1, "c1", "Ana", city="3550308", classification="vip")
    await store.together()
    found = await store.same("C22")
    await refused(store, found, "substituir", {"valor": "comum"}, "city=...; classification=...")
    await store.settle(found, "substituir", values={"valor": "city=2201903; classification=comum"})
    customer = await everywhere(store, Customer, "c1")
    assert (customer.city, customer.classification) == ("2201903", "comum")


async def test_an_active_reference_and_an_inactive_customer_open_nothing(store: Store) -> None:
    async with store.gestao.transaction() as tx:
        tx.create(EntityClassification, id="comum", name="Comum")
        tx.create(EntityClassification, id="vip", name="VIP", active=False)
    await store.even()
    await store.apart()
    await register(store.caixa1, "c1", "Ana", classification="comum")
    await register(store.caixa2, "c2", "Bia", classification="vip", active=False)
    await store.together()
    await store.nothing("C22")


# -- C25 --------------------------------------------------------------------------------------------------------


async def two_phones(store: Store) -> PendencyRow:
    await register(store.gestao, "c1", "Ana", phone="1111111111")
    await store.even()
    await store.apart()
    await edit(store.caixa1, "c1", phone="2222222222")
    store.clock(CAIXA2).advance(timedelta(minutes=1))
    await edit(store.caixa2, "c1", phone="3333333333")
    await store.together()
    return await store.same("C25")


@pytest.mark.parametrize(
    ("option", "values", "phone"),
    [
        ("a", {}, "3333333333"),
        ("b", {}, "2222222222"),
        ("outro", {"valor": "4444444444"}, "4444444444"),
    ],
)
async def test_a_field_edited_at_two_lanes_takes_the_value_that_a_person_chooses(
    store: Store, option: str, values: dict[str, str], phone: str
) -> None:
    found = await two_phones(store)
    assert "3333333333 · 2222222222" in found.message
    await store.settle(found, option, at=LOJA, values=values)
    customer = await everywhere(store, Customer, "c1")
    assert (customer.phone, customer.conflicts) == (phone, {})


async def test_two_people_who_choose_the_same_value_apart_choose_it_once(store: Store) -> None:
    await store.settle_apart(await two_phones(store), "b", at=(GESTAO, LOJA))
    assert (await everywhere(store, Customer, "c1")).phone == "2222222222"


async def test_different_fields_and_the_same_value_open_nothing(store: Store) -> None:
    await register(store.gestao, "c1", "Ana")
    await store.even()
    await store.apart()
    await edit(store.caixa1, "c1", phone="2222222222", street="Rua A")
    await edit(store.caixa2, "c1", email="ana@loja.com.br", street="Rua A")
    await edit(store.loja, "c1", credit_limit=Decimal(100))
    await store.together()
    await store.nothing("C25")
    assert (await everywhere(store, Customer, "c1", at=EVERYBODY)).street == "Rua A"
