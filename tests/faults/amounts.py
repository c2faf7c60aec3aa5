"""Money and quantities through two nodes: written at one, sent over a socket, read at the other and from its SQL table.

    python -m tests.faults.amounts --values 10000000 --seed 1

Prints one line: values, differences in value or type, seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from crdtsync import Entity, Key, Money, Quantity, Role, Schema, limits
from crdtsync.node import Node, NodeConfig
from crdtsync.pendencies.records import Decision, Incident, Person

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDS_PER_ROUND = 25_000
_SECONDS_MAX = 300.0
_POLL_SECONDS = 0.02
_SCALES = {"cents": 2, "unit": 4, "units": 3, "grams": 6}
_EDGES = (0, 1, -1, limits.AMOUNT_MAX, -limits.AMOUNT_MAX, 1 << 53, (1 << 53) + 1, 10**15, 5, 10)


class Amount(Entity, category="amounts", title="Valores", writers=set(Role)):
    id = Key()
    cents = Money()
    unit = Money(scale=4)
    units = Quantity()
    grams = Quantity(scale=6)


SCHEMA = Schema([Amount, Person, Decision, Incident])


def values(dice: Random) -> dict[str, Decimal]:
    """Return an amount of each kind: an edge now and then, or any number of digits."""
    found = {}
    for name, scale in _SCALES.items():
        units = dice.choice(_EDGES) if dice.random() < 1 / 8 else _any(dice)
        found[name] = Decimal(units).scaleb(-scale)
    return found


def _any(dice: Random) -> int:
    size = dice.randrange(1, 63)
    return dice.choice((1, -1)) * dice.getrandbits(size)


def expected(seed: int, count: int) -> Iterator[tuple[str, dict[str, Decimal]]]:
    """Give the records of a round, the same ones for one seed."""
    dice = Random(seed)
    for at in range(count):
        yield f"a{at}", values(dice)


async def differences(folder: Path, seed: int, count: int) -> list[str]:
    """Write so many records at one node and return where the other one shows anything else."""
    above = NodeConfig(folder / "gestao", "gestao", Role.GESTAO, listen=True)
    above.folder.mkdir(parents=True)
    async with Node(above, schema=SCHEMA) as upper:
        await upper.load(Amount, ({"id": key, **amounts} for key, amounts in expected(seed, count)))
        assert upper.server is not None
        address = f"ws://127.0.0.1:{upper.server.port}"
        below = NodeConfig(folder / "loja1", "loja1", Role.LOJA, store="loja1", upstream=address)
        below.folder.mkdir()
        async with Node(below, schema=SCHEMA) as lower:
            async with asyncio.timeout(_SECONDS_MAX):
                while not lower.initial_done:  # noqa: ASYNC110 - it is the end of a run that is waited for
                    await asyncio.sleep(_POLL_SECONDS)
            rows = await lower.ledger.storage.read(lambda view: view.select("amounts"))
    shown: dict[str, Any] = {}
    for row in rows:
        record = Amount._load(row)
        shown[record.id] = record
    found = []
    for key, amounts in expected(seed, count):
        for name, amount in amounts.items():
            got = getattr(shown[key], name) if key in shown else None
            if type(got) is not Decimal or str(got) != str(amount):
                found.append(f"{key}.{name}: {amount!r} became {got!r}")
    return found


def main() -> int:
    """Print how many of so many values came out different; 1 when any did."""
    parser = argparse.ArgumentParser(description="money and quantities through two nodes")
    parser.add_argument("--values", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    began, done, found = time.monotonic(), 0, list[str]()
    seed = args.seed
    while done < args.values:
        count = min(RECORDS_PER_ROUND, -(-(args.values - done) // len(_SCALES)))
        with tempfile.TemporaryDirectory() as folder:
            found += asyncio.run(differences(Path(folder), seed, count))
        done += count * len(_SCALES)
        seed += 1
    print(f"values {done}, different {len(found)}, {time.monotonic() - began:.0f} s")
    for line in found[:20]:
        print(f"  {line}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
