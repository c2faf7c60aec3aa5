"""C18, C19 and C20: the tree of categories that Gestão and Loja both edited while they were apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adapters.product_categories import ProductCategory
from adapters.products import Product
from crdtsync.errors import OptionRefused
from tests.adapters.conflicts.kit import GESTAO, LOJA, everywhere

if TYPE_CHECKING:
    from crdtsync.node import Node
    from crdtsync.storage import PendencyRow
    from tests.adapters.conflicts.kit import Store


async def grow(node: Node, **tree: tuple[str, str | None]) -> None:
    """Create categories: id -> (name, parent)."""
    async with node.transaction() as tx:
        for key, (name, parent) in tree.items():
            tx.create(ProductCategory, id=key, name=name, parent=parent)


async def put_under(node: Node, key: str, parent: str | None) -> None:
    async with node.transaction() as tx:
        (await tx.get(ProductCategory, key)).parent = parent


async def delete(node: Node, key: str) -> None:
    async with node.transaction() as tx:
        (await tx.get(ProductCategory, key)).delete()


async def parents(store: Store) -> dict[str, str | None]:
    """Each visible category's parent, the same at every node."""
    told = [
        {one.key: one.parent for one in await node.find(ProductCategory)} for node in store.nodes.values()
    ]
    assert all(tree == told[0] for tree in told)
    return told[0]


# -- C18 --------------------------------------------------------------------------------------------------------


async def deleted_in_use(store: Store) -> PendencyRow:
    """Loja deletes "Bebidas", inside "Mercearia", while Gestão puts a product and a subcategory in it."""
    await grow(store.gestao, food=("Mercearia", None), drinks=("Bebidas", "food"))
    await store.even()
    await store.apart()
    await delete(store.loja, "drinks")
    async with store.gestao.transaction() as tx:
        tx.create(Product, id="p1", name="Suco de uva", category="drinks")
        tx.create(ProductCategory, id="juice", name="Sucos", parent="drinks")
    await store.together()
    return await store.same("C18")


async def test_a_category_deleted_while_it_got_a_product_is_one_pendency_and_not_also_the_products(
    store: Store,
) -> None:
    found = await deleted_in_use(store)
    assert "“Bebidas” foi excluída e ainda é usada por" in found.message
    assert "Suco de uva" in found.message
    await store.nothing("C22")


@pytest.mark.parametrize(
    ("option", "category", "tree"),
    [
        ("restaurar", "drinks", {"food": None, "drinks": "food", "juice": "drinks"}),
        ("mover", "food", {"food": None, "juice": "food"}),
        ("sem_categoria", None, {"food": None, "juice": None}),
        ("inativar", "drinks", {"food": None, "drinks": "food", "juice": "drinks"}),
    ],
)
async def test_each_option_of_a_deleted_category_leaves_no_reference_to_what_is_gone(
    store: Store, option: str, category: str | None, tree: dict[str, str | None]
) -> None:
    await store.settle(await deleted_in_use(store), option, at=GESTAO)
    product = await everywhere(store, Product, "p1")
    assert product.category == category
    assert await parents(store) == tree
    assert product.active is (option != "inativar")
    await store.nothing("C22")


async def test_two_people_who_restore_a_category_apart_restore_it_once(store: Store) -> None:
    await store.settle_apart(await deleted_in_use(store), "restaurar", at=(GESTAO, LOJA))
    assert "drinks" in await parents(store)


async def test_a_store_cannot_move_products_that_the_head_office_owns(store: Store) -> None:
    found = await deleted_in_use(store)
    with pytest.raises(OptionRefused):
        await store.loja.resolve(found.id, "mover", why="arrumação", person="maria")


async def test_moving_up_passes_over_a_mother_that_was_deleted_too(store: Store) -> None:
    await grow(store.gestao, food=("Mercearia", None), drinks=("Bebidas", "food"))
    await store.even()
    await store.apart()
    async with store.loja.transaction() as tx:
        for key in ("food", "drinks"):
            (await tx.get(ProductCategory, key)).delete()
    await grow(store.gestao, juice=("Sucos", "drinks"))
    await store.together()
    await store.settle(await store.same("C18"), "mover", at=GESTAO)
    assert await parents(store) == {"juice": None}


async def test_a_deleted_category_that_nobody_uses_opens_nothing(store: Store) -> None:
    await grow(store.gestao, food=("Mercearia", None), drinks=("Bebidas", "food"))
    await store.even()
    await store.apart()
    await delete(store.loja, "drinks")
    async with store.gestao.transaction() as tx:
        tx.create(Product, id="p1", name="Suco de uva", category="food")
    await store.together()
    await store.nothing("C18")


# -- C19 --------------------------------------------------------------------------------------------------------


async def circle(store: Store) -> PendencyRow:
    """Gestão puts "Bebidas" inside "Sucos" while Loja puts "Sucos" inside "Bebidas"."""
    await grow(store.gestao, drinks=("Bebidas", None), juice=("Sucos", None))
    await store.even()
    await store.apart()
    await put_under(store.gestao, "drinks", "juice")
    await put_under(store.loja, "juice", "drinks")
    await store.together()
    return await store.same("C19")


@pytest.mark.parametrize(
    ("option", "tree"),
    [
        ("primeiro", {"drinks": "juice", "juice": None}),
        ("segundo", {"drinks": None, "juice": "drinks"}),
        ("raiz", {"drinks": None, "juice": None}),
    ],
)
async def test_each_option_of_a_cycle_brings_both_back_to_the_root(
    store: Store, option: str, tree: dict[str, str | None]
) -> None:
    found = await circle(store)
    assert "“Bebidas” → “Sucos” → “Bebidas”" in found.message
    await store.settle(found, option)
    assert await parents(store) == tree


async def test_two_people_who_break_a_cycle_apart_break_it_once(store: Store) -> None:
    await store.settle_apart(await circle(store), "primeiro", at=(GESTAO, LOJA))
    assert await parents(store) == {"drinks": "juice", "juice": None}


async def test_a_cycle_of_three_is_one_pendency_whoever_closed_it_and_goes_when_any_member_leaves(
    store: Store,
) -> None:
    await grow(store.gestao, a=("Alimentos", None), b=("Bebidas", "a"), c=("Cafés", None))
    await store.even()
    await store.apart()
    await put_under(store.gestao, "a", "c")
    await put_under(store.loja, "c", "b")
    await store.together()
    found = await store.same("C19")
    assert found.key == "a"
    assert "“Alimentos” → “Cafés” → “Bebidas” → “Alimentos”" in found.message
    await put_under(store.loja, "b", None)
    await store.even()
    await store.nothing("C19")


async def test_two_moves_that_make_a_longer_branch_open_nothing(store: Store) -> None:
    await grow(store.gestao, drinks=("Bebidas", None), food=("Mercearia", None), juice=("Sucos", None))
    await store.even()
    await store.apart()
    await put_under(store.gestao, "drinks", "food")
    await put_under(store.loja, "juice", "drinks")
    await store.together()
    await store.nothing("C19")


# -- C20 --------------------------------------------------------------------------------------------------------


async def twins(store: Store) -> PendencyRow:
    """Gestão and Loja each create the category, and hang something on their own."""
    await grow(store.gestao, food=("Mercearia", None))
    await store.even()
    await store.apart()
    await grow(store.gestao, t1=("Pães", "food"))
    async with store.gestao.transaction() as tx:
        tx.create(Product, id="p1", name="Pão francês", category="t1")
    await grow(store.loja, t2=("  PAES ", "food"), t3=("Pães doces", "t2"))
    await store.together()
    return await store.same("C20")


async def test_twins_are_unified_with_what_hangs_on_them(store: Store) -> None:
    found = await twins(store)
    assert found.severity == "M"
    async with store.gestao.transaction() as tx:
        (await tx.get(Product, "p1")).category = "t2"
    await store.even()
    await store.settle(await store.same("C20"), "unificar", at=GESTAO)
    assert await parents(store) == {"food": None, "t1": "food", "t3": "t1"}
    assert (await everywhere(store, Product, "p1")).category == "t1"
    await store.nothing("C18")
    await store.nothing("C22")


@pytest.mark.parametrize(("option", "values"), [("renomear", {"nome": "Pães da casa"}), ("manter", {})])
async def test_twins_may_be_told_apart_or_stay(store: Store, option: str, values: dict[str, str]) -> None:
    await store.settle(await twins(store), option, values=values)
    assert set(await parents(store)) == {"food", "t1", "t2", "t3"}


async def test_two_people_who_unify_apart_unify_once(store: Store) -> None:
    await store.settle_apart(await twins(store), "unificar", at=(GESTAO,))
    assert set(await parents(store)) == {"food", "t1", "t3"}


async def test_the_same_name_elsewhere_in_the_tree_or_in_an_inactive_category_opens_nothing(
    store: Store,
) -> None:
    await grow(store.gestao, food=("Mercearia", None), old=("Pães", "food"))
    async with store.gestao.transaction() as tx:
        (await tx.get(ProductCategory, "old")).active = False
    await store.even()
    await store.apart()
    await grow(store.gestao, t1=("Pães", "food"))
    await grow(store.loja, t2=("Pães", None), t3=("Pãezinhos", "food"))
    await store.together()
    await store.nothing("C20")
