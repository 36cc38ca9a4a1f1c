"""Valkey that restarts without anything it knew, in the middle of a sync."""

import asyncio
from contextlib import aclosing
from typing import Any

from db.embedded.valkey import EmbeddedValkey
from db.models.jobs import AttemptOutcome, JobState
from graph import ids
from tests.factories.crm import start_sync
from tests.faults.conftest import Disturbed

WATCH = """subscription ($id: ID!) { jobUpdated(id: $id) {
  kind version job { state } event { version state done } } }"""


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
