"""The records: the categories, a page, one record. Each category has its own paths, so that its description is true."""

from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import JSONResponse

from crdtsync import limits
from crdtsync.errors import BadRequest, RecordMissing, hint
from crdtsync.monitor.here import NodeHere
from crdtsync.monitor.models import HIDDEN, Models, described, models_of
from crdtsync.node import Node
from crdtsync.node.deciding import plain_conflicts
from crdtsync.node.page import PAGE_ROWS, bad_cursor
from crdtsync.node.transaction import documents_meant, find_rows, only_row
from crdtsync.said import say
from crdtsync.schema import Entity, Schema, Set
from crdtsync.schema.composites import StructType
from crdtsync.schema.fields import Field
from crdtsync.schema.shape import Shape
from crdtsync.storage.base import View

_CURSOR_CHARS_MAX = 1_024
_PAGING = frozenset({"store", "after", "limit"})
Row = tuple[Any, ...]
Store = Annotated[str | None, Query(max_length=64, description="Only records of this store.")]


@lru_cache(maxsize=4)
def router_of(schema: Schema) -> APIRouter:
    """Return the paths that read the records of a schema."""
    router, models = APIRouter(), models_of(schema)

    @router.get("/api/categories")
    async def categories() -> dict[str, Any]:
        """The installed categories in the order of a download: keys, fields, who may write."""
        return {"categories": [described(schema.shape(name)) for name in schema.order("download")]}

    for name, entity in schema.entities.items():
        _add_reads(router, entity, models[name])

    # After the real ones: what no installed adapter declares is named with what it may have meant.
    @router.get("/api/records/{category}", include_in_schema=False)
    async def unknown(category: str) -> None:
        schema.shape(category)

    @router.get("/api/records/{category}/{key:path}", include_in_schema=False)
    async def unknown_record(category: str, key: str) -> None:
        del key
        schema.shape(category)

    return router


def _add_reads(router: APIRouter, entity: type[Entity], models: Models) -> None:
    shape = entity.__shape__

    async def page(
        node: NodeHere,
        request: Request,
        store: Store = None,
        after: Annotated[str | None, Query(max_length=_CURSOR_CHARS_MAX)] = None,
        limit: Annotated[int, Query(ge=1, le=limits.PAGE_ROWS_MAX)] = PAGE_ROWS,
    ) -> JSONResponse:
        where = _where(shape, request)
        rows, cursor = await node.ledger.storage.read(
            lambda view: _select(view, shape, where, store, after, limit)
        )
        records = [{"doc": row[0], "key": row[1], "values": _values(entity, row)} for row in rows]
        return JSONResponse({"records": records, "after": cursor})

    async def one(
        node: NodeHere,
        key: Annotated[str, Path(max_length=limits.KEY_CHARS_MAX)],
        store: Store = None,
    ) -> JSONResponse:
        return JSONResponse(await _record(node, entity, key, store))

    filters = [
        {"name": field.name, "in": "query", "required": False, "schema": {"type": "string"}}
        for field in _filterable(shape)
    ]
    path = f"/api/records/{shape.category}"
    router.add_api_route(
        path,
        page,
        methods=["GET"],
        response_model=models.page,
        name=f"{shape.category} page",
        description=f"{shape.title}: a page of records; a field's name as a parameter leaves out those with another value.",
        openapi_extra={"parameters": filters} if filters else None,
    )
    router.add_api_route(
        path + "/{key:path}",
        one,
        methods=["GET"],
        response_model=models.record,
        name=f"{shape.category} record",
        description=f"{shape.title}: one record.",
    )


def _filterable(shape: Shape) -> list[Field[Any]]:
    """The fields with a column of one plain value; a key that stands alone is asked for in the path."""
    keys = shape.keys if len(shape.keys) > 1 else ()
    return [
        field
        for field in (*keys, *shape.fields.values())
        if not isinstance(field, Set)
        and not isinstance(field.type, StructType)
        and field.name not in _PAGING
        and (shape.category, field.name) not in HIDDEN
    ]


def _where(shape: Shape, request: Request) -> dict[str, Any]:
    """Return column -> wire value of the fields that a request names; an empty text asks for empty fields."""
    known = {field.name: field for field in _filterable(shape)}
    where: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        if name in _PAGING:
            continue
        if name not in known:
            raise BadRequest(
                say(
                    "{category}.{field}: no field to ask for{hint}",
                    category=shape.category,
                    field=name,
                    hint=hint(name, known),
                )
            )
        field = known[name]
        if field.column in where:
            raise BadRequest(
                say("{category}.{field}: it is named twice", category=shape.category, field=name)
            )
        where[field.column] = field.to_wire(field.parse(text))
    return where


def _select(
    view: View, shape: Shape, where: dict[str, Any], store: str | None, after: str | None, limit: int
) -> tuple[list[Row], str | None]:
    place = _place(view, shape, after)
    if store is None:
        rows = view.select(shape.category, where=where, after=place, limit=limit + 1)
    else:
        rows = []
        # In the order in which the store numbers them, as a page without a store has it.
        documents = documents_meant(view, shape, store)
        if place is not None:
            documents = documents[documents.index(place[0]) :] if place[0] in documents else []
        for doc in documents:
            left = limit + 1 - len(rows)
            if left:
                rows += view.select(shape.category, doc=doc, where=where, after=place, limit=left)
    page = rows[:limit]
    return page, f"{page[-1][0]} {page[-1][1]}" if len(rows) > limit else None


def _place(view: View, shape: Shape, after: str | None) -> tuple[str, str] | None:
    if after is None:
        return None
    doc, separator, key = after.partition(" ")
    if not separator or doc not in view.documents(shape.category):
        raise bad_cursor(after)
    return doc, key


async def _record(node: Node, entity: type[Entity], key: str, store: str | None) -> dict[str, Any]:
    shape = entity.__shape__
    rows = await node.ledger.storage.read(lambda view: find_rows(view, shape, key, store))
    row = only_row(shape, key, [row for row in rows if not row[-2]])
    if row is None:
        raise RecordMissing(shape.category, key)
    return {
        "doc": row[0],
        "key": row[1],
        "values": _values(entity, row),
        "category": shape.category,
        "category_title": shape.title,
        "conflicts": {
            name: values
            for name, values in plain_conflicts(shape, row).items()
            if (shape.category, name) not in HIDDEN
        },
        "waits_for": await node.waits_for(entity, key, doc=row[0]),
    }


def _values(entity: type[Entity], row: Row) -> dict[str, Any]:
    plain = entity._load(row).to_plain()
    return {name: value for name, value in plain.items() if (entity.__category__, name) not in HIDDEN}
