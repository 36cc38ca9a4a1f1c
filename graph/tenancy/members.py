"""The account, its people and its API keys."""

from datetime import datetime
from typing import Annotated

import strawberry

from db.models import tenancy as models
from domain.tenancy import accounts, api_keys, lookups
from graph import ids
from graph.about import about, optional, resolved, shown
from graph.context import Info
from graph.enums import Role, Scope
from graph.node import Node, global_id, loads, stands_for
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.user_errors import Payload, mutation

loads("user", lookups.users)
loads("apikey", lookups.api_keys)


@strawberry.type(description="An agency: the owner of everything that its users and keys can see.")
class Account:
    id: strawberry.ID = global_id("account")
    name: str = about("The agency's name.")
    suspended_at: datetime | None = about("Since when its jobs wait for its subscription to be renewed. UTC.")
    created_at: datetime = about("UTC.")


@strawberry.type(description="A person who signs in.")
class User(Node):
    id: strawberry.ID = global_id("user")
    email: str = about("What the person signs in with; lower case.")
    name: str = about("As shown to others.")
    role: Role = about("What the person may do.")
    version: int = about("For `expectedVersion`; rises with every change.")
    created_at: datetime = about("UTC.")
    disabled_at: datetime | None = about("Since when the person is shut out; null while they are not. UTC.")

    is_type_of = stands_for(models.User)


@strawberry.type(
    description="A program's credential, sent as `Authorization: Bearer`. Its secret is shown once, when it is made."
)
class ApiKey(Node):
    id: strawberry.ID = global_id("apikey")
    name: str = about("What it is for.")
    prefix: str = about("How its secret begins, to tell keys apart.")
    scopes: list[str] = about("What it may do, as in the enum Scope with a colon: jobs:read.")
    created_at: datetime = about("UTC.")
    last_used_at: datetime | None = about("To the minute; null if never. UTC.")
    expires_at: datetime | None = about("From when it is refused; null: never by itself. UTC.")
    revoked_at: datetime | None = about("Since when it is refused; null while it is valid. UTC.")

    is_type_of = stands_for(models.ApiKey)


@strawberry.type(description="Who asks, with what rights.")
class Viewer:
    name: str = about("The user's or API key's name.")
    role: Role | None = about("Null for an API key.")
    scopes: list[Scope] = about("What the credential may do.")
    user: User | None = about("The signed-in user; null for an API key.")
    account: Account = about("The account that is acted in.")
    is_support: bool = about("Whether this is support staff, here by the account's grant.")


@strawberry.input(description="A person to add to the account.")
class CreateUserInput:
    email: str = about("What the person will sign in with.")
    name: str = about("As shown to others.")
    role: Role = about("Not above your own; SUPPORT is not for customers' accounts.")
    password: str = about("12 characters or more.")


@strawberry.input(description="A change to a person; what is not given stays.")
class UpdateUserInput:
    id: strawberry.ID = about("The user.")
    expected_version: int = about("The version that the change is based on.")
    role: Role | None = optional("The new role.")
    disabled: bool | None = optional(
        "True shuts the person out at once, with the API keys they made; false lets the person in."
    )


@strawberry.type(description="What came of a change to a person.")
class UserPayload(Payload):
    user: User | None = optional("As it is now; null when nothing was done.")
    revoked_api_keys: list[ApiKey] = strawberry.field(
        default_factory=list, description="Of a person who was shut out: the keys that they had made, refused from now on."
    )


@strawberry.input(description="A key to make.")
class CreateApiKeyInput:
    name: str = about("What it is for.")
    scopes: list[Scope] = about("What it may do; no more than you may.")
    expires_at: datetime | None = optional("From when it is refused; null: never by itself.")


@strawberry.type(description="What came of a change to an API key.")
class ApiKeyPayload(Payload):
    api_key: ApiKey | None = optional("As it is now; null when nothing was done.")
    secret: str | None = optional("Of a new key. It is not shown again.")


@strawberry.input(description="An API key to refuse from now on.")
class RevokeApiKeyInput:
    id: strawberry.ID = about("The key.")


@strawberry.type
class MembersQuery:
    @resolved("Who asks, with what rights.", Viewer | None)
    async def viewer(self, info: Info) -> Viewer:
        """Of the credential."""
        actor = info.context.actor
        async with info.context.unit() as unit:
            account = await accounts.get_account(unit)
            user = await accounts.get_user(unit, actor.id) if actor.role is not None and actor.id is not None else None
        return Viewer(
            name=actor.name,
            role=actor.role,
            scopes=sorted(actor.scopes),
            user=shown(user),
            account=shown(account),
            is_support=actor.type is models.ActorType.SUPPORT,
        )

    @resolved("The account's people, newest first.", Connection[User] | None)
    async def users(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Listing:
        """Needs members:read."""
        async with info.context.unit() as unit:
            page = await accounts.users_page(unit, window=window(first, after, last, before))

        return Listing(page)

    @resolved("The account's API keys, newest first, revoked ones too.", Connection[ApiKey] | None)
    async def api_keys(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Listing:
        """Needs members:read."""
        async with info.context.unit() as unit:
            page = await api_keys.page(unit, window=window(first, after, last, before))

        return Listing(page)


@strawberry.type
class MembersMutation:
    @mutation("Add a person to the account. Needs members:write.")
    async def create_user(
        self, info: Info, input: Annotated[CreateUserInput, strawberry.argument(description="The person.")]
    ) -> UserPayload:
        async with info.context.unit() as unit:
            user = await accounts.create_user(
                unit, email=input.email, name=input.name, role=input.role, password=input.password
            )
        return UserPayload(user=shown(user))

    @mutation("Change a person's role, or shut them out: sessions and API keys of theirs end at once. Needs members:write.")
    async def update_user(
        self, info: Info, input: Annotated[UpdateUserInput, strawberry.argument(description="The change.")]
    ) -> UserPayload:
        async with info.context.unit() as unit:
            user, revoked = await accounts.update_user(
                unit,
                user_id=ids.read("user", input.id, field="id"),
                expected_version=input.expected_version,
                role=input.role,
                disabled=input.disabled,
            )
        return UserPayload(user=shown(user), revoked_api_keys=shown(revoked))

    @mutation("Make an API key. Its secret is in the answer, this once. Needs members:write.")
    async def create_api_key(
        self, info: Info, input: Annotated[CreateApiKeyInput, strawberry.argument(description="The key.")]
    ) -> ApiKeyPayload:
        async with info.context.unit() as unit:
            key, secret = await api_keys.create(
                unit, name=input.name, scopes=frozenset(input.scopes), expires_at=input.expires_at
            )
        return ApiKeyPayload(api_key=shown(key), secret=secret)

    @mutation("Refuse an API key from now on. Needs members:write.")
    async def revoke_api_key(
        self, info: Info, input: Annotated[RevokeApiKeyInput, strawberry.argument(description="Which key.")]
    ) -> ApiKeyPayload:
        async with info.context.unit() as unit:
            key = await api_keys.revoke(unit, key_id=ids.read("apikey", input.id, field="id"))
        return ApiKeyPayload(api_key=shown(key))
