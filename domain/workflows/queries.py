"""Finding workflows and their runs."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from db.base import any_of
from db.models.workflows import Workflow, WorkflowRun
from domain.actor import Scope
from domain.lookups import by_ids
from domain.paging import Order, Page, Window, paginate
from domain.unit import Unit

NEWEST = Order((Workflow.id,), descending=True)
NEWEST_RUNS = Order((WorkflowRun.id,), descending=True)

workflows_by_ids = by_ids(Workflow, scope=Scope.WORKFLOWS_READ)
runs_by_ids = by_ids(WorkflowRun, scope=Scope.WORKFLOWS_READ)


async def workflows_page(unit: Unit, *, window: Window) -> Page[Workflow]:
    """The workflows that were not deleted, newest first."""
    unit.require(Scope.WORKFLOWS_READ)
    return await paginate(unit.session, sa.select(Workflow).where(Workflow.deleted_at.is_(None)), order=NEWEST, window=window)


async def runs_page(unit: Unit, *, workflow_id: UUID | None, window: Window) -> Page[WorkflowRun]:
    """Runs, newest first; of one workflow or of all."""
    unit.require(Scope.WORKFLOWS_READ)
    query = sa.select(WorkflowRun).where(WorkflowRun.account_id == unit.account_id)
    query = query if workflow_id is None else query.where(WorkflowRun.workflow_id == workflow_id)
    return await paginate(unit.session, query, order=NEWEST_RUNS, window=window)


async def runs_by_jobs(unit: Unit, job_ids: Sequence[UUID]) -> list[WorkflowRun | None]:
    """The runs of jobs, in their order."""
    unit.require(Scope.WORKFLOWS_READ)
    runs = await unit.session.scalars(sa.select(WorkflowRun).where(any_of(WorkflowRun.job_id, job_ids)))
    found = {run.job_id: run for run in runs}
    return [found.get(job_id) for job_id in job_ids]
