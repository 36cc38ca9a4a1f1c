"""Which sub-accounts an agency has at GoHighLevel, and keeping our list of them like theirs."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db.base import new_id
from db.models.crm.connections import Connection, Location, LocationStatus
from db.models.crm.syncs import ConflictPolicy, SyncDirection
from domain.crm.connections.app import GhlApp
from domain.errors import VendorRefused
from domain.unit import Unit
from domain.vendors.gohighlevel.client import GoHighLevel
from domain.vendors.gohighlevel.oauth import TokenGrant
from domain.vendors.gohighlevel.wire import WireLocation


@dataclass(frozen=True, slots=True)
class Found:
    """The agency's name and its sub-accounts, as the vendor lists them."""

    name: str
    locations: list[WireLocation]


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A token that was granted a moment ago and is not stored yet."""

    token: str

    async def access_token(self, *, rejected: str | None = None) -> str:
        return self.token if rejected is None else rejected


async def read(app: GhlApp, grant: TokenGrant) -> Found:
    """Ask the vendor with a token that is not stored yet. Raises VendorFailed."""
    resource_id = grant.location_id or grant.company_id
    client = GoHighLevel(
        app.http,
        base_url=app.registration.api_url,
        limiter=app.limiter,
        tokens=_Fresh(grant.access_token),
        resource_id=resource_id,
    )
    if grant.location_id is not None:
        location = await client.location(grant.location_id)
        return Found(location.get("name") or grant.company_id, [location])
    return await list_locations(client, grant.company_id)


async def list_locations(client: GoHighLevel, company_id: str) -> Found:
    """The agency's name and all its sub-accounts. Raises VendorFailed."""
    locations = await client.locations(company_id)
    try:
        name = (await client.company(company_id)).get("name") or company_id
    except VendorRefused:  # the scope for it may have been withheld; a name is not worth failing for
        name = company_id
    return Found(name, locations)


async def store(unit: Unit, connection: Connection, found: Found, *, is_whole: bool = True) -> None:
    """Make the stored list like `found`: new ones are available, settings stay; of a whole list, what is missing is removed."""
    listed = {location["id"]: location for location in found.locations if location.get("id")}
    stored = sa.update(Location).where(Location.connection_id == connection.id)
    if is_whole:
        gone = stored.where(Location.external_id.not_in(listed)).values(status=LocationStatus.REMOVED)
        await unit.session.execute(gone.execution_options(synchronize_session=False))
    if not listed:
        return
    row = insert(Location)
    back = sa.case((Location.status == LocationStatus.REMOVED, LocationStatus.AVAILABLE.value), else_=Location.status)
    await unit.session.execute(
        row.on_conflict_do_update(
            index_elements=[Location.account_id, Location.connection_id, Location.external_id],
            set_={
                "name": row.excluded.name,
                "time_zone": row.excluded.time_zone,
                "status": back,
                # A token of the old authorisation may lack what the new one grants.
                "access_token": None,
            },
        ),
        [
            {
                "id": new_id(),
                "account_id": unit.account_id,
                "connection_id": connection.id,
                "external_id": external_id,
                "name": location.get("name") or external_id,
                "time_zone": location.get("timezone"),
                "status": LocationStatus.AVAILABLE,
                "only_tags": [],
                "direction": SyncDirection.GHL_TO_BB,
                "policy": ConflictPolicy.MOST_RECENT_WINS,
                "version": 1,
            }
            for external_id, location in listed.items()
        ],
    )
