"""What people are told of jobs: their ends, their first failure, and that they wait for somebody."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from db.base import any_of
from db.models.jobs import AttemptOutcome, Job, JobAttempt, JobMove, JobState
from db.models.notifications import NotificationEvent
from domain import ids
from domain.events import Announcement
from domain.jobs.args import kinds
from domain.notifications.gathering import Happened
from domain.notifications.notices import tell

_EVENTS = {
    JobState.SUCCEEDED: NotificationEvent.JOB_COMPLETED,
    JobState.PARTIAL: NotificationEvent.JOB_PARTIAL,
    JobState.FAILED: NotificationEvent.JOB_FAILED,
    JobState.CANCELLED: NotificationEvent.JOB_CANCELLED,
    JobState.BACKOFF: NotificationEvent.JOB_FIRST_FAILURE,
    JobState.WAITING: NotificationEvent.JOB_WAITING,
}
_TITLES = {
    NotificationEvent.JOB_COMPLETED: "{} completed",
    NotificationEvent.JOB_PARTIAL: "{} completed in part",
    NotificationEvent.JOB_FAILED: "{} failed",
    NotificationEvent.JOB_CANCELLED: "{} was cancelled",
    NotificationEvent.JOB_FIRST_FAILURE: "{} failed and will be tried again",
    NotificationEvent.JOB_WAITING: "{} waits for you",
}
_FAILURES = frozenset({JobState.FAILED, JobState.BACKOFF})
_COSTLY = frozenset({AttemptOutcome.FAILED, AttemptOutcome.LOST})
# What a job waits for that no person of the account can bring about.
_NOT_FOR_PEOPLE = ("job:", "release:")
_ATTEMPTS_TOLD = 20

_JOB = Job.__table__.c
# Built once: workers ask this after each job.
_JOBS = sa.select(_JOB.id, _JOB.account_id, _JOB.kind, _JOB.title, _JOB.message, _JOB.error_message, _JOB.waiting_for).where(
    _JOB.id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(_JOB.id.type)))
)


async def tell_of_jobs(session: AsyncSession, moves: Sequence[JobMove]) -> list[Announcement]:
    """Tell people of these moves; a reaction (see `domain.reactions`) that moves nothing itself."""
    moves = [move for move in moves if move.state in _EVENTS and (move.state is not JobState.BACKOFF or move.failures == 1)]
    if not moves:
        return []
    found = await session.execute(_JOBS, {"ids": list({move.job_id for move in moves})})
    jobs = {row.id: row for row in found if not _is_housekeeping(row.kind)}
    moves = [move for move in moves if move.job_id in jobs]
    attempts = await _attempts(session, {move.job_id for move in moves if move.state in _FAILURES})
    told = [_happened(move, jobs[move.job_id], attempts.get(move.job_id, [])) for move in moves]
    return await tell(session, [happened for happened in told if happened is not None])


def job_path(job_id: UUID) -> str:
    """Where the front end shows a job."""
    return f"/jobs/{ids.encode('job', job_id)}"


def _is_housekeeping(kind: str) -> bool:
    known = kinds().get(kind)
    return known is not None and known.housekeeping


async def _attempts(session: AsyncSession, job_ids: set[UUID]) -> dict[UUID, list[JobAttempt]]:
    if not job_ids:
        return {}
    query = sa.select(JobAttempt).where(any_of(JobAttempt.job_id, job_ids)).order_by(JobAttempt.job_id, JobAttempt.number)
    query = query.options(defer(JobAttempt.stack_trace, raiseload=True))  # thousands of characters that nobody is told
    attempts: dict[UUID, list[JobAttempt]] = {}
    for attempt in await session.scalars(query):
        attempts.setdefault(attempt.job_id, []).append(attempt)
    return attempts


def _happened(move: JobMove, job: Any, attempts: Sequence[JobAttempt]) -> Happened | None:
    attempts = [attempt for attempt in attempts if attempt.number <= move.attempt]
    last = attempts[-1] if attempts else None
    if move.state is JobState.BACKOFF and (last is None or last.outcome not in _COSTLY):
        return None  # it was sent back without a failure of its own
    if move.state is JobState.WAITING and (job.waiting_for is None or job.waiting_for.startswith(_NOT_FOR_PEOPLE)):
        return None
    event = _EVENTS[move.state]
    error = None
    if move.state in _FAILURES:
        error = (last.error_message if last is not None else None) or job.error_message or job.message
    return Happened(
        account_id=job.account_id,
        event=event,
        title=_TITLES[event].format(job.title),
        body=_body(move, job, last, error),
        path=job_path(job.id),
        at=move.at,
        error=error,
        job_id=job.id,
        job_kind=job.kind,
        job_state=move.state.value,
        details={"attempts": [_told(attempt) for attempt in attempts[-_ATTEMPTS_TOLD:]]} if attempts else None,
    )


def _body(move: JobMove, job: Any, last: JobAttempt | None, error: str | None) -> str:
    if move.state is JobState.FAILED:
        tried = "" if move.attempt <= 1 else f" It was tried {move.attempt} times."
        return f"{error or 'It met an error.'}{tried}"
    if move.state is JobState.BACKOFF:
        delay = f" in {last.next_delay:.0f} s" if last is not None and last.next_delay is not None else ""
        return f"{error or 'It met an error.'} The next attempt begins{delay}."
    return job.message or ""


def _told(attempt: JobAttempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "outcome": attempt.outcome,
        "errorCode": attempt.error_code,
        "errorMessage": attempt.error_message,
        "httpStatus": attempt.http_status,
        "startedAt": attempt.started_at,
        "endedAt": attempt.ended_at,
    }
