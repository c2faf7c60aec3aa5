"""The recount against small stores made with plain SQL: it agrees when they agree, and counts what was broken."""

from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from adapters.demo import recount
from adapters.demo.recount import RecountError

if TYPE_CHECKING:
    from pathlib import Path

LANES = 2
NODES = ("gestao", "loja1", "caixa1", "caixa2")
HEADER = "sold_at,basket_id,household_id,product_id,quantity,unit_price_cents\n"
# Product 7: two sold the week before; each lane sells two, so only the merge is below zero.
# Product 8: none before, so it opens with one; lane 2 alone sells three. Product 9 is not sold this week.
BEFORE = "2017-08-14T10:00:00,1,5,7,2,100\n2017-08-14T10:00:00,1,5,9,4,100\n"
WEEK = (
    "2017-08-21T10:00:00,100,5,7,2,100\n"
    "2017-08-21T10:01:00,101,5,7,2,100\n"
    "2017-08-21T10:01:00,101,5,8,3,250\n"
    "2017-08-21T10:02:00,102,5,9,1,100\n"
    "2017-08-21T10:02:00,102,5,9,1,100\n"
)
CATALOGUE = "product_id,department\n7,A\n8,A\n9,A\n"
SCHEMA = """
CREATE TABLE sales(store, lane, month, id, sold_at, total_cents);
CREATE TABLE sales_lines(store, lane, month, id, line, product, quantity_milli, unit_price_cents);
CREATE TABLE till_operations(store, lane, month, id);
CREATE TABLE rec_stock(store, product, balance_milli);
CREATE VIEW stock AS SELECT * FROM rec_stock;
CREATE TABLE products(id, name);
"""


def write_data(folder: Path, week: str = WEEK) -> Path:
    """The three CSV files."""
    folder.mkdir()
    for name, text in (
        (recount.WEEK, HEADER + week),
        (recount.WEEK_BEFORE, HEADER + BEFORE),
        (recount.PRODUCTS, CATALOGUE),
    ):
        with gzip.open(folder / name, "wt", encoding="utf-8") as file:
            file.write(text)
    return folder


def write_store(path: Path, lane: str | None) -> None:
    """A node's store as it must be after the week; `lane` is the only one held, None for all."""
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as store, store:
        store.executescript(SCHEMA)
        numbers: Counter[str] = Counter()
        for row in WEEK.splitlines():
            sold_at, basket, _, product, quantity, price = row.split(",")
            at = f"caixa{int(basket) % LANES + 1}"
            if lane not in (None, at):
                continue
            place = ("loja1", at, sold_at[:7], basket)
            if not numbers[basket]:
                store.execute("INSERT INTO sales VALUES (?, ?, ?, ?, ?, 0)", (*place, sold_at))
            numbers[basket] += 1
            line = (numbers[basket], product, int(quantity) * 1000, int(price))
            store.execute("INSERT INTO sales_lines VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*place, *line))
        balances = [("loja1", "7", -2000), ("loja1", "8", -2000), ("loja1", "9", 2000)]
        store.executemany("INSERT INTO rec_stock VALUES (?, ?, ?)", balances)
        store.executemany("INSERT INTO products VALUES (?, ?)", [("7", "a"), ("8", "b"), ("9", "c")])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    folder = tmp_path / "nodes"
    for name in NODES:
        write_store(folder / name / "store.db", name if name.startswith("caixa") else None)
    return folder


def change(nodes: Path, script: str, *names: str) -> None:
    """Run SQL in the stores of some nodes, all by default."""
    for name in names or NODES:
        with closing(sqlite3.connect(nodes / name / "store.db")) as store, store:
            store.executescript(script)


def remove(sale: str) -> str:
    return f"DELETE FROM sales WHERE id = '{sale}'; DELETE FROM sales_lines WHERE id = '{sale}';"


def double(sale: str) -> str:
    """The same sale once more under an id of its own."""
    return f"""
    INSERT INTO sales SELECT store, lane, month, '9' || id, sold_at, total_cents FROM sales WHERE id = '{sale}';
    INSERT INTO sales_lines SELECT store, lane, month, '9' || id, line, product, quantity_milli, unit_price_cents
        FROM sales_lines WHERE id = '{sale}';
    """


def run(nodes: Path, data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The script with neither this folder nor any installed package in reach."""
    command = [sys.executable, "-I", "-S", str(recount.__file__), str(nodes), "--data", str(data)]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=30)


def test_stores_that_hold_the_week_agree(nodes: Path, data: Path) -> None:
    assert recount.recount(nodes, data, LANES) == recount.Recount(
        lines=5,
        baskets=3,
        units=9,
        lost=0,
        duplicated=0,
        converged=True,
        below_zero=2,
        seen_by_no_lane_alone=1,
        differences=(),
    )


def test_the_script_needs_nothing_but_the_standard_library(nodes: Path, data: Path) -> None:
    done = run(nodes, data, "--lanes", "2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["baskets"] == 3


def test_one_sale_removed_and_another_doubled_are_one_and_one_and_exit_1(nodes: Path, data: Path) -> None:
    change(nodes, remove("100"))
    change(nodes, double("101"), "loja1")
    done = run(nodes, data, "--lanes", "2", "--json")
    outcome = json.loads(done.stdout)
    assert (outcome["lost"], outcome["duplicated"], outcome["converged"], done.returncode) == (1, 1, False, 1)


def test_a_sale_lost_and_one_doubled_together_with_their_stock_count_once_each(
    nodes: Path, data: Path
) -> None:
    stock = "UPDATE rec_stock SET balance_milli = balance_milli"
    change(nodes, remove("102") + f"{stock} + 2000 WHERE product = '9';")
    change(
        nodes,
        double("101") + f"{stock} - 2000 WHERE product = '7'; {stock} - 3000 WHERE product = '8';",
        "gestao",
    )
    outcome = recount.recount(nodes, data, LANES)
    assert (outcome.lost, outcome.duplicated, outcome.agrees) == (1, 1, False)


@pytest.mark.parametrize("node", ["gestao", "loja1", "caixa1"])
def test_a_sale_that_one_node_alone_lacks_is_lost(nodes: Path, data: Path, node: str) -> None:
    change(nodes, remove("102"), node)
    outcome = recount.recount(nodes, data, LANES)
    assert (outcome.lost, outcome.duplicated, outcome.converged) == (1, 0, False)


def test_a_sale_with_a_line_twice_is_duplicated(nodes: Path, data: Path) -> None:
    change(nodes, "INSERT INTO sales_lines SELECT * FROM sales_lines WHERE id = '101' AND line = 2;")
    outcome = recount.recount(nodes, data, LANES)
    # Every node has it twice, so they are the same and yet wrong.
    assert (outcome.lost, outcome.duplicated, outcome.converged, outcome.agrees) == (0, 1, True, False)


def test_a_sale_with_another_price_is_lost_and_duplicated(nodes: Path, data: Path) -> None:
    change(nodes, "UPDATE sales_lines SET unit_price_cents = 99 WHERE id = '100';")
    outcome = recount.recount(nodes, data, LANES)
    assert (outcome.lost, outcome.duplicated) == (1, 1)


def test_stock_taken_twice_is_one_sale_duplicated_even_with_two_products(nodes: Path, data: Path) -> None:
    change(
        nodes,
        "UPDATE rec_stock SET balance_milli = balance_milli - 2000 WHERE product = '7';"
        "UPDATE rec_stock SET balance_milli = balance_milli - 3000 WHERE product = '8';",
    )
    outcome = recount.recount(nodes, data, LANES)
    assert (outcome.lost, outcome.duplicated, outcome.converged) == (0, 1, False)


def test_stock_never_taken_is_a_lost_sale(nodes: Path, data: Path) -> None:
    change(nodes, "UPDATE rec_stock SET balance_milli = 4000 WHERE product = '9';")
    outcome = recount.recount(nodes, data, LANES)
    assert (outcome.lost, outcome.duplicated, outcome.converged) == (1, 0, False)
    assert outcome.differences[0] == (
        "stock at gestao: 1 balances are not the recount's, such as product 9: 4000 milli, recount 2000"
    )


@pytest.mark.parametrize(
    ("script", "node", "sentence"),
    [
        ("UPDATE products SET name = 'x' WHERE id = '7'", "caixa2", "products at caixa2 is not the same"),
        ("DELETE FROM products WHERE id = '7'", "loja1", "products at loja1 is not the same"),
        ("UPDATE sales SET total_cents = 1 WHERE id = '100'", "caixa1", "sales at caixa1 is not the same"),
        (
            "INSERT INTO till_operations VALUES ('loja1', 'caixa2', '2017-08', 'a')",
            "caixa2",
            "till_operations at",
        ),
        (
            "CREATE TABLE cities(id); INSERT INTO cities VALUES ('1')",
            "gestao",
            "cities at loja1 is not the same",
        ),
    ],
)
def test_a_difference_between_two_nodes_is_not_converged(
    nodes: Path, data: Path, script: str, node: str, sentence: str
) -> None:
    change(nodes, script, node)
    outcome = recount.recount(nodes, data, LANES)
    assert not outcome.converged
    assert outcome.differences[0].startswith(sentence)


def test_the_order_of_rows_and_columns_is_not_a_difference(nodes: Path, data: Path) -> None:
    change(
        nodes,
        "DROP TABLE products; CREATE TABLE products(name, id);"
        "INSERT INTO products VALUES ('c', '9'), ('a', '7'), ('b', '8');",
        "caixa1",
    )
    assert recount.recount(nodes, data, LANES).agrees


def test_a_product_of_the_csv_that_nobody_has_is_not_converged(nodes: Path, data: Path) -> None:
    change(nodes, "DELETE FROM products WHERE id = '9'")
    outcome = recount.recount(nodes, data, LANES)
    assert outcome.differences == ("products at gestao: 1 of the CSV are absent, such as 9",)
    assert not outcome.agrees


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("2017-08-21T10:00:00,100,5,7,2", "5 values where the header has 6"),
        ("2017-08-21T10:00:00,1x0,5,7,2,100", "basket_id '1x0' is not a whole number"),
        ("2017-08-21T10:00:00,100,5,,2,100", "product_id is empty"),
        ("2017-08-21T10:00:00,100,5,7,two,100", "quantity 'two' is not a number"),
        ("2017-08-21T10:00:00,100,5,7,0.0001,100", "quantity '0.0001' is not a number above zero"),
        ("2017-08-21T10:00:00,100,5,7,-1,100", "quantity '-1' is not a number above zero"),
        ("2017-08-21T10:00:00,100,5,7,NaN,100", "quantity 'NaN' is not a number above zero"),
        ("2017-08-21T10:00:00,100,5,7,Infinity,100", "quantity 'Infinity' is not a number above zero"),
        ("2017-08-21T10:00:00,100,5,7,2,1.00", "unit_price_cents '1.00' is not a whole number"),
    ],
)
def test_a_malformed_line_is_named_with_its_file_and_number(
    nodes: Path, tmp_path: Path, line: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "bad", WEEK + line + "\n")
    assert recount.main([str(nodes), "--data", str(data), "--lanes", "2"]) == 3
    message = capsys.readouterr().err
    assert message.startswith(f"recount: {data / recount.WEEK}, line 7: {what}")


def test_a_weighed_quantity_is_exact(tmp_path: Path) -> None:
    data = write_data(tmp_path / "weighed", "2017-08-21T10:00:00,100,5,7,0.355,100\n")
    assert recount.read_expected(data, LANES).balance("7") == 1645


def test_a_truncated_file_is_named(nodes: Path, data: Path) -> None:
    path = data / recount.WEEK
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(RecountError, match="unreadable after this line") as caught:
        recount.recount(nodes, data, LANES)
    assert caught.value.path == path


def test_a_missing_csv_column_is_named(nodes: Path, data: Path) -> None:
    with gzip.open(data / recount.PRODUCTS, "wt") as file:
        file.write("id,department\n")
    with pytest.raises(RecountError, match="line 1: the header has no column product_id"):
        recount.recount(nodes, data, LANES)


def test_a_missing_store_is_an_environment_fault(nodes: Path, data: Path) -> None:
    done = run(nodes, data, "--lanes", "3")
    assert done.returncode == 3
    assert f"{nodes / 'caixa3' / 'store.db'}: no such store" in done.stderr


def test_a_file_that_is_not_a_store_is_an_environment_fault(nodes: Path, data: Path) -> None:
    path = nodes / "caixa1" / "store.db"
    path.write_bytes(b"not SQLite at all, not even nearly, but long enough to be looked at" * 20)
    with pytest.raises(RecountError, match="file is not a database"):
        recount.recount(nodes, data, LANES)


def test_a_store_without_the_sales_view_is_an_environment_fault(nodes: Path, data: Path) -> None:
    change(nodes, "DROP TABLE sales")
    with pytest.raises(RecountError, match="has no view sales"):
        recount.recount(nodes, data, LANES)


def test_what_people_entered_since_is_part_of_the_balance_and_one_invoice_counts_once(
    nodes: Path, data: Path
) -> None:
    entered = [
        ("d1", "7", "entrada", {"documento": "NF 1", "quantidade": "1.5"}),
        ("d2", "7", "entrada", {"documento": "NF 1", "quantidade": "1.5"}),
        ("d3", "8", "ajuste", {"quantidade": "0,25"}),
        ("d4", "8", "ajuste", {"quantidade": "0,25"}),
        ("d5", "9", "aceitar", {}),
    ]
    rows = ", ".join(
        f"('{key}', 'stock/loja1/{product}#C01', 'decisao', '{option}', '{json.dumps(values)}')"
        for key, product, option, values in entered
    )
    change(
        nodes,
        f"""
        CREATE TABLE decisions(id, pendency, act, option, "values");
        INSERT INTO decisions VALUES {rows};
        UPDATE rec_stock SET balance_milli = balance_milli + 1500 WHERE product = '7';
        UPDATE rec_stock SET balance_milli = balance_milli + 500 WHERE product = '8';
        """,
    )
    assert recount.recount(nodes, data, LANES).agrees
    change(nodes, "UPDATE decisions SET option = 'aceitar' WHERE id = 'd3'")
    assert not recount.recount(nodes, data, LANES).agrees


def test_the_recount_leaves_the_stores_as_they_were(nodes: Path, data: Path) -> None:
    before = {path: path.read_bytes() for path in nodes.rglob("*") if path.is_file()}
    recount.recount(nodes, data, LANES)
    assert {path: path.read_bytes() for path in nodes.rglob("*") if path.is_file()} == before


def test_no_lanes_is_wrong_usage(nodes: Path, data: Path) -> None:
    assert run(nodes, data, "--lanes", "0").returncode == 2
