"""Which ready jobs may start: order, fairness, slots and idle capacity, by one dispatcher or by several at once."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from uuid import UUID

import pytest
from redis import Redis
from redis.exceptions import RedisError

from db.models.jobs import Job, JobState, Lane
from domain.jobs import admission
from domain.jobs.args import JobArgs
from domain.jobs.carrier import Carrier, queue_name
from tests.factories.engine import WORKER, Bulky, Engine, Scripted

COPY = """
insert into job (id, account_id, kind, lane, title, args, state, priority, fence, attempt, failures, max_retries,
  timeout_seconds, version, done, origin_type, origin_name, request_id)
select gen_random_uuid(), account_id, kind, lane, title, args, state, priority, fence, attempt, failures, max_retries,
  timeout_seconds, version, done, origin_type, origin_name, request_id
from job, generate_series(2, $2) where id = $1
"""


async def enqueue_many(engine: Engine, account_id: UUID, number: int, args: JobArgs | None = None) -> None:
    """Many jobs without the cost of a unit for each."""
    job = await engine.enqueue(account_id, args)
    await engine.sql(COPY, job.id, number)


async def end(engine: Engine, *jobs: Job) -> None:
    ended = "update job set state = 'succeeded', lease_until = null where id = any($1::uuid[])"
    await engine.sql(ended, [job.id for job in jobs])


async def test_priority_comes_first_and_then_the_order_of_asking(engine: Engine) -> None:
    account_id = await engine.account(slots=2)
    jobs = [await engine.enqueue(account_id, priority=priority) for priority in (0, 5, 0, 5, -1)]
    await engine.capacity()
    order: list[Job] = []
    while admitted := await engine.admit():
        assert len(admitted) <= 2
        order += admitted
        await end(engine, *admitted)
    assert [job.id for job in order] == [jobs[number].id for number in (1, 3, 0, 2, 4)]


async def test_what_is_paused_is_passed_over_and_keeps_its_place(engine: Engine) -> None:
    account_id = await engine.account(slots=1)
    first, second, third = [await engine.enqueue(account_id) for _ in range(3)]
    await engine.capacity()
    await engine.sql("update job set paused_at = now() where id = $1", first.id)
    assert [job.id for job in await engine.admit()] == [second.id]
    await engine.sql("update job set paused_at = null where id = $1", first.id)
    await end(engine, second)
    assert [job.id for job in await engine.admit()] == [first.id]
    await end(engine, first)
    assert [job.id for job in await engine.admit()] == [third.id]


async def test_one_job_is_not_starved_by_a_thousand(engine: Engine) -> None:
    crowd, single = await engine.account(), await engine.account()
    await enqueue_many(engine, crowd, 1000)
    await engine.capacity(4)
    first = await engine.admit()
    assert {job.account_id for job in first} == {crowd}
    job = await engine.enqueue(single)
    await end(engine, first[0])  # room for one, and 996 have waited longer than the newcomer
    assert [each.id for each in await engine.admit()] == [job.id]


async def test_accounts_take_turns_however_long_their_queues_are(engine: Engine) -> None:
    accounts = [await engine.account() for _ in range(3)]
    for account_id, number in zip(accounts, (30, 9, 3), strict=True):
        await enqueue_many(engine, account_id, number)
    await engine.capacity(3)
    for _ in range(3):
        admitted = await engine.admit()
        assert Counter(job.account_id for job in admitted) == dict.fromkeys(accounts, 1)
        await end(engine, *admitted)


async def test_with_room_for_one_whoever_was_served_longest_ago_is_next(engine: Engine) -> None:
    accounts = [await engine.account() for _ in range(3)]
    for account_id in accounts:
        await enqueue_many(engine, account_id, 5)
    await engine.capacity(1)
    served: list[UUID] = []
    for _ in range(9):
        (job,) = await engine.admit()
        served.append(job.account_id)
        await end(engine, job)
    assert all(set(served[turn : turn + 3]) == set(accounts) for turn in (0, 3, 6))


async def test_accounts_without_a_free_slot_do_not_stand_in_the_way(engine: Engine) -> None:
    full = [await engine.account(slots=1) for _ in range(3)]
    await engine.capacity()
    for account_id in full:
        await engine.enqueue(account_id)
        await engine.admit(account_id)
        await engine.enqueue(account_id)
    job = await engine.enqueue(await engine.account())
    assert [each.id for each in await engine.admit(limit=3)] == [job.id]


async def test_slots_are_shared_by_all_lanes(engine: Engine) -> None:
    account_id = await engine.account(slots=3)
    for _ in range(2):
        await engine.enqueue(account_id)
        await engine.enqueue(account_id, Bulky())
    await engine.capacity()
    await engine.capacity(lane=Lane.BULK, name="another")
    assert len(await engine.admit()) == 2
    assert len(await engine.admit(lane=Lane.BULK)) == 1
    assert await engine.admit(lane=Lane.BULK) == []


async def test_without_slots_nothing_starts(engine: Engine) -> None:
    account_id = await engine.account(slots=0)
    await engine.enqueue(account_id)
    await engine.capacity()
    assert await engine.admit() == []
    assert await engine.admit(account_id) == []


async def test_nothing_is_admitted_that_nobody_could_run(engine: Engine) -> None:
    account_id = await engine.account()
    await enqueue_many(engine, account_id, 9)
    assert await engine.admit() == []
    await engine.capacity(9, lane=Lane.BULK)
    assert await engine.admit() == []
    await engine.capacity(2, name="one")
    await engine.capacity(1, name="two")
    running = await engine.admit()
    assert len(running) == 3
    assert await engine.admit() == []
    await end(engine, running[0])
    assert len(await engine.admit()) == 1
    await engine.sql("update worker set seen_at = now() - interval '31 s' where name = 'two'")
    await end(engine, running[1])
    assert await engine.admit() == []


async def test_admission_for_one_account_leaves_the_others_alone(engine: Engine) -> None:
    mine, theirs = await engine.account(), await engine.account()
    for account_id in (mine, theirs):
        await engine.enqueue(account_id)
    await engine.capacity()
    assert {job.account_id for job in await engine.admit(mine)} == {mine}


async def test_what_is_admitted_is_pushed_with_its_fence(engine: Engine) -> None:
    await engine.enqueue(await engine.account())
    await engine.capacity()
    (job,) = await engine.admit()
    assert (job.state, job.fence, job.attempt) == (JobState.ADMITTED, 1, 0)
    assert job.lease_until is not None
    with Redis.from_url(engine.settings.redis_url) as redis:
        assert redis.lrange(f"rq:queue:{queue_name(Lane.INTERACTIVE)}", 0, -1) == [f"{job.id}-1".encode()]


async def test_a_push_that_comes_twice_loses_the_claim(engine: Engine) -> None:
    await engine.enqueue(await engine.account())
    await engine.capacity()
    (job,) = await engine.admit()
    assert await engine.claim(job) is not None
    assert await engine.claim(job) is None
    assert await engine.claim(job, name="another") is None
    assert await engine.claim(job, fence=2) is None
    assert (await engine.job(job.id)).worker == WORKER
    assert len(await engine.attempts(job)) == 1


async def test_while_redis_is_away_nothing_is_admitted(engine: Engine) -> None:
    job = await engine.enqueue(await engine.account())
    await engine.capacity()
    nowhere = Carrier("unix:///nowhere/valkey.sock")
    with pytest.raises(RedisError):
        await admission.admit(engine.database, nowhere, lane=Lane.INTERACTIVE)
    assert (await engine.job(job.id)).version == job.version
    assert [each.id for each in await engine.admit()] == [job.id]  # once it is back, and not a lease later


@pytest.mark.parametrize("dispatchers", [2, 4])
async def test_dispatchers_at_once_never_exceed_the_slots(engine: Engine, dispatchers: int) -> None:
    """They work for different lanes, and more urgent jobs come meanwhile, so that they do not all pick the same."""
    slots = {await engine.account(slots=number): number for number in (1, 2, 3)}
    lanes = (Lane.INTERACTIVE, Lane.BULK)
    for account_id in slots:
        for args in (Scripted(), Bulky()):
            await enqueue_many(engine, account_id, 40, args)
    for lane in lanes:
        await engine.capacity(1000, lane=lane, name=lane)
    for priority in range(1, 9):
        urgent = [engine.enqueue(account_id, priority=priority) for account_id in slots]
        rounds = [engine.admit(lane=lanes[number % 2]) for number in range(dispatchers)]
        inline = [engine.admit(account_id, lane=lane) for account_id in slots for lane in lanes]
        admitted = await asyncio.gather(*rounds, *inline)
        await asyncio.gather(*urgent)
        ids = [job.id for jobs in admitted for job in jobs]
        assert len(set(ids)) == len(ids)
        leased = await engine.sql("select id, account_id from job where state = 'admitted'")
        assert Counter(row["account_id"] for row in leased) == slots
        await engine.sql("update job set state = 'succeeded' where id = any($1::uuid[])", [row["id"] for row in leased])


async def bound(engine: Engine, account_id: UUID, kind: str, slots: int) -> None:
    """Let at most so many jobs of a kind run at once."""
    insert = "insert into job_setting (account_id, kind, slots, version) values ($1, $2, $3, 1)"
    await engine.sql(insert, account_id, kind, slots)


async def test_a_kind_takes_no_more_than_its_own_slots(engine: Engine) -> None:
    account_id = await engine.account(slots=5)
    await bound(engine, account_id, Scripted.kind, 2)
    await engine.capacity()
    await engine.capacity(lane=Lane.BULK, name="another")
    await enqueue_many(engine, account_id, 10)
    await enqueue_many(engine, account_id, 10, Bulky())
    first = await engine.admit()
    assert len(first) == 2
    assert len(await engine.admit(lane=Lane.BULK)) == 3
    await end(engine, first[0])
    assert len(await engine.admit()) == 1
    assert await engine.admit() == []


async def test_what_a_bounded_kind_leaves_goes_to_others_that_come_after_it(engine: Engine) -> None:
    account_id = await engine.account(slots=4)
    await bound(engine, account_id, Scripted.kind, 1)
    await engine.capacity()
    await enqueue_many(engine, account_id, 50)
    other = await engine.enqueue(account_id)
    await engine.sql("update job set kind = 'test.other', priority = -10 where id = $1", other.id)
    assert [job.kind for job in await engine.admit()] == [Scripted.kind, "test.other"]


async def test_accounts_whose_kinds_are_full_do_not_stand_in_the_way(engine: Engine) -> None:
    await engine.capacity()
    for _ in range(3):
        account_id = await engine.account(slots=10)
        await bound(engine, account_id, Scripted.kind, 1)
        await engine.enqueue(account_id)
        await engine.admit(account_id)
        await engine.enqueue(account_id)
    job = await engine.enqueue(await engine.account())
    assert [each.id for each in await engine.admit(limit=1)] == [job.id]


@pytest.mark.parametrize("dispatchers", [1, 2, 4])
async def test_dispatchers_at_once_never_exceed_the_slots_of_a_kind(engine: Engine, dispatchers: int) -> None:
    accounts = {await engine.account(slots=20): bounds for bounds in (1, 3)}
    for account_id, slots in accounts.items():
        await bound(engine, account_id, Scripted.kind, slots)
        await enqueue_many(engine, account_id, 40)
    await engine.capacity(1000)
    for priority in range(1, 7):
        urgent = [engine.enqueue(account_id, priority=priority) for account_id in accounts]
        inline = [engine.admit(account_id) for account_id in accounts]
        await asyncio.gather(*(engine.admit() for _ in range(dispatchers)), *inline, *urgent)
        leased = await engine.sql("select id, account_id from job where state = 'admitted'")
        assert Counter(row["account_id"] for row in leased) == accounts
        await engine.sql("update job set state = 'succeeded' where id = any($1::uuid[])", [row["id"] for row in leased])


@dataclass(frozen=True)
class Control(JobArgs, kind="test.control", title="A change of jobs", lane=Lane.INTERACTIVE, takes_slot=False):
    """Takes no slot."""


async def test_what_takes_no_slot_starts_while_all_slots_are_taken(engine: Engine) -> None:
    account_id = await engine.account(slots=1)
    await engine.capacity()
    running = await engine.enqueue(account_id)
    await engine.admit()
    waiting = await engine.enqueue(account_id)
    control = await engine.enqueue(account_id, Control())
    assert [job.id for job in await engine.admit()] == [control.id]
    assert await engine.admit() == []
    await end(engine, running)  # and it does not keep others from a slot
    assert [job.id for job in await engine.admit()] == [waiting.id]


async def test_what_takes_no_slot_comes_first_and_paused_it_waits(engine: Engine) -> None:
    account_id = await engine.account()
    urgent = await engine.enqueue(account_id, priority=20)
    controls = [await engine.enqueue(account_id, Control()) for _ in range(2)]
    await engine.sql("update job set paused_at = now() where id = $1", controls[0].id)
    await engine.capacity(2)
    assert [job.id for job in await engine.admit()] == [controls[1].id, urgent.id]


async def test_an_account_cannot_take_all_workers_with_what_takes_no_slot(engine: Engine) -> None:
    crowd, single = await engine.account(), await engine.account()
    for _ in range(5):
        await engine.enqueue(crowd, Control())
    await engine.enqueue(single, Control())
    await engine.capacity()
    assert Counter(job.account_id for job in await engine.admit(crowd)) == {crowd: admission.SLOTLESS}
    admitted = await engine.admit()
    assert Counter(job.account_id for job in admitted) == {single: 1}
    assert await engine.admit() == []


@pytest.mark.parametrize("dispatchers", [2, 4])
async def test_dispatchers_at_once_admit_what_takes_no_slot_once(engine: Engine, dispatchers: int) -> None:
    accounts = [await engine.account(slots=1) for _ in range(4)]
    await engine.capacity(1000)
    for _ in range(5):
        for account_id in accounts:
            await engine.enqueue(account_id)
            await engine.enqueue(account_id, Control())
        rounds = await asyncio.gather(*(engine.admit() for _ in range(dispatchers)))
        ids = [job.id for jobs in rounds for job in jobs]
        assert len(set(ids)) == len(ids)
        leased = await engine.sql("select account_id, takes_slot from job where state = 'admitted'")
        assert Counter((row["account_id"], row["takes_slot"]) for row in leased) == {
            (account_id, takes): 1 for account_id in accounts for takes in (True, False)
        }
        await engine.sql("update job set state = 'succeeded' where state = 'admitted'")
