"""The operator's guide says of every alert what it means and what to do, and of no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crdtsync.cli.track import ALERTS
from crdtsync.node.alerts import AlertCode

DOCS = Path(__file__).parents[2] / "docs"
CODES = {code.value for code in AlertCode}


def test_the_guide_has_a_row_with_an_answer_for_each_alert() -> None:
    part = (
        (DOCS / "operator.md")
        .read_text(encoding="utf-8")
        .partition("## For each alert")[2]
        .partition("\n## ")[0]
    )
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", part, re.MULTILINE)
    assert sorted(code for code, *_ in rows) == sorted(CODES)
    assert all(means.strip() and todo.strip() for _, means, todo in rows)


def test_the_reference_and_the_command_line_know_each_alert() -> None:
    text = (DOCS / "synchronization.md").read_text(encoding="utf-8")
    part = text.partition("### alerts")[2].partition("\n### ")[0]
    assert set(re.findall(r"^\| `(\w+)` \| [BAMI] \|", part, re.MULTILINE)) == CODES
    assert set(ALERTS) == CODES


@pytest.mark.parametrize("language", ["en", "pt-BR"])
def test_the_page_has_a_title_for_each_alert(language: str) -> None:
    texts = DOCS.parent / "crdtsync" / "monitor" / "static" / f"texts.{language}.js"
    assert set(re.findall(r'"alert\.(\w+)":', texts.read_text(encoding="utf-8"))) == CODES
