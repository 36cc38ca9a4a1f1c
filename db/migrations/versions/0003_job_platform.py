"""The tables of the job platform."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("job_boost_seq")))
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
    op.add_column("job", sa.Column("args_digest", postgresql.BYTEA(), nullable=True))
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
