"""Recovery: a log that went on in two places becomes one again, with nothing lost and nothing twice.

When two neighbours hold different continuations of one log, the upper one's stands, and the owner of the log writes
what only the other one holds again under a new incarnation. A link keeps the other branch beside the store
(`branches`) until all of it has arrived; then one storage transaction settles it. Nothing here speaks frames; the link
decides when.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from crdtsync.state.codec import decode_batch
from crdtsync.state.document import Change, Head
from crdtsync.state.fork import Branch, Heir, Write, common_length, seal, totals_at
from crdtsync.state.log import Log
from crdtsync.state.removals import Removal, mass_removals
from crdtsync.state.salvage import splice
from crdtsync.state.update import Run, Update, read_update, write_update

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from crdtsync.node.branches import Branches, Place
    from crdtsync.node.ledger import Ledger, Vectors
    from crdtsync.state.fold import Fold
    from crdtsync.storage.base import Commit, ReplicaRow, View

log = logging.getLogger("crdtsync")
_MARK_BYTES = 16


def marks_key(doc: str, replica: int) -> str:
    """Return the small value that names what was written again of a log."""
    return f"again/{doc}/{replica:x}"


def written_again(view: View, doc: str, replica: int) -> frozenset[bytes]:
    """Return the marks of all batches of a log that its owner wrote again under another replica."""
    data = view.meta(marks_key(doc, replica)) or b""
    return frozenset(data[at : at + _MARK_BYTES] for at in range(0, len(data), _MARK_BYTES))


@dataclass(slots=True)
class _Log:
    """One log as both ends hold it: the same up to ``fork``, and what becomes of it here."""

    doc: str
    replica: int
    mine: Branch
    theirs: Branch
    fork: int
    known: int | None = None
    """Where the branch here ended when nobody can have heard of the rest."""
    final: Branch | None = None
    again: list[Write] = field(default_factory=list)
    source: Branch | None = None
    base: int = 0
    """Behind which it is written again: where the branches part, or where the common part is shown no further and never will be."""
    holed: bool = False
    """Whether rows of this log were lost and no copy has them: the log ends at ``fork``."""

    def written(self, seq: int) -> int:
        """Where what was at a sequence of the source is in the heir's log; 0 when it is not written again."""
        at = bisect_right(self.again, seq, key=lambda write: write.seq)
        return at if at and self.again[at - 1].seq == seq else 0

    @property
    def forked(self) -> bool:
        return self.fork < min(self.mine.end, self.theirs.end)

    @property
    def longer(self) -> bool:
        return self.fork == self.mine.end < self.theirs.end


class Recovery:
    """Settles the doubts of one link. ``above`` tells that the peer is the upstream, whose branches stand.

    Args:
        ledger: whose documents are changed.
        branches: the peer's, whole.
        theirs: the peer's heads, of every document that both hold.
        above: whether the peer is above.
        absent: categories that the peer cannot send.
    """

    def __init__(
        self,
        ledger: Ledger,
        branches: Branches,
        theirs: Vectors,
        *,
        above: bool,
        absent: frozenset[str],
    ) -> None:
        self._ledger = ledger
        self._branches = branches
        self._theirs = theirs
        self._above = above
        self._absent = absent
        self._acked: dict[Place, int] = {}
        self._updates: dict[str, Update] = {}
        self._stored: dict[Place, Branch] = {}
        self._logs: dict[Place, _Log] = {}
        self._heirs: dict[int, ReplicaRow] = {}
        self._docs: list[str] = []
        # Up to where a log stays shown whose transactions have parts in what another log loses.
        self._shown: dict[Place, int] = {}
        # Of each log that became another one, the mass removals that nobody decided about.
        self._undecided: dict[Place, list[Removal]] = {}

    async def settle(self) -> bool:
        """Make the branches one, in one storage transaction; tell whether anything had to change.

        Raises:
            StorageError: nothing was changed.
        """
        await self._ledger.submit_alone(self._prepare)
        self._tell()
        return bool(self._docs)

    async def give_up(self, compared: Collection[str]) -> bool:
        """End what was never shown of the logs that are over, in one storage transaction; tell whether there was any.

        It waits for parts that were lost: for those in documents that were ``compared`` with the peer. Ended, it is shown nowhere,
        by those neither that do not hold the other documents. What is whole of it is written again.

        Raises:
            StorageError: nothing was changed.
        """
        if self._over():
            await self._ledger.submit_alone(partial(self._end, compared))
            self._tell()
        return bool(self._docs)

    def _tell(self) -> None:
        for old, heir in self._heirs.items():
            again = sum(len(entry.again) for entry in self._logs.values() if entry.replica == old)
            log.warning(
                "%s: the log of replica %x went on elsewhere; replica %x begins and writes %d batches again",
                self._ledger.identity.device,
                old,
                heir.replica,
                again,
            )

    def _own(self) -> set[int]:
        ledger = self._ledger
        return {row.replica for row in ledger.registry.values() if row.device == ledger.identity.device}

    def _over(self) -> set[int]:
        """The logs that this node writes no more, and that are not shown whole."""
        return self._own() & self._ledger.waiting() - {self._ledger.replica}

    async def _end(self, compared: Collection[str], commit: Commit) -> list[Change]:
        ledger, shown_now = self._ledger, dict[str, Change]()
        for replica in sorted(self._over()):
            await ledger.show(replica, shown_now, self._absent)
            await self._add_hidden(replica)
            entries = {entry.doc: entry for entry in self._of(replica)}
            shown = {doc: ledger.working[doc][replica].visible for doc in entries}
            for doc in await self._lost_for_ever(entries, shown, compared):
                branch = entries[doc].mine
                entries[doc].final = self._sealed(branch, branch.end, {doc: shown[doc] + 1})
            await self._choose(entries, {doc: e.mine for doc, e in entries.items()}, shown, self._is_here)
            for entry in entries.values():
                if entry.final is None:
                    entry.again = []
        written = await self._write(commit)
        changed = {change.doc for change in written}
        return [*(change for doc, change in shown_now.items() if doc not in changed), *written]

    async def _lost_for_ever(
        self, entries: Mapping[str, _Log], shown: Mapping[str, int], compared: Collection[str]
    ) -> set[str]:
        """Return the documents in which what waits behind these sequences, all of one replica, waits in vain."""
        waits_for: dict[str, set[str]] = {}
        over = set(compared) - entries.keys()
        for doc, entry in entries.items():
            first = next((write for write in entry.mine.writes if write.seq > shown[doc]), None)
            if entry.mine.counts == shown[doc]:
                over.add(doc)
            elif first is not None and entry.mine.can_end_at(shown[doc]):
                waits_for[doc] = set()
                for other, seq in first.parts.items():
                    there = await self._mine(other, entry.replica)
                    if seq > shown.get(other, there.end) and not there.is_other(seq, first.txid):
                        waits_for[doc].add(other)
        while may_come := [doc for doc, others in waits_for.items() if others - waits_for.keys() - over]:
            for doc in may_come:
                del waits_for[doc]
        return set(waits_for)

    async def _prepare(self, commit: Commit) -> list[Change]:
        self._acked = (
            await self._ledger.storage.read(lambda view: view.acked("upstream")) if self._above else {}
        )
        own = self._own()
        for doc, replica in sorted(self._branches.held):
            await self._compare(doc, replica, owned=replica in own)
        self._sharpen()
        await self._fill_holes(commit)
        for replica in sorted({entry.replica for entry in self._logs.values()}):
            await self._decide(replica, owned=replica in own)
        changes = await self._write(commit)
        for doc in sorted(self._branches.cuts.keys() - {change.doc for change in changes}):
            change = Change(doc, doc.partition("/")[0])
            (await self._ledger.document(doc)).promise(self._branches.cuts[doc], change)
            changes.append(change)
        return changes

    async def _write(self, commit: Commit) -> list[Change]:
        """Write what was decided about every log."""
        for entry in self._logs.values():
            await self._skip_known(entry)
        self._choose_heirs(commit)
        for replica in sorted({entry.replica for entry in self._logs.values() if entry.final is not None}):
            await self._hide(replica)
        changed = {e.doc for e in self._logs.values() if e.final is not None or e.again}
        self._docs = sorted(changed | {doc for doc, _ in self._shown})
        changes = await self._rebuild(commit)
        return [*changes.values(), *await self._ledger.release_decided(list(changes.values()))]

    # -- what is the same ----------------------------------------------------------------------------------------

    async def _update(self, doc: str) -> Update:
        """All logs of a document, as stored."""
        if doc not in self._updates:
            self._updates[doc] = read_update((await self._ledger.log_of(doc)).encode())
        return self._updates[doc]

    async def _mine(self, doc: str, replica: int) -> Branch:
        at = (doc, replica)
        if at not in self._stored:
            apart = doc not in self._ledger.working or doc in self._ledger.quarantine.held
            runs = () if apart else (await self._update(doc)).runs.get(replica, ())
            self._stored[at] = Branch.of(runs)
        return self._stored[at]

    async def _compare(self, doc: str, replica: int, *, owned: bool) -> None:
        held = self._branches.held[doc, replica]
        mine = await self._mine(doc, replica)
        theirs = Branch.of(read_update(Log(doc, 0, held.journal).encode()).runs[replica])
        # What was written since the store was opened, and not sent, cannot be in a copy that another node has.
        unsent = self._ledger.opened_at if owned and self._above else None
        known = None if unsent is None else unsent.get((doc, replica), 0)
        fork = common_length(mine, theirs, self._acked.get((doc, replica), 0), known)
        self._logs[doc, replica] = _Log(doc, replica, mine, theirs, fork, known)

    def _sharpen(self) -> None:
        """What both branches share of one document names parts in others, so they share those as well."""
        shared: dict[Place, int] = {}
        for entry in self._logs.values():
            for write in entry.mine.writes:
                if write.seq <= entry.fork and not write.merged:
                    for doc, seq in write.parts.items():
                        at = (doc, entry.replica)
                        shared[at] = max(seq, shared.get(at, 0))
        for at, entry in self._logs.items():
            floor = max(shared.get(at, 0), self._acked.get(at, 0))
            if entry.forked and floor > entry.fork:
                entry.fork = common_length(entry.mine, entry.theirs, floor, entry.known)

    async def _fill_holes(self, commit: Commit) -> None:
        """Rows of an own log that were lost come from the peer's copy, and what was salvaged behind them follows.

        What the node above does not have, nobody has; of the nodes below another one may.
        """
        filled: dict[str, set[int]] = {}
        for doc, logs in sorted(self._ledger.quarantine.salvaged.items()):
            for replica in sorted(logs.keys() & self._branches.doubts.get(doc, set())):
                entry = self._logs.get((doc, replica))
                if entry is None:
                    entry = _Log(doc, replica, await self._mine(doc, replica), Branch(), 0)
                    self._logs[doc, replica] = entry
                whole, end = splice(entry.mine, entry.theirs, logs[replica])
                if end < whole.end and not self._above:
                    continue
                entry.mine, entry.fork = whole, end
                entry.holed = end < whole.end
                if not entry.holed:
                    entry.final = whole
                filled.setdefault(doc, set()).add(replica)
        if filled:
            self._ledger.quarantine.settled(filled, commit)

    def _of(self, replica: int) -> list[_Log]:
        return [entry for entry in self._logs.values() if entry.replica == replica]

    # -- whose branch stands -------------------------------------------------------------------------------------

    async def _decide(self, replica: int, *, owned: bool) -> None:
        if owned and not self._above:
            await self._take_over(replica)
            return
        entries = self._of(replica)
        forked = any(entry.forked or entry.holed for entry in entries)
        if self._above or not forked:
            for entry in entries:
                if entry.forked or entry.longer:
                    entry.final = entry.theirs
        if owned and forked:
            await self._cut(replica)

    async def _take_over(self, replica: int) -> None:
        """The branch here stands, and goes on as the peer's does where it can; what else only the peer holds is written again.

        Whole transactions only. A transaction of which a part was lost, and what follows it in that log, is not shown and
        never will be: what is whole of that is written again, too.
        """
        await self._add_hidden(replica)
        entries = {entry.doc: entry for entry in self._of(replica)}
        for entry in entries.values():
            if entry.fork == entry.theirs.end:
                # The peer has a part of what is here.
                entry.theirs, entry.fork = entry.mine, entry.mine.end
        upto = await self._adopt(entries, replica)
        for doc, entry in entries.items():
            if entry.longer and upto[doc] == entry.theirs.end:
                entry.final = entry.theirs
            elif entry.longer:
                # Also where nothing is held of it: without an end its log would come again from below, and count twice.
                entry.final = self._sealed(entry.theirs, upto[doc])
        shown = await self._shown_for_ever(entries, replica, upto)
        await self._choose(entries, {doc: e.theirs for doc, e in entries.items()}, shown, self._peer_holds)

    async def _add_hidden(self, replica: int) -> None:
        """Look also at what is here and not shown: the peer may bring the part of it that is lacking."""
        for doc, heads in sorted(self._ledger.working.items()):
            head = heads.get(replica)
            if head is None or head.visible == head.seq or self._ledger.shape_of(doc) is None:
                continue
            mine = await self._mine(doc, replica)
            if mine.end == head.seq:
                self._logs.setdefault((doc, replica), _Log(doc, replica, mine, mine, mine.end))

    async def _adopt(self, entries: Mapping[str, _Log], replica: int) -> dict[str, int]:
        """Return up to where each log is the peer's: so far that no transaction has another part in the place of one of its own."""
        upto = {doc: entry.theirs.end if entry.longer else entry.fork for doc, entry in entries.items()}

        async def may_stand(write: Write) -> bool:
            for doc, seq in write.parts.items():
                entry = entries.get(doc)
                branch = entry.theirs if entry is not None else await self._mine(doc, replica)
                end = upto.get(doc, branch.end)
                if branch.is_sealed:
                    end = min(end, branch.counts)
                is_over = end < branch.end or branch.is_sealed
                if (is_over and seq > end) or branch.is_other(seq, write.txid):
                    return False
            return True

        stable = False
        while not stable:
            stable = True
            for doc, entry in entries.items():
                for write in entry.theirs.writes:
                    if (
                        entry.fork < write.seq <= upto[doc]
                        and not write.merged
                        and not await may_stand(write)
                    ):
                        least = write.seq - 1
                        upto[doc] = least if entry.theirs.can_end_at(least) else entry.fork
                        stable = False
        return upto

    async def _shown_for_ever(
        self, entries: Mapping[str, _Log], replica: int, upto: Mapping[str, int]
    ) -> dict[str, int]:
        """Return up to where each log may yet be shown: what is behind that waits for what an ended log will never bring."""
        ledger = self._ledger
        branches = {doc: entry.final or entry.mine for doc, entry in entries.items()}
        shown = {doc: min(upto[doc], branches[doc].counts) for doc in entries}

        async def may_come(doc: str, seq: int, txid: bytes) -> bool:
            if (
                doc.partition("/")[0] in self._absent
                or doc in ledger.quarantine.held
                or not ledger.holds(doc)
            ):
                return True
            branch = branches[doc] if doc in branches else await self._mine(doc, replica)
            if branch.is_sealed and seq >= min(branch.end, branch.counts + 1):
                return False
            if doc in shown and shown[doc] < seq <= upto[doc]:
                return False
            goes_on = doc in entries and entries[doc].forked and seq > upto[doc]
            return not goes_on and not branch.is_other(seq, txid)

        stable = False
        while not stable:
            stable = True
            for doc in entries:
                for write in branches[doc].writes:
                    if write.seq > shown[doc]:
                        break
                    parts = () if write.merged else write.parts.items()
                    for other, seq in parts:
                        if not await may_come(other, seq, write.txid):
                            shown[doc] = write.seq - 1
                            stable = False
                            break
        return shown

    async def _choose(
        self,
        entries: Mapping[str, _Log],
        sources: Mapping[str, Branch],
        shown: Mapping[str, int],
        is_held: Callable[[str], bool],
    ) -> None:
        """Say what is written again of what is not shown: each transaction that is whole, but for documents not held there."""
        reach = {doc: source.end for doc, source in sources.items()}

        async def is_whole(write: Write, replica: int) -> bool:
            for doc, seq in write.parts.items():
                branch = sources[doc] if doc in sources else await self._mine(doc, replica)
                is_other = not write.merged and branch.is_other(seq, write.txid)
                if (is_other or seq > reach.get(doc, branch.end)) and is_held(doc):
                    return False
            return True

        stable = False
        while not stable:
            stable = True
            for doc, entry in entries.items():
                for write in sources[doc].writes:
                    fresh = shown[doc] < write.seq <= reach[doc]
                    # Of what a compaction left nothing can be taken out of the middle.
                    if write.merged and fresh and not await is_whole(write, entry.replica):
                        reach[doc] = write.seq - 1
                        stable = False
        for doc, entry in entries.items():
            entry.base, entry.source = shown[doc], sources[doc]
            behind = [write for write in sources[doc].writes if shown[doc] < write.seq <= reach[doc]]
            entry.again = [write for write in behind if await is_whole(write, entry.replica)]

    def _peer_holds(self, doc: str) -> bool:
        return doc in self._theirs

    async def _cut(self, replica: int) -> None:
        """The upstream's branch stands; of what it lacks, whole transactions are written again.

        A log that did not fork keeps what it has, unless that belongs to a transaction with a part in one that did. It
        is never cut below what the upstream is known to hold; such a part is left there, hidden, and written again with the others.
        """
        await self._add_all_logs(replica)
        entries = {entry.doc: entry for entry in self._of(replica)}
        keep = {
            doc: entry.fork if entry.forked or entry.holed else entry.mine.end
            for doc, entry in entries.items()
        }
        while self._cut_transactions(entries, keep):
            pass
        for doc, entry in entries.items():
            if keep[doc] < entry.mine.end and not entry.forked:
                entry.final = self._cut_at(entry, keep[doc])
                entry.fork = keep[doc] = entry.final.end - 1
        lost = {doc: keep[doc] for doc, entry in entries.items() if entry.final is not None}
        shown = keep | await self._without(replica, lost)
        await self._choose(entries, {doc: e.mine for doc, e in entries.items()}, shown, self._is_here)
        for doc, entry in entries.items():
            # What was written here is kept, also where a hole took the rest of it.
            mine = [write for write in entry.mine.writes if write.seq > keep[doc]]
            entry.again = [*(write for write in entry.again if write.seq <= keep[doc]), *mine]

    async def _add_all_logs(self, replica: int) -> None:
        """Look at every document that a replica wrote: its transactions may reach into any of them."""
        for doc, heads in sorted(self._ledger.working.items()):
            if doc in self._ledger.quarantine.held:
                continue
            known_here = replica in heads and heads[replica].seq and self._ledger.shape_of(doc) is not None
            if known_here and (doc, replica) not in self._logs:
                mine = await self._mine(doc, replica)
                told = self._theirs.get(doc, {}).get(replica, (0, b""))[0]
                known = max(told, self._acked.get((doc, replica), 0))
                self._logs[doc, replica] = _Log(doc, replica, mine, Branch(), min(known, mine.end))

    def _cut_transactions(self, entries: Mapping[str, _Log], keep: dict[str, int]) -> bool:
        """Give up the other parts of every transaction that is not kept whole; tell whether there were any."""
        found = False
        for doc, entry in entries.items():
            lost = [write for write in entry.mine.writes if write.seq > keep[doc]]
            for write, other, part in ((w, other, part) for w in lost for other, part in w.parts.items()):
                if other in entries and part <= keep[other]:
                    least = self._least(entries[other], part, merged=write.merged)
                    found = found or least < keep[other]
                    keep[other] = min(keep[other], least)
            # Of a part that was lost itself nothing can be read; the other parts name it.
            for write, other, part in (
                (w, other, part) for w in entry.mine.writes for other, part in w.parts.items()
            ):
                holed = other in entries and entries[other].holed and part > keep[other]
                if holed and keep[doc] >= write.seq and not write.merged:
                    least = self._least(entry, write.seq, merged=False)
                    found = found or least < keep[doc]
                    keep[doc] = min(keep[doc], least)
        return found

    @staticmethod
    def _least(entry: _Log, part: int, *, merged: bool) -> int:
        """Down to where a log must be given up for a transaction with this part in it, and may be."""
        wanted = max(entry.fork, entry.fork if merged else part - 1)
        if entry.mine.can_end_at(wanted):
            return wanted
        # Compacted here; the upstream's copy can take its place where it ends at the same point.
        return entry.fork if entry.theirs.end == entry.fork else entry.mine.end

    def _cut_at(self, entry: _Log, seq: int) -> Branch:
        branch = entry.mine if entry.mine.can_end_at(seq) else entry.theirs
        return self._sealed(branch, min(seq, branch.end))

    def _sealed(self, branch: Branch, seq: int, lost: Mapping[str, int] | None = None) -> Branch:
        ledger = self._ledger
        stamp, txid = ledger.hlc.tick(ledger.clock.now_ms()), ledger.clock.random_bytes(16)
        last = seal(branch, seq, stamp, txid, lost)
        return Branch(branch.gone, [*branch.elements[: seq - branch.gone], last])

    async def _skip_known(self, entry: _Log) -> None:
        """Leave out what was written again before, when another neighbour brought the same branch."""
        known = await self._known(entry)
        # Of one that was brought compacted, what it replaced counts in it.
        floor = max([w.seq for w in entry.again if w.stamp in known and w.mark not in known], default=0)
        entry.again = [
            write
            for write in entry.again
            if write.groups and write.seq > floor and write.stamp not in known and write.mark not in known
        ]

    async def _known(self, entry: _Log) -> frozenset[bytes]:
        read = partial(written_again, doc=entry.doc, replica=entry.replica)
        return await self._ledger.storage.read(read)

    def _choose_heirs(self, commit: Commit) -> None:
        """A replica whose log went on elsewhere is never written again, and every branch written again has its heir."""
        ledger = self._ledger
        heirs: dict[int, ReplicaRow] = {}
        for replica in sorted(self._own() & {entry.replica for entry in self._logs.values()}):
            entries = self._of(replica)
            moved = any(entry.final is not None for entry in entries)
            if any(entry.again for entry in entries) or (replica == ledger.replica and moved):
                heirs[replica] = ledger.fresh_replica(commit)
        self._heirs = heirs

    async def _hide(self, replica: int) -> None:
        """Of a transaction with a part in what a log loses nothing stays shown: what is shown follows from the logs alone.

        What the log has instead may be that part again; then all of it is shown in the same step.
        """
        lost = {entry.doc: entry.fork for entry in self._of(replica) if entry.final is not None}
        for doc, upto in (await self._without(replica, lost)).items():
            self._shown[doc, replica] = upto

    async def _without(self, replica: int, lost: Mapping[str, int]) -> dict[str, int]:
        """Return up to where logs are shown that are shown less when these lose what is behind a sequence."""
        found: dict[str, int] = {}
        heads = {
            doc: logs[replica]
            for doc, logs in sorted(self._ledger.working.items())
            if replica in logs and logs[replica].visible and self._is_here(doc)
        }
        stable = False
        while not stable:
            stable = True
            upto = {**lost, **found}
            for doc, head in heads.items():
                mine = await self._mine(doc, replica)
                shown = min(head.visible, upto.get(doc, head.visible))
                for write in mine.writes:
                    if write.seq > shown:
                        break
                    gone = any(
                        other != doc and seq > upto.get(other, seq) for other, seq in write.parts.items()
                    )
                    if gone and not write.merged and mine.can_end_at(write.seq - 1):
                        found[doc] = write.seq - 1
                        stable = False
                        break
        return found

    def _is_here(self, doc: str) -> bool:
        ledger = self._ledger
        return doc not in ledger.quarantine.held and ledger.shape_of(doc) is not None and ledger.holds(doc)

    # -- one transaction -----------------------------------------------------------------------------------------

    def _place(self, old: int, write: Write, doc: str) -> int:
        """Where a write's part in a document is in the heir's log; 0 when it stays where it was."""
        entry, seq = self._logs.get((doc, old)), write.parts[doc]
        # What a compaction left is of many transactions, and a part of none.
        if entry is None or write.merged:
            return 0
        at = entry.written(seq)
        return at if at and not entry.again[at - 1].merged else 0

    def _inherit(self, entry: _Log) -> list[tuple[bytes, tuple[str, ...]]]:
        """Return the heir's log of one document: (element, keys)."""
        assert entry.source is not None
        shape = self._ledger.schema.shape(entry.doc.partition("/")[0])
        other = entry.theirs if entry.source is entry.mine else entry.mine
        totals = totals_at(shape, entry.base, entry.source, other)
        heir = self._heirs[entry.replica].replica
        behind = (write for write in entry.source.writes if write.seq > entry.base)
        written = Heir(
            shape, entry.replica, heir, entry.base, totals, partial(self._place, entry.replica)
        ).write(behind, {write.seq for write in entry.again})
        return [(data, batch.keys()) for batch, data in written]

    async def _rebuild(self, commit: Commit) -> dict[str, Change]:
        ledger, docs = self._ledger, self._docs
        changes = {doc: Change(doc, doc.partition("/")[0]) for doc in docs}
        updates: dict[str, Update] = {}
        for doc in docs:
            stored = await self._update(doc)
            updates[doc] = Update(dict(stored.runs), dict(stored.deleted))
            shown = (await ledger.document(doc)).fold
            ledger.forget(doc)
            for entry in (entry for entry in self._logs.values() if entry.doc == doc):
                if entry.final is not None:
                    self._replace(entry, updates[doc], changes[doc], commit, shown)
                if entry.again:
                    self._bequeath(entry, updates[doc], changes[doc], shown)
                await self._remember(entry, commit)
        for (doc, replica), upto in self._shown.items():
            heads = ledger.working[doc]
            head = heads[replica]
            heads[replica] = Head(head.seq, head.hash, min(head.visible, upto), min(head.cut, upto))
            changes[doc].heads.add(replica)
        for heir in self._heirs.values():
            ledger.take_replica(heir)
        for doc in docs:
            await ledger.install(doc, write_update(updates[doc].runs, updates[doc].deleted), commit)
        for replica in sorted({replica for change in changes.values() for replica in change.heads}):
            await ledger.show(replica, changes, self._absent)
        for doc, change in changes.items():
            document = await ledger.document(doc)
            if doc in self._branches.cuts:
                document.promise(self._branches.cuts[doc], change)
            change.rows = document.fold.rows(document.fold.keys())
            if doc not in commit.dropped_docs:
                commit.dropped_docs.append(doc)
        return changes

    def _replace(self, entry: _Log, update: Update, change: Change, commit: Commit, shown: Fold) -> None:
        """Let a log be another one from its fork on, in a document that was shown so until now."""
        assert entry.final is not None
        doc, replica, final = entry.doc, entry.replica, entry.final
        runs = [Run(0, gone=final.gone)] if final.gone else []
        update.runs[replica] = [*runs, Run(final.gone, [data for _, data in final.elements])]
        update.deleted.pop(replica, None)
        if final.gone:
            update.deleted[replica] = final.gone
        heads = self._ledger.working.setdefault(doc, {})
        head = heads.get(replica, Head())
        chain = final.hash_at(final.end)
        assert chain is not None
        shown_upto = min(entry.fork, final.counts)
        heads[replica] = Head(final.end, chain, min(head.visible, shown_upto), min(head.cut, shown_upto))
        change.heads.add(replica)
        change.hlc = max(change.hlc, *(batch.hlc for batch, _ in final.elements))
        self._ledger.hlc.observe(change.hlc)
        change.recompacted.append((replica, max(head.seq, final.end), final.index))
        held = self._branches.held.get((doc, replica))
        fresh = [one for one in held.parked if final.has(one.seq, one.data)] if held is not None else []
        self._ledger.repark(doc, replica, entry.fork, fresh, commit)
        batches = [batch for batch, _ in final.elements if batch.seq > entry.fork]
        self._undecided[doc, replica] = self._ledger.remove_anew(
            doc, replica, entry.fork, batches, shown, change
        )

    def _bequeath(self, entry: _Log, update: Update, change: Change, shown: Fold) -> None:
        doc, written = entry.doc, self._inherit(entry)
        heir = self._heirs[entry.replica].replica
        update.runs[heir] = [Run(0, [data for data, _ in written])]
        end = len(written)
        last = Branch.of(update.runs[heir]).hash_at(end)
        assert last is not None
        self._ledger.working.setdefault(doc, {})[heir] = Head(end, last, end, end)
        change.heads.add(heir)
        change.recompacted.append((heir, 0, [(seq, keys) for seq, (_, keys) in enumerate(written, 1)]))
        batches = [decode_batch(data) for data, _ in written]
        found = {r.seq: r for r in mass_removals(doc, heir, batches, 0, shown, withhold=False)}
        for removal in self._undecided.get((doc, entry.replica), ()):
            # Deleted here already, so that nothing shown tells any more how much it was.
            if seq := entry.written(removal.seq):
                found.setdefault(seq, Removal(doc, heir, seq, removal.keys))
        self._ledger.note_removals(list(found.values()), change)

    async def _remember(self, entry: _Log, commit: Commit) -> None:
        """Keep what tells the branch that was given up from others, should a neighbour bring it again."""
        if not entry.again or entry.source is None:
            return
        known = await self._known(entry)
        marks = [mark for write in entry.again for mark in (write.mark, write.stamp) if mark]
        marks += entry.source.compaction_marks(entry.base)
        fresh = [mark for mark in dict.fromkeys(marks) if mark not in known]
        if fresh:
            commit.meta[marks_key(entry.doc, entry.replica)] = b"".join([*sorted(known), *fresh])
