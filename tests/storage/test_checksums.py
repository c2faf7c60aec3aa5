"""A bit flipped in any row of any table is found."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from crdtsync.errors import JournalCorrupt, StoreCorrupt
from crdtsync.storage.base import Commit
from crdtsync.storage.database import Database
from crdtsync.storage.tables import OWN_TABLES
from crdtsync.storage.view import Documents
from crdtsync.testing.storage_contract import TABLES, full_commit

TABLE_NAMES = [*OWN_TABLES, "rec_products", "rec_stock"]


def filled() -> Database:
    database = Database(sqlite3.connect(":memory:", isolation_level=None), TABLES, ":memory:")
    database.commit(full_commit())
    return database


def flipped(value: object) -> object:
    """The value with one bit changed, of the same type."""
    if isinstance(value, int):
        return value ^ 1
    if isinstance(value, float):
        return value + 0.25
    if isinstance(value, str):
        return chr(ord(value[0]) ^ 1) + value[1:] if value else "\x01"
    assert isinstance(value, bytes)
    return bytes([value[0] ^ 1]) + value[1:]


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_a_flipped_bit_in_any_column_is_found(table: str) -> None:
    with closing(filled()) as database:
        connection = database.connection
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        rows = connection.execute(f"SELECT * FROM {table}").fetchall()
        assert rows, "the full commit must write every table"
        for row in rows:
            for place, column in enumerate(columns):
                if row[place] is None:
                    continue
                connection.execute("BEGIN")
                matches = " AND ".join(f'"{name}" IS ?' for name in columns)
                change = f'UPDATE {table} SET "{column}" = ? WHERE {matches}'
                assert connection.execute(change, (flipped(row[place]), *row)).rowcount == 1
                found = database.read(lambda view: view.integrity())
                assert any(line.startswith(f"{table} row") for line in found), (column, found)
                connection.execute("ROLLBACK")
        assert database.read(lambda view: view.integrity()) == []


@pytest.mark.parametrize("table", ["rec_products", "rec_stock"])
def test_check_rows_gives_the_address_of_the_damaged_record(table: str) -> None:
    with closing(filled()) as database:
        database.connection.execute(f"UPDATE {table} SET _deleted = 1 WHERE _key = 'p1'")
        category = table.removeprefix("rec_")
        address = {"products": "products/p1", "stock": "stock/loja1/p1"}[category]
        assert database.read(lambda view: list(view.check_rows(category))) == [address]


def test_text_that_is_no_longer_utf8_is_found_and_the_scan_goes_on() -> None:
    with closing(filled()) as database:
        database.connection.execute("UPDATE rec_products SET name = CAST(x'ff61' AS TEXT) WHERE _key = 'p1'")
        database.connection.execute("UPDATE rec_stock SET balance_milli = 5")
        assert database.read(lambda view: list(view.check_rows("products"))) == ["products/p1"]
        found = database.read(lambda view: view.integrity())
        assert [line.split(" row")[0] for line in found] == ["rec_products", "rec_stock"]
        with pytest.raises(StoreCorrupt):
            database.read(lambda view: view.select("products"))


def test_reads_of_the_stores_own_rows_refuse_damage() -> None:
    with closing(filled()) as database:
        execute = database.connection.execute
        execute("UPDATE heads SET seq = seq + 1")
        with pytest.raises(StoreCorrupt, match=r"heads row .* fails its checksum"):
            database.read(lambda view: view.heads())
        execute("UPDATE snapshots SET data = x'00'")
        with pytest.raises(JournalCorrupt, match="the snapshot of document products"):
            database.read(lambda view: view.snapshot("products"))
        execute("UPDATE meta SET value = x'00' WHERE key = 'nonce'")
        with pytest.raises(StoreCorrupt, match="nonce"):
            database.read(lambda view: view.meta("nonce"))


@pytest.mark.parametrize("table", [name for name in TABLE_NAMES if name != "documents"])
def test_a_damaged_row_is_listed_with_its_document_and_can_be_discarded(table: str) -> None:
    with closing(filled()) as database:
        connection = database.connection
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        total = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        connection.execute(
            f"UPDATE {table} SET {columns[-1]} = {columns[-1]} + 1 WHERE {columns[0]} IS (SELECT min({columns[0]}) FROM {table})"
        )
        rows = database.read(lambda view: view.damaged([table]))
        assert rows
        assert {row.table for row in rows} == {table}
        about_documents = {"journal", "snapshots", "heads", "changes", "parked", "rec_products", "rec_stock"}
        assert all((row.doc is not None) == (table in about_documents) for row in rows)
        database.commit(Commit(discarded=rows))
        assert database.read(lambda view: view.integrity()) == []
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == total - len(rows)


def test_a_row_that_names_no_document_is_named_read_and_can_be_discarded() -> None:
    with closing(filled()) as database:
        database.connection.execute("UPDATE rec_stock SET _doc = 77")
        assert database.read(lambda view: [row[0] for row in view.select("stock")]) == ["#77"]
        rows = database.read(lambda view: view.damaged(["rec_stock"]))
        assert [(row.key, row.doc) for row in rows] == [(("#77", "p1"), None)]
        database.commit(Commit(discarded=rows))
        assert database.read(lambda view: view.integrity()) == []


def test_a_damaged_key_that_is_no_longer_utf8_can_be_discarded() -> None:
    with closing(filled()) as database:
        database.connection.execute("UPDATE rec_products SET _key = CAST(x'ff61' AS TEXT) WHERE _key = 'p1'")
        rows = database.read(lambda view: view.damaged())
        assert [(row.table, row.key) for row in rows] == [("rec_products", ("products", b"\xffa"))]
        database.commit(Commit(discarded=rows))
        assert database.read(lambda view: view.integrity()) == []


def test_a_number_that_became_null_has_a_name_too() -> None:
    # SQL cannot write it, a disk can.
    assert Documents().name(None) == "#None"
