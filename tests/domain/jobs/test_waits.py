"""Jobs that give their slot back: until another one has ended, or for a while."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from db.models.jobs import AttemptOutcome, Job, JobState
from domain import actor as actors
from domain.jobs import commands, sweeps
from domain.jobs.running import Done, Later, Running, WaitFor, ended
from domain.runtime import Runtime
from tests.factories.engine import Engine, Scripted, play


def waiting_for(other: Job) -> Scripted:
    """Waits for the other one, whatever that does, each time it is run."""

    async def script(job: Running[Scripted], runtime: Runtime) -> Done:
        raise WaitFor(ended(other.id), "Waits for the other one")

    return play(script)


async def scheduled(engine: Engine, account_id: UUID) -> Job:
    """The other one, which does not start before `starts`."""
    return await engine.enqueue(account_id, play(succeed), run_at=datetime.now(UTC) + timedelta(hours=1))


async def starts(engine: Engine, other: Job) -> None:
    """It runs to its end."""
    await engine.due(other)
    async with engine.database.system_across_accounts() as session:
        await sweeps.ready_due(session)
    await engine.attempt(other)


async def succeed(job: Running[Scripted], runtime: Runtime) -> Done:
    return Done("Done")


async def test_a_job_that_waits_for_another_is_woken_by_its_end(engine: Engine) -> None:
    account_id = await engine.account()
    other = await scheduled(engine, account_id)
    job = await engine.enqueue(account_id, waiting_for(other))
    waiting = await engine.attempt(job)
    assert (waiting.state, waiting.waiting_for, waiting.failures) == (JobState.WAITING, ended(other.id), 0)
    assert (waiting.deadline_at, waiting.lease_until) == (None, None)
    await engine.runtime.react()
    assert (await engine.job(job.id)).state is JobState.WAITING
    await starts(engine, other)
    await engine.runtime.react()
    assert (await engine.job(job.id)).state in {JobState.READY, JobState.ADMITTED}
    (attempt,) = await engine.attempts(job)
    assert attempt.outcome is AttemptOutcome.WAITING


@pytest.mark.parametrize("is_gone", [False, True])
async def test_the_other_one_ended_before_the_wait_was_written_down(engine: Engine, is_gone: bool) -> None:
    """The reaction to that end found nobody waiting; the one to the wait finds the end, and a job that is gone ends nothing."""
    account_id = await engine.account()
    other = await engine.enqueue(account_id, play(succeed))
    await engine.attempt(other)
    await engine.runtime.react()
    job = await engine.enqueue(account_id, waiting_for(other))
    if is_gone:
        await engine.sql("delete from job where id = $1", other.id)
    assert (await engine.attempt(job)).state is JobState.WAITING
    await engine.runtime.react()
    assert (await engine.job(job.id)).state in {JobState.READY, JobState.ADMITTED}


async def test_many_wait_for_one_and_none_of_another_account_is_woken(engine: Engine) -> None:
    account_id, elsewhere = await engine.account(), await engine.account()
    other = await scheduled(engine, account_id)
    jobs = []
    for _ in range(3):
        jobs.append(await engine.enqueue(account_id, waiting_for(other)))
        await engine.attempt(jobs[-1])
    await engine.runtime.react()
    stranger = await engine.enqueue(elsewhere, waiting_for(other))
    await engine.sql("update job set state = 'waiting', waiting_for = $2 where id = $1", stranger.id, ended(other.id))
    await starts(engine, other)
    await asyncio.gather(*(engine.runtime.react() for _ in range(3)))
    assert {(await engine.job(job.id)).state for job in jobs} <= {JobState.READY, JobState.ADMITTED}
    assert (await engine.job(stranger.id)).state is JobState.WAITING


async def test_a_job_that_goes_on_later_costs_no_retry_and_can_be_cancelled_meanwhile(engine: Engine) -> None:
    async def script(job: Running[Scripted], runtime: Runtime) -> Done:
        raise Later(3600, "Waits an hour")

    job = await engine.enqueue(await engine.account(), play(script))
    asleep = await engine.attempt(job)
    assert (asleep.state, asleep.failures, asleep.message) == (JobState.SCHEDULED, 0, "Waits an hour")
    assert asleep.lease_until is None
    (delay,) = await engine.sql("select extract(epoch from run_at - now()) as seconds from job")
    assert 3590 < delay["seconds"] <= 3600
    (attempt,) = await engine.attempts(job)
    assert attempt.outcome is AttemptOutcome.SNOOZED
    async with engine.runtime.unit(actors.system(job.account_id)) as unit:
        assert (await commands.cancel(unit, job_id=job.id)).job.state is JobState.CANCELLED
