"""Taking a page of the vendor's contacts in: what it says, what we know, and what becomes of both."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from db.base import new_id
from db.models.crm.contacts import ContactSource, ContactSyncState
from db.models.crm.syncs import ConflictPolicy
from domain.crm.contacts import book as books
from domain.crm.contacts import rules
from domain.crm.contacts.book import Book, Known, Link
from domain.crm.contacts.rules import Data, Incoming
from domain.unit import Unit


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
    await books.lock(unit, location_id=location_id)
    unchanged = await books.confirm(unit, rows, location_id=location_id, run_id=run_id)
    rows = [row for row in rows if row.external_id not in unchanged]
    book = await books.load(unit, rows, location_id=location_id)
    tally = Tally(unchanged=len(unchanged))
    for row in rows:
        link = book.links.get(row.external_id)
        if link is None or _became_somebody_else(book, row, link):
            _meet(book, tally, row, policy, writes_here)
        else:
            _meet_again(book, tally, row, link, policy, writes_here)
    await books.write(unit, book, location_id=location_id, run_id=run_id)
    return tally


def _meet(book: Book, tally: Tally, row: Incoming, policy: ConflictPolicy, writes_here: bool) -> None:
    """A vendor's contact that is not linked to any of ours. E-mail tells who it is; the telephone, where there is none."""
    email, phone = row.data.get("email"), row.data.get("phone")
    known = book.by_email.get(email) if email else book.by_phone.get(phone or "")
    if known is None:
        if writes_here:
            _link(book, row, _create(book, row), is_primary=True)
            tally.created += 1
        else:
            tally.unchanged += 1
        return
    if known.id in book.primary:
        _fold_duplicate(book, row, known, _link(book, row, known, is_primary=False), writes_here)
        tally.merged += 1
    else:
        _reconcile(tally, row, known, _link(book, row, known, is_primary=True), policy, writes_here)


def _meet_again(book: Book, tally: Tally, row: Incoming, link: Link, policy: ConflictPolicy, writes_here: bool) -> None:
    known = book.contacts[link.contact_id]
    link.is_seen = True
    if known.id not in book.primary:  # the one that led was deleted there
        link.is_primary, book.primary[known.id] = True, link
    if _is_stale(row, link) or (row.data == link.base and (known.version == link.synced_version or not link.is_primary)):
        link.remote_modified_at = max(row.modified_at, link.remote_modified_at)
        tally.unchanged += 1
    elif link.is_primary:
        _reconcile(tally, row, known, link, policy, writes_here)
    else:
        _fold_duplicate(book, row, known, link, writes_here)
        tally.updated += 1


def _is_stale(row: Incoming, link: Link) -> bool:
    """The vendor's search lags behind, and webhooks overtake each other: what is older than what we know tells nothing."""
    return rules.UNKNOWN_MOMENT < row.modified_at < link.remote_modified_at


def _became_somebody_else(book: Book, row: Incoming, link: Link) -> bool:
    """A duplicate that got another e-mail address at the vendor was another person all along."""
    known = book.contacts.get(link.contact_id)
    email = row.data.get("email")
    return not link.is_primary and known is not None and bool(email) and email != known.data.get("email")


def _reconcile(tally: Tally, row: Incoming, known: Known, link: Link, policy: ConflictPolicy, writes_here: bool) -> None:
    local = known.data
    merged = rules.merge(
        base=link.base, local=local, remote=row.data, policy=policy, local_at=known.modified_at, remote_at=row.modified_at
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
    link.base = row.data if writes_here else rules.untaken(local=local, remote=row.data, merged=merged.data)
    link.remote_modified_at = row.modified_at
    pending = bool(rules.changes(link.base, known.data))
    state = ContactSyncState.PENDING if pending else ContactSyncState.SYNCED
    if known.sync_state is not state:
        known.sync_state, known.is_changed = state, True
    link.synced_version = 0 if pending else known.version


def _fold_duplicate(book: Book, row: Incoming, known: Known, link: Link, writes_here: bool) -> None:
    """The vendor has this person twice: the newer of its contacts leads and is written to, the other fills what is empty."""
    if not writes_here:
        return
    lead = book.primary[known.id]
    edited_here = known.version != lead.synced_version
    takes_over = not edited_here and row.modified_at > lead.remote_modified_at
    folded = rules.fold(row.data, known.data) if takes_over else rules.fold(known.data, row.data)
    link.base, link.remote_modified_at = row.data, row.modified_at
    _keep_other(known, folded, row)
    if not rules.same(folded, known.data):
        known.data = folded
        known.version += 1
        known.is_changed = True
    if takes_over:
        lead.is_primary, lead.is_changed = False, True
        link.is_primary, lead = True, link
        book.primary[known.id] = link
    if not edited_here:
        lead.synced_version, lead.is_changed = known.version, True
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
    base = row.data if known.is_new else {}
    link = Link(row.external_id, known.id, base, known.version, is_primary, row.modified_at, is_seen=True)
    book.links[row.external_id] = link
    if is_primary:
        book.primary[known.id] = link
    return link
