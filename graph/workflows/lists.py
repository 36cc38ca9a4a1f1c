"""Finding workflows and runs."""

from typing import Annotated, Any

import strawberry

from domain.workflows import queries
from graph import ids
from graph.about import resolved
from graph.context import Info
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.workflows.types import Workflow, WorkflowId, WorkflowRun


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
