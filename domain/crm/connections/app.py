"""GoHighLevel as this deployment reaches it: its marketplace app, and tokens that are kept alive by themselves."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from db.models.crm.connections import Connection, ConnectionStatus, Location
from domain import actor as actors
from domain.actor import Actor
from domain.crm.connections.lapses import lapse
from domain.errors import NotFound, VendorUnauthorized
from domain.tenancy.vault import Vault
from domain.unit import Unit
from domain.vendors.gohighlevel.answers import AccountSuspended
from domain.vendors.gohighlevel.client import GoHighLevel
from domain.vendors.gohighlevel.oauth import GrantRefused, OAuth, OAuthApp, TokenGrant
from domain.vendors.http import VendorHttp
from domain.vendors.limits import Limiter

OpenUnit = Callable[[Actor], AbstractAsyncContextManager[Unit]]

# Renewed a little early, so that a token does not end between the check and the vendor's clock.
_EARLY = timedelta(minutes=2)


class ReauthorizationRequired(VendorUnauthorized):
    """GoHighLevel no longer accepts what was stored; somebody must connect again."""

    code = "GHL-001"

    def __init__(self, message: str, *, connection_id: UUID) -> None:
        super().__init__(message)
        self.connection_id = connection_id
        self.waiting_for = waits_for(connection_id)


class LocationNotFound(NotFound):
    """There is no such sub-account, or its agency is disconnected."""

    code = "GHL-002"


def waits_for(connection_id: UUID) -> str:
    """The key under which jobs wait for a connection to be authorised again."""
    return f"connection:{connection_id}"


@dataclass(frozen=True, slots=True)
class GhlApp:
    """What it takes to speak to GoHighLevel for any account."""

    http: VendorHttp
    oauth: OAuth
    registration: OAuthApp
    limiter: Limiter
    vault: Vault
    open_unit: OpenUnit
    redirect_uri: str
    turns: dict[UUID, asyncio.Lock] = field(default_factory=dict)
    renewals: set[asyncio.Task[str]] = field(default_factory=set)

    async def settle(self) -> None:
        """Wait for refreshes that are under way; what they spent must not be lost."""
        await asyncio.gather(*self.renewals, return_exceptions=True)

    def agency(self, account_id: UUID, connection: Connection) -> GoHighLevel:
        """A client with the agency's own token, for what concerns the agency."""
        tokens = AgencyTokens(self, account_id, connection.id)
        return self._client(tokens, connection.company_id)

    def location(self, account_id: UUID, location: Location) -> GoHighLevel:
        """A client with the location's token."""
        tokens = LocationTokens(self, account_id, location.id)
        return self._client(tokens, location.external_id)

    def _client(self, tokens: "AgencyTokens | LocationTokens", resource_id: str) -> GoHighLevel:
        return GoHighLevel(
            self.http, base_url=self.registration.api_url, limiter=self.limiter, tokens=tokens, resource_id=resource_id
        )


@dataclass(frozen=True, slots=True)
class AgencyTokens:
    """The agency's access token. A refresh token is good for one use, so refreshing holds a lock on the connection's row and
    stores the successor in the same transaction: the one case in which a vendor is called inside one.
    """

    app: GhlApp
    account_id: UUID
    connection_id: UUID

    async def access_token(self, *, rejected: str | None = None) -> str:
        """A token that is good for some minutes, and is not `rejected`. Raises ReauthorizationRequired, AccountSuspended."""
        actor = actors.system(self.account_id)
        async with self.app.open_unit(actor) as unit:
            token = await self._stored(unit, rejected=rejected, lock=False)
        if token is not None:
            return token
        # In turn within this process, so that waiters hold no database connection; and in a task of its own, so that whoever
        # asked may go away without the successor of the spent refresh token being lost.
        async with self.app.turns.setdefault(self.connection_id, asyncio.Lock()):
            task = asyncio.create_task(self._renew(actor, rejected))
            self.app.renewals.add(task)
            task.add_done_callback(self.app.renewals.discard)
            return await asyncio.shield(task)

    async def _renew(self, actor: Actor, rejected: str | None) -> str:
        refused: GrantRefused | AccountSuspended | None = None
        async with self.app.open_unit(actor) as unit:
            token = await self._stored(unit, rejected=rejected, lock=True)
            if token is not None:  # another process refreshed while this one waited for the lock
                return token
            connection = await self._connection(unit, lock=True)
            try:
                return await self._refresh(unit, connection)
            except (GrantRefused, AccountSuspended) as error:
                if isinstance(error, AccountSuspended):
                    connection.status = ConnectionStatus.SUSPENDED
                else:
                    await lapse(unit, connection)
                connection.version += 1
                unit.changed("connection", connection.id)
                refused = error
        if isinstance(refused, AccountSuspended):
            raise refused
        raise self._unauthorized(f"GoHighLevel ended the authorisation: {refused.message}")

    async def _stored(self, unit: Unit, *, rejected: str | None, lock: bool) -> str | None:
        connection = await self._connection(unit, lock=lock)
        if connection.access_token is None or connection.access_expires_at is None:
            raise self._unauthorized("This agency is not connected any more.")
        if connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED:
            raise self._unauthorized("This agency must be connected again.")
        if connection.access_expires_at < datetime.now(UTC) + _EARLY:
            return None
        token = await self.app.vault.unseal(unit, connection.access_token, purpose="connection.access")
        return None if token == rejected else token

    async def _refresh(self, unit: Unit, connection: Connection) -> str:
        if connection.refresh_token is None:
            raise GrantRefused("there is no refresh token", reason="invalid_refresh_token")
        spent = await self.app.vault.unseal(unit, connection.refresh_token, purpose="connection.refresh")
        grant = await self.app.oauth.refresh(refresh_token=spent, user_type=connection.user_type)
        await store_grant(self.app.vault, unit, connection, grant)
        return grant.access_token

    async def _connection(self, unit: Unit, *, lock: bool) -> Connection:
        query = sa.select(Connection).where(Connection.id == self.connection_id)
        query = query.with_for_update(key_share=True) if lock else query
        connection = (await unit.session.scalars(query.execution_options(populate_existing=True))).one_or_none()
        if connection is None:
            raise LocationNotFound("This agency is not connected.")
        return connection

    def _unauthorized(self, message: str) -> ReauthorizationRequired:
        return ReauthorizationRequired(message, connection_id=self.connection_id)


@dataclass(frozen=True, slots=True)
class LocationTokens:
    """A location's access token, made from its agency's token and made anew when it ends."""

    app: GhlApp
    account_id: UUID
    location_id: UUID

    async def access_token(self, *, rejected: str | None = None) -> str:
        """A token that is not `rejected`. Raises ReauthorizationRequired, AccountSuspended, LocationNotFound, VendorFailed."""
        actor = actors.system(self.account_id)
        async with self.app.open_unit(actor) as unit:
            location, connection = await self._rows(unit)
            token = await self._stored(unit, location, rejected=rejected)
        if token is not None:
            return token
        agency = AgencyTokens(self.app, self.account_id, connection.id)
        if connection.user_type == "Location":
            return await agency.access_token(rejected=rejected)
        grant = await self._exchange(agency, connection, location)
        async with self.app.open_unit(actor) as unit:
            sealed = await self.app.vault.seal(unit, grant.access_token, purpose="location.access")
            values = {"access_token": sealed, "access_expires_at": grant.expires_at}
            connected = sa.select(Connection.id).where(Connection.status == ConnectionStatus.ACTIVE)
            mine = sa.update(Location).where(Location.id == location.id, Location.connection_id.in_(connected))
            await unit.session.execute(mine.values(values).execution_options(synchronize_session=False))
        return grant.access_token

    async def _exchange(self, agency: AgencyTokens, connection: Connection, location: Location) -> TokenGrant:
        ids = {"company_id": connection.company_id, "location_id": location.external_id}
        token = await agency.access_token()
        try:
            return await self.app.oauth.location_token(company_token=token, **ids)
        except VendorUnauthorized:
            renewed = await agency.access_token(rejected=token)
            return await self.app.oauth.location_token(company_token=renewed, **ids)

    async def _stored(self, unit: Unit, location: Location, *, rejected: str | None) -> str | None:
        if location.access_token is None or location.access_expires_at is None:
            return None
        if location.access_expires_at < datetime.now(UTC) + _EARLY:
            return None
        token = await self.app.vault.unseal(unit, location.access_token, purpose="location.access")
        return None if token == rejected else token

    async def _rows(self, unit: Unit) -> tuple[Location, Connection]:
        query = sa.select(Location, Connection).join(Connection, Connection.id == Location.connection_id)
        row = (await unit.session.execute(query.where(Location.id == self.location_id))).one_or_none()
        if row is None:
            raise LocationNotFound("There is no such sub-account.")
        location, connection = row
        if connection.status is ConnectionStatus.DISCONNECTED:
            raise LocationNotFound("This sub-account's agency is disconnected.")
        if connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED:
            raise ReauthorizationRequired("This agency must be connected again.", connection_id=connection.id)
        return location, connection


async def store_grant(vault: Vault, unit: Unit, connection: Connection, grant: TokenGrant) -> None:
    """Keep a grant, sealed; the caller's unit commits it."""
    connection.access_token = await vault.seal(unit, grant.access_token, purpose="connection.access")
    connection.refresh_token = (
        None if grant.refresh_token is None else await vault.seal(unit, grant.refresh_token, purpose="connection.refresh")
    )
    connection.access_expires_at = grant.expires_at
    connection.user_type = grant.user_type
    connection.scopes = sorted(grant.scopes)
    connection.status = ConnectionStatus.ACTIVE
    connection.version += 1
    unit.changed("connection", connection.id)
