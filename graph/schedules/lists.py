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
from graph.schedule_enums import ScheduleStatus
from graph.schedules.types import Schedule, ScheduleId
from graph.user_errors import UserError, user_error

_AFTER = "Only times after this, at most ten years from now; now when not given."


@strawberry.type(description="When such a schedule would fire.")
class SchedulePreview:
    runs: list[ScheduleInstant] = strawberry.field(
        default_factory=list, description="The next 5 times; empty where it is wrong."
    )
    cron: str | None = optional("The same as cron text; null where cron cannot say it.")
    text: str | None = optional("The same for people; null where it is wrong.")
    user_errors: list[UserError] = strawberry.field(
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
        statuses: Annotated[
            list[ScheduleStatus] | None,
            strawberry.argument(description="Only those that stand so; all but DELETED when not given."),
        ] = None,
        text: Annotated[
            str | None, strawberry.argument(description="Words, up to 8, all of which must be found in the name.")
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """Without those that were deleted, unless they are asked for."""
        workflow = None if workflow_id is None else ids.read("workflow", workflow_id, field="workflowId")
        page = window(first, after, last, before)
        async with info.context.unit() as unit:
            found = await queries.schedules_page(unit, workflow_id=workflow, statuses=statuses or (), text=text, window=page)
        return Listing(found)

    @resolved("When such a schedule would fire: by the same rules as the real one.")
    async def preview_schedule(
        self,
        info: Info,
        recurrence: Annotated[RecurrenceInput, strawberry.argument(description="When it is to run.")],
        zone: Annotated[str, strawberry.argument(description="The IANA zone in which that is meant.")],
        after: Annotated[datetime | None, strawberry.argument(description=_AFTER)] = None,
    ) -> SchedulePreview | None:
        """Changes nothing."""
        info.context.actor.require(queries.READ)
        wanted = recurrence.to_domain()
        try:
            instants = queries.preview(wanted, zone, after=after)
        except DomainError as error:
            return SchedulePreview(user_errors=[user_error(error)])
        return SchedulePreview(
            runs=InZone(zone)(instants), cron=recurrences.expression_of(wanted), text=recurrences.text_of(wanted)
        )
