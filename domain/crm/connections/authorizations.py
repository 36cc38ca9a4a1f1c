"""Connecting an agency by OAuth: out to the vendor's consent page, and back with a code or a refusal."""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
import structlog

from db.base import new_id
from db.models.crm.connections import Authorization, AuthorizationOutcome, Connection
from db.session import Database
from domain import actor as actors
from domain.actor import Actor, Scope
from domain.crm.connections import directory
from domain.crm.connections.app import GhlApp, store_grant, waits_for
from domain.errors import Conflict, Forbidden, Invalid, NotFound, VendorBusy, VendorDown, VendorFailed
from domain.jobs import commands as jobs
from domain.unit import Unit
from domain.vendors.gohighlevel.answers import AccountSuspended
from domain.vendors.gohighlevel.oauth import SCOPES, TokenGrant

log = structlog.get_logger(__name__)

LIFETIME = timedelta(minutes=10)
_TRIES = (0.3, 1.0)  # seconds between tries of the code exchange
_REFUSALS = {
    "access_denied": "The access was declined at GoHighLevel. Nothing was connected; you can try again at any time.",
}


class AuthorizationExpired(Invalid):
    """The visit to the consent page took longer than ten minutes, or its code is spent: start again."""

    code = "GHL-010"


class AuthorizationDenied(Forbidden):
    """The user declined at the vendor."""

    code = "GHL-011"


@dataclass(frozen=True, slots=True)
class Started:
    """Where to send the browser. `existing` are agencies connected already: choosing one of them updates it."""

    url: str
    state: str
    expires_at: datetime
    scopes: Mapping[str, str]
    existing: list[Connection]


@dataclass(frozen=True, slots=True)
class Completed:
    """The connected agency; `is_update` when it was connected before.

    `location_count` is how many sub-accounts it has, None where they could not be listed.
    """

    connection: Connection
    is_update: bool
    location_count: int | None

    @property
    def notice(self) -> str | None:
        """What the user should know."""
        if self.location_count is None:
            return "It is connected, but its sub-accounts could not be listed; refresh the list in a moment."
        if self.location_count == 0:
            return "This agency has no sub-accounts yet. It is connected; refresh the list when there are some."
        return None


async def start(unit: Unit, app: GhlApp, *, connection_id: UUID | None = None) -> Started:
    """Begin to connect an agency, or with `connection_id` to authorise that one again. Raises Forbidden, NotFound."""
    unit.require(Scope.CONNECTIONS_WRITE)
    existing = list((await unit.session.scalars(sa.select(Connection).order_by(Connection.id))).all())
    if connection_id is not None and connection_id not in {connection.id for connection in existing}:
        raise NotFound("There is no such connection.")
    state = secrets.token_urlsafe(32)
    expires_at = datetime.now(UTC) + LIFETIME
    begun = Authorization(
        id=new_id(),
        account_id=unit.account_id,
        state_hash=_digest(state),
        user_id=unit.actor.id,
        connection_id=connection_id,
        expires_at=expires_at,
    )
    unit.session.add(begun)
    unit.audit("connection.authorize", subject_type="authorization", subject_id=begun.id)
    url = app.oauth.authorize_url(redirect_uri=app.redirect_uri, state=state)
    return Started(url, state, expires_at, SCOPES, existing)


async def complete(
    database: Database, app: GhlApp, *, state: str, code: str | None, error: str | None, actor: Actor | None
) -> Completed:
    """Finish what `start` began. `actor` is whoever brings the answer, and must be who started; None for the plain callback.

    Raises AuthorizationDenied, AuthorizationExpired, NotFound for an unknown state, Conflict when it was finished before,
    AccountSuspended, VendorDown (the same answer may be brought again), GrantRefused.
    """
    account_id = await _account_of(database, state)
    system = actors.system(account_id) if actor is None else actor
    async with app.open_unit(system) as unit:
        begun = await _claim(unit, state, actor)
    try:
        grant = await _exchange(app, begun, code=code, error=error)
    except (VendorDown, VendorBusy):
        await _finish(app, system, begun, AuthorizationOutcome.PENDING, "GoHighLevel could not be reached; try again.")
        raise
    except AuthorizationDenied as denied:
        await _finish(app, system, begun, AuthorizationOutcome.DENIED, denied.message)
        raise
    except (AuthorizationExpired, VendorFailed, Invalid) as failed:
        expired = isinstance(failed, AuthorizationExpired)
        outcome = AuthorizationOutcome.EXPIRED if expired else AuthorizationOutcome.FAILED
        await _finish(app, system, begun, outcome, failed.message)
        raise
    # The code is spent: from here on nothing may lose the grant. The list of sub-accounts can be fetched again at any time.
    found = await _read_directory(app, grant)
    try:
        return await _connect(app, system, begun, grant, found)
    except Conflict as conflict:
        await _finish(app, system, begun, AuthorizationOutcome.FAILED, conflict.message)
        raise


async def _read_directory(app: GhlApp, grant: TokenGrant) -> directory.Found | None:
    for pause in (*_TRIES, None):
        try:
            return await directory.read(app, grant)
        except AccountSuspended:
            return None
        except VendorFailed as error:
            log.warning("connection.directory_unread", error=error.message)
            if pause is None:
                return None
            await asyncio.sleep(pause)
    return None


async def _account_of(database: Database, state: str) -> UUID:
    async with database.system_across_accounts() as session:
        query = sa.select(Authorization.account_id).where(Authorization.state_hash == _digest(state))
        account_id = (await session.scalars(query)).one_or_none()
    if account_id is None:
        raise NotFound("This authorization was not started here.", field=("state",))
    return account_id


async def _claim(unit: Unit, state: str, actor: Actor | None) -> Authorization:
    """Mark it as being finished, so that a callback that comes twice spends the code once."""
    mine = sa.update(Authorization).where(Authorization.state_hash == _digest(state))
    stale = Authorization.claimed_at < sa.func.now() - timedelta(minutes=5)
    free = sa.and_(Authorization.outcome == AuthorizationOutcome.PENDING, sa.or_(Authorization.claimed_at.is_(None), stale))
    claimed = mine.where(free).values(claimed_at=sa.func.now()).returning(Authorization)
    begun = (await unit.session.scalars(claimed)).one_or_none()
    if begun is None:
        seen = (
            await unit.session.scalars(sa.select(Authorization).where(Authorization.state_hash == _digest(state)))
        ).one_or_none()
        if seen is None:
            raise NotFound("This authorization was not started here.", field=("state",))
        raise Conflict(seen.message or "This authorization was finished already.", field=("state",))
    if actor is not None and begun.user_id != actor.id:
        raise Forbidden("Somebody else started this authorization.")
    return begun


async def _exchange(app: GhlApp, begun: Authorization, *, code: str | None, error: str | None) -> TokenGrant:
    if error is not None:
        known = _REFUSALS.get(error, "GoHighLevel refused the authorization. Nothing was connected; try again.")
        raise AuthorizationDenied(known)
    if not code:
        raise Invalid("GoHighLevel sent neither a code nor an error.", field=("code",))
    if begun.expires_at < datetime.now(UTC):
        raise AuthorizationExpired("The authorization took longer than ten minutes; start again.")
    for pause in _TRIES:
        try:
            return await app.oauth.exchange_code(code=code, redirect_uri=app.redirect_uri)
        except VendorDown:
            await asyncio.sleep(pause)
    return await app.oauth.exchange_code(code=code, redirect_uri=app.redirect_uri)


async def _connect(
    app: GhlApp, actor: Actor, begun: Authorization, grant: TokenGrant, found: directory.Found | None
) -> Completed:
    async with app.open_unit(actor) as unit:
        query = sa.select(Connection).where(Connection.company_id == grant.company_id).with_for_update()
        connection = (await unit.session.scalars(query)).one_or_none()
        is_update = connection is not None
        if connection is not None and connection.user_type == "Company" and grant.user_type == "Location":
            raise Conflict("This agency is connected as a whole; a single sub-account of it need not be connected.")
        if connection is None:
            connection = Connection(
                id=new_id(),  # hints name it before it is written
                account_id=unit.account_id,
                company_id=grant.company_id,
                name=grant.company_id,
                user_type=grant.user_type,
                scopes=[],
                version=0,
            )
            unit.session.add(connection)
        if found is not None:
            connection.name = found.name
        connection.connected_by = begun.user_id
        connection.connected_at = sa.func.now()
        connection.disconnected_at = None
        await store_grant(app.vault, unit, connection, grant)
        await unit.session.flush()
        if found is not None:
            await directory.store(unit, connection, found, is_whole=grant.location_id is None)
        await jobs.wake(unit, waiting_for=waits_for(connection.id))
        outcome = AuthorizationOutcome.UPDATED if is_update else AuthorizationOutcome.CONNECTED
        await _record(unit, begun, outcome, message=None, connection_id=connection.id)
        unit.audit(
            "connection.update" if is_update else "connection.create",
            subject_type="connection",
            subject_id=connection.id,
            company=grant.company_id,
            scopes=connection.scopes,
        )
        await unit.session.flush()
        await unit.session.refresh(connection)
    return Completed(connection, is_update, None if found is None else len(found.locations))


async def _finish(app: GhlApp, actor: Actor, begun: Authorization, outcome: AuthorizationOutcome, message: str) -> None:
    async with app.open_unit(actor) as unit:
        await _record(unit, begun, outcome, message=message, connection_id=begun.connection_id)
        if outcome is not AuthorizationOutcome.PENDING:
            unit.audit("connection.authorization_failed", subject_type="authorization", subject_id=begun.id, outcome=outcome)


async def _record(
    unit: Unit, begun: Authorization, outcome: AuthorizationOutcome, *, message: str | None, connection_id: UUID | None
) -> None:
    over = outcome is not AuthorizationOutcome.PENDING
    values = {
        "outcome": outcome,
        "message": message,
        "connection_id": connection_id,
        "claimed_at": sa.func.now() if over else None,
        "finished_at": sa.func.now() if over else None,
    }
    mine = sa.update(Authorization).where(Authorization.id == begun.id, Authorization.outcome == AuthorizationOutcome.PENDING)
    await unit.session.execute(mine.values(values).execution_options(synchronize_session=False))


def _digest(state: str) -> bytes:
    return hashlib.sha256(state.encode()).digest()
