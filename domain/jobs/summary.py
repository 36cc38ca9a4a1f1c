"""How many jobs of an account stand where, and the feed of it.

The counts are GROUP BYs over two indexes alone: what has not ended, and what ended within a day. Nothing is kept that could
drift from the rows.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from db.models.jobs import TERMINAL, Job, JobState
from db.session import Database
from domain.actor import Actor
from domain.events import Events, Mailbox
from domain.jobs.catalog import hidden_kinds, title_of
from domain.jobs.queries import JobFilter, StatusGroup, filtered, group_of, state_in
from domain.jobs.updates import UpdateKind, job_hints
from domain.unit import Unit

DAY = timedelta(days=1)
PACE = 1.0  # seconds between two readings of one feed
REFRESH = 60.0  # seconds after which what ended a day ago is looked for, though nobody hints at that
_ENDED = (StatusGroup.COMPLETED, StatusGroup.FAILED, StatusGroup.CANCELLED)


@dataclass(frozen=True, slots=True)
class Counts:
    """Jobs by group. Of those that have ended, only what ended within 24 hours."""

    groups: Mapping[StatusGroup, int]

    def __getitem__(self, group: StatusGroup) -> int:
        return self.groups.get(group, 0)

    @property
    def unended(self) -> int:
        """Those that have not ended."""
        return sum(count for group, count in self.groups.items() if group not in _ENDED)


@dataclass(frozen=True, slots=True)
class JobSummary:
    """The counts in all and by kind, sorted by title; kinds without any are left out. `at` is UTC."""

    at: datetime
    total: Counts
    kinds: list[tuple[str, Counts]]
    hidden_kinds: int

    @property
    def all_paused(self) -> bool:
        """Whether there are jobs that have not ended, and all of them are paused."""
        return self.total.unended == self.total[StatusGroup.PAUSED] > 0


async def summarize(unit: Unit, *, wanted: JobFilter | None = None) -> JobSummary:
    """Count the jobs that fit a filter. Raises Forbidden."""
    fitting = filtered(unit, wanted or JobFilter())
    counts: dict[str, Counter[StatusGroup]] = {}
    paused = Job.paused_at.is_not(None)
    unended = fitting.where(state_in(frozenset(JobState) - TERMINAL))
    ended = fitting.where(Job.finished_at.is_not(None), Job.finished_at >= sa.func.now() - DAY)
    live = unended.with_only_columns(Job.kind, Job.state, paused, sa.func.count()).group_by(Job.kind, Job.state, paused)
    past = ended.with_only_columns(Job.kind, Job.state, sa.false(), sa.func.count()).group_by(Job.kind, Job.state)
    for query in (live, past):
        for kind, state, is_paused, count in await unit.session.execute(query):
            counts.setdefault(kind, Counter())[group_of(state, paused=is_paused)] += count
    total = sum(counts.values(), Counter[StatusGroup]())
    by_kind = [(kind, Counts(counts[kind])) for kind in sorted(counts, key=lambda kind: (title_of(kind), kind))]
    now = (await unit.session.execute(sa.select(sa.func.now()))).scalar_one()
    return JobSummary(now, Counts(total), by_kind, len(hidden_kinds(unit.actor.scopes)))


@dataclass(frozen=True, slots=True)
class SummaryUpdate:
    """The summary as it is at `position`."""

    kind: UpdateKind
    position: datetime
    summary: JobSummary


@dataclass(slots=True)
class SummaryFeed:
    """The summary of the jobs that fit a filter: how it is now, then whenever it differs, at most once in PACE seconds."""

    database: Database
    events: Events
    actor: Actor
    wanted: JobFilter
    _last: JobSummary | None = field(default=None, init=False)
    _read_at: float = field(default=float("-inf"), init=False)

    @property
    def key(self) -> Hashable:
        """Equal for all who follow the same summary with the same rights."""
        return ("job-summary", self.actor.account_id, self.actor.scopes, self.wanted)

    async def start(self, after: datetime | None) -> tuple[datetime, list[SummaryUpdate]]:  # noqa: ARG002 -- it has no history
        """How it is now."""
        now = await self._summary()
        return now.at, [SummaryUpdate(UpdateKind.SNAPSHOT, now.at, now)]

    async def since(self, position: datetime) -> tuple[datetime, list[SummaryUpdate]]:
        """How it is now, if that differs from what was read last; not before it is time."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._read_at + PACE - loop.time())
        self._read_at = loop.time()
        now = await self._summary()
        unchanged = self._last is not None and replace(now, at=self._last.at) == self._last
        self._last = now
        if unchanged or now.at <= position:
            return position, []
        return now.at, [SummaryUpdate(UpdateKind.CHANGED, now.at, now)]

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[object]]:
        """Hints at any job of the account, and one each minute."""
        async with self.events.listen(self.actor.account_id) as mailbox:
            ticking = asyncio.create_task(_tick(mailbox))
            try:
                yield job_hints(mailbox)
            finally:
                ticking.cancel()

    async def _summary(self) -> JobSummary:
        async with self.database.account(self.actor.account_id) as session:
            return await summarize(Unit(session, self.actor), wanted=self.wanted)


async def _tick(mailbox: Mailbox) -> None:
    while True:
        await asyncio.sleep(REFRESH)
        mailbox.put(None)
