"""The simulated cluster: what it promises about itself, and schedules over the real code."""

from __future__ import annotations

import asyncio

import pytest

from crdtsync.testing.loop import Deadlock, OutOfTime, VirtualLoop, run_virtual
from crdtsync.testing.simulation import OPERATIONS, run_schedule, simulate
from tests.simulation.shop import shop


def test_virtual_time_jumps_over_every_wait() -> None:
    loop = VirtualLoop()

    async def main() -> float:
        await asyncio.gather(*(asyncio.sleep(3600 * hours) for hours in range(24)))
        return asyncio.get_running_loop().time()

    assert run_virtual(main(), loop) == pytest.approx(23 * 3600)


def test_a_program_that_waits_for_nothing_is_a_deadlock() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run_virtual(main(), VirtualLoop())


def test_tasks_that_spin_in_one_instant_are_a_deadlock() -> None:
    async def main() -> None:
        spinning = asyncio.get_running_loop().create_future()
        while not spinning.done():  # noqa: ASYNC110 - the fault that the loop must see
            await asyncio.sleep(0)

    with pytest.raises(Deadlock):
        run_virtual(main(), VirtualLoop())


def test_a_program_that_never_ends_runs_out_of_time() -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110 - a program that only waits is the case
            await asyncio.sleep(1.0)

    with pytest.raises(OutOfTime):
        run_virtual(main(), VirtualLoop(seconds_max=60))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_schedule_injects_what_it_says_and_does_its_operations(seed: int) -> None:
    outcome = run_schedule(seed, shop())

    assert outcome.operations >= OPERATIONS
    for fault in ("partition", "crash", "repeat", "reorder", "doom before", "doom after", "restart", "cut"):
        assert outcome.injected[fault] >= 1, fault


def test_the_same_seed_does_the_same_again() -> None:
    first, second = run_schedule(11, shop()), run_schedule(11, shop())

    assert first == second


def test_the_report_does_not_depend_on_how_many_processes_share_the_work() -> None:
    alone, shared = simulate(4, 5, shop()), simulate(4, 5, shop(), jobs=2)

    alone.seconds = shared.seconds = 0
    assert alone == shared


def test_every_backup_of_a_log_that_went_on_elsewhere_is_noticed() -> None:
    report = simulate(10, 20, shop())
    assert report.restored == report.noticed > 2
    plain = report.to_plain()
    assert (plain["restored"], plain["noticed"]) == (report.restored, report.noticed)


def test_lanes_stores_and_refusing_disks_take_part() -> None:
    """One or two Lojas, and a disk that is full, write-protected or broken: some schedules have each."""
    report = simulate(12, 40, shop())
    assert report.failures == []
    for fault in ("disk full", "disk protected", "disk broken", "refused by the disk"):
        assert report.injected[fault], fault
