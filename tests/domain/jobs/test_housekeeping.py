"""The product's own jobs: customers cannot stop, hold up or move them; what people asked for is theirs all the same."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from db.models.jobs import Job, JobState
from db.models.queues import DependencyPolicy
from db.models.tenancy import ActorType, Role
from domain import actor as actors
from domain.actor import ROLE_SCOPES, Actor
from domain.errors import Forbidden
from domain.jobs import bulk, commands, dependencies, queue
from domain.jobs.bulk import BulkAction, ChangeJobs, Selection
from domain.jobs.priority import JobPriority
from domain.jobs.retention import Retain
from domain.unit import Unit
from jobs import handlers, runner
from tests.factories.engine import Engine


@pytest.fixture(autouse=True)
def _handlers() -> None:
    handlers.load()


Write = Callable[[Unit, UUID, UUID], Awaitable[object]]
WRITES: dict[str, Write] = {
    "pause": lambda unit, job_id, _: queue.pause(unit, job_id=job_id),
    "boost": lambda unit, job_id, _: queue.boost(unit, job_id=job_id),
    "priority": lambda unit, job_id, _: queue.set_priority(unit, job_id=job_id, level=JobPriority.LOW),
    "cancel": lambda unit, job_id, _: commands.cancel(unit, job_id=job_id),
    "retry": lambda unit, job_id, _: commands.retry(unit, job_id=job_id),
    "dependency": lambda unit, job_id, other: dependencies.add(
        unit, job_id=job_id, parent_id=other, policy=DependencyPolicy.ENDED
    ),
}


def owner(account_id: UUID) -> Actor:
    """The one who may do most."""
    return Actor(ActorType.USER, account_id, "Owner", ROLE_SCOPES[Role.OWNER], role=Role.OWNER)


async def as_it_was(engine: Engine, job: Job) -> bool:
    return (await engine.job(job.id)).version == job.version


@pytest.mark.parametrize("write", WRITES)
async def test_nobody_but_the_product_changes_its_own_jobs(engine: Engine, write: str) -> None:
    account_id = await engine.account()
    other, job = await engine.enqueue(account_id), await engine.enqueue(account_id, Retain())
    async with engine.runtime.unit(owner(account_id)) as unit:
        with pytest.raises(Forbidden):
            await WRITES[write](unit, job.id, other.id)
    assert await as_it_was(engine, job)


async def test_nor_together_with_many_others(engine: Engine) -> None:
    account_id = await engine.account()
    theirs, ours = await engine.enqueue(account_id), await engine.enqueue(account_id, Retain())
    async with engine.runtime.unit(owner(account_id)) as unit:
        both = Selection(ids=[theirs.id, ours.id])
        asked = await bulk.start(unit, BulkAction.CANCEL, selection=both, expected_count=None)
        unit.lanes_to_admit.clear()
    await engine.capacity(lane=ChangeJobs.lane)
    admitted = {job.id: job for job in await engine.admit(account_id, lane=ChangeJobs.lane)}
    claimed = await engine.claim(admitted[asked.id])
    assert claimed is not None
    await runner.run(engine.runtime, claimed, draining=asyncio.Event())
    assert (await engine.job(theirs.id)).state is JobState.CANCELLED
    assert await as_it_was(engine, ours)


async def test_the_product_may_and_so_may_people_with_what_they_asked_for(engine: Engine) -> None:
    account_id = await engine.account()
    ours, one = await engine.enqueue(account_id, Retain()), await engine.enqueue(account_id)
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        await commands.cancel(unit, job_id=ours.id)
    async with engine.runtime.unit(owner(account_id)) as unit:
        asked = await bulk.start(unit, BulkAction.PAUSE, selection=Selection(ids=[one.id]), expected_count=None)
        await commands.cancel(unit, job_id=asked.id)
        unit.lanes_to_admit.clear()
    assert {(await engine.job(job.id)).state for job in (ours, asked)} == {JobState.CANCELLED}


async def test_one_that_was_paused_before_this_was_so_can_be_let_go_on(engine: Engine) -> None:
    account_id = await engine.account()
    job = await engine.enqueue(account_id, Retain())
    await engine.sql("update job set paused_at = now() where id = $1", job.id)
    async with engine.runtime.unit(owner(account_id)) as unit:
        assert (await queue.resume(unit, job_id=job.id)).job.paused_at is None
        unit.lanes_to_admit.clear()
