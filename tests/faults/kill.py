"""`kill -9` of a node that writes, again and again, on one store; after a hundred kills on the next one.

    python -m tests.faults.kill --cycles 1000 --seed 1

After each kill the store is looked at by SQLite itself and by the node that the next cycle starts. Prints one line for
each store and one for all: cycles, acknowledged, lost, damaged, seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.faults.writer import acknowledged, config_of, judge
from tests.process import end, started

TRANSACTIONS_MAX = 200
BETWEEN_SECONDS_MAX = 0.005
JUDGED_EVERY = 10
CYCLES_OF_A_STORE = 100
"""Then a new one: to look at a store costs as much as there is in it."""


@dataclass
class Outcome:
    """What came of the kills."""

    cycles: int = 0
    acknowledged: int = 0
    lost: int = 0
    damaged: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Take in what came of another store."""
        self.cycles += other.cycles
        self.acknowledged += other.acknowledged
        self.lost += other.lost
        self.damaged += other.damaged
        self.wrong += other.wrong


def kill(folder: Path, cycles: int, seed: int) -> Outcome:
    """Start, kill and look at a node so many times."""
    dice = Random(seed)
    outcome = Outcome()
    for cycle in range(cycles):
        _write_and_kill(folder, dice)
        outcome.cycles += 1
        with closing(sqlite3.connect(config_of(folder).store_path)) as store:
            damaged = store.execute("PRAGMA quick_check").fetchone() != ("ok",)
            keys = {key for (key,) in store.execute("SELECT id FROM products")}
        acked = acknowledged(folder)
        lost = [number for number in acked if f"p{number}" not in keys]
        outcome.acknowledged = len(acked)
        outcome.damaged += damaged
        outcome.lost = max(outcome.lost, len(lost))
        # The whole of it takes as long as the cycle, and damage stays.
        if cycle % JUDGED_EVERY == JUDGED_EVERY - 1 or cycle == cycles - 1:
            outcome.wrong += asyncio.run(judge(folder, acked))
    return outcome


def _write_and_kill(folder: Path, dice: Random) -> None:
    arguments = ["-m", "tests.faults.writer", folder, dice.randrange(1 << 30)]
    process, _ = started(arguments, folder / "writer.log")
    assert process.stdout is not None
    for _ in range(dice.randrange(1, TRANSACTIONS_MAX)):
        process.stdout.readline()
    # It is at work: whichever moment comes between two acknowledgements.
    time.sleep(dice.uniform(0, BETWEEN_SECONDS_MAX))
    end(process)


def _tell(outcome: Outcome, began: float) -> None:
    print(
        f"cycles {outcome.cycles}, acknowledged {outcome.acknowledged}, lost {outcome.lost}, "
        f"damaged {outcome.damaged}, wrong {len(outcome.wrong)}, {time.monotonic() - began:.0f} s",
        flush=True,
    )


def main() -> int:
    """Print what came of so many kills; 1 when anything was lost or damaged."""
    parser = argparse.ArgumentParser(description="kill -9 of a node that writes")
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    began = time.monotonic()
    outcome = Outcome()
    for first in range(0, args.cycles, CYCLES_OF_A_STORE):
        with tempfile.TemporaryDirectory() as folder:
            cycles = min(CYCLES_OF_A_STORE, args.cycles - first)
            store = kill(Path(folder), cycles, args.seed + first)
        outcome.add(store)
        _tell(store, began)
    _tell(outcome, began)
    for line in outcome.wrong[:20]:
        print(f"  {line}")
    return 1 if outcome.lost or outcome.damaged or outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
