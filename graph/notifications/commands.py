"""Marking notifications as read, choosing what to be told, and connecting Slack."""

from datetime import datetime
from typing import Annotated

import strawberry

from domain.notifications import inbox, slack
from domain.notifications import preferences as wishes
from domain.notifications.routing import Rule
from graph import ids
from graph.about import about, optional, shown
from graph.context import Info
from graph.enums import NotificationChannel, NotificationEvent
from graph.notifications.types import (
    MarkNotificationsReadPayload,
    NotificationPreferencesPayload,
    SlackConnectionPayload,
    preferences,
)
from graph.user_errors import mutation


@strawberry.input(description="Notifications to mark as read: by their ids, or all up to a time; or both.")
class MarkNotificationsReadInput:
    ids: list[strawberry.ID] | None = optional("These, up to 1,000.")
    before: datetime | None = optional("All that were last added to at or before this time; now, for all there are.")


@strawberry.input(description="What to be told of an event.")
class NotificationRuleInput:
    event: NotificationEvent = about("Of what.")
    job_kind: str | None = optional("Of jobs of this kind only, a kind of `jobSettings`; null: of all kinds.")
    channels: list[NotificationChannel] | None = optional("Where; none: not at all; null: on the default channel.")
    critical: bool | None = optional("Whether even while notifications are muted; null: as the event is by default.")


@strawberry.input(description="A change to what the person who asks wants to be told; what is not given stays.")
class UpdateNotificationPreferencesInput:
    expected_version: int = about("The version that the change is based on; 0 for the first change.")
    enabled: bool | None = optional("False: tell nothing at all.")
    default_channel: NotificationChannel | None = optional("Where it is told what a rule gives no channels for.")
    rules: list[NotificationRuleInput] | None = optional("All rules: they take the place of those there were.")


@strawberry.input(description="For how long to mute notifications.")
class MuteNotificationsInput:
    until: datetime | None = optional("Until then, up to a year ahead; null: not any more.")


@strawberry.input(description="A Slack channel to connect.")
class ConnectSlackInput:
    webhook_url: str = about("The URL of an incoming webhook of the channel. It is kept encrypted, and not shown again.")


@strawberry.input(description="A Slack channel to disconnect.")
class DisconnectSlackInput:
    expected_version: int = about("Of the connection that is meant.")


@strawberry.type
class NotificationsMutation:
    @mutation("Mark one's own notifications as read.")
    async def mark_notifications_read(
        self, info: Info, input: Annotated[MarkNotificationsReadInput, strawberry.argument(description="Which ones.")]
    ) -> MarkNotificationsReadPayload:
        which = [ids.read("ntf", text, field="ids") for text in input.ids or ()]
        async with info.context.unit() as unit:
            marked = await inbox.mark_read(unit, ids=which, before=input.before)
            unread = await inbox.unread_count(unit)
        return MarkNotificationsReadPayload(marked=marked, unread_count=unread)

    @mutation("Choose what to be told, and where. It holds for what happens from now on, of jobs that run already too.")
    async def update_notification_preferences(
        self,
        info: Info,
        input: Annotated[UpdateNotificationPreferencesInput, strawberry.argument(description="The change.")],
    ) -> NotificationPreferencesPayload:
        rules = None if input.rules is None else [_rule(rule) for rule in input.rules]
        async with info.context.unit() as unit:
            stored = await wishes.update(
                unit,
                expected_version=input.expected_version,
                enabled=input.enabled,
                default_channel=input.default_channel,
                rules=rules,
            )
        return NotificationPreferencesPayload(preferences=preferences(stored))

    @mutation("Show what is not critical in the app only, and silently, until a time; send none of it by e-mail or Slack.")
    async def mute_notifications(
        self, info: Info, input: Annotated[MuteNotificationsInput, strawberry.argument(description="For how long.")]
    ) -> NotificationPreferencesPayload:
        async with info.context.unit() as unit:
            stored = await wishes.mute(unit, until=input.until)
        return NotificationPreferencesPayload(preferences=preferences(stored))

    @mutation(
        "Connect the account to a Slack channel, which is tried with a message. Once more with the same URL does nothing."
        " Needs settings:write."
    )
    async def connect_slack(
        self, info: Info, input: Annotated[ConnectSlackInput, strawberry.argument(description="The channel.")]
    ) -> SlackConnectionPayload:
        context = info.context
        connection = await slack.connect(context.runtime.outbox, context.actor, url=input.webhook_url)
        return SlackConnectionPayload(slack_connection=shown(connection))

    @mutation("Forget the Slack channel. What would go there is sent by e-mail instead. Needs settings:write.")
    async def disconnect_slack(
        self, info: Info, input: Annotated[DisconnectSlackInput, strawberry.argument(description="The channel.")]
    ) -> SlackConnectionPayload:
        async with info.context.unit() as unit:
            connection = await slack.disconnect(unit, expected_version=input.expected_version)
        return SlackConnectionPayload(slack_connection=shown(connection))


def _rule(rule: NotificationRuleInput) -> Rule:
    channels = None if rule.channels is None else frozenset(rule.channels)
    return Rule(event=rule.event, kind=rule.job_kind, channels=channels, critical=rule.critical)
