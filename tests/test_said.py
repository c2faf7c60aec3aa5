"""Texts that remember what they were made of: said again in another language, sent to another process, never trusted."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from crdtsync.errors import FieldError, UnknownCategory, hint
from crdtsync.said import Said, from_form, retell, said_of, say, to_form

WORDS = {
    "{field}: {problem}": "{field}: {problem}",
    "{value} is too large": "{value} é grande demais",
    "write one of {words}": "escreva um destes: {words}",
    "nothing": "nada",
}


def in_portuguese(text: str) -> str:
    return retell(text, lambda template: WORDS.get(template, template))


def nested() -> Said:
    return say("{field}: {problem}", field="price", problem=say("{value} is too large", value=7))


def test_a_said_is_its_english_text() -> None:
    text = say("{value} is too large", value=7)
    assert text == "7 is too large"
    assert (text.template, text.values) == ("{value} is too large", {"value": "7"})
    assert (type(str(text)), json.dumps(text)) == (str, '"7 is too large"')


def test_values_are_said_in_the_other_language_in_turn_and_everything_else_stays() -> None:
    assert in_portuguese(nested()) == "price: 7 é grande demais"
    assert (
        in_portuguese(say("write one of {words}", words=["a", say("nothing")]))
        == "escreva um destes: a, nada"
    )
    assert in_portuguese("7 is too large") == "7 is too large"
    assert in_portuguese(say("nobody translated {this}", this="x")) == "nobody translated x"


def test_braces_in_a_value_are_not_filled_again() -> None:
    text = say("{field}: {problem}", field="{problem}", problem="{0} {field} {{x}} {problem.__class__}")
    assert text == "{problem}: {0} {field} {{x}} {problem.__class__}"
    assert in_portuguese(text) == text
    assert say("{value} is too large") == "{value} is too large"


@pytest.mark.parametrize(
    "text", [nested(), say("write one of {words}", words=("a", say("nothing"), ["b", "{words}"]))]
)
def test_a_said_comes_back_from_json_as_it_was(text: Said) -> None:
    back = from_form(str(text), json.loads(json.dumps(to_form(text))))
    assert isinstance(back, Said)
    assert (back, back.template, back.values) == (text, text.template, text.values)
    assert in_portuguese(back) == in_portuguese(text) != text


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy])
def test_a_said_is_copied_whole(again: Any) -> None:
    assert in_portuguese(again(nested())) == "price: 7 é grande demais"


def _deep() -> dict[str, Any]:
    form: dict[str, Any] = {"say": "{a}", "with": {"a": "7 is too large"}}
    for _ in range(2_000):
        form = {"say": "{a}", "with": {"a": form}}
    return form


def _wide() -> dict[str, Any]:
    form: dict[str, Any] = {"say": "{a}" * 300, "with": {"a": "x" * 300}}
    for _ in range(8):
        form = {"say": "{a}" * 300, "with": {"a": form}}
    return form


@pytest.mark.parametrize(
    "form",
    [
        None,
        7,
        "7 is too large",
        [],
        ["7 is too large"],
        {},
        {"say": "7 is too large"},
        {"say": "{value} is too large", "with": []},
        {"say": "{value} is too large", "with": {"value": 7}},
        {"say": "{value} is too large", "with": {"value": None}},
        {"say": "{value} is too large", "with": {"value": "8"}},
        {"say": "{value.__class__} is too large", "with": {"value": "7"}},
        {"say": "", "with": {}},
        {"say": ["7 is too large"], "with": {}},
        {"say": "7 is too large" + "{a}" * 1_000, "with": {"a": ""}},
        _deep(),
        _wide(),
    ],
)
def test_a_form_that_does_not_say_the_text_leaves_it_in_english(form: object) -> None:
    text = from_form("7 is too large", form)
    assert text == "7 is too large"
    assert not isinstance(text, Said)


def test_only_a_said_of_reasonable_length_has_a_form() -> None:
    assert to_form("7 is too large") is None
    assert to_form(say("{value} is too large", value="7" * 100_000)) is None


def test_an_error_keeps_what_its_text_was_made_of() -> None:
    error = FieldError("products", "price", say("{value} is too large", value=7))
    assert type(str(error)) is str
    assert str(error) == said_of(error) == "products.price: 7 is too large"
    told = said_of(error)
    assert isinstance(told, Said)
    assert told.values["problem"] == "7 is too large"
    assert isinstance(told.values["problem"], Said)
    # An error as a value says what it says; one of another library is a plain text.
    assert isinstance(say("{error}; mend it", error=error).values["error"], Said)
    assert said_of(KeyError("x")) == "'x'"
    assert not isinstance(said_of(ValueError("x")), Said)


def test_a_suggestion_can_be_said() -> None:
    assert hint("prodcts", ["products", "sales"]) == "; did you mean 'products'?"
    assert hint("zzz", ["products", "sales"]) == ""
    error = UnknownCategory("prodcts", hint("prodcts", ["products"]))
    assert str(error) == "prodcts: no installed adapter declares this category; did you mean 'products'?"
    told = said_of(error)
    assert isinstance(told, Said)
    assert isinstance(told.values["hint"], Said)
