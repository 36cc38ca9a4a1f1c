"""Roles, grants and row-level security as SQL, for migrations.

`bots_app` serves one account at a time and sees only the rows of `app.account_id`, a setting of its transaction.
`bots_system` does what no account can: sign-in, routing of webhooks, admission and sweeps; it sees all rows of the few tables
that this takes, and is granted nothing else. Neither may log in, own a table or bypass row-level security.
"""

from collections.abc import Iterable, Iterator

APP_ROLE = "bots_app"
SYSTEM_ROLE = "bots_system"

# After a transaction the setting is '' and not NULL, hence nullif. The sub-select makes the planner compute it once.
CURRENT_ACCOUNT = "(SELECT nullif(current_setting('app.account_id', true), '')::uuid)"


def create_roles() -> Iterator[str]:
    """Both roles, and the right of the role that migrates to become them."""
    for role in (APP_ROLE, SYSTEM_ROLE):
        yield (
            f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN NOBYPASSRLS; "
            "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
        yield f"GRANT {role} TO CURRENT_USER"
        yield f"GRANT USAGE ON SCHEMA public TO {role}"


def isolate(table: str, *, column: str = "account_id") -> Iterator[str]:
    """Row-level security for `table`, enforced on its owner too: rows of the current account only."""
    yield f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY'
    yield f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY'
    yield (
        f'CREATE POLICY account ON "{table}" TO {APP_ROLE} '
        f"USING ({column} = {CURRENT_ACCOUNT}) WITH CHECK ({column} = {CURRENT_ACCOUNT})"
    )


def grant(role: str, privileges: str, tables: Iterable[str]) -> Iterator[str]:
    """`privileges`, such as 'SELECT, UPDATE (last_used_at)', on each of `tables`."""
    for table in tables:
        yield f'GRANT {privileges} ON "{table}" TO {role}'


def open_to_system(table: str, privileges: str) -> Iterator[str]:
    """Let the system role act on every account's rows of `table`, within `privileges`."""
    yield from grant(SYSTEM_ROLE, privileges, [table])
    yield f'CREATE POLICY system ON "{table}" TO {SYSTEM_ROLE} USING (true) WITH CHECK (true)'
