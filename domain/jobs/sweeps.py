"""What time alone brings about: due jobs become ready, lapsed leases are taken back, old history goes.

Every sweep may run in several processes at once: rows that another one holds are skipped.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.crm.connections import WebhookEvent
from db.models.jobs import LEASED, READY_TO_START, AttemptOutcome, Job, JobAttempt, JobEvent, JobState, Lane
from db.models.queues import Worker
from db.models.tenancy import IdempotencyKey
from domain.jobs import retry
from domain.jobs.admission import LEASE
from domain.jobs.args import kinds, waits_for_release
from domain.jobs.commands import WOKEN
from domain.jobs.lifecycle import AttemptEnd, FromNow, Plus, Transition, transition

BATCH = 500
EVENTS_KEPT = timedelta(days=7)
IDEMPOTENCY_KEPT = timedelta(days=2)
RELEASE_TRIED_EVERY = timedelta(hours=1)
WEBHOOKS_KEPT = timedelta(days=2)
WORKERS_KEPT = timedelta(hours=1)
_PRUNED_AT_ONCE = 20_000
Sweep = Callable[[AsyncSession], Awaitable[list[Job]]]
LOST_MESSAGE = "The worker that ran this fell silent; the job goes on from its last checkpoint."


async def ready_due(session: AsyncSession) -> list[Job]:
    """Scheduled jobs and retries whose time has come become ready."""
    waiting = frozenset({JobState.SCHEDULED, JobState.BACKOFF})
    due = sa.select(Job.id).where(Job.state.in_(waiting), Job.run_at <= sa.func.now(), Job.paused_at.is_(None))
    ids = (await session.scalars(due.order_by(Job.run_at).limit(BATCH).with_for_update(skip_locked=True))).all()
    return list(await transition(session, Transition(ids, waiting, JobState.READY))) if ids else []


async def take_back_lapsed(session: AsyncSession, *, lease: timedelta = LEASE) -> list[Job]:
    """Leases whose holder fell silent end: admitted jobs are ready again, running ones lose their attempt.

    Not within a lease of PostgreSQL's own start: while it was away nobody could send a heartbeat.
    """
    up_long_enough = sa.func.pg_postmaster_start_time() < sa.func.now() - lease
    lapsed = sa.select(Job).where(Job.state.in_(LEASED), Job.lease_until < sa.func.now(), up_long_enough)
    jobs = (await session.scalars(lapsed.limit(BATCH).with_for_update(skip_locked=True))).all()
    moved: list[Job] = []
    for job in jobs:
        moved += await transition(session, _after_silence(job))
    return moved


def _after_silence(job: Job) -> Transition:
    source = frozenset({job.state})
    if job.state is JobState.ADMITTED:
        return Transition([job.id], source, JobState.READY, fence=job.fence)
    end = AttemptEnd(AttemptOutcome.LOST, error_code="BGJ-012", error_message=LOST_MESSAGE)
    if job.state is JobState.CANCELLING:
        return Transition([job.id], source, JobState.CANCELLED, fence=job.fence, ends=end)
    verdict = retry.lost(failures=job.failures, max_retries=job.max_retries)
    values: dict[str, object] = {"failures": Plus(1), "message": LOST_MESSAGE, "error_code": end.error_code}
    if verdict.delay is None:
        values |= {"error_message": LOST_MESSAGE}
    else:
        values |= {"run_at": FromNow(timedelta(seconds=verdict.delay))}
        end = AttemptEnd(verdict.outcome, error_code="BGJ-012", error_message=LOST_MESSAGE, next_delay=verdict.delay)
    return Transition([job.id], source, verdict.state, fence=job.fence, ends=end, values=values)


async def wake_for_release(session: AsyncSession, *, starting: bool = False) -> list[Job]:
    """Jobs that a former release could not run are tried by this one.

    Called by a worker that is `starting`, and again and again after that, for workers of the former release may go on for a
    while and take some. One that this release cannot run either is then tried after twice the time, and at last once an hour.
    """
    keys = [waits_for_release(kind) for kind in kinds()]
    tried = sa.select(sa.func.max(JobAttempt.ended_at)).where(JobAttempt.job_id == Job.id).scalar_subquery()
    pause = sa.func.least(tried - Job.started_at, RELEASE_TRIED_EVERY)
    waiting = sa.select(Job.id).where(Job.state == JobState.WAITING, Job.waiting_for.in_(keys))
    waiting = waiting if starting else waiting.where(sa.func.coalesce(tried + pause <= sa.func.now(), sa.true()))
    ids = (await session.scalars(waiting.order_by(Job.id).limit(BATCH).with_for_update(skip_locked=True))).all()
    woken = Transition(ids, frozenset({JobState.WAITING}), JobState.READY, values=WOKEN)
    return list(await transition(session, woken)) if ids else []


async def next_due_in(session: AsyncSession) -> float | None:
    """Seconds until the next scheduled job or retry, or the end of the next lease; None when there is none.

    A lease that has lapsed already is left to the next sweep: something kept the last one from taking it back.
    """
    waiting = (JobState.SCHEDULED, JobState.BACKOFF)
    due = sa.select(sa.func.min(Job.run_at).label("at")).where(Job.state.in_(waiting), Job.paused_at.is_(None))
    lapse = sa.select(sa.func.min(Job.lease_until)).where(Job.state.in_(LEASED), Job.lease_until > sa.func.now())
    moments = due.union_all(lapse).subquery()
    seconds = sa.extract("epoch", sa.func.min(moments.c.at) - sa.func.now())
    found = (await session.execute(sa.select(seconds))).scalar()
    return None if found is None else max(0.0, float(found))


async def lanes_to_admit(session: AsyncSession) -> list[Lane]:
    """Lanes in which a job is ready."""
    ready = (sa.select(sa.literal(lane.value)).where(sa.exists().where(Job.lane == lane, READY_TO_START)) for lane in Lane)
    return [Lane(name) for name in await session.scalars(sa.union_all(*ready))]


async def prune(session: AsyncSession) -> bool:
    """Drop what nobody may ask for any more, a bounded number of rows a round; whether there is more."""
    more = False
    for table, moment, kept in (
        (JobEvent, JobEvent.at, EVENTS_KEPT),
        (IdempotencyKey, IdempotencyKey.created_at, IDEMPOTENCY_KEPT),
        (WebhookEvent, WebhookEvent.received_at, WEBHOOKS_KEPT),
        (Worker, Worker.seen_at, WORKERS_KEPT),
    ):
        old: sa.Select[Any] = sa.select(sa.literal_column("ctid")).select_from(table).where(moment < sa.func.now() - kept)
        gone: Any = await session.execute(sa.delete(table).where(sa.literal_column("ctid").in_(old.limit(_PRUNED_AT_ONCE))))
        more |= gone.rowcount >= _PRUNED_AT_ONCE
    return more
