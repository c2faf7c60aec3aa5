"""Both built-in stores go through the same door as a third party's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crdtsync.storage import MemoryStorage, SqliteStorage, Storage, TableSpec
from crdtsync.testing.storage_contract import StorageContract

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class TestMemoryStorage(StorageContract):
    def make(self, tables: Sequence[TableSpec]) -> Storage:
        return MemoryStorage(tables)

    def again(self, storage: Storage, tables: Sequence[TableSpec]) -> Storage:
        assert isinstance(storage, MemoryStorage)
        return storage.reopen(tables)


class TestSqliteStorage(StorageContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "store.db"

    def make(self, tables: Sequence[TableSpec]) -> Storage:
        return SqliteStorage(self.path, tables)

    def again(self, storage: Storage, tables: Sequence[TableSpec]) -> Storage:
        assert isinstance(storage, SqliteStorage)
        return SqliteStorage(storage.path, tables)
