"""UX-36-005: what becomes of a schedule: it is found, edited, paused, resumed, disabled and deleted."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.factories.house import House
from tests.factories.people import Person, new_owner
from tests.factories.workflows import (
    CREATE_SCHEDULE,
    DELETE_SCHEDULE,
    DELETE_WORKFLOW,
    HISTORY,
    PAUSE_SCHEDULE,
    RESUME_SCHEDULE,
    UPDATE_SCHEDULE,
    do,
    history,
    make_due,
    new_schedule,
    new_workflow,
    send,
    wait,
)

DAILY = {"daily": {"hour": 6}}


@pytest.fixture
async def rachel(shared_house: House) -> Person:
    return await new_owner(shared_house)


@pytest.mark.story("36-005-S6")
async def test_a_schedule_is_paused_and_resumed(shared_house: House, rachel: Person) -> None:
    schedule = await new_schedule(
        rachel.client, await new_workflow(rachel.client, wait(300)), recurrence={"everyMinutes": {"minutes": 1}}
    )
    paused = (await do(rachel.client, PAUSE_SCHEDULE, id=schedule["id"], expectedVersion=schedule["version"]))["schedule"]
    assert (paused["status"], paused["nextAt"], paused["nextRuns"]) == ("PAUSED", None, [])
    assert paused["pausedAt"] is not None
    await make_due(shared_house, name=schedule["name"])
    await shared_house.sweep()
    assert await history(rachel.client, schedule) == []
    stale = await send(rachel.client, RESUME_SCHEDULE, id=schedule["id"], expectedVersion=schedule["version"])
    assert [error["__typename"] for error in stale["userErrors"]] == ["StaleVersionError"]
    resumed = (await do(rachel.client, RESUME_SCHEDULE, id=schedule["id"], expectedVersion=paused["version"]))["schedule"]
    assert (resumed["status"], resumed["pausedAt"]) == ("ACTIVE", None)
    assert datetime.fromisoformat(resumed["nextAt"]) > datetime.now(UTC)
    await make_due(shared_house, name=schedule["name"])
    await shared_house.sweep()
    assert [fire["result"] for fire in await history(rachel.client, schedule)] == ["STARTED"]


@pytest.mark.story("36-005-S7")
async def test_a_schedule_is_edited_without_making_it_anew(shared_house: House, rachel: Person) -> None:
    workflow = await new_workflow(rachel.client, wait(300))
    schedule = await new_schedule(rachel.client, workflow, name="To be edited")
    await make_due(shared_house, name="To be edited")
    await shared_house.sweep()
    edited = (
        await do(
            rachel.client,
            UPDATE_SCHEDULE,
            id=schedule["id"],
            expectedVersion=schedule["version"],
            name="Mondays",
            recurrence={"cron": "0 9 * * 1"},
            zone="Europe/Berlin",
            overlapPolicy="QUEUE_ONE",
            missedPolicy="SKIP",
            priority="HIGH",
            recipients=["rachel@agency.example"],
        )
    )["schedule"]
    assert edited["id"] == schedule["id"]
    assert edited["version"] == schedule["version"] + 1
    assert (edited["name"], edited["zone"], edited["recurrence"]["text"]) == ("Mondays", "Europe/Berlin", "Cron 0 9 * * 1")
    assert (edited["overlapPolicy"], edited["missedPolicy"], edited["priority"]) == ("QUEUE_ONE", "SKIP", "HIGH")
    assert all(run["local"][11:16] == "09:00" for run in edited["nextRuns"])
    assert {datetime.fromisoformat(run["local"]).weekday() for run in edited["nextRuns"]} == {0}
    assert len(await history(rachel.client, schedule)) == 1
    (stale,) = (await send(rachel.client, UPDATE_SCHEDULE, id=schedule["id"], expectedVersion=schedule["version"]))[
        "userErrors"
    ]
    assert stale["code"] == "API-009"


@pytest.mark.story("36-005-S7")
async def test_null_takes_a_decision_back_and_a_change_of_nothing_is_refused(rachel: Person) -> None:
    decided = {"overlapPolicy": "ALLOW", "missedPolicy": "SKIP", "priority": "HIGH", "recipients": ["rachel@agency.example"]}
    schedule = await new_schedule(rachel.client, await new_workflow(rachel.client), **decided)
    given = {"id": schedule["id"], "expectedVersion": schedule["version"]}
    usual: dict[str, Any] = {"overlapPolicy": "SKIP", "missedPolicy": "RUN_ONCE", "priority": None, "recipients": []}
    for name, value in usual.items():
        before = schedule
        schedule = (await do(rachel.client, UPDATE_SCHEDULE, **given, **{name: None}))["schedule"]
        assert schedule == before | {name: value, "version": before["version"] + 1}
        given["expectedVersion"] = schedule["version"]
    for nothing in ({}, {"name": None, "recurrence": None}):
        (error,) = (await send(rachel.client, UPDATE_SCHEDULE, **given, **nothing))["userErrors"]
        assert error["code"] == "API-002"
    kept = (await rachel.ask(HISTORY, id=schedule["id"]))["schedule"]
    assert kept["version"] == schedule["version"]


async def test_too_many_recipients_are_no_matter_of_a_workflow(rachel: Person) -> None:
    many = [f"reader{number}@agency.example" for number in range(51)]
    given = {"workflowId": (await new_workflow(rachel.client))["id"], "name": "X", "zone": "UTC", "recurrence": DAILY}
    (error,) = (await send(rachel.client, CREATE_SCHEDULE, **given, recipients=many))["userErrors"]
    assert (error["code"], error["field"]) == ("API-002", ["recipients"])


async def test_schedules_are_found_by_how_they_stand_and_by_their_name(rachel: Person) -> None:
    workflow = await new_workflow(rachel.client)
    made = {name: await new_schedule(rachel.client, workflow, name=name) for name in ("50% of leads", "Leads at noon", "Gone")}
    for document, name in ((PAUSE_SCHEDULE, "Leads at noon"), (DELETE_SCHEDULE, "Gone")):
        await do(rachel.client, document, id=made[name]["id"], expectedVersion=made[name]["version"])

    async def found(**given: Any) -> list[str]:
        query = "query ($statuses: [ScheduleStatus!], $text: String) { schedules(statuses: $statuses, text: $text) %s }"
        listed = await rachel.ask(query % "{ nodes { name status } }", **given)
        return [node["name"] for node in listed["schedules"]["nodes"]]

    assert await found() == ["Leads at noon", "50% of leads"]
    assert await found(text="LEADS") == ["Leads at noon", "50% of leads"]
    assert await found(text="noon leads") == ["Leads at noon"]
    assert await found(text="%") == ["50% of leads"]
    assert await found(statuses=["ACTIVE"]) == ["50% of leads"]
    assert await found(statuses=["PAUSED", "DELETED"]) == ["Gone", "Leads at noon"]
    assert await found(statuses=["DISABLED", "FINISHED"]) == []


@pytest.mark.story("36-005-E4")
async def test_a_schedule_whose_workflow_is_deleted_is_disabled_and_people_are_told(
    shared_house: House, rachel: Person
) -> None:
    workflow, other = await new_workflow(rachel.client), await new_workflow(rachel.client, wait(5), name="Another")
    schedule = await new_schedule(rachel.client, workflow, name="Orphan")
    payload = await do(rachel.client, DELETE_WORKFLOW, id=workflow["id"], expectedVersion=workflow["version"])
    assert payload["disabledSchedules"] == [{"id": schedule["id"], "status": "DISABLED"}]
    disabled = (await rachel.ask(HISTORY, id=schedule["id"]))["schedule"]
    assert (disabled["status"], disabled["nextAt"]) == ("DISABLED", None)
    assert disabled["disabledReason"] == "Its workflow was deleted."
    told = (await rachel.ask("{ notifications { nodes { event title } } }"))["notifications"]["nodes"]
    assert [(notice["event"], notice["title"]) for notice in told] == [("SCHEDULE_DISABLED", "Orphan was disabled")]
    # It is not made to run by resuming it, but by another workflow.
    (refused,) = (await send(rachel.client, RESUME_SCHEDULE, id=schedule["id"], expectedVersion=disabled["version"]))[
        "userErrors"
    ]
    assert refused["code"] == "SCH-006"
    changed = {"id": schedule["id"], "expectedVersion": disabled["version"], "workflowId": other["id"]}
    enabled = (await do(rachel.client, UPDATE_SCHEDULE, **changed))["schedule"]
    assert (enabled["status"], enabled["disabledReason"], enabled["workflow"]["name"]) == ("ACTIVE", None, "Another")
    (gone,) = (await send(rachel.client, CREATE_SCHEDULE, workflowId=workflow["id"], name="X", zone="UTC", recurrence=DAILY))[
        "userErrors"
    ]
    assert gone["code"] == "WFL-002"


async def test_a_deleted_schedule_leaves_the_list_and_keeps_its_history(shared_house: House, rachel: Person) -> None:
    schedule = await new_schedule(rachel.client, await new_workflow(rachel.client, wait(300)), name="To be deleted")
    await make_due(shared_house, name="To be deleted")
    await shared_house.sweep()
    await do(rachel.client, DELETE_SCHEDULE, id=schedule["id"], expectedVersion=schedule["version"])
    assert (await rachel.ask("{ schedules { totalCount } }"))["schedules"]["totalCount"] == 0
    kept = (await rachel.ask(HISTORY, id=schedule["id"]))["schedule"]
    assert (kept["status"], kept["fires"]["totalCount"]) == ("DELETED", 1)
