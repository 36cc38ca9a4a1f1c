"""UX-36-009: where a person is told: preferences, muting, and what happens when a channel fails."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.jobs.running import Done, Running
from domain.notifications import gathering, policy
from domain.runtime import Runtime
from graph import ids
from tests.factories.engine import Scripted, eventually, play
from tests.factories.house import House
from tests.factories.notices import (
    CONNECT,
    DISCONNECT,
    HOOK,
    LIST,
    LOG,
    MUTE,
    READ,
    UPDATE,
    Report,
    Secret,
    ask,
    connect_slack,
    logged,
    mailed,
    posted,
    rule,
    settled,
    told,
    wish,
)
from tests.factories.people import Person, add_person, new_owner

FAILS = Report(error="API timeout")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages gather for a moment only, and each alert goes at once."""
    monkeypatch.setattr(gathering, "QUIET", timedelta(milliseconds=200))
    monkeypatch.setattr(gathering, "LONGEST", timedelta(0))


@pytest.fixture
async def lisa(house: House) -> Person:
    """The owner of an account."""
    return await new_owner(house)


async def done(house: House, lisa: Person, *jobs: Any) -> list[str]:
    """Run jobs one after the other to their ends; their ids."""
    found = []
    for args in jobs:
        gid = ids.encode("job", (await ask(house, lisa.account_id, args)).id)
        await lisa.client.until(gid)
        found.append(gid)
    return found


@pytest.mark.story("36-009-S2", "36-009-B1")
async def test_each_event_goes_where_it_is_wanted(house: House, lisa: Person) -> None:
    """E-mail as the default channel, Slack for failures only."""
    await connect_slack(lisa.client, house)
    chosen = await wish(
        lisa.client, {"event": "JOB_COMPLETED"}, rule("JOB_FAILED", "SLACK"), rule("JOB_PARTIAL"), defaultChannel="EMAIL"
    )
    assert chosen["rules"][0] == {"event": "JOB_COMPLETED", "jobKind": None, "channels": None, "critical": None}
    async with house.workers():
        await done(house, lisa, Report(message="498 emails synced"), FAILS, Report(partial=True))
        (mail,), (message,) = await mailed(house, lisa.email), await posted(house)
        log = await settled(lisa.client)
    assert mail["subject"] == "Daily Report completed"
    assert message["text"] == "ALERT: Daily Report failed - API timeout"
    assert sorted((each["channel"], each["state"]) for each in log) == [("EMAIL", "DELIVERED"), ("SLACK", "DELIVERED")]
    assert (await lisa.ask(LIST))["notifications"]["totalCount"] == 0


@pytest.mark.story("36-009-B2", "36-009-S2")
async def test_each_kind_of_job_has_rules_of_its_own(house: House, lisa: Person) -> None:
    await wish(lisa.client, rule("JOB_COMPLETED", "EMAIL", jobKind="test.report"), rule("JOB_COMPLETED"))
    async with house.workers():
        await done(house, lisa, play(_well), Report())
        (mail,) = await mailed(house, lisa.email)
    assert mail["subject"] == "Daily Report completed"
    assert (await lisa.ask(LIST))["notifications"]["totalCount"] == 0


async def test_who_never_chose_is_told_what_matters(house: House, lisa: Person) -> None:
    async with house.workers():
        await done(house, lisa, Report(), FAILS)
        (mail,) = await mailed(house, lisa.email)
        await told(lisa.client, count=2)
    assert mail["subject"] == "ALERT: Daily Report failed"
    defaults = {each["event"]: each for each in (await lisa.ask(READ))["notificationPreferences"]["defaults"]}
    assert defaults["JOB_COMPLETED"] == {"event": "JOB_COMPLETED", "channels": ["IN_APP"], "critical": False}
    assert defaults["JOB_FAILED"] == {"event": "JOB_FAILED", "channels": ["EMAIL", "IN_APP"], "critical": True}


@pytest.mark.story("36-009-S6", "36-009-S7")
async def test_muting_silences_all_but_what_is_critical(house: House, lisa: Person) -> None:
    await wish(lisa.client, rule("JOB_PARTIAL", "IN_APP", "EMAIL"))
    until = datetime.now(UTC) + timedelta(hours=1)
    payload = (await lisa.ask(MUTE, input={"until": until.isoformat()}))["muteNotifications"]
    assert payload["userErrors"] == []
    assert datetime.fromisoformat(payload["preferences"]["mutedUntil"]) == until
    async with house.workers():
        await done(house, lisa, Report(partial=True), FAILS)
        (mail,) = await mailed(house, lisa.email)
        failed, partial = await told(lisa.client, count=2)
        await settled(lisa.client)
        assert mail["subject"] == "ALERT: Daily Report failed"
        assert (failed["critical"], failed["muted"], partial["critical"], partial["muted"]) == (True, False, False, True)
        await lisa.ask(MUTE, input={"until": None})
        await done(house, lisa, Report(partial=True))
        first, second = await mailed(house, lisa.email, count=2)
    assert [first["subject"], second["subject"]] == [mail["subject"], "Daily Report completed in part"]


@pytest.mark.story("36-009-S6")
async def test_muting_ends_by_itself(house: House, lisa: Person) -> None:
    until = datetime.now(UTC) + timedelta(seconds=0.5)
    await lisa.ask(MUTE, input={"until": until.isoformat()})
    async with house.workers():
        while datetime.now(UTC) < until:  # noqa: ASYNC110 -- it is the time itself that is waited for
            await asyncio.sleep(0.02)
        await done(house, lisa, Report(partial=True))
        assert await mailed(house, lisa.email)


async def test_what_is_critical_is_the_person_s_choice(house: House, lisa: Person) -> None:
    await wish(lisa.client, rule("JOB_FAILED", "EMAIL", critical=False), rule("JOB_PARTIAL", "EMAIL", critical=True))
    await lisa.ask(MUTE, input={"until": (datetime.now(UTC) + timedelta(hours=1)).isoformat()})
    async with house.workers():
        await done(house, lisa, FAILS, Report(partial=True))
        (mail,) = await mailed(house, lisa.email)
    assert mail["subject"] == "ALERT: Daily Report completed in part"


@pytest.mark.story("36-009-E1")
async def test_with_all_disabled_nothing_is_told_at_all(house: House, lisa: Person) -> None:
    colleague = await add_person(house, lisa, "ADMIN")
    await wish(lisa.client, enabled=False)
    async with house.workers():
        await done(house, lisa, Report(), FAILS)
        assert await mailed(house, colleague.email)  # whoever else is told has been told by now
        await told(colleague.client, count=2)
    assert house.inbox(lisa.email) == []
    assert (await lisa.ask(LIST))["notifications"]["totalCount"] == (await lisa.ask(LIST))["unreadNotificationCount"] == 0
    assert {each["userId"] for each in (await lisa.ask(LOG))["notificationDeliveries"]["nodes"]} == {colleague.gid}


@pytest.mark.story("36-009-E2")
async def test_an_e_mail_that_fails_is_tried_again_and_logged(house: House, lisa: Person) -> None:
    await wish(lisa.client, rule("JOB_FAILED", "EMAIL"))
    await house.mail.order("temporary")
    async with house.workers():
        await done(house, lisa, FAILS)
        (mail,) = await mailed(house, lisa.email)
        (delivery,) = await settled(lisa.client)
    assert mail["copies"] == 1
    assert (delivery["state"], delivery["attempts"], delivery["error"]) == ("DELIVERED", 2, None)


@pytest.mark.story("36-009-E2")
async def test_an_e_mail_that_is_refused_is_logged_and_shown_in_the_app_instead(house: House, lisa: Person) -> None:
    await wish(lisa.client, rule("JOB_FAILED", "EMAIL"))
    await house.mail.order("permanent", times=None)
    async with house.workers():
        (job,) = await done(house, lisa, FAILS)
        (notification,) = await told(lisa.client, jobId=job)
    by_channel = {each["channel"]: each for each in notification["deliveries"]}
    assert by_channel["EMAIL"]["state"] == "FAILED"
    assert "550" in by_channel["EMAIL"]["error"]
    assert by_channel["IN_APP"]["fallbackOf"] == by_channel["EMAIL"]["id"]
    (failed,) = await logged(lisa.client, states=["FAILED"], jobId=job)
    assert (failed["id"], failed["subject"]) == (by_channel["EMAIL"]["id"], "Daily Report failed")


@pytest.mark.story("36-009-E3")
async def test_when_slack_is_disconnected_e_mail_takes_over(house: House, lisa: Person) -> None:
    connection = await connect_slack(lisa.client, house)
    await wish(lisa.client, rule("JOB_FAILED", "SLACK"))
    gone = (await lisa.ask(DISCONNECT, input={"expectedVersion": connection["version"]}))["disconnectSlack"]
    assert (gone["slackConnection"]["status"], gone["userErrors"]) == ("DISCONNECTED", [])
    async with house.workers():
        await done(house, lisa, FAILS)
        (mail,) = await mailed(house, lisa.email)
        log = {each["channel"]: each for each in await settled(lisa.client)}
    assert mail["subject"] == "ALERT: Daily Report failed"
    assert (log["SLACK"]["state"], log["SLACK"]["error"]) == ("FAILED", "Slack is not connected.")
    assert log["EMAIL"]["fallbackOf"] == log["SLACK"]["id"]
    assert house.slack.messages == []


@pytest.mark.story("36-009-E3")
async def test_when_slack_takes_no_more_it_is_told_once_and_e_mail_takes_over(house: House, lisa: Person) -> None:
    await connect_slack(lisa.client, house)
    colleague = await add_person(house, lisa, "ADMIN")
    for person in (lisa, colleague):
        await wish(person.client, rule("JOB_FAILED", "SLACK"), rule("INTEGRATION_DISCONNECTED", "IN_APP"))
    await wish(lisa.client, rule("JOB_FAILED", "SLACK", "EMAIL"), rule("INTEGRATION_DISCONNECTED", "IN_APP"))
    house.slack.order("no_service", times=None)
    async with house.workers():
        await done(house, lisa, FAILS, FAILS)
        await mailed(house, lisa.email, count=2)
        await mailed(house, colleague.email, count=2)
        log = await settled(lisa.client)
    (notification,) = await told(lisa.client, events=["INTEGRATION_DISCONNECTED"])
    assert (notification["title"], notification["count"]) == ("Slack was disconnected", 1)
    assert "no_service" in notification["items"][0]["body"]
    slack = (await lisa.ask("{ slackConnection { status reason } }"))["slackConnection"]
    assert slack == {"status": "DISCONNECTED", "reason": "Slack: no_service"}
    assert sorted((each["channel"], each["userId"], each["state"]) for each in log if each["channel"] == "EMAIL") == sorted(
        [("EMAIL", person.gid, "DELIVERED") for person in (lisa, colleague)] * 2
    )
    assert len(house.inbox(lisa.email)) == 2  # she wanted it by e-mail as well, and has it once


async def test_when_slack_does_not_answer_e_mail_takes_over_in_time(
    house: House, lisa: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "PROMPT", timedelta(seconds=3))
    await connect_slack(lisa.client, house)
    await wish(lisa.client, rule("JOB_FAILED", "SLACK"))
    house.slack.order("service_unavailable", times=None)
    async with house.workers():
        await done(house, lisa, FAILS)
        (mail,) = await mailed(house, lisa.email)
        log = {each["channel"]: each for each in await settled(lisa.client)}
    assert mail["copies"] == 1
    assert (log["SLACK"]["state"], log["SLACK"]["attempts"]) == ("FAILED", 2)
    assert (await lisa.ask("{ slackConnection { status } }"))["slackConnection"] == {"status": "CONNECTED"}


@pytest.mark.story("36-009-E5")
async def test_a_change_of_preferences_is_for_what_happens_from_then_on(house: House, lisa: Person) -> None:
    await wish(lisa.client, rule("JOB_COMPLETED", "EMAIL"), rule("JOB_PARTIAL", "EMAIL"))
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def script(job: Running[Scripted], runtime: Runtime) -> Done:
        begun.set()
        await go_on.wait()
        return Done("Done", partial=True)

    async with house.workers(sweeping=False):  # nobody sends yet
        running = await ask(house, lisa.account_id, play(script))
        await begun.wait()
        await done(house, lisa, Report())
        await logged(lisa.client)
        await wish(lisa.client, rule("JOB_COMPLETED"), rule("JOB_PARTIAL", "IN_APP"))
        go_on.set()
        await lisa.client.until(ids.encode("job", running.id))
        await told(lisa.client, events=["JOB_PARTIAL"])
    async with house.workers():
        (mail,) = await mailed(house, lisa.email)
        await settled(lisa.client)
    assert mail["subject"] == "Daily Report completed"
    assert len(house.inbox(lisa.email)) == 1


@pytest.mark.story("36-009-E6")
async def test_while_the_mail_server_is_down_messages_are_queued(house: House, lisa: Person) -> None:
    await wish(lisa.client, rule("JOB_FAILED", "EMAIL"))
    await house.mail.order("refuse")
    async with house.workers():
        await done(house, lisa, FAILS)

        async def refused() -> dict[str, Any] | None:
            (delivery,) = await logged(lisa.client)
            return delivery if delivery["state"] == "QUEUED" and delivery["attempts"] else None

        delivery = await eventually(refused)
        assert "does not answer" in delivery["error"]
        assert delivery["nextAttemptAt"] is not None
        await house.mail.clear()
        assert await mailed(house, lisa.email)


@pytest.mark.story("36-009-E6")
async def test_while_nothing_sends_messages_are_queued(house: House, lisa: Person) -> None:
    async with house.workers(sweeping=False):
        await done(house, lisa, FAILS)
        (delivery,) = await logged(lisa.client, states=["QUEUED"])
    assert (delivery["attempts"], house.inbox()) == (0, [])
    async with house.workers():
        assert await mailed(house, lisa.email)


async def test_a_mail_server_that_hangs_does_not_hold_up_slack(house: House, lisa: Person) -> None:
    await connect_slack(lisa.client, house)
    await wish(lisa.client, rule("JOB_FAILED", "EMAIL", "SLACK"))
    await house.mail.order("hang", times=None)
    async with house.workers():
        await done(house, lisa, *[FAILS] * 3)
        await posted(house, count=3)
    assert house.inbox() == []


async def test_nobody_is_told_of_jobs_that_they_may_not_see(house: House, lisa: Person) -> None:
    member = await add_person(house, lisa, "MEMBER")
    async with house.workers():
        await done(house, lisa, Secret(), Report())

        async def all_of_hers() -> list[str] | None:
            kinds = _kinds_in(await told(lisa.client))
            return kinds if len(kinds) > 1 else None

        assert await eventually(all_of_hers) == ["test.private", "test.report"]
        assert _kinds_in(await told(member.client)) == ["test.report"]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/services/T0/B0/x",
        "{sandbox}@evil.example/services/T0/B0/x",
        "{sandbox}/services/T0/B0/x?to=elsewhere",
        "{sandbox}/services/../__control__/slack/messages",
        "{sandbox}/__control__/reset",
        "file:///etc/passwd",
        "not a url",
        "",
    ],
)
async def test_only_urls_of_slack_are_connected(house: House, lisa: Person, url: str) -> None:
    payload = (await lisa.ask(CONNECT, input={"webhookUrl": url.replace("{sandbox}", house.sandbox_url)}))["connectSlack"]
    assert [(error["code"], error["field"]) for error in payload["userErrors"]] == [("NTF-001", ["webhookUrl"])]
    assert payload["slackConnection"] is None


async def test_a_webhook_that_does_not_work_is_not_connected(house: House, lisa: Person) -> None:
    house.slack.order("channel_is_archived")
    url = {"webhookUrl": house.sandbox_url + HOOK}
    (error,) = (await lisa.ask(CONNECT, input=url))["connectSlack"]["userErrors"]
    assert (error["code"], error["message"]) == ("NTF-002", "Slack: channel_is_archived")
    assert (await lisa.ask("{ slackConnection { status } }"))["slackConnection"] is None
    assert (await lisa.ask(CONNECT, input=url))["connectSlack"]["slackConnection"]["status"] == "CONNECTED"
    again = (await lisa.ask(CONNECT, input=url))["connectSlack"]
    assert again["slackConnection"]["version"] == 1
    assert len(house.slack.messages) == 1  # it is tried once
    viewer = await add_person(house, lisa, "VIEWER")
    assert (await viewer.ask(CONNECT, input=url))["connectSlack"]["userErrors"][0]["code"] == "API-004"


async def test_bad_preferences_are_refused(house: House, lisa: Person) -> None:
    async def refusal(**given: Any) -> tuple[str, Any]:
        (error,) = (await lisa.ask(UPDATE, input={"expectedVersion": 0, **given}))["updateNotificationPreferences"][
            "userErrors"
        ]
        return error["code"], error["field"]

    twice = rule("JOB_FAILED", "EMAIL")
    assert await refusal(rules=[twice, twice]) == ("API-002", ["rules", "1"])
    for kind in ("", "nonsense.kind", "jobs.retention"):
        given = [rule("JOB_PARTIAL"), rule("JOB_FAILED", jobKind=kind)]
        assert await refusal(rules=given) == ("BGJ-052", ["rules", "1", "jobKind"]), kind
    assert await refusal(expectedVersion=7, enabled=False) == ("API-009", ["expectedVersion"])
    past = (await lisa.ask(MUTE, input={"until": "2020-01-01T00:00:00Z"}))["muteNotifications"]
    assert past["userErrors"][0]["field"] == ["until"]


def _kinds_in(notifications: list[dict[str, Any]]) -> list[str]:
    """The kinds of jobs that are told of, whether in one notification or, on a slow day, in two."""
    kinds = sorted(item["jobKind"] for each in notifications for item in each["items"])
    assert len(kinds) == sum(each["count"] for each in notifications)
    return kinds


async def _well(job: Running[Scripted], runtime: Runtime) -> Done:
    return Done("Done")
