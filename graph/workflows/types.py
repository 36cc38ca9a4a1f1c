"""Workflows and their runs as clients see them."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from db.models import workflows as models
from domain.crm.contacts.queries import locations_by_ids
from domain.files import store as files
from domain.jobs import queries as jobs
from domain.schedules import queries as schedules
from domain.workflows import queries, steps
from graph.about import about, optional, resolved
from graph.context import Info
from graph.crm.locations import GhlLocation
from graph.files import File
from graph.jobs.types import Job
from graph.node import Node, global_id, loads, stands_for
from graph.schedule_enums import ReportOf, StepKind, StepState

if TYPE_CHECKING:
    from graph.schedules.types import ScheduleFire

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

    @resolved(
        "What the schedule that started it did at that time; null where no schedule did.",
        Annotated["ScheduleFire", strawberry.lazy("graph.schedules.types")] | None,
    )
    async def fire(root: strawberry.Parent[models.WorkflowRun], info: Info) -> Any:
        """Gathered for all runs of the answer."""
        return await info.context.loader(schedules.fires_by_jobs).load(root.job_id)

    @resolved("The workflow, as it is now.", Workflow | None)
    async def workflow(root: strawberry.Parent[models.WorkflowRun], info: Info) -> Any:
        """Gathered for all runs of the answer."""
        return await info.context.loader(queries.workflows_by_ids).load(root.workflow_id)


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
