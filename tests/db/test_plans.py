"""How PostgreSQL goes about our statements while it knows nothing of the data: a first sync must not slow down as it grows."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
import sqlalchemy as sa

from db.base import any_of, new_id
from db.embedded.postgres import EmbeddedPostgres
from db.models.jobs import Job
from db.models.tenancy import Account, Session, User
from db.session import Database
from domain import actor as actors
from domain.jobs import commands
from domain.unit import Unit
from tests.db.test_session import kill_connections
from tests.factories.engine import Scripted


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The owner's, to a database that was never analysed."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool of one connection a role."""
    database = Database(database_url, pool_size=1)
    yield database
    await database.close()


@pytest.mark.parametrize("table", ["job", "contact"])
async def test_a_check_of_a_reference_finds_its_row_by_the_key(connection: asyncpg.Connection, table: str) -> None:
    """As foreign keys ask. By an index on the account alone, each new row would read all rows of the account."""
    check = f"select 1 from only {table} x where account_id = $1 and id = $2 for key share of x"  # noqa: S608 - names of ours
    await connection.execute("set plan_cache_mode = force_generic_plan")
    await connection.execute(f"prepare referenced(uuid, uuid) as {check}")
    lines = [row[0] for row in await connection.fetch("explain execute referenced(gen_random_uuid(), gen_random_uuid())")]
    [scan] = [line for line in lines if "Scan" in line]
    assert f"Index Scan using uq_{table}_account_id_id " in scan or f"Index Scan using pk_{table} " in scan, lines


async def test_a_dedupe_key_works_for_ever_on_one_connection(database: Database) -> None:
    """After five times PostgreSQL plans for any parameters, and finds no index for a condition that has some."""
    account = Account(id=new_id(), name="Bright & Co")
    async with database.account(account.id) as session:
        session.add(account)
    for number in range(8):
        async with database.account(account.id) as session:
            unit = Unit(session, actors.system(account.id))
            assert (await commands.enqueue(unit, Scripted(), dedupe_key=f"key {number}")).is_new
            assert not (await commands.enqueue(unit, Scripted(), dedupe_key=f"key {number}")).is_new


async def test_any_of_takes_any_number_of_values(database: Database) -> None:
    account = Account(id=new_id(), name="Bright & Co")
    async with database.account(account.id) as session:
        session.add(account)
    async with database.account(account.id) as session:
        unit = Unit(session, actors.system(account.id))
        jobs = [(await commands.enqueue(unit, Scripted())).job.id for _ in range(3)]
        for wanted in ([], jobs[:1], [*jobs, new_id()]):
            found = set((await session.scalars(sa.select(Job.id).where(any_of(Job.id, wanted)))).all())
            assert found == set(wanted) & set(jobs)


async def test_a_single_row_is_found_again_after_postgresql_restarted(
    database: Database, postgres: EmbeddedPostgres, database_url: str
) -> None:
    nobody = sa.select(User.id).join(Session, Session.user_id == User.id).where(Session.id == sa.bindparam("session_id"))
    assert await database.system_row(nobody, {"session_id": new_id()}) is None
    assert await kill_connections(postgres, database_url) > 0
    assert await database.system_row(nobody, {"session_id": new_id()}) is None
