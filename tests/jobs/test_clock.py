"""The clock's round: what it moves is told, and starts at once where there is room."""

import asyncio
from datetime import UTC, datetime, timedelta

from db.embedded.valkey import EmbeddedValkey
from db.models.jobs import JobState
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from jobs import clock
from tests.factories.engine import Engine, Scripted, play


async def succeed(job: Running[Scripted], runtime: Runtime) -> Done:
    return Done("Done")


async def test_what_is_due_is_admitted_in_the_same_round_and_told(engine: Engine) -> None:
    account_id = await engine.account()
    job = await engine.enqueue(account_id, run_at=datetime.now(UTC) + timedelta(hours=1))
    await engine.capacity()
    await clock.sweep(engine.runtime)
    assert (await engine.job(job.id)).state is JobState.SCHEDULED
    await engine.due(job)
    async with engine.runtime.events.listen(account_id, job.id) as mailbox:
        await clock.sweep(engine.runtime)
        async with asyncio.timeout(20):
            assert {change.id for change in (await mailbox.get()).changes} == {job.id}
    assert (await engine.job(job.id)).state is JobState.ADMITTED


async def test_clocks_at_once_admit_a_job_once(engine: Engine) -> None:
    account_id = await engine.account()
    jobs = [await engine.enqueue(account_id, run_at=datetime.now(UTC) + timedelta(hours=1)) for _ in range(5)]
    await engine.sql("update job set run_at = now() - interval '1 ms'")
    await engine.capacity()
    await asyncio.gather(*(clock.sweep(engine.runtime) for _ in range(3)))
    assert [(await engine.job(job.id)).fence for job in jobs] == [1] * 5


async def test_what_an_emptied_valkey_lost_is_pushed_again(engine: Engine, valkey: EmbeddedValkey) -> None:
    job = await engine.enqueue(await engine.account(), play(succeed))
    await engine.capacity()
    await engine.admit()
    await valkey.restart(empty=True)
    async with engine.worker():
        await clock.sweep(engine.runtime)
        assert (await engine.job(job.id)).state is JobState.ADMITTED  # its lease is young
        await engine.lapse(job)
        await clock.sweep(engine.impatient.runtime)
        ended = await engine.until(job, JobState.SUCCEEDED)
    assert (ended.fence, ended.attempt, ended.failures) == (2, 1, 0)


async def test_a_round_goes_on_while_redis_is_away_and_the_next_one_catches_up(engine: Engine, valkey: EmbeddedValkey) -> None:
    account_id = await engine.account()
    job = await engine.enqueue(account_id, play(succeed), run_at=datetime.now(UTC) + timedelta(hours=1))
    async with engine.worker():
        await engine.until(await engine.ask(account_id, play(succeed)), JobState.SUCCEEDED)
        await engine.due(job)
        await valkey.kill()
        try:
            await clock.sweep(engine.runtime)
            assert (await engine.job(job.id)).state is JobState.READY
        finally:
            await valkey.start()
        await clock.sweep(engine.runtime)
        await engine.until(job, JobState.SUCCEEDED, within=10)
