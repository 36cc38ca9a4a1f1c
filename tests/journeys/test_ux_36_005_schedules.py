"""UX-36-005: Rachel lets her "Daily Lead Report" run every morning: making and previewing schedules."""

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.factories.client import Client
from tests.factories.house import House
from tests.factories.people import Person, new_owner
from tests.factories.workflows import (
    CREATE_SCHEDULE,
    HISTORY,
    PAUSE_SCHEDULE,
    PREVIEW,
    UPDATE_SCHEDULE,
    do,
    history,
    new_schedule,
    new_workflow,
    send,
    wait,
)

NEW_YORK = "America/New_York"
DAILY = {"daily": {"hour": 6}}


@pytest.fixture
async def rachel(shared_house: House) -> Person:
    return await new_owner(shared_house)


async def preview(client: Client, recurrence: dict[str, Any], *, zone: str = NEW_YORK, after: str | None = None) -> Any:
    return (await client.ask(PREVIEW, recurrence=recurrence, zone=zone, after=after))["previewSchedule"]


@pytest.mark.story("36-005-S1")
async def test_a_schedule_is_made_in_less_than_two_seconds_and_stands_in_the_list(rachel: Person) -> None:
    workflow = await new_workflow(rachel.client)
    began = time.monotonic()
    payload = await do(
        rachel.client,
        CREATE_SCHEDULE,
        workflowId=workflow["id"],
        name="Every morning",
        recurrence=DAILY,
        zone=NEW_YORK,
        recipients=["Team@Agency.example", "team@agency.example"],
        idempotencyKey="once",
    )
    assert time.monotonic() - began < 2
    schedule = payload["schedule"]
    assert (schedule["status"], schedule["zone"], schedule["recipients"]) == ("ACTIVE", NEW_YORK, ["team@agency.example"])
    assert schedule["recurrence"] == {
        "form": "DAILY",
        "text": "Every day at 06:00",
        "cron": "0 6 * * *",
        "hour": 6,
        "minute": 0,
        "days": None,
        "day": None,
        "minutes": None,
        "at": None,
    }
    assert payload["warnings"] == []
    listed = await rachel.ask("{ schedules { totalCount nodes { id name workflow { name } } } }")
    assert listed["schedules"] == {
        "totalCount": 1,
        "nodes": [{"id": schedule["id"], "name": "Every morning", "workflow": {"name": "Daily Lead Report"}}],
    }
    again = await do(
        rachel.client,
        CREATE_SCHEDULE,
        workflowId=workflow["id"],
        name="Every morning",
        recurrence=DAILY,
        zone=NEW_YORK,
        recipients=["Team@Agency.example", "team@agency.example"],
        idempotencyKey="once",
    )
    assert again["schedule"]["id"] == schedule["id"]


@pytest.mark.story("36-005-S2", "36-005-B2", "36-005-B3")
async def test_the_preview_shows_the_next_five_runs_in_the_schedule_s_zone(rachel: Person) -> None:
    shown = await preview(rachel.client, DAILY, after="2027-01-11T12:00:00Z")
    assert shown["userErrors"] == []
    assert [run["text"] for run in shown["runs"]] == [
        "Tue Jan 12 2027, 6:00 AM EST",
        "Wed Jan 13 2027, 6:00 AM EST",
        "Thu Jan 14 2027, 6:00 AM EST",
        "Fri Jan 15 2027, 6:00 AM EST",
        "Sat Jan 16 2027, 6:00 AM EST",
    ]
    first = shown["runs"][0]
    assert first["at"] == "2027-01-12T11:00:00+00:00"
    assert first["local"] == "2027-01-12T06:00:00-05:00"
    assert first["zoneName"] == "EST"
    assert (shown["cron"], shown["text"]) == ("0 6 * * *", "Every day at 06:00")
    # What the schedule itself says is the same.
    schedule = await new_schedule(rachel.client, await new_workflow(rachel.client), recurrence=DAILY)
    assert schedule["nextRuns"] == (await preview(rachel.client, DAILY))["runs"]
    assert schedule["nextAt"] == schedule["nextRuns"][0]["at"]


@pytest.mark.story("36-005-B3")
async def test_the_zone_is_the_schedule_s_and_not_the_server_s(rachel: Person) -> None:
    for zone, at in (("Asia/Kathmandu", "2027-01-12T00:15:00+00:00"), ("Pacific/Auckland", "2027-01-12T17:00:00+00:00")):
        runs = (await preview(rachel.client, DAILY, zone=zone, after="2027-01-12T00:00:00Z"))["runs"]
        assert runs[0]["at"] == at
        assert all(run["local"][11:16] == "06:00" for run in runs)


@pytest.mark.parametrize(
    ("recurrence", "local"),
    [
        ({"cron": "0 9 * * MON"}, ["2027-03-15T09:00:00-04:00", "2027-03-22T09:00:00-04:00"]),
        ({"cron": "*/20 8-9 1,15 MAR *"}, ["2027-03-15T08:00:00-04:00", "2027-03-15T08:20:00-04:00"]),
        ({"cron": "0 0 L * *"}, ["2027-03-31T00:00:00-04:00", "2027-04-30T00:00:00-04:00"]),
        ({"hourly": {"minute": 5}}, ["2027-03-10T07:05:00-05:00", "2027-03-10T08:05:00-05:00"]),
        (
            {"weekly": {"days": ["FRIDAY", "MONDAY"], "hour": 18, "minute": 30}},
            ["2027-03-12T18:30:00-05:00", "2027-03-15T18:30:00-04:00"],
        ),
        ({"monthly": {"day": 31, "hour": 0}}, ["2027-03-31T00:00:00-04:00", "2027-05-31T00:00:00-04:00"]),
        ({"monthly": {"hour": 0}}, ["2027-03-31T00:00:00-04:00", "2027-04-30T00:00:00-04:00"]),
        ({"everyMinutes": {"minutes": 45}}, ["2027-03-10T07:45:00-05:00", "2027-03-10T08:30:00-05:00"]),
    ],
)
@pytest.mark.story("36-005-B2")
async def test_every_form_is_shown_before_it_is_chosen(rachel: Person, recurrence: dict[str, Any], local: list[str]) -> None:
    runs = (await preview(rachel.client, recurrence, after="2027-03-10T12:00:00Z"))["runs"]
    assert [run["local"] for run in runs[:2]] == local
    assert len(runs) == 5


@pytest.mark.parametrize(
    ("recurrence", "zone", "code", "field", "part"),
    [
        ({"cron": "61 * * * *"}, NEW_YORK, "SCH-001", ["recurrence", "cron"], "minute"),
        ({"cron": "0 24 * * *"}, NEW_YORK, "SCH-001", ["recurrence", "cron"], "hour"),
        ({"cron": "0 0 32 * *"}, NEW_YORK, "SCH-001", ["recurrence", "cron"], "day of the month"),
        ({"cron": "0 0 30 2 *"}, NEW_YORK, "SCH-001", ["recurrence", "cron"], "day of the month"),
        ({"cron": "0 0 * FOO *"}, NEW_YORK, "SCH-001", ["recurrence", "cron"], "month"),
        ({"cron": "0 0 * * 9"}, NEW_YORK, "SCH-001", ["recurrence", "cron"], "day of the week"),
        ({"cron": "@daily"}, NEW_YORK, "SCH-001", ["recurrence", "cron"], None),
        ({"cron": "0 0 * * * *"}, NEW_YORK, "SCH-001", ["recurrence", "cron"], None),
        ({"cron": ""}, NEW_YORK, "SCH-001", ["recurrence", "cron"], None),
        ({"daily": {"hour": 24}}, NEW_YORK, "SCH-002", ["recurrence", "daily", "hour"], None),
        ({"weekly": {"days": [], "hour": 1}}, NEW_YORK, "SCH-002", ["recurrence", "weekly", "days"], None),
        ({"monthly": {"day": 0, "hour": 1}}, NEW_YORK, "SCH-002", ["recurrence", "monthly", "day"], None),
        ({"everyMinutes": {"minutes": 0}}, NEW_YORK, "SCH-002", ["recurrence", "everyMinutes", "minutes"], None),
        (DAILY, "EST5EDT6", "SCH-003", ["zone"], None),
        (DAILY, "../../etc/passwd", "SCH-003", ["zone"], None),
        (DAILY, "America", "SCH-003", ["zone"], None),
        (DAILY, "EST", "SCH-003", ["zone"], None),  # five hours behind all year: not what people in New York mean
    ],
)
@pytest.mark.story("36-005-B1")
async def test_what_cannot_be_meant_is_refused_with_the_field_that_is_wrong(
    rachel: Person, recurrence: dict[str, Any], zone: str, code: str, field: list[str], part: str | None
) -> None:
    (said,) = (await preview(rachel.client, recurrence, zone=zone))["userErrors"]
    workflow = await new_workflow(rachel.client)
    payload = await send(rachel.client, CREATE_SCHEDULE, workflowId=workflow["id"], name="X", recurrence=recurrence, zone=zone)
    (refused,) = payload["userErrors"]
    for error in (said, refused):
        assert (error["code"], error["field"]) == (code, field)
        assert error.get("part") == part
        assert part is None or part in error["message"]
    assert payload["schedule"] is None


@pytest.mark.story("36-005-B2")
@pytest.mark.parametrize(
    ("after", "recurrence"), [("9990-01-01T00:00:00Z", {"cron": "0 0 29 2 *"}), ("0001-01-01T00:00:00Z", DAILY)]
)
async def test_a_preview_looks_at_most_ten_years_ahead_or_back(rachel: Person, after: str, recurrence: dict[str, Any]) -> None:
    shown = await preview(rachel.client, recurrence, after=after)
    (error,) = shown["userErrors"]
    assert (error["code"], error["field"], shown["runs"]) == ("SCH-002", ["after"], [])


@pytest.mark.parametrize(("zone", "meant"), [("EST", NEW_YORK), ("PST", "America/Los_Angeles"), ("cet", "Europe/Berlin")])
async def test_an_abbreviation_is_answered_with_the_zone_that_is_meant(rachel: Person, zone: str, meant: str) -> None:
    (error,) = (await preview(rachel.client, DAILY, zone=zone))["userErrors"]
    assert meant in error["message"]
    for name in ("UTC", "GMT", meant):
        assert len((await preview(rachel.client, DAILY, zone=name))["runs"]) == 5


@pytest.mark.story("36-005-E1")
async def test_the_clocks_change(rachel: Person) -> None:
    """Every day at half past two and half past one, over the turns of 2027."""
    spring = await preview(rachel.client, {"daily": {"hour": 2, "minute": 30}}, after="2027-03-13T00:00:00Z")
    assert [run["local"] for run in spring["runs"][:3]] == [
        "2027-03-13T02:30:00-05:00",
        "2027-03-14T03:00:00-04:00",  # 02:30 does not exist on this day: right after the gap
        "2027-03-15T02:30:00-04:00",
    ]
    autumn = await preview(rachel.client, {"daily": {"hour": 1, "minute": 30}}, after="2027-11-06T00:00:00Z")
    assert [run["text"] for run in autumn["runs"][:3]] == [
        "Sat Nov 6 2027, 1:30 AM EDT",
        "Sun Nov 7 2027, 1:30 AM EDT",  # comes twice on this day: the first time
        "Mon Nov 8 2027, 1:30 AM EST",
    ]
    hourly = await preview(rachel.client, {"hourly": {"minute": 30}}, after="2027-11-07T05:00:00Z")
    assert [run["text"][16:] for run in hourly["runs"][:3]] == ["1:30 AM EDT", "1:30 AM EST", "2:30 AM EST"]
    elapsed = await preview(rachel.client, {"everyMinutes": {"minutes": 60}}, after="2027-11-07T05:00:00Z")
    at = [datetime.fromisoformat(run["at"]) for run in elapsed["runs"]]
    assert {b - a for a, b in pairwise(at)} == {timedelta(hours=1)}


@pytest.mark.story("36-005-E6")
async def test_a_schedule_that_meets_another_one_of_the_same_workflow_is_warned_of(rachel: Person) -> None:
    workflow, other = await new_workflow(rachel.client), await new_workflow(rachel.client, name="Another")
    first = await new_schedule(rachel.client, workflow, recurrence={"weekly": {"days": ["MONDAY"], "hour": 6}}, name="Mondays")
    new = {"name": "Daily", "zone": "America/Chicago"}
    fine = await do(rachel.client, CREATE_SCHEDULE, **new, workflowId=other["id"], recurrence={"daily": {"hour": 5}})
    assert fine["warnings"] == []
    warned = await do(rachel.client, CREATE_SCHEDULE, **new, workflowId=workflow["id"], recurrence={"daily": {"hour": 5}})
    (warning,) = warned["warnings"]
    assert (warning["code"], warning["schedule"]) == ("SCH-007", {"id": first["id"], "name": "Mondays"})
    assert warning["at"]["at"] == first["nextRuns"][0]["at"]
    schedule = warned["schedule"]
    changed = {"id": schedule["id"], "expectedVersion": schedule["version"], "recurrence": {"daily": {"hour": 7}}}
    assert (await do(rachel.client, UPDATE_SCHEDULE, **changed))["warnings"] == []


@pytest.mark.story("36-005-E5")
async def test_a_moment_that_has_passed_is_refused_or_runs_at_once(shared_house: House, rachel: Person) -> None:
    workflow = await new_workflow(rachel.client, wait(300))
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    given = {"workflowId": workflow["id"], "name": "Once", "zone": NEW_YORK}
    (refused,) = (await send(rachel.client, CREATE_SCHEDULE, **given, recurrence={"once": {"at": past}}))["userErrors"]
    assert (refused["code"], refused["field"]) == ("SCH-004", ["recurrence", "once", "at"])
    at_once = await do(rachel.client, CREATE_SCHEDULE, **given, recurrence={"once": {"at": past, "ifPast": "RUN_NOW"}})
    await shared_house.sweep()
    (fire,) = await history(rachel.client, at_once["schedule"])
    assert (fire["result"], fire["isManual"]) == ("STARTED", False)
    after = (await rachel.ask(HISTORY, id=at_once["schedule"]["id"]))["schedule"]
    assert (after["status"], after["nextAt"]) == ("FINISHED", None)


async def test_schedules_are_seen_and_changed_in_their_own_account_only(shared_house: House, rachel: Person) -> None:
    workflow = await new_workflow(rachel.client)
    schedule = await new_schedule(rachel.client, workflow)
    stranger = await new_owner(shared_house)
    assert (await stranger.ask(HISTORY, id=schedule["id"]))["schedule"] is None
    given = {"id": schedule["id"], "expectedVersion": 1}
    (error,) = (await send(stranger.client, PAUSE_SCHEDULE, **given))["userErrors"]
    assert error["code"] == "API-003"
    (error,) = (
        await send(stranger.client, CREATE_SCHEDULE, workflowId=workflow["id"], name="X", zone="UTC", recurrence=DAILY)
    )["userErrors"]
    assert error["code"] == "API-003"
