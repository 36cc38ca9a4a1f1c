"""Subscriptions that resume while transactions overlap."""

import asyncio
from typing import Any

import sqlalchemy as sa

from db.models.jobs import JobState
from domain import actor as actors
from domain.jobs.feeds import JobsFeed
from domain.jobs.lifecycle import Transition, transition
from domain.jobs.queries import JobFilter
from graph.feeds import Reader
from tests.factories.engine import Engine


async def test_who_resumes_while_an_older_transaction_runs_is_told_when_it_has_ended(engine: Engine) -> None:
    """What changed was hinted at before anybody listened, and nobody will hint again."""
    account_id, stranger = await engine.account(), await engine.account()
    job = await engine.enqueue(account_id)

    def feed() -> JobsFeed:
        return JobsFeed(engine.database, engine.runtime.events, actors.system(account_id), JobFilter())

    cursor, _ = await feed().start(None)
    reader = Reader(feed())
    inbox = reader.join("a subscriber")
    async with engine.database.account(stranger) as older:
        await older.execute(sa.select(sa.func.pg_current_xact_id()))
        async with engine.database.account(account_id) as session:
            await transition(session, Transition([job.id], frozenset({JobState.READY}), JobState.CANCELLED))
        tasks = [asyncio.create_task(work) for work in reader.work()]
        reader.run(*tasks)
        await reader.listening.wait()
        position, updates = await feed().start(cursor)
        reader.begin(position)
        assert updates == []
    async with asyncio.timeout(20):
        update: Any = await inbox.take()
    reader.leave("a subscriber")
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [(each.id, each.version) for each in update.jobs] == [(job.id, 2)]
