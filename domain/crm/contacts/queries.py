"""Finding contacts, and the runs that brought them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa

from db.models.crm.connections import Connection, Location
from db.models.crm.contacts import Contact, ContactRef, ContactSource, ContactSyncState, CustomField
from db.models.crm.syncs import SyncRun
from domain.actor import Scope
from domain.lookups import by_ids
from domain.paging import Order, Page, Window, paginate
from domain.unit import Unit


class ContactOrder(StrEnum):
    """How contacts are sorted."""

    NEWEST = "newest"
    NAME = "name"


ORDERS: Mapping[ContactOrder, Order] = {
    ContactOrder.NEWEST: Order((Contact.created_at, Contact.id), descending=True),
    ContactOrder.NAME: Order((Contact.display_name, Contact.id)),
}
NEWEST_RUNS = Order((SyncRun.id,), descending=True)
NEWEST_CONNECTIONS = Order((Connection.id,), descending=True)
LOCATIONS_BY_NAME = Order((Location.name, Location.id))


@dataclass(frozen=True, slots=True)
class ContactFilter:
    """All that is given must hold. `text` is looked for in name, e-mail, telephone and company, in any case of letters."""

    text: str | None = None
    location_id: UUID | None = None
    email: str | None = None
    phone: str | None = None
    tags: Sequence[str] = ()
    source: ContactSource | None = None
    sync_states: Sequence[ContactSyncState] = ()
    custom_field: tuple[str, str] | None = None


def filtered(unit: Unit, wanted: ContactFilter) -> "sa.Select[Contact]":
    """The contacts that fit. Raises Forbidden."""
    unit.require(Scope.CONTACTS_READ)
    query = sa.select(Contact).where(Contact.account_id == unit.account_id)
    if wanted.location_id is not None:
        query = query.where(Contact.location_id == wanted.location_id)
    if wanted.email is not None:
        email = wanted.email.strip().lower()
        query = query.where(sa.or_(Contact.email == email, Contact.other_emails.contains([email])))
    if wanted.phone is not None:
        query = query.where(sa.or_(Contact.phone == wanted.phone, Contact.other_phones.contains([wanted.phone])))
    if wanted.tags:
        query = query.where(Contact.tags.contains([tag.strip().lower() for tag in wanted.tags]))
    if wanted.source is not None:
        query = query.where(Contact.source == wanted.source)
    if wanted.sync_states:
        query = query.where(Contact.sync_state.in_(wanted.sync_states))
    if wanted.custom_field is not None:
        key, value = wanted.custom_field
        query = query.where(Contact.custom_fields[key].astext == value)
    for word in (wanted.text or "").split()[:8]:
        searched = (Contact.display_name, Contact.email, Contact.phone, Contact.company)
        query = query.where(sa.or_(*(column.icontains(word, autoescape=True) for column in searched)))
    return query


async def contacts_page(unit: Unit, *, wanted: ContactFilter, order: ContactOrder, window: Window) -> Page[Contact]:
    """One page of contacts."""
    return await paginate(unit.session, filtered(unit, wanted), order=ORDERS[order], window=window)


async def refs_of(unit: Unit, contact_ids: Collection[UUID]) -> list[ContactRef]:
    """The contacts' counterparts at the vendor, the primary one first."""
    query = sa.select(ContactRef).where(ContactRef.contact_id.in_(contact_ids))
    return list((await unit.session.scalars(query.order_by(ContactRef.is_primary.desc(), ContactRef.external_id))).all())


async def custom_fields_of(unit: Unit, location_ids: Collection[UUID]) -> list[CustomField]:
    """The definitions of custom fields of some locations, by name."""
    query = sa.select(CustomField).where(CustomField.location_id.in_(location_ids))
    return list((await unit.session.scalars(query.order_by(CustomField.name))).all())


async def runs_page(unit: Unit, *, location_id: UUID | None, window: Window) -> Page[SyncRun]:
    """The history of syncs, newest first."""
    unit.require(Scope.CONTACTS_READ)
    query = sa.select(SyncRun) if location_id is None else sa.select(SyncRun).where(SyncRun.location_id == location_id)
    return await paginate(unit.session, query, order=NEWEST_RUNS, window=window)


async def connections_page(unit: Unit, *, window: Window) -> Page[Connection]:
    """The agencies that are or were connected, newest first."""
    unit.require(Scope.CONNECTIONS_READ)
    return await paginate(unit.session, sa.select(Connection), order=NEWEST_CONNECTIONS, window=window)


async def locations_page(unit: Unit, *, connection_id: UUID | None, window: Window) -> Page[Location]:
    """Sub-accounts by name; those of one agency, or all."""
    unit.require(Scope.CONNECTIONS_READ)
    query = sa.select(Location) if connection_id is None else sa.select(Location).where(Location.connection_id == connection_id)
    return await paginate(unit.session, query, order=LOCATIONS_BY_NAME, window=window)


connections_by_ids = by_ids(Connection, scope=Scope.CONNECTIONS_READ)
locations_by_ids = by_ids(Location, scope=Scope.CONNECTIONS_READ)
contacts_by_ids = by_ids(Contact, scope=Scope.CONTACTS_READ)
runs_by_ids = by_ids(SyncRun, scope=Scope.CONTACTS_READ)
