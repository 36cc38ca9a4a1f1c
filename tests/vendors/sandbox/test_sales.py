"""Pipelines and opportunities; calendars, slots and appointments."""

from typing import Any

import pytest

from domain.vendors.sandbox.gohighlevel import seed, seed_sales
from tests.vendors.sandbox.harness import Sandbox

SALES = seed.make_id(seed.LARGE.id, "pipeline", "Sales")
WON = {"status": "won"}
CALENDAR = seed.make_id(seed.LARGE.id, "calendar", "Discovery Call")
MONDAY = 1_767_571_200_000
"""2026-01-05T00:00Z."""
DAY = 86_400_000


def _stage(name: str) -> str:
    return seed.make_uuid(seed.LARGE.id, "Sales", name)


def _deal(contact: int, **more: Any) -> dict[str, Any]:
    content = {"pipelineId": SALES, "locationId": seed.LARGE.id, "name": "Big deal", "status": "open"}
    return {**content, "contactId": seed.contact_id(seed.LARGE, contact), **more}


async def test_pipelines_have_stages_with_uuids(sandbox: Sandbox) -> None:
    pipelines = (await sandbox.call("GET", f"/opportunities/pipelines?locationId={seed.LARGE.id}")).json()["pipelines"]
    assert [pipeline["name"] for pipeline in pipelines] == ["Sales", "Onboarding"]
    assert pipelines[0]["stages"][0] == {"id": _stage("New Lead"), "name": "New Lead", "position": 0}


async def test_opportunities_are_searched_in_snake_case(sandbox: Sandbox) -> None:
    path = f"/opportunities/search?location_id={seed.LARGE.id}"
    content = (await sandbox.call("GET", f"{path}&limit=15&page=2")).json()
    assert content["meta"]["total"] == seed_sales.OPPORTUNITIES
    assert (content["meta"]["currentPage"], content["meta"]["nextPage"], content["meta"]["prevPage"]) == (2, 3, 1)
    open_ones = (await sandbox.call("GET", f"{path}&limit=100&status=open&pipeline_id={SALES}")).json()["opportunities"]
    assert {(each["status"], each["pipelineId"]) for each in open_ones} == {("open", SALES)}
    assert open_ones[0]["contact"]["name"]
    assert (await sandbox.call("GET", f"/opportunities/search?locationId={seed.LARGE.id}")).status_code == 422


async def test_opportunities_follow_the_next_page(sandbox: Sandbox) -> None:
    address, ids = f"/opportunities/search?location_id={seed.LARGE.id}&limit=15", list[str]()
    while address:
        content = (await sandbox.call("GET", address)).json()
        ids += [each["id"] for each in content["opportunities"]]
        address = content["meta"].get("nextPageUrl", "").removeprefix("https://services.leadconnectorhq.com")
    assert len(ids) == len(set(ids)) == seed_sales.OPPORTUNITIES


async def test_opportunities_are_searched_by_body(sandbox: Sandbox) -> None:
    body = {"locationId": seed.LARGE.id, "limit": 25}
    first = (await sandbox.call("POST", "/opportunities/search", json=body)).json()
    assert (len(first["opportunities"]), first["total"]) == (25, 40)
    after = {**body, "searchAfter": first["opportunities"][-1]["sort"]}
    second = (await sandbox.call("POST", "/opportunities/search", json=after)).json()
    by_page = (await sandbox.call("POST", "/opportunities/search", json={**body, "page": 2})).json()
    assert second["opportunities"] == by_page["opportunities"]
    assert (await sandbox.call("POST", "/opportunities/search", json={**body, "searchAfter": ["x"]})).status_code == 400


async def test_an_opportunity_lives(sandbox: Sandbox) -> None:
    made = await sandbox.call("POST", "/opportunities/", json=_deal(100, monetaryValue=99.5))
    assert made.status_code == 201
    deal = made.json()["opportunity"]
    path = f"/opportunities/{deal['id']}"
    assert deal["pipelineStageId"] == _stage("New Lead")
    changed = await sandbox.call("PUT", path, json={"pipelineStageId": _stage("Contacted"), "monetaryValue": 120})
    assert changed.json()["opportunity"]["pipelineStageId"] == _stage("Contacted")
    assert (await sandbox.call("PUT", f"{path}/status", json=WON)).json() == {"succeded": True}
    assert (await sandbox.call("GET", path)).json()["opportunity"]["status"] == "won"
    assert (await sandbox.call("POST", f"{path}/followers", json={"followers": ["u"]})).json()["followersAdded"] == ["u"]
    assert (await sandbox.call("DELETE", f"{path}/followers", json={"followers": ["u"]})).json()["followers"] == []
    assert (await sandbox.call("DELETE", path)).json() == {"succeded": True}
    assert (await sandbox.call("GET", path)).status_code == 400


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (_deal(100, status="all"), 422),
        (_deal(100, pipelineId="unknown"), 400),
        (_deal(100, pipelineStageId="unknown"), 400),
        (_deal(100, contactId="unknown"), 400),
        (_deal(0), 400),
    ],
)
async def test_a_wrong_opportunity_is_refused(sandbox: Sandbox, content: dict[str, Any], status: int) -> None:
    assert (await sandbox.call("POST", "/opportunities/", json=content)).status_code == status


async def test_upsert_of_an_opportunity(sandbox: Sandbox) -> None:
    first = (await sandbox.call("POST", "/opportunities/upsert", json=_deal(100))).json()
    second = (await sandbox.call("POST", "/opportunities/upsert", json=_deal(100, name="Bigger"))).json()
    assert (first["new"], second["new"]) == (True, False)
    assert (second["opportunity"]["id"], second["opportunity"]["name"]) == (first["opportunity"]["id"], "Bigger")


async def test_calendars_and_groups(sandbox: Sandbox) -> None:
    calendars = (await sandbox.call("GET", f"/calendars/?locationId={seed.LARGE.id}")).json()["calendars"]
    assert [calendar["name"] for calendar in calendars] == ["Discovery Call", "Check-up"]
    made = (await sandbox.call("POST", "/calendars/", json={"locationId": seed.LARGE.id, "name": "Extra"})).json()["calendar"]
    path = f"/calendars/{made['id']}"
    assert (await sandbox.call("PUT", path, json={"slotDuration": 15})).json()["calendar"]["slotDuration"] == 15
    assert (await sandbox.call("GET", path)).json()["calendar"]["name"] == "Extra"
    assert (await sandbox.call("DELETE", path)).json() == {"success": True}
    group = {"locationId": seed.LARGE.id, "name": "Other", "description": "d", "slug": "other"}
    assert (await sandbox.call("POST", "/calendars/groups", json=group)).status_code == 201
    assert len((await sandbox.call("GET", f"/calendars/groups?locationId={seed.LARGE.id}")).json()["groups"]) == 2


async def test_free_slots_are_by_date_and_leave_out_what_is_taken(sandbox: Sandbox) -> None:
    path = f"/calendars/{CALENDAR}/free-slots?startDate={MONDAY}&endDate={MONDAY + 2 * DAY}"
    content = (await sandbox.call("GET", path)).json()
    assert set(content) == {"2026-01-05", "2026-01-06", "traceId"}
    assert content["2026-01-06"]["slots"][0] == "2026-01-06T09:00:00-05:00"
    assert len(content["2026-01-06"]["slots"]) == 8
    assert "2026-01-05T09:00:00-05:00" not in content["2026-01-05"]["slots"]
    in_utc = (await sandbox.call("GET", f"{path}&timezone=UTC")).json()
    assert in_utc["2026-01-06"]["slots"][0] == "2026-01-06T14:00:00+00:00"
    too_long = f"/calendars/{CALENDAR}/free-slots?startDate={MONDAY}&endDate={MONDAY + 32 * DAY}"
    assert (await sandbox.call("GET", too_long)).status_code == 400
    assert (await sandbox.call("GET", f"{path}&timezone=Mars/Base")).status_code == 422


async def test_an_appointment_lives(sandbox: Sandbox) -> None:
    contact = seed.contact_id(seed.LARGE, 50)
    content = {
        "calendarId": CALENDAR,
        "locationId": seed.LARGE.id,
        "contactId": contact,
        "startTime": "2026-01-06T10:00:00-05:00",
    }
    made = await sandbox.call("POST", "/calendars/events/appointments", json=content)
    assert made.status_code == 200
    assert made.json()["appointmentStatus"] == "confirmed"
    taken = await sandbox.call("POST", "/calendars/events/appointments", json=content)
    assert taken.status_code == 400
    path = f"/calendars/events/appointments/{made.json()['id']}"
    moved = await sandbox.call("PUT", path, json={"startTime": "2026-01-06T11:00:00-05:00", "appointmentStatus": "showed"})
    assert moved.json()["appointmentStatus"] == "showed"
    event = (await sandbox.call("GET", path)).json()["event"]
    assert (event["startTime"], event["endTime"]) == ("2026-01-06T11:00:00-05:00", "2026-01-06T17:00:00.000Z")
    window = f"/calendars/events?locationId={seed.LARGE.id}&startTime={MONDAY + DAY}&endTime={MONDAY + 2 * DAY}"
    assert (await sandbox.call("GET", window)).status_code == 422
    assert [each["id"] for each in (await sandbox.call("GET", f"{window}&calendarId={CALENDAR}")).json()["events"]] == [
        event["id"]
    ]
    deleted = await sandbox.call("DELETE", f"/calendars/events/{event['id']}", json={})
    assert (deleted.status_code, deleted.json()) == (201, {"succeeded": True})
    assert (await sandbox.call("GET", path)).status_code == 400


@pytest.mark.parametrize(
    "wrong", [{"startTime": "soon"}, {"startTime": None}, {"appointmentStatus": "done"}, {"endTime": "2020-01-01T00:00:00Z"}]
)
async def test_a_wrong_appointment_is_refused(sandbox: Sandbox, wrong: dict[str, Any]) -> None:
    contact = seed.contact_id(seed.LARGE, 50)
    content = {
        "calendarId": CALENDAR,
        "locationId": seed.LARGE.id,
        "contactId": contact,
        "startTime": "2026-01-06T10:00:00-05:00",
    }
    assert (await sandbox.call("POST", "/calendars/events/appointments", json={**content, **wrong})).status_code == 422
