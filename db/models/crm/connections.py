"""Connected GoHighLevel agencies, the attempts to connect them, and their locations (the account's sub-accounts)."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import AccountOwned, Base, choice, new_id, owned_by, owned_key
from db.models.crm.syncs import ConflictPolicy, SyncDirection


class ConnectionStatus(StrEnum):
    """Whether an agency's data can be reached, and if not, why."""

    ACTIVE = "active"
    REAUTHORIZATION_REQUIRED = "reauthorization_required"
    SUSPENDED = "suspended"
    DISCONNECTED = "disconnected"


class LocationStatus(StrEnum):
    """`available`: seen at the vendor, not chosen for syncing. `removed`: no longer listed by the vendor."""

    AVAILABLE = "available"
    ACTIVE = "active"
    REMOVED = "removed"


class Connection(AccountOwned, Base):
    """An agency (GoHighLevel company) that the account has authorised. Tokens are sealed with the account's data key."""

    __tablename__ = "connection"
    __table_args__ = (owned_key("connection"), sa.UniqueConstraint("account_id", "company_id"), sa.Index(None, "company_id"))

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    company_id: Mapped[str]
    name: Mapped[str]
    user_type: Mapped[str]
    status: Mapped[ConnectionStatus] = mapped_column(choice(ConnectionStatus))
    scopes: Mapped[list[str]]
    access_token: Mapped[bytes | None]
    refresh_token: Mapped[bytes | None]
    access_expires_at: Mapped[datetime | None]
    connected_by: Mapped[UUID | None]
    connected_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    disconnected_at: Mapped[datetime | None]
    tested_at: Mapped[datetime | None]
    test_latency_ms: Mapped[int | None]
    test_failures: Mapped[list[str] | None]
    version: Mapped[int] = mapped_column(default=1)


class AuthorizationOutcome(StrEnum):
    """How a visit to the vendor's consent page ended."""

    PENDING = "pending"
    CONNECTED = "connected"
    UPDATED = "updated"
    DENIED = "denied"
    EXPIRED = "expired"
    FAILED = "failed"


class Authorization(AccountOwned, Base):
    """One visit to the vendor's consent page. `state` travels through the browser; only its hash is kept."""

    __tablename__ = "authorization"
    __table_args__ = (owned_by("connection_id", "connection"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    state_hash: Mapped[bytes] = mapped_column(unique=True)
    user_id: Mapped[UUID | None]
    connection_id: Mapped[UUID | None]
    outcome: Mapped[AuthorizationOutcome] = mapped_column(choice(AuthorizationOutcome), default=AuthorizationOutcome.PENDING)
    message: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    expires_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Location(AccountOwned, Base):
    """A sub-account of an agency, with how its contacts are to be synced."""

    __tablename__ = "location"
    __table_args__ = (
        owned_key("location"),
        owned_by("connection_id", "connection"),
        sa.UniqueConstraint("account_id", "connection_id", "external_id"),
        sa.Index(None, "external_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    connection_id: Mapped[UUID]
    external_id: Mapped[str]
    name: Mapped[str]
    time_zone: Mapped[str | None]
    status: Mapped[LocationStatus] = mapped_column(choice(LocationStatus))
    direction: Mapped[SyncDirection] = mapped_column(choice(SyncDirection), default=SyncDirection.GHL_TO_BB)
    policy: Mapped[ConflictPolicy] = mapped_column(choice(ConflictPolicy), default=ConflictPolicy.MOST_RECENT_WINS)
    only_tags: Mapped[list[str]] = mapped_column(default=list)
    access_token: Mapped[bytes | None]
    access_expires_at: Mapped[datetime | None]
    synced_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class WebhookEvent(Base):
    """A verified webhook, kept before it is answered. `external_id` is the vendor's: a repeated one changes nothing."""

    __tablename__ = "webhook_event"
    __table_args__ = (sa.Index(None, "received_at"),)

    external_id: Mapped[str] = mapped_column(primary_key=True)
    vendor: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
