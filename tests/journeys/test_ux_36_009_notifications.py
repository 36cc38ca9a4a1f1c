"""UX-36-009: a person is told what their jobs came to, in the app, by e-mail and in Slack: what a notification says."""

import asyncio
import re
import time
from contextlib import aclosing
from datetime import timedelta

import asyncpg
import pytest

from domain.errors import VendorDown
from domain.jobs.running import Done, Running
from domain.notifications import gathering
from domain.runtime import Runtime
from graph import ids
from tests.factories.engine import Scripted, failing, play
from tests.factories.house import House
from tests.factories.notices import (
    MARK,
    Report,
    ask,
    connect_slack,
    mailed,
    posted,
    rule,
    settled,
    told,
    wish,
)
from tests.factories.people import Person, add_person, new_owner

WATCH = """subscription ($after: String) { notificationReceived(afterCursor: $after) {
  kind cursor unreadCount readIds notifications { id title count event muted items { jobId } } } }"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages gather for a second, that a test is soon over; that it is 8 to 20 in earnest is checked below."""
    monkeypatch.setattr(gathering, "QUIET", timedelta(seconds=1))
    monkeypatch.setattr(gathering, "LONGEST", timedelta(seconds=3))


@pytest.fixture
async def lisa(house: House) -> Person:
    """The owner of an account."""
    return await new_owner(house)


def job_in(link: str) -> str:
    """The id that a link to a job ends with."""
    found = re.search(r"/jobs/(job_[0-9a-z]{26})$", link)
    assert found is not None, link
    return found[1]


@pytest.mark.story("36-009-S1", "36-009-S3", "36-009-B4")
async def test_a_failure_is_told_everywhere_with_what_went_wrong(house: House, lisa: Person) -> None:
    await connect_slack(lisa.client, house)
    await wish(lisa.client, rule("JOB_FAILED", "IN_APP", "EMAIL", "SLACK"))
    async with house.workers():
        began = time.monotonic()
        job = await ask(house, lisa.account_id, Report(error="API timeout & <more>"))
        gid = ids.encode("job", job.id)
        (mail,), (message,) = await mailed(house, lisa.email), await posted(house)
        (notification,) = await told(lisa.client)
        assert time.monotonic() - began < 60
    assert mail["subject"] == "ALERT: Daily Report failed"
    for text in (mail["text"], mail["html"]):
        assert gid in text
        assert "FAILED" in text
        assert "API timeout" in text
    assert "API timeout &amp; &lt;more&gt;" in mail["html"]
    assert "API timeout & <more>" in mail["text"]
    assert message["text"] == "ALERT: Daily Report failed - API timeout &amp; &lt;more&gt;"
    assert gid in str(message["blocks"])
    assert "FAILED" in str(message["blocks"])
    assert (notification["event"], notification["critical"]) == ("JOB_FAILED", True)
    (item,) = notification["items"]
    assert (item["jobId"], item["jobKind"], item["jobState"]) == (gid, "test.report", "FAILED")
    assert item["error"] == "API timeout & <more>"
    assert [attempt["httpStatus"] for attempt in item["attempts"]] == [422]


@pytest.mark.story("36-009-S3")
async def test_a_completion_is_told_with_its_summary(house: House, lisa: Person) -> None:
    await wish(lisa.client, rule("JOB_COMPLETED", "IN_APP", "EMAIL"), rule("JOB_PARTIAL", "EMAIL"))
    async with house.workers():
        await ask(house, lisa.account_id, Report(message="500 emails synced"), title="Email sync")
        await ask(house, lisa.account_id, Report(message="498 emails synced, 2 failed", partial=True), title="Email sync")
        mails = {mail["subject"]: mail for mail in await mailed(house, lisa.email, count=2)}
    assert "500 emails synced" in mails["Email sync completed"]["text"]
    assert "SUCCEEDED" in mails["Email sync completed"]["text"]
    assert "498 emails synced, 2 failed" in mails["Email sync completed in part"]["text"]


@pytest.mark.story("36-009-S4", "36-009-B3")
async def test_links_lead_to_the_job(house: House, lisa: Person) -> None:
    await connect_slack(lisa.client, house)
    await wish(lisa.client, rule("JOB_FAILED", "IN_APP", "EMAIL", "SLACK"))
    async with house.workers():
        job = await ask(house, lisa.account_id, Report(error="No"))
        (mail,), (message,), (notification,) = await mailed(house, lisa.email), await posted(house), await told(lisa.client)
    in_text = re.search(r"^(http\S+/jobs/\S+)$", mail["text"], re.MULTILINE)
    in_html = re.search(r'href="(http[^"]+/jobs/[^"]+)"', mail["html"])
    in_slack = re.search(r"<(http[^|>]+/jobs/[^|>]+)\|", str(message["blocks"]))
    assert in_text is not None
    assert in_html is not None
    assert in_slack is not None
    links = {in_text[1], in_html[1], in_slack[1], notification["url"], notification["items"][0]["url"]}
    assert len(links) == 1
    link = links.pop()
    assert job_in(link) == ids.encode("job", job.id)
    assert (await lisa.client.job(job_in(link)))["state"] == "FAILED"
    page = await lisa.client.http.get(link)
    assert (page.status_code, job_in(link) in page.text) == (200, True)


@pytest.mark.parametrize("more_settings", [{"spa_url": "https://app.example.com/"}])
@pytest.mark.story("36-009-S4")
async def test_with_a_front_end_links_lead_there(house: House, lisa: Person) -> None:
    async with house.workers():
        job = await ask(house, lisa.account_id, Report(error="No"))
        (mail,) = await mailed(house, lisa.email)
    assert f"https://app.example.com/jobs/{ids.encode('job', job.id)}" in mail["text"]
    assert "https://app.example.com/settings/notifications" in mail["text"]


@pytest.mark.story("36-009-S5", "36-009-E4", "36-009-B5")
async def test_fifty_jobs_that_complete_together_are_one_message(house: House, lisa: Person) -> None:
    await connect_slack(lisa.client, house)
    await wish(lisa.client, rule("JOB_COMPLETED", "IN_APP", "EMAIL", "SLACK"))
    async with house.workers():
        await asyncio.gather(*(ask(house, lisa.account_id, Report(message=f"Report {n}")) for n in range(50)))
        (mail,), (message,) = await mailed(house, lisa.email), await posted(house)
        await settled(lisa.client)
    (notification,) = await told(lisa.client)
    assert (notification["count"], notification["title"]) == (50, "50 jobs completed")
    assert len(notification["items"]) == gathering.LISTED
    assert len(house.inbox(lisa.email)) == len(house.slack.messages) == 1
    for text in (mail["text"], mail["html"], str(message["blocks"])):
        assert len(set(re.findall(r"job_[0-9a-z]{26}", text))) == gathering.LISTED
        assert "and 30 more" in text
    assert mail["subject"] == "50 jobs completed"
    assert message["text"] == "50 jobs completed"


@pytest.mark.story("36-009-S1", "36-009-S5")
def test_what_gathers_goes_out_well_within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert gathering.QUIET <= gathering.LONGEST <= timedelta(seconds=20)


async def test_a_first_failure_is_told_and_a_success_after_it_is_none(house: House, lisa: Person) -> None:
    async def second_time(job: Running[Scripted], runtime: Runtime) -> Done:
        if job.failures == 0:
            raise VendorDown("The line was dead.")
        return Done("It worked.")

    async with house.workers():
        job = await ask(house, lisa.account_id, play(second_time))
        gid = ids.encode("job", job.id)
        await lisa.client.until(gid, "BACKOFF")
        (first,) = await told(lisa.client)
        await lisa.client.ask("mutation ($i: RetryJobInput!) { retryJob(input: $i) { userErrors { code } } }", i={"id": gid})
        await lisa.client.until(gid)
        completed, first = await told(lisa.client, count=2)
    assert first["event"] == "JOB_FIRST_FAILURE"
    assert "The line was dead." in first["items"][0]["body"]
    assert (completed["event"], completed["critical"], completed["items"][0]["error"]) == ("JOB_COMPLETED", False, None)


async def test_the_last_failure_carries_all_attempts_and_those_between_are_not_told(house: House, lisa: Person) -> None:
    admin = await asyncpg.connect(house.settings.database_url.replace("bots@", "postgres@", 1))
    async with house.workers():
        job = await ask(house, lisa.account_id, failing(VendorDown("The line is dead.", status=503)))
        gid = ids.encode("job", job.id)
        for failures in range(1, 6):
            await lisa.client.until(gid, "BACKOFF", failures=failures)
            await admin.execute("update job set run_at = now() where id = $1", job.id)  # the delay has passed
        await lisa.client.until(gid)
        last, first = await told(lisa.client, count=2)
    await admin.close()
    assert [last["event"], first["event"]] == ["JOB_FAILED", "JOB_FIRST_FAILURE"]
    assert [attempt["number"] for attempt in last["items"][0]["attempts"]] == [1, 2, 3, 4, 5, 6]
    assert {attempt["httpStatus"] for attempt in last["items"][0]["attempts"]} == {503}


async def test_the_app_tells_at_once_and_what_was_read_elsewhere(house: House, lisa: Person) -> None:
    async with house.workers(), aclosing(lisa.client.watch(WATCH)) as updates:
        snapshot = (await anext(updates))["notificationReceived"]
        assert (snapshot["kind"], snapshot["unreadCount"], snapshot["notifications"]) == ("SNAPSHOT", 0, [])
        job = await ask(house, lisa.account_id, Report(error="No"))
        came = (await anext(updates))["notificationReceived"]
        assert (came["kind"], came["unreadCount"]) == ("CHANGED", 1)
        (notification,) = came["notifications"]
        assert notification["items"][0]["jobId"] == ids.encode("job", job.id)
        payload = (await lisa.client.ask(MARK, input={"ids": [notification["id"]]}))["markNotificationsRead"]
        assert (payload["marked"], payload["unreadCount"], payload["userErrors"]) == (1, 0, [])
        read = (await anext(updates))["notificationReceived"]
        assert (read["unreadCount"], read["readIds"], read["notifications"]) == (0, [notification["id"]], [])
    async with aclosing(lisa.client.watch(WATCH, after=came["cursor"])) as resumed:
        assert (await anext(resumed))["notificationReceived"] == read


async def test_nobody_sees_what_others_are_told(house: House, lisa: Person) -> None:
    colleague = (await add_person(house, lisa, "ADMIN")).client
    async with house.workers(), aclosing(lisa.client.watch(WATCH)) as mine, aclosing(colleague.watch(WATCH)) as theirs:
        await anext(mine)
        await anext(theirs)
        await ask(house, lisa.account_id, Report(error="No"))
        (here,) = (await anext(mine))["notificationReceived"]["notifications"]
        (there,) = (await anext(theirs))["notificationReceived"]["notifications"]
    assert here["id"] != there["id"]
    assert (await colleague.ask("query ($id: ID!) { node(id: $id) { id } }", id=here["id"]))["node"] is None
    payload = (await colleague.ask(MARK, input={"ids": [here["id"]]}))["markNotificationsRead"]
    assert (payload["marked"], payload["unreadCount"]) == (0, 1)
    assert len(await told(lisa.client, unread=True)) == 1
