"""UX-36-008 and beyond: many jobs at once, and jobs that follow others."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.models.jobs import Lane
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from tests.factories.engine import Bulky, Scripted, play
from tests.factories.house import House
from tests.factories.people import Person, add_person, new_owner
from tests.factories.queue import (
    CANCEL,
    DEPEND,
    FREE,
    PAUSE,
    act,
    ask_for,
    audited,
    done,
    job_of,
    let_run,
    titles,
)

_PAYLOAD = """{ job { id title state result } userErrors { __typename code message field
  ... on CountChangedError { actual } } }"""
DOCUMENTS = {
    name: f"mutation ($input: ChangeJobsInput!) {{ {name}(input: $input) {_PAYLOAD} }}"
    for name in ("cancelJobs", "retryJobs", "pauseJobs", "resumeJobs", "archiveJobs")
}
COUNT = "query ($filter: JobFilterInput) { jobs(filter: $filter) { totalCount } }"
# Of a lane that nobody works for here, so that they stay where they are.
QUEUED = {"kinds": [Bulky.kind]}


@pytest.fixture
async def alex(house: House) -> Person:
    """Somebody who manages jobs."""
    return await new_owner(house)


async def count(person: Person, **wanted: Any) -> int:
    total: int = (await person.ask(COUNT, filter=wanted))["jobs"]["totalCount"]
    return total


async def change(person: Person, name: str, **given: Any) -> dict[str, Any]:
    """Ask for it and wait for the end; the result."""
    job = (await done(person, DOCUMENTS[name], **given))["job"]
    assert (await person.client.until(job["id"]))["state"] == "SUCCEEDED"
    result: dict[str, Any] = (await person.ask("query ($id: ID!) { job(id: $id) { result } }", id=job["id"]))["job"]["result"]
    return result


async def test_a_filter_changes_all_that_fit_and_nothing_else(house: House, alex: Person) -> None:
    for number in range(60):
        await ask_for(house, alex, f"Job {number}", Bulky())
    other = await ask_for(house, alex, "Other", run_at=datetime.now(UTC) + timedelta(days=1))
    seen = await count(alex, **QUEUED)
    assert seen == 60
    async with house.workers(Lane.INTERACTIVE):
        paused = await change(alex, "pauseJobs", filter=QUEUED, expectedCount=seen)
        assert paused == {"matched": 60, "changed": 60, "unchanged": 0}
        assert await titles(alex) == []
        resumed = await change(alex, "resumeJobs", filter=QUEUED, expectedCount=60)
        assert resumed == {"matched": 60, "changed": 60, "unchanged": 0}
        again = await change(alex, "resumeJobs", filter=QUEUED, expectedCount=60)
        assert again == {"matched": 60, "changed": 0, "unchanged": 60}
        cancelled = await change(alex, "cancelJobs", filter=QUEUED, expectedCount=60)
        assert cancelled["changed"] == 60
        assert await count(alex, kinds=[Bulky.kind], states=["CANCELLED"]) == 60
        retried = await change(alex, "retryJobs", filter={**QUEUED, "states": ["CANCELLED"]}, expectedCount=60)
        assert retried["changed"] == 60
        await change(alex, "cancelJobs", filter=QUEUED, expectedCount=60)
        archived = await change(alex, "archiveJobs", filter=QUEUED, expectedCount=60)
        assert archived["changed"] == 60
    assert await count(alex, **QUEUED) == 0
    assert await count(alex, **QUEUED, archived=True) == 60
    assert (await job_of(alex, other))["pausedAt"] is None


async def test_a_change_does_not_wait_for_the_slots_of_what_it_stops(house: House, alex: Person) -> None:
    async def script(job: Running[Scripted], runtime: Runtime) -> Done:
        while True:
            await asyncio.sleep(0.01)
            async with job.unit() as unit:
                await job.advance(unit, done=0)

    await let_run(alex, 1)
    jobs = [await ask_for(house, alex, title, play(script)) for title in ("slow", "next", "last")]
    wanted = {"kinds": [Scripted.kind]}
    async with house.workers(Lane.INTERACTIVE):
        await alex.client.until(jobs[0], "RUNNING")
        asked = await done(alex, DOCUMENTS["cancelJobs"], filter=wanted, expectedCount=3)
        assert await count(alex) == 3  # it is none of those that people see, count and change
        assert (await alex.client.until(asked["job"]["id"]))["state"] == "SUCCEEDED"
        for job_id in jobs:
            assert (await alex.client.until(job_id))["state"] == "CANCELLED"


async def test_only_the_jobs_that_were_counted_are_changed(house: House, alex: Person) -> None:
    jobs = {title: await ask_for(house, alex, title, Bulky()) for title in "AB"}
    given = {"filter": {**QUEUED, "paused": False}, "expectedCount": 2}
    held = (await done(alex, DOCUMENTS["cancelJobs"], **given))["job"]  # nobody is there yet to do it
    await done(alex, PAUSE, id=jobs["A"])
    jobs["C"] = await ask_for(house, alex, "C", Bulky())
    async with house.workers(Lane.INTERACTIVE):
        await alex.client.until(held["id"], "SUCCEEDED")
    states = [(await job_of(alex, job_id))["state"] for job_id in jobs.values()]
    assert states == ["CANCELLED", "CANCELLED", "READY"]


async def test_a_number_that_is_no_longer_true_is_refused_with_the_true_one(house: House, alex: Person) -> None:
    for title in "AB":
        await ask_for(house, alex, title, Bulky())
    payload = await act(alex, DOCUMENTS["cancelJobs"], filter=QUEUED, expectedCount=1)
    (error,) = payload["userErrors"]
    assert (error["__typename"], error["code"], error["actual"]) == ("CountChangedError", "BGJ-055", 2)
    assert payload["job"] is None
    assert await titles(alex) == ["A", "B"]


async def test_ids_change_just_these_and_must_all_be_there(house: House, alex: Person) -> None:
    jobs = {title: await ask_for(house, alex, title, Bulky()) for title in "ABC"}
    stranger = await new_owner(house)
    foreign = await ask_for(house, stranger, "D", Bulky())
    payload = await act(alex, DOCUMENTS["pauseJobs"], ids=[jobs["A"], foreign])
    assert [(error["code"], error["field"]) for error in payload["userErrors"]] == [("API-003", ["ids"])]
    async with house.workers(Lane.INTERACTIVE):
        assert (await change(alex, "pauseJobs", ids=[jobs["A"], jobs["C"]]))["changed"] == 2
    assert await titles(alex) == ["B"]
    assert await titles(stranger) == ["D"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "ids"),
        ({"ids": []}, "ids"),
        ({"ids": ["nonsense"]}, "ids"),
        ({"filter": {}, "ids": []}, "ids"),
        ({"filter": {}}, "expectedCount"),
    ],
)
async def test_a_selection_that_makes_no_sense_is_refused(alex: Person, given: dict[str, Any], field: str) -> None:
    payload = await act(alex, DOCUMENTS["cancelJobs"], **given)
    assert [(error["code"], error["field"]) for error in payload["userErrors"]] == [("API-002", [field])]


async def test_the_same_key_asks_once(house: House, alex: Person) -> None:
    await ask_for(house, alex, "A", Bulky())
    given: dict[str, Any] = {"filter": QUEUED, "expectedCount": 1, "idempotencyKey": "once"}
    first = (await done(alex, DOCUMENTS["cancelJobs"], **given))["job"]
    again = (await done(alex, DOCUMENTS["cancelJobs"], **given))["job"]
    assert first["id"] == again["id"]
    assert first["title"] == "Cancel 1 job"
    other = await act(alex, DOCUMENTS["cancelJobs"], **{**given, "expectedCount": 2})
    assert other["userErrors"][0]["code"] == "API-008"


async def test_many_changes_are_audited_as_whoever_asked(house: House, alex: Person) -> None:
    member = await add_person(house, alex, "MEMBER")
    job_id = await ask_for(house, alex, "A", Bulky())
    async with house.workers(Lane.INTERACTIVE):
        await change(member, "pauseJobs", ids=[job_id])
    (entry,) = await audited(alex, job_id)
    assert (entry["action"], entry["actorName"]) == ("job.pause", "The member")


async def test_a_child_starts_after_its_parent_and_is_skipped_without_it(house: House, alex: Person) -> None:
    may_end = asyncio.Event()
    order: list[str] = []

    def script(title: str) -> Scripted:
        async def run(job: Running[Scripted], runtime: Runtime) -> Done:
            order.append(title)
            await may_end.wait()
            return Done(title)

        return play(run)

    jobs = {title: await ask_for(house, alex, title, script(title)) for title in ("child", "parent", "lost", "heir")}
    for child, parent, policy in (("child", "parent", "SUCCEEDED"), ("heir", "lost", "SUCCEEDED")):
        blocked = await done(alex, DEPEND, jobId=jobs[child], dependsOnId=jobs[parent], policy=policy)
        assert blocked["job"]["state"] == "BLOCKED"
    assert (await job_of(alex, jobs["child"]))["dependsOn"] == [{"policy": "SUCCEEDED", "job": {"id": jobs["parent"]}}]
    assert (await job_of(alex, jobs["parent"]))["dependents"] == [{"policy": "SUCCEEDED", "job": {"id": jobs["child"]}}]
    cancelled = await done(alex, CANCEL, id=jobs["lost"])
    assert cancelled["warnings"] == ["1 job that waits for this one will be skipped: heir."]
    assert [job["id"] for job in cancelled["affectedJobs"]] == [jobs["heir"]]
    assert (await alex.client.until(jobs["heir"]))["state"] == "SKIPPED"
    async with house.workers(Lane.INTERACTIVE):
        await alex.client.until(jobs["parent"], "RUNNING")
        assert (await job_of(alex, jobs["child"]))["state"] == "BLOCKED"
        may_end.set()
        assert (await alex.client.until(jobs["child"]))["state"] == "SUCCEEDED"
    assert order == ["parent", "child"]


async def test_a_child_that_is_let_go_waits_only_for_what_is_left(house: House, alex: Person) -> None:
    jobs = {title: await ask_for(house, alex, title, Bulky()) for title in ("child", "first", "second")}
    for parent in ("first", "second"):
        await done(alex, DEPEND, jobId=jobs["child"], dependsOnId=jobs[parent])
    freed = await done(alex, FREE, jobId=jobs["child"], dependsOnId=jobs["first"])
    assert (freed["job"]["state"], freed["notice"]) == ("BLOCKED", None)
    assert [edge["job"]["id"] for edge in (await job_of(alex, jobs["child"]))["dependsOn"]] == [jobs["second"]]
    again = await done(alex, FREE, jobId=jobs["child"], dependsOnId=jobs["first"])
    assert (again["job"]["state"], again["notice"]) == ("BLOCKED", "It does not wait for that job.")
    await done(alex, PAUSE, id=jobs["second"])
    freed = await done(alex, FREE, jobId=jobs["child"], dependsOnId=jobs["second"])
    assert freed["job"]["state"] == "READY"
    assert "child" in await titles(alex)
    stranger = await new_owner(house)
    (error,) = (await act(stranger, FREE, jobId=jobs["child"], dependsOnId=jobs["first"]))["userErrors"]
    assert (error["code"], error["field"]) == ("API-003", ["jobId"])


async def test_dependencies_that_cannot_be_are_refused(house: House, alex: Person) -> None:
    a, b = await ask_for(house, alex, "A"), await ask_for(house, alex, "B")
    foreign = await ask_for(house, await new_owner(house), "C")
    await done(alex, DEPEND, jobId=b, dependsOnId=a)
    for job_id, parent_id, code, field in (
        (a, b, "BGJ-053", "dependsOnId"),
        (a, a, "BGJ-053", "dependsOnId"),
        (a, foreign, "API-003", "dependsOnId"),
        (foreign, a, "API-003", "jobId"),
        ("nonsense", a, "API-002", "jobId"),
    ):
        (error,) = (await act(alex, DEPEND, jobId=job_id, dependsOnId=parent_id))["userErrors"]
        assert (error["code"], error["field"]) == (code, [field])
