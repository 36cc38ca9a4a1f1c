"""UX-36-005: the workflow that a schedule runs: its steps, what they wait for, and how it is changed."""

import csv
import io
from typing import Any

import pytest

from tests.factories.client import Client
from tests.factories.contact_sync import SMALL
from tests.factories.crm import connect, contacts, location_of, start_sync
from tests.factories.engine import eventually
from tests.factories.house import House
from tests.factories.notices import mailed
from tests.factories.people import Person, add_person, new_owner
from tests.factories.workflows import (
    CREATE_WORKFLOW,
    DELETE_WORKFLOW,
    REPORT,
    RUN_WORKFLOW,
    RUNS,
    UPDATE_WORKFLOW,
    admin_of,
    do,
    new_workflow,
    notify,
    send,
    wait,
)

CANCEL = "mutation ($id: ID!) { cancelJob(input: {id: $id}) { job { state } } }"
SUBJECT = "query ($id: ID!) { job(id: $id) { subject { __typename id } } }"


async def run(client: Client, workflow: dict[str, Any], **given: Any) -> dict[str, Any]:
    """The job of a run."""
    job: dict[str, Any] = (await do(client, RUN_WORKFLOW, id=workflow["id"], **given))["job"]
    return job


async def runs_of(client: Client, workflow: dict[str, Any]) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = (await client.ask(RUNS, of=workflow["id"]))["workflowRuns"]["nodes"]
    return nodes


async def test_all_kinds_of_steps_one_after_another(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    steps: list[dict[str, Any]] = [
        {"job": {"locationId": location}},
        {"report": {"of": "CONTACTS", "days": 7, "locationId": location}},
        wait(1),
        notify("lead@agency.example", subject="New leads"),
    ]
    workflow = await new_workflow(owner, *steps)
    assert [step["kind"] for step in workflow["steps"]] == ["JOB", "REPORT", "WAIT", "NOTIFY"]
    async with house.workers():
        ended = await owner.until((await run(owner, workflow))["id"])
        (message,) = await mailed(house, "lead@agency.example")
    assert (ended["state"], ended["message"], ended["failures"]) == ("SUCCEEDED", "All 4 steps done", 0)
    assert (ended["progress"]["done"], ended["progress"]["total"]) == (4, 4)
    (made,) = await runs_of(owner, workflow)
    assert [step["state"] for step in made["steps"]] == ["DONE"] * 4
    assert all(step["startedAt"] <= step["endedAt"] for step in made["steps"])
    assert made["steps"][0]["job"]["state"] == "SUCCEEDED"
    assert (await owner.ask(SUBJECT, id=ended["id"]))["job"]["subject"] == {"__typename": "WorkflowRun", "id": made["id"]}
    assert message["subject"] == "New leads"
    (attached,) = message["attachments"]
    downloaded = (await owner.http.get(made["steps"][1]["file"]["downloadUrl"])).content
    rows = list(csv.DictReader(io.StringIO(downloaded.decode("utf-8-sig"))))
    assert len(rows) == SMALL.contacts
    assert {row["E-mail"] for row in rows} == {contact["email"] or "" for contact in await contacts(owner)}
    listed = {contact["phone"] or "" for contact in await contacts(owner)}
    assert any(phone.startswith("+") for phone in listed)
    assert {row["Telephone"] for row in rows} == listed  # as they are: no spreadsheet runs a number
    others = [value for row in rows for name, value in row.items() if name != "Telephone"]
    assert all(not value.startswith(("=", "+", "-", "@")) for value in others)
    assert (attached["name"], attached["size"]) == (made["steps"][1]["file"]["name"], len(downloaded))


async def test_a_run_that_waits_for_a_sync_or_for_time_takes_no_slot(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    admin = await admin_of(house)
    await admin.execute("update account_slots set slots = 1")
    house.fault("latency", path="/contacts/search", ms=700)
    async with house.workers():
        job = await run(owner, await new_workflow(owner, {"job": {"locationId": location}}, wait(600)))
        waiting = await owner.until(job["id"], "WAITING")
        assert waiting["message"].startswith("Waits for: Contact sync")
        # With one slot in all, the sync can run only since its parent gave its own back.
        asleep = await owner.until(job["id"], "SCHEDULED")
        assert asleep["failures"] == 0
        assert asleep["nextAttemptAt"] is not None
        other = await run(owner, await new_workflow(owner, REPORT))
        assert (await owner.until(other["id"]))["state"] == "SUCCEEDED"
        await owner.ask(CANCEL, id=job["id"])
        assert (await owner.job(job["id"]))["state"] == "CANCELLED"
    await admin.close()


async def test_a_step_joins_a_sync_that_runs_already(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    workflow = await new_workflow(owner, {"job": {"locationId": location}})
    house.fault("latency", path="/contacts/search", ms=700)
    async with house.workers():
        sync = await start_sync(owner, location)
        assert (await owner.until((await run(owner, workflow))["id"]))["state"] == "SUCCEEDED"
    (made,) = await runs_of(owner, workflow)
    assert made["steps"][0]["job"]["id"] == sync["id"]


async def test_a_change_touches_future_runs_only(house: House, owner: Client) -> None:
    workflow = await new_workflow(owner, wait(2), REPORT)
    async with house.workers():
        job = await run(owner, workflow)
        await owner.until(job["id"], "SCHEDULED")
        given = {"id": workflow["id"], "expectedVersion": workflow["version"], "steps": [wait(1)], "name": "Renamed"}
        changed = (await do(owner, UPDATE_WORKFLOW, **given))["workflow"]
        assert (changed["version"], changed["name"], len(changed["steps"])) == (2, "Renamed", 1)
        (stale,) = (await send(owner, UPDATE_WORKFLOW, **given))["userErrors"]
        assert stale["__typename"] == "StaleVersionError"
        # Deleting it does not stop what was asked for either.
        await do(owner, DELETE_WORKFLOW, id=workflow["id"], expectedVersion=2)
        assert (await owner.until(job["id"]))["state"] == "SUCCEEDED"
    (made,) = await runs_of(owner, workflow)
    assert (made["workflowVersion"], made["name"]) == (1, "Daily Lead Report")
    assert [step["state"] for step in made["steps"]] == ["DONE", "DONE"]
    (gone,) = (await send(owner, RUN_WORKFLOW, id=workflow["id"]))["userErrors"]
    assert gone["code"] == "WFL-002"
    assert (await owner.ask("{ workflows { totalCount } }"))["workflows"]["totalCount"] == 0


async def test_the_same_key_starts_one_run(shared_house: House) -> None:
    rachel = await new_owner(shared_house)
    workflow = await new_workflow(rachel.client)
    first, second = [await run(rachel.client, workflow, idempotencyKey="k") for _ in range(2)]
    assert first["id"] == second["id"]
    assert len(await runs_of(rachel.client, workflow)) == 1


async def test_the_same_key_makes_one_workflow(shared_house: House) -> None:
    rachel = await new_owner(shared_house)
    given = {"name": "Leads", "steps": [REPORT, wait(5)], "idempotencyKey": "k"}
    first, second = [(await do(rachel.client, CREATE_WORKFLOW, **given))["workflow"] for _ in range(2)]
    assert first["id"] == second["id"]
    assert (await rachel.ask("{ workflows { totalCount } }"))["workflows"]["totalCount"] == 1
    (reused,) = (await send(rachel.client, CREATE_WORKFLOW, **given | {"steps": [wait(6)]}))["userErrors"]
    assert reused["code"] == "API-008"


async def test_a_run_that_somebody_asked_for_stands_in_the_audit_log(shared_house: House) -> None:
    rachel = await new_owner(shared_house)
    workflow = await new_workflow(rachel.client)
    for _ in range(2):
        await run(rachel.client, workflow, idempotencyKey="k")
    log = await rachel.ask("query ($id: ID) { auditLog(subjectId: $id) { nodes { action } } }", id=workflow["id"])
    assert [entry["action"] for entry in log["auditLog"]["nodes"]] == ["workflow.run", "workflow.create"]


@pytest.mark.parametrize(
    ("seconds", "title"),
    [(1, "Wait 1 second"), (3_600, "Wait 1 hour"), (5_400, "Wait 1 hour 30 minutes"), (2_592_000, "Wait 30 days")],
)
async def test_a_wait_is_told_in_people_s_units(shared_house: House, seconds: int, title: str) -> None:
    rachel = await new_owner(shared_house)
    (step,) = (await new_workflow(rachel.client, wait(seconds)))["steps"]
    assert step["title"] == title


@pytest.mark.parametrize(
    ("steps", "code", "field"),
    [
        ([], "WFL-001", ["steps"]),
        ([REPORT] * 51, "WFL-001", ["steps"]),
        ([{"report": {"of": "JOBS", "days": 0}}], "WFL-001", ["steps", "0", "report", "days"]),
        ([REPORT, wait(0)], "WFL-001", ["steps", "1", "wait", "seconds"]),
        ([wait(2_592_001)], "WFL-001", ["steps", "0", "wait", "seconds"]),
        ([notify()], "WFL-001", ["steps", "0", "notify", "recipients"]),
        ([notify(*["a@b.example"] * 51)], "WFL-001", ["steps", "0", "notify", "recipients"]),
        ([notify("a@b.example", "nobody")], "API-002", ["steps", "0", "notify", "recipients", "1"]),
        ([notify("a@b.example", subject=" ")], "WFL-001", ["steps", "0", "notify", "subject"]),
        ([{"job": {"locationId": "job_0"}}], "API-002", ["steps", "0", "job", "locationId"]),
        (
            [{"job": {"locationId": "location_01jd7k3w5mfxg8rv2c4t6y9zqh"}}],
            "GHL-002",
            ["steps", "0", "job", "locationId"],
        ),
    ],
)
async def test_a_step_that_cannot_be_is_refused(
    shared_house: House, steps: list[dict[str, Any]], code: str, field: list[str]
) -> None:
    rachel = await new_owner(shared_house)
    payload = await send(rachel.client, CREATE_WORKFLOW, name="X", steps=steps)
    (error,) = payload["userErrors"]
    assert (error["code"], error["field"]) == (code, field)
    assert payload["workflow"] is None


async def test_who_may_only_look_changes_and_runs_nothing(shared_house: House) -> None:
    rachel = await new_owner(shared_house)
    viewer = await add_person(shared_house, rachel, "VIEWER")
    workflow = await new_workflow(rachel.client)
    assert (await viewer.ask("{ workflows { totalCount } }"))["workflows"]["totalCount"] == 1
    for document, given in (
        (CREATE_WORKFLOW, {"name": "X", "steps": [REPORT]}),
        (UPDATE_WORKFLOW, {"id": workflow["id"], "expectedVersion": 1, "name": "X"}),
        (RUN_WORKFLOW, {"id": workflow["id"]}),
        (DELETE_WORKFLOW, {"id": workflow["id"], "expectedVersion": 1}),
    ):
        (error,) = (await send(viewer.client, document, **given))["userErrors"]
        assert error["code"] == "API-004"


async def test_runs_of_another_account_are_not_seen(shared_house: House) -> None:
    rachel, stranger = await new_owner(shared_house), await new_owner(shared_house)
    workflow = await new_workflow(rachel.client)
    await run(rachel.client, workflow)
    assert await runs_of(stranger.client, workflow) == []
    assert await _is_hidden(stranger, workflow)


async def _is_hidden(person: Person, workflow: dict[str, Any]) -> bool:
    return (await person.ask("query ($id: ID!) { workflow(id: $id) { id } }", id=workflow["id"]))["workflow"] is None


async def test_a_run_goes_on_where_its_worker_died(house: House, owner: Client) -> None:
    """The step before it is not done again; the one that it was at is."""
    workflow = await new_workflow(owner, REPORT, wait(1), notify("team@agency.example"))
    async with house.workers():
        job = await run(owner, workflow)
        await owner.until(job["id"], "SCHEDULED")
    (before,) = await runs_of(owner, workflow)
    admin = await admin_of(house)
    # A worker that fell silent just after it had taken the job up again, before it wrote anything.
    lost = """update job set state = 'running', fence = fence + 1, worker = 'dead', attempt = attempt + 1,
        lease_until = now() - interval '1 hour' where kind = 'workflows.run'"""
    await admin.execute(lost)
    await admin.execute(
        "insert into job_attempt (account_id, job_id, number, fence, worker) "
        "select account_id, id, attempt, fence, worker from job where kind = 'workflows.run'"
    )

    async def taken_back() -> bool:
        await house.sweep()
        return bool(await admin.fetchval("update job set run_at = now() where state = 'backoff' returning true"))

    await eventually(taken_back, within=40)
    await admin.close()
    async with house.workers():
        ended = await owner.until(job["id"])
        assert len(await mailed(house, "team@agency.example")) == 1
    (after,) = await runs_of(owner, workflow)
    assert (ended["state"], ended["failures"]) == ("SUCCEEDED", 1)
    assert after["steps"][0] == before["steps"][0] | {"file": after["steps"][0]["file"]}
    assert after["steps"][0]["file"]["id"] == before["steps"][0]["file"]["id"]
