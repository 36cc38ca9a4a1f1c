"""The schema: roots composed of what each noun brings, and its printed form, which is the contract with clients."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

import strawberry
from strawberry.printer import print_schema
from strawberry.schema.config import StrawberryConfig

from domain.errors import Invalid
from domain.tenancy import budget
from domain.tenancy.budget import OPERATIONS
from graph.about import about, resolved
from graph.context import Info
from graph.crm.accounts import GhlAccountsMutation, GhlAccountsQuery, GhlAccountsSubscription
from graph.crm.contacts import ContactsMutation, ContactsQuery
from graph.crm.locations import GhlLocationsMutation, GhlLocationsQuery
from graph.crm.syncs import ReauthorizationRequiredError, SyncAlreadyRunningError, SyncsMutation, SyncsQuery
from graph.files import File
from graph.jobs.bulk import BulkJobsMutation, CountChangedError
from graph.jobs.commands import JobsMutation
from graph.jobs.exports import JobExportsMutation
from graph.jobs.feeds import JobsSubscription
from graph.jobs.lists import JobsQuery
from graph.jobs.queue import JobQueueMutation, JobQueueQuery, JobQueueSubscription
from graph.jobs.recovery import JobNotRecoverableError, JobRecoveryMutation
from graph.jobs.settings import JobSettingsMutation, JobSettingsQuery
from graph.jobs.summary import JobSummaryQuery, JobSummarySubscription
from graph.leaves import LeafExecutor
from graph.node import Node, fetch
from graph.notifications.commands import NotificationsMutation
from graph.notifications.feeds import NotificationsSubscription
from graph.notifications.lists import NotificationsQuery
from graph.recurrence import InvalidCronError
from graph.scalars import SCALARS
from graph.schedules.commands import SchedulesMutation
from graph.schedules.lists import SchedulesQuery
from graph.tenancy.members import MembersMutation, MembersQuery
from graph.tenancy.sessions import SessionsMutation
from graph.tenancy.support import SupportMutation, SupportQuery
from graph.user_errors import ErrorCodeInfo, GenericError, RateLimitedError, StaleVersionError, error_codes
from graph.webhooks import WebhooksMutation, WebhooksQuery
from graph.workflows.commands import WorkflowsMutation
from graph.workflows.lists import WorkflowsQuery

_MAX_NODES = 100


@strawberry.type(description="What may still be asked in this minute. Each field costs a point, a list's times its page size.")
class RateLimit:
    limit: int = about("Points a minute for the account.")
    remaining: int = about("Points left in this minute.")
    resets_at: datetime = about("When a new minute begins. UTC.")


@strawberry.type(description="Everything that can be read.")
class Query(
    JobsQuery,
    JobSummaryQuery,
    JobQueueQuery,
    JobSettingsQuery,
    ContactsQuery,
    SyncsQuery,
    GhlAccountsQuery,
    GhlLocationsQuery,
    MembersQuery,
    SupportQuery,
    NotificationsQuery,
    WebhooksQuery,
    WorkflowsQuery,
    SchedulesQuery,
):
    @resolved("Anything by its id; null where there is none of this id.", Node | None)
    async def node(self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Any global id.")]) -> Any:
        """Another account's is none."""
        return await fetch(info, id)

    @resolved("Many things by their ids, in this order, null where there is none.", list[Node | None] | None)
    async def nodes(
        self, info: Info, ids: Annotated[list[strawberry.ID], strawberry.argument(description="Up to 100 global ids.")]
    ) -> Any:
        """Another account's are none."""
        if len(ids) > _MAX_NODES:
            raise Invalid(f"At most {_MAX_NODES} things can be asked for at once.", field=("ids",))
        return await asyncio.gather(*(fetch(info, text) for text in ids))

    @resolved("What may still be asked in this minute.")
    async def rate_limit(self, info: Info) -> RateLimit | None:
        """Of the account."""
        account_id = info.context.actor.account_id
        spent = await budget.spend(info.context.runtime.redis, OPERATIONS, of=str(account_id), points=0)
        return RateLimit(limit=spent.limit, remaining=spent.remaining, resets_at=spent.resets_at)

    @resolved("Every error code with what the user can do. Needs no credential.")
    def error_codes(self) -> list[ErrorCodeInfo] | None:
        """For the SPA's messages."""
        return error_codes()


@strawberry.type(description="Everything that can be done.")
class Mutation(
    SessionsMutation,
    MembersMutation,
    SupportMutation,
    GhlAccountsMutation,
    GhlLocationsMutation,
    SyncsMutation,
    ContactsMutation,
    JobsMutation,
    JobExportsMutation,
    JobRecoveryMutation,
    JobSettingsMutation,
    JobQueueMutation,
    BulkJobsMutation,
    NotificationsMutation,
    WebhooksMutation,
    WorkflowsMutation,
    SchedulesMutation,
):
    pass


@strawberry.type(description="Everything that can be watched.")
class Subscription(
    JobsSubscription,
    JobSummarySubscription,
    JobQueueSubscription,
    NotificationsSubscription,
    GhlAccountsSubscription,
):
    pass


schema = strawberry.Schema(
    Query,
    Mutation,
    Subscription,
    types=[
        File,
        CountChangedError,
        GenericError,
        InvalidCronError,
        JobNotRecoverableError,
        RateLimitedError,
        SyncAlreadyRunningError,
        ReauthorizationRequiredError,
        StaleVersionError,
    ],
    execution_context_class=LeafExecutor,
    config=StrawberryConfig(auto_camel_case=True, scalar_map=SCALARS),
)


def sdl() -> str:
    """The schema as text, sorted by nothing but its own order."""
    return print_schema(schema) + "\n"
