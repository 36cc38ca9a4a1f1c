"""Workers that die, freeze, are cut off, or lose one job's task while they carry others."""

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.models.jobs import AttemptOutcome, JobState
from tests.faults.kinds import Ends, Steps
from tests.faults.proxy import road
from tests.faults.site import BOUND, LEASE, Site, measured

LOST, SUCCEEDED, FAILED = AttemptOutcome.LOST, AttemptOutcome.SUCCEEDED, AttemptOutcome.FAILED


async def test_a_worker_that_is_killed_loses_its_attempt_and_the_next_goes_on_where_it_was(site: Site) -> None:
    for _ in range(2):
        await site.programs.worker("interactive")
    await site.programs.clock()
    site.barriers.arm("step:3")
    job = await site.ask(Steps())
    working = await site.barriers.reached("step:3")
    site.barriers.disarm("step:3")
    await site.kill(working)
    with measured("worker, mid-job", bound=BOUND):
        lost = await site.until(job, JobState.BACKOFF)
    assert (lost.done, lost.failures, lost.error_code) == (2, 1, "BGJ-012")
    assert [attempt.next_delay for attempt in await site.engine.attempts(job)] == [30.0]
    await site.skip_delay(job)
    ended = await site.until(job, JobState.SUCCEEDED)
    assert await site.outcomes(job) == [LOST, SUCCEEDED]
    assert (ended.attempt, ended.failures, ended.fence) == (2, 1, 2)
    await site.has_a_sound_history(job)


async def test_a_frozen_workers_writes_are_rejected_and_it_stops_what_it_carried(site: Site) -> None:
    frozen = await site.programs.worker("interactive")
    await site.programs.clock()
    for name in ("kept:2", "step:1"):
        site.barriers.arm(name)
    waiting = await site.ask(Steps())
    at_rest = await site.barriers.reached("step:1")
    site.barriers.disarm("step:1")
    writing = await site.ask(Steps())
    at_work = await site.barriers.reached("kept:2")  # in its transaction, with the job's row locked
    site.barriers.disarm("kept:2")
    assert at_rest.pid == at_work.pid == frozen.pid

    frozen.send(signal.SIGSTOP)
    with measured("worker, frozen", bound=BOUND):
        for job in (writing, waiting):
            await site.until(job, JobState.BACKOFF)
    await site.programs.worker("interactive")
    for job in (writing, waiting):
        await site.skip_delay(job)
    for job in (writing, waiting):
        await site.until(job, JobState.SUCCEEDED)
    await at_work.go_on()  # to commit what it had written
    with measured("worker, thawed, stops what it carried", bound=BOUND):
        frozen.send(signal.SIGCONT)
        await frozen.until_it_says("job.abandoned")
    for job in (writing, waiting):
        assert await site.outcomes(job) == [LOST, SUCCEEDED]
        await site.has_a_sound_history(job)
    assert frozen.process.returncode is None


async def test_a_worker_that_is_cut_off_stops_by_itself_and_what_it_sent_comes_too_late(site: Site, tmp_path: Path) -> None:
    async with road(site.engine.settings.database_url, tmp_path / "road") as way:
        lonely = await site.programs.start("worker", "interactive", DATABASE_URL=way.url)
        await lonely.until_it_says("worker.started")
        await site.programs.clock()
        for name in ("kept:2", "step:1"):
            site.barriers.arm(name)
        waiting = await site.ask(Steps())
        await site.barriers.reached("step:1")
        site.barriers.disarm("step:1")
        writing = await site.ask(Steps())
        at_work = await site.barriers.reached("kept:2")
        site.barriers.disarm("kept:2")

        way.cut()
        await at_work.go_on()  # its commit is on the road
        with measured("worker, cut off", bound=BOUND):
            with measured("worker, cut off, stops what it carried", bound=BOUND):
                await lonely.until_it_says("job.abandoned", within=20 + BOUND)
            for job in (writing, waiting):
                await site.until(job, JobState.BACKOFF)
        await site.programs.worker("interactive")
        for job in (writing, waiting):
            await site.skip_delay(job)
        for job in (writing, waiting):
            await site.until(job, JobState.SUCCEEDED)
        with measured("worker, cut off, takes no more", bound=LEASE):  # else some would take as long as it
            for job in [await site.ask(Steps()) for _ in range(8)]:
                await site.until(job, JobState.SUCCEEDED)
        way.mend()
        for job in (writing, waiting):
            assert await site.outcomes(job) == [LOST, SUCCEEDED]
            await site.has_a_sound_history(job)


@pytest.mark.parametrize("how", ["exit", "cancel"])
async def test_a_task_that_ends_alone_is_reported_by_its_worker_which_goes_on(site: Site, how: str) -> None:
    """What is a work-horse elsewhere is a task on the worker's loop here: it cannot be killed, only end as it should not."""
    worker = await site.programs.worker("interactive")
    await site.programs.clock()
    site.barriers.arm("step:2")
    beside = await site.ask(Steps())
    at_work = await site.barriers.reached("step:2")
    with measured(f"one job's task alone ({how})", bound=5):
        job = await site.ask(Ends(how))
        await site.until(job, JobState.BACKOFF)
    await at_work.go_on()
    await site.until(beside, JobState.SUCCEEDED)
    await site.skip_delay(job)
    await site.until(job, JobState.SUCCEEDED)
    assert await site.outcomes(job) == [FAILED, SUCCEEDED]
    assert await site.outcomes(beside) == [SUCCEEDED]
    assert worker.process.returncode is None


async def test_a_worker_that_is_told_to_stop_hands_its_job_on_and_that_costs_nothing(site: Site) -> None:
    first = await site.programs.worker("interactive")
    await site.programs.clock()
    site.barriers.arm("step:3")
    job = await site.ask(Steps())
    at_work = await site.barriers.reached("step:3")
    site.barriers.disarm("step:3")
    first.send(signal.SIGTERM)
    await first.until_it_says("worker.draining")
    await at_work.go_on()
    assert await first.ended() == 0
    handed_back = await site.engine.job(job.id)
    assert (handed_back.state, handed_back.done, handed_back.failures, handed_back.max_retries) == (JobState.READY, 3, 0, 5)
    assert handed_back.run_at <= datetime.now(UTC)
    await site.programs.worker("interactive")
    ended = await site.until(job, JobState.SUCCEEDED)
    assert await site.outcomes(job) == [AttemptOutcome.HANDED_BACK, SUCCEEDED]
    assert (ended.failures, ended.attempt) == (0, 2)
    await site.has_a_sound_history(job)
