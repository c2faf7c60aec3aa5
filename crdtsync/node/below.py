"""A link below, seen from the node above: requests of the lower node are answered for this node's own link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crdtsync.node.incidents import is_clock_wrong, note_wrong_clock
from crdtsync.node.run import Observer, Run

if TYPE_CHECKING:
    from crdtsync.node.link import Link
    from crdtsync.node.network import Network
    from crdtsync.node.uplink import Uplink


class Below(Observer):
    """Observes one link below; ``uplink`` is this node's own link up, ``network`` knows the nodes below."""

    def __init__(self, uplink: Uplink, network: Network) -> None:
        self._uplink = uplink
        self._network = network
        self._answering = False

    def meets(self, link: Link) -> tuple[str, str] | None:
        """See Observer: a person may have paused the node."""
        return self._network.meet(link)

    def greeted(self, link: Link) -> None:
        """See Observer."""
        if link.peer is not None and is_clock_wrong(link.skew_ms):
            link.spawn(note_wrong_clock, link.ledger, link.peer, link.skew_ms)

    async def ended(self, link: Link, run: Run | None) -> None:
        """See Observer."""
        self._network.ended(link, run)

    def asked(self, link: Link) -> None:
        """See Observer: requests that come before the answer share it."""
        if not self._answering:
            self._answering = True
            link.spawn(self._answer, link)

    async def _answer(self, link: Link) -> None:
        answer = await self._uplink.press()
        self._answering = False
        seconds = answer.seconds
        link.answer(
            accepted=answer.accepted,
            reason=answer.reason.value if answer.reason else None,
            wait_ms=None if seconds is None else round(seconds * 1000),
        )
