"""Workflows: steps that run one after another, and their runs. How far a run is, is told by its job."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column

from db.base import AccountOwned, Base, new_id, owned_by, owned_key


class ReportOf(StrEnum):
    """What a report lists."""

    CONTACTS = "contacts"
    JOBS = "jobs"


class StepState(StrEnum):
    """How one step of a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Workflow(AccountOwned, Base):
    """Steps in order, as `domain.workflows.steps` writes them. A deleted one stays for the history of its runs."""

    __tablename__ = "workflow"
    __table_args__ = (owned_key("workflow"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    description: Mapped[str | None]
    steps: Mapped[list[dict[str, Any]]] = mapped_column(postgresql.JSONB())
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    deleted_at: Mapped[datetime | None]


class WorkflowRun(AccountOwned, Base):
    """One run of a workflow, with the steps as they were when it was asked for; `outcomes` has one entry for each of them.

    `files` are the reports that it made.
    """

    __tablename__ = "workflow_run"
    __table_args__ = (
        owned_by("workflow_id", "workflow"),
        owned_by("job_id", "job"),
        sa.UniqueConstraint("job_id"),
        sa.Index(None, "account_id", "workflow_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    workflow_id: Mapped[UUID]
    workflow_version: Mapped[int]
    job_id: Mapped[UUID]
    name: Mapped[str]
    steps: Mapped[list[dict[str, Any]]] = mapped_column(postgresql.JSONB())
    outcomes: Mapped[list[dict[str, Any]]] = mapped_column(postgresql.JSONB())
    files: Mapped[list[UUID]] = mapped_column(postgresql.ARRAY(sa.Uuid()))
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
