"""The schema: all entities of a node, their order, and their fingerprint."""

from __future__ import annotations

from functools import cached_property
from hashlib import blake2b
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Literal

from crdtsync import limits
from crdtsync.errors import AdapterError, UnknownCategory, hint
from crdtsync.said import say
from crdtsync.schema.entity import Entity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crdtsync.schema.shape import Shape

ENTRY_POINTS = "crdtsync.adapters"
_PLACE_DEFAULT = 1000


class Schema:
    """A checked set of entities.

    Raises:
        AdapterError: what is no entity, a category twice, a reference to a category that is not there, or a cycle of references.
    """

    def __init__(self, entities: Iterable[type[Entity]]) -> None:
        self.entities: dict[str, type[Entity]] = {}
        for entity in entities:
            category = getattr(entity, "__category__", "")
            if not category:
                said = getattr(entity, "__name__", repr(entity))
                raise AdapterError(f"{said} is no entity with a category; name a class of your own")
            if category in self.entities:
                other = self.entities[category]
                raise AdapterError(
                    f"{category}: declared by {other.__module__}.{other.__name__} and by "
                    f"{entity.__module__}.{entity.__name__}; remove one of them"
                )
            self.entities[category] = entity
        self.shapes: dict[str, Shape] = {name: entity.__shape__ for name, entity in self.entities.items()}
        self._orders: dict[tuple[str, str | None], tuple[str, ...]] = {}
        self._check_references()
        self._check_size()

    def _check_references(self) -> None:
        for category, shape in self.shapes.items():
            for field, target in shape.refs:
                if target not in self.shapes:
                    raise AdapterError(
                        f"{category}.{field} refers to {target}, which no installed adapter declares"
                    )
        done: set[str] = set()
        for category in sorted(self.shapes):
            self._visit(category, (), done)

    def _check_size(self) -> None:
        """What a greeting names must fit into its frame."""
        for what, count, most in (
            ("categories", len(self.shapes), limits.CATEGORIES_MAX),
            (
                "optional fields",
                sum(len(shape.optional_types) for shape in self.shapes.values()),
                limits.OPTIONAL_FIELDS_MAX,
            ),
        ):
            if count > most:
                raise AdapterError(
                    f"the installed adapters declare {count} {what}; at most {most} are allowed"
                )

    def _visit(self, category: str, path: tuple[str, ...], done: set[str]) -> None:
        if category in path:
            cycle = " -> ".join((*path[path.index(category) :], category))
            raise AdapterError(f"references form a cycle: {cycle}; make one of them plain text")
        if category in done:
            return
        for target in self.dependencies(category):
            self._visit(target, (*path, category), done)
        done.add(category)

    def dependencies(self, category: str) -> tuple[str, ...]:
        """Return the other categories that a category refers to."""
        targets = dict.fromkeys(target for _, target in self.shape(category).refs)
        return tuple(target for target in targets if target != category)

    def shape(self, category: str) -> Shape:
        """Return the shape of a category. Raises UnknownCategory with the nearest name."""
        if category not in self.shapes:
            raise UnknownCategory(
                category, say("{hint}; see `crdtsync adapters`", hint=hint(category, self.shapes))
            )
        return self.shapes[category]

    def entity(self, category: str) -> type[Entity]:
        """Return the entity class of a category. Raises UnknownCategory with the nearest name."""
        self.shape(category)
        return self.entities[category]

    def order(self, direction: Literal["download", "upload"], first: str | None = None) -> tuple[str, ...]:
        """Return all categories so that each comes after those it refers to, else by place, then name.

        ``first`` comes as early as what it refers to allows; a category that is not there changes nothing.
        """
        known = self._orders.get((direction, first))
        if known is None:
            known = self._orders[direction, first] = self._ordered(direction, first)
        return known

    def _ordered(self, direction: Literal["download", "upload"], first: str | None) -> tuple[str, ...]:
        def place(category: str) -> tuple[int, str]:
            shape = self.shapes[category]
            declared = shape.download if direction == "download" else shape.upload
            return (_PLACE_DEFAULT if declared is None else declared, category)

        result: dict[str, None] = {}

        def emit(category: str) -> None:
            if category not in result:
                for target in sorted(self.dependencies(category), key=place):
                    emit(target)
                result[category] = None

        if first in self.shapes:
            emit(first)
        for category in sorted(self.shapes, key=place):
            emit(category)
        return tuple(result)

    def behind(self, categories: Iterable[str]) -> frozenset[str]:
        """Return the categories and all that refer to one of them, directly or not."""
        found = set(categories)
        # Referred categories come first in the order, so one pass is enough.
        for category in self.order("download"):
            if not found.isdisjoint(self.dependencies(category)):
                found.add(category)
        return frozenset(found)

    @cached_property
    def fingerprint(self) -> str:
        """Stable hash over all categories."""
        text = ",".join(f"{name}={self.shapes[name].fingerprint}" for name in sorted(self.shapes))
        return blake2b(text.encode(), digest_size=8).hexdigest()

    def categories(self) -> dict[str, tuple[str, dict[str, str]]]:
        """Return what peers compare per category: its essence, and the types of what either may lack."""
        return {name: (shape.essence, shape.optional_types) for name, shape in self.shapes.items()}

    def incompatible(self, theirs: Mapping[str, tuple[str, Mapping[str, str]]]) -> dict[str, str]:
        """Return the categories that a peer with these `categories` cannot exchange records of, with the reason.

        A category that only one end has is not named: there is nothing to exchange.
        """
        found: dict[str, str] = {}
        for name, (essence, types) in self.categories().items():
            if name not in theirs:
                continue
            their_essence, their_types = theirs[name]
            other = sorted(
                field for field in types.keys() & their_types if types[field] != their_types[field]
            )
            if essence != their_essence:
                found[name] = "its keys, partition or required fields differ"
            elif other:
                found[name] = f"the type of {', '.join(other)} differs"
        return found


def load_installed() -> Schema:
    """Return the schema of all installed adapters (entry-point group `crdtsync.adapters`).

    Raises:
        AdapterError: one of them cannot be loaded; it names the entry point and the distribution.
    """
    found: list[type[Entity]] = []
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda p: p.name):
        where = f"adapter {point.name} ({point.value} of {point.dist.name if point.dist else 'unknown'})"
        try:
            entity = point.load()
        except Exception as error:
            raise AdapterError(f"{where} cannot be loaded: {error}; mend or uninstall it") from error
        if not (isinstance(entity, type) and issubclass(entity, Entity)):
            raise AdapterError(f"{where} is not an entity; point it at an Entity subclass")
        found.append(entity)
    return Schema(found)
