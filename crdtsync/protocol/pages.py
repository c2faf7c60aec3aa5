"""Pages: a map over many documents, cut into frames that fit and put together again.

Used by the session for digests, heads, plans and fences, so that its callers never see a page. Nothing here knows the
conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from crdtsync import limits
from crdtsync.errors import FrameInvalid

if TYPE_CHECKING:
    from crdtsync.protocol.frames import Payload


def pages(payload: Mapping[str, Any]) -> Iterator[Payload]:
    """Cut ``payload["docs"]`` into pages of at most ``PAGE_ENTRIES_MAX`` entries; the other fields ride on the first.

    An entry is a document, or a replica of a document; a document with many replicas may be spread over pages.
    """
    rest = dict(payload)
    page: dict[str, Any] = {}
    room = limits.PAGE_ENTRIES_MAX
    for doc, value in payload["docs"].items():
        whole = not isinstance(value, Mapping)
        left = [] if whole else list(value.items())
        while True:
            if room <= 1:
                yield {**rest, "docs": page, "more": True}
                rest = {name: type(value)() for name, value in rest.items()}
                page, room = {}, limits.PAGE_ENTRIES_MAX
            part, left = left[: room - 1], left[room - 1 :]
            page[doc] = value if whole else dict(part)
            room -= 1 + len(part)
            if not left:
                break
    yield {**rest, "docs": page, "more": False}


class Pages:
    """Puts the pages of one frame together, up to ``LINK_ENTRIES_MAX`` entries."""

    def __init__(self) -> None:
        self._whole: Payload | None = None
        self._entries = 0

    @property
    def open(self) -> bool:
        """Whether a page promised more and the last one has not come."""
        return self._whole is not None

    def add(self, page: Payload) -> Payload | None:
        """Take a page; return the whole payload (without ``more``) when it was the last.

        Raises:
            FrameInvalid: two pages say the same thing, or there are too many entries.
        """
        if self._whole is None:
            self._whole = {
                name: {} if name == "docs" else value for name, value in page.items() if name != "more"
            }
        elif any(value for name, value in page.items() if name not in {"docs", "more"}):
            raise FrameInvalid("a page after the first says more than its documents")
        self._merge(self._whole["docs"], page["docs"])
        if page["more"]:
            return None
        whole, self._whole, self._entries = self._whole, None, 0
        return whole

    def _merge(self, docs: dict[str, Any], page: Mapping[str, Any]) -> None:
        for doc, value in page.items():
            nested = isinstance(value, dict)
            self._entries += 1 + (len(value) if nested else 0)
            if self._entries > limits.LINK_ENTRIES_MAX:
                raise FrameInvalid(f"more than {limits.LINK_ENTRIES_MAX} entries in one paged frame")
            held = docs.setdefault(doc, value)
            if held is value:
                continue
            if not isinstance(held, dict) or not nested or held.keys() & value.keys():
                raise FrameInvalid(f"two pages say the same of {doc}")
            held.update(value)
