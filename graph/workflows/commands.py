"""Making, changing and running workflows."""

from typing import Annotated
from uuid import UUID

import strawberry

from domain.errors import Invalid
from domain.jobs import queries as jobs
from domain.schedules import commands as schedules
from domain.workflows import commands, steps
from graph import ids
from graph.about import about, optional, shown
from graph.context import Info
from graph.jobs.types import Job
from graph.schedule_enums import ReportOf
from graph.schedules.types import Schedule
from graph.user_errors import Payload, mutation
from graph.workflows.types import Workflow, WorkflowRun


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
    idempotency_key: str | None = optional("Made by the client: the same key makes one workflow, however often it is sent.")


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
    disabled_schedules: list[Schedule] = strawberry.field(
        default_factory=list, description="Schedules that were disabled, since they have nothing to run any more."
    )


@strawberry.type(description="The run that was started, or why there is none.")
class RunWorkflowPayload(Payload):
    run: WorkflowRun | None = optional("The run; null when none was started.")
    job: Job | None = optional("Its job, to watch with jobUpdated.")


@strawberry.type
class WorkflowsMutation:
    @mutation("Make a workflow. Needs workflows:write, and the permission for what each step does.")
    async def create_workflow(
        self, info: Info, input: Annotated[CreateWorkflowInput, strawberry.argument(description="The workflow.")]
    ) -> WorkflowPayload:
        wanted = [step.to_domain(number) for number, step in enumerate(input.steps)]
        async with info.context.unit() as unit:
            workflow = await commands.create(
                unit,
                name=input.name,
                description=input.description,
                steps=wanted,
                idempotency_key=input.idempotency_key,
            )
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
        return DeleteWorkflowPayload(workflow=shown(workflow), disabled_schedules=shown(disabled))

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


def _location(text: str, number: int, kind: str) -> UUID:
    found = ids.find("location", text)
    if found is None:
        raise Invalid("This is not an id of the right type.", field=("steps", str(number), kind, "locationId"))
    return found
