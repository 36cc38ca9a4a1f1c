"""What subscriptions to jobs follow: feeds that begin with a snapshot, or go on after a position, without a gap.

The truth is in `job_event`; a hint only says when to read. A job's position is its version. An account's is (transaction,
event): read no further than what was committed before every transaction that still runs, since events of those come to light
out of order.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from db.base import any_of
from db.models.jobs import Job, JobEvent
from db.session import Database
from domain.actor import Actor
from domain.errors import NotFound
from domain.events import Events, Mailbox
from domain.jobs import queries
from domain.jobs.catalog import hidden_kinds, none_of
from domain.jobs.queries import JobFilter
from domain.jobs.updates import UpdateKind, job_hints
from domain.unit import Unit

SNAPSHOT_SIZE = 50
_BATCH = 1_000
# Whoever is further behind is better served by how it is now.
_REPLAYED = 1_000
_LAST_EVENT = 2**63 - 1
# While a transaction that began earlier still runs, look again this soon, in seconds.
_BEHIND_PAUSE = 0.05

Cursor = tuple[int, int]


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """The job as it is now, None once it is deleted; and for `changed` the event that is told of."""

    kind: UpdateKind
    position: int
    job: Job | None
    event: JobEvent | None = None

    @property
    def last(self) -> bool:
        """Whether nothing more will come."""
        return self.kind is UpdateKind.DELETED


@dataclass(frozen=True, slots=True)
class JobsUpdate:
    """Jobs that fit the filter now, and the ids of those that changed and do not fit it any more."""

    kind: UpdateKind
    position: Cursor
    jobs: list[Job]
    gone: list[UUID] = field(default_factory=list)


@dataclass(slots=True)
class JobFeed:
    """One job. Raises NotFound where it is not the account's."""

    database: Database
    events: Events
    actor: Actor
    job_id: UUID

    @property
    def key(self) -> Hashable:
        """Equal for all who follow this job."""
        return ("job", self.actor.account_id, self.actor.scopes, self.job_id)

    async def start(self, after: int | None) -> tuple[int, list[JobUpdate]]:
        """A snapshot, or every event after version `after`; RESYNC where those are not kept any more.

        Whoever had seen it before is told that it is DELETED.
        """
        async with self.database.account(self.actor.account_id) as session:
            job = await queries.get(Unit(session, self.actor), self.job_id)
            if job is None and after is not None:
                return _deleted(after)
            if job is None:
                raise NotFound("There is no such job.")
            if after is None:
                return job.version, [JobUpdate(UpdateKind.SNAPSHOT, job.version, job)]
            updates = await self._after(session, job, after) if job.version - after <= _REPLAYED else []
        complete = len(updates) == job.version - after
        return job.version, updates if complete else [JobUpdate(UpdateKind.RESYNC, job.version, job)]

    async def since(self, position: int) -> tuple[int, list[JobUpdate]]:
        """Every event after version `position`; DELETED where the job is gone."""
        async with self.database.account(self.actor.account_id) as session:
            job = await queries.get(Unit(session, self.actor), self.job_id)
            if job is None:
                return _deleted(position)
            updates = await self._after(session, job, position)
        return (updates[-1].position if updates else position), updates

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[Mailbox]:
        """Hints at this job."""
        async with self.events.listen(self.actor.account_id, self.job_id) as mailbox:
            yield mailbox

    async def _after(self, session: AsyncSession, job: Job, version: int) -> list[JobUpdate]:
        newer = sa.select(JobEvent).where(
            JobEvent.job_id == job.id, JobEvent.version > version, JobEvent.version <= job.version
        )
        events = (await session.scalars(newer.order_by(JobEvent.version))).all()
        return [JobUpdate(UpdateKind.CHANGED, event.version, job, event) for event in events]


@dataclass(slots=True)
class JobsFeed:
    """All jobs of the account that fit a filter."""

    database: Database
    events: Events
    actor: Actor
    wanted: JobFilter
    _mailbox: Mailbox | None = None

    @property
    def key(self) -> Hashable:
        """Equal for all who follow the same jobs with the same rights."""
        return ("jobs", self.actor.account_id, self.actor.scopes, self.wanted)

    async def start(self, after: Cursor | None) -> tuple[Cursor, list[JobsUpdate]]:
        """The newest jobs that fit, or everything after the cursor; RESYNC where that history is not kept any more."""
        if after is not None and await self._is_kept(after):
            return await self.since(after)
        kind = UpdateKind.SNAPSHOT if after is None else UpdateKind.RESYNC
        async with self.database.account(self.actor.account_id) as session:
            unit = Unit(session, self.actor)
            position = (await session.execute(sa.select(_HORIZON))).scalar_one() - 1, _LAST_EVENT
            newest = queries.filtered(unit, self.wanted).order_by(Job.created_at.desc(), Job.id.desc())
            jobs = list((await session.scalars(newest.limit(SNAPSHOT_SIZE))).all())
        return position, [JobsUpdate(kind, position, jobs)]

    async def since(self, position: Cursor) -> tuple[Cursor, list[JobsUpdate]]:
        """What changed after the cursor, each job once."""
        after = sa.tuple_(JobEvent.xid, JobEvent.id) > position
        mine = JobEvent.account_id == self.actor.account_id
        settled = sa.select(JobEvent.xid, JobEvent.id, JobEvent.job_id).where(mine, after, JobEvent.xid < _HORIZON)
        unsettled = sa.select(sa.exists().where(mine, JobEvent.xid >= _HORIZON))
        async with self.database.account(self.actor.account_id) as session:
            held_up = bool((await session.execute(unsettled)).scalar_one())
            rows = (await session.execute(settled.order_by(JobEvent.xid, JobEvent.id).limit(_BATCH))).all()
            if held_up or len(rows) == _BATCH:
                self._look_again()
            if not rows:
                return position, []
            ids = {row.job_id for row in rows}
            fitting = queries.filtered(Unit(session, self.actor), self.wanted).where(Job.id.in_(ids))
            jobs = list((await session.scalars(fitting.order_by(Job.created_at.desc(), Job.id.desc()))).all())
            gone = await self._visible(session, ids - {job.id for job in jobs})
        last = rows[-1].xid, rows[-1].id
        return last, [JobsUpdate(UpdateKind.CHANGED, last, jobs, gone)] if jobs or gone else []

    async def _visible(self, session: AsyncSession, ids: Collection[UUID]) -> list[UUID]:
        """Not even the ids are told of jobs whose kind the actor may not see."""
        if not ids:
            return []
        visible = sa.select(Job.id).where(any_of(Job.id, ids), none_of(hidden_kinds(self.actor.scopes)))
        return list((await session.scalars(visible.order_by(Job.id))).all())

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[object]]:
        """Hints at any job of the account, and a second look for as long as older transactions run."""
        async with self.events.listen(self.actor.account_id) as mailbox:
            self._mailbox = mailbox
            yield job_hints(mailbox)

    def _look_again(self) -> None:
        """Events of transactions that have ended are held up by an older one that still runs: nobody will hint at them."""
        if self._mailbox is not None:
            asyncio.get_running_loop().call_later(_BEHIND_PAUSE, self._mailbox.put, None)

    async def _is_kept(self, position: Cursor) -> bool:
        """Whether nothing after the cursor can have been pruned: something as old as it is still there."""
        older = sa.exists().where(JobEvent.account_id == self.actor.account_id, JobEvent.xid <= position[0])
        async with self.database.account(self.actor.account_id) as session:
            return bool((await session.execute(sa.select(older))).scalar_one())


def _deleted(position: int) -> tuple[int, list[JobUpdate]]:
    return position + 1, [JobUpdate(UpdateKind.DELETED, position + 1, None)]


_HORIZON = sa.cast(sa.cast(sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot()), sa.Text), sa.BigInteger)
