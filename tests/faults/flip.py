"""One bit of a store is flipped: is it detected, named, and repaired, or is anything silently wrong?

    python -m tests.faults.flip --count 200 --seed 1            # a bit of a value of a row
    python -m tests.faults.flip --count 200 --seed 1 --pages    # a bit of the file, as a disk would

A head office, a store and a lane with the retail adapters synchronize; that is the truth. For each flip one of them is
put back as it was, one bit of its store is flipped, and then: open it, load every document, `verify`, `repair` every category,
synchronize, compare every record, pendency and digest with the truth, and `verify` again. Exit code 1 when anything was
silently wrong, not repaired, or failed in a way that this program does not raise on purpose.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from crdtsync.errors import CrdtsyncError
from crdtsync.node.repair import repair
from crdtsync.node.verbs import digests, verify
from tests.node.shop import STORE, Shop, add_product, receive_units, sell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crdtsync.node import Node
    from crdtsync.storage import View

NODES = ("gestao", STORE, "caixa1")
PRODUCTS = 6
SALES = 8
REFUSED = "refused to open, with one clear message"
SILENT = "SILENTLY WRONG"
WRONG = "NOT REPAIRED"
FAULT = "FAULT OF THE PROGRAM"
BAD = (SILENT, WRONG, FAULT)
MAY_REFUSE = ("documents.", "meta.key of ('storage/", "meta.value of ('storage/", "meta.crc of ('storage/")
"""Rows that say what the others are: without them nothing can be read. Any other never stops a node."""


class Faults(logging.Handler):
    """Collects what was logged with a trace of an error that nothing raises on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, CrdtsyncError):
            self.found.append(f"{record.getMessage()}: {type(error).__name__}: {error}")


async def build(folder: Path) -> None:
    """Write the truth: three nodes that are even, some of whose rules are broken."""
    async with Shop(folder) as shop:
        for name in NODES:
            await shop.open(name)
        for n in range(1, PRODUCTS + 1):
            await add_product(shop.nodes["gestao"], f"p{n}")
            await receive_units(shop.nodes[STORE], n, f"p{n}")
        await shop.even()
        for n in range(SALES):
            # More than there is of some: a pendency each.
            await sell(shop.nodes["caixa1"], f"s{n}", f"p{1 + n % 3}")
        await shop.even()


def shown(view: View, categories: Iterable[str]) -> dict[str, Any]:
    """Every record and pendency of a store, but for when and by which run a pendency was seen first."""
    rows: dict[str, Any] = {name: view.select(name, include_deleted=True) for name in categories}
    rows = {name: sorted(found, key=lambda row: row[:2]) for name, found in rows.items()}
    return rows | {"pendencies": sorted((row.id, row.episode, row.status) for row in view.pendencies())}


async def state(node: Node) -> dict[str, Any]:
    """What a node shows, and the digest of every document folded."""
    found = await node.ledger.storage.read(partial(shown, categories=list(node.schema.shapes)))
    return found | {"digests": await digests(node, {})}


def flip_row(path: Path, dice: Random) -> str:
    """Flip a bit of a value of a row; every table is as likely as any other."""
    with closing(sqlite3.connect(path)) as store:
        tables = [row[0] for row in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        filled = sorted(name for name in tables if store.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone())
        while True:
            table = dice.choice(filled)
            columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})")]
            row = dice.choice(store.execute(f"SELECT * FROM {table}").fetchall())
            place = dice.choice([at for at, value in enumerate(row) if value not in (None, "", b"")])
            same = " AND ".join(f'"{name}" IS ?' for name in columns)
            value = flipped(row[place], dice)
            as_text = "CAST(? AS TEXT)" if isinstance(row[place], str) else "?"
            # Where another row has that key nothing changes: one flip does not make two rows of one.
            sql = f'UPDATE OR IGNORE {table} SET "{columns[place]}" = {as_text} WHERE {same}'
            if store.execute(sql, (value, *row)).rowcount:
                store.commit()
                return f"{table}.{columns[place]} of {row[:2]!r:.60}"


def flipped(value: object, dice: Random) -> object:
    """A value with one bit changed; a text as bytes, which may be no UTF-8 any more."""
    if isinstance(value, int):
        return value ^ 1 << dice.randrange(40)
    if isinstance(value, float):
        return value + 2.0 ** dice.randrange(8)
    data = bytearray(value.encode() if isinstance(value, str) else bytes(value))  # type: ignore[call-overload]
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(data)


def flip_page(path: Path, dice: Random) -> str:
    """Flip a bit anywhere in the file, but in its empty places: they are most of it, and nobody reads them."""
    data = bytearray(path.read_bytes())
    at = dice.choice([place for place, byte in enumerate(data) if byte])
    data[at] ^= 1 << dice.randrange(8)
    path.write_bytes(data)
    return f"byte {at} of {len(data)}"


class Flips:
    """Runs flips; ``truth`` is the folder that ``build`` wrote."""

    def __init__(self, truth: Path, work: Path, dice: Random, *, pages: bool) -> None:
        self.truth = truth
        self.work = work
        self.dice = dice
        self.pages = pages
        self.counts: Counter[str] = Counter()
        self.bad: list[str] = []
        self.expected: dict[str, dict[str, Any]] = {}

    async def learn(self) -> None:
        """Remember what every node shows when nothing is damaged."""
        shutil.copytree(self.truth, self.work / "truth")
        async with Shop(self.work / "truth") as shop:
            for name in NODES:
                self.expected[name] = await state(await shop.open(name))
            await shop.even()

    async def run(self, number: int) -> None:
        """Flip once, and count what became of it."""
        victim = self.dice.choice(NODES)
        folder = self.work / f"flip{number}"
        shutil.copytree(self.truth, folder)
        what = (flip_page if self.pages else flip_row)(folder / victim / "store.db", self.dice)
        faults = Faults()
        logger = logging.getLogger("crdtsync")
        logger.addHandler(faults)
        try:
            outcome = await self._survive(folder, victim)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            outcome = f"{FAULT}: {type(error).__name__}: {error}"
        finally:
            logger.removeHandler(faults)
        if outcome == REFUSED and not self.pages and not what.startswith(MAY_REFUSE):
            outcome = f"{WRONG}: the node does not start"
        if faults.found:
            outcome = f"{FAULT}: {faults.found[0]}"
        self.counts[next((bad for bad in BAD if outcome.startswith(bad)), outcome)] += 1
        if outcome.startswith(BAD):
            self.bad.append(f"flip {number}, {victim}, {what}: {outcome}")
        shutil.rmtree(folder)

    async def _survive(self, folder: Path, victim: str) -> str:
        async with Shop(folder) as shop:
            try:
                node = await shop.open(victim)
            except CrdtsyncError:
                return REFUSED
            try:
                return await self._look(shop, node, victim, folder)
            except CrdtsyncError:
                if not self.pages:
                    raise
                return "a verb refused, with one clear message"

    async def _look(self, shop: Shop, node: Node, victim: str, folder: Path) -> str:
        at_start = bool(node.ledger.quarantine.held) or (folder / victim / "damaged").exists()
        # Loading every document is what work would do one day.
        for doc in sorted(node.ledger.heads):
            await self._load(node, doc)
        at_load = bool(node.ledger.quarantine.held)
        findings = (await verify(node, lambda *_: None))["findings"]
        apart = bool(node.ledger.quarantine.held)
        if not (at_start or at_load or findings):
            same = await state(node) == self.expected[victim]
            return (
                "no difference to anything"
                if same
                else f"{SILENT}: {differences(await state(node), self.expected[victim])}"
            )
        if (
            self.pages
            and node.ledger.quarantine.broken is None
            and not apart
            and not self._rows_damaged(folder, victim)
        ):
            return "named by verify as damage of the file"
        for category in node.schema.shapes:
            await repair(node, {"category": category})
        for name in NODES:
            if name != victim:
                await shop.open(name)
        await shop.even()
        await sell(shop.nodes["caixa1"], "after", "p6")
        await shop.even()
        for name in NODES:
            again = (await verify(shop.nodes[name], lambda *_: None))["findings"]
            if again:
                return f"{WRONG}: {name}: {again[0]}"
            wrong = differences(await state(shop.nodes[name]), self.expected[name], but="after")
            if wrong:
                return f"{WRONG}: {name}: {wrong}"
        when = "at the start" if at_start else "at load" if at_load else "by verify"
        return f"detected {when}, {'quarantined and ' if apart else ''}repaired"

    def _rows_damaged(self, folder: Path, victim: str) -> bool:
        return (folder / victim / "damaged").exists()

    async def _load(self, node: Node, doc: str) -> None:
        if node.ledger.shape_of(doc) is None or doc in node.ledger.quarantine.held:
            return
        try:
            await node.ledger.state_digest(doc)
        except CrdtsyncError as error:
            if doc not in str(error) and not self.pages:
                # What cannot be loaded is named.
                raise RuntimeError(str(error)) from error


def differences(found: dict[str, Any], expected: dict[str, Any], but: str | None = None) -> str:
    """Say in one line what differs; ``but`` is in the name of a sale that was made since."""
    for name, rows in expected.items():
        if name == "digests":
            if but is None and found[name] != rows:
                return "digests"
            continue
        here = {str(row[:2]): row for row in found[name]}
        for row in rows:
            other = here.pop(str(row[:2]), None)
            if other != row and not (but and str(row[1]).endswith("p6")):
                return f"{name}: {row!r:.100} is {other!r:.100}"
        extra = [row for row in here.values() if not (but and but in str(row))]
        if extra:
            return f"{name}: {extra[0]!r:.100} should not be there"
    return ""


async def flip(folder: Path, count: int, seed: int, *, pages: bool) -> Flips:
    """Build the truth in an empty folder, and flip so many times."""
    with tempfile.TemporaryDirectory(dir=folder) as truth, tempfile.TemporaryDirectory(dir=folder) as work:
        await build(Path(truth))
        flips = Flips(Path(truth), Path(work), Random(seed), pages=pages)
        await flips.learn()
        for number in range(count):
            await flips.run(number)
        return flips


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pages", action="store_true")
    asked = parser.parse_args()
    logging.getLogger("crdtsync").addHandler(logging.NullHandler())
    logging.getLogger("crdtsync").propagate = False
    with tempfile.TemporaryDirectory() as folder:
        flips = asyncio.run(flip(Path(folder), asked.count, asked.seed, pages=asked.pages))
    for outcome, times in flips.counts.most_common():
        print(f"{times:6d}  {outcome}")
    for line in flips.bad:
        print(line)
    print(f"flips: {asked.count}, seed {asked.seed}, wrong: {len(flips.bad)}")
    sys.exit(1 if flips.bad else 0)


if __name__ == "__main__":
    main()
