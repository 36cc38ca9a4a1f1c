"""A job as clients see it: how far it is, what happened to it, what it met."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from db.models import jobs as models
from db.models.jobs import TERMINAL
from domain.actor import Scope
from domain.jobs import dependencies, queries, queue
from domain.jobs.priority import JobPriority as Level
from domain.unit import Unit
from graph.about import about, optional, resolved
from graph.context import Info
from graph.enums import ActorType, AttemptOutcome, DependencyPolicy, JobPriority, JobState, Lane, LogLevel
from graph.jobs.details import JobDetails, JobLogLine
from graph.jobs.history import JobRecovery
from graph.jobs.subjects import subject_of
from graph.node import Node, global_id, loads, stands_for
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.user_errors import Payload

loads("job", queries.jobs_by_ids)
_NAMED = 3


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


@strawberry.type(description="How far a job is.")
class JobProgress:
    phase: str | None = about("What it is doing, such as contacts or push; null before it began.")
    done: int = about("Items done in this phase.")
    total: int | None = about("Items of this phase; null while unknown.")
    percent: float | None = about("0 to 100; null while the total is unknown.")
    rate: float | None = about("Items a second, a moving average; null until it is known.")
    eta_at: datetime | None = about("When this phase is expected to end. UTC.")


@strawberry.type(description="Another job before or after this one.")
class JobDependency:
    job: Annotated["Job", strawberry.lazy("graph.jobs.types")] = about("The other job.")
    policy: DependencyPolicy = about("What the end of the first one means for the second.")


@strawberry.type(
    description="Something long-running that was asked for: a sync, an export, a batch. Its state lives here alone."
)
class Job(JobDetails, JobRecovery, Node):
    id: strawberry.ID = global_id("job")
    kind: str = about("What it does, such as crm.contacts.sync.")
    title: str = about("The same for people.")
    state: JobState = about("Where it stands.")
    lane: Lane = about("The class of workers that runs it.")
    version: int = about("Rises by 1 with every change; give it as `afterVersion` to resume a subscription.")
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
    origin_name: str = about("Who asked for it: a person, an API key, a vendor, a schedule by its name.")
    request_id: str = about("Of the request that asked for it; found in the server's logs.")

    is_type_of = stands_for(models.Job)

    @resolved("The level of its priority; URGENT, too, for one that was boosted.")
    def priority(root: strawberry.Parent[models.Job]) -> JobPriority:
        """The level below, for what stands between two."""
        return Level.nearest(root.priority)

    @resolved("Whether somebody sent it to the front of its queue.")
    def is_boosted(root: strawberry.Parent[models.Job]) -> bool:
        """Until its priority is set."""
        return queue.is_boosted(root)

    @resolved("Its place, from 1, among the jobs of its lane that wait for a slot; null for any other job.", int | None)
    async def queue_position(root: strawberry.Parent[models.Job], info: Info) -> Any:
        """Gathered for all jobs of the answer."""
        if root.state is not models.JobState.READY or root.paused_at is not None:
            return None
        return await info.context.loader(queue.positions).load(root.id)

    @resolved("What it follows: it starts when all of these have ended.", list[JobDependency] | None)
    async def depends_on(root: strawberry.Parent[models.Job], info: Info) -> Any:
        """Gathered for all jobs of the answer."""
        return await info.context.loader(dependencies.parents_of).load(root.id)

    @resolved("What follows it; the first hundred.", list[JobDependency] | None)
    async def dependents(root: strawberry.Parent[models.Job], info: Info) -> Any:
        """Gathered for all jobs of the answer."""
        return await info.context.loader(dependencies.children_of).load(root.id)

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

    @resolved("What it was asked for: the sync run, the export, and so on. Null where nothing more is to be told.", Node | None)
    async def subject(root: strawberry.Parent[models.Job], info: Info) -> Any:
        """Back to the noun."""
        return await subject_of(info, root)


JobId = Annotated[strawberry.ID, strawberry.argument(description="The job.")]


@strawberry.type(description="What came of a change to a job.")
class JobPayload(Payload):
    job: Job | None = optional("As it is now; null when nothing was done.")
    notice: str | None = optional("Why nothing had to be done, in a sentence for the user: it is the first already, say.")
    warnings: list[str] = strawberry.field(
        default_factory=list, description="What follows for other jobs, in sentences for the user."
    )
    affected_jobs: list[Job] = strawberry.field(
        default_factory=list, description="The jobs that the warnings are about; the first hundred."
    )


def warnings(affected: list[models.Job], fate: str) -> list[str]:
    """A sentence about jobs that wait for the one that was changed; none where there are none."""
    if not affected:
        return []
    named = ", ".join(job.title for job in affected[:_NAMED]) + (", ..." if len(affected) > _NAMED else "")
    count = "1 job that waits" if len(affected) == 1 else f"{len(affected)} jobs that wait"
    return [f"{count} for this one {fate}: {named}."]
