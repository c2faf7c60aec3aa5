"""A house in a temporary folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.monitor.house import House, house_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path) as opened:
        yield opened
