"""What time alone brings about."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from db.models.jobs import AttemptOutcome, Job, JobState
from domain import actor as actors
from domain.jobs import commands, sweeps
from domain.jobs.args import waits_for_release
from domain.jobs.lifecycle import Transition, transition
from domain.jobs.options import SUSPENSION
from domain.jobs.sweeps import Sweep
from domain.recovery import suspension
from tests.factories.engine import Engine

HOUR = timedelta(hours=1)


# The tests' PostgreSQL may be seconds old: nothing would be taken back within a usual lease of its start.
take_back_lapsed = partial(sweeps.take_back_lapsed, lease=timedelta(seconds=1))


async def sweep(engine: Engine, step: Sweep) -> list[Job]:
    async with engine.database.system_across_accounts() as session:
        return await step(session)


async def test_what_is_due_becomes_ready_and_nothing_else(engine: Engine) -> None:
    account_id = await engine.account()
    later = await engine.enqueue(account_id, run_at=datetime.now(UTC) + HOUR)
    due = await engine.enqueue(account_id, run_at=datetime.now(UTC) + HOUR)
    paused = await engine.enqueue(account_id, run_at=datetime.now(UTC) + HOUR)
    ready = await engine.enqueue(account_id)
    for job in (due, paused):
        await engine.due(job)
    await engine.sql("update job set paused_at = now() where id = $1", paused.id)

    assert [job.id for job in await sweep(engine, sweeps.ready_due)] == [due.id]
    states = [(await engine.job(job.id)).state for job in (later, paused, ready)]
    assert states == [JobState.SCHEDULED, JobState.SCHEDULED, JobState.READY]


async def test_the_clock_knows_when_to_look_again(engine: Engine) -> None:
    async with engine.database.system_across_accounts() as session:
        assert await sweeps.next_due_in(session) is None
    account_id = await engine.account()
    first = await engine.enqueue(account_id, run_at=datetime.now(UTC) + timedelta(seconds=40))
    await engine.enqueue(account_id, run_at=datetime.now(UTC) + HOUR)
    async with engine.database.system_across_accounts() as session:
        assert 35 < (await sweeps.next_due_in(session) or 0) <= 40
    await engine.due(first)
    async with engine.database.system_across_accounts() as session:
        assert await sweeps.next_due_in(session) == 0


async def test_an_admission_whose_push_was_lost_costs_nothing(engine: Engine) -> None:
    job = await engine.enqueue(await engine.account())
    await engine.capacity()
    (admitted,) = await engine.admit()
    assert await sweep(engine, take_back_lapsed) == []  # its lease is young
    await engine.lapse(job)

    (ready,) = await sweep(engine, take_back_lapsed)

    assert (ready.state, ready.fence, ready.attempt, ready.failures) == (JobState.READY, 1, 0, 0)
    assert await engine.claim(admitted) is None  # the push comes after all
    (again,) = await engine.admit()
    assert again.fence == 2
    assert await engine.claim(admitted) is None
    assert await engine.claim(again) is not None


async def test_silence_loses_the_attempt_and_costs_a_retry_until_none_is_left(engine: Engine) -> None:
    job = await engine.enqueue(await engine.account())
    await engine.sql("update job set max_retries = 3 where id = $1", job.id)
    for delay in (30.0, 60.0, 120.0, None):
        running = await engine.start(job)
        held = await engine.held(running)
        async with held.unit() as unit:
            await held.advance(unit, done=running.attempt, checkpoint={"page": running.attempt})
        await engine.lapse(job)
        asked = datetime.now(UTC)
        (swept,) = await sweep(engine, take_back_lapsed)

        attempt = (await engine.attempts(job))[-1]
        assert (attempt.outcome, attempt.next_delay, attempt.error_code) == (AttemptOutcome.LOST, delay, "BGJ-012")
        assert attempt.ended_at is not None
        assert swept.failures == attempt.number
        assert swept.checkpoint == {"page": attempt.number}
        if delay is None:
            assert swept.state is JobState.FAILED
            assert swept.error_message == sweeps.LOST_MESSAGE
            assert swept.finished_at is not None
        else:
            assert swept.state is JobState.BACKOFF
            assert abs((swept.run_at - asked).total_seconds() - delay) < 5
            assert await sweep(engine, sweeps.ready_due) == []
            await engine.due(job)
            assert [each.id for each in await sweep(engine, sweeps.ready_due)] == [job.id]
    assert [attempt.number for attempt in await engine.attempts(job)] == [1, 2, 3, 4]


async def test_a_cancellation_that_nobody_heeds_ends_with_the_lease(engine: Engine) -> None:
    running = await engine.start(await engine.enqueue(await engine.account()))
    async with engine.runtime.unit(actors.system(running.account_id)) as unit:
        await commands.cancel(unit, job_id=running.id)
    await engine.lapse(running)
    (swept,) = await sweep(engine, take_back_lapsed)
    assert swept.state is JobState.CANCELLED
    assert (await engine.attempts(running))[0].outcome is AttemptOutcome.LOST


async def test_nothing_is_taken_back_just_after_postgres_started(engine: Engine) -> None:
    running = await engine.start(await engine.enqueue(await engine.account()))
    await engine.lapse(running)
    (up,) = await engine.sql("select now() - pg_postmaster_start_time() as since")
    assert await sweep(engine, partial(take_back_lapsed, lease=up["since"] + HOUR)) == []
    assert [job.id for job in await sweep(engine, partial(take_back_lapsed, lease=up["since"]))] == [running.id]


@pytest.mark.parametrize("step", [sweeps.ready_due, take_back_lapsed])
async def test_sweeps_at_once_move_each_job_once(engine: Engine, step: Sweep) -> None:
    account_id = await engine.account()
    for _ in range(20):
        if step is sweeps.ready_due:
            await engine.due(await engine.enqueue(account_id, run_at=datetime.now(UTC) + HOUR))
        else:
            await engine.lapse(await engine.start(await engine.enqueue(await engine.account())))
    swept = await asyncio.gather(*(sweep(engine, step) for _ in range(4)))
    moved = [job.id for jobs in swept for job in jobs]
    assert len(moved) == len(set(moved)) == 20


async def test_a_row_that_somebody_holds_is_left_for_the_next_round(engine: Engine) -> None:
    running = await engine.start(await engine.enqueue(await engine.account()))
    await engine.lapse(running)
    async with engine.database.account(running.account_id) as session:
        done = Transition([running.id], frozenset({JobState.RUNNING}), JobState.SUCCEEDED, fence=running.fence)
        await transition(session, done)
        assert await sweep(engine, take_back_lapsed) == []
    assert await sweep(engine, take_back_lapsed) == []
    assert (await engine.job(running.id)).state is JobState.SUCCEEDED


async def test_old_history_goes_and_new_history_stays(engine: Engine) -> None:
    job = await engine.start(await engine.enqueue(await engine.account()))
    await engine.sql("update job_event set at = now() - interval '8 days' where job_id = $1 and version = 1", job.id)
    insert = "insert into idempotency_key (account_id, key, operation, input_hash, created_at) values ($1, $2, 'x', '', $3)"
    await engine.sql(insert, job.account_id, "old", datetime.now(UTC) - timedelta(days=3))
    await engine.sql(insert, job.account_id, "new", datetime.now(UTC))
    async with engine.database.system_across_accounts() as session:
        await sweeps.prune(session)
    assert [event.version for event in await engine.events(job)] == [2, 3]
    assert [row["key"] for row in await engine.sql("select key from idempotency_key")] == ["new"]


async def test_a_release_wakes_what_waited_for_it_and_leaves_the_rest(engine: Engine) -> None:
    account_id = await engine.account()
    ours, newer = await engine.enqueue(account_id), await engine.enqueue(account_id)
    waits = "update job set state = 'waiting', waiting_for = $2 where id = $1"
    await engine.sql(waits, ours.id, waits_for_release(ours.kind))
    await engine.sql(waits, newer.id, waits_for_release("test.newer"))
    assert [job.id for job in await sweep(engine, sweeps.wake_for_release)] == [ours.id]
    assert (await engine.job(ours.id)).waiting_for is None
    assert (await engine.job(newer.id)).state is JobState.WAITING


async def test_what_no_release_here_can_run_is_tried_less_and_less_often(engine: Engine) -> None:
    """A job that workers of a former release took after ours had started is not left to wait for the next start."""
    account_id = await engine.account()
    job = await engine.enqueue(account_id)
    await engine.start(job)
    begun = "update job set state = 'waiting', waiting_for = $2, started_at = now() - make_interval(mins => $3) where id = $1"
    ended = "update job_attempt set ended_at = now() - make_interval(mins => $2) where job_id = $1"
    for first, last, is_tried in ((10, 9, True), (10, 4, False), (10, 6, True), (9999, 59, False), (9999, 61, True)):
        await engine.sql(begun, job.id, waits_for_release(job.kind), first)
        await engine.sql(ended, job.id, last)
        assert len(await sweep(engine, sweeps.wake_for_release)) == is_tried
    await engine.sql(begun, job.id, waits_for_release(job.kind), 0)
    await engine.sql(ended, job.id, 0)
    assert await sweep(engine, partial(sweeps.wake_for_release, starting=True))


async def test_many_are_woken_batch_by_batch(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "BATCH", 2)
    monkeypatch.setattr(commands, "WAKES", 2)
    account_id = await engine.account()
    jobs = [await engine.enqueue(account_id) for _ in range(3)]
    waits = "update job set state = 'waiting', waiting_for = $2 where id = any($1)"
    ids = [job.id for job in jobs]
    for step, key in ((sweeps.wake_for_release, waits_for_release(jobs[0].kind)), (suspension.wake_resumed, SUSPENSION)):
        await engine.sql(waits, ids, key)
        assert [len(await sweep(engine, step)) for _ in range(3)] == [2, 1, 0]
    await engine.sql(waits, ids, "anything")
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        assert len(await commands.wake(unit, waiting_for="anything")) == 2
        unit.lanes_to_admit.clear()
