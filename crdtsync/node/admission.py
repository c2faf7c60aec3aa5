"""Who may connect to this node: its registry of devices, pairing codes, and one connection a device.

What a device may be and whose it is stands in the registry; a greeting only repeats it. A node whose enrolment is
open asks for the proof of a key all the same, and believes the rest.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crdtsync import limits
from crdtsync.errors import BadRequest
from crdtsync.identity.keys import fingerprint_of, grouped, is_signed
from crdtsync.identity.pairing import SECRET_BYTES, code_id
from crdtsync.protocol.greeting import signed_greeting
from crdtsync.said import say
from crdtsync.schema import Role
from crdtsync.storage.base import Commit, DeviceRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from crdtsync.node.ledger import Ledger
    from crdtsync.node.link import Link

INVITED, WAITING, APPROVED, SEEN, REVOKED = "invited", "waiting", "approved", "seen", "revoked"
ROLE_BELOW = {Role.GESTAO: Role.LOJA, Role.LOJA: Role.CAIXA}
_PREFIX_CHARS_MIN = 8
_HOUR_MS = 3_600_000
_TAKES_BACK = "takes_back_until"
log = logging.getLogger("crdtsync")

Refusal = tuple[str, str]
"""A code of `REFUSALS` and what to tell the peer."""


def role_below(role: Role) -> Role:
    """Return the role of the nodes that connect to one of a role.

    Raises:
        BadRequest: none do.
    """
    below = ROLE_BELOW.get(role)
    if below is None:
        raise BadRequest(say("nothing connects to a {role}", role=role))
    return below


class Admission:
    """See the module. ``links`` are the links below, the oldest first; ``ready`` tells whether lanes may synchronize."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        closed: bool,
        links: Callable[[], Iterable[Link]],
        ready: Callable[[], bool],
    ) -> None:
        self.closed = closed
        self.doubled: dict[str, int] = {}
        """Device -> when a second connection of it was refused last."""
        self._ledger = ledger
        self._links = links
        self._ready = ready
        self.claimed: dict[str, int] = {}
        """Device -> when it claimed more of this node's own log than this node has."""
        self._rows: dict[str, DeviceRow] = {}
        self._takes_back_until_ms = 0
        # One code admits one device, however many greet with it at once.
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Read the registry."""
        rows = await self._ledger.storage.read(lambda view: view.devices())
        self._rows = {row.id: row for row in rows}
        until = await self._ledger.storage.read(lambda view: view.meta(_TAKES_BACK))
        self._takes_back_until_ms = int.from_bytes(until or b"", "big")

    # -- a greeting --------------------------------------------------------------------------------------------

    async def identify(self, hello: dict[str, Any], nonce: bytes, binding: bytes) -> Refusal | None:
        """Say why who greets is not let in; None when it is who it says and may be that here."""
        if not is_signed(hello["key"], hello["signature"], signed_greeting(hello, nonce, binding)):
            log.warning("a greeting that says %s is not signed for this connection", hello["device"])
            return "unproven", "the greeting is not signed for this connection"
        async with self._turn:
            row = self._rows.get(fingerprint_of(hello["key"]))
            if not self.closed and (row is None or row.status != REVOKED):
                if row is None:
                    await self._note_seen(hello)
                return None
            # What came while enrolment was open was never looked at by a person.
            if row is None or row.status == SEEN:
                return await self._redeem(hello)
        return self._standing(row, hello)

    async def _note_seen(self, hello: dict[str, Any]) -> None:
        """Keep the key of a device that came while enrolment is open, so that it can be revoked; one key a name."""
        device = hello["device"]
        former = [row.id for row in self._rows.values() if row.status == SEEN and row.device == device]
        now_ms = self._ledger.clock.now_ms()
        seen = DeviceRow(
            fingerprint_of(hello["key"]),
            SEEN,
            device,
            hello["role"],
            hello["store"] or "",
            hello["key"],
            None,
            now_ms,
        )
        await self._replace(seen, former)

    def _standing(self, row: DeviceRow, hello: dict[str, Any]) -> Refusal | None:
        """Say why a known key is not let in."""
        if row.status == REVOKED:
            return "revoked", f"{row.device} was revoked here"
        if wrong := self._contradiction(row, hello):
            return "not_allowed", wrong
        if row.status == WAITING:
            shown = grouped(row.id)
            return (
                "not_approved",
                f"{row.device} waits for a person to approve it here; its fingerprint: {shown}",
            )
        return None

    def _contradiction(self, row: DeviceRow, hello: dict[str, Any]) -> str | None:
        """Say what a greeting claims that the registry does not."""
        known = (row.device or hello["device"], row.role, row.store, self._ledger.identity.account)
        if (hello["device"], hello["role"], hello["store"], hello["account"]) == known:
            return None
        device, role, store, account = known
        return f"this key is registered as {device}, a {role} of store {store} in account {account}"

    async def _redeem(self, hello: dict[str, Any]) -> Refusal:
        """Take a new key in, to wait for a person, if it brings a code; the code is burnt."""
        if hello["code"] is None:
            return "unknown_device", "this device is not registered here; pair it"
        row = self._invitation(hello["code"])
        if row is None or (row.expires_ms or 0) <= self._ledger.clock.now_ms():
            log.warning("a pairing code that is unknown, used or expired was shown by %s", hello["device"])
            return "bad_code", "the pairing code is unknown, used or expired; ask for a new one"
        if wrong := self._contradiction(row, hello):
            return "not_allowed", wrong.replace("this key is registered as", "the pairing code is for")
        taken = DeviceRow(
            id=fingerprint_of(hello["key"]),
            status=WAITING,
            device=hello["device"],
            role=row.role,
            store=row.store,
            key=hello["key"],
            expires_ms=None,
            changed_ms=self._ledger.clock.now_ms(),
        )
        await self._replace(taken, [row.id])
        log.warning("%s used a pairing code and waits to be approved: %s", taken.device, grouped(taken.id))
        refusal = self._standing(taken, hello)
        assert refusal is not None
        return refusal

    def _invitation(self, secret: str) -> DeviceRow | None:
        """Find the unused code of a secret; how long it takes does not tell how near a guess was."""
        wanted = code_id(secret)
        found = [row for row in self._rows.values() if hmac.compare_digest(row.id, wanted)]
        return next((row for row in found if row.status == INVITED), None)

    async def hinder(self, link: Link) -> Refusal | None:
        """Say why a device that may connect does not now."""
        assert link.peer is not None
        device, me = link.peer.device, self._ledger.identity.device
        if not self._ready():
            # A lane that synchronized now would take a part of the catalogue for the whole.
            return "too_busy", f"{me} is still in its initial synchronization"
        for other in list(self._links()):
            if other is link:
                break
            if other.peer is None or other.peer.device != device:
                continue
            if await other.channel.answers(limits.ALIVE_SECONDS):
                self.doubled[device] = self._ledger.clock.now_ms()
                log.warning(
                    "%s is connected; a second connection from %s is refused", device, link.channel.peer
                )
                return (
                    "already_connected",
                    f"{device} is connected to {me} from elsewhere; two nodes have its key",
                )
            log.warning("%s connected again; its older connection is dead and is closed", device)
            await other.leave(f"a newer connection of {device} took this one's place")
        return None

    def lately(self, found: dict[str, int]) -> dict[str, int]:
        """Return those of ``doubled`` or ``claimed`` that are not long ago."""
        since = self._ledger.clock.now_ms() - limits.DOUBLED_MS
        return {device: when for device, when in found.items() if when > since}

    # -- this node's own logs, from below ----------------------------------------------------------------------

    @property
    def takes_back(self) -> bool:
        """Whether nodes below may give back what this node wrote and lost.

        They could as well make it up, with this node's rights: where enrolment is closed a person says so first.
        """
        return not self.closed or self._ledger.clock.now_ms() < self._takes_back_until_ms

    def refuse_claim(self, device: str) -> Refusal | None:
        """Say why a device that holds more of this node's own log than this node has is turned away; None when it is not."""
        if self.takes_back:
            return None
        self.claimed[device] = self._ledger.clock.now_ms()
        me = self._ledger.identity.device
        log.warning("%s holds more of the log of %s than is here; was this store put back?", device, me)
        text = f"{device} holds more of the log of {me} than {me} has; if it was restored, say `crdtsync recover` there"
        return "not_recovering", text

    async def recover(self) -> int:
        """Take back what nodes below hold of this node's own logs, for a day; return until when, ms since 1970 UTC.

        Raises:
            BadRequest: nothing connects to this node.
        """
        role_below(self._ledger.identity.role)
        until_ms = self._ledger.clock.now_ms() + limits.TAKES_BACK_MS
        await self._ledger.commit(Commit(meta={_TAKES_BACK: until_ms.to_bytes(8, "big")}))
        self._takes_back_until_ms = until_ms
        self.claimed.clear()
        return until_ms

    def waiting(self) -> dict[str, int]:
        """Return the devices that wait for a person to approve them, each with since when."""
        return {
            row.device: row.changed_ms for row in self._rows.values() if row.device and row.status == WAITING
        }

    def revoked(self) -> frozenset[str]:
        """Return the names of devices that may no longer connect with any key."""
        rows = self._rows.values()
        gone = {row.device for row in rows if row.device and row.status == REVOKED}
        return frozenset(gone - {row.device for row in rows if row.status in {APPROVED, SEEN}})

    # -- what an operator does ---------------------------------------------------------------------------------

    def devices(self) -> list[DeviceRow]:
        """Return the registry: unused codes, devices that wait, that are approved, that are revoked."""
        order = (INVITED, WAITING, APPROVED, SEEN, REVOKED)
        return sorted(
            self._rows.values(), key=lambda row: (order.index(row.status), row.device or "", row.id)
        )

    async def invite(self, *, store: str | None, device: str | None, hours: float) -> tuple[str, DeviceRow]:
        """Make a pairing code for a node of a store; return its secret, which is kept nowhere, and its row.

        Raises:
            BadRequest: nothing connects to this node, the store is not known, or the time is not allowed.
        """
        me = self._ledger.identity
        role = role_below(me.role)
        if me.store is not None and store not in {None, me.store}:
            raise BadRequest(say("this node admits lanes of store {own} only", own=me.store))
        owner = me.store or store
        if owner is None:
            raise BadRequest(say("the store is missing; name it (`--store loja1`)"))
        if not 0 < hours <= limits.PAIRING_HOURS_MAX:
            raise BadRequest(
                say(
                    "hours = {hours}; write a number up to {most}", hours=hours, most=limits.PAIRING_HOURS_MAX
                )
            )
        secret, now_ms = secrets.token_hex(SECRET_BYTES), self._ledger.clock.now_ms()
        expires_ms = now_ms + round(hours * _HOUR_MS)
        row = DeviceRow(code_id(secret), INVITED, device, role.value, owner, None, expires_ms, now_ms)
        over = [
            old.id for old in self._rows.values() if old.expires_ms is not None and old.expires_ms <= now_ms
        ]
        await self._change(row, without=over)
        return secret, row

    async def approve(self, name: str) -> DeviceRow:
        """Let a device in from now on: one that waits, or was revoked. ``name``: its fingerprint, or the first 8 of it.

        Raises:
            BadRequest: no such device, several, or another key of the same name is approved.
        """
        # What came while enrolment was open was never checked; it needs a code like any other.
        among = [one for one in self._rows.values() if one.key is not None and one.status != SEEN]
        row = self._found(name, among, by_device=False)
        if row.status == APPROVED:
            return row
        for other in self._rows.values():
            if other.status == APPROVED and other.device == row.device:
                raise BadRequest(
                    say(
                        "{device} is approved with another key, {fingerprint}; revoke that one first",
                        device=row.device,
                        fingerprint=grouped(other.id),
                    )
                )
        return await self._change(replace(row, status=APPROVED, changed_ms=self._ledger.clock.now_ms()))

    async def revoke(self, name: str) -> DeviceRow:
        """Cut a device off now and for the time to come, or take an unused code back; what it wrote stays.

        ``name`` is the device's name, its fingerprint, or the first 8 digits of that or of the code's id.

        Raises:
            BadRequest: no such device, several, or it is revoked already.
        """
        async with self._turn:
            among = [one for one in self._rows.values() if one.status != REVOKED]
            gone = [one for one in self._rows.values() if one.status == REVOKED]
            if not _matching(name, among, by_device=True) and _matching(name, gone, by_device=True):
                raise BadRequest(say("{name} is revoked already", name=repr(name)))
            row = self._found(name, among, by_device=True)
            if row.key is None:
                await self._ledger.commit(Commit(forgotten_devices=[row.id]))
                del self._rows[row.id]
                return row
        revoked = await self._change(replace(row, status=REVOKED, changed_ms=self._ledger.clock.now_ms()))
        for link in list(self._links()):
            # By key: another device may only call itself by the same name.
            if link.key == revoked.key:
                await link.dismiss("revoked", f"{revoked.device} was revoked here")
        return revoked

    async def _change(self, row: DeviceRow, without: Collection[str] = ()) -> DeviceRow:
        async with self._turn:
            await self._replace(row, [one for one in without if one in self._rows])
        return row

    async def _replace(self, row: DeviceRow, without: Collection[str]) -> None:
        """Write a row, and take others out, in one commit; in one's turn."""
        await self._ledger.commit(Commit(devices=[row], forgotten_devices=list(without)))
        for one in without:
            del self._rows[one]
        self._rows[row.id] = row

    def _found(self, name: str, among: list[DeviceRow], *, by_device: bool) -> DeviceRow:
        found = _matching(name, among, by_device=by_device)
        if len(found) == 1:
            return found[0]
        if found:
            raise BadRequest(say("{name} means several devices; give its whole fingerprint", name=repr(name)))
        raise BadRequest(
            say("{name}: no such device; `crdtsync devices` lists fingerprints", name=repr(name))
        )


def _matching(name: str, among: list[DeviceRow], *, by_device: bool) -> list[DeviceRow]:
    """Return the rows that a name, or a fingerprint, or the first digits of one, may mean."""
    wanted = name.replace("-", "").lower()
    prefixed = len(wanted) >= _PREFIX_CHARS_MIN
    return [
        row
        for row in among
        if (prefixed and row.id.startswith(wanted)) or (by_device and row.key and row.device == name)
    ]
