"""A store of four nodes in a temporary folder, open and even."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.conflicts.kit import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path) as opened:
        await opened.open_all()
        yield opened
