"""How a browser becomes known, who it is, and whether the node lives."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse

from crdtsync.monitor.here import DoorHere, NodeHere
from crdtsync.monitor.problems import problem
from crdtsync.monitor.security import ENTER, LEAVE, LockedOut, caller_of, cookie_in
from crdtsync.said import say

STATIC = Path(__file__).parent / "static"
_TOKEN_CHARS_MAX = 256
# It takes no token.
_OPEN: dict[str, Any] = {"security": []}
router = APIRouter()


class Entering(BaseModel):
    """The token that a person's browser was opened with."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: Annotated[str, Field(max_length=_TOKEN_CHARS_MAX)]


class Entered(BaseModel):
    """What the token allows."""

    role: str


@router.post(ENTER, openapi_extra=_OPEN)
async def enter(body: Entering, door: DoorHere) -> Any:
    """Exchange a token for the cookie of this browser."""
    try:
        level = door.level_of(body.token)
    except LockedOut as error:
        return error.answer()
    if level is None:
        wrong = say("the token is wrong; ask the node for its address: crdtsync monitor DIR")
        return problem(401, "stranger", wrong)
    answer = Response(Entered(role=level.value).model_dump_json(), media_type="application/json")
    answer.set_cookie(door.cookie, door.admit(level), path="/", httponly=True, samesite="strict")
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
    caller, config = caller_of(request.scope), node.config
    return {
        "role": caller.level.value,
        "csrf": caller.csrf,
        "device": config.device,
        "node_role": config.role.value,
        "store": config.store,
        "account": config.account,
        "version": version("crdtsync"),
        "time_zone": config.time_zone,
        "now_ms": node.ledger.clock.now_ms(),
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


@router.get("/", include_in_schema=False)
@router.get("/enter", include_in_schema=False)
async def page() -> FileResponse:
    """The page; its script reads the token behind the # and posts it."""
    path = STATIC / "index.html"
    if not path.is_file():
        raise HTTPException(404, say("this installation has no page"))
    return FileResponse(path)
