"""UX-36-007: the job history as a CSV file."""

import asyncio
import csv
import io
import time
from typing import Any

import pytest
import sqlalchemy as sa

from db.models.files import File
from db.models.jobs import Job, JobState
from db.models.tenancy import ActorType
from domain.jobs import export
from tests.factories.house import House
from tests.factories.notices import Secret
from tests.factories.people import Person, add_person, new_owner
from tests.factories.rows import add_location, gid, unit_of
from tests.journeys.dashboard import CallContacts, SyncEmail, add, add_many, jobs

S = JobState
COLUMNS = [
    "id",
    "kind",
    "title",
    "state",
    "status_group",
    "lane",
    "priority",
    "version",
    "sub_account_id",
    "sub_account",
    "created_at",
    "run_at",
    "started_at",
    "finished_at",
    "deadline_at",
    "paused_at",
    "archived_at",
    "expired_at",
    "duration_seconds",
    "execution_seconds",
    "attempts",
    "failures",
    "max_retries",
    "timeout_seconds",
    "waiting_for",
    "phase",
    "done",
    "total",
    "percent",
    "rate",
    "eta_at",
    "message",
    "result",
    "error_code",
    "error_message",
    "attention",
    "attention_at",
    "origin_type",
    "origin_id",
    "origin_name",
    "request_id",
]
EXPORT = """mutation ($input: ExportJobsInput!) { exportJobs(input: $input) {
  job { id } export { id job { id state } file { id } } userErrors { code message field } } }"""
RESULT = "query ($id: ID!) { job(id: $id) { state message result file { name mediaType size downloadUrl } } }"


async def ask(person: Person, **given: Any) -> str:
    """The id of the export's job."""
    payload = (await person.ask(EXPORT, input=given))["exportJobs"]
    assert payload["userErrors"] == []
    job_id: str = payload["job"]["id"]
    assert payload["export"]["job"]["id"] == job_id
    return job_id


async def download(house: House, person: Person, job_id: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The ended job, and the rows of its file."""
    await person.client.until(job_id)
    job = (await person.ask(RESULT, id=job_id))["job"]
    answer = await house.http.get(job["file"]["downloadUrl"])
    assert answer.status_code == 200
    return job, list(csv.DictReader(io.StringIO(answer.content.decode("utf-8"), newline="")))


@pytest.mark.story("36-007-B5")
async def test_the_file_has_all_that_is_known_of_the_jobs_of_the_list(house: House) -> None:
    owner = await new_owner(house)
    async with unit_of(house, owner.account_id) as unit:
        place = await add_location(unit, name="Größe & Söhne")
        hostile: dict[str, Any] = {
            "title": "=HYPERLINK(1)",
            "message": "@SUM(1)",
            "error_message": "-2+3",
            "origin_name": "\tTab",
            "location_id": place.id,
            "origin_type": ActorType.USER,
            "origin_id": owner.user_id,
        }
        (failed,) = await add(unit, CallContacts.kind, S.FAILED, error_code="GHL-012", **hostile, done=8, total=20)
        await add(unit, CallContacts.kind, S.SUCCEEDED, title='Has "quotes", commas\nand lines', result={"calls": 3})
        await add(unit, SyncEmail.kind)
    async with house.workers():
        job_id = await ask(owner, filter={"kinds": [CallContacts.kind]})
        job, rows = await download(house, owner, job_id)
    shown = [each["id"] for each in await jobs(owner, kinds=[CallContacts.kind])]
    assert [row["id"] for row in rows] == shown, "the same as the list's, in its order"
    row = next(row for row in rows if row["id"] == gid("job", failed))
    assert list(row) == COLUMNS
    assert (row["origin_type"], row["origin_id"]) == ("user", owner.gid)
    assert (row["title"], row["message"], row["error_message"]) == ("'=HYPERLINK(1)", "'@SUM(1)", "'-2+3")
    assert row["origin_name"] == "'\tTab"
    assert (row["sub_account"], row["sub_account_id"]) == ("Größe & Söhne", gid("location", place))
    assert (row["state"], row["status_group"], row["error_code"]) == ("failed", "failed", "GHL-012")
    assert (row["done"], row["total"], row["percent"], row["duration_seconds"]) == ("8", "20", "40.0", "90.0")
    assert row["created_at"].endswith("Z")
    other = next(row for row in rows if row["id"] != gid("job", failed))
    assert (other["title"], other["result"]) == ('Has "quotes", commas\nand lines', '{"calls":3}')
    assert job["result"]["jobs"] == 2
    assert job["file"]["mediaType"] == "text/csv; charset=utf-8"
    assert job["message"] == "2 jobs exported"
    subject = """query ($id: ID!) { job(id: $id) { subject { __typename id
      ... on JobExport { job { id } file { name } } } } }"""
    made = (await owner.ask(subject, id=job_id))["job"]["subject"]
    assert (made["__typename"], made["job"]["id"], made["file"]["name"]) == ("JobExport", job_id, job["file"]["name"])
    assert (await owner.ask("query ($id: ID!) { node(id: $id) { id } }", id=made["id"]))["node"] == {"id": made["id"]}


@pytest.mark.story("36-007-S5")
async def test_ten_thousand_jobs_are_exported_in_seconds(house: House) -> None:
    owner = await new_owner(house)
    async with unit_of(house, owner.account_id) as unit:
        await add_many(unit, 10_000)
    async with house.workers():
        began = time.monotonic()
        job, rows = await download(house, owner, await ask(owner))
        assert time.monotonic() - began < 30
    assert job["result"]["jobs"] == len(rows) == len({row["id"] for row in rows}) == 10_000


async def test_the_same_key_leads_to_the_same_export(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    given = {"filter": {"kinds": ["b", "a"]}, "idempotencyKey": "one"}
    first = await ask(owner, **given)
    assert await ask(owner, **given) == first
    assert await ask(owner, filter={"kinds": ["a", "b"]}, idempotencyKey="one") == first
    payload = (await owner.ask(EXPORT, input={"idempotencyKey": "one"}))["exportJobs"]
    assert [error["code"] for error in payload["userErrors"]] == ["API-008"]
    assert payload["export"] is None


@pytest.mark.story("36-007-E6")
async def test_an_export_has_what_its_asker_sees_and_is_not_for_who_sees_less(house: House) -> None:
    owner = await new_owner(house)
    member = await add_person(house, owner, "MEMBER")
    async with unit_of(house, owner.account_id) as unit:
        await add(unit, Secret.kind)
        await add(unit, SyncEmail.kind)
    async with house.workers():
        mine, theirs = await ask(owner), await ask(member)
        _, all_rows = await download(house, owner, mine)
        _, some_rows = await download(house, member, theirs)
    assert {Secret.kind, SyncEmail.kind} <= {row["kind"] for row in all_rows}
    assert Secret.kind not in {row["kind"] for row in some_rows}
    assert (await member.ask(RESULT, id=mine))["job"]["file"] is None
    assert (await owner.ask(RESULT, id=theirs))["job"]["file"] is not None


async def test_a_cancelled_export_leaves_no_file_and_can_be_retried(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await new_owner(house)
    async with unit_of(house, owner.account_id) as unit:
        await add_many(unit, 3_000)
    reading, go_on = asyncio.Event(), asyncio.Event()
    page = export.page

    async def held(*args: Any, **kwargs: Any) -> Any:
        reading.set()
        await go_on.wait()
        return await page(*args, **kwargs)

    monkeypatch.setattr(export, "page", held)
    async with house.workers():
        job_id = await ask(owner)
        await reading.wait()
        await owner.ask(f'mutation {{ cancelJob(input: {{id: "{job_id}"}}) {{ job {{ id }} }} }}')
        go_on.set()
        assert (await owner.client.until(job_id))["state"] == "CANCELLED"
        assert await files(house, owner) == 0
        await owner.ask(f'mutation {{ retryJob(input: {{id: "{job_id}"}}) {{ job {{ id }} }} }}')
        await owner.client.until(job_id, "SUCCEEDED")
        _, rows = await download(house, owner, job_id)
    assert len(rows) == 3_000
    assert await files(house, owner) == 1


async def files(house: House, owner: Person) -> int:
    """How many the account has."""
    async with unit_of(house, owner.account_id) as unit:
        count: int = (await unit.session.execute(sa.select(sa.func.count()).select_from(File))).scalar_one()
    return count


async def test_jobs_that_come_or_change_meanwhile_are_neither_doubled_nor_added(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await new_owner(house)
    async with unit_of(house, owner.account_id) as unit:
        await add_many(unit, 2_500, state=S.WAITING)
    page = export.page

    async def busy(unit: Any, the: Any, *, after: Any) -> Any:
        rows = await page(unit, the, after=after)
        async with unit_of(house, owner.account_id) as other:
            await add_many(other, 10)
            await other.session.execute(sa.update(Job).where(Job.kind == SyncEmail.kind).values(priority=Job.priority + 1))
        return rows

    monkeypatch.setattr(export, "page", busy)
    async with house.workers():
        _, rows = await download(house, owner, await ask(owner, filter={"states": ["WAITING"]}))
    assert len(rows) == len({row["id"] for row in rows}) == 2_500
