"""GoHighLevel's API as one token holder sees it: a location, or an agency."""

from dataclasses import dataclass
from typing import cast

from domain.vendors.gohighlevel.calls import RepeatedCursor, path_id, row_of, rows_of
from domain.vendors.gohighlevel.contacts import Contacts
from domain.vendors.gohighlevel.wire import (
    WireCalendar,
    WireCompany,
    WireCustomField,
    WireLocation,
    WireNamed,
    WireOpportunity,
    WirePipeline,
    WireTag,
)

CALENDARS_VERSION = "2021-04-15"

_LOCATIONS_PAGE = 100


@dataclass(frozen=True, slots=True)
class OpportunityPage:
    """One page of opportunities; `next` is the number of the next page, None at the end."""

    opportunities: list[WireOpportunity]
    next: int | None
    total: int


class GoHighLevel(Contacts):
    """Calls as the holder of one token; `resource_id` is the location's or the company's id, to which the rate limit applies.

    Every method raises VendorBusy, VendorDown, VendorUnauthorized (the token cannot be renewed), or VendorRefused and its
    narrower MissingScope, AccountSuspended, NoSuchContact and DuplicateContact; or Invalid for a malformed id.
    """

    async def custom_fields(self, location_id: str) -> list[WireCustomField]:
        """The custom fields that contacts of a location may have."""
        path = f"/locations/{path_id(location_id)}/customFields"
        answer = await self.call("custom_fields.list", "GET", path, params={"model": "contact"})
        return cast("list[WireCustomField]", rows_of(answer, "customFields"))

    async def tags(self, location_id: str) -> list[WireTag]:
        """The tags known in a location."""
        answer = await self.call("tags.list", "GET", f"/locations/{path_id(location_id)}/tags")
        return cast("list[WireTag]", rows_of(answer, "tags"))

    async def pipelines(self, location_id: str) -> list[WirePipeline]:
        """The pipelines of a location with their stages."""
        answer = await self.call("pipelines.list", "GET", "/opportunities/pipelines", params={"locationId": location_id})
        return cast("list[WirePipeline]", rows_of(answer, "pipelines"))

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
        answer = await self.call("opportunities.search", "GET", "/opportunities/search", params=params)
        rows = cast("list[WireOpportunity]", rows_of(answer, "opportunities"))
        meta = answer.object().get("meta")
        total = meta.get("total") if isinstance(meta, dict) else None
        if not isinstance(total, int):
            raise answer.unreadable()
        return OpportunityPage(rows, next=page + 1 if rows and page * limit < total else None, total=total)

    async def calendars(self, location_id: str) -> list[WireCalendar]:
        """The calendars of a location."""
        answer = await self.call(
            "calendars.list", "GET", "/calendars/", params={"locationId": location_id}, version=CALENDARS_VERSION
        )
        return cast("list[WireCalendar]", rows_of(answer, "calendars"))

    async def campaigns(self, location_id: str) -> list[WireNamed]:
        """The legacy campaigns of a location."""
        answer = await self.call("campaigns.list", "GET", "/campaigns/", params={"locationId": location_id})
        return cast("list[WireNamed]", rows_of(answer, "campaigns"))

    async def workflows(self, location_id: str) -> list[WireNamed]:
        """The workflows of a location; the vendor tells no more of them than their names."""
        answer = await self.call("workflows.list", "GET", "/workflows/", params={"locationId": location_id})
        return cast("list[WireNamed]", rows_of(answer, "workflows"))

    async def locations(self, company_id: str) -> list[WireLocation]:
        """All locations of an agency, whether or not the app is installed there; needs a company's token."""
        found: dict[str, WireLocation] = {}
        skip = 0
        while True:
            params: dict[str, str | int] = {"companyId": company_id, "skip": skip, "limit": _LOCATIONS_PAGE}
            answer = await self.call("locations.search", "GET", "/locations/search", params=params)
            rows = rows_of(answer, "locations")
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
        answer = await self.call("locations.get", "GET", f"/locations/{path_id(location_id)}")
        return cast("WireLocation", row_of(answer, "location"))

    async def company(self, company_id: str) -> WireCompany:
        """One agency; needs a company's token."""
        answer = await self.call("companies.get", "GET", f"/companies/{path_id(company_id)}")
        return cast("WireCompany", row_of(answer, "company"))
