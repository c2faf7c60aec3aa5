"""The link up: it is kept, runs start on it when the policy says so, and what happened is remembered.

It asks ``schedule`` what to do and does it; it never decides. What must survive a restart (a cooldown, a pause, the
history) is committed before anybody hears of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from crdtsync import limits
from crdtsync.errors import CertificateRefused, ChannelClosed, CrdtsyncError, InsecureTransport, LinkBroken
from crdtsync.node import ending, schedule
from crdtsync.node.backoff import Backoff, Health
from crdtsync.node.history import LINK, History, Result
from crdtsync.node.ledger import stop_task, tell
from crdtsync.node.link import SOFTWARE, Link
from crdtsync.node.remembered import REMEMBERED_KEY, Remembered
from crdtsync.node.run import Moved, Observer, Run
from crdtsync.node.schedule import Decision, Hours, Now, Policy, Reason, Situation, Trigger
from crdtsync.protocol.session import PROTOCOL
from crdtsync.protocol.table import Side
from crdtsync.schema import Role
from crdtsync.storage.base import Commit, RunRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from random import Random

    from crdtsync.node.config import NodeConfig
    from crdtsync.node.credentials import Credentials
    from crdtsync.node.ledger import Ledger, Vectors
    from crdtsync.state.document import Change
    from crdtsync.transport.base import Transport

PAUSED = "paused"
"""The code of a refusal by a node above where a person paused this one."""

_AWAY = frozenset({"unreachable", PAUSED})
"""Codes of links that ended although nothing is wrong here: they come and go, and each attempt says so again."""

_WAIT_SECONDS_MIN = 0.001
_HOURS_SECONDS_MAX = 60.0
log = logging.getLogger("crdtsync")


@dataclass(slots=True)
class Answer:
    """What a press came to: a run started, or why not and after how many seconds it could (None: not known)."""

    accepted: bool
    reason: Reason | None = None
    seconds: float | None = None
    run: Run | None = None


def policy_of(config: NodeConfig) -> Policy:
    """Return what ``node.toml`` says about when runs start."""
    limited = config.hours is not None and (not config.live or config.limit_live)
    hours = Hours.parse(config.hours) if limited and config.hours else None
    return Policy(config.check_seconds, limits.COOLDOWN_SECONDS, ZoneInfo(config.time_zone), hours)


class Uplink(Observer):
    """See the module. ``below`` gives the links below, whose last words are remembered with the rest."""

    def __init__(
        self,
        config: NodeConfig,
        ledger: Ledger,
        transport: Transport,
        credentials: Credentials,
        dice: Random,
        below: Callable[[], Iterable[Link]] = tuple,
    ) -> None:
        self.config = config
        self.ledger = ledger
        self.policy = policy_of(config)
        self.backoff = Backoff(dice)
        self.history = History(ledger)
        self.memory = Remembered()
        self.link: Link | None = None
        self.trouble: str | None = None
        self.refused: str | None = None
        """What one of the two ends refused, until a run ends well; a node above that is away refuses nothing."""
        self.initial_done = False
        self.heard = config.upstream is None
        """Whether a run or check with the node above ended since this node was opened; true when there is none."""
        self.retry_at: float | None = None
        self.above: dict[str, Any] | None = None
        self.totals: dict[tuple[str, str], Moved] = {}
        self.runs = 0
        self.on_run: list[Callable[[Run], None]] = []
        self.run_now: Run | None = None
        self.acked: dict[str, dict[int, int]] = {}
        self._transport = transport
        self._credentials = credentials
        self._below = below
        self._stirred = asyncio.Event()
        self._retry = asyncio.Event()
        self._checked: float | None = None
        self._check_began_ms = 0
        self._asked = False
        self._requested = False
        self._something_new = False
        self._leaving = False
        self._compared: asyncio.Future[Run | None] | None = None
        self._run_over: asyncio.Future[RunRow | None] | None = None
        self._answered: asyncio.Future[dict[str, Any]] | None = None
        self._press: asyncio.Task[Answer] | None = None
        self._carrying: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._governor: asyncio.Task[None] | None = None
        self._pruner: asyncio.Task[None] | None = None
        self._saver: asyncio.Task[None] | None = None
        self._saved = b""
        self._saved_at = 0.0

    # -- life --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read what is remembered, mark what a crash cut, and keep the link if there is a node above.

        Raises:
            IdentityError: the device's key cannot be used.
        """
        if self.config.upstream:
            # Now, not at the first challenge: a node that cannot prove itself says so to who starts it.
            _ = self._credentials.key
        done, raw, acked = await self.ledger.storage.read(
            lambda view: (view.meta("initial_done"), view.meta(REMEMBERED_KEY), view.acked(LINK))
        )
        self.initial_done = done is not None or self.config.role is Role.GESTAO
        self.ledger.withholds = self.initial_done
        self.memory = Remembered.load(raw)
        self._saved, self._saved_at = self.memory.dump(), self.ledger.clock.uptime()
        for (doc, replica), seq in acked.items():
            self.acked.setdefault(doc, {})[replica] = seq
        await self.history.open()
        self._recall_failure()
        now_ms = self.ledger.clock.now_ms()
        for category in self.lacking():
            self.memory.outbox_since.setdefault(category, now_ms)
        self.ledger.on_change.append(self._written)
        self._pruner = asyncio.create_task(self._prune(), name="history pruner")
        if self.config.upstream:
            self._keeper = asyncio.create_task(self._keep(self.config.upstream), name="upstream link")
            self._governor = asyncio.create_task(self._govern(), name="schedule")

    async def close(self) -> None:
        """End the link; a run that is going on becomes ``interrupted``."""
        for task in (self._pruner, self._governor, self._carrying, self._saver):
            await stop_task(task)
        await stop_task(self._keeper)
        if self._press is not None:
            self._press.cancel()
            await asyncio.gather(self._press, return_exceptions=True)
        if not self._saved:
            # It was not opened: the nothing that it remembers must not replace what the store does.
            return
        with contextlib.suppress(CrdtsyncError):
            await self._broken_off(Result.INTERRUPTED, ending.STOPPED)
            await self.save()

    def _settings(self) -> str:
        """What a terminal refusal may have been about: when it changes, the link is tried again."""
        config, code = self.config, self._credentials.code()
        who = [config.account, config.device, config.role, config.store, code.id if code else None]
        return json.dumps([config.upstream, *who, PROTOCOL, SOFTWARE])

    def _recall_failure(self) -> None:
        if self.memory.failed is None:
            return
        code, detail, _, settings = self.memory.failed
        if self.config.upstream is None or settings == self._settings():
            self.backoff.broke(code, detail, terminal=True)
            self.trouble = f"{code}: {detail}"
        else:
            self.memory.failed = None

    # -- what is known -----------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the node above has said welcome."""
        return self.link is not None and self.link.greeted

    def now(self) -> Now:
        """The time, as the policy takes it."""
        return Now(self.ledger.clock.now_ms(), self.ledger.clock.uptime())

    def situation(self) -> Situation:
        """What is known of the link, as the policy takes it."""
        link = self.link
        return Situation(
            upstream=self.config.upstream is not None,
            connected=self.connected,
            busy=link is not None and link.greeted and link.busy,
            running=self.run_now is not None,
            initial_done=self.initial_done,
            paused=self.memory.paused_ms is not None,
            failed=self.backoff.health is Health.FAILED,
            asked=self._asked,
            requested=self._requested,
            changed=self._something_new,
            checked=self._checked,
            manual_ended=self.memory.manual_ended,
        )

    def decision(self) -> Decision:
        """What the policy says now."""
        return schedule.decide(self.policy, self.now(), self.situation())

    def held(self) -> frozenset[str]:
        """Categories that do not travel: paused ones, and those that refer to one."""
        return self.ledger.schema.behind(self.memory.paused)

    def senders(self) -> Collection[int]:
        """The replicas whose logs this node is to send up: its own, of all its incarnations, and those below it."""
        own = self.ledger.identity
        return {
            row.replica
            for row in self.ledger.registry.values()
            if row.role != Role.GESTAO and (row.device == own.device or own.role is Role.LOJA)
        }

    def known(self) -> Vectors:
        """What the node above is known to hold, as vectors: all that was acknowledged until this moment."""
        merged = {doc: dict(heads) for doc, heads in self.acked.items()}
        for doc, replica, seq in self.link.acknowledged() if self.link is not None else ():
            heads = merged.setdefault(doc, {})
            heads[replica] = max(seq, heads.get(replica, 0))
        return {doc: {r: (seq, b"") for r, seq in heads.items()} for doc, heads in merged.items()}

    async def waiting(self) -> dict[str, int]:
        """Return the exact number of records per category that the node above has not acknowledged."""
        if self.config.role is Role.GESTAO:
            return {}
        return await self.ledger.missing(self.known(), sorted(self.ledger.heads), self.senders())

    def lacking(self) -> set[str]:
        """Categories with something to send; no store is read."""
        if self.config.role is Role.GESTAO:
            return set()
        theirs, senders = self.known(), self.senders()
        return {
            doc.partition("/")[0]
            for doc in self.ledger.heads
            if self.ledger.behind(doc, theirs.get(doc, {}), senders)
        }

    # -- what people and programs ask --------------------------------------------------------------------------

    def request(self) -> bool:
        """Compare heads now, or try to connect now, for a program; tell whether there is a link."""
        self._requested = True
        self._retry.set()
        self._stirred.set()
        return self.link is not None

    def change(self) -> None:
        """Something changed, and a live end wants it to travel."""
        self._something_new = True
        self._stirred.set()

    async def press(self, first: str | None = None) -> Answer:
        """*Sincronizar agora*: answered when heads were compared. Presses before the answer share it."""
        if first is not None:
            await self.put_first(first)
        if self._press is None or self._press.done():
            self._press = asyncio.create_task(self._serve_press(), name="press")
        return await asyncio.shield(self._press)

    async def _serve_press(self) -> Answer:
        refusal = schedule.press(self.policy, self.now(), self.situation())
        if refusal is not None:
            return Answer(accepted=False, reason=refusal.reason, seconds=refusal.seconds)
        self._asked = True
        self._compared = asyncio.get_running_loop().create_future()
        self._retry.set()
        self._stirred.set()
        try:
            run = await asyncio.wait_for(self._compared, limits.PRESS_SECONDS_MAX)
        except (TimeoutError, CrdtsyncError) as error:
            if self.memory.paused_above_ms is not None:
                return Answer(accepted=False, reason=Reason.PAUSED_ABOVE)
            refused = isinstance(error, LinkBroken) and error.code not in _AWAY
            return Answer(
                accepted=False, reason=Reason.REFUSED if refused else Reason.UNREACHABLE, seconds=0.0
            )
        finally:
            self._asked, self._compared = False, None
        if run is None:
            await self._carry_on()
            return Answer(accepted=False, reason=Reason.NOTHING)
        return Answer(accepted=True, run=run)

    async def over(self) -> RunRow | None:
        """Wait until the run that is going on has ended and what it was carried on to has answered; return its row."""
        row = None
        if self._run_over is not None:
            row = await asyncio.shield(self._run_over)
        if self._carrying is not None:
            await asyncio.wait([self._carrying])
        return row

    async def _carry_on(self) -> None:
        """Ask the node above to synchronize too, when there is one above it, and keep what it answers."""
        link = self.link
        if link is None or link.peer is None or link.peer.role is Role.GESTAO:
            return
        if self._answered is None:
            self._answered = asyncio.get_running_loop().create_future()
            link.ask()
        answer: dict[str, Any] = {"accepted": False, "reason": Reason.UNREACHABLE.value, "wait_ms": 0}
        try:
            answer = await asyncio.wait_for(asyncio.shield(self._answered), 2 * limits.PRESS_SECONDS_MAX)
        except TimeoutError:
            log.info("%s did not answer a request to synchronize", link.peer.device)
        finally:
            self._answered = None
        self.above = {
            "device": link.peer.device,
            "accepted": answer["accepted"],
            "reason": answer["reason"],
            "available_seconds": None if answer["wait_ms"] is None else answer["wait_ms"] / 1000,
        }

    async def pause(self, category: str | None = None) -> None:
        """Let a category, or with None the whole link, stand still. Local capture goes on."""
        now_ms = self.ledger.clock.now_ms()
        if category is None:
            if self.memory.paused_ms is None:
                self.memory.paused_ms = now_ms
        else:
            self.ledger.schema.shape(category)
            self.memory.paused.setdefault(category, now_ms)
        await self.save()
        run = self.run_now
        held = self.held()
        if category is None or (run is not None and not held.isdisjoint({*run.down, *run.up})):
            await self._leave()
        self._stirred.set()

    async def resume(self, category: str | None = None) -> None:
        """Undo a pause; with None also try a failed link again. Paused categories stay paused then."""
        if category is None:
            self.memory.paused_ms, self.memory.failed = None, None
            self.backoff.resume()
            self.trouble = self.refused = None
        else:
            self.ledger.schema.shape(category)
            self.memory.paused.pop(category, None)
        await self.save()
        self._requested = True
        self._retry.set()
        self._stirred.set()

    async def put_first(self, category: str | None) -> None:
        """Let a category go first in the next run, as far as what it refers to allows; None takes it back."""
        if category is not None:
            self.ledger.schema.shape(category)
        self.memory.first = category
        await self.save()

    async def save(self) -> None:
        """Make what is remembered durable."""
        self._note_heard()
        if self.memory.dump() != self._saved:
            await self._commit(Commit())

    async def _commit(self, commit: Commit) -> None:
        """Make this and what is remembered durable; only then does the node take it for stored."""
        dump, now = self.memory.dump(), self.ledger.clock.uptime()
        commit.meta[REMEMBERED_KEY] = dump
        await self.ledger.commit(commit)
        self._saved, self._saved_at = dump, now
        for _, doc, replica, seq in commit.acked:
            known = self.acked.setdefault(doc, {})
            known[replica] = max(seq, known.get(replica, 0))

    def save_soon(self) -> None:
        """Make what is remembered durable within a minute: for what may be that old after a crash."""
        if self._saver is None or self._saver.done():
            self._saver = asyncio.create_task(self._save_later(), name="save")

    async def _save_later(self) -> None:
        await asyncio.sleep(limits.HEARD_SECONDS)
        with contextlib.suppress(CrdtsyncError):
            await self.save()

    def _note_heard(self) -> None:
        if self.link is not None and self.link.greeted:
            self.memory.heard[""] = self.link.heard_ms
        for link in self._below():
            self.note_heard(link)

    def note_heard(self, link: Link) -> None:
        """Remember when a node below said its last word."""
        if link.peer is not None:
            self.memory.heard[link.peer.device] = link.heard_ms

    # -- the link ----------------------------------------------------------------------------------------------

    async def _keep(self, url: str) -> None:
        while True:
            if self.memory.paused_ms is not None or self.backoff.health is Health.FAILED:
                self._fail_press("paused", "the link stands still")
                self._retry.clear()
                await self._retry.wait()
                continue
            delay = await self._attempt(url)
            if delay is None:
                continue
            self._retry.clear()
            self.retry_at = self.ledger.clock.uptime() + delay
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._retry.wait()
            self.retry_at = None

    async def _attempt(self, url: str) -> float | None:
        """Connect and talk until the link ends; return the seconds to wait before the next attempt, or None."""
        replica = self.ledger.replica
        try:
            channel = await self._transport.connect(url)
            self._leaving = False
            if self.memory.paused_ms is not None:
                await channel.close()
                return None
            self.link = Link(
                self.ledger,
                channel,
                Side.DOWN,
                live=self.config.live,
                observer=self,
                credentials=self._credentials,
            )
            log.info("link to %s begins", url)
            await self.link.run()
        except LinkBroken as reason:
            return await self._broke(url, reason.code, str(reason), terminal=reason.terminal)
        except CertificateRefused as reason:
            return await self._broke(url, "certificate", str(reason), terminal=False)
        except ChannelClosed as reason:
            return await self._broke(url, "unreachable", str(reason), terminal=False)
        except InsecureTransport as reason:
            return await self._broke(url, "insecure", str(reason), terminal=True)
        except Exception as reason:
            # Also what no part of this package raises on purpose: nobody else would call the node above again.
            log.exception("link to %s failed", url)
            return await self._broke(url, "error", str(reason), terminal=False)
        finally:
            self.link = None
            self._checked = None
            await self.reintroduce(replica)
        return 0.0

    async def reintroduce(self, replica: int) -> None:
        """After a new incarnation every neighbour is greeted anew: it must know whose log the new one is."""
        if replica != self.ledger.replica:
            for link in [*self._below(), *([self.link] if self.link else [])]:
                await link.leave("this node has a new incarnation")

    async def _broke(self, url: str, code: str, detail: str, *, terminal: bool) -> float | None:
        if self._leaving:
            await self._broken_off(Result.PAUSED, ending.PAUSED_HERE)
            self._fail_press("paused", "the link stands still")
            return 0.0
        plain = detail.removeprefix(f"{code}: ")
        self.trouble = detail
        if code not in _AWAY:
            self.refused = ending.in_words(code, plain)
        self._note_paused(code)
        delay = self.backoff.broke(code, plain, terminal=terminal)
        level = logging.ERROR if terminal else logging.INFO if code in _AWAY else logging.WARNING
        log.log(level, "link to %s ended: %s", url, detail)
        if terminal:
            self.memory.failed = [code, plain, self.ledger.clock.now_ms(), self._settings()]
        with contextlib.suppress(CrdtsyncError):
            await self._broken_off(Result.PAUSED if code == PAUSED else Result.FAILED, f"{code}: {plain}")
            if terminal:
                await self.save()
        self._fail_press(code, plain)
        return delay

    def _note_paused(self, code: str) -> None:
        """Remember since when the node above refuses this one as paused; a node above that is away takes nothing back."""
        now_ms, memory = self.ledger.clock.now_ms(), self.memory
        if code == PAUSED:
            memory.heard[""] = now_ms
            memory.paused_above_ms = memory.paused_above_ms or now_ms
            self.save_soon()
        elif code != "unreachable":
            memory.paused_above_ms = None

    def _fail_press(self, code: str, detail: str) -> None:
        if self._compared is not None and not self._compared.done():
            self._compared.set_exception(LinkBroken(code, detail, terminal=False))

    async def _leave(self) -> None:
        """Say goodbye on purpose; the link comes back when it may."""
        if self.link is not None:
            self._leaving = True
            await self.link.leave("paused")

    async def _broken_off(self, result: Result, detail: str) -> None:
        """A run ended without being whole: keep what was acknowledged, and its row."""
        run, self.run_now = self.run_now, None
        if self.link is not None:
            self._note_heard()
        row = None
        if run is not None:
            for category, part in run.down.items():
                if part.left:
                    self.memory.to_receive[category] = [part.left, self._check_began_ms]
                else:
                    self.memory.to_receive.pop(category, None)
            seconds = asyncio.get_running_loop().time() - run.started
            row = self.history.end(result, detail, seconds)
        commit = self._acknowledgements()
        if row is not None:
            commit.runs.append(row)
        try:
            if commit.acked or run is not None:
                await self._commit(commit)
        finally:
            if self._run_over is not None and not self._run_over.done():
                self._run_over.set_result(row)

    def _acknowledgements(self) -> Commit:
        """What is known to be acknowledged and not stored as such yet."""
        commit = Commit()
        for doc, replica, seq in self.link.acknowledged() if self.link is not None else ():
            if seq > self.acked.get(doc, {}).get(replica, 0):
                commit.acked.append((LINK, doc, replica, seq))
        return commit

    # -- runs --------------------------------------------------------------------------------------------------

    async def _govern(self) -> None:
        while True:
            self._stirred.clear()
            decision = self.decision()
            if decision.trigger is not None:
                self._check(decision.trigger)
                continue
            seconds = decision.seconds
            if seconds is not None and decision.reason is Reason.HOURS:
                # Hours follow the wall clock, which may be set while this waits.
                seconds = min(seconds, _HOURS_SECONDS_MAX)
            if seconds is not None:
                # A rest below what the clock can show would be due for ever and never come.
                seconds = max(seconds, _WAIT_SECONDS_MIN)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stirred.wait()

    def _check(self, trigger: Trigger) -> None:
        assert self.link is not None
        self._checked = self.ledger.clock.uptime()
        self._check_began_ms = self.ledger.clock.now_ms()
        self._asked = self._requested = self._something_new = False
        limited = self.config.limit_kb_s is not None and (not self.config.live or self.config.limit_live)
        rate = self.config.limit_kb_s * 1000 if limited and self.config.limit_kb_s else None
        self.link.check(trigger, held=self.held(), first=self.memory.first, rate=rate)

    def greeted(self, link: Link) -> None:
        """See Observer: the policy decides what to check and when."""
        self.backoff.connected()
        self.memory.paused_above_ms = None
        self._credentials.admitted()
        self._note_heard()
        self._stirred.set()
        del link

    async def began(self, link: Link, run: Run) -> None:
        """See Observer: the row and what is to come are durable before anything moves."""
        if self._compared is not None and not self._compared.done():
            # Maybe the check was under way for another reason when the person pressed: it is the person's run now.
            run.pressed = True
            run.trigger = Trigger.MANUAL if self.initial_done else Trigger.INITIAL
        self.run_now = run
        self._run_over = asyncio.get_running_loop().create_future()
        now_ms = self.ledger.clock.now_ms()
        self._forget_received(link.held)
        self.memory.to_receive |= {
            name: [part.total, now_ms] for name, part in run.down.items() if part.total
        }
        row = self.history.begin(run, now_ms)
        link.run_id = None if row is None else row.id
        if row is not None:
            await self._commit(Commit(runs=[row]))
        if self._compared is not None and not self._compared.done():
            self._compared.set_result(run)

    def moved(self, run: Run) -> None:
        """See Observer."""
        if run.ended is None:
            self.history.moved()
        else:
            self.runs += 1
            for direction, parts in (("down", run.down), ("up", run.up)):
                for category, part in parts.items():
                    total = self.totals.setdefault((category, direction), Moved())
                    total.records += part.records
                    total.bytes += part.bytes
                    total.seconds += part.seconds
        tell(self.on_run, run)

    async def ended(self, link: Link, run: Run | None) -> None:
        """See Observer: one commit for all that a complete check or run means."""
        self.heard = True
        # Not when the connection stands: what was refused is refused again, and stays to be seen between.
        self.trouble = self.refused = None
        self.backoff.worked()
        self._forget_received(link.held)
        self._note_heard()
        commit = self._acknowledgements()
        self._age_outbox(link.held)
        complete = not self.initial_done and not link.held
        if complete:
            commit.meta["initial_done"] = b"1"
        row = None
        if run is not None:
            if run.trigger is Trigger.MANUAL:
                self.memory.manual_ended = self.ledger.clock.uptime()
            if any(
                self.memory.first in parts and parts[self.memory.first].records
                for parts in (run.down, run.up)
            ):
                self.memory.first = None
            row = self.history.end(Result.DONE, seconds=(run.ended or run.started) - run.started)
            if row is not None:
                commit.runs.append(row)
        self.run_now = None
        stale = self.ledger.clock.uptime() - self._saved_at >= limits.HEARD_SECONDS
        if stale or commit.acked or commit.meta or commit.runs:
            await self._commit(commit)
        elif self.memory.dump() != self._saved:
            self.save_soon()
        if complete:
            self.initial_done = self.ledger.withholds = True
        self._conclude(run, row)

    def _forget_received(self, held: Collection[str]) -> None:
        """What the node above has more of is known anew, but for the categories that were left out."""
        for category in [name for name in self.memory.to_receive if name not in held]:
            del self.memory.to_receive[category]

    def _conclude(self, run: Run | None, row: RunRow | None) -> None:
        """Tell whoever waits, and let the next check come."""
        if run is None and not self._asked and self._compared is not None and not self._compared.done():
            self._compared.set_result(None)
        if run is not None and run.pressed:
            self._carrying = asyncio.create_task(self._carry_on(), name="carry on")
        if self._run_over is not None and not self._run_over.done():
            self._run_over.set_result(row)
        self._stirred.set()

    def _age_outbox(self, held: Collection[str]) -> None:
        """What was written before this check is acknowledged; what remains to be sent was written since."""
        lacking = self.lacking()
        since = self.memory.outbox_since
        for category in list(since):
            if category not in lacking:
                del since[category]
            elif category not in held:
                since[category] = max(since[category], self._check_began_ms)

    def _written(self, changes: list[Change]) -> None:
        """Note when the first record to send of a category was written."""
        fresh = {change.category for change in changes if change.journal} - self.memory.outbox_since.keys()
        if not fresh or self.config.role is Role.GESTAO:
            return
        senders = self.senders()
        for change in changes:
            sent_up = any(replica in senders for replica, _, _ in change.touched)
            if change.category in fresh and sent_up:
                self.memory.outbox_since[change.category] = self.ledger.clock.now_ms()
                self.save_soon()

    def poked(self) -> None:
        """See Observer."""
        self.change()

    def answered(self, answer: dict[str, Any]) -> None:
        """See Observer."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(answer)

    async def _prune(self) -> None:
        while True:
            with contextlib.suppress(CrdtsyncError):
                now_ms = self.ledger.clock.now_ms()
                await self.history.prune(now_ms, self.config.history_days, self.config.history_failed_days)
                self._note_heard()
                self.memory.forget_gone(now_ms)
                await self.save()
            await asyncio.sleep(limits.PRUNE_SECONDS)
