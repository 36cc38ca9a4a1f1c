"""What a handler holds while its job runs: typed arguments, fenced units, progress, checkpoint and log."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID

import sqlalchemy as sa

from db.base import any_of
from db.models.jobs import Job, JobEvent, JobState, LogLevel
from db.models.tenancy import Account
from domain import actor as actors
from domain.actor import Actor
from domain.jobs import commands
from domain.jobs.args import JobArgs
from domain.jobs.leases import HELD, Held
from domain.jobs.options import Suspended
from domain.jobs.progress import Progress, advance, is_worth_an_event
from domain.unit import Unit

A = TypeVar("A", bound=JobArgs)
OpenUnit = Callable[[Actor], AbstractAsyncContextManager[Unit]]
ENDED = "job:"
# Its state, since when it is paused, since when its account is suspended.
Fenced: TypeAlias = "sa.Row[JobState, datetime | None, datetime | None]"


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


class WaitFor(Exception):
    """The job gives its slot back until `key` comes about and somebody wakes it; then it goes on from its checkpoint.

    Costs no retry, and the deadline starts anew. For the end of another job the key is `ended(job_id)`.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


class Later(Exception):
    """The job gives its slot back for so many seconds, then goes on from its checkpoint. As with WaitFor, it costs nothing."""

    def __init__(self, seconds: float, message: str) -> None:
        super().__init__(message)
        self.seconds = seconds
        self.message = message


def ended(job_id: UUID) -> str:
    """The key under which jobs wait for the end of another one."""
    return f"{ENDED}{job_id}"


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
        self._fenced: dict[Unit, Fenced] = {}

    @property
    def id(self) -> UUID:
        """The job's id."""
        return self.held.job_id

    @asynccontextmanager
    async def unit(self) -> AsyncIterator[Unit]:
        """A fenced unit for the account.

        Raises LeaseLost (rolled back), CancelRequested, HandBack or Suspended (after the commit).
        """
        async with self._open_unit(self.actor) as unit:
            yield unit
            # Whoever has written progress has met the fence, and holds the row's lock.
            row = self._fenced.pop(unit, None) or await self._check_fence(unit)
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
        with_event = is_worth_an_event(self._last_event, after, before=before)
        self._fenced[unit] = await self._write(unit, after, checkpoint, with_event=with_event)
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

    async def _write(self, unit: Unit, progress: Progress, checkpoint: Mapping[str, Any] | None, *, with_event: bool) -> Fenced:
        """Keep how far it is; the row then stays locked until this unit has committed."""
        parameters = {f"new_{name}": getattr(progress, name) for name in _PROGRESS}
        if checkpoint is not None:
            parameters["new_checkpoint"] = dict(checkpoint)
        statement = _writing(with_checkpoint=checkpoint is not None, with_event=with_event)
        return await self._held_row(unit, statement, parameters)

    async def _check_fence(self, unit: Unit) -> Fenced:
        """Lock the row against being taken back until this unit has committed."""
        return await self._held_row(unit, _CHECK, {})

    async def _held_row(self, unit: Unit, statement: sa.Executable, parameters: dict[str, Any]) -> Fenced:
        named = parameters | {"held_id": self.id, "held_fence": self.held.fence}
        row: Fenced | None = (await unit.session.execute(statement, named)).one_or_none()
        if row is None:
            raise LeaseLost
        return row

    def _heed(self, row: Fenced) -> None:
        if row.state is JobState.CANCELLING:
            raise CancelRequested
        if row.paused_at is not None or self._draining.is_set():
            raise HandBack
        if row.suspended_at is not None and not self.args.housekeeping:
            raise Suspended("The account is suspended; the job goes on from here once its subscription is renewed.")


_PROGRESS = ("done", "total", "phase", "message", "rate", "eta_at", "at")
_COLUMNS = {"at": "progress_at"}
_HELD = (Job.id == sa.bindparam("held_id"), Job.fence == sa.bindparam("held_fence"), any_of(Job.state, HELD))
# Row-level security leaves the one account to be found.
_SUSPENDED = sa.select(Account.suspended_at).scalar_subquery().label("suspended_at")
_CHECK = sa.select(Job.state, Job.paused_at, _SUSPENDED).where(*_HELD).with_for_update(read=True, of=Job)


@functools.cache
def _writing(*, with_checkpoint: bool, with_event: bool) -> sa.Executable:
    """Built once: that costs more than to run it."""
    table = Job.__table__.c
    names = {_COLUMNS.get(name, name): f"new_{name}" for name in _PROGRESS}
    if with_checkpoint:
        names["checkpoint"] = "new_checkpoint"
    values = {name: sa.bindparam(given, type_=table[name].type) for name, given in names.items()}
    update = sa.update(Job).where(*_HELD)
    if not with_event:
        held = update.values(values).returning(Job.state, Job.paused_at, _SUSPENDED)
        return held.execution_options(synchronize_session=False)
    event = ("account_id", "version", "state", "attempt", "phase", "done", "total", "message")
    returned = [Job.id.label("job_id"), Job.paused_at, *(getattr(Job, name) for name in event)]
    changed = update.values(**values, version=Job.version + 1).returning(*returned).cte("changed")
    columns = ["job_id", *event]
    recorded = sa.insert(JobEvent).from_select(columns, sa.select(*(changed.c[name] for name in columns))).cte("recorded")
    return sa.select(changed.c.state, changed.c.paused_at, _SUSPENDED).add_cte(recorded)
