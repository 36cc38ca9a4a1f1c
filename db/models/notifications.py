"""What people are told of: what happened, to whom it was shown, how it was sent, and what each of them wants to know.

A `Notice` is one thing that happened. A `Notification` gathers notices for one reader: a person, or the account's Slack
channel. A `Delivery` is one message outside: a notification's, or an e-mail to given addresses.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column

from db.base import AccountOwned, Base, choice, new_id, owned_by, owned_key

_IDS = postgresql.ARRAY(postgresql.UUID(as_uuid=True))
_XID = sa.text("(pg_current_xact_id()::text)::bigint")


class NotificationEvent(StrEnum):
    """What a person can be told of."""

    JOB_COMPLETED = "job_completed"
    JOB_FIRST_FAILURE = "job_first_failure"
    JOB_FAILED = "job_failed"
    JOB_PARTIAL = "job_partial"
    JOB_WAITING = "job_waiting"
    JOB_CANCELLED = "job_cancelled"
    REQUIRES_ACTION = "requires_action"
    NOTE_ADDED = "note_added"
    SCHEDULE_DISABLED = "schedule_disabled"
    INTEGRATION_DISCONNECTED = "integration_disconnected"


class Channel(StrEnum):
    """Where a person is told."""

    IN_APP = "in_app"
    EMAIL = "email"
    SLACK = "slack"


class DeliveryState(StrEnum):
    """How a message stands. The last two are ends; a failed one tells why."""

    QUEUED = "queued"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"


class SlackStatus(StrEnum):
    """Whether the account's Slack channel takes messages."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


class Notice(AccountOwned, Base):
    """One thing that happened, in words that do not change afterwards. `details` are a failed job's attempts.

    `path` is the front end's. A job may be gone before what was told of it, so `job_id` is no reference.
    """

    __tablename__ = "notice"
    __table_args__ = (sa.Index(None, "account_id", "id"), sa.Index(None, "at"))

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    event: Mapped[NotificationEvent] = mapped_column(choice(NotificationEvent))
    title: Mapped[str]
    body: Mapped[str]
    error: Mapped[str | None]
    job_id: Mapped[UUID | None]
    job_kind: Mapped[str | None]
    job_state: Mapped[str | None]
    path: Mapped[str]
    details: Mapped[dict[str, Any] | None]
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())


class Notification(AccountOwned, Base):
    """What one reader is told at once: `user_id`, or where that is null the account's Slack channel for those in `audience`.

    `notices` has the first ones, `count` tells of all. While `gathering` is set, more of the same are added to it until
    `gathers_until`. What the preferences said when it happened is decided here: `channels`, `critical`, `muted`.
    (`xid`, `number`) is a commit-safe cursor, as in `job_event`; a change moves the row to the end.
    """

    __tablename__ = "notification"
    __table_args__ = (
        owned_key("notification"),
        owned_by("user_id", "user"),
        sa.Index(
            "uq_notification_gathering",
            "account_id",
            "user_id",
            "gathering",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=sa.text("gathering IS NOT NULL"),
        ),
        sa.Index(
            "ix_notification_critical", "account_id", "user_id", "event", "gathers_until", postgresql_where=sa.text("critical")
        ),
        sa.Index("ix_notification_gathering", "gathers_until", postgresql_where=sa.text("gathering IS NOT NULL")),
        sa.Index("ix_notification_of_user", "account_id", "user_id", "id", postgresql_where=sa.text("in_app")),
        sa.Index(
            "ix_notification_unread", "account_id", "user_id", "id", postgresql_where=sa.text("in_app AND read_at IS NULL")
        ),
        sa.Index("ix_notification_cursor", "account_id", "user_id", "xid", "number", postgresql_where=sa.text("in_app")),
        sa.Index(None, "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID | None]
    audience: Mapped[list[UUID]] = mapped_column(_IDS, server_default="{}")
    event: Mapped[NotificationEvent] = mapped_column(choice(NotificationEvent))
    channels: Mapped[list[str]]
    in_app: Mapped[bool]
    critical: Mapped[bool]
    muted: Mapped[bool]
    gathering: Mapped[str | None]
    gathers_until: Mapped[datetime]
    count: Mapped[int]
    notices: Mapped[list[UUID]] = mapped_column(_IDS)
    read_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    xid: Mapped[int] = mapped_column(sa.BigInteger, server_default=_XID)
    number: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True))


class Delivery(AccountOwned, Base):
    """One message outside. Due at `next_at`; while it is being sent that is when its sender is taken for dead.

    It belongs to a notification, and to `user_id` where it goes to a person; or it is an e-mail of its own: `content` to
    `address`, once for each `key`. `attempts` is also the fence of who sends it. `fell_back_at`: another channel took over.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        owned_by("notification_id", "notification"),
        owned_by("user_id", "user"),
        sa.Index(
            "uq_delivery_notification",
            "account_id",
            "notification_id",
            "channel",
            "user_id",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=sa.text("notification_id IS NOT NULL"),
        ),
        sa.Index("uq_delivery_key", "account_id", "key", "address", unique=True, postgresql_where=sa.text("key IS NOT NULL")),
        sa.Index(
            "ix_delivery_due", "channel", "account_id", "next_at", postgresql_where=sa.text("state IN ('queued', 'sending')")
        ),
        sa.Index("ix_delivery_log", "account_id", "created_at", "id"),
        sa.Index(None, "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    notification_id: Mapped[UUID | None]
    user_id: Mapped[UUID | None]
    channel: Mapped[Channel] = mapped_column(choice(Channel))
    key: Mapped[str | None]
    address: Mapped[str | None]
    content: Mapped[dict[str, Any] | None]
    state: Mapped[DeliveryState] = mapped_column(choice(DeliveryState), server_default=DeliveryState.QUEUED)
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    error: Mapped[str | None]
    fallback_of: Mapped[UUID | None]
    fell_back_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    ended_at: Mapped[datetime | None]


class NotificationSetting(AccountOwned, Base):
    """What a person wants to be told, from `since` on. Each change is a row of its own, so that what happened before it is
    told as it was wanted then, however late that is seen to. `rules` are as in `domain.notifications.routing`.
    """

    __tablename__ = "notification_setting"
    __table_args__ = (owned_by("user_id", "user"),)

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    enabled: Mapped[bool]
    default_channel: Mapped[Channel] = mapped_column(choice(Channel))
    muted_until: Mapped[datetime | None]
    rules: Mapped[list[dict[str, Any]]] = mapped_column(postgresql.JSONB())


class SlackConnection(AccountOwned, Base):
    """The Slack channel of an account: the sealed URL of an incoming webhook."""

    __tablename__ = "slack_connection"

    account_id: Mapped[UUID] = mapped_column(sa.ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    status: Mapped[SlackStatus] = mapped_column(choice(SlackStatus))
    webhook: Mapped[bytes | None]
    reason: Mapped[str | None]
    version: Mapped[int] = mapped_column(default=1)
    connected_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    disconnected_at: Mapped[datetime | None]
