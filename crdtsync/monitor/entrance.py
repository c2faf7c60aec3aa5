"""How a browser becomes known, who it is, and whether the node lives."""

import gzip
import hashlib
import mimetypes
from datetime import datetime
from functools import cache
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from crdtsync.monitor.here import DoorHere, NodeHere
from crdtsync.monitor.problems import problem
from crdtsync.monitor.security import ENTER, LEAVE, Caller, LockedOut, caller_of, cookie_in
from crdtsync.node import Node
from crdtsync.said import say

STATIC = Path(__file__).parent / "static"
_TOKEN_CHARS_MAX = 256
_DAY_MS = 86_400_000
# History goes four days back; most of what is open is younger than this. The browser itself knows the rest, more slowly.
_OFFSET_DAYS_MAX = 60
# It takes no token.
_OPEN: dict[str, Any] = {"security": []}
router = APIRouter()


class Entering(BaseModel):
    """The token that a person's browser was opened with."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: Annotated[str, Field(max_length=_TOKEN_CHARS_MAX)]


@router.post(ENTER, openapi_extra=_OPEN)
async def enter(body: Entering, door: DoorHere, node: NodeHere) -> Any:
    """Exchange a token for the cookie of this browser; answers as ``/api/me``."""
    try:
        level = door.level_of(body.token)
    except LockedOut as error:
        return error.answer()
    if level is None:
        wrong = say("the token is wrong; ask the node for its address: crdtsync monitor DIR")
        return problem(401, "stranger", wrong)
    cookie = door.admit(level)
    answer = JSONResponse(_told(Caller(level, door.csrf_of(cookie)), node))
    answer.set_cookie(door.cookie, cookie, path="/", httponly=True, samesite="strict")
    return answer


@router.post(LEAVE)
async def leave(request: Request, door: DoorHere) -> dict[str, bool]:
    """Forget this browser."""
    cookie = cookie_in(request.headers, door.cookie)
    if cookie:
        door.forget(cookie)
    return {"left": bool(cookie)}


@router.get("/api/me")
async def me(request: Request, node: NodeHere) -> dict[str, Any]:
    """Say who asks and who answers; ``csrf`` goes with every change as ``X-CSRF-Token``."""
    return _told(caller_of(request.scope), node)


def _told(caller: Caller, node: Node) -> dict[str, Any]:
    config, now_ms = node.config, node.ledger.clock.now_ms()
    return {
        "role": caller.level.value,
        "csrf": caller.csrf,
        "device": config.device,
        "node_role": config.role.value,
        "store": config.store,
        "account": config.account,
        "version": version("crdtsync"),
        "time_zone": config.time_zone,
        "utc_offset": utc_offset(ZoneInfo(config.time_zone), now_ms),
        "now_ms": now_ms,
    }


def utc_offset(zone: ZoneInfo, now_ms: int) -> dict[str, int]:
    """How far a zone is ahead of UTC, in seconds, and between which moments, at most some weeks away, it surely stays so."""

    def seconds_at(at_ms: int) -> int:
        offset = datetime.fromtimestamp(at_ms / 1000, zone).utcoffset()
        assert offset is not None
        return int(offset.total_seconds())

    seconds = seconds_at(now_ms)

    def same_ms(step_ms: int) -> int:
        """How far in one direction it is the same on every day."""
        steps = range(step_ms, step_ms * (_OFFSET_DAYS_MAX + 1), step_ms)
        return sum(step_ms for _ in takewhile(lambda away: seconds_at(now_ms + away) == seconds, steps))

    return {
        "seconds": seconds,
        "from_ms": now_ms + same_ms(-_DAY_MS),
        "until_ms": now_ms + same_ms(_DAY_MS),
    }


@router.get("/health/live", openapi_extra=_OPEN)
async def live() -> dict[str, bool]:
    """Tell that the process answers."""
    return {"live": True}


@router.get("/health/ready")
async def ready(node: NodeHere) -> dict[str, bool]:
    """Tell that the store answers too."""
    await node.ledger.storage.read(lambda view: view.meta("replica"))
    return {"ready": True}


class _File(NamedTuple):
    media_type: str
    tag: str
    plain: bytes
    packed: bytes


@cache
def _files() -> dict[str, _File]:
    """The files of the page. They are small, and a disk that is busy with the store does not hold up the page."""
    found: dict[str, _File] = {}
    for path in STATIC.iterdir() if STATIC.is_dir() else ():
        data = path.read_bytes()
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        found[path.name] = _File(
            kind, f'"{hashlib.sha256(data).hexdigest()}"', data, gzip.compress(data, mtime=0)
        )
    return found


@router.get("/", include_in_schema=False)
@router.get("/enter", include_in_schema=False)
async def page(request: Request) -> Response:
    """The page; its script reads the token behind the # and posts it."""
    return file("index.html", request)


@router.api_route("/static/{name}", methods=["GET", "HEAD"], include_in_schema=False)
async def file_of_the_page(name: str, request: Request) -> Response:
    """One of the page's own files."""
    return file(name, request)


def file(name: str, request: Request) -> Response:
    """Return a file of the page; nothing of it when the browser has it already."""
    found = _files().get(name)
    if found is None:
        raise HTTPException(404, say("this installation has no page"))
    headers = {"ETag": found.tag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(
            found.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=found.media_type
        )
    return Response(found.plain, headers=headers, media_type=found.media_type)
