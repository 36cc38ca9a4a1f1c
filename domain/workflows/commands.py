"""Making, changing and deleting workflows, and asking for a run of one."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from db.models.workflows import Workflow, WorkflowRun
from domain.actor import Scope
from domain.errors import Conflict, Invalid, NotFound
from domain.tenancy import idempotency
from domain.tenancy.accounts import StaleVersion
from domain.unit import Unit
from domain.workflows import runs
from domain.workflows.steps import Step, checked, to_json

_MAX_NAME, _MAX_DESCRIPTION = 200, 2_000


class WorkflowGone(Conflict):
    """The workflow was deleted."""

    code = "WFL-002"


async def create(
    unit: Unit, *, name: str, description: str | None, steps: Sequence[Step], idempotency_key: str | None = None
) -> Workflow:
    """A new workflow. Raises Forbidden, Invalid, InvalidStep, LocationNotFound, KeyReused."""
    unit.require(Scope.WORKFLOWS_WRITE)
    given = {"name": name, "description": description, "steps": to_json(steps)}
    replayed = await idempotency.replay(unit, key=idempotency_key, operation="createWorkflow", given=given)
    if replayed is not None:
        return await get(unit, replayed)
    workflow = Workflow(
        account_id=unit.account_id,
        name=named(name),
        description=_described(description),
        steps=to_json(await checked(unit, steps)),
    )
    unit.session.add(workflow)
    await unit.session.flush()
    await idempotency.remember(unit, key=idempotency_key, subject_id=workflow.id)
    unit.audit("workflow.create", subject_type="workflow", subject_id=workflow.id, name=workflow.name)
    return workflow


async def update(
    unit: Unit,
    *,
    workflow_id: UUID,
    expected_version: int,
    name: str | None = None,
    description: str | None = None,
    steps: Sequence[Step] | None = None,
) -> Workflow:
    """Change a workflow; None leaves a thing as it is. Runs that were asked for keep the steps that they have.

    Raises Forbidden, NotFound, WorkflowGone, StaleVersion, Invalid, InvalidStep, LocationNotFound.
    """
    workflow = await locked(unit, workflow_id, expected_version=expected_version)
    if name is not None:
        workflow.name = named(name)
    if description is not None:
        workflow.description = _described(description)
    if steps is not None:
        workflow.steps = to_json(await checked(unit, steps))
    workflow.version += 1
    workflow.updated_at = sa.func.now()
    await unit.session.flush()
    await unit.session.refresh(workflow)
    unit.audit("workflow.update", subject_type="workflow", subject_id=workflow.id, version=workflow.version)
    return workflow


async def delete(unit: Unit, *, workflow_id: UUID, expected_version: int) -> Workflow:
    """Delete a workflow. Its history stays, and runs that were asked for go on.

    What would start it is not looked at here: see `domain.schedules.commands.delete_workflow`.
    Raises Forbidden, NotFound, WorkflowGone, StaleVersion.
    """
    workflow = await locked(unit, workflow_id, expected_version=expected_version)
    workflow.deleted_at = sa.func.now()
    workflow.version += 1
    await unit.session.flush()
    await unit.session.refresh(workflow)
    unit.audit("workflow.delete", subject_type="workflow", subject_id=workflow.id, name=workflow.name)
    return workflow


async def run(unit: Unit, *, workflow_id: UUID, idempotency_key: str | None = None) -> WorkflowRun:
    """Ask for a run now. Raises Forbidden, NotFound, WorkflowGone, KeyReused."""
    unit.require(Scope.WORKFLOWS_WRITE)
    given = {"workflow": workflow_id}
    replayed = await idempotency.replay(unit, key=idempotency_key, operation="runWorkflow", given=given)
    if replayed is not None:
        return (await unit.session.scalars(sa.select(WorkflowRun).where(WorkflowRun.id == replayed))).one()
    workflow = await get(unit, workflow_id)
    started = await runs.start(unit, workflow)
    await idempotency.remember(unit, key=idempotency_key, subject_id=started.id)
    await unit.session.flush()
    unit.audit("workflow.run", subject_type="workflow", subject_id=workflow.id, name=workflow.name)
    return started


async def get(unit: Unit, workflow_id: UUID, *, lock: bool = False) -> Workflow:
    """A workflow that can run. Raises NotFound, WorkflowGone."""
    query = sa.select(Workflow).where(Workflow.id == workflow_id)
    workflow = (await unit.session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if workflow is None:
        raise NotFound("There is no such workflow.")
    if workflow.deleted_at is not None:
        raise WorkflowGone("This workflow was deleted.")
    return workflow


async def locked(unit: Unit, workflow_id: UUID, *, expected_version: int) -> Workflow:
    """A workflow that is about to be changed. Raises Forbidden, NotFound, WorkflowGone, StaleVersion."""
    unit.require(Scope.WORKFLOWS_WRITE)
    workflow = await get(unit, workflow_id, lock=True)
    if workflow.version != expected_version:
        raise StaleVersion("The workflow was changed meanwhile.", field=("expectedVersion",), current=workflow)
    return workflow


def named(name: str) -> str:
    """A name on one line. Raises Invalid."""
    tidy = " ".join(name.replace("\x00", "").split())
    if not 1 <= len(tidy) <= _MAX_NAME:
        raise Invalid(f"A name has 1 to {_MAX_NAME} characters.", field=("name",))
    return tidy


def _described(text: str | None) -> str | None:
    tidy = (text or "").replace("\x00", "").strip()
    if len(tidy) > _MAX_DESCRIPTION:
        raise Invalid(f"A description has at most {_MAX_DESCRIPTION} characters.", field=("description",))
    return tidy or None
