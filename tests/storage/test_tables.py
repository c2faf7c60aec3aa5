"""The SQL that other programs read, and the names that cannot be tables."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from crdtsync.errors import StoreCorrupt, StoreMismatch
from crdtsync.storage import Commit, MemoryStorage, TableSpec
from crdtsync.storage.base import ChangeRow
from crdtsync.storage.database import Database
from crdtsync.storage.tables import OWN_TABLES
from crdtsync.testing.storage_contract import PRODUCTS, TABLES, product

SALES = TableSpec(
    category="sales",
    partition_columns=("store", "lane", "month"),
    key_columns=("id",),
    columns=(("sold_at", "TEXT"), ("lines", "TEXT"), ("total_cents", "INTEGER")),
    indexes=("sold_at",),
    rows_views={"lines": (("product", "TEXT"), ("quantity_milli", "INTEGER"), ("price_cents", "INTEGER"))},
)
LETTERS = TableSpec(
    category="letters",
    partition_columns=("store",),
    key_columns=("access_key", "sequence"),
    columns=(("access_key", "TEXT"), ("sequence", "INTEGER"), ("text", "TEXT"), ("parts", "TEXT")),
    rows_views={"parts": (("word", "TEXT"),)},
)


def opened(*tables: TableSpec) -> Database:
    return Database(sqlite3.connect(":memory:", isolation_level=None), tables, ":memory:")


def rows_of(database: Database, sql: str) -> list[dict[str, object]]:
    cursor = database.connection.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def test_a_view_shows_partition_key_and_fields_of_what_is_not_deleted() -> None:
    with closing(opened(SALES)) as database:
        doc = "sales/loja1/caixa3/2017-08"
        lines = '[["834103",1000,129],["pão",355,1990]]'
        sale = (doc, "s1", "2017-08-21T10:00:00Z", lines, 835, 0, None)
        gone = (doc, "s2", None, None, None, 1, None)
        database.commit(Commit(records={"sales": [sale, gone]}))
        address = {"store": "loja1", "lane": "caixa3", "month": "2017-08", "id": "s1"}
        assert rows_of(database, "SELECT * FROM sales") == [
            {**address, "sold_at": "2017-08-21T10:00:00Z", "lines": lines, "total_cents": 835}
        ]
        assert rows_of(database, "SELECT * FROM sales_lines ORDER BY line") == [
            {**address, "line": 1, "product": "834103", "quantity_milli": 1000, "price_cents": 129},
            {**address, "line": 2, "product": "pão", "quantity_milli": 355, "price_cents": 1990},
        ]


def test_a_composite_key_shows_its_parts() -> None:
    with closing(opened(LETTERS)) as database:
        database.commit(
            Commit(
                records={"letters": [("letters/loja1", "35:2", "35", 2, "text", '[["a"],["b"]]', 0, None)]}
            )
        )
        assert rows_of(database, "SELECT * FROM letters") == [
            {"store": "loja1", "access_key": "35", "sequence": 2, "text": "text", "parts": '[["a"],["b"]]'}
        ]
        assert [
            (row["sequence"], row["line"], row["word"])
            for row in rows_of(database, "SELECT * FROM letters_parts")
        ] == [
            (2, 1, "a"),
            (2, 2, "b"),
        ]


def test_a_marked_column_has_an_index_that_queries_use() -> None:
    with closing(opened(SALES)) as database:
        plan = database.connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM sales WHERE sold_at = 'x'"
        ).fetchall()
        assert any("rec_sales_by_sold_at" in row[3] for row in plan), plan


def test_every_table_is_strict_and_ends_in_its_checksum() -> None:
    with closing(opened(*TABLES)) as database:
        tables = database.connection.execute("PRAGMA table_list").fetchall()
        made = {row[1]: row for row in tables if row[2] == "table" and not row[1].startswith("sqlite_")}
        assert {*made} == {*OWN_TABLES, "rec_products", "rec_stock"}
        assert all(row[5] for row in made.values())
        for name, key_columns in OWN_TABLES.items():
            columns = database.connection.execute(f"PRAGMA table_info({name})").fetchall()
            assert columns[-1][1] == "crc"
            assert sorted(column[5] for column in columns if column[5]) == list(range(1, key_columns + 1)), (
                name
            )


def test_views_follow_the_adapter_when_it_changes() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with closing(Database(connection, [PRODUCTS], ":memory:")) as first:
        first.commit(Commit(records={"products": [product("p1", "sal", 5)]}))
        wider = TableSpec(
            "products", (), ("sku",), (*PRODUCTS.columns, ("tags", "TEXT")), (), {"tags": (("tag", "TEXT"),)}
        )
        second = Database(connection, [wider, SALES], ":memory:")
        assert rows_of(second, "SELECT * FROM products") == [
            {"sku": "p1", "name": "sal", "price_cents": 5, "tags": None}
        ]
        assert rows_of(second, "SELECT * FROM products_tags") == []
        assert second.read(lambda view: view.integrity()) == []


def test_a_view_finds_a_record_by_its_key_without_reading_the_others() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with closing(Database(connection, [PRODUCTS], ":memory:")) as database:
        steps = database.connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM products WHERE id = 'p1'"
        ).fetchall()
        assert "PRIMARY KEY (_doc=? AND _key=?)" in str(steps)


def test_a_view_of_an_earlier_version_is_made_again() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with closing(Database(connection, [PRODUCTS], ":memory:")) as first:
        first.commit(Commit(records={"products": [product("p1", "sal", 5)]}))
        connection.execute("DROP VIEW products")
        connection.execute("CREATE VIEW products AS SELECT 1 AS id")
        second = Database(connection, [PRODUCTS], ":memory:")
        assert rows_of(second, "SELECT * FROM products") == [{"id": "p1", "name": "sal", "price_cents": 5}]


@pytest.mark.parametrize("keys", [b"", b"\x91\x01", b"\x92\xa1x", b"\x07"])
def test_keys_of_the_by_sequence_index_that_cannot_be_read_are_damage(keys: bytes) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with closing(Database(connection, [PRODUCTS], ":memory:")) as database:
        database.commit(Commit(changes=[ChangeRow("products", 1, seq, ("p1",)) for seq in (1, 2)]))
        connection.execute("UPDATE changes SET keys = ? WHERE seq = 2", (keys,))
        with pytest.raises(StoreCorrupt, match="changes row"):
            database.read(lambda view: view.changed_keys("products", 1, 0, 9))


# The list of https://sqlite.org/lang_keywords.html.
SQL_WORDS = """
    abort action add after all alter always analyze and as asc attach autoincrement before begin between by cascade case
    cast check collate column commit conflict constraint create cross current current_date current_time
    current_timestamp database default deferrable deferred delete desc detach distinct do drop each else end escape
    except exclude exclusive exists explain fail filter first following for foreign from full generated glob group
    groups having if ignore immediate in index indexed initially inner insert instead intersect into is isnull join
    key last left like limit match materialized natural no not nothing notnull null nulls of offset on or order others
    outer over partition plan pragma preceding primary query raise range recursive references regexp reindex release
    rename replace restrict returning right rollback row rows savepoint select set table temp temporary then ties to
    transaction trigger unbounded union unique update using vacuum values view virtual when where window with without
"""


@pytest.mark.parametrize("word", SQL_WORDS.split())
def test_a_category_and_its_columns_may_be_called_by_a_word_of_sql(word: str) -> None:
    def spec(*more: tuple[str, str]) -> TableSpec:
        return TableSpec(
            word,
            (f"{word}_p",),
            (f"{word}_k",),
            ((word, "TEXT"), *more),
            (word,),
            {word: ((f"{word}_c", "TEXT"),)},
        )

    connection = sqlite3.connect(":memory:", isolation_level=None)
    doc = f"{word}/loja1"
    row = (doc, "k", '[["c"]]', 0, None)
    with closing(Database(connection, [spec()], ":memory:")) as first:
        first.commit(Commit(records={word: [row, (doc, "gone", None, 0, None)]}, journal=[(doc, b"x")]))
        first.commit(Commit(dropped_docs=[doc], records={word: [row]}))
        # The views are made again.
        second = Database(connection, [spec(("more", "TEXT"))], ":memory:")
        assert rows_of(second, f'SELECT * FROM "{word}"') == [
            {f"{word}_p": "loja1", f"{word}_k": "k", word: '[["c"]]', "more": None}
        ]
        assert [line[f"{word}_c"] for line in rows_of(second, f"SELECT * FROM {word}_{word}")] == ["c"]
        wider = (*row[:3], None, *row[3:])
        asked = [
            lambda view: view.get(word, doc, "k"),
            lambda view: view.get_many(word, doc, ["k"])["k"],
            lambda view: view.select(word, doc=doc, where={word: '[["c"]]'})[0],
            lambda view: view.select_in(word, word, ['[["c"]]'])[0],
        ]
        assert [second.read(ask) for ask in asked] == [wider] * len(asked)
        assert second.read(
            lambda view: (view.count(word), view.exists(word, doc, "k"), view.integrity())
        ) == (
            1,
            True,
            [],
        )
        damaged = second.connection.execute(
            f"UPDATE rec_{word} SET _conflicts = 'x' RETURNING _key"
        ).fetchall()
        assert second.read(lambda view: list(view.check_rows(word))) == [f"{doc}/{key}" for (key,) in damaged]
        second.commit(Commit(discarded=second.read(lambda view: view.damaged())))
        assert second.read(lambda view: view.count(word)) == 0


def test_a_damaged_row_is_still_damaged_after_a_column_was_added() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with closing(Database(connection, [PRODUCTS], ":memory:")) as first:
        first.commit(Commit(records={"products": [product("p1", "sal", 5), product("p2", "mel", 6)]}))
        connection.execute("UPDATE rec_products SET price_cents = 7 WHERE _key = 'p1'")
        wider = TableSpec("products", (), ("id",), (*PRODUCTS.columns, ("gtin", "TEXT")))
        second = Database(connection, [wider], ":memory:")
        assert second.read(lambda view: list(view.check_rows("products"))) == ["products/p1"]


@pytest.mark.parametrize(
    ("specs", "named"),
    [
        ([TableSpec("runs", (), ("id",), ())], "'runs'"),
        ([TableSpec("rec_x", (), ("id",), ())], "'rec_x'"),
        ([TableSpec("runs_by_start", (), ("id",), ())], "'runs_by_start'"),
        ([TableSpec("json_each", (), ("id",), ())], "'json_each'"),
        ([TableSpec("run", (), ("id",), (("categories", "TEXT"),), (), {"categories": ()})], "'categories'"),
        ([TableSpec("rec", (), ("id",), (("a", "TEXT"),), (), {"a": ()})], "view rec_a"),
        ([TableSpec("Products", (), ("id",), ())], "'Products'"),
        ([TableSpec("p", (), ("id",), (('a"b', "TEXT"),))], 'a"b'),
        ([TableSpec("p", ("store",), ("store",), ())], "twice"),
        ([TableSpec("p", ("a", "b", "c", "d"), ("id",), ())], "partition"),
        ([TableSpec("p", (), ("a", "b"), (("b", "TEXT"), ("a", "TEXT")))], "composite"),
        ([TableSpec("p", (), ("id",), (("a", "TEXT"),), ("z",))], "'z'"),
        ([TableSpec("p", (), ("id",), (("a", "TEXT"),), (), {"a": (("line", "TEXT"),)})], "p_a"),
        (
            [TableSpec("p", (), ("id",), (("a", "TEXT"),), (), {"a": ()}), TableSpec("p_a", (), ("id",), ())],
            "p_a",
        ),
    ],
)
async def test_names_that_cannot_be_tables_are_refused_with_the_name(
    specs: list[TableSpec], named: str
) -> None:
    with pytest.raises(StoreMismatch) as raised:
        await MemoryStorage(specs).open()
    assert named in str(raised.value)


def test_a_document_with_too_many_parts_is_refused_whole() -> None:
    with closing(opened(*TABLES)) as database:
        with pytest.raises(StoreMismatch, match="more than 3 parts"):
            database.commit(Commit(meta={"a": b"a"}, journal=[("stock/a/b/c/d", b"x")]))
        assert database.read(lambda view: (view.documents(), view.meta("a"))) == ([], None)
