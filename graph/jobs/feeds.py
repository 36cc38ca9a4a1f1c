"""Watching jobs live."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated

import strawberry

from domain.errors import Invalid
from domain.jobs import feeds
from domain.jobs.feeds import JobFeed, JobsFeed
from domain.jobs.queries import JobFilter
from graph import ids
from graph.about import about, shown, watched
from graph.context import Info
from graph.enums import JobState, UpdateKind
from graph.jobs.lists import JobFilterInput
from graph.jobs.types import Job, JobId
from graph.paging import decode, pack

_BIGINT = 2**63  # what PostgreSQL keeps a cursor's numbers in


@strawberry.type(description="One change of a job.")
class JobEvent:
    version: int = about("The job's version that it made.")
    at: datetime = about("UTC.")
    state: JobState = about("The state then.")
    attempt: int = about("The attempt then.")
    phase: str | None = about("The phase then.")
    done: int = about("Items done then.")
    total: int | None = about("Items in all, as known then.")
    message: str | None = about("The message then.")


@strawberry.type(description="What a subscriber to one job is told.")
class JobUpdate:
    kind: UpdateKind = about("CHANGED with an event; SNAPSHOT, RESYNC and DELETED without. DELETED is the last one.")
    version: int = about("Give the highest one seen as `afterVersion` to resume.")
    job: Job | None = about("As it is now; it may be ahead of `event`. Null once it is deleted.")
    event: JobEvent | None = about("What happened; null unless CHANGED.")


@strawberry.type(description="What a subscriber to many jobs is told.")
class JobsUpdate:
    kind: UpdateKind = about("SNAPSHOT comes first: the newest 50 that fit.")
    cursor: str = about("Opaque; give the last one seen as `afterCursor` to resume.")
    jobs: list[Job] = about("Jobs that are new or changed and fit the filter, as they are now.")
    gone_ids: list[strawberry.ID] = about("Jobs that changed and do not fit the filter now: take them off the list.")


@strawberry.type
class JobsSubscription:
    @watched("Watch one job: how it is now, then every change. Nothing is missed, nothing told twice.")
    async def job_updated(
        self,
        info: Info,
        id: JobId,
        after_version: Annotated[
            int | None, strawberry.argument(description="Resume: every change after this version instead of a snapshot.")
        ] = None,
    ) -> AsyncGenerator[JobUpdate, None]:
        """Goes on after the job's end: it may be retried. Ends when the job is deleted."""
        runtime = info.context.runtime
        job_id = ids.read("job", id, field="id")
        feed = JobFeed(runtime.database, runtime.events, info.context.actor, job_id)
        async for update in info.context.follow(feed, after=after_version):
            yield JobUpdate(kind=update.kind, version=update.position, job=shown(update.job), event=shown(update.event))

    @watched("Watch all jobs that fit a filter: the newest 50, then whatever changes.")
    async def jobs_changed(
        self,
        info: Info,
        filter: Annotated[JobFilterInput | None, strawberry.argument(description="Which ones.")] = None,
        after_cursor: Annotated[
            str | None, strawberry.argument(description="Resume: what changed after this cursor instead of a snapshot.")
        ] = None,
    ) -> AsyncGenerator[JobsUpdate, None]:
        """Each job once an update, however often it changed."""
        runtime = info.context.runtime
        wanted = filter.to_domain() if filter is not None else JobFilter()
        feed = JobsFeed(runtime.database, runtime.events, info.context.actor, wanted)
        async for update in info.context.follow(feed, after=_cursor(after_cursor)):
            yield JobsUpdate(
                kind=update.kind,
                cursor=pack(update.position),
                jobs=shown(update.jobs),
                gone_ids=[strawberry.ID(ids.encode("job", job_id)) for job_id in update.gone],
            )


def _cursor(text: str | None) -> feeds.Cursor | None:
    values = decode(text, field="afterCursor")
    match values:
        case None:
            return None
        case [int(transaction), int(event)] if 0 <= transaction < _BIGINT and 0 <= event < _BIGINT:
            return transaction, event
        case _:
            raise Invalid("This is not a cursor of this subscription.", field=("afterCursor",))
