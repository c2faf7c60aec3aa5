"""What waits for the writer: where people write without a pause, remote work has most of the time, and more if they go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from crdtsync import limits
from crdtsync.node.jobs import Job, Jobs
from crdtsync.testing.loop import VirtualLoop, run_virtual

if TYPE_CHECKING:
    from crdtsync.state.document import Change
    from crdtsync.storage.base import Commit


async def _nothing(_commit: Commit) -> list[Change]:
    return []


def _job(*, local: bool) -> Job:
    return Job(_nothing, asyncio.get_running_loop().create_future(), local=local)


async def _shares(local_seconds: float, seconds: float) -> tuple[float, float]:
    """Return how long a writer did local and remote work, of which there is no end; remote work takes the stretch that it may."""
    jobs = Jobs()
    spent = {True: 0.0, False: 0.0}

    async def people() -> None:
        while not jobs.closed:
            job = _job(local=True)
            jobs.begin_turn(people)
            jobs.put(job)
            await job.done
            jobs.end_turn(people)

    async def peer() -> None:
        while not jobs.closed:
            job = _job(local=False)
            jobs.put(job)
            await job.done

    async def writer() -> None:
        while not jobs.closed:
            await jobs.give_way()
            local = jobs.local_next()
            job = jobs.take(local=local, first=True)
            if job is None:
                await jobs.stirred()
                continue
            took = local_seconds if job.local else jobs.stretch()
            await asyncio.sleep(took)
            spent[job.local] += took
            job.done.set_result([])
            # Who waited for it goes on before the next one is taken, as after a commit.
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(each()) for each in (people, peer, writer)]
    await asyncio.sleep(seconds)
    jobs.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return spent[True], spent[False]


@pytest.mark.parametrize(("local_seconds", "least"), [(0.002, 0.6), (0.02, 0.5), (0.04, 0.35)])
def test_remote_work_has_its_share_of_the_time_where_people_leave_no_gap(
    local_seconds: float, least: float
) -> None:
    local, remote = run_virtual(_shares(local_seconds, 20.0), VirtualLoop(1_000))
    assert least < remote / (local + remote) < 0.7


@pytest.mark.parametrize("local_seconds", [0.002, 0.005])
def test_remote_work_has_nearly_all_the_time_where_that_goes_on(local_seconds: float) -> None:
    local, remote = run_virtual(_shares(local_seconds, 600.0), VirtualLoop(1_000))
    assert 0.75 < remote / (local + remote) < 0.9


def test_a_transaction_that_takes_long_leaves_remote_work_no_more_than_a_persons_patience() -> None:
    local, remote = run_virtual(_shares(1.0, 20.0), VirtualLoop(1_000))
    assert 0 < remote <= limits.LOCAL_TURN_SECONDS_MAX * (local + 1)


def test_where_there_are_gaps_a_stretch_stays_short() -> None:
    async def story() -> float:
        jobs = Jobs()
        for _ in range(400):
            jobs.put(_job(local=False))
            assert jobs.take(local=False, first=True) is not None
            await asyncio.sleep(0.1)
        return jobs.stretch()

    assert run_virtual(story(), VirtualLoop(1_000)) == limits.REMOTE_SLICE_SECONDS
