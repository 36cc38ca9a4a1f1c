"""GoHighLevel's API as one token holder sees it: a location, or an agency."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, cast

from domain.errors import Invalid, VendorDown, VendorUnauthorized
from domain.vendors.gohighlevel.answers import checked, expired, read_rate
from domain.vendors.gohighlevel.wire import (
    WireCalendar,
    WireCompany,
    WireContact,
    WireCustomField,
    WireLocation,
    WireNamed,
    WireNote,
    WireOpportunity,
    WirePipeline,
    WireTag,
)
from domain.vendors.http import Answer, VendorHttp
from domain.vendors.limits import Limiter, Rate

VERSION = "2021-07-28"
CALENDARS_VERSION = "2021-04-15"

PAGE_LIMIT = 500
"""The most contacts that one page of a search may have."""

_LOCATIONS_PAGE = 100
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

Cursor = list[Any]
"""Where a contact search goes on: plain JSON, to be stored and given back as it is."""


class RepeatedCursor(VendorDown):
    """The vendor's paging goes round in circles; going on would never end."""


class TokenSource(Protocol):
    """Where a client gets its access token from."""

    async def access_token(self, *, rejected: str | None = None) -> str:
        """A token to use now; `rejected` is one that the vendor has just refused as expired or invalid."""


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


@dataclass(frozen=True, slots=True)
class OpportunityPage:
    """One page of opportunities; `next` is the number of the next page, None at the end."""

    opportunities: list[WireOpportunity]
    next: int | None
    total: int


class GoHighLevel:
    """Calls as the holder of one token; `resource_id` is the location's or the company's id, to which the rate limit applies.

    Every method raises VendorBusy, VendorDown, VendorUnauthorized (the token cannot be renewed), or VendorRefused and its
    narrower MissingScope, AccountSuspended, NoSuchContact and DuplicateContact; or Invalid for a malformed id.
    """

    def __init__(self, http: VendorHttp, *, base_url: str, limiter: Limiter, tokens: TokenSource, resource_id: str) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._limiter = limiter
        self._tokens = tokens
        self._resource_id = resource_id

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
        answer = await self._call("contacts.search", "POST", "/contacts/search", json=body)
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
        answer = await self._call("contacts.get", "GET", f"/contacts/{_id(contact_id)}")
        return self._own_contact(answer)

    async def create_contact(self, location_id: str, fields: Mapping[str, Any]) -> WireContact:
        """Create from the vendor's own field names; custom fields as `{"id", "field_value"}`. May raise DuplicateContact."""
        answer = await self._call("contacts.create", "POST", "/contacts/", json={**fields, "locationId": location_id})
        return self._own_contact(answer)

    async def update_contact(self, contact_id: str, fields: Mapping[str, Any]) -> WireContact:
        """Change these fields; `tags`, where given, replaces all tags. May raise DuplicateContact."""
        answer = await self._call("contacts.update", "PUT", f"/contacts/{_id(contact_id)}", json=dict(fields))
        return self._own_contact(answer)

    async def upsert_contact(self, location_id: str, fields: Mapping[str, Any]) -> tuple[WireContact, bool]:
        """Create, or update the contact of the same e-mail or phone; the contact, and whether it is new."""
        answer = await self._call("contacts.upsert", "POST", "/contacts/upsert", json={**fields, "locationId": location_id})
        return self._own_contact(answer), answer.object().get("new") is True

    async def delete_contact(self, contact_id: str) -> None:
        """Delete. Raises NoSuchContact."""
        await self._call("contacts.delete", "DELETE", f"/contacts/{_id(contact_id)}")

    async def add_tags(self, contact_id: str, tags: Sequence[str]) -> list[str]:
        """Add to a contact's tags; all of its tags then, in lower case."""
        answer = await self._call("contacts.tags.add", "POST", f"/contacts/{_id(contact_id)}/tags", json={"tags": list(tags)})
        return _texts(answer, "tags")

    async def remove_tags(self, contact_id: str, tags: Sequence[str]) -> list[str]:
        """Take from a contact's tags; those that remain."""
        path = f"/contacts/{_id(contact_id)}/tags"
        answer = await self._call("contacts.tags.remove", "DELETE", path, json={"tags": list(tags)})
        return _texts(answer, "tags")

    async def notes(self, contact_id: str) -> list[WireNote]:
        """All notes of a contact."""
        answer = await self._call("notes.list", "GET", f"/contacts/{_id(contact_id)}/notes")
        return cast("list[WireNote]", _rows(answer, "notes"))

    async def create_note(self, contact_id: str, body: str) -> WireNote:
        """Write a note on a contact."""
        answer = await self._call("notes.create", "POST", f"/contacts/{_id(contact_id)}/notes", json={"body": body})
        return cast("WireNote", _row(answer, "note"))

    async def custom_fields(self, location_id: str) -> list[WireCustomField]:
        """The custom fields that contacts of a location may have."""
        path = f"/locations/{_id(location_id)}/customFields"
        answer = await self._call("custom_fields.list", "GET", path, params={"model": "contact"})
        return cast("list[WireCustomField]", _rows(answer, "customFields"))

    async def tags(self, location_id: str) -> list[WireTag]:
        """The tags known in a location."""
        answer = await self._call("tags.list", "GET", f"/locations/{_id(location_id)}/tags")
        return cast("list[WireTag]", _rows(answer, "tags"))

    async def pipelines(self, location_id: str) -> list[WirePipeline]:
        """The pipelines of a location with their stages."""
        answer = await self._call("pipelines.list", "GET", "/opportunities/pipelines", params={"locationId": location_id})
        return cast("list[WirePipeline]", _rows(answer, "pipelines"))

    async def search_opportunities(
        self,
        location_id: str,
        *,
        page: int = 1,
        limit: int = 100,
        pipeline_id: str | None = None,
        contact_id: str | None = None,
    ) -> OpportunityPage:
        """A page of opportunities, numbered from 1."""
        params: dict[str, str | int] = {"location_id": location_id, "page": page, "limit": limit}
        if pipeline_id is not None:
            params["pipeline_id"] = pipeline_id
        if contact_id is not None:
            params["contact_id"] = contact_id
        answer = await self._call("opportunities.search", "GET", "/opportunities/search", params=params)
        rows = cast("list[WireOpportunity]", _rows(answer, "opportunities"))
        meta = answer.object().get("meta")
        total = meta.get("total") if isinstance(meta, dict) else None
        if not isinstance(total, int):
            raise answer.unreadable()
        return OpportunityPage(rows, next=page + 1 if rows and page * limit < total else None, total=total)

    async def calendars(self, location_id: str) -> list[WireCalendar]:
        """The calendars of a location."""
        answer = await self._call(
            "calendars.list", "GET", "/calendars/", params={"locationId": location_id}, version=CALENDARS_VERSION
        )
        return cast("list[WireCalendar]", _rows(answer, "calendars"))

    async def campaigns(self, location_id: str) -> list[WireNamed]:
        """The legacy campaigns of a location."""
        answer = await self._call("campaigns.list", "GET", "/campaigns/", params={"locationId": location_id})
        return cast("list[WireNamed]", _rows(answer, "campaigns"))

    async def workflows(self, location_id: str) -> list[WireNamed]:
        """The workflows of a location; the vendor tells no more of them than their names."""
        answer = await self._call("workflows.list", "GET", "/workflows/", params={"locationId": location_id})
        return cast("list[WireNamed]", _rows(answer, "workflows"))

    async def locations(self, company_id: str) -> list[WireLocation]:
        """All locations of an agency, whether or not the app is installed there; needs a company's token."""
        found: dict[str, WireLocation] = {}
        skip = 0
        while True:
            params: dict[str, str | int] = {"companyId": company_id, "skip": skip, "limit": _LOCATIONS_PAGE}
            answer = await self._call("locations.search", "GET", "/locations/search", params=params)
            rows = _rows(answer, "locations")
            if not rows:
                return list(found.values())
            before = len(found)
            found.update((row["id"], cast("WireLocation", row)) for row in rows if isinstance(row.get("id"), str))
            if len(found) == before:
                raise RepeatedCursor("GoHighLevel repeats its pages of locations", status=answer.status)
            # Not by the limit asked for: the vendor may have given fewer and have more.
            skip += len(rows)

    async def location(self, location_id: str) -> WireLocation:
        """One location."""
        answer = await self._call("locations.get", "GET", f"/locations/{_id(location_id)}")
        return cast("WireLocation", _row(answer, "location"))

    async def company(self, company_id: str) -> WireCompany:
        """One agency; needs a company's token."""
        answer = await self._call("companies.get", "GET", f"/companies/{_id(company_id)}")
        return cast("WireCompany", _row(answer, "company"))

    async def _call(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        version: str = VERSION,
    ) -> Answer:
        async def attempt(token: str) -> tuple[Answer, Rate]:
            headers = {"Authorization": f"Bearer {token}", "Version": version}
            url = self._base_url + path
            async with self._limiter.slot(self._resource_id) as slot:
                answer = await self._http.send(method, url, operation=operation, headers=headers, params=params, json=json)
                slot.rate = read_rate(answer)
                return answer, slot.rate

        token = await self._tokens.access_token()
        answer, rate = await attempt(token)
        if expired(answer):
            renewed = await self._tokens.access_token(rejected=token)
            if renewed == token:
                raise VendorUnauthorized("GoHighLevel no longer accepts the stored authorisation", status=answer.status)
            answer, rate = await attempt(renewed)
        return checked(answer, rate)

    def _own_contact(self, answer: Answer) -> WireContact:
        contact = _row(answer, "contact")
        if contact.get("locationId", self._resource_id) != self._resource_id:
            raise VendorDown("GoHighLevel answered with another location's contact", status=answer.status)
        return cast("WireContact", contact)


def _id(text: str) -> str:
    """An id fit to be a part of a path. Raises Invalid for what no id of the vendor's looks like."""
    if not _ID.fullmatch(text):
        raise Invalid("This is no id of GoHighLevel's")
    return text


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


def _rows(answer: Answer, key: str) -> list[dict[str, Any]]:
    rows = answer.object().get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise answer.unreadable()
    return rows


def _row(answer: Answer, key: str) -> dict[str, Any]:
    row = answer.object().get(key)
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise answer.unreadable()
    return row


def _texts(answer: Answer, key: str) -> list[str]:
    texts = answer.object().get(key)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise answer.unreadable()
    return texts
