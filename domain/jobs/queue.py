"""What stands in the queue, in which order it starts, and how people change that."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from db.base import any_of
from db.models.jobs import READY_TO_START, TERMINAL, Job, JobState, Lane
from db.models.tenancy import AuditLog, Role
from domain.actor import Scope
from domain.errors import Conflict, Invalid, NotFound
from domain.jobs import dependencies
from domain.jobs.catalog import is_visible, require_changeable
from domain.jobs.lifecycle import NOW, Transition, amend, transition
from domain.jobs.priority import JobPriority
from domain.jobs.queries import JobFilter, filtered
from domain.paging import Order, Page, Window
from domain.unit import Unit

QUEUED = frozenset({JobState.BLOCKED, JobState.SCHEDULED, JobState.READY, JobState.BACKOFF, JobState.WAITING})
_PAUSABLE = QUEUED | {JobState.ADMITTED, JobState.RUNNING}
_BOOST_TOP = 1_000_000_000
_BOOSTED = 500_000_000  # no level is as high, and no number of boosts leads so low
_ORDER_CHANGES = ("job.priority", "job.priority.override", "job.boost")


class NotQueued(Conflict):
    """The job runs or has ended, or is about to start: its place in the queue is behind it."""

    code = "BGJ-050"


@dataclass(frozen=True, slots=True)
class Changed:
    """The job as it is now; a `notice` where nothing had to be done; jobs that wait for it, directly or not."""

    job: Job
    notice: str | None = None
    affected: list[Job] = field(default_factory=list)


def is_boosted(job: Job) -> bool:
    """Whether somebody sent it to the front."""
    return job.priority > _BOOSTED


async def set_priority(unit: Unit, *, job_id: UUID, level: JobPriority) -> Changed:
    """Let the job start before those of a lower level. Takes a boost back. Raises Forbidden, NotFound, NotQueued."""
    unit.require(Scope.JOBS_WRITE)
    job = await _queued(unit, job_id)
    if job.priority == level:
        return Changed(job, notice=f"Its priority is {level.name.lower()} already.")
    return Changed(await _reorder(unit, job, level, action="job.priority"))


async def boost(unit: Unit, *, job_id: UUID) -> Changed:
    """Send the job to the front of its queue, behind those that were boosted before it. Raises as `set_priority`."""
    unit.require(Scope.JOBS_WRITE)
    job = await _queued(unit, job_id)
    if is_boosted(job):
        return Changed(job, notice="It is boosted already; only what was boosted before it comes first.")
    if await _first(unit, job.lane) == job.id:
        return Changed(job, notice="It is the first in its queue already.")
    turn = (await unit.session.execute(sa.select(sa.func.nextval("job_boost_seq")))).scalar_one()
    return Changed(await _reorder(unit, job, _BOOST_TOP - turn, action="job.boost"))


async def pause(unit: Unit, *, job_id: UUID) -> Changed:
    """Keep the job from starting; it keeps its state and its place. One that runs stops at its next checkpoint.

    Raises Forbidden, NotFound, NotQueued.
    """
    unit.require(Scope.JOBS_WRITE)
    job = await lock(unit, job_id)
    require_changeable(unit, job)
    if job.state not in _PAUSABLE:
        raise NotQueued(f"This job cannot be paused: it {_PAST[job.state]}.")
    affected = await dependencies.downstream(unit, [job_id])
    if job.paused_at is not None:
        return Changed(job, notice="It is paused already.", affected=affected)
    if job.state is JobState.ADMITTED:  # its push then loses the claim
        sources = frozenset({JobState.ADMITTED})
        (paused,) = await transition(unit.session, Transition([job_id], sources, JobState.READY, values={"paused_at": NOW}))
    else:
        (paused,) = await amend(unit.session, [job_id], {"paused_at": sa.func.now()})
    unit.audit("job.pause", subject_type="job", subject_id=job_id, state=paused.state, holds_up=len(affected))
    unit.changed("job", job_id)
    return Changed(paused, affected=affected)


async def resume(unit: Unit, *, job_id: UUID) -> Changed:
    """Let a paused job go on, at the place in the queue that it kept. Raises Forbidden, NotFound, NotQueued."""
    unit.require(Scope.JOBS_WRITE)
    job = await lock(unit, job_id)
    if job.state in TERMINAL:
        raise NotQueued(f"This job cannot be resumed: it {_PAST[job.state]}.")
    if job.paused_at is None:
        return Changed(job, notice="It is not paused.")
    (resumed,) = await amend(unit.session, [job_id], {"paused_at": None})
    unit.audit("job.resume", subject_type="job", subject_id=job_id, state=resumed.state)
    _announce(unit, resumed)
    return Changed(resumed)


async def lock(unit: Unit, job_id: UUID) -> Job:
    """The job, which stays as it is until the unit ends. Raises NotFound."""
    job = (await unit.session.scalars(sa.select(Job).where(Job.id == job_id).with_for_update())).one_or_none()
    if job is None or not is_visible(unit, job.kind):
        raise NotFound("There is no such job.")
    return job


async def positions(unit: Unit, job_ids: Sequence[UUID]) -> list[int | None]:
    """The places, from 1, of some jobs among the waiting ones of the same lane that the actor sees; None for any others."""
    waiting = _queue(unit, lane=None, kind=None, paused=False)
    # Nobody asks for the places of those behind the last one.
    last = waiting.where(any_of(Job.id, job_ids)).with_only_columns(Job.priority, Job.position)
    last_of = last.order_by(Job.priority, Job.position.desc()).limit(1).cte("last")
    lowest, farthest = (sa.select(column).scalar_subquery() for column in (last_of.c.priority, last_of.c.position))
    place = sa.func.row_number().over(partition_by=Job.lane, order_by=(Job.priority.desc(), Job.position)).label("place")
    counted = (
        waiting.with_only_columns(Job.id, place)
        .where(Job.priority >= lowest, sa.or_(Job.priority > lowest, Job.position <= farthest))
        .subquery()
    )
    rows = await unit.session.execute(sa.select(counted.c.id, counted.c.place).where(any_of(counted.c.id, job_ids)))
    places = {row.id: int(row.place) for row in rows}
    return [places.get(job_id) for job_id in job_ids]


@dataclass(frozen=True, slots=True)
class QueueOrder(Order):
    """Priority falls, position rises."""

    def parse(self, values: Sequence[Any], *, field: str) -> list[Any]:
        """Raises Invalid."""
        match values:
            case [int(priority), int(position)] if abs(priority) < 2**31 and abs(position) < 2**63:
                return [priority, position]
            case _:
                raise Invalid("This cursor belongs to another list.", field=(field,))


ORDER = QueueOrder((Job.priority, Job.position))


async def queue_page(unit: Unit, *, lane: Lane | None, kind: str | None, paused: bool, window: Window) -> Page[Job]:
    """What waits for a slot, or is paused, in the order of admission. Raises Forbidden."""
    query = _queue(unit, lane=lane, kind=kind, paused=paused)
    whole = query
    if window.after is not None:
        query = query.where(_beyond(ORDER.parse(window.after, field="after"), forward=True))
    if window.before is not None:
        query = query.where(_beyond(ORDER.parse(window.before, field="before"), forward=False))
    order = (Job.priority.asc(), Job.position.desc()) if window.backward else (Job.priority.desc(), Job.position.asc())
    rows = list((await unit.session.scalars(query.order_by(*order).limit(window.size + 1))).all())
    more = len(rows) > window.size
    rows = rows[: window.size]
    if window.backward:
        rows.reverse()
        return Page(rows, ORDER, has_next=window.before is not None, has_previous=more, query=whole)
    return Page(rows, ORDER, has_next=more, has_previous=window.after is not None, query=whole)


async def is_all_paused(unit: Unit, *, lane: Lane | None, kind: str | None) -> bool:
    """Whether nothing waits for a slot, and something would if it were not paused. Raises Forbidden."""
    waiting, paused = (_queue(unit, lane=lane, kind=kind, paused=paused).exists() for paused in (False, True))
    return bool((await unit.session.execute(sa.select(sa.and_(~waiting, paused)))).scalar_one())


def _queue(unit: Unit, *, lane: Lane | None, kind: str | None, paused: bool) -> "sa.Select[Job]":
    query = filtered(unit, JobFilter(kinds=frozenset({kind} if kind is not None else ())))
    query = query.where(Job.paused_at.is_not(None), Job.state.not_in(TERMINAL)) if paused else query.where(READY_TO_START)
    return query if lane is None else query.where(Job.lane == lane)


def _beyond(values: list[Any], *, forward: bool) -> sa.ColumnElement[bool]:
    priority, position = values
    if forward:
        return sa.and_(Job.priority <= priority, sa.or_(Job.priority < priority, Job.position > position))
    return sa.and_(Job.priority >= priority, sa.or_(Job.priority > priority, Job.position < position))


async def _queued(unit: Unit, job_id: UUID) -> Job:
    job = await lock(unit, job_id)
    require_changeable(unit, job)
    if job.state not in QUEUED:
        how = "it can only be cancelled or paused" if job.state not in TERMINAL else "its place is behind it"
        raise NotQueued(f"This job {_PAST[job.state]} and cannot be reordered; {how}.")
    return job


async def _first(unit: Unit, lane: Lane) -> UUID | None:
    first = aliased(Job)
    query = sa.select(first.id).where(first.account_id == unit.account_id, first.lane == lane)
    query = query.where(first.state == sa.literal_column("'ready'"), first.paused_at.is_(None))
    return (await unit.session.scalars(query.order_by(first.priority.desc(), first.position).limit(1))).one_or_none()


async def _reorder(unit: Unit, job: Job, priority: int, *, action: str) -> Job:
    before = priority_name(job.priority)
    overridden = await _overridden(unit, job.id)
    (moved,) = await amend(unit.session, [job.id], {"priority": priority})
    unit.audit(
        action if overridden is None else f"{action}.override",
        subject_type="job",
        subject_id=job.id,
        before=before,
        after=priority_name(priority),
        role=unit.actor.role,
        **({} if overridden is None else {"overrides": overridden}),
    )
    _announce(unit, moved)
    return moved


async def _overridden(unit: Unit, job_id: UUID) -> str | None:
    """Whose decision about this job's place somebody above them now takes back."""
    if Scope.SETTINGS_WRITE not in unit.actor.scopes:
        return None
    last = sa.select(AuditLog).where(AuditLog.subject_id == job_id, AuditLog.action.in_(_ORDER_CHANGES))
    entry = (await unit.session.scalars(last.order_by(AuditLog.id.desc()).limit(1))).one_or_none()
    return entry.actor_name if entry is not None and entry.details.get("role") in {Role.MEMBER, Role.SUPPORT} else None


def priority_name(priority: int) -> str:
    """A priority for people."""
    return "BOOSTED" if priority > _BOOSTED else JobPriority.nearest(priority).name


def _announce(unit: Unit, job: Job) -> None:
    unit.changed("job", job.id)
    if job.state is JobState.READY and job.paused_at is None:
        unit.admit(job.lane)


_PAST = {
    JobState.ADMITTED: "is about to start",
    JobState.RUNNING: "is running",
    JobState.CANCELLING: "is being cancelled",
    JobState.SUCCEEDED: "has succeeded",
    JobState.PARTIAL: "has succeeded in part",
    JobState.FAILED: "has failed",
    JobState.CANCELLED: "was cancelled",
    JobState.SKIPPED: "was skipped",
}
