"""The engine against its model once more, with what people do to the queue: pause, boost, dependencies, several dispatchers.

ENGINE_EXAMPLES says how many orders of things are tried; a few by default, hundreds before a release.
"""

import asyncio
import os
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from db.models.jobs import TERMINAL, Job
from db.models.queues import DependencyPolicy
from domain import actor as actors
from domain import reactions
from domain.jobs import dependencies, queries, queue
from domain.jobs.dependencies import AlreadyStarted, DependencyCycle, ParentEnded
from domain.jobs.feeds import JobFeed
from domain.jobs.queries import JobFilter, JobOrder, StatusGroup, group_of
from domain.jobs.queue import QUEUED, NotQueued
from domain.jobs.summary import summarize
from domain.paging import Window
from tests.domain.jobs.model import Carried, Model, S
from tests.domain.jobs.test_engine import EngineMachine
from tests.factories.engine import Engine, Scripted

EXAMPLES = int(os.environ.get("ENGINE_EXAMPLES", "10"))
BOOSTED = 500_000_000
UNSTARTED = {S.BLOCKED, S.SCHEDULED, S.READY}
policies = st.sampled_from(DependencyPolicy)
numbers = st.integers(0, 99)


class QueueMachine(EngineMachine):
    """Acts on the queue as people do."""

    def job(self, number: int) -> Model:
        """One of the jobs, whoever made it."""
        return list(self.models.values())[number % len(self.models)]

    @rule(number=numbers)
    def pause(self, number: int) -> None:
        model = self.job(number)
        if model.state not in QUEUED | {S.ADMITTED, S.RUNNING}:
            with pytest.raises(NotQueued):
                self.run(self._command(queue.pause, model))
            return
        self.run(self._command(queue.pause, model))
        if model.state is S.ADMITTED:
            model.move(S.READY)
        elif not model.paused:
            model.version += 1
        model.paused = True

    @rule(number=numbers)
    def resume(self, number: int) -> None:
        self._resume(self.job(number))

    def _resume(self, model: Model) -> None:
        if model.state in TERMINAL:
            with pytest.raises(NotQueued):
                self.run(self._command(queue.resume, model))
            return
        self.run(self._command(queue.resume, model))
        model.version += model.paused
        model.paused = False

    @rule(number=numbers)
    def boost(self, number: int) -> None:
        """Only this one moves: that no other's priority or position changed is looked at after each step."""
        self._boost(self.job(number))

    def _boost(self, model: Model) -> None:
        if model.state not in QUEUED:
            with pytest.raises(NotQueued):
                self.run(self._command(queue.boost, model))
            return
        ready = self.startable(model.account)
        is_first = model.priority > BOOSTED or (ready and ready[0] is model)
        self.run(self._command(queue.boost, model))
        if is_first:
            return
        model.version += 1
        model.priority = self.run(self.engine.job(model.id)).priority
        others = [each for each in self.models.values() if each.account == model.account and each is not model]
        assert all(model.priority > each.priority for each in others if each.priority <= BOOSTED)
        assert all(model.priority < each.priority for each in others if each.priority > BOOSTED)

    @rule(target=EngineMachine.jobs, chosen=st.lists(numbers, min_size=1, max_size=2), policy=policies)
    def enqueue_after(self, chosen: list[int], policy: DependencyPolicy) -> Any:
        account = self.job(chosen[0]).account
        parents = list({each.id: each for each in map(self.job, chosen) if each.account == account}.values())
        after = [(parent.id, policy) for parent in parents]
        job = self.run(self.engine.enqueue(account, Scripted(), after=after, priority=0))
        model = self.models[job.id] = Model(job.id, account, 0, job.position, None, S.BLOCKED)
        model.parents = [(parent, policy) for parent in parents]
        self.run(self.engine.sql("update job set max_retries = 2 where id = $1", job.id))
        self._settle(model)
        return model

    @rule(numbers=st.tuples(numbers, numbers), policy=policies)
    def add_dependency(self, numbers: tuple[int, int], policy: DependencyPolicy) -> None:
        child, parent = map(self.job, numbers)
        assume(child.account == parent.account)
        refusal = self._refusal(child, parent, policy)

        async def add() -> None:
            async with self.engine.runtime.unit(actors.system(child.account)) as unit:
                await dependencies.add(unit, job_id=child.id, parent_id=parent.id, policy=policy)
                unit.lanes_to_admit.clear()

        if refusal is not None:
            with pytest.raises(refusal):
                self.run(add())
            return
        self.run(add())
        child.parents = [edge for edge in child.parents if edge[0] is not parent] + [(parent, policy)]
        if parent.state not in TERMINAL and child.state is not S.BLOCKED:
            child.move(S.BLOCKED)

    def _refusal(self, child: Model, parent: Model, policy: DependencyPolicy) -> type[Exception] | None:
        if child.state not in UNSTARTED:
            return AlreadyStarted
        if child is parent or self._follows(parent, child):
            return DependencyCycle
        if policy is DependencyPolicy.SUCCEEDED and parent.state in TERMINAL - {S.SUCCEEDED}:
            return ParentEnded
        return None

    def _follows(self, job: Model, other: Model) -> bool:
        return any(parent is other or self._follows(parent, other) for parent, _ in job.parents)

    @rule(target=EngineMachine.pushes, dispatchers=st.integers(2, 4))
    def admit_at_once(self, dispatchers: int) -> Any:
        """Several dispatchers: each job goes to one of them, in order, and slots hold for all of them together."""

        async def at_once() -> list[list[Job]]:
            return await asyncio.gather(*(self.engine.admit() for _ in range(dispatchers)))

        ready = {account: self.startable(account) for account in self.slots}
        admitted = [job for jobs in self.run(at_once()) for job in jobs]
        assert len({job.id for job in admitted}) == len(admitted)
        for account in self.slots:
            mine = {job.id for job in admitted if job.account_id == account}
            assert mine == {each.id for each in ready[account][: len(mine)]}
        pushes = []
        for job in admitted:
            model = self.models[job.id]
            model.move(S.ADMITTED)
            model.fence += 1
            pushes.append(Carried(model, job.fence))
        self.carried += pushes
        return multiple(*pushes)

    @rule()
    def react(self) -> None:
        """What follows from ends: children start or are skipped, level by level."""

        async def react() -> None:
            async with self.engine.database.system_across_accounts() as session:
                await reactions.react(session)

        self.run(react())
        settled = True
        while settled:
            settled = len([model for model in self.models.values() if model.state is S.BLOCKED and self._settle(model)]) > 0

    def _settle(self, model: Model) -> bool:
        ended = [(parent.state, policy) for parent, policy in model.parents if parent.state in TERMINAL]
        if any(state is not S.SUCCEEDED and policy is DependencyPolicy.SUCCEEDED for state, policy in ended):
            model.move(S.SKIPPED)
        elif len(ended) == len(model.parents):
            model.move(S.READY)
        else:
            return False
        return True

    def teardown(self) -> None:
        """As in the base, after people have let go on what they paused; then every view of it says the same."""
        for account in self.slots:
            for model in self.startable(account)[-1:]:
                self._boost(model)
        self.the_rows_say_what_the_model_says()
        for model in self.models.values():
            if model.paused and model.state not in TERMINAL:
                self._resume(model)
        super().teardown()
        for model in self.models.values():
            self.run(self._replay_is_what_happened(model))
        for account in self.slots:
            self.run(self._pages_visit_each_once(account))

    async def _replay_is_what_happened(self, model: Model) -> None:
        feed = JobFeed(self.engine.database, self.engine.runtime.events, actors.system(model.account), model.id)
        position, updates = await feed.start(0)
        told = [(update.event.version, update.event.state) for update in updates if update.event is not None]
        assert position == model.version
        assert told == [(event.version, event.state) for event in await self.engine.events(Job(id=model.id))]

    async def _pages_visit_each_once(self, account: UUID) -> None:
        seen: list[UUID] = []
        after = None
        async with self.engine.runtime.unit(actors.system(account)) as unit:
            while True:
                page = await queries.jobs_page(
                    unit, wanted=JobFilter(), order=JobOrder.NEWEST, window=Window(first=2, after=after)
                )
                seen += [job.id for job in page.rows]
                if not page.has_next:
                    break
                after = [str(value) for value in page.order.key(page.rows[-1])]  # as JSON has them
        assert sorted(seen) == sorted(model.id for model in self.models.values() if model.account == account)

    @invariant()
    def the_counts_are_those_of_the_model(self) -> None:
        for account in self.slots:
            mine = [model for model in self.models.values() if model.account == account]
            expected = Counter(group_of(model.state, paused=model.paused and model.state not in TERMINAL) for model in mine)
            assert self.run(self._counts(account)) == expected

    async def _counts(self, account: UUID) -> Counter[StatusGroup]:
        async with self.engine.runtime.unit(actors.system(account)) as unit:
            return Counter((await summarize(unit)).total.groups)


async def test_whatever_people_do_to_the_queue_the_rows_say_what_the_model_says(engine: Engine) -> None:
    QueueMachine.engine, QueueMachine.loop = engine, asyncio.get_running_loop()
    steps = settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    await asyncio.to_thread(run_machine, QueueMachine, settings=steps)
