"""The house rules about the database, read from the catalogue of a migrated one."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from db.models.registry import METADATA
from db.rls import APP_ROLE, SYSTEM_ROLE

# Rows of nobody in particular. A table is added here with a reason, never by the way.
WITHOUT_ACCOUNT = {
    "alembic_version",  # of the schema itself
    "worker",  # a process that carries jobs of any account
    "webhook_event",  # the ids of webhooks that came, before anybody knows whom they concern
}
APPEND_ONLY = {"access_log", "audit_log"}
WRITES = {"INSERT", "UPDATE", "DELETE"}


@pytest.fixture
async def catalogue(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_every_row_has_an_owner_or_a_reason(catalogue: asyncpg.Connection) -> None:
    without = await catalogue.fetch("""
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
        AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'account_id' AND attnotnull)""")
    assert {row["relname"] for row in without} == WITHOUT_ACCOUNT | {"account"}


async def test_row_level_security_is_forced_on_every_account_s_table(catalogue: asyncpg.Connection) -> None:
    tables = await catalogue.fetch("""
        SELECT relname, relrowsecurity AND relforcerowsecurity AS forced FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')""")
    assert {row["relname"] for row in tables if not row["forced"]} == WITHOUT_ACCOUNT


async def test_every_policy_is_the_one_of_the_house(catalogue: asyncpg.Connection) -> None:
    """For the application's role: the current account's rows, to read and to write. For the system's: its few tables."""
    policies = await catalogue.fetch("SELECT * FROM pg_policies WHERE schemaname = 'public'")
    for policy in policies:
        assert (policy["permissive"], policy["cmd"]) == ("PERMISSIVE", "ALL")
        assert policy["qual"] == policy["with_check"]
        if policy["roles"] == [APP_ROLE]:
            column = "id" if policy["tablename"] == "account" else "account_id"
            setting = "NULLIF(current_setting('app.account_id'::text, true), ''::text)"
            assert re.sub(r"\s+", " ", policy["qual"]) == f'({column} = ( SELECT ({setting})::uuid AS "nullif"))'
        else:
            assert (policy["roles"], policy["qual"]) == ([SYSTEM_ROLE], "true")
    ours = {policy["tablename"] for policy in policies if policy["roles"] == [APP_ROLE]}
    assert ours == METADATA.tables.keys() - WITHOUT_ACCOUNT


async def test_references_between_rows_of_an_account_include_the_account(catalogue: asyncpg.Connection) -> None:
    """Foreign keys are checked past row-level security."""
    keys = await catalogue.fetch("""
        SELECT conname, confrelid::regclass::text AS referred,
            ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS k(number, place)
                JOIN pg_attribute ON attrelid = conrelid AND attnum = k.number ORDER BY place) AS columns,
            ARRAY(SELECT attname::text FROM unnest(confkey) WITH ORDINALITY AS k(number, place)
                JOIN pg_attribute ON attrelid = confrelid AND attnum = k.number ORDER BY place) AS theirs
        FROM pg_constraint WHERE contype = 'f'""")
    assert len(keys) > 20
    for key in keys:
        if key["referred"] == "account":
            assert (key["columns"], key["theirs"]) == (["account_id"], ["id"])
        else:
            assert ("account_id", "account_id") in zip(key["columns"], key["theirs"], strict=True), key["conname"]


@pytest.mark.parametrize("role", [APP_ROLE, SYSTEM_ROLE])
async def test_the_roles_have_no_power_of_their_own(catalogue: asyncpg.Connection, role: str) -> None:
    row = await catalogue.fetchrow("SELECT * FROM pg_roles WHERE rolname = $1", role)
    assert row is not None
    assert {name for name, value in row.items() if value is True} == {"rolinherit"}
    assert await catalogue.fetch("SELECT relname FROM pg_class WHERE relowner = $1", row["oid"]) == []
    assert await catalogue.fetch("SELECT roleid FROM pg_auth_members WHERE member = $1", row["oid"]) == []
    assert not await catalogue.fetchval("SELECT has_schema_privilege($1, 'public', 'CREATE')", role)


async def test_who_may_do_what(catalogue: asyncpg.Connection) -> None:
    grants: dict[tuple[str, str], set[str]] = {}
    for row in await catalogue.fetch("SELECT * FROM information_schema.role_table_grants WHERE table_schema = 'public'"):
        grants.setdefault((row["grantee"], row["table_name"]), set()).add(row["privilege_type"])
    owner = await catalogue.fetchval("SELECT current_user")
    assert {grantee for grantee, _ in grants} == {owner, APP_ROLE, SYSTEM_ROLE}
    for table in METADATA.tables:
        app, system = grants.get((APP_ROLE, table), set()), grants.get((SYSTEM_ROLE, table), set())
        if table in WITHOUT_ACCOUNT:
            assert app == set()
        elif table in APPEND_ONLY:
            assert (app, system) == ({"SELECT", "INSERT"}, set())
        elif table == "account":
            assert (app, system) == ({"SELECT", "INSERT", "UPDATE"}, {"SELECT"})
        else:
            assert app == {"SELECT", *WRITES}
        assert system <= {"SELECT", *WRITES}


async def test_the_models_are_what_the_migrations_make(database_url: str) -> None:
    engine = create_async_engine(sa.make_url(database_url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    options = {"compare_type": True, "compare_server_default": True}
    async with engine.connect() as connection:
        difference = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts=options), METADATA)
        )
    assert difference == []


async def test_every_value_of_an_enum_may_be_stored(catalogue: asyncpg.Connection) -> None:
    """Alembic does not compare the conditions that a column's values are checked against."""
    checks = await catalogue.fetch("""
        SELECT conrelid::regclass::text AS of, attname, pg_get_constraintdef(pg_constraint.oid) AS text FROM pg_constraint
        JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1] WHERE contype = 'c'""")
    allowed = {(row["of"].strip('"'), row["attname"]): set(re.findall(r"'(\w+)'", row["text"])) for row in checks}
    enums = {(table.name, column.name): column.type for table in METADATA.tables.values() for column in table.columns}
    wanted = {place: set(kind.enums) for place, kind in enums.items() if isinstance(kind, sa.Enum)}
    assert wanted == allowed
