"""What we believe of the engine's jobs, and how belief and rows are compared."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar
from uuid import UUID

import sqlalchemy as sa
from hypothesis.stateful import RuleBasedStateMachine, invariant

from db.models.jobs import LEASED, TERMINAL, AttemptOutcome, Job, JobAttempt, JobLog, JobState
from db.models.queues import DependencyPolicy
from domain.jobs.lifecycle import MOVES
from tests.factories.engine import Engine

S = JobState
T = TypeVar("T")
CAPACITY = 4

LOOK = """
select job.*, events.versions, events.told, attempts.numbers, attempts.outcomes, attempts.fences,
  (select count(*) from job_log where job_id = job.id and not exists
    (select 1 from job_attempt where job_id = job.id and job_log.message like '% fence ' || job_attempt.fence)) as stale_lines
from job
cross join lateral (select array_agg(version order by version) as versions, array_agg(state order by version) as told
  from job_event where job_id = job.id) events
cross join lateral (select coalesce(array_agg(number order by number), '{}') as numbers,
  coalesce(array_agg(outcome order by number), '{}') as outcomes, coalesce(array_agg(fence order by number), '{}') as fences
  from job_attempt where job_id = job.id) attempts
"""


@dataclass
class Model:
    """What we believe of a job."""

    id: UUID
    account: UUID
    priority: int
    position: int
    dedupe: str | None
    state: JobState
    version: int = 1
    fence: int = 0
    failures: int = 0
    lapsed: bool = False
    due: bool = False
    paused: bool = False
    parents: list[tuple["Model", DependencyPolicy]] = field(default_factory=list)
    outcomes: list[AttemptOutcome | None] = field(default_factory=list)

    def move(self, to: JobState) -> None:
        assert to in MOVES[self.state]
        self.state, self.version, self.lapsed, self.due = to, self.version + 1, False, False
        self.paused = self.paused and to not in TERMINAL


@dataclass(frozen=True)
class Carried:
    """A push or a hold: a job with a fence."""

    job: Model
    fence: int

    @property
    def is_fresh(self) -> bool:
        return self.fence == self.job.fence


class Modelled(RuleBasedStateMachine):
    """A model of the engine's jobs beside their rows. `engine` belongs to `loop`; the machine runs on a thread."""

    engine: Engine
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[UUID, Model] = {}
        self.slots: dict[UUID, int] = {}
        self.workers_alive = True
        self.carried: list[Carried] = []
        self.run(self._empty())

    def run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self.loop).result(30)

    async def _empty(self) -> None:
        await self.engine.empty()
        await self.engine.capacity(CAPACITY)

    def startable(self, account: UUID) -> list[Model]:
        """The account's jobs that may be admitted, in the order in which they are."""
        ready = [each for each in self.models.values() if each.account == account and each.state is S.READY]
        return sorted((each for each in ready if not each.paused), key=lambda each: (-each.priority, each.position))

    def react(self) -> None:
        """Let what follows from ends happen; here nothing waits for another job."""

    @property
    def leased(self) -> list[Model]:
        return [model for model in self.models.values() if model.state in LEASED]

    @invariant()
    def the_rows_say_what_the_model_says(self) -> None:
        if not self.models:
            return
        rows = self.run(self.engine.sql(LOOK))
        assert {row["id"] for row in rows} == self.models.keys()
        for row in rows:
            model = self.models[row["id"]]
            believed = (model.state.value, model.version, model.fence, model.failures, len(model.outcomes))
            assert (row["state"], row["version"], row["fence"], row["failures"], row["attempt"]) == believed
            assert row["versions"] == list(range(1, model.version + 1))
            assert row["numbers"] == list(range(1, len(model.outcomes) + 1))
            assert row["outcomes"] == [outcome and outcome.value for outcome in model.outcomes]
            assert (row["lease_until"] is not None) == (model.state in LEASED)
            assert (row["priority"], row["position"]) == (model.priority, model.position)
            assert (row["paused_at"] is not None) == model.paused
            assert (row["finished_at"] is not None) == (model.state in TERMINAL)
            told = [S(state) for state in row["told"]]
            assert told[-1] is model.state
            assert all(to is at or to in MOVES[at] for at, to in pairwise(told))
            assert row["fences"] == sorted(set(row["fences"]))
            assert row["stale_lines"] == 0

    @invariant()
    def leases_never_exceed_the_slots(self) -> None:
        for account, slots in self.slots.items():
            assert sum(each.account == account for each in self.leased) <= slots

    @invariant()
    def nobody_sees_the_rows_of_another(self) -> None:
        for account in self.slots:
            mine = {each.id for each in self.models.values() if each.account == account}
            assert self.run(self._visible(account)) == mine

    async def _visible(self, account: UUID) -> set[UUID]:
        async with self.engine.database.account(account) as session:
            everything = sa.union(sa.select(Job.id), *(sa.select(model.job_id) for model in (JobAttempt, JobLog)))
            return set((await session.scalars(everything)).all())


def claimed_row(model: Model, fence: int) -> Job:
    """The row that a worker got when it claimed with `fence`."""
    return Job(
        id=model.id, account_id=model.account, fence=fence, attempt=1, done=0, title="A job", request_id="-", checkpoint=None
    )
