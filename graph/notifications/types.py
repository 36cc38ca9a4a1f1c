"""A notification as its reader sees it, what was sent of it, and what a person wants to be told."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry

from db.models import notifications as models
from domain.jobs import queries as jobs
from domain.notifications import inbox, letters, routing
from domain.notifications.preferences import Versioned
from domain.unit import Unit
from graph import ids
from graph.about import about, optional, resolved
from graph.context import Info
from graph.enums import AttemptOutcome, DeliveryState, JobState, NotificationChannel, NotificationEvent, SlackStatus
from graph.jobs.types import Job
from graph.node import Node, global_id, loads, stands_for
from graph.user_errors import Payload

loads("ntf", inbox.by_ids)


async def _notices(unit: Unit, lists: list[tuple[UUID, ...]]) -> Sequence[list[models.Notice]]:
    return await inbox.notices_of(unit, lists)


async def _deliveries(unit: Unit, notification_ids: list[UUID]) -> Sequence[list[models.Delivery]]:
    return await inbox.deliveries_of(unit, notification_ids)


async def _notifications(unit: Unit, notification_ids: list[UUID]) -> Sequence[models.Notification | None]:
    return await inbox.notifications_of(unit, notification_ids)


async def _notices_of(root: models.Notification, info: Info) -> list[models.Notice]:
    found: list[models.Notice] = await info.context.loader(_notices).load(tuple(root.notices))
    return found


@strawberry.type(description="One attempt of a job that failed, as it was when the notification was made.")
class NotificationAttempt:
    number: int = about("1 for the first.")
    outcome: AttemptOutcome | None = about("How it ended; null while it ran.")
    error_code: str | None = about("As in `errorCodes`.")
    error_message: str | None = about("What went wrong.")
    http_status: int | None = about("The vendor's answer, where there was one.")
    ended_at: datetime | None = about("UTC.")


@strawberry.type(description="One thing that happened. Its words do not change afterwards.")
class NotificationItem:
    title: str = about("What happened, in one line.")
    body: str = about("What there is to know, in a sentence or two; may be empty.")
    error: str | None = about("What went wrong, where something did.")
    job_kind: str | None = about("The kind of job, such as crm.contacts.sync.")
    job_state: JobState | None = about("Where the job stood then; null where it is about no job.")
    at: datetime = about("When it happened. UTC.")

    @resolved("The job's id; null where it is about no job. The job may be deleted by now.")
    def job_id(root: strawberry.Parent[models.Notice]) -> strawberry.ID | None:
        """Its global id."""
        return None if root.job_id is None else strawberry.ID(ids.encode("job", root.job_id))

    @resolved("The job as it is now; null where there is none, or not any more.", Job | None)
    async def job(root: strawberry.Parent[models.Notice], info: Info) -> Any:
        """Gathered for all items of the answer."""
        return None if root.job_id is None else await info.context.loader(jobs.jobs_by_ids).load(root.job_id)

    @resolved("Where the front end shows it.")
    def url(root: strawberry.Parent[models.Notice], info: Info) -> str:
        """The link that is in messages, too."""
        return info.context.runtime.outbox.site + root.path

    @resolved("Of a job that failed: its attempts so far, the first one first, up to 20.")
    def attempts(root: strawberry.Parent[models.Notice]) -> list[NotificationAttempt]:
        """As they were then."""
        return [
            NotificationAttempt(
                number=each["number"],
                outcome=None if each["outcome"] is None else AttemptOutcome(each["outcome"]),
                error_code=each["errorCode"],
                error_message=each["errorMessage"],
                http_status=each["httpStatus"],
                ended_at=None if each["endedAt"] is None else datetime.fromisoformat(each["endedAt"]),
            )
            for each in (root.details or {}).get("attempts", [])
        ]


@strawberry.type(
    description="A message outside, and what came of it. Slack's is tried again for 45 seconds, then e-mail takes over;"
    " an e-mail is tried again for a day, and shown in the app meanwhile."
)
class NotificationDelivery:
    id: strawberry.ID = global_id("ntd")
    channel: NotificationChannel = about("Where it goes.")
    state: DeliveryState = about("How it stands.")
    attempts: int = about("How often it was tried.")
    error: str | None = about("Why the last attempt failed; null when it did not.")
    address: str | None = about("Of an e-mail to a given address; null where it goes to a person or to Slack.")
    created_at: datetime = about("When what it tells happened. UTC.")
    ended_at: datetime | None = about("When it was delivered or given up. UTC.")
    fell_back_at: datetime | None = about("When another channel took over; null while none has. UTC.")

    @resolved("When it is tried again; null when it is not. UTC.")
    def next_attempt_at(root: strawberry.Parent[models.Delivery]) -> datetime | None:
        """While it is queued."""
        return root.next_at if root.state is models.DeliveryState.QUEUED else None

    @resolved("The delivery that this one took over from; null where it is none's fallback.")
    def fallback_of(root: strawberry.Parent[models.Delivery]) -> strawberry.ID | None:
        """Its id."""
        return None if root.fallback_of is None else strawberry.ID(ids.encode("ntd", root.fallback_of))

    @resolved("The person it goes to; null for Slack and for given addresses.")
    def user_id(root: strawberry.Parent[models.Delivery]) -> strawberry.ID | None:
        """Their global id."""
        return None if root.user_id is None else strawberry.ID(ids.encode("user", root.user_id))

    @resolved("What it says in one line.")
    async def subject(root: strawberry.Parent[models.Delivery], info: Info) -> str | None:
        """The e-mail's subject or the notification's title."""
        if root.notification_id is None:
            return (root.content or {}).get("subject")
        notification = await info.context.loader(_notifications).load(root.notification_id)
        if notification is None:
            return None
        return letters.headline(notification.event, notification.count, await _notices_of(notification, info))


@strawberry.type(
    description="What one person is told at once. Things of the same kind that happen within seconds are gathered in one:"
    " `count` and `items` grow, and it is unread again."
)
class Notification(Node):
    id: strawberry.ID = global_id("ntf")
    event: NotificationEvent = about("What it tells.")
    critical: bool = about("Whether it was told even to those who had muted notifications.")
    muted: bool = about("Whether notifications were muted then: show it without a sound.")
    count: int = about("How many things it tells.")
    channels: list[NotificationChannel] = about("Where it was to be told, as the preferences were when it happened.")
    read_at: datetime | None = about("Null while it is unread. UTC.")
    created_at: datetime = about("When the first thing happened. UTC.")
    updated_at: datetime = about("When the last one was added. UTC.")

    is_type_of = stands_for(models.Notification)

    @resolved("What happened, in one line.")
    async def title(root: strawberry.Parent[models.Notification], info: Info) -> str:
        """The item's own where there is one, else how many there are."""
        return letters.headline(root.event, root.count, await _notices_of(root, info))

    @resolved("What happened, the first 20 things, oldest first.", list[NotificationItem] | None)
    async def items(root: strawberry.Parent[models.Notification], info: Info) -> Any:
        """Gathered for all notifications of the answer."""
        return await _notices_of(root, info)

    @resolved("Where the front end shows it: the one thing, or the list of notifications.")
    async def url(root: strawberry.Parent[models.Notification], info: Info) -> str:
        """The link that is in messages, too."""
        found = await _notices_of(root, info)
        return info.context.runtime.outbox.site + letters.path(root.event, root.count, found)

    @resolved("What was sent outside of it, oldest first. What went to Slack is in `notificationDeliveries`.")
    async def deliveries(root: strawberry.Parent[models.Notification], info: Info) -> list[NotificationDelivery] | None:
        """Gathered for all notifications of the answer."""
        found: list[NotificationDelivery] = await info.context.loader(_deliveries).load(root.id)
        return found


@strawberry.type(description="What a person wants to be told of an event.")
class NotificationRule:
    event: NotificationEvent = about("Of what.")
    job_kind: str | None = about("Of jobs of this kind; null: of all kinds that have no rule of their own.")
    channels: list[NotificationChannel] | None = about("Where; none: not at all; null: on the default channel.")
    critical: bool | None = about("Whether it is told even while notifications are muted; null: as the event is by default.")


@strawberry.type(description="What is told of an event where no rule is about it.")
class NotificationDefault:
    event: NotificationEvent = about("Of what.")
    channels: list[NotificationChannel] = about("Where.")
    critical: bool = about("Whether it is told even while notifications are muted.")


@strawberry.type(description="What the person who asks wants to be told. A change is for what happens from then on.")
class NotificationPreferences:
    version: int = about("For `expectedVersion`; 0 until the first change.")
    enabled: bool = about("False: nothing is told, not even what is critical.")
    default_channel: NotificationChannel = about("Where it is told what a rule gives no channels for.")
    muted_until: datetime | None = about("Until when only critical things make a sound; null: they all do. UTC.")
    rules: list[NotificationRule] = about("The person's own rules.")
    defaults: list[NotificationDefault] = about("What holds without a rule, one for each event.")


@strawberry.type(description="The account's Slack channel.")
class SlackConnection:
    status: SlackStatus = about("Whether it takes messages.")
    reason: str | None = about("Why it does not; null when it does.")
    version: int = about("Rises with every change.")
    connected_at: datetime = about("UTC.")
    disconnected_at: datetime | None = about("Null while it is connected. UTC.")


@strawberry.type(description="What came of a change to the preferences.")
class NotificationPreferencesPayload(Payload):
    preferences: NotificationPreferences | None = optional("As they are now; null when nothing was done.")


@strawberry.type(description="What came of marking notifications as read.")
class MarkNotificationsReadPayload(Payload):
    marked: int = strawberry.field(default=0, description="How many were unread until now.")
    unread_count: int | None = optional("How many are unread now; null when nothing was done.")


@strawberry.type(description="What came of connecting or disconnecting Slack.")
class SlackConnectionPayload(Payload):
    slack_connection: SlackConnection | None = optional("As it is now; null when nothing was done.")


def preferences(stored: Versioned) -> NotificationPreferences:
    """The GraphQL form of preferences."""
    wanted = stored.preferences
    plain = routing.Preferences(default_channel=wanted.default_channel)
    return NotificationPreferences(
        version=stored.version,
        enabled=wanted.enabled,
        default_channel=wanted.default_channel,
        muted_until=wanted.muted_until,
        rules=[
            NotificationRule(
                event=rule.event,
                job_kind=rule.kind,
                channels=None if rule.channels is None else sorted(rule.channels),
                critical=rule.critical,
            )
            for rule in wanted.rules
        ],
        defaults=[
            NotificationDefault(
                event=event, channels=sorted(routing.channels_of(plain, event, None)), critical=event in routing.CRITICAL
            )
            for event in models.NotificationEvent
        ],
    )
