"""What a job is taken up again by after a failure: its items, its effects outside, and what people wrote about it."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import AccountOwned, Base, choice, new_id, owned_by
from db.models.tenancy import ActorType


class ItemState(StrEnum):
    """How one item of a job stands. A retry of a partial job does those that failed."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class JobItem(AccountOwned, Base):
    """One of the things that a job does one by one; `key` is stable across attempts, `number` is its place from 1."""

    __tablename__ = "job_item"
    __table_args__ = (owned_by("job_id", "job"), sa.Index(None, "account_id", "job_id", "number"))

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    title: Mapped[str]
    state: Mapped[ItemState] = mapped_column(choice(ItemState), default=ItemState.PENDING)
    code: Mapped[str | None]
    message: Mapped[str | None]
    result: Mapped[dict[str, Any] | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class JobTarget(AccountOwned, Base):
    """A job that another one, `job_id`, is to change: which ones was settled when that was asked for.

    `target_id` is no reference: a target that is deleted meanwhile is simply not found.
    """

    __tablename__ = "job_target"
    __table_args__ = (owned_by("job_id", "job"),)

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    target_id: Mapped[UUID] = mapped_column(primary_key=True)


class EffectState(StrEnum):
    """`intended`: it was about to be asked for, and may have happened. `unknown`: nobody can be asked whether it did."""

    INTENDED = "intended"
    DONE = "done"
    UNKNOWN = "unknown"


class Effect(AccountOwned, Base):
    """Something outside that must happen at most once, by a `key` that is stable across attempts."""

    __tablename__ = "effect"
    __table_args__ = (owned_by("job_id", "job"), sa.Index(None, "account_id", "job_id"))

    account_id: Mapped[UUID] = mapped_column(sa.ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[UUID]
    state: Mapped[EffectState] = mapped_column(choice(EffectState), default=EffectState.INTENDED)
    vendor_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class JobNote(AccountOwned, Base):
    """What support and the customer write to each other about a job. An `internal` one only support sees."""

    __tablename__ = "job_note"
    __table_args__ = (owned_by("job_id", "job"), sa.Index(None, "account_id", "job_id", "id"))

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    job_id: Mapped[UUID]
    author_type: Mapped[ActorType] = mapped_column(choice(ActorType))
    author_id: Mapped[UUID | None]
    author_name: Mapped[str]
    body: Mapped[str]
    internal: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
