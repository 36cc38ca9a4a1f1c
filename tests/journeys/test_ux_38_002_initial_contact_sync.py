"""UX-38-002: an agency's contacts come over from GoHighLevel, and go back."""

import time
from contextlib import aclosing
from typing import Any

import asyncpg
import pytest

from domain.vendors.sandbox.gohighlevel import seed, seed_contacts
from tests.factories.client import Client
from tests.factories.crm import (
    CONTACTS,
    CREATE,
    RUN,
    SYNC,
    UPDATE,
    connect,
    contacts,
    location_of,
    start_sync,
    sync,
)
from tests.factories.house import House

SMALL = seed.LOCATIONS[10]  # five contacts
NONE = seed.LOCATIONS[1]  # no contacts
CANCEL = "mutation ($id: ID!) { cancelJob(input: {id: $id}) { job { id state } userErrors { code message } } }"
RETRY = "mutation ($id: ID!) { retryJob(input: {id: $id}) { job { id state } userErrors { code message } } }"


async def count(client: Client, **wanted: Any) -> int:
    """How many contacts fit."""
    return int((await client.ask(CONTACTS, filter=wanted, first=1))["contacts"]["totalCount"])


async def remote(house: House, location: seed.SeededLocation, contact_id: str) -> dict[str, Any]:
    """A contact as the vendor has it."""
    book = house.world.location(location.id)
    contact = book.contacts.get(contact_id) if book is not None else None
    assert contact is not None
    data: dict[str, Any] = contact.data
    return data


async def put(house: House, location: seed.SeededLocation, *rows: dict[str, Any]) -> list[str]:
    """Contacts that appear at the vendor."""
    made = await house.control("POST", "/contacts", {"location": location.id, "contacts": list(rows)})
    return list(made["ids"])


async def change(house: House, location: seed.SeededLocation, contact_id: str, **fields: Any) -> None:
    """Somebody edits a contact at the vendor."""
    await house.control("PATCH", "/contacts", {"location": location.id, "ids": [contact_id], "set": fields})


async def edit(client: Client, contact: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Somebody edits a contact here."""
    given = {"id": contact["id"], "expectedVersion": contact["version"], "fields": fields}
    payload = (await client.ask(UPDATE, input=given))["updateContact"]
    assert payload["userErrors"] == []
    edited: dict[str, Any] = payload["contact"]
    return edited


async def make_due(database_url: str) -> None:
    """Let the time until the next attempt pass."""
    connection = await asyncpg.connect(database_url.replace("//bots@", "//postgres@"))
    await connection.execute("update job set run_at = now() where state = 'backoff'")
    await connection.close()


@pytest.mark.story("38-002-S1", "38-002-B1", "38-002-B4", "38-002-E4")
async def test_five_thousand_contacts_with_progress_and_a_log_of_what_was_skipped(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, seed.LARGE.id)
    # Slow enough for several updates: no more than four a second are told.
    house.fault("latency", path="/contacts/search", times=None, ms=150)
    began = time.monotonic()
    seen: list[tuple[int, int]] = []
    async with house.workers():
        job = await start_sync(owner, location)
        watched = """subscription ($id: ID!) { jobUpdated(id: $id) { event { state phase done total } job { state } } }"""
        async with aclosing(owner.watch(watched, id=job["id"])) as updates:
            async for update in updates:
                event = update["jobUpdated"]["event"]
                if event and event["total"]:
                    seen.append((event["done"], event["total"]))
                if event and event["state"] == "SUCCEEDED":
                    break
    assert time.monotonic() - began < 600
    assert house.world.throttled == 0
    assert seen == sorted(seen)
    assert all(done <= total == seed.CONTACTS for done, total in seen)
    assert len({done for done, _ in seen}) > 3
    assert seen[-1] == (seed.CONTACTS, seed.CONTACTS)

    details = (await owner.ask(RUN, id=job["id"]))["job"]
    assert details["message"] == "4,980 contacts synced, 0 conflicts, 20 skipped"
    run = details["subject"]
    assert (run["created"], run["merged"], run["skipped"]) == (4_880, seed.DUPLICATES, seed.INVALID)
    assert await count(owner, locationId=location) == 4_880
    assert await count(owner, locationId=location, source="GHL", syncStates=["SYNCED"]) == 4_880
    skipped = {line["subject"] for line in details["log"]["nodes"]}
    invalid = {
        seed.contact_id(seed.LARGE, number) for number in range(seed.CONTACTS) if seed.kind_of(number) in seed.INVALID_KINDS
    }
    assert skipped == invalid
    assert all(line["code"] == "GHL-021" and line["field"] and line["message"] for line in details["log"]["nodes"])


@pytest.mark.story("38-002-B3", "38-002-S2")
async def test_every_standard_field_is_mapped(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    theirs = {
        "firstName": "Zoë",
        "lastName": "O'Neil",
        "email": " Zoe@Example.COM ",
        "phone": "+15125550199",
        "companyName": "O'Neil & Daughters",
        "website": "https://oneil.example",
        "address1": "1 Quay Street",
        "city": "Galway",
        "state": "Connacht",
        "postalCode": "H91",
        "country": "IE",
        "timezone": "Europe/Dublin",
        "dateOfBirth": "1988-02-29T00:00:00.000Z",
        "source": "trade fair",
        "assignedTo": seed.make_id("user", 1),
        "dnd": True,
        "tags": ["VIP", "newsletter"],
    }
    (external_id,) = await put(house, NONE, theirs)
    async with house.workers():
        assert (await sync(owner, location_of(account, NONE.id)))["state"] == "SUCCEEDED"
    (ours,) = await contacts(owner)
    expected = {
        "displayName": "Zoë O'Neil",
        "firstName": "Zoë",
        "lastName": "O'Neil",
        "email": "zoe@example.com",
        "phone": "+15125550199",
        "company": "O'Neil & Daughters",
        "website": "https://oneil.example",
        "street": "1 Quay Street",
        "city": "Galway",
        "region": "Connacht",
        "postalCode": "H91",
        "country": "IE",
        "timeZone": "Europe/Dublin",
        "birthday": "1988-02-29",
        "origin": "trade fair",
        "assignedTo": theirs["assignedTo"],
        "doNotDisturb": True,
        "tags": ["newsletter", "vip"],
        "source": "GHL",
        "syncState": "SYNCED",
        "refs": [{"externalId": external_id, "isPrimary": True, "missingSince": None}],
    }
    assert {name: ours[name] for name in expected} == expected


@pytest.mark.story("38-002-S3")
async def test_custom_fields_of_every_type_are_kept_there_and_back(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, NONE.id)
    names = {name: seed_contacts.field_id(NONE, name) for name, _, _ in seed_contacts.FIELDS}
    values = {"Favourite Colour": "green", "Lifetime Value": 12.5, "Member Since": "2024-05-01", "Consents": ["E-mail", "Post"]}
    values |= {"Visits": 3, "Measurements": {"height": "180 cm"}}
    given = [{"id": names[name], "value": value} for name, value in values.items()]
    (external_id,) = await put(house, NONE, {"email": "a@example.com", "customFields": given})
    async with house.workers():
        await sync(owner, location)
        (ours,) = await contacts(owner)
        assert {field["name"]: field["value"] for field in ours["customFields"]} == values
        kinds = {field["name"]: field["dataType"] for field in ours["customFields"]}
        assert kinds["Consents"] == "CHECKBOX"
        assert kinds["Member Since"] == "DATE"
        await edit(owner, ours, customFields=[{"id": names["Visits"], "value": 4}])
        await sync(owner, location, direction="BIDIRECTIONAL")
    there = {field["id"]: field["value"] for field in (await remote(house, NONE, external_id))["customFields"]}
    assert there == {names[name]: value for name, value in (values | {"Visits": 4}).items()}


@pytest.mark.story("38-002-B2", "38-002-S4")
async def test_duplicates_by_email_become_one_contact_with_the_best_of_each(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    old, new, other = await put(
        house,
        NONE,
        {
            "email": "dup@example.com",
            "firstName": "Old",
            "city": "Cork",
            "tags": ["a"],
            "phone": "+15125550101",
            "dateUpdated": 1_000,
        },
        {"email": " DUP@example.com", "firstName": "New", "tags": ["b"], "phone": "+15125550102", "dateUpdated": 2_000},
        {"email": "else@example.com", "firstName": "Else"},
    )
    async with house.workers():
        job = await sync(owner, location_of(account, NONE.id))
        assert (job["subject"]["created"], job["subject"]["merged"]) == (2, 1)
        (ours,) = await contacts(owner, email="dup@example.com")
        assert (ours["firstName"], ours["city"], ours["tags"]) == ("New", "Cork", ["a", "b"])
        assert (ours["phone"], ours["otherPhones"]) == ("+15125550102", ["+15125550101"])
        assert ours["refs"] == [
            {"externalId": new, "isPrimary": True, "missingSince": None},
            {"externalId": old, "isPrimary": False, "missingSince": None},
        ]
        again = await sync(owner, location_of(account, NONE.id))
    assert (again["subject"]["unchanged"], again["subject"]["updated"], again["subject"]["conflicts"]) == (3, 0, 0)
    assert await count(owner) == 2
    assert other not in {ref["externalId"] for ref in ours["refs"]}


@pytest.mark.story("38-002-E1")
async def test_without_an_email_the_telephone_tells_who_it_is(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    await put(
        house,
        NONE,
        {"phone": "+15125550111", "firstName": "Ada", "dateUpdated": 1_000},
        {"phone": "+15125550111", "lastName": "Byron", "dateUpdated": 2_000},
        {"firstName": "Neither", "lastName": "Nor"},
        {"firstName": "Neither", "lastName": "Nor"},
    )
    async with house.workers():
        job = await sync(owner, location_of(account, NONE.id))
    assert (job["subject"]["created"], job["subject"]["merged"], job["subject"]["skipped"]) == (3, 1, 0)
    (ada,) = await contacts(owner, phone="+15125550111")
    assert ada["displayName"] == "Ada Byron"
    assert len(await contacts(owner, text="neither")) == 2  # nothing says that these are one person


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


@pytest.mark.story("38-002-E2")
async def test_a_contact_known_on_both_sides_before_the_first_sync_is_joined(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, NONE.id)
    fields = {"email": "both@example.com", "firstName": "Ours", "company": "Ours Ltd"}
    await owner.ask(CREATE, input={"locationId": location, "fields": fields})
    (external_id,) = await put(house, NONE, {"email": "BOTH@example.com", "firstName": "Theirs", "city": "Oslo"})
    async with house.workers():
        await sync(owner, location, direction="BIDIRECTIONAL", policy="BB_WINS")
    (joined,) = await contacts(owner)
    assert (joined["firstName"], joined["company"], joined["city"]) == ("Ours", "Ours Ltd", "Oslo")
    at_vendor = await remote(house, NONE, external_id)
    assert (at_vendor["firstName"], at_vendor["companyName"], at_vendor["city"]) == ("Ours", "Ours Ltd", "Oslo")


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


async def test_deleted_and_made_again_is_the_same_person(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, NONE.id)
    (first,) = await put(house, NONE, {"email": "again@example.com", "firstName": "Before"})
    async with house.workers():
        await sync(owner, location)
        await house.control("DELETE", "/contacts", {"location": NONE.id, "ids": [first]})
        await sync(owner, location)
        (second,) = await put(house, NONE, {"email": "again@example.com", "firstName": "After"})
        await sync(owner, location, policy="GHL_WINS")
    (ours,) = await contacts(owner)
    assert (ours["firstName"], ours["syncState"]) == ("After", "SYNCED")
    assert [(ref["externalId"], ref["isPrimary"]) for ref in ours["refs"]] == [(second, True), (first, False)]


async def test_when_the_leading_duplicate_is_deleted_the_other_one_leads(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, NONE.id)
    old, new = await put(
        house,
        NONE,
        {"email": "two@example.com", "firstName": "Old", "dateUpdated": 1_000_000},
        {"email": "two@example.com", "firstName": "New", "dateUpdated": 2_000_000},
    )
    async with house.workers():
        await sync(owner, location)
        await house.control("DELETE", "/contacts", {"location": NONE.id, "ids": [new]})
        await sync(owner, location)
        (ours,) = await contacts(owner)
        assert ours["syncState"] != "REMOTE_DELETED"
        assert [ref["externalId"] for ref in ours["refs"] if ref["isPrimary"]] == [old]
        await edit(owner, ours, city="Bern")
        await sync(owner, location, direction="BIDIRECTIONAL")
    assert (await remote(house, NONE, old))["city"] == "Bern"


async def test_two_people_with_one_telephone_are_not_written_over_each_other(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, NONE.id)
    (theirs,) = await put(house, NONE, {"email": "one@example.com", "phone": "+15125550144", "firstName": "One"})
    fields = {"email": "two@example.com", "phone": "+15125550144", "firstName": "Two"}
    async with house.workers():
        await sync(owner, location)
        await owner.ask(CREATE, input={"locationId": location, "fields": fields})
        job = await sync(owner, location, direction="BIDIRECTIONAL")
    assert (await remote(house, NONE, theirs))["firstName"] == "One"
    assert job["subject"]["skipped"] == 1
    assert theirs in next(line["message"] for line in job["log"]["nodes"] if line["code"] == "GHL-023")


@pytest.mark.story("38-002-S7")
async def test_the_history_of_syncs_is_kept(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    async with house.workers():
        await sync(owner, location, policy="GHL_WINS")
        await sync(owner, location, policy="BB_WINS")
    history = """query ($id: ID!) { syncRuns(locationId: $id) { totalCount nodes { policy direction created unchanged createdAt
      job { state startedAt finishedAt originName message } location { id synced: syncedAt } } } }"""
    runs = (await owner.ask(history, id=location))["syncRuns"]
    assert runs["totalCount"] == 2
    newest, oldest = runs["nodes"]
    assert (newest["policy"], newest["created"], newest["unchanged"]) == ("BB_WINS", 0, SMALL.contacts)
    assert (oldest["policy"], oldest["created"], oldest["unchanged"]) == ("GHL_WINS", SMALL.contacts, 0)
    for run in runs["nodes"]:
        assert run["job"]["state"] == "SUCCEEDED"
        assert run["job"]["startedAt"] < run["job"]["finishedAt"]
        assert run["job"]["originName"] == "Owner of Bright & Co"
        assert run["location"]["synced"]


@pytest.mark.story("38-002-E3", "38-002-B1")
@pytest.mark.parametrize("more_settings", [{"ghl_burst_seconds": 1.0}])
async def test_a_rate_limit_pauses_the_sync_and_costs_no_retry(house: House, owner: Client, database_url: str) -> None:
    account = await connect(owner, house)
    await house.control("POST", "/limits", {"interval_seconds": 1})
    house.fault("status", path="/contacts/search", status=429)
    async with house.workers():
        job = await start_sync(owner, location_of(account, SMALL.id))
        paused = await owner.until(job["id"], "BACKOFF")
        assert paused["errorCode"] == "BGJ-003"
        assert paused["nextAttemptAt"] is not None
        assert paused["attempts"][0]["outcome"] == "SNOOZED"
        assert paused["attempts"][0]["httpStatus"] == 429
        await make_due(database_url)
        done = await owner.until(job["id"])
    assert (done["state"], done["attempt"], done["failures"]) == ("SUCCEEDED", 2, 0)
    assert await count(owner) == SMALL.contacts


@pytest.mark.story("38-002-E5")
async def test_a_cut_connection_resumes_from_the_checkpoint(house: House, owner: Client, database_url: str) -> None:
    account = await connect(owner, house)
    location = location_of(account, seed.LARGE.id)
    house.fault("cut", path="/contacts/search", skip=4)
    async with house.workers():
        job = await start_sync(owner, location)
        failed = await owner.until(job["id"], "BACKOFF")
        assert failed["attempts"][0]["errorClass"] == "VendorDown"
        assert failed["attempts"][0]["nextDelay"] == 30.0
        assert failed["failures"] == 1
        kept = await count(owner)
        assert 0 < kept < 4_880
        asked = len(await house.control("GET", "/requests?path=/contacts/search"))
        await make_due(database_url)
        done = await owner.until(job["id"])
    assert done["state"] == "SUCCEEDED"
    assert await count(owner) == 4_880
    run = (await owner.ask(RUN, id=job["id"]))["job"]["subject"]
    assert (run["created"], run["merged"], run["skipped"]) == (4_880, seed.DUPLICATES, seed.INVALID)  # no page twice
    again = await house.control("GET", "/requests?path=/contacts/search")
    assert len(again) - asked == 11 - 4  # ten pages and the empty one, less the four before the cut


@pytest.mark.story("38-002-B5", "38-002-E6")
async def test_a_cancelled_sync_keeps_what_it_did(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, seed.LARGE.id)
    house.fault("latency", path="/contacts/search", times=None, skip=2, ms=400)
    async with house.workers():
        job = await start_sync(owner, location)
        watched = "subscription ($id: ID!) { jobUpdated(id: $id) { job { progress { done } } } }"
        async with aclosing(owner.watch(watched, id=job["id"])) as updates:
            async for update in updates:
                if update["jobUpdated"]["job"]["progress"]["done"] >= 500:
                    break
        cancelled = (await owner.ask(CANCEL, id=job["id"]))["cancelJob"]
        assert cancelled["userErrors"] == []
        ended = await owner.until(job["id"])
        assert ended["state"] == "CANCELLED"
        done = ended["progress"]["done"]
        assert 500 <= done < 5_000
        kept = await count(owner)
        assert done - seed.INVALID - seed.DUPLICATES <= kept <= done
        await house.control("DELETE", "/faults")
        assert (await sync(owner, location))["state"] == "SUCCEEDED"
    assert await count(owner) == 4_880


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


@pytest.mark.story("38-002-E4")
@pytest.mark.parametrize("direction", ["BB_TO_GHL", "GHL_TO_BB"])
async def test_a_contact_for_which_the_vendor_always_fails_is_set_aside(
    house: House, owner: Client, database_url: str, direction: str
) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    async with house.workers():
        await sync(owner, location)
        victim, other = [contact for contact in await contacts(owner) if contact["email"]][:2]
        external_id = victim["refs"][0]["externalId"]
        if direction == "BB_TO_GHL":
            await edit(owner, victim, city="Elsewhere")
            await edit(owner, other, city="Elsewhere")
        else:  # its search leaves both out, but about one it cannot be asked
            gone = [external_id, other["refs"][0]["externalId"]]
            await house.control("DELETE", "/contacts", {"location": SMALL.id, "ids": gone})
        house.fault("status", path=f"/contacts/{external_id}", status=500, times=3)
        job = await start_sync(owner, location, direction=direction)
        for failures in (1, 2):
            await owner.until(job["id"], "BACKOFF", failures=failures)
            await make_due(database_url)
        done = await owner.until(job["id"])
        run = (await owner.ask(RUN, id=job["id"]))["job"]
        again = await sync(owner, location, direction=direction)
    assert (done["state"], done["failures"]) == ("SUCCEEDED", 2)
    figures = ("pushed", "skipped") if direction == "BB_TO_GHL" else ("missing",)
    assert [run["subject"][name] for name in figures] == [1] * len(figures)
    (line,) = [line for line in run["log"]["nodes"] if line["level"] == "WARNING"]
    assert line["code"] == ("GHL-023" if direction == "BB_TO_GHL" else "GHL-022")
    assert again["subject"][figures[0]] == 1  # it was not forgotten


@pytest.mark.story("38-002-E4")
async def test_a_vendor_that_is_down_for_all_is_no_reason_to_set_contacts_aside(
    house: House, owner: Client, database_url: str
) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    async with house.workers():
        await sync(owner, location)
        for contact in [contact for contact in await contacts(owner) if contact["email"]][:2]:
            await edit(owner, contact, city="Elsewhere")
        house.fault("status", status=503, times=None)
        job = await start_sync(owner, location, direction="BB_TO_GHL")
        for failures in (1, 2, 3):
            await owner.until(job["id"], "BACKOFF", failures=failures)
            if failures == 3:
                await house.control("DELETE", "/faults")
            await make_due(database_url)
        done = await owner.until(job["id"])
    run = (await owner.ask(RUN, id=job["id"]))["job"]["subject"]
    assert (done["state"], run["pushed"], run["skipped"]) == ("SUCCEEDED", 2, 0)


async def test_only_tagged_contacts_are_synced(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    await put(house, NONE, {"email": "a@x.example", "tags": ["vip"]}, {"email": "b@x.example", "tags": ["other"]})
    async with house.workers():
        job = await sync(owner, location_of(account, NONE.id), onlyTags=["VIP"])
    assert job["subject"]["created"] == 1
    assert [contact["email"] for contact in await contacts(owner)] == ["a@x.example"]


async def test_a_second_sync_is_refused_and_leads_to_the_running_one(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    first = await start_sync(owner, location)
    refused = (await owner.ask(SYNC, input={"locationId": location}))["startContactSync"]
    assert refused["run"] is None
    error = refused["userErrors"][0]
    assert (error["__typename"], error["code"], error["job"]["id"]) == ("SyncAlreadyRunningError", "GHL-020", first["id"])


async def test_the_same_idempotency_key_starts_one_sync(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    first = await start_sync(owner, location, idempotencyKey="k1")
    assert (await start_sync(owner, location, idempotencyKey="k1"))["id"] == first["id"]
    other = (await owner.ask(SYNC, input={"locationId": location, "policy": "BB_WINS", "idempotencyKey": "k1"}))[
        "startContactSync"
    ]
    assert other["userErrors"][0]["code"] == "API-008"


async def test_another_tenants_row_is_never_kept(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    house.fault("wrong_tenant", path="/contacts/search")
    async with house.workers():
        job = await sync(owner, location_of(account, SMALL.id))
    assert job["state"] == "SUCCEEDED"
    assert job["subject"]["skipped"] == 1
    assert job["log"]["nodes"][0]["field"] == "locationId"
    assert await count(owner) == SMALL.contacts


async def test_a_cursor_that_repeats_does_not_run_for_ever(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    house.fault("repeat_cursor", path="/contacts/search", times=None)
    async with house.workers():
        job = await start_sync(owner, location_of(account, seed.LARGE.id))
        stuck = await owner.until(job["id"], "BACKOFF")
        assert stuck["attempts"][0]["errorClass"] == "RepeatedCursor"
        await house.control("DELETE", "/faults")
        retried = (await owner.ask(RETRY, id=job["id"]))["retryJob"]
        assert retried["userErrors"] == []
        assert (await owner.until(job["id"]))["state"] == "SUCCEEDED"
    assert await count(owner) == 4_880
