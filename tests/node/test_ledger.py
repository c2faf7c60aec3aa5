"""The ledger: tidying keeps the state, idle documents leave memory, a failed commit leaves nothing half done."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import deque
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from crdtsync import limits
from crdtsync.errors import Fork, RecordExists, StoreUnavailable, UpdateInvalid
from crdtsync.node.ledger import Ledger
from crdtsync.node.memory import give_back
from crdtsync.node.transaction import Transaction
from crdtsync.schema import Counter, Entity, Identity, Key, Register, Role, Schema
from crdtsync.state.document import Document, Op
from crdtsync.state.log import Log
from crdtsync.state.update import append_update, read_update, split_update, write_update
from crdtsync.storage import Commit, MemoryStorage
from crdtsync.storage.tables import table_specs
from tests.compacting import compact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from crdtsync.storage import View

T = TypeVar("T")


class Item(Entity, category="items", writers=set(Role)):
    """One counter and one register."""

    id = Key()
    name = Register(str, optional=True)
    balance = Counter()


class Tag(Entity, category="tags", writers=set(Role)):
    """A second document for transactions over two."""

    id = Key()
    name = Register(str)


SCHEMA = Schema([Item, Tag])


class Clock:
    def now_ms(self) -> int:
        return 1_000_000

    def today(self) -> date:
        return date(2026, 11, 24)

    def uptime(self) -> float:
        return 1.0

    def random_bytes(self, size: int) -> bytes:
        return os.urandom(size)


async def opened(storage: MemoryStorage) -> Ledger:
    ledger = Ledger(Identity("g", Role.GESTAO, "main"), SCHEMA, storage, Clock())
    await ledger.open()
    return ledger


@pytest.fixture
async def ledger() -> AsyncIterator[Ledger]:
    ledger = await opened(MemoryStorage(table_specs(SCHEMA)))
    yield ledger
    await ledger.close()


async def move(ledger: Ledger, times: int) -> None:
    for _ in range(times):
        await ledger.write({"items": {"x": [Op("add", "balance", 1, "test")]}})


async def rows(ledger: Ledger) -> list[tuple[object, ...]]:
    return await ledger.storage.read(lambda view: view.select("items"))


async def stored_bytes(ledger: Ledger) -> int:
    def size(view: View) -> int:
        snapshot = view.snapshot("items")
        return sum(len(update) for _, update in view.journal("items")) + (len(snapshot[0]) if snapshot else 0)

    return await ledger.storage.read(size)


async def test_compaction_shrinks_the_store_and_keeps_the_state(ledger: Ledger) -> None:
    await move(ledger, 200)
    before, size = await ledger.state_digest("items"), await stored_bytes(ledger)
    assert await ledger.compact("items")
    assert await ledger.squash("items")
    assert await ledger.state_digest("items") == before
    assert await stored_bytes(ledger) < size / 20
    await move(ledger, 3)
    assert [row[-3] for row in await rows(ledger)] == [203]
    _, digest = await ledger.refold("items")
    assert digest == await ledger.state_digest("items")


async def test_a_compaction_is_kept_in_the_journal_and_not_made_again_after_a_restart(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COMPACTION_CELLS_MIN", 3)
    await move(ledger, 20)
    before, size = await ledger.state_digest("items"), await stored_bytes(ledger)
    assert (await ledger.document("items")).compaction_due() > 1
    assert await ledger.compact("items")
    assert 0 < await stored_bytes(ledger) - size < 500
    assert await ledger.storage.read(lambda view: view.snapshot("items")) is None
    for _ in range(2):
        document = await ledger.document("items")
        assert document.compaction_due() < 1
        assert len((await ledger.log_of("items")).elements(ledger.replica)) == 1
        assert await ledger.state_digest("items") == before
        ledger.unload()
    await move(ledger, 1)
    assert [row[-3] for row in await rows(ledger)] == [21]


async def test_a_compaction_behind_a_write_that_waits_for_its_commit_keeps_that_write(ledger: Ledger) -> None:
    await move(ledger, 20)
    await asyncio.gather(move(ledger, 1), move(ledger, 1), ledger.compact("items"), move(ledger, 1))
    assert [row[-3] for row in await rows(ledger)] == [23]
    _, digest = await ledger.refold("items")
    assert digest == await ledger.state_digest("items")
    peer = await opened(MemoryStorage(table_specs(SCHEMA)))
    for update, _ in (await ledger.pieces("items", {})).updates:
        await peer.receive("items", update, lambda _replica: True)
    assert await peer.state_digest("items") == digest
    await peer.close()


async def test_squashing_keeps_the_log_whole(ledger: Ledger) -> None:
    await move(ledger, 20)
    before = await ledger.state_digest("items")
    assert await ledger.squash("items")
    assert (await ledger.refold("items"))[1] == before
    diff = await ledger.pieces("items", {})
    assert diff.vector == {ledger.replica: 20}


async def test_a_compaction_counts_as_no_change_for_who_had_everything(ledger: Ledger) -> None:
    await move(ledger, 20)
    had = ledger.vectors(["items"])
    await ledger.compact("items")
    assert await ledger.missing(had, ["items"]) == {"items": 0}
    assert await ledger.missing({}, ["items"]) == {"items": 1}


async def test_what_others_superseded_in_their_logs_is_no_reason_to_compact_the_own(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crdtsync.limits.COMPACTION_CELLS_MIN", 3)
    await move(ledger, 1)
    other = Document("items", Item.__shape__, 7, {})
    for clock in range(1, 20):
        ops = {"x": [Op("add", "balance", 1)]}
        update = other.write(ops, hlc=clock, txid=bytes(16)).journal[0]
        await ledger.receive("items", update, lambda _replica: True)
    await ledger.tidying.tidy()
    assert ledger.heads["items"][ledger.replica].seq == 1

    await move(ledger, 19)
    await ledger.tidying.tidy()
    await ledger.state_digest("items")
    await ledger.tidying.tidy()
    assert ledger.heads["items"][ledger.replica].seq == 21


async def test_while_people_work_a_compaction_waits_until_there_is_much_more_to_do(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COMPACTION_CELLS_MIN", 3)
    monkeypatch.setattr(limits, "JOURNAL_ROWS_MAX", 3)

    async def worked(times: int) -> str:
        await move(ledger, times)
        ledger.begin_turn(ledger)
        ledger.end_turn(ledger)
        before = await stored_bytes(ledger)
        await ledger.tidying.tidy()
        return "tidied" if await stored_bytes(ledger) < before else "left"

    assert await worked(limits.AT_WORK_PATIENCE * 3) == "left"
    assert await worked(2) == "tidied"
    await move(ledger, 5)
    monkeypatch.setattr(limits, "AT_WORK_SECONDS", 0.0)
    assert await worked(0) == "tidied"


async def test_half_of_a_received_compaction_leaves_the_document_as_it_is(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crdtsync.limits.ROWS_PER_BATCH", 1)
    other = Document("items", Item.__shape__, 7, {})
    updates = [
        other.write({key: [Op("add", "balance", 1)]}, hlc=clock, txid=bytes(16)).journal[0]
        for clock, key in enumerate("abc", 1)
    ]
    await ledger.receive("items", updates[0], lambda _replica: True)
    other.log = Log("items", 7, updates)
    other.settle(compact(other, 9, bytes(16)))
    pieces = list(split_update(read_update(other.log.diff({7: 1})), 1))
    assert len(pieces) == 3
    for received, piece in enumerate(pieces, 1):
        await ledger.receive("items", write_update(piece.runs, piece.deleted), lambda _replica: True)
        assert await ledger.squash("items") == (received == 3)
        assert len((await ledger.pieces("items", {})).updates) == 1
    assert await ledger.state_digest("items") == other.fold.digest()


async def test_a_log_is_compacted_when_the_node_above_has_all_of_it(ledger: Ledger) -> None:
    ledger.copied_by = "upstream"
    await move(ledger, 20)
    assert not await ledger.compact("items")
    await ledger.commit(Commit(acked=[("upstream", "items", ledger.replica, 19)]))
    assert not await ledger.compact("items")
    await ledger.commit(Commit(acked=[("upstream", "items", ledger.replica, 20)]))
    assert await ledger.compact("items")


async def test_a_large_compaction_lets_the_rest_of_the_program_run(ledger: Ledger) -> None:
    for _ in range(2):
        await ledger.write({"items": {f"k{n}": [Op("write", "name", "a")] for n in range(4_000)}})
    # Of this thread alone, so that other programs do not count.
    now = time.thread_time
    began = last = now()
    longest, over = 0.0, False

    async def breathe() -> None:
        nonlocal longest, last
        while not over:
            longest, last = max(longest, now() - last), now()
            await asyncio.sleep(0)

    # Nor does a collection of what other tests left behind.
    gc.disable()
    try:
        breathing = asyncio.create_task(breathe())
        assert await ledger.compact("items")
        took, over = now() - began, True
        await breathing
    finally:
        gc.enable()
    assert longest < took / 4, (longest, took)


async def test_a_compaction_gives_way_to_a_transaction_when_it_is_told_to(ledger: Ledger) -> None:
    await ledger.write({"items": {f"k{n}": [Op("write", "name", "a")] for n in range(4_000)}})
    before = await ledger.state_digest("items")
    for gives_way in (True, False):
        compaction = asyncio.create_task(ledger.compact("items", gives_way=gives_way))
        await asyncio.sleep(0.01)
        await asyncio.gather(move(ledger, 1), compaction)
        assert compaction.result() is not gives_way
        assert (await ledger.refold("items"))[1] == await ledger.state_digest("items") != before


@pytest.mark.parametrize("link", ["live", "scheduled", "that never acknowledges", "that stands still"])
async def test_a_log_that_is_written_without_a_pause_is_compacted_when_all_of_it_is_sent_up(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    monkeypatch.setattr(limits, "COMPACTION_CELLS_MIN", 4)
    monkeypatch.setattr(limits, "COMPACTION_WAIT_SECONDS", 0.3 / (100 / 4))
    monkeypatch.setattr(limits, "COMPACTION_CHANCE_SECONDS_MAX", 0.3)
    ledger.copied_by = "upstream"
    ledger.begin_turn(ledger)
    await move(ledger, 100)
    ledger.end_turn(ledger)
    waited, downloading = 0, 0
    held = ledger._jobs.held

    @contextmanager
    def noted() -> Iterator[None]:
        nonlocal waited
        waited += 1
        with held():
            yield

    monkeypatch.setattr(ledger._jobs, "held", noted)

    async def people() -> None:
        while True:
            ledger.begin_turn(people)
            await move(ledger, 1)
            ledger.end_turn(people)

    async def the_link_up() -> None:
        """A run: download for a while, read what is here, send it, and hear later that it arrived."""
        nonlocal downloading
        while link != "that stands still":
            before = ledger.heads["items"][ledger.replica].seq
            await asyncio.sleep(0.05)
            downloading = max(downloading, ledger.heads["items"][ledger.replica].seq - before)
            ledger.tidying.upload_begins()
            await asyncio.sleep(0)
            seq = ledger.heads["items"][ledger.replica].seq
            await asyncio.sleep(0.05)
            if link != "that never acknowledges":
                await ledger.commit(Commit(acked=[("upstream", "items", ledger.replica, seq)]))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(people()), group.create_task(the_link_up())]
        await ledger.tidying.tidy(copied_soon=link != "scheduled")
        # People go on afterwards.
        await move(ledger, 5)
        for task in tasks:
            task.cancel()
    kept = len(list((await ledger.log_of("items")).elements(ledger.replica)))
    assert (kept < 100) == (link == "live"), kept
    if link == "live":
        # They did not wait for the download.
        assert downloading > 5
    assert waited == (link in {"live", "that never acknowledges"})


async def test_what_a_compaction_of_others_left_without_use_is_stored_no_longer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "JOURNAL_BYTES_MIN", 1_000)
    other = Document("items", Item.__shape__, 7, {})
    updates = [
        other.write({"x": [Op("add", "balance", 1)]}, hlc=clock, txid=bytes(16)).journal[0]
        for clock in range(1, 200)
    ]
    for update in updates:
        await ledger.receive("items", update, lambda _replica: True)
    await ledger.tidying.tidy()
    whole = await stored_bytes(ledger)
    assert whole == sum(map(len, updates)), "all of it is of use: nothing was written twice"

    other.log = Log("items", 7, updates)
    other.settle(compact(other, 999, bytes(16)))
    await ledger.receive("items", other.log.diff({7: 199}), lambda _replica: True)
    await ledger.tidying.tidy()
    assert await stored_bytes(ledger) < whole / 20
    assert await ledger.state_digest("items") == other.fold.digest()


async def test_who_closes_while_transactions_wait_for_a_compaction_loses_none_of_them() -> None:
    storage = MemoryStorage(table_specs(SCHEMA))
    ledger = await opened(storage)
    await move(ledger, 1)
    with ledger._jobs.held():
        waiting = asyncio.create_task(move(ledger, 1))
        await asyncio.sleep(0)
        await ledger.close()
    await waiting
    again = await opened(storage)
    assert again.heads["items"][ledger.replica].seq == 2
    await again.close()


async def test_documents_that_nobody_uses_leave_memory(ledger: Ledger) -> None:
    await move(ledger, 1)
    await ledger.tidying.tidy()
    assert ledger.loaded() == ["items"]
    await ledger.tidying.tidy()
    assert ledger.loaded() == []


async def test_a_store_opened_again_shows_what_was_written() -> None:
    storage = MemoryStorage(table_specs(SCHEMA))
    first = await opened(storage)
    await move(first, 5)
    digest = await first.state_digest("items")
    await first.close()
    again = await opened(storage)
    assert again.replica == first.replica
    assert await again.state_digest("items") == digest
    await again.close()


async def test_a_commit_that_the_disk_refuses_leaves_nothing_and_the_next_one_works(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await move(ledger, 2)
    honest = ledger.storage.commit

    async def refuse(_commit: Commit) -> int:
        raise StoreUnavailable("store.db", "disk full")

    monkeypatch.setattr(ledger.storage, "commit", refuse)
    with pytest.raises(StoreUnavailable):
        await move(ledger, 1)
    monkeypatch.setattr(ledger.storage, "commit", honest)
    await move(ledger, 1)
    assert [row[-3] for row in await rows(ledger)] == [3]
    assert (await ledger.refold("items"))[1] == await ledger.state_digest("items")


async def test_what_is_not_durable_yet_is_told_to_nobody(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await move(ledger, 2)
    peer = Identity("l", Role.LOJA, "main", "s")
    honest = ledger.storage.commit
    begun, fail = asyncio.Event(), asyncio.Event()

    async def held_back(_commit: Commit) -> int:
        begun.set()
        await fail.wait()
        raise StoreUnavailable("store.db", "disk full")

    async def told() -> list[object]:
        docs = ["items", "tags"]
        return [
            ledger.scope(peer),
            ledger.vectors(docs),
            ledger.digest(docs),
            [ledger.digest_of(doc) for doc in docs],
            await ledger.missing({}, docs),
        ]

    before = await told()
    monkeypatch.setattr(ledger.storage, "commit", held_back)
    written = asyncio.create_task(
        ledger.write(
            {"items": {"x": [Op("add", "balance", 1, "test")]}, "tags": {"t": [Op("write", "name", "n")]}}
        )
    )
    await begun.wait()
    during = await told()
    fail.set()
    with pytest.raises(StoreUnavailable):
        await written
    assert during == before
    assert await told() == before
    monkeypatch.setattr(ledger.storage, "commit", honest)
    await move(ledger, 1)
    assert ledger.vectors(["items"])["items"][ledger.replica][0] == 3
    assert ledger.scope(peer) == ["items"]


async def test_an_upgrade_shows_the_fields_that_a_newer_node_wrote() -> None:
    class Newer(Entity, category="items", writers=set(Role)):
        """The same category with one more optional field."""

        id = Key()
        name = Register(str, optional=True)
        balance = Counter()
        color = Register(str, optional=True)

    newer = Ledger(
        Identity("g", Role.GESTAO, "main"),
        Schema([Newer]),
        MemoryStorage(table_specs(Schema([Newer]))),
        Clock(),
    )
    await newer.open()
    await newer.write({"items": {"x": [Op("write", "color", "red")]}})
    storage = MemoryStorage(table_specs(SCHEMA))
    older = await opened(storage)
    for update, _ in (await newer.pieces("items", {})).updates:
        await older.receive("items", update, lambda _replica: True)
    assert await older.state_digest("items") == await newer.state_digest("items")
    await older.close()
    await newer.close()
    upgraded = Ledger(
        Identity("g", Role.GESTAO, "main"),
        Schema([Newer]),
        storage.reopen(table_specs(Schema([Newer]))),
        Clock(),
    )
    await upgraded.open()
    assert [row[-3] for row in await rows(upgraded)] == ["red"]
    await upgraded.close()


async def test_a_field_that_the_writers_role_may_not_write_is_refused(ledger: Ledger) -> None:
    other = await opened(MemoryStorage(table_specs(SCHEMA)))
    await other.write({"items": {"x": [Op("write", "name", "n")]}})
    ((update, _),) = (await other.pieces("items", {})).updates
    with pytest.raises(UpdateInvalid, match=r"items\.name"):
        await ledger.receive("items", update, lambda _r: True, None, lambda _r: frozenset({"name"}))
    assert not await rows(ledger)
    await other.close()


async def create(ledger: Ledger, *keys: str) -> None:
    async with Transaction(ledger) as tx:
        for key in keys:
            tx.create(Item, id=key, name=key)


async def test_of_two_creations_at_once_one_is_refused_and_the_others_of_their_commit_stand() -> None:
    storage = MemoryStorage(table_specs(SCHEMA))
    ledger = await opened(storage)
    commits: list[Commit] = []
    write = storage.commit

    async def commit(commit: Commit) -> int:
        commits.append(commit)
        return await write(commit)

    storage.commit = commit  # type: ignore[method-assign]
    outcomes = await asyncio.gather(
        *(create(ledger, *keys) for keys in (["a"], ["b"], ["c", "b"], ["d"])), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), RecordExists, type(None)]
    assert "items/b" in str(outcomes[2])
    assert len(commits) == 1
    assert await ledger.storage.read(lambda view: [row[1] for row in view.select("items")]) == ["a", "b", "d"]
    assert ledger.loaded() == ["items"]
    await ledger.close()


async def test_a_deleted_record_that_left_memory_still_keeps_its_key(ledger: Ledger) -> None:
    await create(ledger, "a")
    async with Transaction(ledger) as tx:
        (await tx.get(Item, "a")).delete()
    ledger.unload()
    with pytest.raises(RecordExists):
        await create(ledger, "a")


async def test_a_creation_is_one_commit_and_reads_nothing(ledger: Ledger) -> None:
    await create(ledger, "a")
    reads: list[object] = []
    ledger.storage.read = reads.append  # type: ignore[method-assign, assignment]
    await create(ledger, "b")
    assert reads == []


async def test_what_loading_a_large_document_freed_goes_back_to_the_system(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(ledger, "a")
    given: list[bool] = []
    monkeypatch.setattr("crdtsync.node.ledger.give_back", lambda: given.append(True))
    ledger.unload()
    await ledger.document("items")
    assert given == []
    monkeypatch.setattr(limits, "LOAD_BYTES_LARGE", 1)
    ledger.unload()
    assert "a" in (await ledger.document("items")).fold
    assert given == [True]


def test_memory_can_be_given_back_at_any_time() -> None:
    give_back()
    give_back()


def from_elsewhere(*names: str, replica: int = 0xBEEF) -> list[bytes]:
    """The batches of another node's log, one for each name."""
    document = Document("items", SCHEMA.shape("items"), replica, {})
    batches: list[bytes] = []
    for number, name in enumerate(names, 1):
        change = document.write({name: [Op("write", "name", name)]}, hlc=number << 16, txid=bytes(16))
        batches += read_update(change.journal[0]).runs[replica][0].elements
    return batches


async def test_while_people_work_an_update_is_taken_a_batch_at_a_time_and_whole_before_it_is_acknowledged(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger._slices, "_size", 1.0)
    seen: list[int] = []
    ledger.on_change.append(lambda changes: seen.append(len(changes[0].rows)))
    update = append_update(0xBEEF, 0, from_elsewhere("a", "b", "c"))
    ledger.begin_turn(ledger)
    ledger.end_turn(ledger)
    await ledger.receive("items", update, lambda _replica: True)
    assert seen == [1, 1, 1]
    assert ledger.heads["items"][0xBEEF].seq == 3


async def test_what_was_taken_of_an_update_that_is_refused_later_stays_and_can_be_gone_on_from(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, other = from_elsewhere("a", "b"), from_elsewhere("x", "y")
    monkeypatch.setattr(ledger._slices, "_size", 1.0)
    ledger.begin_turn(ledger)
    ledger.end_turn(ledger)
    with pytest.raises(Fork):
        await ledger.receive("items", append_update(0xBEEF, 0, [good[0], other[1]]), lambda _replica: True)
    assert ledger.heads["items"][0xBEEF].seq == 1
    await ledger.receive("items", append_update(0xBEEF, 1, good[1:]), lambda _replica: True)
    rows = await ledger.storage.read(lambda view: [row[1] for row in view.select("items")])
    assert rows == ["a", "b"]


async def test_no_more_is_looked_at_than_is_shown_however_much_waits_for_the_other_parts_of_its_transactions(
    ledger: Ledger,
) -> None:
    logs: dict[str, list[bytes]] = {"items": [], "tags": []}
    documents = {doc: Document(doc, SCHEMA.shape(doc), 0xBEEF, {}) for doc in logs}
    for seq in range(1, 201):
        parts = dict.fromkeys(logs, seq)
        for doc, document in documents.items():
            op = {"x": [Op("write", "name", str(seq))]}
            change = document.write(op, hlc=seq << 16, txid=bytes(16), parts=parts)
            logs[doc] += read_update(change.journal[0]).runs[0xBEEF][0].elements
    await ledger.receive("items", append_update(0xBEEF, 0, logs["items"]), lambda _replica: True)
    assert ledger.heads["items"][0xBEEF].visible == 0

    class Watched(deque[Any]):
        looks = 0

        def __iter__(self) -> Iterator[Any]:
            for unit in super().__iter__():
                Watched.looks += 1
                yield unit

    document = await ledger.document("items")
    document._pending[0xBEEF] = Watched(document._pending[0xBEEF])
    for seq, element in enumerate(logs["tags"]):
        await ledger.receive("tags", append_update(0xBEEF, seq, [element]), lambda _replica: True)
        assert ledger.heads["items"][0xBEEF].visible == seq + 1
    assert Watched.looks < 5 * len(logs["tags"])


@pytest.mark.parametrize("compact", [True, False])
async def test_what_waits_for_the_other_parts_of_its_transaction_outlasts_a_compaction(
    ledger: Ledger, compact: bool
) -> None:
    parts = {"items": 1, "tags": 1}
    logs: dict[str, bytes] = {}
    for doc in parts:
        change = Document(doc, SCHEMA.shape(doc), 0xBEEF, {}).write(
            {"x": [Op("write", "name", doc)]}, hlc=1 << 16, txid=bytes(16), parts=parts
        )
        logs[doc] = change.journal[0]
    await move(ledger, 5)
    await ledger.receive("items", logs["items"], lambda _replica: True)
    assert await (ledger.compact("items") if compact else ledger.squash("items"))
    ledger.unload()
    assert ledger.heads["items"][0xBEEF].visible == 0
    await ledger.receive("tags", logs["tags"], lambda _replica: True)
    assert ledger.heads["items"][0xBEEF].visible == 1
    assert [row[2] for row in await rows(ledger)] == ["items"]


class _Counted(MemoryStorage):
    """Counts checkpoints; may refuse them as a full disk does."""

    checkpoints = 0
    full = False

    async def checkpoint(self) -> None:
        self.checkpoints += 1
        await super().checkpoint()
        if self.full:
            raise StoreUnavailable(":memory:", "the disk is full")


async def test_the_store_is_checkpointed_right_after_a_persons_transaction_and_in_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "STORE_CHECKPOINT_ROWS", 1)
    storage = _Counted(table_specs(SCHEMA))
    ledger = await opened(storage)
    update = append_update(0xBEEF, 0, from_elsewhere("b"))
    async with Transaction(ledger) as tx:
        tx.create(Item, id="a")
        before = storage.checkpoints
        await move(ledger, 1)  # another person's, meanwhile
        await asyncio.sleep(0.01)
        assert storage.checkpoint_due
        assert storage.checkpoints == before
    await asyncio.sleep(0.01)
    assert storage.checkpoints == before + 1
    await ledger.receive("items", update, lambda _replica: True)
    await asyncio.sleep(0.01)
    assert storage.checkpoint_due
    assert storage.checkpoints == before + 1, "people work here: another transaction may begin at any moment"
    await move(ledger, 1)
    await asyncio.sleep(0.01)
    assert storage.checkpoints == before + 2
    await ledger.close()


async def test_a_store_that_cannot_be_checkpointed_goes_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "STORE_CHECKPOINT_ROWS", 1)
    storage = _Counted(table_specs(SCHEMA))
    storage.full = True
    ledger = await opened(storage)
    await move(ledger, 2)
    await asyncio.sleep(0.01)
    assert storage.checkpoints
    assert "could not be checkpointed" in caplog.text
    assert [row[-3] for row in await rows(ledger)] == [2]
    await ledger.close()


class Refusing(MemoryStorage):
    """A store whose disk refuses, reads too, while ``refuses`` is set."""

    refuses = False

    async def commit(self, commit: Commit) -> int:
        if self.refuses:
            raise StoreUnavailable(":memory:", "disk I/O error")
        return await super().commit(commit)

    async def read(self, fn: Callable[[View], T]) -> T:
        if self.refuses:
            raise StoreUnavailable(":memory:", "disk I/O error")
        return await super().read(fn)


async def test_a_disk_that_refuses_writes_and_reads_for_a_while_costs_no_restart() -> None:
    storage = Refusing(table_specs(SCHEMA))
    ledger = await opened(storage)
    await move(ledger, 1)
    storage.refuses = True
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await move(ledger, 1)
    assert ledger.storage.refused.is_set()
    assert not await ledger.try_store()
    storage.refuses = False
    assert await ledger.try_store()
    assert not ledger.storage.refused.is_set()
    await move(ledger, 1)
    assert [row[-3] for row in await rows(ledger)] == [2]
    await ledger.close()
