"""Pipelines and opportunities."""

from domain.vendors.sandbox.gohighlevel import dto
from domain.vendors.sandbox.gohighlevel.answers import Answer, Json, foreign_location, ok, refused, trace_id
from domain.vendors.sandbox.gohighlevel.door import Call, Endpoint
from domain.vendors.sandbox.gohighlevel.opportunity_search import STATUSES, search_by_body, search_by_query, shown
from domain.vendors.sandbox.gohighlevel.state import Location

_STATUS = dto.one_of(*STATUSES)
LOCATION_QUERY: dto.Shape = {"locationId": dto.required(dto.text())}
FIELDS: dto.Shape = {
    "pipelineId": dto.optional(dto.text()),
    "name": dto.optional(dto.text()),
    "pipelineStageId": dto.optional(dto.text()),
    "status": dto.optional(_STATUS),
    "monetaryValue": dto.optional(dto.number),
    "assignedTo": dto.optional(dto.nullable(dto.text())),
    "customFields": dto.optional(dto.objects),
}
CREATE_BODY: dto.Shape = {
    **FIELDS,
    "pipelineId": dto.required(dto.text()),
    "locationId": dto.required(dto.text()),
    "name": dto.required(dto.text()),
    "status": dto.required(_STATUS),
    "contactId": dto.required(dto.text()),
}
UPSERT_BODY: dto.Shape = {
    **FIELDS,
    "id": dto.optional(dto.text()),
    "pipelineId": dto.required(dto.text()),
    "locationId": dto.required(dto.text()),
    "contactId": dto.optional(dto.text()),
    "followers": dto.optional(dto.texts),
    "isRemoveAllFollowers": dto.optional(dto.boolean),
    "followersActionType": dto.optional(dto.one_of("add", "remove")),
    "lostReasonId": dto.optional(dto.text()),
}
STATUS_BODY: dto.Shape = {"status": dto.required(_STATUS), "lostReasonId": dto.optional(dto.text())}
FOLLOWERS_BODY: dto.Shape = {"followers": dto.required(dto.texts)}
EVENTS = {
    "pipelineStageId": "OpportunityStageUpdate",
    "status": "OpportunityStatusUpdate",
    "monetaryValue": "OpportunityMonetaryValueUpdate",
    "assignedTo": "OpportunityAssignedToUpdate",
}
"""The event that a change of a field causes, beside OpportunityUpdate."""


def pipelines(call: Call) -> Answer:
    """GET /opportunities/pipelines"""
    return ok({"pipelines": call.location(call.params(LOCATION_QUERY)["locationId"]).pipelines, "traceId": trace_id()})


def get(call: Call) -> Answer:
    """GET /opportunities/{id}"""
    return _answer(call, _one(call))


def create(call: Call) -> Answer:
    """POST /opportunities/"""
    body = call.input(CREATE_BODY)
    location = call.location(body["locationId"])
    call.contact(body["contactId"])
    _refuse_second(location, body)
    row = _create(call, location, body)
    return _answer(call, row, status=201)


def _refuse_second(location: Location, body: Json) -> None:
    same = (body.get("contactId"), body["pipelineId"])
    taken = any((row["contactId"], row["pipelineId"]) == same for row in location.opportunities.values())
    if taken and not location.data["settings"]["allowDuplicateOpportunity"]:
        raise refused(400, "Can not create duplicate opportunity for the contact.")


def _create(call: Call, location: Location, body: Json) -> Json:
    stages = _stages(location, body["pipelineId"])
    now = call.world.clock.iso()
    row: Json = {
        "id": call.world.new_id(),
        "name": body.get("name", ""),
        "monetaryValue": body.get("monetaryValue", 0),
        "pipelineId": body["pipelineId"],
        "pipelineStageId": body.get("pipelineStageId") or stages[0],
        "assignedTo": body.get("assignedTo"),
        "status": body.get("status", "open"),
        "source": "public api",
        **dict.fromkeys(("lastStatusChangeAt", "lastStageChangeAt", "lastActionDate", "createdAt", "updatedAt"), now),
        "contactId": body.get("contactId"),
        "locationId": location.id,
        "customFields": _custom(body),
        "followers": [],
    }
    if row["pipelineStageId"] not in stages:
        raise refused(400, "The pipeline stage id is invalid.")
    location.opportunities[row["id"]] = row
    _announce(call, "OpportunityCreate", row)
    return row


def _stages(location: Location, pipeline_id: str) -> list[str]:
    for pipeline in location.pipelines:
        if pipeline["id"] == pipeline_id:
            return [stage["id"] for stage in pipeline["stages"]]
    raise refused(400, "The pipeline id is invalid.")


def _custom(body: Json) -> list[Json]:
    return [
        {"id": item["id"], "value": item["field_value"]}
        for item in body.get("customFields", [])
        if "id" in item and "field_value" in item
    ]


def update(call: Call) -> Answer:
    """PUT /opportunities/{id}"""
    row, body = _one(call), call.input(FIELDS)
    _change(call, row, body)
    return _answer(call, row)


def set_status(call: Call) -> Answer:
    """PUT /opportunities/{id}/status"""
    row, body = _one(call), call.input(STATUS_BODY)
    _change(call, row, body)
    return ok({"succeded": True})


def _change(call: Call, row: Json, body: Json) -> None:
    now = call.world.clock.iso()
    wanted = {**body, **({"customFields": _custom(body)} if "customFields" in body else {})}
    moved = wanted.get("pipelineStageId", row["pipelineStageId"])
    if {"pipelineId", "pipelineStageId"} & set(wanted):
        stages = _stages(call.location(), str(wanted.get("pipelineId", row["pipelineId"])))
        if moved not in stages:
            raise refused(400, "The pipeline stage id is invalid.")
    changed = [name for name, value in wanted.items() if row.get(name) != value]
    row.update(wanted)
    row["updatedAt"] = now
    if "status" in changed:
        row["lastStatusChangeAt"] = now
    if "pipelineStageId" in changed:
        row["lastStageChangeAt"] = now
    _announce(call, "OpportunityUpdate", row)
    for name in changed:
        if name in EVENTS:
            _announce(call, EVENTS[name], row)


def upsert(call: Call) -> Answer:
    """POST /opportunities/upsert: found by id, else by contact and pipeline."""
    body = call.input(UPSERT_BODY)
    location = call.location(body["locationId"])
    same = (body.get("contactId"), body["pipelineId"])
    row = location.opportunities.get(body.get("id", "")) or next(
        (each for each in location.opportunities.values() if (each["contactId"], each["pipelineId"]) == same), None
    )
    if row is None:
        call.contact(body.get("contactId", ""))
        made = _create(call, location, body)
        return ok({"new": True, "opportunity": shown(location, made), "traceId": trace_id()})
    _change(call, row, {name: value for name, value in body.items() if name in FIELDS})
    return ok({"new": False, "opportunity": shown(location, row), "traceId": trace_id()})


def delete(call: Call) -> Answer:
    """DELETE /opportunities/{id}"""
    row = _one(call)
    del call.location().opportunities[row["id"]]
    _announce(call, "OpportunityDelete", row)
    return ok({"succeded": True})


def add_followers(call: Call) -> Answer:
    """POST /opportunities/{id}/followers"""
    row, wanted = _one(call), call.input(FOLLOWERS_BODY)["followers"]
    added = [each for each in wanted if each not in row["followers"]]
    row["followers"] = [*row["followers"], *added]
    return ok({"followers": row["followers"], "followersAdded": added}, status=201)


def remove_followers(call: Call) -> Answer:
    """DELETE /opportunities/{id}/followers, with a body"""
    row, wanted = _one(call), call.input(FOLLOWERS_BODY)["followers"]
    removed = [each for each in row["followers"] if each in wanted]
    row["followers"] = [each for each in row["followers"] if each not in wanted]
    return ok({"followers": row["followers"], "followersRemoved": removed})


def _one(call: Call) -> Json:
    row_id = call.path["id"]
    row = call.location().opportunities.get(row_id)
    if row is None:
        if any(row_id in location.opportunities for location in call.world.awake()):
            raise foreign_location()
        raise refused(400, f"Opportunity with id {row_id} not found")
    return row


def _answer(call: Call, row: Json, *, status: int = 200) -> Answer:
    return ok({"opportunity": shown(call.location(), row), "traceId": trace_id()}, status=status)


def _announce(call: Call, event: str, row: Json) -> None:
    fields = ("id", "assignedTo", "contactId", "monetaryValue", "name", "pipelineId", "pipelineStageId", "source", "status")
    known = {name: row[name] for name in fields if row[name] is not None}
    call.world.webhooks.send({"type": event, "locationId": row["locationId"], **known, "dateAdded": row["createdAt"]})


_READ, _WRITE = "opportunities.readonly", "opportunities.write"
ENDPOINTS = (
    Endpoint("GET", "/opportunities/pipelines", pipelines, _READ),
    Endpoint("GET", "/opportunities/search", search_by_query, _READ),
    Endpoint("POST", "/opportunities/search", search_by_body, _READ),
    Endpoint("POST", "/opportunities", create, _WRITE),
    Endpoint("POST", "/opportunities/upsert", upsert, _WRITE),
    Endpoint("GET", "/opportunities/{id}", get, _READ),
    Endpoint("PUT", "/opportunities/{id}", update, _WRITE),
    Endpoint("DELETE", "/opportunities/{id}", delete, _WRITE),
    Endpoint("PUT", "/opportunities/{id}/status", set_status, _WRITE),
    Endpoint("POST", "/opportunities/{id}/followers", add_followers, _WRITE),
    Endpoint("DELETE", "/opportunities/{id}/followers", remove_followers, _WRITE),
)
