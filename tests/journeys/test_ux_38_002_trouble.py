"""UX-38-002: rate limits, outages, cancellation, and a vendor that answers wrongly."""

from contextlib import aclosing

import pytest

from domain.vendors.sandbox.gohighlevel import seed
from tests.factories.client import Client
from tests.factories.contact_sync import CANCEL, RETRY, SMALL, count, edit, make_due
from tests.factories.crm import (
    RUN,
    connect,
    contacts,
    location_of,
    start_sync,
    sync,
)
from tests.factories.house import House


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
    assert (done["state"], done["failures"]) == ("PARTIAL" if direction == "BB_TO_GHL" else "SUCCEEDED", 2)
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
