"""Schedules of workflows, and what came of each instant at which one was due."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import AccountOwned, Base, choice, new_id, owned_by, owned_key


class MissedPolicy(StrEnum):
    """What happens to instants that went by while the system was down."""

    RUN_ONCE = "run_once"
    SKIP = "skip"
    RUN_ALL = "run_all"


class OverlapPolicy(StrEnum):
    """What happens at an instant at which the schedule's former run has not ended."""

    SKIP = "skip"
    QUEUE_ONE = "queue_one"
    ALLOW = "allow"


class FireResult(StrEnum):
    """What came of an instant. `started` becomes what its run ended as."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    OVERLAPPED = "overlapped"
    MISSED = "missed"


class Schedule(AccountOwned, Base):
    """When a workflow runs by itself. `recurrence` is as `domain.schedules.recurrence` writes it, in the IANA zone `zone`.

    `next_at` is the instant that is due next: none while it is paused or disabled, and when there is none to come.
    """

    __tablename__ = "schedule"
    __table_args__ = (
        owned_key("schedule"),
        owned_by("workflow_id", "workflow"),
        sa.Index("ix_schedule_due", "next_at", postgresql_where=sa.text("next_at IS NOT NULL")),
        sa.Index(None, "account_id", "workflow_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    workflow_id: Mapped[UUID]
    name: Mapped[str]
    recurrence: Mapped[dict[str, Any]]
    zone: Mapped[str]
    missed_policy: Mapped[MissedPolicy] = mapped_column(choice(MissedPolicy))
    overlap_policy: Mapped[OverlapPolicy] = mapped_column(choice(OverlapPolicy))
    priority: Mapped[int | None]
    recipients: Mapped[list[str]]
    next_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]
    deleted_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class ScheduleFire(AccountOwned, Base):
    """What a schedule did at `nominal_at`, once. `missed` counts the earlier instants that this one stands for.

    `settled_at` is when the end of its run was written down and told to the recipients; a run that is retried is settled
    again. It outlives its job, hence no reference to that.
    """

    __tablename__ = "schedule_fire"
    __table_args__ = (
        owned_by("schedule_id", "schedule"),
        sa.UniqueConstraint("account_id", "schedule_id", "nominal_at"),
        sa.Index(
            "ix_schedule_fire_open",
            "account_id",
            "schedule_id",
            postgresql_where=sa.text("settled_at IS NULL"),
        ),
        sa.Index(
            "ix_schedule_fire_job",
            "account_id",
            "job_id",
            postgresql_where=sa.text("job_id IS NOT NULL"),
        ),
        sa.Index(None, "nominal_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    schedule_id: Mapped[UUID]
    nominal_at: Mapped[datetime]
    fired_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    is_manual: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    result: Mapped[FireResult] = mapped_column(choice(FireResult))
    missed: Mapped[int] = mapped_column(default=0, server_default=sa.text("0"))
    run_id: Mapped[UUID | None]
    job_id: Mapped[UUID | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    message: Mapped[str | None]
