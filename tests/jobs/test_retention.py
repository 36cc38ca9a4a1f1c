"""Old history goes by a job of each account, and what is alive stays however old it is."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from db.base import new_id
from db.models.jobs import Job, JobState
from db.models.notifications import Channel, Delivery, DeliveryState, Notice, Notification, NotificationEvent
from db.models.schedules import FireResult, MissedPolicy, OverlapPolicy, Schedule, ScheduleFire
from db.models.webhooks import WebhookDelivery, WebhookDeliveryState, WebhookEndpoint
from db.models.workflows import Workflow
from domain import actor as actors
from domain.jobs import commands, retention, sweeps
from domain.jobs.args import kinds
from domain.jobs.retention import Retain, Rule
from domain.unit import Unit
from jobs import handlers, housekeeping, runner
from tests.factories.engine import Engine

OLD = "now() - interval '91 days'"
STALE = "now() - interval '31 days'"


@pytest.fixture(autouse=True)
def _handlers() -> None:
    handlers.load()


async def ended(engine: Engine, account_id: UUID, *, ago: str, state: str = "succeeded") -> Job:
    """A job that ended a while ago, with everything that a job may leave behind."""
    job = await engine.enqueue(account_id)
    times = f"created_at = {ago}, finished_at = {ago}" if state not in {"waiting", "running"} else f"created_at = {ago}"
    held = ", checkpoint = '{\"page\": 3}', fence = 1"
    await engine.sql(f"update job set state = '{state}', {times} {held} where id = $1", job.id)  # noqa: S608 -- constants
    owner = (job.account_id, job.id)
    attempt = "insert into job_attempt (account_id, job_id, number, fence, worker) values ($1, $2, 1, 1, 'x')"
    item = """insert into job_item (account_id, job_id, key, number, title, state, result)
        values ($1, $2, 'a', 1, 'A', 'done', '{"id": 7}')"""
    note = """insert into job_note (account_id, job_id, id, author_type, author_name, body, internal)
        values ($1, $2, gen_random_uuid(), 'user', 'Tom', 'Look', false)"""
    line = """insert into job_log (account_id, job_id, id, level, code, message)
        values ($1, $2, gen_random_uuid(), 'info', 'X', 'x')"""
    for statement in (attempt, item, note, line):
        await engine.sql(statement, *owner)
    return job


async def run_retention(engine: Engine, account_id: UUID) -> Job:
    """Today's retention of an account, from the clock to its end."""
    await engine.capacity(lane=Retain.lane)
    await engine.sql("update account_slots set retention_at = now() where account_id = $1", account_id)
    await housekeeping.ask_for_retention(engine.runtime)
    asked = "select id from job where account_id = $1 and kind = $2 and state = 'admitted'"
    (row,) = await engine.sql(asked, account_id, Retain.kind)
    claimed = await engine.claim(await engine.job(row["id"]))
    assert claimed is not None
    await runner.run(engine.runtime, claimed, draining=asyncio.Event())
    return await engine.job(claimed.id)


async def left(engine: Engine, job: Job) -> set[str]:
    """Which tables still know the job."""
    tables = ("job_attempt", "job_item", "job_note", "job_log", "job_event")
    found = {table for table in tables if await engine.sql(f"select 1 from {table} where job_id = $1", job.id)}  # noqa: S608
    return found | ({"job"} if await engine.sql("select 1 from job where id = $1", job.id) else set())


@pytest.mark.parametrize("state", ["succeeded", "partial", "failed", "cancelled", "skipped"])
async def test_what_ended_long_ago_goes_with_all_that_belongs_to_it(engine: Engine, state: str) -> None:
    account_id = await engine.account()
    old = await ended(engine, account_id, ago=OLD, state=state)
    archived = await ended(engine, account_id, ago=OLD, state=state)
    await engine.sql("update job set archived_at = now() where id = $1", archived.id)
    young = await ended(engine, account_id, ago="now() - interval '89 days'", state=state)
    done = await run_retention(engine, account_id)
    assert (done.state, done.result) == (JobState.SUCCEEDED, {"jobs": 2, "payloads": 1} | rest(done))
    assert await left(engine, old) == await left(engine, archived) == set()
    assert "job" in await left(engine, young)


def rest(done: Job) -> dict[str, int]:
    """What rules about other things than jobs found: nothing."""
    return {name: 0 for name in done.result or {} if name not in {"jobs", "payloads"}}


@pytest.mark.parametrize("state", ["waiting", "running", "backoff", "scheduled", "ready", "blocked"])
async def test_what_has_not_ended_is_never_touched(engine: Engine, state: str) -> None:
    account_id = await engine.account()
    job = await ended(engine, account_id, ago=OLD, state=state)
    await engine.sql("update job set finished_at = null, run_at = now() + interval '1 day' where id = $1", job.id)
    await engine.sql("update job set lane = 'calls' where id = $1", job.id)  # nothing admits it meanwhile
    before = await engine.job(job.id)
    await run_retention(engine, account_id)
    after = await engine.job(job.id)
    assert (after.state, after.checkpoint, after.expired_at, after.version) == (state, {"page": 3}, None, before.version)
    assert await left(engine, job) == {"job", "job_attempt", "job_item", "job_note", "job_log", "job_event"}


async def test_after_a_month_the_payload_goes_and_what_happened_stays(engine: Engine) -> None:
    account_id = await engine.account()
    stale = await ended(engine, account_id, ago=STALE, state="failed")
    young = await ended(engine, account_id, ago="now() - interval '29 days'", state="failed")
    await run_retention(engine, account_id)
    emptied, whole = await engine.job(stale.id), await engine.job(young.id)
    assert (emptied.args, emptied.args_digest, emptied.checkpoint) == ({}, None, None)
    assert emptied.expired_at is not None
    (item,) = await engine.sql("select state, result from job_item where job_id = $1", stale.id)
    assert (item["state"], item["result"]) == ("done", None)
    assert await left(engine, stale) == {"job", "job_attempt", "job_item", "job_note", "job_log", "job_event"}
    assert (whole.expired_at, whole.checkpoint) == (None, {"page": 3})
    again = await run_retention(engine, account_id)
    assert again.result == dict.fromkeys(again.result or {}, 0)


async def test_another_account_s_history_and_what_must_be_proved_stay(engine: Engine) -> None:
    account_id, other = await engine.account(), await engine.account()
    theirs = await ended(engine, other, ago=OLD)
    audit = """insert into audit_log (account_id, id, at, actor_type, actor_name, action, subject_type, details, request_id)
        values ($1, gen_random_uuid(), now() - interval '3 years', 'user', 'Tom', 'x', 'job', '{}', '-')"""
    await engine.sql(audit, account_id)
    await run_retention(engine, account_id)
    assert "job" in await left(engine, theirs)
    assert len(await engine.sql("select 1 from audit_log where account_id = $1", account_id)) == 1


async def test_histories_go_after_their_own_times_and_what_is_unread_or_on_its_way_stays(engine: Engine) -> None:
    account_id = await engine.account()
    async with engine.database.account(account_id) as session:
        endpoint = WebhookEndpoint(account_id=account_id, url="https://x", description="", event_types=[], secret=b"")
        workflow = Workflow(account_id=account_id, name="W", steps=[])
        session.add_all([endpoint, workflow])
        await session.flush()
        schedule = Schedule(account_id=account_id, workflow_id=workflow.id, name="S", recurrence={}, zone="UTC", recipients=[])
        schedule.missed_policy, schedule.overlap_policy = MissedPolicy.SKIP, OverlapPolicy.SKIP
        session.add(schedule)
        await session.flush()
        for name, days, read in (("read long ago", 91, True), ("unread", 91, False), ("read lately", 89, True)):
            session.add_all(told(account_id, name, days=days, read=read))
        for days, mail, hook in ((31, "delivered", "failed"), (31, "queued", "pending"), (29, "failed", "delivered")):
            at = datetime.now(UTC) - timedelta(days=days)
            message = Delivery(account_id=account_id, channel=Channel.EMAIL, state=DeliveryState(mail), key=str(new_id()))
            sent = WebhookDelivery(account_id=account_id, endpoint_id=endpoint.id, event_type="x", body="")
            sent.state, sent.created_at, message.created_at = WebhookDeliveryState(hook), at, at
            session.add_all([message, sent])
        for days, result in ((91, "succeeded"), (92, "started"), (89, "missed")):
            at = datetime.now(UTC) - timedelta(days=days)
            session.add(ScheduleFire(account_id=account_id, schedule_id=schedule.id, nominal_at=at, result=FireResult(result)))
    done = await run_retention(engine, account_id)
    assert done.state is JobState.SUCCEEDED, done.error_message
    went = {"notifications": 1, "notices": 1, "deliveries": 1, "webhook_deliveries": 1, "schedule_fires": 1}
    assert done.result == {"jobs": 0, "payloads": 0} | went
    assert {row["title"] for row in await engine.sql("select title from notice")} == {"unread", "read lately"}
    assert {row["state"] for row in await engine.sql("select state from delivery")} == {"queued", "failed"}
    assert {row["state"] for row in await engine.sql("select state from webhook_delivery")} == {"pending", "delivered"}
    assert {row["result"] for row in await engine.sql("select result from schedule_fire")} == {"started", "missed"}


def told(account_id: UUID, title: str, *, days: int, read: bool) -> tuple[Notice, Notification]:
    """A notice and the notification that tells of it."""
    at = datetime.now(UTC) - timedelta(days=days)
    event = NotificationEvent.JOB_COMPLETED
    notice = Notice(id=new_id(), account_id=account_id, event=event, title=title, body="", path="/", at=at)
    notification = Notification(
        account_id=account_id, event=event, channels=["in_app"], in_app=True, critical=False, muted=False
    )
    notification.gathers_until, notification.created_at, notification.count = at, at, 1
    notification.notices, notification.read_at = [notice.id], at if read else None
    return notice, notification


async def test_it_goes_in_batches_and_a_later_attempt_goes_on(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_JOBS_AT_ONCE", 2)
    account_id = await engine.account()
    jobs = [await ended(engine, account_id, ago=OLD) for _ in range(5)]
    job = await engine.enqueue(account_id, Retain())
    await engine.capacity(lane=Retain.lane)
    draining = asyncio.Event()
    draining.set()
    (admitted,) = await engine.admit(account_id, lane=Retain.lane)
    claimed = await engine.claim(admitted)
    assert claimed is not None
    await runner.run(engine.runtime, claimed, draining=draining)
    handed_back = await engine.job(job.id)
    assert handed_back.state is JobState.READY
    assert handed_back.checkpoint is not None
    assert handed_back.checkpoint["gone"]["jobs"] == 2
    assert len([each for each in jobs if await left(engine, each)]) == 3
    (admitted,) = await engine.admit(account_id, lane=Retain.lane)
    claimed = await engine.claim(admitted)
    assert claimed is not None
    await runner.run(engine.runtime, claimed, draining=asyncio.Event())
    result = (await engine.job(job.id)).result or {}
    assert (result.pop("jobs"), sum(result.values())) == (5, 0)


async def test_every_account_gets_one_job_a_day_however_many_clocks_ask(engine: Engine) -> None:
    accounts = [await engine.account() for _ in range(8)]
    await housekeeping.ask_for_retention(engine.runtime)
    planned = [row["retention_at"] for row in await engine.sql("select retention_at from account_slots")]
    assert len(set(planned)) == len(accounts)  # spread over the day
    assert await engine.sql("select 1 from job") == []
    await engine.sql("update account_slots set retention_at = now() - interval '1 second'")
    await asyncio.gather(*(housekeeping.ask_for_retention(engine.runtime) for _ in range(3)))
    rows = await engine.sql("select account_id, dedupe_key from job where kind = $1", Retain.kind)
    assert sorted(row["account_id"] for row in rows) == sorted(accounts)
    (soonest,) = await engine.sql("select min(retention_at) - now() as later from account_slots")
    assert soonest["later"] > timedelta(hours=23)


async def test_a_day_s_job_that_is_still_at_work_is_not_asked_for_again(engine: Engine) -> None:
    account_id = await engine.account()
    await engine.sql("update account_slots set retention_at = now()")
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        assert await retention.enqueue(unit) is not None
    await engine.sql("update account_slots set retention_at = now() - interval '3 days'")
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        assert await retention.enqueue(unit) is None
    assert len(await engine.sql("select 1 from job where kind = $1", Retain.kind)) == 1
    (slots,) = await engine.sql("select retention_at >= now() - interval '1 minute' as caught_up from account_slots")
    assert slots["caught_up"]


async def test_every_reference_to_a_job_is_found_by_an_index(engine: Engine) -> None:
    """Without one each deleted job would cost a walk through a whole table."""
    missing = await engine.sql("""
        SELECT conrelid::regclass::text AS of, conname FROM pg_constraint WHERE contype = 'f' AND confrelid = 'job'::regclass
        AND NOT EXISTS (
            SELECT FROM pg_index, pg_attribute AS referring WHERE indrelid = conrelid AND indpred IS NULL
            AND attrelid = conrelid AND attname NOT IN ('account_id') AND attnum = ANY(conkey)
            AND attnum = ANY((indkey::int2[])[0:1]))""")
    assert [row["conname"] for row in missing] == []


async def test_the_product_s_own_job_is_not_shown_among_the_customer_s(engine: Engine) -> None:
    assert kinds()[Retain.kind].housekeeping


async def test_what_belongs_to_no_history_is_pruned_however_much_it_is(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "_PRUNED_AT_ONCE", 2)
    await engine.enqueue(await engine.account())
    insert = (
        "insert into webhook_event (external_id, vendor, type, received_at) values ($1, 'x', 'x', now() - interval '3 days')"
    )
    for number in range(5):
        await engine.sql(insert, str(number))
    await housekeeping.prune(engine.runtime)
    assert await engine.sql("select 1 from webhook_event") == []


async def test_a_rule_that_fails_holds_up_no_other_and_is_tried_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    repaired: list[bool] = []

    async def broken(unit: Unit, kept: timedelta) -> int:
        await unit.session.execute(sa.text("select 1" if repaired else "select 1/0"))
        return 0

    monkeypatch.setattr(retention, "RULES", (Rule("broken", "keep_jobs_days", broken), *retention.RULES))
    account_id = await engine.account()
    old = await ended(engine, account_id, ago=OLD)
    failed = await run_retention(engine, account_id)
    assert (failed.state, failed.failures) == (JobState.BACKOFF, 1)
    assert failed.checkpoint is not None
    assert (failed.checkpoint["rule"], failed.checkpoint["gone"]["jobs"]) == ("broken", 1)
    assert await left(engine, old) == set()
    repaired.append(True)
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        await commands.retry(unit, job_id=failed.id)
        unit.lanes_to_admit.clear()
    await engine.admit(account_id, lane=Retain.lane)
    claimed = await engine.claim(await engine.job(failed.id))
    assert claimed is not None
    await runner.run(engine.runtime, claimed, draining=asyncio.Event())
    assert (await engine.job(failed.id)).state is JobState.SUCCEEDED


async def test_old_notices_go_in_a_time_that_does_not_grow_with_what_is_still_told(engine: Engine) -> None:
    account_id, unread, read = await engine.account(), 20_000, 6_000
    await engine.sql(
        """with made as (select gen_random_uuid() as id, n > $2 as untold from generate_series(1, $2 + $3::int) as n),
        noted as (insert into notice (id, account_id, event, title, body, path, at)
            select id, $1, 'job_completed', 't', 'b', '/', now() - interval '91 days' from made)
        insert into notification
            (id, account_id, event, channels, in_app, critical, muted, gathers_until, count, notices, created_at)
        select gen_random_uuid(), $1, 'job_completed', '{in_app}', true, false, false, now(), 1, array[id],
            now() - interval '91 days' from made where not untold""",
        account_id,
        unread,
        read,
    )
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        gone = [await retention.delete_notices(unit, timedelta(days=90)) for _ in range(3)]
    assert loop.time() - began < 40  # comparing each with each takes minutes
    assert gone == [5_000, 1_000, 0]
    assert (await engine.sql("select count(*) from notice"))[0]["count"] == unread
