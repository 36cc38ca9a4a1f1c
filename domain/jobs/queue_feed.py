"""The queue as it stands, whenever it stands otherwise."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from db.models.jobs import Job, Lane
from db.session import Database
from domain.actor import Actor
from domain.events import Events
from domain.jobs import queue
from domain.jobs.updates import UpdateKind, job_hints
from domain.paging import Page, Window
from domain.unit import Unit

Position = tuple[datetime, tuple[tuple[UUID, ...], tuple[UUID, ...], int, int]]

SHOWN = 100
PACE = 0.5  # seconds between two readings of one feed


@dataclass(frozen=True, slots=True)
class QueueNow:
    """The first SHOWN jobs that wait for a slot and that are paused, in the order in which they start, and how many there are.

    `at` is UTC.
    """

    at: datetime
    waiting: list[Job]
    paused: list[Job]
    waiting_count: int
    paused_count: int

    @property
    def position(self) -> Position:
        """When it was so, and how: what a subscriber is told of when it changes."""
        order = tuple(job.id for job in self.waiting), tuple(job.id for job in self.paused)
        return self.at, (*order, self.waiting_count, self.paused_count)

    @property
    def is_all_paused(self) -> bool:
        """Whether nothing waits, and something would if it were not paused."""
        return not self.waiting and bool(self.paused)


@dataclass(frozen=True, slots=True)
class QueueUpdate:
    """The queue as it is at `position`."""

    kind: UpdateKind
    position: Position
    queue: QueueNow


@dataclass(slots=True)
class QueueFeed:
    """The queue, or one lane's or kind's: how it is now, then whenever its order differs, at most once in PACE seconds."""

    database: Database
    events: Events
    actor: Actor
    lane: Lane | None
    kind: str | None
    _read_at: float = field(default=float("-inf"), init=False)

    @property
    def key(self) -> Hashable:
        """Equal for all who follow the same queue with the same rights."""
        return ("job-queue", self.actor.account_id, self.actor.scopes, self.lane, self.kind)

    async def start(self, after: Position | None) -> tuple[Position, list[QueueUpdate]]:  # noqa: ARG002 -- it has no history
        """How it is now."""
        now = await self._read()
        return now.position, [QueueUpdate(UpdateKind.SNAPSHOT, now.position, now)]

    async def since(self, position: Position) -> tuple[Position, list[QueueUpdate]]:
        """How it is now, if that differs from how it was then; not before it is time."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._read_at + PACE - loop.time())
        self._read_at = loop.time()
        now = await self._read()
        then, order = position
        if now.at <= then or now.position[1] == order:
            return position, []
        return now.position, [QueueUpdate(UpdateKind.CHANGED, now.position, now)]

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[object]]:
        """Hints at any job of the account."""
        async with self.events.listen(self.actor.account_id) as mailbox:
            yield job_hints(mailbox)

    async def _read(self) -> QueueNow:
        async with self.database.account(self.actor.account_id) as session:
            unit = Unit(session, self.actor)
            at = (await session.execute(sa.select(sa.func.now()))).scalar_one()
            waiting, paused = [await self._part(unit, paused=paused) for paused in (False, True)]
            counts = [await _count(unit, page) for page in (waiting, paused)]
        return QueueNow(at, waiting.rows, paused.rows, *counts)

    async def _part(self, unit: Unit, *, paused: bool) -> Page[Job]:
        return await queue.queue_page(unit, lane=self.lane, kind=self.kind, paused=paused, window=Window(first=SHOWN))


async def _count(unit: Unit, page: Page[Job]) -> int:
    if not page.has_next:
        return len(page.rows)
    whole = page.query.with_only_columns(Job.id).subquery()
    return int((await unit.session.execute(sa.select(sa.func.count()).select_from(whole))).scalar_one())
