"""What a resolver has at hand: who asks, units, loaders. One lives as long as one operation, or one event of a subscription."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import strawberry
import structlog
from graphql import FieldNode, FragmentDefinitionNode, FragmentSpreadNode, InlineFragmentNode
from starlette.requests import HTTPConnection
from strawberry.dataloader import DataLoader

from db.models.tenancy import ActorType
from domain.actor import Actor
from domain.errors import DomainError, Unauthenticated
from domain.runtime import Runtime
from domain.tenancy import credentials
from domain.tenancy.credentials import Credential
from domain.tenancy.sessions import Device
from domain.unit import Unit
from graph import ids

_CHECK_AGAIN = 1.0  # seconds

log = structlog.get_logger(__name__)
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
    _prepared: dict[Load, dict[Any, Any]] = field(default_factory=dict)

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
                if await self._is_refused(self.authenticate):
                    return

    async def _is_refused(self, authenticate: Callable[[], Awaitable[object]]) -> bool:
        """Asked until it is answered: while the database is away nobody can know, and nobody is signed out for that."""
        while True:
            try:
                await authenticate()
            except DomainError:
                return True
            except Exception as error:  # noqa: BLE001 -- drivers say in many ways that a server is away
                log.warning("credential.unchecked", error=str(error), kind=type(error).__name__)
                await asyncio.sleep(_CHECK_AGAIN)
            else:
                return False

    @property
    def person(self) -> Hashable:
        """The user or key that asks."""
        return None if self.credential is None else (self.credential.actor.type, self.credential.actor.id)

    def for_feed(self, *, personal: bool = False) -> "Context":
        """The same rights without the person: what a subscription shows must not depend on who exactly watches.

        A `personal` one is shared by one person's devices, and keeps who that is.
        """
        if self.credential is None:
            return Context(self.runtime, None, self.request_id, self.device)
        if personal:
            person = replace(self.credential.actor, session_id=None, ip=None)
            return Context(self.runtime, Credential(person, None), self.request_id, Device())
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

    async def prepare(self, load: Load, unit: Unit, keys: list[Any]) -> None:
        """Load at once, in the list's own unit, what a field of its rows will ask for; that field then finds it `prepared`.

        A loader does as much in one statement, but every row waits for it by itself, which costs more than the rest of the row.
        """
        self._prepared.setdefault(load, {}).update(zip(keys, await load(unit, keys), strict=True))

    def prepared(self, load: Load, key: Any) -> Any:
        """What `prepare` loaded for `key`; None where it was not asked to."""
        return self._prepared.get(load, {}).get(key)

    async def close(self) -> None:
        """Nothing outlives its unit."""


Info: TypeAlias = strawberry.Info[Context, None]


def selects(info: Info, name: str) -> bool:
    """Whether the field being resolved is asked for `name`, at any depth below it."""
    resolving = info._raw_info  # noqa: SLF001 - `selected_fields` copies the whole selection first

    def within(node: FieldNode | InlineFragmentNode | FragmentDefinitionNode) -> bool:
        for child in node.selection_set.selections if node.selection_set else ():
            if isinstance(child, FieldNode) and child.name.value == name:
                return True
            inner = resolving.fragments[child.name.value] if isinstance(child, FragmentSpreadNode) else child
            if isinstance(inner, FieldNode | InlineFragmentNode | FragmentDefinitionNode) and within(inner):
                return True
        return False

    return any(within(node) for node in resolving.field_nodes)


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
        device = Device(connection.headers.get("user-agent"), ip, request_id)

        async def authenticate(*, on_record: bool = False) -> Credential | None:
            return await _credential(runtime, authorization, account, device, on_record=on_record)

        return Context(runtime, await authenticate(on_record=True), request_id, device, authenticate)

    return build


async def _credential(
    runtime: Runtime, authorization: str | None, account: str | None, device: Device, *, on_record: bool
) -> Credential | None:
    if not authorization:
        return None
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("The header must be `Authorization: Bearer TOKEN`.")
    wanted: UUID | None = None
    if account:
        wanted = ids.read("account", account, field="account")
    return await credentials.authenticate(
        runtime.database,
        runtime.settings,
        token=token.strip(),
        account=wanted,
        request_id=device.request_id,
        ip=device.ip,
        on_record=on_record,
    )
