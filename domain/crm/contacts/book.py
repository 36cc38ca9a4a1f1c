"""What we know of the people on a page of the vendor's contacts: read and written in a few statements for any number of them.

Rows travel to PostgreSQL as one JSON document that it unpacks itself: for this process that is the cheapest way by far.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db.base import any_of
from db.models.crm.contacts import Contact, ContactRef, ContactSource, ContactSyncState
from domain.crm.contacts import rules
from domain.crm.contacts.rules import Data, Incoming
from domain.unit import Unit


@dataclass(slots=True)
class Known:
    """A contact of ours, as it is about to be."""

    id: UUID
    data: Data
    version: int
    modified_at: datetime
    sync_state: ContactSyncState
    source: ContactSource
    other_emails: list[str]
    other_phones: list[str]
    created_at: datetime
    is_new: bool = False
    is_changed: bool = False


@dataclass(slots=True)
class Link:
    """A ContactRef, as it is about to be."""

    external_id: str
    contact_id: UUID
    base: Data
    synced_version: int
    is_primary: bool
    remote_modified_at: datetime
    is_seen: bool = False
    is_changed: bool = False


@dataclass(slots=True)
class Book:
    """What we know of the people on a page. `primary` is the living link that each contact is written through."""

    links: dict[str, Link]
    contacts: dict[UUID, Known]
    by_email: dict[str, Known]
    by_phone: dict[str, Known]
    primary: dict[UUID, Link]


async def lock(unit: Unit, *, location_id: UUID) -> None:
    """Take turns with whoever else matches contacts of the location: two that meet one stranger at once would make two of it.

    The first statement of a unit that writes links, so that rows are always locked in the same order.
    """
    await unit.session.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(str(location_id), 0))))


async def confirm(unit: Unit, rows: Sequence[Incoming], *, location_id: UUID, run_id: UUID | None) -> set[str]:
    """Mark as seen what is as the last sync left it on both sides, which is nearly all of a page; returns its ids.

    PostgreSQL compares, so that nothing of it has to be read and written again here.
    """
    document = _document(
        {"external_id": row.external_id, "base": row.data, "remote_modified_at": row.modified_at} for row in rows
    )
    found = await unit.session.scalars(_UNCHANGED, {"document": document, "location_id": location_id})
    unchanged = set(found.all())
    if unchanged:
        await unit.session.execute(
            sa.update(ContactRef)
            .where(ContactRef.location_id == location_id, any_of(ContactRef.external_id, unchanged))
            .values(seen_run=run_id, seen_at=sa.func.now(), missing_since=None)
            .execution_options(synchronize_session=False)
        )
    return unchanged


async def load(unit: Unit, rows: Sequence[Incoming], *, location_id: UUID) -> Book:
    """Load and lock what the page concerns: a person who edits one of these contacts now is merged, not overwritten."""
    links = await _links(unit, location_id, [row.external_id for row in rows])
    strangers = [row.data for row in rows if row.external_id not in links or not links[row.external_id].is_primary]
    emails = {data["email"] for data in strangers if "email" in data}
    phones = {data["phone"] for data in strangers if "phone" in data and "email" not in data}
    wanted = sa.or_(
        any_of(Contact.id, {link.contact_id for link in links.values()}),
        sa.and_(Contact.location_id == location_id, any_of(Contact.email, emails)),
        sa.and_(Contact.location_id == location_id, any_of(Contact.phone, phones)),
    )
    query = sa.select(*_CONTACT_COLUMNS).where(wanted).order_by(Contact.id).with_for_update()
    contacts = {row.id: _known(row) for row in await unit.session.execute(query)}
    primary = await _primary_links(unit, contacts, links)
    book = Book(links, contacts, {}, {}, primary)
    for known in contacts.values():
        if email := known.data.get("email"):
            book.by_email.setdefault(email, known)
        if phone := known.data.get("phone"):
            book.by_phone.setdefault(phone, known)
    return book


async def _links(unit: Unit, location_id: UUID, external_ids: list[str]) -> dict[str, Link]:
    query = sa.select(*_LINK_COLUMNS).where(ContactRef.location_id == location_id, any_of(ContactRef.external_id, external_ids))
    return {row.external_id: Link(*row) for row in await unit.session.execute(query)}


async def _primary_links(unit: Unit, contacts: Iterable[UUID], links: dict[str, Link]) -> dict[UUID, Link]:
    """The living link that each contact is written through; those not on this page are added to `links`."""
    query = sa.select(*_LINK_COLUMNS).where(
        any_of(ContactRef.contact_id, contacts), ContactRef.is_primary, ContactRef.missing_since.is_(None)
    )
    found = [Link(*row) for row in await unit.session.execute(query)]
    return {link.contact_id: links.setdefault(link.external_id, link) for link in found}


def _known(row: Any) -> Known:
    data: Data = {name: getattr(row, name) for name in rules.FIELDS if getattr(row, name)}
    if isinstance(row.birthday, date):
        data["birthday"] = row.birthday.isoformat()
    return Known(
        id=row.id,
        data=data,
        version=row.version,
        modified_at=row.modified_at,
        sync_state=row.sync_state,
        source=row.source,
        other_emails=list(row.other_emails),
        other_phones=list(row.other_phones),
        created_at=row.created_at,
    )


async def write(unit: Unit, book: Book, *, location_id: UUID, run_id: UUID | None) -> None:
    """Keep what is new or changed, and which of the vendor's contacts were seen."""
    shared: dict[str, Any] = {"account_id": unit.account_id, "location_id": location_id}
    contacts = [{**_contact_row(known), **shared} for known in book.contacts.values() if known.is_new or known.is_changed]
    if contacts:
        await unit.session.execute(_WRITE_CONTACTS, {"document": _document(contacts)})
    # Of two links of a contact only one may lead at any moment: who steps back does so first.
    changed = [_link_row(link) for link in book.links.values() if link.is_changed and not link.is_seen]
    if changed:
        await unit.session.execute(_CHANGE_LINKS, {"document": _document(changed), "within": location_id})
    shared |= {"seen_run": run_id, "seen_at": datetime.now(UTC)}
    seen = sorted((link for link in book.links.values() if link.is_seen), key=lambda link: link.is_primary)
    if seen:
        await unit.session.execute(_WRITE_LINKS, {"document": _document({**_link_row(link), **shared} for link in seen)})


def _contact_row(known: Known) -> dict[str, Any]:
    return {
        "tags": (),
        "custom_fields": {},
        "do_not_disturb": False,
        **known.data,
        "id": known.id,
        "display_name": rules.display_name(known.data),
        "source": known.source,
        "sync_state": known.sync_state,
        "version": known.version,
        "modified_at": known.modified_at,
        "created_at": known.created_at,
        "other_emails": known.other_emails,
        "other_phones": known.other_phones,
    }


def _link_row(link: Link) -> dict[str, Any]:
    return {
        "external_id": link.external_id,
        "contact_id": link.contact_id,
        "is_primary": link.is_primary,
        "base": link.base,
        "synced_version": link.synced_version,
        "remote_modified_at": link.remote_modified_at,
    }


def _document(rows: Iterable[dict[str, Any]]) -> str:
    return orjson.dumps(list(rows), default=str).decode()


def _rows(model: type[Contact | ContactRef], names: Sequence[str]) -> sa.TableValuedAlias:
    """The parameter `document` as rows, with the types of the columns `names` of `model`."""
    document = sa.cast(sa.bindparam("document", type_=sa.Text), sa.JSON)
    columns = [sa.column(name, _plain_type(model.__table__.c[name].type)) for name in names]
    return sa.func.json_to_recordset(document).table_valued(*columns, name="row").render_derived(with_types=True)


def _plain_type(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    """A checked text column is read from JSON as what it is: text."""
    return sa.Text() if isinstance(kind, sa.Enum) else kind


def _upsert(
    model: type[Contact | ContactRef], *, key: Sequence[str], kept: Sequence[str], written: Sequence[str], **more: Any
) -> Any:
    """Insert the parameter `document`; where `key` exists already, `written` is overwritten and `kept` stays."""
    names = (*kept, *written)
    rows = _rows(model, names)
    statement = insert(model.__table__).from_select(names, sa.select(*(rows.c[name] for name in names)))  # type: ignore[arg-type]  # a Table
    update = {name: statement.excluded[name] for name in written}
    return statement.on_conflict_do_update(index_elements=key, set_=update | more)


def _unchanged() -> sa.Select[str]:
    """The ids in the parameter `document` of what is as the last sync left it."""
    wire = _rows(ContactRef, ("external_id", "base", "remote_modified_at")).c
    # A scalar sub-query looks each row up by its key; of a join PostgreSQL makes what it likes while it has no statistics.
    is_same = (
        sa.select(sa.and_(ContactRef.base == wire.base, ContactRef.remote_modified_at == wire.remote_modified_at))
        .join(Contact, sa.and_(Contact.id == ContactRef.contact_id, Contact.version == ContactRef.synced_version))
        .where(ContactRef.location_id == sa.bindparam("location_id"), ContactRef.external_id == wire.external_id)
        .scalar_subquery()
    )
    return sa.select(wire.external_id).where(is_same)


def _change_links() -> sa.Update:
    """Of the links in the parameter `document`, change what is not about having been seen."""
    rows = _rows(ContactRef, ("external_id", "is_primary", "synced_version")).c
    return (
        sa.update(ContactRef)
        .where(ContactRef.location_id == sa.bindparam("within"), ContactRef.external_id == rows.external_id)
        .values(is_primary=rows.is_primary, synced_version=rows.synced_version)
        .execution_options(synchronize_session=False)
    )


_LINK_COLUMNS = (
    ContactRef.external_id,
    ContactRef.contact_id,
    ContactRef.base,
    ContactRef.synced_version,
    ContactRef.is_primary,
    ContactRef.remote_modified_at,
)
_CONTACT_COLUMNS = tuple(
    getattr(Contact, name)
    for name in (
        *("id", "source", "sync_state", "version", "modified_at", "created_at", "other_emails", "other_phones"),
        *rules.FIELDS,
    )
)
# Built once: with some thirty columns that takes longer than a page's rows.
_UNCHANGED = _unchanged()
_WRITE_CONTACTS = _upsert(
    Contact,
    key=("id",),
    kept=("id", "account_id", "location_id", "source", "created_at"),
    written=("display_name", *rules.FIELDS, "other_emails", "other_phones", "sync_state", "version", "modified_at"),
)
_WRITE_LINKS = _upsert(
    ContactRef,
    key=("location_id", "external_id"),
    kept=("account_id", "location_id", "external_id"),
    written=("contact_id", "is_primary", "base", "synced_version", "remote_modified_at", "seen_run", "seen_at"),
    missing_since=None,
)
_CHANGE_LINKS = _change_links()
