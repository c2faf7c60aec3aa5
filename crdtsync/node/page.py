"""How many rows a caller may ask for at once: every list that a node answers comes in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crdtsync import limits
from crdtsync.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE_ROWS = 100
"""Rows of a page when the caller names no number."""


def page_limit(args: Mapping[str, Any], default: int = PAGE_ROWS) -> int:
    """Return the ``limit`` of a request. Raises BadRequest."""
    limit = args.get("limit", default)
    if type(limit) is not int or not 0 < limit <= limits.PAGE_ROWS_MAX:
        raise BadRequest(f"limit = {limit!r}; write a number from 1 to {limits.PAGE_ROWS_MAX}")
    return limit


def bad_cursor(after: object) -> BadRequest:
    """Return the error for a page after something that was never given out."""
    return BadRequest(f"after = {after!r}; give back what the page before said")
