"""A link: one session over one channel, served from the ledger. The same class at both ends.

The downstream end starts every run: check, plan, download, fence, upload. The upstream end answers, and refuses what
the order or the rights do not allow. A link keeps no state that a reconnection needs: what was received is durable, so
the next handshake goes on where this one stopped. Only of a document in doubt is it kept here, and sent again if the link ends first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from crdtsync import limits
from crdtsync.errors import (
    ChannelClosed,
    CompactionLoss,
    CrdtsyncError,
    DocumentQuarantined,
    Fork,
    LinkBroken,
    StorageError,
    UpdateGap,
)
from crdtsync.node.branches import Branches
from crdtsync.node.history import LINK
from crdtsync.node.ledger import Diff
from crdtsync.node.pace import Pace
from crdtsync.node.recovery import Recovery, written_again
from crdtsync.node.run import Moved, Observer, Run
from crdtsync.node.schedule import Trigger
from crdtsync.pendencies.evaluate import Origin
from crdtsync.protocol.session import PROTOCOL, Broken, Received, Session
from crdtsync.protocol.table import REFUSALS, Kind, Side, State
from crdtsync.schema import Identity, Role
from crdtsync.schema.fields import DELETION
from crdtsync.state.ceilings import FIELD as CEILINGS_FIELD
from crdtsync.state.update import write_update
from crdtsync.storage.base import Commit, ReplicaRow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from crdtsync.node.admission import Admission
    from crdtsync.node.credentials import Credentials
    from crdtsync.node.ledger import Ledger, Vectors
    from crdtsync.transport.base import Channel

_UPSTREAM_OF = {Role.LOJA: Role.GESTAO, Role.CAIXA: Role.LOJA}
log = logging.getLogger("crdtsync")
SOFTWARE = "crdtsync 0.1.0"


class Link:
    """See the module.

    ``credentials`` are what the lower end proves itself with, ``admission`` is who the upper end lets in. ``observer`` is
    told what happens; ``heard_ms`` is when the peer last said anything. ``upstream_first`` tells that a doubt about an own
    log must wait until the upstream was heard.
    """

    def __init__(
        self,
        ledger: Ledger,
        channel: Channel,
        side: Side,
        *,
        live: bool = False,
        observer: Observer | None = None,
        credentials: Credentials | None = None,
        admission: Admission | None = None,
        upstream_first: Callable[[], bool] = lambda: False,
    ) -> None:
        self.ledger = ledger
        self.channel = channel
        self.side = side
        self.live = live
        self._credentials = credentials
        self._admission = admission
        self._nonce = b""
        self.key = b""
        """The public key that the peer below proved to have."""
        self._upstream_first = upstream_first
        self._branches = Branches(ledger)
        self.peer: Identity | None = None
        self.peer_live = False
        self.software: str | None = None
        self.run_now: Run | None = None
        self.run_id: int | None = None
        self.runs_ended = 0
        self.heard_ms = ledger.clock.now_ms()
        self.trigger = Trigger.ROUTINE
        self._observer = observer or Observer()
        self._first: str | None = None
        self._order = self._ranks(None)
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self.session = Session(side, self._now(), self._order[Side.UP], self._order[Side.DOWN])
        self.incompatible: dict[str, str] = {}
        self.skew_ms = 0
        self._clock_ran_ahead = False
        self._shared: set[str] = set()
        self._absent: frozenset[str] = frozenset()
        self._held: frozenset[str] = frozenset()
        # Documents in quarantine at the node above, as it said last.
        self._apart: frozenset[str] = frozenset()
        self._pace: Pace | None = None
        self._rate: int | None = None
        self._flying: dict[int, tuple[str, dict[int, int]]] = {}
        # Documents that a run named at the lower end, and those of which the peer holds everything but the closed cut.
        self._named: set[str] = set()
        self._cuts: set[str] = set()
        # Of the lower end: documents of which the node above asks for its own log back.
        self._asked_back: set[str] = set()
        self._patience: asyncio.Timeout | None = None
        self._allowed: set[int] = set()
        self._theirs: Vectors = {}
        self._baseline: Vectors = {}
        # Of the upper end: what both held when heads were compared last, but for the documents that differed then.
        self._agreed: Vectors | None = None
        self._room = asyncio.Event()
        self._sending = asyncio.Lock()
        self._want_check = asyncio.Event()
        self._idle = asyncio.Event()
        self.greeted = False
        self._tasks: dict[asyncio.Task[None], None] = {}

    def acknowledged(self) -> list[tuple[str, int, int]]:
        """Return (document, replica, sequence) of what this end may send and the peer is known to hold too."""
        sendable = self._sendable()
        found: list[tuple[str, int, int]] = []
        for doc, theirs in self._theirs.items():
            if doc in self._asked_back:
                # What this end sends of it is not stored there yet.
                continue
            mine = self.ledger.heads.get(doc, {})
            # What the peer holds of a log in doubt is not known to be what is held here.
            doubtful = self._branches.doubts.get(doc, ())
            for replica, (seq, _) in theirs.items():
                head = mine.get(replica)
                if head is not None and replica in sendable and replica not in doubtful:
                    found.append((doc, replica, min(seq, head.seq)))
        return found

    @property
    def shared(self) -> AbstractSet[str]:
        """The categories that both ends have in the same form."""
        return self._shared

    def lags(self, fresh: Iterable[str]) -> bool | None:
        """Tell whether the peer below lacks anything; None before heads were compared. See ``lacking``; no store is read."""
        found = self._known_below(fresh)
        return None if found is None else any(self.ledger.behind(doc, held) for doc, held in found.items())

    async def lacking(self, fresh: Iterable[str]) -> dict[str, int] | None:
        """Return how many records by category the peer below is not known to hold; None before heads were compared.

        ``fresh`` names the documents that were written since. It is answered after the link ended, too.
        """
        found = self._known_below(fresh)
        return None if found is None else await self.ledger.missing(found, found)

    def _known_below(self, fresh: Iterable[str]) -> Vectors | None:
        """Return what the peer below is known to hold of the documents that it is to hold."""
        peer = self.peer
        if peer is None or self._agreed is None:
            return None
        known = {doc: dict(heads) for doc, heads in self._agreed.items()}
        for doc, theirs in self._theirs.items():
            heads = known.setdefault(doc, {})
            for replica, head in theirs.items():
                heads[replica] = max(head, heads.get(replica, (0, b"")))
        docs = dict.fromkeys([*known, *fresh])
        return {
            doc: known.get(doc, {})
            for doc in docs
            if doc.partition("/")[0] in self._shared and self.ledger.held_by(peer, doc)
        }

    @property
    def busy(self) -> bool:
        """Whether a check or a run is wanted or going on."""
        return self._want_check.is_set() or self.session.state is not State.IDLE

    def _ranks(self, first: str | None) -> dict[Side, dict[str, int]]:
        schema = self.ledger.schema
        return {
            Side.UP: {name: i for i, name in enumerate(schema.order("download", first))},
            Side.DOWN: {name: i for i, name in enumerate(schema.order("upload", first))},
        }

    def _reorder(self, first: str | None) -> None:
        if first != self._first:
            self._first = first
            self._order = self._ranks(first)
            self.session.reorder(self._order[Side.UP], self._order[Side.DOWN])

    # -- life --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Talk until the channel closes.

        Raises:
            LinkBroken: the peer refused, or broke the protocol.
            ChannelClosed: the connection is gone.
        """
        try:
            if self.side is Side.DOWN:
                self.spawn(self._check_when_wanted)
            else:
                self._nonce = self.ledger.clock.random_bytes(limits.NONCE_BYTES)
                await self._send(Kind.CHALLENGE, protocol=PROTOCOL, nonce=self._nonce)
            while True:
                await self._step()
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._branches.let_go()
            await self.channel.close()

    def check(
        self,
        trigger: Trigger,
        *,
        held: Collection[str] = (),
        first: str | None = None,
        rate: int | None = None,
    ) -> None:
        """Compare heads as soon as the link is idle, and run if they differ.

        ``held`` categories stay out of it, ``first`` goes as early as it can, ``rate`` limits either end (bytes/s).
        """
        self.trigger = trigger
        self._held = frozenset(held)
        self._rate = rate
        self._reorder(first)
        self._want_check.set()

    def poke(self) -> None:
        """Upstream: ask the downstream to compare heads; nothing, when the conversation is over."""
        if self.greeted and self.session.state is not State.CLOSED:
            self.spawn(self._send, Kind.POKE)

    async def leave(self, why: str) -> None:
        """Say goodbye and hang up; the peer may be called again."""
        await self._hang_up(partial(self.session.bye, why))

    async def dismiss(self, code: str, why: str) -> None:
        """Take nothing more from the peer from now on, tell it why, and hang up."""
        await self._hang_up(partial(self.session.refuse, code, why))

    async def _hang_up(self, say_why: Callable[[], None]) -> None:
        """End the conversation with a last word, whether or not the peer listens."""
        with contextlib.suppress(CrdtsyncError):
            say_why()
        with contextlib.suppress(ChannelClosed, TimeoutError):
            async with asyncio.timeout(limits.CLOSE_SECONDS_MAX):
                await self._flush()
        await self.channel.close()

    @property
    def held(self) -> frozenset[str]:
        """The categories and documents that stay out of the check or run that is going on."""
        return self._held | self._apart

    def ask(self) -> None:
        """Downstream: ask the node above to synchronize with the one above it."""
        self.spawn(self._send, Kind.ASK)

    def answer(self, *, accepted: bool, reason: str | None, wait_ms: int | None) -> None:
        """Upstream: answer what was asked."""
        answer = {"accepted": accepted, "reason": reason, "wait_ms": wait_ms}
        self.spawn(partial(self._send, Kind.ANSWER, **answer))

    async def _step(self) -> None:
        deadline = self.session.deadline()
        try:
            # Not wait_for: in Python 3.11 it forgets a cancellation that comes together with the channel's end.
            async with asyncio.timeout_at(deadline) as self._patience:
                message = await self.channel.receive()
        except TimeoutError:
            events = self.session.tick(self._now())
        else:
            self.heard_ms = self.ledger.clock.now_ms()
            events = self.session.receive(message, self._now())
        finally:
            self._patience = None
        for event in events:
            if isinstance(event, Broken):
                with contextlib.suppress(ChannelClosed):
                    await self._flush()
                raise LinkBroken(event.code, event.message, terminal=event.terminal)
            await self._handle(event)

    async def _handle(self, event: Received) -> None:
        handler: Callable[[dict[str, Any]], Awaitable[None]] = getattr(self, f"_on_{event.kind.value}")
        try:
            await handler(event.payload)
        except (Fork, CompactionLoss) as error:
            # A log that the node above asks back must be named to it, or it would not look for it.
            if self.side is Side.DOWN and error.doc not in self._asked_back:
                self._doubt_fork(error)
            await self._refuse("fork", str(error), terminal=False)
        except (UpdateGap, StorageError, DocumentQuarantined) as error:
            code = "gap" if isinstance(error, UpdateGap) else "store"
            await self._refuse(code, str(error), terminal=False)
        except (LinkBroken, ChannelClosed):
            raise
        except CrdtsyncError as error:
            await self._refuse("invalid", str(error), terminal=False)

    async def _refuse(self, code: str, message: str, *, terminal: bool) -> None:
        self.session.refuse(code, message, terminal=terminal)
        with contextlib.suppress(ChannelClosed):
            await self._flush()
        raise LinkBroken(code, message, terminal=terminal)

    async def _refuse_for(self, refusal: tuple[str, str] | None) -> None:
        if refusal is not None:
            code, message = refusal
            await self._refuse(code, message, terminal=REFUSALS[code].terminal)

    async def _send(self, kind: Kind, **payload: Any) -> None:
        self.session.send(kind, **payload)
        await self._flush()

    async def _flush(self) -> None:
        # One at a time: frames that two tasks took must not overtake each other on the way.
        async with self._sending:
            for frame in self.session.take_outgoing():
                await self.channel.send(frame)
        # A task beside the wait for the next message may have made the peer owe an answer.
        wait = self._patience
        if wait is not None and wait.when() is None and self.session.deadline() is not None:
            wait.reschedule(self._now())

    def spawn(self, work: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run beside the conversation; what fails ends it, and the end of it cancels what runs."""

        async def guarded() -> None:
            try:
                await work(*args)
            except ChannelClosed:
                await self.channel.close()
            except CrdtsyncError as problem:
                log.warning("link with %s ends: %s", self.channel.peer, problem)
                await self.channel.close()
            except Exception:
                # Nobody awaits this task: without a word here the fault would be unseen and the peer would wait for ever.
                log.exception("link with %s fails", self.channel.peer)
                await self.channel.close()

        task = asyncio.create_task(guarded())
        self._tasks[task] = None
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))

    # -- greeting ----------------------------------------------------------------------------------------------

    def _identity(self) -> dict[str, Any]:
        me = self.ledger.identity
        return {
            "protocol": PROTOCOL,
            "device": me.device,
            "role": me.role.value,
            "account": me.account,
            "store": me.store,
            "replica": self.ledger.replica,
            "categories": self.ledger.schema.categories(),
            # Up goes what the machine says, so that a wrong clock is seen there; down goes the corrected time.
            "clock_ms": self.ledger.clock.now_ms() if self.side is Side.DOWN else self.ledger.now_ms(),
            "software": SOFTWARE,
            "live": self.live,
        }

    def _vouched(self) -> list[list[Any]]:
        """Say whose logs this end may bring: its own, those below it, and those that the upstream may have lost."""
        own, upstream = self.ledger.identity, self.peer.device if self.peer else None
        return [
            [row.replica, row.device, row.role, row.store]
            for row in self.ledger.registry.values()
            if row.device in {own.device, upstream} or (own.role is Role.LOJA and row.role != Role.GESTAO)
        ]

    def _sendable(self) -> set[int]:
        return {entry[0] for entry in self._vouched()}

    async def _on_challenge(self, challenge: dict[str, Any]) -> None:
        assert self._credentials is not None
        hello = self._identity()
        proof = self._credentials.prove(hello, challenge["nonce"], self.channel.binding)
        await self._send(Kind.HELLO, **hello, **proof)

    async def _on_hello(self, hello: dict[str, Any]) -> None:
        assert self._admission is not None
        # First of all: a stranger is told nothing about this node.
        await self._refuse_for(await self._admission.identify(hello, self._nonce, self.channel.binding))
        self.key = hello["key"]
        await self._meet(hello, upstream=False)
        self.skew_ms = hello["clock_ms"] - self.ledger.now_ms()
        await self._refuse_for(await self._admission.hinder(self) or self._observer.meets(self))
        own = (hello["replica"], hello["device"], hello["role"], hello["store"])
        await self._admit([own])
        await self._send(Kind.WELCOME, **self._identity())
        self.greeted = True
        self._observer.greeted(self)

    async def _admit(self, rows: list[tuple[Any, ...]]) -> None:
        """Register the replicas that the peer says are its own or below it, and let it bring their logs."""
        assert self.peer is not None
        fresh: list[ReplicaRow] = []
        for replica, device, role, store in rows:
            known = self.ledger.registry.get(replica)
            if known is not None and (known.device, known.role, known.store) != (device, role, store):
                # Its rights are those that it was registered with, whoever speaks for it now.
                whose = f"{known.device}, a {known.role} of {known.store}"
                await self._refuse("not_allowed", f"replica {replica:x} belongs to {whose}", terminal=True)
            me = self.ledger.identity
            alone = self.peer.role is Role.CAIXA and device != self.peer.device
            if device == me.device:
                # A log of this very node, which it may have lost: it is given back.
                refused = (role, store) != (me.role, me.store)
            else:
                refused = alone or store != self.peer.store or role not in {Role.LOJA, Role.CAIXA}
            if refused:
                await self._refuse(
                    "not_allowed", f"{self.peer.device} may not speak for {device}", terminal=True
                )
            if known is None and device == me.device:
                await self._refuse_claim()
            if known is None:
                fresh.append(ReplicaRow(replica, device, role, store, self.peer.account))
            self._allowed.add(replica)
        if fresh:
            await self._bound_registry(fresh)
            await self.ledger.commit(Commit(replicas=fresh))

    async def _bound_registry(self, fresh: list[ReplicaRow]) -> None:
        """Take no more replicas than a device has need of, nor more of a store than its node can name in one frame."""
        rows = [*self.ledger.registry.values(), *fresh]
        devices = Counter(row.device for row in rows)
        crowded = [row.device for row in fresh if devices[row.device] > limits.REPLICAS_PER_DEVICE_MAX]
        assert self.peer is not None
        of_store = sum(row.store == self.peer.store for row in rows)
        if crowded or of_store > limits.VECTOR_ENTRIES_MAX:
            most = limits.REPLICAS_PER_DEVICE_MAX if crowded else limits.VECTOR_ENTRIES_MAX
            whose = crowded[0] if crowded else f"store {self.peer.store}"
            await self._refuse(
                "not_allowed", f"{whose} may not have more than {most} replicas", terminal=True
            )

    async def _on_welcome(self, welcome: dict[str, Any]) -> None:
        await self._meet(welcome, upstream=True)
        await self.ledger.follow_clock(welcome["clock_ms"])
        if welcome["replica"] not in self.ledger.registry:
            # Should the upstream lose its store, this node can say whose log it gives back.
            row = ReplicaRow(*(welcome[name] for name in ("replica", "device", "role", "store", "account")))
            await self.ledger.commit(Commit(replicas=[row]))
        self._idle.set()
        self.greeted = True
        self._observer.greeted(self)

    async def _meet(self, who: dict[str, Any], *, upstream: bool) -> None:
        me = self.ledger.identity
        if who["device"] == me.device:
            text = f"two nodes call themselves {me.device}; give one of them another name in its node.toml"
            await self._refuse("not_allowed", text, terminal=True)
        if who["account"] != me.account:
            await self._refuse("wrong_account", f"{who['device']} belongs to another account", terminal=True)
        try:
            role = Role(who["role"])
        except ValueError:
            await self._refuse("wrong_role", f"unknown role {who['role']!r}", terminal=True)
            return
        below, above = (me.role, role) if upstream else (role, me.role)
        if _UPSTREAM_OF.get(below) is not above:
            await self._refuse("wrong_role", f"a {below} does not synchronize with a {above}", terminal=True)
        if role is Role.CAIXA and who["store"] != me.store:
            await self._refuse(
                "wrong_store", f"{who['device']} belongs to store {who['store']}", terminal=True
            )
        self.peer = Identity(who["device"], role, who["account"], who["store"])
        self.peer_live = who["live"]
        self.software = who["software"]
        schema = self.ledger.schema
        self.incompatible = schema.incompatible(who["categories"])
        self._shared = (schema.shapes.keys() & who["categories"].keys()) - self.incompatible.keys()
        self._absent = frozenset(schema.shapes) - self._shared
        for name, reason in sorted(self.incompatible.items()):
            log.warning(
                "%s: %s has an incompatible version (%s) and it does not synchronize; install the same version of its "
                "adapter on both; the other categories go on",
                name,
                who["device"],
                reason,
            )

    # -- a run -------------------------------------------------------------------------------------------------

    def _scope(self) -> list[str]:
        assert self.peer is not None
        open_now = self._shared - self._held
        apart = self._held | self._apart
        return [
            doc
            for doc in self.ledger.scope(self.peer)
            if doc.partition("/")[0] in open_now and doc not in apart
        ]

    async def _check_when_wanted(self) -> None:
        while True:
            await self._want_check.wait()
            while self.session.state is not State.IDLE:
                self._idle.clear()
                await self._idle.wait()
            self._want_check.clear()
            self._held |= self.ledger.quarantine.held.keys()
            scope = self._scope()
            self._baseline = self.ledger.vectors(scope)
            self._pace = Pace(self._rate) if self._rate else None
            await self._send(
                Kind.CHECK,
                digest=self.ledger.digest(scope),
                held=sorted(self._held),
                first=self._first,
                rate=self._rate,
            )

    async def _on_check(self, check: dict[str, Any]) -> None:
        self._held = frozenset(check["held"])
        self._pace = Pace(check["rate"]) if check["rate"] else None
        self._reorder(check["first"])
        scope = self._scope()
        self._baseline = self.ledger.vectors(scope)
        if check["digest"] == self.ledger.digest(scope):
            self._agreed = {**self._known_then(), **self._baseline}
            await self._send(Kind.EVEN)
            await self._finish_run()
        else:
            docs = {doc: self.ledger.digest_of(doc) for doc in scope}
            peer = self.peer
            assert peer is not None
            held = [doc for doc in sorted(self.ledger.quarantine.held) if self.ledger.may_hold(peer, doc)]
            await self._send(Kind.DIGESTS, docs=docs, held=held)

    async def _on_even(self, _: dict[str, Any]) -> None:
        self._theirs = self._baseline
        await self._finish_run()

    async def _on_digests(self, digests: dict[str, Any]) -> None:
        theirs: dict[str, bytes] = digests["docs"]
        self._apart = frozenset(digests["held"])
        docs = dict.fromkeys([*self._scope(), *sorted(theirs)])
        behind = {doc for doc in self.ledger.lagging(self._scope()) if doc in theirs}
        docs = dict.fromkeys(
            doc for doc in docs if self.ledger.digest_of(doc) != theirs.get(doc) or doc in behind
        )
        self._named = {*docs}
        self.run_now = Run(self._now(), self.trigger)
        doubts = {doc: set(replicas) for doc, replicas in self.ledger.doubts.items() if doc in docs}
        for doc, logs in self.ledger.quarantine.salvaged.items():
            if doc in docs:
                doubts.setdefault(doc, set()).update(logs)
        self._branches.doubt(doubts)
        self.ledger.doubts.clear()
        await self._send(Kind.HEADS, docs=_wire(self._told(docs)), vouched=self._vouched())

    async def _on_heads(self, heads: dict[str, Any]) -> None:
        await self._admit([tuple(row) for row in heads["vouched"]])
        assert self.peer is not None
        # What the peer may not hold is not told to it, whatever it asks for.
        named, known = _vectors(heads["docs"]), self._known_then()
        self._theirs = {doc: held for doc, held in named.items() if self.ledger.may_hold(self.peer, doc)}
        even = {doc: held for doc, held in self._baseline.items() if doc not in self._theirs}
        self._agreed = {**known, **even}
        docs = [doc for doc in self._theirs if doc.partition("/")[0] in self._shared]
        await self._doubt_own(docs)
        held = self.ledger.vectors(docs)
        # Both hold all of it: the peer asks how much of it was seen, and so does this end for what it names besides.
        self._cuts = {doc for doc in docs if held[doc] == self._theirs[doc]}
        # Of those nothing is sent, so that what came since is not of this plan.
        behind = {doc: even[doc] for doc in self.ledger.lagging(even)}
        told = self._told(docs)
        # What was written beside a branch that is not one yet is not sent, nor promised: the peer holds the other one.
        back = {replica for replicas in self._branches.doubts.values() for replica in replicas}
        apart = [doc for doc in docs if any(held[doc].get(r) != self._theirs[doc].get(r) for r in back)]
        ready = [doc for doc in docs if doc not in apart]
        for doc in apart:
            told[doc] = await self._common(doc, told[doc])
        counts = await self.ledger.missing(self._theirs, ready)
        self.run_now = Run(self._now())
        self.run_now.down = {name: Moved(total=count) for name, count in counts.items()}
        await self._send(Kind.PLAN, docs=_wire({**told, **behind}), counts=counts)
        self.spawn(self._transfer, ready)

    async def _common(self, doc: str, mine: Mapping[int, tuple[int, bytes]]) -> dict[int, tuple[int, bytes]]:
        """Return what of these heads the peer below holds too; a log that went on otherwise there keeps its head."""
        common: dict[int, tuple[int, bytes]] = {}
        for replica in mine.keys() & self._theirs[doc].keys():
            held, theirs = mine[replica], self._theirs[doc][replica]
            longer = held[0] > theirs[0]
            same = longer and await self.ledger.is_on_chain(doc, replica, *theirs) is not False
            common[replica] = theirs if same else held
        return common

    def _known_then(self) -> Vectors:
        """Return what was known of the peer below until now: a check says nothing of documents that it holds back."""
        return {**(self._agreed or {}), **self._theirs}

    def _told(self, docs: Iterable[str]) -> Vectors:
        """Return the heads here without the logs in doubt: the peer sends those from their first element."""
        vectors = self.ledger.vectors(docs)
        for doc, replicas in self._branches.doubts.items():
            vectors[doc] = {r: head for r, head in vectors[doc].items() if r not in replicas}
        return vectors

    async def _doubt_own(self, docs: list[str]) -> None:
        """Find this node's logs of which the peer below holds more, or something else: this store was restored."""
        doubts: dict[str, set[int]] = {}
        ledger = self.ledger
        settled: list[tuple[str, int]] = []
        for doc in docs:
            for replica, (_, chain) in sorted(self._theirs[doc].items()):
                row = ledger.registry.get(replica)
                if row is None or row.device != ledger.identity.device:
                    continue
                if chain in ledger.examined:
                    settled.append((doc, replica))
                elif await self._is_elsewhere(doc, replica):
                    again = await ledger.storage.read(partial(written_again, doc=doc, replica=replica))
                    if chain in again:
                        settled.append((doc, replica))
                    else:
                        doubts.setdefault(doc, set()).add(replica)
        # A transaction is settled over all its documents: beside what another peer had, this one may have the rest.
        suspect = {replica for replicas in doubts.values() for replica in replicas}
        for doc, replica in settled:
            if replica in suspect and await self._is_elsewhere(doc, replica):
                doubts.setdefault(doc, set()).add(replica)
        if doubts and self._upstream_first():
            name = ledger.identity.device
            text = f"{name} was restored and waits for its upstream, which may know what it lost"
            await self._refuse("too_busy", text, terminal=False)
        if doubts:
            await self._refuse_claim()
        self._branches.doubt(doubts)

    async def _is_elsewhere(self, doc: str, replica: int) -> bool:
        """Tell whether the peer holds what this log does not."""
        ledger, (seq, chain) = self.ledger, self._theirs[doc][replica]
        head = ledger.heads.get(doc, {}).get(replica)
        held = head is not None and seq <= head.seq
        return not held or await ledger.is_on_chain(doc, replica, seq, chain) is False

    async def _on_plan(self, plan: dict[str, Any]) -> None:
        vectors = _vectors(plan["docs"])
        doubts = await self._find_doubts(vectors)
        if doubts:
            # The next run asks for those logs from their first element.
            self.ledger.doubts = doubts
            text = "a log here is not the one that the upstream holds; they are brought together"
            await self._refuse("fork", text, terminal=False)
        self._theirs = {**self._baseline, **vectors}
        self._asked_back = {doc for doc, heads in vectors.items() if self._logs_of_peer(doc) - heads.keys()}
        # The node above sends nothing of those now, and what is in doubt here of them is found again when it does.
        self._branches.doubt(
            {d: logs for d, logs in self._branches.doubts.items() if d not in self._asked_back}
        )
        self._cuts = vectors.keys() - self._named
        run = self._running
        run.down = {name: Moved(total=count) for name, count in plan["counts"].items()}
        # What this end will send is known only at the fence: more may be written, or come from below, until then.
        lacking = [doc for doc in self._scope() if self._lacks(doc)]
        counts = await self.ledger.missing(self._theirs, lacking)
        run.up = {name: Moved(total=count) for name, count in counts.items()}
        await self._observer.began(self, run)
        self._observer.moved(run)

    def _logs_of_peer(self, doc: str) -> set[int]:
        """Return which logs of a document here the peer itself may have written, in an incarnation that is not known here too."""
        assert self.peer is not None
        registry = self.ledger.registry
        return {
            replica
            for replica, head in self.ledger.heads.get(doc, {}).items()
            if head.seq and (replica not in registry or registry[replica].device == self.peer.device)
        }

    async def _refuse_claim(self) -> None:
        assert self.peer is not None
        assert self._admission is not None
        await self._refuse_for(self._admission.refuse_claim(self.peer.device))

    async def _find_doubts(self, vectors: Vectors) -> dict[str, set[int]]:
        """Find the logs that are not a part, or a continuation, of what the upstream holds."""
        ledger, known = self.ledger, self._branches.doubts
        doubts: dict[str, set[int]] = {doc: set(replicas) for doc, replicas in known.items()}
        suspect: set[int] = set()
        for doc, theirs in vectors.items():
            for replica, (seq, chain) in sorted(theirs.items()):
                head = ledger.heads.get(doc, {}).get(replica)
                if replica in known.get(doc, ()):
                    continue
                if await self._is_doubtful(doc, replica, (seq, chain), head.seq if head else 0):
                    doubts.setdefault(doc, set()).add(replica)
                    suspect.add(replica)
        self._doubt_everywhere(suspect, vectors, doubts)
        return doubts if suspect else {}

    def _doubt_fork(self, error: Fork | CompactionLoss) -> None:
        """What the upstream holds stands: the next run asks for that log, and again for those that did not arrive whole."""
        doubts = {doc: set(replicas) for doc, replicas in self._branches.doubts.items()}
        doubts.setdefault(error.doc, set()).add(error.replica)
        self._doubt_everywhere({error.replica}, self._theirs, doubts)
        self.ledger.doubts = doubts

    def _doubt_everywhere(
        self, replicas: AbstractSet[int], vectors: Vectors, doubts: dict[str, set[int]]
    ) -> None:
        """Add all documents in which logs of these replicas differ: a transaction is settled over all its documents."""
        for doc, theirs in vectors.items():
            mine = self.ledger.vectors([doc])[doc]
            more = {r for r in replicas & theirs.keys() if theirs[r] != mine.get(r)}
            if more:
                doubts.setdefault(doc, set()).update(more)

    async def _is_doubtful(self, doc: str, replica: int, theirs: tuple[int, bytes], held: int) -> bool:
        seq, chain = theirs
        if seq > held:
            # A log that this node still writes is nowhere longer, unless the store was put back from a backup.
            return replica == self.ledger.replica
        found = await self.ledger.is_on_chain(doc, replica, seq, chain)
        row = self.ledger.registry.get(replica)
        if found is None and row is not None and row.device == self.ledger.identity.device:
            acked = await self.ledger.storage.read(lambda view: view.acked(LINK))
            return seq > acked.get((doc, replica), 0)
        return found is False

    async def _settle(self) -> None:
        """Bring together what is in doubt, when all of it has arrived; a link whose logs changed starts over."""
        if not self._branches.doubts:
            return
        above = self.side is Side.DOWN
        recovery = Recovery(self.ledger, self._branches, self._theirs, above=above, absent=self._absent)
        changed = await recovery.settle()
        for doc, replicas in self._branches.doubts.items():
            theirs = self._theirs.get(doc, {})
            self.ledger.examined |= {theirs[r][1] for r in replicas & theirs.keys()}
        rest = dict(self._branches.rest)
        self._branches.doubt({})
        for doc, pieces in rest.items():
            for piece in pieces:
                await self._take(doc, piece, None)
        # A node below was sent nothing of these documents meanwhile.
        if changed or not above:
            text = "two branches of a log are one again; the next handshake goes on"
            await self._refuse("restored", text, terminal=False)

    async def _give_up(self) -> None:
        """End what the branches that stand will never show, after a whole run; a node below does so with the one above alone."""
        if self.side is Side.UP and self.ledger.identity.role in _UPSTREAM_OF:
            return
        if self.ledger.quarantine.held or (self.side is Side.DOWN and (self._held or self._apart)):
            return
        recovery = Recovery(self.ledger, Branches(self.ledger), {}, above=False, absent=self._absent)
        compared = self.ledger.heads if self.side is Side.DOWN else self._scope()
        if await recovery.give_up(compared):
            await self._refuse("restored", "a log here was ended; the next handshake goes on", terminal=False)

    async def _transfer(self, docs: list[str]) -> None:
        """Send what the peer lacks, category by category in order, then the fence or the end."""
        order = self._order[self.side]
        fence: dict[str, dict[int, int]] = {}
        by_category: dict[str, list[str]] = {}
        for doc in sorted(docs):
            by_category.setdefault(doc.partition("/")[0], []).append(doc)
        for category in sorted(by_category, key=lambda name: order[name]):
            for doc in by_category[category]:
                fence[doc] = await self._transfer_document(category, doc)
            await self._send(Kind.DONE, category=category)
        while self.session.in_flight:
            await self._wait_for_room()
        if self.side is Side.UP:
            await self._send(Kind.FENCE, docs=fence)
        else:
            await self._send(Kind.END)

    async def _transfer_document(self, category: str, doc: str) -> dict[int, int]:
        if self._lacks(doc):
            diff = await self.ledger.pieces(doc, self._needs(doc))
            if self.side is Side.DOWN:
                self.ledger.opened_at = None
        else:
            # The plan names it because the peer has more of it, or not all of the cut; it need not be loaded for that.
            heads = self.ledger.heads.get(doc, {})
            vector = {replica: head.seq for replica, head in heads.items() if head.seq}
            nothing = [(write_update({}), 0)] if doc in self._cuts else []
            diff = Diff(nothing, vector, self.ledger.cut_of(doc))
        began = self._now()
        for i, (update, records) in enumerate(diff.updates, 1):
            while not self.session.can_send():
                await self._wait_for_room()
            if self._pace is not None:
                await asyncio.sleep(self._pace.wait(self._now(), len(update)))
            final = i == len(diff.updates)
            number = self.session.send_data(
                doc=doc, update=update, final=final, cut=diff.cut, records=records
            )
            if final:
                self._flying[number] = (doc, diff.vector)
            await self._flush()
            self._count(self._moved(self.side, category), records, len(update), began)
            began = self._now()
        return self._promised(doc, diff.vector)

    def _promised(self, doc: str, vector: dict[int, int]) -> dict[int, int]:
        """Leave out of a fence what is in doubt here: the peer is to send its own copy of that."""
        doubts = self._branches.doubts.get(doc, ())
        return {replica: seq for replica, seq in vector.items() if replica not in doubts}

    async def _wait_for_room(self) -> None:
        self._room.clear()
        await self._room.wait()

    @property
    def _running(self) -> Run:
        """The run that the digests began at the downstream, the heads at the upstream."""
        assert self.run_now is not None
        return self.run_now

    def _moved(self, speaker: Side, category: str) -> Moved:
        run = self._running
        return (run.down if speaker is Side.UP else run.up).setdefault(category, Moved())

    def _count(self, moved: Moved, records: int, size: int, began: float) -> None:
        moved.records += records
        moved.bytes += size
        moved.seconds += self._now() - began
        self._observer.moved(self._running)

    async def _on_data(self, data: dict[str, Any]) -> None:
        began = self._now()
        doc: str = data["doc"]
        category = doc.partition("/")[0]
        assert self.peer is not None
        # A right, not a day: at midnight the two ends need not agree on the date.
        if not (self.ledger.holds(doc) or self.ledger.may_hold(self.ledger.identity, doc)):
            await self._refuse("not_allowed", f"{doc} is not for this node", terminal=True)
        if self.side is Side.UP and not self.ledger.may_hold(self.peer, doc):
            text = f"{self.peer.device} may not write {doc}: it belongs to another store or lane"
            await self._refuse("not_allowed", text, terminal=True)
        cut, update = data["cut"] if data["final"] else None, data["update"]
        if doc in self._branches.doubts:
            update = self._branches.split(doc, update, self._forbidden(category), self._may_write(category))
            if cut is not None:
                # It says what was seen of the logs in doubt, too.
                self._branches.cuts[doc], cut = cut, None
            self._branches.put_aside(doc, update)
        else:
            await self._take(doc, update, cut)
        self._count(self._moved(self.session.peer, category), data["records"], len(data["update"]), began)
        await self._send(Kind.ACK, n=data["n"])

    async def _take(self, doc: str, update: bytes, cut: Mapping[int, int] | None) -> None:
        """Take an update of the peer into the document; durable on return."""
        category = doc.partition("/")[0]
        changes = await self.ledger.receive(
            doc,
            update,
            self._may_write(category),
            cut,
            self._forbidden(category),
            self._absent,
            Origin("download" if self.side is Side.DOWN else "upload", self.run_id),
            self._skew_below() if self.side is Side.UP else None,
        )
        # With a batch of its own the ledger bounded a stamp; a skew that the greeting showed is corrected already.
        own = self.ledger.replica
        self._clock_ran_ahead |= not self._skew_below() and any(
            own == replica for change in changes for replica, *_ in change.touched
        )

    def _skew_below(self) -> int:
        """How far ahead of this node's clock the peer's was; the lanes below it follow its clock, so theirs was too."""
        return self.skew_ms if self.skew_ms > limits.CLOCK_DRIFT_MS_MAX else 0

    def _may_write(self, category: str) -> Callable[[int], bool]:
        if self.side is Side.DOWN:
            return lambda _replica: True
        shape = self.ledger.schema.shape(category)
        takes_back = self._admission is not None and self._admission.takes_back

        def allowed(replica: int) -> bool:
            row = self.ledger.registry.get(replica)
            # Nobody continues the log that this node itself writes.
            known = replica in self._allowed and replica != self.ledger.replica
            if not known or row is None or Role(row.role) not in shape.writers:
                return False
            return takes_back or row.device != self.ledger.identity.device

        return allowed

    def _forbidden(self, category: str) -> Callable[[int], frozenset[str]]:
        """Say which fields of a category a replica may not write, by its role; what comes from above was checked there."""
        if self.side is Side.DOWN:
            return lambda _replica: frozenset()
        shape = self.ledger.schema.shape(category)

        def fields(replica: int) -> frozenset[str]:
            role = Role(self.ledger.registry[replica].role)
            names = frozenset(name for name in (*shape.fields, DELETION) if not shape.may_write(role, name))
            # A lane is nobody's witness: it has no ceilings to write.
            return names | {CEILINGS_FIELD} if role is Role.CAIXA else names

        return fields

    async def _on_done(self, _: dict[str, Any]) -> None:
        return

    async def _on_ack(self, ack: dict[str, Any]) -> None:
        for number in [number for number in self._flying if number <= ack["n"]]:
            # The last piece of a document is durable there, and with it all that was promised of it.
            doc, vector = self._flying.pop(number)
            if doc in self._asked_back:
                continue
            known = self._theirs.setdefault(doc, {})
            for replica, seq in vector.items():
                known[replica] = max(known.get(replica, (0, b"")), (seq, b""))
        self._room.set()

    async def _on_fence(self, fence: dict[str, Any]) -> None:
        for doc, vector in fence["docs"].items():
            heads = self.ledger.heads.get(doc, {})
            for replica, seq in vector.items():
                head = heads.get(replica)
                held = self._branches.end(doc, replica)
                if head is not None and replica not in self._branches.doubts.get(doc, ()):
                    held = max(held, head.seq)
                if held < seq:
                    await self._refuse("gap", f"{doc} did not arrive whole", terminal=False)
                known = self._theirs.setdefault(doc, {}).get(replica, (0, b""))
                self._theirs[doc][replica] = max(known, (seq, b""))
        await self._settle()
        self.ledger.tidying.upload_begins()
        scope = self._scope()
        docs = [doc for doc in scope if self._lacks(doc) or doc in self._cuts]
        counts = await self.ledger.missing({doc: self._needs(doc) for doc in docs}, docs)
        self._running.up = {name: Moved(total=count) for name, count in counts.items()}
        self._running.phase = "upload"
        await self._send(Kind.FENCED, counts=counts)
        self.spawn(self._transfer, docs)

    def _lacks(self, doc: str) -> bool:
        theirs = self._needs(doc)
        heads = self.ledger.heads.get(doc, {})
        return any(head.seq > theirs.get(replica, (0, b""))[0] for replica, head in heads.items())

    def _needs(self, doc: str) -> dict[int, tuple[int, bytes]]:
        """Return the peer's heads of a document, as if it held all that this end may not send."""
        theirs = self._theirs.get(doc, {})
        if self.side is Side.UP:
            return theirs
        sendable = self._sendable()
        held = {
            r: (head.seq, head.hash)
            for r, head in self.ledger.heads.get(doc, {}).items()
            if r not in sendable
        }
        return {**theirs, **held}

    async def _on_fenced(self, fenced: dict[str, Any]) -> None:
        self._running.up = {name: Moved(total=count) for name, count in fenced["counts"].items()}

    async def _on_end(self, _: dict[str, Any]) -> None:
        await self._settle()
        await self._send(Kind.ENDED)
        await self._finish_run()
        await self._give_up()
        if self._clock_ran_ahead:
            # The next greeting measures it, and everybody below learns it in turn.
            text = "a clock below ran ahead since the greeting; connect again to correct it"
            self.session.bye(text)
            await self._flush()
            raise LinkBroken("bye", text, terminal=False)

    async def _on_ended(self, _: dict[str, Any]) -> None:
        await self._finish_run()
        await self._give_up()

    async def _on_poke(self, _: dict[str, Any]) -> None:
        self._observer.poked()

    async def _on_ask(self, _: dict[str, Any]) -> None:
        self._observer.asked(self)

    async def _on_answer(self, answer: dict[str, Any]) -> None:
        self._observer.answered(answer)

    async def _finish_run(self) -> None:
        run, self.run_now = self.run_now, None
        if run is not None:
            run.ended = self._now()
            self._observer.moved(run)
        self.runs_ended += 1
        self._idle.set()
        await self._observer.ended(self, run)


def _wire(vectors: Vectors) -> dict[str, dict[int, list[Any]]]:
    return {doc: {r: [seq, chain] for r, (seq, chain) in heads.items()} for doc, heads in vectors.items()}


def _vectors(wire: dict[str, dict[int, list[Any]]]) -> Vectors:
    return {doc: {r: (entry[0], entry[1]) for r, entry in heads.items()} for doc, heads in wire.items()}
