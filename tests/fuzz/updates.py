"""Fuzzes the structural reader of updates: `python -m tests.fuzz.updates`, see `engine`.

What the reader accepts is what yrs then does: the same elements of the same logs, whole or in pieces, and what yrs holds
afterwards can be read, stored and passed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crdtsync.errors import UpdateInvalid
from crdtsync.state import update as module
from crdtsync.state.log import Log
from crdtsync.state.update import Run, read_update, split_update, write_update
from tests.fuzz import engine

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from crdtsync.state.update import Update

NAME = "updates"
_READER = (1 << 53) - 1
"""The replica that reads: no log of a seed is its own."""

_PIECE_BYTES_MAX = 8


def check(data: bytes) -> bool:
    """Tell whether the reader accepts an update; an AssertionError, or any error but its own, is a finding."""
    try:
        update = read_update(data)
    except UpdateInvalid:
        return False
    again = read_update(write_update(update.runs, update.deleted))
    assert again == update, "what was read is written as something else"
    if update.runs:
        said = _elements(update)
        assert _held([data], update) == said, "yrs holds something else than the reader says"
        if _is_passed_on(update):
            pieces = [
                write_update(piece.runs, piece.deleted) for piece in split_update(update, _PIECE_BYTES_MAX)
            ]
            assert _held(pieces, update) == said, "the pieces of an update make something else of it"
    return True


def _elements(update: Update) -> dict[int, list[bytes]]:
    """What is left of each log that the update extends, to who had what is before it only as deleted."""
    return {
        replica: [
            element
            for run in runs
            for clock, element in enumerate(run.elements, run.clock)
            if clock >= update.deleted.get(replica, 0)
        ]
        for replica, runs in update.runs.items()
    }


def _is_passed_on(update: Update) -> bool:
    """Whether the gate of a document would look at it further: all that is gone is deleted, and elements follow it."""
    return all(
        runs[-1].elements
        and max((run.end for run in runs if run.gone), default=0) <= update.deleted.get(replica, 0)
        and update.deleted.get(replica, 0) <= runs[-1].end
        for replica, runs in update.runs.items()
    )


def _held(updates: Iterable[bytes], whole: Update) -> dict[int, list[bytes]]:
    """Apply updates to a document that has what is before ``whole``; return its logs, read in both ways."""
    log = Log("fuzz", _READER)
    for replica, runs in whole.runs.items():
        if before := runs[0].clock:
            log.apply(write_update({replica: [Run(0, gone=before)]}, {replica: before}))
    for update in updates:
        log.apply(update)
    stored = read_update(log.encode())
    held = {replica: log.elements(replica) for replica in whole.runs}
    assert held == {
        replica: [element for run in stored.runs.get(replica, []) for element in run.elements]
        for replica in whole.runs
    }, "what yrs encodes is not what it holds"
    return held


def mutate(data: bytes, dice: Random) -> bytes:
    """Return an input that is near this one."""
    return engine.mutated(data, dice)


if __name__ == "__main__":
    engine.fuzz(NAME, check, mutate, [module])
