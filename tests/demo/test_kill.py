"""Nodes of the demo are killed at twenty random moments and started again; nothing is lost, nothing is there twice.

``CRDTSYNC_KILL_SEED=N pytest tests/demo/test_kill.py -s`` repeats the choices of a run; the moments within a step are
then the same in milliseconds, not in instructions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any

import pytest

from adapters.demo.fleet import STORE, DemoFailed, Fleet
from adapters.demo.recount import recount
from tests.demo.small import LANES, cut_data

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Step = Callable[[], Awaitable[Any]]

BASKETS = 200
ROUNDS = 5
KILLS = 20
WORK_SECONDS_MAX = 30.0


class Killer:
    """Kills one of the nodes at a random moment of a step, starts it again, and repeats the step."""

    def __init__(self, fleet: Fleet, dice: Random) -> None:
        self.fleet = fleet
        self.dice = dice
        self.kills: list[str] = []
        self.amid = 0

    async def during(self, phase: str, victims: Sequence[str], within: float, step: Step) -> None:
        victim = self.dice.choice(victims)
        moment = self.dice.uniform(0.0, within)
        work = asyncio.ensure_future(step())
        await asyncio.wait([work], timeout=moment)
        amid = not work.done()
        self.fleet.kill(victim)
        await self.fleet.processes[victim].wait()
        self.kills.append(
            f"{phase}: {victim} after {moment * 1000:.0f} ms{' of work' if amid else ', work done'}"
        )
        self.amid += amid
        await self.fleet.start(victim)
        # A step that needed the killed node fails with DemoFailed; anything else is a defect.
        with contextlib.suppress(DemoFailed):
            await work
        await step()


async def initial(fleet: Fleet, names: Sequence[str]) -> None:
    """The initial synchronization of nodes, from where it stands; the network breaks once before."""
    await fleet.cut()
    await fleet.restore()
    for name in names:
        await fleet.ask(name, "check")
    await asyncio.gather(
        *(fleet.wait_for(name, lambda said: said["initial_done"], WORK_SECONDS_MAX) for name in names)
    )


async def synchronize_initially(fleet: Fleet, killer: Killer, data: Path) -> None:
    await fleet.start("gestao")
    await killer.during("import", ["gestao"], 0.3, lambda: fleet.ask("gestao", "import", data=str(data)))
    await fleet.cut()
    await fleet.start(STORE)
    await killer.during("initial", ["gestao", STORE], 0.4, lambda: initial(fleet, [STORE]))
    await killer.during("stock", [STORE], 0.1, lambda: fleet.ask(STORE, "stock", data=str(data)))
    await fleet.cut()
    for name in fleet.lanes:
        await fleet.start(name)
    await killer.during("initial", fleet.lanes, 0.4, lambda: initial(fleet, fleet.lanes))
    await killer.during("initial", fleet.names, 0.4, lambda: fleet.sync_until_even(WORK_SECONDS_MAX))


async def sell(fleet: Fleet, data: Path, part: int) -> None:
    """Each lane sells one part of its week."""
    lanes = len(fleet.lanes)
    sales = (
        fleet.ask(name, "sell", data=str(data), lane=lane + lanes * part, lanes=lanes * ROUNDS)
        for lane, name in enumerate(fleet.lanes)
    )
    for ended in await asyncio.gather(*sales, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended


async def compact(fleet: Fleet) -> None:
    """Every node compacts what it wrote."""
    for ended in await asyncio.gather(
        *(fleet.ask(name, "compact") for name in fleet.names), return_exceptions=True
    ):
        if isinstance(ended, BaseException):
            raise ended
        assert ended


async def kill_twenty_times(fleet: Fleet, killer: Killer, data: Path) -> None:
    await fleet.prepare()
    await synchronize_initially(fleet, killer, data)
    for part in range(ROUNDS):
        await fleet.cut()
        await killer.during("selling", fleet.lanes, 0.15, partial(sell, fleet, data, part))
        await fleet.restore()
        await killer.during("upload", fleet.names, 0.8, lambda: fleet.sync_until_even(WORK_SECONDS_MAX))
        await killer.during("compaction", fleet.names, 0.2, lambda: compact(fleet))
    await fleet.sync_until_even(WORK_SECONDS_MAX)


@pytest.mark.timeout(180)
async def test_nodes_killed_at_twenty_random_moments_end_even_with_nothing_lost_or_duplicated(
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("CRDTSYNC_KILL_SEED", SystemRandom().randrange(1 << 32)))
    print(f"CRDTSYNC_KILL_SEED={seed}")  # noqa: T201 - pytest shows it with a failure, and with -s
    data = cut_data(tmp_path / "data", BASKETS)
    fleet = Fleet(tmp_path / "nodes", LANES)
    fleet.host = [str(Path(__file__).with_name("compacting_host.py"))]
    killer = Killer(fleet, Random(seed))
    try:
        await kill_twenty_times(fleet, killer, data)
        states: dict[str, set[str]] = {}
        for name in fleet.names:
            for doc, digest in (await fleet.ask(name, "digests")).items():
                states.setdefault(doc, set()).add(digest)
    finally:
        await fleet.stop()
        print("\n".join(killer.kills))  # noqa: T201 - as above
    assert len(killer.kills) == KILLS
    assert killer.amid >= KILLS // 4, "the kills came when nothing was going on"
    assert [doc for doc, digests in states.items() if len(digests) > 1] == []
    outcome = recount(fleet.folder, data, LANES)
    assert outcome.differences == ()
    assert (outcome.baskets, outcome.lost, outcome.duplicated, outcome.converged) == (BASKETS, 0, 0, True)
