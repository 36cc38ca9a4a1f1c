"""A real job of the product, a contact sync, whose workers die and freeze: it leads to what it would have led to anyway."""

import signal

from db.models.jobs import AttemptOutcome, JobState
from tests.faults.conftest import Disturbed

PAGES = 11  # the last one is empty
LOST, SUCCEEDED = AttemptOutcome.LOST, AttemptOutcome.SUCCEEDED


async def test_a_sync_whose_worker_is_killed_asks_for_one_page_twice(disturbed: Disturbed) -> None:
    first = await disturbed.programs.worker()
    await disturbed.programs.clock()
    obstacle = disturbed.obstruct("hang", page=5)
    job_id = await disturbed.start()
    await disturbed.reached(obstacle, job_id, page=5)
    await first.kill()
    await disturbed.programs.worker()
    await disturbed.silence_lapses(job_id, "worker, mid-sync")
    job = await disturbed.until(job_id, JobState.SUCCEEDED)

    assert (job.attempt, job.failures) == (2, 1)
    assert [attempt.outcome for attempt in await disturbed.attempts(job_id)] == [LOST, SUCCEEDED]
    searches = [each for each in disturbed.house.world.requests if each["path"] == "/contacts/search"]
    assert len(searches) == PAGES + 1
    assert await disturbed.versions(job_id) == list(range(1, job.version + 1))
    assert await disturbed.done_never_went_back(job_id)
    assert await disturbed.outcome() == await disturbed.undisturbed()


async def test_a_sync_that_thaws_while_another_worker_does_it_changes_nothing(disturbed: Disturbed) -> None:
    frozen = await disturbed.programs.worker()
    await disturbed.programs.clock()
    obstacle = disturbed.obstruct("latency", page=4, ms=1000)
    job_id = await disturbed.start()
    await disturbed.reached(obstacle, job_id, page=4)
    frozen.send(signal.SIGSTOP)  # the page is on its way, and waits in its socket

    await disturbed.programs.worker()
    halfway = disturbed.obstruct("latency", page=4, ms=1500)
    await disturbed.silence_lapses(job_id, "worker, frozen in a sync")
    await disturbed.reached(halfway, job_id, page=7)
    frozen.send(signal.SIGCONT)
    await frozen.until_it_says("job.abandoned")
    assert (await disturbed.job(job_id)).done == 3000  # the other one is still at work
    job = await disturbed.until(job_id, JobState.SUCCEEDED)

    assert [attempt.outcome for attempt in await disturbed.attempts(job_id)] == [LOST, SUCCEEDED]
    assert await disturbed.versions(job_id) == list(range(1, job.version + 1))
    assert await disturbed.done_never_went_back(job_id)
    assert await disturbed.outcome() == await disturbed.undisturbed()
