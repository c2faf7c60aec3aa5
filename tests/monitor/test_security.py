"""The guard: one test for each way in that must be shut."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync import limits
from crdtsync.errors import ConfigError
from crdtsync.monitor.tokens import tokens_of
from crdtsync.node import tracking
from tests.monitor.house import HOST, PORT, create, problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from tests.monitor.house import House

PUBLIC = {("POST", "/api/enter"), ("GET", "/health/live")}


async def paths_of(house: House) -> list[tuple[str, str]]:
    """Every path of the API with its method, as its description tells."""
    described = (await house.resolver.get("/api/openapi.json")).json()
    return [
        (method.upper(), path.replace("{key}", "k").replace("{category}", "products"))
        for path, methods in described["paths"].items()
        for method in methods
    ]


async def test_a_name_that_was_rebound_to_this_machine_is_refused(house: House) -> None:
    for host in ("evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:1", ""):
        for path in ("/", "/api/me", "/health/live", "/static/main.js"):
            assert problem(await house.resolver.get(path, headers={"Host": host}), 421) == "host"


async def test_the_names_of_this_machine_pass(house: House) -> None:
    for name in ("127.0.0.1", "localhost", "[::1]"):
        answer = await house.resolver.get("/api/me", headers={"Host": f"{name}:{PORT}"})
        assert answer.status_code == 200


async def test_a_page_of_another_origin_is_refused(house: House) -> None:
    for origin in ("http://evil.example", "null", f"https://{HOST}", "http://127.0.0.1:1"):
        client = await house.browser()
        csrf = (await client.get("/api/me")).json()["csrf"]
        said = {"Origin": origin, "X-CSRF-Token": csrf}
        assert problem(await client.post("/api/pause", headers=said), 403) == "origin"
        assert problem(await client.get("/api/status", headers=said), 403) == "origin"
        assert house.node.uplink.memory.paused_ms is None


async def test_a_page_on_another_port_cannot_use_the_browsers_cookie(house: House) -> None:
    # To a browser it is the same site, so the cookie comes along; an image has no origin.
    client = await house.browser()
    del client.headers["Origin"]
    for site in ("same-site", "cross-site"):
        asked = await client.get("/api/events", headers={"Sec-Fetch-Site": site})
        assert problem(asked, 403) == "origin"
        assert (await client.get("/enter", headers={"Sec-Fetch-Site": site})).status_code == 200
    own = await client.get("/api/me", headers={"Sec-Fetch-Site": "same-origin"})
    assert own.status_code == 200


async def test_nothing_but_the_page_and_the_pulse_of_the_process_is_told_to_strangers(house: House) -> None:
    asked = [one for one in await paths_of(house) if one not in PUBLIC]
    assert len(asked) > 30
    for method, path in [*asked, ("GET", "/api/openapi.json"), ("GET", "/nothing"), ("PUT", "/")]:
        assert problem(await house.client().request(method, path), 401) == "stranger", path
    assert (await house.client().get("/health/live")).json() == {"live": True}


async def test_a_wrong_token_is_refused_and_a_token_in_the_address_is_none(house: House) -> None:
    wrong = house.client(Authorization=f"Bearer {'0' * 64}")
    assert problem(await wrong.get("/api/me"), 401) == "stranger"
    basic = house.client(Authorization=f"Basic {house.tokens.resolver}")
    assert problem(await basic.get("/api/me"), 401) == "stranger"
    for name in ("token", "access_token"):
        asked = await house.client().get("/api/me", params={name: house.tokens.resolver})
        assert problem(asked, 401) == "stranger"
    assert problem(await house.client().post("/api/enter", json={"token": "0" * 64}), 401) == "stranger"


async def test_a_browser_gets_a_cookie_that_no_script_and_no_other_site_can_use(house: House) -> None:
    client = house.client()
    answer = await client.post("/api/enter", json={"token": house.tokens.resolver})
    moments = {"now_ms": 0, "utc_offset": {}}
    assert answer.json() | moments == (await client.get("/api/me")).json() | moments
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie.split("; ")
    assert "domain" not in cookie
    assert house.tokens.resolver not in str(answer.headers) + answer.text


async def test_a_change_with_the_cookie_alone_is_refused(house: House) -> None:
    client, other = await house.browser(), await house.browser()
    strange = (await other.get("/api/me")).json()["csrf"]
    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": strange}):
        assert problem(await client.post("/api/pause", headers=headers), 403) == "csrf"
    assert house.node.uplink.memory.paused_ms is None
    csrf = (await client.get("/api/me")).json()["csrf"]
    assert (await client.post("/api/pause", headers={"X-CSRF-Token": csrf})).json()["paused"] is True


async def test_a_reader_looks_at_everything_and_changes_nothing(house: House) -> None:
    browser = await house.browser(house.tokens.reader)
    csrf = (await browser.get("/api/me")).json()
    assert csrf["role"] == "reader"
    changes = [path for method, path in await paths_of(house) if method == "POST"]
    for path in set(changes) - {"/api/enter", "/api/leave"}:
        assert problem(await house.reader.post(path, json={}), 403) == "reader"
        answer = await browser.post(path, json={}, headers={"X-CSRF-Token": csrf["csrf"]})
        assert problem(answer, 403) == "reader"
    for path in ("/api/status", "/api/queue", "/api/pendencies", "/api/records/products", "/metrics"):
        assert (await house.reader.get(path)).status_code == 200


async def test_what_changes_something_is_no_get(house: House) -> None:
    paths = await paths_of(house)
    changes = {path for method, path in paths if method == "POST"}
    assert changes.isdisjoint(path for method, path in paths if method == "GET")
    assert {method for method, _ in paths} == {"GET", "POST"}
    for path in changes:
        assert problem(await house.resolver.get(path), 405) == "method_not_allowed"


async def test_ten_wrong_tokens_shut_the_door_for_a_minute(house: House) -> None:
    known = await house.browser()
    for number in range(limits.MONITOR_FAILURES_MAX):
        if number % 2:
            wrong = await house.client(Authorization=f"Bearer {number}").get("/api/me")
        else:
            wrong = await house.client().post("/api/enter", json={"token": str(number)})
        assert wrong.status_code == 401
    locked = await house.client(Authorization="Bearer no").get("/api/me")
    assert problem(locked, 429) == "locked_out"
    assert 0 < int(locked.headers["retry-after"]) <= 61
    entering = await house.client().post("/api/enter", json={"token": "no"})
    assert problem(entering, 429) == "locked_out"
    # Whoever is inside goes on working.
    assert (await known.get("/api/me")).status_code == 200
    house.clock.now += limits.MONITOR_FAILURE_SECONDS + 1
    again = await house.client(Authorization="Bearer no").get("/api/me")
    assert problem(again, 401) == "stranger"


async def test_the_right_token_passes_while_somebody_tries_wrong_ones(house: House) -> None:
    wrong = house.client(Authorization=f"Bearer {house.tokens.resolver[:-1]}")
    for _ in range(2 * limits.MONITOR_FAILURES_MAX):
        await wrong.get("/api/me")
    assert problem(await wrong.get("/api/me"), 429) == "locked_out"
    assert (await house.write(create("products", "p1", name="Café"))).status_code == 200
    assert (await house.reader.get("/api/me")).status_code == 200
    assert (await (await house.browser()).get("/api/me")).status_code == 200
    # What passes opens nothing for the others.
    assert problem(await wrong.get("/api/me"), 429) == "locked_out"


async def test_wrong_tokens_now_and_then_shut_nothing(house: House) -> None:
    for _ in range(3 * limits.MONITOR_FAILURES_MAX):
        house.clock.now += limits.MONITOR_FAILURE_SECONDS / (limits.MONITOR_FAILURES_MAX - 2)
        assert (await house.client(Authorization="Bearer no").get("/api/me")).status_code == 401
    assert (await house.resolver.get("/api/me")).status_code == 200


async def test_a_stale_cookie_is_no_wrong_token(house: House) -> None:
    # The page of a node that started again asks with it every few seconds.
    for _ in range(2 * limits.MONITOR_FAILURES_MAX):
        client = house.client(Cookie=f"{house.door.cookie}=gone")
        assert problem(await client.get("/api/me"), 401) == "stranger"
    assert (await house.resolver.get("/api/me")).status_code == 200


async def test_a_session_ends_by_itself_and_when_its_browser_leaves(house: House) -> None:
    client, other = await house.browser(), await house.browser()
    house.clock.now += limits.MONITOR_SESSION_SECONDS - 1
    assert (await client.get("/api/me")).status_code == 200
    house.clock.now += 2
    assert (await client.get("/api/me")).status_code == 200
    assert problem(await other.get("/api/me"), 401) == "stranger"
    csrf = (await client.get("/api/me")).json()["csrf"]
    assert (await client.post("/api/leave", headers={"X-CSRF-Token": csrf})).json() == {"left": True}
    assert problem(await client.get("/api/me"), 401) == "stranger"


async def test_of_a_browser_only_a_hash_is_kept_and_not_of_many(house: House) -> None:
    first = await house.browser()
    cookie = first.cookies[house.door.cookie]
    held = repr([vars(house.door), house.door._sessions])
    assert cookie not in held
    assert house.tokens.resolver not in held
    for _ in range(limits.MONITOR_SESSIONS_MAX):
        await house.browser()
    assert len(house.door._sessions) == limits.MONITOR_SESSIONS_MAX
    assert problem(await first.get("/api/me"), 401) == "stranger"


async def test_a_body_that_is_too_large_is_refused_whatever_its_length_says(house: House) -> None:
    large = b"x" * (limits.MONITOR_BODY_BYTES_MAX + 1)
    headers = {"Content-Type": "application/json"}

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b"x" * (limits.MONITOR_BODY_BYTES_MAX // 16)

    for content in (large, pieces()):
        asked = await house.resolver.post("/api/transactions", content=content, headers=headers)
        assert problem(asked, 413) == "too_large"
    liar = {**headers, "Content-Length": "9" * 5_000}
    assert problem(await house.resolver.post("/api/pause", headers=liar), 413) == "too_large"


async def test_a_stranger_cannot_send_much(house: House) -> None:
    body = {"token": "x" * limits.MONITOR_ENTER_BYTES_MAX}
    assert problem(await house.client().post("/api/enter", json=body), 413) == "too_large"


async def asked_raw(house: House, *messages: dict[str, Any]) -> list[Any]:
    """What is answered to a pause of one category whose body arrives like this, and then no more."""
    said: list[Any] = []
    arriving = iter(messages)

    async def receive() -> dict[str, Any]:
        message = next(arriving, None)
        return message if message is not None else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        said.append(message)

    headers = [(b"host", HOST.encode()), (b"authorization", f"Bearer {house.tokens.resolver}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/api/pause", "query_string": b"", "headers": headers}
    await house.app(scope, receive, send)
    return said


async def test_a_caller_that_went_away_in_the_middle_of_its_request_asked_for_nothing(house: House) -> None:
    part = {"type": "http.request", "body": b"", "more_body": True}
    assert await asked_raw(house, part, {"type": "http.disconnect"}) == []
    assert house.node.uplink.memory.paused_ms is None


async def test_a_body_is_not_waited_for_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MONITOR_ARRIVAL_SECONDS", 0.05)
    (begin, _) = await asked_raw(house, {"type": "http.request", "body": b"{", "more_body": True})
    assert begin["status"] == 408
    assert house.node.uplink.memory.paused_ms is None


async def test_what_is_no_json_is_a_problem_and_no_fault(house: House) -> None:
    deep, wide = b"[" * 100_000, b'{"category":' + b"9" * 5_000 + b"}"
    for content in (
        b"{",
        b"\xff\xfe",
        b'"\xff"',
        b"null",
        b"[]",
        b"NaN",
        deep,
        wide,
        b'{"category":"\\ud800"}',
    ):
        headers = {"Content-Type": "application/json"}
        answer = await house.resolver.post("/api/first", content=content, headers=headers)
        assert answer.status_code in {400, 404, 422}, content[:20]
        problem(answer, answer.status_code)


async def test_a_form_of_another_page_is_no_json(house: House) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        asked = await house.resolver.post(
            "/api/pause", content=b'{"category":null}', headers={"Content-Type": kind}
        )
        assert problem(asked, 415) == "media_type"


async def test_every_answer_says_what_a_browser_may_do_with_it(house: House) -> None:
    answers: list[httpx.Response] = [
        await house.client().get("/health/live"),
        await house.client().get("/api/me"),
        await house.resolver.get("/api/me"),
        await house.resolver.get("/api/nothing"),
        await house.client().get("/static/nothing"),
        await house.client().get("/", headers={"Host": "evil.example"}),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in answer.headers
        if "/api" in str(answer.url):
            assert answer.headers["cache-control"] == "no-store"


async def test_static_files_are_those_of_the_page_alone(house: House) -> None:
    for path in ("../app.py", "%2e%2e/app.py", "..%2f..%2fnode/node.py", "/etc/passwd"):
        answer = await house.client().get(f"/static/{path}")
        assert answer.status_code in {401, 404}, answer.text


async def test_a_static_file_is_sent_once_and_packed_to_who_can_unpack_it(house: House) -> None:
    client = house.client()
    plain = await client.get("/static/main.js", headers={"Accept-Encoding": "identity"})
    packed = await client.get("/static/main.js", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    again = await client.get("/static/main.js", headers={"If-None-Match": packed.headers["etag"]})
    assert (again.status_code, again.content, again.headers["cache-control"]) == (304, b"", "no-cache")


async def test_a_fault_shows_no_trace(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> dict[str, Any]:
        raise RuntimeError("a secret of line 7")

    monkeypatch.setattr(tracking, "queue", fail)
    with caplog.at_level(logging.ERROR, "crdtsync"):
        answer = await house.resolver.get("/api/queue")
    assert problem(answer, 500) == "fault"
    assert "secret" not in answer.text
    assert "a secret of line 7" in caplog.text, "the log has it"


async def test_what_was_sent_does_not_come_back_in_an_error(house: House) -> None:
    answer = await house.client().post("/api/enter", json={"token": ["hunter2"]})
    assert problem(answer, 422) == "invalid"
    assert "hunter2" not in answer.text


async def test_the_hash_of_a_pin_is_shown_nowhere(house: House) -> None:
    async with house.node.transaction() as tx:
        tx.create(
            house.node.schema.entity("people"), id="ana", name="Ana", pin_hash=f"scrypt${'a' * 32}${'b' * 64}"
        )
    for path in ("/api/records/people", "/api/records/people/ana", "/api/categories"):
        answer = await house.resolver.get(path)
        assert answer.status_code == 200
        assert "pin_hash" not in answer.text
        assert "scrypt" not in answer.text
    asked = await house.resolver.get("/api/records/people", params={"pin_hash": "x"})
    assert problem(asked, 400) == "bad_request"


async def test_what_has_its_own_checks_is_written_by_its_own_paths(house: House) -> None:
    for category in ("people", "decisions", "incidents"):
        assert problem(await house.write(create(category, "ana", name="Ana")), 422) == "invalid"


def test_the_tokens_are_their_users_alone_and_stay_the_same(tmp_path: Path) -> None:
    first = tokens_of(tmp_path)
    assert first.resolver != first.reader
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["monitor.reader.token", "monitor.token"]
    assert tokens_of(tmp_path) == first
    if os.name == "posix":
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
        files[1].chmod(0o640)
        with pytest.raises(ConfigError, match="other users can read"):
            tokens_of(tmp_path)
        files[1].chmod(0o600)
    files[1].write_text("short", encoding="ascii")
    with pytest.raises(ConfigError, match="no token"):
        tokens_of(tmp_path)


async def test_nothing_but_http_is_spoken(house: House) -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    await house.app({"type": "websocket", "path": "/api/me", "headers": []}, receive, send)
    assert said == []
