"""Searching opportunities, in the two ways the vendor has, and how an opportunity is shown."""

from collections.abc import Iterable
from urllib.parse import urlencode

from domain.vendors.sandbox.gohighlevel import dto
from domain.vendors.sandbox.gohighlevel.answers import Answer, Json, ok, refused, trace_id
from domain.vendors.sandbox.gohighlevel.contact_book import epoch_ms, full_name
from domain.vendors.sandbox.gohighlevel.door import Call
from domain.vendors.sandbox.gohighlevel.state import Location

STATUSES = ("open", "won", "lost", "abandoned")
SEARCH_QUERY: dto.Shape = {
    # Snake case but for three, as the vendor has it.
    "location_id": dto.required(dto.text()),
    **dto.each(dto.text(), "q", "pipeline_id", "pipeline_stage_id", "contact_id", "assigned_to", "campaignId", "id", "order"),
    **dto.each(dto.text(), "endDate", "date", "country", "startAfterId"),
    "status": dto.optional(dto.one_of(*STATUSES, "all")),
    "startAfter": dto.optional(dto.integer()),
    "page": dto.optional(dto.integer(least=1)),
    "limit": dto.optional(dto.integer(least=1, most=100)),
    **dto.each(dto.boolean, "getTasks", "getNotes", "getCalendarEvents"),
}
SEARCH_BODY: dto.Shape = {
    "locationId": dto.required(dto.text()),
    "limit": dto.required(dto.integer(least=1, most=500)),
    "query": dto.optional(dto.text()),
    "page": dto.optional(dto.integer(least=1)),
    "searchAfter": dto.optional(dto.items),
    "additionalDetails": dto.optional(dto.an_object),
    "filters": dto.optional(dto.objects),
    "sort": dto.optional(dto.objects),
}
QUERY_FIELDS = {
    "pipeline_id": "pipelineId",
    "pipeline_stage_id": "pipelineStageId",
    "contact_id": "contactId",
    "assigned_to": "assignedTo",
    "id": "id",
}


def search_by_query(call: Call) -> Answer:
    """GET /opportunities/search: by `page`, or by `startAfter` and `startAfterId`."""
    query = call.params(SEARCH_QUERY)
    location = call.location(query["location_id"])
    rows = [row for row in _sorted(location) if all(row[QUERY_FIELDS[n]] == v for n, v in query.items() if n in QUERY_FIELDS)]
    if query.get("status", "all") != "all":
        rows = [row for row in rows if row["status"] == query["status"]]
    rows = _matching(location, rows, query.get("q", ""))
    total, limit, page = len(rows), int(query.get("limit", 20)), int(query.get("page", 1))
    if "startAfter" in query:
        rows = _after(rows, int(query["startAfter"]), query.get("startAfterId", ""))
    else:
        rows = rows[(page - 1) * limit :]
    meta: Json = {"total": total, "currentPage": page}
    if page > 1:
        meta["prevPage"] = page - 1
    page_rows = rows[:limit]
    if page_rows:
        meta |= {"startAfter": epoch_ms(page_rows[-1]["createdAt"]), "startAfterId": page_rows[-1]["id"]}
    if len(rows) > limit:
        onward = {**query, "limit": limit, "startAfter": meta["startAfter"], "startAfterId": meta["startAfterId"]}
        address = f"https://services.leadconnectorhq.com/opportunities/search?{urlencode(onward)}"
        meta |= {"nextPage": page + 1, "nextPageUrl": address}
    return ok({"opportunities": [shown(location, row) for row in page_rows], "meta": meta, "traceId": trace_id()})


def search_by_body(call: Call) -> Answer:
    """POST /opportunities/search: by `page`, or by `searchAfter`."""
    body = call.input(SEARCH_BODY)
    location = call.location(body["locationId"])
    rows = _matching(location, _sorted(location), body.get("query", ""))
    for part in body.get("filters", []):
        rows = [row for row in rows if _fits(row, part)]
    total = len(rows)
    if after := body.get("searchAfter"):
        created = epoch_ms(after[0])
        if created is None:
            raise refused(400, "searchAfter is invalid")
        rows = _after(rows, created, str(after[-1]))
    else:
        rows = rows[(body.get("page", 1) - 1) * body["limit"] :]
    page = [{**shown(location, row), "sort": [epoch_ms(row["createdAt"]), row["id"]]} for row in rows[: body["limit"]]]
    return ok({"opportunities": page, "total": total, "traceId": trace_id()})


def _fits(row: Json, part: Json) -> bool:
    if part.get("operator", "eq") != "eq" or part.get("field") not in row:
        raise refused(422, ["filters: only eq on a field of the opportunity is known to the sandbox"])
    return bool(row[part["field"]] == part.get("value"))


def _sorted(location: Location) -> list[Json]:
    return sorted(location.opportunities.values(), key=_place)


def _place(row: Json) -> tuple[int, str]:
    return -(epoch_ms(row["createdAt"]) or 0), row["id"]


def _after(rows: list[Json], created: int, row_id: str) -> list[Json]:
    return [row for row in rows if _place(row) > (-created, row_id)]


def _matching(location: Location, rows: Iterable[Json], text: str) -> list[Json]:
    wanted = text.strip().lower()
    return [row for row in rows if wanted in f"{row['name']} {_contact(location, row).get('name', '')}".lower()]


def _contact(location: Location, row: Json) -> Json:
    contact = location.contacts.get(row["contactId"])
    if contact is None:
        return {}
    fields = {name: contact.data.get(name) or "" for name in ("companyName", "email", "phone")}
    return {"id": contact.id, "name": full_name(contact.data), **fields, "tags": contact.data.get("tags") or []}


def shown(location: Location, row: Json) -> Json:
    """The opportunity as the vendor answers it, with its contact."""
    custom = [{"id": field["id"], "fieldValue": field["value"]} for field in row["customFields"]]
    plain = {name: value for name, value in row.items() if value is not None}
    return {**plain, "customFields": custom, "contact": _contact(location, row), "notes": [], "tasks": [], "calendarEvents": []}
