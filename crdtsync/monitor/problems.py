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
    """Return an answer; ``name`` is a stable word for programs."""
    body = {
        "type": TYPE_PREFIX + name,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **more,
    }
    return JSONResponse(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


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
    return problem(status_of(error), word_of(error), str(error))


def unexpected() -> JSONResponse:
    """Return the answer for a fault of this program; the log has the rest."""
    return problem(500, "fault", "the node could not answer; see its log")


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
            {"at": ".".join(map(str, one["loc"])), "problem": one["msg"]}
            for one in error.errors()[:_FAULTS_SHOWN_MAX]
        ]
        detail = "; ".join(f"{one['at']}: {one['problem']}" for one in found)
        return problem(422, "invalid", detail, errors=found)

    async def http(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        name = HTTPStatus(error.status_code).name.lower()
        return problem(error.status_code, name, str(error.detail), error.headers)

    async def fault(_request: Request, _error: Exception) -> JSONResponse:
        return unexpected()

    app.add_exception_handler(CrdtsyncError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, fault)
