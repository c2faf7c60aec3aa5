"""Errors as problem details (RFC 9457): one form for everything that can go wrong, never a trace."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from crdtsync.errors import (
    CrdtsyncError,
    NodeMissing,
    OptionRefused,
    PendencyMissing,
    RecordAmbiguous,
    RecordExists,
    RecordMissing,
    StateError,
    StoreCorrupt,
    TransactionTooLarge,
    TransportError,
    UnknownCategory,
)
from crdtsync.errors import ProtocolError as PeerError
from crdtsync.errors import StorageError as StoreError
from crdtsync.monitor import language
from crdtsync.monitor.invalid import what_is_wrong
from crdtsync.said import said_of, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.requests import Request

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:crdtsync:problem:"
_ABSENT = (NodeMissing, PendencyMissing, RecordMissing, UnknownCategory)
_CONFLICT = (RecordExists, RecordAmbiguous, OptionRefused)
_FAULTS_SHOWN_MAX = 20
log = logging.getLogger("crdtsync")
_TITLES = {
    400: say("Bad Request"),
    401: say("Unauthorized"),
    403: say("Forbidden"),
    404: say("Not Found"),
    405: say("Method Not Allowed"),
    408: say("Request Timeout"),
    409: say("Conflict"),
    413: say("Content Too Large"),
    415: say("Unsupported Media Type"),
    421: say("Misdirected Request"),
    422: say("Unprocessable Content"),
    429: say("Too Many Requests"),
    500: say("Internal Server Error"),
    503: say("Service Unavailable"),
}

SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"at": {"type": "string"}, "problem": {"type": "string"}},
            },
        },
    },
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "What was asked is wrong", "content": {MEDIA_TYPE: {"schema": SCHEMA}}},
    "5XX": {"description": "The node cannot answer", "content": {MEDIA_TYPE: {"schema": SCHEMA}}},
}
"""What every path may answer besides its result, for the OpenAPI description."""


def problem(
    status: int, name: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """Return an answer in the language of the request; ``name`` is a stable word for programs."""
    body = {
        "type": TYPE_PREFIX + name,
        "title": language.tell(title_of(status)),
        "status": status,
        "detail": language.tell(detail),
        **more,
    }
    told = {"Content-Language": language.current(), **(headers or {})}
    return JSONResponse(body, status, headers=told, media_type=MEDIA_TYPE)


def title_of(status: int) -> str:
    """Return what an HTTP status means."""
    return _TITLES.get(status, HTTPStatus(status).phrase)


def status_of(error: CrdtsyncError) -> int:
    """Return the HTTP status of an error of this program."""
    if isinstance(error, _ABSENT):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, _CONFLICT):
        return HTTPStatus.CONFLICT
    if error.usage or isinstance(error, TransactionTooLarge):
        return HTTPStatus.BAD_REQUEST
    if isinstance(error, StoreCorrupt | StateError):
        return HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, StoreError | TransportError | PeerError):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.INTERNAL_SERVER_ERROR


def word_of(error: Exception) -> str:
    """Return the stable word of an error: its class, as `record_missing`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()


def of_error(error: CrdtsyncError) -> JSONResponse:
    """Return the answer for an error of this program."""
    return problem(status_of(error), word_of(error), said_of(error))


def unexpected() -> JSONResponse:
    """Return the answer for a fault of this program; the log has the rest."""
    return problem(500, "fault", say("the node could not answer; see its log"))


def install(app: FastAPI) -> None:
    """Let an application answer every error with a problem."""

    async def refused(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, CrdtsyncError)
        if not error.usage:
            log.warning("monitor: %s", error)
        return of_error(error)

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        # Not what was sent: a token or a PIN would come back.
        found = [
            {
                "at": ".".join(map(str, one["loc"])),
                "problem": language.tell(what_is_wrong(one["type"], one["msg"], one.get("ctx", {}))),
            }
            for one in error.errors()[:_FAULTS_SHOWN_MAX]
        ]
        detail = "; ".join(f"{one['at']}: {one['problem']}" for one in found)
        return problem(422, "invalid", detail, errors=found)

    async def http(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        status = HTTPStatus(error.status_code)
        # Starlette says the status again where nobody said more.
        detail = title_of(status) if error.detail == status.phrase else error.detail
        return problem(status, status.name.lower(), detail, error.headers)

    async def fault(_request: Request, _error: Exception) -> JSONResponse:
        return unexpected()

    app.add_exception_handler(CrdtsyncError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, fault)
