"""UX-38-002: which side is written, whose value stays on a conflict, and what was deleted at GoHighLevel."""

import time

import pytest

from domain.vendors.sandbox.gohighlevel import seed, seed_contacts
from tests.factories.client import Client
from tests.factories.contact_sync import NONE, SMALL, change, count, edit, put, remote
from tests.factories.crm import (
    CREATE,
    connect,
    contacts,
    location_of,
    sync,
)
from tests.factories.house import House


@pytest.mark.story("38-002-S5")
@pytest.mark.parametrize(
    ("direction", "here", "there"),
    [("GHL_TO_BB", True, False), ("BB_TO_GHL", False, True), ("BIDIRECTIONAL", True, True)],
)
async def test_only_the_chosen_side_is_written(house: House, owner: Client, direction: str, *, here: bool, there: bool) -> None:
    account = await connect(owner, house)
    location = location_of(account, NONE.id)
    await put(house, NONE, {"email": "theirs@example.com", "firstName": "Theirs"})
    fields = {"email": "ours@example.com", "firstName": "Ours", "tags": ["lead"]}
    created = (await owner.ask(CREATE, input={"locationId": location, "fields": fields}))["createContact"]
    assert created["contact"]["syncState"] == "LOCAL"
    async with house.workers():
        job = await sync(owner, location, direction=direction)
    assert job["state"] == "SUCCEEDED"
    assert bool(await contacts(owner, email="theirs@example.com")) is here
    book = house.world.location(NONE.id)
    assert book is not None
    at_vendor = {contact.data["email"]: contact.data for contact in book.contacts}
    assert ("ours@example.com" in at_vendor) is there
    (ours,) = await contacts(owner, email="ours@example.com")
    assert ours["syncState"] == ("SYNCED" if there else "LOCAL")
    assert job["subject"]["pushed"] == int(there)
    if there:
        assert at_vendor["ours@example.com"]["tags"] == ["lead"]


@pytest.mark.story("38-002-S6", "38-002-E2")
@pytest.mark.parametrize(
    ("policy", "theirs_is_newer", "kept"),
    [
        ("GHL_WINS", False, "Theirs"),
        ("BB_WINS", True, "Ours"),
        ("MOST_RECENT_WINS", True, "Theirs"),
        ("MOST_RECENT_WINS", False, "Ours"),
    ],
)
async def test_on_a_conflict_the_policy_decides(
    house: House, owner: Client, policy: str, kept: str, *, theirs_is_newer: bool
) -> None:
    account = await connect(owner, house)
    location = location_of(account, NONE.id)
    now = int(time.time() * 1000)
    before = {"firstName": "Before", "city": "Rome", "country": "IT", "dateUpdated": now - 120_000}
    (external_id,) = await put(house, NONE, {"email": "c@example.com", **before})
    async with house.workers():
        await sync(owner, location, direction="BIDIRECTIONAL")
        (ours,) = await contacts(owner)
        await edit(owner, ours, firstName="Ours", city="Milan")
        moment = now + (60_000 if theirs_is_newer else -60_000)
        await change(house, NONE, external_id, firstName="Theirs", country="CH", dateUpdated=moment)
        job = await sync(owner, location, direction="BIDIRECTIONAL", policy=policy)
    assert job["subject"]["conflicts"] == 1
    line = next(line for line in job["log"]["nodes"] if line["code"] == "GHL-003")
    assert (line["subject"], line["field"]) == (external_id, "first_name")
    (merged,) = await contacts(owner)
    at_vendor = await remote(house, NONE, external_id)
    assert merged["firstName"] == at_vendor["firstName"] == kept
    # What only one side changed is no conflict: both sides have it.
    assert (merged["city"], merged["country"]) == (at_vendor["city"], at_vendor["country"]) == ("Milan", "CH")
    assert merged["syncState"] == "SYNCED"


@pytest.mark.story("38-002-S5", "38-002-B3")
async def test_what_is_emptied_here_is_emptied_there_and_nothing_else_is_touched(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, NONE.id)
    colour, visits = (seed_contacts.field_id(NONE, name) for name in ("Favourite Colour", "Visits"))
    given = {"email": "e@example.com", "phone": "+15125550133", "city": "Rome", "tags": ["a"], "firstName": "Eve"}
    custom = [{"id": colour, "value": "red"}, {"id": visits, "value": 2}]
    moments = {"dateOfBirth": "1990-01-01T00:00:00.000Z", "dateUpdated": 1_000_000}
    (external_id,) = await put(house, NONE, {**given, **moments, "customFields": custom})
    async with house.workers():
        await sync(owner, location, direction="BIDIRECTIONAL")
        (ours,) = await contacts(owner)
        emptied = [{"id": colour, "value": None}]
        await edit(owner, ours, phone=None, city=None, birthday=None, tags=[], customFields=emptied)
        # Changed there while ours was being edited: it is neither reverted nor lost.
        await change(house, NONE, external_id, firstName="Evelyn")
        job = await sync(owner, location, direction="BIDIRECTIONAL")
        assert (job["subject"]["pushed"], job["subject"]["conflicts"]) == (1, 0), job["log"]
        await sync(owner, location, direction="BIDIRECTIONAL")
    there = await remote(house, NONE, external_id)
    assert not any(there.get(name) for name in ("phone", "city", "dateOfBirth", "tags"))
    assert there["customFields"] == [{"id": visits, "value": 2}]
    (ours,) = await contacts(owner)
    assert (ours["phone"], ours["city"], ours["birthday"], ours["tags"]) == (None, None, None, [])
    assert [field["id"] for field in ours["customFields"]] == [visits]
    assert ours["firstName"] == there["firstName"] == "Evelyn"
    assert ours["syncState"] == "SYNCED"


async def test_one_direction_forgets_nothing_of_the_other_side(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, NONE.id)
    (external_id,) = await put(house, NONE, {"email": "o@example.com", "firstName": "A", "city": "A", "dateUpdated": 1_000_000})
    # Also what the vendor's webhooks tell of our own write is then not taken.
    only_there = "mutation ($id: ID!) { updateGhlLocations(input: {ids: [$id], direction: BB_TO_GHL}) { userErrors { code } } }"
    assert (await owner.ask(only_there, id=location))["updateGhlLocations"]["userErrors"] == []
    async with house.workers():
        await sync(owner, location, direction="GHL_TO_BB")
        (ours,) = await contacts(owner)
        await edit(owner, ours, firstName="B")
        await change(house, NONE, external_id, city="B")
        await sync(owner, location, direction="BB_TO_GHL")
        there = await remote(house, NONE, external_id)
        assert (there["firstName"], there["city"]) == ("B", "B")  # sent what was edited here, reverted nothing
        assert (await contacts(owner))[0]["city"] == "A"
        await sync(owner, location, direction="BIDIRECTIONAL")
    (ours,) = await contacts(owner)
    assert (ours["firstName"], ours["city"]) == ("B", "B")


@pytest.mark.story("38-002-E7")
async def test_a_contact_deleted_there_is_marked_once_a_run_is_complete(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    gone = seed.contact_id(SMALL, 0)
    async with house.workers():
        await sync(owner, location)
        await house.control("DELETE", "/contacts", {"location": SMALL.id, "ids": [gone]})
        await sync(owner, location, onlyTags=["newsletter"])  # sees a part, so it tells nothing of the rest
        assert await count(owner, syncStates=["REMOTE_DELETED"]) == 0
        job = await sync(owner, location)
        assert job["subject"]["missing"] == 1
        assert [line["subject"] for line in job["log"]["nodes"] if line["code"] == "GHL-022"] == [gone]
        (marked,) = await contacts(owner, syncStates=["REMOTE_DELETED"])
        assert marked["refs"][0]["externalId"] == gone
        assert marked["refs"][0]["missingSince"]
        again = await sync(owner, location, direction="BIDIRECTIONAL")
    assert (again["subject"]["missing"], again["subject"]["pushed"]) == (0, 0)  # neither marked twice nor brought back
    assert await count(owner) == SMALL.contacts


@pytest.mark.story("38-002-E7")
async def test_a_contact_deleted_while_it_is_being_sent_is_marked(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    async with house.workers():
        await sync(owner, location)
        victim = next(contact for contact in await contacts(owner) if contact["email"])
        await edit(owner, victim, city="Elsewhere")
        await house.control("DELETE", "/contacts", {"location": SMALL.id, "ids": [victim["refs"][0]["externalId"]]})
        job = await sync(owner, location, direction="BB_TO_GHL")
    assert job["state"] == "SUCCEEDED"
    assert job["subject"]["missing"] == 1
    assert (await contacts(owner, syncStates=["REMOTE_DELETED"]))[0]["id"] == victim["id"]
