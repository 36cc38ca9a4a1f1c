"""The items of a job: each is done once, and they always add up."""

import asyncio
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.models.jobs import JobState
from db.models.recovery import ItemState
from domain import actor as actors
from domain.jobs import commands, items
from domain.jobs.items import Item, Tally
from domain.jobs.options import NothingFailed
from domain.jobs.running import Done, LeaseLost, Running
from domain.paging import Window
from domain.runtime import Runtime
from tests.factories.engine import Engine, Scripted, play


async def work_off(job: Running[Scripted], wanted: list[str], failing: set[str], done: list[str]) -> Done:
    """A handler as every kind with items has it: add, do what is pending, tell what failed."""
    async with job.unit() as unit:
        await items.add(unit, job_id=job.id, items=[Item(key, f"Item {key}") for key in wanted])
    async with job.unit() as unit:
        todo = await items.pending(unit, job_id=job.id, limit=100)
    for item in todo:
        async with job.unit() as unit:
            if item.key in failing:
                await items.fail(unit, job_id=job.id, key=item.key, code="API-013", message="No")
            else:
                done.append(item.key)
                await items.finish(unit, job_id=job.id, key=item.key, result={"made": item.key})
            await job.advance(unit, done=len(done), total=len(wanted))
    async with job.unit() as unit:
        left = await items.tally(unit, job_id=job.id)
    return Done(f"{left.done} of {left.total}", partial=left.failed > 0)


async def tally_of(engine: Engine, account_id: UUID, job_id: UUID) -> Tally:
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        return await items.tally(unit, job_id=job_id)


async def retry(engine: Engine, account_id: UUID, job_id: UUID, *, only_failed: bool = False) -> None:
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        await commands.retry(unit, job_id=job_id, only_failed=only_failed)
        unit.lanes_to_admit.clear()


async def test_a_retry_does_only_what_failed(engine: Engine) -> None:
    done: list[str] = []
    failing = {"b", "c"}

    async def script(job: Running[Scripted], runtime: Runtime) -> Done:
        return await work_off(job, ["a", "b", "c", "d"], failing, done)

    job = await engine.attempt(await engine.enqueue(await engine.account(), play(script)))
    assert (job.state, done) == (JobState.PARTIAL, ["a", "d"])
    failing.remove("b")
    await retry(engine, job.account_id, job.id, only_failed=True)
    assert await tally_of(engine, job.account_id, job.id) == Tally(done=2, failed=0, pending=2)
    assert (await engine.attempt(job)).state is JobState.PARTIAL
    assert done == ["a", "d", "b"]
    failing.clear()
    await retry(engine, job.account_id, job.id)
    assert (await engine.attempt(job)).state is JobState.SUCCEEDED
    assert done == ["a", "d", "b", "c"]
    async with engine.runtime.unit(actors.system(job.account_id)) as unit:
        page = await items.items_page(unit, job_id=job.id, states=(), window=Window(first=2))
        assert [(item.number, item.key, item.state, item.code) for item in page.rows] == [
            (1, "a", ItemState.DONE, None),
            (2, "b", ItemState.DONE, None),
        ]
        rest = await items.items_page(unit, job_id=job.id, states=(), window=Window(first=2, after=[2, "b"]))
        assert [item.number for item in rest.rows] == [3, 4]


async def test_only_failed_needs_some_that_failed(engine: Engine) -> None:
    async def script(job: Running[Scripted], runtime: Runtime) -> Done:
        return Done("A part", partial=True)

    job = await engine.attempt(await engine.enqueue(await engine.account(), play(script)))
    with pytest.raises(NothingFailed):
        await retry(engine, job.account_id, job.id, only_failed=True)


async def test_what_a_worker_without_its_lease_did_is_not_kept(engine: Engine) -> None:
    job = await engine.held(await engine.start(await engine.enqueue(await engine.account())))
    async with job.unit() as unit:
        await items.add(unit, job_id=job.id, items=[Item("a", "A")])
    await engine.sql("update job set fence = fence + 1 where id = $1", job.id)
    with pytest.raises(LeaseLost):
        async with job.unit() as unit:
            await items.finish(unit, job_id=job.id, key="a")
    assert await tally_of(engine, job.account_id, job.id) == Tally(pending=1)


async def test_many_items_are_added_at_once(engine: Engine) -> None:
    job = await engine.held(await engine.start(await engine.enqueue(await engine.account())))
    many = [Item(str(number), f"Number {number}") for number in range(20_000)]
    for _ in range(2):
        async with job.unit() as unit:
            await items.add(unit, job_id=job.id, items=many)
    async with job.unit() as unit:
        first = await items.pending(unit, job_id=job.id, limit=3)
    assert [(item.number, item.key) for item in first] == [(1, "0"), (2, "1"), (3, "2")]
    assert await tally_of(engine, job.account_id, job.id) == Tally(pending=20_000)


async def test_whatever_is_done_in_whatever_order_they_add_up(engine: Engine) -> None:
    """Invariant 6."""
    loop = asyncio.get_running_loop()
    steps = st.tuples(st.sampled_from(["add", "finish", "fail", "reopen"]), st.sampled_from("abcd"))

    @settings(max_examples=25, deadline=None)
    @given(st.lists(steps, max_size=12))
    def check(wanted: list[tuple[str, str]]) -> None:
        asyncio.run_coroutine_threadsafe(adds_up(engine, wanted), loop).result(30)

    await asyncio.to_thread(check)


async def adds_up(engine: Engine, wanted: list[tuple[str, str]]) -> None:
    believed: dict[str, ItemState] = {}
    job = await engine.enqueue(await engine.account())
    async with engine.runtime.unit(actors.system(job.account_id)) as unit:
        for step, key in wanted:
            is_open = believed.get(key, ItemState.DONE) is not ItemState.DONE
            if step == "add":
                await items.add(unit, job_id=job.id, items=[Item(key, key)])
                believed.setdefault(key, ItemState.PENDING)
            elif step == "finish":
                assert await items.finish(unit, job_id=job.id, key=key) is is_open
                believed |= {key: ItemState.DONE} if is_open else {}
            elif step == "fail":
                assert await items.fail(unit, job_id=job.id, key=key, code="C", message="M") is is_open
                believed |= {key: ItemState.FAILED} if is_open else {}
            else:
                failed = [key for key, state in believed.items() if state is ItemState.FAILED]
                assert await items.reopen(unit, job_id=job.id) == len(failed)
                believed |= dict.fromkeys(failed, ItemState.PENDING)
        tally = await items.tally(unit, job_id=job.id)
    counts = {state: list(believed.values()).count(state) for state in ItemState}
    assert (tally.done, tally.failed, tally.pending) == tuple(
        counts[state] for state in (ItemState.DONE, ItemState.FAILED, ItemState.PENDING)
    )
    assert tally.total == len(believed)
