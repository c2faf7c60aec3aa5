"""Backups of real store files: made while the node writes, put back, and known as older copies afterwards."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.products import Product
from crdtsync.errors import StoreCorrupt, StoreForeign, StoreLocked, StoreTooNew, StoreUnavailable
from crdtsync.node import Node, NodeConfig
from crdtsync.node.backup import back_up, backups, restore
from crdtsync.node.config import write_config
from crdtsync.schema import Role
from crdtsync.storage.base import DamagedRow
from crdtsync.storage.copy import damaged_rows, examine
from tests.service import as_root, given, of_others


def config_of(folder: Path, device: str = "gestao") -> NodeConfig:
    return NodeConfig(folder, device, Role.GESTAO)


def unseen(_done: int, _total: int) -> None:
    """Nobody looks at how far it is."""


async def write(node: Node, *keys: str) -> None:
    async with node.transaction() as tx:
        for key in keys:
            tx.create(Product, id=key, name=f"product {key}", price=Decimal(1))


async def keys_of(config: NodeConfig) -> set[str]:
    async with Node(config) as node:
        return {row[1] for row in await node.ledger.storage.read(lambda view: view.select("products"))}


async def test_a_running_node_is_copied_as_it_is_at_one_moment_and_goes_on_writing(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with Node(config) as node:
        await write(node, "1", "2")
        made, removed = back_up(config, None, unseen)
        await write(node, "3")
    assert removed == []
    assert made.stat().st_mode & 0o077 == 0
    assert restore(config, made) is not None
    assert await keys_of(config) == {"1", "2"}


async def test_what_is_put_back_is_never_taken_for_the_store_that_wrote_last(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with Node(config) as node:
        await write(node, "1")
        # The nonce does not change before the node closes: nothing else would tell this copy from the store itself.
        made, _ = back_up(config, None, unseen)
        former = node.ledger.replica
    async with Node(config) as node:
        assert node.ledger.replica == former
    restore(config, made)
    async with Node(config) as node:
        assert node.ledger.replica != former


async def test_the_store_that_was_there_is_kept_whole(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with Node(config) as node:
        await write(node, "1")
    made, _ = back_up(config, tmp_path / "old.db", unseen)
    async with Node(config) as node:
        await write(node, "2")
    aside = restore(config, made)
    assert aside is not None
    there = config_of(aside)
    assert await keys_of(there) == {"1", "2"}
    assert made.exists()


async def test_a_node_that_lost_its_store_gets_its_backup(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with Node(config) as node:
        await write(node, "1")
    made, _ = back_up(config, None, unseen)
    config.store_path.unlink()
    assert restore(config, made) is None
    assert await keys_of(config) == {"1"}


@as_root
async def test_what_root_puts_back_belongs_to_the_owner_of_the_folder(made: Path) -> None:
    config = config_of(made.parent / "node")
    given(config.folder)
    (config.folder / "store.db.lock").unlink()
    assert restore(config, made) is not None
    assert of_others(config.folder) == []
    config.store_path.unlink()
    assert restore(config, made) is None
    assert of_others(config.folder) == []


async def test_a_running_node_is_not_restored_over(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with Node(config) as node:
        made, _ = back_up(config, None, unseen)
        await write(node, "1")
        with pytest.raises(StoreLocked):
            restore(config, made)
    assert await keys_of(config) == {"1"}


async def test_an_incarnation_that_cannot_be_read_stops_the_start_and_costs_no_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path)
    async with Node(config) as node:
        former = node.ledger.replica
    before = [(tmp_path / name).read_bytes() for name in ("incarnation", "store.db")]
    honest = Path.read_text

    def refuses(path: Path, encoding: str | None = None) -> str:
        if path.name == "incarnation":
            raise PermissionError(13, "Permission denied", str(path))
        return honest(path, encoding)

    monkeypatch.setattr(Path, "read_text", refuses)
    with pytest.raises(StoreUnavailable, match="Permission denied"):
        await Node(config).open()
    # A store that may be a copy is not written into the file as the one that wrote last.
    assert [(tmp_path / name).read_bytes() for name in ("incarnation", "store.db")] == before
    monkeypatch.undo()
    async with Node(config) as node:
        assert node.ledger.replica == former


@as_root
async def test_what_root_makes_in_a_folder_belongs_to_its_owner(tmp_path: Path) -> None:
    config = config_of(given(tmp_path))
    write_config(config)
    async with Node(config) as node:
        await write(node, "1")
        node.ledger.quarantine.keep([DamagedRow("journal", ("products",), ("products", b"1"), "products")])
        # What SQLite keeps beside the file while it is in use, and the name of the document that is being read.
        assert all((tmp_path / name).exists() for name in ("store.db-wal", "store.db-shm", "reading"))
        assert of_others(tmp_path) == []
        back_up(config, None, unseen)
        back_up(config, tmp_path / "mine.db", unseen)
    assert of_others(tmp_path) == []


@as_root
async def test_a_backup_that_root_writes_elsewhere_stays_roots(made: Path, tmp_path: Path) -> None:
    config = config_of(given(made.parent / "node"))
    (tmp_path / "elsewhere").mkdir()
    path, _ = back_up(config, given(tmp_path / "elsewhere") / "copy.db", unseen)
    assert path.stat().st_uid == 0


@pytest.fixture
async def made(tmp_path: Path) -> Path:
    (tmp_path / "node").mkdir()
    config = config_of(tmp_path / "node")
    async with Node(config) as node:
        await write(node, "1")
    return back_up(config, tmp_path / "made.db", unseen)[0]


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10_000])


def from_the_future(path: Path) -> None:
    with closing(sqlite3.connect(path)) as store:
        store.execute("PRAGMA user_version = 99")


def of_another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as store:
        store.execute("CREATE TABLE notes (text)")


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (cut_off, StoreCorrupt),
        (from_the_future, StoreTooNew),
        (of_another_program, StoreCorrupt),
        (Path.unlink, StoreUnavailable),
    ],
)
async def test_what_is_no_sound_backup_is_refused_and_the_store_stays(
    made: Path, spoil: object, error: type[Exception]
) -> None:
    assert callable(spoil)
    spoil(made)
    config = config_of(made.parent / "node")
    with pytest.raises(error):
        restore(config, made)
    assert await keys_of(config) == {"1"}
    assert not list(config.folder.glob("store-before-*"))


def flip(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as store, store:
        assert store.execute(statement).rowcount == 1


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE journal SET data = CAST(substr(data, 2) AS BLOB)", "journal row"),
        ("UPDATE rec_products SET name = 'product 2'", "rec_products row"),
        ("UPDATE meta SET value = x'00' WHERE key = 'storage/tables'", "meta row 'storage/tables'"),
        ("UPDATE replicas SET role = 'gestaO'", "replicas row"),
    ],
)
async def test_a_backup_with_a_damaged_row_is_refused_and_the_store_stays(
    made: Path, statement: str, told: str
) -> None:
    flip(made, statement)
    config = config_of(made.parent / "node")
    before = config.store_path.read_bytes()
    with pytest.raises(StoreCorrupt, match=told) as caught:
        restore(config, made)
    assert "nothing was replaced; choose another backup" in str(caught.value)
    assert "upstream" not in str(caught.value)
    assert config.store_path.read_bytes() == before
    assert not list(config.folder.glob("store-before-*"))


async def test_the_only_backup_can_be_taken_although_a_row_of_it_is_damaged(made: Path) -> None:
    flip(made, "UPDATE rec_products SET name = 'product 2'")
    config = config_of(made.parent / "node")
    assert restore(config, made, damaged=True) is not None
    assert await keys_of(config) == {"1"}


async def test_a_backup_of_an_older_version_that_lacks_a_table_is_sound(made: Path) -> None:
    # Of before there was a registry of devices.
    with closing(sqlite3.connect(made)) as store:
        store.execute("DROP TABLE devices")
    assert damaged_rows(made) == []


async def test_the_backup_of_another_node_is_refused(made: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(StoreForeign, match="device gestao, here filial"):
        restore(config_of(tmp_path / "other", "filial"), made)
    assert not (tmp_path / "other" / "store.db").exists()


async def test_the_store_of_another_node_is_not_copied_as_this_ones(made: Path) -> None:
    there = replace(config_of(made.parent / "node"), device="filial")
    with pytest.raises(StoreForeign, match="device gestao, here filial"):
        back_up(there, None, unseen)
    assert not (there.folder / "backups").exists()


async def test_a_failing_move_leaves_the_store_where_it_was(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(made.parent / "node")
    honest = Path.replace

    def fails(path: Path, target: Path) -> Path:
        if path.name == "store.db.restored":
            raise OSError(28, "No space left on device")
        return honest(path, target)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(StoreUnavailable, match="No space left"):
        restore(config, made)
    monkeypatch.undo()
    assert await keys_of(config) == {"1"}


def test_a_copy_that_fails_leaves_nothing_that_looks_like_a_backup(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path / "node")

    def fails(_path: Path) -> None:
        raise StoreCorrupt("x", "x")

    monkeypatch.setattr("crdtsync.storage.copy.examine", fails)
    with pytest.raises(StoreCorrupt):
        back_up(config, tmp_path / "second.db", unseen)
    assert not list(tmp_path.glob("second*"))
    assert made.exists()


async def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with Node(config):
        first, second = (back_up(config, None, unseen)[0] for _ in range(2))
        third, removed = back_up(config, None, unseen, keep=2)
    assert removed == [first]
    assert backups(config) == [second, third]


def test_a_file_that_is_there_is_not_written_over(made: Path) -> None:
    before = made.read_bytes()
    with pytest.raises(StoreUnavailable, match=r"made.db: there is a file already; name another file"):
        back_up(config_of(made.parent / "node"), made, unseen)
    assert made.read_bytes() == before
    assert examine(made).device == "gestao"


def test_what_a_person_named_wrongly_is_not_the_disks_fault(made: Path) -> None:
    config = config_of(made.parent / "node")
    for path in (made.parent, made.parent / "absent.db"):
        with pytest.raises(StoreUnavailable) as caught:
            restore(config, path)
        told = "this is a folder; name a file" if path.is_dir() else "there is no such file; look at its name"
        assert str(caught.value) == f"{path}: {told}"
    with pytest.raises(StoreUnavailable, match="this is a folder; name a file"):
        back_up(config, made.parent, unseen)
    made.with_name("second.db.part").touch()
    with pytest.raises(
        StoreUnavailable, match=r"second.db.part: there is a file already; a copy is being made"
    ):
        back_up(config, made.with_name("second.db"), unseen)


async def test_a_restore_that_was_cut_off_does_not_stop_the_next_one(made: Path) -> None:
    config = config_of(made.parent / "node")
    (config.folder / "store.db.restored.part").touch()
    assert restore(config, made) is not None
    assert await keys_of(config) == {"1"}


async def test_a_damaged_store_is_not_advised_to_be_moved_away_where_nothing_is_above(made: Path) -> None:
    config = config_of(made.parent / "node")
    cut_off(config.store_path)
    with pytest.raises(
        StoreCorrupt, match=r"restore a backup; or, only where there is a node above.* not sent is lost"
    ):
        await Node(config).open()
