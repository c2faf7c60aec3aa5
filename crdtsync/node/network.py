"""The nodes below this one: what is remembered of each, how it stands, and pausing one of them.

What is remembered survives a restart of this node (``remembered.py``), so a lane that has been away for a week is shown
with its last contact. Records that a node lacks are counted from the heads that were compared last; they are exact
while this program runs, and otherwise the last number that was counted.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from crdtsync.errors import BadRequest, ChannelClosed, LinkBroken, NodeMissing
from crdtsync.node.ending import from_text
from crdtsync.node.page import bad_cursor, page_limit
from crdtsync.node.remembered import Neighbour
from crdtsync.node.standing import Sort, Standing
from crdtsync.node.uplink import PAUSED
from crdtsync.said import say, to_form
from crdtsync.schema import Identity, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from crdtsync.node.link import Link
    from crdtsync.node.node import Node
    from crdtsync.node.run import Run
    from crdtsync.node.uplink import Uplink
    from crdtsync.state.document import Change

E = TypeVar("E", bound=StrEnum)
_MINUTE_MS = 60_000


_RANKS = {standing: rank for rank, standing in enumerate(Standing)}

Row = dict[str, Any]

_VALUES: dict[Sort, Callable[[Row], Any]] = {
    Sort.NAME: lambda row: row["device"],
    Sort.STORE: lambda row: row["store"],
    Sort.HEARD: lambda row: row["heard_ms"],
    Sort.WAITING: lambda row: row["waiting"],
    Sort.OLDEST: lambda row: row["waiting_since_ms"],
    Sort.PENDENCIES: lambda row: row["pendencies"],
    Sort.VERSION: lambda row: row["software"],
    Sort.OFFSET: lambda row: None if row["offset_ms"] is None else abs(row["offset_ms"]),
}


class Network:
    """See the module. ``linked`` gives the links below that are up, ``revoked`` the devices that may no longer connect."""

    def __init__(
        self,
        uplink: Uplink,
        linked: Callable[[], Iterable[Link]],
        revoked: Callable[[], frozenset[str]],
    ) -> None:
        self._uplink = uplink
        self._ledger = uplink.ledger
        self._linked = linked
        self._revoked = revoked
        # The last link with each node: what it learned of the other end stays true while that one is away.
        self._links: dict[str, Link] = {}
        # The documents written since this program started, by the store that they belong to (None: to no single one).
        self._fresh: dict[str | None, dict[str, None]] = {}
        self._changes = 0
        self._counted: dict[str, tuple[Link, int, int]] = {}

    # -- what happens ------------------------------------------------------------------------------------------

    def meet(self, link: Link) -> tuple[str, str] | None:
        """A node below said hello: remember who it is; return the code and text of its refusal while it is paused."""
        peer = link.peer
        assert peer is not None
        one = self._uplink.memory.below.setdefault(peer.device, Neighbour())
        one.role, one.store = peer.role.value, peer.store
        one.software, one.offset_ms = link.software, link.skew_ms
        self._uplink.save_soon()
        if one.paused_ms is not None:
            return PAUSED, self._paused_text
        self._links[peer.device] = link
        return None

    def ended(self, link: Link, run: Run | None) -> None:
        """A check or a run with a node below is whole: what it still lacks was written since it began."""
        one = self._of(link)
        if one is None:
            return
        one.trouble = None
        if not link.lags(self._fresh_of(one.store)):
            one.waiting, one.waiting_since_ms = 0, None
        elif one.waiting_since_ms is None or not link.held:
            seconds = 0.0 if run is None or run.ended is None else run.ended - run.started
            began_ms = self._ledger.clock.now_ms() - round(seconds * 1000)
            one.waiting_since_ms = max(one.waiting_since_ms or 0, began_ms)
        self._uplink.save_soon()

    def broke(self, link: Link, reason: LinkBroken | ChannelClosed) -> None:
        """A link below ended; a refusal stays to be seen until a check or run is whole."""
        one = self._of(link)
        if one is not None and isinstance(reason, LinkBroken) and reason.code not in {"bye", PAUSED}:
            one.trouble = str(reason)

    def _of(self, link: Link) -> Neighbour | None:
        return None if link.peer is None else self._uplink.memory.below.get(link.peer.device)

    def changed(self, changes: list[Change]) -> None:
        """Records were written here, or came here: note who is to get them, since when, and from which lane they are."""
        now_ms = self._ledger.clock.now_ms()
        for change in changes:
            if not change.journal:
                continue
            self._changes += 1
            store, _ = self._owner(change.doc)
            self._fresh.setdefault(store, {})[change.doc] = None
            for device, one in self._uplink.memory.below.items():
                if (
                    one.waiting_since_ms is None
                    and store in {None, one.store}
                    and self._is_for(one, device, change)
                ):
                    one.waiting_since_ms = now_ms
                    self._uplink.save_soon()
            if self._ledger.identity.role is Role.GESTAO:
                self._note_lanes(change, now_ms)

    def _is_for(self, one: Neighbour, device: str, change: Change) -> bool:
        if one.role is None:
            return False
        link = self._links.get(device)
        identity = Identity(device, Role(one.role), self._ledger.identity.account, one.store)
        shared = link is None or change.category in link.shared
        return shared and self._ledger.held_by(identity, change.doc)

    def _note_lanes(self, change: Change, now_ms: int) -> None:
        for replica, *_ in change.touched:
            row = self._ledger.registry.get(replica)
            if row is not None and row.role == Role.CAIXA:
                self._uplink.memory.lanes[f"{row.store}/{row.device}"] = now_ms
                self._uplink.save_soon()

    def _owner(self, doc: str) -> tuple[str | None, str | None]:
        shape = self._ledger.shape_of(doc)
        return (None, None) if shape is None else shape.partition.owner(tuple(doc.split("/")[1:]))

    def _fresh_of(self, store: str | None) -> dict[str, None]:
        return {**self._fresh.get(None, {}), **self._fresh.get(store, {})}

    # -- pausing -----------------------------------------------------------------------------------------------

    @property
    def _paused_text(self) -> str:
        return f"{self._ledger.identity.device} paused this node; what is written here is kept until it is resumed there"

    async def pause(self, device: str) -> Neighbour:
        """Let a node below stand still: it is refused until ``resume``, and told why. What it writes is kept there.

        Raises:
            NodeMissing: no node of this name was ever connected here.
        """
        one = self.find(device)
        if one.paused_ms is None:
            one.paused_ms = self._ledger.clock.now_ms()
        await self._uplink.save()
        for link in self._linked():
            if link.peer is not None and link.peer.device == device:
                await link.dismiss(PAUSED, self._paused_text)
        return one

    async def resume(self, device: str) -> Neighbour:
        """Undo ``pause``; the node comes back by itself within a minute.

        Raises:
            NodeMissing: see ``pause``.
        """
        one = self.find(device)
        one.paused_ms = None
        await self._uplink.save()
        return one

    def find(self, device: str) -> Neighbour:
        """Return what is remembered of a node below. Raises NodeMissing when none of this name was ever connected here."""
        found = self._uplink.memory.below.get(device)
        if found is None:
            raise NodeMissing(device)
        return found

    # -- what is shown -----------------------------------------------------------------------------------------

    def standing(self) -> dict[str, Standing]:
        """Return how each node below stands."""
        up, now_ms = self._up(), self._ledger.clock.now_ms()
        silent_ms = self._uplink.config.alert_silent_minutes * _MINUTE_MS
        found: dict[str, Standing] = {}
        revoked = self._revoked()
        for device, one in self._uplink.memory.below.items():
            if device in revoked:
                found[device] = Standing.REVOKED
            elif device not in up and now_ms - self._heard(device, up) > silent_ms:
                found[device] = Standing.SILENT
            elif one.trouble is not None:
                found[device] = Standing.FAILING
            elif one.paused_ms is not None:
                found[device] = Standing.PAUSED
            else:
                found[device] = Standing.CONNECTED if device in up else Standing.APART
        return found

    def _up(self) -> dict[str, Link]:
        return {link.peer.device: link for link in self._linked() if link.peer is not None}

    def _heard(self, device: str, up: Mapping[str, Link]) -> int:
        return up[device].heard_ms if device in up else self._uplink.memory.heard.get(device, 0)

    async def rows(self) -> list[Row]:
        """Return every node below as it is shown, by name; ``waiting`` is as it was counted last."""
        documents = await self._ledger.storage.read(lambda view: view.pendencies_by_document())
        stores: dict[str | None, int] = {}
        lanes: dict[tuple[str | None, str | None], int] = {}
        for doc, count in documents.items():
            store, lane = self._owner(doc)
            stores[store] = stores.get(store, 0) + count
            lanes[store, lane] = lanes.get((store, lane), 0) + count
        up, below = self._up(), self._lanes_below()
        found: list[Row] = []
        for device, standing in sorted(self.standing().items()):
            one = self._uplink.memory.below[device]
            link = up.get(device)
            own = lanes.get((one.store, device), 0) if one.role == Role.CAIXA else stores.get(one.store, 0)
            run = link.run_now if link is not None and link.busy else None
            trouble = None if one.trouble is None else from_text(one.trouble)
            found.append(
                {
                    "device": device,
                    "role": one.role,
                    "store": one.store,
                    "state": standing.value,
                    "connected": link is not None,
                    "heard_ms": self._heard(device, up) or None,
                    "waiting": one.waiting,
                    "waiting_exact": False,
                    "waiting_since_ms": one.waiting_since_ms,
                    "percent": None if run is None else run.percent(),
                    "pendencies": own,
                    "software": one.software,
                    "offset_ms": one.offset_ms,
                    "paused_ms": one.paused_ms,
                    "trouble": trouble,
                    "said": None if trouble is None else to_form(trouble),
                    "lanes": below.get(one.store, []),
                }
            )
        return found

    def _lanes_below(self) -> dict[str | None, list[Row]]:
        """Return the lanes of each store that this node knows of without being connected to them."""
        if self._ledger.identity.role is not Role.GESTAO:
            return {}
        names = {(row.store, row.device) for row in self._ledger.registry.values() if row.role == Role.CAIXA}
        found: dict[str | None, list[Row]] = {}
        for store, device in sorted(names, key=str):
            newest = self._uplink.memory.lanes.get(f"{store}/{device}")
            found.setdefault(store, []).append({"device": device, "newest_ms": newest})
        return found

    async def count(self, row: Row) -> None:
        """Bring the waiting records of a row up to date, where heads were compared since this program started."""
        device = row["device"]
        link, one = self._links.get(device), self._uplink.memory.below[device]
        if link is None:
            return
        made_of = (link, link.runs_ended, self._changes)
        if link.run_now is not None or self._counted.get(device) != made_of:
            lacking = await link.lacking(self._fresh_of(one.store))
            if lacking is None:
                return
            one.waiting = sum(lacking.values())
            self._counted[device] = made_of
        if not one.waiting:
            one.waiting_since_ms = None
        row |= {"waiting": one.waiting, "waiting_since_ms": one.waiting_since_ms, "waiting_exact": True}


def _worst(row: Row) -> tuple[Any, ...]:
    """The longest silent first; then by how it stands, what waits, and pendencies."""
    silent_since = row["heard_ms"] or 0 if row["state"] == Standing.SILENT else 0
    return (_RANKS[row["state"]], silent_since, -(row["waiting"] or 0), -row["pendencies"])


def _in_order(rows: list[Row], sort: Sort, *, descending: bool) -> list[Row]:
    """Sort rows that stand by name; what is not known comes last in either direction."""
    if sort is Sort.WORST:
        return sorted(rows, key=_worst, reverse=descending)
    value = _VALUES[sort]
    known = [row for row in rows if value(row) is not None]
    return sorted(known, key=value, reverse=descending) + [row for row in rows if value(row) is None]


# -- verbs ---------------------------------------------------------------------------------------------------------


async def network(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """A page of the nodes below, the worst first; see ``docs/api.md``.

    Arguments: ``sort`` (a ``Sort``), ``descending``, ``name`` (a part of the device's or store's), ``state`` (a
    ``Standing``), ``limit``, ``after``.
    """
    sort, state = _one_of(Sort, args, "sort") or Sort.WORST, _one_of(Standing, args, "state")
    limit = page_limit(args)
    part = str(args.get("name") or "").casefold()
    every = await node.network.rows()
    named = [
        row for row in every if part in row["device"].casefold() or part in (row["store"] or "").casefold()
    ]
    chosen = [row for row in named if state in {None, row["state"]}]
    rows = _in_order(chosen, sort, descending=bool(args.get("descending")))
    begin = _place(rows, args.get("after"))
    page = rows[begin : begin + limit]
    for row in page:
        await node.network.count(row)
    return {
        "now_ms": node.ledger.clock.now_ms(),
        "time_zone": node.config.time_zone,
        "upstream": node.config.upstream,
        "link": node.agenda.link(),
        "total": len(rows),
        "counts": {one.value: sum(row["state"] == one for row in named) for one in Standing},
        "below": page,
        "after": page[-1]["device"] if begin + limit < len(rows) else None,
    }


def _one_of(kind: type[E], args: Mapping[str, Any], name: str) -> E | None:
    said = args.get(name)
    if said is not None and said not in list(kind):
        words = tuple(one.value for one in kind)
        raise BadRequest(
            say("{name} = {said}; write one of {words}", name=name, said=repr(said), words=words)
        )
    return None if said is None else kind(said)


def _place(rows: list[Row], after: str | None) -> int:
    if after is None:
        return 0
    found = next((place for place, row in enumerate(rows, 1) if row["device"] == after), None)
    if found is None:
        raise bad_cursor(after)
    return found


async def network_pause(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Let the node below named ``device`` stand still; it is told so, and keeps what it writes."""
    return _paused(args["device"], await node.network.pause(args["device"]))


async def network_resume(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Undo ``network_pause``."""
    return _paused(args["device"], await node.network.resume(args["device"]))


def _paused(device: str, one: Neighbour) -> dict[str, Any]:
    return {"device": device, "paused": one.paused_ms is not None, "paused_ms": one.paused_ms}


NETWORK = {"network": network, "network_pause": network_pause, "network_resume": network_resume}
