"""The contract test of `crdtsync.storage.Storage`: a subclass of two methods tests a whole store.

    class TestMyStorage(StorageContract):
        def make(self, tables):
            return MyStorage(self.folder, tables)

        def again(self, storage, tables):
            return MyStorage(storage.folder, tables)

Run it with pytest and pytest-asyncio in auto mode. It looks only through the interface, never inside a store; what an
implementation adds (files, locks, crashes) it tests itself.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from crdtsync import limits
from crdtsync.errors import StoreClosed, StoreMismatch
from crdtsync.storage.base import (
    ChangeRow,
    Commit,
    DamagedRow,
    DeviceRow,
    DueRow,
    Filing,
    HeadRow,
    ParkedRow,
    PendencyChanges,
    PendencyRow,
    ReplicaRow,
    Row,
    RunCategoryRow,
    RunRow,
    Storage,
    View,
    Wire,
)
from crdtsync.storage.tables import TableSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

PRODUCTS = TableSpec(
    category="products",
    partition_columns=(),
    key_columns=("id",),
    columns=(("name", "TEXT"), ("price_cents", "INTEGER")),
    indexes=("name",),
)
STOCK = TableSpec(
    category="stock",
    partition_columns=("store",),
    key_columns=("id",),
    columns=(("balance_milli", "INTEGER"),),
)
TABLES = (PRODUCTS, STOCK)
"""The tables that the contract's stores are opened with."""

DEVICES = [
    DeviceRow("1" * 64, "invited", None, "caixa", "loja1", None, 50, 10),
    DeviceRow("2" * 64, "approved", "caixa1", "caixa", "loja1", b"k" * 32, None, 20),
]
PENDENCY = PendencyRow(
    id="stock/loja1/p1#C01",
    rule="C01",
    category="stock",
    doc="stock/loja1",
    key="p1",
    owner="loja",
    severity="A",
    title="Estoque abaixo de zero",
    message="saldo −1",
    effect="compras não é avisada",
    evidence='{"balance":-1000}',
    episode="e1",
    status="open",
    records='[["stock/loja1","p1"],["products","p1"]]',
    direction="download",
    run=7,
    opened_ms=1,
)

FILINGS = [
    Filing("products", "C06", "products", "p1", "789"),
    Filing("products", "C06", "products", "p2", "789"),
    Filing("products", "C20", "products", "p1", "789"),
]
DUE = [DueRow("sales", "C15", "sales/loja1", "v1", 20), DueRow("sales", "C15", "sales/loja1", "v2", 10)]


class StorageContract(ABC):
    """Subclass it, say how a store is made and found again, and let pytest collect the subclass."""

    @abstractmethod
    def make(self, tables: Sequence[TableSpec]) -> Storage:
        """A new empty store, not open."""

    @abstractmethod
    def again(self, storage: Storage, tables: Sequence[TableSpec]) -> Storage:
        """Another object, not open, over what a closed `storage` kept, as after a restart of the process."""

    async def test_a_new_store_answers_empty(self) -> None:
        """Every read of a store that has seen nothing."""
        async with self.make(TABLES) as store:
            seen = await store.read(
                lambda view: [
                    view.documents(),
                    view.heads(),
                    view.snapshot("products"),
                    view.journal("products"),
                    view.changed_keys("products", 1, 0, 9),
                    view.meta("nonce"),
                    view.get("products", "products", "p1"),
                    view.get_many("products", "products", ["p1"]),
                    view.exists("products", "products", "p1"),
                    view.select("products"),
                    view.count("products"),
                    view.parked(),
                    view.pendencies(),
                    view.pendency("x"),
                    view.pendencies_named(["x"]),
                    view.pendency_counts(),
                    view.count_pendencies(),
                    view.pendencies_showing("products", ["p1"]),
                    view.filed("products", "C06", ["789"]),
                    view.filings("products", "C06", "products", ["p1"]),
                    view.files_any("products", "C06"),
                    view.breaks_any("stock", "C01"),
                    view.due(1 << 40),
                    view.select_in("products", "name", ["arroz"]),
                    view.acked("up"),
                    view.replicas(),
                    view.devices(),
                    view.runs(),
                    list(view.check_rows("products")),
                    view.integrity(),
                ]
            )
        assert not any(seen), seen

    async def test_all_of_a_commit_is_there_after_a_restart(self) -> None:
        """One commit that fills everything, read by another object."""
        commit = full_commit()
        async with self.make(TABLES) as store:
            newest = await store.commit(commit)
        async with self.again(store, TABLES) as store:
            assert await store.read(everything) == {
                "documents": ["products", "stock/loja1"],
                "journal": [(newest - 1, b"one"), (newest, b"two")],
                "snapshot": (b"whole", 0),
                "heads": commit.heads,
                "changes": 2,
                "records": [*commit.records["products"], *commit.records["stock"]],
                "parked": commit.parked,
                "acked": {("products", 7): 3},
                "meta": b"abc",
                "replicas": commit.replicas,
                "devices": commit.devices,
                "runs": commit.runs,
                "pendencies": [PENDENCY],
                "filed": FILINGS[:2],
                "due": DUE[::-1],
            }
            assert await store.read(lambda view: view.integrity()) == []

    async def test_records_are_inserted_and_replaced_whole(self) -> None:
        """A second row of the same document and key takes the first one's place."""
        async with self.make(TABLES) as store:
            await store.commit(Commit(records={"products": [product("p1", "açúcar", 100)]}))
            await store.commit(Commit(records={"products": [product("p1", None, 90, deleted=1)]}))
            row = await store.read(lambda view: view.get("products", "products", "p1"))
            assert row == ("products", "p1", None, 90, 1, None)
            assert not await store.read(lambda view: view.exists("products", "products", "p1"))
            assert await store.read(lambda view: view.select("products")) == []
            assert await store.read(lambda view: view.select("products", include_deleted=True)) == [row]

    async def test_records_of_two_documents_with_one_key_are_two(self) -> None:
        """The address is document and key, not key."""
        rows = [("stock/loja1", "p1", 1000, 0, None), ("stock/loja2", "p1", 2000, 0, None)]
        async with self.make(TABLES) as store:
            await store.commit(Commit(records={"stock": rows}))
            assert await store.read(lambda view: view.select("stock")) == rows
            assert await store.read(lambda view: view.get("stock", "stock/loja2", "p1")) == rows[1]
            assert await store.read(lambda view: view.select("stock", doc="stock/loja1")) == rows[:1]
            assert await store.read(lambda view: view.count("stock", doc="stock/loja2")) == 1

    async def test_a_dropped_document_takes_only_its_own_records(self) -> None:
        """A rebuild deletes first and writes after, in one commit."""
        rows = [
            ("stock/loja1", "p1", 1, 0, None),
            ("stock/loja1", "p2", 2, 0, None),
            ("stock/loja2", "p1", 3, 0, None),
        ]
        async with self.make(TABLES) as store:
            await store.commit(Commit(records={"stock": rows}))
            fresh = ("stock/loja1", "p9", 9, 0, None)
            await store.commit(Commit(dropped_docs=["stock/loja1"], records={"stock": [fresh]}))
            assert await store.read(lambda view: view.select("stock")) == [fresh, rows[2]]

    async def test_a_repair_drops_what_was_known_of_a_documents_logs_and_of_no_other(self) -> None:
        """Heads, change rows and parked batches go before the new ones are written."""
        async with self.make(TABLES) as store:
            await store.commit(full_commit())
            before = await store.read(lambda view: (view.heads(), view.parked()))
            doc = before[0][0].doc
            fresh = replace(before[0][0], replica=99, seq=1)
            await store.commit(Commit(dropped_logs=[doc], heads=[fresh]))
            heads, parked = await store.read(lambda view: (view.heads(), view.parked()))
            others = [row for row in before[0] if row.doc != doc]
            assert sorted(heads, key=lambda row: row.doc) == sorted([*others, fresh], key=lambda row: row.doc)
            assert parked == [row for row in before[1] if row.doc != doc]
            assert await store.read(lambda view: view.changed_keys(doc, before[0][0].replica, 0, 9)) == set()

    async def test_a_row_that_is_discarded_is_gone_and_the_others_stay(self) -> None:
        """By what names it in its table, of the store's own tables and of the read model."""
        async with self.make(TABLES) as store:
            await store.commit(full_commit())
            assert await store.read(lambda view: view.damaged()) == []
            await store.commit(Commit(records={"products": [product("p1", "a", 1), product("p2", "b", 2)]}))
            rows = [
                DamagedRow("meta", ("nonce",), (), None),
                DamagedRow("rec_products", ("products", "p1"), (), "products"),
            ]
            await store.commit(Commit(discarded=rows))
            assert await store.read(lambda view: view.meta("nonce")) is None
            assert await store.read(lambda view: view.get("products", "products", "p1")) is None
            assert await store.read(lambda view: view.get("products", "products", "p2")) is not None
            assert await store.read(lambda view: view.heads()) == full_commit().heads

    async def test_select_filters_pages_and_counts(self) -> None:
        """`where` with a value, with None, with pages; `count` agrees."""
        rows = [product(f"p{n}", "a" if n % 2 else None, n) for n in range(7)]
        async with self.make(TABLES) as store:
            await store.commit(Commit(records={"products": list(reversed(rows))}))

            def pages(view: View) -> list[Row]:
                page = view.select("products", limit=3)
                seen = list(page)
                while page:
                    page = view.select("products", limit=3, after=(page[-1][0], page[-1][1]))
                    assert len(page) <= 3
                    seen += page
                return seen

            assert await store.read(pages) == rows
            assert await store.read(lambda view: view.select("products", where={"name": "a"})) == rows[1::2]
            assert await store.read(lambda view: view.select("products", where={"name": None})) == rows[::2]
            both: dict[str, Wire] = {"name": "a", "price_cents": 3}
            assert await store.read(lambda view: view.select("products", where=both)) == [rows[3]]
            assert await store.read(lambda view: view.count("products", where={"name": None})) == len(
                rows[::2]
            )
            many = await store.read(
                lambda view: view.get_many("products", "products", ["p1", "p5", "absent"])
            )
            assert many == {"p1": rows[1], "p5": rows[5]}

    async def test_a_commit_that_raises_inside_leaves_nothing(self) -> None:
        """An error or a panic (a BaseException) in `inside`: nothing of it, and the store goes on."""
        async with self.make(TABLES) as store:
            await store.commit(Commit(journal=[("stock/loja1", b"zero")]))
            before = await store.read(everything)
            for error in (ValueError("a rule failed"), _Panic("yrs panicked")):
                commit = full_commit()
                commit.inside = _Raiser(error)
                assert await raised_by(store.commit(commit)) is error
                assert await store.read(everything) == before
            # The documents whose numbers were taken back get numbers again, and the journal's ids go on.
            await store.commit(full_commit())
            assert await store.read(lambda view: view.documents()) == ["stock/loja1", "products"]
            assert await store.read(lambda view: view.integrity()) == []

    async def test_inside_sees_what_its_own_commit_wrote(self) -> None:
        """Rules read the merged state before it is durable; what they return is written with it."""
        seen: list[Row] = []

        def inside(view: View) -> PendencyChanges:
            seen.extend(view.select("stock"))
            return PendencyChanges(opened=[PENDENCY])

        row = ("stock/loja1", "p1", -1000, 0, None)
        async with self.make(TABLES) as store:
            await store.commit(Commit(records={"stock": [row]}, inside=inside))
            assert seen == [row]
            assert await store.read(lambda view: view.pendencies()) == [PENDENCY]
            await store.commit(Commit(inside=lambda _view: PendencyChanges(closed=[PENDENCY.id])))
            assert await store.read(lambda view: view.pendencies()) == []

    async def test_a_pendency_is_found_by_each_record_that_it_shows(self) -> None:
        """By what it shows now, not by what it showed before."""
        moved = replace(PENDENCY, records='[["stock/loja1","p1"],["products","p2"]]')

        def showing(view: View) -> list[list[PendencyRow]]:
            return [view.pendencies_showing("products", keys) for keys in (["p1"], ["p1", "p2"])]

        async with self.make(TABLES) as store:
            await store.commit(Commit(inside=lambda _view: PendencyChanges(opened=[PENDENCY])))
            assert await store.read(showing) == [[PENDENCY], [PENDENCY]]
            await store.commit(Commit(inside=lambda _view: PendencyChanges(opened=[moved])))
            assert await store.read(showing) == [[], [moved]]
            await store.commit(Commit(inside=lambda _view: PendencyChanges(closed=[PENDENCY.id])))
            assert await store.read(showing) == [[], []]

    async def test_filings_are_found_by_value_and_by_record(self) -> None:
        """A record that is filed anew is no longer under its old values; other rules are not touched."""

        def seen(view: View) -> tuple[list[Filing], list[Filing], list[Filing]]:
            return (
                view.filed("products", "C06", ["789", "790"]),
                view.filings("products", "C06", "products", ["p1"]),
                view.filed("products", "C20", ["789"]),
            )

        again = Filing("products", "C06", "products", "p1", "790")
        changes = PendencyChanges(unfiled=[("products", "C06", "products", "p1")], filed=[again])
        async with self.make(TABLES) as store:
            assert not await store.read(lambda view: view.files_any("products", "C20"))
            await store.commit(Commit(inside=lambda _view: PendencyChanges(filed=FILINGS)))
            assert (
                await store.read(lambda view: view.filed("products", "C06", ["789"], limit=1)) == FILINGS[:1]
            )
            assert await store.read(lambda view: view.files_any("products", "C20"))
            assert not await store.read(lambda view: view.files_any("products", "C21"))
            assert await store.read(seen) == (FILINGS[:2], FILINGS[:1], FILINGS[2:])
            await store.commit(Commit(inside=lambda _view: changes))
            assert await store.read(seen) == ([FILINGS[1], again], [again], FILINGS[2:])
            (last,) = FILINGS[2:]
            gone = PendencyChanges(unfiled=[(last.category, last.rule, last.doc, last.key)])
            await store.commit(Commit(inside=lambda _view: gone))
            assert not await store.read(lambda view: view.files_any(last.category, last.rule))

    async def test_what_is_due_comes_in_order_until_it_is_removed(self) -> None:
        """The earliest first, nothing before its time; a due moment of 0 removes."""
        async with self.make(TABLES) as store:
            await store.commit(Commit(inside=lambda _view: PendencyChanges(due=DUE)))
            assert await store.read(lambda view: [view.due(9), view.due(10), view.due(20)]) == [
                [],
                DUE[1:],
                DUE[::-1],
            ]
            await store.commit(Commit(inside=lambda _view: PendencyChanges(due=[replace(DUE[1], at_ms=0)])))
            assert await store.read(lambda view: view.due(20)) == DUE[:1]

    async def test_records_are_found_by_any_of_several_values(self) -> None:
        """Deleted ones are not."""
        rows = [product("p1", "sal", 5), product("p2", "mel", 6), product("p3", "mel", 7, deleted=1)]
        async with self.make(TABLES) as store:
            await store.commit(Commit(records={"products": rows}))
            assert (
                await store.read(lambda view: view.select_in("products", "name", ["mel", "sal"])) == rows[:2]
            )
            assert await store.read(lambda view: view.select_in("products", "price_cents", [6])) == rows[1:2]
            both = await store.read(lambda view: view.select_in("products", "name", ["mel", "sal"], limit=1))
            assert both == rows[:1]

    async def test_pendencies_are_filtered_and_paged(self) -> None:
        """By rule, category, owner, severity and status; the gravest first, then by id."""
        rows = [_pendency(number, rule) for number, rule in enumerate(["C01", "C22", "C01", "C22"])]
        async with self.make(TABLES) as store:
            assert not await store.read(lambda view: view.breaks_any())
            await store.commit(Commit(inside=lambda _view: PendencyChanges(opened=rows)))
            assert await store.read(lambda view: view.breaks_any())
            assert await store.read(lambda view: view.pendencies(rule="C22")) == rows[1::2]
            named = await store.read(lambda view: view.pendencies_named([rows[2].id, "no such", rows[0].id]))
            assert named == {rows[0].id: rows[0], rows[2].id: rows[2]}
            assert await store.read(lambda view: view.breaks_any("stock", "C22"))
            assert not await store.read(lambda view: view.breaks_any("products", "C22"))
            assert not await store.read(lambda view: view.breaks_any("stock", "C23"))
            assert (
                await store.read(lambda view: view.pendencies(limit=2, after=("A", rows[0].id))) == rows[1:3]
            )
            assert await store.read(lambda view: view.pendencies(category="stock", owner="caixa")) == []
            assert await store.read(lambda view: view.pendency(rows[3].id)) == rows[3]
            grave = replace(rows[2], severity="B", status="decided")
            await store.commit(Commit(inside=lambda _view: PendencyChanges(opened=[grave])))
            order = [grave, rows[0], rows[1], rows[3]]
            assert await store.read(lambda view: view.pendencies()) == order
            assert (
                await store.read(lambda view: view.pendencies(after=("B", grave.id), limit=2)) == order[1:3]
            )
            assert await store.read(lambda view: view.pendencies(severity="B", status="decided")) == [grave]
            assert await store.read(lambda view: view.count_pendencies()) == len(order)
            assert await store.read(lambda view: view.count_pendencies(severity="B", owner="loja")) == 1
            assert await store.read(lambda view: view.count_pendencies(rule="C99")) == 0
            old = replace(rows[1], opened_ms=rows[1].opened_ms - 1)
            await store.commit(Commit(inside=lambda _view: PendencyChanges(opened=[old])))
            assert await store.read(lambda view: view.pendencies(opened_until_ms=old.opened_ms)) == [old]
            assert await store.read(lambda view: view.count_pendencies(opened_until_ms=old.opened_ms)) == 1
            assert (
                await store.read(lambda view: view.count_pendencies(opened_until_ms=rows[1].opened_ms)) == 4
            )
            assert await store.read(lambda view: view.pendency_counts()) == {
                ("A", "loja", "open"): 3,
                ("B", "loja", "decided"): 1,
            }
            documents = Counter(row.doc for row in order if row.status == "open")
            assert await store.read(lambda view: view.pendencies_by_document()) == documents

    async def test_whether_anything_is_pending_is_known_after_every_change(self) -> None:
        """One that was rolled back included, and one among several that closed."""

        def any_now(view: View) -> bool:
            return view.breaks_any()

        rows = [_pendency(number, "C01") for number in range(2)]
        async with self.make(TABLES) as store:
            assert not await store.read(any_now)
            await store.commit(Commit(inside=lambda _view: PendencyChanges(opened=rows)))
            assert await store.read(any_now)
            await store.commit(Commit(inside=lambda _view: PendencyChanges(closed=[rows[0].id])))
            assert await store.read(any_now)
            half = PendencyChanges(closed=[rows[1].id], due=[replace(DUE[0], at_ms="no number")])  # type: ignore[arg-type]
            assert await raised_by(store.commit(Commit(inside=lambda _view: half))) is not None
            assert await store.read(any_now)
            await store.commit(Commit(inside=lambda _view: PendencyChanges(closed=[rows[1].id])))
            assert not await store.read(any_now)
            half = PendencyChanges(opened=rows, due=half.due)
            assert await raised_by(store.commit(Commit(inside=lambda _view: half))) is not None
            assert not await store.read(any_now)

    async def test_a_snapshot_replaces_the_rows_it_covers_and_no_others(self) -> None:
        """Rows of other documents and later rows stay; the newest snapshot is the one."""
        async with self.make(TABLES) as store:
            covered = await store.commit(
                Commit(journal=[("stock/loja1", b"a"), ("products", b"b"), ("stock/loja1", b"c")])
            )
            later = await store.commit(Commit(journal=[("stock/loja1", b"d")]))
            assert await store.read(lambda view: view.journal_end("stock/loja1")) == later
            await store.commit(Commit(snapshots={"stock/loja1": (b"a+c", covered)}))
            assert await store.read(lambda view: view.journal_end("stock/loja1")) == later
            assert await store.read(lambda view: view.snapshot("stock/loja1")) == (b"a+c", covered)
            assert await store.read(lambda view: view.journal("stock/loja1")) == [(later, b"d")]
            assert await store.read(lambda view: view.journal("products")) == [(covered - 1, b"b")]

    async def test_a_journal_id_never_comes_back(self) -> None:
        """Not even after its row was covered by a snapshot and the process restarted."""
        async with self.make(TABLES) as store:
            covered = await store.commit(Commit(journal=[("products", b"a")]))
            await store.commit(Commit(snapshots={"products": (b"a", covered)}))
            assert await store.read(lambda view: view.journal_end("products")) == covered
            assert await store.read(lambda view: view.journal_end("sales/loja1")) == 0
        async with self.again(store, TABLES) as store:
            assert await store.commit(Commit(journal=[("products", b"b")])) > covered
            assert [data for _, data in await store.read(lambda view: view.journal("products"))] == [b"b"]

    async def test_changed_keys_names_a_repeated_key_once(self) -> None:
        """Within the sequences asked for, of one log."""
        rows = [
            ChangeRow("stock/loja1", 1, 1, ("p1", "p2")),
            ChangeRow("stock/loja1", 1, 2, ("p2", "p3")),
            ChangeRow("stock/loja1", 1, 3, ("p5",)),
            ChangeRow("stock/loja1", 2, 1, ("p1", "p4")),
            ChangeRow("stock/loja2", 1, 1, ("p1",)),
        ]
        async with self.make(TABLES) as store:
            await store.commit(Commit(changes=rows))
            found = await store.read(
                lambda view: [
                    view.changed_keys("stock/loja1", 1, *asked) for asked in ((0, 2), (1, 2), (2, 9), (3, 9))
                ]
            )
            assert found == [{"p1", "p2", "p3"}, {"p2", "p3"}, {"p5"}, set()]

    async def test_recompaction_replaces_the_old_part_of_one_log(self) -> None:
        """Rows up to the limit go, later ones and other logs stay."""
        rows = [ChangeRow("products", replica, seq, (f"p{seq}",)) for replica in (1, 2) for seq in (1, 2, 3)]
        async with self.make(TABLES) as store:
            await store.commit(Commit(changes=rows))
            await store.commit(
                Commit(recompacted=[("products", 1, 2, [ChangeRow("products", 1, 4, ("p1",))])])
            )
            kept = await store.read(lambda view: [view.change_rows("products", log, 0, 9) for log in (1, 2)])
            assert [[row.seq for row in log] for log in kept] == [[3, 4], [1, 2, 3]]

    async def test_what_a_peer_acknowledged_never_goes_down(self) -> None:
        """An old acknowledgement that arrives late changes nothing."""
        async with self.make(TABLES) as store:
            for seq in (5, 3):
                await store.commit(Commit(acked=[("up", "products", 7, seq)]))
            assert await store.read(lambda view: view.acked("up")) == {("products", 7): 5}
            assert await store.read(lambda view: view.acked("another")) == {}

    async def test_small_rows_are_replaced_and_removed(self) -> None:
        """meta, parked, heads, replicas, devices and runs."""
        first, second = full_commit(), full_commit()
        first.inside = second.inside = None
        second.meta = {"nonce": None}
        second.parked, second.unparked = [], [("products", 9, 2)]
        second.heads = [HeadRow("products", 7, 9, b"H" * 16, 8, 7, 6)]
        second.replicas = [ReplicaRow(7, "caixa2", "caixa", None, "acc")]
        second.devices = [replace(DEVICES[1], status="revoked", changed_ms=30)]
        second.forgotten_devices = [DEVICES[0].id]
        second.runs = [_run(ended_ms=20, categories=())]
        async with self.make(TABLES) as store:
            await store.commit(first)
            await store.commit(second)
            seen = await store.read(everything)
        assert (seen["meta"], seen["parked"]) == (None, [])
        assert (seen["heads"], seen["replicas"], seen["runs"]) == (second.heads, second.replicas, second.runs)
        assert seen["devices"] == second.devices

    async def test_history_is_newest_first_and_bounded(self) -> None:
        """By id, from a time on, so many."""
        runs = [_run(number=number, started_ms=number * 10, categories=()) for number in (1, 2, 3)]
        async with self.make(TABLES) as store:
            await store.commit(Commit(runs=runs))
            assert await store.read(lambda view: view.runs()) == runs[::-1]
            assert await store.read(lambda view: view.runs(since_ms=20, limit=1)) == [runs[2]]
            assert await store.read(lambda view: view.runs(before=3)) == [runs[1], runs[0]]
            assert await store.read(lambda view: view.runs(since_ms=10_000)) == []
            hours = [(0, sum(run.records_down + run.records_up for run in runs[1:]))]
            assert await store.read(lambda view: view.moved_by_hour(20)) == hours
            assert await store.read(lambda view: view.runs_until(30)) == [(1, 10, "ok"), (2, 20, "ok")]

    async def test_a_forgotten_run_is_gone_with_its_categories(self) -> None:
        """The others stay; forgetting what is not there is harmless."""
        async with self.make(TABLES) as store:
            await store.commit(Commit(runs=[_run(number=1), _run(number=2)]))
            await store.commit(Commit(forgotten_runs=[1, 7]))
            assert await store.read(lambda view: view.runs()) == [_run(number=2)]
            await store.commit(Commit(runs=[_run(number=1, categories=())]))
            assert await store.read(lambda view: view.runs(limit=5)) == [
                _run(number=2),
                _run(number=1, categories=()),
            ]

    async def test_change_rows_are_read_a_little_at_a_time(self) -> None:
        """By sequence, after one, so many; those of another log are not among them."""
        rows = [ChangeRow("products", 7, seq, (f"k{seq}", "same")) for seq in (1, 2, 3)]
        async with self.make(TABLES) as store:
            await store.commit(Commit(changes=[*rows, ChangeRow("products", 8, 1, ("other",))]))
            assert await store.read(lambda view: view.change_rows("products", 7, 0, 2)) == rows[:2]
            assert await store.read(lambda view: view.change_rows("products", 7, 2, 2)) == rows[2:]
            assert await store.read(lambda view: view.change_rows("stock/loja9", 7, 0, 2)) == []

    async def test_an_unknown_category_or_column_is_named(self) -> None:
        """The message says which name is not there."""
        async with self.make(TABLES) as store:
            error = await raised_by(store.read(lambda view: view.select("sales")))
            assert isinstance(error, StoreMismatch)
            assert "'sales'" in str(error)
            error = await raised_by(store.read(lambda view: view.select("products", where={"prcie": 1})))
            assert isinstance(error, StoreMismatch)
            assert "'prcie'" in str(error)
            error = await raised_by(store.commit(Commit(records={"sales": [("sales", "s1", 0, None)]})))
            assert isinstance(error, StoreMismatch)

    async def test_a_closed_store_refuses_every_verb(self) -> None:
        """Before opening and after closing; closing twice is harmless."""
        store = self.make(TABLES)
        assert isinstance(await raised_by(store.commit(Commit())), StoreClosed)
        await store.open()
        await store.close()
        await store.close()
        assert isinstance(await raised_by(store.commit(Commit())), StoreClosed)
        assert isinstance(await raised_by(store.read(lambda view: view.heads())), StoreClosed)
        assert isinstance(await raised_by(store.checkpoint()), StoreClosed)
        assert not store.checkpoint_due

    async def test_a_checkpoint_is_due_after_much_was_written_and_changes_nothing(self) -> None:
        """Due again only when as much was written again."""
        half = limits.STORE_CHECKPOINT_ROWS // 2 + 1
        commit = Commit(
            records={"products": [product(f"p{number}", "sal", number) for number in range(half)]}
        )
        due: list[bool] = []
        async with self.make(TABLES) as store:
            await store.commit(commit)
            due.append(store.checkpoint_due)
            await store.commit(commit)
            due.append(store.checkpoint_due)
            await store.checkpoint()
            due.append(store.checkpoint_due)
            assert await store.read(lambda view: view.count("products")) == half
            await store.commit(commit)
            due.append(store.checkpoint_due)
        assert due == [False, True, False, False]

    async def test_a_view_answers_nothing_after_its_callback(self) -> None:
        """A view that escapes cannot read a later state by accident."""
        async with self.make(TABLES) as store:
            escaped = await store.read(lambda view: view)
            error = None
            try:
                escaped.heads()
            except StoreClosed as raised:
                error = raised
            assert error is not None

    async def test_an_error_of_the_callback_reaches_the_caller(self) -> None:
        """Even StopIteration, which no future can carry, ends the wait."""
        async with self.make(TABLES) as store:
            error = KeyError("mine")
            assert await raised_by(store.read(_Raiser(error))) is error
            assert isinstance(await raised_by(store.read(lambda _view: next(iter(())))), RuntimeError)
            stopped = Commit(inside=_Raiser(StopIteration()))
            assert isinstance(await raised_by(store.commit(stopped)), RuntimeError)

    async def test_concurrent_commits_stand_or_fall_alone(self) -> None:
        """Forty at once, every fifth raising: the others are all there, the failed ones not at all."""
        commits = []
        for number in range(40):
            commit = Commit(journal=[(f"stock/loja{number}", b"x")], meta={f"m{number}": b"x"})
            if number % 5 == 0:
                commit.inside = _Raiser(ValueError(str(number)))
            commits.append(commit)
        async with self.make(TABLES) as store:
            outcomes = await asyncio.gather(*map(store.commit, commits), return_exceptions=True)
            failed = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, ValueError)]
            assert failed == list(range(0, 40, 5))

            def there(view: View) -> tuple[list[int], list[int]]:
                return (
                    [number for number in range(40) if view.journal(f"stock/loja{number}")],
                    [number for number in range(40) if view.meta(f"m{number}")],
                )

            expected = [number for number in range(40) if number % 5]
            assert await store.read(there) == (expected, expected)
            assert await store.read(lambda view: view.integrity()) == []

    async def test_a_cancelled_commit_is_never_half_done(self) -> None:
        """The caller goes away; the commit is there whole when the store has come to rest."""
        async with self.make(TABLES) as store:
            task = asyncio.ensure_future(store.commit(full_commit()))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        async with self.again(store, TABLES) as store:
            seen = await store.read(everything)
            assert (len(seen["journal"]), len(seen["records"]), len(seen["pendencies"])) == (2, 3, 1)

    async def test_a_new_optional_column_joins_an_existing_store(self) -> None:
        """Old rows hold None in it, new rows a value; a column that left keeps nothing from working."""
        wider = TableSpec("products", (), ("id",), (("gtin", "TEXT"), *PRODUCTS.columns))
        async with self.make(TABLES) as store:
            await store.commit(
                Commit(records={"products": [product("p1", "sal", 5), product("p2", "mel", 6)]})
            )
        async with self.again(store, [wider, STOCK]) as store:
            await store.commit(Commit(records={"products": [("products", "p2", "789", "mel", 7, 0, None)]}))
            assert await store.read(lambda view: view.select("products")) == [
                ("products", "p1", None, "sal", 5, 0, None),
                ("products", "p2", "789", "mel", 7, 0, None),
            ]
            assert await store.read(lambda view: view.integrity()) == []
        async with self.again(store, TABLES) as store:
            assert await store.read(lambda view: view.get("products", "products", "p2")) == product(
                "p2", "mel", 7
            )
            assert await store.read(lambda view: view.integrity()) == []


def product(key: str, name: str | None, price_cents: int, *, deleted: int = 0) -> Row:
    """A Row of PRODUCTS."""
    return ("products", key, name, price_cents, deleted, None)


def full_commit() -> Commit:
    """A commit that writes something of everything, with a snapshot that covers nothing."""
    return Commit(
        journal=[("products", b"one"), ("products", b"two")],
        snapshots={"products": (b"whole", 0)},
        heads=[HeadRow("products", 7, 3, b"h" * 16, 2, 1, 1 << 62)],
        changes=[ChangeRow("products", 7, 1, ("p0",)), ChangeRow("products", 7, 2, ("p0",))],
        recompacted=[("products", 7, 2, [ChangeRow("products", 7, 3, ("p1", "p2"))])],
        dropped_docs=["products"],
        records={
            "products": [
                product("p1", "arroz", 1299),
                ("products", "p2", None, None, 1, '{"name":["a","b"]}'),
            ],
            "stock": [("stock/loja1", "p1", -1000, 0, None)],
        },
        parked=[ParkedRow("products", 9, 2, "unknown_field", "products.colour", b"batch")],
        acked=[("up", "products", 7, 3)],
        meta={"nonce": b"abc"},
        replicas=[ReplicaRow(7, "caixa1", "caixa", "loja1", "acc")],
        devices=DEVICES,
        runs=[_run()],
        inside=lambda _view: PendencyChanges(opened=[PENDENCY], filed=FILINGS, due=DUE),
    )


def everything(view: View) -> dict[str, Any]:
    """What `full_commit` writes, as read back."""
    return {
        "documents": view.documents(),
        "journal": view.journal("products"),
        "snapshot": view.snapshot("products"),
        "heads": view.heads(),
        "changes": len(view.changed_keys("products", 7, 0, 9)),
        "records": [
            *view.select("products", include_deleted=True),
            *view.select("stock", include_deleted=True),
        ],
        "parked": view.parked(),
        "acked": view.acked("up"),
        "meta": view.meta("nonce"),
        "replicas": view.replicas(),
        "devices": view.devices(),
        "runs": view.runs(),
        "pendencies": view.pendencies(),
        "filed": view.filed("products", "C06", ["789"]),
        "due": view.due(20),
    }


async def raised_by(work: Awaitable[object]) -> BaseException | None:
    """The exception that `work` ends with, None when it returns."""
    try:
        await work
    except BaseException as error:  # noqa: BLE001 - a panic is one of the cases
        return error
    return None


class _Panic(BaseException):
    """Stands for yrs's PanicException, which derives from BaseException."""


class _Raiser:
    """A callback that raises."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __call__(self, _view: View) -> NoReturn:
        raise self._error


def _pendency(number: int, rule: str) -> PendencyRow:
    return replace(
        PENDENCY,
        id=f"stock/loja1/p{number}#{rule}",
        rule=rule,
        key=f"p{number}",
        records=f'[["stock/loja1","p{number}"]]',
    )


def _run(
    *,
    number: int = 1,
    started_ms: int = 10,
    ended_ms: int | None = None,
    categories: tuple[RunCategoryRow, ...] = (RunCategoryRow("products", "download", 2, 64, 0.5),),
) -> RunRow:
    return RunRow(number, "up", "manual", started_ms, ended_ms, "ok", "", 2, 0, 64, 0, 3, 1, 5, categories)
