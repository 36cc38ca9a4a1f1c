"""Jobs that follow others: none before its parents allow it, whatever happens at the same time."""

import asyncio
from uuid import UUID

import pytest

from db.base import new_id
from db.models.jobs import TERMINAL, Job, JobState
from db.models.queues import DependencyPolicy
from domain import actor as actors
from domain.errors import NotFound
from domain.jobs import commands, dependencies
from domain.jobs.dependencies import AlreadyStarted, DependencyCycle, ParentEnded
from domain.jobs.lifecycle import Transition, transition
from tests.factories.engine import Engine, Scripted

SUCCEEDED, ENDED = DependencyPolicy.SUCCEEDED, DependencyPolicy.ENDED
S = JobState


async def end(engine: Engine, job: Job, to: JobState = S.SUCCEEDED, *, react: bool = True) -> None:
    """Run a job to an end."""
    await engine.capacity()
    await engine.admit(job.account_id)
    running = await engine.claim(await engine.job(job.id))
    assert running is not None
    async with engine.database.account(job.account_id) as session:
        assert await transition(session, Transition([running.id], frozenset({S.RUNNING}), to))
    if react:
        await engine.runtime.react()


async def states(engine: Engine, *jobs: Job) -> list[JobState]:
    return [(await engine.job(job.id)).state for job in jobs]


async def add(engine: Engine, job: Job, parent: Job | UUID, policy: DependencyPolicy = SUCCEEDED) -> Job:
    parent_id = parent if isinstance(parent, UUID) else parent.id
    async with engine.runtime.unit(actors.system(job.account_id)) as unit:
        return await dependencies.add(unit, job_id=job.id, parent_id=parent_id, policy=policy)


async def test_a_child_starts_when_the_last_parent_has_ended(engine: Engine) -> None:
    account_id = await engine.account()
    first, second = await engine.enqueue(account_id), await engine.enqueue(account_id)
    child = await engine.enqueue(account_id, after=[(first.id, SUCCEEDED), (second.id, ENDED)])
    assert child.state is S.BLOCKED
    await end(engine, first)
    assert await states(engine, child) == [S.BLOCKED]
    await end(engine, second, S.FAILED)
    assert (await states(engine, child))[0] in {S.READY, S.ADMITTED}
    assert [event.state for event in await engine.events(child)][:2] == [S.BLOCKED, S.READY]


@pytest.mark.parametrize("to", sorted(TERMINAL - {S.SUCCEEDED, S.SKIPPED}))
async def test_what_needs_success_is_skipped_with_all_that_follows_it(engine: Engine, to: JobState) -> None:
    account_id = await engine.account()
    parent = await engine.enqueue(account_id)
    child = await engine.enqueue(account_id, after=[(parent.id, SUCCEEDED)])
    grandchild = await engine.enqueue(account_id, after=[(child.id, SUCCEEDED)])
    heir = await engine.enqueue(account_id, after=[(child.id, ENDED)])
    if to is S.CANCELLED:
        async with engine.runtime.unit(actors.system(account_id)) as unit:
            await commands.cancel(unit, job_id=parent.id)
    else:
        await end(engine, parent, to)
    found = await states(engine, child, grandchild, heir)
    assert found[:2] == [S.SKIPPED, S.SKIPPED]
    assert found[2] in {S.READY, S.ADMITTED}
    assert (await engine.job(child.id)).message == dependencies.SKIPPED_MESSAGE


async def test_a_child_that_is_asked_for_too_late_knows_at_once(engine: Engine) -> None:
    account_id = await engine.account()
    good, bad = await engine.enqueue(account_id), await engine.enqueue(account_id)
    await end(engine, good)
    await end(engine, bad, S.FAILED)
    ready = await engine.enqueue(account_id, after=[(good.id, SUCCEEDED), (bad.id, ENDED)])
    skipped = await engine.enqueue(account_id, after=[(good.id, SUCCEEDED), (bad.id, SUCCEEDED)])
    assert [ready.state, skipped.state] == [S.READY, S.SKIPPED]


async def test_a_parent_that_ends_while_its_child_is_asked_for_is_never_overlooked(engine: Engine) -> None:
    account_id = await engine.account(slots=50)
    for _ in range(15):
        parent = await engine.enqueue(account_id)
        running = await engine.start(parent)

        async def finish(running: Job = running) -> None:
            async with engine.database.account(account_id) as session:
                await transition(session, Transition([running.id], frozenset({S.RUNNING}), S.SUCCEEDED))
            await engine.runtime.react()

        enqueued = [engine.enqueue(account_id, after=[(parent.id, SUCCEEDED)]) for _ in range(3)]
        children, _ = await asyncio.gather(asyncio.gather(*enqueued), finish())
        assert all(state in {S.READY, S.ADMITTED} for state in await states(engine, *children))
        await engine.sql("update job set state = 'succeeded', lease_until = null where state in ('ready', 'admitted')")


async def test_the_end_waits_for_the_child_that_is_being_asked_for(engine: Engine) -> None:
    """Without the lock on the parent, its reaction would not see the child, and the child would wait for ever."""
    account_id = await engine.account()
    parent = await engine.enqueue(account_id)
    running = await engine.start(parent)
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        child = (await commands.enqueue(unit, Scripted(), after=[(parent.id, SUCCEEDED)])).job

        async def finish() -> None:
            async with engine.database.account(account_id) as session:
                await transition(session, Transition([running.id], frozenset({S.RUNNING}), S.SUCCEEDED))

        ending = asyncio.create_task(finish())
        done, _ = await asyncio.wait([ending], timeout=0.2)
        assert not done
    await ending
    await engine.runtime.react()
    assert (await states(engine, child))[0] in {S.READY, S.ADMITTED}


async def test_the_sweep_repairs_what_no_reaction_released(engine: Engine) -> None:
    account_id = await engine.account()
    parent, gone = await engine.enqueue(account_id), await engine.enqueue(account_id)
    waits = await engine.enqueue(account_id, after=[(parent.id, SUCCEEDED)])
    orphan = await engine.enqueue(account_id, after=[(gone.id, SUCCEEDED)])
    await engine.sql("delete from job where id = $1", gone.id)
    async with engine.database.system_across_accounts() as session:
        assert [job.id for job in await dependencies.release_blocked(session)] == [orphan.id]
    await end(engine, parent, react=False)
    await engine.sql("delete from job_move")
    async with engine.database.system_across_accounts() as session:
        assert [job.id for job in await dependencies.release_blocked(session)] == [waits.id]


async def test_a_circle_is_refused_whoever_closes_it(engine: Engine) -> None:
    account_id = await engine.account()
    a, b, c = [await engine.enqueue(account_id) for _ in range(3)]
    await add(engine, b, a)
    await add(engine, c, b)
    for job, parent in ((a, c), (a, b), (a, a)):
        with pytest.raises(DependencyCycle):
            await add(engine, job, parent)
    assert await states(engine, a, b, c) == [S.READY, S.BLOCKED, S.BLOCKED]


async def test_two_halves_of_a_circle_at_once_do_not_close_it(engine: Engine) -> None:
    account_id = await engine.account()
    for _ in range(8):
        a, b = await engine.enqueue(account_id), await engine.enqueue(account_id)
        answers = await asyncio.gather(add(engine, a, b), add(engine, b, a), return_exceptions=True)
        assert sum(isinstance(answer, DependencyCycle) for answer in answers) == 1
        assert sorted(await states(engine, a, b)) == [S.BLOCKED, S.READY]


async def test_what_cannot_wait_or_be_waited_for(engine: Engine) -> None:
    account_id, stranger = await engine.account(), await engine.account()
    failed, running = await engine.enqueue(account_id), await engine.enqueue(account_id)
    await end(engine, failed, S.FAILED)
    assert await states(engine, running) == [S.ADMITTED]
    job, foreign = await engine.enqueue(account_id), await engine.enqueue(stranger)
    for parent in (foreign.id, new_id()):
        with pytest.raises(NotFound):
            await add(engine, job, parent)
        with pytest.raises(NotFound):
            await engine.enqueue(account_id, after=[(parent, ENDED)])
    with pytest.raises(ParentEnded):
        await add(engine, job, failed)
    with pytest.raises(AlreadyStarted):
        await add(engine, running, job)
    assert (await add(engine, job, failed, ENDED)).state in {S.READY, S.ADMITTED}


async def test_a_child_that_was_cancelled_and_is_retried_still_waits(engine: Engine) -> None:
    account_id = await engine.account()
    parent = await engine.enqueue(account_id)
    child = await engine.enqueue(account_id, after=[(parent.id, SUCCEEDED)])
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        await commands.cancel(unit, job_id=child.id)
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        assert (await commands.retry(unit, job_id=child.id)).state is S.BLOCKED
    await end(engine, parent)
    assert (await states(engine, child))[0] in {S.READY, S.ADMITTED}
