"""C25: one field of a register that Gestão and Loja, or two people of a store, edited while they were apart."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from adapters.cost_centers import CostCenter
from adapters.entity_classifications import EntityClassification
from adapters.product_categories import ProductCategory
from adapters.profit_centers import ProfitCenter
from adapters.receivables import Receivable
from tests.adapters.conflicts.kit import CAIXA1, EVERYBODY, GESTAO, LOJA, everywhere

if TYPE_CHECKING:
    from crdtsync import Entity
    from crdtsync.node import Node
    from tests.adapters.conflicts.kit import Store


async def edit(node: Node, entity: type[Entity], key: str, **values: object) -> None:
    async with node.transaction() as tx:
        record = await tx.get(entity, key)
        for name, value in values.items():
            setattr(record, name, value)


async def edited_apart(
    store: Store, entity: type[Entity], key: str, office: dict[str, Any], shop: dict[str, Any]
) -> None:
    await store.even()
    await store.apart()
    await edit(store.gestao, entity, key, **office)
    store.clock(LOJA).advance(timedelta(minutes=1))
    await edit(store.loja, entity, key, **shop)
    await store.together()


async def add_category(store: Store) -> None:
    async with store.gestao.transaction() as tx:
        tx.create(ProductCategory, id="drinks", name="Bebidas")


@pytest.mark.parametrize(
    ("option", "values", "name"),
    [
        ("a", {}, "Bebidas e sucos"),
        ("b", {}, "Bebidas frias"),
        ("outro", {"valor": "Bebidas (todas)"}, "Bebidas (todas)"),
    ],
)
async def test_a_categorys_name_edited_on_two_sides(
    store: Store, option: str, values: dict[str, str], name: str
) -> None:
    await add_category(store)
    await edited_apart(
        store, ProductCategory, "drinks", {"name": "Bebidas frias"}, {"name": "Bebidas e sucos"}
    )
    found = await store.same("C25")
    assert found.severity == "M"
    await store.settle(found, option, values=values)
    category = await everywhere(store, ProductCategory, "drinks")
    assert (category.name, category.conflicts) == (name, {})


async def test_two_fields_in_question_take_a_value_each(store: Store) -> None:
    await add_category(store)
    await edited_apart(
        store,
        ProductCategory,
        "drinks",
        {"name": "Bebidas frias", "parent": "food"},
        {"name": "Bebidas e sucos", "parent": "house"},
    )
    found = await store.same("C25")
    await store.settle(found, "outro", values={"valor": "name=Bebidas; parent="})
    category = await everywhere(store, ProductCategory, "drinks")
    assert (category.name, category.parent) == ("Bebidas", None)


async def test_interest_of_a_receivable_edited_on_two_sides_is_for_a_person(store: Store) -> None:
    async with store.loja.transaction() as tx:
        tx.create(
            Receivable,
            id="r1",
            number="1/1",
            customer="c1",
            issued_on=date(2026, 11, 1),
            due_on=date(2026, 11, 30),
            value=Decimal(100),
        )
    await edited_apart(store, Receivable, "r1", {"interest": Decimal(5)}, {"interest": Decimal(8)})
    found = await store.same("C25", at=(GESTAO, LOJA, CAIXA1, "caixa2"))
    assert found.severity == "A"
    await store.settle(found, "b", at=GESTAO)
    assert (await everywhere(store, Receivable, "r1")).due == 105


async def test_edits_of_two_fields_and_edits_that_agree_open_nothing(store: Store) -> None:
    await add_category(store)
    await edited_apart(
        store,
        ProductCategory,
        "drinks",
        {"name": "Bebidas frias"},
        {"parent": "food", "name": "Bebidas frias"},
    )
    await store.nothing("C25")
    await everywhere(store, ProductCategory, "drinks", at=EVERYBODY)


@pytest.mark.parametrize("entity", [CostCenter, ProfitCenter, EntityClassification])
def test_the_tables_of_the_head_office_have_the_rule_with_its_options(entity: type[Entity]) -> None:
    (rule,) = [rule for rule in entity.__shape__.invariants if rule.code == "C25"]
    assert [option.name for option in rule.options] == ["a", "b", "outro"]
