"""Grants and row-level security of the job platform's tables."""

from alembic import op

from db import rls

revision = "0004"
down_revision = "0003"

OWNED = [
    "job_move",
    "job_setting",
    "job_dependency",
    "job_item",
    "job_target",
    "effect",
    "job_note",
    "file",
    "notice",
    "notification",
    "delivery",
    "notification_setting",
    "slack_connection",
    "workflow",
    "workflow_run",
    "schedule",
    "schedule_fire",
    "webhook_endpoint",
    "webhook_delivery",
    "webhook_attempt",
]
SYSTEM = {
    "job_move": "SELECT, INSERT, UPDATE, DELETE",
    "job_setting": "SELECT",
    "job_dependency": "SELECT",
    "file": "SELECT, DELETE",
    "notice": "SELECT, INSERT, DELETE",
    "notification": "SELECT, INSERT, UPDATE, DELETE",
    "delivery": "SELECT, INSERT, UPDATE, DELETE",
    "notification_setting": "SELECT",
    "schedule": "SELECT",
    "schedule_fire": "SELECT",
    "webhook_endpoint": "SELECT",
    "webhook_delivery": "SELECT, INSERT, UPDATE",
}
SEQUENCES = ["job_boost_seq"]


def upgrade() -> None:
    statements: list[str] = []
    for table in OWNED:
        statements += rls.isolate(table)
    statements += rls.grant(rls.APP_ROLE, "SELECT, INSERT, UPDATE, DELETE", OWNED)
    for table, privileges in SYSTEM.items():
        statements += rls.open_to_system(table, privileges)
    statements += [f"GRANT USAGE ON SEQUENCE {sequence} TO {rls.APP_ROLE}" for sequence in SEQUENCES]
    # Counts read indexes alone where PostgreSQL knows from a recent vacuum that a page has nothing that is not visible to all.
    statements.append("ALTER TABLE job SET (autovacuum_vacuum_scale_factor = 0.02)")
    for statement in statements:
        op.execute(statement)
