"""Schedules of workflows as clients see them: when they run by themselves, and what came of it."""

from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import strawberry

from db.models import jobs as job_models
from db.models import schedules as models
from domain.jobs import queries as jobs
from domain.jobs.priority import JobPriority as Level
from domain.schedules import queries, results
from domain.schedules import recurrence as recurrences
from domain.schedules.instants import upcoming
from domain.workflows import queries as workflows
from graph.about import about, resolved
from graph.context import Info
from graph.enums import JobPriority
from graph.jobs.types import Job
from graph.node import Node, global_id, loads, stands_for
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.recurrence import InZone, Recurrence, ScheduleInstant, recurrence_of
from graph.schedule_enums import FireResult, MissedPolicy, OverlapPolicy, ScheduleStatus
from graph.workflows.types import Workflow, WorkflowRun

loads("schedule", queries.schedules_by_ids)
loads("schedulefire", queries.fires_by_ids)

ScheduleId = Annotated[strawberry.ID, strawberry.argument(description="The schedule.")]


@strawberry.type(description="What a schedule did at one of its times. Kept for 90 days.")
class ScheduleFire(Node):
    id: strawberry.ID = global_id("schedulefire")
    nominal_at: datetime = about("The time at which it was due; for a run by hand, when it was asked for. UTC.")
    fired_at: datetime = about("When that was noticed and the run asked for. UTC.")
    is_manual: bool = about("Whether somebody asked for it with runScheduleNow.")
    missed: int = about("How many earlier times it stands for at which the system was down; 99 may be more.")

    is_type_of = stands_for(models.ScheduleFire)

    @resolved("The schedule, as it is now.", Annotated["Schedule", strawberry.lazy("graph.schedules.types")] | None)
    async def schedule(root: strawberry.Parent[models.ScheduleFire], info: Info) -> Any:
        """Gathered for all rows of the answer."""
        return await info.context.loader(queries.schedules_by_ids).load(root.schedule_id)

    @resolved("What came of it.")
    async def result(root: strawberry.Parent[models.ScheduleFire], info: Info) -> FireResult:
        """A run that ended just now is told of before it is written down."""
        job = await _unsettled(root, info)
        return root.result if job is None else results.RESULTS.get(job.state, root.result)

    @resolved("How it ended, in a sentence for people.")
    async def message(root: strawberry.Parent[models.ScheduleFire], info: Info) -> str | None:
        """Of the run; or why it did not run."""
        job = await _unsettled(root, info)
        return root.message if job is None else job.message

    @resolved("When the run's first attempt began; null where it has not. UTC.")
    async def started_at(root: strawberry.Parent[models.ScheduleFire], info: Info) -> datetime | None:
        """The actual start."""
        job = await _unsettled(root, info)
        return root.started_at if job is None else job.started_at

    @resolved("When the run ended; null where it has not. UTC.")
    async def ended_at(root: strawberry.Parent[models.ScheduleFire], info: Info) -> datetime | None:
        """Of the latest attempt."""
        job = await _unsettled(root, info)
        return root.ended_at if job is None else job.finished_at

    @resolved("How long the run took, in seconds; null where it has not ended.")
    async def duration_seconds(root: strawberry.Parent[models.ScheduleFire], info: Info) -> float | None:
        """From start to end."""
        job = await _unsettled(root, info)
        started, ended = (root.started_at, root.ended_at) if job is None else (job.started_at, job.finished_at)
        return None if started is None or ended is None else (ended - started).total_seconds()

    @resolved("The run's job; null where nothing ran, or it is not kept any more.", Job | None)
    async def job(root: strawberry.Parent[models.ScheduleFire], info: Info) -> Any:
        """Retry it to run what failed again."""
        return None if root.job_id is None else await info.context.loader(jobs.jobs_by_ids).load(root.job_id)

    @resolved("The run; null where nothing ran, or it is not kept any more.", WorkflowRun | None)
    async def run(root: strawberry.Parent[models.ScheduleFire], info: Info) -> Any:
        """Gathered for all rows of the answer."""
        return None if root.run_id is None else await info.context.loader(workflows.runs_by_ids).load(root.run_id)


@strawberry.type(description="When a workflow runs by itself.")
class Schedule(Node):
    id: strawberry.ID = global_id("schedule")
    name: str = about("As people call it.")
    zone: str = about("The IANA zone in which its times are meant.")
    missed_policy: MissedPolicy = about("What happens to times that went by while the system was down.")
    overlap_policy: OverlapPolicy = about("What happens while the former run has not ended.")
    recipients: list[str] = about("Who gets an e-mail with the result and the reports when a run ends.")
    next_at: datetime | None = about("When it fires next; null while it does not. UTC.")
    paused_at: datetime | None = about("Since when it is paused. UTC.")
    disabled_at: datetime | None = about("Since when it is disabled. UTC.")
    disabled_reason: str | None = about("Why it is disabled, in a sentence for people.")
    version: int = about("Send it as `expectedVersion` to change it.")
    created_at: datetime = about("UTC.")
    updated_at: datetime = about("UTC.")

    is_type_of = stands_for(models.Schedule)

    @resolved("When it runs.")
    def recurrence(root: strawberry.Parent[models.Schedule]) -> Recurrence:
        """In the form in which it was given."""
        return recurrence_of(root.recurrence)

    @resolved("Whether it fires, and if not, why.")
    def status(root: strawberry.Parent[models.Schedule]) -> ScheduleStatus:
        """In one word."""
        return queries.status_of(root)

    @resolved("How soon its runs start when all slots are taken; null: as is decided for workflow runs.")
    def priority(root: strawberry.Parent[models.Schedule]) -> JobPriority | None:
        """Of the runs' jobs."""
        return None if root.priority is None else Level.nearest(root.priority)

    @resolved("Its next 5 times; none while it does not fire.")
    def next_runs(root: strawberry.Parent[models.Schedule]) -> list[ScheduleInstant]:
        """Its `nextAt` and those after it."""
        if root.next_at is None:
            return []
        recurrence = recurrences.from_json(root.recurrence)
        after = upcoming(recurrence, ZoneInfo(root.zone), root.next_at, count=queries.PREVIEWED - 1)
        return InZone(root.zone)([root.next_at, *after])

    @resolved("What it runs.", Workflow | None)
    async def workflow(root: strawberry.Parent[models.Schedule], info: Info) -> Any:
        """Gathered for all schedules of the answer."""
        return await info.context.loader(workflows.workflows_by_ids).load(root.workflow_id)

    @resolved("What it did, the latest first. Kept for 90 days.", Connection[ScheduleFire] | None)
    async def fires(
        root: strawberry.Parent[models.Schedule],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """The history."""
        async with info.context.unit() as unit:
            return Listing(await queries.fires_page(unit, schedule_id=root.id, window=window(first, after, last, before)))


async def _unsettled(fire: models.ScheduleFire, info: Info) -> job_models.Job | None:
    """The run's job, until its end has been written down with the fire; gathered for all rows of the answer."""
    if fire.job_id is None or fire.settled_at is not None:
        return None
    job: job_models.Job | None = await info.context.loader(jobs.jobs_by_ids).load(fire.job_id)
    return job
