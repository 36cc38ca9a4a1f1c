"""The states of a job and the one function that moves it between them.

A transition is a compare-and-set on the row, its event, its attempt and what others will react to, in one statement: either
all of it happened or nothing did. Which moves exist at all is `MOVES`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from db.models.jobs import TERMINAL, AttemptOutcome, Job, JobAttempt, JobEvent, JobMove, JobState

S = JobState
_ENDS = frozenset(TERMINAL)
REACTED_TO = _ENDS | {S.BACKOFF, S.WAITING}

MOVES: Mapping[JobState, frozenset[JobState]] = {
    S.BLOCKED: frozenset({S.READY, S.SCHEDULED, S.SKIPPED, S.CANCELLED}),
    S.SCHEDULED: frozenset({S.READY, S.CANCELLED}),
    S.READY: frozenset({S.ADMITTED, S.CANCELLED}),
    S.ADMITTED: frozenset({S.RUNNING, S.READY, S.CANCELLED}),
    S.RUNNING: _ENDS - {S.SKIPPED} | {S.BACKOFF, S.WAITING, S.READY, S.CANCELLING},
    S.BACKOFF: frozenset({S.READY, S.CANCELLED}),
    S.WAITING: frozenset({S.READY, S.CANCELLED}),
    S.CANCELLING: _ENDS - {S.SKIPPED},
    S.SUCCEEDED: frozenset(),
    S.PARTIAL: frozenset({S.READY}),
    S.FAILED: frozenset({S.READY}),
    S.CANCELLED: frozenset({S.READY}),
    S.SKIPPED: frozenset(),
}


class IllegalMove(ValueError):
    """The code asks for a transition that `MOVES` does not have."""


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How the current attempt ended, with everything a person needs to see why."""

    outcome: AttemptOutcome
    error_class: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    http_status: int | None = None
    stack_trace: str | None = None
    next_delay: float | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A wanted move of all `jobs` that are in one of `sources` (and, where given, still carry `fence`).

    `values` are further columns of the job. `starts` opens the next attempt, `ends` closes the current one.
    """

    jobs: Sequence[UUID]
    sources: frozenset[JobState]
    to: JobState
    fence: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    starts_for: str | None = None
    ends: AttemptEnd | None = None

    def __post_init__(self) -> None:
        wrong = [state for state in self.sources if self.to not in MOVES[state]]
        if wrong:
            raise IllegalMove(f"no job moves from {', '.join(sorted(wrong))} to {self.to}")


async def transition(session: AsyncSession, wanted: Transition) -> Sequence[Job]:
    """Carry out `wanted`; returns the jobs that moved. One that was in another state, or has a newer fence, is untouched."""
    changed = (
        sa.update(Job)
        .where(Job.id.in_(wanted.jobs), Job.state.in_(wanted.sources))
        .where(sa.true() if wanted.fence is None else Job.fence == wanted.fence)
        .values(_values(wanted))
        .returning(Job)
        .cte("changed")
    )
    job = aliased(Job, changed)
    statement = sa.select(job).add_cte(_record(changed))
    if wanted.to in REACTED_TO:
        statement = statement.add_cte(_tell(changed))
    if wanted.starts_for is not None:
        statement = statement.add_cte(_start(changed, wanted.starts_for))
    if wanted.ends is not None:
        statement = statement.add_cte(_end(changed, wanted.ends))
    return (await session.scalars(statement, execution_options={"populate_existing": True})).all()


def _values(wanted: Transition) -> dict[str, Any]:
    values: dict[str, Any] = {"state": wanted.to, "version": Job.version + 1, "lease_until": None, "worker": None}
    if wanted.to in TERMINAL:
        values |= {"finished_at": sa.func.now(), "eta_at": None, "waiting_for": None}
    if wanted.starts_for is not None:
        values |= {"attempt": Job.attempt + 1, "worker": wanted.starts_for}
    return values | dict(wanted.values)


def _record(changed: sa.CTE) -> sa.CTE:
    columns = ("account_id", "job_id", "version", "state", "attempt", "phase", "done", "total", "message")
    source = [changed.c.id if name == "job_id" else changed.c[name] for name in columns]
    return sa.insert(JobEvent).from_select(columns, sa.select(*source)).cte("recorded")


def _tell(changed: sa.CTE) -> sa.CTE:
    columns = ("account_id", "job_id", "version", "state", "attempt", "failures")
    source = [changed.c.id if name == "job_id" else changed.c[name] for name in columns]
    return sa.insert(JobMove).from_select(columns, sa.select(*source)).cte("told")


def _start(changed: sa.CTE, worker: str) -> sa.CTE:
    c = changed.c
    source = sa.select(c.account_id, c.id, c.attempt, c.fence, sa.literal(worker))
    return sa.insert(JobAttempt).from_select(["account_id", "job_id", "number", "fence", "worker"], source).cte("started")


def _end(changed: sa.CTE, end: AttemptEnd) -> sa.CTE:
    return (
        sa.update(JobAttempt)
        .where(JobAttempt.job_id == changed.c.id, JobAttempt.number == changed.c.attempt, JobAttempt.ended_at.is_(None))
        .values(
            ended_at=sa.func.clock_timestamp(),
            outcome=end.outcome,
            error_class=end.error_class,
            error_code=end.error_code,
            error_message=end.error_message,
            http_status=end.http_status,
            stack_trace=end.stack_trace,
            next_delay=end.next_delay,
        )
        .cte("ended")
    )
