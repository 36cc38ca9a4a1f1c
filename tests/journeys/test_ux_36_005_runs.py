"""UX-36-005: what a schedule's runs do by themselves: on time, once, told by e-mail and remembered."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.vendors.sandbox.gohighlevel import seed
from jobs import housekeeping
from tests.factories.client import ENDED, Client
from tests.factories.contact_sync import RETRY, SMALL
from tests.factories.crm import connect, location_of, start_sync
from tests.factories.engine import eventually
from tests.factories.house import House
from tests.factories.notices import mailed
from tests.factories.processes import programs
from tests.factories.queue import SLOTS, UPDATE_SLOTS
from tests.factories.workflows import (
    HISTORY,
    REPORT,
    RUN_NOW,
    RUN_WORKFLOW,
    admin_of,
    do,
    history,
    make_due,
    new_schedule,
    new_workflow,
    wait,
)
from tests.faults.nursery import nursery

TEAM = "team@agency.example"
PLACE = "query ($id: ID!) { job(id: $id) { queuePosition } }"
OF_SCHEDULE = """query ($filter: JobFilterInput) { jobs(filter: $filter) { nodes {
  id originName subject { ... on WorkflowRun { fire { isManual schedule { id name } } } } } } }"""
EACH_MINUTE = {"everyMinutes": {"minutes": 1}}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def settled(client: Client, schedule: dict[str, Any], *, count: int = 1) -> list[dict[str, Any]]:
    """The history, once so many runs have ended."""

    async def look() -> list[dict[str, Any]] | None:
        fires = await history(client, schedule)
        return fires if sum(fire["endedAt"] is not None for fire in fires) >= count else None

    return await eventually(look)


@pytest.mark.story("36-005-S3", "36-005-B4", "36-005-S5")
async def test_a_run_begins_within_a_minute_of_its_time_and_stands_in_the_history(house: House, owner: Client) -> None:
    workflow = await new_workflow(owner)
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    schedule = await new_schedule(owner, workflow, recurrence={"once": {"at": due.isoformat()}})
    async with house.workers():
        (fire,) = await settled(owner, schedule)
    assert at(fire["nominalAt"]) == due
    assert timedelta(0) <= at(fire["startedAt"]) - due < timedelta(seconds=60)
    assert fire["result"] == "SUCCEEDED"
    assert fire["message"] == "Done"
    assert fire["durationSeconds"] == pytest.approx((at(fire["endedAt"]) - at(fire["startedAt"])).total_seconds())
    assert (fire["isManual"], fire["missed"]) == (False, 0)
    assert fire["job"]["state"] == "SUCCEEDED"
    (step,) = fire["run"]["steps"]
    assert (step["kind"], step["state"]) == ("REPORT", "DONE")
    assert step["file"]["name"].startswith("jobs-")


@pytest.mark.story("36-005-S3", "36-005-B4")
async def test_a_recurring_one_runs_when_its_time_comes_and_keeps_its_rhythm(house: House, owner: Client) -> None:
    schedule = await new_schedule(owner, await new_workflow(owner))
    async with house.workers():
        due = await make_due(house, ago="-2 s")  # its time is yet to come, and nobody helps it
        assert await history(owner, schedule) == []
        (fire,) = await settled(owner, schedule)
    assert at(fire["nominalAt"]) == due
    assert timedelta(0) <= at(fire["startedAt"]) - due < timedelta(seconds=60)
    after = (await owner.ask(HISTORY, id=schedule["id"]))["schedule"]
    assert (after["status"], after["nextAt"]) == ("ACTIVE", schedule["nextAt"])


@pytest.mark.story("36-005-S5")
async def test_a_job_leads_to_its_schedule_and_the_schedule_to_its_jobs(house: House, owner: Client) -> None:
    workflow = await new_workflow(owner)
    schedule = await new_schedule(owner, workflow, name="Sunrise")
    await new_schedule(owner, workflow, name="Sunset")
    await make_due(house)
    await house.sweep()
    by_hand = (await do(owner, RUN_NOW, id=schedule["id"]))["job"]["id"]
    by_itself = (await history(owner, schedule))[1]["job"]["id"]

    async def found(**wanted: Any) -> dict[str, Any]:
        nodes = (await owner.ask(OF_SCHEDULE, filter=wanted))["jobs"]["nodes"]
        return {node["id"]: node for node in nodes}

    for jobs in (await found(scheduleId=schedule["id"]), await found(text="sunrise")):
        assert jobs.keys() == {by_hand, by_itself}
        assert jobs[by_itself]["originName"] == "Sunrise"
        assert jobs[by_hand]["originName"] == "Owner of Bright & Co"
        for job, is_manual in ((jobs[by_hand], True), (jobs[by_itself], False)):
            assert job["subject"]["fire"] == {"isManual": is_manual, "schedule": {"id": schedule["id"], "name": "Sunrise"}}
    alone = (await do(owner, RUN_WORKFLOW, id=workflow["id"]))["job"]["id"]
    assert (await found(text="Workflow"))[alone]["subject"]["fire"] is None


@pytest.mark.story("36-005-S4")
async def test_the_result_is_e_mailed_with_the_report_attached_once(house: House, owner: Client) -> None:
    workflow = await new_workflow(owner, REPORT, name="Daily Lead Report")
    schedule = await new_schedule(owner, workflow, name="Every morning", recipients=[TEAM, "rachel@agency.example"])
    began = datetime.now(UTC)
    async with house.workers():
        await make_due(house)
        (message,) = await mailed(house, TEAM)
        assert datetime.now(UTC) - began < timedelta(minutes=5)
        await mailed(house, "rachel@agency.example")
        for _ in range(3):
            await house.sweep()
        assert len(house.inbox(TEAM)) == 1
    assert message["subject"] == "Every morning completed"
    assert "Daily Lead Report, step by step:" in message["text"]
    assert "1. Report of jobs of the last day: done" in message["text"]
    assert "Duration:" in message["text"]
    (attached,) = message["attachments"]
    assert attached["name"].startswith("jobs-")
    assert attached["text"].splitlines()[0].endswith("Message")
    assert "workflows.run" in attached["text"]
    (fire,) = await history(owner, schedule)
    assert fire["job"]["id"] in message["text"]


@pytest.mark.story("36-005-B6", "36-005-S4")
async def test_a_run_that_failed_is_told_and_retried_from_the_step_that_failed(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    workflow = await new_workflow(owner, REPORT, {"job": {"locationId": location}})
    schedule = await new_schedule(owner, workflow, name="With a sync", recipients=[TEAM])
    house.fault("status", path="/contacts/search", status=422)
    async with house.workers():
        await make_due(house)
        (message,) = await mailed(house, TEAM)
        assert message["subject"] == "With a sync failed"
        assert "2. Contact sync: failed" in message["text"]
        assert len(message["attachments"]) == 1
        (fire,) = await settled(owner, schedule)
        assert (fire["result"], fire["job"]["errorCode"]) == ("FAILED", "WFL-003")
        states = [step["state"] for step in fire["run"]["steps"]]
        assert states == ["DONE", "FAILED"]
        retried = (await owner.ask(RETRY, id=fire["job"]["id"]))["retryJob"]
        assert retried["userErrors"] == []
        _, again = await mailed(house, TEAM, count=2)
        (after,) = await settled(owner, schedule)
    assert again["subject"] == "With a sync completed"
    assert (after["id"], after["result"]) == (fire["id"], "SUCCEEDED")
    steps = after["run"]["steps"]
    assert [step["state"] for step in steps] == ["DONE", "DONE"]
    assert steps[0]["file"]["id"] == fire["run"]["steps"][0]["file"]["id"]  # was not made again
    assert steps[1]["job"]["state"] == "SUCCEEDED"
    assert steps[1]["job"]["id"] != fire["run"]["steps"][1]["job"]["id"]


@pytest.mark.parametrize(
    ("policy", "results"),
    [
        ("SKIP", ["OVERLAPPED", "OVERLAPPED", "STARTED"]),
        ("QUEUE_ONE", ["OVERLAPPED", "STARTED", "STARTED"]),
        ("ALLOW", ["STARTED", "STARTED", "STARTED"]),
    ],
)
@pytest.mark.story("36-005-E2")
async def test_a_run_takes_longer_than_the_interval(house: House, owner: Client, policy: str, results: list[str]) -> None:
    workflow = await new_workflow(owner, wait(300))  # runs for five minutes
    schedule = await new_schedule(owner, workflow, overlapPolicy=policy)
    async with house.workers():
        for number in range(3):
            await make_due(house, ago=f"{3 - number} s")
            await house.sweep()
            await eventually(lambda count=number + 1: _has(owner, schedule, count))  # type: ignore[misc]  # mypy loses the type
        fires = await history(owner, schedule)
        assert [fire["result"] for fire in fires] == results
        assert all(fire["message"] for fire in fires if fire["result"] == "OVERLAPPED")
        jobs = [fire["job"] for fire in fires if fire["job"]]
        if policy == "QUEUE_ONE":
            second, first = jobs
            assert (await owner.job(second["id"]))["state"] == "BLOCKED"
            await owner.ask("mutation ($id: ID!) { cancelJob(input: {id: $id}) { job { id } } }", id=first["id"])
            await owner.until(second["id"], "SCHEDULED")  # it waits its five minutes
        if policy == "ALLOW":
            for job in jobs:
                await owner.until(job["id"], "SCHEDULED")


async def _has(client: Client, schedule: dict[str, Any], count: int) -> bool:
    return len(await history(client, schedule)) == count


@pytest.mark.story("36-005-E3")
@pytest.mark.parametrize("more_settings", [{"log_level": "info"}])  # a program says so when it is ready
async def test_no_clock_is_up_at_the_time_and_the_next_one_fires(house: House, owner: Client, tmp_path: Path) -> None:
    schedule = await new_schedule(owner, await new_workflow(owner, wait(300)))
    async with nursery(tmp_path) as forks, programs(house.settings, tmp_path, forks) as system:
        await (await system.clock()).kill()
        due = await make_due(house, ago="-1 s")
        await eventually(lambda: _has_passed(due))
        assert await history(owner, schedule) == []
        await system.clock()
        await eventually(lambda: _has(owner, schedule, 1))
    (fire,) = await history(owner, schedule)
    assert (at(fire["nominalAt"]), fire["result"], fire["missed"]) == (due, "STARTED", 0)


async def _has_passed(due: datetime) -> bool:
    return datetime.now(UTC) > due


@pytest.mark.parametrize(
    ("sunday", "time", "months", "instant"),
    [
        ((3, 2), "30 2", "3", "07:00"),  # 02:30 does not exist: right after the gap, at 03:00 EDT
        ((11, 1), "30 1", "10,11", "05:30"),  # 01:30 comes twice: at the first one, in EDT
    ],
)
@pytest.mark.story("36-005-E1")
async def test_a_schedule_fires_once_where_the_clocks_turn(
    house: House, owner: Client, sunday: tuple[int, int], time: str, months: str, instant: str
) -> None:
    now = datetime.now(UTC)
    turns = [at(f"{_sunday(year, *sunday)}T{instant}+00:00") for year in range(now.year - 1, now.year + 2)]
    past, coming = max(turn for turn in turns if turn < now), min(turn for turn in turns if turn > now)
    workflow = await new_workflow(owner, wait(300))
    once_a_year = {"cron": f"{time} {coming.day} {coming.month} *"}
    ahead = await new_schedule(owner, workflow, name="ahead", recurrence=once_a_year)
    assert coming in [at(run["at"]) for run in ahead["nextRuns"]]
    weekends = {"cron": f"{time} * {months} SAT,SUN"}
    schedule = await new_schedule(owner, workflow, name="weekends", recurrence=weekends, missedPolicy="RUN_ALL")
    # As if nothing had been up since the Saturday before the turn.
    saturday = past.replace(minute=30) - timedelta(days=1)
    admin = await admin_of(house)
    await admin.execute("update schedule set next_at = $1 where name = 'weekends'", saturday)
    await admin.close()
    await house.sweep()
    fired = [at(fire["nominalAt"]) for fire in await history(owner, schedule)]
    assert [moment for moment in fired if abs(moment - past) < timedelta(days=2)] == [past, saturday]


def _sunday(year: int, month: int, number: int) -> date:
    """The first, second and so on of a month."""
    first = date(year, month, 1)
    return first + timedelta(days=6 - first.weekday(), weeks=number - 1)


@pytest.mark.parametrize(("policy", "results"), [("RUN_ONCE", ["STARTED"]), ("SKIP", ["MISSED"]), ("RUN_ALL", ["STARTED"])])
@pytest.mark.story("36-005-E3")
async def test_the_system_was_down_at_the_time(house: House, owner: Client, policy: str, results: list[str]) -> None:
    schedule = await new_schedule(owner, await new_workflow(owner, wait(300)), missedPolicy=policy)
    await make_due(house, ago="3 hours")
    await house.sweep()
    fires = await history(owner, schedule)
    assert [fire["result"] for fire in fires] == results
    assert at(fires[0]["firedAt"]) - at(fires[0]["nominalAt"]) > timedelta(hours=2)


@pytest.mark.story("36-005-E3")
async def test_the_system_was_down_for_many_of_the_times(house: House, owner: Client) -> None:
    workflow = await new_workflow(owner, wait(300))
    once = await new_schedule(owner, workflow, name="once", recurrence=EACH_MINUTE)
    each = await new_schedule(owner, workflow, name="each", recurrence=EACH_MINUTE, missedPolicy="RUN_ALL")
    await make_due(house, ago="10 minutes")
    await house.sweep()
    (fire,) = await history(owner, once)
    assert fire["result"] == "STARTED"
    assert fire["missed"] in {10, 11}  # the first was not a full minute
    assert datetime.now(UTC) - at(fire["nominalAt"]) < timedelta(minutes=2)
    fires = await history(owner, each)
    assert len(fires) == fire["missed"] + 1
    # One after another.
    assert [fire["job"]["state"] for fire in fires] == ["BLOCKED"] * fire["missed"] + ["READY"]
    await house.sweep()
    assert len(await history(owner, each)) in {len(fires), len(fires) + 1}  # a minute may have begun


@pytest.mark.story("36-005-E7")
async def test_all_slots_are_taken_and_runs_queue_by_their_priority(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    version = (await owner.ask(SLOTS))["accountSlots"]["version"]
    assert (await do(owner, UPDATE_SLOTS, slots=1, expectedVersion=version))["accountSlots"]["slots"] == 1
    workflow = await new_workflow(owner)
    usual = await new_schedule(owner, workflow, name="usual", priority="NORMAL")
    urgent = await new_schedule(owner, workflow, name="urgent", priority="URGENT")
    house.fault("latency", path="/contacts/search", ms=1500)
    async with house.workers():
        sync = await start_sync(owner, location_of(account, seed.LOCATIONS[10].id))
        await owner.until(sync["id"], "RUNNING")
        await make_due(house, ago="2 s", name="usual")
        await make_due(house, ago="1 s", name="urgent")
        await eventually(lambda: _has(owner, urgent, 1))
        await eventually(lambda: _has(owner, usual, 1))
        queued = [(await history(owner, schedule))[0]["job"] for schedule in (usual, urgent)]
        assert [job["state"] for job in queued] == ["READY", "READY"]
        places = [(await owner.ask(PLACE, id=job["id"]))["job"]["queuePosition"] for job in queued]
        assert places == [2, 1]
        assert [job["priority"] for job in queued] == ["NORMAL", "URGENT"]
        assert (await owner.job(sync["id"]))["state"] not in ENDED
        (first,), (second,) = await settled(owner, urgent), await settled(owner, usual)
    assert at(first["startedAt"]) <= at(second["startedAt"])
    assert at(first["endedAt"]) <= at(second["startedAt"])
    assert at(second["nominalAt"]) < at(first["nominalAt"])


@pytest.mark.story("36-005-B5")
async def test_the_history_is_kept_for_ninety_days(house: House, owner: Client) -> None:
    schedule = await new_schedule(owner, await new_workflow(owner))
    async with house.workers():
        for count in (1, 2):
            await make_due(house)
            await settled(owner, schedule, count=count)
        admin = await admin_of(house)
        newer, older = [row["id"] for row in await admin.fetch("select id from schedule_fire order by nominal_at desc")]
        for fire, days in ((newer, 89), (older, 91)):
            aged = "update schedule_fire set nominal_at = now() - $2::int * interval '1 day' where id = $1"
            await admin.execute(aged, fire, days)
        await admin.execute("update account_slots set retention_at = now()")
        await admin.close()
        await housekeeping.ask_for_retention(house.runtime)
        (kept,) = await eventually(lambda: _only_one(owner, schedule))
    assert datetime.now(UTC) - at(kept["nominalAt"]) > timedelta(days=88)
    assert kept["result"] == "SUCCEEDED"


async def _only_one(client: Client, schedule: dict[str, Any]) -> list[dict[str, Any]] | None:
    fires = await history(client, schedule)
    return fires if len(fires) == 1 else None


async def test_a_schedule_is_run_now(house: House, owner: Client) -> None:
    schedule = await new_schedule(owner, await new_workflow(owner), recipients=[TEAM])
    async with house.workers():
        payload = await do(owner, RUN_NOW, id=schedule["id"], idempotencyKey="now")
        assert payload["fire"]["isManual"]
        again = await do(owner, RUN_NOW, id=schedule["id"], idempotencyKey="now")
        assert again["fire"]["id"] == payload["fire"]["id"]
        ended = await owner.until(payload["job"]["id"])
        assert ended["state"] == "SUCCEEDED"
        assert len(await mailed(house, TEAM)) == 1
    (fire,) = await history(owner, schedule)
    assert fire["result"] == "SUCCEEDED"
