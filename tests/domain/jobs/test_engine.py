"""The engine against a model of it: whatever order things happen in, the rows say what the model says.

Every rule is one act of a dispatcher, a worker, a person or the clock, on real rows; the model knows what must come of it. A
push and a hold are never forgotten, so late and doubled ones come as they do in life: they must change nothing.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from db.models.jobs import LEASED, TERMINAL, AttemptOutcome, Job, JobState, LogLevel
from domain import actor as actors
from domain.jobs import commands, leases, retry, sweeps
from domain.jobs.commands import NotCancellable, NotRetryable
from domain.jobs.leases import HELD, Held
from domain.jobs.lifecycle import MOVES, AttemptEnd, Plus
from domain.jobs.running import CancelRequested, HandBack, LeaseLost
from tests.domain.jobs.model import CAPACITY, Carried, Model, Modelled, S, claimed_row
from tests.factories.engine import WORKER, Engine, Scripted

MAX_RETRIES = 2
# The tests' PostgreSQL may be seconds old: nothing would be taken back within a usual lease of its start.
TAKE_BACK = partial(sweeps.take_back_lapsed, lease=timedelta(seconds=1))
RETRYABLE = {S.FAILED, S.PARTIAL, S.CANCELLED, S.BACKOFF, S.WAITING}
OUTCOMES = {
    S.SUCCEEDED: AttemptOutcome.SUCCEEDED,
    S.PARTIAL: AttemptOutcome.PARTIAL,
    S.FAILED: AttemptOutcome.FAILED,
    S.CANCELLED: AttemptOutcome.CANCELLED,
    S.BACKOFF: AttemptOutcome.FAILED,
    S.WAITING: AttemptOutcome.WAITING,
    S.READY: AttemptOutcome.HANDED_BACK,
}


class EngineMachine(Modelled):
    """Acts on the engine and on the model."""

    accounts = Bundle("accounts")
    jobs = Bundle("jobs")
    pushes = Bundle("pushes")
    holds = Bundle("holds")

    @initialize(target=accounts, slots=st.lists(st.integers(1, 3), min_size=2, max_size=2))
    def open_accounts(self, slots: list[int]) -> Any:
        opened = [self.run(self.engine.account(slots=number)) for number in slots]
        self.slots = dict(zip(opened, slots, strict=True))
        for account in opened * CAPACITY:  # more jobs than slots: whoever ignores slots is found out by the first admission
            self._enqueue(account, None, False, 0)
        return multiple(*opened)

    @rule(
        target=jobs,
        account=accounts,
        dedupe=st.sampled_from([None, None, "a"]),
        later=st.sampled_from([False, False, True]),
        priorities=st.lists(st.integers(0, 1), min_size=1, max_size=3),
    )
    def enqueue(self, account: UUID, dedupe: str | None, later: bool, priorities: list[int]) -> Any:
        return multiple(*(made for priority in priorities for made in self._enqueue(account, dedupe, later, priority)))

    def _enqueue(self, account: UUID, dedupe: str | None, later: bool, priority: int) -> list[Model]:
        live = [each for each in self.models.values() if each.state not in TERMINAL and each.account == account]
        twins = [each for each in live if dedupe is not None and each.dedupe == dedupe]
        run_at = datetime.now(UTC) + timedelta(hours=1) if later else None
        job = self.run(self.engine.enqueue(account, Scripted(), dedupe_key=dedupe, run_at=run_at, priority=priority))
        if twins:
            assert [twin.id for twin in twins] == [job.id]
            return []
        state = S.SCHEDULED if later else S.READY
        model = self.models[job.id] = Model(job.id, account, priority, job.position, dedupe, state)
        self.run(self.engine.sql("update job set max_retries = $2 where id = $1", job.id, MAX_RETRIES))
        return [model]

    @rule(target=pushes, only=st.none() | accounts)
    def admit(self, only: UUID | None) -> Any:
        return multiple(*self._admit(only))

    @rule(target=holds)
    def admit_and_claim(self) -> Any:
        return multiple(*(hold for push in self._admit(None) for hold in self._claim(push)))

    def _admit(self, only: UUID | None) -> list[Carried]:
        room = CAPACITY - len(self.leased) if self.workers_alive else 0
        admitted = self.run(self.engine.admit(only))
        expected = 0
        for account, slots in self.slots.items():
            mine = [self.models[job.id] for job in admitted if job.account_id == account]
            ready = self.startable(account)
            assert mine == ready[: len(mine)]
            free = slots - sum(each.account == account for each in self.leased)
            assert len(mine) <= free
            expected += min(free, len(ready)) if only in (None, account) else 0
        assert len(admitted) == max(0, min(room, expected))
        for job in admitted:
            model = self.models[job.id]
            model.move(S.ADMITTED)
            model.fence += 1
            assert job.fence == model.fence
        pushes = [Carried(self.models[job.id], job.fence) for job in admitted]
        self.carried += pushes
        return pushes

    @rule(target=holds, push=pushes)
    def claim(self, push: Carried) -> Any:
        return multiple(*self._claim(push))

    def _claim(self, push: Carried) -> list[Carried]:
        model = push.job
        claimed = self.run(self.engine.claim(Job(id=model.id), fence=push.fence))
        if not (push.is_fresh and model.state is S.ADMITTED):
            assert claimed is None
            return []
        assert claimed is not None
        model.move(S.RUNNING)
        model.outcomes.append(None)
        return [push]

    @rule(hold=holds, to=st.sampled_from(sorted(OUTCOMES)))
    def release(self, hold: Carried, to: JobState) -> None:
        model = hold.job
        spent = to is S.BACKOFF
        end = AttemptEnd(OUTCOMES[to], next_delay=retry.delay_before(model.failures + 1) if spent else None)
        values = {"failures": Plus(1)} if spent else {}

        async def release() -> Job | None:
            async with self.engine.database.account(model.account) as session:
                return await leases.release(session, held=Held(model.id, hold.fence), to=to, end=end, values=values)

        moved = self.run(release())
        if hold.is_fresh and model.state in HELD and to in MOVES[model.state]:
            assert moved is not None
            model.move(to)
            model.failures += spent
            model.outcomes[-1] = end.outcome
        else:
            assert moved is None

    @rule(hold=holds, done=st.integers(0, 9))
    def advance(self, hold: Carried, done: int) -> None:
        model = hold.job
        row = claimed_row(model, hold.fence)

        async def write() -> None:
            held = await self.engine.held(row)
            async with held.unit() as unit:
                held.log(unit, level=LogLevel.INFO, code="T", message=f"{done} with fence {hold.fence}")
                await held.advance(unit, done=done, checkpoint={"fence": hold.fence})

        if not (hold.is_fresh and model.state in HELD):
            with pytest.raises(LeaseLost):
                self.run(write())
            return
        model.version += 1
        if model.state is S.CANCELLING:
            with pytest.raises(CancelRequested):
                self.run(write())
        elif model.paused:
            with pytest.raises(HandBack):
                self.run(write())
        else:
            self.run(write())

    @rule(hold=holds)
    def beat(self, hold: Carried) -> None:
        model, held = hold.job, Held(hold.job.id, hold.fence)

        async def extend() -> Any:
            async with self.engine.database.system_across_accounts() as session:
                return await leases.extend(session, worker=WORKER, held=[held])

        kept = self.run(extend())
        if hold.is_fresh and model.state in HELD:
            assert kept == {held: model.state}
            model.lapsed &= model.state is S.CANCELLING  # the lease bounds a cancellation
        else:
            assert kept == {}

    @rule(model=jobs)
    def cancel(self, model: Model) -> None:
        if model.state in TERMINAL - {S.CANCELLED}:
            with pytest.raises(NotCancellable):
                self.run(self._command(commands.cancel, model))
            return
        self.run(self._command(commands.cancel, model))
        if model.state is S.RUNNING:
            lapsed = model.lapsed
            model.move(S.CANCELLING)
            model.lapsed = lapsed
        elif model.state not in {S.CANCELLING, S.CANCELLED}:
            model.move(S.CANCELLED)

    @rule(model=jobs)
    def retry(self, model: Model) -> None:
        alike = [each for each in self.models.values() if each.dedupe and each.dedupe == model.dedupe and each is not model]
        twin = any(each.account == model.account and each.state not in TERMINAL for each in alike)
        if model.state not in RETRYABLE or twin:
            with pytest.raises(NotRetryable):
                self.run(self._command(commands.retry, model))
            return
        self.run(self._command(commands.retry, model))
        if model.state in TERMINAL:  # one that has not ended keeps count of its retries
            model.failures = 0
        model.move(S.READY)
        if not model.outcomes and any(parent.state not in TERMINAL for parent, _ in model.parents):
            model.move(S.BLOCKED)

    async def _command(self, command: Any, model: Model) -> None:
        async with self.engine.runtime.unit(actors.system(model.account)) as unit:
            await command(unit, job_id=model.id)
            unit.lanes_to_admit.clear()
            unit.reacts = False

    @rule(model=jobs)
    def time_passes(self, model: Model) -> None:
        if model.state in LEASED:
            self.run(self.engine.lapse(Job(id=model.id)))
            model.lapsed = True
        elif model.state in {S.SCHEDULED, S.BACKOFF}:
            self.run(self.engine.due(Job(id=model.id)))
            model.due = True

    @rule()
    def sweep(self) -> None:
        async def sweep(step: sweeps.Sweep) -> list[Job]:
            async with self.engine.database.system_across_accounts() as session:
                return await step(session)

        due = {each.id for each in self.models.values() if each.due and not each.paused}
        assert {job.id for job in self.run(sweep(sweeps.ready_due))} == due
        lapsed = [each for each in self.models.values() if each.lapsed]
        assert {job.id for job in self.run(sweep(TAKE_BACK))} == {each.id for each in lapsed}
        for job_id in due:
            self.models[job_id].move(S.READY)
        for model in lapsed:
            if model.state is S.ADMITTED:
                model.move(S.READY)
                continue
            model.outcomes[-1] = AttemptOutcome.LOST
            if model.state is S.CANCELLING:
                model.move(S.CANCELLED)
            else:
                model.move(S.BACKOFF if model.failures < MAX_RETRIES else S.FAILED)
                model.failures += 1

    @rule(target=holds, hold=holds)
    def a_silent_workers_job_goes_to_another(self, hold: Carried) -> Any:
        """The commonest way to a stale hold, in one step: chance alone seldom finds it."""
        for _ in range(2):  # its lease lapses, then its delay passes
            if hold.job.state in LEASED | {S.BACKOFF}:
                self.time_passes(hold.job)
                self.sweep()
        return self.admit_and_claim()

    @rule(alive=st.sampled_from([True, True, True, False]))
    def workers_come_and_go(self, alive: bool) -> None:
        self.run(self.engine.sql("update worker set seen_at = now() - $1::interval", timedelta(hours=0 if alive else 1)))
        self.workers_alive = alive

    def teardown(self) -> None:
        """Every job can be brought to its end, and whatever is stale on the way there has no effect."""
        self.workers_come_and_go(alive=True)
        for turn in range(4 * len(self.models) + 4):
            pushes = self._admit(None)
            stale = [carried for carried in self.carried if not carried.is_fresh]
            for old in stale:
                self._claim(old)
            holds = [hold for push in pushes for hold in self._claim(push)]
            for old in stale:
                self.beat(old)
                self.advance(old, done=1)
                self.release(old, to=S.SUCCEEDED)
            self.the_rows_say_what_the_model_says()
            self._end(holds, turn)
            for model in self.models.values():
                if model.state not in TERMINAL:
                    self.time_passes(model)
                if model.state is S.WAITING:
                    self.retry(model)
            self.sweep()
            self.react()
            if all(model.state in TERMINAL for model in self.models.values()):
                return
        pytest.fail("some job never ended")

    def _end(self, holds: list[Carried], turn: int) -> None:
        """Every third holder falls silent, every third job is cancelled, and the rest succeed."""
        for hold in holds[(2 + turn) % 3 :: 3]:
            self.cancel(hold.job)
        self.the_rows_say_what_the_model_says()
        for number, hold in enumerate(holds):
            if number % 3 != turn % 3:
                self.release(hold, to=S.SUCCEEDED)


async def test_whatever_happens_the_rows_say_what_the_model_says(engine: Engine) -> None:
    EngineMachine.engine, EngineMachine.loop = engine, asyncio.get_running_loop()
    steps = settings(max_examples=10, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    await asyncio.to_thread(run_machine, EngineMachine, settings=steps)
