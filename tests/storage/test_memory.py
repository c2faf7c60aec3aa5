"""The in-memory twin crashes as a process does: what was committed stays, the rest never was."""

from __future__ import annotations

import pytest

from crdtsync.errors import StoreClosed
from crdtsync.storage import Commit, MemoryStorage, PendencyChanges, View
from crdtsync.testing.storage_contract import TABLES


async def test_a_crash_refuses_every_later_verb_and_reopening_finds_what_was_committed() -> None:
    store = MemoryStorage(TABLES)
    await store.open()
    await store.commit(Commit(meta={"a": b"a"}))
    store.crash()
    with pytest.raises(StoreClosed):
        await store.commit(Commit(meta={"b": b"b"}))
    with pytest.raises(StoreClosed):
        await store.open()
    async with store.reopen() as again:
        assert await again.read(lambda view: (view.meta("a"), view.meta("b"))) == (b"a", None)


async def test_a_crash_in_the_middle_of_a_commit_leaves_nothing_of_it() -> None:
    store = MemoryStorage(TABLES)
    await store.open()

    def inside(_view: View) -> PendencyChanges:
        store.crash()
        return PendencyChanges()

    with pytest.raises(StoreClosed):
        await store.commit(Commit(meta={"a": b"a"}, journal=[("products", b"x")], inside=inside))
    async with store.reopen() as again:
        assert await again.read(lambda view: (view.meta("a"), view.documents())) == (None, [])
        await again.commit(Commit(journal=[("stock/loja1", b"x")]))
        assert await again.read(lambda view: view.documents()) == ["stock/loja1"]


async def test_two_memory_stores_share_nothing() -> None:
    async with MemoryStorage(TABLES) as one, MemoryStorage(TABLES) as other:
        await one.commit(Commit(meta={"a": b"a"}))
        assert await other.read(lambda view: view.meta("a")) is None
