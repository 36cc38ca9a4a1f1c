"""Webhooks that go out: where to, what of, and how each delivery went."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import AccountOwned, Base, choice, new_id, owned_by, owned_key


class WebhookDeliveryState(StrEnum):
    """`pending` until it was accepted or all its attempts were spent."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookEndpoint(AccountOwned, Base):
    """An address that is told of events. `secret` and, until `previous_until`, `previous_secret` sign; both are sealed.

    `failing_since` is the first failure after the last success. A disabled one gets nothing.
    """

    __tablename__ = "webhook_endpoint"
    __table_args__ = (
        owned_key("webhook_endpoint"),
        sa.Index(None, "account_id", postgresql_where=sa.text("disabled_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    url: Mapped[str]
    description: Mapped[str]
    event_types: Mapped[list[str]]
    secret: Mapped[bytes]
    previous_secret: Mapped[bytes | None]
    previous_until: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class WebhookDelivery(AccountOwned, Base):
    """One event on its way to one endpoint. Its `id` is the webhook-id, the same for every attempt; so are the bytes of `body`.

    `job_id` is no reference: the log outlives the job. `attempts` counts and is the fence of who sends it, until `lease_until`;
    `failures` counts since it was last asked for.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        owned_key("webhook_delivery"),
        owned_by("endpoint_id", "webhook_endpoint"),
        sa.Index("ix_webhook_delivery_due", "endpoint_id", "next_at", postgresql_where=sa.text("state = 'pending'")),
        sa.Index("ix_webhook_delivery_sending", "endpoint_id", postgresql_where=sa.text("lease_until IS NOT NULL")),
        sa.Index("ix_webhook_delivery_endpoint", "account_id", "endpoint_id", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index(None, "account_id", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    endpoint_id: Mapped[UUID]
    event_type: Mapped[str]
    job_id: Mapped[UUID | None]
    body: Mapped[str]
    state: Mapped[WebhookDeliveryState] = mapped_column(choice(WebhookDeliveryState), default=WebhookDeliveryState.PENDING)
    attempts: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    ended_at: Mapped[datetime | None]


class WebhookAttempt(AccountOwned, Base):
    """One request. `status` is HTTP's, None where no answer came; `seconds` until then; `excerpt` is how the answer began."""

    __tablename__ = "webhook_attempt"
    __table_args__ = (owned_by("delivery_id", "webhook_delivery"),)

    delivery_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    status: Mapped[int | None]
    seconds: Mapped[float]
    excerpt: Mapped[str]
    error: Mapped[str | None]
