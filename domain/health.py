"""What a deployment watches."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from prometheus_client import Gauge
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncSession

from db import migrate
from db.models.jobs import LEASED, NOT_ENDED, Job, JobMove, JobState, Lane
from db.models.notifications import Channel, Delivery, DeliveryState
from db.models.queues import Worker
from db.models.webhooks import WebhookDelivery, WebhookDeliveryState
from domain.runtime import Runtime

_JOBS = Gauge(
    "bots_jobs", "Jobs that have not ended; those in admitted, running and cancelling hold a slot", ["lane", "kind", "state"]
)
_OLDEST = Gauge("bots_oldest_ready_seconds", "Age of the job that is ready for longest", ["lane"])
_CAPACITY = Gauge("bots_worker_capacity", "Jobs that live workers can carry at once", ["lane"])
_USED = Gauge("bots_worker_used", "Jobs that hold a slot, of that capacity", ["lane"])
_WORKERS = Gauge("bots_workers", "Live worker processes", ["lane"])
_MOVES = Gauge("bots_moves_pending", "Jobs' moves that nobody has reacted to yet")
_DELIVERIES = Gauge("bots_deliveries_pending", "Messages and webhooks that are on their way or wait for a retry", ["outlet"])
_DUE_SINCE = Gauge("bots_deliveries_due_seconds", "For how long the oldest of them is due", ["outlet"])


@dataclass(frozen=True, slots=True)
class Report:
    """Whether requests can be served, and in a word each, why."""

    ready: bool
    parts: dict[str, str]


async def check(runtime: Runtime) -> Report:
    """Ask PostgreSQL and Redis."""
    parts = {"postgresql": "ok", "redis": "ok"}
    ready = True
    try:
        if await migrate.pending(runtime.settings.database_url):
            parts["postgresql"], ready = "its schema is not up to date", False
    except (OSError, sa.exc.SQLAlchemyError) as error:
        parts["postgresql"], ready = f"unreachable ({type(error).__name__})", False
    try:
        await runtime.redis.get("bots:ready")
    except (RedisError, OSError) as error:
        parts["redis"] = f"unreachable ({type(error).__name__}); updates are polled"
    return Report(ready, parts)


async def measure(runtime: Runtime) -> None:
    """Bring the gauges of the job engine up to date; they stay as they were while PostgreSQL is away."""
    try:
        async with runtime.database.system_across_accounts() as session:
            await _measure_jobs(session, lease=runtime.settings.lease)
            await _measure_deliveries(session)
    except (OSError, sa.exc.SQLAlchemyError):
        return


async def _measure_jobs(session: AsyncSession, *, lease: timedelta) -> None:
    alive = sa.select(Worker.lane, sa.func.sum(Worker.capacity), sa.func.count()).where(Worker.seen_at > sa.func.now() - lease)
    workers = {lane: (capacity, number) for lane, capacity, number in await session.execute(alive.group_by(Worker.lane))}
    waiting = sa.extract("epoch", sa.func.now() - sa.func.min(Job.run_at))
    ready = sa.select(Job.lane, waiting).where(Job.state == JobState.READY, Job.paused_at.is_(None))
    ages: dict[Lane, Any] = dict((await session.execute(ready.group_by(Job.lane))).all())
    grouped = (Job.lane, Job.kind, Job.state)
    counted = (await session.execute(sa.select(*grouped, sa.func.count()).where(NOT_ENDED).group_by(*grouped))).all()
    moves = (await session.execute(sa.select(sa.func.count()).select_from(JobMove))).scalar_one()
    # A kind that has no such jobs any more must not keep its last figure.
    _JOBS.clear()
    for lane, kind, state, number in counted:
        _JOBS.labels(lane.value, kind, state.value).set(number)
    for lane in Lane:
        capacity, number = workers.get(lane, (0, 0))
        _CAPACITY.labels(lane.value).set(int(capacity))
        _WORKERS.labels(lane.value).set(number)
        _OLDEST.labels(lane.value).set(max(0.0, float(ages.get(lane) or 0)))
        _USED.labels(lane.value).set(sum(row[3] for row in counted if row[0] is lane and row[2] in LEASED))
    _MOVES.set(moves)


async def _measure_deliveries(session: AsyncSession) -> None:
    due = sa.extract("epoch", sa.func.now() - sa.func.min(WebhookDelivery.next_at))
    webhooks = sa.select(sa.func.count(), due).where(WebhookDelivery.state == WebhookDeliveryState.PENDING)
    found: dict[str, Any] = {"webhooks": (await session.execute(webhooks)).one()}
    due = sa.extract("epoch", sa.func.now() - sa.func.min(Delivery.next_at))
    unsent = Delivery.state.in_((DeliveryState.QUEUED, DeliveryState.SENDING))
    messages = sa.select(Delivery.channel, sa.func.count(), due).where(unsent).group_by(Delivery.channel)
    found |= {channel.value: (number, since) for channel, number, since in await session.execute(messages)}
    for outlet in ("webhooks", *(channel.value for channel in Channel if channel is not Channel.IN_APP)):
        number, since = found.get(outlet, (0, None))
        _DELIVERIES.labels(outlet).set(number)
        _DUE_SINCE.labels(outlet).set(max(0.0, float(since or 0)))
