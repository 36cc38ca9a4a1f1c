"""A suspended account's jobs stop at a checkpoint, whatever they do there, and none of them is forgotten."""

from uuid import UUID

import pytest

from db.base import new_id
from db.models.jobs import AttemptOutcome, JobState
from domain import actor as actors
from domain.errors import NotFound
from domain.jobs import commands
from domain.jobs.options import SUSPENSION, Suspended
from domain.jobs.running import Done, Running
from domain.recovery import suspension
from domain.runtime import Runtime
from tests.factories.engine import Engine, Scripted, play


async def change(engine: Engine, account_id: UUID, *, suspended: bool) -> None:
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        await (suspension.suspend(unit) if suspended else suspension.resume(unit))
        unit.lanes_to_admit.clear()


async def in_three_steps(job: Running[Scripted], runtime: Runtime) -> Done:
    for step in range(job.checkpoint.get("next", 0), 3):
        async with job.unit() as unit:
            await job.advance(unit, done=step + 1, total=3, checkpoint={"next": step + 1})
    return Done("Done")


async def test_a_running_job_stops_at_its_next_checkpoint_and_goes_on_there(engine: Engine) -> None:
    async def script(job: Running[Scripted], runtime: Runtime) -> Done:
        if job.attempt == 1:
            await change(engine, job.account_id, suspended=True)
        return await in_three_steps(job, runtime)

    job = await engine.attempt(await engine.enqueue(await engine.account(), play(script)))
    assert (job.state, job.waiting_for, job.error_code) == (JobState.WAITING, SUSPENSION, Suspended.code)
    assert (job.done, job.failures) == (1, 0)
    await change(engine, job.account_id, suspended=False)
    job = await engine.job(job.id)
    assert (job.state, job.error_code, job.deadline_at) == (JobState.READY, None, None)
    job = await engine.attempt(job)
    assert (job.state, job.done, job.attempt) == (JobState.SUCCEEDED, 3, 2)
    assert [each.outcome for each in await engine.attempts(job)] == [AttemptOutcome.WAITING, AttemptOutcome.SUCCEEDED]


async def test_a_unit_that_writes_no_progress_heeds_it_as_well(engine: Engine) -> None:
    job = await engine.held(await engine.start(await engine.enqueue(await engine.account())))
    await change(engine, job.account_id, suspended=True)
    with pytest.raises(Suspended):
        async with job.unit():
            pass


async def test_another_account_is_not_concerned(engine: Engine) -> None:
    other = await engine.account()
    await change(engine, other, suspended=True)
    job = await engine.attempt(await engine.enqueue(await engine.account(), play(in_three_steps)))
    assert job.state is JobState.SUCCEEDED


async def test_a_job_that_began_to_wait_just_after_the_renewal_is_woken_by_the_clock(engine: Engine) -> None:
    job = await engine.enqueue(await engine.account())
    late = "update job set state = 'waiting', waiting_for = $2 where id = $1"
    await engine.sql(late, job.id, SUSPENSION)
    other = await engine.enqueue(await engine.account())
    await engine.sql(late, other.id, SUSPENSION)
    await engine.sql("update account set suspended_at = now() where id = $1", other.account_id)
    async with engine.database.system_across_accounts() as session:
        woken = await suspension.wake_resumed(session)
    assert [(each.id, each.state) for each in woken] == [(job.id, JobState.READY)]
    assert (await engine.job(other.id)).state is JobState.WAITING


async def test_a_suspended_account_s_failed_job_is_not_retried(engine: Engine) -> None:
    job = await engine.enqueue(await engine.account())
    await engine.sql("update job set state = 'failed', finished_at = now() where id = $1", job.id)
    await change(engine, job.account_id, suspended=True)
    async with engine.runtime.unit(actors.system(job.account_id)) as unit:
        with pytest.raises(Suspended):
            await commands.retry(unit, job_id=job.id)


async def test_from_the_command_line(engine: Engine) -> None:
    account_id, url = await engine.account(), engine.settings.database_url
    made = await suspension.set_from_command_line(url, account_id=account_id, suspended=True)
    again = await suspension.set_from_command_line(url, account_id=account_id, suspended=True)
    assert made.suspended_at is not None
    assert again.suspended_at == made.suspended_at
    assert (await suspension.set_from_command_line(url, account_id=account_id, suspended=False)).suspended_at is None
    actions = await engine.sql("select action from audit_log where account_id = $1 order by id", account_id)
    assert [row["action"] for row in actions] == ["account.suspend", "account.resume"]
    with pytest.raises(NotFound):
        await suspension.set_from_command_line(url, account_id=new_id(), suspended=True)
