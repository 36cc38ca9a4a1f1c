"""Queueing webhooks costs one look where nobody wants any, and the same number of statements for any number of moves."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from db.models.jobs import JobMove, JobState
from db.models.webhooks import WebhookEndpoint
from domain.webhooks import events, sending
from tests.factories.engine import Engine
from tests.factories.statements import statements


async def moves_of(engine: Engine, account_id: UUID, *states: JobState) -> list[JobMove]:
    """Moves of as many jobs, without the jobs having made them."""
    found = []
    for state in states:
        job = await engine.enqueue(account_id)
        found.append(
            JobMove(account_id=account_id, job_id=job.id, version=2, state=state, attempt=1, failures=0, at=datetime.now(UTC))
        )
    return found


async def tell(engine: Engine, moves: list[JobMove]) -> list[str]:
    """Let the reaction run; its statements."""
    async with engine.database.system_across_accounts() as session:
        with statements() as seen:
            assert await events.tell_endpoints(session, moves) == []
    return seen


async def add_endpoints(engine: Engine, account_id: UUID, count: int, *event_types: str) -> None:
    async with engine.database.account(account_id) as session:
        for _ in range(count):
            endpoint = WebhookEndpoint(account_id=account_id, url="https://x.example", description="", secret=b"")
            endpoint.event_types = list(event_types)
            session.add(endpoint)


async def test_without_an_endpoint_it_is_one_look_and_nothing_for_what_is_not_told(engine: Engine) -> None:
    account_id = await engine.account()
    assert len(await tell(engine, await moves_of(engine, account_id, JobState.SUCCEEDED, JobState.FAILED))) == 1
    assert await tell(engine, await moves_of(engine, account_id, JobState.SKIPPED)) == []


async def test_the_statements_do_not_grow_with_moves_accounts_and_endpoints(engine: Engine) -> None:
    first, second = await engine.account(), await engine.account()
    await add_endpoints(engine, first, 1, "job.completed")
    few = await tell(engine, await moves_of(engine, first, JobState.SUCCEEDED))
    await add_endpoints(engine, first, 4, "job.completed")
    await add_endpoints(engine, second, 5, "job.completed", "job.failed")
    moves = await moves_of(engine, first, *[JobState.SUCCEEDED] * 10)
    moves += await moves_of(engine, second, *[JobState.FAILED] * 10)
    assert len(await tell(engine, moves)) == len(few) == 2
    (row,) = await engine.sql("select count(*) as n from webhook_delivery")
    assert row["n"] == 1 + 10 * 5 + 10 * 5
    wrong = await engine.sql("""select 1 from webhook_delivery join webhook_endpoint as e on e.id = endpoint_id
        where e.account_id <> webhook_delivery.account_id or not event_type = any(event_types)""")
    assert wrong == []


async def test_a_payload_tells_of_the_move_even_where_the_job_went_on(engine: Engine) -> None:
    account_id = await engine.account()
    await add_endpoints(engine, account_id, 1, "job.retrying")
    (move,) = await moves_of(engine, account_id, JobState.BACKOFF)
    await engine.sql("update job set state = 'succeeded', version = 9, error_code = null where id = $1", move.job_id)
    await tell(engine, [move])
    (row,) = await engine.sql("select body::jsonb ->> 'type' as type, body::jsonb -> 'data' as data from webhook_delivery")
    assert row["type"] == "job.retrying"
    assert '"state": "BACKOFF"' in row["data"]
    assert '"version": 2' in row["data"]
    assert '"nextAttemptAt": null' in row["data"]


@pytest.mark.parametrize(
    ("failures", "wanted"), [(1, 5), (2, 30), (3, 120), (4, 600), (5, 3_600), (6, 21_600), (7, 86_400), (8, None)]
)
def test_retries_come_at_growing_distances_and_then_no_more(failures: int, wanted: float | None) -> None:
    delays = {sending.delay_after(failures) for _ in range(50)}
    if wanted is None:
        assert delays == {None}
    else:
        assert all(delay is not None and 0.9 * wanted <= delay <= 1.1 * wanted for delay in delays)
        assert len(delays) > 1  # not all endpoints at the same moment


def test_an_endpoint_may_ask_for_more_time_but_not_for_ever() -> None:
    assert sending.delay_after(1, retry_after=100) == 100
    assert sending.delay_after(1, retry_after=timedelta(days=30).total_seconds()) == 86_400
