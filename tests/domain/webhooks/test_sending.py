"""What is queued is sent fairly, and every attempt ends: whatever its endpoint does, and whoever disables it meanwhile."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from db.models.jobs import JobState
from domain import actor as actors
from domain.webhooks import endpoints, events, sending
from domain.webhooks.sending import Answer, Claimed, Sender
from tests.domain.webhooks.test_events import add_endpoints, moves_of
from tests.factories.engine import Engine

SECRET = "whsec_eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4"
GONE = Answer(410, 0.1, error="Answered 410")


async def queue(engine: Engine, account_id: UUID, count: int, *, since: timedelta) -> None:
    """As many deliveries for each endpoint of the account, due for so long."""
    await engine.sql(
        """insert into webhook_delivery (id, account_id, endpoint_id, event_type, body, next_at, state, attempts, failures)
        select gen_random_uuid(), account_id, id, 'job.completed', '{}', now() - $2::interval, 'pending', 0, 0
        from webhook_endpoint, generate_series(1, $3) where account_id = $1""",
        account_id,
        since,
        count,
    )


async def claim(engine: Engine, limit: int = 50) -> list[Claimed]:
    async with engine.database.system_across_accounts() as session:
        return await sending.claim(session, limit=limit)


async def record(engine: Engine, claimed: Claimed, answer: Answer) -> None:
    async with engine.runtime.unit(actors.system(claimed.account_id)) as unit:
        await sending.record(unit, claimed, answer)


async def test_a_backlog_of_one_endpoint_does_not_keep_another_waiting(engine: Engine) -> None:
    stuck, other = await engine.account(), await engine.account()
    for account_id in (stuck, other):
        await add_endpoints(engine, account_id, 1, "job.completed")
    await queue(engine, stuck, 1_500, since=timedelta(hours=1))
    await queue(engine, other, 7, since=timedelta(seconds=1))
    first = [each.account_id for each in await claim(engine)]
    assert (first.count(stuck), first.count(other)) == (5, 5)
    assert await claim(engine) == []  # all that each of them may have under way
    await engine.sql("update webhook_delivery set state = 'delivered', lease_until = null where lease_until is not null")
    second = [each.account_id for each in await claim(engine)]
    assert (second.count(stuck), second.count(other)) == (5, 2)


async def test_where_not_all_can_be_taken_each_endpoint_has_its_turn(engine: Engine) -> None:
    account_id = await engine.account()
    await add_endpoints(engine, account_id, 4, "job.completed")
    await queue(engine, account_id, 3, since=timedelta(minutes=1))
    assert len({each.endpoint_id for each in await claim(engine, limit=4)}) == 4
    assert len({each.endpoint_id for each in await claim(engine, limit=4)}) == 4


async def test_what_was_queued_while_its_endpoint_was_disabled_ends(engine: Engine) -> None:
    account_id = await engine.account()
    await add_endpoints(engine, account_id, 1, "job.completed")
    moves = await moves_of(engine, account_id, JobState.SUCCEEDED)
    async with engine.database.system_across_accounts() as session:
        await events.tell_endpoints(session, moves)
    await engine.sql("update webhook_endpoint set disabled_at = now(), disabled_reason = 'x'")
    (claimed,) = await claim(engine)
    await engine.runtime.webhooks.send(engine.runtime, claimed)
    (row,) = await engine.sql("select state, ended_at, lease_until from webhook_delivery")
    assert (row["state"], row["lease_until"]) == ("failed", None)
    assert row["ended_at"] is not None


async def test_answers_that_end_an_endpoint_at_once_do_not_block_each_other(engine: Engine) -> None:
    for _ in range(4):
        account_id = await engine.account()
        await add_endpoints(engine, account_id, 1, "job.completed")
        await queue(engine, account_id, 5, since=timedelta(minutes=1))
        await asyncio.gather(*(record(engine, each, GONE) for each in await claim(engine)))
    states = await engine.sql("select distinct state, lease_until from webhook_delivery")
    assert [tuple(row) for row in states] == [("failed", None)]


async def test_redelivering_waits_for_who_changes_the_endpoint_and_holds_up_nobody(engine: Engine) -> None:
    account_id = await engine.account()
    await add_endpoints(engine, account_id, 1, "job.completed")
    await queue(engine, account_id, 1, since=timedelta(minutes=1))
    (row,) = await engine.sql("select id, endpoint_id from webhook_delivery")
    system = actors.system(account_id)

    async def redeliver() -> None:
        async with engine.runtime.unit(system) as unit:
            await endpoints.redeliver(unit, delivery_id=row["id"])

    async with engine.runtime.unit(system) as unit:
        endpoint = await endpoints.locked(unit, row["endpoint_id"])
        waiting = asyncio.create_task(redeliver())
        waits = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query ilike '%for update%'"
        async with asyncio.timeout(5):
            while not await engine.sql(waits):  # noqa: ASYNC110 -- a lock has no event
                await asyncio.sleep(0.01)
        await endpoints.give_up(unit, endpoint, "It is gone.")  # takes the delivery, which the other one must not hold yet
    with pytest.raises(endpoints.EndpointDisabled):
        await waiting


async def test_an_endpoint_that_was_deleted_meanwhile_takes_no_record(engine: Engine) -> None:
    account_id = await engine.account()
    await add_endpoints(engine, account_id, 1, "job.completed")
    await queue(engine, account_id, 1, since=timedelta(minutes=1))
    (claimed,) = await claim(engine)
    await engine.sql("delete from webhook_endpoint")
    await record(engine, claimed, GONE)
    assert await engine.sql("select 1 from webhook_attempt") == []


async def test_giving_up_tells_the_host_and_not_what_may_be_secret(engine: Engine) -> None:
    account_id = await engine.account()
    await add_endpoints(engine, account_id, 1, "job.completed")
    await engine.sql("update webhook_endpoint set url = 'https://hooks.example/t0ken?key=t0ken'")
    await engine.sql(
        """insert into "user" (id, account_id, email, name, role, password_hash, version)
        values ($1, $2, 'p@x.example', 'P', 'owner', 'x', 1)""",
        uuid4(),
        account_id,
    )
    await queue(engine, account_id, 1, since=timedelta(minutes=1))
    (claimed,) = await claim(engine)
    await record(engine, claimed, GONE)
    (notice,) = await engine.sql("select body from notice")
    (audit,) = await engine.sql("select row_to_json(a)::text as line from audit_log as a where action = 'webhook.give_up'")
    for text in (notice["body"], audit["line"]):
        assert "hooks.example" in text
        assert "t0ken" not in text


@pytest.mark.parametrize("url", ["http://localhost:99999/", "http://127.0.0.1:99999/", "https://xn--a/", "http://[::1"])
async def test_whatever_goes_wrong_is_an_answer(engine: Engine, url: str) -> None:
    """Also for endpoints that were kept before their URL would have been refused."""
    sender = Sender(engine.runtime.vault, allow_loopback=True)
    try:
        answer = await sender._post(url, Claimed(uuid4(), uuid4(), uuid4(), 1, "{}"), [SECRET])
    finally:
        await sender.close()
    assert answer.status is None
    assert answer.error
