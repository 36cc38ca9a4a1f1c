"""What is forgotten when: each account's old rows go in a job of its own, once a day, in batches.

Only what has ended is touched: a job that waits or runs stays however old it is, and so do the logs of access and of changes.
Retention makes no events; only whoever watches a job that goes is told.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from db.base import any_of
from db.models.jobs import TERMINAL, Job, Lane
from db.models.notifications import Delivery, DeliveryState, Notice, Notification
from db.models.queues import AccountSlots
from db.models.recovery import JobItem, JobTarget
from db.models.schedules import FireResult, ScheduleFire
from db.models.webhooks import WebhookDelivery, WebhookDeliveryState
from domain.jobs import commands
from domain.jobs.args import JobArgs
from domain.settings import Settings
from domain.unit import Unit

BATCH = 500
_JOBS_AT_ONCE = 100  # with each go its attempts, items and log lines
_NOTICES_AT_ONCE = 5_000
_DUE_AT_ONCE = 50
_DAY = timedelta(days=1)
# A moment of the coming day, so that accounts do not all do it in the same minute.
_SOME_TIME = sa.text("now() + interval '1 hour' + random() * interval '23 hours'")


@dataclass(frozen=True)
class Retain(
    JobArgs, kind="jobs.retention", title="Deletion of old history", lane=Lane.BULK, timeout=6 * 3600, housekeeping=True
):
    """Delete what the account's jobs left behind longer ago than it is kept."""


Drop = Callable[[Unit, timedelta], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that is kept for the days of a setting. `drop` deletes a batch of it and returns how many rows; 0 ends it."""

    name: str
    setting: str
    drop: Drop

    def kept(self, settings: Settings) -> timedelta:
        """For how long."""
        return timedelta(days=getattr(settings, self.setting))


async def due_accounts(session: AsyncSession) -> list[UUID]:
    """Accounts whose retention is due, a bounded number; takes a session across accounts. New ones are given their time."""
    unplanned = sa.update(AccountSlots).where(AccountSlots.retention_at.is_(None)).values(retention_at=_SOME_TIME)
    await session.execute(unplanned.execution_options(synchronize_session=False))
    due = sa.select(AccountSlots.account_id).where(AccountSlots.retention_at <= sa.func.now())
    return list((await session.scalars(due.order_by(AccountSlots.retention_at).limit(_DUE_AT_ONCE))).all())


async def enqueue(unit: Unit) -> Job | None:
    """The day's job of the unit's account; None where another clock was faster, or yesterday's is still at work."""
    claimed = (
        sa.update(AccountSlots)
        .where(AccountSlots.retention_at <= sa.func.now())
        # The same time tomorrow; after a long standstill not once for each day that was missed.
        .values(retention_at=sa.func.greatest(AccountSlots.retention_at + _DAY, sa.func.now()))
        .returning(AccountSlots.account_id)
        .execution_options(synchronize_session=False)
    )
    if (await unit.session.scalars(claimed)).one_or_none() is None:
        return None
    enqueued = await commands.enqueue(unit, Retain(), dedupe_key=Retain.kind)
    return enqueued.job if enqueued.is_new else None


async def drop_payloads(unit: Unit, kept: timedelta) -> int:
    """Jobs that ended too long ago to be retried lose their arguments, checkpoint and item results; what happened stays."""
    ended = sa.select(Job.id).where(
        Job.expired_at.is_(None), Job.finished_at < sa.func.now() - kept, any_of(Job.state, TERMINAL)
    )
    ids = (await unit.session.scalars(ended.order_by(Job.finished_at).limit(BATCH).with_for_update(skip_locked=True))).all()
    if ids:
        emptied: dict[str, Any] = {"args": {}, "args_digest": None, "checkpoint": sa.null(), "expired_at": sa.func.now()}
        await _update(unit, sa.update(Job).where(any_of(Job.id, ids)).values(emptied))
        items = sa.update(JobItem).where(any_of(JobItem.job_id, ids), JobItem.result.is_not(None))
        await _update(unit, items.values(result=sa.null()))
        await _update(unit, sa.delete(JobTarget).where(any_of(JobTarget.job_id, ids)))
    return len(ids)


async def delete_jobs(unit: Unit, kept: timedelta) -> int:
    """Jobs that ended long ago, archived or not, with their attempts, items, notes and logs."""
    horizon = sa.func.now() - kept
    ended = sa.select(Job.id).where(Job.created_at < horizon, Job.finished_at < horizon, any_of(Job.state, TERMINAL))
    old = ended.order_by(Job.created_at).limit(_JOBS_AT_ONCE).with_for_update(skip_locked=True)
    ids = (await unit.session.scalars(old)).all()
    if ids:
        await _update(unit, sa.delete(Job).where(any_of(Job.id, ids)))
        for job_id in ids:
            unit.changed("job", job_id)
    return len(ids)


def rows_of(table: type[Any], moment: Any, *conditions: Any) -> Drop:
    """Deletes rows of `table` whose `moment` is longer ago than they are kept."""

    async def drop(unit: Unit, kept: timedelta) -> int:
        place: Any = sa.literal_column("ctid")
        old: sa.Select[Any] = sa.select(place).select_from(table).where(moment < sa.func.now() - kept, *conditions)
        gone: Any = await _update(unit, sa.delete(table).where(place.in_(old.limit(BATCH))))
        return int(gone.rowcount)

    return drop


async def _update(unit: Unit, statement: Any) -> Any:
    return await unit.session.execute(statement.execution_options(synchronize_session=False))


async def delete_notices(unit: Unit, kept: timedelta) -> int:
    """Old notices of which no notification tells any more."""
    horizon = sa.func.now() - kept
    # A notification gathers notices for less than a day, so a later one tells of none that is as old.
    telling = sa.select(sa.func.unnest(Notification.notices).label("id")).where(Notification.created_at < horizon + _DAY)
    told = telling.cte("told").prefix_with("MATERIALIZED", dialect="postgresql")  # one pass, whatever is expected of its length
    old = sa.select(Notice.id).where(Notice.at < horizon, ~sa.exists().where(told.c.id == Notice.id))
    gone = await _update(unit, sa.delete(Notice).where(Notice.id.in_(old.limit(_NOTICES_AT_ONCE))))
    return int(gone.rowcount)


# In this order: payloads of jobs that go at once need not be dropped first, and notices go after what tells of them.
RULES: Final[tuple[Rule, ...]] = (
    Rule("jobs", "keep_jobs_days", delete_jobs),
    Rule("payloads", "keep_job_payloads_days", drop_payloads),
    Rule(
        "schedule_fires",
        "keep_schedule_fires_days",
        rows_of(ScheduleFire, ScheduleFire.nominal_at, ScheduleFire.result != FireResult.STARTED),
    ),
    Rule(
        "notifications",
        "keep_notifications_days",
        rows_of(Notification, Notification.created_at, sa.or_(Notification.read_at.is_not(None), ~Notification.in_app)),
    ),
    Rule("notices", "keep_notifications_days", delete_notices),
    Rule(
        "deliveries",
        "keep_deliveries_days",
        rows_of(Delivery, Delivery.created_at, any_of(Delivery.state, (DeliveryState.DELIVERED, DeliveryState.FAILED))),
    ),
    Rule(
        "webhook_deliveries",
        "keep_deliveries_days",
        rows_of(WebhookDelivery, WebhookDelivery.created_at, WebhookDelivery.state != WebhookDeliveryState.PENDING),
    ),
)


def summary(gone: Mapping[str, int]) -> str:
    """A sentence about what went, by rule."""
    said = [f"{number:,} {name.replace('_', ' ')}" for name, number in gone.items() if number]
    return f"Deleted what was too old: {', '.join(said)}" if said else "Nothing was too old"
