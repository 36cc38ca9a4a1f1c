"""Clocks that fire: each instant once, whoever fires and however many at once, and none is forgotten."""

import asyncio
from datetime import datetime
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.models.jobs import JobState
from db.models.schedules import MissedPolicy, OverlapPolicy, Schedule
from domain import actor as actors
from domain.schedules import commands, firing, results
from domain.schedules.commands import Options, Timing
from domain.schedules.recurrence import Cron, EveryMinutes
from domain.workflows import commands as workflows
from domain.workflows.steps import Wait
from tests.factories.engine import Engine

EACH_DAY = Timing(EveryMinutes(24 * 60), "UTC")  # at midnight, so that nothing more is due while a test runs


async def scheduled(engine: Engine, account_id: UUID, *, count: int = 1, options: Options | None = None) -> list[Schedule]:
    """Schedules of one workflow that fire every day."""
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        workflow = await workflows.create(unit, name="W", description=None, steps=[Wait(60)])
        return [
            await commands.create(
                unit, workflow_id=workflow.id, name=f"S{number}", timing=EACH_DAY, options=options or Options()
            )
            for number in range(count)
        ]


async def sweep(engine: Engine) -> None:
    await firing.sweep(engine.database, engine.runtime.unit, front_end="https://app.example")


async def due(engine: Engine, *, days: int = 0) -> datetime:
    """Schedules are due since midnight so many days ago."""
    statement = "update schedule set next_at = date_trunc('day', now() - $1 * interval '1 day', 'UTC') returning next_at"
    moment: datetime = (await engine.sql(statement, days))[0]["next_at"]
    return moment


async def fires(engine: Engine) -> list[dict[str, object]]:
    return [dict(row) for row in await engine.sql("select * from schedule_fire order by nominal_at")]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(clocks=st.integers(2, 4), days=st.integers(0, 5), missed=st.sampled_from(MissedPolicy), schedules=st.integers(1, 3))
async def test_clocks_at_once_fire_each_instant_once(
    engine: Engine, clocks: int, days: int, missed: MissedPolicy, schedules: int
) -> None:
    await engine.empty()
    options = Options(missed_policy=missed, overlap_policy=OverlapPolicy.ALLOW)
    await scheduled(engine, await engine.account(), count=schedules, options=options)
    await due(engine, days=days)
    await asyncio.gather(*(sweep(engine) for _ in range(clocks)))
    await sweep(engine)
    written = await fires(engine)
    assert len({(row["schedule_id"], row["nominal_at"]) for row in written}) == len(written)
    assert len(written) == schedules * (days + 1 if missed is MissedPolicy.RUN_ALL else 1)
    assert await number(engine, "job") == sum(row["result"] == "started" for row in written)
    assert await number(engine, "schedule where next_at <= now()") == 0


async def number(engine: Engine, table: str) -> int:
    return int((await engine.sql(f"select count(*) from {table}"))[0]["count"])  # noqa: S608 -- a test's own text


async def test_an_instant_that_is_written_down_does_not_fire_again(engine: Engine) -> None:
    """Whatever happened to the schedule's row: the instant itself is the key."""
    await scheduled(engine, await engine.account(), options=Options(overlap_policy=OverlapPolicy.ALLOW))
    moment = await due(engine)
    for _ in range(3):
        await engine.sql("update schedule set next_at = $1", moment)
        await sweep(engine)
    assert [row["nominal_at"] for row in await fires(engine)] == [moment]
    assert await number(engine, "job") == 1


async def test_a_clock_that_dies_before_its_commit_leaves_nothing_and_the_next_one_fires(engine: Engine) -> None:
    account_id = await engine.account()
    (schedule,) = await scheduled(engine, account_id)
    moment = await due(engine)

    class Killed(Exception):
        pass

    async def die() -> None:
        async with engine.runtime.unit(actors.system(account_id)) as unit:
            await firing.fire_due(unit, [schedule.id])
            raise Killed

    with pytest.raises(Killed):
        await die()
    assert (await fires(engine), await number(engine, "job")) == ([], 0)
    await sweep(engine)
    (fire,) = await fires(engine)
    assert fire["nominal_at"] == moment
    assert await number(engine, "job") == 1


async def test_one_that_cannot_be_fired_holds_up_no_other(engine: Engine) -> None:
    first, second = await engine.account(), await engine.account()
    broken, fine = await scheduled(engine, first, count=2)
    await scheduled(engine, second)
    await engine.sql("update schedule set zone = 'Nowhere/AtAll' where id = $1", broken.id)
    await due(engine)
    await sweep(engine)
    fired = {row["schedule_id"] for row in await fires(engine)}
    assert fine.id in fired
    assert broken.id not in fired
    assert len(fired) == 2


async def test_many_at_the_same_minute_are_soon_fired(engine: Engine) -> None:
    accounts = [await engine.account() for _ in range(5)]
    for account_id in accounts:
        await scheduled(engine, account_id, count=40)
    await due(engine)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await sweep(engine)
    assert loop.time() - began < 10
    assert await number(engine, "schedule_fire") == 200
    jobs = await engine.sql("select account_id, count(*) from job where state in ('ready', 'admitted') group by 1")
    assert {row["count"] for row in jobs} == {40}


async def test_clocks_at_once_tell_of_an_end_once(engine: Engine) -> None:
    recipients = ["a@team.example", "b@team.example"]
    await scheduled(engine, await engine.account(), options=Options(recipients=recipients))
    await due(engine)
    await sweep(engine)
    await engine.sql("update job set state = 'failed', message = 'It broke', started_at = now(), finished_at = now()")
    await asyncio.gather(*(sweep(engine) for _ in range(4)))
    (fire,) = await fires(engine)
    assert (fire["result"], fire["message"]) == ("failed", "It broke")
    assert fire["settled_at"] is not None
    sent = await engine.sql("select address, content ->> 'subject' as subject from delivery order by address")
    assert [tuple(row) for row in sent] == [(address, "S0 failed") for address in recipients]


async def test_the_clock_knows_when_it_is_needed_next(engine: Engine) -> None:
    await scheduled(engine, await engine.account())
    await engine.sql("update schedule set next_at = now() + interval '7 s'")
    async with engine.database.system_across_accounts() as session:
        seconds = await firing.next_due_in(session)
    assert seconds is not None
    assert 6 < seconds <= 7


async def test_a_run_that_is_queued_starts_when_the_one_before_it_has_ended(engine: Engine) -> None:
    await scheduled(engine, await engine.account(), options=Options(overlap_policy=OverlapPolicy.QUEUE_ONE))
    long_ago = """update schedule_fire set nominal_at = nominal_at - $1::int * interval '1 day'
        where nominal_at >= date_trunc('day', now(), 'UTC')"""
    for day in (3, 2, 1):
        await due(engine)
        await sweep(engine)
        await engine.sql(long_ago, day)
    states = [row["state"] for row in await engine.sql("select state from job order by position")]
    assert states == [JobState.READY, JobState.BLOCKED]
    assert [row["result"] for row in await fires(engine)].count("overlapped") == 1


async def test_cron_text_is_stored_and_read_as_it_was_meant(engine: Engine) -> None:
    account_id = await engine.account()
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        workflow = await workflows.create(unit, name="W", description=None, steps=[Wait(60)])
        timing = Timing(Cron("0  9 * * mon"), "Europe/Berlin")
        schedule = await commands.create(unit, workflow_id=workflow.id, name="S", timing=timing, options=Options())
    assert schedule.recurrence == {"cron": {"expression": "0 9 * * MON"}}
    assert schedule.next_at is not None
    assert (schedule.next_at.weekday(), schedule.next_at.minute) == (0, 0)


async def test_a_result_that_cannot_be_told_is_still_written_down_and_holds_up_no_other(engine: Engine) -> None:
    options = Options(recipients=["a@team.example"], overlap_policy=OverlapPolicy.ALLOW)
    broken, fine = await scheduled(engine, await engine.account(), count=2, options=options)
    await due(engine)
    await sweep(engine)
    await engine.sql("update job set state = 'succeeded', started_at = now(), finished_at = now()")
    newer = """update workflow_run set steps = '[{"teleport": {}}]'
        where id = (select run_id from schedule_fire where schedule_id = $1)"""
    await engine.sql(newer, broken.id)
    await sweep(engine)
    settled = {row["schedule_id"]: row["result"] for row in await fires(engine) if row["settled_at"] is not None}
    assert settled == {broken.id: "succeeded", fine.id: "succeeded"}
    assert [row["subject"] for row in await engine.sql("select content ->> 'subject' as subject from delivery")] == [
        "S1 completed"
    ]


async def test_an_account_with_many_results_leaves_room_for_the_others(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_BATCH", 4)
    busy, quiet = await engine.account(), await engine.account()
    await scheduled(engine, busy, count=10)
    await due(engine)
    await sweep(engine)
    (other,) = await scheduled(engine, quiet)
    await engine.sql("update schedule set next_at = now() where id = $1", other.id)
    await sweep(engine)
    await engine.sql("update job set state = 'succeeded', started_at = now(), finished_at = now()")
    async with engine.database.system_across_accounts() as session:
        found = await results.ended_runs(session)
    (quiet_fire,) = [row["id"] for row in await fires(engine) if row["schedule_id"] == other.id]
    assert found.pop(quiet) == [quiet_fire]
    assert len(found[busy]) == 3
