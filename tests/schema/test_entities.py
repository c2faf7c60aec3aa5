"""Records: what a snapshot shows and refuses, and what a record in a transaction tells its recorder."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from crdtsync import limits
from crdtsync.errors import CheckFailed, FieldError, ReadOnly, UnknownField
from tests.schema.shop import Category, Letter, Line, Product, Sale, Status, StockItem, edit, load


def test_a_snapshot_shows_python_values() -> None:
    product = load(Product, "P1", name="Café", price=1290, status="off", category="c1", rate=12345)
    assert (product.id, product.key, product.doc, product.deleted) == ("P1", "P1", "products", False)
    assert (product.price, product.rate, product.status) == (Decimal("12.90"), Decimal("1.2345"), Status.OFF)
    assert (product.cost, product.category) == (None, "c1")


def test_a_field_that_was_never_written_shows_its_default() -> None:
    row = ("products", "P1", *(None,) * len(Product.__shape__.columns), 0, None)
    product = Product._load(row)
    assert (product.weight, product.status, product.active) == (Decimal("0.100"), Status.ON, True)
    assert list(product.tags) == []
    assert StockItem._load(("stock/loja1", "P1", None, 0, None)).balance == 0


def test_a_snapshot_refuses_every_write() -> None:
    product, item = load(Product, "P1", name="Café", price=1290), load(StockItem, "P1")
    with pytest.raises(ReadOnly, match="products/P1: this record was only read"):
        product.price = Decimal(1)
    writes: list[Any] = [
        product.delete,
        product.restore,
        lambda: product.tags.add("new"),
        lambda: product.tags.discard("new"),
        lambda: item.balance.add(1),
        lambda: item.balance.subtract(1),
        lambda: item.balance.count(1),
    ]
    for write in writes:
        with pytest.raises(ReadOnly):
            write()
    assert product.price == Decimal("12.90")


def test_what_is_assigned_in_a_transaction_is_told_and_shows() -> None:
    product, told = edit(Product, "P1", name="Café", price=1290, cost=700)
    product.price = Decimal("13.5")
    product.cost = None
    product.status = Status.OFF
    product.active = False
    assert told == [
        ("write", "price", 1350),
        ("write", "cost", None),
        ("write", "status", "off"),
        ("write", "active", 0),
    ]
    assert (product.price, product.cost, product.status, product.active) == (
        Decimal("13.50"),
        None,
        Status.OFF,
        False,
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("price", 12.9, r"products\.price: .*12\.9 is a float.*Decimal\('12\.9'\)"),
        ("price", "12.90", "an exact decimal is expected"),
        ("price", Decimal("1.001"), "more than 2 decimal places"),
        ("price", None, "is required"),
        ("active", None, "cannot be empty"),
        ("active", 1, "true or false is expected"),
        ("status", "on", "a Status is expected"),
        ("name", "x" * 21, "longer than 20 characters"),
        ("id", "P2", "is part of the key and never changes"),
        ("tags", ["a"], "is a set: use add"),
    ],
)
def test_a_wrong_assignment_is_refused_and_changes_nothing(name: str, value: object, says: str) -> None:
    product, told = edit(Product, "P1", name="Café", price=1290)
    before = product.to_plain()
    with pytest.raises(FieldError, match=says):
        setattr(product, name, value)
    assert (told, product.to_plain()) == ([], before)


def test_a_counter_cannot_be_assigned() -> None:
    item, told = edit(StockItem, "P1")
    with pytest.raises(
        FieldError, match=r"stock\.balance: is a counter: use add\(\), subtract\(\) or count\(\)"
    ):
        setattr(item, "balance", 3)  # noqa: B010 - the type checker refuses the assignment
    assert told == []


def test_a_fact_cannot_be_changed_after_its_creation() -> None:
    sale, told = edit(Sale, "1", sold_at="2026-11-24T10:00:00Z", lines="[]")
    with pytest.raises(FieldError, match="is written once"):
        setattr(sale, "sold_at", datetime.now(UTC))  # noqa: B010 - the type checker refuses the assignment
    assert told == []


def test_an_unknown_name_is_an_error_that_names_the_nearest() -> None:
    product: Any = edit(Product, "P1", name="Café", price=1290)[0]
    with pytest.raises(
        UnknownField, match=r"products\.prcie: there is no such field; did you mean 'price'\?"
    ):
        product.prcie = Decimal(1)
    with pytest.raises(UnknownField, match="did you mean 'price'"):
        _ = product.prcie
    assert not hasattr(product, "prcie")


def test_the_mistake_in_an_authors_property_shows_itself() -> None:
    with pytest.raises(AttributeError, match="'dict' object has no attribute 'missing'"):
        _ = load(Product, "P1").broken


def test_movements_and_counts_are_told_exactly_and_the_balance_follows() -> None:
    item, told = edit(StockItem, "P1", balance=1000)
    item.balance.subtract(Decimal("0.355"), cause="sale 1")
    item.balance.add(2, cause="delivery 9")
    assert item.balance == Decimal("2.645")
    item.balance.count(7)
    assert item.balance == 7
    assert told == [
        ("add", "balance", -355, "sale 1"),
        ("add", "balance", 2000, "delivery 9"),
        ("count", "balance", 7000),
    ]


@pytest.mark.parametrize("verb", ["add", "subtract"])
def test_a_balance_that_no_store_keeps_is_refused_before_it_is_told(verb: str) -> None:
    item, told = edit(StockItem, "P1", balance=0)
    move = getattr(item.balance, verb)
    move(Decimal(limits.AMOUNT_MAX).scaleb(-3))
    with pytest.raises(FieldError, match=r"stock\.balance: -?9223372036854775\.808 is too large"):
        move(Decimal("0.001"))
    assert len(told) == 1


def test_a_named_movement_is_told_with_its_name_and_changes_the_balance_by_what_the_recorder_says() -> None:
    item, told = edit(StockItem, "P1", balance=1000)
    item.balance.add(2, cause="C01", once="C01-abril")
    assert item.balance == 3
    item.balance.subtract(1, once="C01-abril")
    assert told == [("add", "balance", 2000, "C01", "C01-abril"), ("add", "balance", -1000, "", "C01-abril")]


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        (5, "a text is expected, 5 is a int"),
        (None, "a text is expected, None is a NoneType"),
        ("c" * 129, "a text is longer than 128 characters"),
        ("\ud800", "has a character that cannot be stored"),
    ],
)
def test_a_cause_that_no_movement_can_have_is_refused(cause: Any, says: str) -> None:
    item, told = edit(StockItem, "P1")
    for move in (item.balance.add, item.balance.subtract):
        with pytest.raises(FieldError, match=rf"stock\.balance: the cause of a movement: .*{says}"):
            move(1, cause=cause)
    item.balance.add(1, cause="ç" * 128)
    assert told == [("add", "balance", 1000, "ç" * 128)]


@pytest.mark.parametrize("once", ["", "n" * 129, "a\x1fb", 5, "\ud800"])
def test_a_name_that_no_movement_can_have_is_refused(once: Any) -> None:
    item, told = edit(StockItem, "P1")
    with pytest.raises(FieldError, match=r"stock\.balance: the name of a movement"):
        item.balance.add(1, once=once)
    assert told == []


@pytest.mark.parametrize("amount", [Decimal("0.0001"), -1, 0.5])
def test_a_movement_that_is_not_exact_or_goes_backwards_is_refused(amount: Any) -> None:
    item, told = edit(StockItem, "P1")
    for move in (item.balance.add, item.balance.subtract):
        with pytest.raises(FieldError, match=r"stock\.balance"):
            move(amount)
    assert told == []


def test_elements_are_told_one_by_one() -> None:
    product, told = edit(Product, "P1", name="Café", price=1290, tags='["b"]')
    product.tags.add("á")
    product.tags.discard("b")
    assert told == [("write", "tags\x1fá", 1), ("write", "tags\x1fb", 0)]
    assert (list(product.tags), "á" in product.tags, len(product.tags)) == (["á"], True, 1)


def test_a_set_may_hold_structs() -> None:
    sale, told = edit(Sale, "1", sold_at="2026-11-24T10:00:00Z", lines="[]")
    line = Line(product="P1", quantity=Decimal(1), price=Decimal("0.50"))
    sale.extras.add(line)
    assert told == [("write", 'extras\x1f["P1",1000,50]', 1)]
    assert list(sale.extras) == [line]


def test_deletion_and_restoration_are_told() -> None:
    product, told = edit(Product, "P1")
    shown = [product.deleted]
    for change in (product.delete, product.restore):
        change()
        shown.append(product.deleted)
    assert shown == [False, True, False]
    assert told == [("write", "~", 1), ("write", "~", 0)]


def test_concurrent_values_are_shown_as_python_values() -> None:
    product = load(Product, "P1", price=100, conflicts='{"price":[100,250],"status":["on","off"],"~":[0,1]}')
    assert product.conflicts == {
        "price": [Decimal("1.00"), Decimal("2.50")],
        "status": [Status.ON, Status.OFF],
        "~": [0, 1],
    }
    assert load(Product, "P1").conflicts == {}


def test_a_count_and_what_was_moved_beside_it_are_shown_as_decimals() -> None:
    item = load(StockItem, "P1", balance=7000, conflicts='{"balance":[10000,9000],"balance#":[10000,-3500]}')
    assert item.conflicts == {
        "balance": [Decimal(10), Decimal(9)],
        "balance#": [Decimal(10), Decimal("-3.5")],
    }


def test_a_composite_key_shows_its_parts() -> None:
    letter = load(Letter, "S1:7", text="x")
    assert (letter.sale, letter.number, letter.key) == ("S1", 7, "S1:7")


def test_a_record_knows_where_its_document_is() -> None:
    sale = load(Sale, "1", doc="sales/loja1/caixa3/2026-11")
    assert sale.parts == {"store": "loja1", "lane": "caixa3", "month": "2026-11"}
    assert load(Category, "1").parts == {}


def test_the_plain_form_is_json_with_exact_texts() -> None:
    product = load(Product, "P1", name="Café", price=5, status="off", active=0, tags='["a"]')
    assert product.to_plain() == {
        "id": "P1",
        "name": "Café",
        "price": "0.05",
        "cost": None,
        "weight": "0.100",
        "rate": None,
        "status": "off",
        "active": False,
        "category": None,
        "tags": ["a"],
    }
    sale = load(Sale, "1", sold_at="2026-11-24T10:00:00Z", lines='[["P1",1000,50]]')
    assert sale.to_plain() == {
        "id": "1",
        "sold_at": "2026-11-24T10:00:00Z",
        "lines": [{"product": "P1", "quantity": "1.000", "price": "0.50", "note": None}],
        "extras": [],
    }


def test_what_a_person_writes_is_parsed_by_field() -> None:
    assert Product.parse_field("price", "12,90") == Decimal("12.90")
    assert Product.parse_field("cost", "") is None
    assert Product.parse_field("active", "não") is False
    said = '[{"product": "P1", "quantity": 0.355, "price": "12.90"}]'
    assert Sale.parse_field("lines", said) == [
        Line(product="P1", quantity=Decimal("0.355"), price=Decimal("12.90"))
    ]
    for entity, name, text in (
        (Product, "price", "1.001"),
        (Product, "price", ""),
        (Sale, "lines", "[1]"),
        (Sale, "lines", "{"),
        (Sale, "lines", '[{"prodct": "P1"}]'),
        (Product, "prcie", "1"),
    ):
        with pytest.raises(FieldError):
            entity.parse_field(name, text)


def test_a_check_refuses_with_its_sentence() -> None:
    with pytest.raises(CheckFailed, match="The price is above zero") as failed:
        Product.check_record(load(Product, "P1", name="Café", price=0))
    assert (failed.value.category, failed.value.key, failed.value.rule) == (
        "products",
        "P1",
        "price_is_positive",
    )
    with pytest.raises(CheckFailed, match="a product is not called by a number"):
        Product.check_record(load(Product, "P1", name="12", price=1))
    with pytest.raises(CheckFailed, match="name is required"):
        Product.check_record(load(Product, "P1", price=1))
    Product.check_record(load(Product, "P1", name="Café", price=1))


def test_records_are_not_made_by_hand() -> None:
    with pytest.raises(FieldError, match=r"created in a transaction: tx\.create\(Product"):
        Product(id="P1")
