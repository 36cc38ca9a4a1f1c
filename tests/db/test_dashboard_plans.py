"""The dashboard's pages and counts go by the indexes that are meant for them, under row-level security."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from db.base import new_id
from db.embedded.postgres import EmbeddedPostgres
from db.models.jobs import Attention, Job, JobState
from db.models.tenancy import Account, ActorType
from db.session import Database
from domain import actor as actors
from domain.jobs import queries
from domain.jobs.queries import JobFilter, JobOrder, StatusGroup, filtered, state_in
from domain.unit import Unit
from tests import servers
from tests.journeys.dashboard import CallContacts, add, add_many

G = StatusGroup
_DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


@pytest.fixture(scope="module")
async def unit(postgres: EmbeddedPostgres, template_url: str) -> AsyncIterator[Unit]:
    """Of an account with many ended jobs of one kind, and a few of all else; PostgreSQL knows the data."""
    assert template_url
    url = await servers.clone(postgres)
    database = Database(url, pool_size=1)
    account = Account(id=new_id(), name="Bright & Co")
    async with database.account(account.id) as session:
        session.add(account)
        await session.flush()
        unit = Unit(session, actors.system(account.id))
        await add_many(unit, 20_000)
        for state in (JobState.READY, JobState.RUNNING, JobState.FAILED):
            await add(unit, CallContacts.kind, state, 20)
        await add(unit, count=5, origin_id=new_id(), attention=Attention.RESOLVED, error_code="GHL-012")
    owner = await asyncpg.connect(url)
    await owner.execute("vacuum analyze job")
    await owner.close()
    async with database.account(account.id) as session:
        yield Unit(session, actors.system(account.id))
    await database.close()
    await servers.drop(postgres, url)


async def plan(unit: Unit, statement: Any) -> str:
    """How PostgreSQL goes about it."""
    text = statement.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True})
    return "\n".join(await unit.session.scalars(sa.text(f"explain {text}".replace(":", r"\:"))))


@pytest.mark.parametrize(
    ("wanted", "order", "index"),
    [
        (JobFilter(), JobOrder.NEWEST, "ix_job_shown"),
        (JobFilter(), JobOrder.OLDEST, "ix_job_shown"),
        (JobFilter(), JobOrder.FINISHED, "ix_job_finished"),
        (JobFilter(groups=frozenset({G.COMPLETED})), JobOrder.FINISHED, "ix_job_finished"),
        (JobFilter(groups=frozenset({G.FAILED})), JobOrder.NEWEST, "ix_job_shown_state"),
        (JobFilter(groups=frozenset({G.ACTIVE})), JobOrder.NEWEST, "ix_job_"),
        (JobFilter(kinds=frozenset({CallContacts.kind})), JobOrder.NEWEST, "ix_job_kind"),
        (JobFilter(origin_id=UUID(int=1)), JobOrder.NEWEST, "ix_job_origin"),
        (JobFilter(location_id=UUID(int=1)), JobOrder.NEWEST, "ix_job_location"),
        (JobFilter(error_codes=frozenset({"GHL-012"})), JobOrder.NEWEST, "ix_job_error"),
        (JobFilter(attention=frozenset({Attention.RESOLVED})), JobOrder.NEWEST, "ix_job_attention"),
        (JobFilter(archived=True), JobOrder.NEWEST, "ix_job_archived"),
        (JobFilter(origin_types=frozenset({ActorType.USER})), JobOrder.NEWEST, "ix_job_shown"),
        (JobFilter(text="sync"), JobOrder.NEWEST, "ix_job_shown"),
    ],
)
async def test_a_page_goes_by_its_index(unit: Unit, wanted: JobFilter, order: JobOrder, index: str) -> None:
    query = filtered(unit, wanted)
    if order is JobOrder.FINISHED:
        query = query.where(Job.finished_at.is_not(None))
    columns = queries.ORDERS[order].columns
    direction = [column.desc() if queries.ORDERS[order].descending else column.asc() for column in columns]
    found = await plan(unit, query.with_only_columns(Job.id, Job.title).order_by(*direction).limit(51))
    assert f"{index}" in found, found
    assert "Seq Scan on job" not in found, found


async def test_counts_are_read_from_indexes_alone(unit: Unit) -> None:
    live = filtered(unit, JobFilter()).where(state_in(frozenset({JobState.READY, JobState.RUNNING})))
    recent = Job.finished_at >= sa.func.now() - sa.text("interval '1 hour'")
    ended = filtered(unit, JobFilter()).where(Job.finished_at.is_not(None), recent)
    for query, columns, index in (
        (live, (Job.kind, Job.state, Job.paused_at.is_not(None)), "ix_job_shown_state"),
        (ended, (Job.kind, Job.state), "ix_job_finished"),
    ):
        found = await plan(unit, query.with_only_columns(*columns, sa.func.count()).group_by(*columns))
        assert f"Index Only Scan using {index} on job" in found or f"Bitmap Index Scan on {index}" in found, found
