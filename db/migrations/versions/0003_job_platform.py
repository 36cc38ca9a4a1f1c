"""The tables of the job platform."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("job_boost_seq")))
    op.create_table(
        "file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", postgresql.BYTEA(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("needs", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_file_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file")),
    )
    op.create_index(op.f("ix_file_expires_at"), "file", ["expires_at"], unique=False)
    op.create_index("uq_file_account_id_id", "file", ["account_id", "id"], unique=True)
    op.create_table(
        "job_setting",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("max_retries", sa.Integer(), nullable=True),
        sa.Column("timeout_seconds", sa.Integer(), nullable=True),
        sa.Column("slots", sa.Integer(), nullable=True),
        sa.Column(
            "set_by",
            sa.Enum(
                "owner",
                "admin",
                "member",
                "support",
                "viewer",
                name="role",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_job_setting_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account_id", "kind", name=op.f("pk_job_setting")),
    )
    op.create_table(
        "notice",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "event",
            sa.Enum(
                "job_completed",
                "job_first_failure",
                "job_failed",
                "job_partial",
                "job_waiting",
                "job_cancelled",
                "requires_action",
                "note_added",
                "schedule_disabled",
                "integration_disconnected",
                name="notificationevent",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("job_kind", sa.Text(), nullable=True),
        sa.Column("job_state", sa.Text(), nullable=True),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_notice_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    op.create_index(op.f("ix_notice_account_id_id"), "notice", ["account_id", "id"], unique=False)
    op.create_index(op.f("ix_notice_at"), "notice", ["at"], unique=False)
    op.create_table(
        "slack_connection",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column(
            "status",
            sa.Enum("connected", "disconnected", name="slackstatus", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("webhook", postgresql.BYTEA(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("connected_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("disconnected_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_slack_connection_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_slack_connection")),
    )
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("event_types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("secret", postgresql.BYTEA(), nullable=False),
        sa.Column("previous_secret", postgresql.BYTEA(), nullable=True),
        sa.Column("previous_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("failing_since", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_webhook_endpoint_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
    )
    op.create_index(
        op.f("ix_webhook_endpoint_account_id"),
        "webhook_endpoint",
        ["account_id"],
        unique=False,
        postgresql_where=sa.text("disabled_at IS NULL"),
    )
    op.create_index("uq_webhook_endpoint_account_id_id", "webhook_endpoint", ["account_id", "id"], unique=True)
    op.create_table(
        "workflow",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("steps", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_workflow_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow")),
    )
    op.create_index("uq_workflow_account_id_id", "workflow", ["account_id", "id"], unique=True)
    op.create_table(
        "notification",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("audience", postgresql.ARRAY(sa.UUID()), server_default="{}", nullable=False),
        sa.Column(
            "event",
            sa.Enum(
                "job_completed",
                "job_first_failure",
                "job_failed",
                "job_partial",
                "job_waiting",
                "job_cancelled",
                "requires_action",
                "note_added",
                "schedule_disabled",
                "integration_disconnected",
                name="notificationevent",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("channels", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("in_app", sa.Boolean(), nullable=False),
        sa.Column("critical", sa.Boolean(), nullable=False),
        sa.Column("muted", sa.Boolean(), nullable=False),
        sa.Column("gathering", sa.Text(), nullable=True),
        sa.Column("gathers_until", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("notices", postgresql.ARRAY(sa.UUID()), nullable=False),
        sa.Column("read_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("xid", sa.BigInteger(), server_default=sa.text("(pg_current_xact_id()::text)::bigint"), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "user_id"],
            ["user.account_id", "user.id"],
            name=op.f("fk_notification_account_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_notification_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
    )
    op.create_index(op.f("ix_notification_created_at"), "notification", ["created_at"], unique=False)
    op.create_index(
        "ix_notification_critical",
        "notification",
        ["account_id", "user_id", "event", "gathers_until"],
        unique=False,
        postgresql_where=sa.text("critical"),
    )
    op.create_index(
        "ix_notification_cursor",
        "notification",
        ["account_id", "user_id", "xid", "number"],
        unique=False,
        postgresql_where=sa.text("in_app"),
    )
    op.create_index(
        "ix_notification_gathering",
        "notification",
        ["gathers_until"],
        unique=False,
        postgresql_where=sa.text("gathering IS NOT NULL"),
    )
    op.create_index(
        "ix_notification_of_user",
        "notification",
        ["account_id", "user_id", "id"],
        unique=False,
        postgresql_where=sa.text("in_app"),
    )
    op.create_index(
        "ix_notification_unread",
        "notification",
        ["account_id", "user_id", "id"],
        unique=False,
        postgresql_where=sa.text("in_app AND read_at IS NULL"),
    )
    op.create_index("uq_notification_account_id_id", "notification", ["account_id", "id"], unique=True)
    op.create_index(
        "uq_notification_gathering",
        "notification",
        ["account_id", "user_id", "gathering"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("gathering IS NOT NULL"),
    )
    op.create_table(
        "notification_setting",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("since", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column(
            "default_channel",
            sa.Enum("in_app", "email", "slack", name="channel", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("muted_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("rules", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "user_id"],
            ["user.account_id", "user.id"],
            name=op.f("fk_notification_setting_account_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_notification_setting_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "version", name=op.f("pk_notification_setting")),
    )
    op.create_table(
        "schedule",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("recurrence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column(
            "missed_policy",
            sa.Enum("run_once", "skip", "run_all", name="missedpolicy", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column(
            "overlap_policy",
            sa.Enum("skip", "queue_one", "allow", name="overlappolicy", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("recipients", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("next_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("paused_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "workflow_id"],
            ["workflow.account_id", "workflow.id"],
            name=op.f("fk_schedule_account_id_workflow_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_schedule_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
    )
    op.create_index(
        op.f("ix_schedule_account_id_workflow_id_id"), "schedule", ["account_id", "workflow_id", "id"], unique=False
    )
    op.create_index("ix_schedule_due", "schedule", ["next_at"], unique=False, postgresql_where=sa.text("next_at IS NOT NULL"))
    op.create_index("uq_schedule_account_id_id", "schedule", ["account_id", "id"], unique=True)
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "delivered",
                "failed",
                name="webhookdeliverystate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "endpoint_id"],
            ["webhook_endpoint.account_id", "webhook_endpoint.id"],
            name=op.f("fk_webhook_delivery_account_id_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_webhook_delivery_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
    )
    op.create_index(
        op.f("ix_webhook_delivery_account_id_created_at"), "webhook_delivery", ["account_id", "created_at"], unique=False
    )
    op.create_index(
        "ix_webhook_delivery_due",
        "webhook_delivery",
        ["endpoint_id", "next_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_webhook_delivery_endpoint",
        "webhook_delivery",
        ["account_id", "endpoint_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_webhook_delivery_sending",
        "webhook_delivery",
        ["endpoint_id"],
        unique=False,
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    )
    op.create_index("uq_webhook_delivery_account_id_id", "webhook_delivery", ["account_id", "id"], unique=True)
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("notification_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column(
            "channel",
            sa.Enum("in_app", "email", "slack", name="channel", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("content", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "state",
            sa.Enum(
                "queued",
                "sending",
                "delivered",
                "failed",
                name="deliverystate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="queued",
            nullable=False,
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("fallback_of", sa.Uuid(), nullable=True),
        sa.Column("fell_back_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "notification_id"],
            ["notification.account_id", "notification.id"],
            name=op.f("fk_delivery_account_id_notification_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "user_id"],
            ["user.account_id", "user.id"],
            name=op.f("fk_delivery_account_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_delivery_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
    )
    op.create_index(op.f("ix_delivery_created_at"), "delivery", ["created_at"], unique=False)
    op.create_index(
        "ix_delivery_due",
        "delivery",
        ["channel", "account_id", "next_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'sending')"),
    )
    op.create_index("ix_delivery_log", "delivery", ["account_id", "created_at", "id"], unique=False)
    op.create_index(
        "uq_delivery_key",
        "delivery",
        ["account_id", "key", "address"],
        unique=True,
        postgresql_where=sa.text("key IS NOT NULL"),
    )
    op.create_index(
        "uq_delivery_notification",
        "delivery",
        ["account_id", "notification_id", "channel", "user_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("notification_id IS NOT NULL"),
    )
    op.create_table(
        "schedule_fire",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("nominal_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("fired_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("is_manual", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "result",
            sa.Enum(
                "started",
                "succeeded",
                "partial",
                "failed",
                "cancelled",
                "overlapped",
                "missed",
                name="fireresult",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("missed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("settled_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "schedule_id"],
            ["schedule.account_id", "schedule.id"],
            name=op.f("fk_schedule_fire_account_id_schedule_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_schedule_fire_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_fire")),
        sa.UniqueConstraint(
            "account_id", "schedule_id", "nominal_at", name=op.f("uq_schedule_fire_account_id_schedule_id_nominal_at")
        ),
    )
    op.create_index(
        "ix_schedule_fire_job",
        "schedule_fire",
        ["account_id", "job_id"],
        unique=False,
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )
    op.create_index(op.f("ix_schedule_fire_nominal_at"), "schedule_fire", ["nominal_at"], unique=False)
    op.create_index(
        "ix_schedule_fire_open",
        "schedule_fire",
        ["account_id", "schedule_id"],
        unique=False,
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    op.create_table(
        "webhook_attempt",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("excerpt", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "delivery_id"],
            ["webhook_delivery.account_id", "webhook_delivery.id"],
            name=op.f("fk_webhook_attempt_account_id_delivery_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_webhook_attempt_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=op.f("pk_webhook_attempt")),
    )
    op.create_table(
        "effect",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("intended", "done", "unknown", name="effectstate", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("vendor_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"], ["job.account_id", "job.id"], name=op.f("fk_effect_account_id_job_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_effect_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_effect")),
    )
    op.create_index(op.f("ix_effect_account_id_job_id"), "effect", ["account_id", "job_id"], unique=False)
    op.create_table(
        "job_dependency",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=False),
        sa.Column(
            "policy",
            sa.Enum("succeeded", "ended", name="dependencypolicy", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"],
            ["job.account_id", "job.id"],
            name=op.f("fk_job_dependency_account_id_job_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "parent_id"],
            ["job.account_id", "job.id"],
            name=op.f("fk_job_dependency_account_id_parent_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_job_dependency_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "parent_id", name=op.f("pk_job_dependency")),
    )
    op.create_index(op.f("ix_job_dependency_account_id_parent_id"), "job_dependency", ["account_id", "parent_id"], unique=False)
    op.create_table(
        "job_item",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("pending", "done", "failed", name="itemstate", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"],
            ["job.account_id", "job.id"],
            name=op.f("fk_job_item_account_id_job_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_job_item_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "key", name=op.f("pk_job_item")),
    )
    op.create_index(op.f("ix_job_item_account_id_job_id_number"), "job_item", ["account_id", "job_id", "number"], unique=False)
    op.create_table(
        "job_move",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "blocked",
                "scheduled",
                "ready",
                "admitted",
                "running",
                "backoff",
                "waiting",
                "cancelling",
                "succeeded",
                "partial",
                "failed",
                "cancelled",
                "skipped",
                name="jobstate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"],
            ["job.account_id", "job.id"],
            name=op.f("fk_job_move_account_id_job_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_job_move_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_move")),
    )
    op.create_index(op.f("ix_job_move_account_id_job_id"), "job_move", ["account_id", "job_id"], unique=False)
    op.create_table(
        "job_note",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column(
            "author_type",
            sa.Enum(
                "user",
                "api_key",
                "support",
                "vendor_webhook",
                "system",
                name="actortype",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("author_id", sa.Uuid(), nullable=True),
        sa.Column("author_name", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("internal", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"],
            ["job.account_id", "job.id"],
            name=op.f("fk_job_note_account_id_job_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_job_note_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_note")),
    )
    op.create_index(op.f("ix_job_note_account_id_job_id_id"), "job_note", ["account_id", "job_id", "id"], unique=False)
    op.create_table(
        "job_target",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"],
            ["job.account_id", "job.id"],
            name=op.f("fk_job_target_account_id_job_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_job_target_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "target_id", name=op.f("pk_job_target")),
    )
    op.create_table(
        "workflow_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("workflow_version", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("steps", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("outcomes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("files", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"],
            ["job.account_id", "job.id"],
            name=op.f("fk_workflow_run_account_id_job_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "workflow_id"],
            ["workflow.account_id", "workflow.id"],
            name=op.f("fk_workflow_run_account_id_workflow_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_workflow_run_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow_run")),
        sa.UniqueConstraint("job_id", name=op.f("uq_workflow_run_job_id")),
    )
    op.create_index(
        op.f("ix_workflow_run_account_id_workflow_id_id"), "workflow_run", ["account_id", "workflow_id", "id"], unique=False
    )
    op.add_column("account", sa.Column("suspended_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("account_slots", sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False))
    op.add_column("account_slots", sa.Column("retention_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.create_index(op.f("ix_account_slots_retention_at"), "account_slots", ["retention_at"], unique=False)
    op.add_column("job", sa.Column("args_digest", postgresql.BYTEA(), nullable=True))
    op.add_column("job", sa.Column("takes_slot", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column("job", sa.Column("expired_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column(
        "job",
        sa.Column(
            "attention",
            sa.Enum("requires_action", "resolved", name="attention", native_enum=False, create_constraint=True, length=32),
            nullable=True,
        ),
    )
    op.add_column("job", sa.Column("required_action", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("job", sa.Column("attention_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("job", sa.Column("traceparent", sa.Text(), nullable=True))
    op.drop_index(op.f("ix_job_created"), table_name="job")
    op.drop_index(
        op.f("ix_job_leased_account"),
        table_name="job",
        postgresql_where="((state)::text = ANY ((ARRAY['admitted'::character varying, 'cancelling'::character varying, 'running'::character varying])::text[]))",
    )
    op.drop_index(
        op.f("ix_job_ready_lane"),
        table_name="job",
        postgresql_where="(((state)::text = 'ready'::text) AND (paused_at IS NULL))",
    )
    op.drop_index(op.f("ix_job_state"), table_name="job")
    op.create_index(
        "ix_job_archived",
        "job",
        ["account_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("archived_at IS NOT NULL"),
    )
    op.create_index(
        "ix_job_attention",
        "job",
        ["account_id", "attention", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("attention IS NOT NULL"),
    )
    op.create_index("ix_job_blocked", "job", ["account_id"], unique=False, postgresql_where=sa.text("state = 'blocked'"))
    op.create_index(
        "ix_job_error",
        "job",
        ["account_id", "error_code", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("error_code IS NOT NULL AND archived_at IS NULL"),
    )
    op.create_index(
        "ix_job_finished",
        "job",
        ["account_id", sa.literal_column("finished_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_include=["kind", "state"],
        postgresql_where=sa.text("finished_at IS NOT NULL AND archived_at IS NULL"),
    )
    op.create_index(
        "ix_job_leased_kind",
        "job",
        ["account_id", "kind"],
        unique=False,
        postgresql_where=sa.text("state IN ('admitted', 'cancelling', 'running') AND takes_slot"),
    )
    op.create_index(
        "ix_job_location",
        "job",
        ["account_id", "location_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("location_id IS NOT NULL AND archived_at IS NULL"),
    )
    op.create_index(
        "ix_job_origin",
        "job",
        ["account_id", "origin_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("origin_id IS NOT NULL AND archived_at IS NULL"),
    )
    op.create_index("ix_job_paused", "job", ["account_id"], unique=False, postgresql_where=sa.text("paused_at IS NOT NULL"))
    op.create_index(
        "ix_job_ready_kind",
        "job",
        ["lane", "account_id", "kind", sa.literal_column("priority DESC"), "position"],
        unique=False,
        postgresql_where=sa.text("state = 'ready' AND paused_at IS NULL AND takes_slot"),
    )
    op.create_index(
        "ix_job_shown",
        "job",
        ["account_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_include=["kind"],
        postgresql_where=sa.text("archived_at IS NULL"),
    )
    op.create_index(
        "ix_job_shown_state",
        "job",
        ["account_id", "state", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_include=["kind", "paused_at"],
        postgresql_where=sa.text("archived_at IS NULL"),
    )
    op.create_index(
        "ix_job_slotless",
        "job",
        ["account_id", "position"],
        unique=False,
        postgresql_where=sa.text("state = 'ready' AND paused_at IS NULL AND NOT takes_slot"),
    )
    op.create_index(
        "ix_job_unexpired",
        "job",
        ["account_id", "finished_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL AND expired_at IS NULL"),
    )
    op.create_index(
        "ix_job_log_subject",
        "job_log",
        ["account_id", "subject"],
        unique=False,
        postgresql_where=sa.text("subject IS NOT NULL"),
    )
