"""Server-sent events: `status`, whenever something that the screens show may have changed."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from crdtsync import limits
from crdtsync.monitor.here import PulseHere
from crdtsync.monitor.problems import problem
from crdtsync.monitor.pulse import Pulse
from crdtsync.said import say

MEDIA_TYPE = "text/event-stream"
HEARTBEAT = ":\n\n"
_ID_CHARS_MAX = 64
router = APIRouter()
# Numbers of another start of this program say nothing about this one's.
_START = secrets.token_hex(4)
_EVENT: dict[str, Any] = {
    "title": "Event",
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A stream of events, each of this form; `data` is JSON",
        "content": {MEDIA_TYPE: {"schema": _EVENT}},
    }
}


def event(name: str, number: str, data: Any) -> str:
    """Return one event as it is sent."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {number}\nevent: {name}\ndata: {text}\n\n"


def stream(pulse: Pulse, events: AsyncIterator[str]) -> Response:
    """Answer with a stream, which ends with the node and after an hour; there are not more than a few at a time."""
    if pulse.streams >= limits.MONITOR_STREAMS_MAX:
        return problem(503, "streams", say("too many streams; close one of them"), {"Retry-After": "5"})
    return _Stream(pulse, events)


class _Stream(StreamingResponse):
    """A stream that is counted while it lasts, however it ends."""

    def __init__(self, pulse: Pulse, events: AsyncIterator[str]) -> None:
        super().__init__(self._bounded(events), media_type=MEDIA_TYPE)
        self._pulse = pulse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._pulse.streams += 1
        try:
            # A reader that takes nothing has no longer a place than one that does.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    limits.MONITOR_STREAM_SECONDS_MAX + limits.MONITOR_HEARTBEAT_SECONDS
                ):
                    await super().__call__(scope, receive, send)
        finally:
            self._pulse.streams -= 1

    async def _bounded(self, events: AsyncIterator[str]) -> AsyncIterator[str]:
        now = asyncio.get_running_loop().time
        ends = now() + limits.MONITOR_STREAM_SECONDS_MAX
        async for text in events:
            yield text
            if self._pulse.closing.is_set() or now() > ends:
                return


async def statuses(pulse: Pulse, last: str) -> AsyncIterator[str]:
    """Yield an event for each change, at most four a second; a comment when nothing changes for long."""
    start, _, number = last.partition(".")
    version = int(number) if start == _START and number.isdecimal() else -1
    while not pulse.closing.is_set():
        if not await pulse.after(version, limits.MONITOR_HEARTBEAT_SECONDS):
            yield HEARTBEAT
            continue
        facts = await pulse.facts()
        version = facts["version"]
        yield event("status", f"{_START}.{version}", facts)
        await asyncio.sleep(limits.MONITOR_EVENT_SECONDS)


@router.get("/api/events", response_class=Response, responses=STREAM)
async def events(
    pulse: PulseHere,
    last_event_id: Annotated[str, Header(max_length=_ID_CHARS_MAX)] = "",
) -> Response:
    """Stream `status` events; with `Last-Event-ID` only what is newer than that."""
    return stream(pulse, statuses(pulse, last_event_id))
