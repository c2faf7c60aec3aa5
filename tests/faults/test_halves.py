"""A short form of the harness of halves, and that it finds what it looks for."""

from __future__ import annotations

import logging

import pytest

from crdtsync.node.recovery import Recovery
from crdtsync.state.document import Document
from tests.faults.halves import run

SCHEDULES = 24
HUNTED = 40


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "crdtsync")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("who", ["gestao", "loja1", "caixa1"])
def test_a_restored_node_whose_neighbours_hold_halves_tears_loses_and_doubles_nothing(who: str) -> None:
    found = [run(seed, who, refuse=not seed % 2) for seed in range(1, SCHEDULES + 1)]
    assert [outcome.wrong for outcome in found if outcome.wrong] == []
    assert any(outcome.halves for outcome in found)
    assert any(outcome.forked for outcome in found)


def hunt(who: str) -> list[str]:
    """What is wrong in the first schedule in which anything is."""
    for seed in range(1, HUNTED + 1):
        if wrong := run(seed, who).wrong:
            return wrong
    return []


@pytest.mark.timeout(180)
def test_a_part_that_is_known_by_its_place_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Document, "part", lambda *_: b"")

    async def nothing(_self: Recovery, _replica: int) -> None:
        return

    monkeypatch.setattr(Recovery, "_hide", nothing)
    assert hunt("loja1")


@pytest.mark.timeout(180)
def test_a_log_that_is_never_given_up_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_self: Recovery) -> bool:
        return False

    monkeypatch.setattr(Recovery, "give_up", nothing)
    assert hunt("caixa1") or hunt("gestao")
