"""Contact syncs: asking for one, and the history of those that were."""

from datetime import datetime
from typing import Annotated, Any

import strawberry

from db.models.crm import syncs as models
from domain.crm.connections.app import ReauthorizationRequired
from domain.crm.contacts import queries, sync
from domain.crm.contacts.sync import SyncAlreadyRunning
from domain.jobs import queries as jobs
from graph import ids
from graph.about import about, optional, resolved, shown
from graph.context import Info
from graph.crm.locations import GhlLocation
from graph.enums import ConflictPolicy, SyncDirection
from graph.jobs.types import Job
from graph.node import Node, global_id, loads, stands_for
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.user_errors import Payload, UserError, builds, mutation

loads("syncrun", queries.runs_by_ids)


@strawberry.type(description="One sync of a sub-account's contacts. State and progress are its job's.")
class SyncRun(Node):
    id: strawberry.ID = global_id("syncrun")
    direction: SyncDirection = about("Which side it writes.")
    policy: ConflictPolicy = about("Whose value stays on a conflict.")
    only_tags: list[str] = about("Only contacts with one of these tags; empty: all.")
    created: int = about("Contacts that were new here.")
    updated: int = about("Contacts that were changed here.")
    unchanged: int = about("Contacts that were the same.")
    merged: int = about("GoHighLevel's duplicates that became one contact here.")
    skipped: int = about("Rows that could not be taken or sent; the job's log says which and why.")
    conflicts: int = about("Contacts on which both sides had changed the same field; the job's log says which.")
    pushed: int = about("Contacts that were written at GoHighLevel.")
    missing: int = about("Contacts found deleted at GoHighLevel; kept here and marked.")
    created_at: datetime = about("When it was asked for. UTC.")

    is_type_of = stands_for(models.SyncRun)

    @resolved("Its job: state, progress, attempts, log.", Job | None)
    async def job(root: strawberry.Parent[models.SyncRun], info: Info) -> Any:
        """Gathered for all runs of the answer."""
        return await info.context.loader(jobs.jobs_by_ids).load(root.job_id)

    @resolved("The sub-account.", GhlLocation | None)
    async def location(root: strawberry.Parent[models.SyncRun], info: Info) -> Any:
        """Gathered for all runs of the answer."""
        return await info.context.loader(queries.locations_by_ids).load(root.location_id)


@strawberry.type(description="The sub-account is being synced already.")
class SyncAlreadyRunningError(UserError):
    job: Job = about("That sync: watch it, or cancel it first.")


@strawberry.type(description="GoHighLevel no longer accepts what was stored: connect the agency again.")
class ReauthorizationRequiredError(UserError):
    account_id: strawberry.ID = about("The agency, for startGhlAuthorization.")


@builds(SyncAlreadyRunning)
def _already_running(error: SyncAlreadyRunning, base: dict[str, Any]) -> UserError:
    return SyncAlreadyRunningError(**base, job=shown(error.job))


@builds(ReauthorizationRequired)
def _reauthorize(error: ReauthorizationRequired, base: dict[str, Any]) -> UserError:
    return ReauthorizationRequiredError(**base, account_id=strawberry.ID(ids.encode("ghlaccount", error.connection_id)))


@strawberry.input(description="A contact sync to start. What is not given is taken from the sub-account's settings.")
class StartContactSyncInput:
    location_id: strawberry.ID = about("The sub-account; it is chosen for syncing by this.")
    direction: SyncDirection | None = optional("Which side to write.")
    policy: ConflictPolicy | None = optional("Whose value stays on a conflict.")
    only_tags: list[str] | None = optional("Only contacts with one of these tags; an empty list: all.")
    idempotency_key: str | None = optional("Made by the client: the same key starts one sync, however often it is sent.")


@strawberry.type(description="The sync that was started, or why there is none.")
class StartContactSyncPayload(Payload):
    run: SyncRun | None = optional("The run; null when none was started.")
    job: Job | None = optional("Its job, to watch with jobUpdated.")


@strawberry.type
class SyncsQuery:
    @resolved("Contact syncs, newest first. Needs contacts:read.", Connection[SyncRun] | None)
    async def sync_runs(
        self,
        info: Info,
        location_id: Annotated[strawberry.ID | None, strawberry.argument(description="Only of this sub-account.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """The history."""
        location = None if location_id is None else ids.read("location", location_id, field="locationId")
        async with info.context.unit() as unit:
            return Listing(await queries.runs_page(unit, location_id=location, window=window(first, after, last, before)))


@strawberry.type
class SyncsMutation:
    @mutation("Start to sync a sub-account's contacts. Needs contacts:write.")
    async def start_contact_sync(
        self, info: Info, input: Annotated[StartContactSyncInput, strawberry.argument(description="What to sync, and how.")]
    ) -> StartContactSyncPayload:
        async with info.context.unit() as unit:
            run = await sync.start(
                unit,
                location_id=ids.read("location", input.location_id, field="locationId"),
                direction=input.direction,
                policy=input.policy,
                only_tags=input.only_tags,
                idempotency_key=input.idempotency_key,
            )
            job = await jobs.get(unit, run.job_id)
        return StartContactSyncPayload(run=shown(run), job=shown(job))
