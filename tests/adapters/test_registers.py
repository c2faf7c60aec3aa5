"""Categories that are edited: categories of products, centres, tables, products, customers, settings, stock."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from adapters.account_settings import AccountSetting
from adapters.cfop import Cfop
from adapters.cities import City
from adapters.cost_centers import CostCenter
from adapters.customers import Customer
from adapters.entity_classifications import EntityClassification
from adapters.product_categories import ProductCategory
from adapters.products import Product
from adapters.profit_centers import ProfitCenter
from adapters.stock import StockItem
from crdtsync.errors import FieldError
from tests.adapters.records import Merged, deleted_record, holds, record, refusal

if TYPE_CHECKING:
    from crdtsync import Entity


def test_a_category_is_not_its_own_parent() -> None:
    assert refusal(ProductCategory, id="drinks", name="Bebidas", parent="food") is None
    assert refusal(ProductCategory, id="drinks", name="Bebidas", parent="drinks") == "is_not_its_own_parent"


def test_a_deleted_category_in_use_opens_c18() -> None:
    category = deleted_record(ProductCategory, id="drinks", name="Bebidas")
    water = record(Product, id="1", name="Água", category="drinks")
    assert not holds(category, "C18", Merged(referrers=(water,)))
    assert holds(category, "C18", Merged())


@pytest.mark.parametrize("entity", [CostCenter, ProfitCenter, EntityClassification])
def test_a_centre_or_classification_needs_a_name_and_starts_active(entity: type[Entity]) -> None:
    assert refusal(entity, id="1") == "required"
    plain = record(entity, id="1", name="Loja 1").to_plain()
    assert {name: value for name, value in plain.items() if value is not None} == {
        "id": "1",
        "name": "Loja 1",
        "active": True,
    }


def test_a_cfop_has_four_digits_and_says_whether_goods_come_in() -> None:
    assert record(Cfop, code="1102", name="Compra para comercialização").is_entry
    assert not record(Cfop, code="5102", name="Venda de mercadoria").is_entry
    for code in ("4102", "8102", "510", "51022", "5.102"):
        with pytest.raises(FieldError, match=r"cfop\.code"):
            record(Cfop, code=code, name="Venda")


def test_a_city_is_shown_with_its_state_which_is_the_codes() -> None:
    assert record(City, code="2201903", name="Bom Jesus", state="PI").label == "Bom Jesus (PI)"
    assert refusal(City, code="9999999", name="Exterior", state="EX") is None
    assert refusal(City, code="2201903", name="Bom Jesus", state="RS") == "state_is_the_codes"
    with pytest.raises(FieldError, match="wrong check digit"):
        record(City, code="2201904", name="Bom Jesus", state="PI")


def test_a_product_needs_only_a_name() -> None:
    water = record(Product, id="834103", name="Água")
    assert (water.unit, water.price, water.controls_stock, water.active) == ("UN", None, True, True)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("gtin", "7891000315507", "7891000315508"),
        ("ncm", "22011000", "2201100"),
        ("cest", "0300100", "300100"),
        ("unit", "KG", "kg"),
        ("price", Decimal("1.29"), Decimal("1.299")),
    ],
)
def test_a_products_codes_and_price_are_checked(field: str, good: object, bad: object) -> None:
    assert refusal(Product, id="1", name="Água", **{field: good}) is None
    with pytest.raises(FieldError, match=rf"products\.{field}"):
        record(Product, id="1", name="Água", **{field: bad})


def test_a_price_is_not_negative_and_never_a_float() -> None:
    assert refusal(Product, id="1", name="Água", price=Decimal(-1)) == "price_is_not_negative"
    with pytest.raises(FieldError, match=r"products\.price"):
        record(Product, id="1", name="Água", price=1.29)


def test_a_customers_tax_id_is_stored_normalized() -> None:
    assert record(Customer, id="1", name="Ana", tax_id="529.982.247-25").tax_id == "52998224725"
    with pytest.raises(FieldError, match="not a valid CPF or CNPJ"):
        record(Customer, id="1", name="Ana", tax_id="111.111.111-11")


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("email", "ana@loja.com.br", "ana"),
        ("phone", "+5511999990000", "9999-0000"),
        ("postal_code", "01310100", "1310-100"),
    ],
)
def test_a_customers_contact_is_checked(field: str, good: str, bad: str) -> None:
    assert refusal(Customer, id="1", name="Ana", **{field: good}) is None
    with pytest.raises(FieldError, match=rf"customers\.{field}"):
        record(Customer, id="1", name="Ana", **{field: bad})


def test_a_credit_limit_is_not_negative() -> None:
    assert refusal(Customer, id="1", name="Ana", credit_limit=Decimal(500)) is None
    assert refusal(Customer, id="1", name="Ana", credit_limit=Decimal(-1)) == "credit_limit_is_not_negative"


def test_products_and_customers_watch_all_their_references_for_c22() -> None:
    watched = {
        entity: rule.watch
        for entity in (Product, Customer)
        for rule in entity.__shape__.invariants
        if rule.code == "C22"
    }
    assert watched == {
        Product: ("category", "cfop", "merged_into"),
        Customer: ("city", "classification", "merged_into"),
    }


def test_settings_with_the_same_first_part_are_one_group() -> None:
    assert record(AccountSetting, name="nfce.serie", value="1").group == "nfce"
    with pytest.raises(FieldError, match=r"account_settings\.name"):
        record(AccountSetting, name="NFC-e série", value="1")


@pytest.mark.parametrize(
    ("balance", "controls_stock", "fine"),
    [(Decimal(0), True, True), (Decimal("-0.355"), True, False), (Decimal(-1), False, True)],
)
def test_stock_below_zero_opens_c01_if_the_product_controls_stock(
    balance: Decimal, controls_stock: bool, fine: bool
) -> None:
    product = record(Product, id="1", name="Água", controls_stock=controls_stock)
    item = record(StockItem, product="1", balance=balance)
    assert holds(item, "C01", Merged(product)) is fine


def test_stock_below_zero_of_an_unknown_product_opens_c01() -> None:
    assert not holds(record(StockItem, product="1", balance=Decimal(-1)), "C01", Merged())
