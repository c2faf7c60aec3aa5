"""The shape of a category: what an entity class says, as data for the fold, the store and the gate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

from crdtsync.errors import FieldError
from crdtsync.schema.fields import Field, RowsType, StructType
from crdtsync.schema.partition import Partition
from crdtsync.schema.roles import Role
from crdtsync.schema.rules import Check, Invariant

KEY_SEPARATOR = ":"


@dataclass(frozen=True)
class Shape:
    """See the module. ``fields`` holds the non-key fields in declaration order."""

    category: str
    title: str
    keys: tuple[Field[Any], ...]
    fields: dict[str, Field[Any]]
    partition: Partition
    writers: frozenset[Role]
    holders: frozenset[Role]
    checks: tuple[Check, ...]
    invariants: tuple[Invariant, ...]
    download: int | None = None
    upload: int | None = None

    @cached_property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """(name, SQL type) of the read model's columns: the parts of a composite key, then the fields."""
        keys = self.keys if len(self.keys) > 1 else ()
        return tuple((field.column, field.sql_type) for field in (*keys, *self.fields.values()))

    @cached_property
    def indexes(self) -> tuple[str, ...]:
        """Columns to index: references and what group rules compare."""
        grouped = {name for rule in self.invariants for name in rule.group}
        return tuple(f.column for f in self.fields.values() if f.index or f.name in grouped)

    @cached_property
    def rows_views(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """Per column that holds a list of structs: (name, SQL type) of the struct's columns."""
        views: dict[str, tuple[tuple[str, str], ...]] = {}
        for field in self.fields.values():
            if isinstance(field.type, RowsType):
                views[field.column] = tuple((f.column, f.sql_type) for f in field.type.struct.__fields__)
        return views

    @cached_property
    def refs(self) -> tuple[tuple[str, str], ...]:
        """(field name, target category) of the references, those inside structs included, other categories only."""
        found: list[tuple[str, str]] = []
        for field in (*self.keys, *self.fields.values()):
            if isinstance(field.type, StructType):
                found += [(field.name, f.ref) for f in field.type.struct.__fields__ if f.ref]
            elif field.ref:
                found.append((field.name, field.ref))
        return tuple(found)

    def key_text(self, values: Mapping[str, Any]) -> str:
        """Return the record key of Python key values.

        Raises:
            FieldError: a key is missing or not valid.
        """
        parts: list[str] = []
        for key in self.keys:
            part = str(key.to_wire(values.get(key.name)))
            if len(self.keys) > 1 and KEY_SEPARATOR in part:
                raise FieldError(self.category, key.name, f"part of a composite key cannot contain {KEY_SEPARATOR!r}")
            parts.append(part)
        return KEY_SEPARATOR.join(parts)

    def key_columns(self, key: str) -> tuple[Any, ...]:
        """Return the wire values of a composite key's parts."""
        parts = key.split(KEY_SEPARATOR) if len(self.keys) > 1 else [key]
        return tuple(
            int(part) if field.sql_type == "INTEGER" else part for field, part in zip(self.keys, parts, strict=True)
        )

    def validate_key(self, key: str) -> str | None:
        """Check a key as it arrives; return what is wrong, or None."""
        try:
            wires = self.key_columns(key)
        except ValueError:
            return f"key {key!r} does not have {len(self.keys)} parts"
        for field, wire in zip(self.keys, wires, strict=True):
            problem = field.type.check((wire,))
            if problem:
                return f"key {key!r}: {problem}"
        return None

    def may_write(self, role: Role, field: str | None = None) -> bool:
        """Tell whether a node of this role may write the category, or one field of it."""
        if role not in self.writers:
            return False
        declared = self.fields.get(field) if field else None
        return declared is None or declared.writers is None or role in declared.writers

    def describe(self) -> dict[str, Any]:
        """Return what peers compare: signatures of keys and fields."""
        return {
            "keys": [[field.name, field.type.signature] for field in self.keys],
            "fields": {name: field.signature for name, field in self.fields.items()},
            "required": sorted(name for name, field in self.fields.items() if field.required),
        }

    @cached_property
    def fingerprint(self) -> str:
        """Stable hash of the description."""
        text = json.dumps(self.describe(), sort_keys=True, ensure_ascii=False)
        return blake2b(text.encode(), digest_size=8).hexdigest()

    @cached_property
    def essence(self) -> str:
        """Stable hash of what must be equal to exchange records: keys and required fields.

        Two versions of a category that differ by optional fields have the same essence and synchronize.
        """
        kept = {name: self.fields[name].signature for name in sorted(self.fields) if self.fields[name].required}
        text = json.dumps([self.describe()["keys"], kept], sort_keys=True, ensure_ascii=False)
        return blake2b(text.encode(), digest_size=8).hexdigest()
