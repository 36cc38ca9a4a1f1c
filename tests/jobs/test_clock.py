"""The clock's round: what it moves is told, and starts at once where there is room."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from db.embedded.valkey import EmbeddedValkey
from db.models.jobs import Job, JobState
from domain.events import Change
from domain.jobs import retention, sweeps
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from domain.schedules import firing as schedules
from domain.unit import Unit
from jobs import clock, housekeeping
from tests.factories.engine import Engine, Scripted, eventually, play


async def succeed(job: Running[Scripted], runtime: Runtime) -> Done:
    return Done("Done")


async def test_what_is_due_is_admitted_in_the_same_round_and_told(engine: Engine) -> None:
    account_id = await engine.account()
    job = await engine.enqueue(account_id, run_at=datetime.now(UTC) + timedelta(hours=1))
    await engine.capacity()
    await clock.sweep(engine.runtime)
    assert (await engine.job(job.id)).state is JobState.SCHEDULED
    await engine.due(job)
    async with engine.runtime.events.listen(account_id, job.id) as mailbox:
        await clock.sweep(engine.runtime)
        async with asyncio.timeout(20):
            assert {change.id for change in (await mailbox.get()).changes} == {job.id}
    assert (await engine.job(job.id)).state is JobState.ADMITTED


async def test_clocks_at_once_admit_a_job_once(engine: Engine) -> None:
    account_id = await engine.account()
    jobs = [await engine.enqueue(account_id, run_at=datetime.now(UTC) + timedelta(hours=1)) for _ in range(5)]
    await engine.sql("update job set run_at = now() - interval '1 ms'")
    await engine.capacity()
    await asyncio.gather(*(clock.sweep(engine.runtime) for _ in range(3)))
    assert [(await engine.job(job.id)).fence for job in jobs] == [1] * 5


async def test_what_an_emptied_valkey_lost_is_pushed_again(engine: Engine, valkey: EmbeddedValkey) -> None:
    job = await engine.enqueue(await engine.account(), play(succeed))
    await engine.capacity()
    await engine.admit()
    await valkey.restart(empty=True)
    async with engine.worker():
        await clock.sweep(engine.runtime)
        assert (await engine.job(job.id)).state is JobState.ADMITTED  # its lease is young
        await engine.lapse(job)
        await clock.sweep(engine.impatient.runtime)
        ended = await engine.until(job, JobState.SUCCEEDED)
    assert (ended.fence, ended.attempt, ended.failures) == (2, 1, 0)


async def test_a_round_goes_on_while_redis_is_away_and_the_next_one_catches_up(engine: Engine, valkey: EmbeddedValkey) -> None:
    account_id = await engine.account()
    job = await engine.enqueue(account_id, play(succeed), run_at=datetime.now(UTC) + timedelta(hours=1))
    async with engine.worker():
        await engine.until(await engine.ask(account_id, play(succeed)), JobState.SUCCEEDED)
        await engine.due(job)
        await valkey.kill()
        try:
            await clock.sweep(engine.runtime)
            # ADMITTED by a worker that had asked Valkey just before; its lease then lapses.
            assert (await engine.job(job.id)).state in {JobState.READY, JobState.ADMITTED}
        finally:
            await valkey.start()

        async def caught_up() -> bool:
            await clock.sweep(engine.runtime)
            return (await engine.job(job.id)).state is JobState.SUCCEEDED

        await eventually(caught_up, within=60)


async def test_a_step_that_fails_does_not_stop_the_round(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> list[Job]:
        raise ValueError("It cannot read a row")

    monkeypatch.setattr(clock, "SWEEPS", (broken, *clock.SWEEPS))
    monkeypatch.setattr(sweeps, "take_back_lapsed", broken)
    monkeypatch.setattr(schedules, "sweep", broken)
    job = await engine.enqueue(await engine.account(), run_at=datetime.now(UTC) + timedelta(hours=1))
    await engine.capacity()
    await engine.due(job)
    assert not await clock.sweep(engine.runtime)
    assert (await engine.job(job.id)).state is JobState.ADMITTED


async def test_a_full_batch_is_followed_by_the_next_round_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "BATCH", 2)
    account_id = await engine.account()
    for _ in range(3):
        await engine.due(await engine.enqueue(account_id, run_at=datetime.now(UTC) + timedelta(hours=1)))
    assert [await clock.sweep(engine.runtime) for _ in range(2)] == [True, False]


async def test_each_account_is_told_once_and_a_frozen_redis_is_waited_for_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = [await engine.account() for _ in range(3)]
    jobs = [await engine.enqueue(account_id) for account_id in accounts for _ in range(4)]
    told: list[tuple[UUID, int]] = []

    async def publish(account_id: UUID, changes: list[Change]) -> None:
        told.append((account_id, len(changes)))

    monkeypatch.setattr(engine.runtime.events, "publish", publish)
    await engine.runtime.announce_all(jobs)
    assert told == [(account_id, 4) for account_id in accounts]

    async def hang(account_id: UUID, changes: list[Change]) -> None:
        await publish(account_id, changes)
        raise TimeoutError

    told.clear()
    monkeypatch.setattr(engine.runtime.events, "publish", hang)
    await engine.runtime.announce_all(jobs)
    assert told == [(accounts[0], 4)]


async def test_one_account_does_not_keep_the_others_from_their_retention(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = await engine.account(), await engine.account()
    await engine.sql("update account_slots set retention_at = now() - interval '1 day'")
    enqueue = retention.enqueue

    async def choosy(unit: Unit) -> object:
        if unit.account_id == bad:
            raise ValueError("A row of this account cannot be read")
        return await enqueue(unit)

    monkeypatch.setattr(retention, "enqueue", choosy)
    await housekeeping.ask_for_retention(engine.runtime)
    found = await engine.sql("select account_id from job where kind = $1", retention.Retain.kind)
    assert [row["account_id"] for row in found] == [good]
