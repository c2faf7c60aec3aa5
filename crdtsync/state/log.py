"""One document's replica logs in a yrs ``Doc``: the only place that touches pycrdt.

A log is a root array of byte elements that one replica appends to. yrs keeps the state vectors, makes the diffs and
applies updates idempotently; nothing reaches it that ``update.read_update`` has not accepted.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pycrdt import Array, Doc

from crdtsync.errors import LogBroken
from crdtsync.state.update import root_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


def _state_vector(clocks: Mapping[int, int]) -> bytes:
    out = bytearray()
    for value in [len(clocks), *(part for entry in sorted(clocks.items()) for part in entry)]:
        rest = value
        while rest > 0x7F:
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)
    return bytes(out)


class Log:
    """A yrs document whose root arrays are logs. After a ``LogBroken``, which any step may raise, it must be thrown away."""

    def __init__(self, doc: str, replica: int, updates: Iterable[bytes] = ()) -> None:
        self.doc = doc
        self._replica = replica
        self._yrs: Doc[Array[bytes]] = Doc(client_id=replica)
        for update in updates:
            self.apply(update)

    @contextmanager
    def _contained(self) -> Iterator[None]:
        """Turn whatever yrs raises into a LogBroken; the log may be half changed."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # yrs panics derive from BaseException
            raise LogBroken(self.doc, f"{type(error).__name__}: {error}") from error

    def apply(self, update: bytes) -> None:
        """Apply an update that the structural reader accepted and that is contiguous."""
        with self._contained():
            self._yrs.apply_update(update)

    def diff(self, clocks: Mapping[int, int]) -> bytes:
        """Return the update that a peer lacks whose logs have the given lengths."""
        with self._contained():
            return self._yrs.get_update(_state_vector(clocks))

    def encode(self) -> bytes:
        """Return the whole document as one update."""
        with self._contained():
            return self._yrs.get_update()

    def _array(self, replica: int) -> Array[bytes]:
        array: Array[bytes] = self._yrs.get(root_name(replica), type=Array)
        return array

    def elements(self, replica: int) -> list[bytes]:
        """Return the elements of a replica's log that are not compacted away."""
        with self._contained():
            return [bytes(element) for element in self._array(replica)]

    def element(self, replica: int, back: int) -> bytes | None:
        """Return the element that stands ``back`` before the end of a replica's log; None when it is compacted away."""
        with self._contained():
            array = self._array(replica)
            at = len(array) - back
            return bytes(array[at]) if at >= 0 else None
