"""The pictures of docs/monitor.md: those that it shows exist, are small, and can be drawn again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.chromium import needs_chromium

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from docs.draw_screens import FOLDER, NAMES, ROOT, draw

if TYPE_CHECKING:
    from pathlib import Path

BYTES_MAX = 60_000
_PNG = b"\x89PNG\r\n"


def test_the_guide_shows_every_picture_and_all_are_small() -> None:
    shown = re.findall(
        r"!\[[^]]+\]\(screens/(\w+)\.png\)", (ROOT / "docs" / "monitor.md").read_text(encoding="utf-8")
    )
    drawn = {path.stem: path.stat().st_size for path in FOLDER.glob("*.png")}
    assert sorted(shown) == sorted(NAMES) == sorted(drawn)
    assert [name for name, size in drawn.items() if size > BYTES_MAX] == []


@needs_chromium
@pytest.mark.timeout(180)
def test_a_picture_can_be_drawn_again(tmp_path: Path) -> None:
    draw(tmp_path, ["ficha"])
    (picture,) = tmp_path.iterdir()
    assert picture.name == "ficha.png"
    assert picture.read_bytes().startswith(_PNG)
