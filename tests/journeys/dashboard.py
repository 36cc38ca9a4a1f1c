"""What the journeys of the dashboard share: kinds of jobs, jobs in every state, and what a dashboard asks for."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from db.base import new_id
from db.models.jobs import TERMINAL, Job, JobState, Lane
from domain.jobs.args import JobArgs
from domain.unit import Unit
from tests.factories.client import Client
from tests.factories.people import Person

Asks = Client | Person

JOBS = """query ($filter: JobFilterInput, $orderBy: JobOrder! = NEWEST, $first: Int, $after: String) {
  jobs(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {
    totalCount pageInfo { hasNextPage endCursor } nodes { id kind title state statusGroup version message
      progress { done total percent } } } }"""
NUMBERS = "active queued blocked scheduled retrying waiting paused completed24h failed24h cancelled24h"
SUMMARY = f"""query ($filter: JobFilterInput) {{ jobSummary(filter: $filter) {{
  {NUMBERS} allPaused hiddenKinds perKind {{ kind title {NUMBERS} }} }} }}"""


@dataclass(frozen=True)
class SyncEmail(JobArgs, kind="test.email", title="Email sync", lane=Lane.BULK):
    """Is never run."""


@dataclass(frozen=True)
class CallContacts(JobArgs, kind="test.voice", title="Voice calls", lane=Lane.CALLS):
    """Is never run."""


@dataclass(frozen=True)
class Sweep(JobArgs, kind="test.housekeeping", title="Sweeping", lane=Lane.BULK, housekeeping=True):
    """The product's own."""


async def add(
    unit: Unit, kind: str = SyncEmail.kind, state: JobState = JobState.READY, count: int = 1, **values: Any
) -> list[Job]:
    """So many jobs in a state, as if each had been asked for a second before the one before it."""
    ended = {"finished_at": sa.func.now(), "started_at": sa.func.now() - timedelta(seconds=90)} if state in TERMINAL else {}
    common: dict[str, Any] = {
        "account_id": unit.account_id,
        "kind": kind,
        "lane": Lane.BULK,
        "title": kind,
        "args": {},
        "state": state,
        "origin_type": "user",
        "origin_name": "Sarah",
        "request_id": "-",
        **ended,
        **values,
    }
    rows = [common | {"id": new_id(), "created_at": sa.func.now() - timedelta(seconds=number)} for number in range(count)]
    return list(await unit.session.scalars(sa.insert(Job).values(rows).returning(Job)))


async def add_many(unit: Unit, count: int, *, kind: str = SyncEmail.kind, state: JobState = JobState.SUCCEEDED) -> None:
    """Thousands of jobs in one statement, each asked for (and ended) a second before the one before it."""
    number = sa.func.generate_series(1, count).column_valued("number")
    asked_at = sa.func.now() - number * sa.text("interval '1 second'")
    columns: dict[str, Any] = {
        "id": sa.func.gen_random_uuid(),
        "account_id": sa.literal(unit.account_id),
        "kind": sa.literal(kind),
        "lane": sa.literal("bulk"),
        "title": sa.literal("Job ") + sa.cast(number, sa.Text),
        "args": sa.literal({}, JSONB),
        "state": sa.literal(state.value),
        "origin_type": sa.literal("user"),
        "origin_name": sa.literal("=Sarah"),
        "request_id": sa.literal("-"),
        "created_at": asked_at,
        "finished_at": asked_at if state in TERMINAL else sa.null(),
        **dict.fromkeys(("priority", "fence", "attempt", "failures", "done"), sa.literal(0)),
        **dict.fromkeys(("max_retries", "version", "timeout_seconds"), sa.literal(1)),
    }
    await unit.session.execute(sa.insert(Job).from_select(list(columns), sa.select(*columns.values())))


async def jobs(client: Asks, *, order: str = "NEWEST", **filters: Any) -> list[dict[str, Any]]:
    """The first page that fits."""
    data = await client.ask(JOBS, filter=filters, orderBy=order)
    nodes: list[dict[str, Any]] = data["jobs"]["nodes"]
    return nodes


async def summary(client: Asks, **filters: Any) -> dict[str, Any]:
    """The dashboard's numbers."""
    numbers: dict[str, Any] = (await client.ask(SUMMARY, filter=filters))["jobSummary"]
    return numbers
