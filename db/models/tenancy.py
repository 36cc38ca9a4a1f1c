"""Accounts, the people and keys that act in them, and what they did."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import AccountOwned, Base, choice, new_id, owned_by, owned_key


class Role(StrEnum):
    """What a user may do, from most to least. Support staff belong to a staff account and act in others by grant only."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    SUPPORT = "support"
    VIEWER = "viewer"


class ActorType(StrEnum):
    """Who asks."""

    USER = "user"
    API_KEY = "api_key"
    SUPPORT = "support"
    VENDOR_WEBHOOK = "vendor_webhook"
    SYSTEM = "system"


class AccessOutcome(StrEnum):
    """How an access ended."""

    ALLOWED = "allowed"
    DENIED = "denied"


class Account(Base):
    """An agency. A staff account holds the platform's own support people. While it is suspended its jobs wait."""

    __tablename__ = "account"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    is_staff: Mapped[bool] = mapped_column(default=False)
    suspended_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class User(AccountOwned, Base):
    """A person who signs in with `email` (stored in lower case, unique across all accounts)."""

    __tablename__ = "user"
    __table_args__ = (owned_key("user"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    role: Mapped[Role] = mapped_column(choice(Role))
    password_hash: Mapped[str]
    disabled_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class Session(AccountOwned, Base):
    """A signed-in device. The refresh token rotates at every use; an old one that comes back revokes the session."""

    __tablename__ = "session"
    __table_args__ = (owned_key("session"), owned_by("user_id", "user"), sa.Index(None, "user_id"))

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID]
    refresh_hash: Mapped[bytes] = mapped_column(unique=True)
    user_agent: Mapped[str | None]
    ip: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    refreshed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class SpentRefreshToken(AccountOwned, Base):
    """A rotated refresh token: seeing it again means that somebody copied it."""

    __tablename__ = "spent_refresh_token"
    __table_args__ = (owned_by("session_id", "session"), sa.Index(None, "session_id"))

    refresh_hash: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[UUID]


class ApiKey(AccountOwned, Base):
    """A credential of a program. Only its hash is kept; `prefix` lets people tell keys apart."""

    __tablename__ = "api_key"
    __table_args__ = (sa.Index(None, "account_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    prefix: Mapped[str]
    secret_hash: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class SupportGrant(AccountOwned, Base):
    """An account lets support staff in until `expires_at`."""

    __tablename__ = "support_grant"
    __table_args__ = (sa.Index(None, "account_id", "expires_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    reason: Mapped[str]
    granted_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class AccessLog(AccountOwned, Base):
    """Who reached the account's data. Append-only."""

    __tablename__ = "access_log"
    __table_args__ = (sa.Index(None, "account_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    actor_type: Mapped[ActorType] = mapped_column(choice(ActorType))
    actor_id: Mapped[UUID | None]
    actor_name: Mapped[str]
    action: Mapped[str]
    resource: Mapped[str]
    outcome: Mapped[AccessOutcome] = mapped_column(choice(AccessOutcome))
    reason: Mapped[str | None]
    request_id: Mapped[str]
    ip: Mapped[str | None]


class AuditLog(AccountOwned, Base):
    """What was changed by whom. Append-only; `details` holds before and after of the fields that changed, never secrets."""

    __tablename__ = "audit_log"
    __table_args__ = (sa.Index(None, "account_id", "id"), sa.Index(None, "account_id", "subject_id"))

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    actor_type: Mapped[ActorType] = mapped_column(choice(ActorType))
    actor_id: Mapped[UUID | None]
    actor_name: Mapped[str]
    action: Mapped[str]
    subject_type: Mapped[str]
    subject_id: Mapped[UUID | None]
    details: Mapped[dict[str, Any]]
    request_id: Mapped[str]


class DataKey(AccountOwned, Base):
    """The account's key for its secrets, wrapped by master key `master_version` (AES-256-GCM)."""

    __tablename__ = "data_key"

    account_id: Mapped[UUID] = mapped_column(sa.ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    master_version: Mapped[int]
    wrapped: Mapped[bytes]
    rotated_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class IdempotencyKey(AccountOwned, Base):
    """A mutation that was carried out: the same key with the same input leads to the same `subject_id` again."""

    __tablename__ = "idempotency_key"

    account_id: Mapped[UUID] = mapped_column(sa.ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    operation: Mapped[str]
    input_hash: Mapped[bytes]
    subject_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now(), index=True)
