"""The installed adapters together: a store opens with them, and every view they promise is there."""

from __future__ import annotations

from crdtsync import load_installed
from crdtsync.storage import MemoryStorage
from crdtsync.storage.tables import table_specs


async def test_a_store_opens_with_all_installed_adapters() -> None:
    specs = table_specs(load_installed())
    async with MemoryStorage(specs) as storage:
        counts = await storage.read(lambda view: {spec.category: view.count(spec.category) for spec in specs})
    assert len(counts) == 19
    assert not any(counts.values())


def test_a_struct_column_never_hides_the_record_it_belongs_to() -> None:
    views = load_installed().shape("receivables").rows_views
    assert views["settlements"][0] == ("settlements_id", "TEXT")
