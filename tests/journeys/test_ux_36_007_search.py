"""UX-36-007: jobs are found by kind, status, time, sub-account, person and words."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from db.models.jobs import Attention, JobState, LogLevel
from db.models.tenancy import ActorType
from domain.jobs import commands
from tests.factories.house import House
from tests.factories.people import Person, new_owner
from tests.factories.rows import add_location, gid, unit_of
from tests.journeys.dashboard import JOBS, CallContacts, SyncEmail, add, add_many, jobs, summary

S = JobState


async def titles(owner: Person, **filters: Any) -> list[str]:
    """Of the jobs that fit, sorted."""
    return sorted(job["title"] for job in await jobs(owner, **filters))


@pytest.mark.story("36-007-B2", "36-007-S3")
async def test_filters_apply_at_once_among_thousands(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        await add_many(unit, 5_000)
        for state in (S.SCHEDULED, S.RUNNING, S.SUCCEEDED):
            await add(unit, CallContacts.kind, state, 100)
    for filters, count in (
        ({"kinds": [CallContacts.kind]}, 300),
        ({"kinds": [CallContacts.kind], "statusGroups": ["COMPLETED"]}, 100),
        ({"kinds": [SyncEmail.kind], "states": ["FAILED"]}, 0),
        ({"statusGroups": ["SCHEDULED", "ACTIVE"]}, 200),
        ({"text": "voice"}, 300),
        ({"text": "4999"}, 1),
    ):
        began = time.monotonic()
        page = (await owner.ask(JOBS, filter=filters))["jobs"]
        assert time.monotonic() - began < 0.5, filters
        assert page["totalCount"] == count, filters


@pytest.mark.story("36-007-B2")
async def test_each_filter_leaves_just_what_fits(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    hour = timedelta(hours=1)
    async with unit_of(shared_house, owner.account_id) as unit:
        place = await add_location(unit)
        await add(unit, CallContacts.kind, S.RUNNING, title="a", location_id=place.id, origin_id=owner.user_id)
        await add(unit, state=S.FAILED, title="b", error_code="GHL-012", origin_type=ActorType.API_KEY, priority=15)
        await add(unit, state=S.READY, title="c", priority=-11, paused_at=sa.func.now(), attention=Attention.RESOLVED)
        await add(unit, state=S.SUCCEEDED, title="d", archived_at=sa.func.now())
        when = datetime(2026, 3, 1, 12, tzinfo=UTC)
        await add(unit, state=S.SUCCEEDED, title="e")
        old = (await add(unit, state=S.SUCCEEDED, title="f", finished_at=when))[0]
        await unit.session.execute(
            sa.update(type(old)).where(type(old).id == old.id).values(created_at=when - hour, origin_type=ActorType.SYSTEM)
        )
    for filters, fitting in (
        ({}, "abcef"),
        ({"locationId": gid("location", place)}, "a"),
        ({"originId": owner.gid}, "a"),
        ({"originTypes": ["API_KEY", "SYSTEM"]}, "bf"),
        ({"errorCodes": ["GHL-012", "x"]}, "b"),
        ({"priorities": ["LOW", "HIGH"]}, "bc"),
        ({"priorities": ["NORMAL"]}, "aef"),
        ({"priorities": ["URGENT"]}, ""),
        ({"paused": True}, "c"),
        ({"paused": False}, "abef"),
        ({"statusGroups": ["PAUSED", "FAILED"]}, "bc"),
        ({"attention": ["RESOLVED"]}, "c"),
        ({"archived": True}, "d"),
        ({"since": "2026-03-01T11:00:00Z", "until": "2026-03-01T11:00:01Z"}, "f"),
        ({"finishedSince": "2026-03-01T12:00:00Z", "finishedUntil": "2026-03-01T12:00:01Z"}, "f"),
        ({"finishedUntil": "2026-03-01T12:00:00Z"}, ""),
        ({"kinds": [CallContacts.kind], "statusGroups": ["ACTIVE"], "paused": False}, "a"),
    ):
        assert await titles(owner, **filters) == list(fitting), filters


@pytest.mark.story("36-007-S6")
async def test_search_finds_jobs_by_id_kind_and_content(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        call = (await commands.enqueue(unit, CallContacts(), title="Call Boston Dental")).job
        await add(unit, title="100% of Größe", message="12 of 50 drafts")
        await add(unit, state=S.FAILED, title="c", error_code="GHL-012", error_message="Mailbox is full")
        (logged,) = await add(unit, title="d")
        commands.add_log(
            unit, job_id=logged.id, level=LogLevel.INFO, code="GHL-022", message="Unseen words", subject="ocQHyuzHvysMo5N5VsXc"
        )
    whole = gid("job", call)
    for text, found in (
        (whole, ["Call Boston Dental"]),
        (whole.upper().replace("JOB_", "job_"), ["Call Boston Dental"]),
        (whole.removeprefix("job_"), ["Call Boston Dental"]),
        (whole[:16], ["Call Boston Dental"]),
        ("job_" + "0" * 26, []),
        ("test.voice", ["Call Boston Dental"]),
        ("VOICE calls", ["Call Boston Dental"]),
        ("boston", ["Call Boston Dental"]),
        ("dental BOSTON", ["Call Boston Dental"]),
        ("boston email", []),
        ("100%", ["100% of Größe"]),
        ("größe", ["100% of Größe"]),
        ("50 drafts", ["100% of Größe"]),
        ("mailbox FULL", ["c"]),
        ("ghl-012", ["c"]),
        ("ocQHyuzHvysMo5N5VsXc", ["d"]),
        ("ocQHyuzHvysMo5N5VsXd", []),
        ("unseen", []),
        ("_", []),
        ("\\\\", []),
        ("   ", ["100% of Größe", "Call Boston Dental", "c", "d"]),
    ):
        assert await titles(owner, text=text) == found, text


@pytest.mark.story("36-007-E5")
async def test_a_filter_that_fits_nothing_gives_an_empty_list(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    page = (await owner.ask(JOBS, filter={"text": "nowhere", "statusGroups": ["FAILED"]}))["jobs"]
    assert page == {"totalCount": 0, "pageInfo": {"hasNextPage": False, "endCursor": None}, "nodes": []}
    numbers = await summary(owner, text="nowhere")
    assert (numbers["active"], numbers["perKind"], numbers["allPaused"]) == (0, [], False)
