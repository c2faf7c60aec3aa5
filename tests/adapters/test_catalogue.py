"""The nineteen categories together: how they are found, their order, their rights, and what they may import."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import cast

import pytest

from crdtsync import Entity, Identity, Role, Schema
from crdtsync.testing.adapter_contract import private_imports

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "adapters").glob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENTRY_POINTS: dict[str, str] = PROJECT["entry-points"]["crdtsync.adapters"]


def _entity(value: str) -> type[Entity]:
    module, _, name = value.partition(":")
    return cast("type[Entity]", getattr(importlib.import_module(module), name))


SCHEMA = Schema(_entity(value) for value in ENTRY_POINTS.values())

ALL = "gestao loja caixa"
# Category -> (title, roles that write, roles that hold, partition columns): the matrix of the trade. A Caixa writes
# receivables because it adds settlements; the fields that change the debt are not its own. A Loja writes a product's price.
MATRIX = {
    "product_categories": ("Categorias de produtos", "gestao loja", ALL, ()),
    "cost_centers": ("Centro de custo", "gestao", ALL, ()),
    "profit_centers": ("Centro de lucro", "gestao", ALL, ()),
    "cfop": ("CFOP", "gestao", ALL, ()),
    "cities": ("Cidade", "gestao", ALL, ()),
    "entity_classifications": ("Classificação da entidade", "gestao", ALL, ()),
    "products": ("Produtos", "gestao loja", ALL, ()),
    "customers": ("Clientes", ALL, ALL, ()),
    "account_settings": ("Configurações da conta", "gestao loja", ALL, ()),
    "stock": ("Estoque", "loja caixa", ALL, ("store",)),
    "sale_corrections": ("Correções de vendas", "loja caixa", ALL, ("store", "lane", "month")),
    "sales": ("Vendas", "loja caixa", ALL, ("store", "lane", "month")),
    "till_operations": ("Operações de caixa", "loja caixa", ALL, ("store", "lane", "month")),
    "receivables": ("Documentos a receber", ALL, ALL, ("store", "month")),
    "correction_letters": ("Carta de correção", "loja", "gestao loja", ("store", "month")),
    "email_history": ("Histórico de envios de e-mail", "loja", "gestao loja", ("store", "month")),
    "people": ("Pessoas", ALL, ALL, ()),
    "decisions": ("Decisões", ALL, ALL, ("scope",)),
    "incidents": ("Ocorrências", ALL, ALL, ("scope",)),
}


def test_each_entry_point_is_named_after_its_category() -> None:
    assert {name: _entity(value).__shape__.category for name, value in ENTRY_POINTS.items()} == {
        category: category for category in MATRIX
    }


@pytest.mark.parametrize("category", MATRIX)
def test_each_category_has_the_title_rights_and_partition_of_the_matrix(category: str) -> None:
    shape = SCHEMA.shape(category)
    title, writers, holders, columns = MATRIX[category]
    assert shape.title == title
    assert shape.writers == {Role(role) for role in writers.split()}
    assert shape.holders == {Role(role) for role in holders.split()}
    assert shape.partition.columns == columns


def test_a_caixa_adds_settlements_but_does_not_change_the_debt() -> None:
    shape = SCHEMA.shape("receivables")
    assert shape.may_write(Role.CAIXA, "settlements")
    assert not any(shape.may_write(Role.CAIXA, field) for field in ("interest", "discount", "cancelled"))
    assert not SCHEMA.shape("customers").may_write(Role.CAIXA, "credit_limit")


def test_a_loja_writes_a_products_price_and_neither_creates_nor_deletes_one() -> None:
    shape = SCHEMA.shape("products")
    assert {name for name in (*shape.fields, "~") if shape.may_write(Role.LOJA, name)} == {
        "price",
        "price_since",
    }
    assert shape.may_write(Role.GESTAO, "~")


def test_the_initial_run_shows_six_titles_down_and_six_up_in_order() -> None:
    down = [SCHEMA.shape(c).title for c in SCHEMA.order("download") if SCHEMA.shape(c).download]
    up = [SCHEMA.shape(c).title for c in SCHEMA.order("upload") if SCHEMA.shape(c).upload]
    assert down == [
        "Categorias de produtos",
        "Centro de custo",
        "Centro de lucro",
        "CFOP",
        "Cidade",
        "Classificação da entidade",
    ]
    assert up == [
        "Carta de correção",
        "Categorias de produtos",
        "Configurações da conta",
        "Documentos a receber",
        "Estoque",
        "Histórico de envios de e-mail",
    ]


def test_a_sale_goes_to_the_document_of_its_store_lane_and_month() -> None:
    lane = Identity("caixa3", Role.CAIXA, "conta", "loja1")
    parts = SCHEMA.shape("sales").partition.parts("sales", {"sold_at": "2017-08-21T03:57:04Z"}, lane)
    assert parts == ("loja1", "caixa3", "2017-08")


# What wants a person: code -> the category that states it and the role that settles it.
CONFLICTS = {
    "C01": {("stock", Role.LOJA)},
    "C02": {("stock", Role.LOJA)},
    "C03": {("sales", Role.LOJA)},
    "C04": {("products", Role.GESTAO)},
    "C05": {("products", Role.GESTAO), ("sales", Role.GESTAO)},
    "C06": {("products", Role.GESTAO)},
    "C07": {("sale_corrections", Role.LOJA)},
    "C08": {("receivables", Role.LOJA)},
    "C09": {("receivables", Role.LOJA)},
    "C10": {("receivables", Role.GESTAO)},
    "C11": {("till_operations", Role.LOJA)},
    "C12": {("till_operations", Role.LOJA)},
    "C13": {("sales", Role.LOJA)},
    "C14": {("sales", Role.LOJA)},
    "C15": {("sales", Role.LOJA)},
    "C16": {("correction_letters", Role.LOJA)},
    "C17": {("correction_letters", Role.LOJA)},
    "C18": {("product_categories", Role.GESTAO)},
    "C19": {("product_categories", Role.GESTAO)},
    "C20": {("product_categories", Role.GESTAO)},
    "C21": {("customers", Role.LOJA)},
    "C22": {("products", Role.GESTAO), ("customers", Role.GESTAO)},
    "C23": {("cost_centers", Role.GESTAO), ("profit_centers", Role.GESTAO)},
    "C24": {("account_settings", Role.GESTAO)},
    "C25": {
        ("cost_centers", Role.GESTAO),
        ("customers", Role.LOJA),
        ("entity_classifications", Role.GESTAO),
        ("product_categories", Role.GESTAO),
        ("products", Role.GESTAO),
        ("profit_centers", Role.GESTAO),
        ("receivables", Role.LOJA),
    },
    "C26": {("incidents", Role.LOJA)},
    "P02": {("decisions", Role.LOJA)},
}


def test_each_conflict_is_stated_by_the_categories_that_it_is_about() -> None:
    rules = [(rule.code, (c, rule.owner)) for c, shape in SCHEMA.shapes.items() for rule in shape.invariants]
    assert {code: {where for named, where in rules if named == code} for code, _ in rules} == CONFLICTS


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_an_adapter_imports_only_public_names_of_crdtsync(module: Path) -> None:
    assert private_imports(module) == []
