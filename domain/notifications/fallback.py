"""Another channel takes over, once: e-mail where Slack fails, the app where e-mail fails."""

from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db.base import any_of, new_id
from db.models.notifications import Channel, Delivery, DeliveryState, Notification
from domain.notifications.notices import NOUN
from domain.unit import Unit


def exists(delivery: Delivery, notification: Notification | None) -> bool:
    """Whether another channel could take over. It is done once: what took over itself is not taken over from."""
    if notification is None or delivery.fallback_of is not None:
        return False
    return delivery.channel is Channel.SLACK or not notification.in_app


async def take_over(unit: Unit, delivery: Delivery, notification: Notification) -> None:
    """Let the other channel tell the same."""
    if delivery.channel is Channel.SLACK:
        await _by_email(unit, delivery, notification)
    else:
        await _in_app(unit, delivery, notification)


async def _by_email(unit: Unit, delivery: Delivery, notification: Notification) -> None:
    """To those who wanted it in Slack and are not told by e-mail anyway."""
    told = await _told_by_email(unit, notification)
    rows = [
        {
            "id": new_id(),
            "account_id": unit.account_id,
            "notification_id": notification.id,
            "user_id": user_id,
            "channel": Channel.EMAIL,
            "fallback_of": delivery.id,
        }
        for user_id in notification.audience
        if user_id not in told
    ]
    if rows:
        await unit.session.execute(insert(Delivery).values(rows).on_conflict_do_nothing())


async def _told_by_email(unit: Unit, notification: Notification) -> Collection[UUID]:
    query = sa.select(Notification.user_id).where(
        Notification.account_id == unit.account_id,
        any_of(Notification.user_id, notification.audience),
        Notification.event == notification.event,
        Notification.notices.overlap(notification.notices),
        Notification.channels.contains([Channel.EMAIL.value]),
    )
    return {user_id for user_id in await unit.session.scalars(query) if user_id is not None}


async def _in_app(unit: Unit, delivery: Delivery, notification: Notification) -> None:
    shown = sa.update(Notification).where(Notification.id == notification.id)
    xid = sa.text("(pg_current_xact_id()::text)::bigint")
    await unit.session.execute(
        shown.values(in_app=True, xid=xid, updated_at=sa.func.clock_timestamp()),
        execution_options={"synchronize_session": False},
    )
    row = insert(Delivery).values(
        id=new_id(),
        account_id=unit.account_id,
        notification_id=notification.id,
        user_id=notification.user_id,
        channel=Channel.IN_APP,
        state=DeliveryState.DELIVERED,
        ended_at=sa.func.clock_timestamp(),
        fallback_of=delivery.id,
    )
    await unit.session.execute(row.on_conflict_do_nothing())
    if notification.user_id is not None:
        unit.changed(NOUN, notification.user_id)
