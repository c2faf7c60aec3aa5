"""Models of records, made from the shapes of the installed adapters: a new adapter has its own at the next start.

They say what JSON a value is. What a field accepts beyond that (a pattern, a check digit) its own type says when it is
written. Exact decimals are texts; a JSON number would be read as a binary float somewhere, so it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, create_model

from crdtsync import limits
from crdtsync.monitor.invalid import NO_OPERATION
from crdtsync.pendencies.records import Decision, Incident, Person
from crdtsync.schema import Counter, Kind, Money, Set
from crdtsync.schema.composites import RowsType, StructType
from crdtsync.schema.values import (
    BoolType,
    DateTimeType,
    DateType,
    DecimalType,
    EnumType,
    IntType,
    TextType,
    ValueType,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crdtsync.schema import Schema, Shape
    from crdtsync.schema.composites import Struct
    from crdtsync.schema.fields import Field as RecordField

OWN = frozenset({Decision.__category__, Incident.__category__, Person.__category__})
"""Categories that the paths of the pendencies write, with the checks that belong to it; a transaction does not."""

HIDDEN = frozenset({(Person.__category__, Person.pin_hash.name)})
"""What nobody needs to see: the hash of a short PIN is soon guessed."""

# Built when they are used first: a node has some hundreds, and sells before anybody asks for one.
_STRICT = ConfigDict(extra="forbid", strict=True, protected_namespaces=(), defer_build=True)
_DIGITS = r"^-?[0-9]{1,19}(\.[0-9]{1,18})?$"
_STORE_CHARS_MAX = 64
_LIST_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Models:
    """The models of one category: a record as it is read, a page of them, one of them, and what may be asked for it."""

    values: type[BaseModel]
    page: type[BaseModel]
    record: type[BaseModel]
    operations: dict[str, type[BaseModel]]


@lru_cache(maxsize=4)
def models_of(schema: Schema) -> dict[str, Models]:
    """Return the models of every category of a schema."""
    return {name: _models(shape) for name, shape in schema.shapes.items()}


def shown(shape: Shape) -> list[RecordField[Any]]:
    """Return the keys and fields of a category that are shown."""
    return [
        field for field in (*shape.keys, *shape.fields.values()) if (shape.category, field.name) not in HIDDEN
    ]


def _models(shape: Shape) -> Models:
    name = "".join(part.capitalize() for part in shape.category.split("_"))
    values = _named(name, [(field.name, _annotation(field) | None, None) for field in shown(shape)])
    address: list[tuple[str, Any, Any]] = [("doc", str, ...), ("key", str, ...), ("values", values, ...)]
    item = _model(f"{name}Item", address)
    page = _model(f"{name}Page", [("records", list[item], ...), ("after", str | None, None)])  # type: ignore[valid-type]
    record = _model(
        f"{name}Record",
        [
            *address,
            ("category", str, ...),
            ("category_title", str, ...),
            ("conflicts", dict[str, list[Any]], ...),
            ("waits_for", list[str], ...),
        ],
    )
    return Models(values, page, record, _operations(name, shape))


def _operations(name: str, shape: Shape) -> dict[str, type[BaseModel]]:
    """What may be asked for a record of a category, by what is done."""
    fields = [field for field in shape.fields.values() if not isinstance(field, Counter)]
    written = _named(f"{name}Written", [(field.name, _annotation(field) | None, None) for field in fields])
    address: list[tuple[str, Any, Any]] = [
        ("category", Literal[shape.category], ...),
        ("key", Annotated[str, Field(max_length=limits.KEY_CHARS_MAX)], ...),
        ("store", Annotated[str, Field(max_length=_STORE_CHARS_MAX)] | None, None),
    ]

    def operation(do: str, *more: tuple[str, Any, Any]) -> type[BaseModel]:
        return _model(f"{name}{do.capitalize()}", [("do", Literal[do], ...), *address, *more])

    found = {
        "create": operation("create", ("values", written, written())),
        "edit": operation("edit", ("values", written, ...)),
        "delete": operation("delete"),
        "restore": operation("restore"),
    }
    counters = [field for field in shape.fields.values() if isinstance(field, Counter)]
    if counters:
        amounts = _named(f"{name}Amounts", [(field.name, _annotation(field), None) for field in counters])
        cause = Annotated[str, Field(max_length=limits.CAUSE_CHARS_MAX)]
        once = Annotated[str, Field(min_length=1, max_length=limits.MOVEMENT_NAME_CHARS_MAX)]
        found["move"] = operation(
            "move", ("values", amounts, ...), ("cause", cause, ""), ("once", once | None, None)
        )
        found["count"] = operation("count", ("values", amounts, ...))
    return found


def operation_of(models: dict[str, Models]) -> Any:
    """Return the type of one operation of a transaction, told apart by its category and by what is done."""
    kinds = [
        Annotated[model, Tag(f"{category} {do}")]
        for category, one in models.items()
        if category not in OWN
        for do, model in one.operations.items()
    ]
    return Annotated[
        Union[tuple(kinds)],  # noqa: UP007 - their number is known at run time only
        Discriminator(
            _tag,
            custom_error_type=NO_OPERATION,
            custom_error_message="no such operation",
        ),
    ]


def _tag(operation: Any) -> str:
    """Tell operations apart, as they are read and as they were."""
    if isinstance(operation, BaseModel):
        operation = vars(operation)
    said = operation if isinstance(operation, dict) else {}
    return f"{said.get('category')} {said.get('do')}"


def _model(name: str, fields: Iterable[tuple[str, Any, Any]]) -> type[BaseModel]:
    made: dict[str, Any] = {field: (annotation, default) for field, annotation, default in fields}
    return create_model(name, __config__=_STRICT, **made)


def _named(name: str, fields: Iterable[tuple[str, Any, Any]]) -> type[BaseModel]:
    """Make a model of an adapter's fields. Their names are free (`copy`, `json`), so attributes have others."""
    made: dict[str, Any] = {
        f"f{place}": (annotation, Field(default, alias=alias))
        for place, (alias, annotation, default) in enumerate(fields)
    }
    return create_model(name, __config__=_STRICT, **made)


def _annotation(field: RecordField[Any]) -> Any:
    one = _type(field.type)
    return Annotated[list[one], Field(max_length=_LIST_MAX)] if isinstance(field, Set) else one  # type: ignore[valid-type]


def _type(of: ValueType) -> Any:
    if isinstance(of, RowsType):
        return Annotated[list[_struct(of.struct)], Field(max_length=_LIST_MAX)]  # type: ignore[misc]
    if isinstance(of, StructType):
        return _struct(of.struct)
    if isinstance(of, DecimalType):
        return Annotated[str, Field(pattern=_DIGITS, description=f"exact, at most {of.scale} decimal places")]
    if isinstance(of, EnumType):
        return Literal[tuple(str(member.value) for member in of.enum)]
    if isinstance(of, DateType | DateTimeType):
        form = "date" if isinstance(of, DateType) else "date-time"
        return Annotated[str, Field(json_schema_extra={"format": form})]
    if isinstance(of, BoolType):
        return bool
    if isinstance(of, IntType):
        return Annotated[int, Field(ge=-limits.AMOUNT_MAX, le=limits.AMOUNT_MAX)]
    return Annotated[str, Field(max_length=of.max_length)] if isinstance(of, TextType) else str


def _struct(struct: type[Struct]) -> type[BaseModel]:
    known = _STRUCTS.get(struct)
    if known is None:
        fields = [
            (f.name, _type(f.type), ...) if f.required else (f.name, _type(f.type) | None, None)
            for f in struct.__fields__
        ]
        known = _STRUCTS[struct] = _named(struct.__name__, fields)
    return known


_STRUCTS: dict[type[Struct], type[BaseModel]] = {}


def python_of(of: ValueType, value: Any) -> Any:
    """Return the Python value of a JSON value that the model let pass; raises ValueError, FieldError."""
    if isinstance(of, RowsType):
        return [_built(of.struct, one) for one in value]
    if isinstance(of, StructType):
        return _built(of.struct, value)
    return of.parse(value) if isinstance(value, str) else value


def _built(struct: type[Struct], values: dict[str, Any]) -> Struct:
    fields = {field.name: field for field in struct.__fields__}
    return struct(
        **{
            name: None if value is None else python_of(fields[name].type, value)
            for name, value in values.items()
        }
    )


def described(shape: Shape) -> dict[str, Any]:
    """Return a category as the path of the categories tells it."""
    return {
        "name": shape.category,
        "title": shape.title,
        "keys": [field.name for field in shape.keys],
        "fields": [_described(shape, field) for field in shown(shape)],
        "writers": sorted(role.value for role in shape.writers),
        "holders": sorted(role.value for role in shape.holders),
        "partition": list(shape.partition.columns),
        "writable": shape.category not in OWN,
    }


def _described(shape: Shape, field: RecordField[Any]) -> dict[str, Any]:
    writers = shape.writers if field.writers is None else field.writers
    of = field.type
    return {
        "name": field.name,
        "title": field.name.replace("_", " "),
        "type": _word(of),
        "kind": field.kind.value,
        "money": isinstance(field, Money),
        "required": field.required or field.kind is Kind.KEY,
        "refers_to": field.ref,
        "places": of.scale if isinstance(of, DecimalType) else None,
        "words": [str(member.value) for member in of.enum] if isinstance(of, EnumType) else None,
        "writers": sorted(role.value for role in writers),
    }


def _word(of: ValueType) -> str:
    for kind, word in _WORDS.items():
        if isinstance(of, kind):
            return word
    return "text"


_WORDS: dict[type[ValueType], str] = {
    RowsType: "rows",
    StructType: "struct",
    DecimalType: "decimal",
    EnumType: "enum",
    DateTimeType: "datetime",
    DateType: "date",
    BoolType: "bool",
    IntType: "int",
}
