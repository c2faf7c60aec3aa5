"""The nonce beside the store: what is taken for a restore, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crdtsync.errors import StoreClosed, StoreUnavailable
from crdtsync.node.incarnation import NonceFile, NonceMemory, renew, why_restored
from crdtsync.storage import Commit, MemoryStorage

if TYPE_CHECKING:
    from pathlib import Path

    from crdtsync.node.incarnation import NoncePlace

FIRST, SECOND, THIRD = bytes([1] * 16), bytes([2] * 16), bytes([3] * 16)


@pytest.fixture(params=["file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> NoncePlace:
    return NonceFile(tmp_path / "incarnation") if request.param == "file" else NonceMemory()


async def holding(value: bytes) -> MemoryStorage:
    storage = MemoryStorage([])
    await storage.open()
    await storage.commit(Commit(meta={"nonce": value}))
    return storage


async def test_a_store_that_was_renewed_is_the_one_that_wrote_last(place: NoncePlace) -> None:
    async with MemoryStorage([]) as storage:
        for value in (FIRST, SECOND, THIRD):
            await renew(place, storage, value)
            assert await why_restored(place, storage) is None


async def test_a_crash_between_the_file_and_the_store_is_no_restore(
    place: NoncePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryStorage([]) as storage:
        await renew(place, storage, FIRST)
        honest = storage.commit

        async def dies(_commit: Commit) -> int:
            raise StoreClosed(":memory:")

        monkeypatch.setattr(storage, "commit", dies)
        with pytest.raises(StoreClosed):
            await renew(place, storage, SECOND)
        assert await why_restored(place, storage) is None
        monkeypatch.setattr(storage, "commit", honest)
        await renew(place, storage, THIRD)
        assert await why_restored(place, storage) is None


async def test_an_older_copy_of_the_store_is_a_restore(place: NoncePlace) -> None:
    async with MemoryStorage([]) as storage:
        for value in (FIRST, SECOND, THIRD):
            await renew(place, storage, value)
    async with await holding(FIRST) as older:
        assert "older than the file" in str(await why_restored(place, older))


@pytest.mark.parametrize("text", ["", "not hexadecimal", "0101", "ff\nff\n", "\xe9"])
async def test_a_file_that_is_missing_or_illegible_makes_the_store_a_copy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "incarnation"
    async with await holding(FIRST) as storage:
        assert "missing or illegible" in str(await why_restored(NonceFile(path), storage))
        path.write_text(text, encoding="latin-1")
        assert "missing or illegible" in str(await why_restored(NonceFile(path), storage))


def refuses(path: Path, **_: object) -> str:
    raise PermissionError(13, "Permission denied", str(path))


async def test_a_file_that_is_there_and_cannot_be_read_says_nothing_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = NonceFile(tmp_path / "incarnation")
    place.write(FIRST, SECOND)
    monkeypatch.setattr(type(tmp_path), "read_text", refuses)
    async with await holding(FIRST) as storage:
        with pytest.raises(StoreUnavailable, match=r"incarnation: .*Permission denied.*as the user who runs"):
            await why_restored(place, storage)


def test_a_file_that_cannot_be_written_is_said_and_stays_as_it_was(tmp_path: Path) -> None:
    place = NonceFile(tmp_path / "incarnation")
    place.write(FIRST, SECOND)
    (tmp_path / "incarnation.new").mkdir()
    with pytest.raises(StoreUnavailable, match="incarnation"):
        place.write(SECOND, THIRD)
    assert place.read() == {FIRST, SECOND}
