"""What a resolver has at hand: who asks, units, loaders. One lives as long as one operation, or one event of a subscription."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import strawberry
from starlette.requests import HTTPConnection
from strawberry.dataloader import DataLoader

from db.models.tenancy import ActorType
from domain.actor import Actor
from domain.errors import DomainError, Unauthenticated
from domain.runtime import Runtime
from domain.tenancy import sessions
from domain.tenancy.sessions import Credential, Device
from domain.unit import Unit
from graph import ids

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

Load: TypeAlias = Callable[[Unit, list[Any]], Awaitable[Sequence[Any]]]


@dataclass(slots=True)
class Context:
    """The context of strawberry's `info`."""

    runtime: Runtime
    credential: Credential | None
    request_id: str
    device: Device
    authenticate: Callable[[], Awaitable[Credential | None]] | None = None
    live: Any = None
    _loaders: dict[Load, DataLoader[Any, Any]] = field(default_factory=dict)

    @property
    def actor(self) -> Actor:
        """Who asks. Raises Unauthenticated."""
        if self.credential is None:
            raise Unauthenticated("Sign in first: send `Authorization: Bearer TOKEN`.")
        return self.credential.actor

    @property
    def may_introspect(self) -> bool:
        """Whoever is signed in, unless the deployment forbids it."""
        return self.runtime.settings.introspection and self.credential is not None

    @property
    def expires_at(self) -> datetime | None:
        """When the credential ends."""
        return None if self.credential is None else self.credential.expires_at

    @property
    def scope(self) -> Hashable:
        """What decides which rows and fields are seen. The user's identity is none of it: see `for_feed`."""
        if self.credential is None:
            return None
        actor = self.credential.actor
        return actor.account_id, actor.scopes, actor.type is ActorType.SUPPORT

    async def revoked(self) -> None:
        """Return once the credential was revoked. A hint, or hints that may have been lost, make it be looked at again."""
        if self.credential is None or self.authenticate is None:
            await asyncio.Event().wait()
            return
        async with self.runtime.events.listen(self.credential.actor.account_id, self.credential.id) as mailbox:
            async for _ in mailbox:
                try:
                    await self.authenticate()
                except DomainError:
                    return

    def for_feed(self) -> "Context":
        """The same rights without the person: what a subscription shows must not depend on who exactly watches."""
        if self.credential is None:
            return Context(self.runtime, None, self.request_id, self.device)
        nobody = replace(self.credential.actor, id=None, name="subscription", session_id=None, ip=None)
        return Context(self.runtime, Credential(nobody, None), self.request_id, Device())

    def follow(self, feed: Any, *, after: Any = None) -> AsyncIterator[Any]:
        """What a subscription's resolver iterates over."""
        followed: AsyncIterator[Any] = self.live.follow(feed, after=after)
        return followed

    def unit(self) -> AbstractAsyncContextManager[Unit]:
        """One transaction as whoever asks."""
        return self.runtime.unit(self.actor)

    def loader(self, load: Load) -> DataLoader[Any, Any]:
        """Gathers the keys that sibling fields ask for into one call of `load`, in a unit of its own."""
        if load not in self._loaders:

            async def batch(keys: list[Any]) -> Sequence[Any]:
                async with self.unit() as unit:
                    return await load(unit, keys)

            self._loaders[load] = DataLoader(load_fn=batch)
        return self._loaders[load]

    async def close(self) -> None:
        """Nothing outlives its unit."""


Info: TypeAlias = strawberry.Info[Context, None]


def make_context(runtime: Runtime) -> Callable[[HTTPConnection, dict[str, Any] | None], Awaitable[Context]]:
    """How a request becomes a context: by `Authorization: Bearer`, or over WebSocket by the same key of connection_init.

    `X-Account` (or `account`) names another account, for support staff with its grant. Raises Unauthenticated, Forbidden.
    """

    async def build(connection: HTTPConnection, parameters: dict[str, Any] | None) -> Context:
        given = {name.lower(): value for name, value in (parameters or {}).items() if isinstance(value, str)}
        authorization = connection.headers.get("authorization") or given.get("authorization")
        account = connection.headers.get("x-account") or given.get("account") or given.get("x-account")
        request_id = connection.scope.get("state", {}).get("request_id", "-")
        ip = connection.client.host if connection.client else None
        device = Device(connection.headers.get("user-agent"), ip)

        async def authenticate() -> Credential | None:
            return await _credential(runtime, authorization, account, request_id=request_id, ip=ip)

        return Context(runtime, await authenticate(), request_id, device, authenticate)

    return build


async def _credential(
    runtime: Runtime, authorization: str | None, account: str | None, *, request_id: str, ip: str | None
) -> Credential | None:
    if not authorization:
        return None
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("The header must be `Authorization: Bearer TOKEN`.")
    wanted: UUID | None = None
    if account:
        wanted = ids.read("account", account, field="account")
    return await sessions.authenticate(
        runtime.database, runtime.settings, token=token.strip(), account=wanted, request_id=request_id, ip=ip
    )
