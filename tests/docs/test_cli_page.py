"""docs/cli.md says what the commands say."""

from __future__ import annotations

from crdtsync.cli import main
from docs.draw_cli import PAGE, drawn


def test_the_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == drawn(), "run python docs/draw_cli.py"


def test_every_verb_is_on_the_page_with_an_example() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in main.built_in() if f"\n## {name}\n" not in text] == []
    assert text.count("Example: crdtsync ") >= len(main.built_in())
