"""Workers that die, freeze and drain in the middle of a sync."""

import signal

import pytest

from db.models.jobs import AttemptOutcome, JobState
from tests.faults.conftest import Disturbed

PAGES = 11  # the last one is empty
LOST, SUCCEEDED, HANDED_BACK = AttemptOutcome.LOST, AttemptOutcome.SUCCEEDED, AttemptOutcome.HANDED_BACK


@pytest.mark.usefixtures("old_postgres")
async def test_a_worker_that_is_killed_loses_its_attempt_and_the_next_goes_on_where_it_was(disturbed: Disturbed) -> None:
    first = await disturbed.programs.worker()
    obstacle = disturbed.obstruct("hang", page=5)
    job_id = await disturbed.start()
    await disturbed.reached(obstacle, job_id, page=5)
    await first.kill()
    await disturbed.house.sweep()
    assert (await disturbed.job(job_id)).state is JobState.RUNNING  # nobody can know yet

    await disturbed.programs.worker()
    await disturbed.silence_lapses(job_id)
    job = await disturbed.until(job_id, JobState.SUCCEEDED)

    assert (job.attempt, job.failures) == (2, 1)
    lost, succeeded = await disturbed.attempts(job_id)
    assert (lost.outcome, lost.next_delay, succeeded.outcome) == (LOST, 30.0, SUCCEEDED)
    searches = [each for each in disturbed.house.world.requests if each["path"] == "/contacts/search"]
    assert len(searches) == PAGES + 1  # one was asked for twice
    assert await disturbed.versions(job_id) == list(range(1, job.version + 1))
    assert await disturbed.done_never_went_back(job_id)
    assert await disturbed.outcome() == await disturbed.undisturbed()


@pytest.mark.usefixtures("old_postgres")
async def test_what_a_frozen_worker_writes_when_it_thaws_is_rejected(disturbed: Disturbed) -> None:
    frozen = await disturbed.programs.worker()
    obstacle = disturbed.obstruct("latency", page=4, ms=1000)
    job_id = await disturbed.start()
    await disturbed.reached(obstacle, job_id, page=4)
    frozen.send(signal.SIGSTOP)  # the page is on its way, and waits in its socket

    await disturbed.programs.worker()
    halfway = disturbed.obstruct("latency", page=4, ms=1500)
    await disturbed.silence_lapses(job_id)
    await disturbed.reached(halfway, job_id, page=7)
    frozen.send(signal.SIGCONT)
    await frozen.until_it_says("job.fenced")
    assert (await disturbed.job(job_id)).done == 3000  # the other one is still at work
    job = await disturbed.until(job_id, JobState.SUCCEEDED)

    assert [attempt.outcome for attempt in await disturbed.attempts(job_id)] == [LOST, SUCCEEDED]
    assert await disturbed.versions(job_id) == list(range(1, job.version + 1))
    assert await disturbed.done_never_went_back(job_id)
    assert await disturbed.outcome() == await disturbed.undisturbed()


async def test_a_worker_that_is_told_to_stop_hands_its_job_on(disturbed: Disturbed) -> None:
    first = await disturbed.programs.worker()
    obstacle = disturbed.obstruct("latency", page=4, ms=1000)
    job_id = await disturbed.start()
    await disturbed.reached(obstacle, job_id, page=4)
    first.send(signal.SIGTERM)
    assert await first.ended() == 0
    handed_back = await disturbed.job(job_id)
    assert (handed_back.state, handed_back.done, handed_back.failures) == (JobState.READY, 2000, 0)

    await disturbed.programs.worker()  # it looks for work by itself
    job = await disturbed.until(job_id, JobState.SUCCEEDED)

    assert (job.attempt, job.failures) == (2, 0)
    assert [attempt.outcome for attempt in await disturbed.attempts(job_id)] == [HANDED_BACK, SUCCEEDED]
    searches = [each for each in disturbed.house.world.requests if each["path"] == "/contacts/search"]
    assert len(searches) == PAGES
    assert await disturbed.versions(job_id) == list(range(1, job.version + 1))
    assert await disturbed.outcome() == await disturbed.undisturbed()
