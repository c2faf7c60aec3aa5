"""A shop in a temporary folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.node.shop import Shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with Shop(tmp_path) as opened:
        yield opened
