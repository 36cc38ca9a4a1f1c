"""Web servers that are killed around a mutation's commit, and with open subscriptions."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest

from db.models.jobs import JobState
from tests.factories.client import Client
from tests.factories.crm import start_sync
from tests.factories.engine import eventually
from tests.faults.conftest import Disturbed
from tests.faults.site import measured

WATCH = """subscription ($id: ID!, $after: Int) { jobUpdated(id: $id, afterVersion: $after) {
  kind version job { state } event { version state done } } }"""
KEY = "the front end made this up once, before its first try"


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
async def client(disturbed: Disturbed, port: int) -> AsyncIterator[Client]:
    """The owner, who speaks to the processes of this test."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
        yield replace(disturbed.owner, http=http)


async def test_a_mutation_that_nobody_heard_back_from_is_carried_out_once(
    disturbed: Disturbed, client: Client, port: int
) -> None:
    admin = disturbed.admin

    async def ask() -> dict[str, Any]:
        return await start_sync(client, disturbed.location_id, idempotencyKey=KEY)

    web = await disturbed.programs.web(port)
    disturbed.barriers.arm("commit:before")
    asked = asyncio.create_task(ask())
    at_commit = await disturbed.barriers.reached("commit:before")
    disturbed.barriers.disarm("commit:before")
    assert at_commit.pid == web.pid
    await web.kill()
    with suppress(httpx.TransportError):
        await asked
    assert await admin.fetchval("select count(*) from job") == 0
    assert await admin.fetchval("select count(*) from idempotency_key") == 0

    await disturbed.programs.worker()
    await disturbed.programs.clock()
    web = await disturbed.programs.web(port)
    disturbed.barriers.arm("admission:before", only=web.pid)
    asked = asyncio.create_task(ask())
    await disturbed.barriers.reached("admission:before")
    with measured("web, after the commit", bound=2):
        await web.kill()
        await disturbed.until(await admin.fetchval("select id from job"), JobState.RUNNING, JobState.SUCCEEDED)
    with suppress(httpx.TransportError):
        await asked

    await disturbed.programs.web(port)
    again = await ask()
    assert await admin.fetchval("select count(*) from job") == 1
    assert again["id"] == (await ask())["id"]
    await client.until(str(again["id"]), "SUCCEEDED")
    assert await disturbed.outcome() == await disturbed.undisturbed()


async def test_a_subscription_goes_on_at_another_server_without_a_gap(disturbed: Disturbed, client: Client, port: int) -> None:
    web = await disturbed.programs.web(port)
    await disturbed.programs.worker()
    obstacle = disturbed.obstruct("latency", page=4, ms=1500)
    job = await start_sync(client, disturbed.location_id)
    seen: list[dict[str, Any]] = []

    async def watch(*, after: int | None, until: int | None = None) -> None:
        async with aclosing(client.watch(WATCH, id=job["id"], after=after)) as updates:
            async for update in updates:
                seen.append(update["jobUpdated"])
                if until is not None and seen[-1]["version"] >= until:
                    return

    async def is_halfway() -> bool:
        return obstacle.hits > 0 and len(seen) > 1

    watching = asyncio.create_task(watch(after=None))
    await eventually(is_halfway)
    await web.kill()
    with pytest.raises(httpx.TransportError):
        await watching
    before = seen[-1]["version"]
    await disturbed.programs.web(port)  # it takes as long to start as the rest of the sync
    ended = await disturbed.until(await disturbed.admin.fetchval("select id from job"), JobState.SUCCEEDED)
    await watch(after=before, until=ended.version)

    assert seen[0]["kind"] == "SNAPSHOT"
    assert [update["version"] for update in seen] == list(range(seen[0]["version"], ended.version + 1))
    assert {update["kind"] for update in seen[1:]} == {"CHANGED"}
    assert await disturbed.versions(ended.id) == list(range(1, ended.version + 1))
    assert await disturbed.outcome() == await disturbed.undisturbed()
