"""Row-level security, tried on every table that has an owner: nobody sees, changes or refers to another account's rows."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from db.base import new_id
from db.embedded.postgres import EmbeddedPostgres
from db.models.registry import METADATA
from db.session import Database
from tests import servers
from tests.db.filler import OWNED, account_rows, fill

ACCOUNT = METADATA.tables["account"]
ISOLATED = [ACCOUNT, *OWNED]
APPEND_ONLY = {"access_log", "audit_log"}
# (table, columns, table referred to) of every reference between rows of one account
REFERENCES = [
    (table, key)
    for table in OWNED
    for key in sorted(table.foreign_key_constraints, key=lambda key: list(key.column_keys))
    if key.referred_table is not ACCOUNT
]


@dataclass(frozen=True)
class Two:
    """Two accounts with a row in each table."""

    database: Database
    ours: dict[str, dict[str, Any]]
    theirs: dict[str, dict[str, Any]]

    @property
    def our_id(self) -> UUID:
        account_id: UUID = self.ours["account"]["id"]
        return account_id

    @property
    def their_id(self) -> UUID:
        account_id: UUID = self.theirs["account"]["id"]
        return account_id


@pytest.fixture(scope="module")
async def two(postgres: EmbeddedPostgres, template_url: str) -> AsyncIterator[Two]:
    url = await servers.clone(postgres)
    ours, theirs = account_rows(new_id()), account_rows(new_id())
    superuser = postgres.url_of(url.partition("@/")[2].partition("?")[0], role="postgres")
    engine = create_async_engine(sa.make_url(superuser).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    async with engine.begin() as connection:
        for rows in (ours, theirs):
            for name, row in rows.items():
                await connection.execute(sa.insert(METADATA.tables[name]).values(row))
    database = Database(url, pool_size=2)
    yield Two(database, ours, theirs)
    await database.close()
    await servers.drop(postgres, url)


def owner_of(table: sa.Table) -> sa.Column[Any]:
    return table.c.id if table is ACCOUNT else table.c.account_id


@pytest.mark.parametrize("table", ISOLATED, ids=str)
async def test_only_our_rows_are_seen(two: Two, table: sa.Table) -> None:
    async with two.database.account(two.our_id) as session:
        owners = (await session.scalars(sa.select(owner_of(table)))).all()
        theirs = await session.scalar(sa.select(sa.func.count()).where(owner_of(table) == two.their_id))
    assert set(owners) == {two.our_id}
    assert theirs == 0


@pytest.mark.parametrize("table", ISOLATED, ids=str)
async def test_nothing_of_theirs_is_changed_or_deleted(two: Two, table: sa.Table) -> None:
    mine = owner_of(table)
    attempts: list[sa.UpdateBase] = [sa.update(table).where(mine == two.their_id).values({mine.name: mine})]
    attempts += [sa.delete(table).where(mine == two.their_id)]
    for statement in attempts:
        if table.name in APPEND_ONLY or (table is ACCOUNT and statement.is_delete):
            with pytest.raises(ProgrammingError, match="permission denied"):
                async with two.database.account(two.our_id) as session:
                    await session.execute(statement)
            continue
        async with two.database.account(two.our_id) as session:
            assert (await session.execute(statement)).rowcount == 0  # type: ignore[attr-defined]  # of a cursor result


@pytest.mark.parametrize("table", [table for table in ISOLATED if table.name not in APPEND_ONLY], ids=str)
async def test_no_row_of_ours_is_given_away(two: Two, table: sa.Table) -> None:
    with pytest.raises(DBAPIError, match=r"row-level security|violates foreign key"):
        async with two.database.account(two.our_id) as session:
            await session.execute(sa.update(table).values({owner_of(table).name: two.their_id}))


@pytest.mark.parametrize("table", OWNED, ids=str)
async def test_nothing_is_inserted_for_them(two: Two, table: sa.Table) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with two.database.account(two.our_id) as session:
            await session.execute(sa.insert(table).values(fill(table, two.theirs)))


@pytest.mark.parametrize(("table", "key"), REFERENCES, ids=[f"{table}-{key.referred_table}" for table, key in REFERENCES])
async def test_no_row_of_ours_refers_to_one_of_theirs(two: Two, table: sa.Table, key: sa.ForeignKeyConstraint) -> None:
    """Foreign keys are checked past row-level security: each includes the account."""
    stolen = fill(key.referred_table, two.theirs)
    async with two.database.account(two.their_id) as session:
        await session.execute(sa.insert(key.referred_table).values(stolen))
    ours = {key.referred_table.name: fill(key.referred_table, two.ours) for key in table.foreign_key_constraints}
    smuggled = {
        element.parent.name: stolen[element.column.name] for element in key.elements if element.parent.name != "account_id"
    }
    parents = {**two.ours, **ours, "account": two.ours["account"]}
    statements = [sa.insert(METADATA.tables[name]).values(row) for name, row in ours.items() if name != "account"]
    async with two.database.account(two.our_id) as session:
        for statement in statements:
            await session.execute(statement)
    with pytest.raises(IntegrityError, match="violates foreign key"):
        async with two.database.account(two.our_id) as session:
            await session.execute(sa.insert(table).values({**fill(table, parents), **smuggled}))


@pytest.mark.parametrize("table", ISOLATED, ids=str)
async def test_without_an_account_there_is_nothing(two: Two, table: sa.Table) -> None:
    async with two.database.account(two.our_id) as session:
        await session.execute(sa.text("SELECT set_config('app.account_id', '', true)"))
        assert (await session.scalars(sa.select(owner_of(table)))).all() == []


@pytest.mark.parametrize("table", ["contact", "contact_ref", "custom_field", "sync_run", "job_log", "access_log", "audit_log"])
async def test_the_system_cannot_read_what_is_none_of_its_work(two: Two, table: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with two.database.system_across_accounts() as session:
            await session.execute(sa.select(sa.func.count()).select_from(METADATA.tables[table]))


@pytest.mark.parametrize("table", ["worker", "webhook_event", "alembic_version"])
async def test_an_account_cannot_read_what_has_no_owner(two: Two, table: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with two.database.account(two.our_id) as session:
            await session.execute(sa.select(sa.func.count()).select_from(sa.table(table)))
