"""A real worker: RQ's pop from the real Valkey, many jobs at once, draining, and servers that go away under it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rq import Queue
from rq.serializers import JSONSerializer

from db.embedded.valkey import EmbeddedValkey
from db.models.jobs import AttemptOutcome, JobState, Lane
from domain.jobs import leases
from domain.jobs.carrier import queue_name
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from jobs import worker as workers
from tests.factories.engine import Engine, Scripted, eventually, play

ScriptedJob = Running[Scripted]


async def tried_in_vain(redis: AsyncRedis, before: int) -> bool:
    """Whether somebody wrote twice since."""
    return await refused_writes(redis) >= before + 2


async def nobody_works(engine: Engine) -> bool:
    """Whether no worker is registered."""
    return not await engine.sql("select 1 from worker")


@dataclass
class Gate:
    """Where handlers of a test meet: how many have come, and when they may go on."""

    came: int = 0
    inside: int = 0
    most: int = 0
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        self.came, self.inside = self.came + 1, self.inside + 1
        self.most = max(self.most, self.inside)
        self._changed.set()
        try:
            await self.opened.wait()
            yield
        finally:
            self.inside -= 1
            self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def script(self) -> Scripted:
        """A job that waits here."""

        async def script(job: ScriptedJob, runtime: Runtime) -> Done:
            async with self.passing():
                return Done("Passed")

        return play(script)


@pytest.fixture
def gate() -> Gate:
    return Gate()


async def is_empty(engine: Engine) -> bool:
    """Whether the lane's queue is."""
    async with AsyncRedis.from_url(engine.settings.redis_url) as redis:
        return not await redis.exists(f"rq:queue:{queue_name(Lane.INTERACTIVE)}")


async def refused_writes(redis: AsyncRedis) -> int:
    """How often Valkey refused to write."""
    return int((await redis.info("errorstats")).get("errorstat_NOREPLICAS", {"count": 0})["count"])


async def test_a_job_starts_right_after_its_mutation(engine: Engine, gate: Gate) -> None:
    gate.opened.set()
    account_id = await engine.account()
    async with engine.worker():
        job = await engine.ask(account_id, gate.script())
        ended = await engine.until(job, JobState.SUCCEEDED)
    assert ended.attempt == 1
    assert gate.came == 1
    with Redis.from_url(engine.settings.redis_url) as redis:
        assert redis.keys(f"rq:job:{job.id}*") == []  # Redis keeps nothing of it


async def test_a_worker_takes_up_what_waited_for_it(engine: Engine, gate: Gate) -> None:
    gate.opened.set()
    job = await engine.ask(await engine.account(), gate.script())
    assert (await engine.job(job.id)).state is JobState.READY  # nobody was there to run it
    async with engine.worker():
        await engine.until(job, JobState.SUCCEEDED)


async def test_pushes_that_come_twice_run_once(engine: Engine, gate: Gate) -> None:
    await engine.capacity()
    job = await engine.enqueue(await engine.account(), gate.script())
    (admitted,) = await engine.admit()
    carried = [(job.id, admitted.fence)]
    for _ in range(3):
        await engine.runtime.carrier.push(Lane.INTERACTIVE, carried)
    async with engine.worker():
        await gate.until(lambda: gate.came == 1)
        await engine.runtime.carrier.push(Lane.INTERACTIVE, [*carried, (job.id, admitted.fence - 1), (job.id, 99)])
        await eventually(lambda: is_empty(engine))
        gate.opened.set()
        await engine.until(job, JobState.SUCCEEDED)
    assert gate.came == 1
    assert len(await engine.attempts(job)) == 1


async def test_many_jobs_at_once_but_no_more_than_it_can_carry(engine: Engine, gate: Gate) -> None:
    account_id = await engine.account(slots=50)
    jobs = [await engine.enqueue(account_id, gate.script()) for _ in range(12)]
    async with engine.worker(capacity=4):
        await gate.until(lambda: gate.inside == 4)
        states = await engine.sql("select state, count(*) from job group by state order by state")
        assert [tuple(row) for row in states] == [("ready", 8), ("running", 4)]
        gate.opened.set()
        for job in jobs:
            await engine.until(job, JobState.SUCCEEDED)
    assert gate.most == 4


async def test_another_lanes_jobs_are_left_alone(engine: Engine, gate: Gate) -> None:
    gate.opened.set()
    account_id = await engine.account()
    async with engine.worker(lane=Lane.BULK):
        job = await engine.ask(account_id, gate.script())
        await engine.admit()
        assert (await engine.job(job.id)).state is JobState.READY


async def test_what_is_no_job_of_ours_does_not_stop_the_worker(engine: Engine, gate: Gate) -> None:
    gate.opened.set()
    with Redis.from_url(engine.settings.redis_url) as redis:
        queue = Queue(queue_name(Lane.INTERACTIVE), connection=redis, serializer=JSONSerializer)
        queue.enqueue("os.getpid", args=("no id", "no fence"), job_id="stranger")
        redis.rpush(queue.key, "an-id-without-a-job")
        queue.enqueue("jobs.worker.run", job_id="without-arguments")
        foreign = Queue(queue.name, connection=redis)  # pickled
        foreign.enqueue("os.getpid", args=(object(),), job_id="pickled")
        for number in range(20):
            queue.enqueue("os.getpid", args=("no id", number), job_id=f"stranger-{number}")
    account_id = await engine.account()
    async with engine.worker():
        job = await engine.ask(account_id, gate.script())
        # Each of them would cost a second if the loop began anew after it.
        await engine.until(job, JobState.SUCCEEDED, within=10)
    with Redis.from_url(engine.settings.redis_url) as redis:
        assert not [key for key in redis.keys("rq:job:*") if b"strang" in key or key.endswith((b"pickled", b"arguments"))]


async def test_a_worker_that_starts_while_redis_is_away_waits_for_it(
    engine: Engine, valkey: EmbeddedValkey, gate: Gate
) -> None:
    gate.opened.set()
    account_id = await engine.account()
    await valkey.kill()
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(engine.worker())
            await eventually(lambda: engine.sql("select 1 from worker"))
            job = await engine.ask(account_id, gate.script())
            assert (await engine.job(job.id)).state is JobState.READY
        finally:
            await valkey.start()
        await engine.admit()
        await engine.until(job, JobState.SUCCEEDED, within=10)


async def test_a_drained_worker_hands_its_job_to_the_next(engine: Engine) -> None:
    at_work = asyncio.Event()

    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        while job.attempt == 1:
            async with job.unit() as unit:
                await job.advance(unit, done=1, checkpoint={"steps": 1})
            at_work.set()
            await asyncio.sleep(0)
        return Done("Done", {"from": job.checkpoint["steps"]})

    async with engine.worker():
        job = await engine.ask(await engine.account(), play(script))
        async with asyncio.timeout(20):
            await at_work.wait()
    handed_back = await engine.job(job.id)
    assert (handed_back.state, handed_back.failures) == (JobState.READY, 0)
    assert await engine.sql("select 1 from worker") == []
    async with engine.worker():
        ended = await engine.until(job, JobState.SUCCEEDED)
    assert (ended.result, ended.failures, ended.attempt) == ({"from": 1}, 0, 2)
    assert [each.outcome for each in await engine.attempts(job)] == [AttemptOutcome.HANDED_BACK, AttemptOutcome.SUCCEEDED]


async def test_a_draining_worker_takes_no_more_jobs(engine: Engine, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "BEATS_A_LEASE", 1500)  # heartbeats go on, for the jobs that run
    account_id = await engine.account()
    async with engine.worker() as worker:
        await engine.ask(account_id, gate.script())
        await gate.until(lambda: gate.came == 1)
        worker.drain()
        await eventually(lambda: nobody_works(engine))
        late = await engine.ask(account_id, gate.script())
        assert (await engine.job(late.id)).state is JobState.READY
        gate.opened.set()
    assert gate.came == 1


async def test_what_does_not_reach_a_checkpoint_in_time_is_handed_back_too(
    engine: Engine, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "GRACE", 0.05)
    async with engine.worker():
        job = await engine.ask(await engine.account(), gate.script())
        await gate.until(lambda: gate.came == 1)
    handed_back = await engine.job(job.id)
    assert (handed_back.state, handed_back.failures) == (JobState.READY, 0)
    assert (await engine.attempts(job))[0].outcome is AttemptOutcome.HANDED_BACK


async def test_a_job_that_was_taken_away_is_stopped(engine: Engine, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "BEATS_A_LEASE", 1500)
    async with engine.worker():
        job = await engine.ask(await engine.account(), gate.script())
        await gate.until(lambda: gate.came == 1)
        await engine.sql("update job set fence = fence + 1 where id = $1", job.id)
        await gate.until(lambda: gate.inside == 0)
    taken = await engine.job(job.id)
    assert (taken.state, taken.fence) == (JobState.RUNNING, 2)


async def test_heartbeats_keep_a_long_job(engine: Engine, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "BEATS_A_LEASE", 1500)
    async with engine.worker():
        job = await engine.ask(await engine.account(), gate.script())
        await gate.until(lambda: gate.came == 1)
        (before,) = await engine.sql("select lease_until from job")
        longer = "select 1 from job where lease_until > $1"
        await eventually(lambda: engine.sql(longer, before["lease_until"]))
        gate.opened.set()
        await engine.until(job, JobState.SUCCEEDED)


@pytest.mark.parametrize("empty", [True, False])
async def test_a_worker_outlives_its_redis(engine: Engine, valkey: EmbeddedValkey, gate: Gate, empty: bool) -> None:
    gate.opened.set()
    account_id = await engine.account()
    async with engine.worker():
        await engine.until(await engine.ask(account_id, gate.script()), JobState.SUCCEEDED)
        await valkey.restart(empty=empty)
        job = await engine.ask(account_id, gate.script())
        await engine.until(job, JobState.SUCCEEDED, within=10)
    assert gate.came == 2


async def test_a_worker_outlives_a_long_outage_of_redis(
    engine: Engine, valkey: EmbeddedValkey, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks again soon, however long Redis was away."""
    gate.opened.set()
    account_id = await engine.account()
    async with engine.worker():
        await engine.until(await engine.ask(account_id, gate.script()), JobState.SUCCEEDED)
        await valkey.kill()
        try:
            job = await engine.ask(account_id, gate.script())
            assert (await engine.job(job.id)).state is JobState.READY
        finally:
            await valkey.start()
        await engine.admit()
        await engine.until(job, JobState.SUCCEEDED, within=10)
    assert workers.Popper.max_connection_wait_time <= 2


async def test_what_a_worker_has_no_room_for_is_left_to_another(engine: Engine, gate: Gate) -> None:
    account_id = await engine.account()
    jobs = [await engine.enqueue(account_id, gate.script()) for _ in range(3)]
    await engine.capacity()
    await engine.admit()
    async with engine.worker(capacity=1):
        await gate.until(lambda: gate.came == 1)
        async with engine.worker(capacity=2):
            await gate.until(lambda: gate.inside == 3)
            holders = await engine.sql("select worker, count(*) from job group by worker")
            assert sorted(row["count"] for row in holders) == [1, 2]
            gate.opened.set()
            for job in jobs:
                await engine.until(job, JobState.SUCCEEDED)


async def test_the_registration_says_what_a_worker_can_carry(engine: Engine) -> None:
    async with engine.worker(capacity=7) as worker:
        rows = await eventually(lambda: engine.sql("select * from worker"))
        assert [(row["name"], row["lane"], row["capacity"]) for row in rows] == [(worker.name, "interactive", 7)]
        async with engine.database.system_across_accounts() as session:
            await leases.register(session, worker=worker.name, lane=Lane.INTERACTIVE, capacity=9)
        (row,) = await engine.sql("select * from worker")
        assert row["capacity"] == 9
    assert await engine.sql("select * from worker") == []


async def test_a_worker_outlives_a_redis_that_takes_no_writes(engine: Engine, gate: Gate) -> None:
    """As during a failover. RQ then leaves its loop, and refuses to start again under a name that is still registered."""
    gate.opened.set()
    account_id = await engine.account()
    async with AsyncRedis.from_url(engine.settings.redis_url) as redis, engine.worker():
        await engine.until(await engine.ask(account_id, gate.script()), JobState.SUCCEEDED)
        before = await refused_writes(redis)
        await redis.config_set("min-replicas-to-write", 1)
        try:
            await eventually(lambda: tried_in_vain(redis, before))
        finally:
            await redis.config_set("min-replicas-to-write", 0)
        await engine.until(await engine.ask(account_id, gate.script()), JobState.SUCCEEDED, within=10)
