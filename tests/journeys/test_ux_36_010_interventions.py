"""UX-36-010: notes, resolutions, archive, and jobs that cannot go on as they stand; every intervention is on record."""

from typing import Any

import pytest

from domain.recovery import suspension
from jobs import housekeeping
from tests.factories.client import Client
from tests.factories.crm import start_sync
from tests.factories.engine import eventually
from tests.factories.house import House
from tests.factories.people import add_person, new_owner
from tests.factories.recovery import SEARCH, act, details, failed_sync, location, retry, run_sql, support, told
from tests.factories.rows import account_id_of, unit_of

LISTED = "query ($archived: Boolean!) { jobs(filter: {archived: $archived}) { nodes { id } } }"


async def a_failed_job(house: House, owner: Client) -> str:
    """A sync that the vendor refused; workers are gone again."""
    async with house.workers():
        return str((await failed_sync(owner, await location(owner, house), house))["id"])


async def listed(client: Client, *, archived: bool = False) -> list[str]:
    return [job["id"] for job in (await client.ask(LISTED, archived=archived))["jobs"]["nodes"]]


@pytest.mark.story("36-010-S4", "36-010-B3")
async def test_support_and_customer_write_to_each_other_about_a_job(house: House, owner: Client) -> None:
    job_id = await a_failed_job(house, owner)
    tom = await support(house, owner)
    assert (await act(tom, "addJobNote", job_id, note=" What changed on Monday? ", idempotencyKey="n1"))["userErrors"] == []
    assert (await act(tom, "addJobNote", job_id, note=" What changed on Monday? ", idempotencyKey="n1"))["userErrors"] == []
    assert (await act(owner, "addJobNote", job_id, note="We moved to another plan."))["userErrors"] == []
    await act(tom, "addJobNote", job_id, note="Looks like a limit of theirs.", internal=True)

    theirs = (await details(owner, job_id))["notes"]
    assert theirs["totalCount"] == 2
    assert [(note["authorType"], note["body"]) for note in theirs["nodes"]] == [
        ("SUPPORT", "What changed on Monday?"),
        ("USER", "We moved to another plan."),
    ]
    ours = (await details(tom, job_id))["notes"]["nodes"]
    assert [note["isInternal"] for note in ours] == [False, False, True]
    written = [item["body"] for item in await told(owner, "NOTE_ADDED")]
    assert written == ["What changed on Monday?"]  # what the customer wrote, and what is internal, is told to nobody

    listed = "query ($of: Boolean) { jobs(filter: {awaitsReply: $of}) { nodes { id lastNoteBy } } }"
    (asked,) = (await tom.ask(listed, of=True))["jobs"]["nodes"]
    assert (asked, (await tom.ask(listed, of=False))["jobs"]["nodes"]) == ({"id": job_id, "lastNoteBy": "USER"}, [])
    await act(tom, "addJobNote", job_id, note="Then try again now.")
    assert (await tom.ask(listed, of=True))["jobs"]["nodes"] == []
    assert (await tom.ask(listed, of=False))["jobs"]["nodes"] == [{"id": job_id, "lastNoteBy": "SUPPORT"}]

    refused = await act(owner, "addJobNote", job_id, note="Psst", internal=True)
    assert refused["userErrors"][0]["code"] == "API-004"
    for note in (" ", "x" * 5_001):
        assert (await act(owner, "addJobNote", job_id, note=note))["userErrors"][0]["field"] == ["note"]


@pytest.mark.story("36-010-E5", "36-010-S5", "36-010-B5")
async def test_a_job_that_was_resolved_by_mistake_stands_again_as_before(house: House, owner: Client) -> None:
    job_id = await a_failed_job(house, owner)
    tom = await support(house, owner)
    await act(tom, "markJobRequiresAction", job_id, note="Please check your tags.")
    resolved = await act(tom, "resolveJob", job_id)
    assert resolved["job"]["attention"] == "RESOLVED"
    undone = await act(tom, "undoJobResolution", job_id)
    assert (undone["userErrors"], undone["job"]["attention"]) == ([], "REQUIRES_ACTION")
    again = await act(tom, "undoJobResolution", job_id)
    assert again["userErrors"][0]["code"] == "BGJ-031"
    entries = (await details(owner, job_id))["interventions"]
    assert [entry["action"] for entry in entries] == ["job.require_action", "job.resolve", "job.undo_resolution"]
    assert {entry["actorName"] for entry in entries} == {"Owner of Support"}
    assert all(entry["at"] and entry["requestId"] for entry in entries)


@pytest.mark.story("36-010-E5")
async def test_of_a_job_that_nobody_had_marked_nothing_stays(house: House, owner: Client) -> None:
    job_id = await a_failed_job(house, owner)
    assert (await act(owner, "resolveJob", job_id))["job"]["attention"] == "RESOLVED"
    assert (await act(owner, "undoJobResolution", job_id))["job"]["attention"] is None


@pytest.mark.story("36-010-B3", "36-010-S5")
async def test_only_support_and_managers_say_that_something_has_to_be_done(house: House) -> None:
    person = await new_owner(house)
    member = await add_person(house, person, "MEMBER")
    job_id = await a_failed_job(house, person.client)
    for mutation, more in (("markJobRequiresAction", {"note": "x"}), ("resolveJob", {}), ("undoJobResolution", {})):
        assert (await act(member.client, mutation, job_id, **more))["userErrors"][0]["code"] == "API-004"
    assert (await act(person.client, "markJobRequiresAction", job_id, note="Call them"))["userErrors"] == []
    assert [item["body"] for item in await told(member.client, "REQUIRES_ACTION")] == ["Call them"]
    assert await told(person.client, "REQUIRES_ACTION") == []  # who says so knows it
    stranger = await new_owner(house)
    assert (await act(stranger.client, "resolveJob", job_id))["userErrors"][0]["code"] == "API-003"


async def test_a_job_that_succeeded_needs_nobody(house: House, owner: Client) -> None:
    async with house.workers():
        job_id = (await start_sync(owner, await location(owner, house)))["id"]
        await owner.until(job_id, "SUCCEEDED")
    refused = await act(owner, "markJobRequiresAction", job_id, note="Anybody?")
    assert refused["userErrors"][0]["code"] == "BGJ-030"
    assert (await retry(owner, job_id))["userErrors"][0]["code"] == "BGJ-020"


@pytest.mark.story("36-010-S6", "36-010-S5")
async def test_a_hopeless_job_is_put_away_and_can_be_taken_out_again(house: House, owner: Client) -> None:
    job_id = await a_failed_job(house, owner)
    assert (await act(owner, "archiveJob", job_id))["job"]["archivedAt"]
    assert (await listed(owner), await listed(owner, archived=True)) == ([], [job_id])
    assert (await details(owner, job_id))["attempts"][0]["errorMessage"]  # nothing of it is lost
    assert (await act(owner, "unarchiveJob", job_id))["job"]["archivedAt"] is None
    assert await listed(owner) == [job_id]
    await act(owner, "archiveJob", job_id)
    assert (await retry(owner, job_id))["job"]["archivedAt"] is None  # what runs is not put away
    assert (await act(owner, "archiveJob", job_id))["userErrors"][0]["code"] == "BGJ-032"
    actions = [entry["action"] for entry in (await details(owner, job_id))["interventions"]]
    assert actions == ["job.archive", "job.unarchive", "job.archive", "job.retry"]


@pytest.mark.story("36-010-E3")
async def test_a_lapsed_subscription_stops_jobs_at_a_checkpoint_and_a_renewal_lets_them_go_on(
    house: House, owner: Client
) -> None:
    account_id = await account_id_of(owner)
    place = await location(owner, house)
    async with house.workers():
        failed = str((await failed_sync(owner, place, house))["id"])
        async with unit_of(house, account_id) as unit:
            await suspension.suspend(unit)
        (error,) = (await retry(owner, failed))["userErrors"]
        assert (error["code"], error["recoveryOptions"]) == ("BGJ-024", ["RENEW", "CONTACT_SUPPORT"])
        assert (await owner.ask("{ viewer { account { suspendedAt } } }"))["viewer"]["account"]["suspendedAt"]

        job_id = (await start_sync(owner, place))["id"]
        await owner.until(job_id, "WAITING")
        waiting = await details(owner, job_id)
        assert (waiting["errorCode"], waiting["failures"]) == ("BGJ-024", 0)
        assert waiting["recoveryOptions"] == ["RENEW", "CONTACT_SUPPORT"]
        assert waiting["statusText"].startswith("Waiting - The account is suspended")
        asked = await house.control("GET", f"/requests?path={SEARCH}")
        assert len(asked) == 1  # of the job that failed: none for a suspended account

        async with unit_of(house, account_id) as unit:
            await suspension.resume(unit)
        assert (await owner.until(job_id))["state"] == "SUCCEEDED"
        assert (await retry(owner, failed))["userErrors"] == []
        assert (await owner.until(failed))["state"] == "SUCCEEDED"


@pytest.mark.story("36-010-E4")
async def test_a_damaged_request_is_neither_run_nor_retried(house: House, owner: Client, database_url: str) -> None:
    place = await location(owner, house)
    job_id = (await start_sync(owner, place))["id"]
    await run_sql(database_url, """update job set args = '{"run_id": "0192f000-0000-7000-8000-000000000000"}'""")
    async with house.workers():
        await owner.until(job_id, "FAILED")
    job = await details(owner, job_id)
    options = ["ASK_AGAIN", "CONTACT_SUPPORT", "ARCHIVE"]
    assert (job["errorCode"], job["recoverable"], job["recoveryOptions"]) == ("BGJ-023", False, options)
    (error,) = (await retry(owner, job_id))["userErrors"]
    assert (error["code"], error["recoveryOptions"]) == ("BGJ-023", options)


@pytest.mark.story("36-010-E6")
async def test_a_job_that_retention_has_emptied_is_too_old_to_retry(house: House, owner: Client, database_url: str) -> None:
    job_id = await a_failed_job(house, owner)
    await run_sql(database_url, "update job set finished_at = now() - interval '31 days'")
    await run_sql(database_url, "update account_slots set retention_at = now()")
    async with house.workers():
        await housekeeping.ask_for_retention(house.runtime)

        async def expired() -> dict[str, Any] | None:
            found = await details(owner, job_id)
            return found if found["expiredAt"] else None

        job = await eventually(expired)
    assert (job["recoverable"], job["recoveryOptions"]) == (False, ["ASK_AGAIN", "ARCHIVE"])
    (error,) = (await retry(owner, job_id))["userErrors"]
    assert (error["code"], error["recoveryOptions"]) == ("BGJ-022", ["ASK_AGAIN", "ARCHIVE"])
    assert "Ask for the work again" in error["message"]
    assert job["attempts"][0]["errorMessage"]  # what happened is still there
