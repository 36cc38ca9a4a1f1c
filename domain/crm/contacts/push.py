"""Bringing what was changed here to the vendor, one contact a request."""

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db.models.crm.contacts import Contact, ContactRef, ContactSyncState
from domain.crm.contacts import rules
from domain.crm.contacts.rules import Data
from domain.unit import Unit
from domain.vendors.gohighlevel.answers import DuplicateContact
from domain.vendors.gohighlevel.client import GoHighLevel

_PENDING = (ContactSyncState.LOCAL, ContactSyncState.PENDING)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A contact as it is to be at the vendor. `external_id` None: the vendor has none that we know of."""

    contact_id: UUID
    version: int
    data: Data
    external_id: str | None

    @property
    def can_be_matched(self) -> bool:
        """Whether the vendor could tell a second try from a second person."""
        return self.external_id is not None or bool(self.data.get("email") or self.data.get("phone"))


async def pending_count(unit: Unit, *, location_id: UUID, only_tags: list[str]) -> int:
    """How many contacts are to be brought over."""
    return (await unit.session.execute(_pending(location_id, only_tags).with_only_columns(sa.func.count()))).scalar_one()


async def pending(unit: Unit, *, location_id: UUID, only_tags: list[str], after: UUID | None, limit: int) -> list[Outgoing]:
    """The next contacts to bring over, by id."""
    primary = sa.and_(ContactRef.contact_id == Contact.id, ContactRef.is_primary, ContactRef.missing_since.is_(None))
    query = _pending(location_id, only_tags).add_columns(ContactRef.external_id).outerjoin(ContactRef, primary)
    if after is not None:
        query = query.where(Contact.id > after)
    rows = await unit.session.execute(query.order_by(Contact.id).limit(limit))
    return [Outgoing(contact.id, contact.version, data_of(contact), external_id) for contact, external_id in rows]


async def deliver(client: GoHighLevel, out: Outgoing, *, location_external_id: str) -> str:
    """Write a contact at the vendor; returns its id there. Doing it twice leads to the same. Raises VendorFailed."""
    wire = rules.to_wire(out.data)
    if out.external_id is not None:
        await client.update_contact(out.external_id, wire)
        return out.external_id
    try:
        contact, _ = await client.upsert_contact(location_external_id, wire)
    except DuplicateContact as duplicate:
        await client.update_contact(duplicate.contact_id, wire)
        return duplicate.contact_id
    return contact["id"]


async def keep_delivered(unit: Unit, out: Outgoing, *, location_id: UUID, external_id: str) -> None:
    """Keep that the vendor has this version now. A contact that was edited meanwhile stays pending."""
    row = insert(ContactRef).values(
        account_id=unit.account_id,
        location_id=location_id,
        external_id=external_id,
        contact_id=out.contact_id,
        is_primary=True,
        base=out.data,
        synced_version=out.version,
        remote_modified_at=sa.func.now(),
    )
    await unit.session.execute(
        row.on_conflict_do_update(
            index_elements=[ContactRef.location_id, ContactRef.external_id],
            set_={
                "contact_id": row.excluded.contact_id,
                "base": row.excluded.base,
                "synced_version": row.excluded.synced_version,
                "remote_modified_at": row.excluded.remote_modified_at,
                "missing_since": None,
            },
        )
    )
    await unit.session.execute(
        sa.update(Contact)
        .where(Contact.id == out.contact_id, Contact.version == out.version)
        .values(sync_state=ContactSyncState.SYNCED)
        .execution_options(synchronize_session=False)
    )


def data_of(contact: Contact) -> Data:
    """A contact's data as the rules know it."""
    data: Data = {name: getattr(contact, name) for name in rules.FIELDS if getattr(contact, name)}
    if contact.birthday is not None:
        data["birthday"] = contact.birthday.isoformat()
    return data


def _pending(location_id: UUID, only_tags: list[str]) -> "sa.Select[Contact]":
    query = sa.select(Contact).where(Contact.location_id == location_id, Contact.sync_state.in_(_PENDING))
    return query.where(Contact.tags.overlap(only_tags)) if only_tags else query
