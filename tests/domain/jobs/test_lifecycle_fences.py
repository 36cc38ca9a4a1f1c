"""The two places at which a handler that lost its job is stopped; each of them alone must do it."""

import pytest

from db.models.jobs import Job, JobState, LogLevel
from domain.jobs.running import LeaseLost
from tests.factories.engine import Engine


async def lost(engine: Engine) -> Job:
    """A job as its worker knows it, which is another worker's by now."""
    running = await engine.start(await engine.enqueue(await engine.account()))
    await engine.sql("update job set fence = fence + 1 where id = $1", running.id)
    return running


async def test_progress_of_a_lost_job_stops_its_handler_there_and_then(engine: Engine) -> None:
    """Whatever comes after it in the same unit is not even begun."""
    job = await lost(engine)
    held = await engine.held(job)
    went_on = False
    with pytest.raises(LeaseLost):  # noqa: PT012 -- that the last line is not reached is what is tested
        async with held.unit() as unit:
            await held.advance(unit, done=1, checkpoint={"next": 1})
            went_on = True
    assert not went_on
    now = await engine.job(job.id)
    assert (now.state, now.version, now.done, now.checkpoint) == (JobState.RUNNING, job.version, 0, None)


async def test_a_unit_of_a_lost_job_that_writes_no_progress_is_rolled_back_in_the_end(engine: Engine) -> None:
    job = await lost(engine)
    held = await engine.held(job)
    with pytest.raises(LeaseLost):  # noqa: PT012 -- it is raised when the unit ends
        async with held.unit() as unit:
            held.log(unit, level=LogLevel.INFO, code="T", message="too late")
            await unit.session.flush()
    assert await engine.lines(job) == []


async def test_a_job_that_was_taken_back_and_not_given_to_anybody_is_lost_too(engine: Engine) -> None:
    """Its fence is still that of the last holder."""
    running = await engine.start(await engine.enqueue(await engine.account()))
    await engine.sql("update job set state = 'ready', lease_until = null where id = $1", running.id)
    held = await engine.held(running)
    with pytest.raises(LeaseLost):
        async with held.unit() as unit:
            await held.advance(unit, done=1)
    with pytest.raises(LeaseLost):
        async with held.unit() as unit:
            held.log(unit, level=LogLevel.INFO, code="T", message="too late")
    assert await engine.lines(running) == []
    assert (await engine.job(running.id)).done == 0


async def test_who_committed_progress_in_time_has_it_kept_though_the_lease_ends_meanwhile(engine: Engine) -> None:
    """The fence's lock holds off whoever would take the job back until the unit has committed."""
    running = await engine.start(await engine.enqueue(await engine.account()))
    held = await engine.held(running)
    async with held.unit() as unit:
        await held.advance(unit, done=1)
        free = await engine.sql("select id from job where id = $1 for update skip locked", running.id)
        assert free == []
    assert (await engine.job(running.id)).done == 1
