"""Makes the rest of a location: its profile, tags, pipelines and opportunities, calendars and appointments, and names."""

from domain.vendors.sandbox.gohighlevel import seed
from domain.vendors.sandbox.gohighlevel.answers import Json
from domain.vendors.sandbox.gohighlevel.contact_book import iso
from domain.vendors.sandbox.gohighlevel.seed import SeededLocation
from domain.vendors.sandbox.gohighlevel.seed_contacts import FIRST_ADDED, HOUR

OPPORTUNITIES = 40
"""Opportunities of a location, or as many as it has contacts where these are fewer."""
APPOINTMENTS = 6
"""Appointments of a location, likewise; hourly from `FIRST_APPOINTMENT`."""
FIRST_APPOINTMENT = 1_767_607_200_000
"""2026-01-05T10:00Z, a Monday."""

_PIPELINES = (
    ("Sales", ("New Lead", "Contacted", "Proposal Sent", "Closed")),
    ("Onboarding", ("Kick-off", "Set-up", "Live")),
)
_STATUSES = ("open", "open", "won", "lost", "abandoned")


def location(seeded: SeededLocation) -> Json:
    """The location's profile."""
    slug = seeded.name.lower().replace(" ", "-")
    place = {"address": "1 Main Street", "city": seeded.city, "country": seeded.country, "postalCode": "70000"}
    return {
        "id": seeded.id,
        "companyId": seeded.company_id,
        "name": seeded.name,
        "domain": "",
        **place,
        "state": "TX" if seeded.city == "Austin" else "",
        "logoUrl": "",
        "website": f"https://{slug}.example",
        "timezone": seeded.timezone,
        "firstName": "Omar",
        "lastName": "Owner",
        "email": f"hello@{slug}.example",
        "phone": "+15125550100",
        "business": {"name": seeded.name, **place, "website": f"https://{slug}.example", "timezone": seeded.timezone},
        "social": {},
        "settings": {
            "allowDuplicateContact": False,
            "allowDuplicateOpportunity": False,
            "allowFacebookNameMerge": False,
            "disableContactTimezone": False,
        },
        "reseller": {},
    }


def tags(seeded: SeededLocation) -> list[Json]:
    """The location's tags."""
    names = (*seed.TAG_COUNTS, "cold lead")
    return [{"id": seed.make_id(seeded.id, "tag", name), "name": name, "locationId": seeded.id} for name in names]


def custom_values(seeded: SeededLocation) -> list[Json]:
    """The location's custom values."""
    return [
        {
            "id": seed.make_id(seeded.id, "value", "opening hours"),
            "name": "Opening Hours",
            "fieldKey": "{{ custom_values.opening_hours }}",
            "value": "Mon-Fri 9-17",
            "locationId": seeded.id,
        }
    ]


def pipelines(seeded: SeededLocation) -> list[Json]:
    """The location's pipelines; stages have UUIDs."""
    return [
        {
            "id": seed.make_id(seeded.id, "pipeline", name),
            "name": name,
            "stages": [
                {"id": seed.make_uuid(seeded.id, name, stage), "name": stage, "position": position}
                for position, stage in enumerate(stages)
            ],
            "showInFunnel": True,
            "showInPieChart": True,
            "locationId": seeded.id,
        }
        for name, stages in _PIPELINES
    ]


def opportunities(seeded: SeededLocation) -> list[Json]:
    """The location's opportunities, each of another contact."""
    return [_opportunity(seeded, number) for number in range(min(OPPORTUNITIES, seeded.contacts))]


def _opportunity(seeded: SeededLocation, number: int) -> Json:
    name, stages = _PIPELINES[number % 2]
    created = iso(FIRST_ADDED + number * 24 * HOUR)
    return {
        "id": seed.make_id(seeded.id, "opportunity", number),
        "name": f"Deal {number + 1}",
        "monetaryValue": 250 * (number % 20),
        "pipelineId": seed.make_id(seeded.id, "pipeline", name),
        "pipelineStageId": seed.make_uuid(seeded.id, name, stages[number % len(stages)]),
        "assignedTo": seed.make_id(seeded.company_id, "user", 2),
        "status": _STATUSES[number % len(_STATUSES)],
        "source": "website form",
        "lastStatusChangeAt": created,
        "lastStageChangeAt": created,
        "lastActionDate": created,
        "createdAt": created,
        "updatedAt": created,
        "contactId": seed.contact_id(seeded, number),
        "locationId": seeded.id,
        "customFields": [],
        "followers": [],
    }


def groups(seeded: SeededLocation) -> list[Json]:
    """The location's calendar groups."""
    return [
        {
            "id": seed.make_id(seeded.id, "group"),
            "locationId": seeded.id,
            "name": "Consultations",
            "description": "All first meetings",
            "slug": "consultations",
            "isActive": True,
        }
    ]


def calendars(seeded: SeededLocation) -> list[Json]:
    """The location's calendars: weekdays from 9 to 17, slots of 60 and of 30 minutes."""
    hours = [{"openHour": 9, "openMinute": 0, "closeHour": 17, "closeMinute": 0}]
    return [
        {
            "id": seed.make_id(seeded.id, "calendar", name),
            "locationId": seeded.id,
            "groupId": seed.make_id(seeded.id, "group"),
            "name": name,
            "description": "",
            "slug": name.lower().replace(" ", "-"),
            "calendarType": "round_robin",
            "eventType": "RoundRobin_OptimizeForAvailability",
            "isActive": True,
            "slotDuration": minutes,
            "slotDurationUnit": "mins",
            "slotInterval": minutes,
            "slotIntervalUnit": "mins",
            "autoConfirm": True,
            "openHours": [{"daysOfTheWeek": [day], "hours": hours} for day in range(1, 6)],
            "teamMembers": [{"userId": seed.make_id(seeded.company_id, "user", 2), "priority": 0.5, "isPrimary": True}],
        }
        for name, minutes in (("Discovery Call", 60), ("Check-up", 30))
    ]


def events(seeded: SeededLocation, made: list[Json]) -> list[Json]:
    """The location's appointments."""
    return [_event(seeded, made[number % 2], number) for number in range(min(APPOINTMENTS, seeded.contacts))]


def _event(seeded: SeededLocation, calendar: Json, number: int) -> Json:
    start = FIRST_APPOINTMENT + number * HOUR
    user = seed.make_id(seeded.company_id, "user", 2)
    return {
        "id": seed.make_id(seeded.id, "event", number),
        "address": "https://meet.example/room",
        "title": f"{calendar['name']} {number + 1}",
        "calendarId": calendar["id"],
        "locationId": seeded.id,
        "contactId": seed.contact_id(seeded, number),
        "groupId": calendar["groupId"],
        "appointmentStatus": "confirmed",
        "assignedUserId": user,
        "users": [user],
        "notes": "",
        "startTime": iso(start),
        "endTime": iso(start + calendar["slotDuration"] * 60_000),
        "dateAdded": iso(FIRST_ADDED),
        "dateUpdated": iso(FIRST_ADDED),
    }


def workflows(seeded: SeededLocation) -> list[Json]:
    """The location's workflows."""
    return [
        {
            "id": seed.make_uuid(seeded.id, "workflow", name),
            "name": name,
            "status": status,
            "version": 1,
            "createdAt": iso(FIRST_ADDED),
            "updatedAt": iso(FIRST_ADDED),
            "locationId": seeded.id,
        }
        for name, status in (("Welcome Series", "published"), ("Win Back", "draft"))
    ]


def campaigns(seeded: SeededLocation) -> list[Json]:
    """The location's (legacy) campaigns."""
    return [
        {"id": seed.make_id(seeded.id, "campaign", name), "name": name, "status": status, "locationId": seeded.id}
        for name, status in (("Spring Offer", "published"), ("Autumn Offer", "draft"))
    ]
