"""Valkey that restarts without anything it knew, or is away for a while."""

import asyncio
import signal
from contextlib import aclosing
from typing import Any

from db.embedded.valkey import EmbeddedValkey
from db.models.jobs import AttemptOutcome, JobState
from graph import ids
from tests.factories.crm import start_sync
from tests.faults.conftest import Disturbed
from tests.faults.kinds import Steps
from tests.faults.site import BOUND, Site, measured

WATCH = """subscription ($id: ID!) { jobUpdated(id: $id) {
  kind version job { state } event { version state done } } }"""
# What a process that can reach nobody writes down.
TOLD = """insert into job_event (account_id, job_id, version, state, attempt, done)
select account_id, id, version, state, attempt, done from job where id = $1"""


async def test_an_emptied_valkey_costs_a_running_sync_and_its_watchers_nothing(
    disturbed: Disturbed, valkey: EmbeddedValkey
) -> None:
    expected = await disturbed.undisturbed()
    clock = await disturbed.programs.clock()
    worker = await disturbed.programs.worker()
    obstacle = disturbed.obstruct("latency", page=4, ms=1000)
    job = await start_sync(disturbed.owner, disturbed.location_id)
    job_id = ids.read("job", job["id"], field="id")
    seen: list[dict[str, Any]] = []

    async def watch() -> None:
        async with aclosing(disturbed.owner.watch(WATCH, id=job["id"])) as updates:
            async for update in updates:
                seen.append(update["jobUpdated"])
                if seen[-1]["event"] and seen[-1]["event"]["state"] == "SUCCEEDED":
                    return

    watching = asyncio.create_task(watch())
    await disturbed.reached(obstacle, job_id, page=4)
    await valkey.restart(empty=True)
    ended = await disturbed.until(job_id, JobState.SUCCEEDED)
    async with asyncio.timeout(20):
        await watching

    assert seen[0]["kind"] == "SNAPSHOT"
    assert [update["version"] for update in seen] == list(range(seen[0]["version"], ended.version + 1))
    assert {update["kind"] for update in seen[1:]} == {"CHANGED"}
    assert [attempt.outcome for attempt in await disturbed.attempts(job_id)] == [AttemptOutcome.SUCCEEDED]
    assert (ended.failures, ended.fence) == (0, 1)
    assert await disturbed.versions(job_id) == list(range(1, ended.version + 1))
    assert await disturbed.outcome() == expected

    # Worker and clock have outlived it as well: what is asked for now is run.
    again = await disturbed.start()
    await disturbed.until(again, JobState.SUCCEEDED)
    assert worker.process.returncode is None
    assert clock.process.returncode is None


async def test_what_an_emptied_valkey_was_to_carry_is_pushed_again_and_what_runs_runs_on(
    site: Site, valkey: EmbeddedValkey
) -> None:
    worker = await site.programs.worker("interactive")
    await site.programs.clock()
    site.barriers.arm("step:3")
    site.barriers.arm("push:after")
    running = await site.ask(Steps())
    await (await site.barriers.reached("push:after")).go_on()
    at_work = await site.barriers.reached("step:3")
    site.barriers.disarm("step:3")

    worker.send(signal.SIGSTOP)  # so that what is pushed now stays where it is
    carried = await site.ask(Steps())
    dispatcher = await site.barriers.reached("push:after")
    site.barriers.disarm("push:after")
    await valkey.restart(empty=True)
    worker.send(signal.SIGCONT)
    await dispatcher.go_on()
    with measured("Redis, restarts empty", bound=BOUND):
        ended = await site.until(carried, JobState.SUCCEEDED)
    assert (ended.fence, ended.attempt, ended.failures) == (2, 1, 0)
    await at_work.go_on()
    ended = await site.until(running, JobState.SUCCEEDED)
    assert (ended.fence, ended.attempt, ended.failures) == (1, 1, 0)
    for job in (carried, running):
        await site.has_a_sound_history(job)


async def test_while_valkey_is_away_the_api_answers_and_jobs_wait(disturbed: Disturbed, valkey: EmbeddedValkey) -> None:
    """Nothing is admitted in vain, subscribers are still told, if later; and all is as it was soon after it is back."""
    await disturbed.programs.clock()
    await disturbed.programs.worker()
    seen: list[str] = []

    async def watch(job_id: str) -> None:
        async with aclosing(disturbed.owner.watch(WATCH, id=job_id)) as updates:
            async for update in updates:
                seen.append(update["jobUpdated"]["job"]["state"])
                if seen[-1] == "SUCCEEDED":
                    return

    await valkey.kill()
    try:
        with measured("Redis, down: a mutation answers", bound=5):
            job = await start_sync(disturbed.owner, disturbed.location_id)
        job_id = ids.read("job", job["id"], field="id")
        watching = asyncio.create_task(watch(job["id"]))
        with measured("Redis, down: a query answers", bound=1):
            assert (await disturbed.owner.job(job["id"]))["state"] == "READY"
        with measured("Redis, down: a subscription begins", bound=5):
            while not seen:  # noqa: ASYNC110 -- what it waits for is another task's list
                await asyncio.sleep(0.01)
        waits = await disturbed.job(job_id)
        assert (waits.state, waits.fence) == (JobState.READY, 0)
        with measured("Redis, down: a subscription is told", bound=5):
            await disturbed.sql("update job set version = version + 1 where id = $1", job_id)
            await disturbed.sql(TOLD, job_id)
            while len(seen) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        await valkey.start()
    with measured("Redis, after its return: jobs start", bound=5):
        await disturbed.until(job_id, JobState.RUNNING, JobState.SUCCEEDED)
    ended = await disturbed.until(job_id, JobState.SUCCEEDED)
    with measured("Redis, after its return: subscribers have heard", bound=5):
        await watching
    assert (ended.attempt, ended.failures) == (1, 0)
