"""Reading one's notifications, one's preferences, and the log of what was sent."""

from typing import Annotated

import strawberry

from domain.notifications import inbox, slack
from domain.notifications import preferences as wishes
from domain.notifications.inbox import DeliveryFilter, NotificationFilter
from graph import ids
from graph.about import optional, resolved, shown
from graph.context import Info
from graph.enums import DeliveryState, NotificationChannel, NotificationEvent
from graph.notifications.types import (
    Notification,
    NotificationDelivery,
    NotificationPreferences,
    SlackConnection,
    preferences,
)
from graph.paging import After, Before, Connection, First, Last, Listing, window


@strawberry.input(description="Which notifications. All that is given must hold.")
class NotificationFilterInput:
    unread: bool = strawberry.field(default=False, description="Only those that were not read.")
    critical: bool = strawberry.field(default=False, description="Only critical ones.")
    events: list[NotificationEvent] | None = optional("Any of these.")
    job_id: strawberry.ID | None = optional("About this job.")

    def to_domain(self) -> NotificationFilter:
        """Raises Invalid for an id of another type."""
        return NotificationFilter(
            unread=self.unread,
            critical=self.critical,
            events=frozenset(self.events or ()),
            job_id=None if self.job_id is None else ids.read("job", self.job_id, field="jobId"),
        )


@strawberry.input(description="Which deliveries. All that is given must hold.")
class NotificationDeliveryFilterInput:
    channels: list[NotificationChannel] | None = optional("Any of these.")
    states: list[DeliveryState] | None = optional("Any of these.")
    job_id: strawberry.ID | None = optional("About this job.")

    def to_domain(self) -> DeliveryFilter:
        """Raises Invalid for an id of another type."""
        return DeliveryFilter(
            channels=frozenset(self.channels or ()),
            states=frozenset(self.states or ()),
            job_id=None if self.job_id is None else ids.read("job", self.job_id, field="jobId"),
        )


@strawberry.type
class NotificationsQuery:
    @resolved("The notifications of the person who asks, newest first.", Connection[Notification] | None)
    async def notifications(
        self,
        info: Info,
        filter: Annotated[NotificationFilterInput | None, strawberry.argument(description="Which ones.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """NTF-003 for an API key."""
        wanted = filter.to_domain() if filter is not None else NotificationFilter()
        async with info.context.unit() as unit:
            return Listing(await inbox.page(unit, wanted=wanted, window=window(first, after, last, before)))

    @resolved("How many of them are unread.")
    async def unread_notification_count(self, info: Info) -> int | None:
        """For the badge."""
        async with info.context.unit() as unit:
            return await inbox.unread_count(unit)

    @resolved("What the person who asks wants to be told.")
    async def notification_preferences(self, info: Info) -> NotificationPreferences | None:
        """NTF-003 for an API key."""
        async with info.context.unit() as unit:
            return preferences(await wishes.get(unit))

    @resolved(
        "What was sent outside, newest first: to the person who asks, and with logs:read of the whole account.",
        Connection[NotificationDelivery] | None,
    )
    async def notification_deliveries(
        self,
        info: Info,
        filter: Annotated[NotificationDeliveryFilterInput | None, strawberry.argument(description="Which ones.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """A keyset page."""
        wanted = filter.to_domain() if filter is not None else DeliveryFilter()
        async with info.context.unit() as unit:
            return Listing(await inbox.deliveries_page(unit, wanted=wanted, window=window(first, after, last, before)))

    @resolved("The account's Slack channel; null where none was ever connected.")
    async def slack_connection(self, info: Info) -> SlackConnection | None:
        """Without its URL, which is a secret."""
        async with info.context.unit() as unit:
            connection: SlackConnection | None = shown(await slack.get(unit))
        return connection
