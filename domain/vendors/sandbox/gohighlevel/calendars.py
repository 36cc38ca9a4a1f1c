"""Calendars, their groups, free slots, events and appointments."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.vendors.sandbox.gohighlevel import dto
from domain.vendors.sandbox.gohighlevel.answers import Answer, Json, foreign_location, ok, refused, trace_id
from domain.vendors.sandbox.gohighlevel.contact_book import epoch_ms, iso
from domain.vendors.sandbox.gohighlevel.door import Call, Endpoint
from domain.vendors.sandbox.gohighlevel.slots import MINUTES, free_slots
from domain.vendors.sandbox.gohighlevel.state import Location

MOST_DAYS = 31
DAY_MS = 86_400_000
LAST_MS = 7_258_118_400_000
"""The year 2200: later moments are refused."""
_MOMENT = dto.integer(least=0, most=LAST_MS)
STATUSES = ("new", "confirmed", "cancelled", "showed", "noshow", "invalid")
LOCATION_QUERY: dto.Shape = {"locationId": dto.required(dto.text())}
LIST_QUERY: dto.Shape = {**LOCATION_QUERY, "groupId": dto.optional(dto.text()), "showDrafted": dto.optional(dto.boolean)}
SLOTS_QUERY: dto.Shape = {
    "startDate": dto.required(_MOMENT),
    "endDate": dto.required(_MOMENT),
    "timezone": dto.optional(dto.text()),
    "userId": dto.optional(dto.text()),
    "userIds": dto.optional(dto.anything),
}
EVENTS_QUERY: dto.Shape = {
    **LOCATION_QUERY,
    "startTime": dto.required(_MOMENT),
    "endTime": dto.required(_MOMENT),
    **dto.each(dto.text(), "userId", "calendarId", "groupId"),
}
_UNIT = dto.one_of("mins", "hours")
_WINDOW = dto.one_of("hours", "days", "weeks", "months")
CALENDAR_FIELDS: dto.Shape = {
    **dto.each(dto.text(), "groupId", "name", "description", "slug", "widgetSlug", "widgetType", "eventTitle", "eventColor"),
    **dto.each(dto.text(), "formId", "meetingLocation", "alertEmail", "notes", "pixelId", "eventType", "calendarType"),
    **dto.each(dto.text(), "formSubmitType", "formSubmitRedirectURL", "formSubmitThanksMessage", "guestType", "consentLabel"),
    **dto.each(dto.text(), "calendarCoverImage"),
    **dto.each(dto.boolean, "isActive", "enableRecurring", "stickyContact", "isLivePaymentMode", "autoConfirm"),
    **dto.each(dto.boolean, "googleInvitationEmails", "allowReschedule", "allowCancellation"),
    **dto.each(dto.boolean, "shouldAssignContactToTeamMember", "shouldSkipAssigningContactForExisting"),
    **dto.each(dto.boolean, "shouldSendAlertEmailsToAssignedMember"),
    **dto.each(dto.number, "slotDuration", "slotInterval", "slotBuffer", "preBuffer", "appoinmentPerSlot", "appoinmentPerDay"),
    **dto.each(dto.number, "allowBookingAfter", "allowBookingFor", "availabilityType"),
    **dto.each(_UNIT, "slotDurationUnit", "slotIntervalUnit", "slotBufferUnit", "preBufferUnit"),
    **dto.each(_WINDOW, "allowBookingAfterUnit", "allowBookingForUnit"),
    **dto.each(dto.objects, "notifications", "teamMembers", "openHours", "availabilities", "locationConfigurations"),
    **dto.each(dto.an_object, "recurring", "lookBusyConfig"),
}
CREATE_CALENDAR: dto.Shape = {**CALENDAR_FIELDS, "locationId": dto.required(dto.text()), "name": dto.required(dto.text())}
GROUP_BODY: dto.Shape = {
    **{name: dto.required(dto.text()) for name in ("locationId", "name", "description", "slug")},
    "isActive": dto.optional(dto.boolean),
}
APPOINTMENT_FIELDS: dto.Shape = {
    **dto.each(dto.text(), "title", "meetingLocationType", "meetingLocationId", "assignedUserId", "description", "address"),
    **dto.each(dto.text(), "rrule", "calendarId", "startTime", "endTime"),
    **dto.each(dto.one_of(*STATUSES), "appointmentStatus"),
    **dto.each(dto.boolean, "overrideLocationConfig", "ignoreDateRange", "toNotify", "ignoreFreeSlotValidation"),
}
CREATE_APPOINTMENT: dto.Shape = {
    **APPOINTMENT_FIELDS,
    **dict.fromkeys(("calendarId", "locationId", "contactId", "startTime"), dto.required(dto.text())),
}
SHOWN = (
    "id",
    "calendarId",
    "locationId",
    "contactId",
    "startTime",
    "endTime",
    "title",
    "appointmentStatus",
    "assignedUserId",
    "address",
)


def list_calendars(call: Call) -> Answer:
    """GET /calendars/"""
    query = call.params(LIST_QUERY)
    rows = call.location(query["locationId"]).calendars.values()
    return ok({"calendars": [row for row in rows if query.get("groupId") in (None, row.get("groupId"))]})


def create_calendar(call: Call) -> Answer:
    """POST /calendars/"""
    body = call.input(CREATE_CALENDAR)
    location = call.location(body["locationId"])
    calendar: Json = {"isActive": True, "slotDuration": 30, "slotDurationUnit": "mins", "openHours": [], **body}
    calendar["id"] = call.world.new_id()
    location.calendars[calendar["id"]] = calendar
    return ok({"calendar": calendar})


def get_calendar(call: Call) -> Answer:
    """GET /calendars/{id}"""
    return ok({"calendar": _calendar(call, call.path["id"])})


def update_calendar(call: Call) -> Answer:
    """PUT /calendars/{id}"""
    calendar = _calendar(call, call.path["id"])
    calendar.update(call.input(CALENDAR_FIELDS))
    return ok({"calendar": calendar})


def delete_calendar(call: Call) -> Answer:
    """DELETE /calendars/{id}"""
    del call.location().calendars[_calendar(call, call.path["id"])["id"]]
    return ok({"success": True})


def _calendar(call: Call, calendar_id: str) -> Json:
    calendar = call.location().calendars.get(calendar_id)
    if calendar is None:
        if any(calendar_id in location.calendars for location in call.world.awake()):
            raise foreign_location()
        raise refused(400, f"Calendar with id {calendar_id} not found")
    return calendar


def list_groups(call: Call) -> Answer:
    """GET /calendars/groups"""
    return ok({"groups": list(call.location(call.params(LOCATION_QUERY)["locationId"]).groups.values())})


def create_group(call: Call) -> Answer:
    """POST /calendars/groups"""
    body = call.input(GROUP_BODY)
    location = call.location(body["locationId"])
    if any(group["slug"] == body["slug"] for group in location.groups.values()):
        raise refused(400, "Slug is already taken")
    group = {"isActive": True, **body, "id": call.world.new_id()}
    location.groups[group["id"]] = group
    return ok({"group": group}, status=201)


def slots(call: Call) -> Answer:
    """GET /calendars/{id}/free-slots"""
    calendar, query = _calendar(call, call.path["id"]), call.params(SLOTS_QUERY)
    location = call.location()
    start, end = int(query["startDate"]), int(query["endDate"])
    if end <= start or end - start > MOST_DAYS * DAY_MS:
        raise refused(400, f"The date range must be more than 0 and at most {MOST_DAYS} days.")
    home = ZoneInfo(location.seeded.timezone)
    zone = _zone(query["timezone"]) if "timezone" in query else home
    days = free_slots(calendar, location.events.values(), start=start, end=end, zone=zone, home=home)
    return ok({**days, "traceId": trace_id()})


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise refused(422, ["timezone must be a valid IANA time zone"]) from None


def list_events(call: Call) -> Answer:
    """GET /calendars/events"""
    query = call.params(EVENTS_QUERY)
    location = call.location(query["locationId"])
    by = {"userId": "assignedUserId", "calendarId": "calendarId", "groupId": "groupId"}
    wanted = {field: query[name] for name, field in by.items() if name in query}
    if not wanted:
        raise refused(422, ["Either of userId, calendarId or groupId is required"])
    start, end = int(query["startTime"]), int(query["endTime"])
    rows = [
        event
        for event in location.events.values()
        if start <= (epoch_ms(event["startTime"]) or 0) < end
        and all(event.get(name) == value for name, value in wanted.items())
    ]
    return ok({"events": rows, "traceId": trace_id()})


def create_appointment(call: Call) -> Answer:
    """POST /calendars/events/appointments"""
    body = call.input(CREATE_APPOINTMENT)
    location = call.location(body["locationId"])
    calendar, contact = _calendar(call, body["calendarId"]), call.contact(body["contactId"])
    start, end = _times(calendar, body)
    if not body.get("ignoreFreeSlotValidation"):
        _refuse_overlap(location, calendar, start, end)
    now = call.world.clock.iso()
    user = body.get("assignedUserId") or next((each["userId"] for each in calendar.get("teamMembers", [])), "")
    event: Json = {
        "id": call.world.new_id(),
        "address": body.get("address", ""),
        "title": body.get("title") or calendar["name"],
        "calendarId": calendar["id"],
        "locationId": location.id,
        "contactId": contact.id,
        "groupId": calendar.get("groupId", ""),
        "appointmentStatus": body.get("appointmentStatus") or ("confirmed" if calendar.get("autoConfirm") else "new"),
        "assignedUserId": user,
        "users": [user],
        "notes": body.get("description", ""),
        "startTime": body["startTime"],
        "endTime": body.get("endTime") or iso(end),
        "dateAdded": now,
        "dateUpdated": now,
    }
    location.events[event["id"]] = event
    _announce(call, "AppointmentCreate", event)
    return ok(_shown(event))


def _times(calendar: Json, body: Json) -> tuple[int, int]:
    start = epoch_ms(body["startTime"])
    length = calendar.get("slotDuration", 30) * MINUTES[calendar.get("slotDurationUnit", "mins")] * 60_000
    end = epoch_ms(body["endTime"]) if body.get("endTime") else (start or 0) + length
    if start is None or end is None or not 0 <= start < end <= LAST_MS:
        raise refused(422, ["startTime and endTime must be valid ISO 8601 date strings, endTime after startTime"])
    return start, end


def _refuse_overlap(location: Location, calendar: Json, start: int, end: int, *, but: str | None = None) -> None:
    for event in location.events.values():
        if event["calendarId"] != calendar["id"] or event["appointmentStatus"] == "cancelled" or event["id"] == but:
            continue
        if start < (epoch_ms(event["endTime"]) or 0) and end > (epoch_ms(event["startTime"]) or 0):
            raise refused(400, "The slot you have selected is no longer available.")


def update_appointment(call: Call) -> Answer:
    """PUT /calendars/events/appointments/{id}"""
    event, body = _event(call), call.input(APPOINTMENT_FIELDS)
    calendar = _calendar(call, str(body.get("calendarId", event["calendarId"])))
    if {"startTime", "endTime", "calendarId"} & set(body):
        wanted = {**event, **body}
        if "startTime" in body and "endTime" not in body:
            del wanted["endTime"]
        start, end = _times(calendar, wanted)
        if not body.get("ignoreFreeSlotValidation"):
            _refuse_overlap(call.location(), calendar, start, end, but=event["id"])
        body.setdefault("endTime", iso(end))
    event.update({name: value for name, value in body.items() if name in event})
    if "description" in body:
        event["notes"] = body["description"]
    event["dateUpdated"] = call.world.clock.iso()
    _announce(call, "AppointmentUpdate", event)
    return ok(_shown(event))


def get_appointment(call: Call) -> Answer:
    """GET /calendars/events/appointments/{id}"""
    return ok({"event": _event(call), "traceId": trace_id()})


def delete_event(call: Call) -> Answer:
    """DELETE /calendars/events/{id}"""
    event = _event(call)
    del call.location().events[event["id"]]
    _announce(call, "AppointmentDelete", event)
    return ok({"succeeded": True}, status=201)


def _event(call: Call) -> Json:
    event_id = call.path["id"]
    event = call.location().events.get(event_id)
    if event is None:
        if any(event_id in location.events for location in call.world.awake()):
            raise foreign_location()
        raise refused(400, f"Event with id {event_id} not found")
    return event


def _shown(event: Json) -> Json:
    return {**{name: event[name] for name in SHOWN}, "isRecurring": False}


def _announce(call: Call, kind: str, event: Json) -> None:
    call.world.webhooks.send(
        {"type": kind, "locationId": event["locationId"], "appointment": {**event, "source": "public_api"}}
    )


_EVENTS_READ, _EVENTS_WRITE = "calendars/events.readonly", "calendars/events.write"
ENDPOINTS = (
    Endpoint("GET", "/calendars/groups", list_groups, "calendars/groups.readonly"),
    Endpoint("POST", "/calendars/groups", create_group, "calendars/groups.write"),
    Endpoint("GET", "/calendars/events", list_events, _EVENTS_READ),
    Endpoint("POST", "/calendars/events/appointments", create_appointment, _EVENTS_WRITE),
    Endpoint("GET", "/calendars/events/appointments/{id}", get_appointment, _EVENTS_READ),
    Endpoint("PUT", "/calendars/events/appointments/{id}", update_appointment, _EVENTS_WRITE),
    Endpoint("DELETE", "/calendars/events/{id}", delete_event, _EVENTS_WRITE),
    Endpoint("GET", "/calendars", list_calendars, "calendars.readonly"),
    Endpoint("POST", "/calendars", create_calendar, "calendars.write"),
    Endpoint("GET", "/calendars/{id}/free-slots", slots, "calendars.readonly"),
    Endpoint("GET", "/calendars/{id}", get_calendar, "calendars.readonly"),
    Endpoint("PUT", "/calendars/{id}", update_calendar, "calendars.write"),
    Endpoint("DELETE", "/calendars/{id}", delete_calendar, "calendars.write"),
)
