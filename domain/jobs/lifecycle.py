"""The states of a job and the one function that moves it between them.

A transition is a compare-and-set on the row, its event, its attempt and what others will react to, in one statement: either
all of it happened or nothing did. Which moves exist at all is `MOVES`.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from db.base import any_of
from db.models.jobs import TERMINAL, AttemptOutcome, Job, JobAttempt, JobEvent, JobMove, JobState

S = JobState
_ENDS = frozenset(TERMINAL)
# Out of these a job becomes ready for the time it was due at, and waits since then; out of all others it is due from now on.
_DUE_BEFORE = frozenset({S.SCHEDULED, S.BACKOFF, S.ADMITTED})
REACTED_TO = _ENDS | {S.BACKOFF, S.WAITING}

MOVES: Mapping[JobState, frozenset[JobState]] = {
    S.BLOCKED: frozenset({S.READY, S.SCHEDULED, S.SKIPPED, S.CANCELLED}),
    S.SCHEDULED: frozenset({S.READY, S.BLOCKED, S.CANCELLED}),
    S.READY: frozenset({S.ADMITTED, S.BLOCKED, S.CANCELLED}),
    S.ADMITTED: frozenset({S.RUNNING, S.READY, S.CANCELLED}),
    S.RUNNING: _ENDS - {S.SKIPPED} | {S.BACKOFF, S.WAITING, S.SCHEDULED, S.READY, S.CANCELLING},
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
class FromNow:
    """A moment so long after the database's now, as a value of a transition."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Plus:
    """What the column had, and so much more, as a value of a transition."""

    more: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What the column had, where a transition would otherwise clear it."""


NOW = FromNow(timedelta())
KEPT = Kept()


@dataclass(frozen=True, slots=True)
class Transition:
    """A wanted move of all `jobs` that are in one of `sources` (and, where given, still carry `fence`).

    `values` are further columns of the job: plain values, FromNow, Plus or KEPT. `starts_for` opens the next attempt for a
    worker, `ends` closes the current one.
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
    parameters: dict[str, Any] = {"jobs": list(wanted.jobs), "held_fence": wanted.fence, "starts_for": wanted.starts_for}
    for name, value in wanted.values.items():
        parameters[f"job_{name}"] = value.delay if isinstance(value, FromNow) else value
    if wanted.ends is not None:
        parameters |= {f"end_{column.name}": getattr(wanted.ends, column.name) for column in fields(AttemptEnd)}
    moved = await session.scalars(_statement(wanted), parameters, execution_options={"populate_existing": True})
    return moved.all()


async def amend(session: AsyncSession, jobs: Collection[UUID], values: Mapping[str, Any]) -> Sequence[Job]:
    """Change columns of jobs that stay in their states; each change has its version and event, as a move has.

    The caller has locked the rows and judged their states.
    """
    changed = sa.update(Job).where(any_of(Job.id, jobs)).values(version=Job.version + 1, **values).returning(Job).cte("changed")
    amended = sa.select(aliased(Job, changed)).add_cte(_record(changed))
    return (await session.scalars(amended, execution_options={"populate_existing": True})).all()


# To build such a statement costs several times what it costs to run it, and there are only a few dozen of them.
_STATEMENTS: dict[Hashable, "sa.Select[Job]"] = {}


def _statement(wanted: Transition) -> "sa.Select[Job]":
    shape = (
        wanted.to,
        wanted.sources,
        wanted.fence is None,
        wanted.starts_for is None,
        wanted.ends is None,
        tuple((name, _form(value)) for name, value in wanted.values.items()),
    )
    statement = _STATEMENTS.get(shape)
    if statement is None:
        statement = _STATEMENTS[shape] = _build(wanted)
    return statement


def _form(value: Any) -> Hashable:
    """What of a value is part of the statement."""
    return value if isinstance(value, Plus | Kept) else isinstance(value, FromNow)


def _build(wanted: Transition) -> "sa.Select[Job]":
    changed = (
        sa.update(Job)
        .where(Job.id == sa.any_(sa.bindparam("jobs", type_=postgresql.ARRAY(Job.id.type))), any_of(Job.state, wanted.sources))
        .where(sa.true() if wanted.fence is None else Job.fence == sa.bindparam("held_fence", type_=Job.fence.type))
        .where(Job.paused_at.is_(None) if wanted.to is S.ADMITTED else sa.true())
        .values(_values(wanted))
        .returning(Job)
        .cte("changed")
    )
    statement = sa.select(aliased(Job, changed)).add_cte(_record(changed))
    if wanted.to in REACTED_TO:
        statement = statement.add_cte(_tell(changed))
    if wanted.starts_for is not None:
        statement = statement.add_cte(_start(changed))
    if wanted.ends is not None:
        statement = statement.add_cte(_end(changed))
    return statement


def _values(wanted: Transition) -> dict[str, Any]:
    values: dict[str, Any] = {"state": wanted.to, "version": Job.version + 1, "lease_until": None, "worker": None}
    if wanted.to in TERMINAL:
        values |= {"finished_at": sa.func.now(), "eta_at": None, "waiting_for": None, "paused_at": None}
    if wanted.to is S.READY and not wanted.sources & _DUE_BEFORE:
        values["run_at"] = sa.func.now()
    if wanted.starts_for is not None:
        values |= {
            "attempt": Job.attempt + 1,
            "worker": sa.bindparam("starts_for", type_=sa.Text()),
            "started_at": sa.func.coalesce(Job.started_at, sa.func.now()),
            "deadline_at": sa.func.coalesce(
                Job.deadline_at, sa.func.now() + Job.timeout_seconds * sa.literal_column("interval '1 second'")
            ),
        }
    return values | {name: _value(name, value) for name, value in wanted.values.items()}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, Kept):
        return Job.__table__.c[name]
    if isinstance(value, Plus):
        return Job.__table__.c[name] + value.more
    if isinstance(value, FromNow):
        return sa.func.now() + sa.bindparam(f"job_{name}", type_=sa.Interval())
    return sa.bindparam(f"job_{name}", type_=Job.__table__.c[name].type)


def _record(changed: sa.CTE) -> sa.CTE:
    columns = ("account_id", "job_id", "version", "state", "attempt", "phase", "done", "total", "message")
    source = [changed.c.id if name == "job_id" else changed.c[name] for name in columns]
    return sa.insert(JobEvent).from_select(columns, sa.select(*source)).cte("recorded")


def _tell(changed: sa.CTE) -> sa.CTE:
    columns = ("account_id", "job_id", "version", "state", "attempt", "failures")
    source = [changed.c.id if name == "job_id" else changed.c[name] for name in columns]
    return sa.insert(JobMove).from_select(columns, sa.select(*source)).cte("told")


def _start(changed: sa.CTE) -> sa.CTE:
    c = changed.c
    source = sa.select(c.account_id, c.id, c.attempt, c.fence, sa.bindparam("starts_for", type_=sa.Text()))
    return sa.insert(JobAttempt).from_select(["account_id", "job_id", "number", "fence", "worker"], source).cte("started")


def _end(changed: sa.CTE) -> sa.CTE:
    columns = JobAttempt.__table__.c
    given = {each.name: sa.bindparam(f"end_{each.name}", type_=columns[each.name].type) for each in fields(AttemptEnd)}
    return (
        sa.update(JobAttempt)
        .where(JobAttempt.job_id == changed.c.id, JobAttempt.number == changed.c.attempt, JobAttempt.ended_at.is_(None))
        .values(ended_at=sa.func.clock_timestamp(), **given)
        .cte("ended")
    )
