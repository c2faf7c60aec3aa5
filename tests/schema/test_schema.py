"""The schema: order by references, cycles named, adapters found through their entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from types import new_class
from typing import Any

import pytest

from crdtsync import Entity, Key, Ref, Role, Schema, load_installed
from crdtsync.errors import AdapterError, UnknownCategory
from tests.schema.shop import Category, Letter, Line, Product, Sale, StockItem

SHOP = (Letter, Sale, StockItem, Product, Category)


def entity(category: str, *targets: str, **options: Any) -> type[Entity]:
    """Declare a category that refers to others."""
    refs = {f"to_{target}": Ref(target) for target in targets}
    body = {"id": Key(), **refs}
    made: type[Entity] = new_class(
        category.title(),
        (Entity,),
        {"category": category, "writers": {Role.LOJA}, **options},
        lambda namespace: namespace.update(body),
    )
    return made


def test_each_category_comes_after_those_it_refers_to() -> None:
    schema = Schema(SHOP)
    assert schema.order("download") == ("categories", "products", "sales", "letters", "stock")
    assert schema.order("upload") == ("categories", "products", "sales", "letters", "stock")


def test_the_declared_places_decide_where_references_allow() -> None:
    schema = Schema(
        [
            entity("a", download=3),
            entity("b", "c", download=1),
            entity("c"),
            entity("d", download=2, upload=1),
        ]
    )
    assert schema.order("download") == ("c", "b", "d", "a")
    assert schema.order("upload") == ("d", "a", "c", "b")


def test_a_cycle_is_refused_with_its_path() -> None:
    with pytest.raises(AdapterError, match="a -> b -> c -> a"):
        Schema([entity("a", "b"), entity("b", "c"), entity("c", "a"), entity("d", "a")])


def test_a_tree_is_no_cycle() -> None:
    assert Schema([Category]).order("download") == ("categories",)


def test_a_reference_to_nowhere_and_a_category_twice_are_refused() -> None:
    with pytest.raises(AdapterError, match=r"a\.to_b refers to b, which no installed adapter declares"):
        Schema([entity("a", "b")])
    with pytest.raises(AdapterError, match=r"a: declared by .*A and by .*A; remove one"):
        Schema([entity("a"), entity("a")])


def test_an_unknown_category_is_an_error_that_names_the_nearest() -> None:
    schema = Schema(SHOP)
    assert schema.entity("products") is Product
    for ask in (schema.shape, schema.entity):
        with pytest.raises(UnknownCategory, match=r"prodcts: .*did you mean 'products'"):
            ask("prodcts")


def test_the_fingerprint_does_not_depend_on_the_order_of_declaration() -> None:
    assert Schema(SHOP).fingerprint == Schema(SHOP[::-1]).fingerprint
    assert Schema(SHOP).fingerprint != Schema(SHOP[1:]).fingerprint


def _install(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    group = "crdtsync.adapters"
    points = EntryPoints(EntryPoint(name, value, group) for name, value in values.items())
    monkeypatch.setattr("crdtsync.schema.schema.entry_points", lambda group: points.select(group=group))


def test_installed_adapters_make_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, products="tests.schema.shop:Product", categories="tests.schema.shop:Category")
    assert set(load_installed().shapes) == {"products", "categories"}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("tests.schema.missing:Product", "cannot be loaded.*missing.*uninstall it"),
        ("tests.schema.shop:Prodct", "cannot be loaded.*Prodct.*uninstall it"),
        ("tests.schema.shop:Line", "is not an entity"),
        ("tests.schema.shop:load", "is not an entity"),
    ],
)
def test_a_broken_adapter_is_named(monkeypatch: pytest.MonkeyPatch, value: str, says: str) -> None:
    _install(monkeypatch, products=value)
    with pytest.raises(AdapterError, match=f"adapter products .*{says}"):
        load_installed()


@pytest.mark.parametrize(("given", "says"), [(Entity, "Entity"), (Line, "Line"), ("products", "'products'")])
def test_what_is_no_entity_is_refused_by_its_name(given: Any, says: str) -> None:
    with pytest.raises(AdapterError, match=f"^{says} is no entity with a category"):
        Schema([Product, given])
