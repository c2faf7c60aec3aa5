"""A node: one process with one store, one link up and any number of links down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from crdtsync import limits
from crdtsync.errors import ChannelClosed, CrdtsyncError, InsecureTransport, LinkBroken
from crdtsync.node.ledger import Clock, Ledger, stop_task
from crdtsync.node.link import Link, Moved, Run
from crdtsync.node.transaction import Transaction, documents_meant, find_rows, only_row
from crdtsync.protocol.table import Side
from crdtsync.schema import Entity, Role, Schema, load_installed
from crdtsync.storage.base import Commit, PendencyRow, Storage, View
from crdtsync.storage.sqlite import SqliteStorage
from crdtsync.storage.tables import TableSpec
from crdtsync.transport.websocket import WebSocketTransport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

    from crdtsync.node.config import NodeConfig
    from crdtsync.state.document import Change
    from crdtsync.transport.base import Channel, Server, Transport

E = TypeVar("E", bound=Entity)
log = logging.getLogger("crdtsync")


class SystemClock:
    """The machine's clock and random source."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def today(self) -> date:
        """The local calendar day."""
        return datetime.now().astimezone().date()

    def random_bytes(self, size: int) -> bytes:
        """Random bytes."""
        return os.urandom(size)


def table_specs(schema: Schema) -> list[TableSpec]:
    """Return the read-model tables of a schema."""
    return [
        TableSpec(
            category=shape.category,
            partition_columns=shape.partition.columns,
            key_columns=tuple(field.column for field in shape.keys),
            columns=shape.columns,
            indexes=shape.indexes,
            rows_views=shape.rows_views,
        )
        for shape in schema.shapes.values()
    ]


def _span(ms: int) -> str:
    minutes = ms // 60_000
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"


class Node:
    """Use as ``async with Node(config) as node``.

    ``schema``, ``storage``, ``transport``, ``clock`` and ``dice`` default to the installed adapters, the SQLite file
    in the node's folder, websockets, the machine's clock and random source.
    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        schema: Schema | None = None,
        storage: Storage | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
        dice: random.Random | None = None,
    ) -> None:
        self.config = config
        self.schema = schema or load_installed()
        store = storage or SqliteStorage(config.store_path, table_specs(self.schema))
        self.ledger = Ledger(config.identity, self.schema, store, clock or SystemClock())
        self.transport = transport or WebSocketTransport()
        self.server: Server | None = None
        self.upstream: Link | None = None
        # In the order of their coming, as a set would not keep it: a simulation must repeat itself.
        self.downstream: dict[Link, None] = {}
        self.connected = False
        self.trouble: str | None = None
        self.initial_done = False
        self.totals: dict[tuple[str, str], Moved] = {}
        self.runs = 0
        self.on_run: list[Callable[[Run], None]] = []
        self._dice = dice or random.Random()  # noqa: S311 - jitter, not secrets
        self._caller: asyncio.Task[None] | None = None
        self._timer: asyncio.Task[None] | None = None
        self._tidier: asyncio.Task[None] | None = None
        self._poked: asyncio.TimerHandle | None = None
        self._retry = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the store, accept nodes below, keep the link to the node above."""
        try:
            await self.ledger.open()
            done = await self.ledger.storage.read(lambda view: view.meta("initial_done"))
            self.initial_done = done is not None or self.config.role is Role.GESTAO
            self.ledger.on_change.append(self._changed)
            if self.config.port or self.config.listen:
                self.server = await self.transport.serve(self.config.host, self.config.port, self._serve)
        except BaseException:
            await self.ledger.close()
            raise
        self._tidier = asyncio.create_task(self._tidy_routinely(), name="tidy")
        if self.config.upstream:
            self._caller = asyncio.create_task(self._keep_link(self.config.upstream), name="upstream link")
            self._timer = asyncio.create_task(self._check_routinely(), name="routine check")

    async def close(self) -> None:
        """End links, finish what is queued, close the store."""
        await stop_task(self._tidier)
        await stop_task(self._timer)
        await stop_task(self._caller)
        if self.server is not None:
            await self.server.close()
        await self.ledger.close()

    # -- reading and writing -----------------------------------------------------------------------------------

    def transaction(self, actor: str = "") -> Transaction:
        """Return a transaction over any categories; ``actor`` names who writes."""
        return Transaction(self.ledger, actor)

    async def get(
        self, entity: type[E], key: str, *, in_store: str | None = None, doc: str | None = None
    ) -> E | None:
        """Return a visible record, or None; ``in_store`` or ``doc`` tells equal keys apart.

        Raises:
            RecordAmbiguous: several documents have the key and neither tells which.
        """
        shape = entity.__shape__
        rows = await self.ledger.storage.read(lambda view: find_rows(view, shape, key, in_store, doc))
        row = only_row(shape, key, [row for row in rows if not row[-2]])
        return None if row is None else entity._load(row)

    async def find(
        self,
        entity: type[E],
        *,
        limit: int | None = None,
        in_store: str | None = None,
        doc: str | None = None,
        **equals: object,
    ) -> list[E]:
        """Return the visible records whose fields equal the given values, by document and key.

        ``in_store`` or ``doc`` leaves out those of other stores or documents.
        """
        shape = entity.__shape__
        where = {
            shape.fields[name].column: shape.fields[name].to_wire(value) for name, value in equals.items()
        }

        def select(view: View) -> list[tuple[Any, ...]]:
            if in_store is None:
                return view.select(shape.category, doc=doc, where=where, limit=limit)
            rows: list[tuple[Any, ...]] = []
            for held in sorted(documents_meant(view, shape, in_store, doc)):
                left = None if limit is None else limit - len(rows)
                rows += view.select(shape.category, doc=held, where=where, limit=left)
            return rows

        return [entity._load(row) for row in await self.ledger.storage.read(select)]

    async def count(self, entity: type[Entity]) -> int:
        """Return the number of visible records."""
        return await self.ledger.storage.read(lambda view: view.count(entity.__category__))

    async def pendencies(self, **filters: Any) -> list[PendencyRow]:
        """Return open pendencies (filters: rule, category, owner, after, limit)."""
        return await self.ledger.storage.read(lambda view: view.pendencies(**filters))

    async def load(
        self, entity: type[Entity], records: Iterable[Mapping[str, Any]], actor: str = "import"
    ) -> int:
        """Create many records in batches; return how many. Each batch is a transaction of its own.

        Raises:
            FieldError, CheckFailed, RecordExists: the batch with the bad record, and those after it, were not written.
        """
        written = 0
        jobs: list[Transaction] = []
        transaction = Transaction(self.ledger, actor)
        for size, values in enumerate(records, 1):
            transaction.create(entity, **values)
            if size % limits.ROWS_PER_BATCH == 0:
                jobs.append(transaction)
                transaction = Transaction(self.ledger, actor)
            if len(jobs) == limits.LOAD_BATCHES:
                await asyncio.gather(*(job.commit() for job in jobs))
                jobs.clear()
            written = size
        jobs.append(transaction)
        await asyncio.gather(*(job.commit() for job in jobs))
        return written

    async def changes(self, entity: type[E]) -> AsyncGenerator[E, None]:
        """Yield each record of a category as it changes, deleted ones included, until the iterator is closed."""
        queue: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

        def collect(changes: list[Change]) -> None:
            for change in changes:
                if change.category == entity.__category__:
                    for row in change.rows:
                        queue.put_nowait(row)

        self.ledger.on_change.append(collect)
        try:
            while True:
                yield entity._load(await queue.get())
        finally:
            self.ledger.on_change.remove(collect)

    # -- links -------------------------------------------------------------------------------------------------

    def alerts(self) -> list[str]:
        """Return what only this node knows and a person should look at; each goes when its cause does."""
        found = [f"the link to {self.config.upstream} ended: {self.trouble}"] if self.trouble else []
        clocks = {"this machine": -self.ledger.hlc.offset_ms}
        clocks |= {link.peer.device: link.skew_ms for link in self.downstream if link.peer is not None}
        found += [
            f"the clock of {whose} is {_span(abs(skew_ms))} {'ahead' if skew_ms > 0 else 'behind'}; stamps are "
            "corrected, but set it right"
            for whose, skew_ms in clocks.items()
            if abs(skew_ms) > limits.CLOCK_OFFSET_MS_MAX
        ]
        for link in (self.upstream, *self.downstream):
            if link is not None and link.peer is not None:
                found += [
                    f"{category} does not synchronize with {link.peer.device}: {reason}; install the same version of "
                    "its adapter on both"
                    for category, reason in sorted(link.incompatible.items())
                ]
        return found

    def request_check(self) -> bool:
        """Check with the upstream now, or try to connect now; tell whether there is a link."""
        if self.upstream is None:
            self._retry.set()
            return False
        self.upstream.request()
        return True

    async def waiting(self) -> dict[str, int]:
        """Return the exact number of records per category that the upstream has not acknowledged."""
        if self.config.role is Role.GESTAO:
            return {}
        acked = await self.ledger.storage.read(lambda view: view.acked("upstream"))
        theirs: dict[str, dict[int, tuple[int, bytes]]] = {}
        for (doc, replica), seq in acked.items():
            theirs.setdefault(doc, {})[replica] = (seq, b"")
        return await self.ledger.missing(theirs, sorted(self.ledger.heads))

    async def _serve(self, channel: Channel) -> None:
        ready = self.initial_done or self.config.upstream is None
        link = Link(self.ledger, channel, Side.UP, live=self.config.live, ready=ready)
        self.downstream[link] = None
        log.info("link below from %s begins", channel.peer)
        try:
            await link.run()
        except (LinkBroken, ChannelClosed) as reason:
            log.info("link below %s ended: %s", link.peer.device if link.peer else channel.peer, reason)
        except CrdtsyncError:
            log.exception("link below %s failed", link.peer.device if link.peer else channel.peer)
        finally:
            self.downstream.pop(link, None)

    async def _keep_link(self, url: str) -> None:
        attempt = 0
        while True:
            try:
                channel = await self.transport.connect(url)
                link = Link(self.ledger, channel, Side.DOWN, live=self.config.live, notify=self._note)
                self.upstream, self.connected = link, True
                log.info("link to %s begins", url)
                watcher = asyncio.create_task(self._watch(link))
                try:
                    await link.run()
                finally:
                    await stop_task(watcher)
                    if link.runs_ended:
                        attempt = 0
            except LinkBroken as reason:
                self.trouble = str(reason)
                log.warning("link to %s ended: %s", url, reason)
                if reason.terminal:
                    attempt = max(attempt, 6)
            except ChannelClosed as reason:
                self.trouble = str(reason)
                log.info("link to %s ended: %s", url, reason)
            except InsecureTransport as reason:
                self.trouble = str(reason)
                log.error("%s", reason)  # noqa: TRY400 - a message for the operator
                return
            except CrdtsyncError as reason:
                self.trouble = str(reason)
                log.exception("link to %s failed", url)
            finally:
                self.upstream, self.connected = None, False
            ceiling = min(limits.RECONNECT_SECONDS_MAX, limits.RECONNECT_SECONDS_MIN * 2**attempt)
            attempt += 1
            self._retry.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._retry.wait(), self._dice.uniform(0, ceiling))

    async def _watch(self, link: Link) -> None:
        """After each run: what was sent is acknowledged; the first complete one ends the initial synchronization."""
        while True:
            await link.even.wait()
            link.even.clear()
            # Not when the connection stands: what was refused is refused again, and stays to be seen between.
            self.trouble = None
            acked = [("upstream", *position) for position in link.acknowledged()]
            with contextlib.suppress(CrdtsyncError):
                meta: dict[str, bytes | None] = {} if self.initial_done else {"initial_done": b"1"}
                await self.ledger.commit(Commit(acked=acked, meta=meta))
                self.initial_done = True

    async def _check_routinely(self) -> None:
        while True:
            await asyncio.sleep(self.config.check_seconds)
            self.request_check()

    async def _tidy_routinely(self) -> None:
        while True:
            await asyncio.sleep(limits.TIDY_SECONDS)
            try:
                await self.ledger.tidy()
            except CrdtsyncError:
                # Nothing is lost: the store holds what it held, and the next round tries again.
                log.exception("%s: tidying failed", self.config.device)

    def _changed(self, changes: list[Change]) -> None:
        """A live link synchronizes at every change; changes close to each other go together."""
        live = self.config.live or any(link.peer_live for link in self.downstream)
        if live and self._poked is None and any(change.journal for change in changes):
            self._poked = asyncio.get_running_loop().call_later(limits.LIVE_SECONDS, self._poke)

    def _poke(self) -> None:
        self._poked = None
        if self.config.live:
            self.request_check()
        for link in self.downstream:
            if link.peer_live and link.peer is not None:
                link.request()

    def _note(self, run: Run) -> None:
        if run.ended is not None:
            self.runs += 1
            for direction, moved in (("down", run.down), ("up", run.up)):
                for category, part in moved.items():
                    total = self.totals.setdefault((category, direction), Moved())
                    total.records += part.records
                    total.bytes += part.bytes
                    total.seconds += part.seconds
        for listener in self.on_run:
            listener(run)
