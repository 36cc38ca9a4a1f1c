"""What happens to a contact that is written: validation, duplicates, tags, custom fields, and the events that follow."""

import re
from typing import Any

from domain.vendors.sandbox.gohighlevel import dto
from domain.vendors.sandbox.gohighlevel.answers import Json, refused
from domain.vendors.sandbox.gohighlevel.contact_book import NAMES, PLACE, Contact, epoch_ms, full_name, iso
from domain.vendors.sandbox.gohighlevel.state import Location, World

_TEXT = dto.nullable(dto.text())
FIELDS: dto.Shape = {
    **dto.each(_TEXT, "firstName", "lastName", "name", "phone", "address1", "city", "state", "postalCode", "website"),
    **dto.each(_TEXT, "timezone", "source", "country", "companyName", "assignedTo", "gender", "dateOfBirth"),
    "email": dto.optional(dto.nullable(dto.email)),
    "dnd": dto.optional(dto.boolean),
    "dndSettings": dto.optional(dto.an_object),
    "inboundDndSettings": dto.optional(dto.an_object),
    "tags": dto.optional(dto.texts),
    "customFields": dto.optional(dto.objects),
}
CREATE_BODY: dto.Shape = {**FIELDS, "locationId": dto.required(dto.text())}
UPSERT_BODY: dto.Shape = {**CREATE_BODY, "createNewIfDuplicateAllowed": dto.optional(dto.boolean)}
UPDATE_BODY: dto.Shape = FIELDS
SPECIAL = frozenset({"locationId", "name", "tags", "customFields", "dateOfBirth"})
DATE_PARTS, YEAR_DIGITS = 3, 4

OTHERS = ("source", "assignedTo", "dateOfBirth")
ANNOUNCED = (*NAMES, *PLACE[:-1], *OTHERS, "dnd", "tags", "customFields")
"""What a contact's webhook shows of it."""

BLANK: Json = {
    **dict.fromkeys((*NAMES, *PLACE, *OTHERS, "gender")),
    "type": "lead",
    "dnd": False,
    "dndSettings": {},
}


def refuse_twin(location: Location, body: Json, *, but: str | None) -> None:
    """Refuse (400) where another contact of the location has the e-mail address or the number."""
    twin = location.contacts.twin(email=body.get("email"), phone=body.get("phone"), but=but)
    if twin:
        contact, field = twin
        raise refused(
            400,
            "This location does not allow duplicated contacts.",
            meta={"contactId": contact.id, "contactName": full_name(contact.data), "matchingField": field},
        )


def create(world: World, location: Location, body: Json) -> Contact:
    """A new contact of the location, stored."""
    now = world.clock.now_ms()
    data: Json = {"id": world.new_id(), "locationId": location.id, **BLANK, "tags": [], "customFields": [], "followers": []}
    contact = Contact(data, added=now, updated=now)
    _write(world, location, contact, body)
    location.contacts.put(contact)
    return contact


def change(world: World, location: Location, contact: Contact, body: Json) -> None:
    """Write the body's fields to the contact, and send the events which that causes."""
    tags, dnd = list(contact.data.get("tags") or []), contact.data.get("dnd")
    _write(world, location, contact, body)
    contact.updated = world.clock.now_ms()
    location.contacts.put(contact)
    announce(world, "ContactUpdate", contact)
    if contact.data.get("tags") != tags:
        announce(world, "ContactTagUpdate", contact)
    if contact.data.get("dnd") != dnd:
        announce(world, "ContactDndUpdate", contact)


def set_tags(world: World, location: Location, contact: Contact, tags: list[str]) -> None:
    """Make these the contact's tags; an event follows where that changes something."""
    learn_tags(world, location, tags)
    if contact.data.get("tags") == tags:
        return
    contact.data["tags"] = tags
    contact.updated = world.clock.now_ms()
    location.contacts.put(contact)
    announce(world, "ContactTagUpdate", contact)


def learn_tags(world: World, location: Location, tags: list[str]) -> None:
    """Add tags that the location does not have yet."""
    known = {tag["name"] for tag in location.tags.values()}
    for name in dict.fromkeys(tags):
        if name not in known:
            tag_id = world.new_id()
            location.tags[tag_id] = {"id": tag_id, "name": name, "locationId": location.id}


def clean_tags(tags: list[str]) -> list[str]:
    """Tags as the vendor keeps them: lower case, each once."""
    return list(dict.fromkeys(tag.strip().lower() for tag in tags if tag.strip()))


def announce(world: World, event: str, contact: Contact) -> None:
    """Send a contact's webhook."""
    data = contact.data
    shown = {name: data[name] for name in ANNOUNCED if data.get(name) is not None}
    world.webhooks.send(
        {
            "type": event,
            "locationId": data["locationId"],
            "id": contact.id,
            **shown,
            "name": full_name(data),
            "dateAdded": iso(contact.added),
            "attachments": [],
        }
    )


def _write(world: World, location: Location, contact: Contact, body: Json) -> None:
    data = contact.data
    plain = {
        name: _stripped(value) for name, value in body.items() if name not in ("name", "tags", "customFields", "locationId")
    }
    data.update(plain)
    if body.get("name") and not body.get("firstName"):
        data["firstName"], _, rest = body["name"].strip().partition(" ")
        data["lastName"] = rest or data.get("lastName")
    if "dateOfBirth" in body:
        data["dateOfBirth"] = _birthday(body["dateOfBirth"])
    if "tags" in body:
        data["tags"] = clean_tags(body["tags"])
        learn_tags(world, location, data["tags"])
    for item in body.get("customFields", []):
        _write_field(location, data, item)


def _birthday(text: str | None) -> str | None:
    # What is no date in a supported order is dropped without a word.
    parts = re.split(r"[/._-]", (text or "").strip().partition("T")[0])
    if len(parts) != DATE_PARTS:
        return None
    year, month, day = parts if len(parts[0]) == YEAR_DIGITS else (parts[2], parts[0], parts[1])
    moment = epoch_ms(f"{year}-{month:0>2}-{day:0>2}")
    return None if moment is None else iso(moment)


def _stripped(value: Any) -> Any:
    return value.strip() or None if isinstance(value, str) else value


def _write_field(location: Location, data: Json, item: Json) -> None:
    # As with the vendor, what is not {id or key, field_value} passes and has no effect.
    field = _field(location, item)
    if field is None or "field_value" not in item:
        return
    kept = data["customFields"] if isinstance(data.get("customFields"), list) else []
    others = [each for each in kept if each.get("id") != field["id"]]
    value = item["field_value"]
    data["customFields"] = others if value in (None, "") else [*others, {"id": field["id"], "value": value}]


def _field(location: Location, item: Json) -> Json | None:
    if "id" in item:
        return location.fields.get(str(item["id"]))
    keys = {item.get("key"), f"contact.{item.get('key')}"}
    return next((field for field in location.fields.values() if field["fieldKey"] in keys), None)
