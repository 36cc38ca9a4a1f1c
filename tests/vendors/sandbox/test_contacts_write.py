"""Writing contacts and what hangs on them."""

from typing import Any

import pytest

from domain.vendors.sandbox.gohighlevel import seed, seed_contacts
from tests.vendors.sandbox.harness import Sandbox

FIRST = f"/contacts/{seed.contact_id(seed.LARGE, 0)}"
NEW = {"locationId": seed.LARGE.id, "firstName": "Zoë", "lastName": "Ng", "email": "Zoe@Example.com", "phone": "+15125559999"}


async def _create(sandbox: Sandbox, **more: Any) -> dict[str, Any]:
    answer = await sandbox.call("POST", "/contacts/", json={**NEW, **more})
    assert answer.status_code == 201, answer.text
    contact: dict[str, Any] = answer.json()["contact"]
    return contact


async def test_a_created_contact_is_read_back(sandbox: Sandbox) -> None:
    made = await _create(sandbox, tags=["VIP", " new Tag "], dateOfBirth="09/25/1990", website=None)
    read = (await sandbox.call("GET", f"/contacts/{made['id']}")).json()["contact"]
    assert read == made
    assert read["tags"] == ["vip", "new tag"]
    assert read["dateOfBirth"] == "1990-09-25"
    assert read["emailLowerCase"] == "zoe@example.com"
    assert read["fullNameLowerCase"] == "zoë ng"
    assert (await sandbox.search(query="zoe@example"))["total"] == 1
    names = [tag["name"] for tag in (await sandbox.call("GET", f"/locations/{seed.LARGE.id}/tags")).json()["tags"]]
    assert "new tag" in names


@pytest.mark.parametrize(
    ("content", "field"),
    [({"email": " PERSON0010@boston.example"}, "email"), ({"phone": "+1 (512) 200-0010"}, "phone")],
)
async def test_a_duplicate_is_refused_and_named(sandbox: Sandbox, content: dict[str, str], field: str) -> None:
    answer = await sandbox.call("POST", "/contacts/", json={**NEW, **content})
    assert answer.status_code == 400
    assert answer.json()["message"] == "This location does not allow duplicated contacts."
    twin = answer.json()["meta"]
    assert (twin["contactId"], twin["matchingField"]) == (seed.contact_id(seed.LARGE, 10), field)
    assert twin["contactName"]


async def test_every_violation_is_listed(sandbox: Sandbox) -> None:
    content = {"email": "nowhere", "tags": "vip", "firstName": 5, "custom": 1}
    answer = await sandbox.call("POST", "/contacts/", json=content)
    assert answer.status_code == 422
    assert set(answer.json()["message"]) == {
        "property custom should not exist",
        "email must be an email",
        "each value in tags must be a string",
        "tags must be an array",
        "firstName must be a string",
        "locationId must be a string",
        "locationId should not be empty",
    }


async def test_an_update_takes_no_location_and_replaces_tags(sandbox: Sandbox) -> None:
    assert (await sandbox.call("PUT", FIRST, json={"locationId": seed.LARGE.id})).status_code == 422
    answer = (await sandbox.call("PUT", FIRST, json={"tags": ["only"], "city": "Lyon"})).json()
    assert answer["succeded"] is True
    assert (answer["contact"]["tags"], answer["contact"]["city"]) == (["only"], "Lyon")
    assert answer["contact"]["dateUpdated"] > answer["contact"]["dateAdded"]
    assert answer["contact"]["firstName"] == "Ada"


async def test_an_update_to_anothers_address_is_a_duplicate(sandbox: Sandbox) -> None:
    assert (await sandbox.call("PUT", FIRST, json={"email": "person0010@boston.example"})).status_code == 400
    assert (await sandbox.call("PUT", FIRST, json={"email": "person0000@boston.example"})).status_code == 200


async def test_custom_fields_are_written_one_way_and_read_another(sandbox: Sandbox) -> None:
    colour, plan = (seed_contacts.field_id(seed.LARGE, name) for name in ("Favourite Colour", "Plan"))
    written = [
        {"id": colour, "field_value": "teal"},
        {"key": "plan", "field_value": "Basic"},
        {"id": "unknown", "field_value": 1},
    ]
    made = await _create(sandbox, customFields=[*written, {"id": colour, "value": "dropped"}])
    assert made["customFields"] == [{"id": colour, "value": "teal"}, {"id": plan, "value": "Basic"}]
    answer = await sandbox.call("PUT", f"/contacts/{made['id']}", json={"customFields": [{"id": colour, "field_value": ""}]})
    assert answer.json()["contact"]["customFields"] == [{"id": plan, "value": "Basic"}]


async def test_upsert_makes_or_changes(sandbox: Sandbox) -> None:
    first = (await sandbox.call("POST", "/contacts/upsert", json=NEW)).json()
    second = (await sandbox.call("POST", "/contacts/upsert", json={**NEW, "email": "ZOE@example.com", "city": "Lyon"})).json()
    assert (first["new"], second["new"]) == (True, False)
    assert second["contact"]["id"] == first["contact"]["id"]
    assert second["contact"]["city"] == "Lyon"
    by_phone = (
        await sandbox.call("POST", "/contacts/upsert", json={"locationId": seed.LARGE.id, "phone": NEW["phone"]})
    ).json()
    assert by_phone["contact"]["id"] == first["contact"]["id"]
    nothing = await sandbox.call("POST", "/contacts/upsert", json={"locationId": seed.LARGE.id, "firstName": "Ann"})
    assert nothing.status_code == 422


async def test_upsert_silently_drops_anothers_number(sandbox: Sandbox) -> None:
    content = {"locationId": seed.LARGE.id, "email": "person0010@boston.example", "phone": "+15122000020"}
    answer = (await sandbox.call("POST", "/contacts/upsert", json=content)).json()
    assert answer["contact"]["phone"] == "+15122000010"


async def test_a_deleted_contact_is_gone(sandbox: Sandbox) -> None:
    assert (await sandbox.call("DELETE", FIRST)).json()["succeded"] is True
    gone = await sandbox.call("GET", FIRST)
    assert gone.status_code == 400
    assert "not found" in gone.json()["message"]
    assert (await sandbox.search())["total"] == seed.CONTACTS - 1


async def test_duplicates_can_be_looked_up(sandbox: Sandbox) -> None:
    path = f"/contacts/search/duplicate?locationId={seed.LARGE.id}"
    assert (await sandbox.call("GET", f"{path}&email=Person0010@boston.example")).json()["contact"]["firstName"]
    assert (await sandbox.call("GET", f"{path}&number=%2B15122000010")).json()["contact"]["id"] == seed.contact_id(
        seed.LARGE, 10
    )
    assert (await sandbox.call("GET", f"{path}&email=nobody@x.example")).json()["contact"] is None
    assert (await sandbox.call("GET", path)).status_code == 422


async def test_tags_of_a_contact(sandbox: Sandbox) -> None:
    added = await sandbox.call("POST", f"{FIRST}/tags", json={"tags": ["VIP", "Fresh"]})
    assert added.status_code == 201
    assert added.json()["tags"] == ["newsletter", "customer", "vip", "fresh"]
    removed = await sandbox.call("DELETE", f"{FIRST}/tags", json={"tags": ["vip", "absent"]})
    assert removed.json()["tags"] == ["newsletter", "customer", "fresh"]
    assert removed.json()["tagsRemoved"] == ["vip"]


async def test_tags_in_bulk(sandbox: Sandbox) -> None:
    ids = [seed.contact_id(seed.LARGE, number) for number in (1, 2)]
    content = {"contacts": [*ids, "unknown"], "tags": ["Batch"], "locationId": seed.LARGE.id}
    added = await sandbox.call("POST", "/contacts/bulk/tags/update/add", json=content)
    assert added.status_code == 201
    assert (added.json()["succeded"], added.json()["errorCount"]) == (False, 1)
    assert (await sandbox.search(filters=[{"field": "tags", "operator": "eq", "value": "batch"}]))["total"] == 2
    everything = {"contacts": ids, "tags": [], "locationId": seed.LARGE.id, "removeAllTags": True}
    removed = await sandbox.call("POST", "/contacts/bulk/tags/update/remove", json=everything)
    assert removed.json()["responses"] == ids
    assert (await sandbox.search(filters=[{"field": "tags", "operator": "eq", "value": "batch"}]))["total"] == 0
    assert (await sandbox.call("POST", "/contacts/bulk/tags/update/swap", json=content)).status_code == 422


async def test_notes(sandbox: Sandbox) -> None:
    made = await sandbox.call("POST", f"{FIRST}/notes", json={"body": "Called", "pinned": True})
    assert made.status_code == 201
    note = made.json()["note"]
    path = f"{FIRST}/notes/{note['id']}"
    assert (await sandbox.call("GET", path)).json()["note"] == note
    assert (await sandbox.call("PUT", path, json={"body": "Called twice"})).json()["note"]["body"] == "Called twice"
    assert len((await sandbox.call("GET", f"{FIRST}/notes")).json()["notes"]) == 1
    assert (await sandbox.call("DELETE", path)).json() == {"succeded": True}
    assert (await sandbox.call("GET", path)).status_code == 400
    assert (await sandbox.call("POST", f"{FIRST}/notes", json={})).status_code == 422


async def test_tasks(sandbox: Sandbox) -> None:
    content = {"title": "Call back", "dueDate": "2026-12-01T10:00:00Z", "completed": False}
    task = (await sandbox.call("POST", f"{FIRST}/tasks", json=content)).json()["task"]
    path = f"{FIRST}/tasks/{task['id']}"
    assert (await sandbox.call("PUT", f"{path}/completed", json={"completed": True})).json()["task"]["completed"] is True
    assert (await sandbox.call("PUT", path, json={"title": "Write"})).json()["task"]["title"] == "Write"
    assert [each["id"] for each in (await sandbox.call("GET", f"{FIRST}/tasks")).json()["tasks"]] == [task["id"]]
    assert (await sandbox.call("DELETE", path)).json() == {"succeded": True}


async def test_followers_workflows_campaigns_and_appointments(sandbox: Sandbox) -> None:
    added = await sandbox.call("POST", f"{FIRST}/followers", json={"followers": ["u1", "u2"]})
    assert added.json()["followersAdded"] == ["u1", "u2"]
    removed = await sandbox.call("DELETE", f"{FIRST}/followers", json={"followers": ["u1"]})
    assert removed.json()["followers"] == ["u2"]
    workflow = seed.make_uuid(seed.LARGE.id, "workflow", "Welcome Series")
    started = await sandbox.call("POST", f"{FIRST}/workflow/{workflow}", json={"eventStartTime": "2026-12-01T10:00:00+01:00"})
    assert started.json() == {"succeded": True}
    assert (await sandbox.call("DELETE", f"{FIRST}/workflow/unknown")).status_code == 400
    campaign = seed.make_id(seed.LARGE.id, "campaign", "Spring Offer")
    assert (await sandbox.call("POST", f"{FIRST}/campaigns/{campaign}", json={})).status_code == 201
    assert (await sandbox.call("DELETE", f"{FIRST}/campaigns/removeAll")).status_code == 200
    assert len((await sandbox.call("GET", f"{FIRST}/appointments")).json()["events"]) == 1
