"""A disk that refuses at a bad moment: nothing is taken for stored that is not, and the next time it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crdtsync.errors import StoreUnavailable
from crdtsync.node.remembered import REMEMBERED_KEY, Remembered
from tests.synchronization.street import CHECK, STORE, Street, products, sell, told, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from crdtsync.storage import MemoryStorage
    from crdtsync.storage.base import Commit


def refuse_once(disk: MemoryStorage, which: Callable[[Commit], bool]) -> list[Commit]:
    """Let a disk refuse the first commit of a kind; it is in the list then."""
    commit = disk.commit
    refused: list[Commit] = []

    async def refusing(asked: Commit) -> int:
        if not refused and which(asked):
            refused.append(asked)
            raise StoreUnavailable(":memory:", "full")
        return await commit(asked)

    disk.commit = refusing  # type: ignore[method-assign,assignment]
    return refused


@told
async def test_the_end_of_the_initial_synchronization_is_stored_at_the_next_try(street: Street) -> None:
    await products(await street.open("gestao"), "a")
    loja = await street.open(STORE)
    refused = refuse_once(street.disks[STORE], lambda commit: "initial_done" in commit.meta)
    await until(lambda: bool(refused), 60)
    assert not loja.initial_done
    await until(lambda: loja.initial_done, 2 * CHECK)
    await street.kill("gestao")
    await street.kill(STORE)
    assert (await street.open(STORE)).initial_done


@told
async def test_what_was_acknowledged_is_stored_at_the_next_try(street: Street) -> None:
    loja = await street.store()
    await sell(loja, "s1")
    refused = refuse_once(street.disks[STORE], lambda commit: bool(commit.acked))
    await until(lambda: bool(refused), 2 * CHECK)
    (asked,) = refused
    await until(lambda: not loja.uplink.lacking(), 2 * CHECK)
    stored = await street.disks[STORE].read(lambda view: view.acked(asked.acked[0][0]))
    assert all(stored[doc, replica] >= seq for _, doc, replica, seq in asked.acked)


@told
async def test_a_pause_that_the_disk_refused_is_stored_when_it_is_asked_for_again(street: Street) -> None:
    loja = await street.store()
    refuse_once(street.disks[STORE], lambda commit: REMEMBERED_KEY in commit.meta)
    with pytest.raises(StoreUnavailable):
        await loja.pause()
    await loja.pause()
    raw = await street.disks[STORE].read(lambda view: view.meta(REMEMBERED_KEY))
    assert Remembered.load(raw).paused_ms is not None
