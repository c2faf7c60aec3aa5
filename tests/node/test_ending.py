"""Why a link ended: the meaning of its code can be said in another language, and what the other end said stays as it came."""

from __future__ import annotations

import pytest

from crdtsync.locale import told
from crdtsync.node.ending import from_text, in_words
from crdtsync.protocol.table import REFUSALS


@pytest.mark.parametrize("code", REFUSALS)
def test_every_refusal_is_told_in_portuguese_with_the_words_that_came(code: str) -> None:
    english, portuguese = (told(in_words(code, "caixa1"), language) for language in ("en", "pt"))
    assert english == f"{REFUSALS[code].meaning} ({code}: caixa1)"
    assert portuguese != english
    assert portuguese.endswith(f" ({code}: caixa1)")


@pytest.mark.parametrize(
    ("stored", "english", "portuguese"),
    [
        ("", "", ""),
        ("the node was stopped", "the node was stopped", "a estação foi encerrada"),
        (
            "bye: paused",
            "the other end took its leave (bye: paused)",
            "o outro lado se despediu (bye: paused)",
        ),
        ("bye: ", "the other end took its leave (bye: )", "o outro lado se despediu (bye: )"),
        ("from a newer program: 7", "from a newer program: 7", "from a newer program: 7"),
        (
            "bye: {words}",
            "the other end took its leave (bye: {words})",
            "o outro lado se despediu (bye: {words})",
        ),
    ],
)
def test_what_is_stored_is_told_again(stored: str, english: str, portuguese: str) -> None:
    assert from_text(stored) == told(from_text(stored), "en") == english
    assert told(from_text(stored), "pt") == portuguese


def test_a_code_that_is_not_known_is_taken_at_its_word() -> None:
    assert in_words("sunk", "by a newer program") == "sunk: by a newer program"
