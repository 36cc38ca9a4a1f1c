"""Finding jobs and what happened to them."""

import operator
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

import orjson
import sqlalchemy as sa
from pydantic import ConfigDict, TypeAdapter, ValidationError
from sqlalchemy.dialects.postgresql import distinct_on

from db.base import any_of
from db.models.jobs import LEASED, AttemptOutcome, Attention, Job, JobAttempt, JobLog, JobState, LogLevel
from db.models.recovery import JobNote
from db.models.schedules import ScheduleFire
from db.models.tenancy import ActorType
from domain.actor import Scope
from domain.jobs import search
from domain.jobs.args import UnreadableArgs
from domain.jobs.catalog import hidden_kinds, housekeeping_kinds, is_visible, none_of
from domain.jobs.priority import JobPriority
from domain.lookups import by_ids
from domain.paging import Order, Page, Window, paginate
from domain.unit import Unit

S = JobState


class JobOrder(StrEnum):
    """How jobs are sorted. By their end only those are listed that have ended."""

    NEWEST = "newest"
    OLDEST = "oldest"
    FINISHED = "finished"


class StatusGroup(StrEnum):
    """Where a job stands, as coarsely as a dashboard's tabs say it. Each job is in exactly one."""

    ACTIVE = "active"
    QUEUED = "queued"
    BLOCKED = "blocked"
    SCHEDULED = "scheduled"
    RETRYING = "retrying"
    WAITING = "waiting"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


# A job that is paused while a worker has it is active until it gives way.
PAUSABLE = frozenset({S.BLOCKED, S.SCHEDULED, S.READY, S.BACKOFF, S.WAITING})
_UNPAUSED = {
    StatusGroup.QUEUED: frozenset({S.READY}),
    StatusGroup.BLOCKED: frozenset({S.BLOCKED}),
    StatusGroup.SCHEDULED: frozenset({S.SCHEDULED}),
    StatusGroup.RETRYING: frozenset({S.BACKOFF}),
    StatusGroup.WAITING: frozenset({S.WAITING}),
}
_WHETHER_PAUSED = {
    StatusGroup.ACTIVE: LEASED,
    StatusGroup.COMPLETED: frozenset({S.SUCCEEDED, S.PARTIAL}),
    StatusGroup.FAILED: frozenset({S.FAILED}),
    StatusGroup.CANCELLED: frozenset({S.CANCELLED, S.SKIPPED}),
}
_GROUPS = {state: group for group, states in (_UNPAUSED | _WHETHER_PAUSED).items() for state in states}

NEWEST = Order((Job.created_at, Job.id), descending=True)
ORDERS = {
    JobOrder.NEWEST: NEWEST,
    JobOrder.OLDEST: Order((Job.created_at, Job.id)),
    JobOrder.FINISHED: Order((Job.finished_at, Job.id), descending=True),
}
LOG_ORDER = Order((JobLog.id,))
_FELL_SHORT = (AttemptOutcome.FAILED, AttemptOutcome.LOST, AttemptOutcome.PARTIAL)


def group_of(state: JobState, *, paused: bool) -> StatusGroup:
    """The group that a job is in."""
    return StatusGroup.PAUSED if paused and state in PAUSABLE else _GROUPS[state]


@dataclass(frozen=True, slots=True)
class JobFilter:
    """All that is given must hold; times are UTC, each `until` is exclusive.

    Archived jobs, and those of housekeeping kinds, are left out unless asked for; so are, in any case, those of kinds that
    the actor may not see.
    """

    states: frozenset[JobState] = frozenset()
    groups: frozenset[StatusGroup] = frozenset()
    kinds: frozenset[str] = frozenset()
    location_id: UUID | None = None
    origin_id: UUID | None = None
    schedule_id: UUID | None = None
    origin_types: frozenset[ActorType] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    finished_since: datetime | None = None
    finished_until: datetime | None = None
    priorities: frozenset[JobPriority] = frozenset()
    attention: frozenset[Attention] = frozenset()
    error_codes: frozenset[str] = frozenset()
    paused: bool | None = None
    awaits_reply: bool | None = None
    text: str | None = None
    archived: bool = False
    housekeeping: bool = False

    # A condition of a newer release that was left out would widen the filter.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


_FILTERS = TypeAdapter(JobFilter)


def filter_to_json(wanted: JobFilter) -> str:
    """For a job's arguments and idempotency keys: equal filters give equal texts."""
    given = _FILTERS.dump_python(wanted, mode="json")
    tidy = {name: sorted(value) if isinstance(value, list) else value for name, value in given.items()}
    return orjson.dumps(tidy).decode()


def filter_from_json(text: str) -> JobFilter:
    """Raises UnreadableArgs for one that this release does not understand; a job then waits for the one that does."""
    try:
        return _FILTERS.validate_json(text)
    except ValidationError:
        raise UnreadableArgs("This release does not understand the filter.") from None


def filtered(unit: Unit, wanted: JobFilter) -> "sa.Select[Job]":
    """The jobs that fit. Raises Forbidden."""
    unit.require(Scope.JOBS_READ)
    # Row-level security says the same; said here too, the planner can use it to order an index.
    query = sa.select(Job).where(Job.account_id == unit.account_id)
    query = query.where(Job.archived_at.is_not(None) if wanted.archived else Job.archived_at.is_(None))
    left_out = {*hidden_kinds(unit.actor.scopes), *(() if wanted.housekeeping else housekeeping_kinds())}
    if wanted.kinds:
        # A kind that is asked for by name is wanted, even if it is housekeeping.
        query = query.where(any_of(Job.kind, sorted(wanted.kinds - set(hidden_kinds(unit.actor.scopes)))))
    elif left_out:
        query = query.where(none_of(left_out))
    if wanted.schedule_id is not None:
        fires = sa.select(ScheduleFire.job_id).where(ScheduleFire.account_id == unit.account_id)
        query = query.where(Job.id.in_(fires.where(ScheduleFire.schedule_id == wanted.schedule_id)))
    if wanted.awaits_reply is not None:
        asked = _unanswered(unit)
        query = query.where(Job.id.in_(asked) if wanted.awaits_reply else Job.id.not_in(asked))
    return query.where(*_conditions(wanted), *(search.fits(unit, word) for word in search.words_of(wanted.text)))


def _unanswered(unit: Unit) -> "sa.Select[UUID]":
    """Jobs in whose notes the customer had the last word; what only support sees is no answer."""
    shown = sa.select(JobNote.job_id, JobNote.author_type).where(JobNote.account_id == unit.account_id, ~JobNote.internal)
    last = shown.ext(distinct_on(JobNote.job_id)).order_by(JobNote.job_id, JobNote.id.desc()).subquery()
    return sa.select(last.c.job_id).where(last.c.author_type != ActorType.SUPPORT)


def _conditions(wanted: JobFilter) -> Iterator[sa.ColumnElement[bool]]:
    if wanted.states:
        yield state_in(wanted.states)
    if wanted.groups:
        yield sa.or_(*(in_group(group) for group in sorted(wanted.groups)))
    if wanted.priorities:
        yield sa.or_(*(_of_level(level) for level in sorted(wanted.priorities)))
    if wanted.paused is not None:
        yield Job.paused_at.is_not(None) if wanted.paused else Job.paused_at.is_(None)
    ones: list[tuple[Any, Any, Callable[[Any, Any], Any]]] = [
        (Job.location_id, wanted.location_id, operator.eq),
        (Job.origin_id, wanted.origin_id, operator.eq),
        (Job.created_at, wanted.since, operator.ge),
        (Job.created_at, wanted.until, operator.lt),
        (Job.finished_at, wanted.finished_since, operator.ge),
        (Job.finished_at, wanted.finished_until, operator.lt),
    ]
    yield from (holds(column, value) for column, value, holds in ones if value is not None)
    several: list[tuple[Any, frozenset[Any]]] = [
        (Job.origin_type, wanted.origin_types),
        (Job.attention, wanted.attention),
        (Job.error_code, wanted.error_codes),
    ]
    yield from (any_of(column, sorted(values)) for column, values in several if values)


def _of_level(level: JobPriority) -> sa.ColumnElement[bool]:
    least, beyond = level.bounds
    from_there = sa.true() if least is None else Job.priority >= least
    return from_there if beyond is None else sa.and_(from_there, Job.priority < beyond)


def in_group(group: StatusGroup) -> sa.ColumnElement[bool]:
    """Whether a job is in this group."""
    if group is StatusGroup.PAUSED:
        return sa.and_(state_in(PAUSABLE), Job.paused_at.is_not(None))
    if group in _UNPAUSED:
        return sa.and_(state_in(_UNPAUSED[group]), Job.paused_at.is_(None))
    return state_in(_WHETHER_PAUSED[group])


def state_in(states: Collection[JobState]) -> sa.ColumnElement[bool]:
    """Whether a job is in one of these states.

    Written into the statement: once PostgreSQL plans for any parameters, it no longer knows which states are rare.
    """
    values = sa.bindparam("states", sorted(states), type_=Job.state.type, expanding=True, literal_execute=True, unique=True)
    return Job.state.in_(values)


async def jobs_page(unit: Unit, *, wanted: JobFilter, order: JobOrder, window: Window) -> Page[Job]:
    """One page of jobs."""
    query = filtered(unit, wanted)
    query = query.where(Job.finished_at.is_not(None)) if order is JobOrder.FINISHED else query
    return await paginate(unit.session, query, order=ORDERS[order], window=window)


_any_by_ids = by_ids(Job, scope=Scope.JOBS_READ)


async def jobs_by_ids(unit: Unit, ids: Sequence[UUID]) -> list[Job | None]:
    """Jobs in the order of their ids, None where there is none that the actor may see. Raises Forbidden."""
    found = await _any_by_ids(unit, ids)
    return [job if job is not None and is_visible(unit, job.kind) else None for job in found]


async def get(unit: Unit, job_id: UUID) -> Job | None:
    """One job, or None. Raises Forbidden."""
    return (await jobs_by_ids(unit, [job_id]))[0]


async def attempts_of(unit: Unit, job_ids: Collection[UUID]) -> list[JobAttempt]:
    """The attempts of some jobs, in order."""
    unit.require(Scope.JOBS_READ)
    query = sa.select(JobAttempt).where(JobAttempt.job_id.in_(job_ids)).order_by(JobAttempt.job_id, JobAttempt.number)
    return list((await unit.session.scalars(query)).all())


async def failed_attempts(unit: Unit, job_ids: Sequence[UUID]) -> list[int]:
    """How many attempts of each of some jobs failed, or succeeded only in part; one that gave way as asked is none of these."""
    unit.require(Scope.JOBS_READ)
    query = sa.select(JobAttempt.job_id, sa.func.count()).where(any_of(JobAttempt.job_id, job_ids))
    query = query.where(any_of(JobAttempt.outcome, _FELL_SHORT)).group_by(JobAttempt.job_id)
    found = dict((await unit.session.execute(query)).all())
    return [found.get(job_id, 0) for job_id in job_ids]


async def execution_times(unit: Unit, job_ids: Sequence[UUID]) -> list[timedelta]:
    """How long workers have had each of some jobs so far, all its attempts together."""
    unit.require(Scope.JOBS_READ)
    until = sa.func.coalesce(JobAttempt.ended_at, sa.func.now())
    spent = sa.type_coerce(sa.func.sum(until - JobAttempt.started_at), sa.Interval)
    query = sa.select(JobAttempt.job_id, spent).where(any_of(JobAttempt.job_id, job_ids)).group_by(JobAttempt.job_id)
    found = dict((await unit.session.execute(query)).all())
    return [found.get(job_id, timedelta()) for job_id in job_ids]


async def log_page(unit: Unit, *, job_id: UUID, level: LogLevel | None, window: Window) -> Page[JobLog]:
    """A job's log, oldest line first."""
    unit.require(Scope.JOBS_READ)
    query = sa.select(JobLog).where(JobLog.account_id == unit.account_id, JobLog.job_id == job_id)
    query = query if level is None else query.where(JobLog.level == level)
    return await paginate(unit.session, query, order=LOG_ORDER, window=window)


async def recent_log(unit: Unit, job_ids: Sequence[UUID], *, lines: int) -> list[list[JobLog]]:
    """The newest lines of each of some jobs, newest first, in one statement."""
    unit.require(Scope.JOBS_READ)
    ids = sa.select(sa.func.unnest(sa.literal(list(job_ids), sa.ARRAY(sa.Uuid))).label("job_id")).subquery()
    mine = sa.select(JobLog).where(JobLog.account_id == unit.account_id, JobLog.job_id == ids.c.job_id)
    newest = sa.orm.aliased(JobLog, mine.order_by(JobLog.id.desc()).limit(lines).lateral())
    found: dict[UUID, list[JobLog]] = {job_id: [] for job_id in job_ids}
    for line in await unit.session.scalars(sa.select(newest).select_from(ids).join(newest, sa.true())):
        found[line.job_id].append(line)
    return [sorted(found[job_id], key=lambda line: line.id, reverse=True) for job_id in job_ids]
