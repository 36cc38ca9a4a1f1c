"""One real PostgreSQL and one real Valkey for the whole run; a database of its own for each test that asks for one."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from db import migrate
from db.embedded.postgres import EmbeddedPostgres
from db.embedded.valkey import EmbeddedValkey
from domain.settings import Settings
from tests import servers

# The fixtures for rows, the runtime and the clients live in tests/factories; name their modules here.
pytest_plugins = ["tests.factories.house", "tests.factories.engine"]

# A developer's own configuration must not decide what the tests see, nor where they write.
for name in Settings.model_fields:
    os.environ.pop(name.upper(), None)


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    """A running PostgreSQL; a test may `restart` or `kill` and `start` it, and leaves it running."""
    async with EmbeddedPostgres(tmp_path_factory.mktemp("servers") / "postgres", durable=False) as server:
        yield server


@pytest.fixture(scope="session")
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedValkey]:
    """A running Valkey; a test may `restart` it, empty or not, and leaves it running."""
    async with EmbeddedValkey(tmp_path_factory.mktemp("servers") / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
async def template_url(postgres: EmbeddedPostgres) -> str:
    """Address of the migrated database that `database_url` copies; to be read, never connected to for long."""
    url = await servers.create_template(postgres)
    await asyncio.to_thread(migrate.upgrade, url)
    return url


@pytest.fixture
async def database_url(postgres: EmbeddedPostgres, template_url: str) -> AsyncIterator[str]:
    """Address of a migrated database of this test's own."""
    url = await servers.clone(postgres)
    yield url
    await servers.drop(postgres, url)


@pytest.fixture
async def redis_url(valkey: EmbeddedValkey) -> str:
    """Address of the Valkey, emptied."""
    async with Redis.from_url(valkey.url) as redis:
        await redis.flushall()
    return valkey.url
