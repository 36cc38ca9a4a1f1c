"""Watching one's own notifications."""

from collections.abc import AsyncGenerator
from typing import Annotated

import strawberry

from domain.errors import Invalid
from domain.notifications.feeds import Cursor, NotificationsFeed
from graph import ids
from graph.about import about, shown, watched
from graph.context import Info
from graph.enums import UpdateKind
from graph.notifications.types import Notification
from graph.paging import decode, pack

_BIGINT = 2**63


@strawberry.type(description="What a person is told of their notifications.")
class NotificationsUpdate:
    kind: UpdateKind = about("SNAPSHOT comes first; then CHANGED.")
    cursor: str = about("Opaque; give the last one seen as `afterCursor` to resume.")
    unread_count: int = about("How many are unread now.")
    notifications: list[Notification] = about(
        "For a SNAPSHOT the newest 20 unread ones; then what came, and what was added to. Make no sound for a muted one."
    )
    read_ids: list[strawberry.ID] = about("Those that were marked as read, perhaps on another device.")


@strawberry.type
class NotificationsSubscription:
    @watched("Watch one's own notifications: how many are unread, then whatever comes. Nothing is missed, nothing told twice.")
    async def notification_received(
        self,
        info: Info,
        after_cursor: Annotated[
            str | None, strawberry.argument(description="Resume: what came after this cursor instead of a snapshot.")
        ] = None,
    ) -> AsyncGenerator[NotificationsUpdate, None]:
        """NTF-003 for an API key."""
        runtime = info.context.runtime
        feed = NotificationsFeed(runtime.database, runtime.events, info.context.actor)
        async for update in info.context.follow(feed, after=_cursor(after_cursor)):
            yield NotificationsUpdate(
                kind=update.kind,
                cursor=pack(update.position),
                unread_count=update.unread,
                notifications=shown(update.received),
                read_ids=[strawberry.ID(ids.encode("ntf", notification_id)) for notification_id in update.read],
            )


def _cursor(text: str | None) -> Cursor | None:
    values = decode(text, field="afterCursor")
    match values:
        case None:
            return None
        case [int(transaction), int(number)] if 0 <= transaction < _BIGINT and 0 <= number < _BIGINT:
            return transaction, number
        case _:
            raise Invalid("This is not a cursor of this subscription.", field=("afterCursor",))
