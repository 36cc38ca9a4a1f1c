"""Changes contacts behind the API's back: no validation, no events, no limits."""

from typing import Any

from starlette.requests import Request

from domain.vendors.sandbox.gohighlevel.answers import Json
from domain.vendors.sandbox.gohighlevel.contact_book import Contact, epoch_ms
from domain.vendors.sandbox.gohighlevel.contact_rules import BLANK
from domain.vendors.sandbox.gohighlevel.state import Location, World


class BadOrder(ValueError):
    """The control request makes no sense; the message says why."""


def create(world: World, body: Any, _request: Request) -> Json:
    """{"location": id, "contacts": [{...}, ...]} or {"location": id, "count": n} for n plain ones; answers the ids.

    Fields are taken as they are, of any type; `dateAdded` and `dateUpdated` (ISO or epoch ms) are now by default.
    """
    location = _location(world, body)
    rows = body.get("contacts") or [_plain(number) for number in range(int(body.get("count", 1)))]
    made = [_made(world, location, dict(row)) for row in rows]
    for contact in made:
        location.contacts.put(contact)
    return {"ids": [contact.id for contact in made]}


def change(world: World, body: Any, _request: Request) -> Json:
    """{"location": id, "ids": [...], "set": {...}}: `dateUpdated` becomes now unless it is set, too."""
    location, fields = _location(world, body), dict(body["set"])
    added, updated = epoch_ms(fields.pop("dateAdded", None)), epoch_ms(fields.pop("dateUpdated", None))
    for contact_id in body["ids"]:
        contact = location.contacts.get(contact_id)
        if contact is None:
            raise BadOrder(f"there is no contact {contact_id}")
        contact.data.update(fields)
        contact.added = contact.added if added is None else added
        contact.updated = world.clock.now_ms() if updated is None else updated
        location.contacts.put(contact)
    return {"changed": len(body["ids"])}


def delete(world: World, body: Any, _request: Request) -> Json:
    """{"location": id, "ids": [...]} or {"location": id, "all": true}"""
    location = _location(world, body)
    ids = [contact.id for contact in location.contacts] if body.get("all") else body["ids"]
    return {"deleted": sum(location.contacts.remove(contact_id) is not None for contact_id in ids)}


def _made(world: World, location: Location, row: Json) -> Contact:
    now = world.clock.now_ms()
    added, updated = epoch_ms(row.pop("dateAdded", None)), epoch_ms(row.pop("dateUpdated", None))
    data = {"id": world.new_id(), "locationId": location.id, **BLANK, "tags": [], "customFields": [], "followers": [], **row}
    return Contact(data, added=now if added is None else added, updated=now if updated is None else updated)


def _plain(number: int) -> Json:
    return {
        "firstName": "Extra",
        "lastName": f"Number {number}",
        "email": f"extra{number}@control.example",
        "phone": f"+1512{5_000_000 + number:07d}",
    }


def _location(world: World, body: Any) -> Location:
    location = world.location(body["location"])
    if location is None:
        raise BadOrder("there is no such location")
    world.touch(location.id)
    return location
