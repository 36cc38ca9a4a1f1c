"""What a deployment watches."""

from dataclasses import dataclass

import sqlalchemy as sa
from prometheus_client import Gauge
from redis.exceptions import RedisError

from db import migrate
from db.models.jobs import TERMINAL, Job, JobState, Lane
from db.models.queues import Worker
from domain.jobs.admission import LEASE
from domain.runtime import Runtime

_JOBS = Gauge("bots_jobs", "Jobs that have not ended", ["lane", "state"])
_OLDEST = Gauge("bots_oldest_ready_seconds", "Age of the job that is ready for longest", ["lane"])
_CAPACITY = Gauge("bots_worker_capacity", "Jobs that live workers can carry at once", ["lane"])


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
    states = sa.select(Job.lane, Job.state, sa.func.count()).where(Job.state.not_in(TERMINAL)).group_by(Job.lane, Job.state)
    waiting = sa.extract("epoch", sa.func.now() - sa.func.min(Job.run_at))
    oldest = sa.select(Job.lane, waiting).where(Job.state == JobState.READY, Job.paused_at.is_(None)).group_by(Job.lane)
    alive = Worker.seen_at > sa.func.now() - LEASE
    capacity = sa.select(Worker.lane, sa.func.sum(Worker.capacity)).where(alive).group_by(Worker.lane)
    try:
        async with runtime.database.system_across_accounts() as session:
            counts = {(lane, state): number for lane, state, number in await session.execute(states)}
            ages = dict((await session.execute(oldest)).all())
            capacities = dict((await session.execute(capacity)).all())
    except (OSError, sa.exc.SQLAlchemyError):
        return
    for lane in Lane:
        _OLDEST.labels(lane.value).set(float(ages.get(lane) or 0))
        _CAPACITY.labels(lane.value).set(int(capacities.get(lane) or 0))
        for state in JobState:
            if state not in TERMINAL:
                _JOBS.labels(lane.value, state.value).set(counts.get((lane, state), 0))
