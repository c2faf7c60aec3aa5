"""Backups of a node's store, and the way back to one.

A backup is one SQLite file. It lacks the nonce of its incarnation (`incarnation.py`), so a node that opens a copy of it,
however that came to its folder, knows that it was restored and takes a new incarnation: what the copy lacks comes back
from the neighbours.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from crdtsync.errors import StoreCorrupt, StoreForeign, StoreMissing, StoreUnavailable
from crdtsync.node.incarnation import NONCE_META
from crdtsync.ownership import hand_over
from crdtsync.said import say
from crdtsync.storage.copy import StoreFacts, copy_store, damaged_rows, examine, facts_of, put_in_place
from crdtsync.storage.lock import StoreLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from crdtsync.node.config import NodeConfig

FOLDER_NAME = "backups"
_ENDING = ".db"


def stamp_now() -> str:
    """Return this moment for the name of a file, in UTC: names sort by time."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def backups(config: NodeConfig) -> list[Path]:
    """Return the backups in the node's own folder, oldest first."""
    return sorted((config.folder / FOLDER_NAME).glob(f"{config.device}-*{_ENDING}"))


def back_up(
    config: NodeConfig,
    target: Path | None,
    watch: Callable[[int, int], None],
    *,
    keep: int | None = None,
) -> tuple[Path, list[Path]]:
    """Copy a node's store as it is at this moment; the node may be running.

    Args:
        config: the node's.
        target: a file that does not exist yet; None for one in the node's ``backups``.
        watch: is told pages copied and pages in all.
        keep: how many of ``backups`` stay; the oldest ones beyond it are removed once the new one is whole.

    Returns:
        The new file, and the files that were removed.

    Raises:
        StoreForeign: another node wrote the store.
        StoreMissing: there is none.
        StoreUnavailable: the disk refused; there is no new file and nothing was removed, or an old one could not be.
        StoreCorrupt, StoreTooNew: the store is damaged, or of a newer version.
    """
    refuse_missing(config)
    _refuse_foreign(config, config.store_path, facts_of(config.store_path))
    if target is None:
        target = config.folder / FOLDER_NAME / f"{config.device}-{stamp_now()}{_ENDING}"
        try:
            target.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(str(target.parent), error.strerror or str(error)) from error
        hand_over(target.parent)
    copy_store(config.store_path, target, watch, without=[NONCE_META])
    hand_over(target, config.folder)
    removed = backups(config)[:-keep] if keep else []
    for path in removed:
        try:
            path.unlink()
        except OSError as error:
            reason = say(
                "{target} was written, an older one cannot be removed: {error}",
                target=target,
                error=error.strerror or error,
            )
            raise StoreUnavailable(str(path), reason) from error
    return target, removed


def refuse_missing(config: NodeConfig) -> None:
    """Look whether there is a store: opening it would make one, and who only looks is not to make an empty one.

    Raises:
        StoreMissing: there is none.
        StoreLocked: a node is starting, and may be making it.
    """
    path = config.store_path
    if not path.exists() and path.with_name(f"{path.name}.lock").exists():
        with StoreLock(str(path)):
            pass
    if not path.exists():
        raise StoreMissing(str(path), str(config.folder))


def refuse_foreign(config: NodeConfig, path: Path) -> None:
    """Look at a store file whole: it must be sound, and this node's own.

    Raises:
        StoreForeign: another node wrote it.
        StoreUnavailable, StoreCorrupt, StoreTooNew: see `examine`.
    """
    _refuse_foreign(config, path, examine(path))


def _refuse_foreign(config: NodeConfig, path: Path, facts: StoreFacts) -> None:
    wrote = (facts.device, facts.account, facts.store, facts.role)
    here = (config.device, config.account, config.store, config.role.value)
    if wrote != here:
        raise StoreForeign(str(path), wrote, here)


def restore(config: NodeConfig, source: Path, *, damaged: bool = False) -> Path | None:
    """Put a backup in the place of a stopped node's store.

    Args:
        config: the node's.
        source: the backup; it stays.
        damaged: take it although rows of it are damaged; the node sets apart what they are of when it opens the store.

    Returns:
        The folder that now holds the store that was there; None when there was none.

    Raises:
        StoreLocked: the node runs.
        StoreForeign: another node wrote the backup.
        StoreUnavailable, StoreCorrupt, StoreTooNew: the backup cannot be used, or the disk refused.
    """
    with StoreLock(str(config.store_path)):
        _refuse_unsound(config, source, damaged=damaged)
        aside = config.folder / f"store-before-{stamp_now()}"
        return aside if put_in_place(source, config.store_path, aside) else None


def _refuse_unsound(config: NodeConfig, source: Path, *, damaged: bool) -> None:
    try:
        facts = examine(source)
        rows = [] if damaged else damaged_rows(source)
    except StoreCorrupt as error:
        advice = say("nothing was replaced; choose another backup")
        raise StoreCorrupt(error.path, error.detail, advice) from error
    if rows:
        detail = say(
            "rows of this backup fail their checksum: {number}, the first is {table} row {row}",
            number=len(rows),
            table=rows[0].table,
            row=rows[0].key,
        )
        advice = say(
            "nothing was replaced; choose another backup, or, when there is none, restore this one with --damaged "
            "and then say what `crdtsync alerts` asks for"
        )
        raise StoreCorrupt(str(source), detail, advice)
    # Last: who wrote it may be what is damaged.
    _refuse_foreign(config, source, facts)
