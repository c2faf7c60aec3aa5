"""A short form of the harness, and that it finds what it looks for when a gate of the node is taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crdtsync.errors import UpdateInvalid
from crdtsync.node.link import Link
from crdtsync.state.document import Change, Document
from tests.faults import attacks
from tests.faults.hostile import hostile
from tests.node.stranger import HELLO

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import pytest

FRAMES = 200
MANY = 50
GROWN_BYTES_MAX = 50_000_000


def _only(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("tests.faults.hostile.UPDATES", {name: attacks.UPDATES[name]})
    monkeypatch.setattr("tests.faults.hostile._UPDATES_OF", 1.0)


async def test_a_hostile_lane_changes_nothing_but_its_own_log(tmp_path: Path) -> None:
    outcome = await hostile(tmp_path, FRAMES, seed=1)
    assert (outcome.sent, outcome.wrong, outcome.crashes) == (FRAMES, [], [])
    assert outcome.refused > outcome.harmless > 0
    assert outcome.grown < GROWN_BYTES_MAX


async def test_a_forged_deletion_is_counted_when_nobody_reads_the_structure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = Document.receive

    def trusting(self: Document, data: bytes, *gates: Any) -> Change:
        try:
            return genuine(self, data, *gates)
        except UpdateInvalid:
            return Change(self.doc, self.shape.category, journal=[data])

    _only(monkeypatch, "forged deletion")
    monkeypatch.setattr(Document, "receive", trusting)
    outcome = await hostile(tmp_path, MANY, seed=1, until_found=True)
    assert any("are gone" in line for line in outcome.wrong)


async def test_a_write_in_the_name_of_another_is_counted_when_nobody_asks_who_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only(monkeypatch, "other writer")
    monkeypatch.setattr(Link, "_may_write", lambda *_: lambda _replica: True)
    monkeypatch.setattr(Link, "_forbidden", lambda *_: lambda _replica: frozenset())
    outcome = await hostile(tmp_path, MANY, seed=1, until_found=True)
    assert any("that it did not write" in line for line in outcome.wrong)


async def test_an_exception_that_nobody_raises_on_purpose_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = Link._on_data

    async def stumbles(link: Link, data: dict[str, Any]) -> None:
        if link.peer is not None and link.peer.device == HELLO["device"]:
            raise ZeroDivisionError
        await genuine(link, data)

    _only(monkeypatch, "lawful")
    monkeypatch.setattr(Link, "_on_data", stumbles)
    outcome = await hostile(tmp_path, MANY, seed=1, until_found=True)
    assert any("ZeroDivisionError" in line for line in outcome.crashes)
