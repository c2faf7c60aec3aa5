"""Values that a schema accepts, made from its shapes alone: what the simulated cluster writes.

Few and small values on purpose: concurrent writes should meet on the same records and the same elements. It knows no
category; one whose checks no generic value passes gets no samples.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

from crdtsync.errors import SchemaError
from crdtsync.schema.fields import Field, Kind
from crdtsync.schema.partition import ACCOUNT
from crdtsync.schema.roles import Identity, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crdtsync.schema import Entity, Schema

EPOCH = datetime(2026, 8, 10, 12, 0, tzinfo=UTC)
"""When every simulation begins."""

_RECORDS = 5
_RECORD_TRIES = 5_000
_TRIES = 300
_RARE = 4
_RARE_TRIES = 20_000
_REPEAT_MAX = 3
_WORDS = ("caixa", "loja", "são joão", "12", "x", "entregar no endereço de cobrança")
_AMOUNTS = (0, 0, 1, 2, 1000, 1250)
_IDENTITY = Identity("sample", Role.LOJA, "main", "loja1")

Values = dict[str, Any]
_Maker = Callable[["Random"], str]


def text_matching(pattern: str, dice: Random) -> str:
    """Return a text that a regular expression matches whole.

    Raises:
        ValueError: the expression uses look-arounds, references or anything else that is not a regular language.
    """
    return _maker(pattern)(dice)


@cache
def _maker(pattern: str) -> _Maker:
    # The standard library's own parser: a second reading of the syntax would be a second syntax.
    parser = importlib.import_module("re._parser")
    return _sequence(parser.parse(pattern))


def _sequence(tokens: Iterable[tuple[Any, Any]]) -> _Maker:
    makers = [_part(token) for token in tokens]
    return makers[0] if len(makers) == 1 else lambda dice: "".join([make(dice) for make in makers])


def _part(token: tuple[Any, Any]) -> _Maker:
    name, value = str(token[0]), token[1]
    if name == "AT":
        return lambda _dice: ""
    if name in {"LITERAL", "ANY", "IN"}:
        letters = _letters(token)
        return lambda dice: dice.choice(letters)
    if name == "BRANCH":
        branches = [_sequence(part) for part in value[1]]
        return lambda dice: dice.choice(branches)(dice)
    if name == "SUBPATTERN":
        return _sequence(value[3])
    if name in {"MAX_REPEAT", "MIN_REPEAT"}:
        return _repeated(*value)
    raise ValueError(f"{name} is more than a sample can be made of")


def _repeated(least: int, most: int, inner: list[tuple[Any, Any]]) -> _Maker:
    least = int(least)
    most = max(least, min(int(most), least + _REPEAT_MAX))
    if len(inner) == 1 and str(inner[0][0]) in {"LITERAL", "ANY", "IN"}:
        letters = _letters(inner[0])
        return lambda dice: "".join(dice.choices(letters, k=dice.randint(least, most)))
    make = _sequence(inner)
    return lambda dice: "".join([make(dice) for _ in range(dice.randint(least, most))])


def _letters(token: tuple[Any, Any]) -> str:
    """Return what one place may hold, or one example of it where almost everything fits."""
    name, value = str(token[0]), token[1]
    if name == "LITERAL":
        return chr(value)
    if name == "ANY":
        return "a"
    if str(value[0][0]) == "NEGATE":
        refused = {chr(code) for kind, code in value[1:] if str(kind) == "LITERAL"}
        return next(letter for letter in "abcdefgh" if letter not in refused)
    letters = ""
    for kind, choice in value:
        if str(kind) == "RANGE":
            letters += "".join(map(chr, range(choice[0], choice[1] + 1)))
        elif str(kind) == "CATEGORY":
            letters += "0123456789" if str(choice).endswith("DIGIT") else "a"
        else:
            letters += chr(choice)
    return letters


class Samples:
    """Records that a schema accepts, by category: whole sets of values, keys included.

    The same schema and seed give the same samples. `keys` are what references may name.
    """

    def __init__(self, schema: Schema, dice: Random) -> None:
        self.dice = dice
        self._rare: dict[Any, list[str]] = {}
        self.records: dict[str, list[Values]] = {}
        self.keys: dict[str, list[str]] = {}
        for category in schema.order("download"):
            entity = schema.entities[category]
            # A record may refer to its own category (a tree), so the list is there while it is being filled.
            found: list[Values] = self.records.setdefault(category, [])
            self.keys.setdefault(category, [])
            for _ in range(_RECORD_TRIES):
                values = self._record(entity)
                if values is not None:
                    found.append(values)
                    self.keys[category].append(entity.__shape__.key_text(values))
                if len(found) == _RECORDS:
                    break

    def _record(self, entity: type[Entity]) -> Values | None:
        shape = entity.__shape__
        try:
            values = {field.name: self.value(field) for field in (*shape.keys, *shape.fields.values())}
            values = {name: value for name, value in values.items() if value is not None}
            place = shape.partition.place_field
            if place is not None:
                values[place] = self.dice.choice((ACCOUNT, _IDENTITY.store))
            key = shape.key_text(values)
            if key in self.keys[shape.category]:
                return None
            wires = {name: field.to_wire(values.get(name, field.default)) for name, field in _written(entity)}
            shape.partition.parts(shape.category, wires, _IDENTITY)
            row = [wires.get(name, field.default_wire) for name, field in shape.fields.items()]
            columns = shape.key_columns(key) if len(shape.keys) > 1 else ()
            entity.check_record(entity._load((shape.category, key, *columns, *row, 0, None)))  # noqa: SLF001
        except (SchemaError, ValueError):
            return None
        return values

    def value(self, field: Field[Any]) -> Any:
        """Return a value for a field, None for those that are not given at creation, and for most optional ones.

        Raises:
            ValueError: none could be made.
        """
        if field.kind in {Kind.COUNTER, Kind.SET} or (field.optional and self.dice.random() < 0.7):
            return None
        try:
            return self.of_type(field.type)
        except ValueError:
            # A text with a check digit, say, that dice do not hit: an optional field can stay away.
            if field.optional:
                return None
            raise

    def of_type(self, type_: Any) -> Any:
        """Return a value of a value type. Raises ValueError."""
        if getattr(type_, "normal", None) is not None and type_.pattern is not None:
            return self.dice.choice(self._rare_texts(type_))
        for _ in range(_TRIES):
            value = self._raw(type_)
            if _accepts(type_, value):
                return value
        raise ValueError(f"no value of {type_.signature} in {_TRIES} tries")

    def _rare_texts(self, type_: Any) -> list[str]:
        """Return the few texts that a type with a check of its own (check digits, say) gets; they are hard to hit.

        They are the same whenever and by whom they are first asked for. Raises ValueError when there are none.
        """
        known = self._rare.get(type_)
        if known is None:
            known = self._rare[type_] = []
            pattern = type_.pattern.pattern
            dice = Random(pattern)  # noqa: S311 - samples must repeat themselves
            for _ in range(_RARE_TRIES):
                text = text_matching(pattern, dice)
                # The last digit is usually the check digit: with all ten of them tried, a tenth of the draws is enough.
                endings = "0123456789" if text[-1:].isdigit() else text[-1:]
                known += [text[:-1] + last for last in endings if _accepts(type_, text[:-1] + last)][:1]
                if len(known) == _RARE:
                    break
        if not known:
            raise ValueError(f"no text of {type_.pattern.pattern} in {_RARE_TRIES} tries")
        return known

    def _raw(self, type_: Any) -> Any:
        dice = self.dice
        if type_.ref is not None:
            known = self.keys.get(type_.ref)
            return dice.choice(known) if known else "nobody"
        struct = getattr(type_, "struct", None)
        if struct is not None:
            return self._structs(type_, struct)
        enum = getattr(type_, "enum", None)
        if enum is not None:
            return dice.choice(list(enum))
        return self._plain(type_)

    def _structs(self, type_: Any, struct: Any) -> Any:
        def one() -> Any:
            values = {field.name: self.value(field) for field in struct.__fields__}
            return struct(**{name: value for name, value in values.items() if value is not None})

        if type(type_).__name__ == "RowsType":
            return [one() for _ in range(dice_rows(self.dice))]
        return one()

    def _plain(self, type_: Any) -> Any:
        dice = self.dice
        makers: dict[str, Callable[[], Any]] = {
            "IntType": lambda: dice.randint(0, 9),
            "BoolType": lambda: dice.random() < 0.5,
            "DecimalType": lambda: Decimal(dice.choice(_AMOUNTS)).scaleb(-type_.scale),
            "DateType": (EPOCH + timedelta(days=dice.randint(-2, 2))).date,
            "DateTimeType": lambda: EPOCH + timedelta(hours=dice.randint(-2, 2)),
        }
        maker = makers.get(type(type_).__name__)
        if maker is not None:
            return maker()
        pattern = getattr(type_, "pattern", None)
        return text_matching(pattern.pattern, dice) if pattern else dice.choice(_WORDS)


def _accepts(type_: Any, value: Any) -> bool:
    try:
        type_.to_wire(value)
    except (ValueError, TypeError, ArithmeticError):
        return False
    return True


def dice_rows(dice: Random) -> int:
    """Return how many rows a list of structs gets: none is rare, many are rarer."""
    return dice.choice((0, 1, 1, 1, 2))


def _written(entity: type[Entity]) -> list[tuple[str, Field[Any]]]:
    fields = entity.__shape__.fields.items()
    return [(name, field) for name, field in fields if field.kind not in {Kind.COUNTER, Kind.SET}]
