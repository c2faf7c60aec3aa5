"""Faults planted in the real code, each of which the simulation must find, and for what it is.

How many schedules each of them took stands in docs/architecture.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from crdtsync.node import recovery
from crdtsync.node.ledger import Ledger
from crdtsync.node.link import Link
from crdtsync.protocol import session as protocol
from crdtsync.protocol.frames import decode_frame
from crdtsync.protocol.table import TABLE, Kind, Side, State
from crdtsync.state import cells
from crdtsync.state.codec import decode_batch
from crdtsync.state.document import Document
from crdtsync.state.hlc import HybridClock
from crdtsync.testing.simulation import simulate
from tests.simulation.shop import shop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crdtsync.state.cells import Cell, Cells, Record
    from crdtsync.state.codec import Group
    from crdtsync.state.document import Op
    from crdtsync.storage.base import Commit, ReplicaRow

SCHEDULES_MAX = 500


def hunt(sign: str, first: int = 1) -> None:
    """Run schedules until a finding has the sign of the planted fault; ``first`` leaves out those that never find it."""
    for seed in range(first, SCHEDULES_MAX + 1):
        for failure in simulate(1, seed, shop()).failures:
            if any(sign in text for text in failure.found):
                print(f"found in schedule {seed}")  # noqa: T201 - for who writes the figures down (pytest -s)
                return
    pytest.fail(f"{SCHEDULES_MAX} schedules did not find: {sign}")


def test_a_movement_joined_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No deduplication: what arrived once before is taken for new, and a counter adds instead of joining."""
    take_runs, join = Document._check_runs, cells.join_cell

    def check_runs(self: Document, replica: int, runs: Any) -> Any:
        fresh = take_runs(self, replica, runs)
        if not fresh.batches and replica in self.heads:
            # Everything in it is known: fold it again.
            for run in runs:
                for element in run.elements:
                    batch = decode_batch(element)
                    if batch.seq <= self.heads[replica].visible:
                        self.fold.add(replica, batch, element)
        return fresh

    def join_cell(record: Record, slot: str, replica: int, cell: Cell) -> bool:
        known = record.get(slot, {}).get(replica)
        if (
            known is not None
            and known.seq == cell.seq
            and type(cell.value) is tuple
            and type(cell.value[1]) is str
        ):
            record[slot][replica] = known._replace(value=(known.value[0] + cell.value[0], cell.value[1]))
            return True
        return join(record, slot, replica, cell)

    monkeypatch.setattr(Document, "_check_runs", check_runs)
    monkeypatch.setattr(cells, "join_cell", join_cell)
    hunt("duplicated:")


def test_frames_taken_twice_cost_their_link_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """No deduplication of frames: the table and the window refuse a repeated one, and the next handshake goes on."""
    receive = protocol.Session.receive

    def take_all(self: protocol.Session, data: bytes, now: float) -> list[protocol.Event]:
        self._got = min(self._got, decode_frame(data)[0] - 1)
        return receive(self, data, now)

    monkeypatch.setattr(protocol.Session, "receive", take_all)
    report = simulate(4, 1, shop())
    assert report.injected["repeat"]
    assert [failure.found for failure in report.failures] == []


def test_an_upload_without_its_fence_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fence: the lower end says that it holds everything as soon as it knows the plan."""
    on_plan, on_fence = Link._on_plan, Link._on_fence

    async def hasty(self: Link, plan: dict[str, Any]) -> None:
        await on_plan(self, plan)
        await on_fence(self, {"docs": {}})

    async def late(_self: Link, _fence: dict[str, Any]) -> None:
        return

    for kind in (Kind.DATA, Kind.DONE):
        monkeypatch.setitem(TABLE, (State.UPLOAD, (Side.UP, kind)), State.UPLOAD)
    monkeypatch.setitem(TABLE, (State.UPLOAD, (Side.UP, Kind.FENCE)), State.UPLOAD)
    monkeypatch.setitem(TABLE, (State.DOWNLOAD, (Side.DOWN, Kind.FENCED)), State.UPLOAD)
    monkeypatch.setattr(Link, "_on_plan", hasty)
    monkeypatch.setattr(Link, "_on_fence", late)
    hunt("before it holds")


def test_a_client_id_used_again_after_a_restore_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The restored node goes on writing its old log."""
    fresh = Ledger.fresh_replica

    def same(self: Ledger, commit: Commit) -> ReplicaRow:
        return self.registry[self.replica] if self.replica else fresh(self, commit)

    monkeypatch.setattr(Ledger, "fresh_replica", same)
    hunt("are counted")
    report = simulate(6, 1, shop())
    assert report.restored > report.noticed == 0


def test_a_counter_written_again_from_zero_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heir of a forked log counts what was moved before the fork once more."""
    monkeypatch.setattr(recovery, "totals_at", lambda *_facts: {})
    hunt("are counted", first=150)


def test_a_transaction_torn_by_a_restore_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the documents that forked are written again, not the other parts of their transactions."""

    async def nothing(*_facts: object) -> dict[str, int]:
        return {}

    monkeypatch.setattr(recovery.Recovery, "_cut_transactions", lambda *_facts: False)
    monkeypatch.setattr(recovery.Recovery, "_without", nothing)
    hunt("was torn", first=90)


def test_a_winner_by_wall_clock_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last writer by each node's own clock, over all cells, whatever the writers had seen."""

    def siblings(known: Cells) -> list[tuple[int, Cell]]:
        return sorted(known.items(), key=lambda entry: (entry[1].hlc, entry[0]), reverse=True)[:1]

    def tick(self: HybridClock, now_ms: int) -> int:
        self._last += 1
        return (now_ms << 16) | (self._last & 0xFFFF)

    monkeypatch.setattr(cells, "siblings", siblings)
    monkeypatch.setattr(HybridClock, "tick", tick)
    monkeypatch.setattr(HybridClock, "observe", lambda _self, _stamp: None)
    hunt(" reads ")


def test_a_shrunk_seen_vector_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write forgets one of the replicas that it had seen."""
    groups = Document._groups

    def shrunk(self: Document, ops: Mapping[str, list[Op]]) -> tuple[Group, ...]:
        return tuple(group._replace(seen=dict(sorted(group.seen.items())[1:])) for group in groups(self, ops))

    monkeypatch.setattr(Document, "_groups", shrunk)
    hunt("tells the conflicts")


def test_a_forgotten_part_of_a_transaction_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction over several documents does not say so: each part is shown as it comes."""
    write = Document.write

    def alone(self: Document, ops: Mapping[str, list[Op]], **facts: Any) -> Any:
        return write(self, ops, **{**facts, "parts": {}})

    monkeypatch.setattr(Document, "write", alone)
    hunt("half transaction")


def test_a_movement_that_hides_which_count_it_had_seen_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sold after a count was seen looks as if it had been sold beside it."""
    moved = Document._moved

    def unmarked(self: Document, known: Record, values: Mapping[str, Any], op: Op) -> Any:
        return moved(self, known, values, op)[:2]

    monkeypatch.setattr(Document, "_moved", unmarked)
    hunt("balance#")


def test_memory_that_keeps_what_the_disk_refused_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refused commit the node does not go back to what is durable."""

    async def stay(_self: Ledger) -> None:
        return

    monkeypatch.setattr(Ledger, "_go_back", stay)
    hunt("at another sequence")


def test_nothing_planted_nothing_found() -> None:
    report = simulate(6, 1, shop())

    assert [failure.found for failure in report.failures] == []
