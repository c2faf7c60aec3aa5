"""What a node keeps beside its store for the day when something stored breaks it: files, none of them needed to run.

``reading`` says which document's stored bytes are being taken apart; after a crash of the process it still says so, with
the trace of the crash. It is memory that the file shares, so it costs no call of the system: a crash of the process loses
nothing that was written, and after a power cut nobody asks. ``damaged`` holds the damaged rows that were taken out of the store.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import mmap
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from crdtsync.errors import StoreUnavailable
from crdtsync.ownership import hand_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from crdtsync.storage.base import DamagedRow

READING_NAME = "reading"
DAMAGED_NAME = "damaged"
_NAME_BYTES = 1024
"""The document's name, then zeros; the trace of a crash follows."""


class Beside:
    """See the module. ``folder`` is the node's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: int | None = None
        self._name: mmap.mmap | None = None
        self._watching = False

    def open(self) -> tuple[str, str]:
        """Begin; return the document that was being read when the process before this one crashed, and the trace.

        Both are empty when it did not crash. One that was killed, or lost its power, did not.

        Raises:
            StoreUnavailable: the disk refused.
        """
        path = self.folder / READING_NAME
        try:
            before = path.read_bytes() if path.exists() else b""
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            hand_over(path)
            # What follows is written after it.
            os.write(self._file, bytes(_NAME_BYTES))
            self._name = mmap.mmap(self._file, _NAME_BYTES)
        except OSError as error:
            raise StoreUnavailable(str(path), error.strerror or str(error)) from error
        if not faulthandler.is_enabled():
            # It writes when the process aborts or touches memory that is not its own, and not when it is killed.
            faulthandler.enable(self._file, all_threads=False)
            self._watching = True
        doc, _, mark = before[:_NAME_BYTES].rstrip(b"\0").decode("utf-8", "replace").partition("\n")
        trace = mark + before[_NAME_BYTES:].decode("utf-8", "replace").strip()
        return (doc, trace) if trace else ("", "")

    def close(self) -> None:
        """End: nothing is being read."""
        if self._watching:
            faulthandler.disable()
            self._watching = False
        if self._name is not None:
            self._name.close()
            self._name = None
        if self._file is not None:
            os.close(self._file)
            self._file = None
            (self.folder / READING_NAME).unlink(missing_ok=True)

    @contextlib.contextmanager
    def reading(self, doc: str) -> Iterator[None]:
        """Say that a document's stored bytes are being taken apart."""
        name = self._name
        if name is None:
            yield
            return
        # Where the program around this one has the traces go elsewhere, the name alone must count as one.
        told = f"{doc}\n{'' if self._watching else '?'}".encode()
        name[: len(told)] = told
        try:
            yield
        finally:
            name[: len(told)] = bytes(len(told))

    def keep(self, rows: Sequence[DamagedRow], now_ms: int) -> Path:
        """Write damaged rows to a file of their own, durably, and return it: one JSON object a line, bytes in hexadecimal.

        Raises:
            StoreUnavailable: the disk refused.
        """
        moment = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S%f")
        path = self.folder / DAMAGED_NAME / f"{moment}.jsonl"
        try:
            path.parent.mkdir(exist_ok=True)
            hand_over(path.parent)
            with path.open("a", encoding="utf-8") as file:
                hand_over(path)
                for row in rows:
                    facts = {"table": row.table, "document": row.doc, "row": row.values}
                    file.write(json.dumps(facts, default=_hexadecimal, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreUnavailable(str(path), error.strerror or str(error)) from error
        return path


class Nowhere:
    """The twin of a node whose store is in memory: a crash takes all of it, and nothing is kept."""

    def open(self) -> tuple[str, str]:
        """See Beside.open."""
        return "", ""

    def close(self) -> None:
        """See Beside.close."""

    def reading(self, _doc: str) -> contextlib.AbstractContextManager[None]:
        """See Beside.reading."""
        return contextlib.nullcontext()

    def keep(self, _rows: Sequence[DamagedRow], _now_ms: int) -> None:
        """See Beside.keep."""


def _hexadecimal(value: object) -> str:
    assert isinstance(value, bytes)
    return value.hex()
