"""One change for many jobs: asked for with the number that was seen, carried out as a job of its own, batch by batch."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError

from db.base import any_of
from db.models.jobs import Job, Lane
from db.models.recovery import JobTarget
from domain.actor import Actor, Scope
from domain.errors import Conflict, DomainError, Invalid, NotFound
from domain.jobs import commands
from domain.jobs.args import JobArgs
from domain.jobs.catalog import hidden_kinds, none_of
from domain.jobs.queries import JobFilter, filter_to_json, filtered
from domain.tenancy import idempotency
from domain.unit import Unit

MAX_IDS = 1_000
MAX_JOBS = 100_000  # by a filter
_BATCH = 50  # its rows stay locked until all of it is done

Change = Callable[[Unit, UUID], Awaitable[Job]]


class BulkAction(StrEnum):
    """What is done to each of the jobs."""

    CANCEL = "cancel"
    RETRY = "retry"
    PAUSE = "pause"
    RESUME = "resume"
    ARCHIVE = "archive"


@dataclass(frozen=True)
class ChangeJobs(
    JobArgs,
    kind="jobs.bulk",
    title="Change of many jobs",
    lane=Lane.INTERACTIVE,
    housekeeping=True,
    takes_slot=False,
):
    """Do `action` to the `count` jobs that are this job's JobTargets.

    `scopes` are those of whoever asked: the job sees no more than they do.
    """

    action: str
    count: int
    scopes: list[str]


class CountChanged(Conflict):
    """Not as many jobs fit as the client was shown: `actual` do."""

    code = "BGJ-055"

    def __init__(self, actual: int) -> None:
        super().__init__(f"{actual:,} jobs fit now.", field=("expectedCount",))
        self.actual = actual


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs: these ids, or all that fit a filter. Raises Invalid unless it is one of both."""

    ids: Sequence[UUID] | None = None
    wanted: JobFilter | None = None

    def __post_init__(self) -> None:
        if (self.ids is None) == (self.wanted is None):
            raise Invalid("Give either ids or a filter.", field=("ids",))
        if self.ids is not None and not 1 <= len(self.ids) <= MAX_IDS:
            raise Invalid(f"Give 1 to {MAX_IDS:,} ids, or a filter.", field=("ids",))

    def query(self, unit: Unit) -> "sa.Select[Job]":
        """The jobs, of those that the actor sees. Raises Forbidden."""
        if self.wanted is not None:
            return filtered(unit, self.wanted)
        unit.require(Scope.JOBS_READ)
        mine = sa.select(Job).where(Job.account_id == unit.account_id, any_of(Job.id, self.ids or ()))
        return mine.where(none_of(hidden_kinds(unit.actor.scopes)))


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of a part: how many jobs were met, how many of them changed, and the last one."""

    matched: int
    changed: int
    last: UUID | None


async def start(
    unit: Unit,
    action: BulkAction,
    *,
    selection: Selection,
    expected_count: int | None,
    idempotency_key: str | None = None,
) -> Job:
    """Ask for it; the job that does it. Just the jobs that fit now are changed; a filter needs the count that was seen.

    Raises Forbidden, Invalid, NotFound for an id that is not there, CountChanged, KeyReused.
    """
    unit.require(Scope.JOBS_WRITE)
    if selection.wanted is not None and expected_count is None:
        raise Invalid("Give the number of jobs that you saw with this filter.", field=("expectedCount",))
    wanted = "" if selection.wanted is None else filter_to_json(selection.wanted)
    ids = sorted(set(selection.ids or ()))
    given = {"ids": ids, "filter": wanted, "expectedCount": expected_count}
    first = await idempotency.replay(unit, key=idempotency_key, operation=f"{action}Jobs", given=given)
    if first is not None:
        return (await unit.session.scalars(sa.select(Job).where(Job.id == first))).one()
    fitting = selection.query(unit).with_only_columns(Job.id).limit(MAX_JOBS + 1)
    targets = (await unit.session.scalars(fitting)).all()
    actual = len(targets)
    if actual > MAX_JOBS:
        raise Invalid(f"More than {MAX_JOBS:,} jobs fit: narrow the filter.", field=("filter",))
    if ids and actual < len(ids):
        raise NotFound("Not all of these jobs are there.", field=("ids",))
    if expected_count not in {None, actual}:
        raise CountChanged(actual)
    args = ChangeJobs(action=action, count=actual, scopes=sorted(unit.actor.scopes))
    plural = "job" if actual == 1 else "jobs"
    job = (await commands.enqueue(unit, args, title=f"{action.value.capitalize()} {actual:,} {plural}")).job
    await _keep(unit, job.id, targets)
    unit.audit(f"jobs.{action}", subject_type="job", subject_id=job.id, count=actual, filter=wanted or None)
    await idempotency.remember(unit, key=idempotency_key, subject_id=job.id)
    return job


async def requester(unit: Unit, *, job_id: UUID, args: ChangeJobs) -> Actor:
    """Whoever asked for the job, with the rights that they had then."""
    job = (await unit.session.scalars(sa.select(Job).where(Job.id == job_id))).one()
    scopes = frozenset(Scope(scope) for scope in args.scopes if scope in set(Scope))
    return Actor(job.origin_type, job.account_id, job.origin_name, scopes, id=job.origin_id, request_id=job.request_id)


async def change_batch(unit: Unit, change: Change, *, job_id: UUID, after: UUID | None) -> Batch:
    """Make `change` to the next of the job's targets, by their ids.

    One for which it raises a DomainError is left as it is.
    """
    wanted = sa.select(JobTarget.target_id).where(JobTarget.account_id == unit.account_id, JobTarget.job_id == job_id)
    if after is not None:
        wanted = wanted.where(JobTarget.target_id > after)
    ids = (await unit.session.scalars(wanted.order_by(JobTarget.target_id).limit(_BATCH))).all()
    mine = sa.select(Job).where(any_of(Job.id, ids), none_of(hidden_kinds(unit.actor.scopes)))
    jobs = (await unit.session.scalars(mine.order_by(Job.id).with_for_update(of=Job))).all()
    versions = {job.id: job.version for job in jobs}  # the rows themselves are refreshed by each change
    changed = 0
    for each, version in versions.items():
        changed += await _change(unit, change, each) > version
    return Batch(len(versions), changed, max(ids, default=None))


async def _keep(unit: Unit, job_id: UUID, targets: Sequence[UUID]) -> None:
    each = sa.func.unnest(sa.literal(targets, postgresql.ARRAY(sa.Uuid())))
    rows = sa.select(sa.literal(unit.account_id), sa.literal(job_id), each)
    await unit.session.flush()  # the job comes before what refers to it
    await unit.session.execute(sa.insert(JobTarget).from_select(["account_id", "job_id", "target_id"], rows))


async def _change(unit: Unit, change: Change, job_id: UUID) -> int:
    """The job's version then; 0 where it cannot be changed so."""
    try:
        async with unit.session.begin_nested():
            return (await change(unit, job_id)).version
    except (DomainError, IntegrityError):
        return 0
