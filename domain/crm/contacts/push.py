"""Bringing what was changed here to the vendor, one contact a request, and of it only what differs."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from db.models.crm.contacts import Contact, ContactRef, ContactSyncState
from domain.crm.contacts import book as books
from domain.crm.contacts import rules
from domain.crm.contacts.rules import Data, Unusable
from domain.unit import Unit
from domain.vendors.gohighlevel.client import GoHighLevel
from domain.vendors.gohighlevel.wire import WireContact

_PENDING = (ContactSyncState.LOCAL, ContactSyncState.PENDING)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A contact as it is to be at the vendor, and `base`, what both sides last had in common.

    `external_id` None: the vendor has none that we know of.
    """

    contact_id: UUID
    version: int
    data: Data
    external_id: str | None
    base: Data

    @property
    def fields(self) -> list[str]:
        """What the vendor is to be told of."""
        return rules.changes(self.base, self.data)

    @property
    def title(self) -> str:
        """The contact for people."""
        names = [self.data[name] for name in ("first_name", "last_name") if self.data.get(name)]
        return " ".join(names) or self.data.get("email") or self.data.get("phone") or "A contact without a name"

    @property
    def can_be_matched(self) -> bool:
        """Whether the vendor could tell a second try from a second person."""
        return self.external_id is not None or bool(self.data.get("email") or self.data.get("phone"))


@dataclass(frozen=True, slots=True)
class Delivered:
    """The vendor's contact after a write: its id, what both sides have in common now, and when it changed there."""

    external_id: str
    base: Data
    modified_at: datetime | None


async def pending_count(unit: Unit, *, location_id: UUID, only_tags: list[str]) -> int:
    """How many contacts are to be brought over."""
    return (await unit.session.execute(_pending(location_id, only_tags).with_only_columns(sa.func.count()))).scalar_one()


async def pending(unit: Unit, *, location_id: UUID, only_tags: list[str], after: UUID | None, limit: int) -> list[Outgoing]:
    """The next contacts to bring over, by id."""
    query = _outgoing(location_id, only_tags)
    if after is not None:
        query = query.where(Contact.id > after)
    return [_read(row) for row in await unit.session.execute(query.order_by(Contact.id).limit(limit))]


async def one(unit: Unit, *, location_id: UUID, contact_id: UUID) -> Outgoing | None:
    """A contact as it is to be brought over now; None where there is nothing to bring any more."""
    rows = await unit.session.execute(_outgoing(location_id, []).where(Contact.id == contact_id))
    return next((_read(row) for row in rows), None)


async def twin(unit: Unit, out: Outgoing, *, location_id: UUID) -> str | None:
    """The vendor's id of another contact of ours with the same e-mail or telephone.

    The vendor would take both for one person, and write this one over the other.
    """
    other = aliased(Contact)
    shared = [
        column == value
        for column, value in ((other.email, out.data.get("email")), (other.phone, out.data.get("phone")))
        if value
    ]
    query = (
        sa.select(ContactRef.external_id)
        .join(other, other.id == ContactRef.contact_id)
        .where(other.location_id == location_id, other.id != out.contact_id, sa.or_(sa.false(), *shared))
        .where(ContactRef.missing_since.is_(None))
        .limit(1)
    )
    return (await unit.session.scalars(query)).one_or_none()


async def deliver(client: GoHighLevel, out: Outgoing, *, location_external_id: str) -> Delivered:
    """Write a contact at the vendor; doing it twice leads to the same. Raises VendorFailed."""
    fields = out.fields
    wire = rules.to_wire(out.data, fields)
    if out.external_id is None:
        contact, _ = await client.upsert_contact(location_external_id, wire)
    elif fields:
        contact = await client.update_contact(out.external_id, wire)
    else:
        return Delivered(out.external_id, out.base, None)
    return _delivered(out, contact, fields)


def _delivered(out: Outgoing, contact: WireContact, fields: list[str]) -> Delivered:
    external_id = out.external_id or contact["id"]
    try:
        answer = rules.from_wire(contact)
    except Unusable:  # somebody else's field is damaged there; what was sent has arrived all the same
        return Delivered(external_id, rules.delivered(out.base, out.data, fields), None)
    known = answer.modified_at if answer.modified_at > rules.UNKNOWN_MOMENT else None
    return Delivered(external_id, rules.delivered(out.base, answer.data, fields), known)


async def keep_delivered(unit: Unit, out: Outgoing, done: Delivered, *, location_id: UUID) -> bool:
    """Keep that the vendor has this version now; a contact that was edited meanwhile stays pending.

    False when the vendor's contact belongs to another one of ours: then nothing was kept.
    """
    await books.lock(unit, location_id=location_id)
    row = insert(ContactRef).values(
        account_id=unit.account_id,
        location_id=location_id,
        external_id=done.external_id,
        contact_id=out.contact_id,
        is_primary=True,
        base=done.base,
        synced_version=out.version,
        remote_modified_at=done.modified_at or rules.UNKNOWN_MOMENT,
    )
    kept = row.on_conflict_do_update(
        index_elements=[ContactRef.location_id, ContactRef.external_id],
        set_={
            "base": row.excluded.base,
            "synced_version": row.excluded.synced_version,
            "remote_modified_at": sa.func.greatest(ContactRef.remote_modified_at, row.excluded.remote_modified_at),
            "is_primary": True,
            "missing_since": None,
        },
        where=ContactRef.contact_id == row.excluded.contact_id,
    )
    if (await unit.session.scalars(kept.returning(ContactRef.external_id))).one_or_none() is None:
        return False
    await unit.session.execute(
        sa.update(Contact)
        .where(Contact.id == out.contact_id, Contact.version == out.version)
        .values(sync_state=ContactSyncState.SYNCED)
        .execution_options(synchronize_session=False)
    )
    return True


def data_of(contact: Contact) -> Data:
    """A contact's data as the rules know it."""
    data: Data = {name: getattr(contact, name) for name in rules.FIELDS if getattr(contact, name)}
    if contact.birthday is not None:
        data["birthday"] = contact.birthday.isoformat()
    return data


def _outgoing(location_id: UUID, only_tags: list[str]) -> "sa.Select[Contact, str, Data]":
    primary = sa.and_(ContactRef.contact_id == Contact.id, ContactRef.is_primary, ContactRef.missing_since.is_(None))
    query = _pending(location_id, only_tags).add_columns(ContactRef.external_id, ContactRef.base)
    return query.outerjoin(ContactRef, primary)


def _read(row: "sa.Row[Contact, str, Data]") -> Outgoing:
    contact, external_id, base = row
    return Outgoing(contact.id, contact.version, data_of(contact), external_id, base or {})


def _pending(location_id: UUID, only_tags: list[str]) -> "sa.Select[Contact]":
    query = sa.select(Contact).where(Contact.location_id == location_id, Contact.sync_state.in_(_PENDING))
    return query.where(Contact.tags.overlap(only_tags)) if only_tags else query
