"""What a read costs follows what it returns, not what the store holds: every question is answered by an index.

SQLite chooses a plan without statistics, so a fitting index that it passes over makes a commit slower with every record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crdtsync.storage import MemoryStorage, View
from crdtsync.testing.storage_contract import TABLES, full_commit

Read = Callable[[View], Any]

# What the plan must say, for each read that a commit, a link or a screen makes of a table that grows.
READS: dict[str, tuple[Read, str]] = {
    "filed": (
        lambda view: view.filed("products", "C06", ["789"]),
        "SEARCH filings USING INDEX filings_by_value (category=? AND rule=? AND value=?)",
    ),
    "filings": (
        lambda view: view.filings("products", "C06", "products", ["p1"]),
        "SEARCH filings USING PRIMARY KEY (category=? AND rule=? AND doc=? AND key=?)",
    ),
    "files_any": (lambda view: view.files_any("products", "C21"), "SEARCH filings"),
    "breaks_any": (
        lambda view: view.breaks_any("stock", "C01"),
        "SEARCH pendencies USING COVERING INDEX pendencies_by_rule (rule=? AND category=?)",
    ),
    "pendency": (lambda view: view.pendency("a"), "SEARCH pendencies USING PRIMARY KEY (id=?)"),
    "pendencies_named": (
        lambda view: view.pendencies_named(["a", "b"]),
        "SEARCH pendencies USING PRIMARY KEY (id=?)",
    ),
    "pendencies": (
        lambda view: view.pendencies(limit=1),
        "SCAN pendencies USING INDEX pendencies_in_order",
    ),
    "pendencies_after": (
        lambda view: view.pendencies(after=("A", "x"), limit=1),
        "SEARCH pendencies USING INDEX pendencies_in_order",
    ),
    "pendencies_showing": (
        lambda view: view.pendencies_showing("products", ["p1"]),
        "SEARCH shown USING PRIMARY KEY (doc=? AND key=?)",
    ),
    "due": (lambda view: view.due(1), "SEARCH due USING INDEX due_in_order (at_ms<?)"),
    "changes": (
        lambda view: view.changed_keys("products", 1, 0, 9),
        "SEARCH changes USING PRIMARY KEY (doc=? AND replica=? AND seq>? AND seq<?)",
    ),
    "journal": (lambda view: view.journal("products"), "SEARCH journal USING PRIMARY KEY (doc=?)"),
    "get": (
        lambda view: view.get("products", "products", "p1"),
        "SEARCH rec_products USING PRIMARY KEY (_doc=? AND _key=?)",
    ),
    "get_many": (
        lambda view: view.get_many("products", "products", ["p1"]),
        "SEARCH rec_products USING PRIMARY KEY (_doc=? AND _key=?)",
    ),
    "select_by_an_index": (
        lambda view: view.select("products", where={"name": "arroz"}),
        "SEARCH rec_products USING INDEX",
    ),
    "select_in": (
        lambda view: view.select_in("products", "name", ["arroz"], limit=1),
        "SEARCH rec_products USING INDEX",
    ),
    "acked": (lambda view: view.acked("up"), "SEARCH acked USING PRIMARY KEY (link=?)"),
    "runs": (lambda view: view.runs(since_ms=1, limit=1), "SEARCH runs"),
    "moved_by_hour": (lambda view: view.moved_by_hour(1), "SEARCH runs"),
}


@pytest.mark.parametrize("name", READS)
async def test_the_question_is_answered_by_an_index(name: str) -> None:
    read, expected = READS[name]
    asked: list[str] = []
    async with MemoryStorage(TABLES) as store:
        await store.commit(full_commit())
        connection = store._connection
        assert connection is not None
        connection.set_trace_callback(asked.append)
        await store.read(read)
        connection.set_trace_callback(None)
        statements = [sql for sql in asked if sql.startswith("SELECT")]
        plan = [row[3] for sql in statements for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert statements
    assert any(step.startswith(expected) for step in plan), plan
    assert all(step.startswith(("SCAN json_each", expected)) for step in plan if "SCAN" in step)
