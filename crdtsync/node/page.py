"""How many rows a caller may ask for at once: every list that a node answers comes in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crdtsync import limits
from crdtsync.errors import BadRequest
from crdtsync.said import say

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE_ROWS = 100
"""Rows of a page when the caller names no number."""


def page_limit(args: Mapping[str, Any], default: int = PAGE_ROWS) -> int:
    """Return the ``limit`` of a request. Raises BadRequest."""
    limit = args.get("limit", default)
    if type(limit) is not int or not 0 < limit <= limits.PAGE_ROWS_MAX:
        raise BadRequest(
            say(
                "limit = {limit}; write a number from 1 to {most}",
                limit=repr(limit),
                most=limits.PAGE_ROWS_MAX,
            )
        )
    return limit


def bad_cursor(after: object) -> BadRequest:
    """Return the error for a page after something that was never given out."""
    return BadRequest(say("after = {after}; give back what the page before said", after=repr(after)))
