"""What a worker does with a job that it was given: claim it, keep it, and give it back with an outcome."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.jobs import Job, JobState, Lane
from db.models.queues import Worker
from domain.jobs.admission import LEASE
from domain.jobs.lifecycle import AttemptEnd, FromNow, Transition, transition

HELD = frozenset({JobState.RUNNING, JobState.CANCELLING})


class Unstorable(ValueError):
    """What a job came to cannot be written down, and will not be at another time."""


@dataclass(frozen=True, slots=True)
class Held:
    """A job as its worker holds it."""

    job_id: UUID
    fence: int


async def claim(session: AsyncSession, *, job_id: UUID, fence: int, worker: str, lease: timedelta = LEASE) -> Job | None:
    """Start the next attempt; None when the lease went to somebody else, or this is a push that came twice.

    Takes a session across accounts: the carrier knows ids only.
    """
    jobs = await transition(
        session,
        Transition(
            [job_id],
            frozenset({JobState.ADMITTED}),
            JobState.RUNNING,
            fence=fence,
            starts_for=worker,
            values={"lease_until": FromNow(lease)},
        ),
    )
    return jobs[0] if jobs else None


async def register(session: AsyncSession, *, worker: str, lane: Lane, capacity: int) -> None:
    """Tell admission that a worker is alive and how many jobs it carries at once. Called with every heartbeat."""
    row = insert(Worker).values(name=worker, lane=lane, capacity=capacity)
    update = {"capacity": capacity, "seen_at": sa.func.now()}
    await session.execute(row.on_conflict_do_update(index_elements=[Worker.name], set_=update))


async def deregister(session: AsyncSession, *, worker: str) -> None:
    """Tell admission that a worker takes no more jobs."""
    await session.execute(sa.delete(Worker).where(Worker.name == worker))


async def extend(
    session: AsyncSession, *, worker: str, held: Collection[Held], lease: timedelta = LEASE
) -> Mapping[Held, JobState]:
    """Prolong the leases of `held`; those missing from the answer were lost to somebody else."""
    if not held:
        return {}
    rows = await session.execute(
        sa.update(Job)
        .where(sa.tuple_(Job.id, Job.fence).in_([(item.job_id, item.fence) for item in held]))
        .where(Job.worker == worker, Job.state.in_(HELD))
        # A cancellation is bounded by the lease that the job had when it was asked for.
        .values(lease_until=sa.case((Job.state == JobState.RUNNING, sa.func.now() + lease), else_=Job.lease_until))
        .returning(Job.id, Job.fence, Job.state)
        .execution_options(synchronize_session=False)
    )
    return {Held(job_id, fence): state for job_id, fence, state in rows}


async def release(session: AsyncSession, *, held: Held, to: JobState, end: AttemptEnd, values: Mapping[str, Any]) -> Job | None:
    """End the attempt and move the job on, after `end.next_delay` where it is to run again.

    None when the lease was lost meanwhile, and then nothing was written. Raises Unstorable; texts lose what PostgreSQL does
    not take.
    """
    values, end = _storable(values), replace(end, **{each.name: _storable(getattr(end, each.name)) for each in fields(end)})
    if end.next_delay is not None:
        values = {**values, "run_at": FromNow(timedelta(seconds=end.next_delay))}
    sources = frozenset({JobState.RUNNING, JobState.CANCELLING}) if to in _ENDS_CANCELLING else frozenset({JobState.RUNNING})
    wanted = Transition([held.job_id], sources, to, fence=held.fence, ends=end, values=values)
    try:
        jobs = await transition(session, wanted)
    except sa.exc.StatementError as error:
        if _is_of_the_values(error):
            raise Unstorable(type(error.orig).__name__) from None  # their messages quote the values
        raise
    return jobs[0] if jobs else None


def _storable(value: Any) -> Any:
    """Without NUL characters, and with a question mark for each half of a surrogate pair."""
    if type(value) is str:  # an enum's members stay what they are
        return value.replace("\0", "").encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {_storable(name): _storable(each) for name, each in value.items()}
    return [_storable(each) for each in value] if isinstance(value, list | tuple) else value


def _is_of_the_values(error: sa.exc.StatementError) -> bool:
    """Whether SQLAlchemy, the driver or PostgreSQL (its errors of class 22) refused what was to be written."""
    if not isinstance(error, sa.exc.DBAPIError):
        return True
    refused = isinstance(getattr(error.orig, "__cause__", None), ValueError)
    return refused or (getattr(error.orig, "sqlstate", None) or "").startswith("22")


# A job that is being cancelled may still finish first; but it does not go back into the queue.
_ENDS_CANCELLING = frozenset({JobState.SUCCEEDED, JobState.PARTIAL, JobState.FAILED, JobState.CANCELLED})
