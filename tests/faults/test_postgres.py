"""PostgreSQL that is killed and started again in the middle of a sync: one of these tests' own, not the one all tests share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from db import migrate
from db.embedded.postgres import EmbeddedPostgres
from db.models.jobs import AttemptOutcome, JobState
from domain.runtime import open_runtime
from tests.factories.engine import Engine
from tests.factories.house import make_settings
from tests.faults.conftest import Disturbed
from tests.faults.kinds import Steps
from tests.faults.nursery import Nursery
from tests.faults.site import BOUND, LEASE, measured, open_site

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
async def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    async with EmbeddedPostgres(tmp_path_factory.mktemp("own") / "postgres", durable=False) as server:
        await asyncio.to_thread(migrate.upgrade, server.url)
        yield server


@asynccontextmanager
async def admin_of(server: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection."""
    admin = await asyncpg.connect(server.url.replace("bots@", "postgres@", 1))
    try:
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def open_engine(database_url: str, redis_url: str) -> AsyncIterator[Engine]:
    """An engine on that database."""
    settings = make_settings(database_url, redis_url, public_url=NOWHERE, sandbox_url=NOWHERE)
    async with open_runtime(settings, pool_size=3) as runtime:
        admin = await asyncpg.connect(database_url.replace("bots@", "postgres@", 1))
        try:
            yield Engine(runtime, admin)
        finally:
            await admin.close()


@pytest.fixture
def database_url(own_postgres: EmbeddedPostgres) -> str:
    """Instead of a database on the shared server."""
    return own_postgres.url


async def test_a_sync_outlives_postgres(disturbed: Disturbed, own_postgres: EmbeddedPostgres) -> None:
    expected = await disturbed.undisturbed()
    clock = await disturbed.programs.clock()
    worker = await disturbed.programs.worker()
    unnoticed = disturbed.obstruct("latency", page=4, ms=1500)
    noticed = disturbed.obstruct("latency", page=8, ms=100)
    job_id = await disturbed.start()

    # It is away while the worker waits for a page, and back when that is to be kept: nobody need notice.
    await disturbed.reached(unnoticed, job_id, page=4)
    await disturbed.disconnected()
    await own_postgres.kill()
    await own_postgres.start()
    await disturbed.reconnected()

    # It is away when the page is to be kept: the attempt fails, which is recorded as soon as it is back.
    await disturbed.hit(noticed)
    await disturbed.disconnected()
    await own_postgres.kill()
    await worker.until_it_says("job.release_failed")
    await own_postgres.start()
    await disturbed.reconnected()
    failed = await disturbed.until(job_id, JobState.BACKOFF)
    assert (failed.done, failed.failures) == (3500, 1)

    await disturbed.sql("update job set run_at = now() where id = $1", job_id)
    job = await disturbed.until(job_id, JobState.SUCCEEDED)

    outcomes = [attempt.outcome for attempt in await disturbed.attempts(job_id)]
    assert outcomes == [AttemptOutcome.FAILED, AttemptOutcome.SUCCEEDED]
    assert (job.attempt, job.fence) == (2, 2)
    assert await disturbed.versions(job_id) == list(range(1, job.version + 1))
    assert await disturbed.done_never_went_back(job_id)
    assert worker.process.returncode is None
    assert clock.process.returncode is None
    assert await disturbed.outcome() == expected


async def test_after_a_restart_nothing_is_taken_back_before_its_holder_could_speak(
    own_postgres: EmbeddedPostgres, redis_url: str, brood: Nursery, tmp_path: Path
) -> None:
    """A lease that nobody holds is taken back once PostgreSQL has been up for a lease, and one that is held never."""
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_engine(own_postgres.url, redis_url))
        site = await stack.enter_async_context(open_site(engine, brood, tmp_path))
        await site.programs.worker("interactive")
        for _ in range(2):
            await site.programs.clock()
        site.barriers.arm("step:3")
        running = await site.ask(Steps())
        at_work = await site.barriers.reached("step:3")
        site.barriers.disarm("step:3")
        site.barriers.arm("push:before")
        forgotten = await site.ask(Steps())
        dispatcher = await site.barriers.reached("push:before")
        site.barriers.disarm("push:before")
        await site.kill(dispatcher)
        lapses = (await engine.job(forgotten.id)).lease_until
        assert lapses is not None

        await engine.admin.close()
        await own_postgres.kill()
        # Back just when the lease of the one that nobody holds has lapsed.
        await asyncio.sleep(max(0.0, (lapses - datetime.now(UTC)).total_seconds() - LEASE / 2))
        await own_postgres.start()
        site = replace(site, engine=replace(site.engine, admin=await stack.enter_async_context(admin_of(own_postgres))))
        (started,) = await site.engine.sql("select pg_postmaster_start_time() as at")
        with measured("PostgreSQL, restarts", bound=BOUND):
            await site.until(forgotten, JobState.SUCCEEDED)
        back = next(event.at for event in await site.engine.events(forgotten) if event.version == 3)
        assert back - started["at"] >= timedelta(seconds=LEASE)  # not when it lapsed
        await at_work.go_on()
        ended = await site.until(running, JobState.SUCCEEDED)
        assert (ended.attempt, ended.failures, ended.fence) == (1, 0, 1)
        for job in (running, forgotten):
            await site.has_a_sound_history(job)
