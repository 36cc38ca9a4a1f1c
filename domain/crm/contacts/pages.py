"""Taking a page of the vendor's contacts in: a constant number of statements for any number of rows.

Rows travel to PostgreSQL as one JSON document that it unpacks itself: for this process that is the cheapest way by far.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db.base import new_id
from db.models.crm.contacts import Contact, ContactRef, ContactSource, ContactSyncState
from db.models.crm.syncs import ConflictPolicy
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


@dataclass(slots=True)
class Conflict:
    """A contact on which both sides changed the same fields."""

    external_id: str
    fields: tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """What came of a page."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    merged: int = 0
    conflicts: list[Conflict] = field(default_factory=list)


@dataclass(slots=True)
class Book:
    """What we know of the people on a page."""

    links: dict[str, Link]
    contacts: dict[UUID, Known]
    by_email: dict[str, Known]
    by_phone: dict[str, Known]
    primary: dict[UUID, Link]


async def take_in(
    unit: Unit,
    rows: Sequence[Incoming],
    *,
    location_id: UUID,
    run_id: UUID | None,
    policy: ConflictPolicy,
    writes_here: bool = True,
) -> Tally:
    """Match `rows` with our contacts and write what changes. With `writes_here` False, only find out what differs."""
    book = await _open_book(unit, rows, location_id)
    tally = Tally()
    for row in rows:
        link = book.links.get(row.external_id)
        if link is not None:
            _meet_again(book, tally, row, link, policy, writes_here)
        else:
            _meet(book, tally, row, policy, writes_here)
    await _write_contacts(unit, location_id, [known for known in book.contacts.values() if known.is_new or known.is_changed])
    await _write_links(unit, location_id, run_id, [link for link in book.links.values() if link.is_seen])
    return tally


def _meet(book: Book, tally: Tally, row: Incoming, policy: ConflictPolicy, writes_here: bool) -> None:
    """A vendor's contact that is not linked to any of ours yet. E-mail tells who it is; the telephone, where there is none."""
    email, phone = row.data.get("email"), row.data.get("phone")
    known = book.by_email.get(email) if email else book.by_phone.get(phone or "")
    if known is None:
        if writes_here:
            _link(book, row, _create(book, row), is_primary=True)
            tally.created += 1
        else:
            tally.unchanged += 1
        return
    primary = book.primary.get(known.id)
    if primary is None:
        _reconcile(tally, row, known, _link(book, row, known, is_primary=True), None, policy, writes_here)
    else:
        _fold_duplicate(book, row, known, primary, _link(book, row, known, is_primary=False), writes_here)
        tally.merged += 1


def _meet_again(book: Book, tally: Tally, row: Incoming, link: Link, policy: ConflictPolicy, writes_here: bool) -> None:
    known = book.contacts[link.contact_id]
    link.is_seen = True
    if row.data == link.base and known.version == link.synced_version:
        link.remote_modified_at = row.modified_at
        tally.unchanged += 1
    elif link.is_primary:
        _reconcile(tally, row, known, link, link.base, policy, writes_here)
    elif row.data == link.base:
        tally.unchanged += 1
    else:
        _fold_duplicate(book, row, known, book.primary.get(known.id), link, writes_here)
        tally.updated += 1


def _reconcile(
    tally: Tally, row: Incoming, known: Known, link: Link, base: Data | None, policy: ConflictPolicy, writes_here: bool
) -> None:
    merged = rules.merge(
        base=base, local=known.data, remote=row.data, policy=policy, local_at=known.modified_at, remote_at=row.modified_at
    )
    if merged.conflicts:
        tally.conflicts.append(Conflict(row.external_id, merged.conflicts))
    if merged.differs_from_local and writes_here:
        known.data = merged.data
        known.version += 1
        known.modified_at = max(known.modified_at, row.modified_at)
        known.is_changed = True
        tally.updated += 1
    else:
        tally.unchanged += 1
    pending = (
        merged.differs_from_remote if writes_here else not rules.same(rules.writable(merged.data), rules.writable(row.data))
    )
    state = ContactSyncState.PENDING if pending else ContactSyncState.SYNCED
    if known.sync_state is not state:
        known.sync_state, known.is_changed = state, True
    link.base, link.remote_modified_at = row.data, row.modified_at
    link.synced_version = 0 if pending else known.version


def _fold_duplicate(book: Book, row: Incoming, known: Known, primary: Link | None, link: Link, writes_here: bool) -> None:
    """The vendor has this person twice: the newer of its contacts leads and is written to, the other fills what is empty."""
    edited_here = primary is not None and known.version != primary.synced_version
    leads = not edited_here and primary is not None and row.modified_at > primary.remote_modified_at
    folded = rules.fold(row.data, known.data) if leads else rules.fold(known.data, row.data)
    link.base, link.remote_modified_at = row.data, row.modified_at
    if writes_here:
        _keep_other(known, folded, row)
        if not rules.same(folded, known.data):
            known.data = folded
            known.version += 1
            known.is_changed = True
    if leads and primary is not None:
        primary.is_primary, link.is_primary = False, True
        primary.is_seen = True
        book.primary[known.id] = link
    lead = book.primary.get(known.id)
    if lead is not None and not edited_here:
        lead.synced_version, lead.is_seen = known.version, True
    link.synced_version = known.version


def _keep_other(known: Known, folded: Data, row: Incoming) -> None:
    for name, others in (("email", known.other_emails), ("phone", known.other_phones)):
        for value in (known.data.get(name), row.data.get(name)):
            if value and value != folded.get(name) and value not in others:
                others.append(value)
                known.is_changed = True


def _create(book: Book, row: Incoming) -> Known:
    known = Known(
        id=new_id(),
        data=row.data,
        version=1,
        modified_at=row.modified_at,
        sync_state=ContactSyncState.SYNCED,
        source=ContactSource.GHL,
        other_emails=[],
        other_phones=[],
        created_at=datetime.now(UTC),
        is_new=True,
    )
    book.contacts[known.id] = known
    if email := row.data.get("email"):
        book.by_email[email] = known
    if phone := row.data.get("phone"):
        book.by_phone.setdefault(phone, known)
    return known


def _link(book: Book, row: Incoming, known: Known, *, is_primary: bool) -> Link:
    link = Link(row.external_id, known.id, row.data, known.version, is_primary, row.modified_at, is_seen=True)
    book.links[row.external_id] = link
    if is_primary:
        book.primary[known.id] = link
    return link


async def _open_book(unit: Unit, rows: Sequence[Incoming], location_id: UUID) -> Book:
    """Load and lock what the page concerns: a person who edits one of these contacts now is merged, not overwritten."""
    links = await _links(unit, location_id, [row.external_id for row in rows])
    strangers = [row.data for row in rows if row.external_id not in links]
    emails = {data["email"] for data in strangers if "email" in data}
    phones = {data["phone"] for data in strangers if "phone" in data and "email" not in data}
    wanted = sa.or_(
        Contact.id.in_({link.contact_id for link in links.values()}),
        sa.and_(Contact.location_id == location_id, Contact.email.in_(emails)),
        sa.and_(Contact.location_id == location_id, Contact.phone.in_(phones)),
    )
    query = sa.select(*_CONTACT_COLUMNS).where(wanted).order_by(Contact.id).with_for_update()
    contacts = {row.id: _known(row) for row in await unit.session.execute(query)}
    primary = await _primary_links(unit, location_id, contacts, links)
    book = Book(links, contacts, {}, {}, primary)
    for known in contacts.values():
        if email := known.data.get("email"):
            book.by_email.setdefault(email, known)
        if phone := known.data.get("phone"):
            book.by_phone.setdefault(phone, known)
    return book


async def _links(unit: Unit, location_id: UUID, external_ids: list[str]) -> dict[str, Link]:
    query = sa.select(*_LINK_COLUMNS).where(ContactRef.location_id == location_id, ContactRef.external_id.in_(external_ids))
    return {row.external_id: Link(*row) for row in await unit.session.execute(query)}


async def _primary_links(unit: Unit, location_id: UUID, contacts: Iterable[UUID], links: dict[str, Link]) -> dict[UUID, Link]:
    """The link that each contact is written through; those not on this page are added to `links`."""
    query = sa.select(*_LINK_COLUMNS).where(
        ContactRef.location_id == location_id, ContactRef.contact_id.in_(list(contacts)), ContactRef.is_primary
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
_CONTACT_TABLE = Contact.__table__
_REF_TABLE = ContactRef.__table__
_WRITTEN = ("display_name", *rules.FIELDS, "other_emails", "other_phones", "sync_state", "version", "modified_at")


async def _write_contacts(unit: Unit, location_id: UUID, contacts: list[Known]) -> None:
    if not contacts:
        return
    shared = {"account_id": unit.account_id, "location_id": location_id}
    rows = [
        {
            **shared,
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
        for known in contacts
    ]
    names = ("id", "account_id", "location_id", "source", "created_at", *_WRITTEN)
    statement = _insert_json(_CONTACT_TABLE, names, rows)
    update = {name: statement.excluded[name] for name in _WRITTEN}
    await unit.session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=update))


async def _write_links(unit: Unit, location_id: UUID, run_id: UUID | None, links: list[Link]) -> None:
    if not links:
        return
    shared = {"account_id": unit.account_id, "location_id": location_id, "seen_run": run_id, "seen_at": datetime.now(UTC)}
    rows = [
        {
            **shared,
            "external_id": link.external_id,
            "contact_id": link.contact_id,
            "is_primary": link.is_primary,
            "base": link.base,
            "synced_version": link.synced_version,
            "remote_modified_at": link.remote_modified_at,
        }
        for link in links
    ]
    written = ("contact_id", "is_primary", "base", "synced_version", "remote_modified_at", "seen_run", "seen_at")
    statement = _insert_json(_REF_TABLE, ("account_id", "location_id", "external_id", *written), rows)
    update: dict[str, Any] = {name: statement.excluded[name] for name in written}
    update["missing_since"] = None
    await unit.session.execute(statement.on_conflict_do_update(index_elements=["location_id", "external_id"], set_=update))


def _insert_json(table: sa.FromClause, names: Sequence[str], rows: list[dict[str, Any]]) -> Any:
    document = sa.cast(sa.literal(orjson.dumps(rows, default=str).decode(), sa.Text), sa.JSON)
    columns = [sa.column(name, _plain_type(table.c[name].type)) for name in names]
    source = sa.func.json_to_recordset(document).table_valued(*columns, name="row").render_derived(with_types=True)
    return insert(table).from_select(names, sa.select(*(source.c[name] for name in names)))  # type: ignore[arg-type]  # a Table


def _plain_type(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    """A checked text column is read from JSON as what it is: text."""
    return sa.Text() if isinstance(kind, sa.Enum) else kind
