"""UX-38-002: an agency's contacts come over from GoHighLevel, and go back."""

import time
from contextlib import aclosing

import pytest

from domain.vendors.sandbox.gohighlevel import seed, seed_contacts
from tests.factories.client import Client
from tests.factories.contact_sync import NONE, SMALL, count, edit, put, remote
from tests.factories.crm import (
    RUN,
    SYNC,
    connect,
    contacts,
    location_of,
    start_sync,
    sync,
)
from tests.factories.house import House


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
