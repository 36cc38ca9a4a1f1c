"""What people do to contacts."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import available_timezones

import sqlalchemy as sa

from db.base import new_id
from db.models.crm.connections import Location
from db.models.crm.contacts import Contact, ContactSource, ContactSyncState
from domain.actor import Scope
from domain.crm.connections.app import LocationNotFound
from domain.crm.connections.commands import clean_tags
from domain.crm.contacts import rules
from domain.errors import Invalid, NotFound
from domain.tenancy import idempotency
from domain.tenancy.accounts import StaleVersion
from domain.unit import Unit


async def create(unit: Unit, *, location_id: UUID, fields: Mapping[str, Any], idempotency_key: str | None = None) -> Contact:
    """A new contact, kept here until a sync sends it. Raises Forbidden, LocationNotFound, Invalid, KeyReused."""
    unit.require(Scope.CONTACTS_WRITE)
    given = {"location": location_id, **fields}
    replayed = await idempotency.replay(unit, key=idempotency_key, operation="createContact", given=given)
    if replayed is not None:
        return await get(unit, replayed)
    known = (await unit.session.scalars(sa.select(Location.id).where(Location.id == location_id))).one_or_none()
    if known is None:
        raise LocationNotFound("There is no such sub-account.", field=("locationId",))
    data = clean(fields)
    if not any(data.get(name) for name in ("first_name", "last_name", "company", "email", "phone")):
        raise Invalid("A contact needs a name, a company, an e-mail address or a telephone.", field=("fields",))
    contact = Contact(
        id=new_id(),
        account_id=unit.account_id,
        location_id=location_id,
        source=ContactSource.BB,
        sync_state=ContactSyncState.LOCAL,
        display_name=rules.display_name(data),
        **_columns(data),
    )
    unit.session.add(contact)
    await unit.session.flush()
    await idempotency.remember(unit, key=idempotency_key, subject_id=contact.id)
    _audit(unit, "contact.create", contact, data)
    unit.changed("contact", contact.id)
    return contact


async def update(unit: Unit, *, contact_id: UUID, expected_version: int, fields: Mapping[str, Any]) -> Contact:
    """Change the given fields; None empties one. The next sync brings it to GoHighLevel.

    Custom fields are changed one by one, tags as a whole. Raises Forbidden, NotFound, StaleVersion, Invalid.
    """
    unit.require(Scope.CONTACTS_WRITE)
    contact = await get(unit, contact_id, lock=True)
    if contact.version != expected_version:
        raise StaleVersion("The contact was changed meanwhile.", field=("expectedVersion",), current=contact)
    data = clean(fields)
    if "custom_fields" in data:
        merged = {**contact.custom_fields, **data["custom_fields"]}
        data["custom_fields"] = {key: value for key, value in merged.items() if value is not None}
    for name, value in _columns(data).items():
        setattr(contact, name, value)
    contact.display_name = rules.display_name({name: getattr(contact, name) for name in rules.SCALARS})
    contact.version += 1
    contact.modified_at = sa.func.now()
    if contact.sync_state is ContactSyncState.SYNCED:
        contact.sync_state = ContactSyncState.PENDING
    await unit.session.flush()
    await unit.session.refresh(contact)
    _audit(unit, "contact.update", contact, data)
    unit.changed("contact", contact.id)
    return contact


async def get(unit: Unit, contact_id: UUID, *, lock: bool = False) -> Contact:
    """A contact of the account. Raises NotFound."""
    query = sa.select(Contact).where(Contact.id == contact_id)
    contact = (await unit.session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if contact is None:
        raise NotFound("There is no such contact.")
    return contact


def _audit(unit: Unit, action: str, contact: Contact, data: Mapping[str, Any]) -> None:
    """Which fields, and not what they hold: entries stay for ever, and a person may ask that their data go."""
    fields = sorted(_camel(name) for name in data)
    unit.audit(action, subject_type="contact", subject_id=contact.id, fields=fields, version=contact.version)


def clean(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The given fields as they are kept. Raises Invalid with the offending field."""
    data: dict[str, Any] = {}
    for name, value in fields.items():
        try:
            data[name] = _clean(name, value)
        except rules.Unusable as problem:
            raise Invalid(problem.message, field=(_camel(name),)) from None
    return data


def _clean(name: str, value: Any) -> Any:
    if name == "tags":
        return clean_tags(value or ())
    if name == "custom_fields":
        return dict(value or {})
    if value is None or value == "":
        return None
    if name == "email":
        return rules.read_email("", value)
    if name == "phone":
        return rules.read_phone("", value)
    if name == "time_zone" and value not in available_timezones():
        raise rules.Unusable("", name, "Not an IANA time zone, such as America/Chicago.")
    if name == "website" and urlsplit(value).scheme not in {"", "http", "https"}:
        raise rules.Unusable("", name, "Not an address on the web.")
    if isinstance(value, str) and len(value) > rules.MAX_TEXT:
        raise rules.Unusable("", name, f"Longer than {rules.MAX_TEXT} characters.")
    if isinstance(value, str) and "\x00" in value:
        raise rules.Unusable("", name, "Contains a character that text cannot have.")
    return value.strip() if isinstance(value, str) else value


def _columns(data: Mapping[str, Any]) -> dict[str, Any]:
    columns = dict(data)
    if columns.get("birthday") is not None and not isinstance(columns["birthday"], date):
        columns["birthday"] = date.fromisoformat(columns["birthday"])
    if columns.get("do_not_disturb", False) is None:
        columns["do_not_disturb"] = False
    return columns


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
