"""The two streams: what has changed on the screens, and which records changed, from a cursor on."""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from crdtsync import limits
from crdtsync.errors import BadRequest
from crdtsync.monitor import changes
from crdtsync.monitor.changes import cursor_of, read_cursor
from crdtsync.monitor.events import HEARTBEAT, statuses, stream
from tests.monitor.house import create, house_in, move, problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.monitor.house import House

PATIENCE = 5.0
BRIEF = 0.3


def parts(text: str) -> tuple[str, str, Any]:
    """Id, name and data of an event."""
    lines = dict(line.split(": ", 1) for line in text.strip().splitlines())
    return lines["id"], lines["event"], json.loads(lines["data"])


async def following(events: AsyncIterator[str], seconds: float = PATIENCE) -> str:
    async with asyncio.timeout(seconds):
        return await anext(events)


# -- status --------------------------------------------------------------------------------------------------------


async def test_a_change_is_told_with_the_pendencies_that_it_opened(house: House) -> None:
    events = statuses(house.pulse, "")
    _, name, data = parts(await following(events))
    assert (name, data["pendencies"], data["percent"]) == ("status", 0, None)
    await house.write(create("products", "p1", name="x"), create("stock", "p1"), move("p1", "-1.000"))
    _, _, after = parts(await following(events))
    assert after["version"] > data["version"]
    assert (after["pendencies"], after["pendencies_by_severity"]["M"]) == (1, 1)


async def test_nothing_is_told_when_nothing_changes_but_that_the_stream_lives(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MONITOR_HEARTBEAT_SECONDS", 0.05)
    events = statuses(house.pulse, "")
    await following(events)
    assert [await following(events) for _ in range(2)] == [HEARTBEAT, HEARTBEAT]


async def test_a_stream_goes_on_after_the_last_event_that_was_read(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MONITOR_HEARTBEAT_SECONDS", 0.05)
    last, _, _ = parts(await following(statuses(house.pulse, "")))
    assert await following(statuses(house.pulse, last)) == HEARTBEAT
    for strange in ("", "0", "x.y", "other.0", f"{last}1"):
        assert parts(await following(statuses(house.pulse, strange)))[0] == last, strange
    house.pulse.beat()
    assert parts(await following(statuses(house.pulse, last)))[0] != last


async def test_many_changes_are_few_events(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    # The time between events in place of four a second.
    monkeypatch.setattr(limits, "MONITOR_EVENT_SECONDS", 0.1)
    stop = asyncio.Event()

    async def hurry() -> None:
        while not stop.is_set():
            house.pulse.beat()
            await asyncio.sleep(0)

    hurrying = asyncio.create_task(hurry())
    events, loop = statuses(house.pulse, ""), asyncio.get_running_loop()
    began = loop.time()
    for _ in range(4):
        await following(events)
    stop.set()
    await hurrying
    assert loop.time() - began >= 3 * 0.1


async def test_what_no_listener_is_told_is_noticed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MONITOR_WATCH_SECONDS", 0.02)
    events = statuses(house.pulse, "")
    await following(events)
    waiting = asyncio.create_task(following(events))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    # As the command line does it, through the control socket.
    await house.node.pause()
    await waiting


async def test_there_are_not_more_streams_than_a_few_and_each_ends(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MONITOR_STREAM_SECONDS_MAX", 0)
    ended = await house.resolver.get("/api/events")
    assert ended.headers["content-type"].startswith("text/event-stream")
    assert ended.text.count("event: status") == 1
    assert house.pulse.streams == 0
    monkeypatch.setattr(limits, "MONITOR_STREAMS_MAX", 0)
    assert problem(await house.resolver.get("/api/events"), 503) == "streams"


async def test_a_stream_ends_with_the_node(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        reading = asyncio.create_task(drained(statuses(house.pulse, "")))
        await asyncio.sleep(0.05)
    async with asyncio.timeout(PATIENCE):
        assert len(await reading) == 1


async def drained(events: AsyncIterator[str]) -> list[str]:
    return [text async for text in events]


# -- changes -------------------------------------------------------------------------------------------------------


async def told(house: House, after: str, count: int) -> tuple[str, dict[str, set[str]]]:
    """The keys by document of so many events after the first, which only says where one is, and the last cursor."""
    positions = read_cursor(after) if after != changes.BEGINNING else {}
    events = changes._changes(house.node, house.pulse, positions)
    cursor, name, _ = parts(await following(events))
    assert name == "cursor"
    found: dict[str, set[str]] = {}
    for _ in range(count):
        cursor, name, data = parts(await following(events))
        assert name == "changes"
        found.setdefault(data["doc"], set()).update(data["keys"])
    with pytest.raises(TimeoutError):
        await following(events, BRIEF)
    return cursor, found


async def test_the_feed_goes_on_from_its_cursor_over_a_restart(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        await house.write(create("products", "a", name="x"), create("products", "b", name="x"))
        await house.write(create("stock", "a"))
        cursor, found = await told(house, "0", 2)
        assert found == {"products": {"a", "b"}, "stock/loja1": {"a"}}
        assert (await told(house, cursor, 0))[1] == {}
        await house.write(move("a", "1.000"))
        await house.write({"do": "delete", "category": "products", "key": "b"})
    async with house_in(tmp_path) as house:
        await house.write(create("products", "c", name="x"))
        assert (await told(house, cursor, 2))[1] == {"products": {"b", "c"}, "stock/loja1": {"a"}}


async def test_the_feed_tells_what_comes_while_it_is_read(house: House) -> None:
    events = changes._changes(house.node, house.pulse, changes.shown_now(house.node))
    await following(events)
    waiting = asyncio.create_task(following(events))
    await house.write(create("products", "a", name="x"))
    _, _, data = parts(await waiting)
    assert data == {"category": "products", "doc": "products", "keys": ["a"]}


async def test_many_changes_come_in_pieces_and_none_is_left_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_ROWS", 2)
    for number in range(5):
        await house.write(create("products", f"p{number}", name="x"))
    events = changes._changes(house.node, house.pulse, {})
    await following(events)
    first, _, data = parts(await following(events))
    assert data["keys"] == ["p0", "p1"]
    _, found = await told(house, first, 2)
    assert found == {"products": {"p2", "p3", "p4"}}


async def test_a_log_that_is_shorter_than_the_cursor_says_is_told_again(house: House) -> None:
    await house.write(create("products", "a", name="x"))
    ahead = {doc: dict.fromkeys(logs, 99) for doc, logs in changes.shown_now(house.node).items()}
    assert (await told(house, cursor_of(ahead), 1))[1] == {"products": {"a"}}


async def test_a_cursor_that_nobody_gave_out_is_refused(house: House) -> None:
    good = cursor_of({"products": {7: 1}})
    assert read_cursor(good) == {"products": {7: 1}}
    wrong_positions: list[Any] = [{"products": {"x": 1}}, {"products": {7: -1}}, {3: {7: 1}}]
    forged = [cursor_of(one) for one in wrong_positions]
    bomb = base64.urlsafe_b64encode(zlib.compress(b"[" * (9 << 20))).decode()
    for wrong in ("x", "1", good[:-3], "é", *forged, bomb):
        with pytest.raises(BadRequest):
            read_cursor(wrong)
    assert problem(await house.resolver.get("/api/changes", params={"after": "x"}), 400) == "bad_request"
    answer = await house.resolver.get("/api/changes", headers={"Last-Event-ID": "x"})
    assert problem(answer, 400) == "bad_request"


async def test_a_stream_that_is_never_read_counts_for_nothing(house: House) -> None:
    async def nothing() -> AsyncIterator[str]:
        yield HEARTBEAT

    stream(house.pulse, nothing())
    assert house.pulse.streams == 0
