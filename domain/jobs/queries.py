"""Finding jobs and what happened to them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa

from db.models.jobs import Job, JobAttempt, JobLog, JobState, LogLevel
from domain.actor import Scope
from domain.lookups import by_ids
from domain.paging import Order, Page, Window, paginate
from domain.unit import Unit


class JobOrder(StrEnum):
    """How jobs are sorted."""

    NEWEST = "newest"
    OLDEST = "oldest"


NEWEST = Order((Job.created_at, Job.id), descending=True)
ORDERS = {JobOrder.NEWEST: NEWEST, JobOrder.OLDEST: Order((Job.created_at, Job.id))}
LOG_ORDER = Order((JobLog.id,))


@dataclass(frozen=True, slots=True)
class JobFilter:
    """All that is given must hold; times are UTC, `until` is exclusive. Archived jobs are left out unless asked for."""

    states: frozenset[JobState] = frozenset()
    kinds: frozenset[str] = frozenset()
    location_id: UUID | None = None
    origin_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    archived: bool = False


def filtered(unit: Unit, wanted: JobFilter) -> "sa.Select[Job]":
    """The jobs that fit. Raises Forbidden."""
    unit.require(Scope.JOBS_READ)
    # Row-level security says the same; said here too, the planner can use it to order an index.
    query = sa.select(Job).where(Job.account_id == unit.account_id)
    query = query.where(Job.archived_at.is_not(None) if wanted.archived else Job.archived_at.is_(None))
    if wanted.states:
        query = query.where(Job.state.in_(sorted(wanted.states)))
    if wanted.kinds:
        query = query.where(Job.kind.in_(sorted(wanted.kinds)))
    if wanted.location_id is not None:
        query = query.where(Job.location_id == wanted.location_id)
    if wanted.origin_id is not None:
        query = query.where(Job.origin_id == wanted.origin_id)
    if wanted.since is not None:
        query = query.where(Job.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(Job.created_at < wanted.until)
    for word in (wanted.text or "").split()[:8]:
        query = query.where(sa.or_(Job.title.icontains(word, autoescape=True), Job.kind.icontains(word, autoescape=True)))
    return query


async def jobs_page(unit: Unit, *, wanted: JobFilter, order: JobOrder, window: Window) -> Page[Job]:
    """One page of jobs."""
    return await paginate(unit.session, filtered(unit, wanted), order=ORDERS[order], window=window)


jobs_by_ids = by_ids(Job, scope=Scope.JOBS_READ)


async def get(unit: Unit, job_id: UUID) -> Job | None:
    """One job, or None. Raises Forbidden."""
    return (await jobs_by_ids(unit, [job_id]))[0]


async def attempts_of(unit: Unit, job_ids: Collection[UUID]) -> list[JobAttempt]:
    """The attempts of some jobs, in order."""
    unit.require(Scope.JOBS_READ)
    query = sa.select(JobAttempt).where(JobAttempt.job_id.in_(job_ids)).order_by(JobAttempt.job_id, JobAttempt.number)
    return list((await unit.session.scalars(query)).all())


async def log_page(unit: Unit, *, job_id: UUID, level: LogLevel | None, window: Window) -> Page[JobLog]:
    """A job's log, oldest line first."""
    unit.require(Scope.JOBS_READ)
    query = sa.select(JobLog).where(JobLog.account_id == unit.account_id, JobLog.job_id == job_id)
    query = query if level is None else query.where(JobLog.level == level)
    return await paginate(unit.session, query, order=LOG_ORDER, window=window)
