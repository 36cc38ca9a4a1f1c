"""What decides when a job may start: slots, workers, an account's settings for a kind, and the jobs that it waits for."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import AccountOwned, Base, choice, owned_by
from db.models.jobs import Lane
from db.models.tenancy import Role


class DependencyPolicy(StrEnum):
    """What a parent's end means for its child. `succeeded`: another end skips it. `ended`: it runs however the parent ended."""

    SUCCEEDED = "succeeded"
    ENDED = "ended"


class AccountSlots(Base):
    """How many jobs of an account may hold a lease at once, and the row that admission locks.

    `retention_at` is when its old history is deleted next; None: nobody has planned it yet.
    """

    __tablename__ = "account_slots"

    account_id: Mapped[UUID] = mapped_column(sa.ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    slots: Mapped[int] = mapped_column(default=10)
    version: Mapped[int] = mapped_column(default=1, server_default=sa.text("1"))
    admitted_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    retention_at: Mapped[datetime | None] = mapped_column(index=True)


class Worker(Base):
    """A worker process that is alive while `seen_at` is fresh, and how many jobs it carries at once."""

    __tablename__ = "worker"

    name: Mapped[str] = mapped_column(primary_key=True)
    lane: Mapped[Lane] = mapped_column(choice(Lane))
    capacity: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class JobSetting(AccountOwned, Base):
    """What an account decided for its future jobs of one kind; None leaves a thing as the kind has it.

    `slots` bounds how many of them hold a lease at once, within the account's slots. `set_by` is the role of whoever decided
    `priority`: what an admin decided, a member does not change. `version` is 0 before anything was decided.
    """

    __tablename__ = "job_setting"

    account_id: Mapped[UUID] = mapped_column(sa.ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    priority: Mapped[int | None]
    max_retries: Mapped[int | None]
    timeout_seconds: Mapped[int | None]
    slots: Mapped[int | None]
    set_by: Mapped[Role | None] = mapped_column(choice(Role))
    version: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class JobDependency(AccountOwned, Base):
    """`job_id` starts after `parent_id`; `policy` says what the parent's end means for it."""

    __tablename__ = "job_dependency"
    __table_args__ = (
        owned_by("job_id", "job"),
        owned_by("parent_id", "job"),
        sa.Index(None, "account_id", "parent_id"),
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    parent_id: Mapped[UUID] = mapped_column(primary_key=True)
    policy: Mapped[DependencyPolicy] = mapped_column(choice(DependencyPolicy))
