"""Roles, grants and row-level security of every table."""

from alembic import op

from db import rls

revision = "0002"
down_revision = "0001"

OWNED = [
    "user",
    "session",
    "spent_refresh_token",
    "api_key",
    "support_grant",
    "data_key",
    "idempotency_key",
    "job",
    "job_attempt",
    "job_event",
    "job_log",
    "account_slots",
    "authorization",
    "connection",
    "location",
    "sync_run",
    "contact",
    "contact_ref",
    "custom_field",
]
APPEND_ONLY = ("access_log", "audit_log")
SYSTEM = {
    "account": "SELECT",
    "user": "SELECT",
    "session": "SELECT, INSERT, UPDATE",
    "spent_refresh_token": "SELECT, INSERT, DELETE",
    "api_key": "SELECT, UPDATE (last_used_at)",
    "support_grant": "SELECT",
    "data_key": "SELECT, UPDATE",
    "idempotency_key": "SELECT, DELETE",
    "account_slots": "SELECT, UPDATE",
    "job": "SELECT, UPDATE",
    "job_attempt": "SELECT, INSERT, UPDATE",
    "job_event": "SELECT, INSERT, DELETE",
    "authorization": "SELECT",
    "connection": "SELECT",
    "location": "SELECT",
}
WITHOUT_ACCOUNT = {"worker": "SELECT, INSERT, UPDATE, DELETE", "webhook_event": "SELECT, INSERT, DELETE"}


def upgrade() -> None:
    statements = [*rls.create_roles(), *rls.isolate("account", column="id")]
    statements += rls.grant(rls.APP_ROLE, "SELECT, INSERT, UPDATE", ["account"])
    for table in (*OWNED, *APPEND_ONLY):
        statements += rls.isolate(table)
    statements += rls.grant(rls.APP_ROLE, "SELECT, INSERT, UPDATE, DELETE", OWNED)
    statements += rls.grant(rls.APP_ROLE, "SELECT, INSERT", APPEND_ONLY)
    statements.append(f"GRANT USAGE ON SEQUENCE job_position_seq TO {rls.APP_ROLE}")
    for table, privileges in SYSTEM.items():
        statements += rls.open_to_system(table, privileges)
    for table, privileges in WITHOUT_ACCOUNT.items():
        statements += rls.grant(rls.SYSTEM_ROLE, privileges, [table])
    for statement in statements:
        op.execute(statement)
