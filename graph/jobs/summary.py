"""The dashboard's numbers."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any

import strawberry

from domain.jobs import summary
from domain.jobs.catalog import title_of
from domain.jobs.queries import JobFilter, StatusGroup
from domain.jobs.summary import Counts, SummaryFeed
from graph.about import about, resolved, watched
from graph.context import Info
from graph.enums import UpdateKind
from graph.jobs.lists import JobFilterInput

Which = Annotated[JobFilterInput | None, strawberry.argument(description="Which ones are counted.")]


@strawberry.interface(description="How many jobs stand where; what JobStatusGroup says of each holds here.")
class JobCounts:
    active: int = about("ACTIVE.")
    queued: int = about("QUEUED; as many as `jobQueue.waiting` has.")
    blocked: int = about("BLOCKED.")
    scheduled: int = about("SCHEDULED.")
    retrying: int = about("RETRYING.")
    waiting: int = about("WAITING.")
    paused: int = about("PAUSED.")
    completed_24h: int = about("COMPLETED within the last 24 hours.")
    failed_24h: int = about("FAILED within the last 24 hours.")
    cancelled_24h: int = about("CANCELLED within the last 24 hours.")


@strawberry.type(description="The numbers of one kind of jobs.")
class JobKindSummary(JobCounts):
    kind: str = about("As in `Job.kind`.")
    title: str = about("The same for people.")


@strawberry.type(description="The dashboard's numbers, exact as of `at`.")
class JobSummary(JobCounts):
    at: datetime = about("When they were counted. UTC.")
    per_kind: list[JobKindSummary] = about("The same by kind, sorted by title; kinds without any of these jobs are left out.")
    all_paused: bool = about("Nothing is left to run but what is paused: resume something.")
    hidden_kinds: int = about("How many kinds of jobs the caller's permissions hide, in all lists and numbers.")


@strawberry.type(description="What a subscriber to the dashboard's numbers is told.")
class JobSummaryUpdate:
    kind: UpdateKind = about("SNAPSHOT comes first, then CHANGED whenever a number differs, about once a second at most.")
    summary: JobSummary = about("The numbers now.")


@strawberry.type
class JobSummaryQuery:
    @resolved("How many jobs stand where. Needs jobs:read.")
    async def job_summary(self, info: Info, filter: Which = None) -> JobSummary | None:
        """Counted anew each time."""
        async with info.context.unit() as unit:
            return _shown(await summary.summarize(unit, wanted=_wanted(filter)))


@strawberry.type
class JobSummarySubscription:
    @watched("Watch the dashboard's numbers.")
    async def job_summary_changed(self, info: Info, filter: Which = None) -> AsyncGenerator[JobSummaryUpdate, None]:
        """After a reconnect it begins with a snapshot again, so there is nothing to resume from."""
        runtime = info.context.runtime
        feed = SummaryFeed(runtime.database, runtime.events, info.context.actor, _wanted(filter))
        async for update in info.context.follow(feed):
            yield JobSummaryUpdate(kind=update.kind, summary=_shown(update.summary))


def _wanted(given: JobFilterInput | None) -> JobFilter:
    return JobFilter() if given is None else given.to_domain()


def _shown(found: summary.JobSummary) -> JobSummary:
    return JobSummary(
        at=found.at,
        per_kind=[JobKindSummary(kind=kind, title=title_of(kind), **_counts(counts)) for kind, counts in found.kinds],
        all_paused=found.all_paused,
        hidden_kinds=found.hidden_kinds,
        **_counts(found.total),
    )


def _counts(counts: Counts) -> dict[str, Any]:
    ended = {StatusGroup.COMPLETED, StatusGroup.FAILED, StatusGroup.CANCELLED}
    return {f"{group}_24h" if group in ended else group.value: counts[group] for group in StatusGroup}
