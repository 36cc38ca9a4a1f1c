"""The queue: what waits, in which order, and how people change that."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import strawberry

from db.models import jobs as models
from db.models.queues import DependencyPolicy as Policy
from domain.jobs import dependencies, queue
from domain.jobs.priority import JobPriority as Level
from domain.jobs.queue import Changed
from domain.jobs.queue_feed import QueueFeed
from graph import ids
from graph.about import about, resolved, shown, watched
from graph.context import Info
from graph.enums import DependencyPolicy, JobPriority, Lane, UpdateKind
from graph.jobs.types import Job, JobPayload, warnings
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.user_errors import mutation

OfLane = Annotated[Lane | None, strawberry.argument(description="Only this class of workers.")]
OfKind = Annotated[str | None, strawberry.argument(description="Only this kind, such as crm.contacts.sync.")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of the queue."""

    lane: models.Lane | None
    kind: str | None


@strawberry.type(description="The account's jobs that wait for a slot, and those that are paused.")
class JobQueue:
    @resolved("Those that wait for a slot, in the order in which they start.", Connection[Job] | None)
    async def waiting(
        root: strawberry.Parent[Wanted],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """A keyset page."""
        async with info.context.unit() as unit:
            page = window(first, after, last, before)
            return Listing(await queue.queue_page(unit, lane=root.lane, kind=root.kind, paused=False, window=page))

    @resolved("Those that are paused, in the order in which they would start.", Connection[Job] | None)
    async def paused(
        root: strawberry.Parent[Wanted],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """A keyset page."""
        async with info.context.unit() as unit:
            page = window(first, after, last, before)
            return Listing(await queue.queue_page(unit, lane=root.lane, kind=root.kind, paused=True, window=page))

    @resolved('Whether nothing waits, and something would if it were not paused: say "All jobs paused".', bool | None)
    async def is_all_paused(root: strawberry.Parent[Wanted], info: Info) -> Any:
        """False for an empty queue."""
        async with info.context.unit() as unit:
            return await queue.is_all_paused(unit, lane=root.lane, kind=root.kind)


@strawberry.type(description="The queue at one moment: the first hundred jobs of each part, and how many there are.")
class JobQueueNow:
    waiting: list[Job] = about("Those that wait for a slot, in the order in which they start.")
    waiting_count: int = about("How many wait.")
    paused: list[Job] = about("Those that are paused, in the order in which they would start.")
    paused_count: int = about("How many are paused.")
    is_all_paused: bool = about("As in `JobQueue`.")


@strawberry.type(description="What a subscriber to the queue is told.")
class JobQueueUpdate:
    kind: UpdateKind = about("SNAPSHOT comes first, then CHANGED whenever the order differs, about twice a second at most.")
    queue: JobQueueNow = about("The queue now; every `queuePosition` in it is true at this moment.")


@strawberry.input(description="A job to send to the front of its queue.")
class BoostJobInput:
    id: strawberry.ID = about("The job.")


@strawberry.input(description="How soon a job is to start.")
class SetJobPriorityInput:
    id: strawberry.ID = about("The job.")
    priority: JobPriority = about("Its new level; it takes a boost back.")


@strawberry.input(description="A job that is not to start for now.")
class PauseJobInput:
    id: strawberry.ID = about("The job.")


@strawberry.input(description="A paused job that is to go on.")
class ResumeJobInput:
    id: strawberry.ID = about("The job.")


@strawberry.input(description="A job that is to start after another one.")
class AddJobDependencyInput:
    job_id: strawberry.ID = about("The one that waits; it has not started yet.")
    depends_on_id: strawberry.ID = about("The one that it waits for.")
    policy: DependencyPolicy = strawberry.field(default=Policy.SUCCEEDED, description="Which end of that one lets it start.")


@strawberry.input(description="A job that is not to wait for another one any more.")
class RemoveJobDependencyInput:
    job_id: strawberry.ID = about("The one that waits.")
    depends_on_id: strawberry.ID = about("The one that it waits for.")


@strawberry.type
class JobQueueQuery:
    @resolved("What waits and what is paused, of the whole account or a part. Needs jobs:read.", JobQueue | None)
    def job_queue(
        self,
        lane: OfLane = None,
        kind: OfKind = None,
    ) -> Any:
        """Read by its fields."""
        return Wanted(lane, kind)


@strawberry.type
class JobQueueSubscription:
    @watched("Watch the order of the queue, of the whole account or a part: one change may move all jobs behind it.")
    async def job_queue_changed(
        self, info: Info, lane: OfLane = None, kind: OfKind = None
    ) -> AsyncGenerator[JobQueueUpdate, None]:
        """After a reconnect it begins with a snapshot again, so there is nothing to resume from."""
        runtime = info.context.runtime
        feed = QueueFeed(runtime.database, runtime.events, info.context.actor, lane, kind)
        async for update in info.context.follow(feed):
            yield JobQueueUpdate(kind=update.kind, queue=shown(update.queue))


@strawberry.type
class JobQueueMutation:
    @mutation("Send a waiting job to the front of its queue, behind those that were boosted before it. Needs jobs:write.")
    async def boost_job(
        self, info: Info, input: Annotated[BoostJobInput, strawberry.argument(description="Which job.")]
    ) -> JobPayload:
        async with info.context.unit() as unit:
            return _payload(await queue.boost(unit, job_id=_id(input.id)))

    @mutation("Let a waiting job start before those of a lower level. A running job is never stopped for it. Needs jobs:write.")
    async def set_job_priority(
        self, info: Info, input: Annotated[SetJobPriorityInput, strawberry.argument(description="Which job, which level.")]
    ) -> JobPayload:
        async with info.context.unit() as unit:
            return _payload(await queue.set_priority(unit, job_id=_id(input.id), level=Level(input.priority)))

    @mutation("Keep a job from starting; it keeps its place. A running one stops at its next checkpoint. Needs jobs:write.")
    async def pause_job(
        self, info: Info, input: Annotated[PauseJobInput, strawberry.argument(description="Which job.")]
    ) -> JobPayload:
        async with info.context.unit() as unit:
            changed = await queue.pause(unit, job_id=_id(input.id))
        return _payload(changed, "will not start while this one is paused")

    @mutation("Let a paused job go on, at the place in the queue that it kept. Needs jobs:write.")
    async def resume_job(
        self, info: Info, input: Annotated[ResumeJobInput, strawberry.argument(description="Which job.")]
    ) -> JobPayload:
        async with info.context.unit() as unit:
            return _payload(await queue.resume(unit, job_id=_id(input.id)))

    @mutation("Let a job that has not started wait for another one. Adding it again changes the policy. Needs jobs:write.")
    async def add_job_dependency(
        self, info: Info, input: Annotated[AddJobDependencyInput, strawberry.argument(description="Which job, after which.")]
    ) -> JobPayload:
        async with info.context.unit() as unit:
            job = await dependencies.add(
                unit,
                job_id=ids.read("job", input.job_id, field="jobId"),
                parent_id=ids.read("job", input.depends_on_id, field="dependsOnId"),
                policy=input.policy,
            )
        return JobPayload(job=shown(job))

    @mutation("Let a job wait for another one no longer; waiting for nothing else, it goes on at once. Needs jobs:write.")
    async def remove_job_dependency(
        self,
        info: Info,
        input: Annotated[RemoveJobDependencyInput, strawberry.argument(description="Which job, no longer after which.")],
    ) -> JobPayload:
        async with info.context.unit() as unit:
            removed = await dependencies.remove(
                unit,
                job_id=ids.read("job", input.job_id, field="jobId"),
                parent_id=ids.read("job", input.depends_on_id, field="dependsOnId"),
            )
        return JobPayload(job=shown(removed.job), notice=None if removed.was_there else "It does not wait for that job.")


def _payload(changed: Changed, fate: str = "") -> JobPayload:
    return JobPayload(
        job=shown(changed.job),
        notice=changed.notice,
        warnings=warnings(changed.affected, fate),
        affected_jobs=shown(changed.affected),
    )


def _id(text: str) -> UUID:
    return ids.read("job", text, field="id")
