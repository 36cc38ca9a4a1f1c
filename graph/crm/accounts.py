"""Connected GoHighLevel agencies."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from db.models.crm import connections as models
from domain.crm.connections import authorizations, commands
from domain.crm.connections.feeds import ConnectionFeed
from domain.crm.contacts import queries
from domain.vendors.gohighlevel.oauth import SCOPES
from graph import ids
from graph.about import about, optional, resolved, shown, watched
from graph.context import Info
from graph.crm.locations import GhlLocation
from graph.enums import ConnectionStatus
from graph.node import Node, global_id, loads, stands_for
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.user_errors import Payload, mutation

if TYPE_CHECKING:
    pass

loads("ghlaccount", queries.connections_by_ids)


@strawberry.type(description="A permission that GoHighLevel is asked for.")
class GhlScope:
    name: str = about("GoHighLevel's name of it, such as contacts.readonly.")
    description: str = about("What the product needs it for, in words for a user.")


@strawberry.type(description="The last test of a connection.")
class GhlConnectionTest:
    ok: bool = about("Whether everything that the product needs works.")
    checked_at: datetime = about("UTC.")
    latency_ms: int = about("How long the whole test took.")
    failures: list[str] = about("A sentence for each thing that does not work; empty when all does.")


@strawberry.type(description="A GoHighLevel agency that was connected by OAuth.")
class GhlAccount(Node):
    id: strawberry.ID = global_id("ghlaccount")
    company_id: str = about("GoHighLevel's id of the agency.")
    name: str = about("As GoHighLevel has it.")
    status: ConnectionStatus = about("Whether its data can be reached, and if not, why.")
    granted_scopes: list[str] = strawberry.field(
        name="grantedScopes", resolver=lambda root: root.scopes, description="Granted."
    )
    connected_at: datetime = about("When it was last authorised. UTC.")
    disconnected_at: datetime | None = about("When it was disconnected; null while it is connected. UTC.")
    access_expires_at: datetime | None = about("When the current token ends; it is renewed by itself. UTC.")
    version: int = about("Rises with every change.")

    is_type_of = stands_for(models.Connection)

    @resolved("Permissions that the product needs and was not given.")
    def missing_scopes(root: strawberry.Parent[models.Connection]) -> list[GhlScope]:
        """Connect again and allow them."""
        return [GhlScope(name=name, description=text) for name, text in SCOPES.items() if name not in root.scopes]

    @resolved("The last test; null before the first one.")
    def last_test(root: strawberry.Parent[models.Connection]) -> GhlConnectionTest | None:
        """Of `testGhlAccount`."""
        if root.tested_at is None:
            return None
        failures = root.test_failures or []
        return GhlConnectionTest(
            ok=not failures, checked_at=root.tested_at, latency_ms=root.test_latency_ms or 0, failures=failures
        )

    @resolved("Its sub-accounts by name.", Connection[GhlLocation] | None)
    async def locations(
        root: strawberry.Parent[models.Connection],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """Removed ones too."""
        async with info.context.unit() as unit:
            page = await queries.locations_page(unit, connection_id=root.id, window=window(first, after, last, before))
        return Listing(page)


@strawberry.input(description="What to connect.")
class StartGhlAuthorizationInput:
    account_id: strawberry.ID | None = optional("An agency to authorise again; without it any may be chosen at GoHighLevel.")


@strawberry.type(description="Where to send the browser.")
class StartGhlAuthorizationPayload(Payload):
    authorization_url: str | None = optional("GoHighLevel's consent page. It leads back to the callback.")
    state: str | None = optional("Comes back with the answer; for completeGhlAuthorization.")
    expires_at: datetime | None = optional("Until when the answer is taken. UTC.")
    requested_scopes: list[GhlScope] = strawberry.field(default_factory=list, description="What the user will be asked for.")
    existing_accounts: list[GhlAccount] = strawberry.field(
        default_factory=list, description="Agencies connected already: choosing one of them updates it."
    )


@strawberry.input(description="What GoHighLevel's redirect brought.")
class CompleteGhlAuthorizationInput:
    state: str = about("From the query string, unchanged.")
    code: str | None = optional("From the query string, if the user allowed it.")
    error: str | None = optional("From the query string, if not.")


@strawberry.type(description="What came of a change to a connected agency.")
class GhlAccountPayload(Payload):
    account: GhlAccount | None = optional("As it is now; null when nothing was done.")
    was_connected: bool = strawberry.field(default=False, description="Whether it was connected before, and was updated now.")
    notice: str | None = optional("Something that the user should know, such as that there are no sub-accounts.")


AccountId = Annotated[strawberry.ID, strawberry.argument(description="The connected agency.")]


@strawberry.input(description="Which agency.")
class GhlAccountInput:
    id: strawberry.ID = about("The agency.")


ChosenAccount = Annotated[GhlAccountInput, strawberry.argument(description="Which agency.")]


@strawberry.type
class GhlAccountsQuery:
    @resolved("Agencies that are or were connected, newest first. Needs connections:read.", Connection[GhlAccount] | None)
    async def ghl_accounts(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Listing:
        """Several may be connected."""
        async with info.context.unit() as unit:
            return Listing(await queries.connections_page(unit, window=window(first, after, last, before)))


@strawberry.type
class GhlAccountsSubscription:
    @watched("Watch an agency: how it is now, and again whenever it, a sub-account of it, or a sync's end changes that.")
    async def ghl_account_updated(self, info: Info, id: AccountId) -> AsyncGenerator[GhlAccount, None]:
        """Status, test, sub-accounts."""
        runtime = info.context.runtime
        connection_id = ids.read("ghlaccount", id, field="id")
        feed = ConnectionFeed(runtime.database, runtime.events, info.context.actor, connection_id)
        async for update in info.context.follow(feed):
            yield shown(update.connection)


@strawberry.type
class GhlAccountsMutation:
    @mutation("Begin to connect an agency: where to send the browser, and what it will be asked. Needs connections:write.")
    async def start_ghl_authorization(
        self,
        info: Info,
        input: Annotated[StartGhlAuthorizationInput | None, strawberry.argument(description="What to connect.")] = None,
    ) -> StartGhlAuthorizationPayload:
        chosen = input.account_id if input is not None else None
        connection_id = None if chosen is None else ids.read("ghlaccount", chosen, field="accountId")
        async with info.context.unit() as unit:
            started = await authorizations.start(unit, info.context.runtime.ghl, connection_id=connection_id)
        return StartGhlAuthorizationPayload(
            authorization_url=started.url,
            state=started.state,
            expires_at=started.expires_at,
            requested_scopes=[GhlScope(name=name, description=text) for name, text in started.scopes.items()],
            existing_accounts=shown(started.existing),
        )

    @mutation("Finish connecting with what GoHighLevel's redirect brought; by the user who began. The callback does the same.")
    async def complete_ghl_authorization(
        self, info: Info, input: Annotated[CompleteGhlAuthorizationInput, strawberry.argument(description="The answer.")]
    ) -> GhlAccountPayload:
        runtime = info.context.runtime
        done = await authorizations.complete(
            runtime.database,
            runtime.ghl,
            state=input.state,
            code=input.code,
            error=input.error,
            actor=info.context.actor,
        )
        return GhlAccountPayload(account=shown(done.connection), was_connected=done.is_update, notice=done.notice)

    @mutation("Try everything that the product needs of an agency, and keep the result. Needs connections:write.")
    async def test_ghl_account(self, info: Info, input: ChosenAccount) -> GhlAccountPayload:
        connection_id = ids.read("ghlaccount", input.id, field="id")
        connection = await commands.test(info.context.runtime.ghl, info.context.actor, connection_id=connection_id)
        return GhlAccountPayload(account=shown(connection))

    @mutation("Fetch an agency's list of sub-accounts anew. Needs connections:write.")
    async def refresh_ghl_locations(self, info: Info, input: ChosenAccount) -> GhlAccountPayload:
        connection_id = ids.read("ghlaccount", input.id, field="id")
        ghl, actor = info.context.runtime.ghl, info.context.actor
        connection = await commands.refresh_locations(ghl, actor, connection_id=connection_id)
        return GhlAccountPayload(account=shown(connection))

    @mutation("Forget an agency's tokens and cancel its syncs; contacts and history stay. Needs connections:write.")
    async def disconnect_ghl_account(self, info: Info, input: ChosenAccount) -> GhlAccountPayload:
        async with info.context.unit() as unit:
            connection = await commands.disconnect(unit, connection_id=ids.read("ghlaccount", input.id, field="id"))
        return GhlAccountPayload(account=shown(connection))
