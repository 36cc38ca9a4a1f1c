"""Finding jobs."""

from datetime import datetime
from typing import Annotated, Any

import strawberry

from domain.jobs import (
    catalog,
    queries,
    retention,  # noqa: F401 -- lists leave its kind out, and know by the import that there is one
)
from domain.jobs.queries import JobFilter
from graph import ids
from graph.about import about, optional, resolved
from graph.context import Info
from graph.enums import ActorType, Attention, JobOrder, JobPriority, JobState, Lane, StatusGroup
from graph.jobs.types import Job, JobId
from graph.paging import After, Before, Connection, First, Last, Listing, window


@strawberry.input(
    description="Which jobs. All that is given must hold. Archived ones and housekeeping are left out unless asked for."
)
class JobFilterInput:
    status_groups: list[StatusGroup] | None = optional("In any of these tabs.")
    states: list[JobState] | None = optional("In any of these states.")
    kinds: list[str] | None = optional("Any of these, such as crm.contacts.sync.")
    location_id: strawberry.ID | None = optional("Of this sub-account.")
    origin_id: strawberry.ID | None = optional("Asked for by this user or API key.")
    schedule_id: strawberry.ID | None = optional("Runs of this schedule, those by hand, too; kept for as long as its history.")
    origin_types: list[ActorType] | None = optional("Asked for by any of these kinds of actors.")
    since: datetime | None = optional("Asked for at or after this.")
    until: datetime | None = optional("Asked for before this.")
    finished_since: datetime | None = optional("Ended at or after this.")
    finished_until: datetime | None = optional("Ended before this.")
    priorities: list[JobPriority] | None = optional("Whose `priority` is any of these.")
    attention: list[Attention] | None = optional("Marked as any of these.")
    error_codes: list[str] | None = optional("Whose last failure has any of these codes.")
    paused: bool | None = optional("Only paused ones, or only others.")
    awaits_reply: bool | None = optional("Only those in whose notes the customer had the last word, or only others.")
    text: str | None = optional(
        "Words, up to 8, all of which must be found, in any case of letters: in the title, message or error message; in the "
        "kind; as error code; as id or its beginning; or as the subject of a log line, exactly."
    )
    archived: bool = strawberry.field(default=False, description="Only archived ones.")
    include_housekeeping: bool = strawberry.field(default=False, description="The product's own jobs, too.")

    def to_domain(self) -> JobFilter:
        """Raises Invalid for an id of another type."""
        return JobFilter(
            groups=frozenset(self.status_groups or ()),
            states=frozenset(self.states or ()),
            kinds=frozenset(self.kinds or ()),
            location_id=None if self.location_id is None else ids.read("location", self.location_id, field="locationId"),
            origin_id=None if self.origin_id is None else ids.read_any(self.origin_id, field="originId"),
            schedule_id=None if self.schedule_id is None else ids.read("schedule", self.schedule_id, field="scheduleId"),
            origin_types=frozenset(self.origin_types or ()),
            since=self.since,
            until=self.until,
            finished_since=self.finished_since,
            finished_until=self.finished_until,
            priorities=frozenset(self.priorities or ()),
            attention=frozenset(self.attention or ()),
            error_codes=frozenset(self.error_codes or ()),
            paused=self.paused,
            awaits_reply=self.awaits_reply,
            text=self.text,
            archived=self.archived,
            housekeeping=self.include_housekeeping,
        )


@strawberry.type(description="A kind of jobs.")
class JobKind:
    kind: str = about("As in `Job.kind` and `JobFilterInput.kinds`.")
    title: str = about("The same for people; the kind itself where it comes from a newer release.")
    lane: Lane | None = about("The class of workers that runs it; null where it comes from a newer release.")
    count: int = about("How many jobs of it there are, archived ones left out.")


@strawberry.type
class JobsQuery:
    @resolved("The kinds of jobs that the caller may see, by title, with their numbers. Needs jobs:read.", list[JobKind] | None)
    async def job_kinds(
        self,
        info: Info,
        include_housekeeping: Annotated[bool, strawberry.argument(description="The product's own kinds, too.")] = False,
    ) -> Any:
        """Those without jobs are listed as well."""
        async with info.context.unit() as unit:
            return await catalog.kind_counts(unit, housekeeping=include_housekeeping)

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
