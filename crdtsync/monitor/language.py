"""The language of a request's texts: ``Accept-Language`` says it, English when it does not. Words for programs have none."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Annotated, Any, Final

from pydantic import PlainSerializer

from crdtsync.locale import LOCALES, told
from crdtsync.said import Said

HEADER = "Accept-Language"
_DEFAULT: Final = "en"
# What is read of the header: a browser names a handful.
_CHARS_MAX = 256
_language: ContextVar[str] = ContextVar("language", default=_DEFAULT)


def use(header: str) -> None:
    """Answer the request that this task serves in the language that its header asks for first and that there is."""
    _language.set(_best(header))


def current() -> str:
    """Return the language of this request's texts: ``pt`` or ``en``."""
    return _language.get()


def tell(text: str) -> str:
    """Return a text in the language of this request, as far as it was made with ``say``."""
    return told(text, current())


def _tell_all(value: Any) -> Any:
    """Return a JSON value with its texts in the language of this request."""
    if isinstance(value, Said):
        return tell(value)
    if isinstance(value, dict):
        return {name: _tell_all(one) for name, one in value.items()}
    return [_tell_all(one) for one in value] if isinstance(value, list | tuple) else value


Told = Annotated[dict[str, Any], PlainSerializer(_tell_all, return_type=dict[str, Any])]
"""A JSON object whose texts for people are told in the reader's language."""

ToldText = Annotated[str, PlainSerializer(tell, return_type=str)]
"""A text that is told in the reader's language, as far as it was made with ``say``."""


def _best(header: str) -> str:
    best, found = 0.0, _DEFAULT
    for part in header[:_CHARS_MAX].split(","):
        name, _, parameter = part.partition(";")
        language = name.strip().lower().partition("-")[0]
        weight = _weight(parameter)
        # Of two that are wanted alike, the first.
        if language in LOCALES and weight > best:
            best, found = weight, language
    return found


def _weight(parameter: str) -> float:
    name, _, number = parameter.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(number)
    except ValueError:
        return 0.0
