"""What people and the product do to jobs from outside a worker."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from db.base import new_id
from db.models.jobs import AttemptOutcome, Job, JobState
from db.models.tenancy import ActorType, Role
from domain import actor as actors
from domain.actor import ROLE_SCOPES, Actor
from domain.errors import Conflict, DomainError, Forbidden, NotFound
from domain.jobs import commands
from domain.jobs.commands import NotCancellable, NotRetryable
from domain.jobs.leases import Held, release
from domain.jobs.lifecycle import AttemptEnd, Transition, transition
from tests.factories.engine import Engine, Scripted, eventually
from tests.factories.notices import Secret


async def cancel(engine: Engine, account_id: UUID, job_id: UUID) -> Job:
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        return (await commands.cancel(unit, job_id=job_id)).job


async def retry(engine: Engine, account_id: UUID, job_id: UUID) -> Job:
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        job = await commands.retry(unit, job_id=job_id)
        unit.lanes_to_admit.clear()
        return job


async def end(engine: Engine, job: Job, to: JobState, outcome: AttemptOutcome, *, delay: float | None = None) -> Job:
    """End the attempt of a running job."""
    async with engine.database.account(job.account_id) as session:
        done = AttemptEnd(outcome, next_delay=delay)
        moved = await release(session, held=Held(job.id, job.fence), to=to, end=done, values={"failures": job.failures + 1})
    assert moved is not None
    return moved


async def job_in(engine: Engine, account_id: UUID, state: JobState) -> Job:
    """A job that came to `state` as jobs do."""
    if state is JobState.SCHEDULED:
        return await engine.enqueue(account_id, run_at=datetime.now(UTC) + timedelta(hours=1))
    job = await engine.enqueue(account_id)
    if state is JobState.READY:
        return job
    if state in {JobState.BLOCKED, JobState.SKIPPED}:  # nothing makes these yet
        await engine.sql("update job set state = $2 where id = $1", job.id, state.value)
        return await engine.job(job.id)
    await engine.capacity()
    (job,) = await engine.admit(account_id)
    return job if state is JobState.ADMITTED else await begun_job_in(engine, job, state)


async def begun_job_in(engine: Engine, admitted: Job, state: JobState) -> Job:
    """The job after it has been claimed, in `state`."""
    claimed = await engine.claim(admitted)
    assert claimed is not None
    if state is JobState.RUNNING:
        return claimed
    if state is JobState.CANCELLING:
        return await cancel(engine, claimed.account_id, claimed.id)
    return await end(engine, claimed, state, AttemptOutcome.FAILED, delay=30 if state is JobState.BACKOFF else None)


async def test_enqueue_writes_who_asked_and_what_for(engine: Engine) -> None:
    account_id = await engine.account()
    actor = Actor(ActorType.USER, account_id, "Ada", frozenset(), id=new_id(), request_id="req-1")
    async with engine.runtime.unit(actor) as unit:
        job = (await commands.enqueue(unit, Scripted("x"), priority=3, title="Hers")).job
    job = await engine.job(job.id)
    assert (job.state, job.version, job.fence, job.attempt, job.failures) == (JobState.READY, 1, 0, 0, 0)
    assert (job.origin_type, job.origin_id, job.origin_name, job.request_id) == (ActorType.USER, actor.id, "Ada", "req-1")
    assert (job.args, job.priority, job.title, job.timeout_seconds, job.max_retries) == ({"script": "x"}, 3, "Hers", 3600, 5)
    assert [event.version for event in await engine.events(job)] == [1]


async def test_what_is_rolled_back_was_never_asked_for(engine: Engine) -> None:
    account_id = await engine.account()
    with suppress(ZeroDivisionError):
        async with engine.runtime.unit(actors.system(account_id)) as unit:
            await commands.enqueue(unit, Scripted())
            raise ZeroDivisionError
    assert await engine.sql("select 1 from job where account_id = $1", account_id) == []
    assert await engine.sql("select 1 from job_event where account_id = $1", account_id) == []


async def test_a_dedupe_key_is_for_one_live_job(engine: Engine) -> None:
    account_id, other = await engine.account(), await engine.account()
    first = await engine.enqueue(account_id, dedupe_key="sync")
    assert (await engine.enqueue(account_id, dedupe_key="sync")).id == first.id
    assert (await engine.enqueue(account_id, dedupe_key="another")).id != first.id
    assert (await engine.enqueue(other, dedupe_key="sync")).id != first.id
    await cancel(engine, account_id, first.id)
    assert (await engine.enqueue(account_id, dedupe_key="sync")).id != first.id
    assert len(await engine.events(first)) == 2


async def test_of_twins_that_come_at_once_one_is_made(engine: Engine) -> None:
    account_id = await engine.account()
    jobs = await asyncio.gather(*(engine.enqueue(account_id, dedupe_key="sync") for _ in range(6)))
    assert len({job.id for job in jobs}) == 1


@pytest.mark.parametrize("state", JobState)
async def test_cancel_in_each_state(engine: Engine, state: JobState) -> None:
    account_id = await engine.account()
    job = await job_in(engine, account_id, state)
    if state in {JobState.SUCCEEDED, JobState.PARTIAL, JobState.FAILED, JobState.SKIPPED}:
        with pytest.raises(NotCancellable, match="has ended already"):
            await cancel(engine, account_id, job.id)
        assert (await engine.job(job.id)).version == job.version
        return
    cancelled = await cancel(engine, account_id, job.id)
    if state in {JobState.RUNNING, JobState.CANCELLING}:
        assert cancelled.state is JobState.CANCELLING
        assert cancelled.worker == job.worker
        assert cancelled.lease_until is not None
        assert cancelled.finished_at is None
    else:
        assert cancelled.state is JobState.CANCELLED
        assert cancelled.lease_until is None
        assert cancelled.finished_at is not None
    again = await cancel(engine, account_id, job.id)
    assert (again.state, again.version) == (cancelled.state, cancelled.version)
    audits = await engine.sql("select 1 from audit_log where subject_id = $1 and action = 'job.cancel'", job.id)
    assert len(audits) == (0 if state is JobState.CANCELLED else 1)


async def test_what_was_cancelled_after_its_push_does_not_start(engine: Engine) -> None:
    account_id = await engine.account()
    admitted = await job_in(engine, account_id, JobState.ADMITTED)
    await cancel(engine, account_id, admitted.id)
    assert await engine.claim(admitted) is None
    assert await engine.attempts(admitted) == []


@pytest.mark.parametrize("to", [JobState.READY, JobState.BACKOFF, JobState.WAITING])
async def test_cancel_while_the_worker_gives_the_job_back(engine: Engine, to: JobState) -> None:
    account_id = await engine.account()
    running = await job_in(engine, account_id, JobState.RUNNING)
    async with engine.database.account(account_id) as session:
        await transition(session, Transition([running.id], frozenset({JobState.RUNNING}), to, fence=running.fence))
        cancelling = asyncio.create_task(cancel(engine, account_id, running.id))
        await eventually(lambda: engine.sql("select 1 from pg_locks where not granted"))
    assert (await cancelling).state is JobState.CANCELLED


@pytest.mark.parametrize("state", JobState)
async def test_retry_in_each_state(engine: Engine, state: JobState) -> None:
    account_id = await engine.account()
    job = await job_in(engine, account_id, state)
    if state not in {JobState.PARTIAL, JobState.FAILED, JobState.CANCELLED, JobState.BACKOFF, JobState.WAITING}:
        with pytest.raises(NotRetryable):
            await retry(engine, account_id, job.id)
        assert (await engine.job(job.id)).version == job.version
        return
    ready = await retry(engine, account_id, job.id)
    # One that has not ended keeps count of its retries.
    failures = 1 if state in {JobState.BACKOFF, JobState.WAITING} else 0
    assert (ready.state, ready.failures, ready.finished_at) == (JobState.READY, failures, None)
    assert ready.run_at <= datetime.now(UTC)
    assert ready.fence == job.fence
    assert ready.attempt == job.attempt
    audits = await engine.sql("select 1 from audit_log where subject_id = $1 and action = 'job.retry'", job.id)
    assert len(audits) == 1


async def test_a_retry_goes_on_from_the_checkpoint_with_all_retries_and_its_history(engine: Engine) -> None:
    account_id = await engine.account()
    running = await job_in(engine, account_id, JobState.RUNNING)
    held = await engine.held(running)
    async with held.unit() as unit:
        await held.advance(unit, done=40, total=100, checkpoint={"cursor": "page 4"})
    failed = await end(engine, await engine.job(running.id), JobState.FAILED, AttemptOutcome.FAILED)
    await retry(engine, account_id, failed.id)

    again = await engine.start(await engine.job(failed.id))
    assert (again.attempt, again.failures, again.done) == (2, 0, 40)
    assert (await engine.held(again)).checkpoint == {"cursor": "page 4"}
    assert again.deadline_at is not None
    assert running.deadline_at is not None
    assert again.deadline_at > running.deadline_at
    assert [attempt.outcome for attempt in await engine.attempts(again)] == [AttemptOutcome.FAILED, None]


async def test_a_retry_beside_a_live_twin_is_a_conflict(engine: Engine) -> None:
    account_id = await engine.account()
    old = await engine.enqueue(account_id, dedupe_key="sync")
    await cancel(engine, account_id, old.id)
    await engine.enqueue(account_id, dedupe_key="sync")
    with pytest.raises(Conflict, match="under way"):
        await retry(engine, account_id, old.id)
    assert (await engine.job(old.id)).state is JobState.CANCELLED


async def test_a_retried_job_waits_for_nothing_any_more(engine: Engine) -> None:
    account_id = await engine.account()
    waiting = await job_in(engine, account_id, JobState.WAITING)
    await engine.sql("update job set waiting_for = 'connection:1' where id = $1", waiting.id)
    assert (await retry(engine, account_id, waiting.id)).waiting_for is None


async def test_wake_starts_those_that_wait_for_it(engine: Engine) -> None:
    account_id = await engine.account()
    one, other = await job_in(engine, account_id, JobState.WAITING), await job_in(engine, account_id, JobState.WAITING)
    await engine.sql("update job set waiting_for = 'key' where id = $1", one.id)
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        woken = await commands.wake(unit, waiting_for="key")
        unit.lanes_to_admit.clear()
    assert [job.id for job in woken] == [one.id]
    assert (await engine.job(one.id)).state is JobState.READY
    assert (await engine.job(other.id)).state is JobState.WAITING


@pytest.mark.parametrize("command", [cancel, retry])
async def test_another_accounts_job_is_no_job(engine: Engine, command: object) -> None:
    mine, theirs = await engine.account(), await engine.account()
    job = await engine.enqueue(theirs)
    for job_id in (job.id, new_id()):
        with pytest.raises(NotFound):
            await (cancel if command is cancel else retry)(engine, mine, job_id)
    assert (await engine.job(job.id)).state is JobState.READY


async def test_who_may_only_look_changes_nothing(engine: Engine) -> None:
    account_id = await engine.account()
    job = await engine.enqueue(account_id)
    viewer = Actor(ActorType.USER, account_id, "Vi", ROLE_SCOPES[Role.VIEWER])
    for command in (commands.cancel, commands.retry):
        with pytest.raises(Forbidden):
            async with engine.runtime.unit(viewer) as unit:
                await command(unit, job_id=job.id)


def test_every_refusal_has_a_code() -> None:
    assert [error.code for error in (NotRetryable, NotCancellable)] == ["BGJ-020", "BGJ-021"]
    assert issubclass(NotRetryable, DomainError)


async def test_what_follows_from_a_command_is_cancelled_even_where_it_is_not_seen(engine: Engine) -> None:
    """Whoever may disconnect an agency ends its syncs, and need not be able to read contacts for that."""
    job = await engine.enqueue(await engine.account(), Secret())
    viewer = Actor(ActorType.USER, job.account_id, "V", ROLE_SCOPES[Role.VIEWER], id=new_id())
    async with engine.runtime.unit(viewer) as unit:
        assert (await commands.cancel_if_alive(unit, job_id=job.id)).state is JobState.CANCELLED
