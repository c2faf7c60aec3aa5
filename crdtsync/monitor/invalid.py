"""What is wrong with the form of a request, as texts that can be told in every language. Pydantic's own are English only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crdtsync.locale import N_
from crdtsync.said import Said, said_of

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_OPERATION = "operation"
"""The kind of fault of an operation of a transaction that there is not."""

_OBJECT, _NUMBER, _BOOL = N_("write an object"), N_("write a whole number"), N_("write true or false")
# Kind of a pydantic error -> what it says; the places are filled with the error's context.
_TEXTS: Mapping[str, str] = {
    "missing": N_("is missing"),
    "extra_forbidden": N_("there is no such field"),
    "string_type": N_("write a text"),
    "string_unicode": N_("is no valid text"),
    "string_too_long": N_("has more than {max_length} characters"),
    "string_too_short": N_("has less than {min_length} characters"),
    "string_pattern_mismatch": N_("is not of the form {pattern}"),
    "int_type": _NUMBER,
    "int_parsing": _NUMBER,
    "int_parsing_size": _NUMBER,
    "int_from_float": _NUMBER,
    "greater_than_equal": N_("is less than {ge}"),
    "less_than_equal": N_("is more than {le}"),
    "bool_type": _BOOL,
    "bool_parsing": _BOOL,
    "list_type": N_("write a list"),
    "too_long": N_("has more than {max_length} entries"),
    "too_short": N_("has less than {min_length} entries"),
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "literal_error": N_("write one of: {expected}"),
    "json_invalid": N_("is no JSON"),
    NO_OPERATION: N_(
        "no such operation: see /api/categories for the categories that are written here; "
        "do is create, edit or delete, for counters move or count"
    ),
}


def what_is_wrong(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """Return what an error of a kind says.

    Args:
        kind: pydantic's word for it.
        message: pydantic's text, for a kind that is not known here.
        context: what the error is about; with ``error`` an exception that a model of ours raised.
    """
    if isinstance(context.get("error"), Exception):
        return said_of(context["error"])
    text = _TEXTS.get(kind)
    if text is None:
        return message
    # Pydantic joins what it expects with an English word.
    return Said(text, {name: str(value).replace(" or ", ", ") for name, value in context.items()})
