"""Contacts: search, list, read, create, change, upsert, delete. What hangs on a contact is in `contact_details.py`."""

from urllib.parse import urlencode

import orjson

from domain.vendors.sandbox.gohighlevel import contact_rules as rules
from domain.vendors.sandbox.gohighlevel import dto
from domain.vendors.sandbox.gohighlevel.answers import Answer, Json, ok, refused, trace_id
from domain.vendors.sandbox.gohighlevel.contact_book import Contact
from domain.vendors.sandbox.gohighlevel.door import Call, Endpoint
from domain.vendors.sandbox.gohighlevel.search import matches_query
from domain.vendors.sandbox.gohighlevel.search import search as search_contacts
from domain.vendors.sandbox.gohighlevel.seed import NORTHWIND_FIRST, contact_id
from domain.vendors.sandbox.gohighlevel.state import Location

LIST_QUERY: dto.Shape = {
    "locationId": dto.required(dto.text()),
    "limit": dto.optional(dto.integer(least=1, most=100)),
    "query": dto.optional(dto.text()),
    "startAfter": dto.optional(dto.integer()),
    "startAfterId": dto.optional(dto.text()),
}
DUPLICATE_QUERY: dto.Shape = {
    "locationId": dto.required(dto.text()),
    "number": dto.optional(dto.text()),
    "email": dto.optional(dto.text()),
}


def search(call: Call) -> Answer:
    """POST /contacts/search"""
    named = call.body.get("locationId") if isinstance(call.body, dict) else None
    location = call.location(named if isinstance(named, str) else None)
    answer = search_contacts(location.contacts, call.body)
    if "repeat_cursor" in call.quirks:
        answer = _with_cursor_repeated(answer, call.body)
    if "wrong_tenant" in call.quirks:
        answer = _with_stranger(answer, call, location)
    return Answer(200, answer)


def _with_cursor_repeated(answer: bytes, body: Json) -> bytes:
    content = orjson.loads(answer)
    for row in content["contacts"]:
        row["searchAfter"] = body.get("searchAfter") or content["contacts"][0]["searchAfter"]
    return orjson.dumps(content)


def _with_stranger(answer: bytes, call: Call, location: Location) -> bytes:
    content = orjson.loads(answer)
    wanted = call.quirks["wrong_tenant"].get("location") or NORTHWIND_FIRST.id
    other = call.world.location(wanted)
    if other is None or other is location:
        return answer
    stranger = other.contacts.get(contact_id(other.seeded, 0)) or next(iter(other.contacts))
    rows = content["contacts"]
    rows.insert(len(rows) // 2, orjson.loads(other.contacts.found_json(stranger)))
    return orjson.dumps(content)


def list_all(call: Call) -> Answer:
    """GET /contacts/ (deprecated but alive): newest first, paged by `startAfter` and `startAfterId`."""
    query = call.params(LIST_QUERY)
    location = call.location(query["locationId"])
    contacts = location.contacts.ordered("list", _list_key)
    if text := query.get("query", "").strip().lower():
        contacts = [contact for contact in contacts if matches_query(contact, text)]
    total, limit = len(contacts), int(query.get("limit", 20))
    if "startAfter" in query:
        after = (-int(query["startAfter"]), query.get("startAfterId", ""))
        contacts = [contact for contact in contacts if _list_key(contact) > after]
    page, more = contacts[:limit], len(contacts) > limit
    seen = total - len(contacts)
    meta: Json = {"total": total, "currentPage": seen // limit + 1, "nextPage": None, "prevPage": None, "nextPageUrl": None}
    meta["prevPage"] = meta["currentPage"] - 1 or None
    if page:
        meta |= {"startAfter": page[-1].added, "startAfterId": page[-1].id}
    if more:
        onward = {**query, "limit": limit, "startAfter": page[-1].added, "startAfterId": page[-1].id}
        meta |= {
            "nextPage": meta["currentPage"] + 1,
            "nextPageUrl": f"https://services.leadconnectorhq.com/contacts/?{urlencode(onward)}",
        }
    rows = [{**contact.details(), "contactName": contact.details()["name"]} for contact in page]
    return ok({"contacts": rows, "count": total, "meta": meta, "traceId": trace_id()})


def _list_key(contact: Contact) -> tuple[int, str]:
    return -contact.added, contact.id


def find_duplicate(call: Call) -> Answer:
    """GET /contacts/search/duplicate"""
    query = call.params(DUPLICATE_QUERY)
    location = call.location(query["locationId"])
    if not query.get("email") and not query.get("number"):
        raise refused(422, ["email or number should not be empty"])
    twin = location.contacts.twin(email=query.get("email"), phone=query.get("number"))
    return ok({"contact": twin[0].details() if twin else None, "traceId": trace_id()})


def get(call: Call) -> Answer:
    """GET /contacts/{id}"""
    return ok({"contact": call.contact(call.path["id"]).details(), "traceId": trace_id()})


def create(call: Call) -> Answer:
    """POST /contacts/"""
    body = call.input(rules.CREATE_BODY)
    location = call.location(body["locationId"])
    if not location.data["settings"]["allowDuplicateContact"]:
        rules.refuse_twin(location, body, but=None)
    contact = rules.create(call.world, location, body)
    rules.announce(call.world, "ContactCreate", contact)
    return ok({"contact": contact.details(), "traceId": trace_id()}, status=201)


def update(call: Call) -> Answer:
    """PUT /contacts/{id}: `tags` replaces all tags; a custom field that is not named stays."""
    contact, body = call.contact(call.path["id"]), call.input(rules.UPDATE_BODY)
    location = call.location()
    if not location.data["settings"]["allowDuplicateContact"]:
        rules.refuse_twin(location, body, but=contact.id)
    rules.change(call.world, location, contact, body)
    return ok({"succeded": True, "contact": contact.details(), "traceId": trace_id()})


def upsert(call: Call) -> Answer:
    """POST /contacts/upsert: found by e-mail address, else by number; 200 in either case, `new` tells which."""
    body = call.input(rules.UPSERT_BODY)
    location = call.location(body.pop("locationId"))
    body.pop("createNewIfDuplicateAllowed", None)
    if not body.get("email") and not body.get("phone"):
        raise refused(422, ["email or phone should not be empty"])
    twin = location.contacts.twin(email=body.get("email"), phone=body.get("phone"))
    if twin is None:
        contact = rules.create(call.world, location, body)
        rules.announce(call.world, "ContactCreate", contact)
    else:
        contact = twin[0]
        # The vendor drops, silently, a number that is another contact's.
        other = location.contacts.twin(phone=body.get("phone"), but=contact.id)
        rules.change(call.world, location, contact, {k: v for k, v in body.items() if k != "phone" or other is None})
    return ok({"new": twin is None, "contact": contact.details(), "traceId": trace_id()})


def delete(call: Call) -> Answer:
    """DELETE /contacts/{id}"""
    contact = call.contact(call.path["id"])
    call.location().contacts.remove(contact.id)
    rules.announce(call.world, "ContactDelete", contact)
    return ok({"succeded": True, "traceId": trace_id()})


ENDPOINTS = (
    Endpoint("POST", "/contacts/search", search, "contacts.readonly"),
    Endpoint("GET", "/contacts/search/duplicate", find_duplicate, "contacts.readonly"),
    Endpoint("GET", "/contacts", list_all, "contacts.readonly"),
    Endpoint("POST", "/contacts", create, "contacts.write"),
    Endpoint("POST", "/contacts/upsert", upsert, "contacts.write"),
    Endpoint("GET", "/contacts/{id}", get, "contacts.readonly"),
    Endpoint("PUT", "/contacts/{id}", update, "contacts.write"),
    Endpoint("DELETE", "/contacts/{id}", delete, "contacts.write"),
)
