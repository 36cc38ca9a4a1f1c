"""Keyset pages over a real table: each row that stays is met exactly once, whichever way one leafs through."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.models.jobs import Job
from domain import actor as actors
from domain.errors import Invalid
from domain.jobs import queries
from domain.jobs.queries import JobFilter, JobOrder
from domain.paging import MAX_PAGE, Page, Window, count
from domain.unit import Unit
from tests.factories.engine import Engine

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
# Few moments for many rows: the id decides among those of one moment. Microseconds must survive the cursor.
moments = st.lists(st.integers(0, 3), min_size=1, max_size=25)
PROPERTY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def fill(engine: Engine, ticks: list[int]) -> UUID:
    """An account with a job for each tick."""
    account_id = await engine.account()
    await engine.sql(
        "insert into job (id, account_id, kind, lane, title, args, state, priority, fence, attempt, failures, max_retries,"
        " timeout_seconds, version, done, origin_type, origin_name, request_id, created_at, finished_at)"
        " select gen_random_uuid(), $1, 'test', 'bulk', 'A job', '{}', 'ready', 0, 0, 0, 0, 5, 60, 1,"
        " 0, 'system', 'x', '-', at, at"
        " from unnest($2::timestamptz[]) at",
        account_id,
        [NOON + timedelta(microseconds=tick) for tick in ticks],
    )
    return account_id


async def page_of(engine: Engine, account_id: UUID, order: JobOrder, window: Window) -> Page[Job]:
    async with engine.database.account(account_id) as session:
        unit = Unit(session, actors.system(account_id))
        return await queries.jobs_page(unit, wanted=JobFilter(), order=order, window=window)


def cursor(page: Page[Job], row: Job) -> list[Any]:
    """As a client sends it back: through JSON."""
    return list(orjson.loads(orjson.dumps(page.order.key(row), default=str)))


async def leaf(engine: Engine, account_id: UUID, order: JobOrder, size: int, *, forward: bool) -> AsyncIterator[Page[Job]]:
    window = Window(first=size) if forward else Window(last=size)
    for _ in range(100):
        page = await page_of(engine, account_id, order, window)
        yield page
        if not (page.has_next if forward else page.has_previous):
            return
        edge = cursor(page, page.rows[-1 if forward else 0])
        window = Window(first=size, after=edge) if forward else Window(last=size, before=edge)
    pytest.fail("the pages do not end")


@PROPERTY
@given(moments, st.integers(1, 7), st.sampled_from(JobOrder), st.booleans())
async def test_each_row_is_met_once_in_order(
    engine: Engine, ticks: list[int], size: int, order: JobOrder, forward: bool
) -> None:
    account_id = await fill(engine, ticks)
    met: list[Job] = []
    pages = 0
    async for page in leaf(engine, account_id, order, size, forward=forward):
        assert len(page.rows) <= size
        assert (page.has_previous if forward else page.has_next) == (pages > 0)
        met = [*met, *page.rows] if forward else [*page.rows, *met]
        pages += 1
    sign = 1 if order is JobOrder.OLDEST else -1
    assert [job.id for job in met] == [job.id for job in sorted(met, key=lambda job: (job.created_at, job.id.int))][::sign]
    assert len({job.id for job in met}) == len(met) == len(ticks)
    assert pages == -(-len(ticks) // size)


@PROPERTY
@given(moments, st.integers(1, 5), st.booleans(), st.lists(st.integers(0, 3), max_size=3), st.integers(0, 24))
async def test_a_row_that_moves_meanwhile_leaves_the_others_where_they_are(
    engine: Engine, ticks: list[int], size: int, forward: bool, jumps: list[int], number: int
) -> None:
    account_id = await fill(engine, ticks)
    ids = [row["id"] for row in await engine.sql("select id from job where account_id = $1 order by id", account_id)]
    restless = ids[number % len(ids)]
    met: list[UUID] = []
    async for page in leaf(engine, account_id, JobOrder.NEWEST, size, forward=forward):
        met += [job.id for job in page.rows]
        if jumps:
            moment = NOON + timedelta(microseconds=jumps.pop())
            await engine.sql("update job set created_at = $2 where id = $1", restless, moment)
    others = [job_id for job_id in met if job_id != restless]
    assert sorted(others) == [job_id for job_id in ids if job_id != restless]


async def test_a_cursor_outlives_its_row(engine: Engine) -> None:
    account_id = await fill(engine, [0, 0, 1, 1, 2])
    page = await page_of(engine, account_id, JobOrder.OLDEST, Window(first=2))
    await engine.sql("delete from job where id = $1", page.rows[1].id)
    rest = await page_of(engine, account_id, JobOrder.OLDEST, Window(first=9, after=cursor(page, page.rows[1])))
    assert len(rest.rows) == 3


async def test_the_count_is_of_the_whole_list(engine: Engine) -> None:
    account_id = await fill(engine, [0, 1, 2])
    await fill(engine, [0])
    page = await page_of(engine, account_id, JobOrder.NEWEST, Window(first=1))
    async with engine.database.account(account_id) as session:
        assert await count(session, page) == 3


async def test_an_empty_list_is_an_empty_page(engine: Engine) -> None:
    page = await page_of(engine, await engine.account(), JobOrder.NEWEST, Window())
    assert (page.rows, page.has_next, page.has_previous) == ([], False, False)


@pytest.mark.parametrize("size", [0, -1, MAX_PAGE + 1])
def test_sizes_have_bounds(size: int) -> None:
    with pytest.raises(Invalid, match="between 1 and 100"):
        Window(first=size)
    with pytest.raises(Invalid, match="between 1 and 100"):
        Window(last=size)


def test_forwards_and_backwards_at_once_is_refused() -> None:
    with pytest.raises(Invalid, match="not for both"):
        Window(first=1, last=1)


@given(st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none()), max_size=3))
def test_a_made_up_cursor_is_refused(values: list[Any]) -> None:
    with pytest.raises(Invalid, match="another list"):
        queries.NEWEST.parse(values, field="after")
