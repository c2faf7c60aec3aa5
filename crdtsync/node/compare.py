"""What another node needs to compare itself with this one: documents, and the records of a document, by digest, in pages."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from crdtsync.errors import BadRequest
from crdtsync.node.page import bad_cursor, page_limit
from crdtsync.said import say

if TYPE_CHECKING:
    from crdtsync.node.node import Node

_DIGEST_BYTES = 8


async def documents(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """One page of the documents that this node has something of, by name; ``limit`` and ``after`` page."""
    limit, after = page_limit(args), args.get("after") or ""
    held = sorted(
        doc for doc, heads in node.ledger.heads.items() if heads and doc > after and node.ledger.shape_of(doc)
    )
    page = held[:limit]
    return {"documents": page, "after": page[-1] if len(held) > limit else None}


async def record_digests(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """One page of the records of document ``doc`` as shown, each ``[key, digest]``, by key; ``limit`` and ``after`` page."""
    doc, after = args.get("doc"), args.get("after")
    if not isinstance(doc, str) or node.ledger.shape_of(doc) is None:
        raise BadRequest(say("doc = {doc}; write the name of a document", doc=repr(doc)))
    if after is not None and not isinstance(after, str):
        raise bad_cursor(after)
    limit, category = page_limit(args), doc.partition("/")[0]
    start = None if after is None else (doc, after)
    rows = await node.ledger.storage.read(
        lambda view: view.select(category, doc=doc, after=start, limit=limit + 1, include_deleted=True)
    )
    page = rows[:limit]
    return {
        "records": [[row[1], _digest(row[2:])] for row in page],
        "after": page[-1][1] if len(rows) > limit else None,
    }


def _digest(values: tuple[Any, ...]) -> str:
    return blake2b(json.dumps(values, ensure_ascii=False).encode(), digest_size=_DIGEST_BYTES).hexdigest()


COMPARE = {"documents": documents, "record_digests": record_digests}
