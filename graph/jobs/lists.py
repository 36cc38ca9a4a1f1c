"""Finding jobs."""

from datetime import datetime
from typing import Annotated, Any

import strawberry

from domain.jobs import queries
from domain.jobs.queries import JobFilter
from graph import ids
from graph.about import optional, resolved
from graph.context import Info
from graph.enums import JobOrder, JobState
from graph.jobs.types import Job, JobId
from graph.paging import After, Before, Connection, First, Last, Listing, window


@strawberry.input(description="Which jobs. All that is given must hold; archived ones are left out unless asked for.")
class JobFilterInput:
    states: list[JobState] | None = optional("Any of these.")
    kinds: list[str] | None = optional("Any of these, such as crm.contacts.sync.")
    location_id: strawberry.ID | None = optional("Of this sub-account.")
    since: datetime | None = optional("Asked for at or after this.")
    until: datetime | None = optional("Asked for before this.")
    text: str | None = optional("Words of the title or kind, in any case of letters.")
    archived: bool = strawberry.field(default=False, description="Only archived ones.")

    def to_domain(self) -> JobFilter:
        """Raises Invalid for an id of another type."""
        return JobFilter(
            states=frozenset(self.states or ()),
            kinds=frozenset(self.kinds or ()),
            location_id=None if self.location_id is None else ids.read("location", self.location_id, field="locationId"),
            since=self.since,
            until=self.until,
            text=self.text,
            archived=self.archived,
        )


@strawberry.type
class JobsQuery:
    @resolved("One job; null where there is none of this id.", Job | None)
    async def job(self, info: Info, id: JobId) -> Any:
        """Another account's is none."""
        found = ids.find("job", id)
        return None if found is None else await info.context.loader(queries.jobs_by_ids).load(found)

    @resolved("The account's jobs. Needs jobs:read.", Connection[Job] | None)
    async def jobs(
        self,
        info: Info,
        filter: Annotated[JobFilterInput | None, strawberry.argument(description="Which ones.")] = None,
        order_by: Annotated[JobOrder, strawberry.argument(description="In which order.")] = JobOrder.NEWEST,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """A keyset page."""
        wanted = filter.to_domain() if filter is not None else JobFilter()
        async with info.context.unit() as unit:
            page = await queries.jobs_page(unit, wanted=wanted, order=order_by, window=window(first, after, last, before))
        return Listing(page)
