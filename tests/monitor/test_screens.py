"""The paths of the screens answer what the verbs answer, and every error has one form."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from crdtsync.errors import StoreBusy
from crdtsync.monitor.entrance import utc_offset
from crdtsync.node import NodeConfig
from crdtsync.node.alerts import AlertCode
from crdtsync.node.tracking import alerts_of
from crdtsync.node.verbs import BUILT_IN
from crdtsync.schema import Role
from crdtsync.storage.base import Commit, RunCategoryRow, RunRow
from tests.monitor.house import config_of, create, house_in, move, problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.monitor.house import House

PENDENCY = "stock/loja1/p1#T01"
HOUR_MS = 3_600_000


async def with_pendency(house: House) -> None:
    await BUILT_IN["person"](house.node, {"person": "ana", "name": "Ana"})
    answer = await house.write(
        create("products", "p1", name="Café"), create("stock", "p1"), move("p1", "-1.000")
    )
    assert answer.status_code == 200, answer.text


def without_time(said: Any) -> Any:
    return {name: value for name, value in said.items() if name not in {"now_ms", "pendencies"}}


async def test_me_says_who_asks_and_who_answers(house: House) -> None:
    said = (await house.resolver.get("/api/me")).json()
    assert (said["role"], said["csrf"], said["device"], said["node_role"], said["store"]) == (
        "resolver",
        "",
        "loja1",
        "loja",
        "loja1",
    )
    assert {"account", "version", "time_zone", "now_ms"} <= said.keys()
    spell = said["utc_offset"]
    assert spell["seconds"] == -3 * 3600
    assert spell["from_ms"] < said["now_ms"] < spell["until_ms"]
    browser = await house.browser(house.tokens.reader)
    assert len((await browser.get("/api/me")).json()["csrf"]) == 64


VERBS: list[Any] = [
    ("/api/queue", "queue", {}),
    (
        "/api/queue/products?direction=upload",
        "queue_records",
        {"category": "products", "direction": "upload"},
    ),
    ("/api/pendencies?status=all&severity=M", "pendencies", {"status": "all", "severity": "M"}),
    ("/api/alerts", "alerts", {}),
]


async def test_a_path_answers_what_its_verb_answers(house: House) -> None:
    await with_pendency(house)
    for path, verb, args in VERBS:
        said = (await house.resolver.get(path)).json()
        assert without_time(said) == without_time(await BUILT_IN[verb](house.node, args))


async def test_status_says_what_the_verb_says_and_whether_one_can_sell(house: House) -> None:
    await with_pendency(house)
    said = (await house.resolver.get("/api/status")).json()
    assert said["pendencies"] == 1
    assert (said["can_sell"], said["why"], said["why_detail"], said["missing"]) == (True, "offline", None, [])
    more = said.keys() - (await BUILT_IN["status"](house.node, {})).keys()
    assert more == {"can_sell", "why", "why_detail", "missing"}


async def test_nobody_sells_at_a_head_office_before_the_catalogue_is_there_or_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def why(config: NodeConfig) -> str:
        async with house_in(config.folder, config=config) as house:
            said = (await house.resolver.get("/api/status")).json()
        assert said["can_sell"] is False
        assert said["why_detail"]
        return str(said["why"])

    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    assert await why(NodeConfig(tmp_path / "a", "gestao", Role.GESTAO)) == "role"
    assert await why(config_of(tmp_path / "b", upstream="ws://127.0.0.1:1")) == "initial"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1, total=10**9))
    assert await why(config_of(tmp_path / "c")) == "disk_full"


async def test_nobody_sells_while_another_program_holds_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crdtsync.limits.STORE_LOCK_SECONDS_MAX", 0.0)
    monkeypatch.setattr("crdtsync.limits.STORE_RETRY_SECONDS", 0.01)
    async with house_in(tmp_path) as house:
        with closing(sqlite3.connect(house.node.config.store_path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreBusy):
                await house.node.ledger.commit(Commit(meta={"x": b"1"}))
            said = (await house.resolver.get("/api/status")).json()
            assert (said["can_sell"], said["why"]) == (False, "store_refused")
            assert "another program has locked this file" in said["why_detail"]
            assert any(alert.code is AlertCode.STORE_REFUSED for alert in alerts_of(house.node))
        # It notices by itself.
        async with asyncio.timeout(10):
            while not (await house.resolver.get("/api/status")).json()["can_sell"]:
                pass


async def test_a_lane_that_is_not_filled_yet_says_what_is_still_to_come(tmp_path: Path) -> None:
    config = config_of(tmp_path, upstream="ws://127.0.0.1:1")
    async with house_in(tmp_path, config=config) as house:
        said = (await house.reader.get("/api/status")).json()
        assert (said["why"], said["missing"]) == ("initial", [])
        assert said["why_detail"] == "the initial synchronization is not over"
        house.node.uplink.memory.to_receive |= {"stock": [3, 1], "products": [2, 1]}
        said = (await house.reader.get("/api/status", headers={"Accept-Language": "pt"})).json()
        assert (said["can_sell"], said["why"], said["missing"]) == (False, "initial", ["products", "stock"])
        assert said["why_detail"] == "a sincronização inicial não terminou; ainda faltam: Produtos, Estoque"


async def test_history_comes_in_pages_with_the_categories_of_each_run(house: House) -> None:
    now_ms = house.node.ledger.clock.now_ms()
    part = RunCategoryRow("products", "upload", 3, 90, 0.5)
    rows = [
        RunRow(n, "upstream", "routine", now_ms, now_ms + 5, "done", "", 0, 3, 0, 90, categories=(part,))
        for n in (1, 2, 3)
    ]
    await house.node.ledger.commit(Commit(runs=rows))
    first = (await house.resolver.get("/api/history", params={"days": 1, "limit": 2})).json()
    assert [run["id"] for run in first["runs"]] == [3, 2]
    assert first["runs"][0]["categories"][0]["title"] == "Produtos"
    rest = (await house.resolver.get("/api/history", params={"after": first["after"]})).json()
    assert [run["id"] for run in rest["runs"]] == [1]
    assert rest["after"] is None
    # Of all the days, not of the page; the hour is a full one.
    hour = now_ms - now_ms % HOUR_MS
    assert first["hours"] == rest["hours"] == [[hour, 9]]


async def test_pause_first_and_resume(house: House) -> None:
    ask = house.resolver.post
    assert (await ask("/api/pause", json={"category": "stock"})).json()["categories"] == ["stock"]
    assert (await ask("/api/pause")).json()["paused"] is True
    assert (await ask("/api/resume", json={"category": None})).json() == {
        "paused": False,
        "categories": ["stock"],
    }
    assert (await ask("/api/first", json={"category": "stock"})).json()["before"] == ["products"]
    assert house.node.uplink.memory.first == "stock"
    assert problem(await ask("/api/first", json={"category": "stok"}), 404) == "unknown_category"
    said = (await ask("/api/sync")).json()
    assert (said["accepted"], said["reason"]) == (False, "no_upstream")


async def test_a_pendency_is_shown_seen_noted_resolved_and_taken_back(house: House) -> None:
    await with_pendency(house)
    ask = house.resolver.post
    card = (await house.resolver.get("/api/pendencies/card", params={"id": PENDENCY})).json()
    assert card["records"][0]["values"]["balance"] == "-1.000"
    assert [one["name"] for one in card["options"]] == ["aceitar"]
    person = {"id": PENDENCY, "person": "ana"}
    assert (await ask("/api/pendencies/seen", json=person)).status_code == 200
    assert (await ask("/api/pendencies/note", json={**person, "text": "vou ver"})).status_code == 200
    decided = await ask("/api/pendencies/resolve", json={**person, "option": "aceitar", "why": "chega hoje"})
    assert (await house.resolver.get("/api/pendencies")).json()["pendencies"] == []
    back = {"decision": decided.json()["decision"], "why": "engano", "person": "ana"}
    assert (await ask("/api/pendencies/undo", json=back)).status_code == 200
    card = (await house.resolver.get("/api/pendencies/card", params={"id": PENDENCY})).json()
    assert [act["act"] for act in card["acts"]] == ["vista", "nota", "decisao", "desfeita"]
    assert card["status"] == "open"


async def test_all_pendencies_of_a_rule_are_resolved_together(house: House) -> None:
    await with_pendency(house)
    body = {"rule": "T01", "category": "stock", "option": "aceitar", "why": "festa", "person": "ana"}
    said = (await house.resolver.post("/api/pendencies/resolve", json=body)).json()
    assert (said["total"], len(said["decisions"]), said["refused"]) == (1, 1, {})


REFUSED: list[Any] = [
    ({"id": PENDENCY, "option": "nada", "why": "x", "person": "ana"}, 409, "option_refused"),
    (
        {"id": "stock/loja1/x#T01", "option": "aceitar", "why": "x", "person": "ana"},
        404,
        "pendency_missing",
    ),
    ({"id": PENDENCY, "option": "aceitar", "why": " ", "person": "ana"}, 400, "bad_request"),
    ({"id": PENDENCY, "option": "aceitar", "why": "x", "person": "bea"}, 400, "bad_request"),
    ({"option": "aceitar", "why": "x", "person": "ana"}, 422, "invalid"),
    ({"id": PENDENCY, "rule": "T01", "option": "aceitar", "why": "x", "person": "ana"}, 422, "invalid"),
    ({"id": PENDENCY, "option": "aceitar", "why": "x", "person": "ana", "as": "x"}, 422, "invalid"),
    ({"id": PENDENCY, "option": "aceitar", "why": 1, "person": "ana"}, 422, "invalid"),
]


async def test_a_resolution_that_cannot_be_is_refused_with_its_reason(house: House) -> None:
    await with_pendency(house)
    for body, status, word in REFUSED:
        assert problem(await house.resolver.post("/api/pendencies/resolve", json=body), status) == word
        assert (await house.resolver.get("/api/pendencies")).json()["total"] == 1


async def test_a_pin_is_asked_for(house: House) -> None:
    await with_pendency(house)
    await BUILT_IN["person"](house.node, {"person": "ana", "new_pin": "4321"})
    body = {"id": PENDENCY, "person": "ana"}
    for pin in ({}, {"pin": "1234"}):
        asked = await house.resolver.post("/api/pendencies/seen", json={**body, **pin})
        assert problem(asked, 400) == "bad_request"
    assert (
        await house.resolver.post("/api/pendencies/seen", json={**body, "pin": "4321"})
    ).status_code == 200


WRONG: list[Any] = [
    ("/api/nothing", 404, "not_found"),
    ("/api/pendencies?limit=0", 422, "invalid"),
    ("/api/pendencies?limit=1001", 422, "invalid"),
    ("/api/pendencies?severity=Z", 400, "bad_request"),
    ("/api/pendencies?after=x", 400, "bad_request"),
    ("/api/pendencies/card", 422, "invalid"),
    ("/api/pendencies/card?id=x", 404, "pendency_missing"),
    ("/api/queue/stok", 404, "unknown_category"),
    ("/api/queue/stock?after=x", 400, "bad_request"),
    ("/api/history?days=99999", 400, "bad_request"),
]


async def test_every_error_has_one_form(house: House) -> None:
    for path, status, word in WRONG:
        assert problem(await house.resolver.get(path), status) == word


async def test_the_store_that_is_closed_is_said_and_not_hidden(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        assert (await house.resolver.get("/health/ready")).json() == {"ready": True}
        await house.node.ledger.storage.close()
        assert problem(await house.resolver.get("/health/ready"), 503) == "store_closed"
        assert (await house.client().get("/health/live")).json() == {"live": True}


async def test_the_figures_are_prometheus_text_with_known_labels_only(house: House) -> None:
    await with_pendency(house)
    answer = await house.reader.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    figures = dict(line.rsplit(" ", 1) for line in lines)
    assert figures['crdtsync_pendencies{severity="M",status="open"}'] == "1"
    assert figures["crdtsync_documents"] == str(len(house.node.ledger.heads))
    assert figures['crdtsync_records_waiting{category="products",direction="upload"}'] == "1"
    assert float(figures["crdtsync_oldest_unacknowledged_seconds"]) >= 0
    assert int(figures["crdtsync_store_bytes"]) > 0
    assert "p1" not in answer.text


async def shown(house: House, condition: Callable[[Any], bool]) -> Any:
    """The network when it is as it should become; the test's own timeout ends the waiting."""
    while not condition(said := (await house.resolver.get("/api/network")).json()):
        await house.pulse.after(house.pulse.version, 0.05)
    return said


async def test_the_network_names_the_nodes_below(tmp_path: Path) -> None:
    for name in ("loja1", "caixa1"):
        (tmp_path / name).mkdir()
    above = config_of(tmp_path / "loja1", listen=True, live=True)
    async with house_in(tmp_path / "loja1", config=above) as house:
        assert house.node.server is not None
        port = house.node.server.port
        below = NodeConfig(
            tmp_path / "caixa1",
            "caixa1",
            Role.CAIXA,
            store="loja1",
            upstream=f"ws://127.0.0.1:{port}",
            live=True,
        )
        async with house_in(tmp_path / "caixa1", config=below) as lane:
            await house.write(create("products", "p1", name="Café"))
            await shown(house, lambda said: said["below"] and said["below"][0]["waiting"] == 0)
            # What moves later names other documents, and says nothing of those that are equal.
            await lane.write(create("stock", "p1"))
            stock = house.node.schema.entity("stock")
            while not await house.node.count(stock) or lane.node.uplink.run_now is not None:
                await house.pulse.after(house.pulse.version, 0.05)
            # A run that is going on would be cut by the pause, and the next link knows nothing of before.
            while await house.pulse.after(house.pulse.version, 0.3):
                pass
            said = await shown(house, lambda said: said["below"][0]["waiting"] == 0)
            await lane.node.pause("products")
            # A check says nothing of what is held back, and what was known of it stays.
            compared = lane.node.uplink.situation().checked
            lane.node.request_check()
            while lane.node.uplink.situation().checked == compared:
                await lane.pulse.after(lane.pulse.version, 0.05)
            await house.write(create("products", "p2", name="Chá"), create("products", "p3", name="Pão"))
            await shown(house, lambda said: said["below"][0]["waiting"] == 2)
            assert (await lane.resolver.get("/api/status")).json()["why"] == "online"
        (one,) = said["below"]
        assert (one["device"], one["role"], one["store"]) == ("caixa1", "caixa", "loja1")
        assert (one["connected"], one["waiting"]) == (True, 0)
        assert one["heard_ms"] > 0


@pytest.mark.parametrize(
    ("zone", "now", "seconds", "spell"),
    [
        ("America/Sao_Paulo", "2026-11-27", -10_800, ("2026-09-28", "2027-01-26")),
        # Between the ends of summer time in April and its beginning in October.
        ("Australia/Lord_Howe", "2026-04-20", 37_800, ("2026-04-05", "2026-06-19")),
    ],
)
def test_a_time_zone_is_known_for_some_weeks_and_never_beyond_a_change(
    zone: str, now: str, seconds: int, spell: tuple[str, str]
) -> None:
    at_ms = int(datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp() * 1000)
    found = utc_offset(ZoneInfo(zone), at_ms)
    ends = tuple(
        datetime.fromtimestamp(found[name] / 1000, UTC).date().isoformat() for name in ("from_ms", "until_ms")
    )
    assert (found["seconds"], ends) == (seconds, spell)
