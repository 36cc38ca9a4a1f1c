"""The fixtures that every other test stands on."""

import asyncpg
from redis.asyncio import Redis


async def test_a_database_is_migrated_and_owned_by_the_application(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("select count(*) from alembic_version") == 1
        assert (
            await connection.fetchval("select pg_get_userbyid(datdba) from pg_database where datname = current_database()")
            == "bots"
        )
    finally:
        await connection.close()


async def test_each_test_begins_with_an_empty_valkey(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        assert await redis.dbsize() == 0
