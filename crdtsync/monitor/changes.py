"""The feed of changed records: which keys of which documents, from a cursor on, across restarts.

A cursor says how far the reader has come in each log of each document; the store's by-sequence index names the keys that
came after. So nothing is kept for a reader, and none is lost while it is away. A key may be told twice: what a compaction
or a restored node writes again counts as changed.
"""

import asyncio
import base64
import json
import zlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from crdtsync import limits
from crdtsync.errors import BadRequest
from crdtsync.monitor.events import HEARTBEAT, STREAM, event, stream
from crdtsync.monitor.here import NodeHere, PulseHere
from crdtsync.monitor.pulse import Pulse
from crdtsync.node import Node
from crdtsync.node.ledger import change_rows
from crdtsync.said import say

BEGINNING = "0"
_RAW_BYTES_MAX = 8 << 20
_CURSOR_CHARS_SHOWN = 20
_CURSOR = r"^[A-Za-z0-9_\-]*$"
Cursor = Annotated[str, Query(max_length=limits.MONITOR_CURSOR_CHARS_MAX, pattern=_CURSOR)]
LastId = Annotated[str, Header(max_length=limits.MONITOR_CURSOR_CHARS_MAX, pattern=_CURSOR)]
Positions = dict[str, dict[int, int]]
router = APIRouter()


@router.get("/api/changes", response_class=Response, responses=STREAM)
async def changes(
    node: NodeHere, pulse: PulseHere, after: Cursor = "", last_event_id: LastId = ""
) -> Response:
    """Stream the keys of changed records; ``after`` (or ``Last-Event-ID``) is a cursor, 0 the beginning, none now."""
    said = last_event_id or after
    if said == BEGINNING:
        positions: Positions = {}
    else:
        positions = read_cursor(said) if said else shown_now(node)
    return stream(pulse, _changes(node, pulse, positions))


def shown_now(node: Node) -> Positions:
    """Return how far each log is shown."""
    return {
        doc: {replica: head.visible for replica, head in heads.items()}
        for doc, heads in node.ledger.heads.items()
    }


def cursor_of(positions: Positions) -> str:
    """Return positions as text."""
    flat = [[doc, *(number for one in logs.items() for number in one)] for doc, logs in positions.items()]
    packed = zlib.compress(json.dumps(flat, separators=(",", ":")).encode())
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_cursor(text: str) -> Positions:
    """Return the positions that a cursor says. Raises BadRequest."""
    try:
        return {doc: dict(zip(numbers[::2], numbers[1::2], strict=True)) for doc, *numbers in _unpacked(text)}
    except (ValueError, TypeError, RecursionError, zlib.error) as error:
        short = f"{text[:_CURSOR_CHARS_SHOWN]}..." if len(text) > _CURSOR_CHARS_SHOWN else text
        raise BadRequest(
            say("after = {cursor}; give back a cursor that an event said, or 0", cursor=repr(short))
        ) from error


def _unpacked(text: str) -> list[list[Any]]:
    unpack = zlib.decompressobj()
    raw = unpack.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), _RAW_BYTES_MAX)
    flat = json.loads(raw) if unpack.eof else None
    if not isinstance(flat, list) or not all(map(_is_entry, flat)):
        raise ValueError("no positions")
    return flat


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) % 2 == 1
        and type(entry[0]) is str
        and all(type(number) is int and 0 <= number <= limits.REPLICA_MAX for number in entry[1:])
    )


async def _changes(node: Node, pulse: Pulse, positions: Positions) -> AsyncIterator[str]:
    yield event("cursor", cursor_of(positions), {})
    while not pulse.closing.is_set():
        version = pulse.version
        async for told in _news(node, positions):
            yield event("changes", cursor_of(positions), told)
        if await pulse.after(version, limits.MONITOR_HEARTBEAT_SECONDS):
            await asyncio.sleep(limits.MONITOR_EVENT_SECONDS)
        else:
            yield HEARTBEAT


async def _news(node: Node, positions: Positions) -> AsyncIterator[dict[str, Any]]:
    """Yield what is shown and was not told, a piece at a time, and move the positions along."""
    for doc, heads in list(node.ledger.heads.items()):
        told = positions.setdefault(doc, {})
        for replica, head in list(heads.items()):
            upto, known = head.visible, told.get(replica, 0)
            if known > upto:
                # The log was replaced by a shorter one.
                known = 0
            while known < upto:
                rows = await node.ledger.storage.read(partial(change_rows, doc, replica, known))
                keys = dict.fromkeys(key for row in rows if row.seq <= upto for key in row.keys)
                known = rows[-1].seq if len(rows) == limits.READ_ROWS and rows[-1].seq < upto else upto
                told[replica] = known
                if keys:
                    yield {"category": doc.partition("/")[0], "doc": doc, "keys": list(keys)}
