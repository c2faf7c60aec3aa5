"""Texts for people that can be said in another language: English, and still knowing what they were made of.

An error is raised where nobody knows the language of who reads it. ``say`` makes its text: a `str` in English, for logs,
programs and JSON, that remembers its template and values; the edge says it again with the template of another language
(``retell``). A template has places of the form ``{name}`` and nothing else of `str.format`: what stands in a value is
never taken for a place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Value: TypeAlias = "str | tuple[Value, ...]"
"""What stands in a place: a text, which may be a Said, or several of them."""

_PLACE = re.compile(r"\{(\w+)\}")
# The form of a text comes from another process: what is longer or deeper than any error is told in English only.
_CHARS_MAX = 20_000
_TEMPLATE_CHARS_MAX = 1_000
_DEPTH_MAX = 10


class Said(str):
    """A text for people, in English, with the template and the values that it was made of."""

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, Value]

    def __new__(cls, template: str, values: Mapping[str, Value]) -> Self:
        """Fill a template; see ``say``."""
        made = super().__new__(cls, _filled(template, values, str))
        made.template = template
        made.values = values
        return made

    def __getnewargs__(self) -> tuple[str, Mapping[str, Value]]:  # type: ignore[override]
        return self.template, self.values


def say(template: str, /, **values: object) -> Said:
    """Return an English text that the edge can say in another language.

    Args:
        template: English, a literal with a ``{name}`` for each value; `docs/catalogues.py` finds it in the source.
        values: a Said is said in the other language too; so are those of a tuple or list, joined with commas, and what an
            error says. Anything else stands there as `str` gives it.
    """
    return Said(template, {name: _value(value) for name, value in values.items()})


def said_of(error: BaseException) -> str:
    """Return what an error says, as a Said when it was made with ``say``."""
    told = error.args[0] if len(error.args) == 1 else None
    return told if isinstance(told, Said) else str(error)


def retell(text: str, translate: Callable[[str], str]) -> str:
    """Say a text in another language: ``translate`` gives a template in it. What is no Said is returned as it is."""
    if not isinstance(text, Said):
        return text
    return _filled(translate(text.template), text.values, lambda part: retell(part, translate))


def to_form(text: str) -> dict[str, Any] | None:
    """Return the JSON-able form of a Said, to be sent beside its English text; None for any other text."""
    if not isinstance(text, Said) or len(text) > _CHARS_MAX:
        return None
    return {"say": text.template, "with": {name: _form(value) for name, value in text.values.items()}}


def from_form(text: str, form: object) -> str:
    """Return the Said that a form describes, or the plain English text when the form does not say the same."""
    if form is None or len(text) > _CHARS_MAX:
        return text
    try:
        told = _read(form, _DEPTH_MAX)
    except (ValueError, TypeError, KeyError, AttributeError):
        return text
    return told if isinstance(told, Said) and told == text else text


def _value(value: object) -> Value:
    if isinstance(value, Said):
        return value
    if isinstance(value, tuple | list):
        return tuple(map(_value, value))
    return said_of(value) if isinstance(value, BaseException) else str(value)


def _filled(template: str, values: Mapping[str, Value], tell: Callable[[str], str]) -> str:
    def fill(place: re.Match[str]) -> str:
        # A place without a value stays: an error must not fail for its own text.
        return _joined(values[place[1]], tell) if place[1] in values else place[0]

    return _PLACE.sub(fill, template)


def _joined(value: Value, tell: Callable[[str], str]) -> str:
    return tell(value) if isinstance(value, str) else ", ".join(_joined(part, tell) for part in value)


def _form(value: Value) -> object:
    if isinstance(value, str):
        return to_form(value) or str(value)
    return [_form(part) for part in value]


def _read(form: Any, depth: int) -> Value:
    if not depth:
        raise ValueError("too deep")
    made = form if isinstance(form, str) else _made(form, depth - 1)
    # Here, not at the end: a place may stand in a template many times, and so at every depth.
    if len(_joined(made, str)) > _CHARS_MAX:
        raise ValueError("too long")
    return made


def _made(form: Any, depth: int) -> Value:
    if isinstance(form, list):
        return tuple(_read(part, depth) for part in form)
    template, values = form["say"], form["with"]
    # gettext answers an empty text with the head of its catalogue.
    if not isinstance(template, str) or not 0 < len(template) <= _TEMPLATE_CHARS_MAX:
        raise ValueError("no template")
    return Said(template, {name: _read(value, depth) for name, value in values.items()})
