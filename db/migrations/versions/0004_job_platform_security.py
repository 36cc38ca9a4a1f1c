"""Grants and row-level security of the job platform's tables."""

from alembic import op

from db import rls

revision = "0004"
down_revision = "0003"

OWNED = ["job_move", "job_setting", "job_dependency", "job_item", "effect", "job_note"]
SYSTEM = {
    "job_move": "SELECT, INSERT, DELETE",
    "job_setting": "SELECT",
    "job_dependency": "SELECT",
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
    for statement in statements:
        op.execute(statement)
