"""One change for many jobs, batch by batch, and again after it was interrupted."""

import asyncio
from uuid import UUID

import orjson
import pytest

from db.models.jobs import Job, JobState, Lane
from domain import actor as actors
from domain.errors import Invalid
from domain.jobs import bulk
from domain.jobs.bulk import Batch, BulkAction, ChangeJobs, Selection
from domain.jobs.queries import JobFilter
from jobs import runner
from jobs.bulk import CHANGES
from tests.factories.engine import Engine

READY = JobFilter(states=frozenset({JobState.READY}))


async def start(engine: Engine, account_id: UUID, action: BulkAction, wanted: JobFilter, count: int) -> Job:
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        job = await bulk.start(unit, action, selection=Selection(wanted=wanted), expected_count=count)
        unit.lanes_to_admit.clear()
    return job


async def batch(engine: Engine, job: Job, after: UUID | None) -> Batch:
    args = ChangeJobs.from_json(job.args)
    change, _ = CHANGES[BulkAction(args.action)]
    async with engine.runtime.unit(actors.system(job.account_id)) as unit:
        done = await bulk.change_batch(unit, change, job_id=job.id, args=args, after=after)
        unit.lanes_to_admit.clear()
    return done


async def test_batches_meet_each_job_once_and_never_the_job_itself(engine: Engine) -> None:
    account_id = await engine.account()
    jobs = [await engine.enqueue(account_id) for _ in range(120)]
    job = await start(engine, account_id, BulkAction.PAUSE, READY, 120)
    later = await engine.enqueue(account_id)
    met, after = [], None
    while (done := await batch(engine, job, after)).last is not None:
        met.append((done.matched, done.changed))
        after = done.last
    assert met == [(50, 50), (50, 50), (20, 20)]
    paused = {row["id"] for row in await engine.sql("select id from job where paused_at is not null")}
    assert paused == {each.id for each in jobs}
    assert later.id not in paused


async def test_an_interrupted_change_goes_on_after_its_last_batch(engine: Engine) -> None:
    account_id = await engine.account()
    for _ in range(120):
        await engine.enqueue(account_id)
    job = await start(engine, account_id, BulkAction.PAUSE, READY, 120)
    first = await batch(engine, job, None)
    kept = {"after": str(first.last), "matched": first.matched, "changed": first.changed}
    await engine.sql("update job set checkpoint = $2::jsonb where id = $1", job.id, orjson.dumps(kept).decode())
    await engine.capacity(lane=Lane.BULK)
    (admitted,) = await engine.admit(lane=Lane.BULK)
    claimed = await engine.claim(admitted)
    assert claimed is not None
    await runner.run(engine.runtime, claimed, draining=asyncio.Event())
    ended = await engine.job(job.id)
    assert (ended.state, ended.result) == (JobState.SUCCEEDED, {"matched": 120, "changed": 120, "unchanged": 0})
    assert (ended.title, ended.message) == ("Pause 120 jobs", "Paused 120 of 120 jobs")
    versions = await engine.sql("select distinct version from job where paused_at is not null")
    assert [row["version"] for row in versions] == [2]  # each was changed once


async def test_a_batch_that_is_done_again_changes_nothing(engine: Engine) -> None:
    account_id = await engine.account()
    for _ in range(5):
        await engine.enqueue(account_id)
    job = await start(engine, account_id, BulkAction.PAUSE, READY, 5)
    assert (await batch(engine, job, None)).changed == 5
    assert (await batch(engine, job, None)).changed == 0


async def test_one_that_cannot_be_changed_does_not_keep_the_others(engine: Engine) -> None:
    """Two jobs with one dedupe key: only one of them may live."""
    account_id = await engine.account()
    twins = []
    for _ in range(2):
        twins.append(await engine.enqueue(account_id, dedupe_key="same"))
        await engine.sql("update job set state = 'failed' where id = $1", twins[-1].id)
    single = await engine.enqueue(account_id)
    await engine.sql("update job set state = 'failed' where id = $1", single.id)
    failed = JobFilter(states=frozenset({JobState.FAILED}))
    job = await start(engine, account_id, BulkAction.RETRY, failed, 3)
    done = await batch(engine, job, None)
    assert (done.matched, done.changed) == (3, 2)
    states = sorted([(await engine.job(each.id)).state for each in (*twins, single)])
    assert states == [JobState.FAILED, JobState.READY, JobState.READY]


async def test_somebody_sees_and_changes_only_what_they_may(engine: Engine) -> None:
    account_id = await engine.account()
    job = await start(engine, account_id, BulkAction.CANCEL, READY, 0)
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        actor = await bulk.requester(unit, job_id=job.id, args=ChangeJobs("cancel", [], "", 0, ["jobs:read", "gone:long"]))
    assert [scope.value for scope in actor.scopes] == ["jobs:read"]


@pytest.mark.parametrize("ids", [[], None])
def test_a_selection_is_ids_or_a_filter(ids: list[UUID] | None) -> None:
    with pytest.raises(Invalid):
        Selection(ids=ids)
    with pytest.raises(Invalid):
        Selection(ids=[UUID(int=1)], wanted=JobFilter())
