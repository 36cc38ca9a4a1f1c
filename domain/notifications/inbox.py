"""What a person is told in the app, and the log of what was sent outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from db.base import any_of
from db.models.notifications import Channel, Delivery, DeliveryState, Notice, Notification, NotificationEvent
from domain.actor import Scope
from domain.errors import Invalid
from domain.notifications.notices import NOUN
from domain.notifications.preferences import person
from domain.paging import Order, Page, Window, paginate
from domain.unit import Unit

NEWEST = Order((Notification.id,), descending=True)
DELIVERIES = Order((Delivery.created_at, Delivery.id), descending=True)
_MARKED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class NotificationFilter:
    """All that is given must hold."""

    unread: bool = False
    critical: bool = False
    events: frozenset[NotificationEvent] = frozenset()
    job_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """All that is given must hold."""

    channels: frozenset[Channel] = frozenset()
    states: frozenset[DeliveryState] = frozenset()
    job_id: UUID | None = None


def mine(unit: Unit) -> sa.ColumnElement[bool]:
    """Which notifications the person who asks is shown. Raises NotAPerson."""
    return sa.and_(
        Notification.account_id == unit.account_id, Notification.user_id == person(unit.actor), Notification.in_app.is_(True)
    )


async def page(unit: Unit, *, wanted: NotificationFilter, window: Window) -> Page[Notification]:
    """The notifications of the person who asks, newest first. Raises NotAPerson."""
    query = sa.select(Notification).where(mine(unit))
    if wanted.unread:
        query = query.where(Notification.read_at.is_(None))
    if wanted.critical:
        query = query.where(Notification.critical)
    if wanted.events:
        query = query.where(any_of(Notification.event, wanted.events))
    if wanted.job_id is not None:
        query = query.where(_tells_of(wanted.job_id))
    return await paginate(unit.session, query, order=NEWEST, window=window)


async def unread_count(unit: Unit) -> int:
    """How many of them were not read. Raises NotAPerson."""
    query = sa.select(sa.func.count()).select_from(Notification).where(mine(unit), Notification.read_at.is_(None))
    return (await unit.session.execute(query)).scalar_one()


async def by_ids(unit: Unit, ids: Sequence[UUID]) -> list[Notification | None]:
    """Those of the person who asks, in the order of the ids. Raises NotAPerson."""
    rows = await unit.session.scalars(sa.select(Notification).where(mine(unit), any_of(Notification.id, ids)))
    found = {row.id: row for row in rows}
    return [found.get(row_id) for row_id in ids]


async def mark_read(unit: Unit, *, ids: Sequence[UUID] = (), before: datetime | None = None) -> int:
    """Mark the given ones, and all that came up to `before`; returns how many were unread until now.

    What is not the asking person's is passed over. Raises NotAPerson, Invalid.
    """
    if not ids and before is None:
        raise Invalid("Say which ones: give ids, or a time.", field=("ids",))
    if len(ids) > _MARKED_AT_ONCE:
        raise Invalid(f"At most {_MARKED_AT_ONCE} can be marked at once.", field=("ids",))
    which = any_of(Notification.id, ids)
    if before is not None:
        which = sa.or_(which, Notification.updated_at <= before)
    # Locked in the order in which they are written to while they gather.
    unread = sa.select(Notification.id).where(mine(unit), Notification.read_at.is_(None), which)
    locked = (await unit.session.scalars(unread.order_by(Notification.gathering).with_for_update())).all()
    if not locked:
        return 0
    read = sa.update(Notification).where(any_of(Notification.id, locked))
    xid = sa.text("(pg_current_xact_id()::text)::bigint")
    await unit.session.execute(
        read.values(read_at=sa.func.clock_timestamp(), xid=xid), execution_options={"synchronize_session": False}
    )
    unit.changed(NOUN, person(unit.actor))
    return len(locked)


async def notices_of(unit: Unit, lists: Sequence[tuple[UUID, ...]]) -> list[list[Notice]]:
    """For each list of ids the notices that are still there."""
    ids = {notice_id for each in lists for notice_id in each}
    found = {notice.id: notice for notice in await unit.session.scalars(sa.select(Notice).where(any_of(Notice.id, ids)))}
    return [[found[notice_id] for notice_id in each if notice_id in found] for each in lists]


async def deliveries_of(unit: Unit, ids: Sequence[UUID]) -> list[list[Delivery]]:
    """For each notification what was sent of it, oldest first."""
    query = sa.select(Delivery).where(any_of(Delivery.notification_id, ids)).order_by(Delivery.created_at, Delivery.id)
    found: dict[UUID | None, list[Delivery]] = {notification_id: [] for notification_id in ids}
    for delivery in await unit.session.scalars(query):
        found[delivery.notification_id].append(delivery)
    return [found[notification_id] for notification_id in ids]


async def notifications_of(unit: Unit, ids: Sequence[UUID]) -> list[Notification | None]:
    """Of deliveries, whoever's they are: who sees the delivery sees what it tells."""
    rows = {row.id: row for row in await unit.session.scalars(sa.select(Notification).where(any_of(Notification.id, ids)))}
    return [rows.get(row_id) for row_id in ids]


async def deliveries_page(unit: Unit, *, wanted: DeliveryFilter, window: Window) -> Page[Delivery]:
    """What was sent outside, newest first: of the person who asks, and with logs:read of the whole account."""
    query = sa.select(Delivery).where(Delivery.account_id == unit.account_id)
    if Scope.LOGS_READ not in unit.actor.scopes:
        me = person(unit.actor)
        shared = sa.exists().where(
            Notification.account_id == Delivery.account_id,
            Notification.id == Delivery.notification_id,
            Notification.audience.contains([me]),
        )
        query = query.where(sa.or_(Delivery.user_id == me, sa.and_(Delivery.user_id.is_(None), shared)))
    if wanted.channels:
        query = query.where(any_of(Delivery.channel, wanted.channels))
    if wanted.states:
        query = query.where(any_of(Delivery.state, wanted.states))
    if wanted.job_id is not None:
        of = sa.exists().where(
            Notification.account_id == Delivery.account_id,
            Notification.id == Delivery.notification_id,
            _tells_of(wanted.job_id),
        )
        query = query.where(of)
    return await paginate(unit.session, query, order=DELIVERIES, window=window)


def _tells_of(job_id: UUID) -> sa.ColumnElement[bool]:
    of_job = sa.select(sa.func.coalesce(sa.func.array_agg(Notice.id), sa.cast([], Notification.notices.type)))
    of_job = of_job.where(Notice.account_id == Notification.account_id, Notice.job_id == job_id)
    tells: sa.ColumnElement[bool] = Notification.notices.overlap(of_job.correlate_except(Notice).scalar_subquery())
    return tells
