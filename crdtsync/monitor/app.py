"""The application of one open node: all paths, in front of them the guard."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.responses import JSONResponse

from crdtsync.monitor import (
    changes,
    entrance,
    events,
    metrics,
    network,
    problems,
    records,
    screens,
    transactions,
)
from crdtsync.monitor.answers import Answers
from crdtsync.monitor.security import Guard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp

    from crdtsync.monitor.pulse import Pulse
    from crdtsync.monitor.security import Door
    from crdtsync.node import Node


def build(node: Node, door: Door, pulse: Pulse, port: int) -> ASGIApp:
    """Return the ASGI application of an open node that is served on a port of this machine."""
    app = FastAPI(
        title="crdtsync",
        version=version("crdtsync"),
        openapi_url=None,
        # Their scripts come from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=problems.RESPONSES,
    )
    app.state.node, app.state.door, app.state.pulse = node, door, pulse
    problems.install(app)
    app.state.answers = Answers(node)
    for router in (
        # Paths are tried one after the other, and sales come most often.
        transactions.router_of(node.schema),
        *(room.router for room in (entrance, screens, network, events, changes, metrics)),
        records.router_of(node.schema),
    ):
        app.include_router(router)
    app.add_api_route("/api/openapi.json", _description(app), include_in_schema=False)
    return Guard(app, door, port)


def _description(app: FastAPI) -> Callable[[], Awaitable[JSONResponse]]:
    async def description() -> JSONResponse:
        # It takes a second to make, once, and nobody's sale waits for it.
        described = await asyncio.to_thread(app.openapi)
        described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        return JSONResponse({**described, "security": [{"token": []}]})

    return description
