"""One change for many jobs, batch by batch, and again after it was interrupted."""

import asyncio
from datetime import timedelta
from uuid import UUID

import orjson
import pytest

from db.models.jobs import Job, JobState
from domain import actor as actors
from domain.errors import Invalid
from domain.jobs import bulk, retention
from domain.jobs.args import waits_for_release
from domain.jobs.bulk import Batch, BulkAction, ChangeJobs, Selection
from domain.jobs.queries import JobFilter
from jobs import runner
from jobs.bulk import CHANGES
from tests.domain.jobs.test_admission import COPY
from tests.factories.engine import Engine

READY = JobFilter(states=frozenset({JobState.READY}))


async def start(engine: Engine, account_id: UUID, action: BulkAction, wanted: JobFilter, count: int) -> Job:
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        job = await bulk.start(unit, action, selection=Selection(wanted=wanted), expected_count=count)
        unit.lanes_to_admit.clear()
    return job


async def batch(engine: Engine, job: Job, after: UUID | None) -> Batch:
    change, _ = CHANGES[BulkAction(ChangeJobs.from_json(job.args).action)]
    async with engine.runtime.unit(actors.system(job.account_id)) as unit:
        done = await bulk.change_batch(unit, change, job_id=job.id, after=after)
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
    await engine.capacity()
    (admitted,) = await engine.admit(limit=1)
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
        actor = await bulk.requester(unit, job_id=job.id, args=ChangeJobs("cancel", 0, ["jobs:read", "gone:long"]))
    assert [scope.value for scope in actor.scopes] == ["jobs:read"]


@pytest.mark.parametrize("ids", [[], None])
def test_a_selection_is_ids_or_a_filter(ids: list[UUID] | None) -> None:
    with pytest.raises(Invalid):
        Selection(ids=ids)
    with pytest.raises(Invalid):
        Selection(ids=[UUID(int=1)], wanted=JobFilter())


async def test_just_the_jobs_that_were_counted_are_changed(engine: Engine) -> None:
    """One comes to fit the filter, and one ceases to, between the count and the change."""
    account_id = await engine.account()
    failed = [await engine.enqueue(account_id) for _ in range(2)]
    late = await engine.enqueue(account_id)
    await engine.sql("update job set state = 'failed' where id = any($1::uuid[])", [job.id for job in failed])
    job = await start(engine, account_id, BulkAction.RETRY, JobFilter(states=frozenset({JobState.FAILED})), 2)
    await engine.sql("update job set state = 'failed' where id = $1", late.id)
    await engine.sql("update job set state = 'running' where id = $1", failed[0].id)
    done = await batch(engine, job, None)
    assert (done.matched, done.changed) == (2, 1)
    states = [(await engine.job(each.id)).state for each in (*failed, late)]
    assert states == [JobState.RUNNING, JobState.READY, JobState.FAILED]


async def test_many_thousands_are_counted_and_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    account_id = await engine.account()
    one = await engine.enqueue(account_id)
    await engine.sql(COPY, one.id, 20_000)
    job = await start(engine, account_id, BulkAction.PAUSE, READY, 20_000)
    (kept,) = await engine.sql("select count(*) from job_target where job_id = $1", job.id)
    assert kept["count"] == 20_000
    monkeypatch.setattr(bulk, "MAX_JOBS", 19_999)
    with pytest.raises(Invalid, match="More than 19,999 jobs"):
        await start(engine, account_id, BulkAction.PAUSE, READY, 20_000)


async def test_what_was_to_be_changed_goes_with_the_arguments(engine: Engine) -> None:
    account_id = await engine.account()
    await engine.enqueue(account_id)
    job = await start(engine, account_id, BulkAction.PAUSE, READY, 1)
    await engine.sql("update job set state = 'succeeded', finished_at = now() - interval '2 days' where id = $1", job.id)
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        assert await retention.drop_payloads(unit, timedelta(days=1)) == 1
    assert await engine.sql("select 1 from job_target where job_id = $1", job.id) == []


async def test_a_change_of_a_newer_release_waits_for_it(engine: Engine) -> None:
    account_id = await engine.account()
    await engine.enqueue(account_id)
    job = await engine.enqueue(account_id, ChangeJobs(action="teleport", count=1, scopes=[]))
    await engine.capacity(lane=job.lane)
    admitted = {each.id: each for each in await engine.admit(account_id, lane=job.lane)}
    claimed = await engine.claim(admitted[job.id])
    assert claimed is not None
    await runner.run(engine.runtime, claimed, draining=asyncio.Event())
    waiting = await engine.job(job.id)
    assert (waiting.state, waiting.waiting_for) == (JobState.WAITING, waits_for_release(job.kind))
