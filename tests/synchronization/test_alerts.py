"""Alerts: a pure function of what is known and the time, and what a node knows."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from crdtsync.node.alerts import Alert, AlertCode, Known, alerts
from crdtsync.node.ending import in_words
from crdtsync.node.verbs import BUILT_IN
from tests.synchronization.street import CHECK, DAY, HOUR, MINUTE, STORE, Street, sell, told, until

NOW_MS = 1_800_000_000_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
CALM = Known("loja1", upstream="ws://gestao", connected=True, disk_free=10**11, disk_total=10**12)


def codes(known: Known) -> list[tuple[str, str, str]]:
    found = alerts(known, NOW_MS, silent_minutes=60, old_hours=24)
    return [(alert.code.value, alert.severity, alert.subject) for alert in found]


@pytest.mark.parametrize(
    ("known", "found"),
    [
        (CALM, []),
        (replace(CALM, connected=False, heard_above=NOW_MS - 60 * MINUTE_MS), []),
        (
            replace(CALM, connected=False, heard_above=NOW_MS - 61 * MINUTE_MS),
            [("silent_above", "A", "ws://gestao")],
        ),
        (replace(CALM, connected=False, heard_above=None), [("silent_above", "A", "ws://gestao")]),
        (replace(CALM, upstream=None, connected=False), []),
        (
            replace(CALM, stopped=True, connected=False, heard_below={"caixa1": NOW_MS - 2 * HOUR_MS}),
            [("stopped", "B", "loja1")],
        ),
        (
            replace(CALM, stopped=True, connected=False, failed=("revoked", "x", 1)),
            [("link_failed", "B", "ws://gestao"), ("stopped", "B", "loja1")],
        ),
        (replace(CALM, failed=("revoked", "x", 1), connected=False), [("link_failed", "B", "ws://gestao")]),
        (replace(CALM, paused_ms=NOW_MS - HOUR_MS, connected=False), []),
        (replace(CALM, paused_ms=NOW_MS - 2 * DAY_MS), [("paused", "M", "ws://gestao")]),
        (replace(CALM, paused={"sales": NOW_MS - 2 * DAY_MS}), [("paused", "M", "sales")]),
        (replace(CALM, outbox_since={"sales": NOW_MS - 24 * HOUR_MS}), []),
        (replace(CALM, outbox_since={"sales": NOW_MS - 25 * HOUR_MS}), [("old_records", "A", "sales")]),
        (replace(CALM, heard_below={"caixa1": NOW_MS - 2 * HOUR_MS}), [("silent_device", "A", "caixa1")]),
        (
            replace(
                CALM,
                heard_below={"caixa1": NOW_MS - 2 * HOUR_MS},
                connected_below=frozenset({"caixa1"}),
            ),
            [],
        ),
        (replace(CALM, heard_below={"caixa1": NOW_MS - 31 * DAY_MS}), []),
        (replace(CALM, doubled={"caixa1": NOW_MS}), [("already_connected", "A", "caixa1")]),
        (replace(CALM, claimed={"caixa1": NOW_MS}), [("claims_own_log", "A", "caixa1")]),
        (replace(CALM, waiting={"caixa2": NOW_MS - DAY_MS}), [("waiting_device", "M", "caixa2")]),
        (replace(CALM, disk_free=4 * 10**8), [("disk_full", "B", "loja1")]),
        (replace(CALM, disk_free=10**9, disk_total=10**12), [("disk_full", "B", "loja1")]),
        (replace(CALM, disk_free=None, disk_total=None), []),
        (replace(CALM, store_refused=("full", NOW_MS)), [("store_refused", "B", "loja1")]),
        (replace(CALM, descriptors=(899, 1000)), []),
        (replace(CALM, descriptors=(900, 1000)), [("descriptors", "A", "loja1")]),
    ],
)
def test_each_situation_has_its_alert(known: Known, found: list[tuple[str, str, str]]) -> None:
    assert codes(known) == found


def test_the_most_severe_comes_first_and_each_says_since_when() -> None:
    known = replace(
        CALM,
        failed=("revoked", "ask the office", NOW_MS - DAY_MS),
        outbox_since={"sales": NOW_MS - 30 * HOUR_MS, "notes": NOW_MS - 26 * HOUR_MS},
        paused={"stock": NOW_MS - 3 * DAY_MS},
    )
    assert alerts(known, NOW_MS, silent_minutes=60, old_hours=24) == [
        Alert(
            AlertCode.LINK_FAILED, "B", "ws://gestao", NOW_MS - DAY_MS, in_words("revoked", "ask the office")
        ),
        Alert(AlertCode.OLD_RECORDS, "A", "notes", NOW_MS - 26 * HOUR_MS, "a record to send is 26 hours old"),
        Alert(AlertCode.OLD_RECORDS, "A", "sales", NOW_MS - 30 * HOUR_MS, "a record to send is 30 hours old"),
        Alert(AlertCode.PAUSED, "M", "stock", NOW_MS - 3 * DAY_MS, "it does not synchronize"),
    ]


@told
async def test_a_lane_that_went_silent_is_an_alert_at_its_store_after_an_hour_over_restarts(
    street: Street,
) -> None:
    await street.lane()
    loja = street.nodes[STORE]
    await street.close("caixa1")
    await asyncio.sleep(50 * MINUTE)
    assert (await loja.alerts())["alerts"] == []
    await street.kill(STORE)
    loja = await street.open(STORE)
    await asyncio.sleep(11 * MINUTE)
    (alert,) = (await loja.alerts())["alerts"]
    assert (alert["code"], alert["subject"], alert["severity"]) == ("silent_device", "caixa1", "A")
    status = await BUILT_IN["status"](loja, {})
    assert status["alerts"] == ["silent_device: caixa1: not heard of for 61 minutes"]
    assert status["heard_ms"]["caixa1"] == alert["since_ms"]
    caixa = await street.open("caixa1")
    await until(lambda: caixa.connected)
    assert (await loja.alerts())["alerts"] == []


@told
async def test_an_upper_node_that_does_not_answer_and_old_records_are_alerts_until_they_are_sent(
    street: Street,
) -> None:
    loja = await street.store(alert_silent_minutes=30, alert_old_hours=2)
    street.network.partition(STORE)
    await asyncio.sleep(HOUR)
    await sell(loja, "s1")
    written = loja.ledger.clock.now_ms()
    assert [a["code"] for a in (await loja.alerts())["alerts"]] == ["silent_above"]
    await asyncio.sleep(HOUR)
    await sell(loja, "s2")
    await asyncio.sleep(HOUR + MINUTE)
    found = (await loja.alerts())["alerts"]
    assert [(a["code"], a["subject"]) for a in found] == [
        ("old_records", "sales"),
        ("silent_above", "memory://gestao"),
    ]
    assert found[0]["since_ms"] == written
    await street.kill(STORE)
    loja = await street.open(STORE)
    assert (await loja.alerts())["alerts"][0]["since_ms"] == written
    street.network.heal(STORE)
    await asyncio.sleep(2 * CHECK)
    assert (await loja.alerts())["alerts"] == []


@told
async def test_a_lane_that_is_no_more_stops_being_an_alert_after_a_month(street: Street) -> None:
    await street.lane()
    await street.close("caixa1")
    loja = street.nodes[STORE]
    await asyncio.sleep(29 * DAY)
    assert [a["code"] for a in (await loja.alerts())["alerts"]] == ["silent_device"]
    await asyncio.sleep(2 * DAY)
    assert (await loja.alerts())["alerts"] == []
