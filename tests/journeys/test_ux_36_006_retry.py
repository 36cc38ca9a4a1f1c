"""UX-36-006: what is worth another attempt gets one by itself, later and later, and people see and steer it."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.factories.client import Client
from tests.factories.contact_sync import CANCEL, make_due
from tests.factories.crm import start_sync
from tests.factories.house import House
from tests.factories.processes import programs
from tests.factories.recovery import LARGE, SEARCH, decide, details, location, retry
from tests.faults.nursery import nursery

DELAYS = [30.0, 60.0, 120.0, 240.0, 480.0]


async def begin(owner: Client, house: House, *, status: int = 503, times: int | None = None) -> str:
    """A sync whose vendor answers with `status`; its job's id."""
    house.fault("status", path=SEARCH, status=status, times=times)
    return str((await start_sync(owner, await location(owner, house)))["id"])


def seconds_until(moment: str) -> float:
    return (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()


def countdown(text: str) -> tuple[str, int]:
    """The words and the seconds of a status such as "Retrying (1/5) - next attempt in 30 seconds"."""
    found = re.fullmatch(r"(.+) - next attempt in (\d+) (second|minute)s?", text)
    assert found, text
    return found[1], int(found[2]) * (60 if found[3] == "minute" else 1)


@pytest.mark.story("36-006-S1", "36-006-S2", "36-006-S6", "36-006-B1", "36-006-B2", "36-006-B5")
async def test_a_vendor_that_is_down_twice_is_asked_a_third_time(house: House, owner: Client, database_url: str) -> None:
    async with house.workers():
        job_id = await begin(owner, house, times=2)
        await owner.until(job_id, "BACKOFF", failures=1)
        first = await details(owner, job_id)
        assert countdown(first["statusText"])[0] == "Retrying (1/5)"
        assert 25 < countdown(first["statusText"])[1] <= 30
        assert 25 < seconds_until(first["nextAttemptAt"]) <= 30
        assert (first["failures"], first["maxRetries"]) == (1, 5)
        assert (first["recoverable"], first["recoveryOptions"]) == (True, ["RETRY"])
        (attempt,) = first["attempts"]
        assert (attempt["number"], attempt["outcome"], attempt["httpStatus"]) == (1, "FAILED", 503)
        assert (attempt["errorClass"], attempt["errorCode"], attempt["nextDelay"]) == ("VendorDown", "API-012", 30.0)
        assert attempt["startedAt"] < attempt["endedAt"]
        assert attempt["errorMessage"]
        assert "Traceback" in attempt["stackTrace"]

        await make_due(database_url)
        await owner.until(job_id, "BACKOFF", failures=2)
        second = await details(owner, job_id)
        words, seconds = countdown(second["statusText"])
        assert words == "Retrying (2/5)"
        assert 55 < seconds <= 60

        await make_due(database_url)
        await owner.until(job_id, "SUCCEEDED")
    done = await details(owner, job_id)
    assert done["statusText"] == "Completed - 3 attempts required"
    assert [(each["number"], each["outcome"], each["nextDelay"]) for each in done["attempts"]] == [
        (1, "FAILED", 30.0),
        (2, "FAILED", 60.0),
        (3, "SUCCEEDED", None),
    ]
    # A success like any other: nothing of it looks like an error.
    assert (done["errorCode"], done["errorMessage"], done["isPermanentlyFailed"]) == (None, None, False)
    assert (done["recoverable"], done["recoveryOptions"], done["nextAttemptAt"]) == (False, [], None)


@pytest.mark.story("36-006-S1", "36-006-E5", "36-006-S6")
async def test_when_all_attempts_fail_it_needs_a_person(house: House, owner: Client, database_url: str) -> None:
    async with house.workers():
        job_id = await begin(owner, house)
        for failures in range(1, 6):
            waiting = await owner.until(job_id, "BACKOFF", failures=failures)
            assert waiting["attempts"][-1]["nextDelay"] == DELAYS[failures - 1]
            await make_due(database_url)
        await owner.until(job_id, "FAILED")
        failed = await details(owner, job_id)
        assert failed["statusText"] == "Permanently failed - all 6 attempts failed"
        assert (failed["isPermanentlyFailed"], failed["recoverable"], failed["nextAttemptAt"]) == (True, True, None)
        assert failed["recoveryOptions"] == ["RETRY", "CONTACT_SUPPORT", "ARCHIVE"]
        assert [each["nextDelay"] for each in failed["attempts"]] == [*DELAYS, None]

        await house.control("DELETE", "/faults")
        assert (await retry(owner, job_id))["userErrors"] == []
        again = await owner.until(job_id)
    assert (again["state"], again["failures"], again["attempt"]) == ("SUCCEEDED", 0, 7)


@pytest.mark.story("36-006-S3", "36-006-B3")
async def test_a_job_is_cancelled_while_it_waits_for_its_next_attempt(house: House, owner: Client, database_url: str) -> None:
    async with house.workers():
        job_id = await begin(owner, house)
        await owner.until(job_id, "BACKOFF")
        payload = (await owner.ask(CANCEL, id=job_id))["cancelJob"]
        assert (payload["userErrors"], payload["job"]["state"]) == ([], "CANCELLED")
        await make_due(database_url)
        await house.sweep()
        job = await details(owner, job_id)
    assert (job["state"], job["statusText"], job["attempt"]) == ("CANCELLED", "Cancelled", 1)
    assert [entry["action"] for entry in job["interventions"]] == ["job.cancel"]


@pytest.mark.story("36-006-S4", "36-006-B3")
async def test_a_person_need_not_wait_for_the_next_attempt(house: House, owner: Client) -> None:
    async with house.workers():
        job_id = await begin(owner, house, times=2)
        await owner.until(job_id, "BACKOFF", failures=1)
        assert (await retry(owner, job_id, idempotencyKey="now"))["userErrors"] == []
        second = await owner.until(job_id, "BACKOFF", failures=2)  # it keeps count: this was one of its retries
        assert second["attempts"][-1]["nextDelay"] == 60.0
        # The same request again is the same one retry.
        assert (await retry(owner, job_id, idempotencyKey="now"))["userErrors"] == []
        assert (await owner.job(job_id))["state"] == "BACKOFF"
        assert (await retry(owner, job_id))["userErrors"] == []
        assert (await owner.until(job_id))["state"] == "SUCCEEDED"
    entries = (await details(owner, job_id))["interventions"]
    assert [(entry["action"], entry["actorName"]) for entry in entries] == [("job.retry", "Owner of Bright & Co")] * 2
    assert entries[0]["details"]["before"]["state"] == "backoff"


@pytest.mark.story("36-006-S7", "36-006-E1")
@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
async def test_what_the_vendor_refuses_is_not_asked_again(house: House, owner: Client, status: int) -> None:
    async with house.workers():
        job_id = await begin(owner, house, status=status)
        await owner.until(job_id, "FAILED")
    job = await details(owner, job_id)
    assert (job["attempt"], job["failures"], job["nextAttemptAt"]) == (1, 0, None)
    assert (job["attempts"][0]["httpStatus"], job["attempts"][0]["nextDelay"]) == (status, None)
    assert job["statusText"].startswith("Failed - ")
    assert job["recoverable"]


@pytest.mark.story("36-006-S7", "36-006-E1")
async def test_a_refused_credential_is_not_tried_again_until_somebody_mends_it(house: House, owner: Client) -> None:
    async with house.workers():
        job_id = await begin(owner, house, status=401)
        await owner.until(job_id, "WAITING")
    job = await details(owner, job_id)
    assert (job["errorCode"], job["attempt"], job["failures"], job["nextAttemptAt"]) == ("GHL-001", 1, 0, None)
    assert job["recoveryOptions"][0] == "REAUTHORIZE"
    assert job["statusText"].startswith("Waiting - ")


@pytest.mark.story("36-006-S7")
@pytest.mark.parametrize(("status", "failures"), [(408, 1), (425, 1), (429, 0), (500, 1), (502, 1)])
async def test_these_answers_are_worth_another_attempt(house: House, owner: Client, status: int, failures: int) -> None:
    async with house.workers():
        job_id = await begin(owner, house, status=status)
        job = await owner.until(job_id, "BACKOFF")
    assert (job["failures"], job["attempts"][0]["httpStatus"]) == (failures, status)


@pytest.mark.story("36-006-E2")
async def test_the_timeout_ends_an_attempt_and_wins_over_the_retries(house: House, owner: Client) -> None:
    place = await location(owner, house)
    await decide(owner, timeoutSeconds=1)
    house.fault("latency", path=SEARCH, times=None, ms=30_000)
    async with house.workers():
        job = await owner.until((await start_sync(owner, place))["id"], "FAILED")
    job = await details(owner, job["id"])
    assert (job["errorCode"], job["attempt"], job["maxRetries"]) == ("BGJ-001", 1, 5)
    assert job["statusText"] == "Failed - timed out"


@pytest.mark.story("36-006-E2")
async def test_no_retry_is_planned_for_after_the_deadline(house: House, owner: Client) -> None:
    place = await location(owner, house)
    await decide(owner, timeoutSeconds=20)
    house.fault("status", path=SEARCH, status=503, times=None)
    async with house.workers():
        job = await owner.until((await start_sync(owner, place))["id"], "FAILED")
    assert (job["errorCode"], job["attempts"][0]["errorCode"], job["nextAttemptAt"]) == ("BGJ-001", "API-012", None)


@pytest.mark.story("36-006-E3")
@pytest.mark.parametrize("more_settings", [{"log_level": "info"}])  # a program says so when it is ready
async def test_the_schedule_outlives_every_process(house: House, owner: Client, database_url: str, tmp_path: Path) -> None:
    async with nursery(tmp_path) as forks, programs(house.settings, tmp_path, forks) as system:
        worker, clock = await system.worker(), await system.clock()
        house.fault("cut", path=SEARCH, skip=4)
        job_id = (await start_sync(owner, await location(owner, house, LARGE)))["id"]
        before = await owner.until(job_id, "BACKOFF")
        await worker.kill()
        await clock.kill()
        assert (await owner.job(job_id))["nextAttemptAt"] == before["nextAttemptAt"]
        await system.worker()
        await system.clock()
        await house.sweep()
        waiting = await owner.job(job_id)
        assert (waiting["state"], waiting["nextAttemptAt"]) == ("BACKOFF", before["nextAttemptAt"])
        await make_due(database_url)
        done = await owner.until(job_id)
    assert (done["state"], done["attempt"], done["failures"]) == ("SUCCEEDED", 2, 1)
    asked = await house.control("GET", f"/requests?path={SEARCH}")
    assert len(asked) == 12  # ten pages and the empty one, and the one that was cut: none twice


@pytest.mark.story("36-006-E4")
async def test_settings_are_for_jobs_to_come(house: House, owner: Client, database_url: str) -> None:
    async with house.workers():
        first = await begin(owner, house)
        await owner.until(first, "BACKOFF")
        await decide(owner, maxRetries=1)
        assert (await owner.job(first))["maxRetries"] == 5
        await make_due(database_url)
        assert (await owner.until(first, "BACKOFF", failures=2))["maxRetries"] == 5
        await owner.ask(CANCEL, id=first)
        place = (await owner.ask("{ ghlLocations(first: 100) { nodes { id status } } }"))["ghlLocations"]["nodes"]
        second = (await start_sync(owner, next(each["id"] for each in place if each["status"] == "ACTIVE")))["id"]
        assert (await owner.until(second, "BACKOFF"))["maxRetries"] == 1
        await make_due(database_url)
        await owner.until(second, "FAILED")
    assert (await details(owner, second))["statusText"] == "Permanently failed - all 2 attempts failed"


@pytest.mark.story("36-006-B1", "36-006-S1")
async def test_ten_retries_double_their_delay_to_the_last(house: House, owner: Client, database_url: str) -> None:
    place = await location(owner, house)
    await decide(owner, maxRetries=10, timeoutSeconds=86_400)
    house.fault("status", path=SEARCH, status=503, times=None)
    async with house.workers():
        job_id = (await start_sync(owner, place))["id"]
        for failures in range(1, 11):
            await owner.until(job_id, "BACKOFF", failures=failures)
            await make_due(database_url)
        job: dict[str, Any] = await owner.until(job_id, "FAILED")
    assert [each["nextDelay"] for each in job["attempts"]] == [30.0 * 2**retry for retry in range(10)] + [None]
