"""GoHighLevel's webhooks: kept before they are answered, applied by a job.

A webhook only says that something happened. What is true now is read from the vendor, so that late, doubled and reordered
webhooks lead to the same result.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db.models.crm.connections import Connection, ConnectionStatus, Location, LocationStatus, WebhookEvent
from db.models.jobs import Lane
from db.models.tenancy import ActorType
from db.session import Database
from domain.actor import Actor, Scope
from domain.crm.connections.app import GhlApp
from domain.jobs import commands as jobs
from domain.jobs.args import JobArgs
from domain.vendors.gohighlevel.webhooks import WebhookEvent as Received

VENDOR = "gohighlevel"
_MAX_ID = 300
CONTACT_CHANGED = frozenset({"ContactCreate", "ContactUpdate", "ContactTagUpdate", "ContactDndUpdate"})
CONTACT_DELETED = frozenset({"ContactDelete"})
UNINSTALLED = frozenset({"UNINSTALL"})
LOCATIONS_CHANGED = frozenset({"INSTALL", "LocationCreate", "LocationUpdate"})
HANDLED = CONTACT_CHANGED | CONTACT_DELETED | UNINSTALLED | LOCATIONS_CHANGED


@dataclass(frozen=True)
class ApplyWebhook(
    JobArgs,
    kind="crm.webhooks.apply",
    title="GoHighLevel webhook",
    lane=Lane.INTERACTIVE,
    timeout=600,
    seen_with=Scope.CONTACTS_READ,
    housekeeping=True,
):
    """Find out what a webhook is about, and make ours like it. `contact` is the vendor's id."""

    type: str
    connection_id: UUID
    location_id: str
    contact: str


async def receive(database: Database, app: GhlApp, event: Received) -> bool:
    """Take a verified webhook; False when it came before. It may concern several accounts, or none."""
    async with database.system_across_accounts() as session:
        known = sa.select(WebhookEvent.external_id).where(
            WebhookEvent.external_id == event.webhook_id, WebhookEvent.vendor == VENDOR
        )
        if (await session.scalars(known)).one_or_none() is not None:
            return False
        concerned = [] if event.type not in HANDLED else (await session.execute(_concerned(event))).all()
    for account_id, connection_id, location_id in concerned:
        actor = Actor(ActorType.VENDOR_WEBHOOK, account_id, "GoHighLevel", frozenset(Scope), request_id=event.webhook_id)
        args = ApplyWebhook(event.type, connection_id, str(location_id or ""), _contact_id(event.payload))
        async with app.open_unit(actor) as unit:
            key = f"webhook:{event.webhook_id}:{connection_id}"
            await jobs.enqueue(unit, args, location_id=location_id, dedupe_key=key, title=f"GoHighLevel: {event.type}")
    # Last, so that a crash before this leads to a second try and never to a lost event.
    async with database.system_across_accounts() as session:
        row = insert(WebhookEvent).values(external_id=event.webhook_id, vendor=VENDOR, type=event.type)
        await session.execute(row.on_conflict_do_nothing())
    return True


def _concerned(event: Received) -> "sa.Select[UUID, UUID, UUID | None]":
    """(account, connection, location or null) of everybody whom the event concerns."""
    live = Connection.status != ConnectionStatus.DISCONNECTED
    if event.location_id is not None and event.type in CONTACT_CHANGED | CONTACT_DELETED:
        query: sa.Select[UUID, UUID, UUID | None] = sa.select(Location.account_id, Location.connection_id, Location.id)
        query = query.join(Connection, Connection.id == Location.connection_id)
        return query.where(Location.external_id == event.location_id, Location.status == LocationStatus.ACTIVE, live)
    nowhere = sa.cast(sa.null(), sa.Uuid)
    query = sa.select(Connection.account_id, Connection.id, nowhere)
    return query.where(Connection.company_id == (event.company_id or ""), live)


def _contact_id(payload: dict[str, Any]) -> str:
    found = payload.get("id") or payload.get("contactId")
    return found[:_MAX_ID].replace("\x00", "") if isinstance(found, str) else ""
