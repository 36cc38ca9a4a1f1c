"""The transaction of a unit: what it leaves behind on its pooled connection, and how it outlives PostgreSQL's."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from db.base import new_id
from db.embedded.postgres import EmbeddedPostgres
from db.models.tenancy import Account
from db.session import Database

LOST = (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
WHO = sa.text("SELECT pg_backend_pid(), current_setting('app.account_id', true), current_user")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool of one connection a role, so that every transaction is on the one before's."""
    database = Database(database_url, pool_size=1)
    yield database
    await database.close()


async def make_account(database: Database, name: str = "Bright & Co") -> Account:
    account = Account(id=new_id(), name=name)
    async with database.account(account.id) as session:
        session.add(account)
    return account


async def kill_connections(postgres: EmbeddedPostgres, database_url: str) -> int:
    """As a restart of PostgreSQL does; returns how many there were."""
    name = database_url.partition("@/")[2].partition("?")[0]
    connection = await asyncpg.connect(postgres.admin_url)
    try:
        killed = await connection.fetch("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", name)
    finally:
        await connection.close()
    return len(killed)


async def test_the_next_account_on_a_connection_sees_nothing_of_the_last(database: Database) -> None:
    one, other = await make_account(database), await make_account(database)
    async with database.account(one.id) as session:
        before = (await session.execute(WHO)).one()
        assert await session.scalar(sa.select(Account.id)) == one.id
    async with database.account(other.id) as session:
        after = (await session.execute(WHO)).one()
        assert (await session.scalars(sa.select(Account.id))).all() == [other.id]
    assert before[0] == after[0], "the pool made another connection: this shows nothing"
    assert (before[1], after[1]) == (str(one.id), str(other.id))


@pytest.mark.parametrize("ending", ["commit", "exception", "broken statement", "cancellation"])
async def test_the_account_ends_with_its_transaction(database: Database, ending: str) -> None:
    account = await make_account(database)

    async def work() -> None:
        async with database.account(account.id) as session:
            if ending == "exception":
                raise KeyError(ending)
            if ending == "broken statement":
                await session.execute(sa.text("SELECT 1 / 0"))
            if ending == "cancellation":
                await asyncio.wait_for(session.execute(sa.text("SELECT pg_sleep(60)")), timeout=0.05)

    await asyncio.gather(work(), return_exceptions=True)
    async with database._app.connect() as connection:
        assert (await connection.execute(sa.text("SELECT current_setting('app.account_id', true)"))).scalar() in {"", None}
        assert (await connection.execute(sa.select(sa.func.count()).select_from(Account))).scalar() == 0


async def test_what_fails_leaves_nothing(database: Database) -> None:
    account = Account(id=new_id(), name="Never")

    async def fail() -> None:
        async with database.account(account.id) as session:
            session.add(account)
            await session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with database.account(account.id) as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(Account)) == 0


async def test_what_is_added_is_flushed_before_the_commit(database: Database) -> None:
    account = await make_account(database)
    async with database.account(account.id) as session:
        assert await session.scalar(sa.select(Account.name)) == "Bright & Co"


async def test_the_roles_are_the_powerless_ones(database: Database) -> None:
    async with database.account(new_id()) as session:
        assert (await session.execute(WHO)).one()[2] == "bots_app"
    async with database.system_across_accounts() as session:
        assert tuple((await session.execute(WHO)).one()[1:]) in {("", "bots_system"), (None, "bots_system")}


async def test_connections_that_died_in_the_pool_are_replaced_without_an_error(
    postgres: EmbeddedPostgres, database_url: str
) -> None:
    database = Database(database_url, pool_size=5)
    try:
        account = await make_account(database)

        async def count() -> int | None:
            async with database.account(account.id) as session:
                await session.execute(sa.text("SELECT pg_sleep(0.05)"))  # so that each needs a connection of its own
                return await session.scalar(sa.select(sa.func.count()).select_from(Account))

        assert await asyncio.gather(*(count() for _ in range(5))) == [1] * 5
        assert await kill_connections(postgres, database_url) >= 5
        assert await asyncio.gather(*(count() for _ in range(5))) == [1] * 5
        assert await count() == 1
    finally:
        await database.close()


async def test_a_connection_that_dies_in_a_transaction_fails_that_one_only(
    database: Database, postgres: EmbeddedPostgres, database_url: str
) -> None:
    account = await make_account(database)

    async def rename(*, then_read: bool) -> None:
        async with database.account(account.id) as session:
            await session.execute(sa.update(Account).values(name="Lost"))
            await kill_connections(postgres, database_url)
            if then_read:  # or else it is the commit that finds out
                await session.scalar(sa.select(Account.name))

    for then_read in (True, False):
        with pytest.raises(LOST):
            await rename(then_read=then_read)
    async with database.account(account.id) as session:
        assert await session.scalar(sa.select(Account.name)) == "Bright & Co"
