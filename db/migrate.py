"""Migrations from code: no alembic.ini, no working directory to be in."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

# Two deployments that start at once migrate one after the other.
_LOCK = 7_201_960_245


def upgrade(database_url: str) -> None:
    """Bring the schema up to date; does nothing when it is. For callers outside an event loop."""
    asyncio.run(_run(database_url, _upgrade))


def draft(database_url: str, message: str) -> None:
    """Write a new revision file with the difference between the models and the database."""
    asyncio.run(_run(database_url, lambda connection: _draft(connection, message)))


async def pending(database_url: str) -> bool:
    """Whether the database lacks a migration that this code knows."""
    engine = _engine(database_url)
    try:
        async with engine.connect() as connection:
            current = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    finally:
        await engine.dispose()
    return current != ScriptDirectory.from_config(_config()).get_current_head()


def _engine(database_url: str) -> AsyncEngine:
    return create_async_engine(sa.make_url(database_url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)


async def _run(database_url: str, work: Callable[[sa.Connection], None]) -> None:
    engine = _engine(database_url)
    try:
        async with engine.begin() as connection:
            await connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            await connection.run_sync(work)
    finally:
        await engine.dispose()


def _upgrade(connection: sa.Connection) -> None:
    command.upgrade(_config(connection), "head")


def _draft(connection: sa.Connection, message: str) -> None:
    command.revision(_config(connection), message=message, autogenerate=True)


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    return config
