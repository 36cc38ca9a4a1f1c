"""Finding schedules, and seeing beforehand when one would run."""

from datetime import datetime
from typing import Annotated, Any

import strawberry

from domain.errors import DomainError
from domain.schedules import queries
from domain.schedules import recurrence as recurrences
from graph import ids
from graph.about import optional, resolved
from graph.context import Info
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.recurrence import InZone, RecurrenceInput, ScheduleInstant
from graph.schedules.types import Schedule, ScheduleId
from graph.user_errors import UserError, user_error


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
