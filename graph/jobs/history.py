"""What a failed job leaves to be read and decided: how it stands in words, its items, effects, notes and interventions."""

from datetime import UTC, datetime
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from db.models import jobs as models
from db.models import recovery
from domain.actor import Scope
from domain.jobs import effects, items, options, queries, status
from domain.recovery import interventions, notes
from graph.about import about, resolved
from graph.context import Info
from graph.enums import ActorType, Attention, EffectState, ItemState, RecoveryOption
from graph.node import global_id
from graph.paging import After, Before, Connection, First, Last, Listing, window


@strawberry.type(description="One of the things that a job does one by one. A retry does those that failed.")
class JobItem:
    key: str = about("The same in every attempt; of a contact its UUID.")
    number: int = about("Its place among the job's items, from 1.")
    title: str = about("The item for people.")
    state: ItemState = about("How it stands.")
    code: str | None = about("Why it failed, as in `errorCodes`; null unless it did.")
    message: str | None = about("The same in a sentence.")
    result: JSON | None = about("What came of it, where its kind of job keeps that.")
    updated_at: datetime = about("When it last changed. UTC.")


@strawberry.type(description="How many of a job's items stand how.")
class JobItemCounts:
    total: int = about("All of them; 0 for a job without items.")
    done: int = about("Those that are done, and never done again.")
    failed: int = about("Those that a retry would do.")
    pending: int = about("Those that are still to be done.")


@strawberry.type(description="Something outside that happens at most once for a job, whatever dies meanwhile.")
class JobEffect:
    key: str = about("What it is; the same in every attempt.")
    state: EffectState = about("Whether it happened.")
    vendor_id: str | None = about("What the outside system calls it; null while that is not known.")
    created_at: datetime = about("When it was begun. UTC.")
    updated_at: datetime = about("When its state last changed. UTC.")


@strawberry.type(description="A note about a job, between support and the customer.")
class JobNote:
    id: strawberry.ID = global_id("note")
    author_type: ActorType = about("What kind of actor wrote it.")
    author_name: str = about("Who wrote it.")
    body: str = about("Plain text.")
    created_at: datetime = about("UTC.")

    @resolved("Whether only support sees it.")
    def is_internal(root: strawberry.Parent[recovery.JobNote]) -> bool:
        """Never true for a customer."""
        return root.internal


@strawberry.type(description="Something that somebody did to a job; kept for ever in the audit log.")
class JobIntervention:
    id: strawberry.ID = global_id("audit")
    at: datetime = about("UTC.")
    actor_type: ActorType = about("What kind of actor did it.")
    actor_name: str = about("Who did it.")
    action: str = about("What was done, such as job.retry or job.require_action.")
    details: JSON = about("Before and after, as far as the action has them.")
    request_id: str = about("Of the request; found in the server's logs.")


@strawberry.type
class JobRecovery:
    """The fields of Job that are about its recovery."""

    attention: Attention | None = about("What support and the customer agreed on about it; null where nothing was said.")
    attention_at: datetime | None = about("Since when. UTC.")
    archived_at: datetime | None = about("Since when it is left out of lists; null while it is not. UTC.")
    expired_at: datetime | None = about("When it became too old to be retried; null while it is not. UTC.")

    @resolved('How it stands, for people, such as "Retrying (1/5) - next attempt in 30 seconds". True for this moment.')
    async def status_text(root: strawberry.Parent[models.Job], info: Info) -> str | None:
        """For a countdown take `nextAttemptAt`."""
        again = root.state is models.JobState.SUCCEEDED and root.attempt > 1
        failed = await info.context.loader(queries.failed_attempts).load(root.id) if again else 0
        return status.status_text(root, now=datetime.now(UTC), failed_attempts=failed)

    @resolved("Whether it failed with all of its retries spent: it needs a person.")
    def is_permanently_failed(root: strawberry.Parent[models.Job]) -> bool:
        """A refusal of an outside system fails a job, too, without a retry being spent."""
        return status.is_permanently_failed(root)

    @resolved("Whether retryJob may be offered, after what `recoveryOptions` names before it.")
    def recoverable(root: strawberry.Parent[models.Job]) -> bool:
        """Also true in BACKOFF, where a retry only comes sooner."""
        return status.is_recoverable(root)

    @resolved("What can be done about it, the first thing first; empty where nothing needs to be.")
    def recovery_options(root: strawberry.Parent[models.Job]) -> list[RecoveryOption]:
        """As the job stands; what it works on is looked at by retryJob."""
        return list(options.options_of(root))

    @resolved(
        "The things it does one by one, in their order; for a sync, contacts that could not be sent.",
        Connection[JobItem] | None,
    )
    async def items(
        root: strawberry.Parent[models.Job],
        info: Info,
        states: Annotated[list[ItemState] | None, strawberry.argument(description="Only items in one of these.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """A keyset page."""
        wanted = window(first, after, last, before)
        async with info.context.unit() as unit:
            return Listing(await items.items_page(unit, job_id=root.id, states=states or (), window=wanted))

    @resolved("How many of its items stand how.", JobItemCounts | None)
    async def item_counts(root: strawberry.Parent[models.Job], info: Info) -> Any:
        """Gathered for all jobs of the answer."""
        return await info.context.loader(items.tallies).load(root.id)

    @resolved("What it did outside that must not happen twice, the newest first; at most 100.", list[JobEffect] | None)
    async def effects(root: strawberry.Parent[models.Job], info: Info) -> Any:
        """Gathered for all jobs of the answer."""
        return await info.context.loader(effects.effects_of).load(root.id)

    @resolved("Who had the last word in the notes, internal ones left out; null where there are none.")
    async def last_note_by(root: strawberry.Parent[models.Job], info: Info) -> ActorType | None:
        """Gathered for all jobs of the answer; `awaitsReply` of the filter finds those that support is to answer."""
        author: ActorType | None = await info.context.loader(notes.last_authors).load(root.id)
        return author

    @resolved("What support and the customer wrote about it, oldest first.", Connection[JobNote] | None)
    async def notes(
        root: strawberry.Parent[models.Job],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """Internal ones for support only."""
        wanted = window(first, after, last, before)
        async with info.context.unit() as unit:
            return Listing(await notes.notes_page(unit, job_id=root.id, window=wanted))

    @resolved(
        "What people did to it, oldest first, the latest 100. Null without logs:read, which owners, admins and support have.",
        list[JobIntervention] | None,
    )
    async def interventions(root: strawberry.Parent[models.Job], info: Info) -> Any:
        """Gathered for all jobs of the answer."""
        if Scope.LOGS_READ not in info.context.actor.scopes:
            return None
        return await info.context.loader(interventions.interventions_of).load(root.id)
