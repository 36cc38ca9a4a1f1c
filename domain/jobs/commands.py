"""What people and the product do to jobs from outside a worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute

from db.base import new_id
from db.models.jobs import NOT_ENDED, TERMINAL, Job, JobEvent, JobLog, JobState, LogLevel
from db.models.queues import JobSetting
from domain import tracing
from domain.actor import Scope
from domain.errors import Conflict, NotFound
from domain.jobs import dependencies, items
from domain.jobs.args import JobArgs, digest
from domain.jobs.catalog import is_visible, require_changeable
from domain.jobs.lifecycle import KEPT, NOW, REACTED_TO, Transition, transition
from domain.jobs.retryable import require_retryable
from domain.tenancy import idempotency
from domain.unit import Unit

WAKES = 500  # at once
# The time that a job waited for somebody is not counted against its deadline.
WOKEN: dict[str, object] = {
    "run_at": NOW,
    "deadline_at": None,
    "waiting_for": None,
    "message": None,
    "error_code": None,
    "error_message": None,
}
_UNSTARTED = frozenset(
    {JobState.BLOCKED, JobState.SCHEDULED, JobState.READY, JobState.ADMITTED, JobState.BACKOFF, JobState.WAITING}
)
# Whoever retries a job wants it to run.
_RESUMED: dict[str, object] = {"paused_at": None}
_ANEW: dict[str, object] = {**WOKEN, **_RESUMED, "failures": 0, "finished_at": None, "archived_at": None}
# What a retry makes of a job in each state that it is possible in.
_RETRIED: dict[JobState, dict[str, object]] = {
    JobState.FAILED: _ANEW,
    JobState.PARTIAL: _ANEW,
    JobState.CANCELLED: _ANEW,
    JobState.BACKOFF: {**_RESUMED, "run_at": NOW},
    JobState.WAITING: {**WOKEN, **_RESUMED},
}


class NotRetryable(Conflict):
    """Only a job that failed, was cancelled or succeeded in part can be retried."""

    code = "BGJ-020"


class NotCancellable(Conflict):
    """The job has ended already."""

    code = "BGJ-021"


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The job, and whether it is new: a live one with the same dedupe key is returned instead of a second one."""

    job: Job
    is_new: bool


async def enqueue(
    unit: Unit,
    args: JobArgs,
    *,
    location_id: UUID | None = None,
    dedupe_key: str | None = None,
    run_at: datetime | None = None,
    priority: int | None = None,
    title: str | None = None,
    after: Sequence[dependencies.After] = (),
    origin_name: str | None = None,
) -> Enqueued:
    """Write the job down in this unit; after the commit it starts as soon as a slot is free.

    `run_at` in the future makes it a scheduled one; `after` makes it wait for other jobs first, and skips it where they do not
    end as asked. Of jobs that have not ended, only one may carry a `dedupe_key`. `origin_name` says more than the actor's name
    who asked. What is not given is taken from the account's settings for the kind, and after them from the kind. Raises
    NotFound for a job in `after` that is not the account's.
    """
    actor = unit.actor
    stored = args.to_json()
    values = {
        "id": new_id(),
        "account_id": unit.account_id,
        "kind": args.kind,
        "lane": args.lane,
        "title": title or args.title,
        "args": stored,
        "args_digest": digest(stored),
        "location_id": location_id,
        "state": JobState.BLOCKED if after else JobState.READY if run_at is None else JobState.SCHEDULED,
        "takes_slot": args.takes_slot,
        "priority": _setting(JobSetting.priority, args.kind, 0) if priority is None else priority,
        "max_retries": _setting(JobSetting.max_retries, args.kind, args.max_retries),
        "timeout_seconds": _setting(JobSetting.timeout_seconds, args.kind, args.timeout),
        "dedupe_key": dedupe_key,
        "origin_type": actor.type,
        "origin_id": actor.id,
        "origin_name": origin_name or actor.name,
        "request_id": actor.request_id,
        "traceparent": tracing.traceparent(),
    }
    if run_at is not None:
        values["run_at"] = run_at
    row = insert(Job).values(values)
    if dedupe_key is not None:
        row = row.on_conflict_do_nothing(index_elements=[Job.account_id, Job.dedupe_key], index_where=NOT_ENDED)
    job = (await unit.session.scalars(row.returning(Job))).one_or_none()
    if job is None:
        return Enqueued(await _live_twin(unit, dedupe_key), is_new=False)
    unit.session.add(
        JobEvent(job_id=job.id, account_id=job.account_id, version=job.version, state=job.state, attempt=0, done=0)
    )
    if after:
        await unit.session.flush()
        (job,) = await dependencies.hold_for(unit, job_id=job.id, after=after) or (job,)
    _announce(unit, job)
    return Enqueued(job, is_new=True)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job as it is now, and whether this made it so: it may have been cancelled before."""

    job: Job
    is_new: bool


async def cancel(unit: Unit, *, job_id: UUID) -> Cancelled:
    """Cancel a job: at once where it has not started, else at its next checkpoint, keeping what it did until then.

    Cancelling twice is harmless. Raises Forbidden, NotFound, NotCancellable.
    """
    unit.require(Scope.JOBS_WRITE)
    job = await _get(unit, job_id, lock=True)
    before = job.version
    job = await cancel_if_alive(unit, job_id=job_id)
    if job.state not in {JobState.CANCELLING, JobState.CANCELLED}:
        raise NotCancellable(f"This job has ended already: it {_PAST[job.state]}.")
    return Cancelled(job, is_new=job.version > before)


async def cancel_if_alive(unit: Unit, *, job_id: UUID) -> Job:
    """As `cancel`, for whoever may do so by what they do otherwise, even where they may not see or change the job.

    One that has ended is left as it is. Raises NotFound.
    """
    job = await _get(unit, job_id, lock=True, seen=False)
    if job.state not in _UNSTARTED | {JobState.RUNNING}:
        return job
    to = JobState.CANCELLING if job.state is JobState.RUNNING else JobState.CANCELLED
    (moved,) = await transition(unit.session, Transition([job_id], frozenset({job.state}), to, values=_keep_lease(to)))
    unit.audit("job.cancel", subject_type="job", subject_id=job_id, state=moved.state)
    _announce(unit, moved)
    return moved


async def retry(
    unit: Unit,
    *,
    job_id: UUID,
    only_failed: bool = False,
    accept_changes: bool = False,
    idempotency_key: str | None = None,
) -> Job:
    """Run an ended job again from its last checkpoint, with all its retries to spend again; its history stays.

    A paused one is resumed. Of a job with items only those are done that are not done yet; `only_failed` insists that there
    are failed ones. Where what it works on was changed since, it starts from the beginning with `accept_changes`, and is
    refused without. A job in backoff is not made to wait any longer, and keeps count of its retries.
    Raises Forbidden, NotFound, NotRetryable, NotRecoverable, KeyReused.
    """
    unit.require(Scope.JOBS_WRITE)
    given = {"job": job_id, "onlyFailed": only_failed, "acceptChanges": accept_changes}
    if await idempotency.replay(unit, key=idempotency_key, operation="retryJob", given=given) is not None:
        return await _get(unit, job_id)
    job = await _get(unit, job_id, lock=True)
    if job.state not in _RETRIED:
        raise NotRetryable(f"This job cannot be retried: it {_standing(job)}.")
    starts_over = await require_retryable(unit, job, only_failed=only_failed, accept_changes=accept_changes)
    before = {"state": job.state, "attempt": job.attempt, "error": job.error_code}
    fresh = _RETRIED[job.state] | ({"checkpoint": None} if starts_over else {})
    reopened = await items.reopen(unit, job_id=job_id)
    try:
        (moved,) = await transition(unit.session, Transition([job_id], frozenset({job.state}), JobState.READY, values=fresh))
    except IntegrityError:  # of its dedupe key; the unit is rolled back
        raise NotRetryable("This job cannot be retried: the same work is under way already.") from None
    if moved.attempt == 0:  # cancelled before those that it was to follow had ended
        moved = await dependencies.hold_again(unit, moved)
    unit.audit("job.retry", subject_type="job", subject_id=job_id, before=before, items=reopened, starts_over=starts_over)
    await idempotency.remember(unit, key=idempotency_key, subject_id=job_id)
    _announce(unit, moved)
    return moved


async def wake(unit: Unit, *, waiting_for: str) -> list[Job]:
    """Make jobs ready that wait for `waiting_for`, which has just come about; what exceeds WAKES is left to the clock."""
    waiting = sa.select(Job.id).where(Job.state == JobState.WAITING, Job.waiting_for == waiting_for)
    ids = (await unit.session.scalars(waiting.order_by(Job.id).limit(WAKES).with_for_update())).all()
    woken = await transition(unit.session, Transition(ids, frozenset({JobState.WAITING}), JobState.READY, values=WOKEN))
    for job in woken:
        _announce(unit, job)
    return list(woken)


def add_log(
    unit: Unit, *, job_id: UUID, level: LogLevel, code: str, message: str, subject: str | None = None, field: str | None = None
) -> None:
    """Write a line about one thing that the job met; it is kept if the unit commits."""
    unit.session.add(
        JobLog(account_id=unit.account_id, job_id=job_id, level=level, code=code, message=message, subject=subject, field=field)
    )


def _setting(column: InstrumentedAttribute[int | None], kind: str, default: int) -> sa.ColumnElement[int]:
    """What the account decided for the kind. Row-level security leaves only its own setting to be found."""
    return sa.func.coalesce(sa.select(column).where(JobSetting.kind == kind).scalar_subquery(), default)


def _keep_lease(to: JobState) -> dict[str, object]:
    """A job that is being cancelled is still its worker's, whose lease bounds how long that may take."""
    keep = {"lease_until": KEPT, "worker": KEPT}
    return {**keep, "message": "Cancelling"} if to is JobState.CANCELLING else {"message": "Cancelled"}


async def _live_twin(unit: Unit, dedupe_key: str | None) -> Job:
    query = sa.select(Job).where(Job.dedupe_key == dedupe_key, Job.state.not_in(TERMINAL))
    job = (await unit.session.scalars(query)).one_or_none()
    if job is None:
        raise Conflict("The same work ended just now; ask again.")
    return job


async def _get(unit: Unit, job_id: UUID, *, lock: bool = False, seen: bool = True) -> Job:
    """Locked, it stays in its state until the unit ends.

    Unless `seen` is False it must be one that the actor sees, and locked also one that people may change.
    Raises NotFound, Forbidden.
    """
    query = sa.select(Job).where(Job.id == job_id)
    job = (await unit.session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if job is None or (seen and not is_visible(unit, job.kind)):
        raise NotFound("There is no such job.")
    if lock and seen:
        require_changeable(unit, job)
    return job


def _announce(unit: Unit, job: Job) -> None:
    unit.changed("job", job.id)
    if job.state is JobState.READY:
        unit.admit(job.lane)
    elif job.state in REACTED_TO:
        unit.react()


def _standing(job: Job) -> str:
    """How it stands, as the end of a sentence that begins with "it"."""
    return "goes on by itself" if job.state is JobState.SCHEDULED and job.started_at is not None else _PAST[job.state]


_PAST = {
    JobState.BLOCKED: "waits for another job",
    JobState.SCHEDULED: "has not started yet",
    JobState.READY: "is about to start",
    JobState.ADMITTED: "is about to start",
    JobState.RUNNING: "is running",
    JobState.BACKOFF: "will be retried",
    JobState.WAITING: "is waiting",
    JobState.CANCELLING: "is being cancelled",
    JobState.SUCCEEDED: "succeeded",
    JobState.PARTIAL: "succeeded in part",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "was cancelled",
    JobState.SKIPPED: "was skipped",
}
