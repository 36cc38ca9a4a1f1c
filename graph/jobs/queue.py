"""The queue: what waits, in which order, and how people change that."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import strawberry

from db.models import jobs as models
from db.models.queues import DependencyPolicy as Policy
from domain.jobs import dependencies, queue
from domain.jobs.queue import Changed
from graph import ids
from graph.about import about, resolved, shown
from graph.context import Info
from graph.enums import DependencyPolicy, JobPriority, Lane
from graph.jobs.types import Job, JobPayload, warnings
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.user_errors import mutation


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


@strawberry.type
class JobQueueQuery:
    @resolved("What waits and what is paused, of the whole account or a part. Needs jobs:read.", JobQueue | None)
    def job_queue(
        self,
        lane: Annotated[Lane | None, strawberry.argument(description="Only this class of workers.")] = None,
        kind: Annotated[str | None, strawberry.argument(description="Only this kind, such as crm.contacts.sync.")] = None,
    ) -> Any:
        """Read by its fields."""
        return Wanted(lane, kind)


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
            return _payload(await queue.set_priority(unit, job_id=_id(input.id), level=queue.JobPriority(input.priority)))

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


def _payload(changed: Changed, fate: str = "") -> JobPayload:
    return JobPayload(
        job=shown(changed.job),
        notice=changed.notice,
        warnings=warnings(changed.affected, fate),
        affected_jobs=shown(changed.affected),
    )


def _id(text: str) -> UUID:
    return ids.read("job", text, field="id")
