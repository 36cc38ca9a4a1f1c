"""UX-38-002: who is the same person: by e-mail, by telephone, and after being deleted and made again."""

import pytest

from tests.factories.client import Client
from tests.factories.contact_sync import NONE, count, edit, put, remote
from tests.factories.crm import (
    CREATE,
    connect,
    contacts,
    location_of,
    sync,
)
from tests.factories.house import House


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
