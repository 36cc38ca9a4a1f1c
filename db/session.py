"""Sessions: one kind for an account's data under row-level security, and one, loudly named, for the system's own work."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast
from uuid import UUID

import asyncpg
import orjson
import sqlalchemy as sa
from sqlalchemy import QueuePool
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from db.rls import APP_ROLE, SYSTEM_ROLE

_DEAD = (asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, OSError)


class Database:
    """The connections of one process. Open it inside the event loop that uses it, and never carry it across a fork."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self._app = _engine(url, role=APP_ROLE, pool_size=pool_size)
        self._system = _engine(url, role=SYSTEM_ROLE, pool_size=max(2, pool_size // 2))

    def account(self, account_id: UUID) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that sees the rows of `account_id` and no others; commits at the end, rolls back on an exception."""
        return _transaction(self._app, f"BEGIN; SELECT set_config('app.account_id', '{account_id}', true)")

    def system_across_accounts(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that sees every account's rows of the system's tables. For sign-in, routing, admission and sweeps."""
        return _transaction(self._system, "BEGIN")

    async def close(self) -> None:
        """Close every connection."""
        await self._app.dispose()
        await self._system.dispose()


def _engine(url: str, *, role: str, pool_size: int) -> AsyncEngine:
    return create_async_engine(
        sa.make_url(url).set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        # The transaction is opened by hand, to send the account's id in the same trip as BEGIN.
        isolation_level="AUTOCOMMIT",
        json_serializer=lambda value: orjson.dumps(value, default=str).decode(),
        json_deserializer=orjson.loads,
        connect_args={"server_settings": {"role": role, "application_name": role}, "timeout": 5, "command_timeout": 60},
    )


@asynccontextmanager
async def _transaction(engine: AsyncEngine, begin: str) -> AsyncIterator[AsyncSession]:
    connection, driver = await _begin(engine, begin)
    try:
        async with AsyncSession(bind=connection, expire_on_commit=False, autoflush=False) as session:
            yield session
            await session.flush()
        await driver.execute("COMMIT")
    except BaseException:
        await _roll_back(connection, driver)
        raise
    finally:
        await connection.close()


async def _begin(engine: AsyncEngine, begin: str) -> tuple[AsyncConnection, Any]:
    """Send `begin` on a pooled connection. A dead one (PostgreSQL restarted) is noticed here and replaced: nothing ran yet."""
    while True:
        connection = await engine.connect()
        try:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute(begin)
        except _DEAD:
            others = cast("QueuePool", engine.pool).checkedin()
            await connection.invalidate()
            await connection.close()
            if not others:
                raise
        except BaseException:
            await connection.invalidate()
            await connection.close()
            raise
        else:
            return connection, driver


async def _roll_back(connection: AsyncConnection, driver: Any) -> None:
    try:
        await driver.execute("ROLLBACK")
    except (*_DEAD, asyncpg.PostgresError):
        await connection.invalidate()
