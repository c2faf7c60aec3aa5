"""Writes of a program: any number of operations over any categories, all or none, once for each key."""

import json
from collections.abc import Awaitable, Callable
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.responses import JSONResponse, Response

from crdtsync import limits
from crdtsync.errors import FieldError, RecordMissing
from crdtsync.monitor.answers import Answers
from crdtsync.monitor.here import AnswersHere, NodeHere
from crdtsync.monitor.models import models_of, operation_of, python_of
from crdtsync.monitor.problems import problem
from crdtsync.node import Node
from crdtsync.node.transaction import Transaction
from crdtsync.node.verbs import read_key
from crdtsync.said import said_of, say
from crdtsync.schema import Entity, Schema, Set
from crdtsync.schema.fields import Field as RecordField

ACTOR = "api"
REPEATED = "Idempotency-Replayed"
_KEY_CHARS_MAX = 128
Operation = dict[str, Any]


class Address(BaseModel):
    """Where a record is."""

    category: str
    doc: str
    key: str


class Written(BaseModel):
    """The records that were written, one for each operation."""

    records: list[Address]


@lru_cache(maxsize=4)
def router_of(schema: Schema) -> APIRouter:
    """Return the path that writes records of a schema."""
    router, models = APIRouter(), models_of(schema)
    operations: Any = Annotated[
        list[operation_of(models)],  # type: ignore[misc] # it is made of the installed adapters
        Field(min_length=1, max_length=limits.MONITOR_OPERATIONS_MAX),
    ]
    asking = create_model(
        "TransactionAsked",
        __config__=ConfigDict(extra="forbid", strict=True),
        idempotency_key=(Annotated[str, Field(min_length=1, max_length=_KEY_CHARS_MAX)], ...),
        operations=(operations, ...),
    )

    async def write(node: NodeHere, answers: AnswersHere, body: Any) -> Response:
        """Write all operations in one transaction, or nothing; the same key again answers what it answered first."""
        asked = body.model_dump(by_alias=True, exclude_unset=True)
        digest = sha256(json.dumps(asked["operations"], sort_keys=True).encode()).hexdigest()
        async with answers.turn(asked["idempotency_key"]) as name:
            known = await answers.find(name)
            if known is None:
                answer = await _write(node, answers, name, digest, asked["operations"])
                return JSONResponse(answer)
            if known["asked"] != digest:
                used = say("this key was used for other operations; choose a new one")
                return problem(409, "idempotency_key", used)
            return JSONResponse(known["answer"], headers={REPEATED: "true"})

    write.__annotations__["body"] = asking
    router.add_api_route("/api/transactions", write, methods=["POST"], response_model=Written)
    return router


async def _write(
    node: Node, answers: Answers, name: str, digest: str, operations: list[Operation]
) -> dict[str, Any]:
    schema = node.schema
    async with node.transaction(actor=ACTOR) as tx:
        records = [await _apply(tx, schema, operation) for operation in operations]
        answer = {
            "records": [{"category": one.__category__, "doc": one.doc, "key": one.key} for one in records]
        }
        number = await answers.keep(tx, name, digest, answer)
    await answers.kept(name, number)
    return answer


async def _apply(tx: Transaction, schema: Schema, operation: Operation) -> Entity:
    entity = schema.entity(operation["category"])
    return await _DOES[operation["do"]](tx, entity, operation)


async def _create(tx: Transaction, entity: type[Entity], operation: Operation) -> Entity:
    keys = read_key(entity.__shape__, operation["key"])
    return tx.create(entity, in_store=operation.get("store"), **keys, **_values(entity, operation))


async def _edit(tx: Transaction, entity: type[Entity], operation: Operation) -> Entity:
    record = await _get(tx, entity, operation)
    for name, value in _values(entity, operation).items():
        if isinstance(entity.__shape__.fields[name], Set):
            _set(record, name, value)
        else:
            setattr(record, name, value)
    return record


async def _delete(tx: Transaction, entity: type[Entity], operation: Operation) -> Entity:
    record = await _get(tx, entity, operation)
    record.delete()
    return record


async def _restore(tx: Transaction, entity: type[Entity], operation: Operation) -> Entity:
    record = await tx.find(entity, operation["key"], in_store=operation.get("store"))
    if record is None:
        raise RecordMissing(entity.__category__, operation["key"])
    if record.deleted:
        record.restore()
    return record


async def _move(tx: Transaction, entity: type[Entity], operation: Operation) -> Entity:
    record = await _get(tx, entity, operation)
    for name, amount in _values(entity, operation).items():
        counter = getattr(record, name)
        move = counter.subtract if amount < 0 else counter.add
        move(abs(amount), cause=operation.get("cause", ""), once=operation.get("once"))
    return record


async def _count(tx: Transaction, entity: type[Entity], operation: Operation) -> Entity:
    record = await _get(tx, entity, operation)
    for name, amount in _values(entity, operation).items():
        getattr(record, name).count(amount)
    return record


_DOES: dict[str, Callable[[Transaction, type[Entity], Operation], Awaitable[Entity]]] = {
    "create": _create,
    "edit": _edit,
    "delete": _delete,
    "restore": _restore,
    "move": _move,
    "count": _count,
}


async def _get(tx: Transaction, entity: type[Entity], operation: Operation) -> Entity:
    return await tx.get(entity, operation["key"], in_store=operation.get("store"))


def _set(record: Entity, name: str, elements: list[Any]) -> None:
    """Let a set hold these elements: those that are missing are added, the others that are seen are taken out."""
    bound = getattr(record, name)
    for element in bound:
        if element not in elements:
            bound.discard(element)
    for element in elements:
        if element not in bound:
            bound.add(element)


def _values(entity: type[Entity], operation: Operation) -> dict[str, Any]:
    fields = entity.__shape__.fields
    return {name: _value(fields[name], value) for name, value in operation.get("values", {}).items()}


def _value(field: RecordField[Any], value: Any) -> Any:
    if value is None:
        if isinstance(field, Set):
            raise FieldError(field.category, field.name, say("is a set; write a list, [] for none"))
        return None
    try:
        if isinstance(field, Set):
            return [python_of(field.type, one) for one in value]
        return python_of(field.type, value)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise FieldError(field.category, field.name, said_of(error)) from error
