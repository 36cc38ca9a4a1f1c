"""UX-36-006: a job of which a part succeeded goes on with the rest alone; and people are told of failures, not of retries."""

import re
from typing import Any

import pytest

from tests.factories.client import Client
from tests.factories.contact_sync import SMALL, edit, make_due
from tests.factories.crm import RUN, connect, contacts, location_of, start_sync, sync
from tests.factories.engine import eventually
from tests.factories.house import House
from tests.factories.recovery import SEARCH, decide, details, location, retry, told
from tests.factories.workflows import REPORT, RUN_WORKFLOW, do, new_workflow, wait


async def edited(owner: Client, house: House) -> tuple[str, list[dict[str, Any]]]:
    """A synced location, and its contacts, all of which were changed here since."""
    place = location_of(await connect(owner, house), SMALL.id)
    await sync(owner, place)
    changed = [contact for contact in await contacts(owner) if contact["email"]]
    for contact in changed:
        await edit(owner, contact, city="Elsewhere")
    return place, changed


def path_of(contact: dict[str, Any]) -> str:
    return f"/contacts/{contact['refs'][0]['externalId']}"


async def written(house: House, contact: dict[str, Any]) -> int:
    """How often the vendor was asked to write a contact."""
    asked = await house.control("GET", f"/requests?path={path_of(contact)}")
    return len([each for each in asked if each["method"] == "PUT"])


@pytest.mark.story("36-006-E6")
async def test_of_a_partial_success_only_the_rest_is_done_again(house: House, owner: Client) -> None:
    async with house.workers():
        place, changed = await edited(owner, house)
        first, second, *others = changed
        house.fault("status", path=path_of(first), status=422, times=2)
        house.fault("status", path=path_of(second), status=400, times=1)
        job_id = (await start_sync(owner, place, direction="BB_TO_GHL"))["id"]
        await owner.until(job_id, "PARTIAL")
        partial = await details(owner, job_id)
        assert partial["statusText"].endswith("2 could not be sent")
        assert (partial["recoverable"], partial["recoveryOptions"][0]) == (True, "RETRY_FAILED")
        assert partial["itemCounts"] == {"total": 2, "done": 0, "failed": 2, "pending": 0}
        assert {(item["title"], item["state"], item["code"]) for item in partial["items"]["nodes"]} == {
            (contact["displayName"], "FAILED", "API-013") for contact in (first, second)
        }
        assert all(item["message"].startswith("GoHighLevel: ") for item in partial["items"]["nodes"])
        assert [await written(house, each) for each in others] == [1] * len(others)

        assert (await retry(owner, job_id, onlyFailed=True))["userErrors"] == []
        await owner.until(job_id, "PARTIAL")  # one of them is refused again
        again = await details(owner, job_id)
        assert again["itemCounts"] == {"total": 2, "done": 1, "failed": 1, "pending": 0}
        assert (await retry(owner, job_id, onlyFailed=True))["userErrors"] == []
        assert (await owner.until(job_id))["state"] == "SUCCEEDED"
        refused = await retry(owner, job_id, onlyFailed=True)
    assert refused["userErrors"][0]["code"] == "BGJ-020"
    # The vendor was asked once for what it took, and once more for each refusal.
    assert [await written(house, each) for each in (first, second, *others)] == [3, 2] + [1] * len(others)
    job = await details(owner, job_id)
    assert job["itemCounts"] == {"total": 2, "done": 2, "failed": 0, "pending": 0}
    assert (job["statusText"], [each["outcome"] for each in job["attempts"]]) == (
        "Completed - 3 attempts required",
        ["PARTIAL", "PARTIAL", "SUCCEEDED"],
    )
    run = (await owner.ask(RUN, id=job_id))["job"]["subject"]
    assert (run["pushed"], run["skipped"]) == (len(changed), 0)


@pytest.mark.story("36-006-E6")
async def test_an_item_that_needs_nothing_any_more_is_done(house: House, owner: Client) -> None:
    async with house.workers():
        place, changed = await edited(owner, house)
        house.fault("status", path=path_of(changed[0]), status=422, times=1)
        job_id = (await start_sync(owner, place, direction="BB_TO_GHL"))["id"]
        await owner.until(job_id, "PARTIAL")
        assert (await sync(owner, place, direction="BB_TO_GHL"))["state"] == "SUCCEEDED"  # another sync sends it
        before = await written(house, changed[0])
        assert (await retry(owner, job_id))["userErrors"] == []
        assert (await owner.until(job_id))["state"] == "SUCCEEDED"
    assert await written(house, changed[0]) == before
    assert (await details(owner, job_id))["itemCounts"]["done"] == 1


@pytest.mark.story("36-006-E6")
async def test_only_what_failed_can_be_asked_for_alone(house: House, owner: Client) -> None:
    house.fault("status", path=SEARCH, status=400)
    async with house.workers():
        job_id = (await start_sync(owner, await location(owner, house)))["id"]
        await owner.until(job_id, "FAILED")
        (error,) = (await retry(owner, job_id, onlyFailed=True))["userErrors"]
    assert (error["code"], error["recoveryOptions"]) == ("BGJ-027", ["RETRY", "ARCHIVE"])


@pytest.mark.story("36-006-S5", "36-006-B4")
async def test_the_first_failure_and_the_last_are_told_and_none_between(house: House, owner: Client, database_url: str) -> None:
    place = await location(owner, house)
    await decide(owner, maxRetries=2)
    house.fault("status", path=SEARCH, status=503, times=None)
    async with house.workers():
        job_id = (await start_sync(owner, place))["id"]
        for failures in (1, 2):
            await owner.until(job_id, "BACKOFF", failures=failures)
            await make_due(database_url)
        await owner.until(job_id, "FAILED")
        (last,) = await eventually(lambda: told(owner, "JOB_FAILED"))
        (mail,) = await eventually(lambda: _alerts(house))
    (first,) = await told(owner, "JOB_FIRST_FAILURE")
    assert (first["jobId"], first["jobState"]) == (job_id, "BACKOFF")
    assert (last["jobId"], last["jobState"]) == (job_id, "FAILED")
    assert last["url"].endswith(f"/jobs/{job_id}")
    assert [(each["number"], each["errorCode"], each["httpStatus"]) for each in last["attempts"]] == [
        (number, "API-012", 503) for number in (1, 2, 3)
    ]
    assert all(each["endedAt"] for each in last["attempts"])
    assert job_id in mail["text"]
    assert last["url"] in mail["text"]
    attempts = re.findall(r"Attempt (\d): failed \[API-012, HTTP 503\] (GoHighLevel\S* .+)", mail["text"])
    assert [number for number, _ in attempts] == ["1", "2", "3"]


async def _alerts(house: House) -> list[dict[str, Any]]:
    return [mail for mail in house.inbox() if mail["subject"].startswith("ALERT: ")]


async def test_a_workflow_in_the_middle_of_its_run_says_that_it_goes_on(house: House, owner: Client) -> None:
    """To wait as it was told is no failure, and costs no attempt in the words for people."""
    asleep = (await do(owner, RUN_WORKFLOW, id=(await new_workflow(owner, REPORT, wait(600)))["id"]))["job"]["id"]
    short = (await do(owner, RUN_WORKFLOW, id=(await new_workflow(owner, wait(1)))["id"]))["job"]["id"]
    async with house.workers():
        await owner.until(asleep, "SCHEDULED")
        assert (await details(owner, asleep))["statusText"] == "Waiting - goes on in 10 minutes"
        (error,) = (await retry(owner, asleep))["userErrors"]
        assert error["message"] == "This job cannot be retried: it goes on by itself."
        done = await owner.until(short)
    assert (done["state"], done["attempt"]) == ("SUCCEEDED", 2)
    assert (await details(owner, short))["statusText"] == "Completed"
