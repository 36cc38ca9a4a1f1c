"""PostgreSQL that is killed and started again in the middle of a sync: one of these tests' own, not the one all tests share."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from db import migrate
from db.embedded.postgres import EmbeddedPostgres
from db.models.jobs import AttemptOutcome, JobState
from tests.faults.conftest import Disturbed


@pytest.fixture(scope="module")
async def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    async with EmbeddedPostgres(tmp_path_factory.mktemp("own") / "postgres", durable=False) as server:
        await asyncio.to_thread(migrate.upgrade, server.url)
        yield server


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

    # A lease that lapsed while nobody could prolong it is no reason to take the job away.
    await disturbed.sql("update job set run_at = now() where id = $1", job_id)
    stall = disturbed.obstruct("latency", page=1, ms=1500)
    await disturbed.reached(stall, job_id, page=8)
    await disturbed.sql("update job set lease_until = now() - interval '1 s' where id = $1", job_id)
    await disturbed.house.sweep()
    job = await disturbed.until(job_id, JobState.SUCCEEDED)

    outcomes = [attempt.outcome for attempt in await disturbed.attempts(job_id)]
    assert outcomes == [AttemptOutcome.FAILED, AttemptOutcome.SUCCEEDED]
    assert (job.attempt, job.fence) == (2, 2)
    assert await disturbed.versions(job_id) == list(range(1, job.version + 1))
    assert await disturbed.done_never_went_back(job_id)
    assert worker.process.returncode is None
    assert clock.process.returncode is None
    assert await disturbed.outcome() == expected
