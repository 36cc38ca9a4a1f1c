"""Schedules of workflows: when they run by themselves, and what came of it."""

from datetime import datetime
from typing import Annotated, Any

import strawberry

from db.models import jobs as job_models
from db.models import schedules as models
from domain.errors import DomainError
from domain.jobs import queries as jobs
from domain.jobs.queue import JobPriority as Level
from domain.schedules import commands, queries, results
from domain.schedules import recurrence as recurrences
from domain.schedules.commands import CLASHES, Options, Timing
from domain.schedules.instants import upcoming
from domain.unit import Unit
from domain.workflows import queries as workflows
from graph import ids
from graph.about import about, optional, resolved, shown
from graph.context import Info
from graph.enums import JobPriority
from graph.jobs.types import Job
from graph.node import Node, global_id, loads, stands_for
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.recurrence import InZone, Recurrence, RecurrenceInput, ScheduleInstant, recurrence_of
from graph.schedule_enums import FireResult, MissedPolicy, OverlapPolicy, ScheduleStatus
from graph.user_errors import Payload, UserError, mutation, user_error
from graph.workflows import Workflow, WorkflowRun

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
        zone = recurrences.read_zone(root.zone)
        after = upcoming(recurrences.from_json(root.recurrence), zone, root.next_at, count=queries.PREVIEWED - 1)
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


@strawberry.type(description="Something that may not be meant; it was done nevertheless.")
class ScheduleWarning:
    code: str = about("Stable, such as SCH-007; `errorCodes` lists them all.")
    message: str = about("A sentence for the user, in English.")
    schedule: Schedule = about("The other schedule that it is about.")
    at: ScheduleInstant = about("The first time at which both fire.")


@strawberry.type(description="When such a schedule would fire.")
class SchedulePreview:
    runs: list[ScheduleInstant] = strawberry.field(
        default_factory=list, description="The next 5 times; empty where it is wrong."
    )
    cron: str | None = optional("The same as cron text; null where cron cannot say it.")
    text: str | None = optional("The same for people; null where it is wrong.")
    errors: list[UserError] = strawberry.field(
        default_factory=list, description="What is wrong; `field` is the path to it within the arguments."
    )


@strawberry.input(description="A schedule to make.")
class CreateScheduleInput:
    workflow_id: strawberry.ID = about("What it runs.")
    name: str = about("1 to 200 characters.")
    recurrence: RecurrenceInput = about("When it runs.")
    zone: str = about("The IANA zone in which that is meant, such as America/New_York.")
    missed_policy: MissedPolicy | None = optional("For times at which the system was down; RUN_ONCE when not given.")
    overlap_policy: OverlapPolicy | None = optional("For times at which the former run has not ended; SKIP when not given.")
    priority: JobPriority | None = optional("How soon its runs start when all slots are taken.")
    recipients: list[str] | None = optional("Who gets an e-mail with the result and the reports; up to 50 addresses.")
    idempotency_key: str | None = optional("Made by the client: the same key makes one schedule, however often it is sent.")


@strawberry.input(description="A change to a schedule. What is not given stays as it is.")
class UpdateScheduleInput:
    id: strawberry.ID = about("The schedule.")
    expected_version: int = about("The version that the change is based on.")
    workflow_id: strawberry.ID | None = optional("What it runs; a disabled schedule is enabled again by this.")
    name: str | None = optional("1 to 200 characters.")
    recurrence: RecurrenceInput | None = optional("When it runs.")
    zone: str | None = optional("The IANA zone in which that is meant.")
    missed_policy: MissedPolicy | None = optional("For times at which the system was down.")
    overlap_policy: OverlapPolicy | None = optional("For times at which the former run has not ended.")
    priority: JobPriority | None = optional("How soon its runs start when all slots are taken.")
    recipients: list[str] | None = optional("Replaces all recipients.")


@strawberry.input(description="A schedule to pause, to resume or to delete.")
class ScheduleVersionInput:
    id: strawberry.ID = about("The schedule.")
    expected_version: int = about("The version that you saw.")


@strawberry.input(description="A schedule to run now.")
class RunScheduleNowInput:
    id: strawberry.ID = about("The schedule.")
    idempotency_key: str | None = optional("Made by the client: the same key starts one run, however often it is sent.")


@strawberry.type(description="What came of a change to a schedule.")
class SchedulePayload(Payload):
    schedule: Schedule | None = optional("As it is now; null when nothing was done.")
    warnings: list[ScheduleWarning] = strawberry.field(
        default_factory=list, description="Other live schedules of the same workflow that fire together with it."
    )


@strawberry.type(description="The run that was started, or why there is none.")
class RunScheduleNowPayload(Payload):
    fire: ScheduleFire | None = optional("Its place in the schedule's history; null when nothing was started.")
    job: Job | None = optional("Its job, to watch with jobUpdated.")


@strawberry.type
class SchedulesQuery:
    @resolved("One schedule; null where there is none of this id.", Schedule | None)
    async def schedule(self, info: Info, id: ScheduleId) -> Any:
        """Another account's is none."""
        found = ids.find("schedule", id)
        return None if found is None else await info.context.loader(queries.schedules_by_ids).load(found)

    @resolved("The account's schedules, newest first. Needs workflows:read.", Connection[Schedule] | None)
    async def schedules(
        self,
        info: Info,
        workflow_id: Annotated[strawberry.ID | None, strawberry.argument(description="Only of this workflow.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """Without those that were deleted."""
        workflow = None if workflow_id is None else ids.read("workflow", workflow_id, field="workflowId")
        async with info.context.unit() as unit:
            return Listing(await queries.schedules_page(unit, workflow_id=workflow, window=window(first, after, last, before)))

    @resolved("When such a schedule would fire: by the same rules as the real one.")
    async def preview_schedule(
        self,
        info: Info,
        recurrence: Annotated[RecurrenceInput, strawberry.argument(description="When it is to run.")],
        zone: Annotated[str, strawberry.argument(description="The IANA zone in which that is meant.")],
        after: Annotated[datetime | None, strawberry.argument(description="Only times after this; now when not given.")] = None,
    ) -> SchedulePreview | None:
        """Changes nothing."""
        info.context.actor.require(queries.READ)
        wanted = recurrence.to_domain()
        try:
            instants = queries.preview(wanted, zone, after=after)
        except DomainError as error:
            return SchedulePreview(errors=[user_error(error)])
        return SchedulePreview(
            runs=InZone(zone)(instants), cron=recurrences.expression_of(wanted), text=recurrences.text_of(wanted)
        )


@strawberry.type
class SchedulesMutation:
    @mutation("Make a schedule; it fires from now on. Needs workflows:write.")
    async def create_schedule(
        self, info: Info, input: Annotated[CreateScheduleInput, strawberry.argument(description="The schedule.")]
    ) -> SchedulePayload:
        async with info.context.unit() as unit:
            schedule = await commands.create(
                unit,
                workflow_id=ids.read("workflow", input.workflow_id, field="workflowId"),
                name=input.name,
                timing=Timing(input.recurrence.to_domain(), input.zone, input.recurrence.run_if_past),
                options=_options(input),
                idempotency_key=input.idempotency_key,
            )
            return await _payload(unit, schedule)

    @mutation("Change a schedule. Needs workflows:write.")
    async def update_schedule(
        self, info: Info, input: Annotated[UpdateScheduleInput, strawberry.argument(description="The change.")]
    ) -> SchedulePayload:
        workflow_id = None if input.workflow_id is None else ids.read("workflow", input.workflow_id, field="workflowId")
        async with info.context.unit() as unit:
            schedule = await commands.update(
                unit,
                schedule_id=ids.read("schedule", input.id, field="id"),
                expected_version=input.expected_version,
                name=input.name,
                workflow_id=workflow_id,
                recurrence=None if input.recurrence is None else input.recurrence.to_domain(),
                zone=input.zone,
                run_if_past=input.recurrence is not None and input.recurrence.run_if_past,
                options=_options(input),
            )
            return await _payload(unit, schedule)

    @mutation("Let a schedule not fire until it is resumed; runs that were started go on. Needs workflows:write.")
    async def pause_schedule(
        self, info: Info, input: Annotated[ScheduleVersionInput, strawberry.argument(description="Which one.")]
    ) -> SchedulePayload:
        async with info.context.unit() as unit:
            schedule = await commands.pause(unit, schedule_id=_id(input), expected_version=input.expected_version)
            return await _payload(unit, schedule)

    @mutation("Let a paused schedule fire again, from now on. Needs workflows:write.")
    async def resume_schedule(
        self, info: Info, input: Annotated[ScheduleVersionInput, strawberry.argument(description="Which one.")]
    ) -> SchedulePayload:
        async with info.context.unit() as unit:
            schedule = await commands.resume(unit, schedule_id=_id(input), expected_version=input.expected_version)
            return await _payload(unit, schedule)

    @mutation("Delete a schedule; its history can still be read by its id. Needs workflows:write.")
    async def delete_schedule(
        self, info: Info, input: Annotated[ScheduleVersionInput, strawberry.argument(description="Which one.")]
    ) -> SchedulePayload:
        async with info.context.unit() as unit:
            schedule = await commands.delete(unit, schedule_id=_id(input), expected_version=input.expected_version)
            return await _payload(unit, schedule)

    @mutation("Run a schedule's workflow now, whatever else runs; its next time stays what it is. Needs workflows:write.")
    async def run_schedule_now(
        self, info: Info, input: Annotated[RunScheduleNowInput, strawberry.argument(description="Which one.")]
    ) -> RunScheduleNowPayload:
        async with info.context.unit() as unit:
            fire = await commands.run_now(
                unit, schedule_id=ids.read("schedule", input.id, field="id"), idempotency_key=input.idempotency_key
            )
            job = None if fire.job_id is None else await jobs.get(unit, fire.job_id)
        return RunScheduleNowPayload(fire=shown(fire), job=shown(job))


async def _payload(unit: Unit, schedule: models.Schedule) -> SchedulePayload:
    warnings = [
        ScheduleWarning(
            code=CLASHES,
            message=f"{clash.other.name} runs the same workflow at the same time.",
            schedule=shown(clash.other),
            at=InZone(schedule.zone).one(clash.at),
        )
        for clash in await commands.clashes(unit, schedule)
    ]
    return SchedulePayload(schedule=shown(schedule), warnings=warnings)


async def _unsettled(fire: models.ScheduleFire, info: Info) -> job_models.Job | None:
    """The run's job, until its end has been written down with the fire; gathered for all rows of the answer."""
    if fire.job_id is None or fire.settled_at is not None:
        return None
    job: job_models.Job | None = await info.context.loader(jobs.jobs_by_ids).load(fire.job_id)
    return job


def _options(given: CreateScheduleInput | UpdateScheduleInput) -> Options:
    return Options(given.missed_policy, given.overlap_policy, given.priority, given.recipients)


def _id(given: ScheduleVersionInput) -> Any:
    return ids.read("schedule", given.id, field="id")
