"""Jobs: what was asked for, how far it is, and watching it live."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from db.models import jobs as models
from db.models.jobs import TERMINAL
from domain.actor import Scope
from domain.errors import Invalid
from domain.jobs import commands, feeds, queries
from domain.jobs.feeds import JobFeed, JobsFeed
from domain.jobs.queries import JobFilter
from domain.unit import Unit
from graph import ids
from graph.about import about, optional, resolved, shown, watched
from graph.context import Info
from graph.crm.subjects import subject_of
from graph.enums import ActorType, AttemptOutcome, JobOrder, JobState, Lane, LogLevel, UpdateKind
from graph.node import Node, global_id, loads, stands_for
from graph.paging import After, Before, Connection, First, Last, Listing, decode, pack, window
from graph.user_errors import Payload, mutation

loads("job", queries.jobs_by_ids)

_BIGINT = 2**63  # what PostgreSQL keeps a cursor's numbers in


async def attempts_by_job(unit: Unit, job_ids: list[UUID]) -> Sequence[list[models.JobAttempt]]:
    """One list for each job."""
    found: dict[UUID, list[models.JobAttempt]] = {job_id: [] for job_id in job_ids}
    for attempt in await queries.attempts_of(unit, job_ids):
        found[attempt.job_id].append(attempt)
    return [found[job_id] for job_id in job_ids]


@strawberry.type(description="One run of a job by one worker.")
class JobAttempt:
    number: int = about("1 for the first; there are no gaps.")
    started_at: datetime = about("UTC.")
    ended_at: datetime | None = about("Null while it runs. UTC.")
    outcome: AttemptOutcome | None = about("Null while it runs.")
    error_class: str | None = about("The kind of failure, such as VendorDown.")
    error_code: str | None = about("As in `errorCodes`.")
    error_message: str | None = about("What went wrong.")
    http_status: int | None = about("The vendor's answer, where there was one.")
    next_delay: float | None = about("Seconds until the next attempt, where one follows.")

    @resolved("Where it went wrong in the product. Null without logs:read, which owners, admins and support have.")
    def stack_trace(root: strawberry.Parent[models.JobAttempt], info: Info) -> str | None:
        """Names files of the server."""
        return root.stack_trace if Scope.LOGS_READ in info.context.actor.scopes else None


@strawberry.type(description="A line about one thing that a job met: a row it skipped, a conflict it decided.")
class JobLogLine:
    id: strawberry.ID = global_id("log")
    at: datetime = about("UTC.")
    level: LogLevel = about("How much it matters.")
    code: str = about("Stable, such as GHL-021.")
    message: str = about("What happened.")
    subject: str | None = about("The vendor's id of the thing, or ours.")
    field: str | None = about("The field that it was about.")


@strawberry.type(description="How far a job is.")
class JobProgress:
    phase: str | None = about("What it is doing, such as contacts or push; null before it began.")
    done: int = about("Items done in this phase.")
    total: int | None = about("Items of this phase; null while unknown.")
    percent: float | None = about("0 to 100; null while the total is unknown.")
    rate: float | None = about("Items a second, a moving average; null until it is known.")
    eta_at: datetime | None = about("When this phase is expected to end. UTC.")


@strawberry.type(
    description="Something long-running that was asked for: a sync, an export, a batch. Its state lives here alone."
)
class Job(Node):
    id: strawberry.ID = global_id("job")
    kind: str = about("What it does, such as crm.contacts.sync.")
    title: str = about("The same for people.")
    state: JobState = about("Where it stands.")
    lane: Lane = about("The class of workers that runs it.")
    version: int = about("Rises by 1 with every change; give it as `afterVersion` to resume a subscription.")
    priority: int = about("Higher ones are admitted first.")
    attempt: int = about("How many attempts were begun.")
    failures: int = about("How many of them cost a retry.")
    max_retries: int = about("How many retries there are.")
    message: str | None = about("What it is doing or how it ended, in a sentence for people.")
    error_code: str | None = about("Of the last failure, as in `errorCodes`; null when all is well.")
    error_message: str | None = about("Of the last failure.")
    result: JSON | None = about("Figures of a job that ended well; which ones depends on its kind.")
    run_at: datetime = about("When it is, or was last, due. UTC.")
    created_at: datetime = about("When it was asked for. UTC.")
    started_at: datetime | None = about("When its first attempt began. UTC.")
    finished_at: datetime | None = about("When it ended. UTC.")
    deadline_at: datetime | None = about("When it is given up; known once it has started. UTC.")
    paused_at: datetime | None = about("Since when it is paused; null while it is not. UTC.")
    origin_type: ActorType = about("What kind of actor asked for it.")
    origin_name: str = about("Who asked for it.")
    request_id: str = about("Of the request that asked for it; found in the server's logs.")

    is_type_of = stands_for(models.Job)

    @resolved("How far it is.")
    def progress(root: strawberry.Parent[models.Job]) -> JobProgress:
        """Of the current phase."""
        percent = None if not root.total else min(100.0, round(100 * root.done / root.total, 1))
        return JobProgress(
            phase=root.phase, done=root.done, total=root.total, percent=percent, rate=root.rate, eta_at=root.eta_at
        )

    @resolved("Whether it has ended, for good unless somebody retries it.")
    def is_ended(root: strawberry.Parent[models.Job]) -> bool:
        """In one of the five end states."""
        return root.state in TERMINAL

    @resolved("When the next attempt begins; null unless it is in BACKOFF or SCHEDULED. UTC.")
    def next_attempt_at(root: strawberry.Parent[models.Job]) -> datetime | None:
        """For a countdown."""
        return root.run_at if root.state in {JobState.BACKOFF, JobState.SCHEDULED} else None

    @resolved("Its attempts, the first one first, with everything about what went wrong.", list[JobAttempt] | None)
    async def attempts(root: strawberry.Parent[models.Job], info: Info) -> Any:
        """Gathered for all jobs of the answer."""
        return await info.context.loader(attempts_by_job).load(root.id)

    @resolved("What it met, oldest first: skipped rows, decided conflicts.", Connection[JobLogLine] | None)
    async def log(
        root: strawberry.Parent[models.Job],
        info: Info,
        level: Annotated[LogLevel | None, strawberry.argument(description="Only lines of this level.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """Use `last` for the newest lines."""
        async with info.context.unit() as unit:
            page = await queries.log_page(unit, job_id=root.id, level=level, window=window(first, after, last, before))
        return Listing(page)

    @resolved("What it was asked for: the sync run, and so on. Null where nothing more is to be told.", Node | None)
    async def subject(root: strawberry.Parent[models.Job], info: Info) -> Any:
        """Back to the noun."""
        return await subject_of(info, root)


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
    kind: UpdateKind = about("CHANGED with an event; SNAPSHOT and RESYNC without.")
    version: int = about("Give the highest one seen as `afterVersion` to resume.")
    job: Job = about("As it is now; it may be ahead of `event`.")
    event: JobEvent | None = about("What happened; null for SNAPSHOT and RESYNC.")


@strawberry.type(description="What a subscriber to many jobs is told.")
class JobsUpdate:
    kind: UpdateKind = about("SNAPSHOT comes first: the newest 50 that fit.")
    cursor: str = about("Opaque; give the last one seen as `afterCursor` to resume.")
    jobs: list[Job] = about("Jobs that are new or changed and fit the filter, as they are now.")
    gone_ids: list[strawberry.ID] = about("Jobs that changed and do not fit the filter now: take them off the list.")


@strawberry.type(description="What came of a change to a job.")
class JobPayload(Payload):
    job: Job | None = optional("As it is now; null when nothing was done.")


JobId = Annotated[strawberry.ID, strawberry.argument(description="The job.")]


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


@strawberry.type
class JobsMutation:
    @mutation("Cancel a job: at once where it has not started, else at its next checkpoint. Needs jobs:write.")
    async def cancel_job(self, info: Info, id: JobId) -> JobPayload:
        async with info.context.unit() as unit:
            job = await commands.cancel(unit, job_id=ids.read("job", id, field="id"))
        return JobPayload(job=shown(job))

    @mutation("Run an ended job again from its last checkpoint, or a waiting one at once. Needs jobs:write.")
    async def retry_job(self, info: Info, id: JobId) -> JobPayload:
        async with info.context.unit() as unit:
            job = await commands.retry(unit, job_id=ids.read("job", id, field="id"))
        return JobPayload(job=shown(job))


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
        """Goes on after the job's end: it may be retried."""
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
