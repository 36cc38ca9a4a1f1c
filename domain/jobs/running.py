"""What a handler holds while its job runs: typed arguments, fenced units, progress, checkpoint and log."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import sqlalchemy as sa

from db.models.jobs import Job, JobEvent, JobState, LogLevel
from domain import actor as actors
from domain.actor import Actor
from domain.jobs import commands
from domain.jobs.args import JobArgs
from domain.jobs.leases import HELD, Held
from domain.jobs.progress import Progress, advance, is_worth_an_event
from domain.unit import Unit

A = TypeVar("A", bound=JobArgs)
OpenUnit = Callable[[Actor], AbstractAsyncContextManager[Unit]]


@dataclass(frozen=True, slots=True)
class Done:
    """How a handler ended well: a sentence for people, figures for programs, and whether some items failed."""

    message: str
    result: Mapping[str, Any] = field(default_factory=dict)
    partial: bool = False


class LeaseLost(Exception):
    """Another worker has the job now, or nobody: whatever this one still writes is rolled back."""


class CancelRequested(Exception):
    """Somebody cancelled the job; raised at a checkpoint, after its unit committed."""


class HandBack(Exception):
    """The worker is draining, or the job was paused; raised at a checkpoint, after its unit committed."""


class Running(Generic[A]):
    """A job in the hands of its handler.

    Every unit opened here is fenced: it commits only while this worker holds the job. A handler writes what it has done, its
    checkpoint and its progress in the same unit, so that a retry goes on exactly there.
    """

    def __init__(self, job: Job, args: A, *, open_unit: OpenUnit, draining: asyncio.Event) -> None:
        self.args = args
        self.held = Held(job.id, job.fence)
        self.account_id: UUID = job.account_id
        self.attempt = job.attempt
        self.failures = job.failures
        self.checkpoint: dict[str, Any] = dict(job.checkpoint or {})
        self.progress = Progress(
            done=job.done, total=job.total, phase=job.phase, message=None, rate=None, eta_at=None, at=datetime.now(UTC)
        )
        self.actor = actors.system(job.account_id, name=job.title, request_id=job.request_id)
        self._open_unit = open_unit
        self._draining = draining
        self._last_event: datetime | None = None

    @property
    def id(self) -> UUID:
        """The job's id."""
        return self.held.job_id

    @asynccontextmanager
    async def unit(self) -> AsyncIterator[Unit]:
        """A fenced unit for the account. Raises LeaseLost (rolled back), CancelRequested or HandBack (after the commit)."""
        async with self._open_unit(self.actor) as unit:
            yield unit
            row = await self._check_fence(unit)
        self._heed(row)

    async def advance(
        self,
        unit: Unit,
        *,
        done: int | None = None,
        total: int | None = None,
        phase: str | None = None,
        message: str | None = None,
        checkpoint: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep how far the job is, in the handler's own unit. `checkpoint` is what the next attempt is given to go on from."""
        before = self.progress
        after = advance(
            before,
            done=before.done if done is None else done,
            total=before.total if total is None else total,
            now=datetime.now(UTC),
            phase=phase,
            message=message,
        )
        values: dict[str, Any] = {
            "done": after.done,
            "total": after.total,
            "phase": after.phase,
            "message": after.message,
            "rate": after.rate,
            "eta_at": after.eta_at,
            "progress_at": after.at,
        }
        if checkpoint is not None:
            values["checkpoint"] = dict(checkpoint)
        with_event = is_worth_an_event(self._last_event, after, phase_before=before.phase)
        await self._write(unit, values, with_event=with_event)
        if checkpoint is not None:
            self.checkpoint = dict(checkpoint)
        self.progress = after
        if with_event:
            self._last_event = after.at
            unit.changed("job", self.id)

    def log(
        self, unit: Unit, *, level: LogLevel, code: str, message: str, subject: str | None = None, field: str | None = None
    ) -> None:
        """Write a line that people see in the job's log."""
        commands.add_log(unit, job_id=self.id, level=level, code=code, message=message, subject=subject, field=field)

    async def _write(self, unit: Unit, values: dict[str, Any], *, with_event: bool) -> None:
        changed = (
            sa.update(Job)
            .where(Job.id == self.id, Job.fence == self.held.fence, Job.state.in_(HELD))
            .values(**values, version=Job.version + 1 if with_event else Job.version)
            .returning(Job.account_id, Job.id, Job.version, Job.state, Job.attempt, Job.phase, Job.done, Job.total, Job.message)
        )
        if not with_event:
            moved = (await unit.session.execute(changed.execution_options(synchronize_session=False))).one_or_none()
        else:
            cte = changed.cte("changed")
            columns = ["account_id", "job_id", "version", "state", "attempt", "phase", "done", "total", "message"]
            event = sa.insert(JobEvent).from_select(columns, sa.select(cte)).cte("recorded")
            moved = (await unit.session.execute(sa.select(cte.c.id).add_cte(event))).one_or_none()
        if moved is None:
            raise LeaseLost

    async def _check_fence(self, unit: Unit) -> "sa.Row[JobState, datetime | None]":
        """Lock the row against being taken back until this unit has committed."""
        query = sa.select(Job.state, Job.paused_at).where(Job.id == self.id, Job.fence == self.held.fence, Job.state.in_(HELD))
        row = (await unit.session.execute(query.with_for_update(read=True))).one_or_none()
        if row is None:
            raise LeaseLost
        return row

    def _heed(self, row: "sa.Row[JobState, datetime | None]") -> None:
        if row.state is JobState.CANCELLING:
            raise CancelRequested
        if row.paused_at is not None or self._draining.is_set():
            raise HandBack
