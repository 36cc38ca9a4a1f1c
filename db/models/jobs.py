"""A job, its attempts, its events, its log, and the moves that others react to."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import AccountOwned, Base, choice, new_id, owned_by, owned_key
from db.models.tenancy import ActorType


class JobState(StrEnum):
    """Where a job stands. The last five are terminal."""

    BLOCKED = "blocked"
    SCHEDULED = "scheduled"
    READY = "ready"
    ADMITTED = "admitted"
    RUNNING = "running"
    BACKOFF = "backoff"
    WAITING = "waiting"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.PARTIAL, JobState.FAILED, JobState.CANCELLED, JobState.SKIPPED})
LEASED = frozenset({JobState.ADMITTED, JobState.RUNNING, JobState.CANCELLING})


class Lane(StrEnum):
    """A class of workers: a queue of its own, so that long work never delays what a person waits for."""

    INTERACTIVE = "interactive"
    BULK = "bulk"
    CALLS = "calls"


class AttemptOutcome(StrEnum):
    """How an attempt ended. `lost`: its worker fell silent. `snoozed` and `handed_back` cost no retry."""

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WAITING = "waiting"
    SNOOZED = "snoozed"
    HANDED_BACK = "handed_back"
    LOST = "lost"


class Attention(StrEnum):
    """What support and the customer agreed on about a job that failed."""

    REQUIRES_ACTION = "requires_action"
    RESOLVED = "resolved"


class LogLevel(StrEnum):
    """How much a log line matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_TERMINAL_SQL = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
# As text: an index with a condition is not found for a condition with parameters once PostgreSQL plans generically.
NOT_ENDED = sa.text(f"state NOT IN ({_TERMINAL_SQL})")
_LEASED_SQL = ", ".join(f"'{state}'" for state in sorted(LEASED))
READY_TO_START = sa.text("state = 'ready' AND paused_at IS NULL")
_WAITS_FOR_SLOT = sa.text("state = 'ready' AND paused_at IS NULL AND takes_slot")
_SLOTLESS = sa.text("state = 'ready' AND paused_at IS NULL AND NOT takes_slot")
_SHOWN = sa.text("archived_at IS NULL")
POSITION = sa.Sequence("job_position_seq", metadata=Base.metadata)


class Job(AccountOwned, Base):
    """What was asked for, and how far it is. Every change adds 1 to `version` and one JobEvent.

    `fence` rises with each admission: a worker that holds an older one can change nothing. `failures` counts the attempts
    that cost a retry, `attempt` all of them. `waiting_for` is the key of what must happen before a waiting job goes on.
    `args_digest` tells whether the stored arguments are still those that were asked for. `expired_at`: retention dropped its
    arguments and checkpoint. One that does not `takes_slot` starts whatever else the account runs. `required_action` is what
    undoing `attention` RESOLVED goes back to. `traceparent` is W3C's, of the request that asked. Times are UTC; `rate` is in
    items a second.
    """

    __tablename__ = "job"
    __table_args__ = (
        owned_key("job"),
        owned_by("location_id", "location", ondelete="CASCADE"),
        sa.Index(
            "ix_job_ready",
            "account_id",
            sa.text("priority DESC"),
            "position",
            postgresql_where=READY_TO_START,
        ),
        sa.Index(
            "ix_job_ready_kind",
            "lane",
            "account_id",
            "kind",
            sa.text("priority DESC"),
            "position",
            postgresql_where=_WAITS_FOR_SLOT,
        ),
        sa.Index("ix_job_slotless", "account_id", "position", postgresql_where=_SLOTLESS),
        sa.Index("ix_job_paused", "account_id", postgresql_where=sa.text("paused_at IS NOT NULL")),
        sa.Index("ix_job_blocked", "account_id", postgresql_where=sa.text("state = 'blocked'")),
        sa.Index("ix_job_due", "run_at", postgresql_where=sa.text("state IN ('scheduled', 'backoff')")),
        sa.Index("ix_job_leased", "lease_until", postgresql_where=sa.text(f"state IN ({_LEASED_SQL})")),
        sa.Index(
            "ix_job_leased_kind",
            "account_id",
            "kind",
            postgresql_where=sa.text(f"state IN ({_LEASED_SQL}) AND takes_slot"),
        ),
        sa.Index("ix_job_waiting", "account_id", "waiting_for", postgresql_where=sa.text("state = 'waiting'")),
        # What counts need beside its columns is included, so that they are read from the index alone.
        sa.Index(
            "ix_job_shown",
            "account_id",
            sa.text("created_at DESC"),
            sa.text("id DESC"),
            postgresql_include=["kind"],
            postgresql_where=_SHOWN,
        ),
        sa.Index(
            "ix_job_shown_state",
            "account_id",
            "state",
            sa.text("created_at DESC"),
            sa.text("id DESC"),
            postgresql_include=["kind", "paused_at"],
            postgresql_where=_SHOWN,
        ),
        sa.Index(
            "ix_job_finished",
            "account_id",
            sa.text("finished_at DESC"),
            sa.text("id DESC"),
            postgresql_include=["kind", "state"],
            postgresql_where=sa.text("finished_at IS NOT NULL AND archived_at IS NULL"),
        ),
        *(
            sa.Index(
                f"ix_job_{name}",
                "account_id",
                column,
                sa.text("created_at DESC"),
                sa.text("id DESC"),
                postgresql_where=sa.text(f"{column} IS NOT NULL AND archived_at IS NULL"),
            )
            for name, column in (("location", "location_id"), ("origin", "origin_id"), ("error", "error_code"))
        ),
        sa.Index(
            "ix_job_archived",
            "account_id",
            sa.text("created_at DESC"),
            sa.text("id DESC"),
            postgresql_where=sa.text("archived_at IS NOT NULL"),
        ),
        sa.Index(
            "ix_job_attention",
            "account_id",
            "attention",
            sa.text("created_at DESC"),
            sa.text("id DESC"),
            postgresql_where=sa.text("attention IS NOT NULL"),
        ),
        sa.Index("ix_job_kind", "account_id", "kind", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index(
            "ix_job_unexpired",
            "account_id",
            "finished_at",
            postgresql_where=sa.text("finished_at IS NOT NULL AND expired_at IS NULL"),
        ),
        sa.Index(
            "uq_job_dedupe",
            "account_id",
            "dedupe_key",
            unique=True,
            postgresql_where=NOT_ENDED,
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    lane: Mapped[Lane] = mapped_column(choice(Lane))
    title: Mapped[str]
    args: Mapped[dict[str, Any]]
    args_digest: Mapped[bytes | None]
    location_id: Mapped[UUID | None]
    state: Mapped[JobState] = mapped_column(choice(JobState))
    waiting_for: Mapped[str | None]
    takes_slot: Mapped[bool] = mapped_column(default=True, server_default=sa.true())
    priority: Mapped[int] = mapped_column(default=0)
    position: Mapped[int] = mapped_column(sa.BigInteger, POSITION, server_default=POSITION.next_value())
    run_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    paused_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]
    expired_at: Mapped[datetime | None]
    attention: Mapped[Attention | None] = mapped_column(choice(Attention))
    required_action: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    attention_at: Mapped[datetime | None]

    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    max_retries: Mapped[int] = mapped_column(default=5)
    deadline_at: Mapped[datetime | None]
    timeout_seconds: Mapped[int] = mapped_column(default=3600)

    version: Mapped[int] = mapped_column(default=1)
    dedupe_key: Mapped[str | None]
    checkpoint: Mapped[dict[str, Any] | None]
    phase: Mapped[str | None]
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int | None]
    rate: Mapped[float | None]
    eta_at: Mapped[datetime | None]
    progress_at: Mapped[datetime | None]
    message: Mapped[str | None]
    result: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]

    origin_type: Mapped[ActorType] = mapped_column(choice(ActorType))
    origin_id: Mapped[UUID | None]
    origin_name: Mapped[str]
    request_id: Mapped[str]
    traceparent: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobAttempt(AccountOwned, Base):
    """One run of a job by one worker. Numbers are contiguous from 1. `next_delay` is in seconds."""

    __tablename__ = "job_attempt"
    __table_args__ = (owned_by("job_id", "job"),)

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    fence: Mapped[int]
    worker: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    ended_at: Mapped[datetime | None]
    outcome: Mapped[AttemptOutcome | None] = mapped_column(choice(AttemptOutcome))
    error_class: Mapped[str | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    http_status: Mapped[int | None]
    stack_trace: Mapped[str | None]
    next_delay: Mapped[float | None]


class JobEvent(AccountOwned, Base):
    """What a job looked like at `version`.

    (`xid`, `id`) is a commit-safe cursor: identity values are handed out in another order than transactions commit, so a
    reader takes only rows whose `xid` is below pg_snapshot_xmin(pg_current_snapshot()).
    """

    __tablename__ = "job_event"
    __table_args__ = (
        owned_by("job_id", "job"),
        sa.Index("ix_job_event_cursor", "account_id", "xid", "id"),
        sa.Index(None, "at"),
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True))
    xid: Mapped[int] = mapped_column(sa.BigInteger, server_default=sa.text("(pg_current_xact_id()::text)::bigint"))
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    state: Mapped[JobState] = mapped_column(choice(JobState))
    attempt: Mapped[int]
    phase: Mapped[str | None]
    done: Mapped[int]
    total: Mapped[int | None]
    message: Mapped[str | None]


class JobLog(AccountOwned, Base):
    """A line about one thing a job met: a row it skipped, a conflict it decided. `subject` is the vendor's id of that thing."""

    __tablename__ = "job_log"
    __table_args__ = (
        owned_by("job_id", "job"),
        sa.Index(None, "account_id", "job_id", "id"),
        sa.Index("ix_job_log_subject", "account_id", "subject", postgresql_where=sa.text("subject IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    job_id: Mapped[UUID]
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    level: Mapped[LogLevel] = mapped_column(choice(LogLevel))
    code: Mapped[str]
    message: Mapped[str]
    subject: Mapped[str | None]
    field: Mapped[str | None]


class JobMove(AccountOwned, Base):
    """A move that others react to (see `domain.reactions`), until somebody has: an end, a failed attempt, a wait."""

    __tablename__ = "job_move"
    __table_args__ = (owned_by("job_id", "job"), sa.Index(None, "account_id", "job_id"))

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    job_id: Mapped[UUID]
    version: Mapped[int]
    state: Mapped[JobState] = mapped_column(choice(JobState))
    attempt: Mapped[int]
    failures: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
