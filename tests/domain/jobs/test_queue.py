"""The order of the queue, and what changes it."""

import asyncio
from uuid import UUID

import pytest

from db.models.jobs import Job, JobState, Lane
from domain import actor as actors
from domain.jobs import queue
from domain.jobs.priority import JobPriority
from domain.jobs.queue import Changed, NotQueued
from domain.jobs.running import HandBack
from domain.paging import Page, Window
from domain.unit import Unit
from tests.factories.engine import Bulky, Engine
from tests.factories.statements import statements


async def ask(engine: Engine, account_id: UUID, change: str, job: Job, **given: object) -> Changed:
    """Without admitting anything."""
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        changed: Changed = await getattr(queue, change)(unit, job_id=job.id, **given)
        unit.lanes_to_admit.clear()
    return changed


async def line(engine: Engine, account_id: UUID, *, paused: bool = False) -> list[UUID]:
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        page = await queue.queue_page(unit, lane=None, kind=None, paused=paused, window=Window())
    return [job.id for job in page.rows]


async def places(engine: Engine, account_id: UUID, *jobs: Job) -> list[int | None]:
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        return await queue.positions(unit, [job.id for job in jobs])


async def test_the_first_that_is_boosted_stays_first(engine: Engine) -> None:
    account_id = await engine.account()
    a, b, c, d = [await engine.enqueue(account_id, priority=priority) for priority in (20, 0, 0, -10)]
    for job in (d, c):
        assert (await ask(engine, account_id, "boost", job)).notice is None
    assert await line(engine, account_id) == [d.id, c.id, a.id, b.id]
    before = await engine.job(c.id)
    for job in (d, c):  # a second click neither helps nor harms
        assert (await ask(engine, account_id, "boost", job)).notice is not None
    assert (await engine.job(c.id)).version == before.version
    assert await line(engine, account_id) == [d.id, c.id, a.id, b.id]
    await ask(engine, account_id, "set_priority", d, level=JobPriority.LOW)
    assert await line(engine, account_id) == [c.id, a.id, b.id, d.id]


async def test_each_change_has_its_version_and_event(engine: Engine) -> None:
    account_id = await engine.account()
    await engine.enqueue(account_id)
    job = await engine.enqueue(account_id)
    await ask(engine, account_id, "boost", job)
    await ask(engine, account_id, "pause", job)
    await ask(engine, account_id, "resume", job)
    assert (await engine.job(job.id)).version == 4
    assert [event.state for event in await engine.events(job)] == [JobState.READY] * 4


async def test_places_are_counted_per_lane_and_leave_the_paused_out(engine: Engine) -> None:
    account_id = await engine.account()
    jobs = [await engine.enqueue(account_id) for _ in range(4)]
    bulky = await engine.enqueue(account_id, Bulky())
    await ask(engine, account_id, "pause", jobs[1])
    await ask(engine, account_id, "set_priority", jobs[3], level=JobPriority.HIGH)
    assert await places(engine, account_id, *jobs, bulky) == [2, None, 3, 1, 1]
    assert await places(engine, account_id, jobs[0]) == [2]
    assert await line(engine, account_id, paused=True) == [jobs[1].id]


async def test_pages_of_the_queue_meet_each_job_once_in_both_directions(engine: Engine) -> None:
    account_id = await engine.account()
    jobs = [await engine.enqueue(account_id, priority=(0, 10, -10)[number % 3]) for number in range(9)]
    expected = [job.id for job in sorted(jobs, key=lambda job: (-job.priority, job.position))]
    forward: list[UUID] = []
    backward: list[UUID] = []
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        page = await page_of(unit, Window(first=2))
        while True:
            forward += [job.id for job in page.rows]
            if not page.has_next:
                break
            page = await page_of(unit, Window(first=2, after=queue.ORDER.key(page.rows[-1])))
        page = await page_of(unit, Window(last=2))
        while True:
            backward = [job.id for job in page.rows] + backward
            if not page.has_previous:
                break
            page = await page_of(unit, Window(last=2, before=queue.ORDER.key(page.rows[0])))
    assert forward == backward == expected


async def page_of(unit: Unit, window: Window) -> Page[Job]:
    return await queue.queue_page(unit, lane=Lane.INTERACTIVE, kind=None, paused=False, window=window)


async def test_a_running_job_that_is_paused_is_handed_back_and_stays_where_it_is(engine: Engine) -> None:
    account_id = await engine.account()
    running = await engine.start(await engine.enqueue(account_id))
    held = await engine.held(running)
    await ask(engine, account_id, "pause", running)
    with pytest.raises(HandBack):
        async with held.unit() as unit:
            await held.advance(unit, done=1, checkpoint={"page": 1})
    await engine.sql("update job set state = 'ready', lease_until = null where id = $1", running.id)
    assert await engine.admit() == []
    await ask(engine, account_id, "resume", running)
    (again,) = await engine.admit()
    assert again.checkpoint == {"page": 1}


async def test_a_job_on_its_way_to_a_worker_is_stopped_by_a_pause(engine: Engine) -> None:
    account_id = await engine.account()
    await engine.enqueue(account_id)
    await engine.capacity()
    (admitted,) = await engine.admit()
    paused = (await ask(engine, account_id, "pause", admitted)).job
    assert (paused.state, paused.lease_until) == (JobState.READY, None)
    assert await engine.claim(admitted) is None
    assert await engine.admit() == []


async def test_a_pause_at_the_moment_of_admission_wins_or_loses_but_never_half(engine: Engine) -> None:
    account_id = await engine.account(slots=1000)
    await engine.capacity(1000)
    for _ in range(10):
        jobs = [await engine.enqueue(account_id) for _ in range(5)]
        await asyncio.gather(engine.admit(), *(ask(engine, account_id, "pause", job) for job in jobs))
        rows = await engine.sql("select state from job where paused_at is not null and state <> 'ready'")
        assert rows == []
        await engine.sql("delete from job")


@pytest.mark.parametrize("state", ["running", "cancelling", "succeeded", "failed", "cancelled", "skipped", "partial"])
async def test_what_is_no_longer_queued_cannot_be_reordered(engine: Engine, state: str) -> None:
    account_id = await engine.account()
    job = await engine.enqueue(account_id)
    await engine.sql("update job set state = $2 where id = $1", job.id, state)
    with pytest.raises(NotQueued):
        await ask(engine, account_id, "boost", job)
    with pytest.raises(NotQueued):
        await ask(engine, account_id, "set_priority", job, level=JobPriority.URGENT)
    if state != "running":
        with pytest.raises(NotQueued):
            await ask(engine, account_id, "pause", job)


async def test_places_take_one_statement_for_any_number_of_jobs(engine: Engine) -> None:
    account_id = await engine.account()
    jobs = [await engine.enqueue(account_id) for _ in range(6)]
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        with statements() as seen:
            await queue.positions(unit, [job.id for job in jobs])
    assert len(seen) == 1
