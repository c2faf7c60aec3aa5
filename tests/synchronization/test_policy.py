"""The policy as a function: the time and what is known go in, what to do comes out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdtsync import limits
from crdtsync.node.backoff import Backoff, Health
from crdtsync.node.pace import Pace
from crdtsync.node.schedule import (
    Decision,
    Hours,
    Now,
    Policy,
    Reason,
    Refusal,
    Situation,
    Trigger,
    cooldown_left,
    decide,
    elapsed,
    press,
)

ZONE = ZoneInfo("America/Sao_Paulo")
POLICY = Policy(900.0, 300.0, ZONE)
NIGHT = replace(POLICY, hours=Hours.parse("22:00-06:00"))
UP = Situation(checked=1000.0)


def at(text: str, uptime: float = 1000.0) -> Now:
    """A moment of the store's day."""
    when = datetime.fromisoformat(f"2026-11-24T{text}").replace(tzinfo=ZONE)
    return Now(round(when.timestamp() * 1000), uptime)


NOON = at("12:00")


@pytest.mark.parametrize(
    ("situation", "decision"),
    [
        (replace(UP, upstream=False), Decision(reason=Reason.NO_UPSTREAM)),
        (replace(UP, failed=True, asked=True), Decision(reason=Reason.FAILED)),
        (replace(UP, paused=True, asked=True), Decision(reason=Reason.PAUSED)),
        (replace(UP, busy=True, asked=True), Decision(reason=Reason.RUNNING)),
        (replace(UP, connected=False), Decision(reason=Reason.UNREACHABLE)),
        (replace(UP, initial_done=False, checked=None), Decision(Trigger.INITIAL)),
        (replace(UP, asked=True), Decision(Trigger.MANUAL)),
        (replace(UP, checked=None), Decision(Trigger.RECONNECT)),
        (replace(UP, changed=True), Decision(Trigger.LIVE)),
        (replace(UP, requested=True), Decision(Trigger.ROUTINE)),
        (replace(UP, checked=100.0), Decision(Trigger.ROUTINE)),
        (UP, Decision(seconds=900.0)),
    ],
)
def test_each_situation_has_its_decision(situation: Situation, decision: Decision) -> None:
    assert decide(POLICY, NOON, situation) == decision


@given(st.floats(-1e9, 1e9), st.floats(0, 2000))
def test_a_date_set_to_any_other_moves_neither_the_routine_check_nor_the_cooldown(
    shift: float, passed: float
) -> None:
    now = Now(NOON.wall_ms, 1000.0 + passed)
    moved = Now(max(0, NOON.wall_ms + round(shift * 1000)), 1000.0 + passed)
    situation = replace(UP, manual_ended=1000.0)
    assert decide(POLICY, now, situation) == decide(POLICY, moved, situation)
    assert press(POLICY, now, situation) == press(POLICY, moved, situation)


@given(noted=st.floats(0, 1e6), ran=st.floats(0, 1e6), restarted=st.booleans(), off=st.floats(0, 1e6))
def test_never_more_time_is_counted_than_has_passed_even_over_a_restart_of_the_machine(
    noted: float, ran: float, restarted: bool, off: float
) -> None:
    uptime, passed = (ran, off + ran) if restarted else (noted + ran, ran)
    assert elapsed(uptime, noted) <= passed + 1e-6


def test_after_a_restart_of_the_machine_the_cooldown_ends_five_minutes_after_it_started_at_the_latest() -> (
    None
):
    situation = replace(UP, manual_ended=5_000_000.0)
    assert cooldown_left(POLICY, Now(NOON.wall_ms, 60.0), situation) == 240.0
    assert cooldown_left(POLICY, Now(NOON.wall_ms, 300.0), situation) == 0.0


@pytest.mark.parametrize(
    ("policy", "now", "situation", "refusal"),
    [
        (POLICY, NOON, UP, None),
        (POLICY, NOON, replace(UP, connected=False), None),
        (POLICY, NOON, replace(UP, running=True, busy=True), Refusal(Reason.RUNNING)),
        (POLICY, NOON, replace(UP, busy=True), None),
        (POLICY, NOON, replace(UP, manual_ended=900.0), Refusal(Reason.COOLDOWN, 200.0)),
        (POLICY, NOON, replace(UP, manual_ended=700.0), None),
        (POLICY, NOON, replace(UP, paused=True), Refusal(Reason.PAUSED)),
        (POLICY, NOON, replace(UP, failed=True), Refusal(Reason.FAILED)),
        (POLICY, NOON, replace(UP, upstream=False), Refusal(Reason.NO_UPSTREAM)),
        (NIGHT, NOON, UP, Refusal(Reason.HOURS, 36_000.0)),
        (NIGHT, at("21:59"), replace(UP, manual_ended=990.0), Refusal(Reason.COOLDOWN, 290.0)),
        (NIGHT, at("23:00"), UP, None),
        (NIGHT, NOON, replace(UP, initial_done=False), None),
    ],
)
def test_a_press_is_refused_with_its_reason_and_the_moment_it_becomes_available(
    policy: Policy, now: Now, situation: Situation, refusal: Refusal | None
) -> None:
    assert press(policy, now, situation) == refusal


def test_outside_its_hours_a_link_waits_until_they_begin_but_not_the_initial_synchronization() -> None:
    assert decide(NIGHT, NOON, replace(UP, checked=None)) == Decision(seconds=36_000.0, reason=Reason.HOURS)
    assert decide(NIGHT, at("23:30"), replace(UP, checked=None)).trigger is Trigger.RECONNECT
    assert decide(NIGHT, at("05:59"), replace(UP, checked=None)).trigger is Trigger.RECONNECT
    assert decide(NIGHT, at("06:00"), UP).reason is Reason.HOURS
    first = replace(UP, checked=None, initial_done=False)
    assert decide(NIGHT, NOON, first).trigger is Trigger.INITIAL


def test_hours_of_a_day_with_another_number_of_hours_begin_when_the_clock_says_so() -> None:
    zone = ZoneInfo("Europe/Lisbon")
    hours = Hours.parse("06:00-07:00")
    # The clock goes back from two to one in this night.
    assert hours.seconds_until(datetime(2026, 10, 25, 0, 30, tzinfo=zone)) == 6.5 * 3600
    assert hours.seconds_until(datetime(2026, 10, 26, 0, 30, tzinfo=zone)) == 5.5 * 3600


@pytest.mark.parametrize("text", ["", "8-10", "24:00-01:00", "08:00-08:00", "08:00 - 10:00", "08:60-10:00"])
def test_hours_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"form|begins"):
        Hours.parse(text)


def test_the_wait_before_a_new_attempt_is_any_part_of_a_ceiling_that_doubles_up_to_a_minute() -> None:
    ceilings = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    longest = [0.0] * len(ceilings)
    for seed in range(300):
        backoff = Backoff(Random(seed))
        waits = [backoff.broke("unreachable", "x", terminal=False) for _ in ceilings]
        assert all(wait is not None and 0 <= wait <= top for wait, top in zip(waits, ceilings, strict=True))
        longest = [max(a, b or 0.0) for a, b in zip(longest, waits, strict=True)]
    assert all(seen > 0.9 * top for seen, top in zip(longest, ceilings, strict=True))


def test_only_a_check_that_was_complete_shortens_the_next_wait() -> None:
    class Longest(Random):
        def uniform(self, a: float, b: float) -> float:
            return b + 0 * a

    backoff = Backoff(Longest())
    for _ in range(3):
        backoff.broke("unreachable", "x", terminal=False)
    backoff.connected()
    assert backoff.health is Health.OK
    assert backoff.broke("gap", "x", terminal=False) == 8.0
    backoff.worked()
    assert backoff.broke("gap", "x", terminal=False) == limits.RECONNECT_SECONDS_MIN


def test_a_terminal_trouble_stops_the_attempts_until_a_person_resumes() -> None:
    backoff = Backoff(Random(1))
    assert backoff.broke("revoked", "ask the office", terminal=True) is None
    assert (backoff.health, backoff.code, backoff.detail) == (Health.FAILED, "revoked", "ask the office")
    backoff.connected()
    assert backoff.health is Health.FAILED
    backoff.resume()
    assert (backoff.health, backoff.code) == (Health.OK, None)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 200_000)), min_size=1, max_size=40))
def test_a_pace_lets_no_more_through_than_its_rate_and_one_seconds_worth(
    sends: list[tuple[float, int]],
) -> None:
    pace = Pace(64_000)
    now, gone, total, largest = 100.0, 100.0, 0, 0
    for pause, size in sends:
        now = max(now, gone) + pause
        gone = now + pace.wait(now, size)
        total, largest = total + size, max(largest, size)
        assert total <= 64_000 * (gone - 100.0 + 1.0) + 1
    assert largest
