"""A node: one process with one store, one link up and any number of links down."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakSet
from zoneinfo import ZoneInfo

from crdtsync import limits
from crdtsync.errors import (
    BadRequest,
    ChannelClosed,
    CrdtsyncError,
    FieldError,
    LinkBroken,
    UnknownField,
    hint,
)
from crdtsync.node import tracking
from crdtsync.node.admission import Admission
from crdtsync.node.agenda import Agenda
from crdtsync.node.below import Below
from crdtsync.node.beside import Beside
from crdtsync.node.clock import Clock, SystemClock
from crdtsync.node.config import CLOSED
from crdtsync.node.credentials import Credentials
from crdtsync.node.following import Following
from crdtsync.node.history import LINK
from crdtsync.node.incarnation import INCARNATION_NAME, NonceFile, NoncePlace
from crdtsync.node.ledger import Ledger, stop_task
from crdtsync.node.link import Link
from crdtsync.node.network import Network
from crdtsync.node.port import transport_of
from crdtsync.node.resolution import Resolutions
from crdtsync.node.transaction import Transaction, documents_meant, find_rows, only_row
from crdtsync.node.uplink import Uplink
from crdtsync.pendencies.dependents import Address, blockers
from crdtsync.protocol.table import Side
from crdtsync.said import say
from crdtsync.schema import Entity, Kind, Schema, load_installed
from crdtsync.storage.base import PendencyRow, Storage
from crdtsync.storage.sqlite import SqliteStorage
from crdtsync.storage.tables import table_specs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from crdtsync.node.config import NodeConfig
    from crdtsync.node.run import Moved, Run
    from crdtsync.schema import Shape
    from crdtsync.schema.fields import Field
    from crdtsync.schema.values import Wire
    from crdtsync.state.document import Change
    from crdtsync.storage.base import PendencyRow, Storage, View
    from crdtsync.transport.base import Channel, Server, Transport

E = TypeVar("E", bound=Entity)
log = logging.getLogger("crdtsync")


class Node:
    """Use as ``async with Node(config) as node``, once: a node that was closed stays so, the next run takes another.

    ``schema``, ``storage``, ``transport``, ``clock`` and ``dice`` default to the installed adapters, the SQLite file
    in the node's folder, websockets, the machine's clock and random source. ``nonce`` is where a copy of the store is
    recognized by: a file in the node's folder, or nothing when a ``storage`` is given without it. The device's key is a
    file there too; with a ``storage`` it is of this object alone. ``stopped`` says that the node does not run and its store
    is opened only to ask it: the configuration that it would run with, while ``config`` is that without its links.
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
        nonce: NoncePlace | None = None,
        stopped: NodeConfig | None = None,
    ) -> None:
        self.config = config
        self.stopped = stopped
        self.schema = schema or load_installed()
        # A node whose store is given lives in no folder.
        self.credentials = Credentials(config.folder if storage is None else None)
        store = storage or SqliteStorage(config.store_path, table_specs(self.schema))
        if nonce is None and storage is None:
            nonce = NonceFile(config.folder / INCARNATION_NAME)
        beside = Beside(config.folder) if storage is None else None
        clock = clock or SystemClock(ZoneInfo(config.time_zone))
        path = store.path if isinstance(store, SqliteStorage) else ":memory:"
        self.ledger = Ledger(config.identity, self.schema, store, clock, nonce, beside, path)
        self.ledger.copied_by = LINK if config.upstream else None
        self.resolutions = Resolutions(self.ledger, self.transaction)
        self.transport = transport or transport_of(config)
        self.server: Server | None = None
        # In the order of their coming, as a set would not keep it: a simulation must repeat itself.
        self.downstream: dict[Link, None] = {}
        self.admission = Admission(
            self.ledger,
            closed=config.admits == CLOSED,
            links=lambda: self.downstream,
            ready=lambda: self.initial_done or config.upstream is None,
        )
        self.uplink = Uplink(
            config,
            self.ledger,
            self.transport,
            self.credentials,
            dice or random.Random(),  # noqa: S311 - jitter, not secrets
            lambda: list(self.downstream),
        )
        self.agenda = Agenda(self.uplink)
        self.network = Network(self.uplink, lambda: list(self.downstream), self.admission.revoked)
        self._tidier: asyncio.Task[None] | None = None
        self._prober: asyncio.Task[None] | None = None
        self._poked: asyncio.TimerHandle | None = None
        self._poked_at = 0.0
        # One that its program has forgotten leaves by itself.
        self._followings: WeakSet[Following[Any]] = WeakSet()
        self._opened = False
        self._closed = False

    @property
    def upstream(self) -> Link | None:
        """The link to the node above, while there is one."""
        return self.uplink.link

    @property
    def connected(self) -> bool:
        """Whether the node above answers."""
        return self.uplink.connected

    @property
    def trouble(self) -> str | None:
        """What is wrong with the link up, None when nothing is."""
        return self.uplink.trouble

    @property
    def initial_done(self) -> bool:
        """Whether a run of this store was complete once."""
        return self.uplink.initial_done

    @property
    def totals(self) -> dict[tuple[str, str], Moved]:
        """What moved since this program started, by (category, ``down`` or ``up``)."""
        return self.uplink.totals

    @property
    def runs(self) -> int:
        """Complete runs since this program started."""
        return self.uplink.runs

    @property
    def on_run(self) -> list[Callable[[Run], None]]:
        """Called with the run after every step of it."""
        return self.uplink.on_run

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the store, accept nodes below, keep the link to the node above: once.

        Raises:
            BadRequest: it was opened before, or closed; one that could not be opened is closed.
            StoreForeign: another node wrote the store.
            StorageError: the store cannot be opened.
            TransportError: the port cannot be listened on.
        """
        if self._closed:
            raise BadRequest(say("this node was closed; make another one of the same configuration"))
        if self._opened:
            raise BadRequest(say("this node was opened before; open a node once"))
        self._opened = True
        try:
            await self.ledger.open()
            await self.admission.open()
            await self.uplink.open()
            self.ledger.on_change.append(self._changed)
            self.ledger.on_change.append(self.network.changed)
            if self.config.listens:
                self.server = await self.transport.serve(self.config.host, self.config.port, self._serve)
        except BaseException:
            self._closed = True
            self._end_followings()
            await self.uplink.close()
            await self.ledger.close()
            raise
        self._tidier = asyncio.create_task(self._tidy_routinely(), name="tidy")
        self._prober = asyncio.create_task(self._try_refused_store(), name="try store")

    async def close(self) -> None:
        """End links, finish what is queued, close the store: each of them, also when one before it fails."""
        self._closed = True
        async with AsyncExitStack() as last_first:
            last_first.callback(self._end_followings)
            last_first.push_async_callback(self.ledger.close)
            if self.server is not None:
                last_first.push_async_callback(self.server.close)
            last_first.push_async_callback(self.uplink.close)
            for task in (self._prober, self._tidier):
                last_first.push_async_callback(stop_task, task)

    # -- reading and writing -----------------------------------------------------------------------------------

    def transaction(self, actor: str = "") -> Transaction:
        """Return a transaction over any categories; ``actor`` names who writes.

        Raises:
            FieldError: the actor is no text, or longer than `limits.ACTOR_CHARS_MAX`.
        """
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

        Keys, registers, facts and the balance of a counter may be asked for; a set may not. ``in_store`` or ``doc`` leaves
        out those of other stores or documents.

        Raises:
            FieldError: an unknown field, one that cannot be asked for, or a value that it never has.
        """
        shape = entity.__shape__
        only_key: str | None = None
        asked: list[tuple[Field[Any], Wire]] = []
        for name, value in equals.items():
            field = _asked_field(shape, name)
            if field.kind is Kind.KEY and len(shape.keys) == 1:
                only_key = shape.key_text({name: value})
            else:
                asked.append((field, field.to_wire(value)))
        where = {field.column: wire for field, wire in asked}

        def select(view: View) -> list[tuple[Any, ...]]:
            if only_key is not None:
                # It has no column of its own; each document has one record with it at most.
                named = find_rows(view, shape, only_key, in_store, doc)
                visible = (row for row in named if not row[-2])
                return [row for row in visible if all(row[field.place] == wire for field, wire in asked)][
                    :limit
                ]
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
        """Return pendencies, the gravest first, open ones unless `status` says otherwise (None: all).

        Filters: rule, category, owner, severity, status ("open", "decided"), after (severity and id of
        the last row of the page before), limit.
        """
        asked = {"status": "open", **filters}
        return await self.ledger.storage.read(lambda view: view.pendencies(**asked))

    async def pendency(self, pendency: str) -> PendencyRow | None:
        """Return one pendency, open or decided, None when there is none."""
        return await self.ledger.storage.read(lambda view: view.pendency(pendency))

    async def waits_for(
        self, entity: type[Entity], key: str, *, in_store: str | None = None, doc: str | None = None
    ) -> list[str]:
        """Return the ids of the open B pendencies that a record waits for, because of what it refers to.

        Raises:
            RecordAmbiguous: several documents have the key and neither ``in_store`` nor ``doc`` tells which.
        """
        shape, book = entity.__shape__, self.ledger.rule_book

        def read(view: View) -> list[str]:
            row = only_row(shape, key, find_rows(view, shape, key, in_store, doc))
            return [] if row is None else [one.id for one in blockers(book, view, Address(row[0], key))]

        return await self.ledger.storage.read(read)

    async def resolve(
        self, pendency: str, option: str, *, why: str, person: str, values: Mapping[str, str] | None = None
    ) -> str:
        """Choose an option of a pendency; see `Resolutions.resolve`."""
        return await self.resolutions.resolve(pendency, option, why=why, person=person, values=values)

    async def undo(self, decision: str, *, why: str, person: str) -> str:
        """Withdraw a decision; see `Resolutions.undo`."""
        return await self.resolutions.undo(decision, why=why, person=person)

    async def load(
        self, entity: type[Entity], records: Iterable[Mapping[str, Any]], actor: str = "import"
    ) -> int:
        """Create many records in batches of `limits.ROWS_PER_BATCH`; return how many. Each batch is a transaction of its own.

        One is durable before the next begins: when a record is refused, whatever the reason, the whole batches before its
        own are written, and nothing of its own and after it.

        Raises:
            FieldError, CheckFailed, RecordExists, TransactionTooLarge, StorageError: see above.
        """
        written = 0
        transaction = Transaction(self.ledger, actor)
        before: asyncio.Task[None] | None = None
        try:
            for values in records:
                transaction.create(entity, **values)
                written += 1
                if written % limits.ROWS_PER_BATCH == 0:
                    # While the disk works on one, the next is made.
                    if before is not None:
                        await before
                    before = asyncio.create_task(transaction.commit())
                    await asyncio.sleep(0)
                    transaction = Transaction(self.ledger, actor)
        finally:
            if before is not None:
                await before
        await transaction.commit()
        return written

    def changes(self, entity: type[E]) -> Following[E]:
        """Return the records of a category as they change from now on, deleted ones included: ``async for`` gives them.

        It ends when the node is closed, after what was written until then, or with ``aclose``.
        """
        following = Following(entity)
        if self._closed:
            following.end()
        else:
            self._followings.add(following)
        return following

    def _end_followings(self) -> None:
        for following in self._followings:
            following.end()

    # -- links -------------------------------------------------------------------------------------------------

    def request_check(self) -> bool:
        """Check with the upstream now, or try to connect now, for a program; tell whether there is a link.

        A person's *Sincronizar agora* is ``sync``.
        """
        return self.uplink.request()

    async def sync(self, *, wait: bool = False, first: str | None = None) -> dict[str, Any]:
        """*Sincronizar agora*, for a person. This and the methods below answer as ``docs/synchronization.md`` lists."""
        return await tracking.sync(self, {"wait": wait, "first": first})

    async def queue(self) -> dict[str, Any]:
        """*Próximas sincronizações*: what waits, by category."""
        return await tracking.queue(self, {})

    async def queue_records(self, **page: Any) -> dict[str, Any]:
        """A page of the records that wait (``category``, ``direction``, ``limit``, ``after``)."""
        return await tracking.queue_records(self, page)

    async def history(self, **page: Any) -> dict[str, Any]:
        """*Histórico de sincronizações* (``days``, ``limit``, ``before``)."""
        return await tracking.history(self, page)

    async def alerts(self) -> dict[str, Any]:
        """What a person should know of this machine and its links."""
        return await tracking.alerts(self, {})

    async def pause(self, category: str | None = None) -> dict[str, Any]:
        """Let a category, or the whole link, stand still; local capture goes on."""
        return await tracking.pause(self, {"category": category})

    async def resume(self, category: str | None = None) -> dict[str, Any]:
        """Undo ``pause``; with no category, also try a failed link again."""
        return await tracking.resume(self, {"category": category})

    async def first(self, category: str | None) -> dict[str, Any]:
        """Let a category go first, as far as what it refers to allows; None takes it back."""
        return await tracking.first(self, {"category": category})

    async def waiting(self) -> dict[str, int]:
        """Return the exact number of records per category that the upstream has not acknowledged."""
        return await self.uplink.waiting()

    async def _serve(self, channel: Channel) -> None:
        link = Link(
            self.ledger,
            channel,
            Side.UP,
            live=self.config.live,
            observer=Below(self.uplink, self.network),
            admission=self.admission,
            upstream_first=lambda: not self.uplink.heard,
        )
        self.downstream[link] = None
        log.info("link below from %s begins", channel.peer)
        replica = self.ledger.replica
        try:
            await link.run()
        except (LinkBroken, ChannelClosed) as reason:
            self.network.broke(link, reason)
            log.info("link below %s ended: %s", link.peer.device if link.peer else channel.peer, reason)
        except Exception:
            # A fault met while one lane is served is told with its trace and ends that link; the other lanes go on.
            log.exception("link below %s failed", link.peer.device if link.peer else channel.peer)
        finally:
            self.uplink.note_heard(link)
            self.downstream.pop(link, None)
            await self.uplink.reintroduce(replica)

    async def _tidy_routinely(self) -> None:
        while True:
            # An idle node has nothing to tidy, and is not woken for it.
            await self.ledger.in_use.wait()
            await asyncio.sleep(limits.TIDY_SECONDS)
            try:
                await self.ledger.look_again()
                await self.ledger.tidying.tidy(copied_soon=self.config.live and self.connected)
            except CrdtsyncError:
                # Nothing is lost: the store holds what it held, and the next round tries again.
                log.exception("%s: tidying failed", self.config.device)

    async def _try_refused_store(self) -> None:
        """While the disk refuses nobody may sell, so nobody would notice that it takes writes again: this does."""
        store = self.ledger.storage
        while True:
            await store.refused.wait()
            if store.refusal is None:
                # Another write went through before this had its turn.
                continue
            log.error("%s: %s", self.config.device, store.refusal.why)
            while store.refused.is_set():
                await asyncio.sleep(limits.STORE_RETRY_SECONDS)
                if store.refused.is_set():
                    await self.ledger.try_store()
            log.warning("%s: the store takes writes again", self.config.device)
            # What was refused from the node above waits for its next call.
            self.uplink.request()

    def _changed(self, changes: list[Change]) -> None:
        """A live link synchronizes at every change: one after a quiet moment at once, those that follow it together."""
        # To go through a set of weak references takes longer than to see that it is empty.
        if self._followings:
            for following in self._followings:
                following.take(changes)
        live = self.config.live or any(link.peer_live for link in self.downstream)
        if live and self._poked is None and any(change.journal for change in changes):
            self._poked = asyncio.get_running_loop().call_at(self._poked_at + limits.LIVE_SECONDS, self._poke)

    def _poke(self) -> None:
        self._poked, self._poked_at = None, asyncio.get_running_loop().time()
        if self.config.live:
            self.uplink.change()
        for link in self.downstream:
            if link.peer_live:
                link.poke()


def _asked_field(shape: Shape, name: str) -> Field[Any]:
    """Return a field that records may be asked for by. Raises FieldError."""
    fields = {field.name: field for field in shape.keys} | shape.fields
    if name not in fields:
        raise UnknownField(shape.category, name, hint(name, fields))
    if fields[name].kind is Kind.SET:
        raise FieldError(
            shape.category,
            name,
            say("is a set, which find does not search: look for the element in the records"),
        )
    return fields[name]
