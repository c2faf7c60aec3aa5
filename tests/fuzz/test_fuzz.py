"""The corpus of the fuzzers, and some thousand changes of it, without atheris."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crdtsync import limits
from crdtsync.protocol.frames import FIELDS, Check
from crdtsync.protocol.table import Kind
from crdtsync.state import fold
from tests.fuzz import batches, engine, frames, seeds, updates

if TYPE_CHECKING:
    from types import ModuleType

FUZZERS = (updates, frames, batches)
CHANGES = 1_500
ROUNDS_MAX = 4
fuzzed = pytest.mark.parametrize("fuzzer", FUZZERS, ids=[one.NAME for one in FUZZERS])


@fuzzed
def test_the_seeds_are_what_documents_and_sessions_say_today(fuzzer: ModuleType) -> None:
    kept = {path.name: path.read_bytes() for path in (engine.CORPUS / fuzzer.NAME).glob("seed-*")}
    made = {f"seed-{name}": data for name, data in seeds.SEEDS[fuzzer.NAME]()}
    assert kept == made, "run python -m tests.fuzz.seeds"
    assert all(fuzzer.check(data) for data in made.values())


@fuzzed
def test_what_was_found_stays_mended(fuzzer: ModuleType) -> None:
    _check_all(fuzzer)


@fuzzed
def test_changes_of_the_corpus_are_refused_or_mean_what_they_say(fuzzer: ModuleType) -> None:
    corpus = engine.corpus(fuzzer.NAME)
    outcomes = {True: 0, False: 0}

    @settings(
        max_examples=CHANGES, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(st.sampled_from(corpus), st.integers(0, (1 << 64) - 1), st.integers(1, ROUNDS_MAX))
    def change(data: bytes, seed: int, rounds: int) -> None:
        dice = Random(seed)
        for _ in range(rounds):
            data = fuzzer.mutate(data, dice)
        outcomes[fuzzer.check(data)] += 1

    change()
    # Both sides of the gate are reached: otherwise the changes would say nothing.
    assert min(outcomes.values()) > CHANGES // 100, outcomes


def test_a_reader_that_takes_more_than_yrs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEQ_MAX", 1 << 40)
    with pytest.raises(AssertionError, match="yrs holds something else"):
        _check_all(updates)


def test_a_check_of_values_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "_PLAIN", {*fold._PLAIN, msgpack.Timestamp})
    with pytest.raises(AssertionError, match="holds a Timestamp"):
        _check_all(batches)


def test_a_check_of_a_field_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FIELDS, Kind.DONE, {"category": Check("anything", lambda _value: True)})
    body: bytes = msgpack.packb([7, "done", {"category": msgpack.Timestamp(1)}])
    with pytest.raises(AssertionError, match="holds a Timestamp"):
        frames.check(body)


def _check_all(fuzzer: ModuleType) -> None:
    for data in engine.corpus(fuzzer.NAME):
        fuzzer.check(data)
