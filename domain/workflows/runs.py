"""Runs of workflows: how one is asked for, and what its job writes down about each step."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from db.base import new_id
from db.models.jobs import Lane
from db.models.queues import DependencyPolicy
from db.models.workflows import StepState, Workflow, WorkflowRun
from domain.actor import Scope
from domain.errors import DomainError
from domain.jobs import commands as jobs
from domain.jobs.args import JobArgs
from domain.unit import Unit


class StepFailed(DomainError):
    """What a step had started did not end well."""

    code = "WFL-003"


@dataclass(frozen=True)
class RunWorkflow(
    JobArgs,
    kind="workflows.run",
    title="Workflow",
    lane=Lane.BULK,
    timeout=6 * 3600,
    seen_with=Scope.WORKFLOWS_READ,
):
    """Carry out the steps of a run."""

    run_id: UUID


@dataclass(frozen=True, slots=True)
class Origin:
    """The schedule that a run belongs to, by its name, and whether somebody asked for the run by hand."""

    schedule: str
    is_manual: bool


async def start(
    unit: Unit,
    workflow: Workflow,
    *,
    priority: int | None = None,
    after: UUID | None = None,
    origin: Origin | None = None,
) -> WorkflowRun:
    """A run with the workflow's steps as they are now; it begins when the job `after` has ended, however that did.

    Its row is not flushed yet: a clock starts many.
    """
    run_id = new_id()
    parents = [] if after is None else [(after, DependencyPolicy.ENDED)]
    # By the title one finds the jobs of a schedule; one that nobody asked for by hand was asked for by the schedule.
    title = f"Workflow {workflow.name}" + (f" ({origin.schedule})" if origin is not None else "")
    asked_by = origin.schedule if origin is not None and not origin.is_manual else None
    enqueued = await jobs.enqueue(
        unit, RunWorkflow(run_id), priority=priority, title=title, after=parents, origin_name=asked_by
    )
    run = WorkflowRun(
        id=run_id,
        account_id=unit.account_id,
        workflow_id=workflow.id,
        workflow_version=workflow.version,
        job_id=enqueued.job.id,
        name=workflow.name,
        steps=workflow.steps,
        outcomes=[{"state": StepState.PENDING} for _ in workflow.steps],
        files=[],
    )
    unit.session.add(run)
    return run


async def get(unit: Unit, run_id: UUID) -> WorkflowRun:
    """The run of a job."""
    return (await unit.session.scalars(sa.select(WorkflowRun).where(WorkflowRun.id == run_id))).one()


async def note(unit: Unit, run_id: UUID, number: int, *, state: StepState, **details: Any) -> WorkflowRun:
    """Write down how a step stands; `details` are `message`, `job_id` and `file_id`, those that are known."""
    run = await get(unit, run_id)
    outcomes = [dict(outcome) for outcome in run.outcomes]
    now = datetime.now(UTC).isoformat()
    entry = outcomes[number]
    started = entry.get("started_at") if entry["state"] == StepState.RUNNING else None
    outcomes[number] = {**entry, "state": state, "started_at": started or now, "ended_at": None, **details}
    if state in {StepState.DONE, StepState.FAILED}:
        outcomes[number]["ended_at"] = now
    run.outcomes = outcomes
    await unit.session.flush()
    return run
