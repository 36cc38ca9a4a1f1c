"""UX-36-010: support and customer look at a job that failed, do what it needs, and it goes on where it was."""

from typing import Any

import pytest

from tests.factories.client import Client
from tests.factories.contact_sync import make_due
from tests.factories.crm import COMPLETE, RUN, START, connect, location_of, start_sync
from tests.factories.house import House
from tests.factories.people import add_person, new_owner
from tests.factories.recovery import (
    LARGE,
    SEARCH,
    act,
    decide,
    details,
    failed_sync,
    location,
    retry,
    support,
    told,
)

JOBS = "query ($filter: JobFilterInput) { jobs(filter: $filter) { totalCount nodes { id } } }"
UPDATE = "mutation ($input: UpdateGhlLocationsInput!) { updateGhlLocations(input: $input) { userErrors { code message } } }"


async def reconnect(client: Client, house: House) -> None:
    """Authorise the agency again, as the customer does it."""
    started = (await client.ask(START))["startGhlAuthorization"]
    answer = await house.consent(started["authorizationUrl"])
    assert (await client.ask(COMPLETE, input=answer))["completeGhlAuthorization"]["userErrors"] == []


async def found(client: Client, **wanted: Any) -> list[str]:
    """The ids of the jobs that fit a filter."""
    return [job["id"] for job in (await client.ask(JOBS, filter=wanted))["jobs"]["nodes"]]


@pytest.mark.story("36-010-S3", "36-010-B1", "36-010-B4", "36-010-S4", "36-010-B3", "36-010-S5")
async def test_toms_ticket_from_the_lost_authorisation_to_the_finished_sync(house: House, owner: Client) -> None:
    """The story from its first step to its last."""
    account = await connect(owner, house)
    place = location_of(account, LARGE.id)
    house.fault("latency", path=SEARCH, times=None, skip=4, ms=200)
    async with house.workers():
        job_id = (await start_sync(owner, place))["id"]
        watched = "subscription ($id: ID!) { jobUpdated(id: $id) { job { progress { done } } } }"
        async for update in owner.watch(watched, id=job_id):
            if update["jobUpdated"]["job"]["progress"]["done"] >= 2_000:
                break
        await house.revoke(account["companyId"])
        await owner.until(job_id, "WAITING")
        asked = len(await house.control("GET", f"/requests?path={SEARCH}"))

        tom = await support(house, owner)
        job = await details(tom, job_id)
        assert (job["errorCode"], job["recoveryOptions"]) == ("GHL-001", ["REAUTHORIZE", "RETRY", "CONTACT_SUPPORT"])
        assert job["attempts"][-1]["stackTrace"]
        assert 2_000 <= job["progress"]["done"] < 5_000
        note = "GoHighLevel ended the authorisation. Please connect your agency again."
        marked = await act(tom, "markJobRequiresAction", job_id, note=note)
        assert (marked["userErrors"], marked["job"]["attention"]) == ([], "REQUIRES_ACTION")

        seen = await details(owner, job_id)
        assert [(each["body"], each["authorType"]) for each in seen["notes"]["nodes"]] == [(note, "SUPPORT")]
        (notice,) = await told(owner, "REQUIRES_ACTION")
        assert (notice["body"], notice["jobId"]) == (note, job_id)
        assert notice["url"].endswith(f"/jobs/{job_id}")

        await house.control("DELETE", "/faults")
        await reconnect(owner, house)  # the job goes on by itself
        done = await owner.until(job_id)
    assert (done["state"], done["failures"]) == ("SUCCEEDED", 0)
    assert done["progress"]["done"] == LARGE.contacts
    again = len(await house.control("GET", f"/requests?path={SEARCH}")) - asked
    assert again <= 11 - 4  # from the checkpoint, not from the beginning
    ended = await details(owner, job_id)
    assert ended["attention"] == "RESOLVED"  # by itself, since it did what it was asked for
    assert [(entry["action"], entry["actorType"], entry["actorName"]) for entry in ended["interventions"]] == [
        ("job.require_action", "SUPPORT", "Owner of Support"),
        ("job.resolve", "SYSTEM", "Bottleneck-Bots"),
    ]
    assert ended["interventions"][1]["details"] == {"before": "requires_action", "why": "the job succeeded"}


@pytest.mark.story("36-010-S1", "36-010-B2")
async def test_an_error_has_all_that_support_needs_and_is_found_by_it(house: House, owner: Client) -> None:
    place = await location(owner, house)
    async with house.workers():
        job = await failed_sync(owner, place, house)
        other = (await start_sync(owner, place))["id"]
        await owner.until(other, "SUCCEEDED")
    tom = await support(house, owner)
    (attempt,) = (await details(tom, job["id"]))["attempts"]
    assert (attempt["errorCode"], attempt["errorClass"], attempt["httpStatus"]) == ("API-013", "VendorRefused", 400)
    assert attempt["startedAt"] < attempt["endedAt"]
    assert attempt["errorMessage"].startswith("GoHighLevel: ")
    assert "domain/vendors/http.py" in attempt["stackTrace"]
    for wanted in ({"errorCodes": ["API-013"]}, {"text": "api-013"}, {"states": ["FAILED"]}):
        assert await found(tom, **wanted) == [job["id"]], wanted
    word = attempt["errorMessage"].split()[1]
    assert job["id"] in await found(tom, text=word)
    assert await found(tom, errorCodes=["API-012"]) == []


@pytest.mark.story("36-010-S1")
async def test_who_may_not_read_logs_sees_the_error_without_the_servers_inside(house: House) -> None:
    person = await new_owner(house)
    viewer = await add_person(house, person, "VIEWER")
    async with house.workers():
        job = await failed_sync(person.client, await location(person.client, house), house)
    seen = await details(viewer.client, job["id"])
    assert seen["attempts"][0]["errorMessage"]
    assert seen["attempts"][0]["stackTrace"] is None
    assert seen["interventions"] is None
    assert (await retry(viewer.client, job["id"]))["userErrors"][0]["code"] == "API-004"


@pytest.mark.story("36-010-S2", "36-010-S3", "36-010-B1", "36-010-B4")
async def test_a_job_that_gave_up_halfway_goes_on_halfway(house: House, owner: Client, database_url: str) -> None:
    place = await location(owner, house, LARGE)
    await decide(owner, maxRetries=1)
    house.fault("cut", path=SEARCH, skip=4, times=2)
    async with house.workers():
        job_id = (await start_sync(owner, place))["id"]
        await owner.until(job_id, "BACKOFF")
        await make_due(database_url)
        await owner.until(job_id, "FAILED")
        failed = await details(owner, job_id)
        assert (failed["isPermanentlyFailed"], failed["recoverable"]) == (True, True)
        assert failed["recoveryOptions"] == ["RETRY", "CONTACT_SUPPORT", "ARCHIVE"]
        kept = failed["progress"]["done"]
        assert 0 < kept < LARGE.contacts
        payload = await retry(owner, job_id)
        assert payload["userErrors"] == []
        done = await owner.until(job_id, "SUCCEEDED")
    assert (done["attempt"], done["failures"]) == (3, 0)
    run = (await owner.ask(RUN, id=job_id))["job"]["subject"]
    assert (run["created"], run["skipped"]) == (4_880, 20)  # no page twice
    assert len(await house.control("GET", f"/requests?path={SEARCH}")) == 11 + 2


@pytest.mark.story("36-010-E1")
async def test_a_retry_before_the_cause_is_mended_fails_in_the_same_way(house: House, owner: Client) -> None:
    place = await location(owner, house)
    house.fault("status", path=SEARCH, status=422, times=3)
    async with house.workers():
        job_id = (await start_sync(owner, place))["id"]
        for attempt in (1, 2, 3):
            job = await owner.until(job_id, "FAILED")
            assert job["attempt"] == attempt
            assert (await retry(owner, job_id))["userErrors"] == []
        done = await owner.until(job_id, "SUCCEEDED")
    told = [(each["outcome"], each["errorCode"], each["httpStatus"]) for each in done["attempts"]]
    assert told == [("FAILED", "API-013", 422)] * 3 + [("SUCCEEDED", None, None)]
    assert [entry["action"] for entry in (await details(owner, job_id))["interventions"]] == ["job.retry"] * 3


@pytest.mark.story("36-010-E2")
async def test_what_was_changed_since_is_named_and_decided_by_the_customer(house: House, owner: Client) -> None:
    place = await location(owner, house)
    async with house.workers():
        job = await failed_sync(owner, place, house)
        edited = {"ids": [place], "direction": "BIDIRECTIONAL", "onlyTags": ["vip"]}
        assert (await owner.ask(UPDATE, input=edited))["updateGhlLocations"]["userErrors"] == []

        (error,) = (await retry(owner, job["id"]))["userErrors"]
        assert (error["__typename"], error["code"]) == ("JobNotRecoverableError", "BGJ-025")
        assert error["recoveryOptions"] == ["ACCEPT_CHANGES", "ASK_AGAIN", "ARCHIVE"]
        direction, tags = error["changes"]
        assert direction.startswith("the direction was GHL_TO_BB, now BIDIRECTIONAL (Owner of Bright & Co at ")
        assert tags.startswith("the tags was all, now vip")
        assert (await owner.job(job["id"]))["state"] == "FAILED"

        payload = await retry(owner, job["id"], acceptChanges=True)
        assert payload["userErrors"] == []
        assert (await owner.until(job["id"]))["state"] == "SUCCEEDED"
    run = (await owner.ask(RUN, id=job["id"]))["job"]["subject"]
    assert run["direction"] == "BIDIRECTIONAL"
    assert payload["job"]["interventions"][-1]["details"]["starts_over"] is True


@pytest.mark.story("36-010-E2")
async def test_a_subject_that_is_gone_is_said_to_be(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    async with house.workers():
        job = await failed_sync(owner, location_of(account, LARGE.id), house)
        gone = "mutation ($id: ID!) { disconnectGhlAccount(input: {id: $id}) { userErrors { code } } }"
        assert (await owner.ask(gone, id=account["id"]))["disconnectGhlAccount"]["userErrors"] == []
        (error,) = (await retry(owner, job["id"]))["userErrors"]
    assert (error["code"], error["recoveryOptions"]) == ("BGJ-026", ["REAUTHORIZE", "ASK_AGAIN", "ARCHIVE"])
