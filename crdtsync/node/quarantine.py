"""Quarantine: no stored bytes stop a node. A document that cannot be read is set apart alone; the others work.

Three things set a document apart: a damaged row of its log, a failure to load it, and a crash of the process while it was
being loaded. It stays apart over restarts until somebody repairs it (``repair.py``). Damaged rows of what follows from
other rows (records, the by-sequence index, pendencies) are made again by the node itself. Before a damaged row leaves
the store it is written to a file beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from crdtsync.errors import CrdtsyncError, DocumentQuarantined, StorageError, StoreCorrupt
from crdtsync.node.repair import rebuild
from crdtsync.said import from_form, said_of, say, to_form
from crdtsync.state.salvage import Beyond
from crdtsync.storage.base import Commit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from crdtsync.node.beside import Beside, Nowhere
    from crdtsync.node.ledger import Ledger
    from crdtsync.state.document import Change
    from crdtsync.storage.base import DamagedRow, View

META_KEY = "quarantine"
SALVAGED_KEY = "salvaged"
_LOGS = frozenset({"journal", "snapshots", "heads", "parked"})
"""What a document is loaded from."""
_READ_AT_START = frozenset(
    {"heads", "parked", "acked", "meta", "replicas", "devices", "runs", "run_categories"}
)
"""Small tables that a node cannot begin without."""
_OF_RULES = frozenset({"pendencies", "pendency_records", "filings", "due"})
log = logging.getLogger("crdtsync")


class Held(NamedTuple):
    """Why a document is set apart, and since when, in ms since 1970."""

    why: str
    since_ms: int


class DocumentQuarantine:
    """See the module.

    ``held`` are the documents set apart. ``salvaged`` is what this node wrote behind a hole of its log, document -> replica
    -> batches: it waits until a peer was asked for what is missing. ``broken`` says what is wrong with the
    store's file as a whole.
    """

    def __init__(self, ledger: Ledger, beside: Beside | Nowhere) -> None:
        self._ledger = ledger
        self._beside = beside
        self.held: dict[str, Held] = {}
        self.salvaged: dict[str, dict[int, Beyond]] = {}
        self.broken: str | None = None
        self.reading = beside.reading
        self._mender: asyncio.Task[None] | None = None

    # -- life --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read what is set apart; set apart what the process before this one crashed on. The store is open already."""
        doc, trace = self._beside.open()
        await self.settle(_READ_AT_START)
        await self.recall()
        if not (doc or trace):
            return
        if doc in await self._ledger.storage.read(lambda view: view.documents()):
            log.error("%s: the program crashed while it read this document:\n%s", doc, trace)
            await self.put(doc, say("the program crashed while it read it"))
        else:
            log.error("the program crashed before this start:\n%s", trace)

    async def close(self) -> None:
        """Finish what is being made again."""
        if self._mender is not None:
            await asyncio.wait([self._mender])

    def end(self) -> None:
        """The store is about to be closed."""
        self._beside.close()

    async def recall(self) -> None:
        """Read again what the store says."""
        self.held, self.salvaged = await self._ledger.storage.read(_load)

    # -- what is set apart -------------------------------------------------------------------------------------

    def refuse(self, doc: str) -> None:
        """Raise DocumentQuarantined for a document that is set apart."""
        held = self.held.get(doc)
        if held is not None:
            raise DocumentQuarantined(doc, held.why)

    @asynccontextmanager
    async def guarded(self, doc: str) -> AsyncIterator[None]:
        """Set a document apart when what is stored of it cannot be read inside this block.

        Raises:
            DocumentQuarantined: it is set apart, now or before.
        """
        self.refuse(doc)
        try:
            yield
        except StoreCorrupt as error:
            await self.put(doc, error.detail)
            raise DocumentQuarantined(doc, error.detail) from error
        except (StorageError, DocumentQuarantined, MemoryError):
            raise
        except Exception as error:
            # Stored bytes may break anything, also what no part of this package raises on purpose.
            log.exception("%s: it cannot be loaded", doc)
            await self.put(doc, said_of(error))
            raise DocumentQuarantined(doc, said_of(error)) from error

    def lift(self, doc: str, salvaged: Mapping[int, Beyond], commit: Commit) -> None:
        """Let a document be one like the others from the commit on; ``salvaged`` is what waits of it."""
        self.held = {name: held for name, held in self.held.items() if name != doc}
        if salvaged:
            self.salvaged = self.salvaged | {doc: {**self.salvaged.get(doc, {}), **salvaged}}
        commit.meta[META_KEY] = dump_held(self.held)
        commit.meta[SALVAGED_KEY] = dump_salvaged(self.salvaged)

    def settled(self, doubts: Mapping[str, Collection[int]], commit: Commit) -> None:
        """What was salvaged of these logs has its place from the commit on."""
        self.salvaged = {
            doc: {replica: beyond for replica, beyond in logs.items() if replica not in doubts.get(doc, ())}
            for doc, logs in self.salvaged.items()
        }
        self.salvaged = {doc: logs for doc, logs in self.salvaged.items() if logs}
        commit.meta[SALVAGED_KEY] = dump_salvaged(self.salvaged)

    def keep(self, rows: Sequence[DamagedRow]) -> None:
        """Write rows to a file beside the store."""
        self._beside.keep(rows, self._ledger.clock.now_ms())

    async def put(self, doc: str, why: str) -> None:
        """Set a document apart, durably."""
        now_ms = self._ledger.clock.now_ms()
        fresh = self.held | {doc: Held(why, now_ms)}
        await self._ledger.storage.commit(Commit(meta={META_KEY: dump_held(fresh)}))
        self.held = fresh
        self._ledger.forget(doc)
        self._ledger.show_waiting()
        log.error("%s is in quarantine: %s", doc, why)

    # -- damaged rows ------------------------------------------------------------------------------------------

    def tripped(self, error: StoreCorrupt) -> None:
        """Something came across damage: look at every row once, beside what is going on."""
        idle = self._mender is None or self._mender.done()
        if self._ledger.is_open and idle and self.broken is None:
            self._mender = asyncio.create_task(self._mend(error), name="mend")

    async def mend(self) -> int:
        """Look at every row; return how many were damaged. See ``settle``; what follows from sound rows is made again."""
        rows: list[DamagedRow] = []

        async def look(_commit: Commit) -> list[Change]:
            rows.extend(await self.settle())
            return []

        await self._ledger.submit_alone(look)
        await self.remake(self._to_remake(rows))
        return len(rows)

    async def remake(self, docs: Collection[str]) -> None:
        """Make records, by-sequence index and pendencies of documents again, from their logs."""
        for doc in sorted(docs):
            # One that cannot be read is set apart, and the others go on.
            with contextlib.suppress(DocumentQuarantined):
                await self._ledger.submit_alone(partial(self._remake, doc))

    async def _remake(self, doc: str, commit: Commit) -> list[Change]:
        await self._ledger.document(doc)
        changes, _ = await rebuild(self._ledger, doc, commit)
        return changes

    async def _mend(self, error: StoreCorrupt) -> None:
        try:
            if not await self.mend() and not self.held:
                # Not a row, so the file itself: there is nothing that a node could do about it.
                self.broken = said_of(error)
        except CrdtsyncError as problem:
            self.broken = said_of(problem)
            log.error("%s: the store cannot be mended: %s", self._ledger.identity.device, problem)  # noqa: TRY400 - the sentence says all

    async def settle(self, tables: Collection[str] | None = None) -> list[DamagedRow]:
        """Copy the damaged rows (of these tables) beside the store, then take them out of it; return them.

        A document whose log they are of is set apart in the same commit.
        """
        ledger = self._ledger
        found = await ledger.storage.read(lambda view: view.damaged(tables))
        rows = [row for row in found if not _holds_the_rest(row)]
        for row in found:
            if row not in rows:
                self.broken = say("{table} row {row} fails its checksum", table=row.table, row=row.key)
        if not rows:
            return rows
        kept = self._beside.keep(rows, ledger.clock.now_ms())
        commit = Commit(discarded=rows)
        # Where that row is damaged, who was set apart will be found again.
        lost = any(row.table == "meta" and row.key[0] == META_KEY for row in rows)
        self.held = {} if lost else await ledger.storage.read(lambda view: load_held(view.meta(META_KEY)))
        now_ms = ledger.clock.now_ms()
        for row in rows:
            said = say("{table} row {row} fails its checksum", table=row.table, row=row.key)
            log.error("%s: %s; a copy is in %s", ledger.identity.device, said, kept)
            if row.table in _LOGS and row.doc is not None:
                self.held.setdefault(row.doc, Held(said, now_ms))
        commit.meta[META_KEY] = dump_held(self.held)
        await ledger.storage.commit(commit)
        if any(row.table == "heads" for row in rows):
            for doc in await ledger.storage.read(_headless):
                await self.put(doc, say("its heads are lost"))
        if ledger.is_open:
            await ledger.reload()
            ledger.show_waiting()
        return rows

    def _to_remake(self, rows: Collection[DamagedRow]) -> set[str]:
        """The documents whose damaged rows follow from others; a rule's row may have been of any."""
        known = {doc for doc in self._ledger.heads if self._ledger.shape_of(doc) is not None}
        if any(row.table in _OF_RULES for row in rows):
            return known - self.held.keys()
        apart = {row.doc for row in rows if row.doc is not None and row.table not in _LOGS}
        return (apart & known) - self.held.keys()


def dump_held(held: Mapping[str, Held]) -> bytes | None:
    """Return the documents set apart as the store keeps them."""
    facts = {doc: [str(why), to_form(why), since_ms] for doc, (why, since_ms) in held.items()}
    return json.dumps(facts, ensure_ascii=False).encode() if facts else None


def dump_salvaged(salvaged: Mapping[str, Mapping[int, Beyond]]) -> bytes | None:
    """Return the batches behind holes as the store keeps them."""
    facts = {
        doc: {
            f"{replica:x}": [upto, [data.hex() for data in batches]]
            for replica, (upto, batches) in logs.items()
        }
        for doc, logs in salvaged.items()
        if logs
    }
    return json.dumps(facts).encode() if facts else None


def _load(view: View) -> tuple[dict[str, Held], dict[str, dict[int, Beyond]]]:
    salvaged = {
        doc: {
            int(name, 16): Beyond(upto, [bytes.fromhex(data) for data in batches])
            for name, (upto, batches) in logs.items()
        }
        for doc, logs in json.loads(view.meta(SALVAGED_KEY) or b"{}").items()
    }
    return load_held(view.meta(META_KEY)), salvaged


def load_held(raw: bytes | None) -> dict[str, Held]:
    """Read what `dump_held` wrote."""
    return {
        doc: Held(from_form(why, form), since_ms)
        for doc, (why, form, since_ms) in json.loads(raw or b"{}").items()
    }


def _holds_the_rest(row: DamagedRow) -> bool:
    """Whether the store says in this row what the others are; without it nothing could be read at all."""
    return row.table == "documents" or (row.table == "meta" and str(row.key[0]).startswith("storage/"))


def _headless(view: View) -> list[str]:
    """The documents with a log and no head: the damaged row may have named another document."""
    headed = {row.doc for row in view.heads()}
    known = json.loads(view.meta(META_KEY) or b"{}")
    return [doc for doc in view.documents() if doc not in headed and doc not in known and _has_log(view, doc)]


def _has_log(view: View, doc: str) -> bool:
    try:
        return view.snapshot(doc) is not None or bool(view.journal(doc))
    except StoreCorrupt:
        return True
