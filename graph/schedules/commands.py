"""Making, changing, pausing and running schedules."""

from typing import Annotated, Any, cast

import strawberry

from db.models import schedules as models
from domain.jobs import queries as jobs
from domain.schedules import commands
from domain.schedules.commands import CLASHES, Options, Timing
from domain.unit import Unit
from graph import ids
from graph.about import about, optional, shown
from graph.context import Info
from graph.enums import JobPriority
from graph.jobs.types import Job
from graph.recurrence import InZone, RecurrenceInput, ScheduleInstant
from graph.schedule_enums import MissedPolicy, OverlapPolicy
from graph.schedules.types import Schedule, ScheduleFire
from graph.user_errors import Payload, mutation


@strawberry.type(description="Something that may not be meant; it was done nevertheless.")
class ScheduleWarning:
    code: str = about("Stable, such as SCH-007; `errorCodes` lists them all.")
    message: str = about("A sentence for the user, in English.")
    schedule: Schedule = about("The other schedule that it is about.")
    at: ScheduleInstant = about("The first time at which both fire.")


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


@strawberry.input(description="A change to a schedule. What is not given stays as it is; one thing at least must be given.")
class UpdateScheduleInput:
    id: strawberry.ID = about("The schedule.")
    expected_version: int = about("The version that the change is based on.")
    workflow_id: strawberry.ID | None = optional("What it runs; a disabled schedule is enabled again by this.")
    name: str | None = optional("1 to 200 characters.")
    recurrence: RecurrenceInput | None = optional("When it runs.")
    zone: str | None = optional("The IANA zone in which that is meant.")
    missed_policy: MissedPolicy | None = strawberry.field(
        default=strawberry.UNSET, description="For times at which the system was down; null: RUN_ONCE."
    )
    overlap_policy: OverlapPolicy | None = strawberry.field(
        default=strawberry.UNSET, description="For times at which the former run has not ended; null: SKIP."
    )
    priority: JobPriority | None = strawberry.field(
        default=strawberry.UNSET,
        description="How soon its runs start when all slots are taken; null: as is decided for workflow runs.",
    )
    recipients: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="Replaces all recipients; null: nobody."
    )


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
        default_factory=list,
        description=(
            "Other live schedules of the same workflow that fire together with it within the next ten times of either. The 50 "
            "that are due next are looked at."
        ),
    )


@strawberry.type(description="The run that was started, or why there is none.")
class RunScheduleNowPayload(Payload):
    fire: ScheduleFire | None = optional("Its place in the schedule's history; null when nothing was started.")
    job: Job | None = optional("Its job, to watch with jobUpdated.")


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


def _options(given: CreateScheduleInput | UpdateScheduleInput) -> Options:
    options = Options(
        missed_policy=given.missed_policy,
        overlap_policy=given.overlap_policy,
        priority=given.priority,
        recipients=given.recipients,
    )
    return cast(Options, {name: value for name, value in options.items() if value is not strawberry.UNSET})


def _id(given: ScheduleVersionInput) -> Any:
    return ids.read("schedule", given.id, field="id")
