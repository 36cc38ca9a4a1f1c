"""UX-36-007: one overview of all jobs, which keeps itself up to date.

client-side: 36-007-E3 that the list is shown as stale while there is no network; where it goes on afterwards is tested here
"""

import asyncio
import time
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest
import sqlalchemy as sa

from db.models.jobs import Job, JobState, LogLevel
from domain.jobs import commands
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from tests.factories.engine import Scripted, play
from tests.factories.house import House
from tests.factories.notices import Secret
from tests.factories.people import Person, add_person, new_owner
from tests.factories.rows import gid, unit_of
from tests.factories.statements import statements
from tests.journeys.dashboard import JOBS, NUMBERS, CallContacts, Sweep, SyncEmail, add, add_many, jobs, summary

S = JobState
DETAILS = """query ($id: ID!) { job(id: $id) { id title state statusGroup statusText message priority result
  progress { phase done total percent rate etaAt } durationSeconds executionSeconds
  attempts { number outcome startedAt endedAt }
  recentLog { level code message subject at } file { name } startedAt finishedAt } }"""
WATCH_NUMBERS = f"""subscription {{ jobSummaryChanged {{ kind summary {{ {NUMBERS} allPaused }} }} }}"""
WATCH_LIST = """subscription ($filter: JobFilterInput, $after: String) { jobsChanged(filter: $filter, afterCursor: $after) {
  kind cursor goneIds jobs { id state statusGroup version progress { done total percent } } } }"""
WATCH_ONE = "subscription ($id: ID!, $after: Int) { jobUpdated(id: $id, afterVersion: $after) { kind job { id } } }"


async def started(house: House, person: Person, script: Any) -> Job:
    """A job that was asked for and may start."""
    async with unit_of(house, person.account_id) as unit:
        return (await commands.enqueue(unit, play(script))).job


async def take(updates: Any) -> dict[str, Any]:
    """The next answer of a subscription, without its field's name."""
    (answer,) = (await anext(updates)).values()
    update: dict[str, Any] = answer
    return update


@pytest.mark.story("36-007-S1", "36-007-S7", "36-007-E1")
async def test_it_opens_at_once_with_more_than_ten_thousand_jobs_of_a_day(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        for state, count in ((S.SUCCEEDED, 10_000), (S.RUNNING, 3), (S.READY, 5), (S.FAILED, 100)):
            await add_many(unit, count, state=state)
    began = time.monotonic()
    document = f"{{ jobSummary {{ {NUMBERS} }} jobs(first: 50) {{ totalCount nodes {{ id title state }} }} }}"
    data = await owner.ask(document)
    assert time.monotonic() - began < 2
    counts = data["jobSummary"]
    assert (counts["active"], counts["queued"], counts["completed24h"], counts["failed24h"]) == (3, 5, 10_000, 100)
    assert data["jobs"]["totalCount"] == 10_108
    assert len(data["jobs"]["nodes"]) == 50

    met: list[str] = []
    after = None
    while True:
        page = (await owner.ask(JOBS, filter={"states": ["FAILED"]}, first=30, after=after))["jobs"]
        met += [node["id"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert len(met) == len(set(met)) == 100


@pytest.mark.story("36-007-S1", "36-007-B4")
async def test_the_numbers_are_those_of_the_rows(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    paused = {"paused_at": sa.func.now()}
    async with unit_of(shared_house, owner.account_id) as unit:
        for state in JobState:
            await add(unit, SyncEmail.kind, state, 2)
        await add(unit, CallContacts.kind, S.READY, 4, **paused)
        await add(unit, CallContacts.kind, S.RUNNING, 1, **paused)
        await add(unit, CallContacts.kind, S.SUCCEEDED, 1, finished_at=sa.func.now() - sa.text("interval '25 hours'"))
        await add(unit, CallContacts.kind, S.FAILED, 1, archived_at=sa.func.now())
        await add(unit, Sweep.kind, S.READY, 7)
    expected = {"active": 7, "queued": 2, "blocked": 2, "scheduled": 2, "retrying": 2, "waiting": 2, "paused": 4}
    expected |= {"completed24h": 4, "failed24h": 2, "cancelled24h": 4}
    found = await summary(owner)
    assert {name: found[name] for name in expected} == expected
    assert [(each["kind"], each["paused"], each["active"]) for each in found["perKind"]] == [
        (SyncEmail.kind, 0, 6),
        (CallContacts.kind, 4, 1),
    ]
    for name, group in (
        ("active", "ACTIVE"),
        ("queued", "QUEUED"),
        ("blocked", "BLOCKED"),
        ("paused", "PAUSED"),
        ("completed24h", "COMPLETED"),
    ):
        page = (await owner.ask(JOBS, filter={"statusGroups": [group], "finishedSince": None}))["jobs"]
        assert page["totalCount"] == expected[name] + (group == "COMPLETED"), group
        assert {node["statusGroup"] for node in page["nodes"]} == {group}
    assert (await summary(owner, kinds=[CallContacts.kind]))["paused"] == 4
    queue = (await owner.ask("{ jobQueue { waiting(first: 1) { totalCount } } }"))["jobQueue"]
    assert queue["waiting"]["totalCount"] == found["queued"]
    assert not found["allPaused"]


async def test_it_says_so_when_only_paused_jobs_are_left(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    assert not (await summary(owner))["allPaused"], "an empty queue is not a paused one"
    async with unit_of(shared_house, owner.account_id) as unit:
        await add(unit, count=2, paused_at=sa.func.now())
        await add(unit, state=S.SUCCEEDED)
    assert (await summary(owner))["allPaused"]


@pytest.mark.story("36-007-S2", "36-007-B1", "36-007-B3", "36-007-E2")
async def test_lists_and_numbers_change_in_place_while_a_job_runs(house: House) -> None:
    owner = await new_owner(house)
    halfway, go_on = asyncio.Event(), asyncio.Event()

    async def script(job: Running[Scripted], runtime: Runtime) -> Done:
        async with job.unit() as unit:
            await job.advance(unit, phase="drafts", done=12, total=50, message="12 of 50 drafts")
        halfway.set()
        await go_on.wait()
        async with job.unit() as unit:
            await job.advance(unit, done=50, total=50)
        return Done("50 drafts written", {"drafts": 50})

    async with (
        aclosing(owner.client.watch(WATCH_NUMBERS)) as numbers,
        aclosing(owner.client.watch(WATCH_LIST, filter={})) as lists,
    ):
        first = await take(numbers)
        assert (first["kind"], first["summary"]["active"], first["summary"]["completed24h"]) == ("SNAPSHOT", 0, 0)
        assert (await take(lists))["jobs"] == []
        async with house.workers():
            job = await started(house, owner, script)
            await halfway.wait()
            began = time.monotonic()
            seen = await until_seen(lists, gid("job", job), "RUNNING", done=12)
            assert seen["progress"] == {"done": 12, "total": 50, "percent": 24.0}
            while (update := await take(numbers))["summary"]["active"] != 1:
                assert update["kind"] == "CHANGED"
            assert time.monotonic() - began < 3
            go_on.set()
            began = time.monotonic()
            seen = await until_seen(lists, gid("job", job), "SUCCEEDED", done=50)
            assert seen["progress"]["percent"] == 100
            while (update := await take(numbers))["summary"]["completed24h"] != 1:
                pass
            assert update["summary"]["active"] == 0
            assert time.monotonic() - began < 3


async def until_seen(lists: Any, job_id: str, state: str, *, done: int) -> dict[str, Any]:
    """The job as the list's subscription tells of it once it is so."""
    version = 0
    while True:
        for job in (await take(lists))["jobs"]:
            if job["id"] == job_id:
                assert job["version"] >= version, "a row never goes back"
                version = job["version"]
                if job["state"] == state and job["progress"]["done"] == done:
                    found: dict[str, Any] = job
                    return found


@pytest.mark.story("36-007-E2", "36-007-B1")
async def test_a_job_that_no_longer_fits_is_taken_off_the_list(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        job = (await commands.enqueue(unit, CallContacts())).job
    async with aclosing(owner.client.watch(WATCH_LIST, filter={"statusGroups": ["QUEUED"]})) as updates:
        assert [each["id"] for each in (await take(updates))["jobs"]] == [gid("job", job)]
        await owner.ask(f'mutation {{ cancelJob(input: {{id: "{gid("job", job)}"}}) {{ job {{ id }} }} }}')
        update = await take(updates)
    assert (update["jobs"], update["goneIds"]) == ([], [gid("job", job)])


@pytest.mark.story("36-007-S4", "36-007-B4")
async def test_a_job_opens_with_all_that_there_is_in_one_fast_request(house: House) -> None:
    owner = await new_owner(house)
    halfway, go_on = asyncio.Event(), asyncio.Event()

    async def script(job: Running[Scripted], runtime: Runtime) -> Done:
        for done in (10, 20):
            async with job.unit() as unit:
                for number in range(done):
                    job.log(unit, level=LogLevel.WARNING, code="GHL-023", message=f"Skipped {number}")
                await job.advance(unit, phase="calls", done=done, total=40, message=f"{done} of 40 calls")
        halfway.set()
        await go_on.wait()
        return Done("40 calls made", {"calls": 40})

    async with house.workers():
        job = await started(house, owner, script)
        await halfway.wait()
        began = time.monotonic()
        opened = (await owner.ask(DETAILS, id=gid("job", job)))["job"]
        assert time.monotonic() - began < 0.5
        assert (opened["statusGroup"], opened["message"], opened["finishedAt"]) == ("ACTIVE", "20 of 40 calls", None)
        assert opened["progress"]["percent"] == 50
        assert opened["progress"]["etaAt"] is not None
        assert opened["durationSeconds"] > 0 < opened["executionSeconds"]
        assert [line["message"] for line in opened["recentLog"]] == [f"Skipped {number}" for number in range(19, 9, -1)]
        go_on.set()
        await owner.client.until(gid("job", job))
    done = (await owner.ask(DETAILS, id=gid("job", job)))["job"]
    assert (done["statusGroup"], done["result"], done["file"]) == ("COMPLETED", {"calls": 40}, None)
    assert 0 < done["executionSeconds"] < done["durationSeconds"] + 1
    assert [attempt["outcome"] for attempt in done["attempts"]] == ["SUCCEEDED"]


@pytest.mark.story("36-007-B4")
async def test_ended_jobs_are_listed_by_their_end(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        (late,) = await add(unit, state=S.FAILED, title="late", error_code="GHL-012", error_message="It said no")
        (early,) = await add(unit, state=S.SUCCEEDED, title="early", finished_at=sa.func.now() - sa.text("interval '1 hour'"))
        await add(unit, state=S.RUNNING)
    assert [node["title"] for node in await jobs(owner, order="FINISHED")] == ["late", "early"]
    ended = [(await owner.ask(DETAILS, id=gid("job", job)))["job"] for job in (late, early)]
    assert [job["statusGroup"] for job in ended] == ["FAILED", "COMPLETED"]


@pytest.mark.story("36-007-E3")
async def test_after_a_lost_network_the_client_goes_on_where_it_was(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        stays, changes = [(await commands.enqueue(unit, CallContacts())).job for _ in range(2)]
    async with aclosing(owner.client.watch(WATCH_LIST, filter={})) as updates:
        before = await take(updates)
    assert len(before["jobs"]) == 2
    await owner.ask(f'mutation {{ cancelJob(input: {{id: "{gid("job", changes)}"}}) {{ job {{ id }} }} }}')
    async with unit_of(shared_house, owner.account_id) as unit:
        new = (await commands.enqueue(unit, CallContacts())).job
    met: dict[str, str] = {}
    async with aclosing(owner.client.watch(WATCH_LIST, filter={}, after=before["cursor"])) as updates:
        while len(met) < 2:
            update = await take(updates)
            assert update["kind"] == "CHANGED", "nothing is told again that the client has"
            met |= {job["id"]: job["state"] for job in update["jobs"]}
    assert met == {gid("job", changes): "CANCELLED", gid("job", new): "READY"}
    assert gid("job", stays) not in met


@pytest.mark.story("36-007-E4")
async def test_a_job_that_is_deleted_while_it_is_watched_is_said_to_be(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        job = (await commands.enqueue(unit, CallContacts())).job
    async with aclosing(owner.client.watch(WATCH_ONE, id=gid("job", job))) as updates:
        assert (await take(updates))["kind"] == "SNAPSHOT"
        async with unit_of(shared_house, owner.account_id) as unit:
            await unit.session.execute(sa.delete(Job).where(Job.id == job.id))
            unit.changed("job", job.id)
        last = await take(updates)
        assert (last["kind"], last["job"]) == ("DELETED", None)
        assert [update async for update in updates] == [], "nothing comes after it"
    async with aclosing(owner.client.watch(WATCH_ONE, id=gid("job", job), after=1)) as updates:
        assert (await take(updates))["kind"] == "DELETED"
    assert (await owner.ask(DETAILS, id=gid("job", job)))["job"] is None


@pytest.mark.story("36-007-E6")
async def test_kinds_that_somebody_may_not_see_are_hidden_everywhere(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    member = await add_person(shared_house, owner, "MEMBER")
    async with unit_of(shared_house, owner.account_id) as unit:
        secret = (await commands.enqueue(unit, Secret())).job
        open_job = (await commands.enqueue(unit, CallContacts())).job
    everything = "query ($id: ID!) { job(id: $id) { id } node(id: $id) { id } jobKinds { kind } }"
    for person, kinds, hidden in ((owner, {Secret.kind, CallContacts.kind}, 0), (member, {CallContacts.kind}, 1)):
        sees = person is owner
        assert {job["kind"] for job in await jobs(person)} == kinds
        assert len(await jobs(person, kinds=[Secret.kind])) == int(sees)
        numbers = await summary(person)
        assert ({each["kind"] for each in numbers["perKind"]}, numbers["queued"]) == (kinds, len(kinds))
        assert numbers["hiddenKinds"] == hidden
        found = await person.ask(everything, id=gid("job", secret))
        assert (found["job"] is not None, found["node"] is not None) == (sees, sees)
        assert (Secret.kind in {each["kind"] for each in found["jobKinds"]}) == sees
    async with aclosing(member.client.watch(WATCH_LIST, filter={})) as updates:
        assert [job["id"] for job in (await take(updates))["jobs"]] == [gid("job", open_job)]
        for job in (secret, open_job):
            await owner.ask(f'mutation {{ cancelJob(input: {{id: "{gid("job", job)}"}}) {{ job {{ id }} }} }}')
        update = await take(updates)
        assert [job["id"] for job in update["jobs"]] == [gid("job", open_job)]
        assert update["goneIds"] == []


async def test_a_kind_of_a_newer_release_is_seen_by_its_raw_name(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        await add(unit, "images.dream")
        await add(unit, Sweep.kind)
    assert [job["kind"] for job in await jobs(owner)] == ["images.dream"]
    assert {job["kind"] for job in await jobs(owner, includeHousekeeping=True)} == {"images.dream", Sweep.kind}
    listed = (await owner.ask("{ jobKinds { kind title lane count } }"))["jobKinds"]
    assert {"kind": "images.dream", "title": "images.dream", "lane": None, "count": 1} in listed
    assert Sweep.kind not in {each["kind"] for each in listed}
    assert (await summary(owner))["perKind"][0]["title"] == "images.dream"


async def test_the_numbers_are_told_at_most_about_once_a_second(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with aclosing(owner.client.watch(WATCH_NUMBERS)) as numbers:
        assert (await take(numbers))["summary"]["queued"] == 0
        began = time.monotonic()
        told: list[int] = []
        for _ in range(30):
            async with unit_of(shared_house, owner.account_id) as unit:
                await commands.enqueue(unit, CallContacts())
        while not told or told[-1] != 30:
            told.append((await take(numbers))["summary"]["queued"])
        seconds = time.monotonic() - began
    assert len(told) <= 2 + seconds, told


async def test_many_dashboards_share_one_read(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with AsyncExitStack() as stack:
        watchers = [await stack.enter_async_context(aclosing(owner.client.watch(WATCH_NUMBERS))) for _ in range(20)]
        for watcher in watchers:
            await take(watcher)
        with statements() as executed:
            async with unit_of(shared_house, owner.account_id) as unit:
                await commands.enqueue(unit, CallContacts())
            for watcher in watchers:
                while (await take(watcher))["summary"]["queued"] != 1:
                    pass
    assert 1 <= len([text for text in executed if "GROUP BY job.kind" in text and "finished_at" in text]) <= 2
