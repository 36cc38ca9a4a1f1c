"""What subscriptions follow: a snapshot or a resumption, and then everything that happens, once."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from db.base import new_id
from db.models.jobs import Job, JobState
from db.models.tenancy import ActorType
from domain import actor as actors
from domain.actor import Actor
from domain.errors import Forbidden, NotFound
from domain.jobs import sweeps
from domain.jobs.feeds import SNAPSHOT_SIZE, JobFeed, JobsFeed, JobsUpdate, JobUpdate
from domain.jobs.lifecycle import Transition, transition
from domain.jobs.queries import JobFilter
from domain.jobs.updates import UpdateKind
from tests.factories.engine import Engine

RUNNING = JobFilter(states=frozenset({JobState.RUNNING}))


def feed_of(engine: Engine, job: Job) -> JobFeed:
    return JobFeed(engine.database, engine.runtime.events, actors.system(job.account_id), job.id)


def feed_for(engine: Engine, account_id: UUID, wanted: JobFilter | None = None) -> JobsFeed:
    return JobsFeed(engine.database, engine.runtime.events, actors.system(account_id), wanted or JobFilter())


async def follow(feed: Any, after: Any = None, *, looked: asyncio.Event | None = None) -> AsyncGenerator[Any, None]:
    """As a subscription does: listen, then read, then read again upon each hint, and set `looked`."""
    async with feed.listen() as hints:
        position, updates = await feed.start(after)
        for update in updates:
            yield update
        async for _ in hints:
            position, updates = await feed.since(position)
            if looked is not None:
                looked.set()
            for update in updates:
                yield update


async def until(updates: AsyncIterator[JobUpdate], version: int) -> list[JobUpdate]:
    """The updates up to the one with `version`."""
    seen: list[JobUpdate] = []
    async with asyncio.timeout(20):
        async for update in updates:
            seen.append(update)
            if update.position >= version:
                return seen
    raise AssertionError


async def step(engine: Engine, job: Job, number: int, total: int) -> None:
    """A change of a running job that everybody hears of."""
    held = await engine.held(job)
    async with held.unit() as unit:
        await held.advance(unit, done=number, total=total)


async def move(engine: Engine, job: Job) -> None:
    """A change that nobody is told of."""
    async with engine.database.account(job.account_id) as session:
        await transition(session, Transition([job.id], frozenset({JobState.READY}), JobState.CANCELLED))
        await transition(session, Transition([job.id], frozenset({JobState.CANCELLED}), JobState.READY))


async def test_a_snapshot_first_and_then_every_version(engine: Engine) -> None:
    job = await engine.start(await engine.enqueue(await engine.account()))
    async with aclosing(follow(feed_of(engine, job))) as updates:
        first = await anext(updates)
        assert (first.kind, first.position, first.event) == (UpdateKind.SNAPSHOT, 3, None)
        for number in range(5):
            await step(engine, job, number, 5)
        rest = await until(updates, 8)
    assert [update.event.version for update in rest if update.event] == [4, 5, 6, 7, 8]
    assert [update.event.done for update in rest if update.event] == [0, 1, 2, 3, 4]
    assert {update.kind for update in rest} == {UpdateKind.CHANGED}


async def test_whoever_comes_while_much_happens_misses_nothing_and_hears_nothing_twice(engine: Engine) -> None:
    job = await engine.start(await engine.enqueue(await engine.account()))
    last = job.version + 40

    async def listen(after: int | None) -> list[int]:
        async with aclosing(follow(feed_of(engine, job), after)) as updates:
            return [update.position for update in await until(updates, last)]

    listeners = []
    for number in range(40):
        if number % 4 == 0:
            listeners += [asyncio.create_task(listen(after)) for after in (None, 0, number // 2)]
        await step(engine, job, number, 40)
    for number, heard in enumerate(await asyncio.gather(*listeners)):
        assert heard == list(range(heard[0], last + 1))
        if number % 3 == 1:
            assert heard[0] == 1


async def test_resumption_after_any_version_is_exact(engine: Engine) -> None:
    job = await engine.start(await engine.enqueue(await engine.account()))
    for number in range(4):
        await step(engine, job, number, 4)
    feed = feed_of(engine, job)
    for after in range(8):
        position, updates = await feed.start(after)
        assert position == 7
        assert [update.position for update in updates] == list(range(after + 1, 8))


@pytest.mark.parametrize("after", [8, 99, -1, -7])
async def test_a_version_that_never_was_resyncs(engine: Engine, after: int) -> None:
    job = await engine.enqueue(await engine.account())
    _, (update,) = await feed_of(engine, job).start(after)
    assert (update.kind, update.position, update.event) == (UpdateKind.RESYNC, 1, None)


async def test_pruned_history_resyncs(engine: Engine) -> None:
    job = await engine.start(await engine.enqueue(await engine.account()))
    await engine.sql("update job_event set at = now() - interval '8 days' where job_id = $1 and version < 3", job.id)
    async with engine.database.system_across_accounts() as session:
        await sweeps.prune(session)
    feed = feed_of(engine, job)
    assert [update.kind for update in (await feed.start(1))[1]] == [UpdateKind.RESYNC]
    assert [update.kind for update in (await feed.start(2))[1]] == [UpdateKind.CHANGED]


async def test_another_accounts_job_cannot_be_followed(engine: Engine) -> None:
    job = await engine.enqueue(await engine.account())
    stranger = actors.system(await engine.account())
    for job_id in (job.id, new_id()):
        with pytest.raises(NotFound):
            await JobFeed(engine.database, engine.runtime.events, stranger, job_id).start(None)


async def test_who_may_not_read_jobs_follows_none(engine: Engine) -> None:
    job = await engine.enqueue(await engine.account())
    nobody = Actor(ActorType.API_KEY, job.account_id, "key", frozenset())
    with pytest.raises(Forbidden):
        await JobFeed(engine.database, engine.runtime.events, nobody, job.id).start(None)
    with pytest.raises(Forbidden):
        await JobsFeed(engine.database, engine.runtime.events, nobody, JobFilter()).start(None)


async def test_all_jobs_begin_with_the_newest_that_fit(engine: Engine) -> None:
    account_id = await engine.account()
    jobs = [await engine.enqueue(account_id) for _ in range(SNAPSHOT_SIZE + 3)]
    await engine.enqueue(await engine.account())
    _, (update,) = await feed_for(engine, account_id).start(None)
    assert update.kind is UpdateKind.SNAPSHOT
    assert [job.id for job in update.jobs] == [job.id for job in reversed(jobs[3:])]
    _, (none,) = await feed_for(engine, account_id, RUNNING).start(None)
    assert (none.kind, none.jobs) == (UpdateKind.SNAPSHOT, [])


async def test_jobs_come_onto_the_list_and_go_off_it(engine: Engine) -> None:
    account_id = await engine.account()
    job = await engine.enqueue(account_id)
    feed = feed_for(engine, account_id, RUNNING)
    position, _ = await feed.start(None)
    running = await engine.start(job)
    position, (update,) = await feed.since(position)
    assert ([each.id for each in update.jobs], update.gone) == ([job.id], [])
    async with engine.database.account(account_id) as session:
        done = Transition([job.id], frozenset({JobState.RUNNING}), JobState.SUCCEEDED, fence=running.fence)
        await transition(session, done)
    position, (update,) = await feed.since(position)
    assert (update.jobs, update.gone) == ([], [job.id])
    assert await feed.since(position) == (position, [])


async def test_what_changed_is_told_once_however_often(engine: Engine) -> None:
    account_id = await engine.account()
    one, other = await engine.enqueue(account_id), await engine.enqueue(account_id)
    feed = feed_for(engine, account_id)
    position, _ = await feed.start(None)
    for _ in range(3):
        await move(engine, one)
    await move(engine, other)
    position, (update,) = await feed.since(position)
    assert {(job.id, job.version) for job in update.jobs} == {(one.id, 7), (other.id, 3)}
    assert await feed.since(position) == (position, [])


async def test_an_older_transaction_holds_back_and_loses_nothing(engine: Engine) -> None:
    account_id = await engine.account()
    slow, fast = await engine.enqueue(account_id), await engine.enqueue(account_id)
    feed = feed_for(engine, account_id)
    position, _ = await feed.start(None)
    async with engine.database.account(account_id) as session:
        await transition(session, Transition([slow.id], frozenset({JobState.READY}), JobState.CANCELLED))
        await move(engine, fast)
        assert await feed.since(position) == (position, [])
    _, (update,) = await feed.since(position)
    assert {(job.id, job.version) for job in update.jobs} == {(slow.id, 2), (fast.id, 3)}


async def test_what_was_held_back_arrives_by_itself(engine: Engine) -> None:
    """The last hint came while the older transaction ran, and it ends without one."""
    account_id = await engine.account()
    job, looked = await engine.enqueue(account_id), asyncio.Event()
    async with aclosing(follow(feed_for(engine, account_id), looked=looked)) as updates:
        snapshot: JobsUpdate = await anext(updates)
        assert snapshot.kind is UpdateKind.SNAPSHOT
        async with engine.database.account(await engine.account()) as session:  # another account's will do
            await session.execute(sa.select(sa.func.pg_current_xact_id()))
            await move(engine, job)
            await engine.runtime.announce(job)
            waiting = asyncio.ensure_future(anext(updates))
            async with asyncio.timeout(20):
                await looked.wait()
            assert not waiting.done()
        async with asyncio.timeout(20):
            update: JobsUpdate = await waiting
    assert [(each.id, each.version) for each in update.jobs] == [(job.id, 3)]


async def test_transactions_that_commit_in_another_order_than_they_began_lose_nothing(engine: Engine) -> None:
    account_id = await engine.account()
    jobs = [await engine.enqueue(account_id) for _ in range(6)]
    feed = feed_for(engine, account_id)
    position, (snapshot,) = await feed.start(None)
    heard = {job.id: job.version for job in snapshot.jobs}
    begun, gates = asyncio.Barrier(len(jobs) + 1), [asyncio.Event() for _ in jobs]

    async def write(job: Job, gate: asyncio.Event) -> None:
        async with engine.database.account(account_id) as session:
            await transition(session, Transition([job.id], frozenset({JobState.READY}), JobState.CANCELLED))
            await begun.wait()
            await gate.wait()

    writers = [asyncio.create_task(write(job, gate)) for job, gate in zip(jobs, gates, strict=True)]
    await begun.wait()
    order = list(zip(gates, writers, strict=True))
    random.Random(7).shuffle(order)  # noqa: S311 -- any order other than that of the beginnings
    for gate, writer in order:
        gate.set()
        await writer
        position, updates = await feed.since(position)
        heard |= {job.id: job.version for update in updates for job in update.jobs}
    assert heard == {job.id: 2 for job in jobs}


async def test_a_cursor_resumes_exactly_there(engine: Engine) -> None:
    account_id = await engine.account()
    jobs = [await engine.enqueue(account_id) for _ in range(4)]
    feed = feed_for(engine, account_id)
    position, _ = await feed.start(None)
    cursors = [position]
    for job in jobs:
        await move(engine, job)
        cursors.append((await feed.since(cursors[-1]))[0])
    for number, cursor in enumerate(cursors):
        _, updates = await feed_for(engine, account_id).start(cursor)
        told = {job.id for update in updates for job in update.jobs}
        assert told == {job.id for job in jobs[number:]}
        assert all(update.kind is UpdateKind.CHANGED for update in updates)


async def test_a_cursor_into_pruned_history_resyncs(engine: Engine) -> None:
    account_id = await engine.account()
    job = await engine.enqueue(account_id)
    feed = feed_for(engine, account_id)
    cursor, _ = await feed.start(None)
    await move(engine, job)
    await engine.sql("update job_event set at = now() - interval '8 days'")
    await move(engine, job)
    async with engine.database.system_across_accounts() as session:
        await sweeps.prune(session)
    _, (update,) = await feed.start(cursor)
    assert update.kind is UpdateKind.RESYNC
    assert [(each.id, each.version) for each in update.jobs] == [(job.id, 5)]


async def test_feeds_are_shared_by_those_who_may_see_the_same(engine: Engine) -> None:
    account_id, job_id = await engine.account(), new_id()
    reader = Actor(ActorType.USER, account_id, "Ada", frozenset(actors.Scope))
    assert feed_for(engine, account_id).key == feed_for(engine, account_id).key
    assert feed_for(engine, account_id).key != feed_for(engine, account_id, RUNNING).key
    assert feed_for(engine, account_id).key != feed_for(engine, new_id()).key
    one = JobFeed(engine.database, engine.runtime.events, reader, job_id)
    other = JobFeed(engine.database, engine.runtime.events, actors.system(new_id()), job_id)
    assert one.key != other.key
