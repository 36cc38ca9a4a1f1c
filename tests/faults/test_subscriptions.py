"""Subscriptions that resume while transactions overlap."""

import asyncio
from contextlib import aclosing

import sqlalchemy as sa

from db.models.jobs import JobState
from domain import actor as actors
from domain.jobs import commands
from domain.jobs.lifecycle import Transition, transition
from graph import ids
from tests.factories.client import Client
from tests.factories.engine import Scripted
from tests.factories.house import House

WATCH = """subscription ($after: String) { jobsChanged(afterCursor: $after) { kind cursor jobs { id version } } }"""


async def test_who_resumes_while_an_older_transaction_runs_is_told_when_it_has_ended(house: House) -> None:
    """What changed had been hinted at before, and nobody hints again."""
    account, user = await house.account()
    client: Client = await house.client_of(user)
    database = house.runtime.database
    async with house.runtime.unit(actors.system(account.id)) as unit:
        job = (await commands.enqueue(unit, Scripted())).job
        unit.lanes_to_admit.clear()
    async with aclosing(client.watch(WATCH)) as updates:
        cursor = (await anext(updates))["jobsChanged"]["cursor"]

    async with database.account((await house.account("Somebody else"))[0].id) as older:
        await older.execute(sa.select(sa.func.pg_current_xact_id()))
        async with database.account(account.id) as session:
            await transition(session, Transition([job.id], frozenset({JobState.READY}), JobState.CANCELLED))
        async with aclosing(client.watch(WATCH, after=cursor)) as updates:
            resumed = asyncio.create_task(anext(updates))
            async with asyncio.timeout(10):
                while not house.runtime_of_web_listens(account.id):
                    await asyncio.sleep(0.01)
            await older.rollback()
            update = (await resumed)["jobsChanged"]
    assert [(each["id"], each["version"]) for each in update["jobs"]] == [(ids.encode("job", job.id), 2)]
