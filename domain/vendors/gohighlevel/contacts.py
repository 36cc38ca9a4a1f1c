"""GoHighLevel's contacts, as the token holder of their location sees them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from domain.errors import VendorDown
from domain.vendors.gohighlevel.calls import Caller, RepeatedCursor, path_id, row_of, rows_of, texts_of
from domain.vendors.gohighlevel.wire import WireContact, WireNote
from domain.vendors.http import Answer

PAGE_LIMIT = 500
"""The most contacts that one page of a search may have."""

Cursor = list[Any]
"""Where a contact search goes on: plain JSON, to be stored and given back as it is."""


@dataclass(frozen=True, slots=True)
class ContactPage:
    """One page of contacts as the vendor sent them; `next` is None at the end of the list.

    `foreign`: ids of rows that the vendor sent although they are another location's. `malformed`: how many rows are no contact.
    Both are left out of `contacts`.
    """

    contacts: list[WireContact]
    next: Cursor | None
    total: int
    foreign: list[str]
    malformed: int = 0


class Contacts(Caller):
    """Calls that are about contacts, their tags and their notes."""

    async def search_contacts(
        self,
        location_id: str,
        *,
        page_limit: int = PAGE_LIMIT,
        search_after: Cursor | None = None,
        tags: Sequence[str] = (),
        updated_since: datetime | None = None,
    ) -> ContactPage:
        """A page of a location's contacts, oldest first; with `tags`, of those that have any of these.

        The list has ended only when `next` is None: a page may be short before that. `total` counts all pages.
        """
        body: dict[str, Any] = {
            "locationId": location_id,
            "pageLimit": page_limit,
            "sort": [{"field": "dateAdded", "direction": "asc"}],
        }
        if search_after is not None:
            body["searchAfter"] = search_after
        if filters := _contact_filters(tags, updated_since):
            body["filters"] = filters
        answer = await self.call("contacts.search", "POST", "/contacts/search", json=body)
        page = _contact_page(answer, location_id)
        if page.next is not None and page.next == search_after:
            raise RepeatedCursor("GoHighLevel repeats the same page of contacts", status=answer.status)
        return page

    async def contacts(
        self,
        location_id: str,
        *,
        after: Cursor | None = None,
        page_limit: int = PAGE_LIMIT,
        tags: Sequence[str] = (),
        updated_since: datetime | None = None,
    ) -> AsyncIterator[ContactPage]:
        """All pages from `after` on, one at a time. Raises RepeatedCursor where the vendor's paging does not advance."""
        seen: set[str] = set() if after is None else {repr(after)}
        while True:
            page = await self.search_contacts(
                location_id, page_limit=page_limit, search_after=after, tags=tags, updated_since=updated_since
            )
            if repr(page.next) in seen:
                raise RepeatedCursor("GoHighLevel repeats its pages of contacts")
            yield page
            if page.next is None:
                return
            after = page.next
            seen.add(repr(after))

    async def contact(self, contact_id: str) -> WireContact:
        """One contact. Raises NoSuchContact."""
        answer = await self.call("contacts.get", "GET", f"/contacts/{path_id(contact_id)}")
        return self._own_contact(answer)

    async def create_contact(self, location_id: str, fields: Mapping[str, Any]) -> WireContact:
        """Create from the vendor's own field names; custom fields as `{"id", "field_value"}`. May raise DuplicateContact."""
        answer = await self.call("contacts.create", "POST", "/contacts/", json={**fields, "locationId": location_id})
        return self._own_contact(answer)

    async def update_contact(self, contact_id: str, fields: Mapping[str, Any]) -> WireContact:
        """Change these fields; `tags`, where given, replaces all tags. May raise DuplicateContact."""
        answer = await self.call("contacts.update", "PUT", f"/contacts/{path_id(contact_id)}", json=dict(fields))
        return self._own_contact(answer)

    async def upsert_contact(self, location_id: str, fields: Mapping[str, Any]) -> tuple[WireContact, bool]:
        """Create, or update the contact of the same e-mail or phone; the contact, and whether it is new."""
        answer = await self.call("contacts.upsert", "POST", "/contacts/upsert", json={**fields, "locationId": location_id})
        return self._own_contact(answer), answer.object().get("new") is True

    async def delete_contact(self, contact_id: str) -> None:
        """Delete. Raises NoSuchContact."""
        await self.call("contacts.delete", "DELETE", f"/contacts/{path_id(contact_id)}")

    async def add_tags(self, contact_id: str, tags: Sequence[str]) -> list[str]:
        """Add to a contact's tags; all of its tags then, in lower case."""
        answer = await self.call(
            "contacts.tags.add", "POST", f"/contacts/{path_id(contact_id)}/tags", json={"tags": list(tags)}
        )
        return texts_of(answer, "tags")

    async def remove_tags(self, contact_id: str, tags: Sequence[str]) -> list[str]:
        """Take from a contact's tags; those that remain."""
        path = f"/contacts/{path_id(contact_id)}/tags"
        answer = await self.call("contacts.tags.remove", "DELETE", path, json={"tags": list(tags)})
        return texts_of(answer, "tags")

    async def notes(self, contact_id: str) -> list[WireNote]:
        """All notes of a contact."""
        answer = await self.call("notes.list", "GET", f"/contacts/{path_id(contact_id)}/notes")
        return cast("list[WireNote]", rows_of(answer, "notes"))

    async def create_note(self, contact_id: str, body: str) -> WireNote:
        """Write a note on a contact."""
        answer = await self.call("notes.create", "POST", f"/contacts/{path_id(contact_id)}/notes", json={"body": body})
        return cast("WireNote", row_of(answer, "note"))

    def _own_contact(self, answer: Answer) -> WireContact:
        contact = row_of(answer, "contact")
        if contact.get("locationId", self.resource_id) != self.resource_id:
            raise VendorDown("GoHighLevel answered with another location's contact", status=answer.status)
        return cast("WireContact", contact)


def _contact_filters(tags: Sequence[str], updated_since: datetime | None) -> list[dict[str, Any]]:
    filters: list[dict[str, Any]] = []
    if tags:
        # The vendor stores tags in lower case.
        wanted = [{"field": "tags", "operator": "eq", "value": tag.lower()} for tag in tags]
        filters.append({"group": "OR", "filters": wanted})
    if updated_since is not None:
        since = updated_since.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        filters.append({"field": "dateUpdated", "operator": "range", "value": {"gte": since}})
    return filters


def _contact_page(answer: Answer, location_id: str) -> ContactPage:
    body = answer.object()
    rows, total = body.get("contacts"), body.get("total")
    if not isinstance(rows, list) or not isinstance(total, int):
        raise answer.unreadable()
    objects = [row for row in rows if type(row) is dict]
    own = [row for row in objects if row.get("locationId", location_id) == location_id]
    foreign = [row for row in objects if row.get("locationId", location_id) != location_id]
    cursor = objects[-1].get("searchAfter") if objects else None
    if rows and not (isinstance(cursor, list) and cursor):
        raise answer.unreadable()
    return ContactPage(
        contacts=cast("list[WireContact]", own),
        next=cursor,
        total=total,
        foreign=[str(row.get("id")) for row in foreign],
        malformed=len(rows) - len(objects),
    )
