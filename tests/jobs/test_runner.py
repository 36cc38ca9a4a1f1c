"""What becomes of a job in a worker's hands, whatever its handler does."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from db.models.jobs import AttemptOutcome, Job, JobState, LogLevel
from domain import actor as actors
from domain.errors import Conflict, VendorBusy, VendorDown, VendorRefused, VendorUnauthorized
from domain.jobs import commands, sweeps
from domain.jobs.args import digest
from domain.jobs.leases import Held, release
from domain.jobs.lifecycle import AttemptEnd
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from jobs import runner
from tests.factories.engine import Engine, Scripted, failing, play

ScriptedJob = Running[Scripted]


async def cancel(engine: Engine, job: Job) -> None:
    async with engine.runtime.unit(actors.system(job.account_id)) as unit:
        await commands.cancel(unit, job_id=job.id)


async def run(engine: Engine, args: Scripted, *, draining: asyncio.Event | None = None) -> Job:
    """A new job after its first attempt."""
    return await engine.attempt(await engine.enqueue(await engine.account(), args), draining=draining)


async def again(engine: Engine, job: Job) -> Job:
    """The job after its next attempt, for which nobody has to wait."""
    await engine.due(job)
    async with engine.database.system_across_accounts() as session:
        await sweeps.ready_due(session)
    return await engine.attempt(job)


def wait_of(job: Job, since: datetime) -> float:
    return (job.run_at - since).total_seconds()


async def test_success_keeps_the_message_and_the_figures(engine: Engine) -> None:
    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        return Done("All went well", {"made": 3})

    job = await run(engine, play(script))
    assert (job.state, job.message, job.result) == (JobState.SUCCEEDED, "All went well", {"made": 3})
    assert (job.attempt, job.failures, job.lease_until, job.worker) == (1, 0, None, None)
    assert job.started_at is not None
    assert job.finished_at is not None
    (attempt,) = await engine.attempts(job)
    assert attempt.outcome is AttemptOutcome.SUCCEEDED
    assert attempt.ended_at is not None
    assert attempt.ended_at >= attempt.started_at


async def test_partial_success_is_told_apart_and_can_be_retried(engine: Engine) -> None:
    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        return Done("One failed", partial=job.attempt == 1)

    job = await run(engine, play(script))
    assert job.state is JobState.PARTIAL
    async with engine.runtime.unit(actors.system(job.account_id)) as unit:
        await commands.retry(unit, job_id=job.id)
        unit.lanes_to_admit.clear()
    assert (await engine.attempt(job)).state is JobState.SUCCEEDED
    assert [each.outcome for each in await engine.attempts(job)] == [AttemptOutcome.PARTIAL, AttemptOutcome.SUCCEEDED]


async def test_a_fault_of_ours_backs_off_with_everything_a_person_needs(engine: Engine) -> None:
    async def stumble() -> Done:
        raise KeyError("the culprit")

    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        return await stumble()

    asked = datetime.now(UTC)
    job = await run(engine, play(script))
    assert (job.state, job.failures, job.error_code) == (JobState.BACKOFF, 1, runner.FAULT)
    assert job.error_message == "KeyError: 'the culprit'"
    assert 30 <= wait_of(job, asked) < 35
    (attempt,) = await engine.attempts(job)
    assert (attempt.outcome, attempt.error_class, attempt.error_code) == (AttemptOutcome.FAILED, "KeyError", runner.FAULT)
    assert (attempt.http_status, attempt.next_delay) == (None, 30.0)
    assert attempt.stack_trace is not None
    assert "in stumble" in attempt.stack_trace
    assert "KeyError: 'the culprit'" in attempt.stack_trace


async def test_retries_are_spent_one_by_one_with_doubling_delays_and_then_it_fails(engine: Engine) -> None:
    job = await run(engine, failing(VendorDown("no answer", status=503)))
    for _ in range(5):
        assert job.state is JobState.BACKOFF
        job = await again(engine, job)
    assert (job.state, job.failures, job.error_code, job.error_message) == (JobState.FAILED, 6, "API-012", "no answer")
    attempts = await engine.attempts(job)
    assert [attempt.number for attempt in attempts] == [1, 2, 3, 4, 5, 6]
    assert [attempt.next_delay for attempt in attempts] == [30, 60, 120, 240, 480, None]
    assert {attempt.http_status for attempt in attempts} == {503}
    assert [attempt.fence for attempt in attempts] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("error", [VendorRefused("no such thing", status=422), Conflict("not now")])
async def test_a_refusal_is_final_at_once(engine: Engine, error: Exception) -> None:
    job = await run(engine, failing(error))
    assert (job.state, job.attempt, job.failures, job.error_message) == (JobState.FAILED, 1, 0, str(error))
    (attempt,) = await engine.attempts(job)
    assert (attempt.outcome, attempt.next_delay, attempt.http_status) == (
        AttemptOutcome.FAILED,
        None,
        getattr(error, "status", None),
    )


async def test_a_rate_limit_snoozes_for_as_long_as_the_vendor_says_and_costs_nothing(engine: Engine) -> None:
    asked = datetime.now(UTC)
    job = await run(engine, failing(VendorBusy("slow down", retry_after=17.5, status=429)))
    assert (job.state, job.failures, job.error_code) == (JobState.BACKOFF, 0, "BGJ-003")
    assert 17.5 <= wait_of(job, asked) < 22
    for _ in range(7):  # more often than there are retries
        job = await again(engine, job)
    assert (job.state, job.failures, job.attempt) == (JobState.BACKOFF, 0, 8)
    assert {attempt.outcome for attempt in await engine.attempts(job)} == {AttemptOutcome.SNOOZED}


async def test_the_timeout_wins_over_the_retries(engine: Engine) -> None:
    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        await asyncio.Event().wait()
        raise AssertionError

    job = await engine.enqueue(await engine.account(), play(script))
    await engine.sql("update job set timeout_seconds = 0 where id = $1", job.id)
    job = await engine.attempt(job)
    assert (job.state, job.error_code) == (JobState.FAILED, "BGJ-001")
    assert (await engine.attempts(job))[0].error_code == "BGJ-001"


async def test_the_timeout_counts_from_the_first_start_over_all_attempts(engine: Engine) -> None:
    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        if job.attempt == 1:
            raise VendorDown("no answer")
        await asyncio.Event().wait()
        raise AssertionError

    first = await run(engine, play(script))
    assert first.deadline_at is not None
    assert first.started_at is not None
    assert first.deadline_at - first.started_at == timedelta(seconds=3600)
    await engine.sql("update job set deadline_at = now() where id = $1", first.id)
    second = await again(engine, first)
    assert (second.state, second.error_code, second.attempt) == (JobState.FAILED, "BGJ-001", 2)


@pytest.mark.parametrize("error", [VendorDown("down"), VendorBusy("busy", retry_after=40)])
async def test_no_retry_begins_after_the_deadline(engine: Engine, error: Exception) -> None:
    job = await engine.enqueue(await engine.account(), failing(error))
    await engine.sql("update job set timeout_seconds = 20 where id = $1", job.id)
    job = await engine.attempt(job)
    assert job.state is JobState.FAILED
    assert (await engine.attempts(job))[0].next_delay is None


async def test_a_handlers_own_timeout_is_not_the_deadline(engine: Engine) -> None:
    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
        raise AssertionError

    job = await run(engine, play(script))
    assert (job.state, job.failures) == (JobState.BACKOFF, 1)
    assert (await engine.attempts(job))[0].error_class == "TimeoutError"


async def test_a_credential_that_is_refused_waits_for_whoever_mends_it(engine: Engine) -> None:
    error = VendorUnauthorized("revoked", status=401)
    error.waiting_for = "connection:7"
    job = await run(engine, failing(error))
    assert (job.state, job.waiting_for, job.failures, job.message) == (JobState.WAITING, "connection:7", 0, "revoked")
    async with engine.runtime.unit(actors.system(job.account_id)) as unit:
        (woken,) = await commands.wake(unit, waiting_for="connection:7")
        unit.lanes_to_admit.clear()
    assert (woken.state, woken.waiting_for) == (JobState.READY, None)


async def test_a_kind_that_this_release_does_not_know_waits(engine: Engine) -> None:
    job = await engine.enqueue(await engine.account())
    await engine.sql("update job set kind = 'test.newer' where id = $1", job.id)
    job = await engine.attempt(job)
    assert (job.state, job.error_code, job.failures) == (JobState.WAITING, "BGJ-010", 0)
    assert job.message is not None
    assert "test.newer" in job.message


async def test_arguments_that_this_release_cannot_read_wait(engine: Engine) -> None:
    job = await engine.enqueue(await engine.account())
    given = """update job set kind = 'crm.contacts.sync', args = '{"run_id": "newer"}', args_digest = $2 where id = $1"""
    await engine.sql(given, job.id, digest({"run_id": "newer"}))
    job = await engine.attempt(job)
    assert (job.state, job.error_code) == (JobState.WAITING, "BGJ-011")


async def test_arguments_that_are_not_those_that_were_asked_for_are_not_run(engine: Engine) -> None:
    job = await engine.enqueue(await engine.account())
    await engine.sql("""update job set args = '{"script": "another"}' where id = $1""", job.id)
    job = await engine.attempt(job)
    assert (job.state, job.error_code, job.failures) == (JobState.FAILED, "BGJ-023", 0)


async def test_a_draining_worker_hands_a_job_back_at_a_checkpoint_without_spending_a_retry(engine: Engine) -> None:
    draining = asyncio.Event()

    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        for number in range(job.checkpoint.get("next", 0), 4):
            if number == 2 and job.attempt == 1:
                draining.set()
            async with job.unit() as unit:
                job.log(unit, level=LogLevel.INFO, code="T", message=f"step {number}")
                await job.advance(unit, done=number + 1, total=4, checkpoint={"next": number + 1})
        return Done("Done")

    job = await run(engine, play(script), draining=draining)
    assert (job.state, job.failures, job.done, job.checkpoint) == (JobState.READY, 0, 3, {"next": 3})
    job = await engine.attempt(job)
    assert (job.state, job.failures, job.attempt, job.done) == (JobState.SUCCEEDED, 0, 2, 4)
    assert [line.message for line in await engine.lines(job)] == ["step 0", "step 1", "step 2", "step 3"]
    assert [each.outcome for each in await engine.attempts(job)] == [AttemptOutcome.HANDED_BACK, AttemptOutcome.SUCCEEDED]


async def test_a_paused_job_stops_at_its_next_checkpoint(engine: Engine) -> None:
    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        await engine.sql("update job set paused_at = now() where id = $1", job.id)
        async with job.unit() as unit:
            await job.advance(unit, done=1)
        raise AssertionError

    job = await run(engine, play(script))
    assert (job.state, job.done, job.failures) == (JobState.READY, 1, 0)
    assert await engine.admit() == []


async def test_a_running_job_is_cancelled_at_its_next_checkpoint_and_keeps_what_it_did(engine: Engine) -> None:
    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        async with job.unit() as unit:
            await job.advance(unit, done=1, checkpoint={"next": 1})
        await cancel(engine, await engine.job(job.id))
        async with job.unit() as unit:
            await job.advance(unit, done=2, checkpoint={"next": 2})
        raise AssertionError

    job = await run(engine, play(script))
    assert (job.state, job.done, job.checkpoint) == (JobState.CANCELLED, 2, {"next": 2})
    assert (await engine.attempts(job))[0].outcome is AttemptOutcome.CANCELLED


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, JobState.SUCCEEDED),
        (VendorRefused("no"), JobState.FAILED),
        (VendorDown("down"), JobState.CANCELLED),
        (VendorUnauthorized("revoked"), JobState.CANCELLED),
    ],
)
async def test_what_is_being_cancelled_may_end_but_does_not_go_back_into_the_queue(
    engine: Engine, error: Exception | None, state: JobState
) -> None:
    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        await cancel(engine, await engine.job(job.id))
        if error is not None:
            raise error
        return Done("Just in time")

    assert (await run(engine, play(script))).state is state


async def test_what_a_worker_writes_after_it_lost_its_lease_is_rolled_back(engine: Engine) -> None:
    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        async with job.unit() as unit:
            job.log(unit, level=LogLevel.INFO, code="T", message="in time")
            await job.advance(unit, done=1)
        await engine.sql("update job set fence = fence + 1 where id = $1", job.id)
        async with job.unit() as unit:
            job.log(unit, level=LogLevel.INFO, code="T", message="too late")
        raise AssertionError

    job = await run(engine, play(script))
    assert (job.state, job.done) == (JobState.RUNNING, 1)  # it is the other worker's now
    assert [line.message for line in await engine.lines(job)] == ["in time"]
    assert (await engine.attempts(job))[0].outcome is None


async def test_an_outcome_that_comes_after_another_workers_is_dropped(engine: Engine) -> None:
    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        async with engine.database.account(job.account_id) as session:
            end = AttemptEnd(AttemptOutcome.SUCCEEDED)
            held = Held(job.id, job.held.fence)
            await release(session, held=held, to=JobState.SUCCEEDED, end=end, values={"message": "First"})
        return Done("Second")

    job = await run(engine, play(script))
    assert (job.state, job.message) == (JobState.SUCCEEDED, "First")
    assert len(await engine.events(job)) == job.version == 4


async def test_progress_is_told_a_few_times_a_second_and_never_without_the_last(engine: Engine) -> None:
    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        for number in range(1, 101):
            async with job.unit() as unit:
                await job.advance(unit, done=number, total=100, phase="things")
        return Done("Done")

    started = asyncio.get_running_loop().time()
    job = await run(engine, play(script))
    quarters = (asyncio.get_running_loop().time() - started) * 4
    told = [event.done for event in await engine.events(job) if event.phase == "things"]
    assert told[0] == 1
    assert told[-2:] == [100, 100]  # the last progress, and the end
    assert len(told) <= quarters + 4
    assert (job.done, job.phase) == (100, "things")
    assert [event.version for event in await engine.events(job)] == list(range(1, job.version + 1))


@pytest.mark.parametrize("bad", ["\x00", "\ud800"])
async def test_an_outcome_loses_what_postgresql_does_not_take(engine: Engine, bad: str) -> None:
    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        return Done(f"All {bad}well", {f"na{bad}me": [f"{bad}x"]})

    job = await run(engine, failing(VendorRefused(f"no {bad}such thing", status=422)))
    kept = "" if bad == "\x00" else "?"
    assert (job.state, job.error_message) == (JobState.FAILED, f"no {kept}such thing")
    job = await run(engine, play(script))
    assert (job.state, job.message, job.result) == (JobState.SUCCEEDED, f"All {kept}well", {f"na{kept}me": [f"{kept}x"]})


async def test_an_outcome_that_cannot_be_stored_fails_plainly_and_at_once(engine: Engine) -> None:
    async def script(job: ScriptedJob, runtime: Runtime) -> Done:
        return Done("Too much", {"figure": 10**30})

    async with asyncio.timeout(5):
        job = await run(engine, play(script))
    assert (job.state, job.error_code, job.result) == (JobState.FAILED, runner.FAULT, None)
    (attempt,) = await engine.attempts(job)
    assert (attempt.outcome, attempt.error_class) == (AttemptOutcome.FAILED, "Unstorable")
