"""The record API: models of the installed shapes, pages, one record, and writes that are all there or not at all."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync import Entity, Key, Register, Schema, limits
from crdtsync.monitor import answers as answers_room
from crdtsync.monitor.app import build
from crdtsync.monitor.models import models_of
from crdtsync.node.transaction import Transaction
from crdtsync.schema import load_installed
from crdtsync.storage.base import Commit
from tests.monitor.house import ALL, PORT, SCHEMA, House, create, house_in, move, problem

if TYPE_CHECKING:
    from pathlib import Path

MANY = 7


async def products(house: House, *keys: str, **values: Any) -> None:
    answer = await house.write(*(create("products", key, name=f"name {key}", **values) for key in keys))
    assert answer.status_code == 200, answer.text


async def read(house: House, path: str, **params: Any) -> Any:
    answer = await house.resolver.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


# -- reading -------------------------------------------------------------------------------------------------------


async def test_categories_say_what_a_program_needs_to_write_one(house: House) -> None:
    told = {one["name"]: one for one in (await read(house, "/api/categories"))["categories"]}
    assert told.keys() == SCHEMA.shapes.keys()
    fields = {field["name"]: field for field in told["products"]["fields"]}
    assert (fields["price"]["type"], fields["price"]["places"]) == ("decimal", 2)
    assert fields["kind"]["words"] == ["food", "other"]
    assert fields["name"]["required"]
    assert not fields["until"]["required"]
    assert told["spots"]["keys"] == ["product", "place"]
    assert told["products"]["title"] == "Produtos"
    assert told["products"]["writers"] == ["caixa", "gestao", "loja"]
    assert (told["products"]["writable"], told["people"]["writable"]) == (True, False)


async def test_a_page_goes_on_where_the_one_before_ended(house: House) -> None:
    await products(house, *(f"p{n}" for n in range(MANY)))
    seen: list[str] = []
    after: dict[str, Any] = {}
    for _ in range(MANY):
        page = await read(house, "/api/records/products", limit=3, **after)
        seen += [record["key"] for record in page["records"]]
        if page["after"] is None:
            break
        after = {"after": page["after"]}
    assert seen == [f"p{n}" for n in range(MANY)]


async def test_a_page_leaves_out_what_differs(house: House) -> None:
    await products(house, "a", "b", price="12.90", kind="food")
    await products(house, "c", price="1.00", shelf=3, until="2026-12-01", active=False)
    for asked, keys in (
        ({"price": "12.90"}, ["a", "b"]),
        ({"price": "12,90", "kind": "food"}, ["a", "b"]),
        ({"shelf": "3"}, ["c"]),
        ({"shelf": ""}, ["a", "b"]),
        ({"active": "false"}, ["c"]),
        ({"until": "2026-12-01"}, ["c"]),
        ({"name": "name b"}, ["b"]),
        ({"name": "none"}, []),
    ):
        page = await read(house, "/api/records/products", **asked)
        assert [record["key"] for record in page["records"]] == keys, asked
    for wrong in ({"nam": "x"}, {"tags": "x"}, {"price": "x"}, {"kind": "fod"}, {"after": "x"}):
        problem(await house.resolver.get("/api/records/products", params=wrong), 400)


async def test_one_record_has_exact_values_and_says_what_it_waits_for(house: House) -> None:
    await products(house, "p 1/2", price="12.90", tags=["new"], until="2026-12-01")
    record = await read(house, "/api/records/products/p 1%2F2")
    assert record["values"] == {
        "id": "p 1/2",
        "name": "name p 1/2",
        "price": "12.90",
        "kind": "other",
        "until": "2026-12-01",
        "active": True,
        "shelf": None,
        "tags": ["new"],
    }
    assert (record["category_title"], record["doc"]) == ("Produtos", "products")
    assert (record["conflicts"], record["waits_for"]) == ({}, [])
    assert problem(await house.resolver.get("/api/records/products/x"), 404) == "record_missing"
    assert problem(await house.resolver.get("/api/records/produts/x"), 404) == "unknown_category"
    assert "did you mean 'products'" in (await house.resolver.get("/api/records/produts")).text


async def test_the_store_tells_equal_keys_apart(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        await products(house, "p1")
        await house.write(create("stock", "p1"), move("p1", "2.000"))
        # What another store of the account wrote, as the head office holds it.
        stock = house.node.schema.entity("stock")
        rows = [("stock/loja2", "p1", 5_000, 0, None), ("stock/loja2", "p2", 1_000, 0, None)]
        fork = Commit(records={"stock": rows})
        await house.node.ledger.commit(fork)
        assert await house.node.count(stock) == 3
        assert problem(await house.resolver.get("/api/records/stock/p1"), 409) == "record_ambiguous"
        for store, balance in (("loja1", "2.000"), ("loja2", "5.000")):
            record = await read(house, "/api/records/stock/p1", store=store)
            assert record["values"]["balance"] == balance
        first = await read(house, "/api/records/stock", store="loja2", limit=1)
        assert [(one["doc"], one["key"]) for one in first["records"]] == [("stock/loja2", "p1")]
        rest = await read(house, "/api/records/stock", store="loja2", after=first["after"])
        assert [one["key"] for one in rest["records"]] == ["p2"]
        asked = await house.resolver.get("/api/records/products", params={"store": "loja1"})
        assert problem(asked, 400) == "field_error"


async def test_the_description_is_true_of_the_shapes(house: House) -> None:
    described = await read(house, "/api/openapi.json")
    schemas = described["components"]["schemas"]
    assert schemas["Products"]["properties"]["price"]["anyOf"][0]["pattern"]
    assert schemas["StockAmounts"]["properties"].keys() == {"balance"}
    assert schemas["Sales"]["properties"]["lines"]["anyOf"][0]["items"] == {
        "$ref": "#/components/schemas/Line"
    }
    assert "pin_hash" not in schemas["People"]["properties"]
    names = [one["name"] for one in described["paths"]["/api/records/products"]["get"]["parameters"]]
    assert {"store", "after", "limit", "price", "kind"} <= set(names)
    references = set(json.dumps(described).split('"#/components/schemas/'))
    assert {name.split('"')[0] for name in references if not name.startswith("{")} <= schemas.keys()


async def test_a_new_adapter_appears_by_itself(house: House) -> None:
    class Lamp(Entity, category="lamps", title="Lâmpadas", writers=ALL):
        id = Key()
        watts = Register(int)

    class Stranger:
        """A node of the house with one category more."""

        schema = Schema([*SCHEMA.entities.values(), Lamp])

    app = build(Stranger(), house.door, house.pulse, PORT)  # type: ignore[arg-type]
    house.app = app
    told = await read(house, "/api/openapi.json")
    assert "/api/records/lamps" in told["paths"]
    assert "watts" in told["components"]["schemas"]["Lamps"]["properties"]


def test_the_installed_adapters_have_models() -> None:
    schema = load_installed()
    models = models_of(schema)
    assert models.keys() == schema.shapes.keys()
    for one in models.values():
        for model in (one.page, one.record, *one.operations.values()):
            assert model.model_json_schema()["type"] == "object"


# -- writing -------------------------------------------------------------------------------------------------------


async def test_a_sale_moves_the_stock_in_the_same_transaction(house: House) -> None:
    await products(house, "p1", "p2")
    await house.write(create("stock", "p1"), create("stock", "p2"))
    lines = [
        {"product": "p1", "quantity": "2.000"},
        {"product": "p2", "quantity": "0.500", "note": "fatiado"},
    ]
    answer = await house.write(
        create("sales", "s1", at="2026-11-24T10:00:00-03:00", lines=lines),
        move("p1", "-2.000", cause="s1", once="s1/p1"),
        move("p2", "-0.500", cause="s1"),
        {"do": "count", "category": "stock", "key": "p1", "values": {"balance": "10.000"}},
    )
    assert answer.json()["records"][0] == {
        "category": "sales",
        "doc": "sales/loja1/loja1/2026-11",
        "key": "s1",
    }
    sale = (await read(house, "/api/records/sales/s1"))["values"]
    assert sale["at"] == "2026-11-24T13:00:00Z"
    assert sale["lines"][1] == lines[1]
    assert (await read(house, "/api/records/stock/p1"))["values"]["balance"] == "10.000"
    assert (await read(house, "/api/records/stock/p2"))["values"]["balance"] == "-0.500"


async def test_records_are_edited_emptied_and_deleted(house: House) -> None:
    await products(house, "p1", shelf=3, tags=["a", "b"])
    edit = {"do": "edit", "category": "products", "key": "p1"}
    answer = await house.write({**edit, "values": {"shelf": None, "tags": ["b", "c"], "price": "3.5"}})
    assert answer.status_code == 200, answer.text
    values = (await read(house, "/api/records/products/p1"))["values"]
    assert (values["shelf"], values["tags"], values["price"]) == (None, ["b", "c"], "3.50")
    assert (await house.write({"do": "delete", "category": "products", "key": "p1"})).status_code == 200
    assert problem(await house.resolver.get("/api/records/products/p1"), 404) == "record_missing"
    assert problem(await house.write({**edit, "values": {"shelf": 1}}), 404) == "record_missing"
    spot = await house.write(create("spots", "p1:7", copy="x"))
    assert spot.json()["records"][0]["key"] == "p1:7"
    assert (await read(house, "/api/records/spots", place="7"))["records"][0]["values"] == {
        "product": "p1",
        "place": 7,
        "copy": "x",
    }


async def test_a_deleted_record_says_so_and_comes_back(house: House) -> None:
    await products(house, "p1", "p2", shelf=3, tags=["a"])
    await house.write({"do": "delete", "category": "products", "key": "p1"})
    again = await house.write(create("products", "p1", name="again"))
    assert problem(again, 409) == "record_exists"
    assert "was deleted" in again.json()["detail"]
    assert "do restore" in again.json()["detail"]
    restore = {"do": "restore", "category": "products", "key": "p1"}
    assert problem(await house.write({**restore, "key": "no"}), 404) == "record_missing"
    assert problem(await house.write({**restore, "values": {}}), 422) == "invalid"
    answer = await house.write(restore, {**restore, "do": "edit", "values": {"name": "back"}})
    assert answer.status_code == 200, answer.text
    values = (await read(house, "/api/records/products/p1"))["values"]
    assert (values["name"], values["shelf"], values["tags"]) == ("back", 3, ["a"])
    # One that is not deleted is not touched.
    held = house.node.ledger.vectors(["products"])
    assert (await house.write({**restore, "key": "p2"})).status_code == 200
    assert house.node.ledger.vectors(["products"]) == held


async def test_all_or_none(house: House) -> None:
    await products(house, "p1")
    await house.write(create("stock", "p1"))
    bad: list[tuple[dict[str, Any], int, str]] = [
        (create("products", "p1", name="again"), 409, "record_exists"),
        (create("products", "p3"), 400, "field_error"),
        (create("products", "p3", name="x" * 41), 422, "invalid"),
        (create("spots", "p1"), 400, "field_error"),
        ({"do": "edit", "category": "products", "key": "no", "values": {}}, 404, "record_missing"),
        ({"do": "edit", "category": "sales", "key": "no", "values": {"lines": []}}, 404, "record_missing"),
        ({"do": "move", "category": "products", "key": "p1", "values": {}}, 422, "invalid"),
        ({"do": "burn", "category": "products", "key": "p1"}, 422, "invalid"),
        ({"do": "delete", "category": "nothing", "key": "p1"}, 422, "invalid"),
        (move("p1", "1.0005"), 400, "field_error"),
    ]
    for operation, status, word in bad:
        answer = await house.write(create("products", "p2", name="good"), move("p1", "1.000"), operation)
        assert problem(answer, status) == word, operation
    assert problem(await house.resolver.get("/api/records/products/p2"), 404) == "record_missing"
    assert (await read(house, "/api/records/stock/p1"))["values"]["balance"] == "0.000"


async def test_a_float_a_flag_and_a_word_are_no_exact_decimal(house: House) -> None:
    wrong_prices: tuple[Any, ...] = (12.9, 12, True, "12,90", "1e3", "NaN", "", [], {})
    for price in wrong_prices:
        answer = await house.write(create("products", "p1", name="x", price=price))
        assert problem(answer, 422) == "invalid", price
    for wrong in ({"shelf": "3"}, {"active": 1}, {"kind": "fod"}, {"until": 3}, {"strange": 1}):
        assert problem(await house.write(create("products", "p1", name="x", **wrong)), 422) == "invalid"
    answer = await house.write(create("products", "p1", name="x", until="2026-13-01"))
    assert problem(answer, 400) == "field_error"


async def test_a_transaction_has_a_bound(house: House) -> None:
    many = [create("products", f"p{n}", name="x") for n in range(limits.MONITOR_OPERATIONS_MAX + 1)]
    assert problem(await house.write(*many), 422) == "invalid"
    assert problem(await house.write(), 422) == "invalid"
    assert problem(await house.write(many[0], key="k" * 129), 422) == "invalid"


async def test_the_same_key_again_answers_the_same_and_writes_nothing(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        await products(house, "p1")
        await house.write(create("stock", "p1"))
        first = await house.write(move("p1", "1.000"), key="sale 7")
        assert "idempotency-replayed" not in first.headers
        again = await house.write(move("p1", "1.000"), key="sale 7")
        assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
        other = await house.write(move("p1", "2.000"), key="sale 7")
        assert problem(other, 409) == "idempotency_key"
        assert (await read(house, "/api/records/stock/p1"))["values"]["balance"] == "1.000"
    async with house_in(tmp_path) as house:
        again = await house.write(move("p1", "1.000"), key="sale 7")
        assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
        assert (await read(house, "/api/records/stock/p1"))["values"]["balance"] == "1.000"
        assert (await house.write(move("p1", "1.000"), key="sale 8")).status_code == 200
        assert (await read(house, "/api/records/stock/p1"))["values"]["balance"] == "2.000"


async def test_one_key_from_many_sides_at_once_writes_once(house: House) -> None:
    await products(house, "p1")
    await house.write(create("stock", "p1"))
    asked = await asyncio.gather(*(house.write(move("p1", "1.000"), key="one") for _ in range(8)))
    assert len({answer.text for answer in asked}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in asked) == 7
    assert (await read(house, "/api/records/stock/p1"))["values"]["balance"] == "1.000"


async def test_one_key_is_written_once_when_the_first_try_was_refused(house: House) -> None:
    await products(house, "p1")
    for answer in await asyncio.gather(*(house.write(move("p1", "1.000"), key="one") for _ in range(3))):
        assert problem(answer, 404) == "record_missing"
    await house.write(create("stock", "p1"))
    asked = await asyncio.gather(*(house.write(move("p1", "1.000"), key="one") for _ in range(4)))
    assert [answer.status_code for answer in asked] == [200] * 4
    assert (await read(house, "/api/records/stock/p1"))["values"]["balance"] == "1.000"


async def test_what_was_refused_may_be_tried_again_with_its_key(house: House) -> None:
    await products(house, "p1")
    assert problem(await house.write(move("p1", "1.000"), key="k"), 404) == "record_missing"
    await house.write(create("stock", "p1"))
    assert (await house.write(move("p1", "1.000"), key="k")).status_code == 200


async def test_an_answer_is_durable_with_what_it_tells_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house_in(tmp_path) as house:
        await products(house, "p1")
        await house.write(create("stock", "p1"))

        # The program ends between the commit and all that would come after it.
        async def ends(*_: Any) -> None:
            raise asyncio.CancelledError

        with monkeypatch.context() as patch:
            patch.setattr(answers_room.Answers, "kept", ends)
            with pytest.raises(asyncio.CancelledError):
                await house.write(move("p1", "1.000"), key="cut")
    async with house_in(tmp_path) as house:
        assert (await house.write(move("p1", "1.000"), key="cut")).headers["idempotency-replayed"] == "true"
        assert (await read(house, "/api/records/stock/p1"))["values"]["balance"] == "1.000"

        # The commit fails: neither is there.
        async def refuse(*_: Any) -> None:
            raise RecursionError

        with monkeypatch.context() as patch:
            patch.setattr(Transaction, "_write", refuse)
            assert (await house.write(move("p1", "1.000"), key="failed")).status_code == 500
        answer = await house.write(move("p1", "1.000"), key="failed")
        assert "idempotency-replayed" not in answer.headers
        assert (await read(house, "/api/records/stock/p1"))["values"]["balance"] == "2.000"


async def test_what_is_refused_leaves_no_answer_in_the_commit_of_others(house: House) -> None:
    await products(house, "p1")

    async def kept() -> int:
        names = [f"monitor.answer.{place}" for place in range(limits.MONITOR_ANSWERS_KEPT)]
        rows = await house.node.ledger.storage.read(lambda view: [view.meta(name) for name in names])
        return sum(row is not None for row in rows)

    before = await kept()
    asked = await asyncio.gather(
        *(house.write(create("products", key, name="x"), key=key) for key in ("a", "p1", "b"))
    )
    assert [answer.status_code for answer in asked] == [200, 409, 200]
    assert await kept() == before + 2


async def test_old_answers_make_room_for_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MONITOR_ANSWERS_KEPT", 3)
    async with house_in(tmp_path) as house:
        for key in "abcde":
            await house.write(create("products", key, name="x"), key=key)
    async with house_in(tmp_path) as house:
        kept = await house.write(create("products", "c", name="x"), key="c")
        assert kept.headers["idempotency-replayed"] == "true"
        assert problem(await house.write(create("products", "b", name="x"), key="b"), 409) == "record_exists"
        names = [f"monitor.answer.{place}" for place in range(5)]
        rows = await house.node.ledger.storage.read(lambda view: [view.meta(name) for name in names])
        assert [row is not None for row in rows] == [True, True, True, False, False]
