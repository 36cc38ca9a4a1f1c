"""What is done with connected agencies and their locations."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.crm.connections import Connection, ConnectionStatus, Location, LocationStatus
from db.models.crm.syncs import ConflictPolicy, SyncDirection
from db.models.jobs import TERMINAL, Job, JobState
from domain import actor as actors
from domain.actor import Actor, Scope
from domain.crm.connections import directory
from domain.crm.connections.app import GhlApp, LocationNotFound, ReauthorizationRequired
from domain.crm.connections.lapses import lapse
from domain.errors import Conflict, Invalid, NotFound, VendorFailed, VendorUnauthorized
from domain.jobs import commands as jobs
from domain.jobs.lifecycle import Transition, transition
from domain.tenancy.accounts import StaleVersion
from domain.unit import Unit
from domain.vendors.gohighlevel.answers import AccountSuspended
from domain.vendors.gohighlevel.client import GoHighLevel
from domain.vendors.gohighlevel.oauth import SCOPES

_MAX_TAG, _MAX_TAGS = 200, 100


async def get(unit: Unit, connection_id: UUID, *, lock: bool = False) -> Connection:
    """A connected or formerly connected agency. Raises NotFound."""
    query = sa.select(Connection).where(Connection.id == connection_id)
    query = query.with_for_update() if lock else query
    connection = (await unit.session.scalars(query)).one_or_none()
    if connection is None:
        raise NotFound("There is no such connection.")
    return connection


async def test(app: GhlApp, actor: Actor, *, connection_id: UUID) -> Connection:
    """Try everything the product needs of the vendor, and keep what came of it: latency, and a line for each failure.

    Raises Forbidden, NotFound, Conflict when the agency is disconnected. The vendor's failures are results, not errors.
    """
    actor.require(Scope.CONNECTIONS_WRITE)
    async with app.open_unit(actor) as unit:
        connection = await get(unit, connection_id)
        if connection.status is ConnectionStatus.DISCONNECTED:
            raise Conflict("This agency is disconnected; connect it again first.")
        sample = (await unit.session.scalars(_sample_location(connection_id))).one_or_none()
        seen = connection.version
    started = time.perf_counter()
    failures, status = await _probe(app, actor, connection, sample)
    async with app.open_unit(actor) as unit:
        connection = await get(unit, connection_id, lock=True)
        connection.tested_at = sa.func.now()
        connection.test_latency_ms = round((time.perf_counter() - started) * 1000)
        connection.test_failures = failures
        if status is not None and connection.version == seen:  # else somebody knows better by now
            if status is ConnectionStatus.REAUTHORIZATION_REQUIRED:
                await lapse(unit, connection)
            connection.status = status
        connection.version += 1
        unit.audit("connection.test", subject_type="connection", subject_id=connection.id, failures=failures)
        unit.changed("connection", connection.id)
        await unit.session.flush()
        await unit.session.refresh(connection)
    return connection


async def refresh_locations(app: GhlApp, actor: Actor, *, connection_id: UUID) -> Connection:
    """Fetch the agency's list of sub-accounts anew. Raises Forbidden, NotFound, VendorFailed."""
    actor.require(Scope.CONNECTIONS_WRITE)
    async with app.open_unit(actor) as unit:
        connection = await get(unit, connection_id)
    if connection.user_type != "Location":
        found = await directory.list_locations(app.agency(actor.account_id, connection), connection.company_id)
        async with app.open_unit(actor) as unit:
            connection = await get(unit, connection_id, lock=True)
            connection.name = found.name
            connection.version += 1
            await directory.store(unit, connection, found)
            unit.audit("connection.refresh", subject_type="connection", subject_id=connection.id, found=len(found.locations))
            unit.changed("connection", connection.id)
    return connection


async def disconnect(unit: Unit, *, connection_id: UUID) -> Connection:
    """Forget the agency's tokens and cancel its syncs; contacts and history stay. Twice is harmless.

    Raises Forbidden, NotFound.
    """
    unit.require(Scope.CONNECTIONS_WRITE)
    connection = await get(unit, connection_id, lock=True)
    if connection.status is ConnectionStatus.DISCONNECTED:
        return connection
    connection.status = ConnectionStatus.DISCONNECTED
    connection.access_token = connection.refresh_token = connection.access_expires_at = None
    connection.disconnected_at = sa.func.now()
    connection.version += 1
    locations = sa.select(Location.id).where(Location.connection_id == connection.id)
    forget = sa.update(Location).where(Location.connection_id == connection.id).values(access_token=None)
    await unit.session.execute(forget.execution_options(synchronize_session=False))
    live = sa.select(Job.id).where(Job.location_id.in_(locations), Job.state.not_in(TERMINAL))
    for job_id in (await unit.session.scalars(live.order_by(Job.id))).all():
        await jobs.cancel_if_alive(unit, job_id=job_id)
    unit.audit("connection.disconnect", subject_type="connection", subject_id=connection.id, company=connection.company_id)
    unit.changed("connection", connection.id)
    await unit.session.flush()
    await unit.session.refresh(connection)
    return connection


async def update_location(
    unit: Unit,
    *,
    location_id: UUID,
    expected_version: int | None = None,
    active: bool | None = None,
    direction: SyncDirection | None = None,
    policy: ConflictPolicy | None = None,
    only_tags: Sequence[str] | None = None,
) -> Location:
    """Choose a location for syncing, or not, and how. None leaves a setting as it is. A run that goes on keeps its own.

    Raises Forbidden, LocationNotFound, StaleVersion, Conflict for a removed location.
    """
    unit.require(Scope.CONNECTIONS_WRITE)
    location = (
        await unit.session.scalars(sa.select(Location).where(Location.id == location_id).with_for_update())
    ).one_or_none()
    if location is None:
        raise LocationNotFound("There is no such sub-account.")
    if expected_version is not None and location.version != expected_version:
        raise StaleVersion("The sub-account was changed meanwhile.", field=("expectedVersion",), current=location)
    before = _settings_of(location)
    if active is not None:
        if location.status is LocationStatus.REMOVED:
            raise Conflict("GoHighLevel no longer lists this sub-account.")
        location.status = LocationStatus.ACTIVE if active else LocationStatus.AVAILABLE
    location.direction = direction or location.direction
    location.policy = policy or location.policy
    if only_tags is not None:
        location.only_tags = clean_tags(only_tags)
    location.version += 1
    unit.audit("location.update", subject_type="location", subject_id=location.id, before=before, **_settings_of(location))
    unit.changed("location", location.id)
    await unit.session.flush()
    return location


def _settings_of(location: Location) -> dict[str, Any]:
    names = ("status", "direction", "policy", "only_tags")
    return {name: getattr(location, name) for name in names}


def clean_tags(tags: Sequence[str]) -> list[str]:
    """Tags as GoHighLevel keeps them: trimmed, in lower case, each once."""
    cleaned = sorted({tag.strip().lower() for tag in tags if tag.strip()})
    if tags and not cleaned:
        raise Invalid("None of these is a tag; leave the list empty for all contacts.", field=("onlyTags",))
    if any(len(tag) > _MAX_TAG for tag in cleaned) or len(cleaned) > _MAX_TAGS:
        raise Invalid(f"At most {_MAX_TAGS} tags, each of at most {_MAX_TAG} characters.", field=("tags",))
    return cleaned


def _sample_location(connection_id: UUID) -> "sa.Select[Location]":
    query = sa.select(Location).where(Location.connection_id == connection_id, Location.status != LocationStatus.REMOVED)
    return query.order_by(Location.status != LocationStatus.ACTIVE, Location.id).limit(1)


async def _probe(
    app: GhlApp, actor: Actor, connection: Connection, sample: Location | None
) -> tuple[list[str], ConnectionStatus | None]:
    failures = [f"{scope} was not granted: {SCOPES[scope]}" for scope in SCOPES if scope not in connection.scopes]
    agency = app.agency(actor.account_id, connection)
    probes: list[tuple[str, Callable[[], Awaitable[object]]]] = []
    if connection.user_type != "Location":
        probes.append(("sub-accounts", lambda: agency.locations(connection.company_id)))
    if sample is not None:
        probes += _location_probes(app.location(actor.account_id, sample), sample.external_id)
    status: ConnectionStatus | None = ConnectionStatus.ACTIVE
    for name, probe in probes:
        try:
            await probe()
        except AccountSuspended as error:
            return [*failures, error.message], ConnectionStatus.SUSPENDED
        except VendorUnauthorized as error:
            return [*failures, error.message], ConnectionStatus.REAUTHORIZATION_REQUIRED
        except VendorFailed as error:
            failures.append(f"{name}: {error.message}")
            status = None
    return failures, status


def _location_probes(client: GoHighLevel, external_id: str) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
    return [
        ("contacts", lambda: client.search_contacts(external_id, page_limit=1)),
        ("custom fields", lambda: client.custom_fields(external_id)),
        ("tags", lambda: client.tags(external_id)),
        ("pipelines", lambda: client.pipelines(external_id)),
        ("calendars", lambda: client.calendars(external_id)),
        ("campaigns", lambda: client.campaigns(external_id)),
        ("workflows", lambda: client.workflows(external_id)),
    ]


async def wake_reauthorized(session: AsyncSession) -> list[Job]:
    """Repair: make jobs ready that began to wait for a connection just after it had been authorised again.

    Takes a session across accounts.
    """
    key = sa.func.concat("connection:", Connection.id)
    query = (
        sa.select(Job.id)
        .join(Connection, sa.and_(Connection.account_id == Job.account_id, Job.waiting_for == key))
        .where(Job.state == JobState.WAITING, Connection.status == ConnectionStatus.ACTIVE)
        .limit(jobs.WAKES)
        .with_for_update(of=Job, skip_locked=True)
    )
    ids = (await session.scalars(query)).all()
    return list(await transition(session, Transition(ids, frozenset({JobState.WAITING}), JobState.READY, values=jobs.WOKEN)))


@asynccontextmanager
async def reauthorizing(app: GhlApp, *, account_id: UUID, connection_id: UUID) -> AsyncIterator[None]:
    """Turn the vendor's final 401 into ReauthorizationRequired, for which a job can wait, and keep it on the connection."""
    try:
        yield
    except ReauthorizationRequired:
        raise
    except VendorUnauthorized as error:
        await require_reauthorization(app, account_id=account_id, connection_id=connection_id)
        raise ReauthorizationRequired(error.message, connection_id=connection_id) from error


async def require_reauthorization(app: GhlApp, *, account_id: UUID, connection_id: UUID) -> None:
    """Keep that the vendor refuses the stored tokens, so that everybody sees it and nobody tries again in vain."""
    async with app.open_unit(actors.system(account_id)) as unit:
        connection = await get(unit, connection_id, lock=True)
        if connection.status is ConnectionStatus.ACTIVE:
            await lapse(unit, connection)
            connection.version += 1
            unit.changed("connection", connection.id)
