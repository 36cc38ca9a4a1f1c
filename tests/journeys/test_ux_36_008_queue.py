"""UX-36-008: somebody decides in which order jobs start, and what is not to start for now."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from db.models.jobs import Lane
from domain.errors import VendorBusy
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from tests.factories.engine import Scripted, eventually, play
from tests.factories.house import House
from tests.factories.people import Person, new_owner
from tests.factories.queue import (
    BOOST,
    CANCEL,
    DEPEND,
    PAUSE,
    PRIORITY,
    RESUME,
    RETRY,
    SLOTS,
    act,
    ask_for,
    audited,
    done,
    job_of,
    let_run,
    queue_of,
    titles,
)

WATCH = """subscription ($kind: String) { jobQueueChanged(kind: $kind) { kind queue {
  waiting { title queuePosition } waitingCount paused { title queuePosition } pausedCount isAllPaused } } }"""


@pytest.fixture
async def alex(house: House) -> Person:
    """Somebody who manages jobs."""
    return await new_owner(house)


async def five(house: House, person: Person) -> dict[str, str]:
    """Five jobs that wait: nobody is there yet to run them."""
    return {title: await ask_for(house, person, title) for title in "ABCDE"}


class Stage:
    """Jobs that tell when they begin, and end when the test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._may_end = asyncio.Event()

    def job(self, title: str) -> Scripted:
        """A job that begins under this title."""

        async def script(job: Running[Scripted], runtime: Runtime) -> Done:
            self.begun.append(title)
            await self._may_end.wait()
            return Done("Done")

        return play(script)

    def end_all(self) -> None:
        """Let all end that run or will run."""
        self._may_end.set()

    async def until(self, holds: Callable[[list[str]], bool]) -> None:
        """Wait until what has begun is as it should be."""

        async def look() -> bool:
            return holds(self.begun)

        await eventually(look)


@pytest.mark.story("36-008-B1", "36-008-S1")
async def test_a_boosted_job_goes_to_the_front_and_starts_next(house: House, alex: Person) -> None:
    stage = Stage()
    await let_run(alex, 1)
    jobs = {title: await ask_for(house, alex, title, stage.job(title)) for title in "ABCDE"}
    assert await titles(alex) == list("ABCDE")
    began = time.monotonic()
    boosted = (await done(alex, BOOST, id=jobs["E"]))["job"]
    assert await titles(alex) == list("EABCD")
    assert time.monotonic() - began < 2
    assert (boosted["isBoosted"], boosted["queuePosition"]) == (True, 1)
    stage.end_all()
    async with house.workers(Lane.INTERACTIVE):
        for job_id in jobs.values():
            await alex.client.until(job_id, "SUCCEEDED")
    assert stage.begun == list("EABCD")


@pytest.mark.story("36-008-S1")
async def test_a_level_puts_a_job_before_those_of_lower_levels(house: House, alex: Person) -> None:
    jobs = await five(house, alex)
    await done(alex, PRIORITY, id=jobs["D"], priority="HIGH")
    await done(alex, PRIORITY, id=jobs["A"], priority="LOW")
    assert await titles(alex) == list("DBCEA")
    await done(alex, PRIORITY, id=jobs["C"], priority="URGENT")
    await done(alex, PRIORITY, id=jobs["A"], priority="NORMAL")
    assert await titles(alex) == list("CDABE")
    assert (await job_of(alex, jobs["D"]))["priority"] == "HIGH"
    again = await done(alex, PRIORITY, id=jobs["D"], priority="HIGH")
    assert again["notice"] == "Its priority is high already."


@pytest.mark.story("36-008-S2")
async def test_whoever_watches_sees_the_new_order_at_once(house: House, alex: Person) -> None:
    jobs = await five(house, alex)
    async with asyncio.timeout(10), aclosing(alex.client.watch(WATCH)) as updates:
        snapshot = (await anext(updates))["jobQueueChanged"]
        assert (snapshot["kind"], order_of(snapshot)) == ("SNAPSHOT", ("ABCDE", ""))
        for document, title, expected in (
            (BOOST, "E", ("EABCD", "")),
            (PAUSE, "B", ("EACD", "B")),
            (RESUME, "B", ("EABCD", "")),
            (CANCEL, "A", ("EBCD", "")),
        ):
            began = time.monotonic()
            await done(alex, document, id=jobs[title])
            changed = (await anext(updates))["jobQueueChanged"]
            assert (changed["kind"], order_of(changed)) == ("CHANGED", expected)
            assert time.monotonic() - began < 2


def order_of(update: dict[str, Any]) -> tuple[str, str]:
    """The titles of what waits and what is paused, of which each knows its place."""
    now = update["queue"]
    assert [job["queuePosition"] for job in now["waiting"]] == list(range(1, now["waitingCount"] + 1))
    assert [job["queuePosition"] for job in now["paused"]] == [None] * now["pausedCount"]
    return tuple("".join(job["title"] for job in now[part]) for part in ("waiting", "paused"))  # type: ignore[return-value]


@pytest.mark.story("36-008-B2", "36-008-B3", "36-008-S4")
async def test_a_paused_job_leaves_the_queue_and_comes_back_to_its_place(house: House, alex: Person) -> None:
    jobs = await five(house, alex)
    paused = (await done(alex, PAUSE, id=jobs["B"]))["job"]
    assert (paused["state"], paused["queuePosition"]) == ("READY", None)
    assert paused["pausedAt"] is not None
    assert await titles(alex) == list("ACDE")
    assert await titles(alex, "paused") == ["B"]
    await done(alex, BOOST, id=jobs["E"])
    resumed = (await done(alex, RESUME, id=jobs["B"]))["job"]
    assert (resumed["pausedAt"], resumed["queuePosition"]) == (None, 3)
    assert await titles(alex) == list("EABCD")
    assert await titles(alex, "paused") == []
    assert (await done(alex, RESUME, id=jobs["B"]))["notice"] == "It is not paused."


@pytest.mark.story("36-008-S3", "36-008-S4")
async def test_a_running_job_that_is_paused_goes_on_from_where_it_was(house: House, alex: Person) -> None:
    going_on = asyncio.Event()
    pages: list[int] = []

    async def script(job: Running[Scripted], runtime: Runtime) -> Done:
        for page in range(job.checkpoint.get("page", 0), 4):
            pages.append(page)
            if page == 1:
                await going_on.wait()
            async with job.unit() as unit:
                await job.advance(unit, done=page + 1, total=4, checkpoint={"page": page + 1})
        return Done("All pages")

    job_id = await ask_for(house, alex, "Pages", play(script))
    async with house.workers(Lane.INTERACTIVE):

        async def begun() -> bool:
            return 1 in pages

        await eventually(begun)
        await done(alex, PAUSE, id=job_id)
        going_on.set()
        handed_back = await alex.client.until(job_id, "READY")
        assert handed_back["progress"]["done"] >= 2
        assert handed_back["attempts"][0]["outcome"] == "HANDED_BACK"
        await house.sweep()  # nothing takes it up
        assert (await job_of(alex, job_id))["state"] == "READY"
        assert await titles(alex, "paused") == ["Pages"]
        await done(alex, RESUME, id=job_id)
        ended = await alex.client.until(job_id)
    assert ended["state"] == "SUCCEEDED"
    assert (ended["failures"], ended["progress"]["done"]) == (0, 4)
    assert pages == [0, 1, 2, 3]


@pytest.mark.story("36-008-B4")
async def test_a_running_job_cannot_be_reordered_but_cancelled(house: House, alex: Person) -> None:
    stage = Stage()
    job_id = await ask_for(house, alex, "A", stage.job("A"))
    async with house.workers(Lane.INTERACTIVE):
        await alex.client.until(job_id, "RUNNING")
        for payload in (await act(alex, BOOST, id=job_id), await act(alex, PRIORITY, id=job_id, priority="LOW")):
            (error,) = payload["userErrors"]
            assert error["code"] == "BGJ-050"
            assert "cannot be reordered" in error["message"]
            assert payload["job"] is None
        assert (await done(alex, CANCEL, id=job_id))["job"]["state"] == "CANCELLING"
        stage.end_all()
        await alex.client.until(job_id)


@pytest.mark.story("36-008-S7")
async def test_a_higher_priority_overtakes_at_the_next_admission_and_nothing_is_killed(house: House, alex: Person) -> None:
    stage = Stage()
    await let_run(alex, 1)
    running = await ask_for(house, alex, "running", stage.job("running"))
    async with house.workers(Lane.INTERACTIVE):
        await alex.client.until(running, "RUNNING")
        waiting = await ask_for(house, alex, "waiting", stage.job("waiting"))
        urgent = await ask_for(house, alex, "urgent", stage.job("urgent"))
        await done(alex, PRIORITY, id=urgent, priority="URGENT")
        await house.sweep()
        assert (await job_of(alex, running))["state"] == "RUNNING"
        stage.end_all()
        for job_id in (urgent, waiting):
            await alex.client.until(job_id)
        ended = await alex.client.job(running)
    assert stage.begun == ["running", "urgent", "waiting"]
    assert (ended["state"], ended["attempt"]) == ("SUCCEEDED", 1)


@pytest.mark.story("36-008-E1")
async def test_to_boost_the_first_one_is_no_error_and_no_change(house: House, alex: Person) -> None:
    jobs = await five(house, alex)
    before = await job_of(alex, jobs["A"])
    payload = await done(alex, BOOST, id=jobs["A"])
    assert payload["notice"] == "It is the first in its queue already."
    assert payload["job"] == {name: before[name] for name in payload["job"]}
    assert await audited(alex, jobs["A"]) == []


@pytest.mark.story("36-008-E2")
async def test_a_pause_warns_of_what_it_holds_up(house: House, alex: Person) -> None:
    jobs = await five(house, alex)
    for child, parent in (("B", "A"), ("C", "B")):
        await done(alex, DEPEND, jobId=jobs[child], dependsOnId=jobs[parent])
    payload = await done(alex, PAUSE, id=jobs["A"])
    assert payload["warnings"] == ["2 jobs that wait for this one will not start while this one is paused: B, C."]
    assert [job["title"] for job in payload["affectedJobs"]] == ["B", "C"]
    assert payload["job"]["pausedAt"] is not None
    assert (await done(alex, PAUSE, id=jobs["E"]))["warnings"] == []


@pytest.mark.story("36-008-E3")
async def test_a_queue_of_paused_jobs_says_so(house: House, alex: Person) -> None:
    assert (await queue_of(alex))["isAllPaused"] is False
    jobs = await five(house, alex)
    for job_id in jobs.values():
        assert (await queue_of(alex))["isAllPaused"] is False
        await done(alex, PAUSE, id=job_id)
    queue = await queue_of(alex)
    assert queue["isAllPaused"] is True
    assert (queue["waiting"]["totalCount"], queue["paused"]["totalCount"]) == (0, 5)
    await done(alex, RESUME, id=jobs["C"])
    assert (await queue_of(alex))["isAllPaused"] is False


@pytest.mark.story("36-008-E4")
async def test_boosts_count_in_the_order_of_the_clicks(house: House, alex: Person) -> None:
    jobs = await five(house, alex)
    clicks = " ".join(f'{title}: boostJob(input: {{id: "{jobs[title]}"}}) {{ userErrors {{ code }} }}' for title in "ECD")
    await alex.ask(f"mutation {{ {clicks} }}")
    assert await titles(alex) == list("ECDAB")
    await done(alex, BOOST, id=jobs["B"])
    assert await titles(alex) == list("ECDBA")


@pytest.mark.story("36-008-E5")
async def test_no_priority_gets_past_the_limit(house: House, alex: Person) -> None:
    stage = Stage()
    await let_run(alex, 2)
    first = [await ask_for(house, alex, title, stage.job(title)) for title in "AB"]
    async with house.workers(Lane.INTERACTIVE):
        await stage.until(lambda begun: len(begun) == 2)
        rest = [await ask_for(house, alex, title, stage.job(title)) for title in "CDE"]
        await done(alex, BOOST, id=rest[2])
        await done(alex, PRIORITY, id=rest[1], priority="URGENT")
        for _ in range(3):
            await house.sweep()
        assert (await alex.ask(SLOTS))["accountSlots"]["inUse"] == 2
        assert sorted(stage.begun) == ["A", "B"]
        assert await titles(alex) == list("EDC")
        stage.end_all()
        for job_id in (*first, *rest):
            await alex.client.until(job_id)


async def test_another_account_sees_and_changes_nothing(house: House, alex: Person) -> None:
    jobs = await five(house, alex)
    stranger = await new_owner(house)
    assert (await queue_of(stranger))["waiting"]["totalCount"] == 0
    for document, more in ((BOOST, {}), (PAUSE, {}), (RESUME, {}), (PRIORITY, {"priority": "LOW"})):
        given: dict[str, Any] = {"id": jobs["A"], **more}
        assert (await act(stranger, document, **given))["userErrors"][0]["code"] == "API-003"
    assert await titles(alex) == list("ABCDE")


async def test_a_second_cancellation_says_that_nothing_had_to_be_done(house: House, alex: Person) -> None:
    job_id = await ask_for(house, alex, "A")
    assert (await done(alex, CANCEL, id=job_id))["notice"] is None
    again = await done(alex, CANCEL, id=job_id)
    assert (again["job"]["state"], again["notice"]) == ("CANCELLED", "It is cancelled already, or about to be.")


async def test_a_paused_job_that_is_cancelled_or_retried_is_not_paused_any_more(house: House, alex: Person) -> None:
    job_id = await ask_for(house, alex, "A")
    await done(alex, PAUSE, id=job_id)
    assert (await done(alex, CANCEL, id=job_id))["job"]["pausedAt"] is None
    retried = (await done(alex, RETRY, id=job_id))["job"]
    assert (retried["state"], retried["pausedAt"], retried["queuePosition"]) == ("READY", None, 1)


async def test_to_retry_a_paused_job_that_waits_for_its_next_attempt_lets_it_run(house: House, alex: Person) -> None:
    async def script(job: Running[Scripted], runtime: Runtime) -> Done:
        if job.attempt == 1:
            raise VendorBusy("Not now.", retry_after=60)
        return Done("Done")

    job_id = await ask_for(house, alex, "A", play(script))
    async with house.workers(Lane.INTERACTIVE):
        await alex.client.until(job_id, "BACKOFF")
        await done(alex, PAUSE, id=job_id)
        await done(alex, RETRY, id=job_id)
        assert (await alex.client.until(job_id))["state"] == "SUCCEEDED"
