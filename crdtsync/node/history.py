"""The history of a node's link up: one row for each run, stored when it begins and when it ends.

A row that is still ``running`` when the store is opened belongs to a run that a crash cut: it becomes ``interrupted``.
The rules in words are in ``docs/synchronization.md``. Nothing here decides when a run starts.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from crdtsync import limits
from crdtsync.errors import CrdtsyncError
from crdtsync.node.ending import WITHOUT_A_WORD
from crdtsync.node.schedule import Trigger
from crdtsync.storage.base import Commit, RunCategoryRow, RunRow

if TYPE_CHECKING:
    from crdtsync.node.ledger import Ledger
    from crdtsync.node.run import Run

LINK = "upstream"
_DAY_MS = 24 * 3600 * 1000
_OPEN_ROWS = 8


class Result(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    PAUSED = "paused"
    INTERRUPTED = "interrupted"


class History:
    """See the module. ``row`` is the row of the run that is going on, as it was last stored, or None."""

    def __init__(self, ledger: Ledger) -> None:
        self.row: RunRow | None = None
        self._ledger = ledger
        self._run: Run | None = None
        self._last_id = 0
        self._gathered: RunRow | None = None
        self._pendencies = (0, 0)
        self._stored_at = 0.0
        self._storing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Find the last row, and mark what a crash cut."""
        rows = await self._ledger.storage.read(lambda view: view.runs(limit=_OPEN_ROWS))
        self._last_id = max((row.id for row in rows), default=0)
        cut = [
            replace(row, result=Result.INTERRUPTED.value, detail=str(WITHOUT_A_WORD))
            for row in rows
            if row.result == Result.RUNNING
        ]
        if cut:
            await self._ledger.commit(Commit(runs=cut))

    def begin(self, run: Run, now_ms: int) -> RunRow | None:
        """Take a run whose plan is known; return the row to store before it moves anything.

        None for a small live run, and for one that moves no records: those are stored when they end.
        """
        self._run = run
        self._pendencies = (self._ledger.pendencies_opened, self._ledger.pendencies_closed)
        small = run.trigger is Trigger.LIVE and run.planned <= limits.LIVE_RECORDS_MAX
        self.row = RunRow(0, LINK, run.trigger.value, now_ms, None, Result.RUNNING.value, "", 0, 0, 0, 0)
        if small or not run.planned:
            return None
        self._number()
        self._stored_at = asyncio.get_running_loop().time()
        return self._figures()

    def moved(self) -> None:
        """Store the figures of the run that is going on when the stored ones are old."""
        now = asyncio.get_running_loop().time()
        if self.row is None or not self.row.id or now - self._stored_at < limits.HISTORY_STORE_SECONDS:
            return
        self._stored_at = now
        self._storing = asyncio.create_task(self._store(self.row.id), name="history")

    async def _store(self, run_id: int) -> None:
        if self.row is not None and self.row.id == run_id:
            with contextlib.suppress(CrdtsyncError):
                await self._ledger.commit(Commit(runs=[self._figures()]))

    def end(self, result: Result, detail: str = "", seconds: float | None = None) -> RunRow | None:
        """Let the run end; return the row to store, None when there is nothing to keep.

        ``seconds`` is how long it took; the wall clock may have been set meanwhile.
        """
        if self.row is None or self._run is None:
            return None
        stored = bool(self.row.id)
        row = self._figures()
        if seconds is not None:
            row = replace(row, ended_ms=row.started_ms + round(seconds * 1000))
        row = replace(row, result=result.value, detail=detail[: limits.MESSAGE_CHARS_MAX])
        run, self._run, self.row = self._run, None, None
        if stored:
            return row
        if result is Result.DONE and not run.bytes:
            return None
        gathers = result is Result.DONE and run.trigger is Trigger.LIVE
        before = self._gathered
        if gathers and before is not None and self._joins(before, row):
            self._gathered = _joined(before, row)
            return self._gathered
        self._last_id += 1
        row = replace(row, id=self._last_id)
        if gathers:
            self._gathered = row
        return row

    def _joins(self, before: RunRow, row: RunRow) -> bool:
        return before.id == self._last_id and 0 <= row.started_ms - before.started_ms < limits.LIVE_GATHER_MS

    def _number(self) -> None:
        assert self.row is not None
        self._last_id += 1
        self.row = replace(self.row, id=self._last_id)

    def _figures(self) -> RunRow:
        """Return the row with what has moved until now."""
        assert self.row is not None
        assert self._run is not None
        parts = tuple(
            RunCategoryRow(category, direction, part.records, part.bytes, part.seconds)
            for direction, moved in (("download", self._run.down), ("upload", self._run.up))
            for category, part in sorted(moved.items())
            if part.records or part.bytes or part.total
        )
        opened, closed = self._pendencies
        return replace(
            self.row,
            records_down=sum(part.records for part in self._run.down.values()),
            records_up=sum(part.records for part in self._run.up.values()),
            bytes_down=sum(part.bytes for part in self._run.down.values()),
            bytes_up=sum(part.bytes for part in self._run.up.values()),
            pendencies_opened=self._ledger.pendencies_opened - opened,
            pendencies_closed=self._ledger.pendencies_closed - closed,
            categories=tuple(sorted(parts, key=lambda part: (part.category, part.direction))),
        )

    async def prune(self, now_ms: int, days: int, failed_days: int) -> int:
        """Forget runs that are older than they are to be kept; return how many."""
        kept_ms = now_ms - days * _DAY_MS
        failed_ms = now_ms - failed_days * _DAY_MS
        rows = await self._ledger.storage.read(lambda view: view.runs_until(max(kept_ms, failed_ms)))
        old = [
            run
            for run, started_ms, result in rows
            if started_ms < (kept_ms if result == Result.DONE else failed_ms)
            and (self.row is None or run != self.row.id)
        ]
        if old:
            await self._ledger.commit(Commit(forgotten_runs=old))
        return len(old)


def _joined(before: RunRow, row: RunRow) -> RunRow:
    """Return one row for what two live rows say."""
    parts: dict[tuple[str, str], RunCategoryRow] = {}
    for part in (*before.categories, *row.categories):
        at = (part.category, part.direction)
        known = parts.get(at, RunCategoryRow(*at, 0, 0, 0.0))
        parts[at] = RunCategoryRow(
            *at, known.records + part.records, known.bytes + part.bytes, known.seconds + part.seconds
        )
    return replace(
        before,
        ended_ms=row.ended_ms,
        records_down=before.records_down + row.records_down,
        records_up=before.records_up + row.records_up,
        bytes_down=before.bytes_down + row.bytes_down,
        bytes_up=before.bytes_up + row.bytes_up,
        pendencies_opened=before.pendencies_opened + row.pendencies_opened,
        pendencies_closed=before.pendencies_closed + row.pendencies_closed,
        gathered=before.gathered + 1,
        categories=tuple(parts[at] for at in sorted(parts)),
    )
