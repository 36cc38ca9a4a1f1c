"""Every table of the first release."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("job_position_seq")))
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_staff", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
    )
    op.create_table(
        "webhook_event",
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("received_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("external_id", "vendor", name=op.f("pk_webhook_event")),
    )
    op.create_index(op.f("ix_webhook_event_received_at"), "webhook_event", ["received_at"], unique=False)
    op.create_table(
        "worker",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "lane",
            sa.Enum("interactive", "bulk", "calls", name="lane", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker")),
    )
    op.create_table(
        "access_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "actor_type",
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
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column(
            "outcome",
            sa.Enum("allowed", "denied", name="accessoutcome", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_access_log_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_log")),
    )
    op.create_index(op.f("ix_access_log_account_id_id"), "access_log", ["account_id", "id"], unique=False)
    op.create_table(
        "account_slots",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("admitted_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_account_slots_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_account_slots")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("secret_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_used_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_api_key_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_api_key_secret_hash")),
    )
    op.create_index(op.f("ix_api_key_account_id_id"), "api_key", ["account_id", "id"], unique=False)
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "actor_type",
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
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_audit_log_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_account_id_id"), "audit_log", ["account_id", "id"], unique=False)
    op.create_index(op.f("ix_audit_log_account_id_subject_id"), "audit_log", ["account_id", "subject_id"], unique=False)
    op.create_table(
        "connection",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("user_type", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "active",
                "reauthorization_required",
                "suspended",
                "disconnected",
                name="connectionstatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("access_token", postgresql.BYTEA(), nullable=True),
        sa.Column("refresh_token", postgresql.BYTEA(), nullable=True),
        sa.Column("access_expires_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("connected_by", sa.Uuid(), nullable=True),
        sa.Column("connected_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("disconnected_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("tested_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("test_latency_ms", sa.Integer(), nullable=True),
        sa.Column("test_failures", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_connection_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connection")),
        sa.UniqueConstraint("account_id", "company_id", name=op.f("uq_connection_account_id_company_id")),
    )
    op.create_index(op.f("ix_connection_company_id"), "connection", ["company_id"], unique=False)
    op.create_index("uq_connection_account_id_id", "connection", ["account_id", "id"], unique=True)
    op.create_table(
        "data_key",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("master_version", sa.Integer(), nullable=False),
        sa.Column("wrapped", postgresql.BYTEA(), nullable=False),
        sa.Column("rotated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_data_key_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_data_key")),
    )
    op.create_table(
        "idempotency_key",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("input_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_idempotency_key_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_idempotency_key")),
    )
    op.create_index(op.f("ix_idempotency_key_created_at"), "idempotency_key", ["created_at"], unique=False)
    op.create_table(
        "support_grant",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("granted_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_support_grant_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_support_grant")),
    )
    op.create_index(op.f("ix_support_grant_account_id_expires_at"), "support_grant", ["account_id", "expires_at"], unique=False)
    op.create_table(
        "user",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "role",
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
            nullable=False,
        ),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("disabled_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_user_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sa.UniqueConstraint("email", name=op.f("uq_user_email")),
    )
    op.create_index("uq_user_account_id_id", "user", ["account_id", "id"], unique=True)
    op.create_table(
        "authorization",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column(
            "outcome",
            sa.Enum(
                "pending",
                "connected",
                "updated",
                "denied",
                "expired",
                "failed",
                name="authorizationoutcome",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "connection_id"],
            ["connection.account_id", "connection.id"],
            name=op.f("fk_authorization_account_id_connection_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_authorization_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authorization")),
        sa.UniqueConstraint("state_hash", name=op.f("uq_authorization_state_hash")),
    )
    op.create_table(
        "location",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "available", "active", "removed", name="locationstatus", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column(
            "direction",
            sa.Enum(
                "ghl_to_bb",
                "bb_to_ghl",
                "bidirectional",
                name="syncdirection",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "policy",
            sa.Enum(
                "ghl_wins",
                "bb_wins",
                "most_recent_wins",
                name="conflictpolicy",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("only_tags", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("access_token", postgresql.BYTEA(), nullable=True),
        sa.Column("access_expires_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("synced_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "connection_id"],
            ["connection.account_id", "connection.id"],
            name=op.f("fk_location_account_id_connection_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_location_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_location")),
        sa.UniqueConstraint(
            "account_id", "connection_id", "external_id", name=op.f("uq_location_account_id_connection_id_external_id")
        ),
    )
    op.create_index(op.f("ix_location_external_id"), "location", ["external_id"], unique=False)
    op.create_index("uq_location_account_id_id", "location", ["account_id", "id"], unique=True)
    op.create_table(
        "session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("refresh_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("refreshed_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "user_id"],
            ["user.account_id", "user.id"],
            name=op.f("fk_session_account_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_session_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
        sa.UniqueConstraint("refresh_hash", name=op.f("uq_session_refresh_hash")),
    )
    op.create_index(op.f("ix_session_user_id"), "session", ["user_id"], unique=False)
    op.create_index("uq_session_account_id_id", "session", ["account_id", "id"], unique=True)
    op.create_table(
        "contact",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column(
            "source",
            sa.Enum("ghl", "bb", name="contactsource", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column(
            "sync_state",
            sa.Enum(
                "local",
                "synced",
                "pending",
                "remote_deleted",
                name="contactsyncstate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=True),
        sa.Column("last_name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("other_emails", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("other_phones", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("company", sa.Text(), nullable=True),
        sa.Column("website", sa.Text(), nullable=True),
        sa.Column("street", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("postal_code", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column("birthday", sa.Date(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("assigned_to", sa.Text(), nullable=True),
        sa.Column("do_not_disturb", sa.Boolean(), nullable=False),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("custom_fields", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("modified_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "location_id"],
            ["location.account_id", "location.id"],
            name=op.f("fk_contact_account_id_location_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_contact_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
    )
    op.create_index(
        "ix_contact_all_newest",
        "contact",
        ["account_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index("ix_contact_email", "contact", ["account_id", "location_id", "email"], unique=False)
    op.create_index("ix_contact_name", "contact", ["account_id", "location_id", "display_name", "id"], unique=False)
    op.create_index(
        "ix_contact_newest",
        "contact",
        ["account_id", "location_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_contact_pending",
        "contact",
        ["account_id", "location_id", "id"],
        unique=False,
        postgresql_where=sa.text("sync_state IN ('local', 'pending')"),
    )
    op.create_index("ix_contact_phone", "contact", ["account_id", "location_id", "phone"], unique=False)
    op.create_index("uq_contact_account_id_id", "contact", ["account_id", "id"], unique=True)
    op.create_table(
        "custom_field",
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("data_type", sa.Text(), nullable=False),
        sa.Column("options", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "location_id"],
            ["location.account_id", "location.id"],
            name=op.f("fk_custom_field_account_id_location_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_custom_field_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("location_id", "external_id", name=op.f("pk_custom_field")),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "lane",
            sa.Enum("interactive", "bulk", "calls", name="lane", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("args", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=True),
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
        sa.Column("waiting_for", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), server_default=sa.text("nextval('job_position_seq')"), nullable=False),
        sa.Column("run_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("paused_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("archived_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=False),
        sa.Column("deadline_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("timeout_seconds", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=True),
        sa.Column("checkpoint", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("phase", sa.Text(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("rate", sa.Double(), nullable=True),
        sa.Column("eta_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("progress_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column(
            "origin_type",
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
        sa.Column("origin_id", sa.Uuid(), nullable=True),
        sa.Column("origin_name", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "location_id"],
            ["location.account_id", "location.id"],
            name=op.f("fk_job_account_id_location_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_job_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_index(
        "ix_job_created",
        "job",
        ["account_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_job_due", "job", ["run_at"], unique=False, postgresql_where=sa.text("state IN ('scheduled', 'backoff')")
    )
    op.create_index(
        "ix_job_kind",
        "job",
        ["account_id", "kind", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_job_leased",
        "job",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state IN ('admitted', 'cancelling', 'running')"),
    )
    op.create_index(
        "ix_job_leased_account",
        "job",
        ["account_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('admitted', 'cancelling', 'running')"),
    )
    op.create_index(
        "ix_job_ready",
        "job",
        ["account_id", sa.literal_column("priority DESC"), "position"],
        unique=False,
        postgresql_where=sa.text("state = 'ready' AND paused_at IS NULL"),
    )
    op.create_index(
        "ix_job_ready_lane",
        "job",
        ["lane", "account_id"],
        unique=False,
        postgresql_where=sa.text("state = 'ready' AND paused_at IS NULL"),
    )
    op.create_index(
        "ix_job_state",
        "job",
        ["account_id", "state", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_job_waiting", "job", ["account_id", "waiting_for"], unique=False, postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_index(
        "uq_job_dedupe",
        "job",
        ["account_id", "dedupe_key"],
        unique=True,
        postgresql_where=sa.text("state NOT IN ('cancelled', 'failed', 'partial', 'skipped', 'succeeded')"),
    )
    op.create_index("uq_job_account_id_id", "job", ["account_id", "id"], unique=True)
    op.create_table(
        "spent_refresh_token",
        sa.Column("refresh_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "session_id"],
            ["session.account_id", "session.id"],
            name=op.f("fk_spent_refresh_token_account_id_session_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_spent_refresh_token_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("refresh_hash", name=op.f("pk_spent_refresh_token")),
    )
    op.create_index(op.f("ix_spent_refresh_token_session_id"), "spent_refresh_token", ["session_id"], unique=False)
    op.create_table(
        "contact_ref",
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("is_primary", sa.Boolean(), nullable=False),
        sa.Column("base", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("synced_version", sa.Integer(), nullable=False),
        sa.Column("remote_modified_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("seen_run", sa.Uuid(), nullable=True),
        sa.Column("seen_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("missing_since", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "contact_id"],
            ["contact.account_id", "contact.id"],
            name=op.f("fk_contact_ref_account_id_contact_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "location_id"],
            ["location.account_id", "location.id"],
            name=op.f("fk_contact_ref_account_id_location_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_contact_ref_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("location_id", "external_id", name=op.f("pk_contact_ref")),
    )
    op.create_index(op.f("ix_contact_ref_contact_id"), "contact_ref", ["contact_id"], unique=False)
    op.create_index(
        "uq_contact_ref_primary",
        "contact_ref",
        ["contact_id"],
        unique=True,
        postgresql_where=sa.text("is_primary AND missing_since IS NULL"),
    )
    op.create_table(
        "job_attempt",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "outcome",
            sa.Enum(
                "succeeded",
                "partial",
                "failed",
                "cancelled",
                "waiting",
                "snoozed",
                "handed_back",
                "lost",
                name="attemptoutcome",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("stack_trace", sa.Text(), nullable=True),
        sa.Column("next_delay", sa.Double(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"],
            ["job.account_id", "job.id"],
            name=op.f("fk_job_attempt_account_id_job_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_job_attempt_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_job_attempt")),
    )
    op.create_table(
        "job_event",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("xid", sa.BigInteger(), server_default=sa.text("(pg_current_xact_id()::text)::bigint"), nullable=False),
        sa.Column("at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
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
        sa.Column("phase", sa.Text(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"],
            ["job.account_id", "job.id"],
            name=op.f("fk_job_event_account_id_job_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_job_event_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "version", name=op.f("pk_job_event")),
    )
    op.create_index(op.f("ix_job_event_at"), "job_event", ["at"], unique=False)
    op.create_index("ix_job_event_cursor", "job_event", ["account_id", "xid", "id"], unique=False)
    op.create_table(
        "job_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column(
            "level",
            sa.Enum("info", "warning", "error", name="loglevel", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"],
            ["job.account_id", "job.id"],
            name=op.f("fk_job_log_account_id_job_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_job_log_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_log")),
    )
    op.create_index(op.f("ix_job_log_account_id_job_id_id"), "job_log", ["account_id", "job_id", "id"], unique=False)
    op.create_table(
        "sync_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column(
            "direction",
            sa.Enum(
                "ghl_to_bb",
                "bb_to_ghl",
                "bidirectional",
                name="syncdirection",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "policy",
            sa.Enum(
                "ghl_wins",
                "bb_wins",
                "most_recent_wins",
                name="conflictpolicy",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("only_tags", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created", sa.Integer(), nullable=False),
        sa.Column("updated", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("merged", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("conflicts", sa.Integer(), nullable=False),
        sa.Column("pushed", sa.Integer(), nullable=False),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"],
            ["job.account_id", "job.id"],
            name=op.f("fk_sync_run_account_id_job_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "location_id"],
            ["location.account_id", "location.id"],
            name=op.f("fk_sync_run_account_id_location_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_sync_run_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_run")),
        sa.UniqueConstraint("job_id", name=op.f("uq_sync_run_job_id")),
    )
    op.create_index(
        op.f("ix_sync_run_account_id_location_id_id"), "sync_run", ["account_id", "location_id", "id"], unique=False
    )
    op.create_index("uq_sync_run_account_id_id", "sync_run", ["account_id", "id"], unique=True)
