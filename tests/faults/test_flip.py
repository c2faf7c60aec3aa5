"""The short form of the harness that flips bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.flip import flip

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("count", "pages"), [(12, False), (12, True)])
async def test_a_flipped_bit_is_never_silently_wrong(tmp_path: Path, count: int, *, pages: bool) -> None:
    flips = await flip(tmp_path, count, 7, pages=pages)
    assert flips.bad == []
    assert flips.counts.total() == count
