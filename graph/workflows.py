"""Workflows: what they do step by step, and their runs."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from db.models import schedules as schedule_models
from db.models import workflows as models
from domain.crm.contacts.queries import locations_by_ids
from domain.errors import Invalid
from domain.files import store as files
from domain.jobs import queries as jobs
from domain.schedules import commands as schedules
from domain.workflows import commands, queries, steps
from graph import ids
from graph.about import about, optional, resolved, shown
from graph.context import Info
from graph.crm.locations import GhlLocation
from graph.files import File
from graph.jobs.types import Job
from graph.node import Node, global_id, loads, stands_for
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.schedule_enums import ReportOf, StepKind, StepState
from graph.user_errors import Payload, mutation

loads("workflow", queries.workflows_by_ids)
loads("workflowrun", queries.runs_by_ids)

WorkflowId = Annotated[strawberry.ID, strawberry.argument(description="The workflow.")]


@strawberry.type(description="One step of a workflow. What does not belong to its kind is null.")
class WorkflowStep:
    kind: StepKind = about("What it does.")
    title: str = about("The same for people.")
    report_of: ReportOf | None = optional("REPORT: what is listed.")
    days: int | None = optional("REPORT: of how many days until the run.")
    recipients: list[str] | None = optional("NOTIFY: who is written to.")
    subject: str | None = optional("NOTIFY: the e-mail's subject.")
    message: str | None = optional("NOTIFY: the e-mail's text.")
    seconds: int | None = optional("WAIT: how long.")
    location_key: strawberry.Private[UUID | None] = None

    @resolved(
        "JOB: the sub-account whose contacts are synced. REPORT: the one that it is of; null for all.", GhlLocation | None
    )
    async def location(self, info: Info) -> Any:
        """Gathered for all steps of the answer."""
        return None if self.location_key is None else await info.context.loader(locations_by_ids).load(self.location_key)


@strawberry.type(description="How one step of a run stands.")
class WorkflowRunStep:
    number: int = about("From 1.")
    kind: StepKind = about("What it does.")
    title: str = about("The same for people.")
    state: StepState = about("How it stands.")
    message: str | None = about("How it ended, in a sentence for people.")
    started_at: datetime | None = about("UTC.")
    ended_at: datetime | None = about("UTC.")
    file_key: strawberry.Private[UUID | None] = None
    job_key: strawberry.Private[UUID | None] = None

    @resolved("REPORT: what it wrote; null once that has expired, or where you may not see it.", File | None)
    async def file(self, info: Info) -> Any:
        """Gathered for all steps of the answer."""
        return None if self.file_key is None else await info.context.loader(files.by_ids).load(self.file_key)

    @resolved("JOB: what it waits, or has waited, for.", Job | None)
    async def job(self, info: Info) -> Any:
        """Gathered for all steps of the answer."""
        return None if self.job_key is None else await info.context.loader(jobs.jobs_by_ids).load(self.job_key)


@strawberry.type(description="Steps that run one after another, when somebody asks for it or by a schedule.")
class Workflow(Node):
    id: strawberry.ID = global_id("workflow")
    name: str = about("As people call it.")
    description: str | None = about("What it is for.")
    version: int = about("Send it as `expectedVersion` to change it.")
    created_at: datetime = about("UTC.")
    updated_at: datetime = about("UTC.")
    deleted_at: datetime | None = about("Since when it is deleted; null while it is not. UTC.")

    is_type_of = stands_for(models.Workflow)

    @resolved("What it does, in order.")
    def steps(root: strawberry.Parent[models.Workflow]) -> list[WorkflowStep]:
        """As they are now; a run keeps its own."""
        return [_step(step) for step in steps.from_json(root.steps)]


@strawberry.type(description="One run of a workflow. State, progress, cancelling and retrying are its job's.")
class WorkflowRun(Node):
    id: strawberry.ID = global_id("workflowrun")
    name: str = about("The workflow's name when the run was asked for.")
    workflow_version: int = about("The workflow's version then; later changes do not touch this run.")
    created_at: datetime = about("When it was asked for. UTC.")

    is_type_of = stands_for(models.WorkflowRun)

    @resolved("Its steps, each with how it stands.")
    def steps(root: strawberry.Parent[models.WorkflowRun]) -> list[WorkflowRunStep]:
        """Those of the workflow when the run was asked for."""
        both = zip(steps.from_json(root.steps), root.outcomes, strict=True)
        return [_outcome(number, step, outcome) for number, (step, outcome) in enumerate(both, start=1)]

    @resolved("Its job: state, progress, attempts, log.", Job | None)
    async def job(root: strawberry.Parent[models.WorkflowRun], info: Info) -> Any:
        """Gathered for all runs of the answer."""
        return await info.context.loader(jobs.jobs_by_ids).load(root.job_id)

    @resolved("The workflow, as it is now.", Workflow | None)
    async def workflow(root: strawberry.Parent[models.WorkflowRun], info: Info) -> Any:
        """Gathered for all runs of the answer."""
        return await info.context.loader(queries.workflows_by_ids).load(root.workflow_id)


@strawberry.input(description="Write a CSV file of what came in the days until the run.")
class ReportStepInput:
    of: ReportOf = about("What is listed.")
    days: int = about("Of how many days, 1 to 366.")
    location_id: strawberry.ID | None = optional("Only of this sub-account.")


@strawberry.input(description="Run a job and wait for its end.")
class JobStepInput:
    location_id: strawberry.ID = about("The sub-account whose contacts are synced.")


@strawberry.input(description="Send an e-mail, with the reports that the run has made so far.")
class NotifyStepInput:
    recipients: list[str] = about("E-mail addresses, 1 to 50.")
    subject: str = about("Up to 200 characters.")
    message: str = about("Plain text, up to 20,000 characters.")


@strawberry.input(description="Let time pass; that takes neither a slot nor a worker.")
class WaitStepInput:
    seconds: int = about("1 to 2,592,000, which are 30 days.")


@strawberry.input(one_of=True, description="A step: exactly one of its fields is given.")
class WorkflowStepInput:
    report: ReportStepInput | None = strawberry.field(default=strawberry.UNSET, description="Write a CSV file.")
    job: JobStepInput | None = strawberry.field(default=strawberry.UNSET, description="Run a job.")
    notify: NotifyStepInput | None = strawberry.field(default=strawberry.UNSET, description="Send an e-mail.")
    wait: WaitStepInput | None = strawberry.field(default=strawberry.UNSET, description="Let time pass.")

    def to_domain(self, number: int) -> steps.Step:
        """Raises Invalid for an id of another type."""
        if self.report:
            given = self.report.location_id
            location = None if given is None else _location(given, number, "report")
            return steps.Report(self.report.of, self.report.days, location)
        if self.job:
            return steps.SyncJob(_location(self.job.location_id, number, "job"))
        if self.notify:
            return steps.Notify(tuple(self.notify.recipients), self.notify.subject, self.notify.message)
        return steps.Wait(self.wait.seconds if self.wait else 0)


@strawberry.input(description="A workflow to make.")
class CreateWorkflowInput:
    name: str = about("1 to 200 characters.")
    description: str | None = optional("What it is for, up to 2,000 characters.")
    steps: list[WorkflowStepInput] = about("What it does, in order; 1 to 50.")


@strawberry.input(description="A change to a workflow. What is not given stays as it is.")
class UpdateWorkflowInput:
    id: strawberry.ID = about("The workflow.")
    expected_version: int = about("The version that the change is based on.")
    name: str | None = optional("1 to 200 characters.")
    description: str | None = optional("Up to 2,000 characters; an empty text takes it away.")
    steps: list[WorkflowStepInput] | None = optional("Replaces all steps. Runs that were asked for keep those that they have.")


@strawberry.input(description="A workflow to delete.")
class DeleteWorkflowInput:
    id: strawberry.ID = about("The workflow.")
    expected_version: int = about("The version that you saw.")


@strawberry.input(description="A workflow to run.")
class RunWorkflowInput:
    id: strawberry.ID = about("The workflow.")
    idempotency_key: str | None = optional("Made by the client: the same key starts one run, however often it is sent.")


@strawberry.type(description="What came of a change to a workflow.")
class WorkflowPayload(Payload):
    workflow: Workflow | None = optional("As it is now; null when nothing was done.")


@strawberry.type(description="What came of deleting a workflow.")
class DeleteWorkflowPayload(Payload):
    workflow: Workflow | None = optional("As it was; its history is kept. Null when nothing was done.")
    disabled_schedules: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="Schedules that were disabled, since they have nothing to run any more."
    )


@strawberry.type(description="The run that was started, or why there is none.")
class RunWorkflowPayload(Payload):
    run: WorkflowRun | None = optional("The run; null when none was started.")
    job: Job | None = optional("Its job, to watch with jobUpdated.")


@strawberry.type
class WorkflowsQuery:
    @resolved("One workflow; null where there is none of this id.", Workflow | None)
    async def workflow(self, info: Info, id: WorkflowId) -> Any:
        """Another account's is none."""
        found = ids.find("workflow", id)
        return None if found is None else await info.context.loader(queries.workflows_by_ids).load(found)

    @resolved("The account's workflows, newest first. Needs workflows:read.", Connection[Workflow] | None)
    async def workflows(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Listing:
        """Without those that were deleted."""
        async with info.context.unit() as unit:
            return Listing(await queries.workflows_page(unit, window=window(first, after, last, before)))

    @resolved("Runs of workflows, newest first. Needs workflows:read.", Connection[WorkflowRun] | None)
    async def workflow_runs(
        self,
        info: Info,
        workflow_id: Annotated[strawberry.ID | None, strawberry.argument(description="Only of this workflow.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """The history."""
        workflow = None if workflow_id is None else ids.read("workflow", workflow_id, field="workflowId")
        async with info.context.unit() as unit:
            return Listing(await queries.runs_page(unit, workflow_id=workflow, window=window(first, after, last, before)))


@strawberry.type
class WorkflowsMutation:
    @mutation("Make a workflow. Needs workflows:write, and the permission for what each step does.")
    async def create_workflow(
        self, info: Info, input: Annotated[CreateWorkflowInput, strawberry.argument(description="The workflow.")]
    ) -> WorkflowPayload:
        wanted = [step.to_domain(number) for number, step in enumerate(input.steps)]
        async with info.context.unit() as unit:
            workflow = await commands.create(unit, name=input.name, description=input.description, steps=wanted)
        return WorkflowPayload(workflow=shown(workflow))

    @mutation("Change a workflow; runs that were asked for stay as they are. Needs what createWorkflow needs.")
    async def update_workflow(
        self, info: Info, input: Annotated[UpdateWorkflowInput, strawberry.argument(description="The change.")]
    ) -> WorkflowPayload:
        given = input.steps
        wanted = None if given is None else [step.to_domain(number) for number, step in enumerate(given)]
        async with info.context.unit() as unit:
            workflow = await commands.update(
                unit,
                workflow_id=ids.read("workflow", input.id, field="id"),
                expected_version=input.expected_version,
                name=input.name,
                description=input.description,
                steps=wanted,
            )
        return WorkflowPayload(workflow=shown(workflow))

    @mutation("Delete a workflow; its schedules are disabled, and people are told. Needs workflows:write.")
    async def delete_workflow(
        self, info: Info, input: Annotated[DeleteWorkflowInput, strawberry.argument(description="Which one.")]
    ) -> DeleteWorkflowPayload:
        async with info.context.unit() as unit:
            workflow, disabled = await schedules.delete_workflow(
                unit, workflow_id=ids.read("workflow", input.id, field="id"), expected_version=input.expected_version
            )
        return DeleteWorkflowPayload(workflow=shown(workflow), disabled_schedules=[_schedule_id(each) for each in disabled])

    @mutation("Run a workflow now. Needs workflows:write.")
    async def run_workflow(
        self, info: Info, input: Annotated[RunWorkflowInput, strawberry.argument(description="Which one.")]
    ) -> RunWorkflowPayload:
        async with info.context.unit() as unit:
            run = await commands.run(
                unit, workflow_id=ids.read("workflow", input.id, field="id"), idempotency_key=input.idempotency_key
            )
            job = await jobs.get(unit, run.job_id)
        return RunWorkflowPayload(run=shown(run), job=shown(job))


def _step(step: steps.Step) -> WorkflowStep:
    common: dict[str, Any] = {"kind": steps.kind_of(step), "title": steps.title_of(step)}
    match step:
        case steps.Report(of, days, location_id):
            return WorkflowStep(**common, report_of=of, days=days, location_key=location_id)
        case steps.SyncJob(location_id):
            return WorkflowStep(**common, location_key=location_id)
        case steps.Notify(recipients, subject, message):
            return WorkflowStep(**common, recipients=list(recipients), subject=subject, message=message)
        case steps.Wait(seconds):
            return WorkflowStep(**common, seconds=seconds)


def _outcome(number: int, step: steps.Step, outcome: dict[str, Any]) -> WorkflowRunStep:
    def read(name: str, parse: Any) -> Any:
        return None if outcome.get(name) is None else parse(outcome[name])

    return WorkflowRunStep(
        number=number,
        kind=steps.kind_of(step),
        title=steps.title_of(step),
        state=StepState(outcome["state"]),
        message=outcome.get("message"),
        started_at=read("started_at", datetime.fromisoformat),
        ended_at=read("ended_at", datetime.fromisoformat),
        file_key=read("file_id", UUID),
        job_key=read("job_id", UUID),
    )


def _location(text: str, number: int, kind: str) -> UUID:
    found = ids.find("location", text)
    if found is None:
        raise Invalid("This is not an id of the right type.", field=("steps", str(number), kind, "locationId"))
    return found


def _schedule_id(schedule: schedule_models.Schedule) -> strawberry.ID:
    return strawberry.ID(ids.encode("schedule", schedule.id))
